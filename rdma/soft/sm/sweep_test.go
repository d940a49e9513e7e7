package sm

import (
	"testing"
	"testing/synctest"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

func TestSweepStar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		sw := n.sw(0x200000, 8)
		a, b, c := n.hca("a", 0x100000), n.hca("b", 0x100002), n.hca("c", 0x100004)
		n.link(a.At(1), sw.At(1))
		n.link(b.At(1), sw.At(2))
		n.link(c.At(1), sw.At(3))
		n.manage(port1(t, a), Config{})
		for i, p := range []rdma.Port{port1(t, a), port1(t, b), port1(t, c)} {
			at := p.Attr()
			if at.State != rdma.PortActive || at.SMLID != 1 {
				t.Errorf("port %d: %+v", i, at)
			}
		}
		for lid, g := range map[rdma.LID]rdma.GUID{1: 0x100001, 2: 0x200000, 3: 0x100003, 4: 0x100005} {
			if got := n.sm.LIDOf(g); got != lid {
				t.Errorf("LID of %v is %v, want %v", g, got, lid)
			}
		}
		st := n.sm.State()
		if st.State != mad.SMMaster || !st.Ready || len(st.Nodes) != 4 || len(st.Links) != 3 || len(st.Partitions) != 1 ||
			len(st.Partitions[0].Members) != 4 || len(st.Groups) != 1 || st.Stats.LastFailed != 0 {
			t.Errorf("%+v", st)
		}
		// The second sweep clears the change bit of the switch, as the master.
		settle(time.Second)
		if n := n.sm.State().Stats.HeavySweeps; n != 2 {
			t.Errorf("%d sweeps", n)
		}
		// Nothing happens in a subnet at rest.
		settle(10 * time.Minute)
		if st := n.sm.State(); st.Stats.HeavySweeps != 2 || st.Stats.LightSweeps != 60 {
			t.Errorf("%+v", st.Stats)
		}
	})
}

// TestWrittenByOthers: another manager may write back what a switch had before,
// or its own LID to the ports, while this one becomes the master. It mends that.
func TestWrittenByOthers(t *testing.T) {
	inStar(t, func(t *testing.T, n *net, ports []rdma.Port) {
		s := n.manage(ports[0], Config{})
		settle(time.Second)
		sw, end := s.topo.switches[0], s.topo.byPort[ports[2].GUID()] // the manager is at rest
		info, at := sw.sw.info, end.info
		info.LinearFDBTop = 0
		var got mad.SwitchInfo
		if s.run(t.Context(), []*smp{set(nil, sw.route, mad.AttrSwitchInfo, 0, &info, &got)}) != 0 || got.LinearFDBTop != 0 {
			t.Fatalf("%+v", got)
		}
		settle(DefaultSweepInterval)
		if s.run(t.Context(), []*smp{get(nil, sw.route, mad.AttrSwitchInfo, 0, &got)}) != 0 || got.LinearFDBTop != s.topo.topLID() {
			t.Errorf("%+v", got)
		}
		at.MasterSMLID, at.PortState, at.PortPhysicalState = 7, 0, 0
		if s.run(t.Context(), []*smp{set(nil, end.route, mad.AttrPortInfo, uint32(end.num), &at, nil)}) != 0 || ports[2].Attr().SMLID != 7 {
			t.Fatalf("%+v", ports[2].Attr())
		}
		settle(DefaultSweepInterval)
		if a := ports[2].Attr(); a.SMLID != ports[0].Attr().LID {
			t.Errorf("%+v", a)
		}
		if st := s.State().Stats; st.HeavySweeps != 4 {
			t.Errorf("%+v", st)
		}
	})
}
