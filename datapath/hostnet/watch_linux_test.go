package hostnet

import (
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"ipoib/datapath/internal/netns/netnstest"
)

// waitFor waits for something that the kernel will do.
func waitFor(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for range 3000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	tb.Fatalf("%s: did not happen", what)
}

// recorder keeps the events of a watcher.
type recorder struct {
	mu     sync.Mutex
	events []Event
	hold   chan struct{} // not nil: the next call waits for it
}

func (r *recorder) fn(e Event) {
	r.mu.Lock()
	hold := r.hold
	r.hold = nil
	r.events = append(r.events, e)
	r.mu.Unlock()
	if hold != nil {
		<-hold
	}
}

// take returns the events so far and forgets them.
func (r *recorder) take() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.events
	r.events = nil
	return e
}

// until returns the events up to the first that matches.
func (r *recorder) until(tb testing.TB, what string, match func(Event) bool) []Event {
	tb.Helper()
	var all []Event
	waitFor(tb, what, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		i := slices.IndexFunc(r.events, match)
		if i < 0 {
			return false
		}
		all = slices.Clone(r.events[:i+1])
		r.events = r.events[i+1:]
		return true
	})
	return all
}

func watch(tb testing.TB, ns Namespace) *recorder {
	tb.Helper()
	r := &recorder{}
	w, err := ns.Watch(r.fn)
	must(tb, err)
	tb.Cleanup(func() { must(tb, w.Close()) })
	return r
}

// TestIntegrationWatchStart: what there is comes first, then the end of it.
func TestIntegrationWatchStart(t *testing.T) {
	k, ns := newNS(t)
	l := addTUN(t, k, ns, "ib0")
	must(t, ns.AddAddr(Addr{Index: l.Index, Prefix: netip.MustParsePrefix("10.0.0.1/24")}))
	r := watch(t, ns)
	got := r.until(t, "synced", func(e Event) bool { return e.Type == EventSynced })
	links, err := ns.Links()
	must(t, err)
	addrs, err := ns.Addrs(0)
	must(t, err)
	var want []Event
	for _, l := range links {
		want = append(want, Event{Type: EventLink, Link: l})
	}
	slices.SortFunc(addrs, func(a, b Addr) int {
		if a.Index != b.Index {
			return a.Index - b.Index
		}
		return a.Prefix.Addr().Compare(b.Prefix.Addr())
	})
	for _, a := range addrs {
		want = append(want, Event{Type: EventAddr, Addr: a})
	}
	want = append(want, Event{Type: EventSynced})
	if !slices.Equal(got, want) {
		t.Errorf("events\n%+v, want\n%+v", got, want)
	}
}

// TestIntegrationWatch follows what stock tools do.
func TestIntegrationWatch(t *testing.T) {
	k, ns := newNS(t)
	kb, b := newNS(t)
	r := watch(t, ns)
	r.until(t, "synced", func(e Event) bool { return e.Type == EventSynced })
	ip := func(args ...string) { t.Helper(); k.Run(t, "ip", args...) }

	ip("tuntap", "add", "ib0", "mode", "tun")
	var i int
	r.until(t, "new link", func(e Event) bool {
		i = e.Link.Index
		return e.Type == EventLink && e.Link.Name == "ib0" && e.Link.Kind == "tun" && !e.Link.Up
	})
	prefix := netip.MustParsePrefix("10.0.0.1/24")
	link := func(ok func(Link) bool) func(Event) bool {
		return func(e Event) bool { return e.Type == EventLink && e.Link.Index == i && ok(e.Link) }
	}
	addr := func(typ EventType) func(Event) bool {
		return func(e Event) bool { return e.Type == typ && e.Addr.Index == i && e.Addr.Prefix == prefix }
	}
	route := func(f Family) func(Event) bool {
		return func(e Event) bool { return e.Type == EventRoute && e.Family == f }
	}
	for _, step := range []struct {
		name  string
		args  []string
		match func(Event) bool
	}{
		{"mtu", []string{"link", "set", "ib0", "mtu", "2044"}, link(func(l Link) bool { return l.MTU == 2044 })},
		{"up", []string{"link", "set", "ib0", "up"}, link(func(l Link) bool { return l.Up })},
		{"address", []string{"addr", "add", "10.0.0.1/24", "dev", "ib0"}, addr(EventAddr)},
		{"prefix route", nil, route(IPv4)},
		{"no address", []string{"addr", "del", "10.0.0.1/24", "dev", "ib0"}, addr(EventAddrGone)},
		{"IPv4 route", []string{"route", "add", "10.1.0.0/16", "dev", "ib0"}, route(IPv4)},
		{"IPv6 route", []string{"route", "add", "2001:db8::/64", "dev", "ib0"}, route(IPv6)},
		{"IPv4 rule", []string{"rule", "add", "to", "10.9.0.0/16", "table", "99"}, route(IPv4)},
		{"IPv6 rule", []string{"-6", "rule", "add", "to", "2001:db8:9::/64", "table", "99"}, route(IPv6)},
		{"rename", []string{"link", "set", "ib0", "down", "name", "ib9"}, link(func(l Link) bool { return l.Name == "ib9" })},
		{"up again", []string{"link", "set", "ib9", "up"}, link(func(l Link) bool { return l.Up })},
		{"alias", []string{"link", "set", "ib9", "alias", "x"}, link(func(l Link) bool { return l.Alias == "x" })},
		{"addrgenmode", []string{"link", "set", "ib9", "addrgenmode", "none"}, link(func(l Link) bool { return l.AddrGenMode == AddrGenNone })},
	} {
		if step.args != nil {
			ip(step.args...)
		}
		r.until(t, step.name, step.match)
	}

	ip("addr", "add", "10.0.0.1/24", "dev", "ib9")
	r.until(t, "address again", addr(EventAddr))
	must(t, ns.Move(i, b))
	events := r.until(t, "moved", func(e Event) bool { return e.Type == EventLinkGone })
	gone := events[len(events)-1]
	if !gone.Moved || gone.Link.Name != "ib9" || gone.Link.Index != i {
		t.Errorf("event %+v", gone)
	}
	if !slices.ContainsFunc(events, addr(EventAddrGone)) {
		t.Error("the address did not go before its link")
	}

	rb := watch(t, b)
	rb.until(t, "synced", func(e Event) bool { return e.Type == EventSynced })
	kb.Run(t, "ip", "link", "del", "ib9")
	if e := rb.until(t, "deleted", func(e Event) bool { return e.Type == EventLinkGone }); e[len(e)-1].Moved {
		t.Error("deletion is told as a move")
	}
}

// TestIntegrationWatchGroups joins groups; Linux 6.13 and later tell.
func TestIntegrationWatchGroups(t *testing.T) {
	k, ns := newNS(t)
	l := addTUN(t, k, ns, "ib0")
	must(t, ns.SetUp(l.Index, true))
	must(t, ns.AddAddr(Addr{Index: l.Index, Prefix: netip.MustParsePrefix("10.0.0.1/24")}))
	r := watch(t, ns)
	r.until(t, "synced", func(e Event) bool { return e.Type == EventSynced })
	groups := joined(t, k, ns, l.Index)
	for _, g := range []string{"239.1.2.3", "ff05::1234"} {
		if !slices.Contains(groups(), netip.MustParseAddr(g)) {
			t.Errorf("group %s is missing in %v", g, groups())
		}
	}
	if !kernelAtLeast(t, 6, 13) {
		return
	}
	for _, f := range []Family{IPv4, IPv6} {
		r.until(t, "groups "+f.String(), func(e Event) bool {
			return e.Type == EventGroups && e.Index == l.Index && e.Family == f
		})
	}
}

// TestIntegrationWatchLost fills a small queue while the callback is held, and
// expects the differences.
func TestIntegrationWatchLost(t *testing.T) {
	defer func(n int) { watchBuffer = n }(watchBuffer)
	watchBuffer = 1
	k, ns := newNS(t)
	keep := addTUN(t, k, ns, "keep")
	gone := addTUN(t, k, ns, "gone")
	r := &recorder{hold: make(chan struct{})}
	hold := r.hold
	w, err := ns.Watch(r.fn)
	must(t, err)
	defer w.Close()
	for n := range 100 {
		must(t, ns.SetMTU(keep.Index, 2000+n))
	}
	must(t, ns.DeleteLink(gone.Index))
	k.Run(t, "ip", "tuntap", "add", "fresh", "mode", "tun")
	must(t, ns.SetMTU(keep.Index, 2044))
	close(hold)
	events := r.until(t, "loss", func(e Event) bool { return e.Type == EventSynced && e.Lost })
	now := map[string]Link{}
	for _, e := range events {
		switch e.Type {
		case EventLink:
			now[e.Link.Name] = e.Link
		case EventLinkGone:
			delete(now, e.Link.Name)
		}
	}
	if now["keep"].MTU != 2044 || now["gone"].Name != "" || now["fresh"].Name != "fresh" {
		t.Errorf("after the loss: %+v", now)
	}
}

// TestIntegrationWatchClose: no calls after Close, of the watcher or of the
// namespace.
func TestIntegrationWatchClose(t *testing.T) {
	for name, end := range map[string]func(Namespace, Watcher) error{
		"watcher":   func(_ Namespace, w Watcher) error { return w.Close() },
		"namespace": func(ns Namespace, _ Watcher) error { return ns.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			k, ns := newNS(t)
			addTUN(t, k, ns, "ib0")
			r := &recorder{}
			w, err := ns.Watch(r.fn)
			must(t, err)
			must(t, end(ns, w))
			must(t, end(ns, w))
			r.take()
			k.Run(t, "ip", "link", "set", "ib0", "mtu", "2000")
			if e := r.take(); len(e) != 0 {
				t.Errorf("events after Close: %v", e)
			}
		})
	}
}

// joined runs a program in the namespace that joins 239.1.2.3 and ff05::1234
// on the link for as long as the test runs, and returns what reads the
// memberships.
func joined(t *testing.T, k *netnstest.NS, ns Namespace, ifindex int) func() []netip.Addr {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip(err)
	}
	c := k.Command(t.Context(), "python3", "-c", fmt.Sprintf(`
import socket, struct, sys
a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
a.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack("4s4si", socket.inet_aton("239.1.2.3"), b"\0"*4, %[1]d))
b = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
b.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, struct.pack("16si", socket.inet_pton(socket.AF_INET6, "ff05::1234"), %[1]d))
print("joined", flush=True)
sys.stdin.read()
`, ifindex))
	in, err := c.StdinPipe()
	must(t, err)
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	t.Cleanup(func() { in.Close(); c.Wait() })
	if _, err := out.Read(make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	return func() []netip.Addr {
		g, err := ns.Groups(ifindex)
		must(t, err)
		return g
	}
}
