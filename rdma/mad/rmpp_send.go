package mad

import (
	"time"
)

// RMPPSender cuts a table into segments and sends it (IBA 13.6.7). Like
// RMPPReceiver it has no goroutine and no timer: the caller sends what Next
// gives until there is no more, calls Expire at Deadline, and passes what
// comes back to Receive. It is not safe for concurrent use.
//
//	event                                  next
//	ACK of the last segment                done
//	ACK of a new segment, or wider window  sending; Next gives more
//	old ACK                                -
//	ACK beyond what was sent, bad status   ABORT, failed
//	STOP, ABORT                            failed
//	silence                                sending from the first one that is
//	                                       not acknowledged, Retries times
//	silence after that                     ABORT, failed
type RMPPSender struct {
	cfg      RMPPConfig
	head     MAD
	data     []byte
	segments uint32
	sent     uint32 // segments given out
	acked    uint32
	window   uint32 // last segment that may be sent
	retries  int
	deadline time.Time
	done     bool
	err      error
	out      MAD
}

// NewRMPPSender returns a sender of data, which it does not copy. head has the
// common and the SA header of every segment.
func NewRMPPSender(cfg RMPPConfig, head *MAD, data []byte) *RMPPSender {
	n := max((len(data)+SADataLen-1)/SADataLen, 1)
	return &RMPPSender{cfg: cfg.WithDefaults(), head: *head, data: data, segments: uint32(n), window: 1}
}

// Done reports whether the receiver has acknowledged everything.
func (s *RMPPSender) Done() bool { return s.done }

// Err returns why the transfer failed, nil while it has not.
func (s *RMPPSender) Err() error { return s.err }

// Deadline returns when to call Expire: the zero time when nothing was sent
// yet or the transfer is over.
func (s *RMPPSender) Deadline() time.Time {
	if s.done || s.err != nil {
		return time.Time{}
	}
	return s.deadline
}

// Next returns the next segment to send now, nil when the window is used up.
// It is valid until the next call.
func (s *RMPPSender) Next(now time.Time) *MAD {
	if s.done || s.err != nil || s.sent >= min(s.window, s.segments) {
		return nil
	}
	s.sent++
	s.deadline = now.Add(s.cfg.Timeout)
	return s.build(s.sent)
}

// build writes segment n.
func (s *RMPPSender) build(n uint32) *MAD {
	copy(s.out[:SADataOff], s.head[:SADataOff])
	part := s.data[int(n-1)*SADataLen:]
	part = part[:min(len(part), SADataLen)]
	clear(s.out.SAData()[copy(s.out.SAData(), part):])
	h := RMPPHeader{Version: RMPPVersion, Type: RMPPData, RRespTime: RMPPNoRespTime, Flags: RMPPFlagActive, Segment: n}
	if n == 1 {
		h.Flags |= RMPPFlagFirst
		h.Data2 = s.segments*SAHeaderLen + uint32(len(s.data))
	}
	if n == s.segments {
		h.Flags |= RMPPFlagLast
		h.Data2 = uint32(SAHeaderLen + len(part))
	}
	s.out.SetRMPP(h)
	return &s.out
}

// Expire repeats or gives up when Deadline has passed: after it Next has
// segments again, or the reply, if not nil, tells the receiver of the end and
// err is that of Err.
func (s *RMPPSender) Expire(now time.Time) (reply *MAD, err error) {
	d := s.Deadline()
	if d.IsZero() || now.Before(d) {
		return nil, s.err
	}
	if s.retries >= s.cfg.Retries {
		s.err = &RMPPError{Status: RMPPTooManyRetries}
		return s.abort(RMPPTooManyRetries), s.err
	}
	s.retries++
	s.sent = s.acked
	s.deadline = now.Add(s.cfg.Timeout)
	return nil, nil
}

// Abort gives the transfer up. The reply, if not nil, tells the receiver.
func (s *RMPPSender) Abort(status RMPPStatus) (reply *MAD) {
	if s.done || s.err != nil {
		return nil
	}
	s.err = &RMPPError{Status: status}
	return s.abort(status)
}

func (s *RMPPSender) abort(status RMPPStatus) *MAD {
	rmppAnswer(&s.out, &s.head, RMPPHeader{Type: RMPPAbort, Status: status})
	s.out.SetMethod(s.head.Method())
	return &s.out
}

// Receive takes an ACK, STOP or ABORT. The reply, if not nil, is to be sent to
// the receiver; after it, send what Next gives. The error is that of Err.
func (s *RMPPSender) Receive(now time.Time, m *MAD) (reply *MAD, err error) {
	if s.done || s.err != nil {
		return nil, errRMPPDone
	}
	h := m.RMPP()
	if h.Version != RMPPVersion {
		return s.fail(RMPPUnsupportedVersion)
	}
	switch h.Type {
	case RMPPAck:
		return s.ack(now, h)
	case RMPPStop, RMPPAbort:
		s.err = &RMPPError{Status: h.Status, Remote: true}
		return nil, s.err
	case RMPPData: // of a transfer the other way round
		return nil, nil
	}
	return s.fail(RMPPBadType)
}

func (s *RMPPSender) ack(now time.Time, h RMPPHeader) (*MAD, error) {
	switch {
	case h.Status != RMPPStatusNormal:
		return s.fail(RMPPIllegalStatus)
	case h.Data2 < h.Segment:
		return s.fail(RMPPNewWindowTooSmall)
	case h.Segment > min(s.segments, s.window):
		return s.fail(RMPPSegmentTooBig)
	case h.Data2 < s.window, h.Segment < s.acked:
		return nil, nil // an old ACK
	}
	if h.Segment > s.acked {
		s.acked, s.retries = h.Segment, 0
		s.sent = max(s.sent, s.acked)
	}
	s.window = h.Data2
	s.deadline = now.Add(s.cfg.Timeout)
	s.done = s.acked == s.segments
	return nil, nil
}

func (s *RMPPSender) fail(status RMPPStatus) (*MAD, error) {
	return s.Abort(status), s.err
}

// CompleteRMPP fills in the RMPP header of a table response that was handed
// over without one, as the user MAD interface does: length is that of the
// datagram with its 56 bytes of headers, at most rdma.MADSize.
func CompleteRMPP(m *MAD, length int) {
	n := min(max(length-SADataOff, 0), SADataLen)
	clear(m.SAData()[n:])
	m.SetRMPP(RMPPHeader{
		Version: RMPPVersion, Type: RMPPData, RRespTime: RMPPNoRespTime,
		Flags: RMPPFlagActive | RMPPFlagFirst | RMPPFlagLast, Segment: 1, Data2: uint32(SAHeaderLen + n),
	})
}
