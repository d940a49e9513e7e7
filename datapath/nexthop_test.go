package datapath

import (
	"net/netip"
	"testing"

	"ipoib/datapath/encap"
	"ipoib/datapath/hostnet"
)

// Next hops are those of the host's routes, at any time.
func TestNextHops(t *testing.T) {
	duo(t, func(w *world, h *host, p *peer) {
		asked := func(dst string) (out []netip.Addr) {
			t.Helper()
			p.take(0)
			src := ip1
			if addr(dst).Is6() {
				src = six1
			}
			h.send(h.ib0, packet(src, addr(dst), 8))
			w.settle()
			for _, a := range p.arps() {
				out = append(out, a.TargetIP())
			}
			return out[:min(len(out), 1)]
		}
		route := func(dst, gw string) func() {
			t.Helper()
			r := hostnet.Route{Type: hostnet.RouteUnicast, OIF: h.ib0.Info().Ifindex}
			if gw != "" {
				r.Gateway = addr(gw)
			}
			remove := h.ns.AddRoute(prefix(dst), r)
			w.settle()
			return remove
		}
		want := func(what, dst, hop string) {
			t.Helper()
			if got := asked(dst); len(got) != 1 || got[0] != addr(hop) {
				t.Errorf("%s: asked for %v, want %s", what, got, hop)
			}
		}
		want("on link", "10.0.0.9", "10.0.0.9")
		want("no route: on link", "192.0.2.1", "192.0.2.1")
		route("192.0.2.0/24", "10.0.0.254")
		want("gateway", "192.0.2.2", "10.0.0.254")
		// A destination that is in use follows its route.
		remove := route("192.0.2.2/32", "10.0.0.253")
		want("host route", "192.0.2.2", "10.0.0.253")
		remove()
		w.settle()
		h.neighFlush()
		want("host route removed", "192.0.2.2", "10.0.0.254")
		route("198.51.100.0/24", "")
		want("route without gateway", "198.51.100.7", "198.51.100.7")
	})
}

func (h *host) neighFlush() {
	if err := h.ib0.FlushNeighbours(); err != nil {
		h.w.t.Fatal(err)
	}
}

// IPv6 packets, and IPv4 packets with an IPv6 gateway, resolve by ND.
func TestNextHopFamilies(t *testing.T) {
	duo(t, func(w *world, h *host, p *peer) {
		group := groupOf(h, "fe80::254")
		p.join(group, 1)
		h.ns.AddRoute(prefix("2001:db8::/32"), hostnet.Route{
			Type: hostnet.RouteUnicast, OIF: h.ib0.Info().Ifindex, Gateway: addr("fe80::254"),
		})
		h.ns.AddRoute(prefix("203.0.113.0/24"), hostnet.Route{
			Type: hostnet.RouteUnicast, OIF: h.ib0.Info().Ifindex, Gateway: addr("fe80::254"),
		})
		w.settle()
		for _, pkt := range [][]byte{
			ip6(six1, addr("2001:db8::7"), 8), ip4(ip1, addr("203.0.113.5"), 8),
		} {
			p.take(0)
			h.neighFlush()
			h.send(h.ib0, pkt)
			w.settle()
			got := p.nds(encap.NeighborSolicitation)
			if len(got) == 0 || got[0].Target() != addr("fe80::254") {
				t.Fatalf("solicitations %v", got)
			}
			p.na(h.ib0, encap.NAFields{Src: addr("fe80::254"), Dst: llA, Target: addr("fe80::254"), Solicited: true, Override: true, TLLA: p.addr})
			w.settle()
			data := p.take(0)
			if len(data) != 1 || string(data[0].body) != string(pkt) {
				t.Errorf("%d packets", len(data))
			}
		}
	})
}

// 4391-§4-7, -§5-4: limited and directed broadcasts go to the broadcast group
// with the IP address unchanged; 4390-§2-1 needs it.
func Test4391_S4_7_Broadcasts(t *testing.T) {
	duo(t, func(w *world, h *host, p *peer) {
		for _, dst := range []string{"255.255.255.255", "10.0.0.255"} {
			pkt := ip4(ip1, addr(dst), 300)
			for range 2 { // the second takes the fast path
				p.take(0)
				h.send(h.ib0, pkt)
				w.settle()
				got := p.take(0)
				if len(got) != 1 || got[0].GRH.DGID != h.ib0.broadcastMGID() || string(got[0].body) != string(pkt) {
					t.Errorf("%s: %d packets", dst, len(got))
				}
			}
		}
	})
}
