package sm

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
	"ipoib/rdma/soft"
)

// station is an adapter with a UD queue pair, to send and receive multicast.
type station struct {
	t    *testing.T
	net  *net
	port rdma.Port
	pd   rdma.PD
	qp   rdma.QP
	got  atomic.Int32
	sa   *mad.Client
}

func (n *net) station(t *testing.T, h *soft.HCA) *station {
	t.Helper()
	s := &station{t: t, net: n, port: port1(t, h)}
	var err error
	if s.pd, err = h.AllocPD(); err != nil {
		t.Fatal(err)
	}
	cq, err := h.CreateCQ(rdma.CQConfig{Depth: 64, Handler: func(cq rdma.CQ) {
		wcs := make([]rdma.WorkCompletion, 8)
		for k := cq.Poll(wcs); k > 0; k = cq.Poll(wcs) {
			for _, wc := range wcs[:k] {
				if wc.Opcode == rdma.WCRecv && wc.Status == rdma.WCSuccess {
					s.got.Add(1)
					wc.Buf.Free()
				}
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.qp, err = s.pd.CreateQP(rdma.QPConfig{
		Type: rdma.QPTUD, Port: 1, SendCQ: cq, RecvCQ: cq, MaxSend: 16, MaxRecv: 16, RecvSize: 2048, BlockMulticastLoopback: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		attr rdma.QPAttr
		mask rdma.QPAttrMask
	}{
		{rdma.QPAttr{State: rdma.QPSInit, QKey: DefaultGroupQKey}, rdma.QPAttrState | rdma.QPAttrPKeyIndex | rdma.QPAttrQKey},
		{rdma.QPAttr{State: rdma.QPSRTR}, rdma.QPAttrState},
		{rdma.QPAttr{State: rdma.QPSRTS}, rdma.QPAttrState | rdma.QPAttrSQPSN},
	} {
		if err := s.qp.Modify(step.attr, step.mask); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.qp.PostRecv(16); err != nil {
		t.Fatal(err)
	}
	s.sa = n.saClient(s.port)
	return s
}

// join makes the station a member of the broadcast group.
func (s *station) join(state mad.JoinState) rdma.LID {
	s.t.Helper()
	m := mad.New(mad.ClassSA, mad.MethodSet, mad.AttrMCMemberRecord)
	m.SetComponentMask(mad.MCRJoin)
	m.SetAttr(&mad.MCMemberRecord{
		MGID: bcastMGID, PortGID: rdma.MakeGID(rdma.DefaultSubnetPrefix, s.port.GUID()), PKey: 0xffff, JoinState: state,
	})
	resp, err := s.net.ask(s.sa, s.port, m)
	if err != nil {
		s.t.Fatal(err)
	}
	var rec mad.MCMemberRecord
	if err := resp.MAD.Attr(&rec); err != nil {
		s.t.Fatal(err)
	}
	if err := s.qp.AttachMulticast(bcastMGID, rec.MLID); err != nil {
		s.t.Fatal(err)
	}
	return rec.MLID
}

// send sends a datagram to the broadcast group.
func (s *station) send(mlid rdma.LID) {
	s.t.Helper()
	ah, err := s.pd.CreateAH(rdma.AHAttr{Port: 1, DLID: mlid, GRH: &rdma.GRHAttr{DGID: bcastMGID}})
	if err != nil {
		s.t.Fatal(err)
	}
	wr := []rdma.SendWR{{Buf: s.pd.Buffers().Get(100), AH: ah, RemoteQPN: rdma.QPNMulticast, RemoteQKey: DefaultGroupQKey}}
	if k, err := s.qp.PostSend(wr, nil); err != nil || k != 1 {
		s.t.Fatalf("%d %v", k, err)
	}
}

// checkMulticast has every station send once; every other receiver must get
// exactly one copy, and the others none.
func checkMulticast(t *testing.T, all []*station, mlid rdma.LID, receives func(i int) bool) {
	t.Helper()
	for i, from := range all {
		for _, s := range all {
			s.got.Store(0)
			_ = s.qp.PostRecv(1) // fails while the queue is full
		}
		from.send(mlid)
		synctest.Wait()
		for j, s := range all {
			want := int32(0)
			if i != j && receives(j) {
				want = 1
			}
			if got := s.got.Load(); got != want {
				t.Errorf("from %d: station %d got %d copies, want %d", i, j, got, want)
			}
		}
	}
}

// ring makes three switches in a ring with double links, two adapters at each.
func ring(t *testing.T, n *net) (hcas []*soft.HCA, links []*soft.Link) {
	t.Helper()
	var sws []*soft.Switch
	for i := range 3 {
		sws = append(sws, n.sw(rdma.GUID(0x200000+i), 8))
	}
	for i, s := range sws {
		next := sws[(i+1)%3]
		links = append(links, n.link(s.At(5), next.At(7)), n.link(s.At(6), next.At(8)))
		for k := range 2 {
			h := n.hca(fmt.Sprint("h", i, k), rdma.GUID(0x100000+16*i+4*k))
			n.link(h.At(1), s.At(k+1))
			hcas = append(hcas, h)
		}
	}
	return hcas, links
}

// TestRing: with several ways there is no loop and no second copy, also when
// links go and come back.
func TestRing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		hcas, links := ring(t, n)
		n.manage(port1(t, hcas[0]), Config{})
		var all []*station
		var mlid rdma.LID
		for i, h := range hcas {
			s := n.station(t, h)
			state := mad.JoinFullMember
			if i == 5 {
				state = mad.JoinSendOnlyNonMember
			}
			mlid = s.join(state)
			all = append(all, s)
		}
		receives := func(i int) bool { return i != 5 }
		settle(time.Second)
		check := func() {
			t.Helper()
			checkMulticast(t, all, mlid, receives)
			st := n.sm.State()
			checkRoutes(t, &st, readBack(t, n.sm.smi, &st))
		}
		check()
		for _, down := range [][]int{{0}, {0, 1}, {2}, {4, 5}} {
			for _, i := range down {
				links[i].SetUp(false)
			}
			settle(2 * time.Second)
			check()
			for _, i := range down {
				links[i].SetUp(true)
			}
			settle(2 * time.Second)
			check()
		}
		if st := n.sm.State(); st.Stats.LastFailed != 0 || len(st.Links) != 12 {
			t.Errorf("%d links, %+v", len(st.Links), st.Stats)
		}
	})
}

// TestBalance: the ways to the adapters of a switch are spread over the links
// to it.
func TestBalance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		a, b := n.sw(0x200000, 12), n.sw(0x200001, 12)
		for i := range 4 {
			n.link(a.At(9+i), b.At(9+i))
		}
		var first *soft.HCA
		for i := range 8 {
			h := n.hca(fmt.Sprint("b", i), rdma.GUID(0x100000+4*i))
			n.link(h.At(1), b.At(i+1))
			if first == nil {
				first = h
			}
		}
		n.manage(port1(t, first), Config{})
		st := n.sm.State()
		lft := readBack(t, n.sm.smi, &st).lft[0x200000]
		use := map[uint8]int{}
		for i := range 8 {
			use[lft[n.sm.LIDOf(rdma.GUID(0x100001+4*i))]]++
		}
		for p := uint8(9); p <= 12; p++ {
			if use[p] != 2 {
				t.Errorf("port %d has %d ways: %v", p, use[p], use)
			}
		}
	})
}

// TestSwitchReplaced: a switch that went keeps nothing; one that lost its
// tables gets them again.
func TestSwitchReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		hcas, links := ring(t, n)
		n.manage(port1(t, hcas[0]), Config{})
		var all []*station
		var mlid rdma.LID
		for _, h := range hcas {
			s := n.station(t, h)
			mlid = s.join(mad.JoinFullMember)
			all = append(all, s)
		}
		everybody := func(int) bool { return true }
		settle(time.Second)
		// Somebody resets the third switch's tables, LID and all.
		far := n.sm.State().Nodes[slices.IndexFunc(n.sm.State().Nodes, func(x NodeState) bool { return x.GUID == 0x200002 })]
		var info mad.PortInfo
		route := n.sm.topo.byGUID[0x200002].route
		q := get(nil, route, mad.AttrPortInfo, 0, &info)
		if n.sm.run(t.Context(), []*smp{q}) != 0 {
			t.Fatal(q.err)
		}
		info.LID, info.PortState, info.PortPhysicalState = 0x99, 0, 0
		empty := new(mad.LinearForwardingTable)
		for i := range empty {
			empty[i] = mad.LFTNoPort
		}
		reqs := []*smp{
			set(nil, route, mad.AttrPortInfo, 0, &info, nil), set(nil, route, mad.AttrLinearForwardingTable, 0, empty, nil),
			set(nil, route, mad.AttrMulticastForwardingTable, 0, new(mad.MulticastForwardingTable), nil),
		}
		if n.sm.run(t.Context(), reqs) != 0 {
			t.Fatal("reset failed")
		}
		settle(2 * DefaultSweepInterval)
		if got := n.sm.LIDOf(0x200002); got != far.Ports[0].LID {
			t.Errorf("LID %v, was %v", got, far.Ports[0].LID)
		}
		checkMulticast(t, all, mlid, everybody)
		st := n.sm.State()
		checkRoutes(t, &st, readBack(t, n.sm.smi, &st))
		// The third switch goes with its two adapters.
		for _, i := range []int{2, 3, 4, 5} {
			links[i].SetUp(false)
		}
		settle(time.Second)
		st = n.sm.State()
		if g, _ := st.Group(bcastMGID); len(g.Members) != 4 || len(st.Nodes) != 6 {
			t.Errorf("%d members, %d nodes", len(g.Members), len(st.Nodes))
		}
		checkMulticast(t, all[:4], mlid, everybody)
	})
}
