package cm

import (
	"cmp"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// Registrar is the part of rdma.Port that a CM needs.
type Registrar interface {
	RegisterAgent(rdma.MADAgentConfig) (rdma.MADAgent, error)
}

// Config configures a CM.
type Config struct {
	// Port is where the management agent is registered.
	Port Registrar
	// NodeGUID identifies the channel adapter in REQ and REP.
	NodeGUID rdma.GUID
	// Clock drives timers; nil is the real one.
	Clock clockwork.Clock
	// Seed chooses communication and transaction IDs.
	Seed uint64
	// Log takes messages; nil discards them.
	Log *slog.Logger
}

// Counters count what happened to messages, as the kernel's cm_tx_retries and
// cm_rx_duplicates do.
type Counters struct {
	// Sent and Received messages; Retries are those that were sent again,
	// Ignored those received that had no meaning in their state, and
	// duplicates.
	Sent, Received, Retries, Ignored uint64
}

// CM is the communication manager of a port.
type CM struct {
	clock clockwork.Clock
	log   *slog.Logger
	guid  rdma.GUID
	agent rdma.MADAgent

	sent, received, retries, ignored atomic.Uint64

	mu        sync.Mutex
	rng       *rand.Rand // guarded by mu, as is all below
	tid       uint32
	conns     map[uint32]*Conn     // by local communication ID
	remotes   map[remoteID]*Conn   // by the peer's, once it is known
	qpns      map[remoteQP]*Conn   // by the peer's queue pair
	listeners map[uint64]*Listener // by service ID
	out       []output             // to be sent and reported, in order
	flushing  bool                 // somebody is at it
	closed    bool
}

// remoteID names a connection as the peer does, remoteQP by its queue pair. A
// peer is its channel adapter.
type remoteID struct {
	guid rdma.GUID
	id   uint32
}

type remoteQP struct {
	guid rdma.GUID
	qpn  rdma.QPN
}

// output is a message to be sent, or something to be told.
type output struct {
	to  rdma.MADAddr
	mad *mad.MAD
	fn  func()
}

// New returns a communication manager. No other one of the port may exist.
func New(cfg Config) (*CM, error) {
	if cfg.Clock == nil {
		cfg.Clock = clockwork.NewRealClock()
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &CM{
		clock: cfg.Clock, log: cfg.Log, guid: cfg.NodeGUID,
		rng:   rand.New(rand.NewPCG(cfg.Seed, 0x4755)),
		conns: make(map[uint32]*Conn), remotes: make(map[remoteID]*Conn), qpns: make(map[remoteQP]*Conn),
		listeners: make(map[uint64]*Listener),
	}
	// A datagram may come before RegisterAgent returns.
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	c.agent, err = cfg.Port.RegisterAgent(rdma.MADAgentConfig{
		QP: rdma.QPNGSI, Class: uint8(mad.ClassCM), ClassVersion: mad.CMClassVersion,
		Methods: []uint8{uint8(mad.MethodSend)}, Receive: c.receive,
	})
	if err != nil {
		return nil, opError("register", err)
	}
	return c, nil
}

// Counters returns the counters.
func (c *CM) Counters() Counters {
	return Counters{
		Sent: c.sent.Load(), Received: c.received.Load(), Retries: c.retries.Load(), Ignored: c.ignored.Load(),
	}
}

// Len returns the number of connections, in any state but Closed.
func (c *CM) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.conns)
}

// Close forgets all connections without telling anybody, and detaches the
// agent. Consumers that want their peers to know close connections before.
func (c *CM) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return rdma.ErrClosed
	}
	c.closed = true
	for _, k := range c.conns {
		k.stop()
		k.state.Store(uint32(Closed))
	}
	clear(c.conns)
	clear(c.remotes)
	clear(c.qpns)
	clear(c.listeners)
	c.mu.Unlock()
	c.flush()
	return c.agent.Close()
}

// put queues a message; mu is held.
func (c *CM) put(to rdma.MADAddr, m *mad.MAD) {
	c.out = append(c.out, output{to: to, mad: m})
}

// tell queues a call; mu is held.
func (c *CM) tell(fn func()) { c.out = append(c.out, output{fn: fn}) }

// flush sends and tells what is queued, in order, without the lock. Whoever
// comes while another is at it leaves it to that one.
func (c *CM) flush() {
	c.mu.Lock()
	if c.flushing {
		c.mu.Unlock()
		return
	}
	c.flushing = true
	for len(c.out) > 0 {
		o := c.out[0]
		c.out[0] = output{}
		c.out = c.out[1:]
		c.mu.Unlock()
		if o.fn != nil {
			o.fn()
		} else {
			c.sent.Add(1)
			if err := c.agent.Send(o.to, o.mad.Bytes()); err != nil {
				// As if it were lost on the way.
				c.log.Debug("cannot send a CM message", "lid", o.to.LID, "err", err)
			}
		}
		c.mu.Lock()
	}
	c.out = nil
	c.flushing = false
	c.mu.Unlock()
}

// newTID returns a transaction ID; mu is held. The agent's ID is put in here,
// not by Send: a reply is no response in form and must keep the requester's.
func (c *CM) newTID() uint64 {
	c.tid++
	return uint64(c.agent.ID())<<32 | uint64(c.tid)
}

// newID returns a free communication ID; mu is held.
func (c *CM) newID() uint32 {
	for {
		id := c.rng.Uint32()
		if _, used := c.conns[id]; id != 0 && !used {
			return id
		}
	}
}

// message makes a datagram.
func message(tid uint64, attr mad.AttrID, a mad.Attribute) *mad.MAD {
	m := mad.New(mad.ClassCM, mad.MethodSend, attr)
	m.SetTID(tid)
	m.SetAttr(a)
	return m
}

// Duration returns the time of a 5-bit time code: 4.096 us x 2^n.
func Duration(code uint8) time.Duration { return 4096 * time.Nanosecond << min(code, 31) }

// Code returns the smallest time code that is not shorter than d, at most 31.
func Code(d time.Duration) uint8 {
	for n := range uint8(31) {
		if Duration(n) >= d {
			return n
		}
	}
	return 31
}

// fill copies private data into a field.
func fill(field, data []byte) error {
	if len(data) > len(field) {
		return ErrPrivateData
	}
	clear(field[copy(field, data):])
	return nil
}

// ackCode is the time code of the round trip over a path (kernel
// cm_ack_timeout): twice the packet life time.
func ackCode(life uint8) uint8 { return min(cmp.Or(life, 1)+1, 31) }
