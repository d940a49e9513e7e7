package soft

import (
	"testing"
	"testing/synctest"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// trap waits for a trap of the given number.
func (m *manager) trap(want mad.TrapNumber) mad.Notice {
	m.t.Helper()
	for {
		select {
		case v := <-m.traps:
			n, err := v.Notice()
			if err != nil {
				m.t.Fatal(err)
			}
			if n.TrapNumber == want {
				return n
			}
		case <-time.After(patience):
			m.t.Fatalf("no trap %d", want)
		}
	}
}

func TestNodeInfo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestNet(t, 2)
		var info mad.NodeInfo
		get := func(route []uint8) {
			t.Helper()
			r := n.do(mad.MethodGet, route, mad.AttrNodeInfo, 0, nil)
			if r == nil || r.Attr(&info) != nil {
				t.Fatalf("NodeInfo by %v: %v", route, r)
			}
		}
		get(nil)
		if info.NodeType != mad.NodeTypeSwitch || info.NumPorts != 8 || info.NodeGUID != 0x100 || info.LocalPortNum != 0 {
			t.Errorf("switch: %+v", info)
		}
		get([]uint8{2})
		if info.NodeType != mad.NodeTypeCA || info.NumPorts != 1 || info.PortGUID != 0x2001 || info.LocalPortNum != 1 || info.PartitionCap != defaultPKeys {
			t.Errorf("adapter: %+v", info)
		}
		// Down to an adapter and on: adapters do not forward.
		if r := n.do(mad.MethodGet, []uint8{2, 1}, mad.AttrNodeInfo, 0, nil); r != nil {
			t.Errorf("an adapter forwarded: %v", r)
		}
		if r := n.do(mad.MethodGet, []uint8{7}, mad.AttrNodeInfo, 0, nil); r != nil {
			t.Errorf("a port without link answered: %v", r)
		}
		var d mad.NodeDescription
		if r := n.do(mad.MethodGet, []uint8{1}, mad.AttrNodeDescription, 0, nil); r == nil || r.Attr(&d) != nil || d.String() != "host" {
			t.Errorf("description %q", d.String())
		}
		if r := n.do(mad.MethodGet, nil, mad.AttrLedInfo, 0, nil); r == nil || r.SMPStatus() != mad.StatusMethodAttrUnsupported {
			t.Errorf("unsupported attribute: %v", r)
		}
	})
}

// The directed route goes over several switches and comes back.
func TestDirectedRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFabric(Options{})
		var sw []*Switch
		for i := range 4 {
			s, err := f.AddSwitch(SwitchConfig{NodeGUID: rdma.GUID(0x10 + i), Desc: "s", Ports: 4})
			if err != nil {
				t.Fatal(err)
			}
			sw = append(sw, s)
			if i > 0 {
				if _, err := f.Connect(sw[i-1].At(2), s.At(1)); err != nil {
					t.Fatal(err)
				}
			}
		}
		m := newManager(t, sw[0].ManagementPort().RegisterAgent)
		var info mad.NodeInfo
		for i := range sw {
			route := make([]uint8, i)
			for k := range route {
				route[k] = 2
			}
			r := m.do(mad.MethodGet, route, mad.AttrNodeInfo, 0, nil)
			if r == nil || r.Attr(&info) != nil || info.NodeGUID != rdma.GUID(0x10+i) {
				t.Fatalf("%d hops: %v %v", i, r, info.NodeGUID)
			}
			for k := 1; k <= i; k++ {
				if r.ReturnPath()[k] != 1 {
					t.Errorf("%d hops: return path %v", i, r.ReturnPath()[:i+1])
				}
			}
		}
		// Back and forth over the same link is a route as well.
		if r := m.do(mad.MethodGet, []uint8{2, 1, 2}, mad.AttrNodeInfo, 0, nil); r == nil || r.Attr(&info) != nil || info.NodeGUID != 0x11 {
			t.Errorf("route 2,1,2: %v", r)
		}
	})
}

func TestPortInfoSetIsAllOrNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestNet(t, 1)
		route := []uint8{1}
		good := n.portInfo(route, 1)
		good.PortState, good.PortPhysicalState = 0, 0
		for name, bad := range map[string]func(*mad.PortInfo){
			"LID 0":             func(p *mad.PortInfo) { p.LID = 0 },
			"multicast LID":     func(p *mad.PortInfo) { p.LID = 0xc000 },
			"MTU above the cap": func(p *mad.PortInfo) { p.NeighborMTU = 6 },
			"Armed from Active": func(p *mad.PortInfo) { p.PortState = rdma.PortArmed },
			"unknown phys":      func(p *mad.PortInfo) { p.PortPhysicalState = 7 },
			"VLs":               func(p *mad.PortInfo) { p.OperationalVLs = 5 },
		} {
			p := good
			p.LID, p.MasterSMSL = 77, 3
			bad(&p)
			r := n.do(mad.MethodSet, route, mad.AttrPortInfo, 1, &p)
			if r == nil || r.SMPStatus() != mad.StatusInvalidField {
				t.Errorf("%s: %v", name, r)
			}
			now := n.portInfo(route, 1)
			if now.LID != 2 || now.MasterSMSL != 0 || now.PortState != rdma.PortActive {
				t.Errorf("%s: LID %v SL %d state %v", name, now.LID, now.MasterSMSL, now.PortState)
			}
		}
	})
}

// A channel adapter raises the kernel's events when its registers change.
func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestNet(t, 1)
		route := []uint8{1}
		events := make(chan rdma.EventType, 64)
		cancel := n.hcas[0].SubscribeEvents(func(e rdma.AsyncEvent) {
			if e.Port == 1 {
				events <- e.Type
			}
		})
		defer cancel()
		want := func(what string, types ...rdma.EventType) {
			t.Helper()
			for _, w := range types {
				select {
				case got := <-events:
					if got != w {
						t.Errorf("%s: event %v, want %v", what, got, w)
					}
				case <-time.After(patience):
					t.Fatalf("%s: no event %v", what, w)
				}
			}
			synctest.Wait()
			select {
			case got := <-events:
				t.Errorf("%s: extra event %v", what, got)
			default:
			}
		}
		set := func(change func(*mad.PortInfo)) {
			t.Helper()
			i := n.portInfo(route, 1)
			i.PortState, i.PortPhysicalState = 0, 0
			change(&i)
			n.set(route, mad.AttrPortInfo, 1, &i)
		}
		set(func(i *mad.PortInfo) { i.LID = 40 })
		want("LID", rdma.EventLIDChange)
		set(func(i *mad.PortInfo) { i.MasterSMLID = 9 })
		want("SM LID", rdma.EventSMChange)
		set(func(i *mad.PortInfo) { i.ClientReregister = true })
		want("client reregister", rdma.EventClientReregister)
		set(func(i *mad.PortInfo) { i.GIDPrefix = 0xfe80000000000001 })
		want("subnet prefix", rdma.EventGIDChange)
		if g, _ := n.port(0).GID(0); g.Prefix() != 0xfe80000000000001 {
			t.Errorf("GID %v", g)
		}
		n.set(route, mad.AttrPKeyTable, 0, &mad.PKeyTable{rdma.PKeyDefault, 0x8002})
		want("P_Key", rdma.EventPKeyChange)
		n.set(route, mad.AttrPKeyTable, 0, &mad.PKeyTable{rdma.PKeyDefault, 0x8002})
		want("same P_Keys")
		n.set(route, mad.AttrGUIDInfo, 0, &mad.GUIDInfo{0, 0x99})
		want("alias GUID", rdma.EventGIDChange)
		if _, err := n.port(0).FindGID(rdma.MakeGID(0xfe80000000000001, 0x99)); err != nil {
			t.Error(err)
		}
		l := n.f.LinkAt(n.hcas[0].At(1))
		l.SetUp(false)
		want("link down", rdma.EventPortErr)
		l.SetUp(true)
		want("link up") // Init only: the manager has to make it Active
		n.activate(route, 1, 41)
		want("active", rdma.EventLIDChange, rdma.EventSMChange, rdma.EventPortActive)
	})
}

func TestTraps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := vectorNet(t)
		// 128: the switch tells of a link that went.
		l := n.f.LinkAt(n.hcas[1].At(1))
		l.SetUp(false)
		notice := n.trap(mad.TrapLinkStateChange)
		if d, err := notice.ParseDetails(); err != nil || d.(*mad.DetailsLink).LID != 1 || notice.IssuerLID != 1 {
			t.Errorf("trap 128: %+v %v", d, err)
		}
		var si mad.SwitchInfo
		if r := n.do(mad.MethodGet, nil, mad.AttrSwitchInfo, 0, nil); r.Attr(&si) != nil || !si.PortStateChange {
			t.Error("PortStateChange is not set")
		}
		l.SetUp(true)
		n.activate([]uint8{2}, 1, 3)
		n.activate(nil, 2, 0)
		// 258: wrong Q_Key; 257: wrong P_Key.
		for _, c := range []struct {
			trap mad.TrapNumber
			at   int
			v    []byte
			key  uint32
		}{{mad.TrapBadQKey, 20, []byte{0, 0, 0x12, 0x34}, 0x1234}, {mad.TrapBadPKey, 10, []byte{0x80, 0x05}, 0x8005}} {
			frame := edit(vector(t, "V3"), true, true, func(f []byte) []byte { copy(f[c.at:], c.v); return f })
			_ = n.f.Inject(n.hcas[1].At(1), frame)
			notice := n.trap(c.trap)
			d, err := notice.ParseDetails()
			if err != nil {
				t.Fatal(err)
			}
			k := d.(*mad.DetailsBadKey)
			if k.Key != c.key || k.LID1 != 2 || k.LID2 != 3 || k.QP1 != 0x48 || k.QP2 != 0x49 || notice.IssuerLID != 3 {
				t.Errorf("trap %d: %+v", c.trap, k)
			}
		}
		// 259: enforcement at the switch.
		n.set(nil, mad.AttrPKeyTable, mad.PKeyTableMod(0, 1), &mad.PKeyTable{rdma.PKeyDefault})
		i := n.portInfo(nil, 1)
		i.PortState, i.PortPhysicalState, i.PartitionEnforcementInbound = 0, 0, true
		n.set(nil, mad.AttrPortInfo, 1, &i)
		a.send(rdma.AHAttr{DLID: 3}, b.qp.Num(), []byte("x"))
		notice = n.trap(mad.TrapSwitchBadPKey)
		d, err := notice.ParseDetails()
		if err != nil {
			t.Fatal(err)
		}
		if s := d.(*mad.DetailsSwitchBadPKey); s.PKey != 0x8001 || s.PortNum != 1 || s.SwitchLID != 1 {
			t.Errorf("trap 259: %+v", s)
		}
		if got := b.got(); len(got) != 0 {
			t.Errorf("delivered %q through enforcement", got)
		}
		// 144: the IsSM bit of a port.
		if err := n.port(0).SetIsSM(true); err != nil {
			t.Fatal(err)
		}
		notice = n.trap(mad.TrapCapMaskChange)
		if d, err := notice.ParseDetails(); err != nil || d.(*mad.DetailsLocalChange).CapMask&mad.CapIsSM == 0 {
			t.Errorf("trap 144: %+v %v", d, err)
		}
	})
}

func TestMKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestNet(t, 1)
		route := []uint8{1}
		i := n.portInfo(route, 1)
		i.PortState, i.PortPhysicalState, i.MKey, i.MKeyProtectBits = 0, 0, 0xabc, 1
		n.set(route, mad.AttrPortInfo, 1, &i)
		if got := n.portInfo(route, 1); got.MKey != 0 {
			t.Errorf("protected M_Key reads %#x", got.MKey)
		}
		if r := n.do(mad.MethodSet, route, mad.AttrPortInfo, 1, &i); r != nil {
			t.Errorf("Set without the M_Key was answered: %v", r)
		}
		n.trap(mad.TrapBadMKey)
	})
}

func TestPerformanceManagement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := vectorNet(t)
		resp := make(chan *mad.MAD, 4)
		agent, err := n.port(0).RegisterAgent(rdma.MADAgentConfig{
			QP: rdma.QPNGSI, Class: uint8(mad.ClassPerf), ClassVersion: 1,
			Receive: func(_ rdma.MADAddr, m *[rdma.MADSize]byte) { resp <- mad.View(m) },
		})
		if err != nil {
			t.Fatal(err)
		}
		ask := func(method mad.Method, lid rdma.LID, attr mad.AttrID, data mad.Attribute) *mad.MAD {
			t.Helper()
			q := mad.New(mad.ClassPerf, method, attr)
			q.SetAttr(data)
			if err := agent.Send(rdma.MADAddr{LID: lid, QPN: rdma.QPNGSI, QKey: rdma.QKeyGSI}, q.Bytes()); err != nil {
				t.Fatal(err)
			}
			select {
			case r := <-resp:
				if r.Status() != mad.StatusOK {
					t.Fatalf("status %v", r.Status())
				}
				return r
			case <-time.After(patience):
				t.Fatal("the PMA does not answer")
				return nil
			}
		}
		counters := func(lid rdma.LID, port uint8) (c mad.PortCounters) {
			t.Helper()
			if err := ask(mad.MethodGet, lid, mad.AttrPortCounters, &mad.PortCounters{PortSelect: port}).Attr(&c); err != nil {
				t.Fatal(err)
			}
			return c
		}
		before := counters(3, 1)
		for range 10 {
			a.send(rdma.AHAttr{DLID: 3}, b.qp.Num(), make([]byte, 100))
		}
		after := counters(3, 1)
		// 10 packets of 8+12+8+100+4 bytes, and the request of 8+12+8+256+4.
		if p, w := after.RcvPkts-before.RcvPkts, after.RcvData-before.RcvData; p != 11 || w != 10*33+72 {
			t.Errorf("%d packets, %d words", p, w)
		}
		// Setting the classic counters leaves the extended ones alone.
		ask(mad.MethodSet, 3, mad.AttrPortCounters, &mad.PortCounters{PortSelect: 1, CounterSelect: mad.SelRcvPkts, RcvPkts: 0})
		if c := counters(3, 1); c.RcvPkts > 2 || c.RcvData <= after.RcvData {
			t.Errorf("after the reset: %d packets, %d words", c.RcvPkts, c.RcvData)
		}
		var ext mad.PortCountersExtended
		if err := ask(mad.MethodGet, 3, mad.AttrPortCountersExtended, &mad.PortCountersExtended{PortSelect: 1}).Attr(&ext); err != nil {
			t.Fatal(err)
		}
		if ext.Counters.RcvPkts < uint64(after.RcvPkts) || ext.Counters.UnicastRcvPkts != ext.Counters.RcvPkts {
			t.Errorf("extended: %+v", ext.Counters)
		}
		// All ports of the switch at once: what came in went out.
		if c := counters(1, mad.AllPorts); c.RcvPkts == 0 || c.XmitPkts == 0 {
			t.Errorf("switch: %+v", c)
		}
	})
}
