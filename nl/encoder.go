package nl

import (
	"encoding/binary"
	"math"
	"syscall"

	"github.com/mdlayher/netlink"
)

// Encoder appends messages and attributes to a buffer, in the kernel's layout.
// The encoder of github.com/mdlayher/netlink always sets NLA_F_NESTED, which
// most of rtnetlink and the generic netlink controller must not.
//
// The zero value is ready to use. Errors stick: see [Encoder.Err].
type Encoder struct {
	b   []byte
	err error
}

// NewEncoder returns an encoder that appends to b.
func NewEncoder(b []byte) *Encoder { return &Encoder{b: b} }

// Bytes returns what was written.
func (e *Encoder) Bytes() []byte { return e.b }

// Len returns the number of bytes written.
func (e *Encoder) Len() int { return len(e.b) }

// Err returns EMSGSIZE once an attribute was too large for its 16-bit length,
// which is what a kernel handler gets that runs out of room.
func (e *Encoder) Err() error { return e.err }

// Truncate drops everything from length n on, as nla_nest_cancel does; n is
// an earlier result of Len. The error of what is dropped stays.
func (e *Encoder) Truncate(n int) { e.b = e.b[:n] }

// Raw appends bytes, padded to 4: a fixed header such as struct ifinfomsg.
func (e *Encoder) Raw(p []byte) {
	e.b = append(e.b, p...)
	e.pad()
}

func (e *Encoder) pad() {
	for len(e.b)&3 != 0 {
		e.b = append(e.b, 0)
	}
}

// header starts an attribute with a payload of n bytes.
func (e *Encoder) header(t uint16, n int) bool {
	if n > math.MaxUint16-AttrHeaderLen {
		e.err = syscall.EMSGSIZE
		return false
	}
	e.b = binary.NativeEndian.AppendUint16(e.b, uint16(n+AttrHeaderLen))
	e.b = binary.NativeEndian.AppendUint16(e.b, t)
	return true
}

// Put appends an attribute with payload p.
func (e *Encoder) Put(t uint16, p []byte) {
	if e.header(t, len(p)) {
		e.Raw(p)
	}
}

// Flag appends an attribute without payload.
func (e *Encoder) Flag(t uint16) { e.header(t, 0) }

// U8 appends an 8-bit integer.
func (e *Encoder) U8(t uint16, v uint8) {
	e.header(t, 1)
	e.b = append(e.b, v, 0, 0, 0)
}

// U16 appends a 16-bit integer in host byte order.
func (e *Encoder) U16(t, v uint16) {
	e.header(t, 2)
	e.b = binary.NativeEndian.AppendUint16(e.b, v)
	e.b = append(e.b, 0, 0)
}

// U32 appends a 32-bit integer in host byte order.
func (e *Encoder) U32(t uint16, v uint32) {
	e.header(t, 4)
	e.b = binary.NativeEndian.AppendUint32(e.b, v)
}

// S32 appends a signed 32-bit integer in host byte order.
func (e *Encoder) S32(t uint16, v int32) { e.U32(t, uint32(v)) }

// U64 appends a 64-bit integer in host byte order, unpadded: the kernel pads
// only where unaligned access is slow (nla_need_padding_for_64bit).
func (e *Encoder) U64(t uint16, v uint64) {
	e.header(t, 8)
	e.b = binary.NativeEndian.AppendUint64(e.b, v)
}

// S64 appends a signed 64-bit integer in host byte order.
func (e *Encoder) S64(t uint16, v int64) { e.U64(t, uint64(v)) }

// String appends a string with its terminating NUL (nla_put_string).
func (e *Encoder) String(t uint16, s string) {
	if !e.header(t, len(s)+1) {
		return
	}
	e.b = append(e.b, s...)
	e.b = append(e.b, 0)
	e.pad()
}

// Nest appends a nest whose content fill writes, with NLA_F_NESTED
// (nla_nest_start).
func (e *Encoder) Nest(t uint16, fill func()) { e.nest(t|attrNested, fill) }

// NestNoFlag is Nest without NLA_F_NESTED (nla_nest_start_noflag): rtnetlink
// and the generic netlink controller predate the flag.
func (e *Encoder) NestNoFlag(t uint16, fill func()) { e.nest(t, fill) }

func (e *Encoder) nest(t uint16, fill func()) {
	start := len(e.b)
	e.header(t, 0)
	fill()
	n := len(e.b) - start
	if n > math.MaxUint16 {
		e.err = syscall.EMSGSIZE
		e.b = e.b[:start]
		return
	}
	binary.NativeEndian.PutUint16(e.b[start:], uint16(n))
}

// Message appends a message. h.Length is ignored; fill writes what follows
// the header and may be nil. On an error nothing is appended and the error is
// returned; it does not stick.
func (e *Encoder) Message(h netlink.Header, fill func(*Encoder) error) error {
	start := len(e.b)
	var zero [HeaderLen]byte
	e.b = append(e.b, zero[:]...)
	var err error
	if fill != nil {
		err = fill(e)
	}
	if err == nil {
		err = e.err
	}
	if err != nil {
		e.b, e.err = e.b[:start], nil
		return err
	}
	h.Length = uint32(len(e.b) - start)
	e.pad()
	putHeader(e.b[start:], h)
	return nil
}
