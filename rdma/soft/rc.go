package soft

import (
	"time"

	"github.com/jonboulle/clockwork"

	"ipoib/rdma"
	"ipoib/rdma/header"
)

// rcState is what a reliable connected queue pair has besides a datagram one.
// All of it is guarded by qp.mu, which is never held while a packet travels:
// one goroutine at a time sends requests (sending) and one sends
// acknowledgements (replying), and what others find to do meanwhile is left
// to it.
type rcState struct {
	srq *srq // nil where the pair has receive buffers of its own

	// The connection. head is the template of all packets.
	head header.Fields
	sgid int // index of the source GID, when head.HasGRH
	mtu  int // path MTU in bytes
	// epoch changes when the queues are emptied, so that who sent meanwhile
	// can tell.
	epoch uint32

	requester
	responder

	hw [numHWCounters]uint64
}

// requester is the sending half (IBA 9.7.5.1).
type requester struct {
	sq     []sendWQE // ring of the work requests not yet acknowledged
	sqHead int
	sqLen  int
	next   int // the request to send next, counted from sqHead
	resume int // its first packet to send

	una rdma.PSN // the oldest PSN not acknowledged
	end rdma.PSN // behind the last PSN sent

	timeout    time.Duration // 0: none
	retries    uint8         // left
	rnrRetries uint8         // left; rnrInfinite: no end
	rnrWait    bool          // an RNR NAK told to wait until rnrUntil
	rnrUntil   time.Time
	deadline   time.Time // for the acknowledgement of una
	timer      clockwork.Timer
	timerSet   bool
	timerDue   time.Time
	drained    bool // EventSQDrained was raised

	sending bool
	tx      packet       // the packet being sent, so that none is allocated
	txBuf   *rdma.Buffer // its buffer, which the link may be reading
	txDone  bool         // its request completed meanwhile: txBuf is to be freed
}

// responder is the receiving half (IBA 9.7.5.2).
type responder struct {
	epsn     rdma.PSN // the PSN expected
	msn      uint32   // messages completed, modulo 2^24
	nakSent  bool     // a NAK asks for epsn; do not repeat it
	commEst  bool     // EventCommEst was raised
	assembly *rdma.Buffer

	// The reply owed to the requester, if any.
	owed     bool
	syndrome header.Syndrome
	replyPSN rdma.PSN

	replying bool
	reply    packet
	// ackBatch will run an ackRunner, nil if none is to.
	ackBatch *rdma.EventBatch
}

// sendWQE is one SEND in the send queue.
type sendWQE struct {
	id      uint64
	buf     *rdma.Buffer
	offload rdma.Offload
	flags   rdma.SendFlags
	psn     rdma.PSN // of its first packet
	packets int
}

func (w *sendWQE) lastPSN() rdma.PSN { return w.psn.Add(w.packets - 1) }

const (
	rnrInfinite = 7
	// rcWindow bounds the packets on their way of a pair, as all behind a
	// lost one are sent again.
	rcWindow = 256
	// ackTimeoutUnit is the unit of the local ACK timeout: 4.096 us
	// (IBA 9.7.6.1.3).
	ackTimeoutUnit = 4096 * time.Nanosecond
)

func (q *qp) initRC(s rdma.SRQ) error {
	q.rc = new(rcState)
	if s == nil {
		return nil
	}
	shared, ok := s.(*srq)
	if !ok || shared.dev != q.pd.dev {
		return rdma.ErrInvalid
	}
	if err := shared.use(1); err != nil {
		return err
	}
	q.rc.srq = shared
	q.recvSize = shared.recvSize
	return nil
}

func (q *qp) leaveSRQ() {
	if q.rc != nil && q.rc.srq != nil {
		_ = q.rc.srq.use(-1)
	}
}

// clearRC empties the queues without completions.
func (q *qp) clearRC() {
	rc := q.rc
	for ; rc.sqLen > 0; rc.sqLen-- {
		q.releaseWQE(&rc.sq[rc.sqHead])
		rc.sqHead = (rc.sqHead + 1) % len(rc.sq)
	}
	q.resetRequester()
	if rc.assembly != nil {
		rc.assembly.Free()
	}
	r := &rc.responder
	r.assembly, r.owed, r.nakSent, r.commEst, r.msn = nil, false, false, false, 0
	q.credits.Store(0)
}

// flushRC completes everything that is posted with an error: the pair is in
// state ERR.
func (q *qp) flushRC(ev *rdma.EventBatch) {
	rc := q.rc
	for rc.sqLen > 0 {
		q.popWQE(rdma.WCWRFlushErr, ev)
	}
	q.resetRequester()
	if rc.assembly != nil {
		rc.assembly.Free()
		rc.assembly = nil
		q.failRecv(rdma.WCWRFlushErr, ev)
	}
	q.flush(ev)
	if rc.srq != nil {
		q.pd.dev.raise(rdma.AsyncEvent{Type: rdma.EventQPLastWQEReached, QP: q})
	}
}

// resetRequester forgets what was sent.
func (q *qp) resetRequester() {
	rc := q.rc
	rc.epoch++
	rc.next, rc.resume, rc.rnrWait = 0, 0, false
	rc.una, rc.end = q.psn, q.psn
	if rc.timer != nil {
		rc.timer.Stop()
	}
	rc.timerSet = false
}

// failRC takes the pair to ERR because of its own doing; the event tells the
// consumer where no completion does.
func (q *qp) failRC(event rdma.EventType, ev *rdma.EventBatch) {
	q.state.Store(uint32(rdma.QPSErr))
	if event != noEvent {
		q.pd.dev.raise(rdma.AsyncEvent{Type: event, QP: q})
	}
	q.flushRC(ev)
}

const noEvent = rdma.EventType(0xff)
