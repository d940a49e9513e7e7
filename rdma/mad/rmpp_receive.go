package mad

import (
	"time"
)

// RMPPReceiver puts the segments of one transfer of the SA class together
// (IBA 13.6.6). It has no goroutine and no timer: the caller passes the time,
// calls Expire at Deadline, and sends the replies that come back, which are
// valid until the next call. It is not safe for concurrent use.
//
//	state      event                                  reply   next
//	empty      segment 1 with First                   ACK     receiving, done with Last
//	receiving  next segment, window end               ACK     receiving
//	receiving  next segment with Last                 ACK     done
//	receiving  segment within the window              -       receiving
//	receiving  segment that is acknowledged           ACK     receiving
//	any        inconsistent segment, type or version  ABORT   failed
//	any        more than MaxBytes                     STOP    failed
//	receiving  silence, or too long in all            ABORT   failed
//	any        STOP, ABORT                            -       failed
//	done       any segment                            ACK     done
type RMPPReceiver struct {
	cfg     RMPPConfig
	head    MAD // headers of the first segment
	data    []byte
	have    []bool // by segment number - 1
	next    uint32 // segments 1 to next are here without a gap
	window  uint32 // last segment that the sender may send
	acked   uint32
	last    uint32 // number of the last segment, 0 when unknown
	started time.Time
	heard   time.Time // of the last new segment
	done    bool
	err     error
	reply   MAD
}

// NewRMPPReceiver returns a receiver for one transfer.
func NewRMPPReceiver(cfg RMPPConfig) *RMPPReceiver {
	return &RMPPReceiver{cfg: cfg.WithDefaults(), window: 1}
}

// Done reports whether all segments are here.
func (r *RMPPReceiver) Done() bool { return r.done }

// Err returns why the transfer failed, nil while it has not.
func (r *RMPPReceiver) Err() error { return r.err }

// Header returns the first segment: its headers are those of the transfer.
func (r *RMPPReceiver) Header() *MAD { return &r.head }

// Data returns the records of a transfer that is done. The receiver keeps the
// slice.
func (r *RMPPReceiver) Data() []byte {
	if !r.done {
		return nil
	}
	return r.data
}

// release lets go of the records; segments are still acknowledged.
func (r *RMPPReceiver) release() { r.data, r.have = nil, nil }

// Deadline returns when to call Expire: the zero time when the transfer has
// not begun or is over.
func (r *RMPPReceiver) Deadline() time.Time {
	if r.started.IsZero() || r.done || r.err != nil {
		return time.Time{}
	}
	idle, total := r.heard.Add(r.cfg.IdleTimeout), r.started.Add(r.cfg.TotalTimeout)
	if total.Before(idle) {
		return total
	}
	return idle
}

// Expire aborts a transfer whose Deadline has passed. The reply, if not nil,
// tells the sender.
func (r *RMPPReceiver) Expire(now time.Time) (reply *MAD, err error) {
	d := r.Deadline()
	if d.IsZero() || now.Before(d) {
		return nil, r.err
	}
	return r.abort(&r.head, RMPPTotalTimeTooLong)
}

// Abort gives the transfer up. The reply, if not nil, tells the sender.
func (r *RMPPReceiver) Abort(s RMPPStatus) (reply *MAD) {
	if r.started.IsZero() || r.done || r.err != nil {
		return nil
	}
	reply, _ = r.abort(&r.head, s)
	return reply
}

// Receive takes a datagram of the transfer. The reply, if not nil, is to be
// sent to where the datagram came from. The error is that of Err.
func (r *RMPPReceiver) Receive(now time.Time, m *MAD) (reply *MAD, err error) {
	if r.err != nil {
		return nil, errRMPPDone
	}
	h := m.RMPP()
	if h.Version != RMPPVersion {
		return r.refuse(m, RMPPUnsupportedVersion)
	}
	switch h.Type {
	case RMPPData:
		return r.segment(now, m, h)
	case RMPPStop, RMPPAbort:
		if r.done {
			return nil, nil
		}
		r.err = &RMPPError{Status: h.Status, Remote: true}
		return nil, r.err
	case RMPPAck: // of a transfer the other way round
		return nil, nil
	}
	return r.refuse(m, RMPPBadType)
}

// refuse aborts the transfer unless it is done.
func (r *RMPPReceiver) refuse(m *MAD, s RMPPStatus) (*MAD, error) {
	if r.done {
		return nil, nil
	}
	return r.abort(m, s)
}

func (r *RMPPReceiver) segment(now time.Time, m *MAD, h RMPPHeader) (*MAD, error) {
	n, isLast := h.Segment, h.Has(RMPPFlagLast)
	switch {
	case r.done:
		return r.ack(m), nil
	case h.Status != RMPPStatusNormal:
		return r.abort(m, RMPPIllegalStatus)
	case n == 0, (n == 1) != h.Has(RMPPFlagFirst):
		return r.abort(m, RMPPInconsistentFirst)
	case isLast && (h.Data2 < SAHeaderLen || h.Data2 > rmppSegmentLen):
		return r.abort(m, RMPPInconsistentLast)
	case isLast && n < uint32(len(r.have)), r.last != 0 && (n > r.last || isLast != (n == r.last)):
		return r.abort(m, RMPPInconsistentLast)
	}
	if r.started.IsZero() {
		if n != 1 {
			return nil, nil // the first segment got lost: it will come again
		}
		r.started, r.head = now, *m
		if h.Data2 > rmppSegmentLen && r.payload(h.Data2) > r.cfg.MaxBytes {
			return r.stop(m)
		}
	}
	if n > r.window {
		return nil, nil
	}
	if n <= r.acked {
		return r.ack(m), nil
	}
	if int(n) <= len(r.have) && r.have[n-1] {
		return nil, nil
	}
	size := SADataLen
	if isLast {
		size = int(h.Data2) - SAHeaderLen
	}
	if int(n-1)*SADataLen+size > r.cfg.MaxBytes {
		return r.stop(m)
	}
	r.store(n, size, isLast, m)
	r.heard = now
	for int(r.next) < len(r.have) && r.have[r.next] {
		r.next++
	}
	switch r.next {
	case r.last:
		r.done = true
		return r.ack(m), nil
	case r.window:
		r.window += r.cfg.Window
		return r.ack(m), nil
	}
	return nil, nil
}

// payload returns how many bytes of records a total PayloadLength means.
func (r *RMPPReceiver) payload(total uint32) int {
	segments := (int(total) + rmppSegmentLen - 1) / rmppSegmentLen
	return int(total) - segments*SAHeaderLen
}

func (r *RMPPReceiver) store(n uint32, size int, isLast bool, m *MAD) {
	for len(r.have) < int(n) {
		r.have = append(r.have, false)
	}
	r.have[n-1] = true
	off := int(n-1) * SADataLen
	if missing := off + size - len(r.data); missing > 0 {
		r.data = append(r.data, make([]byte, missing)...)
	}
	copy(r.data[off:], m.SAData()[:size])
	if isLast {
		r.last = n
	}
}

func (r *RMPPReceiver) ack(m *MAD) *MAD {
	r.acked = r.next
	return r.answer(m, RMPPHeader{Type: RMPPAck, Segment: r.next, Data2: r.window})
}

func (r *RMPPReceiver) stop(m *MAD) (*MAD, error) {
	r.err = &RMPPError{Status: RMPPResourcesExhausted}
	return r.answer(m, RMPPHeader{Type: RMPPStop, Status: RMPPResourcesExhausted}), r.err
}

func (r *RMPPReceiver) abort(m *MAD, s RMPPStatus) (*MAD, error) {
	r.err = &RMPPError{Status: s}
	return r.answer(m, RMPPHeader{Type: RMPPAbort, Status: s}), r.err
}

// answer builds a reply with the headers of m, the response bit of the method
// the other way round (kernel format_ack).
func (r *RMPPReceiver) answer(m *MAD, h RMPPHeader) *MAD {
	rmppAnswer(&r.reply, m, h)
	return &r.reply
}

func rmppAnswer(reply, m *MAD, h RMPPHeader) {
	*reply = MAD{}
	copy(reply[:SADataOff], m[:SADataOff])
	reply.SetMethod(m.Method() ^ methodResponse)
	h.Version, h.RRespTime, h.Flags = RMPPVersion, RMPPNoRespTime, RMPPFlagActive
	reply.SetRMPP(h)
}
