package sa

import (
	"math/bits"
	"slices"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// stepLocked does what a group needs next, until a request is under way or
// nothing is left to do.
func (m *Multicast) stepLocked(g *mcGroup) {
	for !g.busy {
		switch {
		case g.event != eventNone:
			m.resetLocked(g)
		case len(g.pending) > 0:
			m.admitLocked(g, g.pending[0])
		default:
			unused := g.unused()
			if unused == 0 || m.closed {
				if len(g.active) == 0 && m.groups[g.mgid] == g {
					delete(m.groups, g.mgid)
				}
				return
			}
			g.rec.JoinState &^= unused
			m.leaveLocked(g, unused)
		}
	}
}

// admitLocked answers a join that is covered by what the port has, or asks the
// SA.
func (m *Multicast) admitLocked(g *mcGroup, s *Membership) {
	if states := s.rec.JoinState; g.rec.JoinState&states == states {
		g.pending = slices.Delete(g.pending, 0, 1)
		if !compatible(&g.rec, &s.rec, s.mask) {
			s.g = nil
			m.callLocked(s, nil, wrap("join", g.mgid, ErrMismatch), true)
			return
		}
		g.active = append(g.active, s)
		g.count(states, 1)
		rec := g.rec
		rec.JoinState = states
		m.callLocked(s, &rec, nil, false)
		return
	}
	g.busy, g.asking = true, s
	m.c.startJoin(s.rec, s.mask, func(rec *mad.MCMemberRecord, err error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.joinedLocked(g, rec, err)
	})
}

// joinedLocked takes the SA's answer to a join.
func (m *Multicast) joinedLocked(g *mcGroup, rec *mad.MCMemberRecord, err error) {
	asking := g.asking
	g.busy, g.asking = false, nil
	if err == nil && (rec.JoinState&asking.rec.JoinState != asking.rec.JoinState ||
		rec.MGID != g.mgid && !g.mgid.IsZero() || !rec.MGID.IsMulticast()) {
		err = wrap("join", g.mgid, ErrMismatch) // not an answer to this question
	}
	if err != nil {
		// The user may have left in the meantime.
		if len(g.pending) > 0 && g.pending[0] == asking {
			g.pending = slices.Delete(g.pending, 0, 1)
			asking.g = nil
			m.callLocked(asking, nil, err, true)
		}
		m.stepLocked(g)
		return
	}
	if index, err := m.c.port.FindPKey(rec.PKey); err != nil {
		g.pkeyIndex = -1
	} else if g.event == eventNone {
		g.pkeyIndex = index
	}
	g.rec = *rec
	if rec.MGID != g.mgid {
		m.rekeyLocked(g, rec.MGID)
	}
	m.stepLocked(g)
}

// rekeyLocked files a group under the MGID that the SA chose for it.
func (m *Multicast) rekeyLocked(g *mcGroup, mgid rdma.GID) {
	if m.groups[g.mgid] == g {
		delete(m.groups, g.mgid)
	}
	g.mgid = mgid
	for _, s := range g.pending {
		// Of the further joins that left the MGID open each gets a group of
		// its own.
		if s != g.pending[0] && s.rec.MGID != mgid {
			s.g = nil
			defer func() { m.requeueLocked(s) }()
		}
	}
	if len(g.pending) > 0 {
		g.pending = g.pending[:1]
		g.pending[0].rec.MGID = mgid
	}
	m.groups[mgid] = g
}

func (m *Multicast) requeueLocked(s *Membership) {
	g := m.groups[s.rec.MGID]
	if g == nil {
		g = &mcGroup{mgid: s.rec.MGID, retries: leaveRetries, pkeyIndex: -1}
		g.rec.MGID = s.rec.MGID
		m.groups[s.rec.MGID] = g
	}
	s.g = g
	g.pending = append(g.pending, s)
	m.stepLocked(g)
}

// leaveLocked tells the SA that join states are not needed any more. Failures
// are retried a few times and then forgotten, as in the kernel.
func (m *Multicast) leaveLocked(g *mcGroup, states mad.JoinState) {
	g.busy = true
	m.c.startLeave(g.rec, states, func(_ *mad.MCMemberRecord, err error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if err != nil && g.retries > 0 && !m.closed && g.event == eventNone {
			g.retries--
			m.leaveLocked(g, states)
			return
		}
		if err != nil {
			m.c.log.Debug("leave failed", "mgid", g.mgid, "err", err)
		}
		g.busy = false
		m.stepLocked(g)
	})
}

// resetLocked ends the active memberships of a group after an event, unless it
// was a change of the P_Key table that left the group's P_Key where it is.
func (m *Multicast) resetLocked(g *mcGroup) {
	e := g.event
	g.event = eventNone
	if e == eventPKey {
		index, err := m.c.port.FindPKey(g.rec.PKey)
		if err == nil && index == g.pkeyIndex {
			return
		}
	}
	for _, s := range g.active {
		s.g = nil
		m.callLocked(s, nil, wrap("membership", g.mgid, ErrReset), true)
	}
	g.active, g.users = nil, [4]int{}
	g.rec.JoinState = 0
	g.pkeyIndex = -1
	g.retries = leaveRetries
}

// count adds to the users of join states.
func (g *mcGroup) count(states mad.JoinState, n int) {
	for s := uint8(states); s != 0; s &= s - 1 {
		if i := bits.TrailingZeros8(s); i < len(g.users) {
			g.users[i] += n
		}
	}
}

// unused returns the join states that the SA has and nobody uses.
func (g *mcGroup) unused() mad.JoinState {
	var out mad.JoinState
	for i, n := range g.users {
		if n == 0 {
			out |= 1 << i
		}
	}
	return out & g.rec.JoinState
}

// compatible tells whether a join fits the membership that the port has
// (kernel cmp_rec). Join states are compared apart.
func compatible(have, want *mad.MCMemberRecord, mask mad.ComponentMask) bool {
	return (!mask.Has(mad.MCRPortGID) || want.PortGID == have.PortGID) && (!mask.Has(mad.MCRQKey) || want.QKey == have.QKey) && (!mask.Has(mad.MCRMLID) || want.MLID == have.MLID) && (!mask.Has(mad.MCRTClass) || want.TClass == have.TClass) && (!mask.Has(mad.MCRPKey) || want.PKey == have.PKey) && (!mask.Has(mad.MCRSL) || want.SL == have.SL) && (!mask.Has(mad.MCRFlowLabel) || want.FlowLabel == have.FlowLabel) && (!mask.Has(mad.MCRHopLimit) || want.HopLimit == have.HopLimit) && (!mask.Has(mad.MCRScope) || want.Scope == have.Scope) && (!mask.Has(mad.MCRMTUSelector|mad.MCRMTU) || selects(want.MTUSelector, int(have.MTU), int(want.MTU))) && (!mask.Has(mad.MCRRateSelector|mad.MCRRate) || selects(want.RateSelector, have.Rate.Mbps(), want.Rate.Mbps())) && (!mask.Has(mad.MCRPacketLifeTimeSelector|mad.MCRPacketLifeTime) ||
		selects(want.PacketLifeTimeSelector, int(have.PacketLifeTime), int(want.PacketLifeTime)))
}

// selects applies a selector of a request to a value that there is.
func selects(s mad.Selector, have, want int) bool {
	switch s {
	case mad.SelectGreater:
		return have > want
	case mad.SelectLess:
		return have < want
	case mad.SelectExactly:
		return have == want
	}
	return true
}
