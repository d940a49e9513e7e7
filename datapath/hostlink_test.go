package datapath

import (
	"errors"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/mdlayher/netlink"

	"ipoib/datapath/encap"
	"ipoib/datapath/hostnet"
)

func TestCheck(t *testing.T) {
	inWorld(t, worldConfig{}, func(w *world) {
		h := w.host(1)
		i := h.ib0
		if _, err := h.ns.AddLink(hostnet.Link{Name: "taken"}); err != nil {
			t.Fatal(err)
		}
		prefixOnly := i.Info().Addr
		prefixOnly[19]++
		other := prefixOnly
		other[4]++
		for _, tc := range []struct {
			name string
			s    Settings
			want syscall.Errno
		}{
			{"nothing", Settings{}, 0},
			{"mode", Settings{Mode: new(Mode(2))}, syscall.EINVAL},
			{"mtu", Settings{MTU: new(1280)}, 0},
			{"mtu too small", Settings{MTU: new(71)}, syscall.EINVAL},
			{"mtu too large", Settings{MTU: new(4093)}, syscall.EINVAL},
			{"mtu above all", Settings{MTU: new(65521)}, syscall.EINVAL},
			{"name", Settings{Name: new("ib9")}, 0},
			{"same name", Settings{Name: new("ib0")}, 0},
			{"pattern", Settings{Name: new("ib%d")}, 0},
			{"name taken", Settings{Name: new("taken")}, syscall.EEXIST},
			{"name with a slash", Settings{Name: new("a/b")}, syscall.EINVAL},
			{"name with a colon", Settings{Name: new("a:b")}, syscall.EINVAL},
			{"no name", Settings{Name: new("")}, syscall.EINVAL},
			{"long name", Settings{Name: new(strings.Repeat("n", 16))}, syscall.EINVAL},
			{"alias", Settings{Alias: new(strings.Repeat("a", 255))}, 0},
			{"long alias", Settings{Alias: new(strings.Repeat("a", 256))}, syscall.EINVAL},
			{"address", Settings{Addr: &prefixOnly}, 0},
			{"other prefix", Settings{Addr: &other}, syscall.EINVAL},
			{"good and bad", Settings{MTU: new(1280), Alias: new(strings.Repeat("a", 256))}, syscall.EINVAL},
		} {
			before := i.Info()
			err := i.Check(tc.s)
			if tc.want == 0 && err != nil || tc.want != 0 && !errors.Is(err, tc.want) {
				t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
			}
			if i.Info() != before {
				t.Errorf("%s changed something", tc.name)
			}
		}
		w.upAll()
		if err := i.Check(Settings{Addr: &prefixOnly}); !errors.Is(err, syscall.EBUSY) {
			t.Errorf("address while up: %v", err)
		}
	})
}

// attr decodes one attribute of a link message of the host.
func attr(t *testing.T, msg []byte, typ uint16) []byte {
	t.Helper()
	ad, err := netlink.NewAttributeDecoder(msg[16:])
	if err != nil {
		t.Fatal(err)
	}
	for ad.Next() {
		if ad.Type() == typ {
			return ad.Bytes()
		}
	}
	return nil
}

func TestHostLink(t *testing.T) {
	const ifname, group = 3, 27
	inWorld(t, worldConfig{}, func(w *world) {
		h := w.host(1)
		i := h.ib0
		msg, err := i.HostLink()
		if err != nil || string(attr(t, msg, ifname)) != "ib0\x00" {
			t.Fatalf("message %x, %v", msg, err)
		}
		all, err := w.drv.HostLinks(i.Info().NS)
		if err != nil || all[i.Info().Ifindex] == nil || len(all) != 2 {
			t.Fatalf("%d messages, %v", len(all), err)
		}
		if _, err := w.drv.HostLinks(hostnet.ID{Ino: 1}); !errors.Is(err, syscall.ENODEV) {
			t.Errorf("links of an unknown namespace: %v", err)
		}
		ae := netlink.NewAttributeEncoder()
		ae.Uint32(group, 7)
		b, err := ae.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := i.SetHostLink(b); err != nil {
			t.Fatal(err)
		}
		if msg, err = i.HostLink(); err != nil || attr(t, msg, group)[0] != 7 {
			t.Errorf("group: %x, %v", msg, err)
		}
		for _, change := range []func([]byte) error{i.AddAltNames, i.RemoveAltNames} {
			ae := netlink.NewAttributeEncoder()
			ae.Nested(52, func(ae *netlink.AttributeEncoder) error { ae.String(53, "other"); return nil })
			b, err := ae.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if err := change(b); err != nil {
				t.Fatal(err)
			}
			t.Logf("names: %q", func() []byte { msg, _ := i.HostLink(); return attr(t, msg, 52) }())
		}
		if msg, _ := i.HostLink(); attr(t, msg, 52) != nil {
			t.Error("the name was not removed")
		}
	})
}

func TestSetFlags(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		a, b := w.host(1), w.host(2)
		dst := b.up(b.ib0, 0)
		src := a.up(a.ib0, 0)
		w.settle()
		w.settle()
		const promisc, up, noARP, loopback = 1 << 8, 1, 1 << 7, 1 << 3
		if err := a.ib0.SetFlags(promisc|loopback, promisc|loopback); err != nil {
			t.Fatal(err)
		}
		if l, err := a.ns.LinkByName("ib0"); err != nil || !l.Promisc {
			t.Errorf("promiscuous: %+v, %v", l, err)
		}
		// Without ARP nobody is found, and nobody finds us.
		if err := a.ib0.SetFlags(noARP, noARP); err != nil || !a.ib0.Info().NoARP {
			t.Fatalf("noarp: %v", err)
		}
		if reach(a, b, a.ib0, b.ib0, src, dst) || reach(b, a, b.ib0, a.ib0, dst, src) {
			t.Error("an address was resolved without ARP")
		}
		if err := a.ib0.SetFlags(0, noARP); err != nil {
			t.Fatal(err)
		}
		w.settle()
		w.settle()
		w.settle()
		if !reach(a, b, a.ib0, b.ib0, src, dst) {
			t.Error("no address was resolved with ARP")
		}
		if err := a.ib0.SetFlags(0, up); err != nil || a.ib0.Info().Up {
			t.Errorf("down: %v, %+v", err, a.ib0.Info())
		}
	})
}

// linkLocals returns the IPv6 link-local addresses of a link.
func linkLocals(t *testing.T, ns hostnet.Namespace, index int) (out []netip.Addr) {
	t.Helper()
	list, err := ns.Addrs(index)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		if ip := a.Prefix.Addr(); ip.Is6() && ip.IsLinkLocalUnicast() {
			out = append(out, ip)
		}
	}
	return out
}

func TestAddrGenMode(t *testing.T) {
	inWorld(t, worldConfig{}, func(w *world) {
		h := w.host(1)
		i := h.ib0
		index := i.Info().Ifindex
		if m := i.Info().AddrGenMode; m != hostnet.AddrGenEUI64 {
			t.Errorf("mode %v at first", m)
		}
		if err := i.SetAddrGenMode(hostnet.AddrGenNone); err != nil {
			t.Fatal(err)
		}
		if err := i.SetAddrGenMode(9); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("mode 9: %v", err)
		}
		w.upAll()
		if list := linkLocals(t, h.ns, index); len(list) != 0 {
			t.Errorf("mode none has %v", list)
		}
		if st := w.drv.States()[0]; !st.NoLinkLocal {
			t.Error("mode none is not kept")
		}
		if err := i.SetAddrGenMode(hostnet.AddrGenEUI64); err != nil {
			t.Fatal(err)
		}
		w.settle()
		guid := i.Info().Addr.GID().GUID()
		want := encap.LinkLocal(guid.InterfaceID())
		if list := linkLocals(t, h.ns, index); len(list) != 1 || list[0] != want {
			t.Errorf("addresses %v, want %v", list, want)
		}
		// What the host's tools set counts.
		if err := h.ns.SetAddrGenMode(index, hostnet.AddrGenRandom); err != nil {
			t.Fatal(err)
		}
		w.settle()
		if m := i.Info().AddrGenMode; m != hostnet.AddrGenRandom {
			t.Errorf("mode %v, want random", m)
		}
		if err := h.ns.SetAddrGenMode(index, hostnet.AddrGenNone); err != nil {
			t.Fatal(err)
		}
		w.settle()
		if m := i.Info().AddrGenMode; m != hostnet.AddrGenEUI64 {
			t.Errorf("mode %v, want eui64", m)
		}
	})
}

func TestInfoAlias(t *testing.T) {
	inWorld(t, worldConfig{}, func(w *world) {
		i := w.host(1).ib0
		if a := i.Info().Alias; a != "" {
			t.Errorf("alias %q of a new interface", a)
		}
		for _, want := range []string{"mine", ""} {
			if err := i.SetAlias(want); err != nil {
				t.Fatal(err)
			}
			w.settle()
			if a := i.Info().Alias; a != want {
				t.Errorf("alias %q, want %q", a, want)
			}
		}
	})
}
