package hostnet

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// watchGroups are the multicast groups of a watcher that all kernels have.
const watchGroups = unix.RTMGRP_LINK |
	unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR |
	unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE |
	unix.RTMGRP_IPV4_RULE | 1<<(unix.RTNLGRP_IPV6_RULE-1)

// watchBuffer is the size of the receive queue in octets: some thousand
// events.
var watchBuffer = 4 << 20

// watcher is a running Namespace.Watch.
type watcher struct {
	ns   *namespace
	conn *netlink.Conn
	fn   func(Event)
	// state is what fn has been told. It belongs to the goroutine of run.
	state watchState
	// done is closed when run has returned.
	done chan struct{}
	once sync.Once
}

// watchState is the links and addresses of a namespace.
type watchState struct {
	links map[int]Link
	addrs map[addrKey]Addr
}

// Watch implements Namespace.
func (n *namespace) Watch(fn func(Event)) (Watcher, error) {
	conn, err := n.dial(watchGroups)
	if err != nil {
		return nil, n.opError("watch", "", err)
	}
	// Linux 6.13 and later tell about group memberships as well.
	for _, g := range []uint32{unix.RTNLGRP_IPV4_MCADDR, unix.RTNLGRP_IPV6_MCADDR} {
		_ = conn.JoinGroup(g)
	}
	_ = conn.SetReadBuffer(watchBuffer) // as much as this process may
	w := &watcher{
		ns: n, conn: conn, fn: fn, done: make(chan struct{}),
		state: watchState{links: make(map[int]Link), addrs: make(map[addrKey]Addr)},
	}
	// Changes from here on are in the queue of conn, on top of these.
	now, err := n.snapshot()
	if err == nil {
		err = n.addWatcher(w)
	}
	if err != nil {
		conn.Close()
		return nil, n.opError("watch", "", err)
	}
	go w.run(now)
	return w, nil
}

func (n *namespace) addWatcher(w *watcher) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return ErrClosed
	}
	n.watchers[w] = struct{}{}
	return nil
}

// snapshot reads the links and addresses.
func (n *namespace) snapshot() (watchState, error) {
	s := watchState{links: make(map[int]Link), addrs: make(map[addrKey]Addr)}
	links, err := n.Links()
	if err != nil {
		return s, err
	}
	addrs, err := n.Addrs(0)
	if err != nil {
		return s, err
	}
	for _, l := range links {
		s.links[l.Index] = l
	}
	for _, a := range addrs {
		s.addrs[a.key()] = a
	}
	return s, nil
}

// Close implements Watcher.
func (w *watcher) Close() error {
	w.once.Do(func() {
		w.ns.mu.Lock()
		delete(w.ns.watchers, w)
		w.ns.mu.Unlock()
		w.conn.Close()
	})
	<-w.done
	return nil
}

// run tells fn what there is, then what changes, until conn is closed.
func (w *watcher) run(now watchState) {
	defer close(w.done)
	w.merge(now)
	w.fn(Event{Type: EventSynced})
	for {
		msgs, err := w.conn.Receive()
		switch {
		case err == nil:
			for _, m := range msgs {
				w.message(m)
			}
		case errors.Is(err, unix.ENOBUFS):
			if !w.resync() {
				return
			}
		case errors.Is(err, unix.EINTR):
		default:
			return // closed
		}
	}
}

// resync makes good for lost events. It reports whether to go on.
func (w *watcher) resync() bool {
	now, err := w.ns.snapshot()
	if errors.Is(err, ErrClosed) {
		return false
	}
	if err == nil {
		w.merge(now)
	}
	w.fn(Event{Type: EventSynced, Lost: true})
	return true
}

// merge tells fn the differences between what it was told and now, in a
// stable order: what went, then links, then addresses.
func (w *watcher) merge(now watchState) {
	for _, k := range sortedAddrs(w.state.addrs) {
		if _, ok := now.addrs[k]; !ok {
			w.addrGone(k)
		}
	}
	for _, i := range slices.Sorted(maps.Keys(w.state.links)) {
		if _, ok := now.links[i]; !ok {
			w.linkGone(i, false)
		}
	}
	for _, i := range slices.Sorted(maps.Keys(now.links)) {
		w.link(now.links[i])
	}
	for _, k := range sortedAddrs(now.addrs) {
		w.addr(now.addrs[k])
	}
}

func sortedAddrs(m map[addrKey]Addr) []addrKey {
	return slices.SortedFunc(maps.Keys(m), func(a, b addrKey) int {
		if a.index != b.index {
			return a.index - b.index
		}
		if c := a.prefix.Addr().Compare(b.prefix.Addr()); c != 0 {
			return c
		}
		return a.prefix.Bits() - b.prefix.Bits()
	})
}

// message handles a notification; what does not decode is not for us.
func (w *watcher) message(m netlink.Message) {
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		l, err := decodeLink(m.Data)
		if err != nil || l.family != unix.AF_UNSPEC {
			return // a bridge's view of its port
		}
		if m.Header.Type == unix.RTM_DELLINK {
			w.linkGone(l.Index, l.moved)
		} else if l.full {
			w.link(l.Link)
		}
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		a, ok, err := decodeAddr(m.Data)
		if err != nil || !ok {
			return
		}
		if m.Header.Type == unix.RTM_DELADDR {
			w.addrGone(a.key())
		} else {
			w.addr(a)
		}
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE, unix.RTM_NEWRULE, unix.RTM_DELRULE:
		if f, ok := messageFamily(m.Data); ok {
			w.fn(Event{Type: EventRoute, Family: f})
		}
	case unix.RTM_NEWMULTICAST, unix.RTM_DELMULTICAST:
		if f, ok := messageFamily(m.Data); ok && len(m.Data) >= unix.SizeofIfAddrmsg {
			index := int(int32(binary.NativeEndian.Uint32(m.Data[4:])))
			w.fn(Event{Type: EventGroups, Family: f, Index: index})
		}
	}
}

// messageFamily reads the family that all of these messages start with.
func messageFamily(b []byte) (Family, bool) {
	if len(b) == 0 {
		return 0, false
	}
	return familyOf(b[0])
}

func (w *watcher) link(l Link) {
	if old, ok := w.state.links[l.Index]; ok && old == l {
		return
	}
	w.state.links[l.Index] = l
	w.fn(Event{Type: EventLink, Link: l})
}

// linkGone also ends the addresses that the kernel did not mention.
func (w *watcher) linkGone(ifindex int, moved bool) {
	for _, k := range sortedAddrs(w.state.addrs) {
		if k.index == ifindex {
			w.addrGone(k)
		}
	}
	l, ok := w.state.links[ifindex]
	if !ok {
		return
	}
	delete(w.state.links, ifindex)
	w.fn(Event{Type: EventLinkGone, Link: l, Moved: moved})
}

func (w *watcher) addr(a Addr) {
	if old, ok := w.state.addrs[a.key()]; ok && old == a {
		return
	}
	w.state.addrs[a.key()] = a
	w.fn(Event{Type: EventAddr, Addr: a})
}

func (w *watcher) addrGone(k addrKey) {
	a, ok := w.state.addrs[k]
	if !ok {
		return
	}
	delete(w.state.addrs, k)
	w.fn(Event{Type: EventAddrGone, Addr: a})
}
