package sm

import (
	"context"
	"time"

	"ipoib/rdma/mad"
)

// resweepDelay is the time to the next try after a sweep in which something
// failed. It doubles up to SweepInterval.
const resweepDelay = 500 * time.Millisecond

// tablesPause is the time between two writes of the P_Key tables: each makes
// all interfaces of a port look at it, and a thousand P_Keys may come at once.
const tablesPause = 20 * time.Millisecond

// sweeper is the goroutine that manages the subnet.
func (s *SM) sweeper(ctx context.Context) {
	s.mu.Lock()
	s.requestLocked(todo{heavy: true})
	s.mu.Unlock()
	light := s.clock.NewTimer(s.cfg.SweepInterval)
	defer light.Stop()
	heavy := s.clock.NewTimer(0)
	defer heavy.Stop()
	backoff := resweepDelay
	for {
		wait, ok := s.work(ctx, &backoff)
		if ctx.Err() != nil {
			return
		}
		if ok {
			heavy.Reset(wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.kick:
		case <-heavy.Chan():
		case <-light.Chan():
			s.lightSweep(ctx)
			light.Reset(s.cfg.SweepInterval)
		}
	}
}

// work does what was asked for and is due. It returns how long to wait for the
// rest, if there is any.
func (s *SM) work(ctx context.Context, backoff *time.Duration) (time.Duration, bool) {
	for ctx.Err() == nil {
		s.mu.Lock()
		t := s.todo
		now := s.clock.Now()
		switch {
		case t.heavy && !t.due.After(now):
			s.todo = todo{}
			if t.restart {
				s.forgetLocked()
			}
		case t.tables && !s.nextTables.After(now):
			s.todo.tables = false
		default:
			s.mu.Unlock()
			return s.until(t, now)
		}
		s.mu.Unlock()
		failed := 0
		if t.heavy && !t.due.After(now) {
			failed = s.heavySweep(ctx)
		} else {
			failed = s.updateTables(ctx)
			s.nextTables = s.clock.Now().Add(tablesPause)
		}
		if failed == 0 {
			*backoff = resweepDelay
			continue
		}
		s.request(todo{heavy: true, due: s.clock.Now().Add(*backoff)})
		*backoff = min(2**backoff, max(s.cfg.SweepInterval, resweepDelay))
	}
	return 0, false
}

// until returns how long to wait for what is not due yet, if there is any.
func (s *SM) until(t todo, now time.Time) (time.Duration, bool) {
	switch {
	case t.heavy && t.tables:
		return min(t.due.Sub(now), s.nextTables.Sub(now)), true
	case t.heavy:
		return t.due.Sub(now), true
	case t.tables:
		return s.nextTables.Sub(now), true
	}
	return 0, false
}

// heavySweep discovers the fabric and brings it to the wanted state. It
// returns the number of requests that failed.
func (s *SM) heavySweep(ctx context.Context) int {
	begin := s.clock.Now()
	s.mu.Lock()
	prev, standby := s.topo, s.state == mad.SMStandby
	s.mu.Unlock()
	if standby {
		return 0 // the master sweeps
	}
	t, failed, err := s.discover(ctx, prev)
	if err != nil {
		if ctx.Err() == nil {
			s.log.Error("cannot sweep", "err", err)
		}
		return 1
	}
	if !s.elect(ctx, t) {
		return 0
	}
	t.inherit(prev)
	failed += s.readTables(ctx, t)
	first := s.publish(t)
	failed += s.program(ctx, t, first)
	if ctx.Err() != nil {
		return failed
	}
	s.mu.Lock()
	s.pruneMembersLocked()
	s.stats.HeavySweeps++
	s.stats.LastSweep = s.clock.Since(begin)
	s.stats.LastFailed = failed
	if failed == 0 || !first {
		s.becomeReadyLocked()
	}
	s.mu.Unlock()
	level := s.log.Debug
	if first {
		level = s.log.Info
		// A switch that does not know its manager yet sends no trap: what
		// changed since it was discovered shows in its change bit only, which
		// usually is set from before. The next sweep clears it.
		if s.lightProbe(ctx, t) {
			s.Sweep()
		}
	}
	level("subnet swept", "nodes", len(t.nodes), "ports", len(t.ends), "failed", failed, "took", s.clock.Since(begin))
	return failed
}

// becomeReadyLocked ends the first sweep: the SA answers from now on.
func (s *SM) becomeReadyLocked() { s.setReadyLocked(s.state == mad.SMMaster) }

// publish makes a topology the current one: LIDs are given out, routes
// computed, and subscribers told which ports came and went. It reports whether
// this is the first sweep as master.
func (s *SM) publish(t *topology) (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first = s.state != mad.SMMaster
	s.state = mad.SMMaster
	prev := s.topo
	s.assignLIDsLocked(t)
	t.routeUnicast()
	s.topo = t
	s.groups.capacity = maxMLIDs
	for _, n := range t.switches {
		s.groups.capacity = min(s.groups.capacity, int(n.sw.info.MulticastFDBCap))
	}
	s.applyGroupsLocked()
	s.mft.forgetSwitches(t)
	for _, g := range s.groups.byMLID {
		if g != nil {
			s.groups.dirty[g.rec.MLID] = true
		}
	}
	if first {
		return true
	}
	for _, p := range prev.ends {
		if t.byPort[p.guid] == nil {
			s.dropSubscriberLocked(p.guid)
			s.reportPortLocked(mad.TrapGIDOutOfService, p)
		}
	}
	for _, p := range t.ends {
		if prev.byPort[p.guid] == nil {
			s.reportPortLocked(mad.TrapGIDInService, p)
		}
	}
	return false
}

// lightSweep looks for changes without walking the fabric. A standby asks the
// master instead.
func (s *SM) lightSweep(ctx context.Context) {
	s.mu.Lock()
	t, state := s.topo, s.state
	s.mu.Unlock()
	switch {
	case state == mad.SMStandby:
		s.watchMaster(ctx)
		return
	case state != mad.SMMaster || t.self == nil:
		s.Sweep()
		return
	}
	changed := s.lightProbe(ctx, t)
	s.mu.Lock()
	s.stats.LightSweeps++
	s.mu.Unlock()
	if changed {
		s.Sweep()
	}
}

// lightEnds is how many end ports a light sweep looks at.
const lightEnds = 64

// lightProbe asks the switches for their change bit and the top of their
// tables, other managers for what they are, some of the end ports, in turn, for
// state and LIDs, which no switch tells of, and looks whether nodes that did not
// answer do so now. It reports whether a heavy sweep is needed.
func (s *SM) lightProbe(ctx context.Context, t *topology) bool {
	var reqs, hopes []*smp
	infos := make([]mad.SwitchInfo, len(t.switches))
	for i, n := range t.switches {
		reqs = append(reqs, get(nil, n.route, mad.AttrSwitchInfo, 0, &infos[i]))
		for _, p := range n.ports[1:] {
			if p.up() && !p.linked() {
				hopes = append(hopes, get(nil, extend(n.route, p.num), mad.AttrNodeInfo, 0, new(mad.NodeInfo)))
			}
		}
	}
	var managers []*mad.SMInfo
	for _, p := range t.ends {
		if p.sm != nil {
			managers = append(managers, new(mad.SMInfo))
			reqs = append(reqs, get(nil, p.route, mad.AttrSMInfo, 0, managers[len(managers)-1]))
		}
	}
	ends := []*port{t.self}
	for range min(lightEnds, len(t.ends)-1) {
		s.lightNext = s.lightNext%(len(t.ends)-1) + 1 // 0 is self
		ends = append(ends, t.ends[s.lightNext])
	}
	states := make([]mad.PortInfo, len(ends))
	for i, p := range ends {
		reqs = append(reqs, get(nil, s.portRoute(p), mad.AttrPortInfo, uint32(p.num), &states[i]))
	}
	if s.run(ctx, reqs) != 0 {
		return ctx.Err() == nil
	}
	s.mu.Lock()
	own := s.smInfoLocked()
	for _, m := range managers {
		// Two can become the master at once.
		if m.State == mad.SMMaster || m.State == mad.SMStandby && outranks(m, &own) {
			s.mu.Unlock()
			return true
		}
	}
	for i, n := range t.switches {
		// A manager of another kind that looked around may have written back
		// what it read before the top of the table was set.
		if infos[i].PortStateChange || infos[i].LinearFDBTop != n.sw.topDone {
			s.mu.Unlock()
			return true
		}
	}
	for i, p := range ends {
		if st := &states[i]; st.PortState != p.info.PortState || st.LID != p.info.LID || st.MasterSMLID != p.info.MasterSMLID {
			s.mu.Unlock()
			return true
		}
	}
	s.mu.Unlock()
	return len(hopes) > 0 && s.runOnce(ctx, hopes) < len(hopes)
}

// runOnce is run without repetitions.
func (s *SM) runOnce(ctx context.Context, reqs []*smp) int {
	for _, q := range reqs {
		q.once = true
	}
	return s.run(ctx, reqs)
}
