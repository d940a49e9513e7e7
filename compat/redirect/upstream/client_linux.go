package upstream

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ipoib/datapath/osthread"
	"ipoib/nl"
)

// ErrNoService is returned when no service listens.
var ErrNoService = errors.New("upstream: no service runs")

// ErrNoAnswer is returned when a service runs that does not answer in time. Its
// errno is ETIMEDOUT.
var ErrNoAnswer = fmt.Errorf("upstream: the service does not answer: %w", syscall.ETIMEDOUT)

// answerTimeout is how long the service may take where the client says nothing
// else.
const answerTimeout = 20 * time.Second

// Client knows the service.
type Client struct {
	// Yield, if it is set, is called before the service is waited for: that
	// may depend on other calls being answered.
	Yield func()
	// Timeout, if it is set before the first request, is how long the service
	// may take to answer; otherwise that is 20 seconds.
	Timeout time.Duration

	path string
	own  *os.File // the network namespace that this process is in

	mu sync.Mutex
	// kernel is the kernel's ethtool family; guarded by mu.
	kernel Family
}

// NewClient returns a client of the service whose socket is at path.
func NewClient(path string) (*Client, error) {
	own, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return nil, err
	}
	return &Client{path: path, own: own}, nil
}

// Close releases the client; worlds are closed on their own.
func (c *Client) Close() error { return c.own.Close() }

// World is the service in a network namespace.
type World struct {
	client *Client
	ns     *os.File
	// foreign is set when the namespace is not the one of this process.
	foreign bool

	mu sync.Mutex
	// idle are connections that nobody uses; guarded by mu.
	idle map[key][]*nl.Conn
	// families are the service's generic netlink families; guarded by mu.
	families map[string]Family
	// features are the translations of its features; guarded by mu.
	features *layouts
	// last is what was last said of a link; guarded by mu.
	last map[int32][]byte
	// others are links that are known not to be the service's; guarded by mu.
	others map[int32]bool
}

// Options are what a request's socket has set.
type Options struct {
	ExtAck, CapAck, Strict bool
	// Privileged is set when the requester may change the network namespace.
	Privileged bool
}

// key tells connections apart that are not alike.
type key struct {
	proto int
	Options
}

// World returns the view from a network namespace. ns stays open until the
// world is closed, which closes it.
func (c *Client) World(ns *os.File, same bool) *World {
	return &World{
		client: c, ns: ns, foreign: !same,
		idle: make(map[key][]*nl.Conn), families: make(map[string]Family),
		last: make(map[int32][]byte), others: make(map[int32]bool),
	}
}

// Own is the network namespace of this process.
func (c *Client) Own() *os.File { return c.own }

// NetNS returns the nsfs file of the world's namespace.
func (w *World) NetNS() *os.File { return w.ns }

// Close ends the connections.
func (w *World) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop()
	_ = w.ns.Close()
}

func (w *World) drop() {
	for _, list := range w.idle {
		for _, c := range list {
			_ = c.Close()
		}
	}
	clear(w.idle)
}

// Inside runs fn in the network namespace of the world, on a thread of its own
// if that is not the one of this process.
func (w *World) Inside(fn func() error) error {
	if !w.foreign {
		return fn()
	}
	return osthread.Run(func() (bool, error) {
		if err := unix.Setns(int(w.ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return true, os.NewSyscallError("setns", err)
		}
		err := fn()
		return unix.Setns(int(w.client.own.Fd()), unix.CLONE_NEWNET) == nil, err
	})
}

func (c *Client) timeout() time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return answerTimeout
}

// late returns ErrNoAnswer for an error of waiting for too long.
func late(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return ErrNoAnswer
	}
	return err
}

func (c *Client) yield() {
	if c.Yield != nil {
		c.Yield()
	}
}

// dial connects to the service.
func (w *World) dial(k key, groups uint32) (conn *nl.Conn, err error) {
	cfg := nl.ConnConfig{
		Protocol: k.proto, Groups: groups, ReceiveSize: 32 << 10,
		ExtAck: k.ExtAck, CapAck: k.CapAck, StrictCheck: k.Strict, Unprivileged: !k.Privileged,
	}
	w.client.yield()
	ctx, cancel := context.WithTimeout(context.Background(), w.client.timeout())
	defer cancel()
	err = w.Inside(func() error {
		var derr error
		conn, derr = nl.Dial(ctx, w.client.path, cfg)
		return derr
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, ErrNoService
	}
	return conn, late(err)
}

// take returns a connection; fresh is set when it was made for this request.
func (w *World) take(k key) (conn *nl.Conn, fresh bool, err error) {
	w.mu.Lock()
	if list := w.idle[k]; len(list) > 0 {
		conn = list[len(list)-1]
		w.idle[k] = list[:len(list)-1]
	}
	w.mu.Unlock()
	if conn != nil {
		return conn, false, nil
	}
	conn, err = w.dial(k, 0)
	return conn, true, err
}

// maxIdle bounds the connections of one kind that are kept.
const maxIdle = 4

func (w *World) put(k key, conn *nl.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.idle[k]) >= maxIdle {
		_ = conn.Close()
		return
	}
	w.idle[k] = append(w.idle[k], conn)
}

// lost forgets what a service that went told: the next one may number its
// families in another way.
func (w *World) lost() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop()
	clear(w.families)
	w.features = nil
	clear(w.others)
}

// Running reports whether a service runs, be it one that does not answer.
func (w *World) Running() bool {
	k := key{proto: nl.ProtoRoute}
	conn, fresh, err := w.take(k)
	if err == nil && !fresh && hungUp(conn) {
		_ = conn.Close()
		w.lost()
		conn, _, err = w.take(k)
	}
	if err != nil {
		return errors.Is(err, ErrNoAnswer)
	}
	w.put(k, conn)
	return true
}

// hungUp reports whether the other end of a connection is closed.
func hungUp(conn *nl.Conn) bool { return poll(conn, 0)&(unix.POLLHUP|unix.POLLERR) != 0 }

// ready waits for something to read from a connection, or its end. The thread
// waits in the kernel, which is sooner there again than a goroutine.
func ready(conn *nl.Conn, limit time.Duration) bool { return poll(conn, limit) != 0 }

// poll returns what poll(2) says of a connection.
func poll(conn *nl.Conn, limit time.Duration) int16 {
	const closed = unix.POLLHUP
	raw, err := conn.SyscallConn()
	if err != nil {
		return closed
	}
	events := int16(closed)
	_ = raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, int(limit.Milliseconds())); err == nil || errors.Is(err, unix.EINTR) {
			events = fds[0].Revents
		}
	})
	return events
}

// Exchange sends one request and returns the datagrams of the answer, up to
// its acknowledgement, error or end of dump, if there is one.
func (w *World) Exchange(proto int, opts Options, msg []byte) ([][]byte, error) {
	k := key{proto, opts}
	for {
		conn, fresh, err := w.take(k)
		if err != nil {
			return nil, err
		}
		out, sent, err := w.client.exchange(conn, msg)
		if err == nil {
			w.put(k, conn)
			return out, nil
		}
		_ = conn.Close()
		if fresh || sent {
			return nil, late(err)
		}
		w.lost() // a connection to a service that went meanwhile
	}
}

// barrier is a request that is answered and does nothing: what comes before
// its answer is the answer to what went before it.
func barrier(seq uint32) []byte {
	b := make([]byte, nl.HeaderLen)
	put(b, uint16(netlink.Noop), uint16(netlink.Request|netlink.Acknowledge), seq)
	return b
}

// patience is how long an answer may take until other calls are answered
// meanwhile.
const patience = 2 * time.Millisecond

func (c *Client) exchange(conn *nl.Conn, msg []byte) (out [][]byte, sent bool, err error) {
	h := nl.ParseHeader(msg)
	dump := h.Flags&netlink.Request != 0 && isDump(&h)
	seq := h.Sequence ^ 0x69506f49
	// A connection that was closed while idle is found out before the request
	// is written, so that it can be sent again.
	if hungUp(conn) {
		return nil, false, syscall.ECONNRESET
	}
	b := append(pad(append([]byte(nil), msg...)), barrier(seq)...)
	if err := conn.WriteDatagram(b); err != nil {
		return nil, false, err
	}
	waiting := false
	for passed, done := false, !dump; !passed || !done; {
		if !waiting && !ready(conn, patience) {
			waiting = true
			c.yield()
			if err := conn.SetReadDeadline(time.Now().Add(c.timeout())); err != nil {
				return nil, true, err
			}
		}
		d, err := conn.ReadDatagram()
		if errors.Is(err, syscall.ENOBUFS) {
			continue
		}
		if err != nil {
			return nil, true, err
		}
		if len(d.Bytes) < nl.HeaderLen {
			continue
		}
		a := nl.ParseHeader(d.Bytes)
		switch {
		case a.Type == netlink.Error && a.Sequence == seq && isBarrier(d.Bytes):
			passed = true
			continue
		case a.Sequence == h.Sequence && (a.Type == netlink.Done || a.Type == netlink.Error):
			done = true
		}
		out = append(out, d.Bytes)
	}
	if waiting {
		err = conn.SetReadDeadline(time.Time{})
	}
	return out, true, err
}

// isDump reports whether a request is answered by a dump. In generic netlink
// both bits make one, in rtnetlink either does for requests that get.
func isDump(h *netlink.Header) bool {
	if h.Type < nl.MinType {
		return false
	}
	return h.Flags&netlink.Dump == netlink.Dump
}
