package datapath

import (
	"encoding/hex"
	"net/netip"
	"os"
	"strings"
	"testing"

	"ipoib/datapath/encap"
	"ipoib/datapath/hostnet"
	"ipoib/rdma"
	"ipoib/rdma/header"
)

// dhcpDiscover returns the datagram of the reference frame V20, a DHCPDISCOVER
// as RFC 4390 wants it.
func dhcpDiscover(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile("../rdma/header/testdata/frames.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\nV20 ")
	_, rest, _ = strings.Cut(rest, "\n")
	rest, _, _ = strings.Cut(rest, "\n\n")
	raw, err := hex.DecodeString(strings.Join(strings.Fields(rest), ""))
	if err != nil {
		t.Fatal(err)
	}
	p, err := header.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return p.Payload[4:]
}

// A DHCP client's broadcast goes to the broadcast group as it is, and arrives
// at a server.
func Test4390_S2_1_DHCPBroadcast(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		w.upAll()
		a, b := w.host(1), w.host(2)
		frames := a.tap()
		p := dhcpDiscover(t)
		a.send(a.ib0, p)
		w.settle()
		if got := b.got(b.ib0); len(got) != 1 || string(got[0]) != string(p) {
			t.Errorf("%d packets", len(got))
		}
		for _, f := range ipoib(frames(true)) {
			if f.GRH == nil || f.GRH.DGID() != a.ib0.broadcastMGID() || string(f.Payload[4:]) != string(p) {
				t.Errorf("% x", f.raw)
			}
		}
	})
}

// A server's answer to the broadcast address reaches the client, which has no
// address yet; one by unicast is resolved by ARP like any other.
func Test4390_S2_2_4_BroadcastAnswer(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		a, b := w.host(1), w.host(2)
		if err := a.ns.SetUp(a.ib0.Info().Ifindex, true); err != nil {
			t.Fatal(err)
		}
		b.up(b.ib0, 0)
		w.settle()
		w.settle()
		frames := b.tap()
		offer := ip4(ip2, addr("255.255.255.255"), 300)
		b.send(b.ib0, offer)
		w.settle()
		if got := a.got(a.ib0); len(got) != 1 || string(got[0]) != string(offer) {
			t.Errorf("%d packets", len(got))
		}
		for _, f := range ipoib(frames(true)) {
			if f.GRH == nil || f.GRH.DGID() != b.ib0.broadcastMGID() {
				t.Errorf("% x", f.raw)
			}
		}
		a.addAddr(a.ib0, "10.0.0.1/24")
		w.settle()
		if !reach(b, a, b.ib0, a.ib0, ip2, ip1) {
			t.Error("no unicast to the client")
		}
	})
}

// IPv6 needs 1280 octets: below that the link has no IPv6 address, and IPv4
// works.
func Test8200_S5_1_IPv6NeedsMTU1280(t *testing.T) {
	for mtu, want := range map[string]bool{"3": false, "4": true} {
		inWorld(t, worldConfig{hosts: 2, partitions: "Default=0x7fff,ipoib,mtu=" + mtu + " : ALL=full;\n", debug: true}, func(w *world) {
			w.upAll()
			if got := hasAddr(w.host(1), llA.String()); got != want {
				t.Errorf("mtu=%s: link-local address %v", mtu, got)
			}
			if got := len(w.logged("mtu 1020 is too small for IPv6")) > 0; got == want {
				t.Errorf("mtu=%s: logged %v", mtu, got)
			}
			if !w.ping(1, 2) {
				t.Errorf("mtu=%s: no IPv4", mtu)
			}
		})
	}
}

// The smallest link carries datagrams of 68 octets, and its own 252.
func Test791_1_SmallestMTU(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2, partitions: "Default=0x7fff,ipoib,mtu=1 : ALL=full;\n"}, func(w *world) {
		w.upAll()
		a, b := w.host(1), w.host(2)
		reach(a, b, a.ib0, b.ib0, ip1, ip2)
		for n, want := range map[int]int{68: 1, 252: 1, 253: 0} {
			b.got(b.ib0)
			a.send(a.ib0, ip4(ip1, ip2, n-28))
			w.settle()
			if got := len(b.got(b.ib0)); got != want {
				t.Errorf("%d octets: %d packets", n, got)
			}
		}
	})
}

// The rules of RFC 826: an entry that is there is brought up to date by any
// packet of its owner, one is made only when we are asked; the reply swaps the
// two ends.
func Test826_1_MergeAndSwap(t *testing.T) {
	duo(t, func(w *world, h *host, p *peer) {
		other := addr("10.0.0.9")
		ask := func(hw encap.HardwareAddr, sender, target netip.Addr) {
			p.arp(h.ib0, encap.ARPFields{Op: encap.ARPRequest, SenderHW: hw, SenderIP: sender, TargetIP: target}, true)
			w.settle()
		}
		ask(p.addr, ip2, other)
		if h.neigh("10.0.0.2") != nil || len(p.arps()) != 0 {
			t.Error("an entry of somebody who asked for another")
		}
		ask(p.addr, ip2, ip1)
		got := p.arps()
		if n := h.neigh("10.0.0.2"); n == nil || n.Addr.Key() != p.addr.Key() || len(got) != 1 {
			t.Fatalf("%+v, %d answers", n, len(got))
		}
		if r := got[0]; r.Op() != 2 || r.SenderHW() != h.ib0.Info().Addr || r.SenderIP() != ip1 || r.TargetHW() != p.addr || r.TargetIP() != ip2 {
			t.Errorf("% x", []byte(r))
		}
		moved := encap.UnicastAddr(encap.FlagRC, p.addr.QPN()+1, p.addr.GID())
		w.settle()
		w.settle()
		ask(moved, ip2, other)
		if n := h.neigh("10.0.0.2"); n.Addr != moved {
			t.Errorf("after a packet to somebody else: %v, want %v", n.Addr, moved)
		}
	})
}

// By default the link-local address has the port GUID in it, as with the
// kernel; with another mode the host chooses, and ours is not added.
func Test8064_S3_1_HostChoosesAddress(t *testing.T) {
	for mode, ours := range map[hostnet.AddrGenMode]bool{
		hostnet.AddrGenEUI64: true, hostnet.AddrGenNone: false, hostnet.AddrGenStablePrivacy: false, hostnet.AddrGenRandom: false,
	} {
		inWorld(t, worldConfig{}, func(w *world) {
			h := w.host(1)
			if err := h.ib0.SetAddrGenMode(mode); err != nil {
				t.Fatal(err)
			}
			w.upAll()
			if got := hasAddr(h, llA.String()); got != ours {
				t.Errorf("mode %v: address of the GUID %v", mode, got)
			}
			if mode == hostnet.AddrGenStablePrivacy {
				l, err := h.ns.LinkByName("ib0")
				if err != nil || l.AddrGenMode != mode {
					t.Errorf("the host's mode is %v, %v", l.AddrGenMode, err)
				}
			}
		})
	}
}

// The host has an ordinary interface of its own: IP packets go in and come out
// as they are, whatever is above IP.
func Test4392_S3_1_PacketsUnchanged(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		w.upAll()
		a, b := w.host(1), w.host(2)
		if !w.ping(1, 2) || !reach(a, b, a.ib0, b.ib0, six1, six2) {
			t.Fatal("not reached")
		}
		for proto := range 256 {
			for _, p := range [][]byte{ip4(ip1, ip2, proto), ip6(six1, six2, proto)} {
				if p[0] == 0x45 && (proto == 1 || proto == 2) || p[0] == 0x60 && (proto == 0 || proto == 43 || proto == 44 || proto == 51 || proto == 58 || proto == 60) {
					continue // would have to be well formed
				}
				if p[0] == 0x45 {
					p[9] = byte(proto)
				} else {
					p[6] = byte(proto)
				}
				b.got(b.ib0)
				a.send(a.ib0, p)
				if got := b.got(b.ib0); len(got) != 1 || string(got[0]) != string(p) {
					t.Errorf("protocol %d, version %d: %d packets", proto, p[0]>>4, len(got))
				}
			}
		}
	})
}

// An own frame that comes back is told by its source, and who it is for by its
// DGID.
func Test4392_S4_2_1_Classified(t *testing.T) {
	duo(t, func(w *world, h *host, p *peer) {
		if err := h.ns.Join(h.ib0.Info().Ifindex, addr("239.1.2.3")); err != nil {
			t.Fatal(err)
		}
		w.settle()
		group := p.join(mustMGID(h, "239.1.2.3"), 1)
		count := func(send func()) uint64 {
			before := h.ib0.Stats().Multicast
			send()
			w.settle()
			return h.ib0.Stats().Multicast - before
		}
		pkt := ip4(ip2, addr("239.1.2.3"), 8)
		if n := count(func() { p.multicast(group, encap.EtherTypeIPv4, pkt) }); n != 1 {
			t.Errorf("a multicast counts as %d", n)
		}
		if n := count(func() { p.multicast(p.rec, encap.EtherTypeIPv4, ip4(ip2, addr("10.0.0.255"), 8)) }); n != 0 {
			t.Errorf("a broadcast counts as %d multicasts", n)
		}
		if n := count(func() { p.unicast(h.ib0, encap.EtherTypeIPv4, ip4(ip2, ip1, 8)) }); n != 0 {
			t.Errorf("a unicast counts as %d multicasts", n)
		}
	})
}

// Within the subnet a unicast packet needs the LID only; multicast has LID and
// GID.
func Test4392_S1_2_2_LIDIsEnough(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		frames := w.host(1).tap()
		w.upAll()
		if !w.ping(1, 2) {
			t.Fatal("not reached")
		}
		u, g := w.host(1).handles(w.host(2))
		if u.GRH != nil || u.DLID == 0 || g.GRH == nil || !g.DLID.IsMulticast() {
			t.Errorf("unicast %+v, group %+v", u, g)
		}
		for _, f := range ipoib(frames(true)) {
			if f.LRH.DLID() == 0 || f.LRH.DLID() == rdma.LIDPermissive {
				t.Errorf("DLID %v", f.LRH.DLID())
			}
		}
	})
}
