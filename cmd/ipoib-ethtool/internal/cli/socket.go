package cli

import (
	"encoding/binary"
	"syscall"

	"ipoib/nl"
	"ipoib/nl/ethnl"
)

// Results of a callback for a message.
const (
	cbError = -1
	cbStop  = 0
	cbOK    = 1
)

// socket is a netlink socket and the request that is being made for it.
type socket struct {
	s     *session
	conn  Socket
	proto int
	seq   uint32
	port  uint32
	// enc writes the request behind its headers.
	enc *nl.Encoder
}

func (s *session) newSocket(proto int) (*socket, error) {
	conn, err := s.endpoint.Open(proto)
	if err != nil {
		return nil, err
	}
	return &socket{s: s, conn: conn, proto: proto, port: conn.PortID()}, nil
}

// newRequest begins a request of a generic netlink family.
func newRequest(family uint16, cmd uint8, flags uint16) *nl.Encoder {
	b := make([]byte, headerLen, 128)
	binary.NativeEndian.PutUint16(b[4:], family)
	binary.NativeEndian.PutUint16(b[6:], flags)
	return nl.NewEncoder(append(b, cmd, 1, 0, 0))
}

// begin makes a request the one that is being made.
func (k *socket) begin(family uint16, cmd uint8, flags uint16) {
	k.enc = newRequest(family, cmd, flags)
}

// get begins a GET request for the interface of the command line, or for all.
func (k *socket) get(cmd uint8, header uint16, flags uint32) {
	k.getFor(k.s.dev, k.s.hasDev, cmd, header, flags)
}

func (k *socket) getFor(dev string, has bool, cmd uint8, header uint16, flags uint32) {
	nlflags := uint16(flagRequest | flagAck)
	if has && dev == wildcard {
		dev, has = "", false
		nlflags |= flagDump
	}
	k.s.dumping = !has
	k.begin(k.s.family, cmd, nlflags)
	header32(k.enc, header, dev, has, flags)
}

// set begins a SET request.
func (k *socket) set(cmd uint8, flags uint32) {
	k.begin(k.s.family, cmd, flagRequest|flagAck)
	header32(k.enc, ethnl.LinkInfoHeader, k.s.dev, k.s.hasDev, flags)
}

// header32 adds the header of a request. An empty name is sent if it was
// given.
func header32(e *nl.Encoder, header uint16, dev string, has bool, flags uint32) {
	e.Nest(header, func() {
		if has {
			e.String(ethnl.HeaderDevName, dev)
		}
		if flags != 0 {
			e.U32(ethnl.HeaderFlags, flags)
		}
	})
}

// send sends the request.
func (k *socket) send() error { return k.sendRequest(k.enc) }

func (k *socket) sendRequest(e *nl.Encoder) error {
	if err := e.Err(); err != nil {
		return err
	}
	b := e.Bytes()
	k.seq++
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint32(b[8:], k.seq)
	k.s.traceDatagram(k, b, true)
	return k.conn.WriteDatagram(b)
}

// ask sends the request and passes the answer to cb. It returns the exit
// code.
func (k *socket) ask(cb func(*message) int) int {
	if k.send() == nil && k.receive(cb) == 0 {
		return 0
	}
	if k.s.exitCode != 0 {
		return k.s.exitCode
	}
	return 1
}

// receive passes messages to cb until an acknowledgement, the end of a dump,
// or an error. It returns 0, or a negative errno.
func (k *socket) receive(cb func(*message) int) int {
	for {
		d, err := k.conn.ReadDatagram()
		if err != nil {
			return -int(syscall.EFAULT)
		}
		k.s.traceDatagram(k, d.Bytes, false)
		m, _, ok := nextMessage(d.Bytes)
		if !ok {
			return -int(syscall.EFAULT)
		}
		if m.typ == typeError {
			return k.s.ack(&m)
		}
		if r := k.dispatch(d.Bytes, cb); r <= 0 {
			return r
		}
	}
}

// dispatch passes the messages of a datagram to cb.
func (k *socket) dispatch(b []byte, cb func(*message) int) int {
	r := cbOK
	for {
		m, rest, ok := nextMessage(b)
		if !ok {
			return r
		}
		b = rest
		switch {
		case m.pid != 0 && k.port != 0 && m.pid != k.port, m.seq != 0 && k.seq != 0 && m.seq != k.seq,
			m.flags&flagIntr != 0:
			return failed
		case m.typ >= nl.MinType:
			r = cb(&m)
		case m.typ == typeDone:
			return cbStop
		case m.typ == typeError:
			if m.errno() != 0 {
				return failed
			}
			return cbStop
		}
		if r <= cbStop {
			return r
		}
	}
}

// ack takes an ERROR message: it prints what the service has to say and
// returns 0 or the negative errno.
func (s *session) ack(m *message) int {
	if len(m.raw) < headerLen+4+headerLen {
		return -int(syscall.EFAULT)
	}
	errno := m.errno()
	silent := s.quiet >= 2 || s.quiet == 1 && errno == syscall.EOPNOTSUPP
	quoted, _, whole := nextMessage(m.raw[headerLen+4:])
	pretty := s.debug&debugPretty != 0
	var offset uint32
	if !silent && m.flags&flagTLVs != 0 {
		at := 4 + headerLen
		if m.flags&flagCapped == 0 {
			at += nl.Align(len(quoted.raw)) - headerLen
		}
		t := parse(m.attrs(at))
		if t.has(nl.ExtAckMsg) {
			what := "error"
			if errno == 0 {
				what = "warning"
			}
			s.errorf("netlink %s: %s", what, t[nl.ExtAckMsg].String())
			if !pretty && t.has(nl.ExtAckOffs) {
				s.errorf(" (offset %d)", t[nl.ExtAckOffs].Uint32())
			}
			s.errorf("\n")
		}
		offset, _ = t.u32(nl.ExtAckOffs)
	}
	if errno != 0 && !silent {
		s.errorf("netlink error: %s\n", strerror(errno))
	}
	if pretty && m.flags&flagCapped == 0 && whole {
		and := ""
		if offset != 0 {
			and = " and attribute"
		}
		s.errorf("offending message%s:\n", and)
		s.prettyGenl(&quoted, ethnl.UserMessages, int(offset))
	}
	return -int(errno)
}
