package neigh

import (
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"

	"ipoib/datapath/encap"
)

// State is the state of an entry (kernel NUD_*).
type State uint8

// The states.
const (
	None State = iota
	Incomplete
	Reachable
	Stale
	Delay
	Probe
	Failed
	// Permanent entries were set by the administrator and do not change.
	Permanent
)

var stateNames = [...]string{"NONE", "INCOMPLETE", "REACHABLE", "STALE", "DELAY", "PROBE", "FAILED", "PERMANENT"}

// String prints the name that ip neigh prints.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "UNKNOWN"
}

// HasAddr reports whether packets are sent in this state.
func (s State) HasAddr() bool {
	return s == Reachable || s == Stale || s == Delay || s == Probe || s == Permanent
}

// Timers and limits of the Linux neighbour table (net.ipv4.neigh.default and
// its IPv6 twin).
const (
	BaseReachableTime   = 30 * time.Second // base_reachable_time_ms
	DelayFirstProbeTime = 5 * time.Second  // delay_first_probe_time
	RetransTime         = time.Second      // retrans_time_ms
	UcastProbes         = 3                // ucast_solicit
	McastProbes         = 3                // mcast_solicit
	QueueLen            = 101              // unres_qlen
	LockTime            = time.Second      // locktime, 1 s for ARP
	// GCInterval and IdleTime are gc_interval and twice that: an entry that
	// was not used for IdleTime goes at the next collection, as the driver's
	// do (ipoib_reap_neigh).
	GCInterval = 30 * time.Second
	IdleTime   = 2 * GCInterval
	// MaxEntries bounds the table. When it is full the entries that were
	// idle the longest make room.
	MaxEntries = 16384
)

// Entry is one neighbour. T is what the owner keeps per entry, P a packet.
type Entry[T, P any] struct {
	// IP is the next hop.
	IP netip.Addr
	// Target is the owner's, for the transmit path; nil means that packets
	// take the slow path. Any goroutine may read it.
	Target atomic.Pointer[T]

	used  atomic.Int64 // last use, nanoseconds of the clock
	awake atomic.Bool  // the next use must be told to the table (Stale)
	dead  atomic.Bool  // removed from the table

	state   State
	addr    encap.HardwareAddr
	router  bool
	updated time.Time
	changed time.Time // of state
	probes  int
	queue   []P
	timer   clockwork.Timer
	gen     int // invalidates timers that fired already
}

// Touch notes a use at the given time and reports whether the table must hear
// of it by Table.Used. Any goroutine may call it.
func (e *Entry[T, P]) Touch(now time.Time) bool {
	e.used.Store(now.UnixNano())
	return e.awake.Load() && e.awake.CompareAndSwap(true, false)
}

// Dead reports whether the entry has left the table. Any goroutine may call
// it.
func (e *Entry[T, P]) Dead() bool { return e.dead.Load() }

// State returns the state.
func (e *Entry[T, P]) State() State { return e.state }

// Addr returns the link-layer address, valid when State().HasAddr().
func (e *Entry[T, P]) Addr() encap.HardwareAddr { return e.addr }

// IsRouter reports the router flag of the last Neighbor Advertisement.
func (e *Entry[T, P]) IsRouter() bool { return e.router }

// Queued returns how many packets wait.
func (e *Entry[T, P]) Queued() int { return len(e.queue) }

// Idle returns how long the entry was not used.
func (e *Entry[T, P]) Idle(now time.Time) time.Duration {
	return now.Sub(time.Unix(0, e.used.Load()))
}

// Hooks are called by a Table on its owner's goroutine.
type Hooks[T, P any] struct {
	// Probe asks for the address of e: by broadcast or multicast, or, when
	// unicast is set, of the address that e has.
	Probe func(e *Entry[T, P], unicast bool)
	// Changed is called after the address of e was learnt or has changed,
	// and with the packets that waited for it.
	Changed func(e *Entry[T, P], queued []P)
	// Failed is called when nobody answered; the packets are the owner's.
	Failed func(e *Entry[T, P], queued []P)
	// Removed is called when e leaves the table for another reason.
	Removed func(e *Entry[T, P], queued []P)
	// Dropped takes a packet for which there was no room.
	Dropped func(p P)
	// Post runs a function on the owner's goroutine: timers come by it.
	Post func(func())
}

// Table is the neighbour cache of one interface.
type Table[T, P any] struct {
	hooks   Hooks[T, P]
	clock   clockwork.Clock
	rng     *rand.Rand
	entries map[netip.Addr]*Entry[T, P]
	gc      clockwork.Timer
	closed  bool
}

// NewTable returns an empty table.
func NewTable[T, P any](clock clockwork.Clock, rng *rand.Rand, h Hooks[T, P]) *Table[T, P] {
	return &Table[T, P]{hooks: h, clock: clock, rng: rng, entries: make(map[netip.Addr]*Entry[T, P])}
}

// Lookup returns the entry of a next hop, or nil.
func (t *Table[T, P]) Lookup(ip netip.Addr) *Entry[T, P] { return t.entries[ip] }

// Get returns the entry of a next hop, a new one if there is none.
func (t *Table[T, P]) Get(ip netip.Addr) *Entry[T, P] {
	if e := t.entries[ip]; e != nil {
		return e
	}
	if len(t.entries) >= MaxEntries {
		t.evict()
	}
	now := t.clock.Now()
	e := &Entry[T, P]{IP: ip, changed: now, updated: now}
	e.used.Store(now.UnixNano())
	t.entries[ip] = e
	if t.gc == nil && !t.closed {
		t.gc = t.clock.AfterFunc(GCInterval, func() { t.hooks.Post(t.collect) })
	}
	return e
}

// Len returns the number of entries.
func (t *Table[T, P]) Len() int { return len(t.entries) }

// Entries calls fn for each entry, in no order.
func (t *Table[T, P]) Entries(fn func(*Entry[T, P])) {
	for _, e := range t.entries {
		fn(e)
	}
}
