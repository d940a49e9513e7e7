package soft

import (
	"slices"
	"sync"
	"sync/atomic"

	"ipoib/rdma"
)

// qp implements rdma.QP. The packet path reads the atomics; mu guards
// modification and the send queue.
type qp struct {
	pd            *pd
	port          *port
	typ           rdma.QPType
	num           rdma.QPN
	sendCQ        *cq
	recvCQ        *cq
	maxSend       int
	maxRecv       int
	recvSize      int
	blockLoopback bool

	state     atomic.Uint32 // rdma.QPState
	pkeyIndex atomic.Uint32
	qkey      atomic.Uint32
	aggregate atomic.Bool
	verify    atomic.Bool
	credits   atomic.Int64 // receive buffers posted

	rc *rcState // of reliable connected pairs; guarded by mu

	mu     sync.Mutex
	attr   rdma.QPAttr // guarded by mu, as is all below
	psn    rdma.PSN
	groups []rdma.GID
	closed bool
	tx     packet // the packet being sent, so that none is allocated
}

var _ rdma.QP = (*qp)(nil)

// pd implements rdma.PD.
type pd struct{ dev *HCA }

func (d *pd) Device() rdma.Device       { return d.dev }
func (d *pd) Buffers() *rdma.BufferPool { return d.dev.fabric.buffers }
func (d *pd) Close() error              { return nil }

// CreateQP implements rdma.PD.
func (d *pd) CreateQP(cfg rdma.QPConfig) (rdma.QP, error) {
	fail := func(err error) (rdma.QP, error) { return nil, d.dev.opError("create_qp", cfg.Port, err) }
	if cfg.Port < 1 || cfg.Port >= len(d.dev.ports) {
		return fail(rdma.ErrNotFound)
	}
	sendCQ, ok1 := cfg.SendCQ.(*cq)
	recvCQ, ok2 := cfg.RecvCQ.(*cq)
	if !ok1 || !ok2 || sendCQ.dev != d.dev || recvCQ.dev != d.dev ||
		cfg.MaxSend < 1 || cfg.MaxSend > maxQPWR || cfg.MaxRecv < 0 || cfg.MaxRecv > maxQPWR ||
		cfg.RecvSize < 0 || cfg.RecvSize > rdma.MaxMessage {
		return fail(rdma.ErrInvalid)
	}
	rc := d.dev.attr.Caps&rdma.CapRC != 0
	if cfg.Type != rdma.QPTUD && (cfg.Type != rdma.QPTRC || !rc) {
		return fail(&rdma.NotSupportedError{What: cfg.Type.String() + " transport"})
	}
	if d.dev.isClosed() {
		return fail(rdma.ErrClosed)
	}
	q := &qp{
		pd: d, port: d.dev.ports[cfg.Port], typ: cfg.Type, sendCQ: sendCQ, recvCQ: recvCQ,
		maxSend: cfg.MaxSend, maxRecv: cfg.MaxRecv, recvSize: cfg.RecvSize,
		blockLoopback: cfg.BlockMulticastLoopback,
	}
	if cfg.Type == rdma.QPTRC {
		if err := q.initRC(cfg.SRQ); err != nil {
			return fail(err)
		}
	} else if cfg.SRQ != nil {
		return fail(rdma.ErrInvalid)
	}
	if err := d.dev.qps.add(q, cfg.Num); err != nil {
		q.leaveSRQ()
		return fail(err)
	}
	return q, nil
}

// CreateAH implements rdma.PD.
func (d *pd) CreateAH(attr rdma.AHAttr) (rdma.AH, error) {
	fail := func(err error) (rdma.AH, error) { return nil, d.dev.opError("create_ah", attr.Port, err) }
	if attr.Port < 1 || attr.Port >= len(d.dev.ports) {
		return fail(rdma.ErrNotFound)
	}
	if attr.DLID == 0 || attr.DLID == rdma.LIDPermissive || attr.SL > 15 ||
		attr.StaticRate != rdma.RateCurrent && !attr.StaticRate.IsValid() {
		return fail(rdma.ErrInvalid)
	}
	h := &ah{attr: attr, port: d.dev.ports[attr.Port]}
	if attr.GRH != nil {
		g := *attr.GRH
		if g.SGIDIndex < 0 || g.SGIDIndex >= gidTableLen || g.FlowLabel > 0xfffff {
			return fail(rdma.ErrInvalid)
		}
		h.attr.GRH = &g
	} else if attr.DLID.IsMulticast() {
		// Multicast packets always carry a GRH (IBA 9.4.2).
		return fail(rdma.ErrInvalid)
	}
	return h, nil
}

// ah implements rdma.AH.
type ah struct {
	attr rdma.AHAttr
	port *port
}

func (h *ah) Attr() rdma.AHAttr { return h.attr }
func (h *ah) Close() error      { return nil }

// Num implements rdma.QP.
func (q *qp) Num() rdma.QPN { return q.num }

// Type implements rdma.QP.
func (q *qp) Type() rdma.QPType { return q.typ }

func (q *qp) qpState() rdma.QPState { return rdma.QPState(q.state.Load()) }

// Query implements rdma.QP.
func (q *qp) Query() rdma.QPAttr {
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.attr
	a.State = q.qpState()
	a.SQPSN = q.psn
	if q.rc != nil {
		a.RQPSN = q.rc.epsn
	}
	return a
}

// udTransitions lists, for every change of state of a UD pair, the attributes
// that the change needs (IBA table 92).
var udTransitions = map[[2]rdma.QPState]rdma.QPAttrMask{
	{rdma.QPSReset, rdma.QPSInit}: rdma.QPAttrPKeyIndex | rdma.QPAttrQKey,
	{rdma.QPSInit, rdma.QPSInit}:  0,
	{rdma.QPSInit, rdma.QPSRTR}:   0,
	{rdma.QPSRTR, rdma.QPSRTS}:    rdma.QPAttrSQPSN,
	{rdma.QPSRTS, rdma.QPSRTS}:    0,
	{rdma.QPSSQE, rdma.QPSRTS}:    0,
	{rdma.QPSRTS, rdma.QPSSQD}:    0,
	{rdma.QPSSQD, rdma.QPSRTS}:    0,
}

const udAttrs = rdma.QPAttrState | rdma.QPAttrPKeyIndex | rdma.QPAttrQKey | rdma.QPAttrSQPSN |
	rdma.QPAttrReceiveAggregate | rdma.QPAttrReceiveChecksum

// Modify implements rdma.QP.
func (q *qp) Modify(attr rdma.QPAttr, mask rdma.QPAttrMask) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	fail := func(err error) error { return q.pd.dev.opError("modify_qp", q.port.num, err) }
	if q.closed {
		return fail(rdma.ErrClosed)
	}
	if q.rc != nil {
		if err := q.modifyRC(attr, mask); err != nil {
			return fail(err)
		}
		return nil
	}
	from, to := q.qpState(), q.qpState()
	if mask&rdma.QPAttrState != 0 {
		to = attr.State
	}
	if mask&^udAttrs != 0 || mask&rdma.QPAttrPKeyIndex != 0 && int(attr.PKeyIndex) >= q.port.node.pkeys {
		return fail(rdma.ErrInvalid)
	}
	if to != rdma.QPSReset && to != rdma.QPSErr && to != from || to == from && mask&rdma.QPAttrState != 0 {
		need, ok := udTransitions[[2]rdma.QPState{from, to}]
		if !ok {
			return fail(rdma.ErrState)
		}
		if need&^mask != 0 {
			return fail(rdma.ErrInvalid)
		}
	}
	if mask&rdma.QPAttrPKeyIndex != 0 {
		q.attr.PKeyIndex = attr.PKeyIndex
		q.pkeyIndex.Store(uint32(attr.PKeyIndex))
	}
	if mask&rdma.QPAttrQKey != 0 {
		q.attr.QKey = attr.QKey
		q.qkey.Store(uint32(attr.QKey))
	}
	if mask&rdma.QPAttrSQPSN != 0 {
		q.psn = attr.SQPSN & rdma.PSNMask
	}
	if mask&rdma.QPAttrReceiveAggregate != 0 {
		q.attr.ReceiveAggregate = attr.ReceiveAggregate
		q.aggregate.Store(attr.ReceiveAggregate)
	}
	if mask&rdma.QPAttrReceiveChecksum != 0 {
		q.attr.ReceiveChecksum = attr.ReceiveChecksum
		q.verify.Store(attr.ReceiveChecksum)
	}
	if to == from {
		return nil
	}
	q.state.Store(uint32(to))
	switch to {
	case rdma.QPSReset:
		q.credits.Store(0)
		q.sendCQ.drop(q)
		q.recvCQ.drop(q)
	case rdma.QPSErr:
		q.flush(nil)
	}
	return nil
}

// flush completes the posted receives with an error (IBA 10.3.1).
func (q *qp) flush(ev *rdma.EventBatch) {
	for n := q.credits.Swap(0); n > 0; n-- {
		wc := rdma.WorkCompletion{QP: q, Opcode: rdma.WCRecv, Status: rdma.WCWRFlushErr}
		if !q.recvCQ.push(&wc, ev) {
			return
		}
	}
}

// PostRecv implements rdma.QP.
func (q *qp) PostRecv(n int) error {
	if n < 0 || q.rc != nil && q.rc.srq != nil {
		return q.pd.dev.opError("post_recv", q.port.num, rdma.ErrInvalid)
	}
	switch q.qpState() {
	case rdma.QPSReset:
		return q.pd.dev.opError("post_recv", q.port.num, rdma.ErrState)
	case rdma.QPSErr:
		q.credits.Add(int64(n))
		q.flush(nil)
		return nil
	}
	if q.credits.Add(int64(n)) > int64(q.maxRecv) {
		q.credits.Add(int64(-n))
		return q.pd.dev.opError("post_recv", q.port.num, rdma.ErrQueueFull)
	}
	return nil
}

// takeCredits takes n receive buffers, or none.
func (q *qp) takeCredits(n int64) bool {
	if q.credits.Add(-n) >= 0 {
		return true
	}
	q.credits.Add(n)
	return false
}

// AttachMulticast implements rdma.QP.
func (q *qp) AttachMulticast(mgid rdma.GID, mlid rdma.LID) error {
	fail := func(err error) error { return q.pd.dev.opError("attach_mcast", q.port.num, err) }
	if q.typ != rdma.QPTUD || !mgid.IsMulticast() || !mlid.IsMulticast() {
		return fail(rdma.ErrInvalid)
	}
	h := q.pd.dev
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return fail(rdma.ErrClosed)
	}
	if slices.Contains(q.groups, mgid) {
		return fail(rdma.ErrInUse)
	}
	q.groups = append(q.groups, mgid)
	h.mcast.mu.Lock()
	h.mcast.groups[mgid] = append(slices.Clip(h.mcast.groups[mgid]), q)
	h.mcast.mu.Unlock()
	return nil
}

// DetachMulticast implements rdma.QP.
func (q *qp) DetachMulticast(mgid rdma.GID, _ rdma.LID) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.groups, mgid)
	if i < 0 {
		return q.pd.dev.opError("detach_mcast", q.port.num, rdma.ErrNotFound)
	}
	q.groups = slices.Delete(q.groups, i, i+1)
	q.detach(mgid)
	return nil
}

func (q *qp) detach(mgid rdma.GID) {
	h := q.pd.dev
	h.mcast.mu.Lock()
	defer h.mcast.mu.Unlock()
	rest := slices.DeleteFunc(slices.Clone(h.mcast.groups[mgid]), func(o *qp) bool { return o == q })
	if len(rest) == 0 {
		delete(h.mcast.groups, mgid)
	} else {
		h.mcast.groups[mgid] = rest
	}
}

// Close implements rdma.QP.
func (q *qp) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return rdma.ErrClosed
	}
	q.closed = true
	q.state.Store(uint32(rdma.QPSReset))
	q.pd.dev.qps.remove(q)
	for _, g := range q.groups {
		q.detach(g)
	}
	q.groups = nil
	if q.rc != nil {
		q.clearRC()
		q.leaveSRQ()
	}
	q.sendCQ.drop(q)
	q.recvCQ.drop(q)
	return nil
}
