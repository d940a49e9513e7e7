package ethnl

import "ipoib/nl"

// AppendHeader appends the header of a reply (kernel
// ethnl_fill_reply_header).
func AppendHeader(e *nl.Encoder, t uint16, ifindex int, name string) {
	e.Nest(t, func() {
		e.U32(HeaderDevIndex, uint32(ifindex))
		e.String(HeaderDevName, name)
	})
}

// AppendRequestHeader appends the header of a request; an empty name and flags
// 0 are left out.
func AppendRequestHeader(e *nl.Encoder, t uint16, name string, flags uint32) {
	e.Nest(t, func() {
		if name != "" {
			e.String(HeaderDevName, name)
		}
		if flags != 0 {
			e.U32(HeaderFlags, flags)
		}
	})
}

// Header is the header of a request.
type Header struct {
	// Attr is the header itself, to blame.
	Attr nl.Attr
	// Index and Name are the attributes that name the interface.
	Index, Name       nl.Attr
	HasIndex, HasName bool
	Flags             uint32
}

// Compact reports whether the reply is to have compact bitsets.
func (h *Header) Compact() bool { return h.Flags&FlagCompactBitsets != 0 }

// ParseHeader reads the header of a request, whose policy has checked it.
func ParseHeader(a nl.Attr) Header {
	h := Header{Attr: a}
	for c := range a.Children() {
		switch c.Type {
		case HeaderDevIndex:
			h.Index, h.HasIndex = c, true
		case HeaderDevName:
			h.Name, h.HasName = c, true
		case HeaderFlags:
			h.Flags = c.Uint32()
		}
	}
	return h
}
