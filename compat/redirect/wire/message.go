package wire

import (
	"encoding/binary"

	"github.com/mdlayher/netlink"

	"ipoib/nl"
)

var native = binary.NativeEndian

// Message is one message of a datagram.
type Message struct {
	netlink.Header
	// Raw is the message with its header, without padding.
	Raw []byte
}

// Payload is what follows the nlmsghdr.
func (m *Message) Payload() []byte { return m.Raw[nl.HeaderLen:] }

// Split cuts a datagram into messages where the kernel does
// (netlink_rcv_skb); what follows a malformed one is left out. The messages
// share memory with b.
func Split(b []byte) (out []Message) {
	for len(b) >= nl.HeaderLen {
		h := nl.ParseHeader(b)
		if h.Length < nl.HeaderLen || uint64(h.Length) > uint64(len(b)) {
			break
		}
		n := int(h.Length)
		out = append(out, Message{h, b[:n:n]})
		b = b[min(nl.Align(n), len(b)):]
	}
	return out
}

// Append appends a message with its padding to b.
func Append(b []byte, h netlink.Header, payload []byte) []byte {
	h.Length = uint32(nl.HeaderLen + len(payload))
	b = native.AppendUint32(b, h.Length)
	b = native.AppendUint16(b, uint16(h.Type))
	b = native.AppendUint16(b, uint16(h.Flags))
	b = native.AppendUint32(b, h.Sequence)
	b = native.AppendUint32(b, h.PID)
	return pad(append(b, payload...))
}

func pad(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// attrs iterates over the attributes behind a family header of n bytes.
func attrs(payload []byte, n int) func(func(nl.Attr) bool) {
	return nl.Attr{Data: payload[min(n, len(payload)):]}.Children()
}

// Errno returns the error that an NLMSG_ERROR or NLMSG_DONE message carries as
// a positive number, 0 for none.
func (m *Message) Errno() int {
	if p := m.Payload(); len(p) >= 4 {
		if v := int32(native.Uint32(p)); v < 0 {
			return int(-v)
		}
	}
	return 0
}

// SetPID sets the port id in the header of a message.
func SetPID(raw []byte, pid uint32) { native.PutUint32(raw[12:], pid) }

// SetType sets the type in the header of a message.
func SetType(raw []byte, t netlink.HeaderType) { native.PutUint16(raw[4:], uint16(t)) }

// RestoreQuote puts the request as it was sent in place of what an
// NLMSG_ERROR message quotes of it: the request may have been translated on
// its way to the service.
func RestoreQuote(m *Message, request []byte) {
	p := m.Payload()
	if m.Type != netlink.Error || len(p) < 4+nl.HeaderLen || len(request) < nl.HeaderLen {
		return
	}
	quote := p[4:]
	n := nl.HeaderLen
	if m.Flags&capped == 0 && m.Errno() != 0 {
		n = len(request)
	}
	copy(quote, request[:min(n, len(quote), len(request))])
}

// capped is NLM_F_CAPPED.
const capped netlink.HeaderFlags = 0x100
