package datapath

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"ipoib/datapath/encap"
	"ipoib/datapath/neigh"
	"ipoib/rdma"
	"ipoib/rdma/header"
	"ipoib/rdma/mad"
)

var (
	ip1, ip2 = addr("10.0.0.1"), addr("10.0.0.2")
	llA      = addr("fe80::200:5eef:1:11") // of host 1
)

// duo is a world with host 1 up and a peer made by hand at host 2.
func duo(t *testing.T, fn func(w *world, h *host, p *peer)) {
	t.Helper()
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		h := w.host(1)
		h.up(h.ib0, 0)
		p := w.host(2).peer()
		w.settle()
		p.take(0)
		fn(w, h, p)
	})
}

// 4391-§9.2-1, -§5-4, -§9.1.1-1, -§6-6, -§10-1: the request goes to the
// broadcast group; what follows goes to the queue pair of the answer
// (4391-§9.1.1-3), after one path query (4391-§9.1.2-1, 4392-§4.3-1).
func Test4391_S9_2_1_Resolution(t *testing.T) {
	duo(t, func(w *world, h *host, p *peer) {
		frames := h.tap()
		h.send(h.ib0, ip4(ip1, ip2, 8))
		reqs := p.take(encap.EtherTypeARP)
		if len(reqs) != 1 {
			t.Fatalf("%d requests", len(reqs))
		}
		a := encap.ARP(reqs[0].body)
		if a.Op() != encap.ARPRequest || a.SenderIP() != ip1 || a.TargetIP() != ip2 || a.SenderHW() != h.ib0.Info().Addr ||
			a.SenderHW().Flags() != encap.FlagRC || a.TargetHW() != (encap.HardwareAddr{}) || !a.IsValid() {
			t.Errorf("% x", reqs[0].body)
		}
		if wc := reqs[0]; wc.Flags&rdma.WCGRH == 0 || wc.GRH.DGID != h.ib0.broadcastMGID() || wc.SrcQP != h.ib0.Info().QPN {
			t.Errorf("%+v", wc.WorkCompletion)
		}
		p.answer(h.ib0, ip2, p.addr)
		w.settle()
		for range 2 {
			h.send(h.ib0, ip4(ip1, ip2, 8))
		}
		if got := p.take(encap.EtherTypeIPv4); len(got) != 3 || got[0].SrcQP != h.ib0.Info().QPN {
			t.Errorf("%d packets", len(got))
		}
		var order []string
		for _, f := range frames(true) {
			switch {
			case f.BTH.DestQP() == rdma.QPNGSI:
				if m := saMADs([]frame{f}); len(m) == 1 && m[0].AttrID() == mad.AttrPathRecord {
					order = append(order, "path")
				}
			case f.BTH.DestQP() == rdma.QPNMulticast:
				order = append(order, "arp")
			case f.BTH.DestQP() == p.qp.Num() && f.LRH.DLID() == w.host(2).ib0.port.rdma.Attr().LID && f.BTH.Opcode() == header.UDSendOnly:
				order = append(order, "data")
			}
		}
		if !slices.Equal(order, []string{"arp", "path", "data", "data", "data"}) {
			t.Errorf("order %v", order)
		}
	})
}

// 4391-§9.1.1-4: the answer goes to the queue pair of the request, and says
// whose address it is.
func Test4391_S9_1_1_4_ReplyToTheRequester(t *testing.T) {
	duo(t, func(w *world, h *host, p *peer) {
		p.arp(h.ib0, encap.ARPFields{Op: encap.ARPRequest, SenderHW: p.addr, SenderIP: ip2, TargetIP: ip1}, true)
		w.settle()
		got := p.arps()
		if len(got) != 1 || got[0].Op() != encap.ARPReply || got[0].SenderIP() != ip1 || got[0].TargetIP() != ip2 ||
			got[0].SenderHW() != h.ib0.Info().Addr || got[0].TargetHW() != p.addr {
			t.Errorf("%v", got)
		}
		// The requester was learnt: packets to it need no request of ours.
		h.send(h.ib0, ip4(ip1, ip2, 8))
		if all := p.take(0); len(all) != 1 || all[0].typ != encap.EtherTypeIPv4 {
			t.Errorf("%d messages", len(all))
		}
		// A request for somebody else is not answered, and makes no entry.
		p.arp(h.ib0, encap.ARPFields{Op: encap.ARPRequest, SenderHW: p.addr, SenderIP: addr("10.0.0.7"), TargetIP: addr("10.0.0.8")}, true)
		w.settle()
		if got := p.arps(); len(got) != 0 || h.neigh("10.0.0.7") != nil {
			t.Errorf("answered %v", got)
		}
		// Probes are answered, and nothing is learnt from them.
		p.arp(h.ib0, encap.ARPFields{Op: encap.ARPRequest, SenderHW: p.addr, SenderIP: addr("0.0.0.0"), TargetIP: ip1}, true)
		w.settle()
		if got := p.arps(); len(got) != 1 || h.neigh("0.0.0.0") != nil {
			t.Errorf("probe: %v", got)
		}
	})
}

// neigh returns a neighbour of the host's ib0.
func (h *host) neigh(ip string) *NeighView {
	for _, n := range h.ib0.Neighbours() {
		if n.IP == addr(ip) {
			return &n
		}
	}
	return nil
}

// 4391-§9.1.1-2, 4755-§3.1-5: flags are no part of who a neighbour is.
func Test4391_S9_1_1_2_FlagsIgnored(t *testing.T) {
	duo(t, func(w *world, h *host, p *peer) {
		h.send(h.ib0, ip4(ip1, ip2, 8))
		p.take(0)
		p.answer(h.ib0, ip2, p.addr.WithFlags(0xff))
		w.settle()
		h.send(h.ib0, ip4(ip1, ip2, 8))
		if got := p.take(encap.EtherTypeIPv4); len(got) != 2 {
			t.Errorf("%d packets", len(got))
		}
		if n := h.ib0.Neighbours(); len(n) != 1 || len(h.ib0.Paths()) != 1 {
			t.Errorf("neighbours %v", n)
		}
	})
}

// 4391-§9.4-1: entries age: after the reachable time a use makes the entry
// ask again, by unicast, then by broadcast; a peer that does not answer fails.
func Test4391_S9_4_1_Aging(t *testing.T) {
	duo(t, func(w *world, h *host, p *peer) {
		resolve := func() {
			h.send(h.ib0, ip4(ip1, ip2, 8))
			w.settle()
			p.answer(h.ib0, ip2, p.addr)
			w.settle()
		}
		resolve()
		if n := h.neigh("10.0.0.2"); n == nil || n.State != neigh.Reachable {
			t.Fatalf("%+v", n)
		}
		p.take(0)
		time.Sleep(46 * time.Second) // 1.5 times the base reachable time
		h.send(h.ib0, ip4(ip1, ip2, 8))
		if n := h.neigh("10.0.0.2"); n.State != neigh.Delay {
			t.Errorf("after use: %v", n.State)
		}
		time.Sleep(5 * time.Second)
		w.settle()
		if got := p.take(encap.EtherTypeARP); len(got) == 0 || got[0].Flags&rdma.WCMulticast != 0 {
			t.Errorf("no unicast probe: %d", len(got))
		}
		p.answer(h.ib0, ip2, p.addr)
		w.settle()
		if n := h.neigh("10.0.0.2"); n.State != neigh.Reachable {
			t.Errorf("after the answer: %v", n.State)
		}
		// Nobody answers any more.
		time.Sleep(46 * time.Second)
		h.send(h.ib0, ip4(ip1, ip2, 8))
		time.Sleep(20 * time.Second)
		if n := h.neigh("10.0.0.2"); n != nil && n.State.HasAddr() {
			t.Errorf("after silence: %v", n.State)
		}
		// Idle entries go (kernel ipoib_reap_neigh).
		resolve()
		time.Sleep(3 * time.Minute)
		if n := h.neigh("10.0.0.2"); n != nil {
			t.Errorf("idle entry: %+v", n)
		}
	})
}

// 4391-§9.1.1-3: a peer that comes back with another queue pair is found by
// its announcement.
func Test4391_S9_1_1_3_NewQueuePair(t *testing.T) {
	duo(t, func(w *world, h *host, p *peer) {
		h.send(h.ib0, ip4(ip1, ip2, 8))
		p.answer(h.ib0, ip2, p.addr)
		w.settle()
		q := w.host(2).peer()
		p.take(0)
		q.arp(h.ib0, encap.ARPFields{Op: encap.ARPRequest, SenderHW: q.addr, SenderIP: ip2, TargetIP: ip2}, true)
		w.settle()
		q.take(0)
		h.send(h.ib0, ip4(ip1, ip2, 8))
		w.settle()
		if len(q.take(encap.EtherTypeIPv4)) != 1 || len(p.take(encap.EtherTypeIPv4)) != 0 {
			t.Error("the packet went to the old queue pair")
		}
		// A reply that nobody asked for changes nothing within the lock time.
		p.answer(h.ib0, ip2, p.addr)
		w.settle()
		h.send(h.ib0, ip4(ip1, ip2, 8))
		w.settle()
	})
}

// Packets wait for the address, up to the limit, and for the path, up to the
// driver's much lower one, in order; when nobody answers the host is told, and
// the packets are counted.
func TestPendingQueue(t *testing.T) {
	duo(t, func(w *world, h *host, p *peer) {
		for n := range neigh.QueueLen + 10 {
			h.send(h.ib0, ip4(ip1, ip2, n))
		}
		w.settle()
		if n := h.neigh("10.0.0.2"); n == nil || n.State != neigh.Incomplete || n.Queued != neigh.QueueLen {
			t.Errorf("%+v", n)
		}
		if d := h.ib0.DropCounts()[TXQueueFull]; d != 10 {
			t.Errorf("%d dropped", d)
		}
		const perPath = 3 // kernel IPOIB_MAX_PATH_REC_QUEUE
		p.take(0)
		p.answer(h.ib0, ip2, p.addr)
		w.settle()
		got := p.take(encap.EtherTypeIPv4)
		if len(got) != perPath {
			t.Fatalf("%d packets", len(got))
		}
		if d := h.ib0.DropCounts()[TXNoPath]; d != neigh.QueueLen-perPath {
			t.Errorf("%d dropped for want of a path", d)
		}
		for n, m := range got { // the oldest made room
			if len(m.body) != 28+n+10 {
				t.Errorf("packet %d has %d bytes", n, len(m.body))
			}
		}
		h.got(h.ib0)
		h.send(h.ib0, ip4(ip1, addr("10.0.0.77"), 100))
		time.Sleep(5 * time.Second)
		back := h.got(h.ib0)
		if len(back) != 1 || back[0][9] != 1 || back[0][20] != 3 || back[0][21] != 1 ||
			netip.AddrFrom4([4]byte(back[0][28+16:])) != addr("10.0.0.77") {
			t.Errorf("no host unreachable: % x", back)
		}
		if h.ib0.DropCounts()[TXUnreachable] != 1 {
			t.Error("not counted")
		}
		if arps := p.arps(); len(arps) != neigh.McastProbes {
			t.Errorf("%d requests", len(arps))
		}
	})
}

// 4391-§9.2-1, -§6-3, -§6-4, -§6-5: what is not for us is counted, and
// nothing is answered.
func Test4391_S6_5_Malformed(t *testing.T) {
	duo(t, func(w *world, h *host, p *peer) {
		good := make([]byte, encap.ARPLen)
		_, _ = encap.PutARP(good, encap.ARPFields{Op: encap.ARPRequest, SenderHW: p.addr, SenderIP: ip2, TargetIP: ip1})
		change := func(at int, v byte) []byte {
			b := slices.Clone(good)
			b[at] = v
			return b
		}
		packet := ip4(ip2, ip1, 8)
		for _, c := range []struct {
			name string
			msg  []byte
			why  Drop
		}{
			{"hardware type", p.message(encap.EtherTypeARP, change(1, 1)), RXARP},
			{"hardware length", p.message(encap.EtherTypeARP, change(4, 6)), RXARP},
			{"protocol length", p.message(encap.EtherTypeARP, change(5, 16)), RXARP},
			{"short ARP", p.message(encap.EtherTypeARP, good[:40]), RXARP},
			{"multicast sender", p.message(encap.EtherTypeARP, change(28, 224)), RXARP},
			{"RARP", p.message(encap.EtherTypeRARP, good), RXType},
			{"unknown type", p.message(0x88cc, good), RXType},
			{"three bytes", []byte{8, 0, 0}, RXShort},
			{"no IP header", p.message(encap.EtherTypeIPv4, packet[:10]), RXIP},
			{"wrong version", p.message(encap.EtherTypeIPv6, packet), RXIP},
		} {
			before := h.ib0.DropCounts()[c.why]
			p.take(0)
			p.raw(p.to(h.ib0), h.ib0.qp.Num(), c.msg)
			w.settle()
			if n := h.ib0.DropCounts()[c.why] - before; n != 1 {
				t.Errorf("%s: %v is %d more", c.name, c.why, n)
			}
			if back := p.take(0); len(back) != 0 {
				t.Errorf("%s: answered", c.name)
			}
		}
		// Reserved is ignored (4391-§6-3).
		h.got(h.ib0)
		m := p.message(encap.EtherTypeIPv4, packet)
		m[2], m[3] = 0xff, 0xff
		p.raw(p.to(h.ib0), h.ib0.qp.Num(), m)
		if got := h.got(h.ib0); len(got) != 1 || string(got[0]) != string(packet) {
			t.Error("a packet with reserved bits was not delivered")
		}
	})
}

// 4391-§9.1-2: a packet with another Q_Key is dropped and counted as a
// violation.
func Test4391_S9_1_2_QKeyViolation(t *testing.T) {
	duo(t, func(w *world, h *host, p *peer) {
		before := h.ib0.port.rdma.Attr().QKeyViolations
		if err := p.qp.Modify(rdma.QPAttr{QKey: 0x1234}, rdma.QPAttrQKey); err != nil {
			t.Fatal(err)
		}
		p.unicast(h.ib0, encap.EtherTypeIPv4, ip4(ip2, ip1, 8))
		w.settle()
		if len(h.got(h.ib0)) != 0 || h.ib0.port.rdma.Attr().QKeyViolations != before+1 {
			t.Errorf("%d violations", h.ib0.port.rdma.Attr().QKeyViolations)
		}
	})
}

// An address that is added, and all of them when the link comes up, are
// announced.
func TestGratuitousARP(t *testing.T) {
	duo(t, func(w *world, h *host, p *peer) {
		announced := func() (out []netip.Addr) {
			for _, a := range p.arps() {
				if a.IsGratuitous() && a.SenderHW() == h.ib0.Info().Addr {
					out = append(out, a.SenderIP())
				}
			}
			return out
		}
		h.addAddr(h.ib0, "10.0.0.55/24")
		w.settle()
		if got := announced(); !slices.Equal(got, []netip.Addr{addr("10.0.0.55")}) {
			t.Errorf("after adding: %v", got)
		}
		w.bounce(1)
		if got := announced(); len(got) != 2 {
			t.Errorf("after the link came up: %v", got)
		}
	})
}

// An address that somebody else uses is defended, not too often, and logged.
func TestAddressConflict(t *testing.T) {
	duo(t, func(w *world, h *host, p *peer) {
		for range 3 {
			p.arp(h.ib0, encap.ARPFields{Op: encap.ARPRequest, SenderHW: p.addr, SenderIP: ip1, TargetIP: ip1}, true)
			time.Sleep(2 * time.Second)
		}
		announced := 0
		for _, a := range p.arps() {
			if a.Op() == encap.ARPRequest && a.IsGratuitous() {
				announced++
			}
		}
		if announced != 1 {
			t.Errorf("%d announcements within 10 s", announced)
		}
		if len(w.logged("10.0.0.1 is also used by")) != 1 {
			t.Error("not logged")
		}
	})
}

// An address of another interface of the host is answered for, as Linux does,
// unless arp_ignore says no.
func TestARPForOtherAddresses(t *testing.T) {
	duo(t, func(w *world, h *host, p *peer) {
		n, err := h.ns.AddLink(dummyLink("eth0"))
		if err != nil {
			t.Fatal(err)
		}
		if err := h.ns.AddAddr(addrOn(n, "192.0.2.1/24")); err != nil {
			t.Fatal(err)
		}
		w.settle()
		ask := func() int {
			p.take(0)
			p.arp(h.ib0, encap.ARPFields{Op: encap.ARPRequest, SenderHW: p.addr, SenderIP: ip2, TargetIP: addr("192.0.2.1")}, true)
			w.settle()
			return len(p.arps())
		}
		if ask() != 1 {
			t.Error("not answered")
		}
		_ = h.ns.SetSysctl(familyIPv4, "ib0", "arp_ignore", "1")
		if ask() != 0 {
			t.Error("answered in spite of arp_ignore")
		}
	})
}

// 4391-§9.4-2: a permanent neighbour needs no ARP and stays.
func Test4391_S9_4_2_Permanent(t *testing.T) {
	duo(t, func(w *world, h *host, p *peer) {
		if err := h.ib0.AddNeighbour(ip2, p.addr); err != nil {
			t.Fatal(err)
		}
		h.send(h.ib0, ip4(ip1, ip2, 8))
		w.settle()
		if got := p.take(0); len(got) != 1 || got[0].typ != encap.EtherTypeIPv4 {
			t.Errorf("%d messages", len(got))
		}
		time.Sleep(10 * time.Minute)
		if n := h.neigh("10.0.0.2"); n == nil || n.State != neigh.Permanent {
			t.Errorf("%+v", n)
		}
		if err := h.ib0.DeleteNeighbour(ip2); err != nil || h.neigh("10.0.0.2") != nil {
			t.Errorf("delete: %v", err)
		}
		if err := h.ib0.DeleteNeighbour(ip2); Errno(err) != noEntry {
			t.Errorf("delete again: %v", err)
		}
		if err := h.ib0.AddNeighbour(ip2, encap.HardwareAddr{}); err == nil {
			t.Error("a zero address was taken")
		}
	})
}
