package soft

import "ipoib/rdma"

// setDeadline starts the wait for an acknowledgement anew.
func (r *requester) setDeadline(q *qp) {
	if r.timeout > 0 {
		r.deadline = q.pd.dev.fabric.clock.Now().Add(r.timeout)
	}
}

// armRC sets the timer for whatever the requester waits for. A timer that
// runs out earlier is left alone: it will see that it is not due.
func (q *qp) armRC() {
	rc := q.rc
	due := rc.deadline
	switch {
	case rc.rnrWait:
		due = rc.rnrUntil
	case rc.una == rc.end || rc.timeout == 0:
		return
	}
	if rc.timerSet && !due.Before(rc.timerDue) {
		return
	}
	clock := q.pd.dev.fabric.clock
	d := max(due.Sub(clock.Now()), 0)
	rc.timerSet, rc.timerDue = true, due
	if rc.timer == nil {
		rc.timer = clock.AfterFunc(d, func() { go q.timerRC() })
		return
	}
	rc.timer.Reset(d)
}

// timerRC ends a wait: for the acknowledgement of what was sent, or for a
// receiver that was not ready. Handlers of completions run here, on a
// goroutine of their own: they would hold up the other timers of a clock.
func (q *qp) timerRC() {
	var ev rdma.EventBatch
	q.expireRC(&ev)
	ev.Run()
}

func (q *qp) expireRC(ev *rdma.EventBatch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	rc := q.rc
	rc.timerSet = false
	if st := q.qpState(); q.closed || st != rdma.QPSRTS && st != rdma.QPSSQD {
		return
	}
	now := q.pd.dev.fabric.clock.Now()
	switch {
	case rc.rnrWait:
		if !now.Before(rc.rnrUntil) {
			rc.rnrWait = false
			q.sendRC(ev)
		}
	case rc.una == rc.end || rc.timeout == 0:
		return
	case !now.Before(rc.deadline):
		q.count(hwLocalACKTimeout)
		if rc.retries == 0 {
			q.count(hwRetryExceeded)
			q.failSend(rdma.WCRetryExcErr, ev)
			return
		}
		rc.retries--
		rc.rewind()
		rc.setDeadline(q)
		q.sendRC(ev)
	}
	q.armRC()
}
