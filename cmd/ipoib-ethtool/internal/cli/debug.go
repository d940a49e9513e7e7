package cli

import (
	"encoding/binary"
	"strings"

	"ipoib/nl"
	"ipoib/nl/ethnl"
)

// Bits of --debug.
const (
	debugMessages = 0x2  // a line for each message
	debugSent     = 0x4  // dump what is sent
	debugReceived = 0x8  // dump what is received
	debugPretty   = 0x10 // print messages with their attributes
)

// traceDatagram prints a datagram as --debug asks for it.
func (s *session) traceDatagram(k *socket, b []byte, sent bool) {
	dump := s.debug&debugReceived != 0
	dir := "received"
	if sent {
		dump = s.debug&debugSent != 0
		dir = "sending"
	}
	summary := s.debug&debugMessages != 0
	if !summary && !dump {
		return
	}
	family := "genetlink"
	if k.proto == nl.ProtoRoute {
		family = "rtnetlink"
	}
	s.out.printf("%s %s packet (%d bytes):\n", dir, family, len(b))
	for {
		m, rest, ok := nextMessage(b)
		if !ok {
			return
		}
		if summary {
			s.summary(k, &m, sent)
		}
		if dump {
			s.dump(&m)
		}
		b = rest
	}
}

// summary prints the line of a message and, if asked for, its attributes.
func (s *session) summary(k *socket, m *message, sent bool) {
	s.out.printf("    msg length %d", len(m.raw))
	pretty := s.debug&debugPretty != 0
	switch {
	case m.typ < nl.MinType:
		s.controlSummary(m)
	case k.proto == nl.ProtoRoute:
		if m.typ < uint16(len(routeMessages)) && routeMessages[m.typ].Name != "" {
			s.out.printf(" %s\n", routeMessages[m.typ].Name)
		} else {
			s.out.printf(" type %d\n", m.typ)
		}
		if pretty {
			s.prettyRoute(m)
		}
	case m.typ == s.family:
		s.familySummary(m, sent, pretty)
	case m.typ == ctrlID:
		s.out.print(" genl-ctrl\n")
		if pretty {
			s.prettyGenl(m, controlMessages, 0)
		}
	default:
		s.out.print("\n")
		if pretty {
			s.prettyGenl(m, nil, 0)
		}
	}
}

func (s *session) controlSummary(m *message) {
	switch m.typ {
	case typeNoop:
		s.out.print(" noop\n")
	case typeError:
		if len(m.raw) < headerLen+4+headerLen {
			s.out.print(" error malformed\n")
			return
		}
		s.out.printf(" error errno=%d\n", -int(m.errno()))
	case typeDone:
		s.out.print(" done\n")
	case typeOverrun:
		s.out.print(" overrun\n")
	default:
		s.out.printf(" type %d\n", m.typ)
	}
}

// familySummary names a message of the family; the name of the family is
// spelled as ethtool 6.1 does it.
func (s *session) familySummary(m *message, sent, pretty bool) {
	s.out.print(" ethool")
	if len(m.raw) < headerLen+genlLen {
		s.out.print(" malformed\n")
		return
	}
	table := ethnl.KernelMessages
	if sent {
		table = ethnl.UserMessages
	}
	if d := lookup(table, m.cmd()); d != nil {
		s.out.print(" " + d.Name + "\n")
	} else {
		s.out.printf(" cmd %d\n", m.cmd())
	}
	if pretty {
		s.prettyGenl(m, table, 0)
	}
}

func lookup(table []ethnl.Message, cmd uint8) *ethnl.Message {
	if int(cmd) >= len(table) || table[cmd].Name == "" {
		return nil
	}
	return &table[cmd]
}

// dump prints a message in words of 32 bits, in the layout of libmnl.
func (s *session) dump(m *message) {
	flag := func(bit uint16, c byte) byte {
		if m.flags&bit != 0 {
			return c
		}
		return '-'
	}
	const rule = "----------------\t------------------\n"
	s.out.print(rule)
	s.out.printf("|  %010d  |\t| message length |\n", len(m.raw))
	s.out.printf("| %05d | %c%c%c%c |\t|  type | flags  |\n", m.typ,
		flag(flagRequest, 'R'), flag(flagMulti, 'M'), flag(flagAck, 'A'), flag(flagEcho, 'E'))
	s.out.printf("|  %010d  |\t| sequence number|\n", m.seq)
	s.out.printf("|  %010d  |\t|     port ID    |\n", m.pid)
	s.out.print(rule)
	// Words are cut from whole ones: a last odd byte is padded.
	b := append(m.payload(), 0, 0, 0)
	extra, left := genlLen, 0
	for ; len(b) >= 4; b = b[4:] {
		hex := "| " + hexBytes(b[:4]) + "  |\t"
		typ := binary.NativeEndian.Uint16(b[2:])
		switch {
		case m.typ < nl.MinType:
			s.out.print(hex + "|                |\n")
		case extra > 0:
			extra -= 4
			s.out.print(hex + "|  extra header  |\n")
		case left == 0 && typ&attrType != 0:
			n := binary.NativeEndian.Uint16(b)
			nest, order := "-", "-"
			if typ&attrNested != 0 {
				nest = "N"
			} else {
				left = nl.Align(int(n)) - nl.AttrHeaderLen
			}
			if typ&attrOrder != 0 {
				order = "B"
			}
			s.out.printf("|\x1b[1;31m%05d\x1b[0m|\x1b[1;32m%s%s\x1b[0m|\x1b[1;34m%05d\x1b[0m|\t|len |flags| type|\n",
				n, nest, order, typ&attrType)
		case left > 0:
			left -= 4
			s.out.print(hex + "|      data      |\t " + printable(b[:4]) + "\n")
		}
	}
	s.out.print(rule)
}

// Parts of an attribute's type (uapi/linux/netlink.h).
const (
	attrNested = 1 << 15
	attrOrder  = 1 << 14
	attrType   = attrOrder - 1
)

const hexDigits = "0123456789abcdef"

// hexBytes writes bytes in hex with spaces between.
func hexBytes(b []byte) string {
	var out strings.Builder
	for i, c := range b {
		if i > 0 {
			out.WriteByte(' ')
		}
		out.WriteByte(hexDigits[c>>4])
		out.WriteByte(hexDigits[c&15])
	}
	return out.String()
}

// printable writes bytes as text with spaces between, and for what is no text.
func printable(b []byte) string {
	var out strings.Builder
	for i, c := range b {
		if i > 0 {
			out.WriteByte(' ')
		}
		if c < ' ' || c > '~' {
			c = ' '
		}
		out.WriteByte(c)
	}
	return out.String()
}
