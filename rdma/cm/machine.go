package cm

import (
	"encoding/binary"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// step feeds an input to the state machine. m is the message that the input
// made, of those with doSend or doREJ. It reports false when the input has no
// meaning in the present state. cm.mu is held; the caller flushes.
func (k *Conn) step(in input, m *mad.MAD) bool {
	t := &transitions[k.State()][in]
	if !t.valid || k.cm.closed {
		return false
	}
	k.act(t.do, m)
	k.state.Store(uint32(t.next))
	if t.next == Closed {
		k.forget()
	}
	return true
}

// act does what a transition says.
func (k *Conn) act(do action, m *mad.MAD) {
	if do&doStop != 0 {
		k.stop()
	}
	if do&doSend != 0 {
		k.kept, k.left = m, k.retries
		k.cm.put(k.to, m)
	}
	if do&doWait != 0 {
		k.arm()
	}
	if do&doResend != 0 && k.kept != nil {
		k.cm.retries.Add(1)
		k.cm.put(k.to, k.kept)
	}
	if do&doRewait != 0 {
		k.left--
		k.arm()
	}
	if do&doExtend != 0 {
		k.after(Duration(k.service)+k.life, k.expire)
	}
	if do&doREJ != 0 {
		k.cm.put(k.to, m)
	}
	for _, r := range [...]struct {
		do     action
		of     mad.CMMessage
		reason mad.RejectReason
	}{
		{doREJStale, mad.CMMessageREQ, mad.RejectStaleConnection},
		{doREJClose, k.rejected(), mad.RejectConsumer},
		{doREQLost, mad.CMMessageREQ, mad.RejectTimeout},
	} {
		if do&r.do != 0 {
			// The notice fits: it was checked when the connection was made.
			rej, _ := k.rej(r.of, r.reason, k.notice)
			k.cm.put(k.to, rej)
		}
	}
	if do&doDREP != 0 && m != nil {
		k.cm.put(k.to, m)
	}
	if do&doTimewait != 0 {
		k.after(k.life, func() { k.step(inExpired, nil) })
	}
}

// report queues an event for the consumer.
func (k *Conn) report(e Event) {
	if k.closed || k.handler == nil {
		return
	}
	e.Conn = k
	k.cm.tell(func() { k.handler(e) })
}

// input feeds what came from the peer or a timer, and reports the event that
// it causes. cm.mu is held.
func (k *Conn) input(in input, m *mad.MAD, e Event) bool {
	e.Type = transitions[k.State()][in].event
	if !k.step(in, m) {
		return false
	}
	if e.Type != EventNone {
		k.report(e)
	}
	return true
}

// minWait is the shortest wait for an answer, whatever the peer asks for
// (kernel cm_convert_to_ms).
const minWait = time.Millisecond

// arm starts the wait for an answer to the message that was just sent.
func (k *Conn) arm() { k.after(max(k.wait, minWait), k.expire) }

// expire is called when no answer came in time.
func (k *Conn) expire() {
	if k.left > 0 {
		k.input(inTimeout, nil, Event{})
		return
	}
	k.input(inExpired, nil, Event{})
}

// after calls fn with cm.mu held, unless the timer is stopped before.
func (k *Conn) after(d time.Duration, fn func()) {
	k.stop()
	gen := k.gen
	k.timer = k.cm.clock.AfterFunc(d, func() {
		k.cm.mu.Lock()
		if k.gen == gen && !k.cm.closed {
			fn()
		}
		k.cm.mu.Unlock()
		k.cm.flush()
	})
}

// stop stops the timer.
func (k *Conn) stop() {
	k.gen++
	if k.timer != nil {
		k.timer.Stop()
		k.timer = nil
	}
}

// know notes what a REQ or REP tells of the peer. It returns the connection
// that has the same queue pair at the other side, if any: one of the two is
// stale.
func (k *Conn) know(id uint32, guid rdma.GUID, qpn rdma.QPN) (stale *Conn) {
	q := remoteQP{guid, qpn}
	if o := k.cm.qpns[q]; o != nil && o != k {
		return o
	}
	k.remote, k.guid, k.qpn = id, guid, qpn
	k.cm.qpns[q] = k
	k.cm.remotes[remoteID{guid, id}] = k
	return nil
}

// forget takes a connection out of the tables.
func (k *Conn) forget() {
	k.stop()
	delete(k.cm.conns, k.local)
	if r := (remoteID{k.guid, k.remote}); k.cm.remotes[r] == k {
		delete(k.cm.remotes, r)
	}
	if q := (remoteQP{k.guid, k.qpn}); k.cm.qpns[q] == k {
		delete(k.cm.qpns, q)
	}
}

func putGUID(b []byte, g rdma.GUID) { binary.BigEndian.PutUint64(b, uint64(g)) }
