package cli

import (
	"encoding/binary"
	"syscall"

	"ipoib/nl"
)

// Message types and flags (uapi/linux/netlink.h).
const (
	typeNoop    = 1
	typeError   = 2
	typeDone    = 3
	typeOverrun = 4

	flagRequest = 0x1
	flagMulti   = 0x2
	flagAck     = 0x4
	flagEcho    = 0x8
	flagIntr    = 0x10
	flagDump    = 0x300
	flagCapped  = 0x100
	flagTLVs    = 0x200
)

const (
	headerLen = nl.HeaderLen
	genlLen   = 4
)

// message is one netlink message.
type message struct {
	typ, flags uint16
	seq, pid   uint32
	// raw is the whole message without padding.
	raw []byte
}

// nextMessage cuts the first message off a datagram.
func nextMessage(b []byte) (m message, rest []byte, ok bool) {
	if len(b) < headerLen {
		return m, nil, false
	}
	n := int(binary.NativeEndian.Uint32(b))
	if n < headerLen || n > len(b) {
		return m, nil, false
	}
	m = message{
		typ: binary.NativeEndian.Uint16(b[4:]), flags: binary.NativeEndian.Uint16(b[6:]),
		seq: binary.NativeEndian.Uint32(b[8:]), pid: binary.NativeEndian.Uint32(b[12:]), raw: b[:n:n],
	}
	return m, b[min(nl.Align(n), len(b)):], true
}

// payload is what follows the nlmsghdr.
func (m *message) payload() []byte { return m.raw[headerLen:] }

// cmd is the command of a generic netlink message.
func (m *message) cmd() uint8 {
	if len(m.raw) <= headerLen {
		return 0
	}
	return m.raw[headerLen]
}

// attrs are the attributes behind a family header of hdr bytes, as a nest.
func (m *message) attrs(hdr int) nl.Attr {
	if len(m.raw) < headerLen+hdr {
		return nl.Attr{}
	}
	return nl.Attr{Data: m.raw[headerLen+hdr:], Offset: uint32(headerLen + hdr - nl.AttrHeaderLen)}
}

// errno is the error of an ERROR or DONE message; 0 is success.
func (m *message) errno() syscall.Errno {
	if len(m.raw) < headerLen+4 {
		return 0
	}
	return syscall.Errno(-int32(binary.NativeEndian.Uint32(m.raw[headerLen:])))
}

// table holds the attributes of a nest by type; the last of a type counts.
type table [64]nl.Attr

// parse reads a nest. Types that do not fit are newer than this program.
func parse(a nl.Attr) *table {
	t := new(table)
	for c := range a.Children() {
		if int(c.Type) < len(t) {
			t[c.Type] = c
		}
	}
	return t
}

// genl reads the attributes of a generic netlink message.
func (m *message) genl() *table { return parse(m.attrs(genlLen)) }

// has reports whether there was an attribute of type i.
func (t *table) has(i int) bool { return t[i].Data != nil }

// u8 returns an 8-bit attribute, and whether it was there.
func (t *table) u8(i int) (uint8, bool) { return t[i].Uint8(), t.has(i) }

// u32 returns a 32-bit attribute, and whether it was there.
func (t *table) u32(i int) (uint32, bool) { return t[i].Uint32(), t.has(i) }
