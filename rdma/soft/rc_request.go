package soft

import (
	"time"

	"ipoib/rdma"
	"ipoib/rdma/header"
	"ipoib/rdma/offload"
)

// postRC is PostSend of an RC pair, with mu held.
func (q *qp) postRC(wrs []rdma.SendWR, ev *rdma.EventBatch) (int, error) {
	for i := range wrs {
		if err := q.queueRC(&wrs[i], ev); err != nil {
			q.sendRC(ev)
			return i, err
		}
	}
	q.sendRC(ev)
	return len(wrs), nil
}

// queueRC puts one work request into the send queue.
func (q *qp) queueRC(wr *rdma.SendWR, ev *rdma.EventBatch) error {
	rc := q.rc
	if wr.Buf == nil || wr.Offload.Segment != rdma.SegmentNone || !offload.Valid(wr.Buf.Bytes(), wr.Offload) {
		return rdma.ErrInvalid
	}
	switch q.qpState() {
	case rdma.QPSRTS, rdma.QPSSQD:
	case rdma.QPSErr:
		wr.Buf.Free()
		q.count(hwReqCQEFlush)
		q.complete(wr, rdma.WCWRFlushErr, ev)
		return nil
	default:
		return rdma.ErrState
	}
	if rc.sqLen == len(rc.sq) && !rc.growSQ(q.maxSend) {
		return rdma.ErrQueueFull
	}
	w := rc.wqe(rc.sqLen)
	*w = sendWQE{
		id: wr.ID, buf: wr.Buf, offload: wr.Offload, flags: wr.Flags, psn: q.psn,
		packets: max(1, (wr.Buf.Len()+rc.mtu-1)/rc.mtu),
	}
	rc.sqLen++
	q.psn = q.psn.Add(w.packets)
	return nil
}

// wqe returns a place of the send queue, counted from the oldest request.
func (r *requester) wqe(i int) *sendWQE {
	if i += r.sqHead; i >= len(r.sq) {
		i -= len(r.sq)
	}
	return &r.sq[i]
}

// growSQ doubles the ring: most queues of most connections stay short.
func (r *requester) growSQ(limit int) bool {
	if len(r.sq) >= limit {
		return false
	}
	ring := make([]sendWQE, min(limit, max(8, 2*len(r.sq))))
	k := copy(ring, r.sq[r.sqHead:])
	copy(ring[k:], r.sq[:r.sqHead])
	r.sq, r.sqHead = ring, 0
	return true
}

// releaseWQE gives the buffer of a request back, unless a link is reading it:
// who sends it does so then.
func (q *qp) releaseWQE(w *sendWQE) {
	if w.buf == q.rc.txBuf {
		q.rc.txDone = true
	} else {
		w.buf.Free()
	}
	w.buf = nil
}

// popWQE completes the oldest request.
func (q *qp) popWQE(st rdma.WCStatus, ev *rdma.EventBatch) {
	rc := q.rc
	w := rc.wqe(0)
	q.releaseWQE(w)
	if st == rdma.WCWRFlushErr {
		q.count(hwReqCQEFlush)
	} else if st != rdma.WCSuccess {
		q.count(hwReqCQEError)
	}
	if st != rdma.WCSuccess || w.flags&rdma.SendSignaled != 0 {
		wc := rdma.WorkCompletion{ID: w.id, QP: q, Opcode: rdma.WCSend, Status: st}
		q.sendCQ.push(&wc, ev)
	}
	if rc.sqHead++; rc.sqHead == len(rc.sq) {
		rc.sqHead = 0
	}
	rc.sqLen--
	if rc.next > 0 {
		rc.next--
	} else {
		rc.resume = 0
	}
}

// sendRC sends what may be sent. It lets go of mu while a message travels.
func (q *qp) sendRC(ev *rdma.EventBatch) {
	rc := q.rc
	if rc.sending {
		return
	}
	rc.sending = true
	for q.nextRC(ev) {
		epoch, last := rc.epoch, rc.tx.PSN.Add(rc.tx.packetsLeft()-1)
		q.mu.Unlock()
		q.emitRC(&rc.tx)
		q.mu.Lock()
		if epoch == rc.epoch {
			if rc.tx.taken {
				q.acknowledged(last, ev)
			} else if rc.una != rc.end {
				rc.setDeadline(q)
			}
		}
		if rc.txDone && !rc.tx.taken {
			rc.txBuf.Free()
		}
		rc.txBuf, rc.txDone = nil, false
		rc.tx.buf, rc.tx.ev = nil, nil
	}
	rc.sending = false
	q.armRC()
}

// emitRC starts a packet, without mu.
func (q *qp) emitRC(p *packet) {
	if !p.PKey.IsValid() {
		// The entry was emptied after the pair was set up.
		q.port.counters.xmitConstraint.Add(1)
		q.port.drop(p, DropPKey)
		return
	}
	q.port.send(p)
}

// packetsLeft returns how many packets of a message are still to be sent.
func (p *packet) packetsLeft() int {
	n, _, _ := p.wire()
	return n
}

// nextRC makes rc.tx the next message, or the rest of it, and reports whether
// there is one that may go.
func (q *qp) nextRC(ev *rdma.EventBatch) bool {
	rc := q.rc
	st := q.qpState()
	if st != rdma.QPSRTS && st != rdma.QPSSQD || rc.rnrWait || rc.next >= rc.sqLen {
		return false
	}
	w := rc.wqe(rc.next)
	behind := w.psn.Add(w.packets)
	if rc.next > 0 && behind.Diff(rc.una) > rcWindow {
		return false
	}
	begun := w.psn.Diff(rc.end) < 0
	if st == rdma.QPSSQD && !begun {
		return false
	}
	if begun {
		q.count(hwRetransmits)
	}
	p := &rc.tx
	*p = packet{
		Fields: rc.head, buf: w.buf, offload: w.offload, pathMTU: rc.mtu, first: rc.resume, lent: true, ev: ev,
	}
	p.Opcode, p.AckReq = header.RCSendOnly, true
	p.Solicited = w.flags&rdma.SendSolicited != 0
	p.PSN = w.psn.Add(rc.resume)
	q.addressRC(p)
	rc.txBuf = w.buf
	rc.next++
	rc.resume = 0
	if behind.Diff(rc.end) > 0 {
		rc.end = behind
	}
	return true
}

// addressRC fills in what may change while a connection exists.
func (q *qp) addressRC(p *packet) {
	p.pathBits = q.attr.AV.SrcPathBits
	p.PKey = (*q.port.pkeys.Load())[q.pkeyIndex.Load()]
	if p.HasGRH {
		p.GRH.SGID = (*q.port.gids.Load())[q.rc.sgid]
	}
}

// acknowledged handles that everything up to and with a PSN arrived. It
// reports whether that is news.
func (q *qp) acknowledged(psn rdma.PSN, ev *rdma.EventBatch) bool {
	rc := q.rc
	if psn.Diff(rc.una) < 0 || psn.Diff(rc.end) >= 0 {
		return false // a ghost, or nothing that was sent
	}
	rc.una = psn.Add(1)
	rc.retries, rc.rnrRetries = q.attr.RetryCount, q.attr.RNRRetry
	for rc.sqLen > 0 && psn.Diff(rc.wqe(0).lastPSN()) >= 0 {
		q.popWQE(rdma.WCSuccess, ev)
	}
	if rc.next == 0 && rc.sqLen > 0 {
		// What is to be sent again begins behind what just arrived.
		rc.resume = max(rc.resume, rc.una.Diff(rc.wqe(0).psn))
	}
	if rc.una != rc.end {
		rc.setDeadline(q)
	}
	q.drainedRC()
	return true
}

// drainedRC raises the event of a send queue that is drained.
func (q *qp) drainedRC() {
	rc := q.rc
	if q.qpState() == rdma.QPSSQD && rc.una == rc.end && !rc.drained {
		rc.drained = true
		q.pd.dev.raise(rdma.AsyncEvent{Type: rdma.EventSQDrained, QP: q})
	}
}

// rewind makes the oldest packet without acknowledgement the next to send.
func (r *requester) rewind() {
	r.next, r.resume = 0, 0
	if r.sqLen > 0 {
		r.resume = max(0, r.una.Diff(r.wqe(0).psn))
	}
}

// responseRC takes an acknowledgement (IBA 9.7.5.1.3).
func (q *qp) responseRC(pk *packet) {
	rc := q.rc
	if pk.Opcode != header.RCAck {
		// Responses to RDMA operations: none was asked for.
		q.port.counters.drops[DropOpcode].Add(1)
		return
	}
	if pk.Syndrome.Kind() == header.SyndromeACK {
		if q.acknowledged(pk.PSN, pk.ev) {
			q.armRC()
		}
		return
	}
	if pk.PSN.Diff(rc.una) < 0 || pk.PSN.Diff(rc.end) >= 0 {
		return
	}
	// A NAK acknowledges all before its PSN.
	q.acknowledged(pk.PSN.Add(-1), pk.ev)
	switch pk.Syndrome.Kind() {
	case header.SyndromeRNRNAK:
		q.rnrNAK(header.RNRTimer(pk.Syndrome.Value()), pk.ev)
	case header.SyndromeNAK:
		q.nak(pk.Syndrome, pk.ev)
	}
}

func (q *qp) rnrNAK(wait time.Duration, ev *rdma.EventBatch) {
	rc := q.rc
	q.count(hwRNRNAKRetry)
	if rc.rnrWait {
		return // an answer to the same attempt
	}
	if q.attr.RNRRetry != rnrInfinite {
		if rc.rnrRetries == 0 {
			q.count(hwRNRRetryExceeded)
			q.failSend(rdma.WCRNRRetryExcErr, ev)
			return
		}
		rc.rnrRetries--
	}
	rc.rewind()
	rc.rnrWait, rc.rnrUntil = true, q.pd.dev.fabric.clock.Now().Add(wait)
	q.armRC()
}

func (q *qp) nak(s header.Syndrome, ev *rdma.EventBatch) {
	rc := q.rc
	switch s {
	case header.NAKPSNSequence:
		q.count(hwPacketSeqErr)
		if rc.retries == 0 {
			q.count(hwRetryExceeded)
			q.failSend(rdma.WCRetryExcErr, ev)
			return
		}
		rc.retries--
		rc.rewind()
	case header.NAKInvalidRequest:
		q.count(hwReqRemoteInvalid)
		q.failSend(rdma.WCRemInvReqErr, ev)
	case header.NAKRemoteAccess:
		q.count(hwReqRemoteAccess)
		q.failSend(rdma.WCRemAccessErr, ev)
	case header.NAKRemoteOperational:
		q.failSend(rdma.WCRemOpErr, ev)
	}
}

// failSend completes the oldest request with an error, which takes the pair
// to ERR.
func (q *qp) failSend(st rdma.WCStatus, ev *rdma.EventBatch) {
	if q.rc.sqLen > 0 {
		q.popWQE(st, ev)
	}
	q.failRC(noEvent, ev)
}
