package soft

import (
	"ipoib/rdma"
	"ipoib/rdma/header"
)

// owe notes the reply to send next and returns true.
func (q *qp) owe(s header.Syndrome, psn rdma.PSN) bool {
	rc := q.rc
	rc.owed, rc.syndrome, rc.replyPSN = true, s, psn
	return true
}

// oweACK notes that what arrived is to be acknowledged. The packets of one
// EventBatch are acknowledged together when it runs; it reports whether that
// is now.
func (q *qp) oweACK(ev *rdma.EventBatch) bool {
	rc := q.rc
	psn := rc.epsn.Add(-1)
	if rc.owed && rc.syndrome.Kind() != header.SyndromeACK && rc.replyPSN == rc.epsn {
		return true // a NAK of what is still missing acknowledges the rest
	}
	q.owe(header.ACKNoCredit, psn)
	if ev == nil {
		return true
	}
	if rc.ackBatch == nil {
		rc.ackBatch = ev
		ev.Add((*ackRunner)(q))
	}
	return false
}

// ackRunner is a queue pair that acknowledges what a batch brought.
type ackRunner qp

// RunHandler implements rdma.Runner.
func (r *ackRunner) RunHandler() {
	q := (*qp)(r)
	q.mu.Lock()
	defer q.mu.Unlock()
	ev := q.rc.ackBatch
	q.rc.ackBatch = nil
	q.replyRC(ev)
}

// replyRC sends the reply that is owed. It lets go of mu while that travels.
func (q *qp) replyRC(ev *rdma.EventBatch) {
	rc := q.rc
	if rc.replying {
		return
	}
	rc.replying = true
	for rc.owed && !q.closed {
		rc.owed = false
		p := &rc.reply
		*p = packet{Fields: rc.head, ev: ev}
		p.Opcode, p.PSN, p.Syndrome, p.MSN = header.RCAck, rc.replyPSN, rc.syndrome, rc.msn
		q.addressRC(p)
		q.mu.Unlock()
		q.emitRC(p)
		q.mu.Lock()
		p.ev = nil
	}
	rc.replying = false
}
