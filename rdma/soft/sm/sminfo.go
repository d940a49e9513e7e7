package sm

import (
	"cmp"
	"context"
	"errors"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// standbyPolls is how often a master may fail to answer before a standby
// takes over (OpenSM polling_retry_number).
const standbyPolls = 4

// masterInfo is the manager that a standby watches.
type masterInfo struct {
	guid  rdma.GUID
	route []uint8
	fails int
	// lower is set when the master has the lower rank and should hand over.
	lower bool
}

// smInfoLocked describes this manager.
func (s *SM) smInfoLocked() mad.SMInfo {
	return mad.SMInfo{GUID: s.port.GUID(), ActCount: s.actCount, Priority: s.cfg.Priority, State: s.state}
}

func (s *SM) answerSMInfo(from rdma.MADAddr, m *mad.MAD) {
	s.mu.Lock()
	s.actCount++
	info := s.smInfoLocked()
	s.mu.Unlock()
	m.SetAttr(&info)
	m.SetSMPStatus(mad.StatusOK)
	s.reply(from, m)
}

// controlSM takes the control packets between managers (IBA 14.4.1).
func (s *SM) controlSM(from rdma.MADAddr, m *mad.MAD) {
	var sender mad.SMInfo
	if m.Attr(&sender) != nil {
		return
	}
	status := mad.StatusOK
	s.mu.Lock()
	switch m.AttrMod() {
	case mad.SMInfoHandover:
		if s.state == mad.SMStandby || s.state == mad.SMDiscovering {
			s.log.Info("mastership handed over to this manager", "guid", sender.GUID)
			s.state, s.master = mad.SMDiscovering, nil
			s.takeOver = true
			s.requestLocked(todo{heavy: true})
		} else {
			status = mad.StatusInvalidField
		}
	case mad.SMInfoStandby:
		if s.state == mad.SMDiscovering || s.state == mad.SMNotActive {
			s.state = mad.SMStandby
		}
	case mad.SMInfoDiscover:
		if s.state == mad.SMStandby || s.state == mad.SMMaster {
			s.requestLocked(todo{heavy: true})
		}
	case mad.SMInfoAcknowledge, mad.SMInfoDisable:
		// The acknowledgement of a handover changes nothing any more;
		// managers are disabled by who runs them.
	default:
		status = mad.StatusInvalidField
	}
	info := s.smInfoLocked()
	s.mu.Unlock()
	m.SetAttr(&info)
	m.SetSMPStatus(status)
	s.reply(from, m)
}

// outranks compares two managers: the higher priority wins, then the lower
// GUID (IBA 14.4.1).
func outranks(a, b *mad.SMInfo) bool {
	return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(b.GUID, a.GUID)) > 0
}

// otherManagers reads the SMInfo of the ports that have IsSM set.
func (s *SM) otherManagers(ctx context.Context, t *topology) []*port {
	var ports []*port
	var reqs []*smp
	for _, p := range t.ends {
		if p != t.self && p.info.CapMask.Has(mad.CapIsSM) {
			p.sm = new(mad.SMInfo)
			ports = append(ports, p)
			reqs = append(reqs, get(p.node, p.route, mad.AttrSMInfo, 0, p.sm))
		}
	}
	s.run(ctx, reqs)
	var out []*port
	for i, p := range ports {
		if reqs[i].err != nil {
			p.sm = nil
			continue
		}
		out = append(out, p)
	}
	return out
}

// elect decides who manages the subnet, when a sweep has found it. It reports
// false when it is another one: this manager is a standby then and watches
// the master.
func (s *SM) elect(ctx context.Context, t *topology) bool {
	others := s.otherManagers(ctx, t)
	s.mu.Lock()
	own := s.smInfoLocked()
	takeOver := s.takeOver
	s.takeOver = false
	s.mu.Unlock()
	var best, heir *port
	for _, p := range others {
		switch {
		case p.sm.State == mad.SMMaster && (best == nil || outranks(p.sm, best.sm)):
			best = p
		case p.sm.State == mad.SMDiscovering && outranks(p.sm, &own) && own.State != mad.SMMaster && best == nil:
			// It is about to become the master.
			best = p
		case p.sm.State == mad.SMStandby && outranks(p.sm, &own) && (heir == nil || outranks(p.sm, heir.sm)):
			heir = p
		}
	}
	switch {
	case takeOver:
		return true
	case best != nil && (own.State != mad.SMMaster || outranks(best.sm, &own)):
		// A master that is there is not pushed aside: it hands over when
		// it finds a better one.
		s.standBy(best)
		return false
	case best == nil && heir != nil && own.State == mad.SMMaster:
		if s.handOver(ctx, heir) {
			s.standBy(heir)
			return false
		}
	}
	return true
}

// standBy makes this manager watch another one.
func (s *SM) standBy(p *port) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != mad.SMStandby {
		s.log.Info("another subnet manager is master", "guid", p.guid, "priority", p.sm.Priority)
	}
	own := s.smInfoLocked()
	s.state = mad.SMStandby
	s.setReadyLocked(false)
	s.master = &masterInfo{guid: p.guid, route: p.route, lower: outranks(&own, p.sm)}
	if s.master.lower {
		s.announce()
	}
	s.groups = newGroupTable()
	s.subs, s.services = nil, nil
	s.mft = newMFTState()
	s.topo = newTopology()
	s.applyPartitionsLocked()
}

// announce tells a master of lower rank to look around: trap 144, priority
// changed (IBA 14.3.4). It is not repeated until the master has it, but with
// every question to the master.
func (s *SM) announce() {
	a := s.port.Attr()
	if !a.LID.IsUnicast() || !a.SMLID.IsUnicast() {
		return
	}
	m := mad.New(mad.ClassSM, mad.MethodTrap, mad.AttrNotice)
	m.SetNotice(mad.NewTrap(mad.TrapCapMaskChange, mad.ProducerCA, a.LID, &mad.DetailsLocalChange{
		LID: a.LID, OtherLocalChanges: true, CapMask: mad.CapMask(a.CapMask), Changes: mad.ChangeSMPriority,
	}))
	if err := s.smi.Agent().Send(rdma.MADAddr{LID: a.SMLID, QPN: rdma.QPNSMI}, m.Bytes()); err != nil {
		s.log.Debug("cannot announce the priority", "err", err)
	}
}

// handOver makes another manager the master.
func (s *SM) handOver(ctx context.Context, p *port) bool {
	s.mu.Lock()
	own := s.smInfoLocked()
	s.mu.Unlock()
	var answer mad.SMInfo
	q := set(p.node, p.route, mad.AttrSMInfo, mad.SMInfoHandover, &own, &answer)
	if s.run(ctx, []*smp{q}) != 0 {
		s.log.Warn("handover refused", "guid", p.guid, "err", q.err)
		return false
	}
	s.log.Info("mastership handed over", "guid", p.guid)
	return true
}

// watchMaster asks the master whether it is still there, and takes over when
// it is not.
func (s *SM) watchMaster(ctx context.Context) {
	s.mu.Lock()
	m := s.master
	s.mu.Unlock()
	if m == nil {
		s.Sweep()
		return
	}
	var info mad.SMInfo
	q := get(nil, m.route, mad.AttrSMInfo, 0, &info)
	s.run(ctx, []*smp{q})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.master != m {
		return
	}
	switch {
	case q.err == nil && info.GUID == m.guid && (info.State == mad.SMMaster || info.State == mad.SMDiscovering):
		m.fails = 0
		if m.lower && info.State == mad.SMMaster {
			s.announce()
		}
		return
	case q.err != nil && !errors.Is(q.err, context.Canceled):
		m.fails++
	default:
		m.fails = standbyPolls // it is no master any more
	}
	if m.fails >= standbyPolls {
		s.log.Info("the master subnet manager is gone", "guid", m.guid)
		s.state, s.master = mad.SMDiscovering, nil
		s.requestLocked(todo{heavy: true, due: s.clock.Now().Add(time.Millisecond)})
	}
}
