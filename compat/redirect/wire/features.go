package wire

import (
	"slices"

	"ipoib/nl"
	"ipoib/nl/ethnl"
)

// Layout translates sets of features between two tables of names, those of the
// kernel and those of the service: the bits are numbered by the table.
type Layout struct {
	from, to []string
	// bit is the number in to of a bit in from, -1 for a name that is not
	// there.
	bit []int
}

// NewLayout returns the translation from one table to the other.
func NewLayout(from, to []string) *Layout {
	l := &Layout{from: from, to: to, bit: make([]int, len(from))}
	for i, name := range from {
		l.bit[i] = -1
		if name != "" {
			l.bit[i] = slices.Index(to, name)
		}
	}
	return l
}

// isFeatures reports whether a body behind the nlmsghdr has sets of features:
// request is set for messages to the kernel, whose commands have other
// numbers.
func isFeatures(body []byte, request bool) bool {
	if len(body) < genlHeaderLen {
		return false
	}
	if request {
		return body[0] == ethnl.CmdFeaturesGet || body[0] == ethnl.CmdFeaturesSet
	}
	switch body[0] {
	case ethnl.MsgFeaturesGetReply, ethnl.MsgFeaturesSetReply, ethnl.MsgFeaturesNTF:
		return true
	}
	return false
}

// Request translates the body of a request to read or set features; any other
// is returned as it is.
func (l *Layout) Request(body []byte) []byte { return l.translate(body, true) }

// Reply translates the body of an answer or a notification about features;
// any other is returned as it is.
func (l *Layout) Reply(body []byte) []byte { return l.translate(body, false) }

func (l *Layout) translate(body []byte, request bool) []byte {
	if l == nil || !isFeatures(body, request) {
		return body
	}
	e := nl.NewEncoder(slices.Clone(body[:genlHeaderLen]))
	for a := range attrs(body, genlHeaderLen) {
		switch a.Type {
		case ethnl.FeaturesHW, ethnl.FeaturesWanted, ethnl.FeaturesActive, ethnl.FeaturesNoChange:
			e.Nest(a.Type, func() { l.bitset(e, a) })
		default:
			putAttr(e, a)
		}
	}
	if e.Err() != nil {
		return body
	}
	return e.Bytes()
}

func putAttr(e *nl.Encoder, a nl.Attr) {
	if a.Nested {
		e.Nest(a.Type, func() { e.Raw(a.Data) })
		return
	}
	e.Put(a.Type, a.Data)
}

// bitset translates one set, in either encoding.
func (l *Layout) bitset(e *nl.Encoder, set nl.Attr) {
	for a := range set.Children() {
		switch a.Type {
		case ethnl.BitsetSize:
			e.U32(a.Type, uint32(len(l.to)))
		case ethnl.BitsetValue, ethnl.BitsetMask:
			e.Put(a.Type, l.words(a.Data))
		case ethnl.BitsetBits:
			e.Nest(a.Type, func() {
				for bit := range a.Children() {
					l.one(e, bit)
				}
			})
		default:
			putAttr(e, a)
		}
	}
}

// words translates a bitmap of 32-bit words.
func (l *Layout) words(b []byte) []byte {
	out := ethnl.NewBitmap(len(l.to))
	for i := range min(len(b)/4*32, len(l.bit)) {
		if native.Uint32(b[i/32*4:])>>(i%32)&1 != 0 && l.bit[i] >= 0 {
			out.Set(l.bit[i])
		}
	}
	var raw []byte
	for _, w := range out {
		raw = native.AppendUint32(raw, w)
	}
	return raw
}

// one translates a bit of a verbose set. A bit that only one table has is left
// out; a name that neither has stays, to be refused.
func (l *Layout) one(e *nl.Encoder, bit nl.Attr) {
	index, name := -1, ""
	for a := range bit.Children() {
		switch a.Type {
		case ethnl.BitsetBitIndex:
			index = int(a.Uint32())
		case ethnl.BitsetBitName:
			name = a.String()
		}
	}
	to := -1
	switch {
	case index >= 0 && index < len(l.bit):
		if to = l.bit[index]; to < 0 {
			return
		}
	case name != "" && slices.Contains(l.from, name) && !slices.Contains(l.to, name):
		return
	}
	e.Nest(bit.Type, func() {
		for a := range bit.Children() {
			if a.Type == ethnl.BitsetBitIndex && to >= 0 {
				e.U32(a.Type, uint32(to))
				continue
			}
			putAttr(e, a)
		}
	})
}

// AsksFeatures reports whether a request of the ethtool family is for the
// names of the features, and whether for them alone.
func AsksFeatures(m *Message) (asks, alone bool) {
	p := m.Payload()
	if len(p) < genlHeaderLen || p[0] != ethnl.CmdStrsetGet {
		return false, false
	}
	n := 0
	for a := range attrs(p, genlHeaderLen) {
		if a.Type != ethnl.StrsetStringSets {
			continue
		}
		for set := range a.Children() {
			n++
			for c := range set.Children() {
				if c.Type == ethnl.StringSetID && c.Uint32() == ethnl.SetFeatures {
					asks = true
				}
			}
		}
	}
	return asks || n == 0, asks && n == 1
}

// Features reports whether a request of the ethtool family reads or sets
// features.
func Features(m *Message) bool { return isFeatures(m.Payload(), true) }

// WithBody returns a message with another body.
func (m *Message) WithBody(body []byte) []byte { return Append(nil, m.Header, body) }

// LimitGroups returns a request for statistics whose set of groups names the
// first n groups at most; any other request is returned as it is. The kernel
// may know more groups than the service.
func LimitGroups(m *Message, n int) []byte {
	p := m.Payload()
	if len(p) < genlHeaderLen || p[0] != ethnl.CmdStatsGet {
		return m.Raw
	}
	// The first n bits are the same.
	l := &Layout{to: make([]string, n), bit: make([]int, n)}
	for i := range l.bit {
		l.bit[i] = i
	}
	e := nl.NewEncoder(slices.Clone(p[:genlHeaderLen]))
	for a := range attrs(p, genlHeaderLen) {
		if a.Type == ethnl.StatsGroups && compact(a) {
			e.Nest(a.Type, func() { l.bitset(e, a) })
			continue
		}
		putAttr(e, a)
	}
	if e.Err() != nil {
		return m.Raw
	}
	return m.WithBody(e.Bytes())
}

// compact reports whether a set is in the compact encoding.
func compact(set nl.Attr) bool {
	for a := range set.Children() {
		if a.Type == ethnl.BitsetValue {
			return true
		}
	}
	return false
}
