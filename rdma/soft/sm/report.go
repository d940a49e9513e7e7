package sm

import (
	"context"
	"errors"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// How a report is repeated until its ReportResp comes (IBA 13.4.9). A
// subscriber that does not answer at all loses its subscription.
const (
	reportTimeout = time.Second
	reportRetries = 4
)

// reportGroupLocked tells that a multicast group was created or deleted. The
// notice is as OpenSM makes it: of type 3, issued by the manager. The members
// of the group's partition get it (o13-17.1.1).
func (s *SM) reportGroupLocked(trap mad.TrapNumber, g *group) {
	pkey := g.rec.PKey
	s.reportOwnLocked(trap, g.rec.MGID, func(to *port) bool { return to.hasPKey(pkey) })
}

// reportPortLocked tells that a port came or went (traps 64 and 65).
func (s *SM) reportPortLocked(trap mad.TrapNumber, p *port) {
	s.reportOwnLocked(trap, p.gid(s.cfg.SubnetPrefix), func(to *port) bool { return sharePKey(p, to) })
}

func (s *SM) reportOwnLocked(trap mad.TrapNumber, gid rdma.GID, permitted func(*port) bool) {
	self := s.topo.self
	if self == nil {
		return
	}
	n := mad.NewTrap(trap, mad.ProducerClassManager, self.lid, &mad.DetailsGID{GID: gid})
	n.IssuerGID = self.gid(s.cfg.SubnetPrefix)
	s.reportLocked(n, gid, permitted)
}

// reportLocked sends a notice to the subscribers that want it and may have it.
func (s *SM) reportLocked(n *mad.Notice, source rdma.GID, permitted func(*port) bool) {
	for _, sub := range s.subs {
		p := s.topo.byPort[sub.gid.GUID()]
		if p == nil || !sub.wants(n, source) || !permitted(p) || len(sub.queue) >= maxReports {
			continue
		}
		m := mad.New(mad.ClassSA, mad.MethodReport, mad.AttrNotice)
		m.SetNotice(n)
		s.stats.Reports++
		sub.queue = append(sub.queue, m)
		if !sub.busy {
			sub.busy = true
			s.nextReportLocked(sub)
		}
	}
}

// nextReportLocked sends the next report to a subscriber. One at a time keeps
// their order.
func (s *SM) nextReportLocked(sub *subscription) {
	if sub.gone || len(sub.queue) == 0 {
		sub.busy = false
		return
	}
	m := sub.queue[0]
	sub.queue = sub.queue[1:]
	s.gsi.Start(sub.to, m.Bytes(), mad.Options{Timeout: reportTimeout, Retries: reportRetries},
		func(_ *mad.Response, err error) { s.reported(sub, err) })
}

// reported takes the outcome of a report. An answer with a status other than 0
// is an answer.
func (s *SM) reported(sub *subscription, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(err, mad.ErrTimeout) && !sub.gone {
		s.log.Info("subscriber does not answer, subscription dropped", "lid", sub.to.LID, "gid", sub.gid)
		s.stats.SubscribersDropped++
		s.dropSubscriptionLocked(sub)
	}
	if errors.Is(err, rdma.ErrClosed) || errors.Is(err, context.Canceled) {
		sub.queue = nil
	}
	s.nextReportLocked(sub)
}
