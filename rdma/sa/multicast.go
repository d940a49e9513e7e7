package sa

import (
	"context"
	"slices"
	"sync"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// leaveRetries is how often a leave that failed is sent again (kernel
// core/multicast.c acquire_group).
const leaveRetries = 3

// portEvent is what an event of the port means to memberships.
type portEvent uint8

const (
	eventNone portEvent = iota
	// eventPKey: the P_Key table changed; memberships whose P_Key moved or
	// is gone are lost.
	eventPKey
	// eventReset: all memberships are lost.
	eventReset
)

// Multicast shares the multicast memberships of a port among its users, as the
// kernel does (core/multicast.c). The SA knows one membership per port and
// MGID: the first user of a join state makes it, later ones are answered
// locally, and it is left with the last user of that join state. One group has
// one request under way at a time.
//
// Port errors, a new LID, a new subnet manager and its wish that clients
// register again end all memberships: their users get ErrReset and join
// anew.
type Multicast struct {
	c *Client

	mu     sync.Mutex
	groups map[rdma.GID]*mcGroup // guarded by mu, as is all below
	// queue are callbacks to make, in order; calling says that a goroutine
	// makes them.
	queue   []func()
	calling bool
	closed  bool
}

// mcGroup is a group that the port is a member of, or has to do with
// otherwise. Multicast.mu guards it.
type mcGroup struct {
	mgid rdma.GID
	// rec is the record of the SA; its JoinState holds the states that the
	// SA knows the port in.
	rec mad.MCMemberRecord
	// pending are joins in order; the first may be at the SA.
	pending []*Membership
	active  []*Membership
	// users counts the active memberships by join state.
	users [4]int
	// busy says that a request is under way, asking which join made it.
	busy    bool
	asking  *Membership
	event   portEvent
	retries int
	// pkeyIndex is where the P_Key was in the port's table at the join, -1
	// unless it was there.
	pkeyIndex int
}

// Membership is a local user's part in a group.
type Membership struct {
	m    *Multicast
	g    *mcGroup // nil when it is over
	rec  mad.MCMemberRecord
	mask mad.ComponentMask
	fn   func(*mad.MCMemberRecord, error)
	// over is set when no callback may follow.
	over bool
}

func (m *Multicast) init(c *Client) {
	m.c = c
	m.groups = make(map[rdma.GID]*mcGroup)
}

// Join makes the port a member of a group. rec holds the components that mask
// selects, JoinState among them. fn is called with the record of the group
// when the port is a member, or with an error; after success it is called once
// more, with ErrReset, when the membership is lost. After an error the
// membership is over. fn is called on a goroutine of the client, in order with
// the other users' callbacks; it must not block and may join and leave.
func (m *Multicast) Join(rec mad.MCMemberRecord, mask mad.ComponentMask, fn func(*mad.MCMemberRecord, error)) *Membership {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &Membership{m: m, rec: rec, mask: mask, fn: fn}
	switch {
	case m.closed:
		m.callLocked(s, nil, wrap("join", rec.MGID, rdma.ErrClosed), true)
		return s
	case rec.JoinState == 0:
		m.callLocked(s, nil, wrap("join", rec.MGID, rdma.ErrInvalid), true)
		return s
	}
	g := m.groups[rec.MGID]
	if g == nil {
		g = &mcGroup{mgid: rec.MGID, retries: leaveRetries, pkeyIndex: -1}
		g.rec.MGID = rec.MGID
		m.groups[rec.MGID] = g
	}
	s.g = g
	g.pending = append(g.pending, s)
	m.stepLocked(g)
	return s
}

// JoinAndWait is Join for callers that wait. reset, which may be nil, is
// called when the membership is lost later.
func (m *Multicast) JoinAndWait(ctx context.Context, rec mad.MCMemberRecord, mask mad.ComponentMask, reset func(error)) (*mad.MCMemberRecord, *Membership, error) {
	type result struct {
		rec *mad.MCMemberRecord
		err error
	}
	ch := make(chan result, 1)
	first := true
	s := m.Join(rec, mask, func(r *mad.MCMemberRecord, err error) {
		if first {
			first = false
			ch <- result{r, err}
			return
		}
		if reset != nil {
			reset(err)
		}
	})
	select {
	case r := <-ch:
		if r.err != nil {
			return nil, nil, r.err
		}
		return r.rec, s, nil
	case <-ctx.Done():
		s.Leave()
		return nil, nil, wrap("join", rec.MGID, ctx.Err())
	}
}

// Leave ends a membership, or a join that is under way; the callback is not
// called any more once it has returned, unless it is being called already. The
// SA is told when no other user needs the join state.
func (s *Membership) Leave() {
	m := s.m
	m.mu.Lock()
	defer m.mu.Unlock()
	s.over = true
	g := s.g
	if g == nil {
		return
	}
	s.g = nil
	if i := slices.Index(g.active, s); i >= 0 {
		g.active = slices.Delete(g.active, i, i+1)
		g.count(s.rec.JoinState, -1)
	} else if i := slices.Index(g.pending, s); i >= 0 {
		g.pending = slices.Delete(g.pending, i, i+1)
	}
	m.stepLocked(g)
}

// Lookup returns the record of a group that the port is a member of, whoever
// joined it (kernel ib_sa_get_mcmember_rec).
func (m *Multicast) Lookup(mgid rdma.GID) (*mad.MCMemberRecord, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.groups[mgid]
	if g == nil || g.rec.JoinState == 0 {
		return nil, false
	}
	rec := g.rec
	return &rec, true
}

// event notes an event of the port for all groups.
func (m *Multicast) event(e portEvent) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, g := range m.groups {
		g.event = max(g.event, e)
		m.stepLocked(g)
	}
}

func (m *Multicast) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
}

// callLocked queues a callback; last says that it is the final one.
func (m *Multicast) callLocked(s *Membership, rec *mad.MCMemberRecord, err error, last bool) {
	m.queue = append(m.queue, func() {
		m.mu.Lock()
		over := s.over
		s.over = s.over || last
		m.mu.Unlock()
		if !over {
			s.fn(rec, err)
		}
	})
	if !m.calling {
		m.calling = true
		go m.call()
	}
}

// call makes the queued callbacks.
func (m *Multicast) call() {
	m.mu.Lock()
	for len(m.queue) > 0 {
		fn := m.queue[0]
		m.queue = m.queue[1:]
		m.mu.Unlock()
		fn()
		m.mu.Lock()
	}
	m.queue, m.calling = nil, false
	m.mu.Unlock()
}
