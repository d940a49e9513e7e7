package mcast

import (
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"

	"ipoib/datapath/encap"
	"ipoib/datapath/path"
	"ipoib/datapath/tun"
	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// Limits and timers (ipoib_multicast.c).
const (
	// MaxQueue is how many packets wait for a group (IPOIB_MAX_MCAST_QUEUE).
	MaxQueue = 64
	// MaxBackoff is the longest wait between two attempts
	// (IPOIB_MAX_BACKOFF_SECONDS); the first wait is 2 s.
	MaxBackoff = 16 * time.Second
	// MaxLog is how many failures of a group are logged.
	MaxLog = 20
	// GCInterval and IdleTime: a send-only group that was idle for two
	// periods of the neighbour collection is left (RFC 4392 section 4.2.5).
	GCInterval = 30 * time.Second
	IdleTime   = 2 * GCInterval
	// AbsentTime is how long the absence of a group is believed when no trap
	// tells of its creation.
	AbsentTime = 60 * time.Second
)

// State is the state of a Group.
type State uint8

// The states.
const (
	Idle State = iota
	Joining
	Waiting
	Joined
	Absent
)

var stateNames = [...]string{"idle", "joining", "waiting", "joined", "absent"}

func (s State) String() string { return stateNames[s] }

// Group is one multicast group.
type Group struct {
	MGID rdma.GID
	// Created is when the entry was made.
	Created time.Time
	// Record is valid in state Joined.
	Record mad.MCMemberRecord
	// Target is where packets go, nil while they have to wait. Fallback is
	// where those of more than link-local scope go when the group does not
	// exist. Any goroutine may read them.
	Target, Fallback atomic.Pointer[path.Target]

	used      atomic.Int64
	dead      atomic.Bool
	state     State
	sendOnly  bool
	nonMember bool // received for routing only
	sends     bool // of a nonMember: the host sends there too
	attached  bool
	ah        rdma.AH
	join      mad.JoinState // held or asked for
	queue     []waiting
	backoff   time.Duration
	retry     time.Time // not before
	failures  int       // send-only attempts
	logged    int
	leave     func() // ends the join under way, or the membership
	// held ends the join or membership of the entry that this one replaces,
	// once it has its own: the group may live by it.
	held func()
}

// waiting is a packet for a group; fallback marks those that may go to the
// all-routers group instead.
type waiting struct {
	p        tun.Packet
	fallback bool
}

// State returns the state.
func (g *Group) State() State { return g.state }

// SendOnly reports whether the host only sends to the group.
func (g *Group) SendOnly() bool { return g.sendOnly }

// Queued returns how many packets wait.
func (g *Group) Queued() int { return len(g.queue) }

// Complete reports whether an address handle exists.
func (g *Group) Complete() bool { return g.ah != nil }

// Dead reports whether the group has left the table. Any goroutine may call
// it.
func (g *Group) Dead() bool { return g.dead.Load() }

// Touch notes a use. Any goroutine may call it.
func (g *Group) Touch(now time.Time) { g.used.Store(now.UnixNano()) }

// Hooks are called on the owner's goroutine.
type Hooks struct {
	// Join starts a join; the result comes by Table.Joined, also on the
	// owner's goroutine. leave ends it without a result, and later the
	// membership, which nobody waits for.
	Join func(g *Group, rec mad.MCMemberRecord, mask mad.ComponentMask) (leave func())
	// Ready reports whether the port can join: Active, with a valid address.
	Ready func() bool
	// SendOnlyState is the JoinState of send-only joins, and whether it may
	// create the group.
	SendOnlyState func() (join mad.JoinState, create bool)
	// Skip reports whether a full join is to be left to other users of the
	// port (umcast).
	Skip func(mgid rdma.GID) bool
	// BroadcastJoined takes the record of the broadcast group, before its
	// address handle is made.
	BroadcastJoined func(rec mad.MCMemberRecord) error
	// Attach makes the interface receive a group's packets.
	Attach func(g *Group) error
	Detach func(g *Group)
	// MakeAH makes the address handle of a joined group.
	MakeAH func(g *Group) (rdma.AH, error)
	// CarrierOn is called when the broadcast group is joined and attached.
	CarrierOn func()
	// Send transmits a packet that waited; Drop takes one that will not be.
	Send func(to path.Target, p tun.Packet)
	Drop func(p tun.Packet)
	// Post runs a function on the owner's goroutine.
	Post func(func())
	// Debugf and Warnf take the driver's messages.
	Debugf, Warnf func(format string, args ...any)
}

// Table holds the groups of one interface.
type Table struct {
	hooks Hooks
	clock clockwork.Clock

	groups    map[rdma.GID]*Group
	link      rdma.GID // MGID of the broadcast group
	broadcast *Group   // nil until it can be joined
	port      rdma.GID // own GID in joins
	pkey      rdma.PKey
	wanted    map[rdma.GID]bool // by the host
	routed    map[rdma.GID]bool // all of the link, for a multicast router
	running   bool
	task      clockwork.Timer
	taskAt    time.Time
	gc        clockwork.Timer
}

// NewTable returns an empty table.
func NewTable(clock clockwork.Clock, h Hooks) *Table {
	return &Table{hooks: h, clock: clock, groups: make(map[rdma.GID]*Group)}
}

// Broadcast returns the broadcast group, or nil.
func (t *Table) Broadcast() *Group { return t.broadcast }

// Up reports whether the broadcast group is joined and attached.
func (t *Table) Up() bool {
	return t.broadcast != nil && t.broadcast.state == Joined && t.broadcast.attached
}

// Lookup returns a group, or nil.
func (t *Table) Lookup(mgid rdma.GID) *Group { return t.groups[mgid] }

// Groups calls fn for each group, in no order.
func (t *Table) Groups(fn func(*Group)) {
	for _, g := range t.groups {
		fn(g)
	}
}

func (t *Table) newGroup(mgid rdma.GID) *Group {
	now := t.clock.Now()
	g := &Group{MGID: mgid, Created: now, backoff: time.Second}
	g.Touch(now)
	t.groups[mgid] = g
	return g
}

// Start begins to join: the broadcast group, then the wanted ones. port is
// the interface's GID, pkey its P_Key with the full bit.
func (t *Table) Start(broadcast, port rdma.GID, pkey rdma.PKey) {
	t.hooks.Debugf("starting multicast thread")
	t.running = true
	t.port, t.pkey, t.link = port, pkey, broadcast
	if t.broadcast != nil && t.broadcast.MGID != broadcast {
		t.remove(t.broadcast)
		t.broadcast = nil
	}
	t.kick(0)
	if len(t.wanted) > 0 {
		t.restart()
	}
}

// Stop ends the joins that run; Flush leaves what was joined.
func (t *Table) Stop() {
	t.hooks.Debugf("stopping multicast thread")
	t.running = false
	if t.task != nil {
		t.task.Stop()
		t.task = nil
	}
	for _, g := range t.groups {
		t.stopJoin(g)
	}
}

func (t *Table) stopJoin(g *Group) {
	if g.state != Joining {
		return
	}
	g.state = Idle
	t.end(g)
}

// end ends the join or the membership of a group.
func (t *Table) end(g *Group) {
	if fn := g.leave; fn != nil {
		g.leave = nil
		fn()
	}
	t.release(g)
}

// release ends the membership of the entry that a group has replaced.
func (t *Table) release(g *Group) {
	if fn := g.held; fn != nil {
		g.held = nil
		fn()
	}
}

// Flush leaves and removes all groups (kernel ipoib_mcast_dev_flush). What
// the host listens to is remembered and joined again by Start and SetWanted.
func (t *Table) Flush() {
	t.hooks.Debugf("flushing multicast list")
	last := t.broadcast
	for _, g := range t.sorted() {
		if g != last {
			t.remove(g)
		}
	}
	if last != nil {
		t.remove(last)
		t.broadcast = nil
	}
	if t.gc != nil {
		t.gc.Stop()
		t.gc = nil
	}
}

// SetWanted sets the groups that the host listens to (kernel
// ipoib_mcast_restart_task): MGIDs of this link.
func (t *Table) SetWanted(mgids map[rdma.GID]bool) {
	t.wanted = mgids
	t.restart()
}

// SetRouter sets the groups that a multicast router receives without being
// counted as a member (RFC 4391 section 11); nil when the host is none.
func (t *Table) SetRouter(mgids map[rdma.GID]bool) {
	t.routed = mgids
	t.restart()
}

// NonMember reports whether the group is received for routing only.
func (g *Group) NonMember() bool { return g.nonMember }

// kindOf returns how a group is to be joined because of what the host listens
// to or routes; ok is false when it is neither.
func (t *Table) kindOf(mgid rdma.GID) (nonMember, ok bool) {
	if t.wanted[mgid] {
		return false, true
	}
	return true, t.routed[mgid]
}

// restart compares the groups with what the host listens to.
func (t *Table) restart() {
	if !t.running {
		return
	}
	t.hooks.Debugf("restarting multicast task")
	for _, mgid := range sortedGIDs(t.wanted, t.routed) {
		nonMember, _ := t.kindOf(mgid)
		g := t.groups[mgid]
		if g != nil && (g == t.broadcast || !g.sendOnly && g.nonMember == nonMember) {
			continue
		}
		if t.hooks.Skip(mgid) {
			t.hooks.Debugf("ignoring multicast entry for mgid %s", mgid.Full())
			continue
		}
		t.hooks.Debugf("adding multicast entry for mgid %s", mgid.Full())
		t.replace(mgid, nonMember, g != nil && g.sendOnly)
	}
	for _, g := range t.sorted() {
		if g.sendOnly || g == t.broadcast {
			continue
		}
		if _, ok := t.kindOf(g.MGID); !ok {
			t.hooks.Debugf("deleting multicast group %s", g.MGID.Full())
			t.remove(g)
		}
	}
	t.kick(0)
}

// replace makes an entry of another kind for a group; the packets that wait go
// with it. A router that sends to a group stays a sender: it may be the only
// one, and the group would go with its membership.
func (t *Table) replace(mgid rdma.GID, nonMember, sends bool) {
	old := t.groups[mgid]
	var q []waiting
	var held func()
	if old != nil {
		q, old.queue = old.queue, nil
		if nonMember {
			held, old.leave = old.leave, nil
		}
		t.remove(old)
	}
	g := t.newGroup(mgid)
	g.queue, g.held, g.nonMember, g.sends = q, held, nonMember, nonMember && sends
	if old != nil {
		g.used.Store(old.used.Load())
	}
}

// Send transmits a packet to a group, joining it send-only if the host is no
// member. fallback says that the packet may go to the all-routers group when
// the group does not exist: its scope is more than link-local (RFC 4391
// section 10).
func (t *Table) Send(mgid rdma.GID, p tun.Packet, fallback bool) *Group {
	if !t.Up() {
		t.hooks.Drop(p)
		return nil
	}
	g := t.groups[mgid]
	if g == nil {
		t.hooks.Debugf("setting up send only multicast group for %s", mgid.Full())
		g = t.newGroup(mgid)
		g.sendOnly = true
		if t.gc == nil {
			t.gc = t.clock.AfterFunc(GCInterval, func() { t.hooks.Post(t.collect) })
		}
	}
	g.Touch(t.clock.Now())
	if to := g.Target.Load(); to != nil {
		t.hooks.Send(*to, p)
		return g
	}
	if g.state == Absent {
		if to := g.Fallback.Load(); to != nil && fallback {
			t.hooks.Send(*to, p)
		} else {
			t.hooks.Drop(p)
		}
		return g
	}
	if len(g.queue) >= MaxQueue {
		t.hooks.Drop(p)
		return g
	}
	g.queue = append(g.queue, waiting{p, fallback})
	if g.state == Idle {
		t.kick(0)
	}
	return g
}

// IsLinkLocal reports whether an IP group's scope is the link only; packets
// to it never leave by the all-routers group.
func IsLinkLocal(ip encap.IP) bool {
	d := ip.Dst
	if d.Is4() {
		b := d.As4()
		return b[0] == 224 && b[1] == 0 && b[2] == 0
	}
	b := d.As16()
	return b[1]&0xf <= 2
}
