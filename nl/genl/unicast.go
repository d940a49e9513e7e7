package genl

import (
	"github.com/mdlayher/netlink"

	"ipoib/nl"
)

// Stream sends messages of a family to one client after its request is over.
type Stream struct {
	*nl.Unicast
	fam *Registered
	seq uint32
}

// Stream returns a stream to the requester. Its messages carry the request's
// sequence number.
func (r *Request) Stream() *Stream {
	return &Stream{Unicast: r.Unicast(), fam: r.fam, seq: r.Header.Sequence}
}

// Send queues a message; see nl.Unicast.Send. fill writes what follows the
// genlmsghdr.
func (s *Stream) Send(cmd uint8, fill func(*nl.Encoder) error) bool {
	var e nl.Encoder
	h := netlink.Header{Sequence: s.seq, PID: s.PortID()}
	if err := s.fam.message(&e, h, cmd, fill); err != nil {
		return false
	}
	return s.Unicast.Send(e.Bytes())
}
