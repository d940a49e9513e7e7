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
			len(st.Partitions[0].Members) != 4 || len(st.Groups) != 1 || st.Stats.HeavySweeps != 1 || st.Stats.LastFailed != 0 {
			t.Errorf("%+v", st)
		}
		// Nothing happens in a subnet at rest.
		settle(10 * time.Minute)
		if st := n.sm.State(); st.Stats.HeavySweeps != 1 || st.Stats.LightSweeps != 60 {
			t.Errorf("%+v", st.Stats)
		}
	})
}
