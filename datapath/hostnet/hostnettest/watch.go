package hostnettest

import (
	"maps"
	"sync"

	"ipoib/datapath/hostnet"
)

// watcher is a running Watch.
type watcher struct {
	n  *Namespace
	fn func(hostnet.Event)
	// queue is the events that wait. links is the links as queued last; known
	// and addrs are the links and addresses that fn was told of. All are
	// guarded by n.s.mu.
	queue        []hostnet.Event
	links, known map[int]hostnet.Link
	addrs        map[hostnet.Addr]bool
	// wake holds a token while the queue is not empty; stop is closed by
	// Close, and done when the goroutine has ended.
	wake, stop, done chan struct{}
	once             sync.Once
}

// Watch implements hostnet.Namespace.
func (n *Namespace) Watch(fn func(hostnet.Event)) (hostnet.Watcher, error) {
	w := &watcher{
		n: n, fn: fn, links: make(map[int]hostnet.Link),
		known: make(map[int]hostnet.Link), addrs: make(map[hostnet.Addr]bool),
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	err := n.do("watch", "", func(s *space) error {
		for _, l := range s.sorted() {
			w.link(l.Link)
		}
		for _, l := range s.sorted() {
			for _, a := range l.addrs {
				w.queue = append(w.queue, hostnet.Event{Type: hostnet.EventAddr, Addr: a})
			}
		}
		w.queue = append(w.queue, hostnet.Event{Type: hostnet.EventSynced})
		n.watchers[w] = struct{}{}
		return nil
	})
	if err != nil {
		return nil, err
	}
	go w.run()
	return w, nil
}

// link queues an EventLink unless nothing changed. The caller holds s.mu.
func (w *watcher) link(l hostnet.Link) {
	if old, ok := w.links[l.Index]; !ok || old != l {
		w.links[l.Index] = l
		w.queue = append(w.queue, hostnet.Event{Type: hostnet.EventLink, Link: l})
	}
}

func (w *watcher) run() {
	defer close(w.done)
	for {
		select {
		case <-w.stop:
			return
		case <-w.wake:
		}
		for e, ok := w.next(); ok; e, ok = w.next() {
			w.fn(e)
		}
	}
}

// next takes the next event, unless Close was called.
func (w *watcher) next() (e hostnet.Event, ok bool) {
	select {
	case <-w.stop:
		return e, false
	default:
	}
	w.n.s.mu.Lock()
	defer w.n.s.mu.Unlock()
	if len(w.queue) == 0 {
		return e, false
	}
	e, w.queue = w.queue[0], w.queue[1:]
	switch e.Type {
	case hostnet.EventLink:
		w.known[e.Link.Index] = e.Link
	case hostnet.EventLinkGone:
		delete(w.known, e.Link.Index)
	case hostnet.EventAddr:
		w.addrs[e.Addr] = true
	case hostnet.EventAddrGone:
		delete(w.addrs, e.Addr)
	}
	return e, true
}

// Close implements hostnet.Watcher.
func (w *watcher) Close() error {
	w.once.Do(func() {
		w.n.s.mu.Lock()
		delete(w.n.watchers, w)
		w.n.s.mu.Unlock()
		close(w.stop)
	})
	<-w.done
	return nil
}

// each calls fn for all watchers of the namespace. The caller holds mu.
func (s *space) each(fn func(*watcher)) {
	for n := range s.handles {
		for w := range n.watchers {
			fn(w)
		}
	}
}

// event queues an event for all watchers. The caller holds mu.
func (s *space) event(e hostnet.Event) {
	s.each(func(w *watcher) {
		if e.Type == hostnet.EventLinkGone {
			delete(w.links, e.Link.Index)
		}
		w.queue = append(w.queue, e)
	})
}

// announce queues a changed link for all watchers. The caller holds mu.
func (s *space) announce(l *link) {
	if l.tun != nil || l.lineUp {
		l.Carrier = l.Up && l.lineUp // IFF_LOWER_UP is not shown when down
		l.Running = l.Carrier
	}
	s.each(func(w *watcher) { w.link(l.Link) })
}

// deliver wakes the watchers that have events. The caller must not hold mu.
func (s *space) deliver() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.each(func(w *watcher) {
		if len(w.queue) > 0 {
			select {
			case w.wake <- struct{}{}:
			default:
			}
		}
	})
}

// Lose drops the events that have not been told yet, as a kernel queue does
// that overflows. The watchers are told the differences in links and
// addresses, then an EventSynced with Lost set.
func (n *Namespace) Lose() {
	defer n.s.deliver()
	n.s.mu.Lock()
	defer n.s.mu.Unlock()
	n.s.each(func(w *watcher) { w.catchUp(n.s) })
}

// catchUp replaces the queue by what differs from what fn was told. The caller
// holds s.mu.
func (w *watcher) catchUp(s *space) {
	w.queue = nil
	now := make(map[hostnet.Addr]bool)
	for _, l := range s.links {
		for _, a := range l.addrs {
			now[a] = true
		}
	}
	for a := range w.addrs {
		if !now[a] {
			w.queue = append(w.queue, hostnet.Event{Type: hostnet.EventAddrGone, Addr: a})
		}
	}
	w.links = maps.Clone(w.known)
	for i, l := range w.known {
		if s.links[i] == nil {
			delete(w.links, i)
			w.queue = append(w.queue, hostnet.Event{Type: hostnet.EventLinkGone, Link: l})
		}
	}
	for _, l := range s.sorted() {
		w.link(l.Link)
	}
	for a := range now {
		if !w.addrs[a] {
			w.queue = append(w.queue, hostnet.Event{Type: hostnet.EventAddr, Addr: a})
		}
	}
	w.queue = append(w.queue, hostnet.Event{Type: hostnet.EventSynced, Lost: true})
}
