package datapath

import (
	"testing"
	"time"

	"ipoib/datapath/connected"
	"ipoib/datapath/encap"
	"ipoib/rdma/cm"
	"ipoib/rdma/mad"
	"ipoib/rdma/soft"
)

// connectedPair is two hosts in connected mode with a connection.
func connectedPair(t *testing.T, cfg worldConfig, fn func(w *world, a, b *host)) {
	t.Helper()
	cfg.hosts = max(cfg.hosts, 2)
	inWorld(t, cfg, func(w *world) {
		a, b := w.host(1), w.host(2)
		w.upAll()
		w.connect(w.hosts...)
		if !carry(a, b, 100) || !carry(a, b, 65520) {
			t.Fatalf("no connection: %v", w.logged(""))
		}
		fn(w, a, b)
	})
}

// 4755-§3.4-1: connections end with their interface, by a DREQ each.
func Test4755_S3_4_1_TearDown(t *testing.T) {
	for _, end := range []int{1, 2} {
		connectedPair(t, worldConfig{hosts: 3}, func(w *world, a, b *host) {
			carry(w.host(3), w.host(end), 100)
			h := w.host(end)
			frames := h.tap()
			if err := h.ib0.SetUp(false); err != nil {
				t.Fatal(err)
			}
			w.settle()
			if n := len(cmOf(frames(true), mad.AttrDREQ)); n != 2 {
				t.Errorf("%d DREQs", n)
			}
			if n := len(cmOf(frames(false), mad.AttrDREP)); n != 2 {
				t.Errorf("%d DREPs", n)
			}
			for _, o := range w.hosts {
				if out, in := o.conns(); out+in != 0 {
					t.Errorf("host %d has %d connections", o.n, out+in)
				}
			}
			// It comes back.
			if err := h.ib0.SetUp(true); err != nil {
				t.Fatal(err)
			}
			w.settle()
			w.settle()
			if !carry(a, b, 100) || !carry(a, b, 30000) || !carry(b, a, 30000) {
				t.Error("no connection")
			}
		})
	}
}

// 4755-§3.4-2: a connection that is not used ends, when the neighbour is
// forgotten as in the driver; one that the peer sends on does not.
func Test4755_S3_4_2_IdleConnection(t *testing.T) {
	connectedPair(t, worldConfig{}, func(w *world, a, b *host) {
		if out, _ := a.conns(); out != 1 {
			t.Fatal("host 1 has not connected")
		}
		for range 20 {
			// By way of what host 1 has set up.
			if !carry(b, a, 9000) {
				t.Fatal("no connection")
			}
			time.Sleep(15 * time.Second)
		}
		if out, in := a.conns(); out != 1 || in != 0 {
			t.Errorf("%d outgoing, %d incoming", out, in)
		}
		time.Sleep(2 * time.Minute)
		for _, h := range w.hosts {
			if out, in := h.conns(); out+in != 0 {
				t.Errorf("host %d has %d connections", h.n, out+in)
			}
		}
		if !carry(b, a, 100) || !carry(b, a, 9000) {
			t.Error("no connection")
		}
	})
}

// An incoming connection whose peer is silent for long is ended (kernel
// ipoib_cm_stale_task).
func TestReapIncoming(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		h, p := duoCM(w)
		idle, busy := p.dial(h.ib0, nil), p.dial(h.ib0, nil)
		for at := time.Duration(0); at < connected.IdleTime+9*time.Minute; at += time.Minute {
			if _, in := h.conns(); at < connected.IdleTime && in != 2 {
				t.Fatalf("%d connections after %v", in, at)
			}
			busy.send(encap.EtherTypeIPv4, ip4(ip2, ip1, 8))
			time.Sleep(time.Minute)
		}
		if ev := idle.types(); len(ev) != 1 || ev[0] != cm.EventDisconnected && ev[0] != cm.EventReply {
			if len(ev) != 2 || ev[1] != cm.EventDisconnected {
				t.Errorf("idle: %v", ev)
			}
		}
		if _, in := h.conns(); in != 1 || busy.conn.State() != cm.Established {
			t.Errorf("%d connections, the used one in %v", in, busy.conn.State())
		}
	})
}

// The levels of a flush: light keeps connections, normal ends the outgoing
// ones, heavy all (kernel __ipoib_ib_dev_flush).
func TestFlushConnections(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		h, p := duoCM(w, rfcForm)
		p.linux()
		p.dial(h.ib0, nil)
		h.send(h.ib0, ip4(ip1, ip2, 8))
		w.settle()
		flush := func(l flushLevel) {
			h.ib0.loop.call(func() { h.ib0.flush(l) })
			w.settle()
			w.settle()
		}
		check := func(what string, out, in int) {
			t.Helper()
			if o, i := h.conns(); o != out || i != in {
				t.Errorf("%s: %d outgoing, %d incoming", what, o, i)
			}
		}
		check("before", 1, 1)
		flush(flushLight)
		check("light", 1, 1)
		p.takeRC()
		h.send(h.ib0, ip4(ip1, ip2, 3000))
		if got := p.takeRC(); len(got) != 1 {
			t.Error("a light flush stops the connection")
		}
		flush(flushNormal)
		check("normal", 0, 1)
		p.meet(h)
		h.send(h.ib0, ip4(ip1, ip2, 8))
		w.settle()
		check("again", 1, 1)
		h.ib0.loop.call(func() { h.ib0.pkeyIdx = 7 }) // as if it had been elsewhere
		flush(flushHeavy)
		check("heavy", 0, 0)
		if c := p.dial(h.ib0, nil); c.conn.State() != cm.Established {
			t.Errorf("nobody listens after a heavy flush: %v", c.types())
		}
	})
}

// One host connected, one with datagrams, one that changes: all reach each
// other.
func TestMixedModes(t *testing.T) {
	inWorld(t, worldConfig{hosts: 3}, func(w *world) {
		w.upAll()
		w.connect(w.host(1))
		for round := range 4 {
			w.connect(w.host(3))
			if round%2 == 1 {
				if err := w.host(3).ib0.SetMode(Datagram); err != nil {
					t.Fatal(err)
				}
			}
			for _, from := range w.hosts {
				for _, to := range w.hosts {
					if from == to {
						continue
					}
					n := 2044
					carry(from, to, 100)
					if from.ib0.Info().Mode == Connected {
						n = 40000
					}
					if !carry(from, to, n) {
						t.Errorf("round %d: %d bytes from %d to %d", round, n, from.n, to.n)
					}
				}
			}
		}
		// The mode says how one sends; connections are taken in either.
		if out, in := w.host(2).conns(); out != 0 || in == 0 {
			t.Errorf("the datagram host has %d outgoing, %d incoming", out, in)
		}
	})
}

// A port that goes down, changes its LID, or loses its partition: the
// connections come again by themselves.
func TestConnectedEvents(t *testing.T) {
	for name, event := range map[string]func(w *world, a, b *host){
		"own port":    func(w *world, a, _ *host) { w.bounce(a.n) },
		"peer's port": func(w *world, _, b *host) { w.bounce(b.n) },
		"own LID": func(w *world, a, _ *host) {
			if err := w.sm.SetLID(a.ib0.port.rdma.GUID(), 0x40); err != nil {
				t.Fatal(err)
			}
			w.settle()
		},
		"peer's LID": func(w *world, _, b *host) {
			if err := w.sm.SetLID(b.ib0.port.rdma.GUID(), 0x41); err != nil {
				t.Fatal(err)
			}
			w.settle()
		},
		"P_Key": func(w *world, a, b *host) {
			w.setPartitions("Default=0x7fff : ALL=limited;\nother=0x0002,ipoib : ALL=full;\n")
			w.settle()
			w.settle()
			w.setPartitions("Default=0x7fff,ipoib : ALL=full;\n")
			w.settle()
		},
	} {
		t.Run(name, func(t *testing.T) {
			connectedPair(t, worldConfig{}, func(w *world, a, b *host) {
				event(w, a, b)
				for range 5 {
					w.settle()
				}
				ok := 0
				for range 30 {
					for _, h := range w.hosts {
						h.got(h.ib0)
					}
					if carry(a, b, 30000) && carry(b, a, 30000) {
						ok++
					}
				}
				if ok < 25 {
					t.Errorf("%d of 30 pairs arrived: %+v %+v %v", ok, a.neigh("10.0.0.2"), b.neigh("10.0.0.1"), w.logged("level=WARN"))
				}
			})
		})
	}
}

// A peer that vanishes is noticed, and met again when it is back, without its
// telling.
func TestReconnect(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		h, p := duoCM(w, rfcForm)
		h.send(h.ib0, ip4(ip1, ip2, 8))
		w.settle()
		p.mu.Lock()
		c := p.conns[0]
		p.mu.Unlock()
		_ = c.qp.Close() // without a DREQ
		h.send(h.ib0, ip4(ip1, ip2, 3000))
		time.Sleep(500 * time.Millisecond)
		d := h.ib0.DropCounts()
		if out, _ := h.conns(); out != 0 || d[TXRCRetry] != 1 {
			t.Errorf("%d connections, %d failed sends", out, d[TXRCRetry])
		}
		// It was young: for a second packets go by UD, and what is too long
		// is dropped without telling the host, which would remember.
		h.got(h.ib0)
		p.take(0)
		h.send(h.ib0, ip4(ip1, ip2, 8))
		h.send(h.ib0, ip4(ip1, ip2, 3000))
		if got := p.take(encap.EtherTypeIPv4); len(got) != 1 || len(h.got(h.ib0)) != 0 || h.ib0.DropCounts()[TXNoConnection] != 1 {
			t.Errorf("%d messages by UD, %d dropped", len(got), h.ib0.DropCounts()[TXNoConnection])
		}
		w.settle()
		h.send(h.ib0, ip4(ip1, ip2, 8))
		w.settle()
		p.takeRC()
		h.send(h.ib0, ip4(ip1, ip2, 3000))
		if got := p.takeRC(); len(got) != 1 {
			t.Errorf("%d messages after the failure", len(got))
		}
		// The failure is not counted as dropped: the packet was sent.
		if s := h.ib0.Stats(); s.TxDropped != 1 {
			t.Errorf("%+v", s)
		}
	})
	// A peer that vanishes again and again, as over a bad link: the host does
	// not hear that large packets are too long.
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		h, p := duoCM(w, rfcForm)
		came := 0
		for range 60 {
			p.mu.Lock()
			for _, c := range p.conns {
				_ = c.qp.Close() // again, of those before
			}
			p.mu.Unlock()
			h.got(h.ib0)
			h.send(h.ib0, ip4(ip1, ip2, 8))
			h.send(h.ib0, ip4(ip1, ip2, 3000))
			time.Sleep(time.Second)
			came += len(h.got(h.ib0))
		}
		if reqs := len(p.takeREQs()); came != 0 || reqs < 4 {
			t.Errorf("%d packets came back, %d connections", came, reqs)
		}
	})
	// A peer that does not answer while all is lost: the host does not hear
	// that large packets are too long. One that refuses twice does not want a
	// connection, and the host hears.
	for _, refuses := range []bool{false, true} {
		inWorld(t, worldConfig{hosts: 2}, func(w *world) {
			h, p := duoCM(w, rfcForm)
			h.send(h.ib0, ip4(ip1, ip2, 8))
			w.settle()
			p.mu.Lock()
			c := p.conns[0]
			if p.deaf = !refuses; refuses {
				p.refuse = mad.RejectNoResources
			}
			p.mu.Unlock()
			_ = c.qp.Close()
			h.got(h.ib0)
			for range 20 {
				h.send(h.ib0, ip4(ip1, ip2, 8))
				h.send(h.ib0, ip4(ip1, ip2, 3000))
				time.Sleep(time.Second)
			}
			if got := len(h.got(h.ib0)); (got != 0) != refuses {
				t.Errorf("refuses: %v, %d packets came back", refuses, got)
			}
			if refuses {
				return
			}
			p.mu.Lock()
			p.deaf = false
			p.mu.Unlock()
			for range 30 {
				h.send(h.ib0, ip4(ip1, ip2, 8))
				time.Sleep(time.Second)
			}
			p.takeRC()
			h.send(h.ib0, ip4(ip1, ip2, 3000))
			w.settle()
			if got := p.takeRC(); len(got) != 1 || len(h.got(h.ib0)) != 0 {
				t.Errorf("%d messages after the silence: %+v", len(got), h.neigh("10.0.0.2"))
			}
		})
	}
	// Stale: the node forgot the connection and uses its queue pair again.
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		h, p := duoCM(w, rfcForm)
		p.refuse = mad.RejectStaleConnection
		h.send(h.ib0, ip4(ip1, ip2, 8))
		w.settle()
		if n := len(p.takeREQs()); n != 2 {
			t.Errorf("%d requests", n)
		}
	})
}

// A link that loses, doubles and reorders: every packet arrives, in order.
func TestConnectedFaults(t *testing.T) {
	connectedPair(t, worldConfig{}, func(w *world, a, b *host) {
		l := w.fabric.LinkAt(a.hca.At(1))
		l.SetFaults(soft.Faults{Loss: 0.01, Duplicate: 0.01, Reorder: 0.01, ReorderDelay: 50 * time.Microsecond})
		b.got(b.ib0)
		next := 0
		for n := range 300 {
			p := ip4(a.ip(), b.ip(), 20000)
			p[100], p[101] = byte(n>>8), byte(n)
			a.send(a.ib0, p)
			time.Sleep(20 * time.Millisecond)
			for _, q := range b.got(b.ib0) {
				if got := int(q[100])<<8 | int(q[101]); got != next || len(q) != len(p) {
					t.Fatalf("packet %d of %d bytes instead of %d", got, len(q), next)
				}
				next++
			}
		}
		time.Sleep(5 * time.Second)
		next += len(b.got(b.ib0))
		if next != 300 {
			t.Errorf("%d of 300 packets: %+v", next, a.ib0.DropCounts())
		}
	})
}

// A way that is longer than the ACK timeout: connections wait longer for it,
// one after the other.
func TestLongWay(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		a, b := w.host(1), w.host(2)
		w.upAll()
		w.connect(a, b)
		w.fabric.LinkAt(a.hca.At(1)).SetFaults(soft.Faults{Delay: 150 * time.Millisecond})
		for range 300 {
			a.send(a.ib0, ip4(a.ip(), b.ip(), 8))
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Second)
		b.got(b.ib0)
		for range 20 {
			a.send(a.ib0, ip4(a.ip(), b.ip(), 60000))
			time.Sleep(200 * time.Millisecond)
		}
		time.Sleep(time.Second)
		if n := len(b.got(b.ib0)); n != 20 {
			t.Errorf("%d of 20 packets: %+v, %v", n, a.neigh("10.0.0.2"), a.ib0.DropCounts())
		}
	})
}

// The mode is kept for the next process; so is the MTU, by the kernel.
func TestConnectedTakeover(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		a, b := w.host(1), w.host(2)
		w.upAll()
		w.connect(a, b)
		if err := a.ib0.SetMTU(30000); err != nil {
			t.Fatal(err)
		}
		var st State
		for _, s := range w.drv.States() {
			if s.Device == a.ib0.Info().Device {
				st = s
			}
		}
		if st.Mode != Connected {
			t.Fatalf("%+v", st)
		}
		rp := a.ib0.port.rdma
		w.drv.RemovePort(rp, true)
		w.settle()
		ns, err := w.net.ByName("h1")
		if err != nil {
			t.Fatal(err)
		}
		if a.ib0, err = w.drv.AddPort(PortConfig{Port: rp, NS: ns, Name: "ib0", Restore: &st}); err != nil {
			t.Fatal(err)
		}
		w.settle()
		w.settle()
		if i := a.ib0.Info(); i.Mode != Connected || i.MTU != 30000 || !i.Carrier || i.Features.Active&fTSO != 0 {
			t.Errorf("%+v", i)
		}
		carry(a, b, 100)
		if !carry(a, b, 30000) || !carry(b, a, 30000) {
			t.Error("no connection")
		}
	})
}
