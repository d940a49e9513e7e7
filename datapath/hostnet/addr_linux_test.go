package hostnet

import (
	"encoding/binary"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"ipoib/datapath/internal/netns/netnstest"
)

// ipAddrs reads "ip -j addr".
func ipAddrs(t *testing.T, k *netnstest.NS) []Addr {
	t.Helper()
	var out []struct {
		Ifindex int
		Addrs   []struct {
			Local, Address, Broadcast                   string
			Prefixlen                                   int
			Tentative, Nodad, Deprecated, Noprefixroute bool
		} `json:"addr_info"`
	}
	k.JSON(t, &out, "ip", "-j", "addr")
	var addrs []Addr
	for _, l := range out {
		for _, a := range l.Addrs {
			got := Addr{
				Index: l.Ifindex, Prefix: netip.PrefixFrom(netip.MustParseAddr(a.Local), a.Prefixlen),
				Tentative: a.Tentative, NoDAD: a.Nodad, Deprecated: a.Deprecated, NoPrefixRoute: a.Noprefixroute,
			}
			if a.Address != "" {
				got.Peer = netip.MustParseAddr(a.Address)
			}
			if a.Broadcast != "" {
				got.Broadcast = netip.MustParseAddr(a.Broadcast)
			}
			addrs = append(addrs, got)
		}
	}
	return addrs
}

func sortAddrs(addrs []Addr) {
	slices.SortFunc(addrs, func(a, b Addr) int {
		if a.Index != b.Index {
			return a.Index - b.Index
		}
		return a.Prefix.Addr().Compare(b.Prefix.Addr())
	})
}

func TestIntegrationAddrs(t *testing.T) {
	k, ns := newNS(t)
	l := addTUN(t, k, ns, "ib0")
	must(t, ns.SetAddrGenMode(l.Index, AddrGenNone))
	must(t, ns.SetUp(l.Index, true))
	// The kernel takes a moment to find that nobody has a new address.
	sure := func() {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			got, err := ns.Addrs(0)
			must(t, err)
			if !slices.ContainsFunc(got, func(a Addr) bool { return a.Tentative }) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("still tentative: %+v", got)
			}
		}
	}
	compare := func() {
		t.Helper()
		want := ipAddrs(t, k)
		got, err := ns.Addrs(0)
		must(t, err)
		sortAddrs(want)
		sortAddrs(got)
		if !slices.Equal(got, want) {
			t.Errorf("addresses\n%+v, ip says\n%+v", got, want)
		}
		want = slices.DeleteFunc(want, func(a Addr) bool { return a.Index != l.Index })
		got, err = ns.Addrs(l.Index)
		must(t, err)
		sortAddrs(got)
		if !slices.Equal(got, want) {
			t.Errorf("addresses of ib0\n%+v, ip says\n%+v", got, want)
		}
	}
	same := func() {
		t.Helper()
		sure()
		compare()
	}
	add := []Addr{
		{Prefix: netip.MustParsePrefix("10.0.0.1/24")},
		{Prefix: netip.MustParsePrefix("10.0.1.1/24"), Broadcast: netip.MustParseAddr("10.0.1.255"), NoPrefixRoute: true},
		{Prefix: netip.MustParsePrefix("10.0.2.1/32"), Peer: netip.MustParseAddr("10.0.2.2")},
		{Prefix: netip.MustParsePrefix("fe80::202:c903:a0:b0c1/64"), NoDAD: true},
		{Prefix: netip.MustParsePrefix("2001:db8::1/64"), NoPrefixRoute: true},
		{Prefix: netip.MustParsePrefix("2001:db8::5/128"), Peer: netip.MustParseAddr("2001:db8::6")},
	}
	for _, a := range add {
		a.Index = l.Index
		must(t, ns.AddAddr(a))
		same()
		got, err := ns.Addrs(l.Index)
		must(t, err)
		if !slices.Contains(got, a) {
			t.Errorf("%+v is not in %+v", a, got)
		}
	}
	k.Run(t, "ip", "addr", "add", "10.0.3.1/24", "brd", "+", "dev", "ib0")
	k.Run(t, "ip", "addr", "change", "2001:db8::1/64", "preferred_lft", "0", "dev", "ib0")
	same()
	for _, a := range add {
		must(t, ns.DelAddr(l.Index, a.Prefix))
		same()
	}
	// Nobody is asked by a link that is down.
	k.Run(t, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
	down, err := ns.LinkByName("v0")
	must(t, err)
	must(t, ns.AddAddr(Addr{Index: down.Index, Prefix: netip.MustParsePrefix("2001:db8::9/64")}))
	compare()
	got, err := ns.Addrs(down.Index)
	must(t, err)
	if len(got) != 1 || !got[0].Tentative {
		t.Errorf("%+v, not one tentative address", got)
	}
}

// TestIntegrationGroups compares with "ip maddr".
func TestIntegrationGroups(t *testing.T) {
	k, ns := newNS(t)
	l := addTUN(t, k, ns, "ib0")
	addTUN(t, k, ns, "other")
	must(t, ns.SetUp(l.Index, true))
	must(t, ns.AddAddr(Addr{Index: l.Index, Prefix: netip.MustParsePrefix("10.0.0.1/24")}))
	groups := joined(t, k, ns, l.Index)
	for range 2 { // the files are read again
		var out []struct {
			Maddr []struct{ Family, Address string }
		}
		k.JSON(t, &out, "ip", "-j", "maddr", "show", "dev", "ib0")
		var want []netip.Addr
		for _, m := range out[0].Maddr {
			if m.Family == "inet" || m.Family == "inet6" {
				want = append(want, netip.MustParseAddr(m.Address))
			}
		}
		got := groups()
		slices.SortFunc(got, netip.Addr.Compare)
		slices.SortFunc(want, netip.Addr.Compare)
		if !slices.Equal(got, want) || len(got) < 4 {
			t.Errorf("groups %v, ip says %v", got, want)
		}
	}
	if g, err := ns.Groups(9999); len(g) != 0 || err != nil {
		t.Errorf("groups of no link: %v, %v", g, err)
	}
}

const igmp = `Idx	Device    : Count Querier	Group    Users Timer	Reporter
1	lo        :     1      V3
				010000E0     1 0:00000000		0
7	ib0       :     2      V3
				030201EF     1 0:00000000		0
				010000E0     1 0:00000000		0
`

const igmp6 = `1    lo              ff020000000000000000000000000001     1 0000000C 0
7    ib0             ff050000000000000000000000001234     1 00000004 0
7    ib0             ff020000000000000000000000000001     1 0000000C 0
`

func TestParseGroups(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the text is that of a little-endian machine")
	}
	got := make(map[int][]netip.Addr)
	err := errors.Join(parseIGMP([]byte(igmp), got), parseIGMP6([]byte(igmp6), got))
	var s []string
	for _, a := range got[7] {
		s = append(s, a.String())
	}
	if want := "239.1.2.3 224.0.0.1 ff05::1234 ff02::1"; strings.Join(s, " ") != want || err != nil {
		t.Errorf("groups %v, %v; want %s", s, err, want)
	}
	for name, parse := range map[string]func(map[int][]netip.Addr) error{
		"index":    func(g map[int][]netip.Addr) error { return parseIGMP([]byte("x\tib0\n"), g) },
		"word":     func(g map[int][]netip.Addr) error { return parseIGMP([]byte("7\tib0\n\t\tzz\n"), g) },
		"v6 index": func(g map[int][]netip.Addr) error { return parseIGMP6([]byte("x ib0 ff02\n"), g) },
		"v6 short": func(g map[int][]netip.Addr) error { return parseIGMP6([]byte("7 ib0 ff02\n"), g) },
		"v6 hex": func(g map[int][]netip.Addr) error {
			return parseIGMP6([]byte("7 ib0 "+strings.Repeat("zz", 16)+"\n"), g)
		},
	} {
		g := make(map[int][]netip.Addr)
		if err := parse(g); err == nil {
			t.Errorf("%s: %v and no error", name, g)
		}
	}
}

func FuzzParseGroups(f *testing.F) {
	f.Add([]byte(igmp))
	f.Add([]byte(igmp6))
	f.Fuzz(func(t *testing.T, b []byte) {
		if g := make(map[int][]netip.Addr); parseIGMP(b, g) == nil {
			for _, a := range slices.Concat(slices.Collect(maps.Values(g))...) {
				if !a.Is4() {
					t.Errorf("IPv4 group %v", a)
				}
			}
		}
		if g := make(map[int][]netip.Addr); parseIGMP6(b, g) == nil {
			for _, a := range slices.Concat(slices.Collect(maps.Values(g))...) {
				if !a.Is6() {
					t.Errorf("IPv6 group %v", a)
				}
			}
		}
	})
}
