package nl

import (
	"encoding/binary"
	"strconv"

	"github.com/mdlayher/netlink"
)

// Netlink protocol numbers (uapi/linux/netlink.h).
const (
	ProtoRoute   = 0  // NETLINK_ROUTE
	ProtoGeneric = 16 // NETLINK_GENERIC
)

// Sizes of the wire format (uapi/linux/netlink.h), in bytes.
const (
	// HeaderLen is sizeof(struct nlmsghdr).
	HeaderLen = 16
	// AttrHeaderLen is sizeof(struct nlattr), NLA_HDRLEN.
	AttrHeaderLen = 4
	// MinType is NLMSG_MIN_TYPE: types below it are control messages.
	MinType = 16
)

// Bits of an attribute type (uapi/linux/netlink.h: NLA_F_NESTED,
// NLA_F_NET_BYTEORDER, NLA_TYPE_MASK).
const (
	attrNested       uint16 = 0x8000
	attrNetByteOrder uint16 = 0x4000
	attrTypeMask     uint16 = 0x3fff
)

// Extended-ack attributes (uapi/linux/netlink.h: enum nlmsgerr_attrs).
const (
	ExtAckMsg      = 1 // NUL-terminated string
	ExtAckOffs     = 2 // u32, from the start of the request
	ExtAckCookie   = 3
	ExtAckPolicy   = 4 // nest of policy attributes
	ExtAckMissType = 5 // u32
	ExtAckMissNest = 6 // u32, from the start of the request
)

// Align rounds n up to a multiple of 4 (NLMSG_ALIGN, NLA_ALIGN).
func Align(n int) int { return (n + 3) &^ 3 }

// ParseHeader reads the nlmsghdr at the start of b, which must hold
// [HeaderLen] bytes.
func ParseHeader(b []byte) netlink.Header {
	_ = b[HeaderLen-1]
	return netlink.Header{
		Length:   binary.NativeEndian.Uint32(b),
		Type:     netlink.HeaderType(binary.NativeEndian.Uint16(b[4:])),
		Flags:    netlink.HeaderFlags(binary.NativeEndian.Uint16(b[6:])),
		Sequence: binary.NativeEndian.Uint32(b[8:]),
		PID:      binary.NativeEndian.Uint32(b[12:]),
	}
}

// putHeader writes h at the start of b.
func putHeader(b []byte, h netlink.Header) {
	_ = b[HeaderLen-1]
	binary.NativeEndian.PutUint32(b, h.Length)
	binary.NativeEndian.PutUint16(b[4:], uint16(h.Type))
	binary.NativeEndian.PutUint16(b[6:], uint16(h.Flags))
	binary.NativeEndian.PutUint32(b[8:], h.Sequence)
	binary.NativeEndian.PutUint32(b[12:], h.PID)
}

// nextMessage cuts the first message off a datagram as netlink_rcv_skb does.
// rest is what follows its padding; ok is false where the kernel stops: less
// than a header left, or a length that is below a header or beyond the data.
func nextMessage(b []byte) (h netlink.Header, msg, rest []byte, ok bool) {
	if len(b) < HeaderLen {
		return h, nil, nil, false
	}
	h = ParseHeader(b)
	if h.Length < HeaderLen || uint64(h.Length) > uint64(len(b)) {
		return h, nil, nil, false
	}
	n := int(h.Length)
	return h, b[:n:n], b[min(Align(n), len(b)):], true
}

// protoUnknown is the protocol of a connection before its hello.
const protoUnknown = -1

func protoName(p int) string {
	switch p {
	case ProtoRoute:
		return "route"
	case ProtoGeneric:
		return "generic"
	case protoUnknown:
		return "new"
	}
	return strconv.Itoa(p)
}
