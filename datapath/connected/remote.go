package connected

import (
	"time"

	"github.com/jonboulle/clockwork"

	"ipoib/datapath/path"
	"ipoib/datapath/tun"
	"ipoib/rdma/mad"
)

// State is the state of a Remote.
type State uint8

// The states.
const (
	// Idle: no connection; the next packet asks for one.
	Idle State = iota
	// Connecting: a request is under way, from either side.
	Connecting
	// Connected: packets go over a connection.
	Connected
	// Backoff: the peer refused or did not answer; packets go by UD.
	Backoff
)

var stateNames = [...]string{"idle", "connecting", "connected", "backoff"}

// String returns the name.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// Remote is a peer that is to be sent to over a connection.
type Remote struct {
	peer  *path.Peer
	state State
	conn  *Conn // used, or asked for; nil while the peer's request is awaited
	queue []tun.Packet

	wanted   bool  // a packet asked for a connection before there was a path
	legacy   bool  // the service ID of the Linux driver is the right one
	ack      uint8 // time code of the local ACK timeout
	restale  bool  // a stale connection was met; once more is enough
	worked   bool  // there was a connection
	failures int
	refusals int       // failures that were not silence
	since    time.Time // of the first request of this attempt
	lostAt   time.Time // when the last connection ended, or the first of some that were short
	timer    clockwork.Timer
	gen      int
}

// State returns the state.
func (r *Remote) State() State { return r.state }

// Conn returns the connection in use or being set up, or nil.
func (r *Remote) Conn() *Conn { return r.conn }

// Queued returns how many packets wait.
func (r *Remote) Queued() int { return len(r.queue) }

// Remote returns the remote of a peer, or nil.
func (t *Table) Remote(p *path.Peer) *Remote {
	if r := t.remotes[p.Addr.Key()]; r != nil && r.peer == p {
		return r
	}
	return nil
}

// Want asks for a connection to a peer that advertises RC, unless there is one
// or the peer refused lately. Without a valid path it waits for PathChanged.
func (t *Table) Want(p *path.Peer) {
	if !t.open || p.Dead() || !p.Addr.SupportsRC() || p.Addr.Key() == t.own.Key() {
		return
	}
	r := t.remotes[p.Addr.Key()]
	if r == nil || r.peer != p {
		if r != nil {
			t.Forget(r)
		}
		r = &Remote{peer: p, ack: ackTimeout}
		t.remotes[p.Addr.Key()] = r
	}
	if r.state != Idle {
		return
	}
	r.since = t.cfg.Clock.Now()
	if c := t.incomingFrom(r, func(c *Conn) bool { return c.up && c.duplex }); c != nil {
		t.use(r, c)
		return
	}
	if c := t.incomingFrom(r, func(c *Conn) bool { return !c.up }); c != nil {
		// The peer is just connecting. If it uses connections in both
		// directions one is enough.
		r.state = Connecting
		return
	}
	if r.wanted = p.Path.State() != path.Valid; !r.wanted {
		t.dial(r)
	}
}

// awaits reports whether the remote waits for a connection that its peer makes.
func (r *Remote) awaits() bool { return r.state == Connecting && r.conn == nil }

// incomingFrom returns a connection that the remote made and that match
// accepts, or nil.
func (t *Table) incomingFrom(r *Remote, match func(*Conn) bool) *Conn {
	for _, c := range t.conns {
		if !c.Active && c.Addr == r.peer.Addr.Key() && c.remote == nil && match(c) {
			return c
		}
	}
	return nil
}

// Queue lets a packet that is too long for UD wait for a connection. It
// reports false, and the packet stays the caller's, when none is to be
// expected soon.
func (t *Table) Queue(p *path.Peer, pkt tun.Packet) bool {
	r := t.Remote(p)
	switch {
	case r == nil, r.state != Connecting && r.state != Backoff:
		return false
	case r.state == Connecting && t.cfg.Clock.Since(r.since) <= waitTime:
	case r.worked && r.refusals <= 1 && t.cfg.Clock.Since(r.lostAt) <= returnTime:
		// It will be back soon. The host would remember for long that its
		// packets are too long.
		t.hooks.Drop(pkt)
		return true
	default:
		return false
	}
	if len(r.queue) >= MaxQueue {
		t.hooks.Warnf("queue length limit %d. Packet drop.", len(r.queue))
		t.hooks.Overflow(pkt)
		return true
	}
	r.queue = append(r.queue, pkt)
	return true
}

// PathChanged is called when the path of a peer has a new record: a connection
// that was asked for is made, one along another way is made anew.
func (t *Table) PathChanged(p *path.Peer) {
	r := t.Remote(p)
	if r == nil {
		return
	}
	if r.wanted {
		r.wanted = false
		t.Want(p)
		return
	}
	if c := r.conn; r.state == Connected && c.Active && p.Path.State() == path.Valid && c.dlid != p.Path.Record.DLID {
		t.hooks.Debugf("path to %s has changed, connecting again", p.Addr.GID().Full())
		t.end(c)
		t.Want(p)
	}
}

// InUse reports whether messages came from a peer over our connection since
// the last call.
func (t *Table) InUse(p *path.Peer) bool {
	r := t.Remote(p)
	return r != nil && r.conn != nil && r.conn.busy.Swap(false)
}

// ForgetPeer ends what there is towards a peer that left the path table.
func (t *Table) ForgetPeer(p *path.Peer) {
	if r := t.Remote(p); r != nil {
		t.Forget(r)
	}
}

// Forget ends the use of connections to a remote. Its own connection is ended,
// one that the peer made stays for what comes in.
func (t *Table) Forget(r *Remote) {
	delete(t.remotes, r.peer.Addr.Key())
	r.stopTimer()
	r.peer.RC.Store(nil)
	r.peer.SetWake(false)
	r.state = Idle
	t.dropQueue(r)
	c := r.conn
	r.conn = nil
	if c == nil {
		return
	}
	c.remote = nil
	if c.Active {
		t.hooks.Debugf("Reap connection for gid %s", r.peer.Addr.GID().Full())
		t.hooks.Debugf("Destroy active connection 0x%x", uint32(c.QP.Num()))
		t.end(c)
	}
}

// Distrust stops the use of connections that peers made, for sending: the own
// port has changed, and they may not hear us any more.
func (t *Table) Distrust() {
	for _, c := range t.conns {
		if c.Active {
			continue
		}
		c.duplex = false
		if r := c.remote; r != nil {
			c.remote = nil
			t.lost(r)
		}
	}
}

// use makes a connection that of a remote, and sends what waited.
func (t *Table) use(r *Remote, c *Conn) {
	r.stopTimer()
	r.state, r.conn, r.worked, r.restale = Connected, c, true, false
	c.remote = r
	to := c.target()
	r.peer.SetWake(false)
	q := r.queue
	r.queue = nil
	for _, p := range q {
		t.hooks.Send(*to, p)
	}
	r.peer.RC.Store(to)
}

// lost is called when the connection of a remote is no more. The next packet
// asks for another one.
func (t *Table) lost(r *Remote) {
	if now := t.cfg.Clock.Now(); r.state == Connected && (r.failures == 0 || now.Sub(r.conn.since) >= shortLife) {
		r.lostAt = now
	}
	r.stopTimer()
	r.peer.RC.Store(nil)
	r.conn, r.state = nil, Idle
	t.dropQueue(r)
	r.peer.SetWake(true)
}

// failed is called when no connection came about.
func (t *Table) failed(r *Remote) {
	t.lost(r)
	r.failures++
	r.state = Backoff
	r.peer.SetWake(false)
	d := min(minBackoff<<min(r.failures-1, 8), maxBackoff)
	t.after(r, d, func() {
		r.state = Idle
		r.peer.SetWake(true)
	})
}

func (t *Table) after(r *Remote, d time.Duration, fn func()) {
	r.stopTimer()
	gen := r.gen
	r.timer = t.cfg.Clock.AfterFunc(d, func() {
		t.hooks.Post(func() {
			if r.gen == gen {
				fn()
			}
		})
	})
}

func (r *Remote) stopTimer() {
	r.gen++
	if r.timer != nil {
		r.timer.Stop()
		r.timer = nil
	}
}

func (t *Table) dropQueue(r *Remote) {
	q := r.queue
	r.queue = nil
	for _, p := range q {
		t.hooks.Drop(p)
	}
}

// limitOf is the largest message that both sides take (RFC 4755 section 5.1);
// ok is false when it is too small for the protocols in use (section 5).
func (t *Table) limitOf(d mad.IPoIBPrivateData) (limit int, ok bool) {
	limit = int(min(d.ReceiveMTU, uint32(t.cfg.ReceiveMTU)))
	need := minReceiveMTU
	if t.hooks.IPv6() {
		need = minReceiveMTU6
	}
	return limit, limit >= need
}
