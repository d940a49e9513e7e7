package sm

import (
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
	"ipoib/rdma/soft"
)

// TestNodesComeAndGo: nodes that are added come up by the trap of their switch;
// nodes that are gone lose memberships, and keep their LID for their return.
func TestNodesComeAndGo(t *testing.T) {
	inVectorNet(t, "", func(t *testing.T, n *vectorNet) {
		h := n.hca("late", 0x500000)
		l := n.link(h.At(1), n.sw1.At(5))
		settle(time.Second)
		p := port1(t, h)
		if a := p.Attr(); a.State != rdma.PortActive || a.LID != 5 {
			t.Fatalf("new node: %+v", a)
		}
		n.join(t, 3, mad.MCRJoinCreate, n.createRec(3, groupMGID))
		gone := n.fabric.LinkAt(n.sw1.At(3))
		gone.SetUp(false)
		settle(time.Second)
		st := n.sm.State()
		if _, ok := st.Group(groupMGID); ok || len(st.Nodes) != 4 || n.sm.LIDOf(0x100005) != 0 {
			t.Errorf("node that is gone: %d nodes, group %v", len(st.Nodes), ok)
		}
		h2 := n.hca("later", 0x600000)
		n.link(h2.At(1), n.sw1.At(6))
		settle(time.Second)
		if got := n.sm.LIDOf(0x600001); got != 6 {
			t.Errorf("new node has LID %v", got)
		}
		gone.SetUp(true)
		settle(time.Second)
		if got := n.sm.LIDOf(0x100005); got != 4 || n.ports[3].Attr().State != rdma.PortActive {
			t.Errorf("node that came back has LID %v", got)
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		settle(time.Second)
		if len(n.sm.State().Nodes) != 5 || l.IsUp() {
			t.Errorf("%d nodes", len(n.sm.State().Nodes))
		}
	})
}

// TestDeadSMA: a node that does not answer does not keep the others from
// coming up, and comes up when it answers.
func TestDeadSMA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		sw := n.sw(0x200000, 8)
		a, b, c := n.hca("a", 0x100000), n.hca("b", 0x100002), n.hca("c", 0x100004)
		n.link(a.At(1), sw.At(1))
		dead := n.link(b.At(1), sw.At(2))
		n.link(c.At(1), sw.At(3))
		dead.SetFaults(soft.Faults{Loss: 1, Match: func(p soft.PacketInfo) bool { return p.Management }})
		n.manage(port1(t, a), Config{})
		if st := port1(t, c).Attr(); st.State != rdma.PortActive {
			t.Errorf("third node: %+v", st)
		}
		if st := port1(t, b).Attr(); st.State != rdma.PortInit {
			t.Errorf("dead node: %+v", st)
		}
		settle(time.Minute)
		if st := n.sm.State().Stats; st.HeavySweeps > 2 || st.LightSweeps < 5 {
			t.Errorf("a dead node keeps the manager busy: %+v", st)
		}
		dead.SetFaults(soft.Faults{})
		settle(2 * DefaultSweepInterval)
		if st := port1(t, b).Attr(); st.State != rdma.PortActive {
			t.Errorf("node that answers again: %+v", st)
		}
		if st := n.sm.State().Stats; st.LastFailed != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// TestNodeDiesDuringSweep: a node that answers the first request only.
func TestNodeDiesDuringSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		sw, far := n.sw(0x200000, 8), n.sw(0x200001, 36)
		a, b := n.hca("a", 0x100000), n.hca("b", 0x100002)
		n.link(a.At(1), sw.At(1))
		n.link(b.At(1), sw.At(2))
		l := n.link(far.At(1), sw.At(3))
		var seen atomic.Int32
		l.SetFaults(soft.Faults{Loss: 1, Match: func(p soft.PacketInfo) bool {
			return p.Management && seen.Add(1) > 2
		}})
		begin := time.Now()
		n.manage(port1(t, a), Config{})
		if took := time.Since(begin); took > 20*time.Second {
			t.Errorf("up after %v", took)
		}
		if st := port1(t, b).Attr(); st.State != rdma.PortActive {
			t.Errorf("other node: %+v", st)
		}
		l.SetFaults(soft.Faults{})
		settle(time.Minute)
		if n.sm.LIDOf(0x200001) == 0 || n.sm.State().Stats.LastFailed != 0 {
			t.Errorf("switch did not come up: %+v", n.sm.State().Stats)
		}
	})
}

// Test4392_S1_2_4_SLToVL: a configured table is written to all ports.
func Test4392_S1_2_4_SLToVL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		hcas, _ := ring(t, n)
		table := &mad.SLtoVLMappingTable{0, 1, 2, 3, 3, 2, 1, 0}
		n.manage(port1(t, hcas[0]), Config{SLtoVL: table})
		var ca, sw mad.SLtoVLMappingTable
		reqs := []*smp{
			get(nil, []uint8{1, 2}, mad.AttrSLtoVLMappingTable, 0, &ca),
			get(nil, []uint8{1}, mad.AttrSLtoVLMappingTable, mad.SLtoVLMod(1, 5), &sw),
		}
		if n.sm.run(t.Context(), reqs) != 0 || ca != *table || sw != *table {
			t.Errorf("%v %v", ca, sw)
		}
	})
}

// TestMLIDsRunOut: there are as many groups as the smallest switch forwards.
func TestMLIDsRunOut(t *testing.T) {
	inVectorNet(t, "", func(t *testing.T, n *vectorNet) {
		n.sm.mu.Lock()
		n.sm.groups.capacity = 4
		n.sm.mu.Unlock()
		var last mad.Status
		for i := range 4 {
			g := groupMGID
			g[14] = byte(i)
			last, _ = n.join(t, 2, mad.MCRJoinCreate, n.createRec(2, g))
			if i < 3 && last != 0 {
				t.Errorf("group %d: %v", i, last)
			}
		}
		if last != mad.SAStatusNoResources {
			t.Errorf("%v", last)
		}
		// One that is asked for is given when it is free.
		n.sm.mu.Lock()
		n.sm.groups.capacity = 100
		n.sm.mu.Unlock()
		r := n.createRec(2, rdma.MustParseGID("ff12:601b:ffff::77"))
		r.MLID = 0xc020
		if _, got := n.join(t, 2, mad.MCRJoinCreate, r); got.MLID != 0xc020 {
			t.Errorf("MLID %v", got.MLID)
		}
	})
}

// TestLIDsRunOut: LIDs of ports that are gone are given out again when no
// other is left.
func TestLIDsRunOut(t *testing.T) {
	s := &SM{log: testLog(t), known: make(map[rdma.GUID]rdma.LID)}
	for l := rdma.LIDFirstUnicast; l <= lastLID; l++ {
		s.known[rdma.GUID(l)<<8] = l
	}
	tp := newTopology()
	for _, g := range []rdma.GUID{5 << 8, 1, 2} {
		n := &node{info: mad.NodeInfo{NodeType: mad.NodeTypeCA, NodeGUID: g}}
		tp.add(n)
		tp.reach(n, &mad.NodeInfo{LocalPortNum: 1, PortGUID: g}, nil)
	}
	s.assignLIDsLocked(tp)
	if a, b, c := tp.ends[0].lid, tp.ends[1].lid, tp.ends[2].lid; a != 5 || b != 1 || c != 2 {
		t.Errorf("LIDs %v %v %v", a, b, c)
	}
}

// TestDuplicateGUID: of two nodes with one GUID the second is left out.
func TestDuplicateGUID(t *testing.T) {
	s := &SM{log: testLog(t)}
	d := &discovery{s: s, t: newTopology(), claims: make(map[*port]claim)}
	sw := &node{info: mad.NodeInfo{NodeType: mad.NodeTypeSwitch, NodeGUID: 1, PortGUID: 1, NumPorts: 8}}
	d.t.add(sw)
	claimed := func(p *port, info mad.NodeInfo) *node {
		n, _ := d.meet(&info, []uint8{p.num})
		if n != nil {
			d.claims[p] = claim{n, info.LocalPortNum}
			d.order = append(d.order, p)
		}
		return n
	}
	ca := mad.NodeInfo{NodeType: mad.NodeTypeCA, NodeGUID: 0x10, PortGUID: 0x11, NumPorts: 2, LocalPortNum: 1}
	first := claimed(sw.ports[1], ca)
	if claimed(sw.ports[2], ca) != first {
		t.Fatal("the same node looks different")
	}
	second := ca
	second.LocalPortNum, second.PortGUID = 2, 0x12
	claimed(sw.ports[3], second)
	stolen := ca
	stolen.NodeGUID = 0x20 // another node with a port GUID that is in use
	if claimed(sw.ports[4], stolen) != nil {
		t.Error("port GUID in use twice was accepted")
	}
	other := mad.NodeInfo{NodeType: mad.NodeTypeSwitch, NodeGUID: 2, PortGUID: 2, NumPorts: 8, LocalPortNum: 5}
	far := claimed(sw.ports[5], other)
	claimed(sw.ports[6], other) // its twin, reached by its port 5
	d.claims[far.ports[5]] = claim{sw, 5}
	d.order = append(d.order, far.ports[5])
	d.join()
	for i, want := range map[int]bool{1: true, 2: false, 3: true, 4: false, 5: true, 6: false} {
		if got := sw.ports[i].linked(); got != want {
			t.Errorf("port %d linked: %v", i, got)
		}
	}
	if len(d.t.ends) != 4 {
		t.Errorf("%d end ports", len(d.t.ends))
	}
}

// TestBackToBack: two adapters without a switch.
func TestBackToBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		a, b := n.hca("a", 0x100000), n.hca("b", 0x100002)
		l := n.link(a.At(1), b.At(1))
		n.manage(port1(t, a), Config{})
		if st := port1(t, b).Attr(); st.State != rdma.PortActive || st.LID != 2 || st.SMLID != 1 {
			t.Errorf("%+v", st)
		}
		l.SetUp(false)
		settle(15 * time.Second)
		l.SetUp(true)
		settle(15 * time.Second)
		if st := port1(t, b).Attr(); st.State != rdma.PortActive {
			t.Errorf("after a flap: %+v", st)
		}
		m := mad.New(mad.ClassSA, mad.MethodGet, mad.AttrPathRecord)
		m.SetComponentMask(mad.PRIPoIB)
		m.SetAttr(&mad.PathRecord{DGID: rdma.MakeGID(rdma.DefaultSubnetPrefix, 0x100001), SGID: rdma.MakeGID(rdma.DefaultSubnetPrefix, 0x100003), PKey: 0xffff})
		if _, err := n.ask(n.saClient(port1(t, b)), port1(t, b), m); err != nil {
			t.Error(err)
		}
	})
}

// TestManagerAtSwitch: the manager may run at the management port of a switch.
func TestManagerAtSwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		sw := n.sw(0x2f0000, 4)
		h := n.hca("x", 0x1f0000)
		n.link(h.At(1), sw.At(1))
		n.manage(sw.ManagementPort(), Config{})
		if st := port1(t, h).Attr(); st.State != rdma.PortActive || st.LID != 2 || st.SMLID != 1 {
			t.Errorf("%+v", st)
		}
		s := n.station(t, h)
		if mlid := s.join(mad.JoinFullMember); mlid != 0xc000 {
			t.Errorf("MLID %v", mlid)
		}
	})
}

// TestPrefix: a subnet prefix other than the default.
func TestPrefix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const prefix = 0xfec0000000000001
		n := newNet(t)
		sw := n.sw(0x200000, 8)
		a, b := n.hca("a", 0x100000), n.hca("b", 0x100002)
		n.link(a.At(1), sw.At(1))
		n.link(b.At(1), sw.At(2))
		n.manage(port1(t, a), Config{SubnetPrefix: prefix})
		p := port1(t, b)
		if g, err := p.GID(0); err != nil || g != rdma.MakeGID(prefix, 0x100003) {
			t.Errorf("GID %v %v", g, err)
		}
		c := n.saClient(p)
		for pre, want := range map[uint64]mad.Status{prefix: 0, rdma.DefaultSubnetPrefix: 0, 0xfec0000000000002: mad.SAStatusReqInvalidGID} {
			m := mad.New(mad.ClassSA, mad.MethodSet, mad.AttrMCMemberRecord)
			m.SetComponentMask(mad.MCRJoin)
			m.SetAttr(&mad.MCMemberRecord{MGID: bcastMGID, PortGID: rdma.MakeGID(pre, 0x100003), PKey: 0xffff, JoinState: 1})
			resp, err := n.ask(c, p, m)
			if resp == nil || resp.MAD.Status() != want {
				t.Errorf("prefix %#x: %v", pre, err)
				continue
			}
			var rec mad.MCMemberRecord
			if err := resp.MAD.Attr(&rec); err != nil || rec.PortGID.Prefix() != pre {
				t.Errorf("answer has PortGID %v", rec.PortGID)
			}
		}
	})
}

// TestLIDConflict: two ports with one LID, as after two subnets were joined.
func TestLIDConflict(t *testing.T) {
	s := &SM{log: testLog(t), known: map[rdma.GUID]rdma.LID{7: 9}}
	tp := newTopology()
	for i, lid := range []rdma.LID{3, 3, 0, 9, 0xc005} {
		n := &node{info: mad.NodeInfo{NodeType: mad.NodeTypeCA, NodeGUID: rdma.GUID(0x10 * (i + 1))}}
		tp.add(n)
		tp.reach(n, &mad.NodeInfo{LocalPortNum: 1, PortGUID: rdma.GUID(0x10*(i+1) + 1)}, nil).info.LID = lid
	}
	s.assignLIDsLocked(tp)
	var got []rdma.LID
	for _, p := range tp.ends {
		got = append(got, p.lid)
	}
	// LID 9 is kept for the port with GUID 7, which is gone for now.
	if want := []rdma.LID{3, 1, 2, 4, 5}; !slices.Equal(got, want) {
		t.Errorf("LIDs %v, want %v", got, want)
	}
}
