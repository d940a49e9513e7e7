package soft

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"ipoib/rdma"
	"ipoib/rdma/header"
	"ipoib/rdma/mad"
)

// vectorNet is the topology of the reference frames: host A has LID 2, UD
// queue pair 0x48, host B LID 3, queue pair 0x49, on P_Key 0x8001.
func vectorNet(t testing.TB) (n *testNet, a, b *udPair) {
	t.Helper()
	guids := []rdma.GUID{0x5eef1000000a, 0x5eef1000000b}
	i := 0
	n = newTestNet(t, 2, func(c *HCAConfig) { c.PortGUIDs = guids[i : i+1]; i++ })
	return n, newUD(t, n.port(0), 0x48), newUD(t, n.port(1), 0x49)
}

// udPair is a UD queue pair ready to send and receive.
type udPair struct {
	t    testing.TB
	pd   rdma.PD
	port rdma.Port
	qp   rdma.QP
	recv rdma.CQ
}

func newUD(t testing.TB, p rdma.Port, num rdma.QPN) *udPair {
	t.Helper()
	u := &udPair{t: t, port: p}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	u.pd, err = p.Device().AllocPD()
	must(err)
	u.recv, err = p.Device().CreateCQ(rdma.CQConfig{Depth: 4096})
	must(err)
	u.qp, err = u.pd.CreateQP(rdma.QPConfig{
		Type: rdma.QPTUD, Port: p.Num(), SendCQ: u.recv, RecvCQ: u.recv, MaxSend: 64, MaxRecv: 4096,
		RecvSize: 2048, Num: num, BlockMulticastLoopback: true,
	})
	must(err)
	idx, err := p.FindPKey(0x8001)
	must(err)
	must(u.qp.Modify(rdma.QPAttr{State: rdma.QPSInit, PKeyIndex: uint16(idx), QKey: 0x80000b1b},
		rdma.QPAttrState|rdma.QPAttrPKeyIndex|rdma.QPAttrQKey))
	must(u.qp.Modify(rdma.QPAttr{State: rdma.QPSRTR}, rdma.QPAttrState))
	must(u.qp.Modify(rdma.QPAttr{State: rdma.QPSRTS, SQPSN: 1}, rdma.QPAttrState|rdma.QPAttrSQPSN))
	must(u.qp.PostRecv(4096))
	return u
}

func (u *udPair) send(attr rdma.AHAttr, to rdma.QPN, data []byte) {
	u.t.Helper()
	attr.Port = u.port.Num()
	h, err := u.pd.CreateAH(attr)
	if err != nil {
		u.t.Fatal(err)
	}
	b := u.pd.Buffers().Get(len(data))
	copy(b.Bytes(), data)
	if _, err := u.qp.PostSend([]rdma.SendWR{{Buf: b, AH: h, RemoteQPN: to, RemoteQKey: 0x80000b1b}}, nil); err != nil {
		u.t.Fatal(err)
	}
}

// got returns the messages that came, as strings.
func (u *udPair) got() []string {
	var out []string
	var wc [16]rdma.WorkCompletion
	for n := u.recv.Poll(wc[:]); n > 0; n = u.recv.Poll(wc[:]) {
		for _, w := range wc[:n] {
			out = append(out, string(w.Buf.Bytes()))
			w.Buf.Free()
		}
	}
	return out
}

// vector returns a frame of rdma/header/testdata/frames.txt.
func vector(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("../header/testdata/frames.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n"+name+" ")
	if !ok {
		t.Fatalf("no vector %s", name)
	}
	_, rest, _ = strings.Cut(rest, "\n")
	rest, _, _ = strings.Cut(rest, "\n\n")
	b, err := hex.DecodeString(strings.Join(strings.Fields(rest), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What a host sends is, byte for byte, the reference frame.
func TestWireFormatOfSends(t *testing.T) {
	n, a, b := vectorNet(t)
	var frames []string
	cancel, err := n.f.Tap(n.sw.At(1), func(f Frame) {
		if f.Dir == DirIn {
			frames = append(frames, hex.EncodeToString(f.Data))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	payload := func(name string) []byte {
		p, err := header.Parse(vector(t, name))
		if err != nil {
			t.Fatal(err)
		}
		return p.Payload
	}
	// V1: ARP request to the broadcast group, PSN 1; the group's MLID is
	// 0xc001 there.
	mgid := rdma.MustParseGID("ff12:401b:8001::ffff:ffff")
	a.send(rdma.AHAttr{DLID: 0xc001, GRH: &rdma.GRHAttr{DGID: mgid}}, rdma.QPNMulticast, payload("V1"))
	// V3: 33-byte datagram without GRH, PSN 2.
	a.send(rdma.AHAttr{DLID: 3}, b.qp.Num(), payload("V3"))
	// V4: the same with a GRH and PSN 2; PSN 3 here.
	dgid, _ := n.port(1).GID(0)
	a.send(rdma.AHAttr{DLID: 3, GRH: &rdma.GRHAttr{DGID: dgid, FlowLabel: 0x12345, TrafficClass: 0x20, HopLimit: 64}},
		b.qp.Num(), payload("V4"))
	cancel()
	v4 := vector(t, "V4")
	v4[59]++ // PSN
	header.SetICRC(v4[:len(v4)-2])
	header.SetVCRC(v4)
	for i, want := range []string{hex.EncodeToString(vector(t, "V1")), hex.EncodeToString(vector(t, "V3")), hex.EncodeToString(v4)} {
		if i >= len(frames) || frames[i] != want {
			t.Errorf("frame %d:\n got %v\nwant %v", i, frames[min(i, len(frames)-1)], want)
		}
	}
}

// edit changes a reference frame and, unless told not to, mends its CRCs.
func edit(f []byte, icrc, vcrc bool, change func([]byte) []byte) []byte {
	f = change(append([]byte(nil), f...))
	if icrc {
		header.SetICRC(f[:len(f)-2])
	}
	if vcrc {
		header.SetVCRC(f)
	}
	return f
}

func TestReceiveChecks(t *testing.T) {
	same := func(f []byte) []byte { return f }
	at := func(i int, v ...byte) func([]byte) []byte {
		return func(f []byte) []byte { copy(f[i:], v); return f }
	}
	for _, c := range []struct {
		name       string
		vector     string
		icrc, vcrc bool
		change     func([]byte) []byte
		deliver    bool
		drop       DropReason
	}{
		{"as is", "V3", false, false, same, true, DropNone},
		{"with GRH", "V4", false, false, same, true, DropNone},
		{"payload bit flipped", "V3", false, true, at(40, 0xff), false, DropICRC},
		{"VCRC bit flipped", "V3", false, false, func(f []byte) []byte { f[len(f)-1] ^= 1; return f }, false, DropVCRC},
		{"other Q_Key", "V3", true, true, at(20, 0x80, 0, 0x0b, 0x1c), false, DropQKey},
		{"other P_Key", "V3", true, true, at(10, 0x80, 0x02), false, DropPKey},
		{"limited P_Key to a full port", "V3", true, true, at(10, 0x00, 0x01), true, DropNone},
		{"P_Key 0x8000", "V3", true, true, at(10, 0x80, 0x00), false, DropPKey},
		{"VL 5", "V3", false, true, at(0, 0x50), true, DropNone},
		{"LVer 1", "V3", true, true, at(0, 0x01), false, DropLVer},
		{"TVer 1", "V3", true, true, at(9, 0x31), false, DropBTH},
		{"PktLen one more", "V3", false, true, at(5, 0x13), false, DropLength},
		{"PktLen one less", "V3", false, true, at(5, 0x11), false, DropLength},
		{"raw packet", "V3", false, true, at(1, 0x00), false, DropLNH},
		{"unknown opcode", "V3", true, true, at(8, 0x7f), false, DropOpcode},
		{"RC opcode to a UD pair", "V16", true, true, at(13, 0, 0, 0x49), false, DropOpcode},
		{"unknown queue pair", "V3", true, true, at(13, 0, 0x12, 0x34), false, DropNoQP},
		{"other DLID", "V3", true, true, at(2, 0, 9), false, DropDLID},
		{"other DGID", "V4", true, true, at(39, 0x77), false, DropGRH},
		{"broadcast to who has not attached", "V1", false, false, same, false, DropNoGroup},
		{"multicast without GRH", "V3", true, true, func(f []byte) []byte {
			copy(f[2:], []byte{0xc0, 0x01})
			copy(f[13:], []byte{0xff, 0xff, 0xff})
			return f
		}, false, DropGRH},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, _, b := vectorNet(t)
			p := n.hcas[1].ports[1]
			before := p.counters.drops[c.drop].Load()
			frame := edit(vector(t, c.vector), c.icrc, c.vcrc, c.change)
			if err := n.f.Inject(n.hcas[1].At(1), frame); err != nil {
				t.Fatal(err)
			}
			if got := len(b.got()) == 1; got != c.deliver {
				t.Errorf("delivered: %v; drops %v", got, p.Drops())
			}
			if c.drop != DropNone && p.counters.drops[c.drop].Load() != before+1 {
				t.Errorf("drops %v, want one more %v", p.Drops(), c.drop)
			}
		})
	}
}

// IBA 10.9.3, the truth table of partition membership.
func Test4392_S1_2_5_PKeyTruthTable(t *testing.T) {
	for _, c := range []struct {
		packet, entry rdma.PKey
		accept        bool
	}{
		{0x8001, 0x8001, true}, {0x8001, 0x0001, true}, {0x0001, 0x8001, true},
		{0x0001, 0x0001, false}, {0x8001, 0x8002, false}, {0x8000, 0x8000, false},
	} {
		n, _, b := vectorNet(t)
		n.set([]uint8{2}, mad.AttrPKeyTable, 0, &mad.PKeyTable{rdma.PKeyDefault, c.entry})
		frame := edit(vector(t, "V3"), true, true, func(f []byte) []byte {
			f[10], f[11] = byte(c.packet>>8), byte(c.packet)
			return f
		})
		before := n.port(1).Attr().PKeyViolations
		_ = n.f.Inject(n.hcas[1].At(1), frame)
		if got := len(b.got()) == 1; got != c.accept {
			t.Errorf("packet %v entry %v: accepted %v", c.packet, c.entry, got)
		}
		if v := n.port(1).Attr().PKeyViolations - before; (v == 0) != c.accept {
			t.Errorf("packet %v entry %v: %d violations", c.packet, c.entry, v)
		}
	}
}
