package hostnet

import (
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"ipoib/datapath/internal/netns/netnstest"
)

func kernelAtLeast(tb testing.TB, major, minor int) bool {
	tb.Helper()
	var u unix.Utsname
	must(tb, unix.Uname(&u))
	var a, b int
	for i, p := range [2]*int{&a, &b} {
		s := slices.Clone(u.Release[:])
		for range i {
			s = s[slices.Index(s, '.')+1:]
		}
		n := 0
		for s[n] >= '0' && s[n] <= '9' {
			n++
		}
		*p, _ = strconv.Atoi(string(s[:n]))
	}
	return a > major || a == major && b >= minor
}

// routes makes a namespace with a link of each sort of route.
func routes(tb testing.TB) (*netnstest.NS, *namespace, Link) {
	tb.Helper()
	k, ns := newNS(tb)
	l := addTUN(tb, k, ns, "ib0")
	must(tb, ns.SetAddrGenMode(l.Index, AddrGenNone))
	for _, args := range [][]string{
		{"link", "set", "ib0", "up"},
		{"addr", "add", "10.0.0.1/24", "broadcast", "10.0.0.255", "dev", "ib0"},
		{"addr", "add", "2001:db8::1/64", "dev", "ib0"},
		{"addr", "add", "fe80::1/64", "dev", "ib0"},
		{"route", "add", "10.1.0.0/16", "via", "10.0.0.9"},
		{"route", "add", "10.2.0.0/16", "via", "inet6", "fe80::9", "dev", "ib0"},
		{"route", "add", "10.3.0.0/16", "via", "10.0.0.9", "mtu", "1400"},
		{"route", "add", "unreachable", "10.4.0.0/16"},
		{"route", "add", "prohibit", "10.5.0.0/16"},
		{"route", "add", "blackhole", "10.6.0.0/16"},
		{"route", "add", "10.7.0.0/16", "tos", "0x10", "via", "10.0.0.10"},
		{"route", "add", "10.7.0.0/16", "via", "10.0.0.11"},
		{"route", "add", "2001:db8:1::/64", "via", "2001:db8::9"},
		{"route", "add", "unreachable", "2001:db8:4::/64"},
		{"route", "add", "blackhole", "2001:db8:6::/64"},
		{"rule", "add", "from", "10.0.0.1", "to", "10.8.0.0/16", "lookup", "100"},
		{"route", "add", "10.8.0.0/16", "via", "10.0.0.12", "table", "100"},
	} {
		k.Run(tb, "ip", args...)
	}
	return k, ns, l
}

// TestIntegrationRoute compares lookups with "ip route get".
func TestIntegrationRoute(t *testing.T) {
	k, ns, l := routes(t)
	lo, err := ns.LinkByName("lo")
	must(t, err)
	a := netip.MustParseAddr
	for name, tc := range map[string]struct {
		q    RouteQuery
		want Route
		// args follow "ip -j route get DST"; nil is not compared with it
		args []string
	}{
		"on link":         {RouteQuery{Dst: a("10.0.0.2")}, Route{Type: RouteUnicast, OIF: l.Index, PrefSrc: a("10.0.0.1")}, []string{}},
		"gateway":         {RouteQuery{Dst: a("10.1.2.3")}, Route{Type: RouteUnicast, OIF: l.Index, Gateway: a("10.0.0.9"), PrefSrc: a("10.0.0.1")}, []string{}},
		"IPv6 gateway":    {RouteQuery{Dst: a("10.2.2.3")}, Route{Type: RouteUnicast, OIF: l.Index, Gateway: a("fe80::9"), PrefSrc: a("10.0.0.1")}, []string{}},
		"mtu":             {RouteQuery{Dst: a("10.3.2.3")}, Route{Type: RouteUnicast, OIF: l.Index, Gateway: a("10.0.0.9"), PrefSrc: a("10.0.0.1"), MTU: 1400}, []string{}},
		"broadcast":       {RouteQuery{Dst: a("10.0.0.255")}, Route{Type: RouteBroadcast, OIF: l.Index, PrefSrc: a("10.0.0.1")}, []string{}},
		"limited":         {RouteQuery{Dst: a("255.255.255.255"), OIF: l.Index}, Route{Type: RouteBroadcast, OIF: l.Index, PrefSrc: a("10.0.0.1")}, []string{"oif", "ib0"}},
		"local":           {RouteQuery{Dst: a("10.0.0.1")}, Route{Type: RouteLocal, OIF: lo.Index, PrefSrc: a("10.0.0.1")}, []string{}},
		"multicast":       {RouteQuery{Dst: a("239.1.2.3"), OIF: l.Index}, Route{Type: RouteMulticast, OIF: l.Index, PrefSrc: a("10.0.0.1")}, []string{"oif", "ib0"}},
		"no route":        {RouteQuery{Dst: a("192.0.2.1")}, Route{Type: RouteUnreachable}, nil},
		"no route, link":  {RouteQuery{Dst: a("192.0.2.1"), OIF: l.Index}, Route{Type: RouteUnicast, OIF: l.Index, PrefSrc: a("10.0.0.1")}, []string{"oif", "ib0"}},
		"unreachable":     {RouteQuery{Dst: a("10.4.0.1")}, Route{Type: RouteUnreachable}, nil},
		"prohibit":        {RouteQuery{Dst: a("10.5.0.1")}, Route{Type: RouteProhibit}, nil},
		"blackhole":       {RouteQuery{Dst: a("10.6.0.1")}, Route{Type: RouteBlackhole}, nil},
		"v6 blackhole":    {RouteQuery{Dst: a("2001:db8:6::1")}, Route{Type: RouteBlackhole}, nil},
		"tos":             {RouteQuery{Dst: a("10.7.0.1"), TOS: 0x10}, Route{Type: RouteUnicast, OIF: l.Index, Gateway: a("10.0.0.10"), PrefSrc: a("10.0.0.1")}, []string{"tos", "0x10"}},
		"other tos":       {RouteQuery{Dst: a("10.7.0.1")}, Route{Type: RouteUnicast, OIF: l.Index, Gateway: a("10.0.0.11"), PrefSrc: a("10.0.0.1")}, []string{}},
		"rule on source":  {RouteQuery{Dst: a("10.8.0.1"), Src: a("10.0.0.1")}, Route{Type: RouteUnicast, OIF: l.Index, Gateway: a("10.0.0.12")}, []string{"from", "10.0.0.1"}},
		"without source":  {RouteQuery{Dst: a("10.8.0.1")}, Route{Type: RouteUnreachable}, nil},
		"foreign source":  {RouteQuery{Dst: a("10.1.0.1"), Src: a("203.0.113.1")}, Route{Type: RouteUnicast, OIF: l.Index, Gateway: a("10.0.0.9"), PrefSrc: a("10.0.0.1")}, nil},
		"v6 on link":      {RouteQuery{Dst: a("2001:db8::2")}, Route{Type: RouteUnicast, OIF: l.Index, PrefSrc: a("2001:db8::1")}, []string{}},
		"v6 gateway":      {RouteQuery{Dst: a("2001:db8:1::2")}, Route{Type: RouteUnicast, OIF: l.Index, Gateway: a("2001:db8::9"), PrefSrc: a("2001:db8::1")}, []string{}},
		"v6 link-local":   {RouteQuery{Dst: a("fe80::5"), OIF: l.Index}, Route{Type: RouteUnicast, OIF: l.Index, PrefSrc: a("fe80::1")}, []string{"oif", "ib0"}},
		"v6 local":        {RouteQuery{Dst: a("2001:db8::1")}, Route{Type: RouteLocal, OIF: lo.Index, PrefSrc: a("2001:db8::1")}, []string{}},
		"v6 multicast":    {RouteQuery{Dst: a("ff02::1"), OIF: l.Index}, Route{Type: RouteMulticast, OIF: l.Index, PrefSrc: a("fe80::1")}, []string{"oif", "ib0"}},
		"v6 no route":     {RouteQuery{Dst: a("2001:db9::1")}, Route{Type: RouteUnreachable}, nil},
		"v6 unreachable":  {RouteQuery{Dst: a("2001:db8:4::1")}, Route{Type: RouteUnreachable}, nil},
		"v6 foreign":      {RouteQuery{Dst: a("2001:db8:1::2"), Src: a("2001:db8:77::1")}, Route{Type: RouteUnicast, OIF: l.Index, Gateway: a("2001:db8::9"), PrefSrc: a("2001:db8::1")}, nil},
		"families differ": {RouteQuery{Dst: a("10.0.0.2"), Src: a("2001:db8::1")}, Route{Type: RouteUnicast, OIF: l.Index, PrefSrc: a("10.0.0.1")}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ns.Route(tc.q)
			if err != nil || got != tc.want {
				t.Errorf("route %+v, %v; want %+v", got, err, tc.want)
			}
			if tc.args == nil {
				return
			}
			var out []struct {
				Type    string
				Dev     string
				Gateway string
				Via     struct{ Host string }
				Prefsrc string
				Metrics []struct{ MTU int }
			}
			k.JSON(t, &out, "ip", append([]string{"-j", "route", "get", tc.q.Dst.String()}, tc.args...)...)
			o := out[0]
			if o.Type == "" {
				o.Type = "unicast"
			}
			var gw netip.Addr
			for _, s := range []string{o.Gateway, o.Via.Host} {
				if s != "" {
					gw = a(s)
				}
			}
			dev := map[string]int{"ib0": l.Index, "lo": lo.Index}[o.Dev]
			if o.Type != got.Type.String() || gw != got.Gateway || dev != got.OIF {
				text, _ := json.Marshal(o)
				t.Errorf("route %+v, ip says %s", got, text)
			}
			if (o.Prefsrc != "" || got.PrefSrc.IsValid()) && o.Prefsrc != got.PrefSrc.String() {
				t.Errorf("source %v, ip says %q", got.PrefSrc, o.Prefsrc)
			}
		})
	}
}

// TestIntegrationRouteConcurrent uses more callers than sockets are kept.
func TestIntegrationRouteConcurrent(t *testing.T) {
	_, ns, l := routes(t)
	var wg sync.WaitGroup
	for n := range 16 {
		wg.Go(func() {
			dst := netip.AddrFrom4([4]byte{10, 1, 0, byte(n)})
			for range 50 {
				r, err := ns.Route(RouteQuery{Dst: dst, OIF: l.Index})
				if err != nil || r.Gateway != netip.MustParseAddr("10.0.0.9") {
					t.Errorf("route %+v, %v", r, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if len(ns.routes.idle) > routeIdle {
		t.Errorf("%d sockets kept", len(ns.routes.idle))
	}
}

func TestIntegrationRouteAllocs(t *testing.T) {
	_, ns, l := routes(t)
	q := RouteQuery{Dst: netip.MustParseAddr("10.1.0.1"), Src: netip.MustParseAddr("10.0.0.1"), OIF: l.Index}
	if n := testing.AllocsPerRun(100, func() { ns.Route(q) }); n != 0 {
		t.Errorf("%v allocations a lookup", n)
	}
}

func BenchmarkRoute(b *testing.B) {
	_, ns, l := routes(b)
	for name, dst := range map[string]string{"IPv4": "10.1.0.1", "IPv6": "2001:db8:1::1"} {
		b.Run(name, func(b *testing.B) {
			q := RouteQuery{Dst: netip.MustParseAddr(dst), OIF: l.Index}
			for b.Loop() {
				if _, err := ns.Route(q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestRouteReply feeds what a kernel would not send.
func TestRouteReply(t *testing.T) {
	for name, tc := range map[string]struct {
		b    []byte
		want error
	}{
		"empty":        {nil, errShort},
		"short header": {make([]byte, 15), errShort},
		"size":         {[]byte{200, 0, 0, 0, 24, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}, errShort},
		"short error":  {[]byte{18, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 2}, errShort},
		"short route":  {[]byte{18, 0, 0, 0, 24, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 2}, errShort},
		"other type":   {[]byte{16, 0, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}, syscall.EPROTO},
		"errno":        {[]byte{20, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xed, 0xff, 0xff, 0xff}, syscall.ENODEV},
		"blackhole":    {[]byte{20, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xea, 0xff, 0xff, 0xff}, nil},
		"unreachable":  {[]byte{20, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0x8f, 0xff, 0xff, 0xff}, nil},
	} {
		if _, _, err := decodeRouteReply(tc.b); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
}

func FuzzRouteReply(f *testing.F) {
	f.Add([]byte{20, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0x8f, 0xff, 0xff, 0xff})
	route := make([]byte, 16+12)
	route[0], route[4], route[16] = 44, 24, unix.AF_INET
	route = append(route, 8, 0, unix.RTA_GATEWAY, 0, 10, 0, 0, 9, 8, 0, unix.RTA_OIF, 0, 3, 0, 0, 0)
	f.Add(route)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, _, err := decodeRouteReply(b)
		if err == nil && r.Gateway.IsValid() && r.Gateway.IsUnspecified() {
			t.Errorf("unspecified gateway in %+v", r)
		}
	})
}

func FuzzLinkMessage(f *testing.F) {
	f.Add(ifinfomsg(3, 1, 1))
	f.Add(append(ifinfomsg(3, 1, 1), 8, 0, unix.IFLA_MTU, 0, 1, 2, 0, 0, 8, 0, unix.IFLA_IFNAME, 0, 'i', 'b', '0', 0,
		12, 0, unix.IFLA_AF_SPEC, 0, 8, 0, unix.AF_INET6, 0, 5, 0, 8, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := decodeLink(b); err == nil && l.full && l.MTU < 0 {
			t.Errorf("MTU %d", l.MTU)
		}
	})
}

func FuzzAddrMessage(f *testing.F) {
	f.Add(append(ifaddrmsg(unix.AF_INET, 24, 3), 8, 0, unix.IFA_LOCAL, 0, 10, 0, 0, 1))
	f.Add(append(ifaddrmsg(unix.AF_INET6, 64, 3), 8, 0, unix.IFA_FLAGS, 0, 2, 0, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, ok, err := decodeAddr(b); ok && (err != nil || !a.Prefix.IsValid()) {
			t.Errorf("address %+v, %v", a, err)
		}
	})
}
