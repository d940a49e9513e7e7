//go:build integration

package tests

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ipoib/datapath"
	"ipoib/datapath/hostnet"
	"ipoib/datapath/tun"
	"ipoib/rdma"
	"ipoib/rdma/mad"
	"ipoib/rdma/soft"
	"ipoib/rdma/soft/sm"
	"ipoib/tests/umad2sim"
)

// The subnet manager and administration beside OpenSM: the unmodified program
// works on the software fabric by umad2sim.

// bluePartitions are the partitions of the fabric below: the second adapter is a
// limited member of one, the third none at all.
const bluePartitions = `Default=0x7fff, ipoib : ALL=full;
Blue=0x8002, ipoib, mtu=4, rate=3 : 0x100001=full, 0x100003=limited;
`

// subnet is a switch with three adapters, whose first has the manager. It is
// that of the exchanges with OpenSM that package sm replays.
type subnet struct {
	t      *testing.T
	fabric *soft.Fabric
	sw     *soft.Switch
	ports  []rdma.Port // of the adapters, from 1
	agents []*saAgent
}

func newSubnet(t *testing.T) *subnet {
	t.Helper()
	n := &subnet{
		t: t, fabric: soft.NewFabric(soft.Options{Seed: 1}), ports: make([]rdma.Port, 1), agents: make([]*saAgent, 1),
	}
	n.sw = must(n.fabric.AddSwitch(soft.SwitchConfig{
		NodeGUID: 0x200000, Desc: "switch", Ports: 8, MTU: rdma.MTU2048, Speed: rdma.SpeedSDR, Width: rdma.Width4X,
	}))
	for i := 1; i <= 3; i++ {
		h := must(n.fabric.AddHCA(soft.HCAConfig{
			Name: fmt.Sprint("hca", i), Desc: fmt.Sprintf("host%d hca%d", i, i), NodeGUID: rdma.GUID(0x100000 + 2*(i-1)),
			MTU: rdma.MTU2048, Speed: rdma.SpeedSDR, Width: rdma.Width4X,
		}))
		must(n.fabric.Connect(h.At(1), n.sw.At(i)))
		p := must(h.Port(1))
		n.ports = append(n.ports, p)
		n.agents = append(n.agents, nil)
	}
	return n
}

// manage runs our own manager at the first adapter.
func (n *subnet) manage(partitions string) {
	n.t.Helper()
	var cfg sm.Config
	if partitions != "" {
		cfg.Partitions = must(sm.ParsePartitions(strings.NewReader(partitions)))
	}
	m := must(sm.New(n.ports[1], cfg))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	n.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			n.t.Error(err)
		}
	})
	n.waitUp()
}

// opensm runs OpenSM at the first adapter.
func (n *subnet) opensm(partitions string, flags ...string) *openSM {
	n.t.Helper()
	o := &openSM{n: n, dir: n.t.TempDir(), flags: flags}
	ports := map[string]umad2sim.Port{"switch": n.sw.ManagementPort()}
	for i, p := range n.ports[1:] {
		ports[fmt.Sprint("host", i+1)] = p
	}
	o.srv = must(umad2sim.Listen(strings.ReplaceAll(n.t.Name(), "/", "-"), ports))
	n.t.Cleanup(o.srv.Close)
	if partitions != "" {
		if err := os.WriteFile(filepath.Join(o.dir, "partitions.conf"), []byte(partitions), 0o644); err != nil {
			n.t.Fatal(err)
		}
	}
	o.start()
	n.waitUp()
	return o
}

// openSM is OpenSM at the first adapter of a subnet.
type openSM struct {
	n     *subnet
	srv   *umad2sim.Server
	dir   string
	flags []string
	cmd   *exec.Cmd
}

// program returns a program at a port. libumad2sim makes directories where it
// runs.
func (o *openSM) program(port, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = o.dir
	cmd.Env = append(o.srv.Env(port), "OSM_CACHE_DIR="+o.dir+"/", "OSM_TMP_DIR="+o.dir)
	return cmd
}

func (o *openSM) start() {
	o.n.t.Helper()
	o.cmd = o.program("host1", "opensm", append([]string{
		"-f", filepath.Join(o.dir, "osm.log"), "-P", filepath.Join(o.dir, "partitions.conf"),
	}, o.flags...)...)
	o.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := o.cmd.Start(); err != nil {
		o.n.t.Fatal(err)
	}
	cmd := o.cmd
	o.n.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if o.n.t.Failed() {
			text, _ := os.ReadFile(filepath.Join(o.dir, "osm.log"))
			o.n.t.Logf("OpenSM's log:\n%s", text[max(0, len(text)-4000):])
		}
	})
}

// waitUp waits until the ports are active and the SA answers.
func (n *subnet) waitUp() {
	n.t.Helper()
	a := n.newAgent(2)
	defer a.agent.Close()
	up := func() bool {
		for _, p := range n.ports[1:] {
			if p.Attr().State != rdma.PortActive {
				return false
			}
		}
		return a.exchange(mad.New(mad.ClassSA, mad.MethodGet, mad.AttrClassPortInfo), 200*time.Millisecond) != nil
	}
	for end := time.Now().Add(patience); !up(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			n.t.Fatal("the subnet does not come up")
		}
	}
}

func (n *subnet) gid(i int) rdma.GID {
	return rdma.MakeGID(rdma.DefaultSubnetPrefix, n.ports[i].GUID())
}

// saAgent asks the SA by hand.
type saAgent struct {
	port    rdma.Port
	agent   rdma.MADAgent
	answers chan *mad.MAD
	reports chan *mad.MAD
	tid     uint32
}

// agent returns that of adapter i.
func (n *subnet) agent(i int) *saAgent {
	n.t.Helper()
	if n.agents[i] == nil {
		n.agents[i] = n.newAgent(i)
		n.t.Cleanup(func() { _ = n.agents[i].agent.Close() })
	}
	return n.agents[i]
}

func (n *subnet) newAgent(i int) *saAgent {
	n.t.Helper()
	a := &saAgent{port: n.ports[i], answers: make(chan *mad.MAD, 64), reports: make(chan *mad.MAD, 4096)}
	ready := make(chan struct{})
	a.agent = must(n.ports[i].RegisterAgent(rdma.MADAgentConfig{
		QP: rdma.QPNGSI, Class: uint8(mad.ClassSA), ClassVersion: mad.SAClassVersion, Methods: []uint8{uint8(mad.MethodReport)},
		Receive: func(from rdma.MADAddr, b *[rdma.MADSize]byte) {
			<-ready
			m := mad.View(b)
			r := *m
			switch h := m.RMPP(); {
			case m.Method() == mad.MethodReport:
				r.SetMethod(mad.MethodReportResp)
				_ = a.agent.Send(from, r.Bytes())
				a.reports <- m
				return
			case h.Type == mad.RMPPData:
				// A table, whose first segment is enough.
				r.SetMethod(mad.MethodGetTable)
				r.SetRMPP(mad.RMPPHeader{
					Version: mad.RMPPVersion, Type: mad.RMPPAck, Flags: mad.RMPPFlagActive, Segment: h.Segment, Data2: h.Segment + 1,
				})
				_ = a.agent.Send(from, r.Bytes())
			case h.Type != mad.RMPPNone:
				return
			}
			a.answers <- m
		},
	}))
	close(ready)
	return a
}

// exchange sends a request and returns the answer, or nil when none comes in
// time.
func (a *saAgent) exchange(m *mad.MAD, wait time.Duration) *mad.MAD {
	a.tid++
	m.SetTID(uint64(a.tid))
	attr := a.port.Attr()
	if a.agent.Send(rdma.MADAddr{LID: attr.SMLID, QPN: rdma.QPNGSI, QKey: rdma.QKeyGSI}, m.Bytes()) != nil {
		return nil // no manager yet
	}
	for end := time.After(wait); ; {
		select {
		case got := <-a.answers:
			if uint32(got.TID()) == a.tid {
				return got
			}
		case <-end:
			return nil
		}
	}
}

// saExchange is a request to both.
type saExchange struct {
	from   int
	method mad.Method
	attr   mad.AttrID
	mask   mad.ComponentMask
	key    uint64
	rec    mad.Attribute
}

func (x *saExchange) mad() *mad.MAD {
	m := mad.New(mad.ClassSA, x.method, x.attr)
	m.SetComponentMask(x.mask)
	m.SetSMKey(x.key)
	if x.rec != nil {
		m.SetAttr(x.rec)
	}
	return m
}

func (x *saExchange) String() string {
	return fmt.Sprintf("%v(%s) from adapter %d, mask %#x, %+v", x.method, x.attr.Name(mad.ClassSA), x.from, uint64(x.mask), x.rec)
}

// sameAnswer compares what counts of two answers: status, attribute offset and
// the record of an answer, the first record of a table. What is behind the
// record OpenSM leaves undefined.
func sameAnswer(x *saExchange, want, got *mad.MAD) string {
	switch {
	case want == nil || got == nil:
		return fmt.Sprintf("OpenSM answers: %v, we: %v", want != nil, got != nil)
	case want.Method() != got.Method() || want.Status() != got.Status() || want.AttrOffset() != got.AttrOffset() || want.SMKey() != got.SMKey():
		return fmt.Sprintf("OpenSM: %v, offset %d; we: %v, offset %d", want, want.AttrOffset(), got, got.AttrOffset())
	}
	n, theirs, ours := x.rec.Len(), *want, *got
	if want.Method() == mad.MethodGetTableResp && want.Status() == mad.StatusOK {
		w, g := int(want.RMPP().Data2)-mad.SAHeaderLen, int(got.RMPP().Data2)-mad.SAHeaderLen
		if w != min(g, mad.SADataLen) { // umad2sim cuts
			return fmt.Sprintf("OpenSM: %d octets of records, we: %d", w, g)
		}
		n = w
	}
	if x.key != 0 && x.attr == mad.AttrMCMemberRecord {
		// OpenSM has the bit ProxyJoin of memberships in the wrong place.
		for at := 49; at < n; at += mad.MCMemberRecordLen {
			theirs.SAData()[at], ours.SAData()[at] = 0, 0
		}
	}
	if !bytes.Equal(theirs.SAData()[:n], ours.SAData()[:n]) {
		return fmt.Sprintf("OpenSM: % x\nwe:     % x", want.SAData()[:n], got.SAData()[:n])
	}
	return ""
}

// TestOpenSMAnswers asks OpenSM and our SA the same, on two fabrics that are
// alike: joins, leaves and questions about groups and paths of all kinds, and
// compares the answers byte for byte, and the reports of groups.
func TestOpenSMAnswers(t *testing.T) {
	for name, partitions := range map[string]string{
		"two partitions": bluePartitions,
		"no file":        "",
		"limited":        "Default=0x7fff, ipoib : ALL=limited, SELF=full;\n",
		"parameters":     "Default=0x7fff, ipoib, rate=2, mtu=3, sl=2, Q_Key=0x80000b1b : ALL=full;\n",
		"no IPoIB":       "Default=0x7fff : ALL=full;\nBlue=0x0002, ipoib : ALL=full;\n",
	} {
		t.Run(name, func(t *testing.T) {
			theirs, ours := newSubnet(t), newSubnet(t)
			theirs.opensm(partitions, "-Q") // or else it does not look at SLs
			ours.manage(partitions)
			for i := range ours.ports[1:] {
				if a, b := theirs.ports[i+1].Attr(), ours.ports[i+1].Attr(); a != b {
					t.Errorf("port %d: OpenSM's\n%+v\nours\n%+v", i+1, a, b)
				}
				for k := range 3 {
					a, b := must(theirs.ports[i+1].PKey(k)), must(ours.ports[i+1].PKey(k))
					if a != b {
						t.Errorf("port %d: OpenSM's P_Key %d is %v, ours %v", i+1, k, a, b)
					}
				}
			}
			g := newSAGenerator(rand.New(rand.NewPCG(2, 1)), ours)
			subscribe := &saExchange{from: 2, method: mad.MethodSet, attr: mad.AttrInformInfo, rec: &mad.InformInfo{
				LIDRangeBegin: 0xffff, IsGeneric: true, Subscribe: true, Type: 0xffff, TrapNumber: 0xffff, ProducerType: 0xffffff,
			}}
			statuses, failed := map[mad.Status]int{}, 0
			for k := range 1500 {
				x := subscribe
				if k > 0 {
					x = g.next()
				}
				want, got := theirs.agent(x.from).exchange(x.mad(), patience), ours.agent(x.from).exchange(x.mad(), patience)
				if d := sameAnswer(x, want, got); d != "" {
					t.Errorf("%d: %v\n%s", k, x, d)
					if failed++; failed == 10 || want == nil {
						break
					}
				}
				statuses[want.Status()]++
				g.learn(x, want)
			}
			a, b := theirs.agents[2].groupReports(), ours.agents[2].groupReports()
			if d := cmp.Diff(a, b); d != "" {
				t.Errorf("reports (-OpenSM +ours):\n%s", d)
			}
			t.Logf("answers by status: %v; %d reports", statuses, len(a))
			for _, st := range []mad.Status{mad.StatusOK, mad.SAStatusReqInvalid, mad.SAStatusNoRecords, mad.SAStatusInsufficientComponents} {
				if statuses[st] < 10 {
					t.Errorf("%v was answered %d times", st, statuses[st])
				}
			}
		})
	}
}

// groupReports returns the reports of groups that came and went, once no more
// come.
func (a *saAgent) groupReports() (out []string) {
	for {
		select {
		case m := <-a.reports:
			var n mad.Notice
			if m.Attr(&n) == nil && (n.TrapNumber == mad.TrapMCGroupCreated || n.TrapNumber == mad.TrapMCGroupDeleted) {
				d := m.SAData() // whose unused octets OpenSM leaves undefined
				out = append(out, fmt.Sprintf("% x, % x, % x", d[:8], d[16:32], d[64:80]))
			}
		case <-time.After(2 * time.Second):
			return out
		}
	}
}

// TestOpenSMManages runs interfaces on a fabric that OpenSM manages: they come
// up, reach each other, also in a partition of their own, and survive its
// restart, in which it forgets the groups.
func TestOpenSMManages(t *testing.T) {
	n := newSubnet(t)
	o := n.opensm("Default=0x7fff, ipoib : ALL=full;\nBlue=0x0002, ipoib : ALL=full;\n")
	l := &lab{t: t}
	drv := datapath.New(datapath.System{Host: hostnet.NewHost(), OpenTUN: tun.Open, Seed: 1}, datapath.Params{})
	defer drv.Close(true)
	host := func(i int) string { return fmt.Sprintf("osm%d", i) }
	var ifaces []*datapath.Interface
	for i := 2; i <= 3; i++ {
		l.run("ip", "netns", "add", host(i))
		t.Cleanup(func() { l.run("ip", "netns", "del", host(i)) })
		ns := must(hostnet.NewHost().ByName(host(i)))
		ib0 := must(drv.AddPort(datapath.PortConfig{Port: n.ports[i], NS: ns, Name: "ib0"}))
		ifaces = append(ifaces, ib0, must(drv.CreateChild(ib0, 0x8002)))
		for k, dev := range []string{"ib0", "ib0.8002"} {
			l.run("ip", "-n", host(i), "addr", "add", fmt.Sprintf("10.9.%d.%d/24", k, i), "dev", dev)
			l.run("ip", "-n", host(i), "link", "set", dev, "up")
		}
	}
	reach := func() {
		t.Helper()
		for _, i := range ifaces {
			if err := i.FlushNeighbours(); err != nil { // they ask by broadcast again
				t.Fatal(err)
			}
		}
		for _, to := range []string{"10.9.0.3", "10.9.1.3"} {
			l.eventually("ping "+to, func() bool {
				return l.try("ip", "netns", "exec", host(2), "ping", "-c", "1", "-W", "1", to) == nil
			})
			l.run("ip", "netns", "exec", host(2), "ping", "-c", "5", "-i", "0.05", "-W", "2", to)
		}
		// A group that nobody has made yet, and IPv6.
		l.run("ip", "netns", "exec", host(3), "ping", "-c", "2", "-i", "0.2", "-W", "2", "ff02::1%ib0")
	}
	reach()
	// At the switch: adapter 1 has OpenSM, the others our own clients.
	diag := func(name string, args ...string) ([]byte, error) {
		return o.program("switch", name, args...).CombinedOutput()
	}
	for _, c := range []struct{ line, want string }{
		{"ibnetdiscover", `[3]	"H-0000000000100004"[1](100005) 		# "host3 hca3" lid 4 4xSDR`},
		{"sminfo", "sm lid 1 sm guid 0x100001"},
		{"ibtracert 3 4", `To ca {0x0000000000100004} portnum 1 lid 4-4 "host3 hca3"`},
		{"iblinkinfo", `( 4X           2.5 Gbps Active/  LinkUp)==>       3    1[  ] "host2 hca2" ( )`},
		{"ibroute 2", "0x0004 003 : (Channel Adapter portguid 0x0000000000100005: 'host3 hca3')"},
		{"ibroute -M 2", "0xc000"},
		{"perfquery 3 1", "PortRcvErrors:...................0\n"},
		{"smpquery pkeys 3 1", "0xffff 0x8002"},
	} {
		name, args, _ := strings.Cut(c.line, " ")
		if out, err := diag(name, strings.Fields(args)...); err != nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: %v, no %q in\n%s", c.line, err, c.want, out)
		}
	}
	_ = o.cmd.Process.Kill()
	_ = o.cmd.Wait()
	for _, i := range ifaces {
		if !i.Info().Carrier {
			t.Errorf("%s has no carrier without a manager", i.Info().Name)
		}
	}
	l.run("ip", "netns", "exec", host(2), "ping", "-c", "3", "-i", "0.05", "-W", "2", "10.9.0.3")
	o.start()
	l.eventually("OpenSM is the master again", func() bool {
		out, err := diag("sminfo")
		return err == nil && strings.Contains(string(out), "SMINFO_MASTER")
	})
	reach()
}
