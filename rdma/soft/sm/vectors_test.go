package sm

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
	"ipoib/rdma/soft"
)

// vector is one datagram of testdata/opensm.txt.
type vector struct {
	n    int
	hca  int
	kind string
	data []byte
	care []bool
}

func readVectors(t *testing.T) []vector {
	t.Helper()
	f, err := os.Open("testdata/opensm.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []vector
	for s := bufio.NewScanner(f); s.Scan(); {
		line := s.Text()
		switch {
		case line == "" || line[0] == '#':
		case line[0] == 'V':
			var v vector
			if _, err := fmt.Sscanf(line, "V%d %d %s", &v.n, &v.hca, &v.kind); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			out = append(out, v)
		default:
			v := &out[len(out)-1]
			for x := range strings.FieldsSeq(line) {
				b, err := strconv.ParseUint(x, 16, 8)
				if x != "xx" && err != nil {
					t.Fatal(err)
				}
				v.data = append(v.data, byte(b))
				v.care = append(v.care, x != "xx")
			}
		}
	}
	if len(out) != 59 {
		t.Fatalf("%d vectors", len(out))
	}
	return out
}

// vectorNet is the fabric that the vectors were recorded on.
type vectorNet struct {
	*net
	ports []rdma.Port // by number from 1
	raw   []*rawAgent
	sw1   *soft.Switch
}

// rawAgent sends and receives SA datagrams as they are.
type rawAgent struct {
	agent rdma.MADAgent
	port  rdma.Port
	got   chan *mad.MAD
	// auto makes it answer reports.
	auto atomic.Bool
}

const vectorPartitions = `
Default=0x7fff, ipoib : ALL=full;
Blue=0x8002, ipoib, mtu=4, rate=3 : 0x100001=full, 0x100003=limited;
`

func sdr(c *soft.HCAConfig) { c.MTU, c.Speed, c.Width = rdma.MTU2048, rdma.SpeedSDR, rdma.Width4X }
func sdrSwitch(c *soft.SwitchConfig) {
	c.MTU, c.Speed, c.Width = rdma.MTU2048, rdma.SpeedSDR, rdma.Width4X
}

func newVectorNet(t *testing.T, partitions string) *vectorNet {
	t.Helper()
	var conf *Partitions
	if partitions != "" {
		var err error
		if conf, err = ParsePartitions(strings.NewReader(partitions)); err != nil {
			t.Fatal(err)
		}
	}
	n := &vectorNet{net: newNet(t), ports: make([]rdma.Port, 4), raw: make([]*rawAgent, 4)}
	sw := n.sw(0x200000, 8, sdrSwitch)
	n.sw1 = sw
	for i := 1; i <= 3; i++ {
		h := n.hca(fmt.Sprint("hca", i), rdma.GUID(0x100000+2*(i-1)), sdr)
		n.link(h.At(1), sw.At(i))
		n.ports[i] = port1(t, h)
		n.raw[i] = newRawAgent(t, n.ports[i])
	}
	n.manage(n.ports[1], Config{Partitions: conf})
	return n
}

func newRawAgent(t *testing.T, p rdma.Port) *rawAgent {
	t.Helper()
	r := &rawAgent{port: p, got: make(chan *mad.MAD, 64)}
	cfg := rdma.MADAgentConfig{
		QP: rdma.QPNGSI, Class: uint8(mad.ClassSA), ClassVersion: mad.SAClassVersion,
		Methods: []uint8{uint8(mad.MethodReport)},
	}
	cfg.Receive = func(from rdma.MADAddr, b *[rdma.MADSize]byte) {
		m := mad.View(b)
		if m.Method() == mad.MethodReport && r.auto.Load() {
			resp := *m
			resp.SetMethod(mad.MethodReportResp)
			if err := r.agent.Send(from, resp.Bytes()); err != nil {
				t.Error(err)
			}
		}
		r.got <- m
	}
	var err error
	if r.agent, err = p.RegisterAgent(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.agent.Close() })
	return r
}

// exchange sends a datagram and returns the first answer, nil when none comes
// in a second.
func (r *rawAgent) exchange(t *testing.T, m *mad.MAD) *mad.MAD {
	t.Helper()
	a := r.port.Attr()
	to := rdma.MADAddr{LID: a.SMLID, SL: a.SMSL, QPN: rdma.QPNGSI, QKey: rdma.QKeyGSI}
	if err := r.agent.Send(to, m.Bytes()); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-r.got:
		return got
	case <-time.After(time.Second):
		return nil
	}
}

// record sends a request with a record and returns status and record of the
// answer.
func record[T any, P interface {
	*T
	mad.Attribute
}](t *testing.T, r *rawAgent, method mad.Method, attr mad.AttrID, mask mad.ComponentMask, rec P, key ...uint64) (mad.Status, P, bool) {
	t.Helper()
	m := mad.New(mad.ClassSA, method, attr)
	m.SetTID(7)
	m.SetComponentMask(mask)
	m.SetAttr(rec)
	if len(key) > 0 {
		m.SetSMKey(key[0])
	}
	resp := r.exchange(t, m)
	if resp == nil {
		return 0, nil, false
	}
	out := P(new(T))
	if err := resp.Attr(out); err != nil {
		t.Fatal(err)
	}
	return resp.Status(), out, true
}

// TestOpenSMVectors replays what saquery, osmtest and an IPoIB client asked of
// OpenSM, and compares our answers with OpenSM's byte for byte.
func TestOpenSMVectors(t *testing.T) {
	vectors := readVectors(t)
	parts := [][2]int{{1, 8}, {9, 30}}
	for i, part := range parts {
		t.Run(fmt.Sprint("part", i+1), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newVectorNet(t, vectorPartitions)
				for k := 0; k < len(vectors); k++ {
					v := vectors[k]
					if v.n < part[0] || v.n > part[1] {
						continue
					}
					n.replay(t, v, vectors[min(k+1, len(vectors)-1)])
					if v.kind == "request" {
						k++
					}
				}
			})
		})
	}
}

func (n *vectorNet) replay(t *testing.T, v, want vector) {
	t.Helper()
	n.between(t, v.n)
	if v.kind == "message" {
		n.checkReport(t, v)
		return
	}
	var m mad.MAD
	copy(m[:], v.data)
	tid := m.TID()
	got := n.raw[v.hca].exchange(t, &m)
	if got == nil {
		t.Errorf("V%02d: no answer", v.n)
		return
	}
	if uint32(got.TID()) != uint32(tid) {
		t.Errorf("V%02d: transaction ID %#x for %#x", v.n, got.TID(), tid)
	}
	compareMAD(t, v.n, got, want)
}

// between makes the exchanges that lie between two vectors of a part.
func (n *vectorNet) between(t *testing.T, v int) {
	create := mad.MCMemberRecord{PortGID: rdma.MakeGID(rdma.DefaultSubnetPrefix, n.ports[3].GUID()),
		PKey: rdma.PKeyDefault, JoinState: mad.JoinFullMember}
	join := func(rec mad.MCMemberRecord) *mad.MCMemberRecord {
		status, out, ok := record(t, n.raw[3], mad.MethodSet, mad.AttrMCMemberRecord, mad.MCRCreate|mad.MCRMTU|mad.MCRRate, &rec)
		if !ok || status != mad.StatusOK {
			t.Fatalf("create: %v %v", status, ok)
		}
		return out
	}
	switch v {
	case 7:
		// Groups whose MGID the SA chose: V07 is the sixth.
		for range 5 {
			g := join(create)
			record(t, n.raw[3], mad.MethodDelete, mad.AttrMCMemberRecord, mad.MCRLeave, g)
		}
	case 8:
		create.MGID = rdma.MustParseGID("ff12:a01c:fe80::1234:5678")
		create.Scope, create.JoinState = 2, mad.JoinFullMember|mad.JoinNonMember
		join(create)
	case 30:
		create.MGID = rdma.MustParseGID("ff12:401b:ffff::2a")
		create.PortGID = rdma.MakeGID(rdma.DefaultSubnetPrefix, n.ports[2].GUID())
		create.QKey = DefaultGroupQKey
		if status, _, ok := record(t, n.raw[2], mad.MethodSet, mad.AttrMCMemberRecord, mad.MCRCreate, &create); !ok || status != 0 {
			t.Fatalf("create: %v %v", status, ok)
		}
	}
}

func (n *vectorNet) checkReport(t *testing.T, want vector) {
	t.Helper()
	select {
	case got := <-n.raw[want.hca].got:
		compareMAD(t, want.n, got, want)
		resp := *got
		resp.SetMethod(mad.MethodReportResp)
		a := n.ports[want.hca].Attr()
		if err := n.raw[want.hca].agent.Send(rdma.MADAddr{LID: a.SMLID, QPN: 1, QKey: rdma.QKeyGSI}, resp.Bytes()); err != nil {
			t.Fatal(err)
		}
	case <-time.After(time.Second):
		t.Errorf("V%02d: no report", want.n)
	}
	time.Sleep(time.Minute)
	if st := n.sm.State(); len(st.Subscriptions) != 1 || st.Stats.SubscribersDropped != 0 {
		t.Errorf("subscription after the report was answered: %+v", st.Subscriptions)
	}
}

// compareMAD compares the bytes shown, but for the transaction ID and the RMPP
// header, which the recording has as it was before the MAD layer filled it in.
func compareMAD(t *testing.T, n int, got *mad.MAD, want vector) {
	t.Helper()
	for i, b := range want.data {
		if i >= 8 && i < 16 || i >= 24 && i < 36 || !want.care[i] {
			continue
		}
		if got[i] != b {
			t.Errorf("V%02d: byte %#x is %02x, OpenSM's is %02x", n, i, got[i], b)
		}
	}
	if got.Method() == mad.MethodGetTableResp {
		h := got.RMPP()
		want := mad.RMPPHeader{
			Version: mad.RMPPVersion, Type: mad.RMPPData, Flags: mad.RMPPFlagActive | mad.RMPPFlagFirst | mad.RMPPFlagLast,
			Segment: 1, Data2: uint32(mad.SAHeaderLen + 8*int(got.AttrOffset())),
		}
		h.RRespTime = 0
		if h != want {
			t.Errorf("V%02d: RMPP header %+v, want %+v", n, h, want)
		}
	} else if h := got.RMPP(); h != (mad.RMPPHeader{}) {
		t.Errorf("V%02d: RMPP header %+v", n, h)
	}
}
