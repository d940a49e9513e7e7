package datapath

import (
	"slices"
	"testing"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
	"ipoib/rdma/soft"
)

// ping reports whether two hosts of upAll reach each other.
func (w *world) ping(a, b int) bool {
	w.t.Helper()
	x, y := w.host(a), w.host(b)
	return reach(x, y, x.ib0, y.ib0, x.ip(), y.ip()) && reach(y, x, y.ib0, x.ib0, y.ip(), x.ip())
}

// The flush level of each event (kernel ipoib_event).
func TestFlushLevels(t *testing.T) {
	want := map[rdma.EventType]flushLevel{
		rdma.EventPKeyChange: flushHeavy, rdma.EventLIDChange: flushNormal, rdma.EventPortActive: flushNormal,
		rdma.EventPortErr: flushNormal, rdma.EventClientReregister: flushLight, rdma.EventGIDChange: flushLight,
	}
	for e := range rdma.EventType(32) {
		level, ok := levelOf(e)
		w, known := want[e]
		if ok != known || ok && level != w {
			t.Errorf("event %v: %v %v", e, level, ok)
		}
	}
}

// The port goes down and up: carrier, groups and paths follow.
func TestPortDownUp(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		w.upAll()
		if !w.ping(1, 2) {
			t.Fatal("not reached")
		}
		a := w.host(1)
		l := w.fabric.LinkAt(a.hca.At(1))
		l.SetUp(false)
		w.settle()
		if a.ib0.Info().Carrier || a.tun(a.ib0).Carrier() || len(a.ib0.Paths()) != 0 || !a.ib0.Info().Up {
			t.Errorf("after the port went down: %+v", a.ib0.Info())
		}
		if s := a.ns.Speed("ib0"); s.Mbps != -1 {
			t.Errorf("speed %+v", s)
		}
		l.SetUp(true)
		w.settle()
		w.settle()
		if !a.ib0.Info().Carrier || !w.ping(1, 2) {
			t.Error("no connection after the port came back")
		}
	})
}

// 4391-§5-2: after a restart of the subnet manager the groups are joined
// again; the carrier stays (light flush).
func Test4391_S5_2_RejoinAfterRestart(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		w.upAll()
		if !w.ping(1, 2) {
			t.Fatal("not reached")
		}
		a, b := w.host(1), w.host(2)
		_ = b.ns.Join(b.ib0.Info().Ifindex, addr("239.1.2.3"))
		w.settle()
		down := 0
		cancel := w.drv.Subscribe(func(c Change) {
			if c.Old != nil && c.New != nil && c.Old.Carrier && !c.New.Carrier {
				down++
			}
		})
		defer cancel()
		frames := a.tap()
		w.sm.Restart()
		time.Sleep(5 * time.Second)
		recs, _ := joins(frames(true), mad.MethodSet)
		if len(recs) < 3 || recs[0].MGID != a.ib0.broadcastMGID() {
			t.Errorf("joined %v", recs)
		}
		if !w.ping(1, 2) || !reach(a, b, a.ib0, b.ib0, ip1, addr("239.1.2.3")) {
			t.Error("no connection")
		}
		if down != 0 {
			t.Errorf("the carrier went down %d times", down)
		}
		// 4391-§5-3: what the group has become is taken over.
		w.setPartitions("Default=0x7fff,ipoib,mtu=3,Q_Key=0x80004321 : ALL=full;\n")
		w.sm.Restart()
		time.Sleep(20 * time.Second)
		if i := a.ib0.Info(); i.MTU != 1020 || i.QKey != 0x80004321 {
			t.Errorf("MTU %d Q_Key %v", i.MTU, i.QKey)
		}
		if !reach(a, b, a.ib0, b.ib0, ip1, ip2) {
			t.Error("no connection with the new parameters")
		}
	})
}

// The LID of a peer changes: its path is queried again.
func TestPeerLIDChange(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		w.upAll()
		if !w.ping(1, 2) {
			t.Fatal("not reached")
		}
		a, b := w.host(1), w.host(2)
		old := b.ib0.port.rdma.Attr().LID
		b.replug(5)
		w.settle()
		if now := b.ib0.port.rdma.Attr().LID; now != old {
			t.Errorf("LID %v at the other switch port, was %v", now, old)
		}
		if err := w.sm.SetLID(b.ib0.port.rdma.GUID(), 77); err != nil {
			t.Fatal(err)
		}
		w.settle()
		w.settle()
		if now := b.ib0.port.rdma.Attr().LID; now == old || now != 77 {
			t.Fatalf("LID %v, was %v", now, old)
		}
		if !w.ping(1, 2) {
			t.Errorf("no connection: paths %+v", a.ib0.Paths())
		}
	})
}

// replug moves the host's cable to another port of the switch.
func (h *host) replug(port int) {
	h.w.t.Helper()
	h.w.fabric.LinkAt(h.hca.At(1)).Disconnect()
	if _, err := h.w.fabric.Connect(h.hca.At(1), h.w.sw.At(port)); err != nil {
		h.w.t.Fatal(err)
	}
	h.w.settle()
	h.w.settle()
}

// The P_Key of a parent changes at index 0: addresses and groups follow.
func TestParentPKeyChange(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		w.upAll()
		a := w.host(1)
		w.setPartitions("Default=0x7fff,ipoib : 0x5eef00010021=full, SELF=full;\n" +
			"Blue=0x5,indx0,ipoib : ALL=full;\n")
		w.settle()
		w.settle()
		i := a.ib0.Info()
		if i.PKey != 0x8005 || !i.Carrier || i.Broadcast.String() != "00:ff:ff:ff:ff:12:40:1b:80:05:00:00:00:00:00:00:ff:ff:ff:ff" {
			t.Errorf("%+v", i)
		}
		if !w.ping(1, 2) {
			t.Error("not reached")
		}
	})
}

// The SA does not answer for a while: packets wait or are dropped, nothing
// stays broken.
func TestSilentSA(t *testing.T) {
	inWorld(t, worldConfig{hosts: 3}, func(w *world) {
		w.upAll()
		if !w.ping(1, 2) {
			t.Fatal("not reached")
		}
		w.sm.Pause(true)
		// What is known goes on working.
		if !w.ping(1, 2) {
			t.Error("a known path was lost")
		}
		a, c := w.host(1), w.host(3)
		c.got(c.ib0)
		for n := range 5 {
			a.send(a.ib0, ip4(ip1, addr("10.0.0.3"), n))
		}
		time.Sleep(10 * time.Second)
		if got := c.got(c.ib0); len(got) != 0 {
			t.Errorf("%d packets without a path", len(got))
		}
		w.sm.Pause(false)
		time.Sleep(time.Minute)
		if !w.ping(1, 3) {
			t.Errorf("no connection: %+v %+v", a.ib0.Paths(), a.ib0.Neighbours())
		}
		// The interface comes up as soon as the SA answers again.
		w.sm.Pause(true)
		w.bounce(2)
		if w.host(2).ib0.Info().Carrier {
			t.Error("carrier without a join")
		}
		w.sm.Pause(false)
		time.Sleep(time.Minute)
		if !w.host(2).ib0.Info().Carrier || !w.ping(1, 2) {
			t.Error("no connection after the SA came back")
		}
	})
}

// Loss and duplication of every kind of packet heal by themselves.
func TestLossyLinks(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		for n := 1; n <= 2; n++ {
			w.fabric.LinkAt(w.host(n).hca.At(1)).SetFaults(soft.Faults{Loss: 0.05, Duplicate: 0.01, Reorder: 0.02})
		}
		for _, h := range w.hosts {
			h.up(h.ib0, 0)
		}
		time.Sleep(time.Minute)
		a, b := w.host(1), w.host(2)
		if !a.ib0.Info().Carrier || !b.ib0.Info().Carrier {
			t.Fatal("no carrier")
		}
		b.got(b.ib0)
		// A lost resolution takes seconds, and half a minute makes up for it.
		const sent = 2000
		for n := range sent {
			a.send(a.ib0, ip4(ip1, ip2, n))
			time.Sleep(20 * time.Millisecond)
		}
		w.settle()
		if n := len(b.got(b.ib0)); n < sent*8/10 || n > sent*11/10 {
			t.Errorf("%d of %d packets arrived", n, sent)
		}
	})
}

// Without the driver's say: all events at any time, and traffic meanwhile,
// end in a working link.
func TestEventStorm(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		w.upAll()
		a := w.host(1)
		types := []rdma.EventType{
			rdma.EventClientReregister, rdma.EventPKeyChange, rdma.EventLIDChange, rdma.EventPortErr,
			rdma.EventPortActive, rdma.EventGIDChange, rdma.EventSMChange,
		}
		for n := range 200 {
			a.ib0.port.onEvent(rdma.AsyncEvent{Type: types[(n*n+n/3)%len(types)], Port: 1})
			a.send(a.ib0, ip4(ip1, ip2, n))
			if n%7 == 0 {
				time.Sleep(time.Duration(n) * time.Millisecond)
			}
		}
		time.Sleep(20 * time.Second)
		if !a.ib0.Info().Carrier || !w.ping(1, 2) {
			t.Errorf("not healed: %+v", a.ib0.Info())
		}
	})
}

// 4392-§4.2.5-3: a group that is deleted and made again gets its packets, also
// when its MLID is another one.
func Test4392_S4_2_5_3_NewMLID(t *testing.T) {
	inWorld(t, worldConfig{hosts: 3}, func(w *world) {
		w.upAll()
		a, b, c := w.host(1), w.host(2), w.host(3)
		dst := addr("239.1.2.3")
		_ = b.ns.Join(b.ib0.Info().Ifindex, dst)
		w.settle()
		if !reach(a, b, a.ib0, b.ib0, ip1, dst) {
			t.Fatal("not reached")
		}
		mlid := a.group(a.ib0, "239.1.2.3").MLID
		_ = b.ns.Leave(b.ib0.Info().Ifindex, dst)
		time.Sleep(3 * time.Minute) // the sender's membership ends
		// Another group takes the MLID.
		_ = c.ns.Join(c.ib0.Info().Ifindex, addr("239.7.7.7"))
		w.settle()
		_ = b.ns.Join(b.ib0.Info().Ifindex, dst)
		w.settle()
		if !reach(a, b, a.ib0, b.ib0, ip1, dst) {
			t.Error("not reached")
		}
		if g := a.group(a.ib0, "239.1.2.3"); g.MLID == mlid && c.group(c.ib0, "239.7.7.7").MLID == mlid {
			t.Error("two groups with one MLID")
		}
		if got := c.got(c.ib0); slices.ContainsFunc(got, func(p []byte) bool { return len(p) > 19 && p[16] == 239 }) {
			t.Error("a packet went to the wrong group")
		}
	})
}
