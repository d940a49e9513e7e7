package path

import (
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"

	"ipoib/datapath/encap"
	"ipoib/datapath/tun"
	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// MaxQueue is how many packets wait for a peer, and how many ARP packets for
// a path (kernel IPOIB_MAX_PATH_REC_QUEUE).
const MaxQueue = 3

// GCInterval and IdleTime: a peer that was idle for two periods of the ARP
// garbage collection goes (kernel ipoib_reap_neigh).
const (
	GCInterval = 30 * time.Second
	IdleTime   = 2 * GCInterval
)

// State is the state of a Path.
type State uint8

// The states.
const (
	New State = iota
	Querying
	Valid
	// Invalid paths have a record that is no longer trusted: packets wait
	// for a new one.
	Invalid
)

var stateNames = [...]string{"new", "querying", "valid", "invalid"}

func (s State) String() string { return stateNames[s] }

// Target is all that the transmit path needs to send to a peer.
type Target struct {
	// AH and QPN address datagrams.
	AH  rdma.AH
	QPN rdma.QPN
	// QP is the queue pair of a connection to the peer, nil for datagrams;
	// Limit is the largest message that it carries, in bytes.
	QP    rdma.QP
	Limit int
}

// Path is the way to a GID.
type Path struct {
	GID rdma.GID
	// Record is valid in the states Valid and Invalid.
	Record mad.PathRecord

	state  State
	ah     rdma.AH
	peers  map[encap.HardwareAddr]*Peer
	arp    []arpPacket
	cancel func()
	seen   rdma.LID // where the GID's packets came from, when not Record.DLID
}

type arpPacket struct {
	qpn rdma.QPN
	p   tun.Packet
}

// State returns the state.
func (p *Path) State() State { return p.state }

// Complete reports whether the path has a record with a DLID, which is what
// the driver's debugfs file calls complete.
func (p *Path) Complete() bool { return p.Record.DLID != 0 }

// AH returns the address handle, or nil.
func (p *Path) AH() rdma.AH { return p.ah }

// Peer is a link-layer address that packets are sent to.
type Peer struct {
	Addr encap.HardwareAddr
	Path *Path
	// Target is where datagrams go, nil while they have to wait. Any goroutine
	// may read it.
	Target atomic.Pointer[Target]
	// RC is where packets go over a connection, nil while there is none. It
	// is set by who keeps the connections; any goroutine may read it.
	RC atomic.Pointer[Target]

	used  atomic.Int64
	dead  atomic.Bool
	wake  atomic.Bool // the next use is to be told
	queue []tun.Packet
}

// Touch notes a use. Any goroutine may call it.
func (p *Peer) Touch(now time.Time) { p.used.Store(now.UnixNano()) }

// SetWake makes the next use known to who keeps the connections, or not.
func (p *Peer) SetWake(on bool) { p.wake.Store(on) }

// Wake reports whether this use is to be told; it does so once. Any goroutine
// may call it.
func (p *Peer) Wake() bool { return p.wake.Load() && p.wake.CompareAndSwap(true, false) }

// Dead reports whether the peer has left the table. Any goroutine may call it.
func (p *Peer) Dead() bool { return p.dead.Load() }

// Queued returns how many packets wait.
func (p *Peer) Queued() int { return len(p.queue) }

// Hooks are called on the owner's goroutine.
type Hooks struct {
	// Query starts a path record query. Its result comes back by
	// Table.Complete, also on the owner's goroutine; cancel ends it without
	// a result.
	Query func(p *Path) (cancel func())
	// MakeAH makes the address handle of a new record.
	MakeAH func(p *Path) (rdma.AH, error)
	// Send transmits a packet as a datagram; n is nil for ARP and ND.
	Send func(n *Peer, to Target, p tun.Packet)
	// Drop takes a packet that will not be sent.
	Drop func(p tun.Packet)
	// PeerChanged is called when the target of a peer came or went, and
	// PeerRemoved when a peer left the table.
	PeerChanged, PeerRemoved func(*Peer)
	// InUse reports whether an idle peer is to stay for other reasons than
	// packets to it.
	InUse func(*Peer) bool
	// Post runs a function on the owner's goroutine.
	Post func(func())
	// Debugf logs.
	Debugf func(format string, args ...any)
}

// Table holds the paths and peers of one interface.
type Table struct {
	hooks Hooks
	clock clockwork.Clock
	paths map[rdma.GID]*Path
	peers map[encap.HardwareAddr]*Peer
	gc    clockwork.Timer
}

// NewTable returns an empty table.
func NewTable(clock clockwork.Clock, h Hooks) *Table {
	return &Table{hooks: h, clock: clock, paths: make(map[rdma.GID]*Path), peers: make(map[encap.HardwareAddr]*Peer)}
}

// Peer returns the peer of a unicast address, a new one if there is none, or
// if the old one's ability to connect has changed. The flags octet does not
// identify a peer (RFC 4391 section 9.1.1).
func (t *Table) Peer(a encap.HardwareAddr) *Peer {
	if p := t.peers[a.Key()]; p != nil {
		if p.Addr.SupportsRC() == a.SupportsRC() {
			return p
		}
		// Another kind of node has the queue pair now: begin anew.
		t.removePeer(p)
	}
	p := &Peer{Addr: a, Path: t.path(a.GID())}
	p.Touch(t.clock.Now())
	p.SetWake(a.SupportsRC())
	t.peers[a.Key()] = p
	p.Path.peers[a.Key()] = p
	if p.Path.state == Valid {
		t.point(p)
	}
	if t.gc == nil {
		t.gc = t.clock.AfterFunc(GCInterval, func() { t.hooks.Post(t.collect) })
	}
	return p
}

func (t *Table) path(g rdma.GID) *Path {
	if p := t.paths[g]; p != nil {
		return p
	}
	p := &Path{GID: g, peers: make(map[encap.HardwareAddr]*Peer)}
	t.paths[g] = p
	return p
}

// Send transmits a packet to a peer, or lets it wait for the path.
func (t *Table) Send(p *Peer, pkt tun.Packet) {
	p.Touch(t.clock.Now())
	if to := p.Target.Load(); to != nil {
		t.hooks.Send(p, *to, pkt)
		return
	}
	if p.Dead() {
		t.hooks.Drop(pkt)
		return
	}
	t.start(p.Path)
	if len(p.queue) >= MaxQueue {
		t.hooks.Drop(pkt)
		return
	}
	p.queue = append(p.queue, pkt)
}

// SendARP transmits an ARP or ND answer to a queue pair at a GID, which need
// not be a peer (kernel unicast_arp_send).
func (t *Table) SendARP(to encap.HardwareAddr, pkt tun.Packet) {
	p := t.path(to.GID())
	if p.state == Valid {
		t.sendARP(p, to.QPN(), pkt)
		return
	}
	t.start(p)
	if len(p.arp) >= MaxQueue {
		t.hooks.Drop(pkt)
		return
	}
	p.arp = append(p.arp, arpPacket{to.QPN(), pkt})
}

func (t *Table) sendARP(p *Path, qpn rdma.QPN, pkt tun.Packet) {
	if typ, _, err := encap.Decap(pkt.Buf.Bytes()); err == nil && typ == encap.EtherTypeARP {
		t.hooks.Debugf("Send unicast ARP to %08x", uint16(p.Record.DLID))
	}
	t.hooks.Send(nil, Target{AH: p.ah, QPN: qpn}, pkt)
}

func (t *Table) start(p *Path) {
	if p.state == Querying {
		return
	}
	p.state = Querying
	p.cancel = t.hooks.Query(p)
}

// Complete takes the result of a query: a record, or an error.
func (t *Table) Complete(p *Path, rec mad.PathRecord, err error) {
	if p.state != Querying || t.paths[p.GID] != p {
		return
	}
	p.cancel = nil
	if err == nil {
		p.Record = rec
		var ah rdma.AH
		if ah, err = t.hooks.MakeAH(p); err == nil {
			t.valid(p, ah)
			return
		}
	}
	// All peers of the GID go with their packets; ARP packets wait for the
	// next attempt (kernel path_rec_completion).
	p.state = New
	if p.ah != nil {
		p.state = Invalid
	}
	for _, n := range p.peers {
		t.removePeer(n)
	}
}

func (t *Table) valid(p *Path, ah rdma.AH) {
	old := p.ah
	p.state, p.ah = Valid, ah
	for _, n := range p.peers {
		// Those that waited go first.
		q := n.queue
		n.queue = nil
		for _, pkt := range q {
			t.hooks.Send(n, Target{AH: ah, QPN: n.Addr.QPN()}, pkt)
		}
		t.point(n)
	}
	q := p.arp
	p.arp = nil
	for _, a := range q {
		t.sendARP(p, a.qpn, a.p)
	}
	if old != nil {
		_ = old.Close()
	}
}

func (t *Table) point(n *Peer) {
	n.Target.Store(&Target{AH: n.Path.ah, QPN: n.Addr.QPN()})
	t.hooks.PeerChanged(n)
}

// Seen notes the LID that a message from a GID came from. Where the path goes
// to another one its record is asked for once more: the port may have a new
// LID, which nobody tells us of.
func (t *Table) Seen(g rdma.GID, lid rdma.LID) {
	p := t.paths[g]
	if p == nil || p.state != Valid || p.Record.DLID == lid || p.seen == lid {
		return
	}
	p.seen = lid
	t.start(p)
}

// Invalidate marks all paths: they are queried again on their next use, and
// packets wait until then (light flush, kernel ipoib_mark_paths_invalid).
func (t *Table) Invalidate(each func(*Path)) {
	for _, p := range t.paths {
		if p.state == Querying {
			// The answer may be older than the event: ask again.
			p.cancel()
			p.cancel = t.hooks.Query(p)
			continue
		}
		if p.state != Valid {
			continue
		}
		each(p)
		p.state = Invalid
		for _, n := range p.peers {
			n.Target.Store(nil)
			t.hooks.PeerChanged(n)
		}
	}
}

// Flush removes all paths and peers; packets that wait are dropped.
func (t *Table) Flush() {
	for _, n := range t.peers {
		t.removePeer(n)
	}
	for g, p := range t.paths {
		if p.cancel != nil {
			p.cancel()
			p.cancel = nil
		}
		for _, a := range p.arp {
			t.hooks.Drop(a.p)
		}
		p.arp = nil
		if p.ah != nil {
			_ = p.ah.Close()
		}
		t.hooks.Debugf("path_free")
		delete(t.paths, g)
	}
	if t.gc != nil {
		t.gc.Stop()
		t.gc = nil
	}
}

func (t *Table) removePeer(n *Peer) {
	if n.dead.Swap(true) {
		return
	}
	n.Target.Store(nil)
	delete(t.peers, n.Addr.Key())
	delete(n.Path.peers, n.Addr.Key())
	q := n.queue
	n.queue = nil
	for _, pkt := range q {
		t.hooks.Drop(pkt)
	}
	t.hooks.PeerRemoved(n)
}

func (t *Table) collect() {
	t.gc = nil
	now := t.clock.Now()
	for _, n := range t.peers {
		if now.Sub(time.Unix(0, n.used.Load())) < IdleTime || len(n.queue) > 0 {
			continue
		}
		if t.hooks.InUse(n) {
			n.Touch(now)
			continue
		}
		t.removePeer(n)
	}
	if len(t.peers) > 0 {
		t.gc = t.clock.AfterFunc(GCInterval, func() { t.hooks.Post(t.collect) })
	}
}

// Paths calls fn for each path, in no order.
func (t *Table) Paths(fn func(*Path)) {
	for _, p := range t.paths {
		fn(p)
	}
}

// Lookup returns the path of a GID, or nil.
func (t *Table) Lookup(g rdma.GID) *Path { return t.paths[g] }
