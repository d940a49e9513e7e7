package hostnettest_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"ipoib/datapath/hostnet"
	"ipoib/datapath/hostnet/hostnettest"
	"ipoib/datapath/tun"
	"ipoib/rdma"
)

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// events keeps the text of events.
type events []string

func (l *events) fn(e hostnet.Event) {
	s := e.Type.String()
	switch e.Type {
	case hostnet.EventLink:
		s = fmt.Sprintf("%s %s mtu %d up %v carrier %v", s, e.Link.Name, e.Link.MTU, e.Link.Up, e.Link.Carrier)
	case hostnet.EventLinkGone:
		s = fmt.Sprintf("%s %s moved %v", s, e.Link.Name, e.Moved)
	case hostnet.EventAddr, hostnet.EventAddrGone:
		s = fmt.Sprintf("%s %v", s, e.Addr.Prefix)
	case hostnet.EventRoute:
		s = fmt.Sprintf("%s %v", s, e.Family)
	case hostnet.EventGroups:
		s = fmt.Sprintf("%s %v %d", s, e.Family, e.Index)
	case hostnet.EventSynced:
		s = fmt.Sprintf("%s lost %v", s, e.Lost)
	}
	*l = append(*l, s)
}

// expect compares the events since the last call.
func (l *events) expect(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	if !slices.Equal(*l, want) {
		t.Errorf("events:\n\t%s\nwant:\n\t%s", strings.Join(*l, "\n\t"), strings.Join(want, "\n\t"))
	}
	*l = nil
}

// TestWatch goes through the life of a TUN link.
func TestWatch(t *testing.T) {
	h := hostnettest.New(t)
	synctest.Test(t, func(t *testing.T) {
		a, b := h.Open(t, ""), h.AddNamespace(t, "b")
		defer a.Close()
		defer b.Close()
		var ea, eb events
		wa, err := a.Watch(ea.fn)
		must(t, err)
		wb, err := b.Watch(eb.fn)
		must(t, err)
		ea.expect(t, "link lo mtu 65536 up true carrier true", "synced lost false")
		eb.expect(t, "link lo mtu 65536 up true carrier true", "synced lost false")

		dev, err := h.OpenTUN(tun.Config{Name: "ib%d", Pool: rdma.NewBufferPool(), Persist: true})
		must(t, err)
		ea.expect(t, "link ib0 mtu 1500 up false carrier false")
		l, err := a.LinkByName("ib0")
		must(t, err)
		if l.Type != tun.LinkTypeInfiniBand || l.Kind != "tun" {
			t.Errorf("link %+v", l)
		}
		must(t, a.SetUp(l.Index, true))
		ea.expect(t, "link ib0 mtu 1500 up true carrier true")
		must(t, dev.SetCarrier(false))
		ea.expect(t, "link ib0 mtu 1500 up true carrier false")
		must(t, dev.SetCarrier(false))
		must(t, a.SetMTU(l.Index, 2044))
		ea.expect(t, "link ib0 mtu 2044 up true carrier false")
		must(t, a.AddAddr(hostnet.Addr{Index: l.Index, Prefix: netip.MustParsePrefix("10.0.0.1/24")}))
		must(t, a.AddAddr(hostnet.Addr{Index: l.Index, Prefix: netip.MustParsePrefix("fe80::1/64")}))
		ea.expect(t, "addr 10.0.0.1/24", "route ipv4", "addr fe80::1/64", "route ipv6", fmt.Sprintf("groups ipv6 %d", l.Index))
		must(t, a.Join(l.Index, netip.MustParseAddr("239.1.2.3")))
		ea.expect(t, fmt.Sprintf("groups ipv4 %d", l.Index))
		must(t, a.SetName(l.Index, "ib9"))
		ea.expect(t, "link ib9 mtu 2044 up true carrier false")
		if name, err := dev.Name(); name != "ib9" || err != nil {
			t.Errorf("device is %q, %v", name, err)
		}
		must(t, a.SetUp(l.Index, false))
		ea.expect(t, "addr-gone fe80::1/64", "route ipv6", fmt.Sprintf("groups ipv6 %d", l.Index),
			"link ib9 mtu 2044 up false carrier false")

		must(t, a.Move(l.Index, b))
		ea.expect(t, "addr-gone 10.0.0.1/24", "route ipv4", "link-gone ib9 moved true")
		eb.expect(t, "link ib9 mtu 2044 up false carrier false")
		f, err := dev.NetNS()
		must(t, err)
		ns, err := h.ByFile(f)
		f.Close()
		must(t, err)
		if ns.ID() != b.ID() || ns.Name() != "b" {
			t.Errorf("device is in %v %q", ns.ID(), ns.Name())
		}
		ns.Close()

		// The process ends and comes back.
		must(t, dev.Close())
		eb.expect(t)
		cfg := tun.Config{Name: "ib9", Pool: rdma.NewBufferPool(), Mode: tun.Attach, NetNS: b.File()}
		dev, err = h.OpenTUN(cfg)
		must(t, err)
		if _, err := h.OpenTUN(cfg); !errors.Is(err, tun.ErrBusy) {
			t.Errorf("second attachment: %v", err)
		}
		l, err = b.LinkByName("ib9")
		must(t, err)
		must(t, b.DeleteLink(l.Index))
		eb.expect(t, "link-gone ib9 moved false")
		if _, err := dev.Read(make([]tun.Packet, 1)); !errors.Is(err, tun.ErrRemoved) {
			t.Errorf("Read: %v", err)
		}

		// One that is not persistent goes with its device.
		dev, err = h.OpenTUN(tun.Config{Name: "ib1", Pool: rdma.NewBufferPool()})
		must(t, err)
		must(t, dev.Close())
		ea.expect(t, "link ib1 mtu 1500 up false carrier false", "link-gone ib1 moved false")
		must(t, wa.Close())
		must(t, wb.Close())
	})
}

// TestLose drops events while the watcher is busy with one.
func TestLose(t *testing.T) {
	h := hostnettest.New(t)
	synctest.Test(t, func(t *testing.T) {
		ns := h.Open(t, "")
		defer ns.Close()
		x, err := ns.AddLink(hostnet.Link{Name: "x", MTU: 1500})
		must(t, err)
		y, err := ns.AddLink(hostnet.Link{Name: "y", MTU: 1500})
		must(t, err)
		must(t, ns.AddAddr(hostnet.Addr{Index: x, Prefix: netip.MustParsePrefix("10.0.0.1/24")}))
		var e events
		busy := make(chan struct{})
		w, err := ns.Watch(func(ev hostnet.Event) {
			e.fn(ev)
			if ev.Link.MTU == 2000 {
				<-busy
			}
		})
		must(t, err)
		defer w.Close()
		e.expect(t, "link lo mtu 65536 up true carrier true", "link x mtu 1500 up false carrier false",
			"link y mtu 1500 up false carrier false", "addr 10.0.0.1/24", "synced lost false")
		must(t, ns.SetMTU(x, 2000))
		e.expect(t, "link x mtu 2000 up false carrier false")
		must(t, ns.SetMTU(x, 2044))
		must(t, ns.DelAddr(x, netip.MustParsePrefix("10.0.0.1/24")))
		must(t, ns.AddAddr(hostnet.Addr{Index: x, Prefix: netip.MustParsePrefix("10.0.0.2/24")}))
		must(t, ns.DeleteLink(y))
		ns.Lose()
		close(busy)
		e.expect(t, "addr-gone 10.0.0.1/24", "link-gone y moved false", "link x mtu 2044 up false carrier false",
			"addr 10.0.0.2/24", "synced lost true")
	})
}

// TestRoute covers the table of the fake.
func TestRoute(t *testing.T) {
	h := hostnettest.New(t)
	ns := h.Open(t, "")
	defer ns.Close()
	i, err := ns.AddLink(hostnet.Link{Name: "ib0", Up: true, MTU: 2044})
	must(t, err)
	a, p := netip.MustParseAddr, netip.MustParsePrefix
	must(t, ns.AddAddr(hostnet.Addr{Index: i, Prefix: p("10.0.0.1/24")}))
	must(t, ns.AddAddr(hostnet.Addr{Index: i, Prefix: p("2001:db8::1/64")}))
	ns.AddRoute(p("10.1.0.0/16"), hostnet.Route{Type: hostnet.RouteUnicast, OIF: i, Gateway: a("10.0.0.9")})
	remove := ns.AddRoute(p("10.1.2.0/24"), hostnet.Route{Type: hostnet.RouteProhibit})
	unicast := func(src, gw string) hostnet.Route {
		r := hostnet.Route{Type: hostnet.RouteUnicast, OIF: i}
		if src != "" {
			r.PrefSrc = a(src)
		}
		if gw != "" {
			r.Gateway = a(gw)
		}
		return r
	}
	check := func(dst string, oif int, want hostnet.Route) {
		t.Helper()
		if got, err := ns.Route(hostnet.RouteQuery{Dst: a(dst), OIF: oif}); got != want || err != nil {
			t.Errorf("route to %s: %+v, %v; want %+v", dst, got, err, want)
		}
	}
	check("10.0.0.2", 0, unicast("10.0.0.1", ""))
	check("10.1.0.2", 0, unicast("", "10.0.0.9"))
	check("10.1.2.2", 0, hostnet.Route{Type: hostnet.RouteProhibit})
	remove()
	check("10.1.2.2", 0, unicast("", "10.0.0.9"))
	check("10.0.0.1", 0, hostnet.Route{Type: hostnet.RouteLocal, OIF: 1, PrefSrc: a("10.0.0.1")})
	check("10.0.0.255", i, hostnet.Route{Type: hostnet.RouteBroadcast, OIF: i, PrefSrc: a("10.0.0.1")})
	check("255.255.255.255", i, hostnet.Route{Type: hostnet.RouteBroadcast, OIF: i, PrefSrc: a("10.0.0.1")})
	check("239.1.2.3", i, hostnet.Route{Type: hostnet.RouteMulticast, OIF: i})
	check("192.0.2.1", 0, hostnet.Route{Type: hostnet.RouteUnreachable})
	check("192.0.2.1", i, unicast("", ""))
	check("2001:db8::2", i, unicast("2001:db8::1", ""))
	check("2001:db9::2", i, hostnet.Route{Type: hostnet.RouteUnreachable})
	must(t, ns.SetUp(i, false))
	check("10.0.0.2", i, hostnet.Route{Type: hostnet.RouteUnreachable})
}

func TestErrors(t *testing.T) {
	h := hostnettest.New(t)
	ns, other := h.Open(t, ""), h.AddNamespace(t, "")
	defer other.Close()
	i, err := ns.AddLink(hostnet.Link{Name: "x"})
	must(t, err)
	_, err = other.AddLink(hostnet.Link{Name: "x"})
	must(t, err)
	prefix := netip.MustParsePrefix("10.0.0.1/24")
	must(t, ns.AddAddr(hostnet.Addr{Index: i, Prefix: prefix}))
	_, byName := ns.LinkByName("none")
	_, byIndex := ns.LinkByIndex(99)
	_, addrs := ns.Addrs(99)
	_, host := h.ByName("none")
	_, exist := h.OpenTUN(tun.Config{Name: "x"})
	_, attach := h.OpenTUN(tun.Config{Name: "none", Mode: tun.Attach})
	f, err := os.Open(os.DevNull)
	must(t, err)
	defer f.Close()
	_, file := h.ByFile(f)
	for name, tc := range map[string]struct{ err, want error }{
		"by name":    {byName, hostnet.ErrNotExist},
		"by index":   {byIndex, hostnet.ErrNotExist},
		"addrs":      {addrs, hostnet.ErrNotExist},
		"namespace":  {host, hostnet.ErrNotExist},
		"file":       {file, hostnet.ErrNotExist},
		"there":      {ns.AddAddr(hostnet.Addr{Index: i, Prefix: prefix}), hostnet.ErrExist},
		"not there":  {ns.DelAddr(i, netip.MustParsePrefix("10.0.0.2/24")), hostnet.ErrNotExist},
		"name taken": {ns.SetName(i, "lo"), hostnet.ErrExist},
		"move":       {ns.Move(i, other), hostnet.ErrExist},
		"TUN":        {exist, tun.ErrExist},
		"attach":     {attach, tun.ErrNotExist},
	} {
		if !errors.Is(tc.err, tc.want) {
			t.Errorf("%s: %v, want %v", name, tc.err, tc.want)
		}
	}
	must(t, ns.Close())
	if _, err := ns.Links(); !errors.Is(err, hostnet.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestState covers what is only stored.
func TestState(t *testing.T) {
	h := hostnettest.New(t)
	ns := h.Open(t, "")
	defer ns.Close()
	i, err := ns.AddLink(hostnet.Link{Name: "ib0", Up: true})
	must(t, err)
	must(t, ns.SetSpeed("ib0", 56000, hostnet.DuplexFull))
	if got := ns.Speed("ib0"); got != (hostnettest.Speed{Mbps: 56000, Duplex: hostnet.DuplexFull}) {
		t.Errorf("speed %+v", got)
	}
	must(t, ns.SetSysctl(hostnet.IPv6, "ib0", "accept_ra", "2"))
	for key, want := range map[string]string{"accept_ra": "2", "forwarding": "0"} {
		if got, err := ns.Sysctl(hostnet.IPv6, "ib0", key); got != want || err != nil {
			t.Errorf("%s: %q, %v", key, got, err)
		}
	}
	must(t, ns.AddAddr(hostnet.Addr{Index: i, Prefix: netip.MustParsePrefix("fe80::1234/64")}))
	group := netip.MustParseAddr("239.1.2.3")
	must(t, ns.Join(i, group))
	got, err := ns.Groups(i)
	if want := "[224.0.0.1 239.1.2.3 ff01::1 ff02::1 ff02::1:ff00:1234]"; fmt.Sprint(got) != want || err != nil {
		t.Errorf("groups %v, %v; want %s", got, err, want)
	}
	must(t, ns.Leave(i, group))
	if got, _ := ns.Groups(i); slices.Contains(got, group) {
		t.Errorf("groups %v", got)
	}
	if err := ns.Leave(i, group); !errors.Is(err, hostnet.ErrNotExist) {
		t.Errorf("second Leave: %v", err)
	}
}
