package neigh

import (
	"slices"
	"time"

	"ipoib/datapath/encap"
)

// Send queues a packet for an entry without a usable address, and starts the
// resolution if it does not run. It returns true when e has an address; the
// packet is the caller's to send then.
func (t *Table[T, P]) Send(e *Entry[T, P], p P) bool {
	e.used.Store(t.clock.Now().UnixNano())
	t.Used(e)
	if e.state.HasAddr() {
		return true
	}
	// The oldest packet makes room, as in the kernel (__neigh_event_send).
	if len(e.queue) >= QueueLen {
		t.hooks.Dropped(e.queue[0])
		e.queue = slices.Delete(e.queue, 0, 1)
	}
	e.queue = append(e.queue, p)
	if e.state == None || e.state == Failed {
		t.enter(e, Incomplete)
		t.probe(e)
	}
	return false
}

// Used tells the table that a packet was sent to e: a stale entry is verified
// a while later, in case nothing confirms it before (RFC 4861 7.3.3).
func (t *Table[T, P]) Used(e *Entry[T, P]) {
	if e.state == Stale {
		t.enter(e, Delay)
		t.after(e, DelayFirstProbeTime, func() {
			t.enter(e, Probe)
			t.probe(e)
		})
	}
}

// enter changes the state and ends the timer of the old one.
func (t *Table[T, P]) enter(e *Entry[T, P], s State) {
	if e.timer != nil {
		e.timer.Stop()
		e.timer = nil
	}
	e.gen++
	if e.state != s {
		e.changed = t.clock.Now()
	}
	e.state = s
	e.probes = 0
	e.awake.Store(s == Stale)
	if s == Reachable {
		// A random factor of 0.5 to 1.5 (RFC 4861 6.3.2).
		d := BaseReachableTime/2 + time.Duration(t.rng.Int64N(int64(BaseReachableTime)))
		t.after(e, d, func() { t.enter(e, Stale) })
	}
}

// after runs fn on the owner's goroutine unless e changed state before.
func (t *Table[T, P]) after(e *Entry[T, P], d time.Duration, fn func()) {
	gen := e.gen
	e.timer = t.clock.AfterFunc(d, func() {
		t.hooks.Post(func() {
			if e.gen == gen && !e.dead.Load() {
				fn()
			}
		})
	})
}

// probe sends the next solicitation, or gives up.
func (t *Table[T, P]) probe(e *Entry[T, P]) {
	limit := McastProbes
	if e.state == Probe {
		limit = UcastProbes
	}
	if e.probes >= limit {
		t.fail(e)
		return
	}
	e.probes++
	t.after(e, RetransTime, func() { t.probe(e) })
	t.hooks.Probe(e, e.state == Probe)
}

func (t *Table[T, P]) fail(e *Entry[T, P]) {
	t.enter(e, Failed)
	e.Target.Store(nil)
	q := e.queue
	e.queue = nil
	t.hooks.Failed(e, q)
}

// Update is what was learnt of a neighbour (kernel neigh_update).
type Update struct {
	Addr encap.HardwareAddr
	// Reachable: it answered our question, so that both ways work. Else the
	// address becomes Stale.
	Reachable bool
	// Override replaces an address that is known already. For ARP the table
	// protects an address for LockTime, so that of two proxies the first
	// stays (kernel arp_process).
	Override bool
	// Router is the router flag of a Neighbor Advertisement, used when
	// SetRouter is set.
	Router, SetRouter bool
}

// Learn applies an update to an entry.
func (t *Table[T, P]) Learn(e *Entry[T, P], u Update) {
	if e.state == Permanent {
		return
	}
	if u.SetRouter {
		e.router = u.Router
	}
	now := t.clock.Now()
	known := e.state.HasAddr()
	if known && u.Addr != e.addr && !u.Override {
		// Somebody else claims the address. What we have becomes doubtful
		// (RFC 4861 7.2.5).
		if e.state == Reachable {
			t.enter(e, Stale)
		}
		return
	}
	changed := !known || u.Addr != e.addr
	e.addr = u.Addr
	e.updated = now
	switch {
	case u.Reachable:
		t.enter(e, Reachable)
	case changed:
		t.enter(e, Stale)
	}
	if changed {
		q := e.queue
		e.queue = nil
		t.hooks.Changed(e, q)
		if len(q) > 0 {
			t.Used(e)
		}
	}
}

// Locked reports whether the address of e is too young to be overridden by an
// unasked message.
func (t *Table[T, P]) Locked(e *Entry[T, P]) bool {
	return e.state.HasAddr() && t.clock.Since(e.updated) < LockTime
}

// Confirm tells that e answered by other means than a solicitation.
func (t *Table[T, P]) Confirm(e *Entry[T, P]) {
	if e.state.HasAddr() && e.state != Permanent {
		t.enter(e, Reachable)
	}
}

// SetPermanent sets an address that does not age.
func (t *Table[T, P]) SetPermanent(e *Entry[T, P], a encap.HardwareAddr) {
	t.enter(e, Permanent)
	e.addr = a
	e.updated = t.clock.Now()
	q := e.queue
	e.queue = nil
	t.hooks.Changed(e, q)
}

// Remove takes an entry out of the table.
func (t *Table[T, P]) Remove(e *Entry[T, P]) {
	if e.dead.Swap(true) {
		return
	}
	t.enter(e, None)
	e.awake.Store(false)
	e.Target.Store(nil)
	if t.entries[e.IP] == e {
		delete(t.entries, e.IP)
	}
	q := e.queue
	e.queue = nil
	t.hooks.Removed(e, q)
}

// Flush removes the entries that match; nil matches all.
func (t *Table[T, P]) Flush(match func(*Entry[T, P]) bool) {
	for _, e := range t.entries {
		if match == nil || match(e) {
			t.Remove(e)
		}
	}
}

// collect removes what was idle for too long.
func (t *Table[T, P]) collect() {
	t.gc = nil
	if t.closed {
		return
	}
	now := t.clock.Now()
	for _, e := range t.entries {
		if e.state == Permanent || e.state == Incomplete {
			continue
		}
		if e.Idle(now) >= IdleTime {
			t.Remove(e)
		}
	}
	if len(t.entries) > 0 {
		t.gc = t.clock.AfterFunc(GCInterval, func() { t.hooks.Post(t.collect) })
	}
}

// evict makes room for one entry.
func (t *Table[T, P]) evict() {
	var oldest *Entry[T, P]
	for _, e := range t.entries {
		if e.state != Permanent && (oldest == nil || e.used.Load() < oldest.used.Load()) {
			oldest = e
		}
	}
	if oldest != nil {
		t.Remove(oldest)
	}
}

// Close removes all entries and stops all timers.
func (t *Table[T, P]) Close() {
	t.closed = true
	t.Flush(nil)
	if t.gc != nil {
		t.gc.Stop()
	}
}
