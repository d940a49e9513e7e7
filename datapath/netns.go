package datapath

import (
	"net/netip"
	"sync"

	"ipoib/datapath/hostnet"
)

// netns is a network namespace with interfaces in it. Its watcher tells them
// what the host changes.
type netns struct {
	drv   *Driver
	ns    hostnet.Namespace
	id    hostnet.ID
	watch hostnet.Watcher
	users int // guarded by drv.mu

	mu     sync.Mutex
	links  map[int]*Interface          // guarded by mu, as is all below
	local  map[netip.Addr]map[int]bool // addresses of the namespace by link
	synced chan struct{}               // closed after the first dump
	going  map[int]chan struct{}       // links that are to go; closed when they have
}

// useNamespace returns the state of a namespace, watching it from its first
// use on. It takes ns over.
func (d *Driver) useNamespace(ns hostnet.Namespace) (*netns, error) {
	d.mu.Lock()
	if n := d.spaces[ns.ID()]; n != nil {
		n.users++
		d.mu.Unlock()
		_ = ns.Close()
		return n, nil
	}
	n := &netns{
		drv: d, ns: ns, id: ns.ID(), users: 1,
		links: make(map[int]*Interface), local: make(map[netip.Addr]map[int]bool),
		synced: make(chan struct{}), going: make(map[int]chan struct{}),
	}
	d.spaces[n.id] = n
	d.mu.Unlock()
	w, err := ns.Watch(n.onEvent)
	if err != nil {
		d.releaseNamespace(n)
		return nil, system("watch namespace", ns.Name(), err)
	}
	d.mu.Lock()
	n.watch = w
	d.mu.Unlock()
	return n, nil
}

// releaseNamespace ends one use; the last one lets go of the namespace, so
// that it can disappear.
func (d *Driver) releaseNamespace(n *netns) {
	d.mu.Lock()
	n.users--
	last := n.users == 0
	if last {
		delete(d.spaces, n.id)
	}
	d.mu.Unlock()
	if last {
		// Closing waits for the watcher's callback, which must not be us.
		go func() { _ = n.ns.Close() }()
	}
}

// onEvent is called for each change in the namespace, in order.
func (n *netns) onEvent(e hostnet.Event) {
	switch e.Type {
	case hostnet.EventLink:
		n.tell(e.Link.Index, func(i *Interface) { i.onLink(e.Link) })
	case hostnet.EventLinkGone:
		n.hasGone(e.Link.Index)
		n.tell(e.Link.Index, func(i *Interface) { i.onLinkGone(e.Moved) })
		n.detach(e.Link.Index)
	case hostnet.EventAddr:
		n.setLocal(e.Addr, true)
		n.tell(e.Addr.Index, func(i *Interface) { i.onAddr(e.Addr) })
	case hostnet.EventAddrGone:
		n.setLocal(e.Addr, false)
		n.tell(e.Addr.Index, func(i *Interface) { i.onAddrGone(e.Addr) })
	case hostnet.EventRoute:
		n.each(func(i *Interface) { i.voidDests() })
	case hostnet.EventGroups:
		n.tell(e.Index, (*Interface).readGroups)
	case hostnet.EventSynced:
		n.mu.Lock()
		select {
		case <-n.synced:
		default:
			close(n.synced)
		}
		n.mu.Unlock()
		if e.Lost {
			n.each(func(i *Interface) {
				i.voidDests()
				i.loop.post(i.readGroups)
			})
		}
	}
}

// tell lets the loop of the interface with a link handle what happened to it,
// unless it has left the namespace by then: its index is another link's in the
// next one.
func (n *netns) tell(ifindex int, fn func(*Interface)) {
	i := n.link(ifindex)
	if i == nil {
		return
	}
	i.loop.post(func() {
		if i.ns == n && i.ifindex == ifindex {
			fn(i)
		}
	})
}

// attach makes an interface hear of its link; detach ends that.
func (n *netns) attach(ifindex int, i *Interface) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.links[ifindex] = i
}

func (n *netns) detach(ifindex int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.links, ifindex)
}

func (n *netns) link(ifindex int) *Interface {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.links[ifindex]
}

// awaitGone returns a channel that is closed when a link has gone. Who asked
// ends it with stopAwaiting.
func (n *netns) awaitGone(ifindex int) <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	ch := make(chan struct{})
	n.going[ifindex] = ch
	return ch
}

func (n *netns) stopAwaiting(ifindex int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.going, ifindex)
}

func (n *netns) hasGone(ifindex int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if ch := n.going[ifindex]; ch != nil {
		close(ch)
		delete(n.going, ifindex)
	}
}

func (n *netns) each(fn func(*Interface)) {
	n.mu.Lock()
	list := make([]*Interface, 0, len(n.links))
	for _, i := range n.links {
		list = append(list, i)
	}
	n.mu.Unlock()
	for _, i := range list {
		fn(i)
	}
}

func (n *netns) setLocal(a hostnet.Addr, on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	ip := a.Prefix.Addr()
	if on {
		if n.local[ip] == nil {
			n.local[ip] = make(map[int]bool)
		}
		n.local[ip][a.Index] = true
		return
	}
	if delete(n.local[ip], a.Index); len(n.local[ip]) == 0 {
		delete(n.local, ip)
	}
}

// isLocal reports whether ip is an address of any link of the namespace.
func (n *netns) isLocal(ip netip.Addr) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.local[ip]) > 0
}
