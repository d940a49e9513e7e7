package hostnet

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"ipoib/datapath/internal/netns/netnstest"
)

// newNS makes a network namespace and opens it.
func newNS(tb testing.TB) (*netnstest.NS, *namespace) {
	tb.Helper()
	k := netnstest.New(tb)
	ns, err := NewHost().ByFile(k.File)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { ns.Close() })
	return k, ns.(*namespace)
}

// addTUN adds a TUN link.
func addTUN(tb testing.TB, k *netnstest.NS, ns Namespace, name string) Link {
	tb.Helper()
	k.Run(tb, "ip", "tuntap", "add", name, "mode", "tun")
	l, err := ns.LinkByName(name)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// TestIntegrationOpen opens one namespace in all ways.
func TestIntegrationOpen(t *testing.T) {
	k := netnstest.New(t)
	h := NewHost()
	name := fmt.Sprintf("ipoibtest%d", os.Getpid())
	// attach takes a process: the shell that nsenter becomes.
	c := k.Command(t.Context(), "sh", "-c", "ip netns attach "+name+" $$")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { k.Run(t, "ip", "netns", "del", name) })
	sleep := k.Command(t.Context(), "sleep", "60")
	must(t, sleep.Start())
	defer func() { sleep.Process.Kill(); sleep.Wait() }()

	fi, err := k.File.Stat()
	must(t, err)
	want := idOf(fi)
	for way, open := range map[string]func() (Namespace, error){
		"name":   func() (Namespace, error) { return h.ByName(name) },
		"path":   func() (Namespace, error) { return h.ByPath(filepath.Join(namedDir, name)) },
		"file":   func() (Namespace, error) { return h.ByFile(k.File) },
		"id":     func() (Namespace, error) { return h.ByID(want) },
		"thread": func() (Namespace, error) { return h.ByPID(sleep.Process.Pid) },
	} {
		if way == "thread" {
			// nsenter enters before it becomes sleep.
			waitFor(t, "nsenter", func() bool {
				id, err := identify(pidPath(fmt.Sprint(sleep.Process.Pid)))
				return err == nil && id == want
			})
		}
		ns, err := open()
		if err != nil {
			t.Errorf("%s: %v", way, err)
			continue
		}
		if ns.ID() != want || ns.Name() != name {
			t.Errorf("%s: %v %q, want %v %q", way, ns.ID(), ns.Name(), want, name)
		}
		must(t, ns.Close())
		must(t, ns.Close())
		if _, err := ns.Links(); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: Links after Close: %v", way, err)
		}
		if _, err := ns.Route(RouteQuery{Dst: netip.MustParseAddr("127.0.0.1")}); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: Route after Close: %v", way, err)
		}
		if _, err := ns.Watch(func(Event) {}); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: Watch after Close: %v", way, err)
		}
	}

	own, err := h.Current()
	must(t, err)
	defer own.Close()
	if own.ID() == want || own.Name() != "" {
		t.Errorf("own namespace %v %q", own.ID(), own.Name())
	}
}

func TestIntegrationOpenByUnnamedID(t *testing.T) {
	k, ns := newNS(t)
	sleep := k.Command(t.Context(), "sleep", "60")
	must(t, sleep.Start())
	defer func() { sleep.Process.Kill(); sleep.Wait() }()
	waitFor(t, "process in the namespace", func() bool {
		got, err := NewHost().ByID(ns.ID())
		if err != nil {
			return false
		}
		defer got.Close()
		return got.ID() == ns.ID() && got.Name() == ""
	})
}

func TestOpenErrors(t *testing.T) {
	h := NewHost()
	plain := filepath.Join(t.TempDir(), "plain")
	must(t, os.WriteFile(plain, nil, 0o600))
	f, err := os.Open(plain)
	must(t, err)
	defer f.Close()
	for name, tc := range map[string]struct {
		open func() (Namespace, error)
		want error
	}{
		"name":            {func() (Namespace, error) { return h.ByName("no such name") }, ErrNotExist},
		"name with slash": {func() (Namespace, error) { return h.ByName("../run") }, syscall.EINVAL},
		"path":            {func() (Namespace, error) { return h.ByPath("/nowhere") }, ErrNotExist},
		"plain file":      {func() (Namespace, error) { return h.ByPath(plain) }, syscall.ENOTTY},
		"open plain file": {func() (Namespace, error) { return h.ByFile(f) }, syscall.ENOTTY},
		"other kind":      {func() (Namespace, error) { return h.ByPath("/proc/self/ns/uts") }, syscall.EINVAL},
		"process":         {func() (Namespace, error) { return h.ByPID(1 << 30) }, ErrNotExist},
		"id":              {func() (Namespace, error) { return h.ByID(ID{1, 2}) }, ErrNotExist},
	} {
		t.Run(name, func(t *testing.T) {
			ns, err := tc.open()
			var op *OpError
			if !errors.Is(err, tc.want) || !errors.As(err, &op) {
				t.Errorf("error %v (%T), want %v", err, err, tc.want)
			}
			if ns != nil {
				ns.Close()
			}
		})
	}
}

// ipLink is what "ip -d -j link" prints.
type ipLink struct {
	Ifindex     int
	Ifname      string
	Ifalias     string
	Flags       []string
	MTU         int
	Txqlen      int
	LinkType    string `json:"link_type"`
	AddrGenMode string `json:"inet6_addr_gen_mode"`
	Linkinfo    struct {
		Kind string `json:"info_kind"`
	}
}

var linkTypes = map[int]string{1: "ether", 32: "infiniband", 772: "loopback", 65534: "none"}

func (l ipLink) link() Link {
	has := func(f string) bool { return slices.Contains(l.Flags, f) }
	got := Link{
		Index: l.Ifindex, Name: l.Ifname, Alias: l.Ifalias, MTU: l.MTU, TxQueueLen: l.Txqlen, Kind: l.Linkinfo.Kind,
		Up: has("UP"), Carrier: has("LOWER_UP"), Running: has("UP") && !has("NO-CARRIER"), AllMulti: has("ALLMULTI"), Promisc: has("PROMISC"),
	}
	for n, name := range linkTypes {
		if name == l.LinkType {
			got.Type = n
		}
	}
	for _, m := range []AddrGenMode{AddrGenEUI64, AddrGenNone, AddrGenStablePrivacy, AddrGenRandom} {
		if m.String() == l.AddrGenMode {
			got.AddrGenMode = m
		}
	}
	return got
}

// sameLinks compares Links, LinkByIndex and LinkByName with ip.
func sameLinks(t *testing.T, k *netnstest.NS, ns Namespace) {
	t.Helper()
	var want []ipLink
	k.JSON(t, &want, "ip", "-d", "-j", "link")
	links, err := ns.Links()
	must(t, err)
	if len(links) != len(want) {
		t.Fatalf("%d links, want %d", len(links), len(want))
	}
	for i, w := range want {
		if links[i] != w.link() {
			t.Errorf("link\n%+v, want\n%+v", links[i], w.link())
		}
		if got, err := ns.LinkByIndex(w.Ifindex); got != w.link() || err != nil {
			t.Errorf("LinkByIndex: %+v, %v", got, err)
		}
		if got, err := ns.LinkByName(w.Ifname); got != w.link() || err != nil {
			t.Errorf("LinkByName: %+v, %v", got, err)
		}
	}
}

func TestIntegrationLinks(t *testing.T) {
	k, ns := newNS(t)
	i := addTUN(t, k, ns, "ib0").Index
	k.Run(t, "ip", "link", "add", "v0", "type", "veth", "peer", "v1")
	sameLinks(t, k, ns)
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"mtu", func() error { return ns.SetMTU(i, 2044) }},
		{"name", func() error { return ns.SetName(i, "ib5") }},
		{"txqueuelen", func() error { return ns.SetTxQueueLen(i, 256) }},
		{"alias", func() error { return ns.SetAlias(i, "storage network") }},
		{"addrgenmode", func() error { return ns.SetAddrGenMode(i, AddrGenNone) }},
		{"up", func() error { return ns.SetUp(i, true) }},
		{"no alias", func() error { return ns.SetAlias(i, "") }},
		{"eui64", func() error { return ns.SetAddrGenMode(i, AddrGenEUI64) }},
		{"down", func() error { return ns.SetUp(i, false) }},
	} {
		before, _ := ns.LinkByIndex(i)
		if err := step.do(); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		if after, _ := ns.LinkByIndex(i); after == before {
			t.Errorf("%s changed nothing", step.name)
		}
		sameLinks(t, k, ns)
	}
	must(t, ns.DeleteLink(i))
	sameLinks(t, k, ns)
}

func TestIntegrationMove(t *testing.T) {
	ka, a := newNS(t)
	kb, b := newNS(t)
	i := addTUN(t, ka, a, "ib0").Index
	addTUN(t, ka, a, "taken")
	addTUN(t, kb, b, "taken")
	must(t, a.Move(i, b))
	sameLinks(t, ka, a)
	sameLinks(t, kb, b)
	if _, err := b.LinkByName("ib0"); err != nil {
		t.Error(err)
	}
	if _, err := a.LinkByName("ib0"); !errors.Is(err, ErrNotExist) {
		t.Errorf("link is still there: %v", err)
	}
	l, err := a.LinkByName("taken")
	must(t, err)
	if err := a.Move(l.Index, b); !errors.Is(err, ErrExist) {
		t.Errorf("move to a taken name: %v", err)
	}
}

func TestIntegrationErrors(t *testing.T) {
	k, ns := newNS(t)
	i := addTUN(t, k, ns, "ib0").Index
	addTUN(t, k, ns, "ib1")
	prefix := netip.MustParsePrefix("10.0.0.1/24")
	must(t, ns.AddAddr(Addr{Index: i, Prefix: prefix}))
	const none = 9999
	for name, tc := range map[string]struct {
		err  error
		want error
	}{
		"by index":        {second(ns.LinkByIndex(none)), ErrNotExist},
		"by name":         {second(ns.LinkByName("none")), ErrNotExist},
		"up":              {ns.SetUp(none, true), ErrNotExist},
		"mtu":             {ns.SetMTU(none, 2044), ErrNotExist},
		"mtu too large":   {ns.SetMTU(i, 1<<20), syscall.EINVAL},
		"name taken":      {ns.SetName(i, "ib1"), ErrExist},
		"name too long":   {ns.SetName(i, strings.Repeat("x", 20)), syscall.ERANGE},
		"delete":          {ns.DeleteLink(none), ErrNotExist},
		"addrs":           {second(ns.Addrs(none)), ErrNotExist},
		"address there":   {ns.AddAddr(Addr{Index: i, Prefix: prefix}), ErrExist},
		"address gone":    {ns.DelAddr(i, netip.MustParsePrefix("10.0.0.2/24")), ErrNotExist},
		"no address":      {ns.AddAddr(Addr{Index: i}), syscall.EINVAL},
		"sysctl":          {second(ns.Sysctl(IPv4, "none", "forwarding")), fs.ErrNotExist},
		"sysctl path":     {second(ns.Sysctl(IPv4, "../all", "forwarding")), syscall.EINVAL},
		"speed":           {ns.SetSpeed("none", 1, DuplexFull), ErrNotExist},
		"speed long name": {ns.SetSpeed(strings.Repeat("x", 20), 1, DuplexFull), ErrNotExist},
	} {
		var op *OpError
		if !errors.Is(tc.err, tc.want) || !errors.As(tc.err, &op) {
			t.Errorf("%s: error %v, want %v", name, tc.err, tc.want)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestIntegrationSpeed(t *testing.T) {
	k, ns := newNS(t)
	i := addTUN(t, k, ns, "ib0").Index
	must(t, ns.SetUp(i, true))
	for _, tc := range []struct {
		mbps   int
		d      Duplex
		sysfs  string
		duplex string
		print  []string
	}{
		{56000, DuplexFull, "56000", "full", []string{"Speed: 56000Mb/s", "Duplex: Full", "Port: Other", "Auto-negotiation: on"}},
		{-1, DuplexUnknown, "-1", "unknown", []string{"Speed: Unknown!", "Duplex: Unknown!", "Port: Twisted Pair", "Auto-negotiation: off"}},
	} {
		must(t, ns.SetSpeed("ib0", tc.mbps, tc.d))
		out := k.Run(t, "ethtool", "ib0")
		for _, p := range tc.print {
			if !strings.Contains(out, p) {
				t.Errorf("ethtool does not print %q:\n%s", p, out)
			}
		}
		got := strings.Fields(k.Run(t, "unshare", "-m", "sh", "-c",
			"mount --make-rprivate / && mount -t sysfs none /sys && cd /sys/class/net/ib0 && cat speed duplex"))
		if !slices.Equal(got, []string{tc.sysfs, tc.duplex}) {
			t.Errorf("sysfs shows %q, want %s %s", got, tc.sysfs, tc.duplex)
		}
	}
}

func TestIntegrationGSO(t *testing.T) {
	k, ns := newNS(t)
	addTUN(t, k, ns, "ib0")
	for _, on := range []bool{false, true} {
		must(t, ns.SetGSO("ib0", on))
		want := map[bool]string{true: "on", false: "off"}[on]
		if out := k.Run(t, "ethtool", "-k", "ib0"); !strings.Contains(out, "generic-segmentation-offload: "+want+"\n") {
			t.Errorf("want %s:\n%s", want, out)
		}
	}
	if err := ns.SetGSO("none", true); !errors.Is(err, ErrNotExist) {
		t.Errorf("no link: %v", err)
	}
}

func TestIntegrationSysctl(t *testing.T) {
	k, ns := newNS(t)
	addTUN(t, k, ns, "ib0.8001")
	for _, tc := range []struct {
		f     Family
		key   string
		value string
	}{
		{IPv4, "forwarding", "1"},
		{IPv6, "accept_ra", "2"},
		{IPv6, "disable_ipv6", "1"},
	} {
		if err := ns.SetSysctl(tc.f, "ib0.8001", tc.key, tc.value); err != nil {
			t.Error(err)
		}
		if got, err := ns.Sysctl(tc.f, "ib0.8001", tc.key); got != tc.value || err != nil {
			t.Errorf("%s: %q, %v", tc.key, got, err)
		}
		out := k.Run(t, "cat", "/proc/sys/net/"+tc.f.String()+"/conf/ib0.8001/"+tc.key)
		if strings.TrimSpace(out) != tc.value {
			t.Errorf("%s is %q", tc.key, out)
		}
	}
	if err := ns.SetSysctl(IPv4, "ib0.8001", "forwarding", "x"); !errors.Is(err, unix.EINVAL) {
		t.Errorf("bad value: %v", err)
	}
}
