package nl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/jonboulle/clockwork"
)

// Protocol is one netlink protocol: what NETLINK_GENERIC or NETLINK_ROUTE do
// with requests. Methods are called by the goroutines of different clients at
// the same time.
type Protocol interface {
	// Handle processes one request: type 16 or above, REQUEST set. It sends
	// its replies with Request.Reply. The returned error, nil for success,
	// becomes the acknowledgement. A dump is returned for the server to start;
	// it is not acknowledged.
	//
	// A request whose client vanished is processed to its end all the same.
	Handle(r *Request) (DumpStart, error)
	// Groups returns the largest group number that may be joined.
	Groups() uint32
	// Bind is asked before a client joins a group from 1 to Groups; an error
	// refuses it. capable is judged in the client's network namespace.
	Bind(group uint32, capable func(Cap) bool) error
}

// Listener accepts connections and identifies their peers.
type Listener interface {
	// Accept waits for a connection. An error that is a net.Error with
	// Temporary, or that wraps ErrPeer, concerns one connection only.
	Accept() (PacketConn, Peer, error)
	Close() error
	Addr() net.Addr
}

// ErrPeer is wrapped by the errors of Accept for a peer that could not be
// identified.
var ErrPeer = errors.New("peer cannot be identified")

// Defaults of Config.
const (
	// DefaultQueueBytes is the receive queue of a client, near the kernel's
	// net.core.rmem_default.
	DefaultQueueBytes = 208 << 10
	// MaxQueueBytes bounds OptReceiveBuffer.
	MaxQueueBytes = 1 << 20
	// DefaultMaxClients bounds the connections.
	DefaultMaxClients = 1024
	// DefaultMaxClientsPerUID bounds those of one user other than root.
	DefaultMaxClientsPerUID = 128
	// DefaultHelloTimeout is how long a connection may stay without hello.
	DefaultHelloTimeout = 10 * time.Second
)

// Config configures a Server. The zero value is usable.
type Config struct {
	// Logger gets one line for each refused connection and protocol error of
	// a client; nil is silent.
	Logger *slog.Logger
	// Clock times the hello; nil is the real one.
	Clock clockwork.Clock
	// Trace gets every message decoded; nil switches that off.
	Trace io.Writer
	// NSID returns the id by which listener's network namespace knows
	// another one (RTM_GETNSID), and whether it has one: see
	// OptListenAllNSID. It must not call the server, and not block for long.
	// nil: no namespace knows another.
	NSID func(listener Peer, event NetNS) (id int32, ok bool)
	// QueueBytes, MaxClients, MaxClientsPerUID and HelloTimeout replace the
	// defaults above when not 0.
	QueueBytes, MaxClients, MaxClientsPerUID int
	HelloTimeout                             time.Duration
}

// Server is the service's end of the netlink socket.
type Server struct {
	cfg Config
	// ctx ends with Close.
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	trace  tracer

	// mu guards what follows. It is never held while a handler runs or a
	// client is written to.
	mu      sync.RWMutex
	protos  map[int]Protocol
	clients map[*client]struct{}
	byUID   map[uint32]int
	ports   map[portKey]*client
	members map[groupKey]map[*client]struct{}
	// nextPort is where the search for a free port id starts.
	nextPort uint32
	closed   bool
}

type portKey struct {
	proto int
	netns NetNS
	port  uint32
}

type groupKey struct {
	proto int
	group uint32
}

// ErrServerClosed is returned by Attach after Close.
var ErrServerClosed = errors.New("nl: server closed")

// NewServer returns a server without protocols.
func NewServer(cfg Config) *Server {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Clock == nil {
		cfg.Clock = clockwork.NewRealClock()
	}
	if cfg.QueueBytes == 0 {
		cfg.QueueBytes = DefaultQueueBytes
	}
	if cfg.MaxClients == 0 {
		cfg.MaxClients = DefaultMaxClients
	}
	if cfg.MaxClientsPerUID == 0 {
		cfg.MaxClientsPerUID = DefaultMaxClientsPerUID
	}
	if cfg.HelloTimeout == 0 {
		cfg.HelloTimeout = DefaultHelloTimeout
	}
	s := &Server{
		cfg:      cfg,
		trace:    tracer{w: cfg.Trace},
		protos:   make(map[int]Protocol),
		clients:  make(map[*client]struct{}),
		byUID:    make(map[uint32]int),
		ports:    make(map[portKey]*client),
		members:  make(map[groupKey]map[*client]struct{}),
		nextPort: autoPortStart,
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Register makes p the protocol of that number. Register before Serve.
func (s *Server) Register(proto int, p Protocol) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.protos[proto] = p
}

// Serve accepts connections from l until ctx ends or l is closed, then closes
// l and returns nil; or the error that stopped it. Clients live on until Close.
func (s *Server) Serve(ctx context.Context, l Listener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer l.Close()
	const minDelay, maxDelay = 5 * time.Millisecond, time.Second
	delay := minDelay
	for {
		conn, peer, err := l.Accept()
		if err == nil {
			delay = minDelay
			if err := s.Attach(conn, peer); err != nil {
				s.cfg.Logger.Warn("netlink connection refused", "pid", peer.PID(), "uid", peer.UID(), "err", err)
			}
			continue
		}
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return nil
		}
		if errors.Is(err, ErrPeer) {
			s.cfg.Logger.Warn("netlink connection refused", "err", err)
			continue
		}
		if !isTemporary(err) {
			return fmt.Errorf("nl: accept: %w", err)
		}
		// Out of descriptors, mostly: wait for one to come back.
		s.cfg.Logger.Warn("netlink accept", "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-s.cfg.Clock.After(delay):
			delay = min(delay*2, maxDelay)
		}
	}
}

func isTemporary(err error) bool {
	for _, e := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.EINTR, syscall.EAGAIN,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Attach serves one connection, in goroutines of its own, until the peer or
// the server closes it. It owns conn and peer, also when it returns an error:
// ErrServerClosed, or that there are too many connections.
func (s *Server) Attach(conn PacketConn, peer Peer) error {
	c := newClient(s, conn, peer)
	if err := s.add(c); err != nil {
		conn.Close()
		peer.Close()
		return err
	}
	c.start()
	return nil
}

func (s *Server) add(c *client) error {
	uid := c.peer.UID()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrServerClosed
	case len(s.clients) >= s.cfg.MaxClients:
		return fmt.Errorf("%d connections already", len(s.clients))
	case uid != 0 && s.byUID[uid] >= s.cfg.MaxClientsPerUID:
		return fmt.Errorf("uid %d has %d connections already", uid, s.byUID[uid])
	}
	s.clients[c] = struct{}{}
	s.byUID[uid]++
	s.wg.Add(1)
	return nil
}

// remove forgets a client, its port id and its memberships.
func (s *Server) remove(c *client) {
	uid := c.peer.UID()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, c)
	if s.byUID[uid]--; s.byUID[uid] <= 0 {
		delete(s.byUID, uid)
	}
	if c.port != 0 {
		delete(s.ports, portKey{c.proto, c.netns, c.port})
	}
	for g := range c.groups {
		s.leaveLocked(c, g)
	}
}

// Clients returns the number of connections.
func (s *Server) Clients() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.clients)
}

// Close closes all connections and waits for the handlers that run. Attach
// fails from then on; Serve needs its own context or listener ended.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	for c := range s.clients {
		c.conn.Close()
	}
	s.mu.Unlock()
	s.cancel()
	s.wg.Wait()
	return nil
}

// autoPortStart is where port ids are searched for when the process id is
// taken; the kernel takes negative ones below -4096 (netlink_autobind).
const autoPortStart uint32 = 0xffffefff

// assignPort gives c the port id it asked for, or a free one.
func (s *Server) assignPort(c *client, want uint32) (uint32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := portKey{c.proto, c.netns, want}
	taken := func(p uint32) bool {
		key.port = p
		return s.ports[key] != nil
	}
	switch pid := uint32(c.peer.PID()); {
	case want != 0:
		if taken(want) {
			return 0, syscall.EADDRINUSE
		}
	case pid != 0 && !taken(pid):
		want = pid
	default:
		// There are fewer clients than numbers, so this ends.
		for want = s.nextPort; taken(want); want-- {
		}
		if s.nextPort = want - 1; s.nextPort < 1<<31 {
			s.nextPort = autoPortStart
		}
	}
	key.port = want
	s.ports[key] = c
	return want, nil
}
