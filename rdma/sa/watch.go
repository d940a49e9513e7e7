package sa

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// GroupEvent tells that a multicast group was created or deleted.
type GroupEvent struct {
	MGID rdma.GID
	// Created is false for a deletion.
	Created bool
}

// Time to the next try after a subscription failed; doubled up to the maximum.
const (
	subscribeRetry    = time.Second
	maxSubscribeRetry = 16 * time.Second
)

// subscribeRenewal is how often a subscription is made anew although nothing
// is known to have happened to it: an SA forgets subscribers that did not
// answer for a while.
const subscribeRenewal = 5 * time.Minute

// groupTraps are the traps that WatchGroups subscribes to.
var groupTraps = [...]mad.TrapNumber{mad.TrapMCGroupCreated, mad.TrapMCGroupDeleted}

// groupWatch keeps the port subscribed to the group traps while somebody
// watches. A subscription is lost with the manager or the link, so it is made
// anew after every event that may mean that.
type groupWatch struct {
	c *Client

	mu       sync.Mutex
	next     int                      // guarded by mu, as is all below
	watchers map[int]func(GroupEvent) // by number
	stop     func()                   // ends OnNotice
	subs     [len(groupTraps)]trapSubscription
	closed   bool
}

// trapSubscription is the state of the subscription to one trap.
type trapSubscription struct {
	// gen tells outcomes of requests that were overtaken.
	gen    int
	held   bool
	cancel func()
	timer  clockwork.Timer
	delay  time.Duration
}

func (w *groupWatch) init(c *Client) {
	w.c = c
	w.watchers = make(map[int]func(GroupEvent))
}

// WatchGroups calls fn when a multicast group is created or deleted, one event
// at a time, until cancel is called. The port stays subscribed to traps 66 and
// 67 meanwhile, also over restarts of the subnet manager; events in between
// are lost. fn must not block.
func (c *Client) WatchGroups(fn func(GroupEvent)) (cancel func()) {
	w := &c.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	id := w.next
	w.next++
	w.watchers[id] = fn
	if len(w.watchers) == 1 {
		w.stop = c.OnNotice(w.notice)
		for i := range w.subs {
			w.subscribeLocked(i)
		}
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if _, ok := w.watchers[id]; !ok {
			return
		}
		delete(w.watchers, id)
		if len(w.watchers) == 0 {
			w.stop()
			for i := range w.subs {
				w.unsubscribeLocked(i)
			}
		}
	}
}

// Subscribed reports whether the SA has confirmed the subscriptions of
// WatchGroups.
func (c *Client) Subscribed() bool {
	w := &c.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.subs {
		if !w.subs[i].held {
			return false
		}
	}
	return true
}

func (w *groupWatch) notice(n *mad.Notice) {
	if !n.IsGeneric || n.TrapNumber != mad.TrapMCGroupCreated && n.TrapNumber != mad.TrapMCGroupDeleted {
		return
	}
	d, err := n.ParseDetails()
	if err != nil {
		return
	}
	e := GroupEvent{MGID: d.(*mad.DetailsGID).GID, Created: n.TrapNumber == mad.TrapMCGroupCreated}
	w.mu.Lock()
	var fns []func(GroupEvent)
	for _, id := range slices.Sorted(maps.Keys(w.watchers)) {
		fns = append(fns, w.watchers[id])
	}
	w.mu.Unlock()
	for _, fn := range fns {
		fn(e)
	}
}

// renew subscribes anew.
func (w *groupWatch) renew() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.watchers) == 0 || w.closed {
		return
	}
	for i := range w.subs {
		w.subscribeLocked(i)
	}
}

// subscribeLocked begins to subscribe to a trap; what was under way ends.
func (w *groupWatch) subscribeLocked(i int) {
	w.resetLocked(i)
	w.subs[i].delay = subscribeRetry
	w.sendLocked(i)
}

func (w *groupWatch) resetLocked(i int) {
	s := &w.subs[i]
	s.gen++
	s.held = false
	if s.cancel != nil {
		s.cancel()
		s.cancel = nil
	}
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}

func (w *groupWatch) sendLocked(i int) {
	s := &w.subs[i]
	gen := s.gen
	s.cancel = w.c.start(informRequest(groupTraps[i], true), func(_ *mad.Response, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		s := &w.subs[i]
		if s.gen != gen || w.closed {
			return
		}
		s.cancel = nil
		var delay time.Duration
		if s.held = err == nil; s.held {
			delay, s.delay = subscribeRenewal, subscribeRetry
		} else {
			w.c.log.Debug("cannot subscribe to group traps", "trap", uint16(groupTraps[i]), "err", err)
			delay = s.delay
			s.delay = min(2*s.delay, maxSubscribeRetry)
		}
		s.timer = w.c.clock.AfterFunc(delay, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.subs[i].gen == gen && !w.closed {
				w.sendLocked(i)
			}
		})
	})
}

// unsubscribeLocked ends a subscription; the SA drops it anyway when reports
// are not answered.
func (w *groupWatch) unsubscribeLocked(i int) {
	held := w.subs[i].held
	w.resetLocked(i)
	if held {
		w.c.start(informRequest(groupTraps[i], false), func(*mad.Response, error) {})
	}
}

func (w *groupWatch) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for i := range w.subs {
		w.resetLocked(i)
	}
}
