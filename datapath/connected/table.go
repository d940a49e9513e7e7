package connected

import (
	"maps"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"

	"ipoib/datapath/encap"
	"ipoib/datapath/path"
	"ipoib/datapath/tun"
	"ipoib/rdma"
	"ipoib/rdma/cm"
	"ipoib/rdma/mad"
)

// Limits and times.
const (
	// MaxQueue is how many packets wait for a connection (kernel
	// IPOIB_MAX_PATH_REC_QUEUE).
	MaxQueue = path.MaxQueue
	// waitTime is how long packets that are too long for UD wait for a first
	// connection; then the host hears that they are too long, and keeps to it
	// for ten minutes. With a packet life time of 1 s, a lost message of the
	// communication manager costs 2.7 s.
	waitTime = 6 * time.Second
	// returnTime is how long a peer may be silent that had a connection. When
	// it is gone nothing reaches it, and its neighbour ends before.
	returnTime = time.Minute
	// rtuTime is how long an RTU may take that tells how the peer uses its
	// connection.
	rtuTime = time.Second
	// Back-off after a refusal, or after a connection that failed before it
	// was shortLife old.
	minBackoff = time.Second
	maxBackoff = 16 * time.Second
	shortLife  = 10 * time.Second
	// IdleTime is after which time without a message an incoming connection
	// is ended (kernel IPOIB_CM_RX_TIMEOUT); scanInterval is how often that
	// is looked at (IPOIB_CM_RX_UPDATE_TIME).
	IdleTime     = 2 * scanInterval
	scanInterval = 256 * time.Second
)

// What the interface asks for in its REQ and uses itself.
const (
	// responseTimeout is how long either side may take to answer, 0.5 s. The
	// driver says 20, 4.3 s, and so waits that long for a lost message.
	responseTimeout = 17
	maxCMRetries    = 15
	// ackTimeout, 33.6 ms, and retryCount make a failure known within 200 ms,
	// the least retransmission timeout of TCP (RFC 4755 section 7.1). Where
	// that is too short for the way, which the RFC warns of, the next
	// connection to the peer waits four times as long, up to maxAckTimeout,
	// 2.1 s: what the driver has of a usual packet life time.
	ackTimeout    = 13
	ackStep       = 2
	maxAckTimeout = 19
	retryCount    = 3
	// rnrRetry is without end: a receiver without buffers slows its senders
	// down, as the credits of InfiniBand links do. It answers with
	// minRNRTimer, 0.64 ms.
	rnrRetry    = 7
	minRNRTimer = 12
	// minReceiveMTU and minReceiveMTU6 are the least message sizes that carry
	// IPv4 and IPv6 (RFC 4755 section 5; RFC 791, RFC 8200 section 5).
	minReceiveMTU  = 68 + encap.HeaderLen
	minReceiveMTU6 = 1280 + encap.HeaderLen
)

// Config is what a table works with.
type Config struct {
	Clock clockwork.Clock
	Rand  *rand.Rand
	CM    *cm.CM
	PD    rdma.PD
	Port  rdma.Port
	// SendCQ and RecvCQ get the completions of all connections; SRQ may be
	// nil, where each connection has receive buffers of its own.
	SendCQ, RecvCQ rdma.CQ
	SRQ            rdma.SRQ
	// MaxSend and MaxRecv are queue sizes in messages. MaxConns bounds the
	// incoming connections without an SRQ (max_nonsrq_conn_qp).
	MaxSend, MaxRecv, MaxConns int
	// ReceiveMTU is the largest message taken, in bytes with the
	// encapsulation header.
	ReceiveMTU int
	// Aggregate lets messages arrive with their checksum undone.
	Aggregate bool
	Hooks     Hooks
}

// Hooks are called on the owner's goroutine, but Post.
type Hooks struct {
	// Send transmits a packet that waited.
	Send func(to path.Target, p tun.Packet)
	// Drop takes a packet that will not be sent: no connection came about.
	Drop func(p tun.Packet)
	// Overflow takes a packet for which there was no room.
	Overflow func(p tun.Packet)
	// IPv6 reports whether the interface carries IPv6.
	IPv6 func() bool
	// Post runs a function on the owner's goroutine. It reports false when
	// that has ended.
	Post func(func()) bool
	// Debugf and Warnf log.
	Debugf, Warnf func(format string, args ...any)
}

// Table holds the connections of one interface.
type Table struct {
	cfg     Config
	hooks   *Hooks
	own     encap.HardwareAddr
	pkey    rdma.PKey
	pkeyIdx int

	listeners []*cm.Listener
	remotes   map[encap.HardwareAddr]*Remote
	conns     map[rdma.QP]*Conn
	byQP      atomic.Pointer[map[rdma.QP]*Conn] // a copy of conns
	incoming  int
	scan      clockwork.Timer
	open      bool
}

// NewTable returns a table that is not open.
func NewTable(cfg Config) *Table {
	t := &Table{
		cfg: cfg, remotes: make(map[encap.HardwareAddr]*Remote), conns: make(map[rdma.QP]*Conn),
	}
	t.hooks = &t.cfg.Hooks
	return t
}

// Open starts to listen for connections to the interface with the address own,
// under the service IDs of RFC 4755 and of the Linux driver. Connections use
// the partition at a P_Key index.
func (t *Table) Open(own encap.HardwareAddr, pkey rdma.PKey, pkeyIdx int) error {
	t.own, t.pkey, t.pkeyIdx, t.open = own, pkey, pkeyIdx, true
	for _, id := range []uint64{mad.IPoIBServiceID(own.QPN()), mad.IPoIBServiceIDLegacy(own.QPN())} {
		l, err := t.cfg.CM.Listen(id, func(r *cm.Request) {
			if !t.hooks.Post(func() { t.request(r) }) {
				_ = r.Reject(mad.RejectInvalidServiceID, nil) // the interface is gone
			}
		})
		if err != nil {
			return err
		}
		t.listeners = append(t.listeners, l)
	}
	return nil
}

// SetAddr takes a changed own address: that of the same queue pair.
func (t *Table) SetAddr(own encap.HardwareAddr) { t.own = own }

// Close ends all connections and listens no more.
func (t *Table) Close() {
	for _, l := range t.listeners {
		l.Close()
	}
	t.listeners = nil
	t.open = false
	for _, r := range t.remotes {
		t.Forget(r)
	}
	for _, c := range t.conns {
		t.end(c)
	}
	if t.scan != nil {
		t.scan.Stop()
		t.scan = nil
	}
}

// Lookup returns the connection of a queue pair, or nil. Any goroutine may
// call it.
func (t *Table) Lookup(qp rdma.QP) *Conn {
	if m := t.byQP.Load(); m != nil {
		return (*m)[qp]
	}
	return nil
}

// Conns calls fn for each connection, in no order.
func (t *Table) Conns(fn func(*Conn)) {
	for _, c := range t.conns {
		fn(c)
	}
}

// Len returns the number of connections of either side.
func (t *Table) Len() (outgoing, incoming int) { return len(t.conns) - t.incoming, t.incoming }

// private is the private data of all messages.
func (t *Table) private() []byte {
	b := make([]byte, mad.IPoIBPrivateDataLen)
	mad.IPoIBPrivateData{UDQPN: t.own.QPN(), ReceiveMTU: uint32(t.cfg.ReceiveMTU)}.Put(b)
	return b
}

// add puts a connection into the tables.
func (t *Table) add(c *Conn) {
	t.conns[c.QP] = c
	t.publish()
	if c.Active {
		return
	}
	t.incoming++
	if t.scan == nil {
		t.scan = t.cfg.Clock.AfterFunc(scanInterval, func() { t.hooks.Post(t.reap) })
	}
}

func (t *Table) publish() {
	m := maps.Clone(t.conns)
	t.byQP.Store(&m)
}

// reap ends incoming connections that were idle for long (kernel
// ipoib_cm_stale_task).
func (t *Table) reap() {
	t.scan = nil
	if !t.open {
		return
	}
	now := t.cfg.Clock.Now()
	for _, c := range t.conns {
		switch {
		case c.Active:
		case c.busy.Swap(false) || c.remote != nil:
			c.used = now
		case now.Sub(c.used) >= IdleTime:
			t.hooks.Debugf("Reap idle connection of %v", c.Addr)
			t.end(c)
		}
	}
	if t.incoming > 0 {
		t.scan = t.cfg.Clock.AfterFunc(scanInterval, func() { t.hooks.Post(t.reap) })
	}
}
