package cli

import (
	"encoding/binary"
	"strings"

	"ipoib/nl"
	"ipoib/nl/ethnl"
)

const (
	indent    = 4
	dumpLine  = 16 // bytes
	dumpBlock = 4  // bytes
)

// prettyGenl prints a generic netlink message with its attributes; the one at
// offset, unless 0, is marked.
func (s *session) prettyGenl(m *message, table []ethnl.Message, offset int) {
	if len(m.raw) < headerLen+genlLen {
		s.errorf("ethtool: message too short (%d bytes)\n", len(m.raw))
		return
	}
	var attrs *ethnl.Set
	if d := lookup(table, m.cmd()); d != nil {
		s.out.print("    " + d.Name + "\n")
		attrs = d.Attrs
	} else {
		s.out.printf("    [%d]\n", m.cmd())
	}
	s.prettyAttrs(m.attrs(genlLen), attrs, offset)
}

// routeHeaders are the lengths of the headers of rtnetlink messages by the
// number of their kind, 0 for those without, in bytes.
var routeHeaders = []int{ifInfoLen, 8, 12, 12, 12, 20, 20, 20, 4}

// prettyRoute prints an rtnetlink message with its attributes.
func (s *session) prettyRoute(m *message) {
	kind := (int(m.typ) - rtmNewLink) / 4
	if kind >= len(routeHeaders) {
		s.out.printf("    [%d]\n", m.typ)
		return
	}
	hdr := routeHeaders[kind]
	if len(m.payload()) < hdr {
		s.errorf("ethtool: message too short (%d bytes)\n", len(m.raw))
		return
	}
	var attrs *ethnl.Set
	if int(m.typ) < len(routeMessages) {
		d := &routeMessages[m.typ]
		s.out.print("    " + d.Name)
		attrs = d.Attrs
	} else {
		s.out.printf("    [%d]", m.typ)
	}
	if kind == 0 {
		s.linkSummary(m.payload())
	}
	s.out.print("\n")
	s.prettyAttrs(m.attrs(hdr), attrs, 0)
}

// linkSummary prints what is set in a struct ifinfomsg.
func (s *session) linkSummary(b []byte) {
	if b[0] != 0 {
		s.out.printf(" family=%d", b[0])
	}
	if v := binary.NativeEndian.Uint16(b[2:]); v != 0 {
		s.out.printf(" type=0x%04x", v)
	}
	if v := binary.NativeEndian.Uint32(b[4:]); v != 0 {
		s.out.printf(" ifindex=%d", int32(v))
	}
	if v := binary.NativeEndian.Uint32(b[8:]); v != 0 {
		s.out.printf(" flags=0x%x", v)
	}
	if v := binary.NativeEndian.Uint32(b[12:]); v != 0 {
		s.out.printf(" change=0x%x", v)
	}
}

func (s *session) prettyAttrs(nest nl.Attr, set *ethnl.Set, offset int) {
	for a := range nest.Children() {
		s.prettyAttr(a, set, 1, offset, false)
	}
}

// prettyAttr prints an attribute at a depth. In an array its type is an index.
func (s *session) prettyAttr(a nl.Attr, set *ethnl.Set, depth, offset int, inArray bool) {
	typ := a.Type
	if inArray {
		typ = 0
	}
	var d ethnl.Attr
	known := set != nil && int(typ) < len(*set)
	if known {
		d = (*set)[typ]
	}
	array := d.Kind == ethnl.Array
	nested := array || d.Kind == ethnl.Nested || a.Nested
	prefix := "    "
	at, length := offset-int(a.Offset), nl.AttrHeaderLen
	if !nested {
		length += len(a.Data)
	}
	if at >= 0 && at < length {
		prefix = "===>"
		if at != 0 {
			s.errorf("ethtool: bad_attr inside an attribute (offset %d)\n", at)
		}
	}
	s.out.print(prefix + strings.Repeat(" ", depth*indent))
	if d.Name != "" && !inArray {
		s.out.print(d.Name)
	} else {
		s.out.printf("[%d]", a.Type)
	}
	if nested {
		s.out.print("\n")
		for c := range a.Children() {
			s.prettyAttr(c, d.Nested, depth+1, offset, array)
		}
		return
	}
	s.out.print(" = ")
	s.prettyValue(a, &d, depth)
	s.out.print("\n")
}

func (s *session) prettyValue(a nl.Attr, d *ethnl.Attr, depth int) {
	switch d.Kind {
	case ethnl.U8:
		s.prettyEnum(uint32(a.Uint8()), d.Enum)
	case ethnl.U16, ethnl.S16:
		// ethtool has signed numbers unsigned here.
		s.out.printf("%d", a.Uint16())
	case ethnl.U32:
		s.prettyEnum(a.Uint32(), d.Enum)
	case ethnl.U64:
		s.out.printf("%d", a.Uint64())
	case ethnl.S64:
		s.out.printf("%d", int64(a.Uint64()))
	case ethnl.X32:
		s.out.printf("0x%08x", a.Uint32())
	case ethnl.Bool:
		s.out.print(onoff(a.Uint8() != 0))
	case ethnl.Flag:
		s.out.print("true")
	case ethnl.String:
		s.out.print(`"` + a.String() + `"`)
	default:
		s.prettyBinary(a.Data, depth)
	}
}

func (s *session) prettyEnum(v uint32, names []string) {
	if uint64(v) < uint64(len(names)) && names[v] != "" {
		s.out.print(names[v])
		return
	}
	s.out.printf("%d", v)
}

// prettyBinary prints bytes on the line if they fit there, else below it.
func (s *session) prettyBinary(b []byte, depth int) {
	long := len(b) > dumpLine
	for i, c := range b {
		switch {
		case long && i%dumpLine == 0:
			s.out.print("\n" + strings.Repeat(" ", indent*(depth+2)))
		case long && i%dumpBlock == 0:
			s.out.print("  ")
		case long:
			s.out.print(" ")
		case i == 0:
		case i%dumpBlock == 0:
			s.out.print(" ")
		default:
			s.out.print(":")
		}
		s.out.printf("%02x", c)
	}
}
