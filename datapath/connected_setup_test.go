package datapath

import (
	"slices"
	"testing"
	"time"

	"ipoib/datapath/encap"
	"ipoib/rdma"
	"ipoib/rdma/cm"
	"ipoib/rdma/mad"
	"ipoib/rdma/soft"
)

// 4755-§3.2-1: the connections are recorded by peer; -§3.2-2: there is one
// request for many packets; -§3.2-3: a second one of the peer is taken.
func Test4755_S3_2_1_ConnectionList(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		h, p := duoCM(w, rfcForm)
		for n := range 20 {
			h.send(h.ib0, ip4(ip1, ip2, 8+n))
		}
		w.settle()
		if n := len(p.takeREQs()); n != 1 {
			t.Errorf("%d requests", n)
		}
		a, b := p.dial(h.ib0, nil), p.dial(h.ib0, nil)
		list := h.ib0.Connections()
		if len(list) != 3 {
			t.Fatalf("%+v", list)
		}
		active := 0
		for _, c := range list {
			if c.Addr != p.addr.Key() || c.State != "ESTABLISHED" || c.MTU != 65520 {
				t.Errorf("%+v", c)
			}
			if c.Active {
				active++
			}
		}
		if active != 1 {
			t.Errorf("%d active", active)
		}
		// Each is received on.
		a.send(encap.EtherTypeIPv4, ip4(ip2, ip1, 1))
		b.send(encap.EtherTypeIPv4, ip4(ip2, ip1, 2))
		if got := h.got(h.ib0); len(got) != 2 {
			t.Errorf("%d packets", len(got))
		}
	})
}

// 4755-§3.2-5: a REJ carries the private data too. Refused are receive MTUs
// that are no use (-§5-1), path MTUs that the port has not, and other
// partitions.
func Test4755_S5_1_Refused(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		h, p := duoCM(w)
		for name, c := range map[string]struct {
			change func(*mad.REQ)
			mtu    int
			want   mad.RejectReason
		}{
			"no receive MTU":    {change: func(r *mad.REQ) { clear(r.PrivateData[:]) }, want: mad.RejectConsumer},
			"too small":         {change: mtuOf(71), mtu: 1279, want: mad.RejectInvalidMTU},
			"enough for IPv4":   {change: mtuOf(72), mtu: 1279},
			"too small, IPv6":   {change: mtuOf(1283), want: mad.RejectInvalidMTU},
			"enough for IPv6":   {change: mtuOf(1284)},
			"no path MTU":       {change: func(r *mad.REQ) { r.PathMTU = 0 }, want: mad.RejectInvalidMTU},
			"path MTU too high": {change: func(r *mad.REQ) { r.PathMTU = 6 }, want: mad.RejectInvalidMTU},
			"other partition":   {change: func(r *mad.REQ) { r.PKey = 0x8001 }, want: mad.RejectConsumer},
			"reserved octet":    {change: func(r *mad.REQ) { r.PrivateData[0] = 0xff }},
			"no queue pair": {change: func(r *mad.REQ) {
				mad.IPoIBPrivateData{ReceiveMTU: 65524}.Put(r.PrivateData[:])
			}},
		} {
			mtu := 65520
			if c.mtu != 0 {
				mtu = c.mtu
			}
			if err := h.ib0.SetMTU(mtu); err != nil {
				t.Fatal(err)
			}
			k := p.dial(h.ib0, c.change)
			ev := k.types()
			if c.want == 0 {
				if k.conn.State() != cm.Established {
					t.Errorf("%s: %v", name, ev)
				}
				// 4755-§6-3: the reserved octet is ignored.
				if c := h.ib0.Connections(); name == "reserved octet" && !slices.ContainsFunc(c, func(c ConnView) bool { return c.RemoteQPN == k.qp.Num() && c.Addr == p.addr.Key() }) {
					t.Errorf("%s: %+v", name, c)
				}
				continue
			}
			if len(ev) != 1 || ev[0] != cm.EventRejected || k.events[0].REJ.Reason != c.want {
				t.Errorf("%s: %v", name, ev)
				continue
			}
			d, err := mad.ParseIPoIBPrivateData(k.events[0].REJ.PrivateData[:])
			if err != nil || d.UDQPN != h.ib0.Info().QPN || d.ReceiveMTU != 65524 {
				t.Errorf("%s: REJ with %+v, %v", name, d, err)
			}
		}
	})
}

func mtuOf(v uint32) func(*mad.REQ) {
	return func(r *mad.REQ) {
		d, _ := mad.ParseIPoIBPrivateData(r.PrivateData[:])
		d.ReceiveMTU = v
		d.Put(r.PrivateData[:])
	}
}

// 4755-§5.1-1 to -3: a connection carries what both ends take; what is smaller
// is always taken.
func Test4755_S5_1_3_ReceiveMTU(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		h, p := w.host(1), (*cmPeer)(nil)
		h.up(h.ib0, 0)
		w.settle()
		w.settle()
		p = w.host(2).cmPeer(rfcForm)
		p.mtu = 9004
		w.connect(h)
		p.meet(h)
		h.send(h.ib0, ip4(ip1, ip2, 8))
		w.settle()
		if v := h.neigh("10.0.0.2"); v.MTU != 9000 || v.Transport != "rc" {
			t.Errorf("%+v", v)
		}
		h.got(h.ib0)
		h.send(h.ib0, ip4(ip1, ip2, 9000-28))
		if got := p.takeRC(); len(got) != 1 || len(got[0].body) != 9000 {
			t.Errorf("%d messages of the peer's MTU", len(got))
		}
		// One octet more: dropped as the driver does, with the groups' MTU.
		h.send(h.ib0, ip4(ip1, ip2, 9001-28))
		w.settle()
		if got := p.takeRC(); len(got) != 0 {
			t.Errorf("%d messages above the peer's MTU", len(got))
		}
		if got := h.got(h.ib0); len(got) != 1 || int(got[0][26])<<8|int(got[0][27]) != 2044 {
			t.Errorf("%d packets came back", len(got))
		}
		if s := h.ib0.Stats(); s.TxErrors != 1 || s.TxDropped != 1 || len(w.logged("packet len 9005 (> 9004) too long to send, dropping")) != 1 {
			t.Errorf("%+v %v", s, w.logged("too long"))
		}
		p.mu.Lock()
		c := p.conns[0]
		p.mu.Unlock()
		for n := 20; n < 60; n += 13 {
			c.send(encap.EtherTypeIPv4, ip4(ip2, ip1, n-20))
		}
		if got := h.got(h.ib0); len(got) != 4 {
			t.Errorf("%d small packets", len(got))
		}
	})
	// A REP that leaves no room, or is without the block.
	for name, c := range map[string]struct {
		mtu    uint32
		none   bool
		reason mad.RejectReason
	}{"4": {mtu: 4, reason: mad.RejectConsumer}, "none": {mtu: 65524, none: true, reason: mad.RejectConsumer}, "1283": {mtu: 1283, reason: mad.RejectInvalidMTU}} {
		inWorld(t, worldConfig{hosts: 2}, func(w *world) {
			h, p := duoCM(w, rfcForm)
			p.mtu, p.noBlock = c.mtu, c.none
			h.send(h.ib0, ip4(ip1, ip2, 8))
			w.settle()
			p.mu.Lock()
			k := p.conns[0]
			p.mu.Unlock()
			if ev := k.types(); len(ev) != 1 || ev[0] != cm.EventRejected || k.events[0].REJ.Reason != c.reason {
				t.Errorf("%s: %v", name, ev)
			}
		})
	}
}

// 4755-§3.3-1 to -5: of two requests that cross the one of the node with the
// larger address survives: the queue pair decides before the GID (Annex A-8).
func Test4755_S3_3_1_Crossing(t *testing.T) {
	// By hand: the node has a request of ours to answer when it sends its own.
	for _, larger := range []bool{false, true} {
		inWorld(t, worldConfig{hosts: 2}, func(w *world) {
			h, p := duoCM(w, rfcForm)
			own := h.ib0.Info().Addr
			// The node says that it is another one: its queue pair is the
			// neighbour's of ours.
			a := p.addr
			qpn := own.QPN() - 1
			if larger {
				qpn = own.QPN() + 1000
			}
			a[1], a[2], a[3] = byte(qpn>>16), byte(qpn>>8), byte(qpn)
			if own.Compare(a) < 0 != larger {
				t.Fatalf("%v and %v", own, a)
			}
			l, err := p.cm.Listen(mad.IPoIBServiceID(qpn), p.accept)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			p.deaf = true
			if err := h.ib0.AddNeighbour(addr("10.0.0.7"), a); err != nil {
				t.Fatal(err)
			}
			h.send(h.ib0, ip4(ip1, addr("10.0.0.7"), 8))
			time.Sleep(50 * time.Millisecond)
			if n := len(p.takeREQs()); n != 1 {
				t.Fatalf("%d requests", n)
			}
			c := p.dial(h.ib0, func(r *mad.REQ) { mad.IPoIBPrivateData{UDQPN: qpn, ReceiveMTU: 65524}.Put(r.PrivateData[:]) })
			ev := c.types()
			switch {
			case larger && c.conn.State() != cm.Established:
				t.Errorf("the larger node's request: %v", ev)
			case !larger && (len(ev) != 1 || ev[0] != cm.EventRejected || c.events[0].REJ.Reason != mad.RejectConsumer):
				t.Errorf("the smaller node's request: %v", ev)
			}
			if !larger {
				d, err := mad.ParseIPoIBPrivateData(c.events[0].REJ.PrivateData[:])
				if err != nil || d.UDQPN != own.QPN() {
					t.Errorf("REJ with %+v, %v", d, err)
				}
			}
		})
	}
	// Two interfaces at once: exactly one request is answered, and both
	// directions use its connection. One that is busy has the answer to its own
	// request before it looks at the other's.
	for _, busy := range []bool{false, true} {
		inWorld(t, worldConfig{hosts: 2}, func(w *world) {
			a, b := w.host(1), w.host(2)
			w.upAll()
			if !carry(a, b, 100) || !carry(b, a, 100) {
				t.Fatal("no connection")
			}
			w.connect(a, b)
			larger := a
			if a.ib0.Info().Addr.Compare(b.ib0.Info().Addr) < 0 {
				larger = b
			}
			fa, fb := a.tap(), b.tap()
			for _, h := range []*host{a, b} {
				w.fabric.LinkAt(h.hca.At(1)).SetFaults(soft.Faults{Delay: 5 * time.Millisecond})
			}
			for range 3 {
				_ = a.tun(a.ib0).Send(ip4(a.ip(), b.ip(), 8), rdma.Offload{})
				_ = b.tun(b.ib0).Send(ip4(b.ip(), a.ip(), 8), rdma.Offload{})
			}
			if busy {
				time.Sleep(15 * time.Millisecond) // both have asked
				larger.ib0.loop.post(func() { time.Sleep(100 * time.Millisecond) })
			}
			time.Sleep(5 * time.Second)
			if !carry(a, b, 65520) || !carry(b, a, 65520) {
				t.Error("no connection")
			}
			both := slices.Concat(fa(true), fb(true))
			if q, p, j := len(cmOf(both, mad.AttrREQ)), len(cmOf(both, mad.AttrREP)), len(cmOf(both, mad.AttrREJ)); q != 2 || p != 1 || j != 1 {
				t.Errorf("busy %v: %d REQ, %d REP, %d REJ", busy, q, p, j)
			}
			// The larger address's request is the one that was answered.
			if out, in := larger.conns(); out != 1 || in != 0 {
				t.Errorf("busy %v: %d outgoing, %d incoming", busy, out, in)
			}
		})
	}
}

// Linux uses a connection in one direction: towards it there are two, also
// when the requests crossed.
func TestOneWayPeer(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		h, p := duoCM(w, legacyForm)
		p.linux()
		c := p.dial(h.ib0, nil)
		c.send(encap.EtherTypeIPv4, ip4(ip2, ip1, 8))
		h.send(h.ib0, ip4(ip1, ip2, 8))
		w.settle()
		h.send(h.ib0, ip4(ip1, ip2, 3000))
		got := p.takeRC()
		if len(got) != 1 || got[0].QP == c.qp {
			t.Errorf("%d messages on %v", len(got), got)
		}
		if out, in := h.conns(); out != 1 || in != 1 {
			t.Errorf("%d outgoing, %d incoming", out, in)
		}
	})
	// One that speaks the RFC uses one connection for both.
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		h, p := duoCM(w, rfcForm)
		c := p.dial(h.ib0, nil)
		h.send(h.ib0, ip4(ip1, ip2, 8))
		w.settle()
		h.send(h.ib0, ip4(ip1, ip2, 3000))
		if got := p.takeRC(); len(got) == 0 || got[len(got)-1].QP != c.qp || len(p.takeREQs()) != 0 {
			t.Errorf("%d messages", len(got))
		}
	})
}

// 4755-§4-1: connections carry IPv4 and IPv6, nothing else.
func Test4755_S4_1_Types(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		h, p := duoCM(w, rfcForm)
		c := p.dial(h.ib0, nil)
		h.got(h.ib0)
		for _, typ := range []encap.EtherType{encap.EtherTypeARP, encap.EtherTypeRARP, 0x88b5, 0x0806} {
			c.send(typ, make([]byte, 56))
		}
		c.send(encap.EtherTypeIPv4, make([]byte, 8))
		w.settle()
		if got := h.got(h.ib0); len(got) != 0 {
			t.Errorf("%d packets", len(got))
		}
		counts := h.ib0.DropCounts()
		if counts[RXRCType] != 4 || counts[RXIP] != 1 {
			t.Errorf("%d of another type, %d no IP", counts[RXRCType], counts[RXIP])
		}
		if len(p.arps()) != 0 {
			t.Error("an ARP over a connection is answered")
		}
		c.send(encap.EtherTypeIPv4, ip4(ip2, ip1, 8))
		if got := h.got(h.ib0); len(got) != 1 {
			t.Error("the connection is gone")
		}
	})
}

// 4755-§8-1: a node that advertises connections and takes none is reached by
// UD; it is asked again, with a back-off.
func Test4755_S8_1_FalseFlag(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		h, p := duoCM(w)
		frames := h.tap()
		var at []time.Duration
		start := time.Now()
		for range 200 {
			h.send(h.ib0, ip4(ip1, ip2, 8))
			time.Sleep(100 * time.Millisecond)
		}
		if got := p.take(encap.EtherTypeIPv4); len(got) != 200 {
			t.Errorf("%d of 200 packets", len(got))
		}
		for _, f := range frames(true) {
			if len(cmOf([]frame{f}, mad.AttrREQ)) == 1 {
				at = append(at, f.at.Sub(start).Round(time.Second))
			}
		}
		// Both forms of the service ID each time, then 1, 2, 4, 8 s.
		want := []time.Duration{0, 0, 1e9, 1e9, 3e9, 3e9, 7e9, 7e9, 15e9, 15e9}
		if !slices.Equal(at, want) {
			t.Errorf("requests after %v", at)
		}
		// The host hears that long packets do not go.
		h.got(h.ib0)
		h.send(h.ib0, ip4(ip1, ip2, 4000))
		w.settle()
		if got := h.got(h.ib0); len(got) != 1 || int(got[0][26])<<8|int(got[0][27]) != 2044 {
			t.Errorf("%d packets came back", len(got))
		}
		// Once it takes connections, they are used.
		l, err := p.cm.Listen(rfcForm(p.qp.Num()), p.accept)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for range 200 {
			h.send(h.ib0, ip4(ip1, ip2, 8))
			time.Sleep(100 * time.Millisecond)
		}
		if v := h.neigh("10.0.0.2"); v.Transport != "rc" {
			t.Errorf("%+v", v)
		}
	})
}

// Packets that are too long for UD wait for the connection, three at most as in
// the driver.
func TestPendingConnection(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		h, p := duoCM(w, rfcForm)
		h.send(h.ib0, ip4(ip1, ip2, 8)) // the path is known now
		w.settle()
		p.takeRC()
		if err := h.ib0.SetMode(Datagram); err != nil {
			t.Fatal(err)
		}
		w.connect(h)
		for _, l := range []*host{h, p.h} {
			w.fabric.LinkAt(l.hca.At(1)).SetFaults(soft.Faults{Delay: time.Millisecond})
		}
		drops := h.ib0.Stats().TxDropped
		for n := range 5 {
			h.send(h.ib0, ip4(ip1, ip2, 3000+n))
		}
		w.settle()
		got := p.takeRC()
		if len(got) != 3 || len(got[0].body) != 3028 || len(got[2].body) != 3030 {
			t.Errorf("%d packets waited", len(got))
		}
		if n := h.ib0.Stats().TxDropped - drops; n != 2 {
			t.Errorf("%d dropped", n)
		}
	})
	// Nobody answers: they are dropped at last, and after six seconds the host
	// hears of others.
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		h, p := duoCM(w, rfcForm)
		p.deaf = true
		h.send(h.ib0, ip4(ip1, ip2, 3000))
		time.Sleep(5500 * time.Millisecond)
		h.send(h.ib0, ip4(ip1, ip2, 3000))
		if v := h.neigh("10.0.0.2"); v.Queued != 2 || v.Connection != "connecting" {
			t.Errorf("%+v", v)
		}
		time.Sleep(time.Second)
		h.got(h.ib0)
		h.send(h.ib0, ip4(ip1, ip2, 3000))
		w.settle()
		if got := h.got(h.ib0); len(got) != 1 {
			t.Errorf("%d packets came back", len(got))
		}
		time.Sleep(time.Minute)
		if c := h.ib0.DropCounts(); c[TXNoConnection] != 2 || c[TXTooLong] != 1 {
			t.Errorf("%d and %d dropped", c[TXNoConnection], c[TXTooLong])
		}
		if v := h.neigh("10.0.0.2"); v.Connection != "idle" || v.Queued != 0 {
			t.Errorf("%+v", v)
		}
	})
}

// Without a shared receive queue each connection has its own buffers, and there
// is a limit to their number (max_nonsrq_conn_qp).
func TestNonSRQLimit(t *testing.T) {
	hide := func(n int, p rdma.Port) rdma.Port {
		if n == 1 {
			return noSRQ{p}
		}
		return p
	}
	inWorld(t, worldConfig{hosts: 2, port: hide, params: Params{MaxNonSRQConnQP: 2}}, func(w *world) {
		h, p := duoCM(w)
		var conns []*cmPeerConn
		for n := range 3 {
			c := p.dial(h.ib0, nil)
			conns = append(conns, c)
			if ev := c.types(); n == 2 && (len(ev) != 1 || ev[0] != cm.EventRejected || c.events[0].REJ.Reason != mad.RejectNoQP) {
				t.Errorf("third connection: %v", ev)
			} else if n < 2 && c.conn.State() != cm.Established {
				t.Errorf("connection %d: %v", n, ev)
			}
		}
		// More messages than the ring has, alternating.
		h.got(h.ib0)
		total := 0
		for n := range 3 * DefaultRecvQueue {
			conns[n%2].send(encap.EtherTypeIPv4, ip4(ip2, ip1, n))
			total += len(h.got(h.ib0))
		}
		if total != 3*DefaultRecvQueue {
			t.Errorf("%d of %d packets", total, 3*DefaultRecvQueue)
		}
		conns[0].conn.Close()
		w.settle()
		if c := p.dial(h.ib0, nil); c.conn.State() != cm.Established {
			t.Errorf("after one has gone: %v", c.types())
		}
	})
}
