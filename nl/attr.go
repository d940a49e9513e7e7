package nl

import (
	"bytes"
	"encoding/binary"
	"iter"
)

// Attr is one received attribute. It points into the request that it came
// with, and knows its place there for the extended ack.
type Attr struct {
	// Type is the attribute type without the flag bits.
	Type uint16
	// Nested and NetByteOrder are the flag bits as received.
	Nested, NetByteOrder bool
	// Data is the payload, without header and padding; never nil.
	Data []byte
	// Offset is the place of the attribute's header, in bytes from the start
	// of the request's nlmsghdr (NLMSGERR_ATTR_OFFS).
	Offset uint32
}

// scanAttrs calls yield for each attribute of b until that returns false or
// the next header does not fit (nla_ok). It returns the bytes left over then.
// off is the offset of b in the request.
func scanAttrs(b []byte, off uint32, yield func(Attr) bool) (leftover int) {
	for len(b) >= AttrHeaderLen {
		n := int(binary.NativeEndian.Uint16(b))
		if n < AttrHeaderLen || n > len(b) {
			break
		}
		t := binary.NativeEndian.Uint16(b[2:])
		a := Attr{
			Type:         t & attrTypeMask,
			Nested:       t&attrNested != 0,
			NetByteOrder: t&attrNetByteOrder != 0,
			Data:         b[AttrHeaderLen:n:n],
			Offset:       off,
		}
		if !yield(a) {
			return 0
		}
		n = min(Align(n), len(b))
		b = b[n:]
		off += uint32(n)
	}
	return len(b)
}

// Children iterates over the attributes inside a nest, in order, whatever
// their types; bytes that form no attribute end it.
func (a Attr) Children() iter.Seq[Attr] {
	return func(yield func(Attr) bool) {
		scanAttrs(a.Data, a.Offset+AttrHeaderLen, yield)
	}
}

// Uint8 returns the first byte of the payload, 0 if there is none. The
// integer getters, like the kernel's nla_get_*, leave the length to the policy.
func (a Attr) Uint8() uint8 {
	if len(a.Data) < 1 {
		return 0
	}
	return a.Data[0]
}

// Uint16 returns the payload in host byte order, 0 if it is too short.
func (a Attr) Uint16() uint16 {
	if len(a.Data) < 2 {
		return 0
	}
	return binary.NativeEndian.Uint16(a.Data)
}

// Uint32 returns the payload in host byte order, 0 if it is too short.
func (a Attr) Uint32() uint32 {
	if len(a.Data) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(a.Data)
}

// Uint64 returns the payload in host byte order, 0 if it is too short.
func (a Attr) Uint64() uint64 {
	if len(a.Data) < 8 {
		return 0
	}
	return binary.NativeEndian.Uint64(a.Data)
}

// Int32 returns the payload in host byte order, 0 if it is too short.
func (a Attr) Int32() int32 { return int32(a.Uint32()) }

// String returns the payload up to its first NUL.
func (a Attr) String() string {
	s, _, _ := bytes.Cut(a.Data, []byte{0})
	return string(s)
}

// Attrs is a parsed set of attributes, by type. Of a repeated type the last
// one is kept, as the kernel does. The zero value is empty.
type Attrs struct {
	tb  []slot
	got int
	// leftover is the number of bytes behind the last attribute.
	leftover int
}

type slot struct {
	Attr
	ok bool
}

// Get returns the attribute of type t, and whether it was there.
func (s Attrs) Get(t uint16) (Attr, bool) {
	if int(t) >= len(s.tb) {
		return Attr{}, false
	}
	return s.tb[t].Attr, s.tb[t].ok
}

// Has reports whether an attribute of type t was there.
func (s Attrs) Has(t uint16) bool {
	_, ok := s.Get(t)
	return ok
}

// Len returns the number of types that were there.
func (s Attrs) Len() int { return s.got }

// All iterates over the attributes in the order of their types.
func (s Attrs) All() iter.Seq[Attr] {
	return func(yield func(Attr) bool) {
		for i := range s.tb {
			if s.tb[i].ok && !yield(s.tb[i].Attr) {
				return
			}
		}
	}
}

// Leftover returns the number of bytes behind the last attribute. The strict
// modes refuse a message that has any.
func (s Attrs) Leftover() int { return s.leftover }
