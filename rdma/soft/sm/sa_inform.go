package sm

import (
	"slices"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// subscription is an event subscription of a port (IBA 13.4.8.3).
type subscription struct {
	info mad.InformInfo
	gid  rdma.GID // of the subscriber
	// to is where reports go.
	to rdma.MADAddr
	// queue are the reports that wait for the one under way; busy says that
	// there is one.
	queue []*mad.MAD
	busy  bool
	// gone is set when the subscription ended.
	gone bool
}

const (
	// maxSubscriptions bounds the subscriptions of all ports, maxReports the
	// reports that wait for one subscriber: one that does not answer is
	// dropped long before.
	maxSubscriptions = 1 << 16
	maxReports       = 1 << 12
)

// same compares what makes two subscriptions one.
func (sub *subscription) same(o *subscription) bool {
	x, y := sub.info, o.info
	x.Subscribe, y.Subscribe = true, true
	if x.GID != (rdma.GID{}) && x.GID == y.GID {
		// With a GID the LID range does not count.
		x.LIDRangeBegin, x.LIDRangeEnd = y.LIDRangeBegin, y.LIDRangeEnd
	}
	return sub.gid == o.gid && sub.to.LID == o.to.LID && sub.to.QPN == o.to.QPN && x == y
}

// saInformSet subscribes or unsubscribes the requester.
func (s *SM) saInformSet(r *saRequest) ([]mad.Attribute, mad.Status) {
	var info mad.InformInfo
	if r.m.Attr(&info) != nil || r.m.SAData()[23] > 1 {
		return nil, mad.SAStatusReqInvalid
	}
	answer := []mad.Attribute{&info}
	sub := &subscription{info: info, gid: r.port.gid(s.cfg.SubnetPrefix), to: r.from}
	// Security traps are for who has the SM_Key (C15-0.2-1.16).
	if !r.trusted && info.IsGeneric && info.TrapNumber >= mad.TrapBadMKey && info.TrapNumber <= mad.TrapSwitchBadPKey {
		return s.refuseInform(r)
	}
	if info.Subscribe {
		// Reports go to where the request came from; only there.
		sub.info.QPN = r.from.QPN
	}
	i := slices.IndexFunc(s.subs, func(o *subscription) bool { return o.same(sub) })
	switch {
	case !info.Subscribe && i < 0:
		return s.refuseInform(r)
	case !info.Subscribe:
		s.dropSubscriptionLocked(s.subs[i])
	case !s.mayInformLocked(r, &info):
		return s.refuseInform(r)
	case i >= 0:
		s.subs[i].info = sub.info
	case len(s.subs) >= maxSubscriptions:
		r.m.SAData()[23] = 0
		return nil, mad.SAStatusNoResources
	default:
		s.subs = append(s.subs, sub)
	}
	return answer, mad.StatusOK
}

// refuseInform refuses with the Subscribe field cleared (o13-13.1.1).
func (s *SM) refuseInform(r *saRequest) ([]mad.Attribute, mad.Status) {
	r.m.SAData()[23] = 0
	return nil, mad.SAStatusReqInvalid
}

// mayInformLocked checks that a subscriber may talk to the sources that it
// names (o13-14.1.1). A multicast GID names groups, whose partition is
// checked with every report.
func (s *SM) mayInformLocked(r *saRequest, info *mad.InformInfo) bool {
	switch {
	case info.GID.IsMulticast():
		return true
	case info.GID != (rdma.GID{}):
		p := s.portByAliasLocked(info.GID.GUID())
		return p != nil && sharePKey(p, r.port)
	case info.LIDRangeBegin == rdma.LIDPermissive:
		return true
	}
	top := s.topo.topLID()
	if info.LIDRangeBegin > top {
		return false
	}
	for lid := info.LIDRangeBegin; lid <= min(max(info.LIDRangeEnd, info.LIDRangeBegin), top); lid++ {
		if p := s.topo.byLID[lid]; p != nil && !sharePKey(p, r.port) {
			return false
		}
	}
	return true
}

// saInformGet lists subscriptions; the QPN is for who has the SM_Key
// (C15-0.2-1.16).
func (s *SM) saInformGet(r *saRequest) ([]mad.Attribute, mad.Status) {
	c := &collector{r: r, layout: informInfoRecordLayout}
	for _, sub := range s.subs {
		p := s.topo.byPort[sub.gid.GUID()]
		if p == nil || !sharePKey(r.port, p) {
			continue
		}
		rec := &mad.InformInfoRecord{SubscriberGID: sub.gid, InformInfo: sub.info}
		if !r.trusted {
			rec.InformInfo.QPN = 0
		}
		c.add(rec)
	}
	return c.out, mad.StatusOK
}

// dropSubscriptionLocked ends a subscription.
func (s *SM) dropSubscriptionLocked(sub *subscription) {
	sub.gone = true
	sub.queue = nil
	s.subs = slices.DeleteFunc(s.subs, func(o *subscription) bool { return o == sub })
}

// dropSubscriberLocked ends all subscriptions of a port.
func (s *SM) dropSubscriberLocked(g rdma.GUID) {
	for _, sub := range slices.Clone(s.subs) {
		if sub.gid.GUID() == g {
			s.dropSubscriptionLocked(sub)
		}
	}
}

// wants tells whether a subscription is for a notice (IBA 13.4.8.3). source
// is what a GID in the subscription is compared with: the MGID or GID in the
// details of traps 64 to 67, which the manager issues itself, the issuer
// otherwise. The issuer fits, too: that is what OpenSM compares.
func (sub *subscription) wants(n *mad.Notice, source rdma.GID) bool {
	i := &sub.info
	switch {
	case i.GID != (rdma.GID{}):
		if i.GID != source && i.GID != n.IssuerGID {
			return false
		}
	case i.LIDRangeBegin != rdma.LIDPermissive:
		if n.IssuerLID < i.LIDRangeBegin || n.IssuerLID > max(i.LIDRangeEnd, i.LIDRangeBegin) {
			return false
		}
	}
	return i.IsGeneric == n.IsGeneric &&
		(i.Type == mad.InformTypeAll || i.Type == uint16(n.Type)) &&
		(i.TrapNumber == mad.TrapAll || i.TrapNumber == n.TrapNumber) &&
		(i.ProducerType == mad.ProducerAll || i.ProducerType == n.ProducerType)
}
