package soft

import (
	"testing"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
	"ipoib/rdma/rdmatest"
)

// manager is a subnet manager by hand: each call sends one SMP from a port
// and waits for its answer.
type manager struct {
	t     testing.TB
	agent rdma.MADAgent
	resp  chan *mad.MAD
	tid   uint32
	traps chan *mad.MAD
}

func newManager(t testing.TB, register func(rdma.MADAgentConfig) (rdma.MADAgent, error)) *manager {
	t.Helper()
	m := &manager{t: t, resp: make(chan *mad.MAD, 16), traps: make(chan *mad.MAD, 64)}
	a, err := register(rdma.MADAgentConfig{
		QP: rdma.QPNSMI, Class: uint8(mad.ClassSM), ClassVersion: 1, Methods: []uint8{uint8(mad.MethodTrap)},
		Receive: func(from rdma.MADAddr, b *[rdma.MADSize]byte) {
			v := mad.View(b)
			if v.Method() == mad.MethodTrap {
				r := *v
				r.SetMethod(mad.MethodTrapRepress)
				_ = m.agent.Send(from, r.Bytes())
				m.traps <- v
				return
			}
			m.resp <- v
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	m.agent = a
	t.Cleanup(func() { _ = a.Close() })
	return m
}

// patience is how long tests wait for what does not come. Where that is what
// they expect they run in virtual time.
const patience = time.Minute

// do sends one directed-route SMP and returns the answer, or nil when none
// comes.
func (m *manager) do(method mad.Method, route []uint8, attr mad.AttrID, mod uint32, data mad.Attribute) *mad.MAD {
	m.t.Helper()
	q := mad.New(mad.ClassSMDirected, method, attr)
	if err := q.SetRoute(route); err != nil {
		m.t.Fatal(err)
	}
	q.SetAttrMod(mod)
	if data != nil {
		q.SetAttr(data)
	}
	return m.ask(q)
}

// ask sends one SMP and returns the answer, or nil when none comes.
func (m *manager) ask(q *mad.MAD) *mad.MAD {
	m.t.Helper()
	m.tid++
	q.SetTID(uint64(m.tid))
	if err := m.agent.Send(rdma.MADAddr{LID: rdma.LIDPermissive}, q.Bytes()); err != nil {
		m.t.Fatal(err)
	}
	for {
		select {
		case r := <-m.resp:
			if uint32(r.TID()) == m.tid {
				return r
			}
		case <-time.After(patience):
			return nil
		}
	}
}

// set is a Set that must succeed.
func (m *manager) set(route []uint8, attr mad.AttrID, mod uint32, data mad.Attribute) {
	m.t.Helper()
	r := m.do(mad.MethodSet, route, attr, mod, data)
	if r == nil || r.SMPStatus() != mad.StatusOK {
		m.t.Fatalf("Set %v mod %#x by route %v: %v", attr, mod, route, r)
	}
}

func (m *manager) portInfo(route []uint8, port uint32) mad.PortInfo {
	m.t.Helper()
	var i mad.PortInfo
	r := m.do(mad.MethodGet, route, mad.AttrPortInfo, port, nil)
	if r == nil || r.Attr(&i) != nil || r.SMPStatus() != mad.StatusOK {
		m.t.Fatalf("Get PortInfo %d by route %v: %v", port, route, r)
	}
	return i
}

// activate gives a port a LID (0 keeps it) and takes it to Active.
func (m *manager) activate(route []uint8, port uint32, lid rdma.LID) {
	m.t.Helper()
	i := m.portInfo(route, port)
	if lid != 0 {
		i.LID, i.MasterSMLID = lid, 1
	}
	i.PortState, i.PortPhysicalState = rdma.PortNop, 0
	m.set(route, mad.AttrPortInfo, port, &i)
	for _, s := range []rdma.PortState{rdma.PortArmed, rdma.PortActive} {
		i.PortState = s
		m.set(route, mad.AttrPortInfo, port, &i)
	}
}

// testNet is a switch with adapters at its ports 1, 2 ..., LIDs 2, 3 ...,
// managed from the switch, LID 1. Group 0xc000 goes to all of them.
type testNet struct {
	*manager
	f    *Fabric
	sw   *Switch
	hcas []*HCA
}

var testGroup = rdma.MustParseGID("ff12:401b:8001::ffff:ffff")

func newTestNet(t testing.TB, n int, change ...func(*HCAConfig)) *testNet {
	t.Helper()
	f := NewFabric(Options{Seed: 1})
	sw, err := f.AddSwitch(SwitchConfig{NodeGUID: 0x100, Desc: "sw", Ports: 8})
	if err != nil {
		t.Fatal(err)
	}
	net := &testNet{manager: newManager(t, sw.ManagementPort().RegisterAgent), f: f, sw: sw}
	i := net.portInfo(nil, 0)
	i.LID, i.MasterSMLID, i.PortState, i.PortPhysicalState = 1, 1, 0, 0
	net.set(nil, mad.AttrPortInfo, 0, &i)
	var lft mad.LinearForwardingTable
	for k := range lft {
		lft[k] = mad.LFTNoPort
	}
	lft[1] = 0
	var mft mad.MulticastForwardingTable
	for k := range n {
		cfg := HCAConfig{Name: string(rune('a' + k)), NodeGUID: rdma.GUID(0x1000 * (k + 1)), Desc: "host"}
		for _, c := range change {
			c(&cfg)
		}
		h, err := f.AddHCA(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = h.Close() })
		net.hcas = append(net.hcas, h)
		if _, err := f.Connect(h.At(1), sw.At(k+1)); err != nil {
			t.Fatal(err)
		}
		route := []uint8{uint8(k + 1)}
		pk := mad.PKeyTable{rdma.PKeyDefault, 0x8001}
		net.set(route, mad.AttrPKeyTable, 0, &pk)
		net.activate(route, 1, rdma.LID(k+2))
		net.activate(nil, uint32(k+1), 0)
		lft[k+2] = uint8(k + 1)
		mft[0] |= 1 << (k + 1)
	}
	net.set(nil, mad.AttrSwitchInfo, 0, &mad.SwitchInfo{LinearFDBTop: rdma.LID(n + 1), PortStateChange: true})
	net.set(nil, mad.AttrLinearForwardingTable, 0, &lft)
	net.set(nil, mad.AttrMulticastForwardingTable, mad.MFTMod(0, 0), &mft)
	return net
}

func (n *testNet) port(i int) rdma.Port {
	p, err := n.hcas[i].Port(1)
	if err != nil {
		n.t.Fatal(err)
	}
	return p
}

func TestProvider(t *testing.T) {
	rdmatest.RunVirtual(t, func(t *testing.T) rdmatest.Fixture {
		n := newTestNet(t, 2)
		return rdmatest.Fixture{A: n.port(0), B: n.port(1), PKey: 0x8001, MGID: testGroup, MLID: 0xc000}
	})
}

// The suite also passes where both ends are ports of one adapter.
func TestProviderOneAdapter(t *testing.T) {
	rdmatest.RunVirtual(t, func(t *testing.T) rdmatest.Fixture {
		n := newTestNet(t, 1, func(c *HCAConfig) { c.Ports = 2 })
		h := n.hcas[0]
		if _, err := n.f.Connect(h.At(2), n.sw.At(8)); err != nil {
			t.Fatal(err)
		}
		n.set([]uint8{8}, mad.AttrPKeyTable, 0, &mad.PKeyTable{rdma.PKeyDefault, 0x8001})
		n.activate([]uint8{8}, 2, 9)
		n.activate(nil, 8, 0)
		n.set(nil, mad.AttrSwitchInfo, 0, &mad.SwitchInfo{LinearFDBTop: 9})
		lft := mad.LinearForwardingTable{}
		for k := range lft {
			lft[k] = mad.LFTNoPort
		}
		lft[1], lft[2], lft[9] = 0, 1, 8
		n.set(nil, mad.AttrLinearForwardingTable, 0, &lft)
		n.set(nil, mad.AttrMulticastForwardingTable, 0, &mad.MulticastForwardingTable{1<<1 | 1<<8})
		p2, err := h.Port(2)
		if err != nil {
			t.Fatal(err)
		}
		return rdmatest.Fixture{A: n.port(0), B: p2, PKey: 0x8001, MGID: testGroup, MLID: 0xc000}
	})
}
