package datapath

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"ipoib/datapath/encap"
	"ipoib/datapath/neigh"
	"ipoib/rdma"
	"ipoib/rdma/inet"
)

var (
	six1 = addr("fd00::1")
	six2 = addr("fd00::2")
)

// icmp6 builds an ICMPv6 packet.
func icmp6(src, dst netip.Addr, hop uint8, body ...[]byte) []byte {
	b := slices.Concat(body...)
	p := make([]byte, 40, 40+len(b))
	p[0], p[6], p[7] = 0x60, 58, hop
	binary.BigEndian.PutUint16(p[4:], uint16(len(b)))
	copy(p[8:], src.AsSlice())
	copy(p[24:], dst.AsSlice())
	p = append(p, b...)
	binary.BigEndian.PutUint16(p[42:], 0)
	binary.BigEndian.PutUint16(p[42:], inet.Checksum(p[40:], inet.Pseudo(p[8:24], p[24:40], 58, len(b))))
	return p
}

// linkOption is a Source (1) or Target (2) Link-Layer Address option.
func linkOption(t byte, a encap.HardwareAddr) []byte {
	return append([]byte{t, 3, 0, 0}, a[:]...)
}

// 4391-§9.1-1, -§9.3-1, -3, 4861-1, -2: the solicitation goes to the
// solicited-node group with our address, the advertisement is believed.
func Test4391_S9_3_3_Solicitation(t *testing.T) {
	duo(t, func(w *world, h *host, p *peer) {
		group, _ := encap.MGIDOf(h.ib0.broadcastMGID(), encap.SolicitedNode(six2))
		p.join(group, 1)
		p.take(0)
		h.send(h.ib0, ip6(six1, six2, 8))
		w.settle()
		got := p.take(encap.EtherTypeIPv6)
		if len(got) < 1 {
			t.Fatal("no solicitation")
		}
		m, err := encap.ParseND(got[0].body)
		if err != nil || m.Type() != encap.NeighborSolicitation || m.Src() != six1 || m.Target() != six2 ||
			m.Dst() != encap.SolicitedNode(six2) || got[0].GRH.DGID != group {
			t.Fatalf("%v %v", m, err)
		}
		if ll, err := m.SLLA(); err != nil || ll != h.ib0.Info().Addr {
			t.Errorf("option %v %v", ll, err)
		}
		p.na(h.ib0, encap.NAFields{Src: six2, Dst: six1, Target: six2, Solicited: true, Override: true, TLLA: p.addr})
		w.settle()
		got = p.take(encap.EtherTypeIPv6)
		if n := h.neigh("fd00::2"); n == nil || n.State != neigh.Reachable || n.Router || len(got) != 1 {
			t.Errorf("%+v, %d packets", n, len(got))
		}
		// The router flag is noted, an advertisement without override is not
		// believed about another address.
		p.na(h.ib0, encap.NAFields{Src: six2, Dst: six1, Target: six2, Router: true, Solicited: true, TLLA: p.addr})
		w.settle()
		if n := h.neigh("fd00::2"); !n.Router {
			t.Error("not a router")
		}
		other := p.addr
		other[3]++
		p.na(h.ib0, encap.NAFields{Src: six2, Dst: six1, Target: six2, TLLA: other})
		w.settle()
		if n := h.neigh("fd00::2"); n.Addr.Key() != p.addr.Key() || n.State != neigh.Stale {
			t.Errorf("%+v", n)
		}
		// Unasked advertisements make no entry (RFC 4861 section 7.2.5).
		p.na(h.ib0, encap.NAFields{Src: addr("fd00::9"), Dst: six1, Target: addr("fd00::9"), Override: true, TLLA: p.addr})
		w.settle()
		if h.neigh("fd00::9") != nil {
			t.Error("an unasked advertisement made an entry")
		}
	})
}

// Solicitations are answered: with the link-layer address of the asker, and
// without; for probes to all nodes (RFC 4861 section 7.2.4, RFC 4862).
func Test4861_1_Advertisement(t *testing.T) {
	duo(t, func(w *world, h *host, p *peer) {
		allNodesGroup, _ := encap.MGIDOf(h.ib0.broadcastMGID(), allNodes)
		p.join(allNodesGroup, 1)
		solicited, _ := encap.MGIDOf(h.ib0.broadcastMGID(), encap.SolicitedNode(six1))
		rec := p.join(solicited, 1)
		p.take(0)
		ask := func(src netip.Addr, hw encap.HardwareAddr, target netip.Addr) []encap.ND {
			p.take(0)
			b := make([]byte, maxND)
			n, err := encap.PutNS(b, encap.NSFields{Src: src, Dst: encap.SolicitedNode(target), Target: target, SLLA: hw})
			if err != nil {
				t.Fatal(err)
			}
			p.multicast(rec, encap.EtherTypeIPv6, b[:n])
			w.settle()
			return p.nds(encap.NeighborAdvertisement)
		}
		got := ask(six2, p.addr, six1)
		if len(got) != 1 || !got[0].Solicited() || !got[0].Override() || got[0].Router() || got[0].Dst() != six2 {
			t.Fatalf("%v", got)
		}
		if ll, err := got[0].TLLA(); err != nil || ll != h.ib0.Info().Addr {
			t.Errorf("option %v %v", ll, err)
		}
		if n := h.neigh("fd00::2"); n == nil || n.State != neigh.Stale {
			t.Errorf("the asker was not learnt: %+v", n)
		}
		if got := ask(addr("::"), encap.HardwareAddr{}, six1); len(got) != 1 || got[0].Solicited() || got[0].Dst() != allNodes {
			t.Errorf("probe: %v", got)
		}
		if got := ask(six2, encap.HardwareAddr{}, six1); len(got) != 1 || !got[0].Solicited() {
			t.Errorf("without option: %v", got)
		}
		if got := ask(six2, p.addr, addr("fd00::1:0:1")); len(got) != 0 {
			t.Errorf("not our address: %v", got)
		}
		// A router says so.
		_ = h.ns.SetSysctl(familyIPv6, "ib0", "forwarding", "1")
		w.bounce(1)
		h.relink(0)
		if got := ask(six2, p.addr, six1); len(got) != 1 || !got[0].Router() {
			t.Errorf("as router: %v", got)
		}
	})
}

// relink takes ib0 down and up on the host, with its addresses.
func (h *host) relink(net int) {
	h.w.t.Helper()
	if err := h.ns.SetUp(h.ib0.Info().Ifindex, false); err != nil {
		h.w.t.Fatal(err)
	}
	h.w.settle()
	if err := h.ns.SetUp(h.ib0.Info().Ifindex, true); err != nil {
		h.w.t.Fatal(err)
	}
	h.addAddr(h.ib0, "fd00::1/64")
	h.w.settle()
	h.w.settle()
}

// Each address is probed before it is announced (RFC 4862 section 5.4); one
// that somebody has is not used.
func TestDuplicateAddressDetection(t *testing.T) {
	duo(t, func(w *world, h *host, p *peer) {
		ip := addr("fd00::77")
		group, _ := encap.MGIDOf(h.ib0.broadcastMGID(), encap.SolicitedNode(ip))
		p.join(group, 1)
		allNodesGroup, _ := encap.MGIDOf(h.ib0.broadcastMGID(), allNodes)
		p.join(allNodesGroup, 1)
		p.take(0)
		h.addAddr(h.ib0, "fd00::77/64")
		time.Sleep(100 * time.Millisecond)
		if got := p.nds(encap.NeighborSolicitation); len(got) != 1 || !got[0].IsDAD() || got[0].Target() != ip {
			t.Fatalf("probe %v", got)
		}
		w.settle()
		if got := p.nds(encap.NeighborAdvertisement); len(got) != 1 || got[0].Target() != ip || got[0].Solicited() {
			t.Errorf("announcement %v", got)
		}
		if err := h.ns.DelAddr(h.ib0.Info().Ifindex, prefix("fd00::77/64")); err != nil {
			t.Fatal(err)
		}
		w.settle()
		// Now somebody answers the probe.
		h.addAddr(h.ib0, "fd00::77/64")
		time.Sleep(100 * time.Millisecond)
		p.na(h.ib0, encap.NAFields{Src: ip, Dst: allNodes, Target: ip, Override: true, TLLA: p.addr})
		w.settle()
		p.take(0)
		if len(w.logged("IPv6 duplicate address fd00::77")) != 1 {
			t.Error("not logged")
		}
		b := make([]byte, maxND)
		n, _ := encap.PutNS(b, encap.NSFields{Src: six2, Dst: ip, Target: ip, SLLA: p.addr})
		p.unicast(h.ib0, encap.EtherTypeIPv6, b[:n])
		w.settle()
		if got := p.nds(encap.NeighborAdvertisement); len(got) != 0 {
			t.Errorf("answered for a duplicate: %v", got)
		}
		// Two that probe at the same time both fail.
		p.join(groupOf(h, "fd00::88"), 1)
		h.addAddr(h.ib0, "fd00::88/64")
		time.Sleep(100 * time.Millisecond)
		n, _ = encap.PutNS(b, encap.NSFields{Src: addr("::"), Dst: encap.SolicitedNode(addr("fd00::88")), Target: addr("fd00::88")})
		p.unicast(h.ib0, encap.EtherTypeIPv6, b[:n])
		w.settle()
		if len(w.logged("IPv6 duplicate address fd00::88")) != 1 {
			t.Error("simultaneous probes not noticed")
		}
	})
}

func groupOf(h *host, ip string) rdma.GID {
	g, _ := encap.MGIDOf(h.ib0.broadcastMGID(), encap.SolicitedNode(addr(ip)))
	return g
}

// 4391-§9.3-3: the host's own Router Solicitations and Advertisements get our
// address, its Redirects that of the target.
func Test4391_S9_3_3_HostMessages(t *testing.T) {
	duo(t, func(w *world, h *host, p *peer) {
		h.send(h.ib0, ip6(six1, six2, 8))
		p.na(h.ib0, encap.NAFields{Src: six2, Dst: six1, Target: six2, Solicited: true, Override: true, TLLA: p.addr})
		allNodesGroup, _ := encap.MGIDOf(h.ib0.broadcastMGID(), allNodes)
		p.join(allNodesGroup, 1)
		p.join(mustMGID(h, "ff02::2"), 1)
		p.take(0)
		mtu := []byte{5, 1, 0, 0, 0, 0, 7, 0xfc}
		for _, c := range []struct {
			name string
			pkt  []byte
			typ  encap.NDType
			ll   encap.HardwareAddr
		}{
			{"RS", icmp6(llA, addr("ff02::2"), 255, []byte{133, 0, 0, 0, 0, 0, 0, 0}), encap.RouterSolicitation, h.ib0.Info().Addr},
			{"RA", icmp6(llA, allNodes, 255, []byte{134, 0, 0, 0, 64, 0, 0, 30, 0, 0, 0, 0, 0, 0, 0, 0}, mtu), encap.RouterAdvertisement, h.ib0.Info().Addr},
			{"Redirect", icmp6(llA, six2, 255, []byte{137, 0, 0, 0, 0, 0, 0, 0}, six2.AsSlice(), six2.AsSlice()), encap.Redirect, p.addr},
		} {
			h.send(h.ib0, c.pkt)
			w.settle()
			got := p.nds(c.typ)
			if len(got) != 1 {
				t.Errorf("%s: %d messages", c.name, len(got))
				continue
			}
			ll, err := got[0].SLLA()
			if c.typ == encap.Redirect {
				ll, err = got[0].TLLA()
			}
			if err != nil || ll.Key() != c.ll.Key() {
				t.Errorf("%s: option %v %v", c.name, ll, err)
			}
		}
		// What RFC 4861 does not allow is not sent.
		before := h.ib0.DropCounts()[TXMalformed]
		h.send(h.ib0, icmp6(llA, addr("ff02::2"), 64, []byte{133, 0, 0, 0, 0, 0, 0, 0}))
		if h.ib0.DropCounts()[TXMalformed] != before+1 {
			t.Error("an RS with hop limit 64 was sent")
		}
	})
}

func mustMGID(h *host, ip string) rdma.GID {
	g, _ := encap.MGIDOf(h.ib0.broadcastMGID(), addr(ip))
	return g
}

// 4391-§9.3-3: received Router Solicitations, Advertisements and Redirects
// teach us the address and reach the host without the option.
func Test4391_S9_3_3_ReceivedMessages(t *testing.T) {
	duo(t, func(w *world, h *host, p *peer) {
		router := addr("fe80::99")
		mtu := []byte{5, 1, 0, 0, 0, 0, 7, 0xfc}
		for _, c := range []struct {
			name, learnt string
			pkt, host    []byte
		}{
			{"RA", "fe80::99",
				icmp6(router, allNodes, 255, []byte{134, 0, 0, 0, 64, 0, 0, 30, 0, 0, 0, 0, 0, 0, 0, 0}, linkOption(1, p.addr), mtu),
				icmp6(router, allNodes, 255, []byte{134, 0, 0, 0, 64, 0, 0, 30, 0, 0, 0, 0, 0, 0, 0, 0}, mtu)},
			{"RS", "fe80::98",
				icmp6(addr("fe80::98"), addr("ff02::2"), 255, []byte{133, 0, 0, 0, 0, 0, 0, 0}, linkOption(1, p.addr)),
				icmp6(addr("fe80::98"), addr("ff02::2"), 255, []byte{133, 0, 0, 0, 0, 0, 0, 0})},
			{"Redirect", "fe80::97",
				icmp6(router, six1, 255, []byte{137, 0, 0, 0, 0, 0, 0, 0}, addr("fe80::97").AsSlice(), addr("fd00::5:5").AsSlice(), linkOption(2, p.addr)),
				icmp6(router, six1, 255, []byte{137, 0, 0, 0, 0, 0, 0, 0}, addr("fe80::97").AsSlice(), addr("fd00::5:5").AsSlice())},
		} {
			h.got(h.ib0)
			p.unicast(h.ib0, encap.EtherTypeIPv6, c.pkt)
			w.settle()
			if n := h.neigh(c.learnt); n == nil || n.Addr.Key() != p.addr.Key() {
				t.Errorf("%s: neighbour %+v", c.name, n)
			}
			if got := h.got(h.ib0); len(got) != 1 || string(got[0]) != string(c.host) {
				t.Errorf("%s: the host got % x", c.name, got)
			}
		}
		// Hop limit, checksum and lengths are checked.
		bad := icmp6(router, allNodes, 64, []byte{134, 0, 0, 0, 64, 0, 0, 30, 0, 0, 0, 0, 0, 0, 0, 0})
		p.unicast(h.ib0, encap.EtherTypeIPv6, bad)
		w.settle()
		if len(h.got(h.ib0)) != 0 || h.ib0.DropCounts()[RXND] != 1 {
			t.Error("an RA from afar was delivered")
		}
	})
}

// 4861-2: the solicited-node group of each address is joined, and left.
func Test4861_2_SolicitedNodeGroups(t *testing.T) {
	duo(t, func(w *world, h *host, p *peer) {
		member := func(ip string) bool {
			for _, g := range h.ib0.Groups() {
				if g.MGID == groupOf(h, ip) {
					return g.Complete && !g.SendOnly
				}
			}
			return false
		}
		if !member("fd00::1") || !member("fe80::200:5eef:1:11") {
			t.Errorf("groups %v", h.ib0.Groups())
		}
		h.addAddr(h.ib0, "fd00::ab:cdef/64")
		w.settle()
		if !member("fd00::ab:cdef") {
			t.Error("not joined")
		}
		if err := h.ns.DelAddr(h.ib0.Info().Ifindex, prefix("fd00::ab:cdef/64")); err != nil {
			t.Fatal(err)
		}
		w.settle()
		if member("fd00::ab:cdef") {
			t.Error("not left")
		}
	})
}

// An IPv6 packet above the link's MTU brings a Packet Too Big to the host.
func TestPacketTooBig(t *testing.T) {
	duo(t, func(w *world, h *host, p *peer) {
		h.got(h.ib0)
		h.send(h.ib0, ip6(six1, six2, 2044-48+1))
		w.settle()
		got := h.got(h.ib0)
		if len(got) != 1 || got[0][40] != 2 || binary.BigEndian.Uint32(got[0][44:]) != 2044 {
			t.Errorf("% x", got)
		}
		s := h.ib0.Stats()
		if s.TxErrors != 1 || s.TxDropped != 1 || len(w.logged("packet len 2049 (> 2048) too long to send, dropping")) != 1 {
			t.Errorf("%+v", s)
		}
	})
}
