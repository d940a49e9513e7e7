package soft

import (
	"ipoib/rdma"
	"ipoib/rdma/header"
)

// rcTransition is what a change of state of an RC pair needs and allows
// besides (IBA table 91, kernel qp_state_table).
type rcTransition struct{ need, allow rdma.QPAttrMask }

const (
	rcPathAttrs  = rdma.QPAttrAV | rdma.QPAttrPathMTU | rdma.QPAttrDestQPN | rdma.QPAttrRQPSN | rdma.QPAttrMinRNRTimer
	rcRetryAttrs = rdma.QPAttrTimeout | rdma.QPAttrRetryCount | rdma.QPAttrRNRRetry
)

var rcTransitions = map[[2]rdma.QPState]rcTransition{
	{rdma.QPSReset, rdma.QPSInit}: {need: rdma.QPAttrPKeyIndex},
	{rdma.QPSInit, rdma.QPSInit}:  {allow: rdma.QPAttrPKeyIndex},
	{rdma.QPSInit, rdma.QPSRTR}:   {need: rcPathAttrs, allow: rdma.QPAttrPKeyIndex},
	{rdma.QPSRTR, rdma.QPSRTS}:    {need: rcRetryAttrs | rdma.QPAttrSQPSN, allow: rdma.QPAttrMinRNRTimer},
	{rdma.QPSRTS, rdma.QPSRTS}:    {allow: rdma.QPAttrMinRNRTimer},
	{rdma.QPSRTS, rdma.QPSSQD}:    {},
	{rdma.QPSSQD, rdma.QPSSQD}: {allow: rdma.QPAttrPKeyIndex | rdma.QPAttrAV | rdma.QPAttrMinRNRTimer |
		rcRetryAttrs},
	{rdma.QPSSQD, rdma.QPSRTS}: {allow: rdma.QPAttrMinRNRTimer},
}

// modifyRC is Modify of an RC pair, with mu held. Nothing is changed before
// all is checked.
func (q *qp) modifyRC(attr rdma.QPAttr, mask rdma.QPAttrMask) error {
	from, to := q.qpState(), q.qpState()
	if mask&rdma.QPAttrState != 0 {
		to = attr.State
	}
	if err := q.checkRC(attr, mask, from, to); err != nil {
		return err
	}
	q.assignRC(attr, mask)
	q.state.Store(uint32(to))
	switch {
	case to == rdma.QPSReset:
		q.clearRC()
		q.sendCQ.drop(q)
		q.recvCQ.drop(q)
	case to == from:
	case to == rdma.QPSErr:
		q.flushRC(nil)
	case to == rdma.QPSSQD:
		q.rc.drained = false
		q.drainedRC()
	case from == rdma.QPSSQD:
		q.sendRC(nil)
	}
	return nil
}

// checkRC validates a change of attributes and state.
func (q *qp) checkRC(attr rdma.QPAttr, mask rdma.QPAttrMask, from, to rdma.QPState) error {
	const always = rdma.QPAttrState | rdma.QPAttrReceiveAggregate
	if to != rdma.QPSReset && to != rdma.QPSErr {
		t, ok := rcTransitions[[2]rdma.QPState{from, to}]
		if !ok && (from != to || mask&rdma.QPAttrState != 0) {
			return rdma.ErrState
		}
		if t.need&^mask != 0 || mask&^(t.need|t.allow|always) != 0 {
			return rdma.ErrInvalid
		}
	} else if mask&^always != 0 {
		return rdma.ErrInvalid
	}
	has := func(m rdma.QPAttrMask) bool { return mask&m != 0 }
	switch {
	case has(rdma.QPAttrPKeyIndex) && int(attr.PKeyIndex) >= pkeyTableLen,
		has(rdma.QPAttrDestQPN) && (attr.DestQPN <= rdma.QPNGSI || attr.DestQPN >= rdma.QPNMulticast),
		has(rdma.QPAttrPathMTU) && (!attr.PathMTU.IsValid() || attr.PathMTU > q.port.attr().MaxMTU),
		has(rdma.QPAttrTimeout) && attr.Timeout > 31,
		has(rdma.QPAttrRetryCount) && attr.RetryCount > 7,
		has(rdma.QPAttrRNRRetry) && attr.RNRRetry > 7,
		has(rdma.QPAttrMinRNRTimer) && attr.MinRNRTimer > 31,
		has(rdma.QPAttrAV) && !q.validAV(attr.AV):
		return rdma.ErrInvalid
	}
	return nil
}

func (q *qp) validAV(av rdma.AHAttr) bool {
	if av.Port != 0 && av.Port != q.port.num || !av.DLID.IsUnicast() || av.SL > 15 ||
		av.StaticRate != rdma.RateCurrent && !av.StaticRate.IsValid() {
		return false
	}
	g := av.GRH
	return g == nil || g.SGIDIndex >= 0 && g.SGIDIndex < gidTableLen && g.FlowLabel <= 0xfffff && !g.DGID.IsMulticast()
}

// assignRC takes over the attributes named by mask.
func (q *qp) assignRC(attr rdma.QPAttr, mask rdma.QPAttrMask) {
	rc, a := q.rc, &q.attr
	has := func(m rdma.QPAttrMask) bool { return mask&m != 0 }
	if has(rdma.QPAttrPKeyIndex) {
		a.PKeyIndex = attr.PKeyIndex
		q.pkeyIndex.Store(uint32(attr.PKeyIndex))
	}
	if has(rdma.QPAttrReceiveAggregate) {
		a.ReceiveAggregate = attr.ReceiveAggregate
		q.aggregate.Store(attr.ReceiveAggregate)
	}
	if has(rdma.QPAttrAV) {
		a.AV = attr.AV
		a.AV.Port = q.port.num
		if g := attr.AV.GRH; g != nil {
			own := *g
			a.AV.GRH = &own
		}
	}
	if has(rdma.QPAttrDestQPN) {
		a.DestQPN = attr.DestQPN
	}
	if has(rdma.QPAttrPathMTU) {
		a.PathMTU = attr.PathMTU
		rc.mtu = attr.PathMTU.Bytes()
	}
	if has(rdma.QPAttrAV | rdma.QPAttrDestQPN) {
		rc.head = header.Fields{
			SL: a.AV.SL, DLID: a.AV.DLID, DestQP: a.DestQPN,
			// A connection without path migration is in state Migrated
			// (IBA 17.2.8).
			MigReq: true,
		}
		if g := a.AV.GRH; g != nil {
			rc.sgid = g.SGIDIndex
			rc.head.HasGRH = true
			rc.head.GRH = rdma.GRHInfo{
				DGID: g.DGID, FlowLabel: g.FlowLabel, TrafficClass: g.TrafficClass, HopLimit: g.HopLimit,
			}
		}
	}
	if has(rdma.QPAttrRQPSN) {
		rc.epsn = attr.RQPSN & rdma.PSNMask
	}
	if has(rdma.QPAttrSQPSN) {
		q.psn = attr.SQPSN & rdma.PSNMask
		rc.una, rc.end = q.psn, q.psn
	}
	if has(rdma.QPAttrTimeout) {
		a.Timeout = attr.Timeout
		rc.timeout = 0
		if attr.Timeout > 0 {
			rc.timeout = ackTimeoutUnit << attr.Timeout
		}
	}
	if has(rdma.QPAttrRetryCount) {
		a.RetryCount, rc.retries = attr.RetryCount, attr.RetryCount
	}
	if has(rdma.QPAttrRNRRetry) {
		a.RNRRetry, rc.rnrRetries = attr.RNRRetry, attr.RNRRetry
	}
	if has(rdma.QPAttrMinRNRTimer) {
		a.MinRNRTimer = attr.MinRNRTimer
	}
}
