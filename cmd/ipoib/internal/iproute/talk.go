package iproute

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"syscall"

	"github.com/mdlayher/netlink"

	"ipoib/nl"
)

// handle is a socket with its sequence counter (struct rtnl_handle).
type handle struct {
	sock Socket
	seq  uint32
	// events is set when the socket has joined groups.
	events bool
}

// dial opens a socket (rtnl_open).
func (s *session) dial(cfg nl.ConnConfig) (*handle, error) {
	cfg.Protocol, cfg.ExtAck = nl.ProtoRoute, true
	sock, err := s.env.Dial(s.o.runDir, cfg)
	if err != nil {
		return nil, err
	}
	return &handle{sock: sock, seq: uint32(s.env.Now().Unix())}, nil
}

func (s *session) noSocket(err error) error {
	s.errorf("Cannot open netlink socket: %s\n", strerror(err))
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) {
		s.errorf("The service is not running: start it with \"ipoib serve\".\n")
	}
	return fatal(1)
}

// message is one received message: data follows the nlmsghdr.
type message struct {
	netlink.Header
	data []byte
	// whole is the message with its header.
	whole []byte
}

// messages splits a datagram; what is malformed ends it.
func messages(b []byte) (out []message) {
	for len(b) >= nl.HeaderLen {
		h := nl.ParseHeader(b)
		n := int(h.Length)
		if n < nl.HeaderLen || n > len(b) {
			break
		}
		out = append(out, message{Header: h, data: b[nl.HeaderLen:n:n], whole: b[:n:n]})
		b = b[min(nl.Align(n), len(b)):]
	}
	return out
}

// errno returns the error of an NLMSG_ERROR or NLMSG_DONE message, 0 for none.
func (m *message) errno() syscall.Errno {
	if len(m.data) < 4 {
		return 0
	}
	if v := int32(binary.NativeEndian.Uint32(m.data)); v < 0 {
		return syscall.Errno(-v)
	}
	return 0
}

// extack returns the text of the extended ack, whose attributes begin at n.
func (m *message) extack(n int) string {
	if n > len(m.data) {
		return ""
	}
	text := ""
	for a := range (nl.Attr{Data: m.data[n:]}).Children() {
		if a.Type == nl.ExtAckMsg {
			text = a.String()
		}
	}
	return text
}

// Flags of NLMSG_ERROR (NLM_F_CAPPED, NLM_F_ACK_TLVS).
const (
	flagCapped  netlink.HeaderFlags = 0x100
	flagAckTLVs netlink.HeaderFlags = 0x200
)

// errorText returns the extended-ack text of an NLMSG_ERROR message.
func (m *message) errorText() string {
	if m.Flags&flagAckTLVs == 0 || len(m.data) < 4+nl.HeaderLen {
		return ""
	}
	n := 4 + nl.HeaderLen
	if m.Flags&flagCapped == 0 {
		// The request follows whole.
		n = 4 + nl.Align(int(nl.ParseHeader(m.data[4:]).Length))
	}
	return m.extack(n)
}

// printExtAck prints an extended ack as an error or a warning.
func (s *session) printExtAck(isErr bool, text string) {
	what := "Warning"
	if isErr {
		what = "Error"
	}
	dot := "."
	if strings.HasSuffix(text, ".") {
		dot = ""
	}
	s.errorf("%s: %s%s\n", what, text, dot)
}

// request is a message to be sent; the sequence number comes when it is.
type request struct {
	typ   netlink.HeaderType
	flags netlink.HeaderFlags
	fill  func(*nl.Encoder)
}

func (r *request) encode(seq uint32) []byte {
	var e nl.Encoder
	_ = e.Message(netlink.Header{Type: r.typ, Flags: r.flags, Sequence: seq}, func(e *nl.Encoder) error {
		r.fill(e)
		return nil
	})
	return bytes.Clone(e.Bytes())
}

// receive reads the next datagram; errors are printed (__rtnl_recvmsg).
func (s *session) receive(h *handle) ([]message, error) {
	for {
		d, err := h.sock.ReadDatagram()
		switch {
		case err == nil:
			return messages(d.Bytes), nil
		case errors.Is(err, syscall.EINTR), errors.Is(err, syscall.EAGAIN):
		case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
			s.errorf("EOF on netlink\n")
			return nil, syscall.ENODATA
		default:
			var num syscall.Errno
			errors.As(err, &num)
			s.errorf("netlink receive error %s (%d)\n", strerror(err), int(num))
			return nil, err
		}
	}
}

// talk sends a request and returns the first message of the answer; with
// answer unset it asks for an acknowledgement and returns none (rtnl_talk).
// The error is the service's errno; it is printed if show is set.
func (s *session) talk(h *handle, r request, answer, show bool) (*message, error) {
	h.seq++
	if !answer {
		r.flags |= netlink.Acknowledge
	}
	if err := h.sock.WriteDatagram(r.encode(h.seq)); err != nil {
		s.errorf("Cannot talk to rtnetlink: %s\n", strerror(err))
		return nil, err
	}
	for {
		ms, err := s.receive(h)
		if err != nil {
			return nil, err
		}
		for i := range ms {
			m := &ms[i]
			if m.PID != h.sock.PortID() || m.Sequence != h.seq {
				continue
			}
			if m.Type != netlink.Error {
				if answer {
					return m, nil
				}
				s.errorf("Unexpected reply!!!\n")
				continue
			}
			if num := m.errno(); num != 0 {
				if show {
					s.printError(m, num)
				}
				return nil, num
			}
			if text := m.errorText(); text != "" {
				s.printExtAck(false, text)
			}
			return m, nil
		}
	}
}

// printError prints what a request was refused with (rtnl_talk_error).
func (s *session) printError(m *message, num syscall.Errno) {
	if text := m.errorText(); text != "" {
		s.printExtAck(true, text)
		return
	}
	s.errorf("RTNETLINK answers: %s\n", strerror(num))
}

// errDump is returned for a dump that failed; it was printed.
var errDump = errors.New("dump failed")

// dump sends a dump request and calls fn for each message
// (rtnl_dump_filter).
func (s *session) dump(h *handle, r request, fn func(*message)) error {
	h.seq++
	if err := h.sock.WriteDatagram(r.encode(h.seq)); err != nil {
		s.errorf("Cannot send dump request: %s\n", strerror(err))
		return err
	}
	interrupted := false
	for {
		ms, err := s.receive(h)
		if err != nil {
			return err
		}
		for i := range ms {
			m := &ms[i]
			if m.PID != h.sock.PortID() || m.Sequence != h.seq {
				continue
			}
			interrupted = interrupted || m.Flags&netlink.DumpInterrupted != 0
			switch m.Type {
			case netlink.Done:
				if num := m.errno(); num != 0 {
					s.printDone(m, num)
					return errDump
				}
				if interrupted {
					s.errorf("Dump was interrupted and may be inconsistent.\n")
				}
				return nil
			case netlink.Error:
				if num := m.errno(); num != 0 {
					s.errorf("RTNETLINK answers: %s\n", strerror(num))
					return errDump
				}
			default:
				fn(m)
			}
		}
	}
}

// printDone prints what a dump ended with (rtnl_dump_done).
func (s *session) printDone(m *message, num syscall.Errno) {
	switch text := m.extack(4); {
	case text != "":
		s.printExtAck(true, text)
	case num == syscall.ENOENT, num == syscall.EOPNOTSUPP:
	case num == syscall.EMSGSIZE:
		s.errorf("Error: Buffer too small for object.\n")
	default:
		s.errorf("RTNETLINK answers: %s\n", strerror(num))
	}
}
