package nl_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"ipoib/nl"
	"ipoib/nl/nltest"

	"github.com/mdlayher/netlink"
)

// toy is a protocol with just enough in it.
type toy struct {
	mu sync.Mutex
	// fail is what toyFail returns.
	fail error
	// dump makes the answer to toyDump.
	dump nl.DumpStart
	// handled counts requests.
	handled atomic.Int64
	// changed counts the toyChange requests that were allowed.
	changed atomic.Int64
	// seen is called with each request.
	seen func(*nl.Request)
	// block, when not nil, holds toyBlock back.
	block chan struct{}
}

const toyProto = 3

const (
	toyEcho   = 16 + iota // replies with the payload
	toyFail               // returns t.fail
	toyDump               // starts t.dump
	toyChange             // needs CAP_NET_ADMIN over the namespace
	toyHost               // needs CAP_NET_ADMIN in the service's user namespace
	toyNotify             // sends its payload to group 1
	toyWarn               // succeeds with a warning
	toyBlock              // waits for t.block
)

// onRequest has fn called with each request from now on.
func (t *toy) onRequest(fn func(*nl.Request)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen = fn
}

func (t *toy) Groups() uint32 { return 40 }

// Bind: group 2 is for the privileged.
func (t *toy) Bind(group uint32, capable func(nl.Cap) bool) error {
	if group == 2 && !capable(nl.CapNetAdmin) {
		return syscall.EPERM
	}
	return nil
}

func (t *toy) Handle(r *nl.Request) (nl.DumpStart, error) {
	t.handled.Add(1)
	t.mu.Lock()
	seen, fail, dump := t.seen, t.fail, t.dump
	t.mu.Unlock()
	if seen != nil {
		seen(r)
	}
	switch r.Header.Type {
	case toyEcho:
		return nil, r.Reply(toyEcho, 0, func(e *nl.Encoder) error { e.Raw(r.Payload()); return nil })
	case toyFail:
		return nil, fail
	case toyDump:
		return dump, nil
	case toyChange:
		if !r.NetCapable(nl.CapNetAdmin) {
			return nil, syscall.EPERM
		}
		t.changed.Add(1)
		return nil, nil
	case toyHost:
		if !r.Capable(nl.CapNetAdmin) {
			return nil, syscall.EPERM
		}
		return nil, nil
	case toyNotify:
		h := netlink.Header{Type: toyNotify}
		if r.Echo() {
			h = r.ReplyHeader(toyNotify, 0)
		}
		r.Notify(nl.Notification{Proto: toyProto, Group: 1, NetNS: r.NetNS(), Data: message(h, r.Payload())})
		return nil, nil
	case toyWarn:
		r.Warn("mind the gap")
		return nil, nil
	case toyBlock:
		<-t.block
		return nil, nil
	}
	return nil, syscall.EOPNOTSUPP
}

// message encodes one message.
func message(h netlink.Header, payload []byte) []byte {
	var e nl.Encoder
	_ = e.Message(h, func(e *nl.Encoder) error { e.Raw(payload); return nil })
	return e.Bytes()
}

func request(t netlink.HeaderType, flags netlink.HeaderFlags, seq uint32, payload ...byte) []byte {
	return message(netlink.Header{Type: t, Flags: netlink.Request | flags, Sequence: seq}, payload)
}

// newToy returns a server with the protocol, and how to connect to it.
func newToy(tb testing.TB, cfg nl.Config) (*toy, *nl.Server) {
	tb.Helper()
	srv := nltest.NewServer(tb, cfg)
	p := &toy{}
	srv.Register(toyProto, p)
	return p, srv
}

func dial(tb testing.TB, srv *nl.Server, cfg nl.ConnConfig) *nl.Conn {
	tb.Helper()
	cfg.Protocol = toyProto
	return nltest.Dial(tb, srv, nltest.NewPeer(), cfg)
}

// read returns the next datagram as its messages.
func read(tb testing.TB, c *nl.Conn) []netlink.Message {
	tb.Helper()
	ms, err := c.Receive()
	if err != nil {
		tb.Fatal(err)
	}
	return ms
}

func write(tb testing.TB, c *nl.Conn, b []byte) {
	tb.Helper()
	if err := c.WriteDatagram(b); err != nil {
		tb.Fatal(err)
	}
}

// ack returns the errno of an NLMSG_ERROR or NLMSG_DONE message, 0 or
// positive.
func ack(tb testing.TB, m netlink.Message) syscall.Errno {
	tb.Helper()
	if m.Header.Type != netlink.Error && m.Header.Type != netlink.Done || len(m.Data) < 4 {
		tb.Fatalf("not an acknowledgement: %+v", m)
	}
	return syscall.Errno(-int32(binary.NativeEndian.Uint32(m.Data)))
}

// one reads a datagram of one message.
func one(tb testing.TB, c *nl.Conn) netlink.Message {
	tb.Helper()
	ms := read(tb, c)
	if len(ms) != 1 {
		tb.Fatalf("%d messages in the datagram", len(ms))
	}
	return ms[0]
}

// ask sends a request with ACK and returns the errno of the answer.
func ask(tb testing.TB, c *nl.Conn, t netlink.HeaderType, payload ...byte) syscall.Errno {
	tb.Helper()
	write(tb, c, request(t, netlink.Acknowledge, 9, payload...))
	return ack(tb, one(tb, c))
}

// counting returns a dump of n objects with the size that size says.
func counting(n int, size func(i int) int, asked *atomic.Int64, done func()) nl.DumpStart {
	return func() (*nl.Dump, error) {
		i := 0
		return &nl.Dump{
			Type: toyDump,
			Next: func(e *nl.Encoder) error {
				if i == n {
					return io.EOF
				}
				if asked != nil {
					asked.Add(1)
				}
				b := bytes.Repeat([]byte{byte(i)}, max(size(i), 4))
				binary.NativeEndian.PutUint32(b, uint32(i))
				e.Raw(b)
				i++
				return nil
			},
			Done: done,
		}, nil
	}
}

var errToy = errors.New("broken toy")
