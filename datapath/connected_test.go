package datapath

import (
	"syscall"
	"testing"
	"time"

	"ipoib/datapath/encap"
	"ipoib/rdma"
	"ipoib/rdma/cm"
	"ipoib/rdma/header"
	"ipoib/rdma/mad"
)

// connect switches interfaces to connected mode.
func (w *world) connect(hosts ...*host) {
	w.t.Helper()
	for _, h := range hosts {
		if err := h.ib0.SetMode(Connected); err != nil {
			w.t.Fatal(err)
		}
	}
}

// conns returns the outgoing and incoming connections of an interface.
func (h *host) conns() (out, in int) {
	for _, c := range h.ib0.Connections() {
		if c.Active {
			out++
		} else {
			in++
		}
	}
	return out, in
}

// cmOf returns the CM messages of one kind among frames; 0 is of all.
func cmOf(frames []frame, attr mad.AttrID) (out []*mad.MAD) {
	for _, f := range frames {
		if f.BTH.DestQP() != rdma.QPNGSI || len(f.Payload) != rdma.MADSize {
			continue
		}
		if m := mad.View((*[rdma.MADSize]byte)(f.Payload)); m.Class() == mad.ClassCM && (attr == 0 || m.AttrID() == attr) {
			out = append(out, m)
		}
	}
	return out
}

// reqs returns the connection requests among frames.
func reqs(t *testing.T, frames []frame) (out []mad.REQ) {
	for _, m := range cmOf(frames, mad.AttrREQ) {
		var r mad.REQ
		if err := m.Attr(&r); err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// rcFrames returns the frames with data of connections.
func rcFrames(frames []frame) (out []frame) {
	for _, f := range frames {
		if op := f.BTH.Opcode(); op.Transport() == header.TransportRC && !op.IsResponse() {
			out = append(out, f)
		}
	}
	return out
}

// carry checks that a packet of n bytes arrives, and returns the frames that it
// took.
func carry(a, b *host, n int) bool {
	a.w.t.Helper()
	b.got(b.ib0)
	p := ip4(a.ip(), b.ip(), n-28)
	for k := 28; k < n; k++ {
		p[k] = byte(k * 7)
	}
	a.send(a.ib0, p)
	a.w.settle()
	got := b.got(b.ib0)
	return len(got) == 1 && string(got[0]) == string(p)
}

// TestConnected: two hosts in connected mode connect with the first packet, and
// carry the largest there is both ways over one connection.
func TestConnected(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2, debug: true}, func(w *world) {
		a, b := w.host(1), w.host(2)
		w.upAll()
		w.connect(a, b)
		w.settle()
		if i := a.ib0.Info(); i.MTU != 65520 || i.Mode != Connected || i.Addr.Flags() != encap.FlagRC {
			t.Errorf("%+v", i)
		}
		frames := a.tap()
		for _, n := range []int{100, 2044, 2045, 65520} {
			if !carry(a, b, n) || !carry(b, a, n) {
				t.Fatalf("%d bytes: %v", n, w.logged(""))
			}
		}
		if n := len(cmOf(frames(true), mad.AttrREQ)); n != 1 {
			t.Errorf("%d REQs", n)
		}
		if out, in := a.conns(); out != 1 || in != 0 {
			t.Errorf("%d outgoing, %d incoming connections", out, in)
		}
		if out, in := b.conns(); out != 0 || in != 1 {
			t.Errorf("%d outgoing, %d incoming connections", out, in)
		}
		for _, h := range w.hosts {
			if s := h.ib0.Stats(); s.TxErrors != 0 || s.TxDropped != 0 || s.RxDropped != 0 || s.RxErrors != 0 {
				t.Errorf("%+v", s)
			}
		}
		// A message counts as one packet.
		before := a.ib0.Stats()
		carry(b, a, 65520)
		if s := a.ib0.Stats(); s.RxPackets-before.RxPackets != 1 || s.RxBytes-before.RxBytes != 65520 {
			t.Errorf("%d packets of %d bytes", s.RxPackets-before.RxPackets, s.RxBytes-before.RxBytes)
		}
		v := a.neigh("10.0.0.2")
		c := b.ib0.Connections()[0]
		if v.Transport != "rc" || v.Connection != "connected" || v.MTU != 65520 || v.QPN != c.LocalQPN || v.LocalQPN != c.RemoteQPN ||
			v.State.String() != "REACHABLE" {
			t.Errorf("%+v, %+v", v, c)
		}
		if c.Addr != a.ib0.Info().Addr.Key() || c.Active || c.State != "ESTABLISHED" || c.MTU != 65520 {
			t.Errorf("%+v", c)
		}
	})
}

// 4755-§2-1, -§3.1-5, -§3.1-6, 4391-§9.1.1-1, -2: connected mode is optional.
// Without it the flags are zero, those of others mean nothing, and the mode
// cannot be chosen.
func Test4755_S2_1_Optional(t *testing.T) {
	hide := func(_ int, p rdma.Port) rdma.Port { return udOnly{p} }
	inWorld(t, worldConfig{hosts: 2, port: hide}, func(w *world) {
		h := w.host(1)
		if err := h.ib0.SetMode(Connected); Errno(err) != syscall.EINVAL {
			t.Errorf("connected mode: %v", err)
		}
		h.up(h.ib0, 0)
		p := w.host(2).peer()
		w.settle()
		p.take(0)
		h.send(h.ib0, ip4(ip1, ip2, 8))
		a := p.arps()
		if len(a) != 1 || a[0].SenderHW().Flags() != 0 || h.ib0.Info().Addr.Flags() != 0 {
			t.Fatalf("%v", a)
		}
		p.answer(h.ib0, ip2, p.addr.WithFlags(encap.FlagRC))
		w.settle()
		if got := p.take(encap.EtherTypeIPv4); len(got) != 1 {
			t.Errorf("%d packets", len(got))
		}
	})
}

// 4755-§2-2, -§7-1: a connected mode node and one with datagrams only
// understand each other; 4755-§7.2-1: what is too long for it is answered with
// the datagram MTU.
func Test4755_S2_2_DatagramPeer(t *testing.T) {
	hide := func(n int, p rdma.Port) rdma.Port {
		if n == 2 {
			return udOnly{p}
		}
		return p
	}
	inWorld(t, worldConfig{hosts: 2, port: hide}, func(w *world) {
		a, b := w.host(1), w.host(2)
		w.upAll()
		w.connect(a)
		frames := a.tap()
		if !carry(a, b, 2044) || !carry(b, a, 2044) {
			t.Error("no connection")
		}
		a.got(a.ib0)
		for _, src := range []string{"10.0.0.", "fd00::"} {
			p := packet(addr(src+"1"), addr(src+"2"), 4000)
			a.send(a.ib0, p)
			w.settle()
			got := a.got(a.ib0)
			if len(got) != 1 {
				t.Fatalf("%d packets came back", len(got))
			}
			icmp, kind, mtu := got[0][20:], byte(3), 6
			if src == "fd00::" {
				icmp, kind, mtu = got[0][40:], 2, 6
			}
			if icmp[0] != kind || int(icmp[mtu])<<8|int(icmp[mtu+1]) != 2044 {
				t.Errorf("% x", icmp[:8])
			}
		}
		if len(b.got(b.ib0)) != 0 || len(rcFrames(frames(true))) != 0 || len(cmOf(frames(true), 0)) != 0 {
			t.Error("something was sent that a datagram node does not understand")
		}
		if s := a.ib0.Stats(); a.ib0.DropCounts()[TXTooLong] != 2 || s.TxErrors != 2 {
			t.Errorf("%+v", s)
		}
		if len(w.logged("packet len 4032 (> 2048) too long to send, dropping")) != 1 {
			t.Errorf("%v", w.logged("too long"))
		}
		if v := a.neigh("10.0.0.2"); v.Transport != "ud" || v.Connection != "" || v.MTU != 2044 {
			t.Errorf("%+v", v)
		}
	})
}

// 4755-§2-3, -§5-2, -§5-3: encapsulation, address and default MTU are those of
// RFC 4391; a larger MTU is what connected mode is switched on for.
func Test4755_S2_3_AsRFC4391(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		a, b := w.host(1), w.host(2)
		w.upAll()
		if i := a.ib0.Info(); i.MTU != 2044 || i.Addr.QPN() != i.QPN || i.Addr.Flags() != encap.FlagRC {
			t.Errorf("%+v", i)
		}
		if !hasAddr(a, "fe80::200:5eef:1:11") {
			t.Error("no link-local address of the port GUID")
		}
		w.connect(a, b)
		if i := a.ib0.Info(); i.MTU != 65520 || i.GroupMTU != 2044 {
			t.Errorf("%+v", i)
		}
		carry(a, b, 100)
		frames := a.tap()
		if !carry(a, b, 100) {
			t.Fatal("no connection")
		}
		data := rcFrames(frames(true))
		if len(data) != 1 || string(data[0].Payload[:4]) != "\x08\x00\x00\x00" || len(data[0].Payload) != 104 {
			t.Errorf("%v", data)
		}
		if len(w.logged("enabling connected mode will cause multicast packet drops")) != 2 ||
			len(w.logged("mtu > 2044 will cause multicast packet drops.")) != 2 {
			t.Errorf("%v", w.logged("multicast"))
		}
	})
}

// 4755-§2.1-1, -§7-3: groups and broadcasts go by UD, whatever connections
// there are; -§3-1, -§7-4: so do questions and answers about addresses.
func Test4755_S2_1_1_MulticastByUD(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		a, b := w.host(1), w.host(2)
		w.upAll()
		w.connect(a, b)
		carry(a, b, 65520)
		fa, fb := a.tap(), b.tap()
		for _, dst := range []string{"255.255.255.255", "10.0.0.255", "239.1.2.3"} {
			a.send(a.ib0, ip4(a.ip(), addr(dst), 8))
		}
		a.send(a.ib0, ip6(addr("fd00::1"), addr("ff02::1"), 8))
		w.settle()
		ud := 0
		for _, f := range ipoib(fa(true)) {
			if f.BTH.Opcode() == header.UDSendOnly && f.BTH.DestQP() == rdma.QPNMulticast {
				ud++
			}
		}
		if ud != 4 || len(rcFrames(fa(true))) != 0 {
			t.Errorf("%d multicast datagrams, %d connected", ud, len(rcFrames(fa(true))))
		}
		// A group takes no more than its MTU; IPv6 says so.
		a.got(a.ib0)
		a.send(a.ib0, ip6(addr("fd00::1"), addr("ff02::1"), 4000))
		a.send(a.ib0, ip4(a.ip(), addr("239.1.2.3"), 4000))
		w.settle()
		if got := a.got(a.ib0); len(got) != 1 || got[0][40] != 2 || got[0][46] != 2044>>8 || got[0][47] != 2044&0xff {
			t.Errorf("%d packets came back", len(got))
		}
		// The neighbours of both protocols are verified.
		a.neighFlush()
		for _, p := range []string{"10.0.0.", "fd00::"} {
			a.send(a.ib0, packet(addr(p+"1"), addr(p+"2"), 8))
			w.settle()
		}
		requests, answers := 0, 0
		for side, frames := range [][]frame{ipoib(fa(true)), ipoib(fb(true))} {
			for _, f := range frames {
				if f.BTH.Opcode().IsResponse() {
					continue
				}
				typ, body, err := encap.Decap(f.Payload)
				if err != nil {
					t.Fatal(err)
				}
				if typ == encap.EtherTypeIPv6 {
					_, err = encap.ParseND(body)
				}
				if err != nil || typ == encap.EtherTypeIPv4 {
					continue
				}
				switch {
				case f.BTH.Opcode() != header.UDSendOnly:
					t.Errorf("address resolution by %v", f.BTH.Opcode())
				case side == 0 && f.BTH.DestQP() == rdma.QPNMulticast:
					requests++
				case side == 1 && f.BTH.DestQP() == a.ib0.Info().QPN:
					answers++
				}
			}
		}
		if requests != 2 || answers != 2 {
			t.Errorf("%d requests, %d answers", requests, answers)
		}
	})
}

// 4755-§2.2-1: one UD queue pair, and those of the connections.
func Test4755_S2_2_1_QueuePairs(t *testing.T) {
	inWorld(t, worldConfig{hosts: 4}, func(w *world) {
		w.upAll()
		w.connect(w.hosts...)
		for n := 2; n <= 4; n++ {
			if !carry(w.host(1), w.host(n), 9000) {
				t.Fatalf("no connection to host %d", n)
			}
		}
		i := w.host(1).ib0
		seen := map[rdma.QPN]bool{i.Info().QPN: true}
		for _, c := range i.Connections() {
			if seen[c.LocalQPN] || c.State != "ESTABLISHED" || !c.Active {
				t.Errorf("%+v", c)
			}
			seen[c.LocalQPN] = true
		}
		if len(seen) != 4 || i.qp.Type() != rdma.QPTUD {
			t.Errorf("queue pairs %v", seen)
		}
	})
}

// 4755-§3.1-1 to -4: RC is the most significant bit of the flags, UC the next
// one; the others are ignored.
func Test4755_S3_1_1_Flags(t *testing.T) {
	for flags, rc := range map[byte]bool{0x80: true, 0xc0: true, 0xbf: true, 0xff: true, 0x00: false, 0x40: false, 0x3f: false} {
		inWorld(t, worldConfig{hosts: 2}, func(w *world) {
			h, p := duoCM(w, rfcForm)
			if err := h.ib0.DeleteNeighbour(p.h.ip()); err != nil {
				t.Fatal(err)
			}
			h.send(h.ib0, ip4(ip1, ip2, 8))
			a := p.addr
			a[0] = flags
			p.answer(h.ib0, ip2, a)
			w.settle()
			h.send(h.ib0, ip4(ip1, ip2, 8))
			w.settle()
			if n := len(p.takeREQs()); (n == 1) != rc || n > 1 {
				t.Errorf("flags %#x: %d requests", flags, n)
			}
			// 4755-§3.1-2, -§9-1, -2: none but RC is set on our own.
			for _, a := range p.arps() {
				if hw := a.SenderHW(); hw[0] != 0x80 {
					t.Errorf("own flags %#x", hw[0])
				}
			}
		})
	}
}

// 4755-§3.1-7, -§3.5-1 to -3: the service ID is made of the target's UD queue
// pair; 4755-§5.1-1, -§6-1 to -3, -§3.2-4: the private data of the request, the
// reply and the RTU hold the sender's queue pair and receive MTU.
func Test4755_S3_5_1_ServiceID(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		h, p := duoCM(w, rfcForm)
		frames := h.tap()
		h.send(h.ib0, ip4(ip1, ip2, 8))
		w.settle()
		sent := cmOf(frames(true), 0)
		if len(sent) != 2 || sent[0].AttrID() != mad.AttrREQ || sent[1].AttrID() != mad.AttrRTU {
			t.Fatalf("sent %v", sent)
		}
		own, qpn := h.ib0.Info(), uint32(p.qp.Num())
		d := sent[0].CMData()
		if string(d[8:16]) != string([]byte{1, 0, 0, 0, 0, byte(qpn >> 16), byte(qpn >> 8), byte(qpn)}) {
			t.Errorf("service ID % x", d[8:16])
		}
		block := []byte{0, byte(own.QPN >> 16), byte(own.QPN >> 8), byte(own.QPN), 0, 0, 0xff, 0xf4}
		for what, b := range map[string][]byte{"REQ": d[140:], "RTU": sent[1].CMData()[8:]} {
			if string(b[:8]) != string(block) {
				t.Errorf("%s: private data % x", what, b[:8])
			}
			for _, v := range b[8:] {
				if v != 0 {
					t.Errorf("%s: private data % x", what, b)
					break
				}
			}
		}
		r := reqs(t, frames(true))[0]
		gid, _ := h.ib0.port.rdma.GID(0)
		if r.LocalCAGUID != h.hca.Attr().NodeGUID || r.TransportService != mad.ServiceRC || r.PKey != 0xffff ||
			r.PathMTU != rdma.MTU4096 && r.PathMTU != rdma.MTU2048 || r.Primary.LocalGID != gid || r.Primary.RemoteGID != p.addr.GID() ||
			r.Primary.LocalLID != h.ib0.port.rdma.Attr().LID || !r.Primary.SubnetLocal || !r.SRQ || r.MaxCMRetries != 15 {
			t.Errorf("%+v", r)
		}
		// 4755-§7.1-1: a dead peer is noticed within 200 ms, the least
		// retransmission timeout of TCP.
		if d := cm.Duration(r.Primary.LocalAckTimeout) * time.Duration(r.RetryCount+1); d > 200*time.Millisecond {
			t.Errorf("failures are noticed after %v", d)
		}
		// The reply, from the other side.
		c := p.dial(h.ib0, nil)
		if c.remote.UDQPN != own.QPN || c.remote.ReceiveMTU != 65524 {
			t.Errorf("REP: %+v", c.remote)
		}
	})
}

// Annex A-1: who listens under the service ID of the Linux driver is found
// too; the interface listens under both.
func TestBothServiceIDs(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		h, p := duoCM(w, legacyForm)
		p.linux()
		frames := h.tap()
		h.send(h.ib0, ip4(ip1, ip2, 8))
		w.settle()
		sent := reqs(t, frames(true))
		if len(sent) != 2 || sent[0].ServiceID != mad.IPoIBServiceID(p.qp.Num()) || sent[1].ServiceID != mad.IPoIBServiceIDLegacy(p.qp.Num()) {
			t.Fatalf("%d requests", len(sent))
		}
		h.send(h.ib0, ip4(ip1, ip2, 3000))
		if got := p.takeRC(); len(got) != 1 || len(got[0].body) != 3028 {
			t.Errorf("%d messages", len(got))
		}
		for _, id := range []uint64{mad.IPoIBServiceID(h.ib0.Info().QPN), mad.IPoIBServiceIDLegacy(h.ib0.Info().QPN)} {
			c := p.dial(h.ib0, func(r *mad.REQ) { r.ServiceID = id })
			if c.conn.State() != cm.Established {
				t.Errorf("%#x: %v", id, c.types())
			}
		}
		// The next time the form that worked is not asked for first: after a
		// failure the standard's is.
		c := p.dial(h.ib0, func(r *mad.REQ) { r.ServiceID += 1 })
		if ev := c.types(); len(ev) != 1 || ev[0] != cm.EventRejected || c.events[0].REJ.Reason != mad.RejectInvalidServiceID {
			t.Errorf("unknown service: %v", ev)
		}
	})
}

// 4755-§3.1-8: while there is no connection packets go by UD; -§7-2: packets
// that come by UD are taken although there is one.
func Test4755_S3_1_8_UDMeanwhile(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		h, p := duoCM(w, rfcForm)
		p.deaf = true
		for range 3 {
			h.send(h.ib0, ip4(ip1, ip2, 8))
		}
		time.Sleep(100 * time.Millisecond)
		if got := p.take(encap.EtherTypeIPv4); len(got) != 3 {
			t.Errorf("%d of 3 packets by UD", len(got))
		}
		if v := h.neigh("10.0.0.2"); v.Transport != "ud" || v.Connection != "connecting" {
			t.Errorf("%+v", v)
		}
	})
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		h, p := duoCM(w, rfcForm)
		h.send(h.ib0, ip4(ip1, ip2, 8))
		w.settle()
		p.take(0)
		h.send(h.ib0, ip4(ip1, ip2, 8))
		if ud, rc := p.take(encap.EtherTypeIPv4), p.takeRC(); len(ud) != 0 || len(rc) != 1 {
			t.Errorf("%d by UD, %d by RC", len(ud), len(rc))
		}
		h.got(h.ib0)
		p.unicast(h.ib0, encap.EtherTypeIPv4, ip4(ip2, ip1, 8))
		p.mu.Lock()
		c := p.conns[0]
		p.mu.Unlock()
		c.send(encap.EtherTypeIPv4, ip4(ip2, ip1, 9))
		c.send(encap.EtherTypeIPv6, ip6(addr("fd00::2"), addr("fd00::1"), 9))
		if got := h.got(h.ib0); len(got) != 3 {
			t.Errorf("%d of 3 packets", len(got))
		}
	})
}
