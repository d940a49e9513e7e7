package ethtoolsrv_test

import (
	"encoding/binary"
	"fmt"
	"syscall"
	"testing"
	"time"

	"ipoib/ethtoolsrv/ethtooltest"
	"ipoib/nl"
	"ipoib/nl/ethnl"
)

// Flags of requests.
const (
	request = 0x1
	ack     = 0x4
	dump    = 0x300
)

// conn is a client of the family that reads answers message by message.
type conn struct {
	tb     testing.TB
	c      *nl.Conn
	family uint16
	group  uint32
	seq    uint32
}

// message is a received message of the family, or an ERROR or DONE.
type message struct {
	typ, flags uint16
	seq, pid   uint32
	cmd        uint8
	attrs      nl.Attr // the attributes behind the genlmsghdr
	errno      syscall.Errno
	text       string
	raw        []byte
}

func dial(tb testing.TB, h *ethtooltest.Host, admin bool) *conn {
	tb.Helper()
	c := &conn{tb: tb, c: h.Dial(tb, admin, nl.ConnConfig{Protocol: nl.ProtoGeneric, ExtAck: true})}
	const ctrl, getFamily, attrID, attrName, attrGroups = 16, 3, 1, 2, 7
	c.family = ctrl
	c.send(getFamily, request, func(e *nl.Encoder) { e.String(attrName, ethnl.Name) })
	for a := range c.read()[0].attrs.Children() {
		switch a.Type {
		case attrID:
			c.family = a.Uint16()
		case attrGroups:
			for g := range a.Children() {
				for x := range g.Children() {
					if x.Type == 2 {
						c.group = x.Uint32()
					}
				}
			}
		}
	}
	if c.family == ctrl || c.group == 0 {
		tb.Fatalf("family %d, group %d", c.family, c.group)
	}
	return c
}

// encode makes one request.
func encode(family uint16, cmd uint8, flags uint16, seq uint32, fill func(*nl.Encoder)) []byte {
	b := make([]byte, nl.HeaderLen, 64)
	b = append(b, cmd, 1, 0, 0)
	e := nl.NewEncoder(b)
	fill(e)
	b = e.Bytes()
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], family)
	binary.NativeEndian.PutUint16(b[6:], flags)
	binary.NativeEndian.PutUint32(b[8:], seq)
	return b
}

func (c *conn) send(cmd uint8, flags uint16, fill func(*nl.Encoder)) {
	c.tb.Helper()
	c.seq++
	if err := c.c.WriteDatagram(encode(c.family, cmd, flags, c.seq, fill)); err != nil {
		c.tb.Fatal(err)
	}
}

// read returns the messages of the next datagram.
func (c *conn) read() []message {
	c.tb.Helper()
	d, err := c.c.ReadDatagram()
	if err != nil {
		c.tb.Fatal(err)
	}
	return split(d.Bytes)
}

func split(b []byte) []message {
	var out []message
	for len(b) >= nl.HeaderLen {
		h := nl.ParseHeader(b)
		raw := b[:h.Length]
		m := message{typ: uint16(h.Type), flags: uint16(h.Flags), seq: h.Sequence, pid: h.PID, raw: raw}
		switch m.typ {
		case 2, 3:
			m.errno = syscall.Errno(-int32(binary.NativeEndian.Uint32(raw[16:])))
			m.text = extAckText(raw)
		default:
			m.cmd = raw[16]
			m.attrs = nl.Attr{Data: raw[20:], Offset: 16}
		}
		out = append(out, m)
		b = b[min(nl.Align(int(h.Length)), len(b)):]
	}
	return out
}

// extAckText returns the text of an error message.
func extAckText(raw []byte) string {
	off := 20
	if nl.ParseHeader(raw).Flags&0x100 == 0 && len(raw) >= 36 {
		off += nl.Align(int(nl.ParseHeader(raw[20:]).Length))
	} else {
		off += nl.HeaderLen
	}
	if off >= len(raw) {
		return ""
	}
	for a := range (nl.Attr{Data: raw[off:]}).Children() {
		if a.Type == nl.ExtAckMsg {
			return a.String()
		}
	}
	return ""
}

// quiet fails when something arrives within a short time.
func (c *conn) quiet() {
	c.tb.Helper()
	_ = c.c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	defer func() { _ = c.c.SetReadDeadline(time.Time{}) }()
	if d, err := c.c.ReadDatagram(); err == nil {
		c.tb.Errorf("unexpected datagram:\n%s", nl.FormatDatagram(nl.ProtoGeneric, d.Bytes))
	}
}

// do sends a request with ACK and returns what came before the ACK, and the
// ACK.
func (c *conn) do(cmd uint8, fill func(*nl.Encoder)) (replies []message, end message) {
	c.tb.Helper()
	c.send(cmd, request|ack, fill)
	for {
		for _, m := range c.read() {
			if m.typ == 2 || m.typ == 3 {
				return replies, m
			}
			replies = append(replies, m)
		}
	}
}

// get asks for one interface and returns the attributes of the reply.
func (c *conn) get(cmd uint8, name string, flags uint32) nl.Attr {
	c.tb.Helper()
	t := uint16(ethnl.LinkInfoHeader)
	if cmd == ethnl.CmdStatsGet {
		t = ethnl.StatsHeader
	}
	replies, end := c.do(cmd, func(e *nl.Encoder) { ethnl.AppendRequestHeader(e, t, name, flags) })
	if end.errno != 0 || len(replies) != 1 {
		c.tb.Fatalf("command %d: %d replies, %v %q", cmd, len(replies), end.errno, end.text)
	}
	return replies[0].attrs
}

// attr returns an attribute, which must be there.
func attr(tb testing.TB, in nl.Attr, t uint16) nl.Attr {
	tb.Helper()
	for a := range in.Children() {
		if a.Type == t {
			return a
		}
	}
	tb.Fatalf("no attribute %d in %x", t, in.Data)
	return nl.Attr{}
}

// types lists the attribute types, in order.
func types(in nl.Attr) string {
	s := ""
	for a := range in.Children() {
		s += fmt.Sprint(a.Type, " ")
	}
	return s
}

// named fills in a header.
func named(name string) func(*nl.Encoder) {
	return func(e *nl.Encoder) { ethnl.AppendRequestHeader(e, ethnl.LinkInfoHeader, name, 0) }
}
