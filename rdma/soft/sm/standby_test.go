package sm

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// stoppable starts a manager that the test ends itself.
func (n *net) stoppable(p Port, cfg Config) (*SM, func()) {
	n.tb.Helper()
	cfg.Log = testLog(n.tb)
	s, err := New(p, cfg)
	if err != nil {
		n.tb.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(context.Background()) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		if err := s.Close(); err != nil {
			n.tb.Error(err)
		}
		if err := <-done; err != nil {
			n.tb.Error(err)
		}
	}
	n.tb.Cleanup(stop)
	return s, stop
}

func inStar(t *testing.T, f func(t *testing.T, n *net, ports []rdma.Port)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		sw := n.sw(0x200000, 8)
		var ports []rdma.Port
		for i := range 3 {
			h := n.hca(string(rune('a'+i)), rdma.GUID(0x100000+2*i))
			n.link(h.At(1), sw.At(i+1))
			ports = append(ports, port1(t, h))
		}
		f(t, n, ports)
	})
}

func checkManagers(t *testing.T, what string, want mad.SMState, s *SM) {
	t.Helper()
	if got := s.State().State; got != want {
		t.Errorf("%s: manager at %v is %v, want %v", what, s.port.GUID(), got, want)
	}
}

// TestStandby: the second manager watches the first, and takes over when it is
// gone; the ports keep their LIDs and are asked to register again.
func TestStandby(t *testing.T) {
	inStar(t, func(t *testing.T, n *net, ports []rdma.Port) {
		a, stop := n.stoppable(ports[0], Config{})
		n.waitReady(a)
		b, _ := n.stoppable(ports[1], Config{})
		settle(5 * time.Second)
		checkManagers(t, "first", mad.SMMaster, a)
		checkManagers(t, "second", mad.SMStandby, b)
		if st := b.State(); st.Master != ports[0].GUID() || st.Ready {
			t.Errorf("%+v", st)
		}
		before := ports[2].Attr().LID
		settle(5 * time.Minute)
		checkManagers(t, "after a while", mad.SMStandby, b)
		events := make(chan rdma.EventType, 16)
		defer ports[2].Device().SubscribeEvents(func(e rdma.AsyncEvent) { events <- e.Type })()
		stop()
		select {
		case <-b.Ready():
		case <-time.After(time.Minute):
			t.Fatal("standby did not take over")
		}
		checkManagers(t, "takeover", mad.SMMaster, b)
		settle(time.Second)
		at := ports[2].Attr()
		if at.LID != before || at.SMLID != ports[1].Attr().LID {
			t.Errorf("after takeover: %+v", at)
		}
		rereg := false
		for len(events) > 0 {
			rereg = rereg || <-events == rdma.EventClientReregister
		}
		if !rereg {
			t.Error("ports were not asked to register again")
		}
	})
}

// TestStandbyByRank: of managers that start together the higher priority wins,
// then the lower GUID.
func TestStandbyByRank(t *testing.T) {
	for _, tt := range []struct {
		name string
		prio [3]uint8
		want int
	}{{"GUID", [3]uint8{1, 1, 1}, 0}, {"priority", [3]uint8{1, 2, 9}, 2}} {
		t.Run(tt.name, func(t *testing.T) {
			inStar(t, func(t *testing.T, n *net, ports []rdma.Port) {
				var all []*SM
				for i, p := range ports {
					s, _ := n.stoppable(p, Config{Priority: tt.prio[i]})
					all = append(all, s)
				}
				settle(2 * time.Minute)
				for i, s := range all {
					want := mad.SMStandby
					if i == tt.want {
						want = mad.SMMaster
					}
					checkManagers(t, tt.name, want, s)
				}
				for _, p := range ports {
					if a := p.Attr(); a.SMLID != ports[tt.want].Attr().LID || a.State != rdma.PortActive {
						t.Errorf("%+v", a)
					}
				}
			})
		})
	}
}

// TestHandover: a master hands over to a better manager that appears.
func TestHandover(t *testing.T) {
	inStar(t, func(t *testing.T, n *net, ports []rdma.Port) {
		a, _ := n.stoppable(ports[0], Config{Priority: 1})
		n.waitReady(a)
		b, stop := n.stoppable(ports[1], Config{Priority: 5})
		settle(time.Minute)
		checkManagers(t, "old master", mad.SMStandby, a)
		checkManagers(t, "new master", mad.SMMaster, b)
		if at := ports[2].Attr(); at.SMLID != ports[1].Attr().LID || at.State != rdma.PortActive {
			t.Errorf("%+v", at)
		}
		stop()
		settle(2 * time.Minute)
		checkManagers(t, "after the new master went", mad.SMMaster, a)
	})
}

// TestSMInfo: the manager answers questions about itself, by both ways.
func TestSMInfo(t *testing.T) {
	inStar(t, func(t *testing.T, n *net, ports []rdma.Port) {
		s := n.manage(ports[0], Config{Priority: 4})
		c, err := mad.Open(ports[1], rdma.MADAgentConfig{QP: rdma.QPNSMI, Class: uint8(mad.ClassSM), ClassVersion: 1}, mad.ClientConfig{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, directed := range []bool{false, true} {
			m := mad.New(mad.ClassSM, mad.MethodGet, mad.AttrSMInfo)
			to := rdma.MADAddr{LID: 1}
			if directed {
				if err := m.SetRoute([]uint8{1, 1}); err != nil {
					t.Fatal(err)
				}
				to.LID = rdma.LIDPermissive
			}
			resp, err := c.Do(t.Context(), to, m.Bytes(), mad.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var info mad.SMInfo
			if err := resp.MAD.Attr(&info); err != nil || info.GUID != 0x100001 || info.Priority != 4 || info.State != mad.SMMaster || info.SMKey != 0 {
				t.Errorf("directed %v: %+v %v", directed, info, err)
			}
		}
		// Handover to a master, and control packets that do not exist.
		for _, mod := range []uint32{mad.SMInfoHandover, 9} {
			m := mad.New(mad.ClassSM, mad.MethodSet, mad.AttrSMInfo)
			m.SetAttrMod(mod)
			if resp, err := c.Do(t.Context(), rdma.MADAddr{LID: 1}, m.Bytes(), mad.Options{}); err == nil {
				t.Errorf("modifier %d: %v", mod, &resp.MAD)
			}
		}
		if a := ports[0].Attr(); a.CapMask&uint32(mad.CapIsSM) == 0 {
			t.Error("IsSM is not set")
		}
		checkManagers(t, "after all", mad.SMMaster, s)
	})
}
