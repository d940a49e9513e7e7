package mcast

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"syscall"
	"time"

	"ipoib/datapath/encap"
	"ipoib/datapath/path"
	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// kick runs the join task after d, or earlier if it is due earlier.
func (t *Table) kick(d time.Duration) {
	if !t.running {
		return
	}
	at := t.clock.Now().Add(d)
	if t.task != nil {
		if !t.taskAt.After(at) {
			return
		}
		t.task.Stop()
	}
	t.taskAt = at
	if d == 0 {
		t.task = nil
		t.run()
		return
	}
	t.task = t.clock.AfterFunc(d, func() { t.hooks.Post(t.run) })
}

// run starts the joins that are due (kernel ipoib_mcast_join_task).
func (t *Table) run() {
	if t.task != nil {
		t.task.Stop()
		t.task = nil
	}
	if !t.running || !t.hooks.Ready() {
		return
	}
	if t.broadcast == nil {
		t.broadcast = t.newGroup(t.link)
	}
	if !t.Up() {
		t.try(t.broadcast)
		return
	}
	pending := false
	for _, g := range t.sorted() {
		if g != t.broadcast {
			t.try(g)
		}
		pending = pending || g.state == Waiting
	}
	if !pending {
		t.hooks.Debugf("successfully started all multicast joins")
	}
}

// try joins a group, or plans the attempt for when its back-off is over.
func (t *Table) try(g *Group) {
	switch g.state {
	case Joining, Joined, Absent:
		return
	case Idle:
		if g.sendOnly && len(g.queue) == 0 {
			return // sleeps until a packet comes
		}
	case Waiting:
		if d := g.retry.Sub(t.clock.Now()); d > 0 {
			t.kick(d)
			return
		}
	}
	rec, mask := t.request(g)
	g.state = Joining
	t.hooks.Debugf("joining MGID %s", g.MGID.Full())
	g.leave = t.hooks.Join(g, rec, mask)
}

// request returns the join request of a group: what all of its link share is
// copied from the broadcast group.
func (t *Table) request(g *Group) (mad.MCMemberRecord, mad.ComponentMask) {
	rec := mad.MCMemberRecord{MGID: g.MGID, PortGID: t.port, PKey: t.pkey, JoinState: mad.JoinFullMember}
	mask := mad.MCRJoin
	if g != t.broadcast {
		create := true
		switch {
		case g.sendOnly:
			rec.JoinState, create = t.hooks.SendOnlyState()
		case g.nonMember:
			rec.JoinState, create = mad.JoinNonMember, false
			if g.sends {
				rec.JoinState, create = t.hooks.SendOnlyState()
				rec.JoinState |= mad.JoinNonMember
			}
		}
		if create {
			b := &t.broadcast.Record
			rec.QKey = b.QKey
			rec.MTUSelector, rec.MTU = mad.SelectExactly, b.MTU
			rec.TClass = b.TClass
			rec.RateSelector, rec.Rate = mad.SelectExactly, b.Rate
			rec.SL, rec.FlowLabel, rec.HopLimit = b.SL, b.FlowLabel, b.HopLimit
			mask = mad.MCRJoinCreate
		}
	}
	g.join = rec.JoinState
	return rec, mask
}

// Joined takes the result of a join. Of a group that is joined already it
// tells that an event at the port ended the membership; what that undoes is
// up to the flush that the event causes.
func (t *Table) Joined(g *Group, rec mad.MCMemberRecord, err error) {
	if g.dead.Load() || g.state != Joining && (g.state != Joined || err == nil) {
		return
	}
	kind := ""
	if g.sendOnly {
		kind = "sendonly "
	}
	t.hooks.Debugf("%sjoin completion for %s (status %d)", kind, g.MGID.Full(), status(err))
	if g.state == Joined {
		g.leave, g.held = nil, nil
		return
	}
	if err == nil {
		err = t.joined(g, rec)
	}
	if err == nil {
		return
	}
	t.end(g)
	t.failed(g, err)
}

// joined makes a joined group usable.
func (t *Table) joined(g *Group, rec mad.MCMemberRecord) error {
	g.Record = rec
	if g == t.broadcast {
		if err := t.hooks.BroadcastJoined(rec); err != nil {
			return err
		}
	}
	if !g.sendOnly && !g.attached {
		if err := t.hooks.Attach(g); err != nil {
			t.hooks.Warnf("couldn't attach QP to multicast group %s", g.MGID.Full())
			return err
		}
		g.attached = true
	}
	ah, err := t.hooks.MakeAH(g)
	if err != nil {
		return err
	}
	if g.ah != nil {
		_ = g.ah.Close()
	}
	g.ah, g.state = ah, Joined
	t.release(g)
	g.backoff, g.failures = time.Second, 0
	t.hooks.Debugf("MGID %s AV, LID 0x%04x, SL %d", g.MGID.Full(), uint16(rec.MLID), rec.SL)
	to := path.Target{AH: ah, QPN: rdma.QPNMulticast}
	q := g.queue
	g.queue = nil
	for _, w := range q {
		t.hooks.Send(to, w.p)
	}
	g.Target.Store(&to)
	if g == t.broadcast {
		t.hooks.CarrierOn()
		t.run()
	}
	t.routersChanged(g)
	return nil
}

// failed plans the next attempt, or gives up on a send-only group.
func (t *Table) failed(g *Group, err error) {
	t.logFailure(g, err)
	g.state = Idle
	if g.sendOnly {
		if _, create := t.hooks.SendOnlyState(); !create && status(err) == -int(syscall.EINVAL) {
			t.absent(g)
			return
		}
		if g.failures++; g.failures > 1 {
			// One retry; then it sleeps until another packet comes.
			g.failures, g.backoff = 0, time.Second
			t.dropQueue(g)
			return
		}
	}
	g.backoff = min(2*g.backoff, MaxBackoff)
	g.retry = t.clock.Now().Add(g.backoff)
	g.state = Waiting
	t.kick(g.backoff)
}

// logFailure logs as the driver does: warnings, but time-outs and busy SAs
// for debugging only, and not for ever.
func (t *Table) logFailure(g *Group, err error) {
	st := status(err)
	kind := ""
	if g.sendOnly {
		kind = "sendonly "
	}
	silent := g.sendOnly && st == -int(syscall.EINVAL)
	switch {
	case g.logged >= MaxLog:
	case silent, st == -int(syscall.ETIMEDOUT), st == -int(syscall.EAGAIN):
		t.hooks.Debugf("%smulticast join failed for %s, status %d", kind, g.MGID.Full(), st)
	default:
		t.hooks.Warnf("%smulticast join failed for %s, status %d", kind, g.MGID.Full(), st)
	}
	if !silent && g.logged < MaxLog {
		g.logged++
	}
}

// absent notes that a group does not exist: what may goes to the all-routers
// group, or to the broadcast group where there is none (RFC 4391 section 10).
func (t *Table) absent(g *Group) {
	g.state = Absent
	g.Fallback.Store(t.fallback(g.MGID))
	q := g.queue
	g.queue = nil
	for _, w := range q {
		if to := g.Fallback.Load(); to != nil && w.fallback {
			t.hooks.Send(*to, w.p)
		} else {
			t.hooks.Drop(w.p)
		}
	}
	t.clock.AfterFunc(AbsentTime, func() { t.hooks.Post(func() { t.reappear(g) }) })
}

// fallback returns the way to the all-routers group, joining it if need be,
// or to the broadcast group.
func (t *Table) fallback(mgid rdma.GID) *path.Target {
	routers, ok := encap.AllRoutersMGID(mgid)
	if !ok || t.broadcast == nil {
		return nil
	}
	if g := t.groups[routers]; g != nil && g.state == Joined {
		return g.Target.Load()
	} else if g == nil && routers != mgid {
		g = t.newGroup(routers)
		g.sendOnly = true
		rec, mask := t.request(g)
		g.state = Joining
		g.leave = t.hooks.Join(g, rec, mask)
	}
	return t.broadcast.Target.Load()
}

// routersChanged points absent groups to the all-routers group once it is
// there.
func (t *Table) routersChanged(g *Group) {
	if routers, ok := encap.AllRoutersMGID(g.MGID); !ok || routers != g.MGID {
		return
	}
	for _, o := range t.groups {
		if r, _ := encap.AllRoutersMGID(o.MGID); o.state == Absent && r == g.MGID {
			o.Fallback.Store(g.Target.Load())
		}
	}
}

// reappear lets the next packet to an absent group try to join it.
func (t *Table) reappear(g *Group) {
	if g.state == Absent && !g.dead.Load() {
		g.state = Idle
		g.Fallback.Store(nil)
	}
}

// Created is told when the SA reports a new group (trap 66): the next packet
// joins it.
func (t *Table) Created(mgid rdma.GID) {
	if g := t.groups[mgid]; g != nil {
		t.reappear(g)
	}
}

// Deleted is told when the SA reports that a group is gone (trap 67): its
// MLID may be given to another, so a send-only membership ends at once
// (RFC 4392 section 4.2.5). Of a group that the host listens to the report is
// older than our own membership, unless the SA lost it; then it reregisters.
func (t *Table) Deleted(mgid rdma.GID) {
	if g := t.groups[mgid]; g != nil && g.sendOnly && g.state == Joined {
		t.remove(g)
	}
}

// remove leaves a group and takes it out of the table.
func (t *Table) remove(g *Group) {
	if g.dead.Swap(true) {
		return
	}
	delete(t.groups, g.MGID)
	held := g.state == Joined
	t.stopJoin(g)
	g.Target.Store(nil)
	g.Fallback.Store(nil)
	if g.attached {
		t.hooks.Detach(g)
		g.attached = false
	}
	switch {
	case g.sendOnly:
	case held:
		t.hooks.Debugf("leaving MGID %s", g.MGID.Full())
	default:
		t.hooks.Debugf("leaving with no mcmember but not a SENDONLY join")
	}
	t.end(g)
	t.hooks.Debugf("deleting multicast group %s", g.MGID.Full())
	if g.ah != nil {
		_ = g.ah.Close()
		g.ah = nil
	}
	g.state = Idle
	t.dropQueue(g)
}

func (t *Table) dropQueue(g *Group) {
	q := g.queue
	g.queue = nil
	for _, w := range q {
		t.hooks.Drop(w.p)
	}
}

// collect ends the memberships of a sender in groups that nobody sends to any
// more.
func (t *Table) collect() {
	t.gc = nil
	now := t.clock.Now()
	left := false
	for _, g := range t.sorted() {
		switch {
		case !g.sendOnly && !g.sends:
		case now.Sub(time.Unix(0, g.used.Load())) < IdleTime || len(g.queue) > 0:
			left = true
		case g.sendOnly:
			t.remove(g)
		default:
			t.replace(g.MGID, true, false)
			t.kick(0)
		}
	}
	if left {
		t.gc = t.clock.AfterFunc(GCInterval, func() { t.hooks.Post(t.collect) })
	}
}

func (t *Table) sorted() []*Group {
	return slices.SortedFunc(maps.Values(t.groups), func(a, b *Group) int { return bytes.Compare(a.MGID[:], b.MGID[:]) })
}

// sortedGIDs returns the union of both sets in order.
func sortedGIDs(a, b map[rdma.GID]bool) []rdma.GID {
	all := maps.Clone(a)
	if all == nil {
		all = make(map[rdma.GID]bool)
	}
	maps.Copy(all, b)
	return slices.SortedFunc(maps.Keys(all), func(a, b rdma.GID) int { return bytes.Compare(a[:], b[:]) })
}

// status returns the negative errno that the driver logs.
func status(err error) int {
	if err == nil {
		return 0
	}
	var e interface{ Errno() syscall.Errno }
	if errors.As(err, &e) {
		return -int(e.Errno())
	}
	return -int(syscall.EINVAL)
}
