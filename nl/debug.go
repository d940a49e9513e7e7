package nl

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"

	"github.com/mdlayher/netlink"
)

// tracer writes the messages of all clients to w.
type tracer struct {
	mu sync.Mutex
	w  io.Writer
}

// datagram prints one datagram, received from c or sent to it.
func (t *tracer) datagram(c *client, in bool, b []byte) {
	if t.w == nil {
		return
	}
	dir := '>'
	if in {
		dir = '<'
	}
	head := fmt.Sprintf("netlink %c %s pid %d port %d: ", dir, protoName(c.proto), c.peer.PID(), c.port)
	text := FormatDatagram(c.proto, b)
	t.mu.Lock()
	defer t.mu.Unlock()
	io.WriteString(t.w, head+text)
}

// FormatDatagram decodes a datagram for people: one line for each message,
// then its attributes, each deeper level indented further. What has no
// structure, or an unknown one, is printed in hex. The text ends with a
// newline.
func FormatDatagram(proto int, b []byte) string {
	var s strings.Builder
	for {
		h, msg, rest, ok := nextMessage(b)
		if !ok {
			break
		}
		formatMessage(&s, proto, h, msg)
		b = rest
	}
	if len(b) > 0 {
		fmt.Fprintf(&s, "%d stray bytes %s\n", len(b), hexBytes(b))
	}
	if s.Len() == 0 {
		return "empty\n"
	}
	return s.String()
}

func formatMessage(s *strings.Builder, proto int, h netlink.Header, msg []byte) {
	fmt.Fprintf(s, "len %d type %s flags %s seq %d pid %d", h.Length, typeName(proto, h.Type),
		flagNames(proto, h.Type, h.Flags), h.Sequence, h.PID)
	p := msg[HeaderLen:]
	switch {
	case h.Type == ControlType:
		formatControl(s, msg)
	case h.Type == netlink.Error || h.Type == netlink.Done:
		formatErrno(s, h, p)
	case h.Type >= MinType && proto == ProtoGeneric && len(p) >= 4:
		fmt.Fprintf(s, " cmd %d version %d\n", p[0], p[1])
		formatAttrs(s, p[4:], 1)
	case isLink(proto, h.Type) && len(p) >= 16:
		fmt.Fprintf(s, " ifinfomsg %s\n", hex.EncodeToString(p[:16]))
		formatAttrs(s, p[16:], 1)
	default:
		fmt.Fprintf(s, " %s\n", hexBytes(p))
	}
}

// isLink: RTM_NEWLINK to RTM_SETLINK.
func isLink(proto int, t netlink.HeaderType) bool {
	return proto == ProtoRoute && t >= 16 && t <= 19
}

func formatControl(s *strings.Builder, msg []byte) {
	m, err := ParseControl(msg)
	name := map[ControlOp]string{OpHello: "hello", OpSetOption: "setsockopt", OpPacketInfo: "pktinfo"}[m.Op]
	switch {
	case err != nil:
		fmt.Fprintf(s, " bad control message: %v\n", err)
	case m.Answer:
		fmt.Fprintf(s, " %s answer %s value %d\n", name, errnoName(int32(m.Args[0])), m.Args[1])
	case m.Op == OpSetOption:
		fmt.Fprintf(s, " %s %s %d\n", name, Option(m.Args[0]), m.Args[1])
	default:
		fmt.Fprintf(s, " %s %d\n", name, m.Args[:m.n])
	}
}

// formatErrno prints the body of NLMSG_ERROR and NLMSG_DONE.
func formatErrno(s *strings.Builder, h netlink.Header, p []byte) {
	if len(p) < 4 {
		fmt.Fprintf(s, " %s\n", hexBytes(p))
		return
	}
	fmt.Fprintf(s, " %s\n", errnoName(int32(Attr{Data: p}.Uint32())))
	p = p[4:]
	if h.Type == netlink.Error {
		if len(p) < HeaderLen {
			return
		}
		// The request follows, its header only when capped.
		n := HeaderLen
		if h.Flags&netlink.Capped == 0 {
			n = Align(int(min(uint64(ParseHeader(p).Length), uint64(len(p)))))
		}
		p = p[min(n, len(p)):]
	}
	if h.Flags&netlink.AcknowledgeTLVs != 0 {
		formatAttrs(s, p, 1)
	}
}

func formatAttrs(s *strings.Builder, b []byte, depth int) {
	left := scanAttrs(b, 0, func(a Attr) bool {
		fmt.Fprintf(s, "%s[%d", strings.Repeat("    ", depth), a.Type)
		if a.NetByteOrder {
			s.WriteString(" BE")
		}
		switch {
		case a.Nested && depth < maxDepth:
			s.WriteString("]\n")
			formatAttrs(s, a.Data, depth+1)
		case isText(a.Data):
			fmt.Fprintf(s, "] %q\n", a.String())
		default:
			fmt.Fprintf(s, "] %s\n", hexBytes(a.Data))
		}
		return true
	})
	if left > 0 {
		fmt.Fprintf(s, "%s%d stray bytes\n", strings.Repeat("    ", depth), left)
	}
}

// isText guesses: printable, longer than an integer's padding, ending in NUL.
func isText(b []byte) bool {
	if len(b) < 2 || b[len(b)-1] != 0 {
		return false
	}
	for _, c := range b[:len(b)-1] {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// hexBytes prints bytes, cut to a length that a log can take.
func hexBytes(b []byte) string {
	const most = 256
	if len(b) > most {
		return fmt.Sprintf("%x... (%d bytes)", b[:most], len(b))
	}
	return hex.EncodeToString(b)
}

func errnoName(e int32) string {
	switch {
	case e == 0:
		return "ok"
	case e > 0:
		return fmt.Sprintf("errno %d", e)
	}
	return fmt.Sprintf("errno %d (%s)", e, syscall.Errno(-e))
}

func typeName(proto int, t netlink.HeaderType) string {
	switch {
	case t == netlink.Noop:
		return "NOOP"
	case t == netlink.Error:
		return "ERROR"
	case t == netlink.Done:
		return "DONE"
	case t == netlink.Overrun:
		return "OVERRUN"
	case t == ControlType:
		return "CONTROL"
	case isLink(proto, t):
		return [...]string{"RTM_NEWLINK", "RTM_DELLINK", "RTM_GETLINK", "RTM_SETLINK"}[t-16]
	case proto == ProtoGeneric && t == 16:
		return "nlctrl"
	}
	return fmt.Sprintf("%#x", uint16(t))
}

// flagNames names flags by the kind of message that they are on: the high
// byte means one thing on GET requests, another on NEW and on answers.
func flagNames(proto int, t netlink.HeaderType, f netlink.HeaderFlags) string {
	names := []string{"REQUEST", "MULTI", "ACK", "ECHO", "DUMP_INTR", "DUMP_FILTERED"}
	high := []string{"ROOT", "MATCH", "ATOMIC"}
	switch {
	case t == netlink.Error || t == netlink.Done:
		high = []string{"CAPPED", "ACK_TLVS"}
	case proto == ProtoRoute && t >= MinType && t&3 == 0: // RTM_NEW*
		high = []string{"REPLACE", "EXCL", "CREATE", "APPEND"}
	case proto == ProtoRoute && t >= MinType && t&3 == 1: // RTM_DEL*
		high = []string{"NONREC", "BULK"}
	}
	var out []string
	add := func(names []string, shift uint) {
		for i, n := range names {
			if bit := netlink.HeaderFlags(1) << (shift + uint(i)); f&bit != 0 {
				out = append(out, n)
				f &^= bit
			}
		}
	}
	add(names, 0)
	add(high, 8)
	if f != 0 {
		out = append(out, fmt.Sprintf("%#x", uint16(f)))
	}
	if len(out) == 0 {
		return "0"
	}
	return strings.Join(out, "|")
}
