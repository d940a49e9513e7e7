package cm

import (
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// Conn is one connection, of the side that asked for it (active) or of the
// one that was asked (passive).
type Conn struct {
	cm      *CM
	local   uint32 // communication ID
	active  bool
	handler Handler
	state   atomic.Uint32 // State; written under cm.mu

	// Guarded by cm.mu.
	to      rdma.MADAddr
	tid     uint64
	remote  uint32 // the peer's communication ID, 0 before it is known
	guid    rdma.GUID
	qpn     rdma.QPN // the peer's queue pair
	wait    time.Duration
	life    time.Duration // how long packets may be under way, there and back
	retries int           // of each message
	left    int
	kept    *mad.MAD // the last message that may have to be sent again
	notice  []byte   // private data of a REJ that nobody asked for
	gotRTU  bool
	service uint8 // timeout of the last MRA, a time code
	closed  bool  // the consumer wants to hear no more
	timer   clockwork.Timer
	gen     int
}

// ConnectConfig says what a REQ asks for.
type ConnectConfig struct {
	// To is queue pair 1 of the peer's port.
	To rdma.MADAddr
	// REQ is what is sent, with private data. The communication ID and the
	// node GUID are filled in.
	REQ mad.REQ
	// PacketLifeTime is the time code of the path (PathRecord).
	PacketLifeTime uint8
	// Notice are the private data of a REJ that the CM sends when the
	// connection is given up (RFC 4755 section 3.2 wants them everywhere).
	Notice []byte
}

// Connect sends a REQ. h gets what comes of it; it may be called before
// Connect returns.
func (c *CM) Connect(cfg ConnectConfig, h Handler) (*Conn, error) {
	if len(cfg.Notice) > mad.REJPrivateLen {
		return nil, opError("connect", ErrPrivateData)
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, opError("connect", rdma.ErrClosed)
	}
	k := &Conn{
		cm: c, local: c.newID(), active: true, handler: h, to: cfg.To, tid: c.newTID(),
		// IBA 12.9.8.5: as long as the peer may take, and the way there and
		// back.
		wait:    Duration(cfg.REQ.RemoteCMResponseTimeout) + 2*Duration(cfg.PacketLifeTime),
		life:    Duration(ackCode(cfg.PacketLifeTime)),
		retries: int(cfg.REQ.MaxCMRetries), left: int(cfg.REQ.MaxCMRetries), notice: cfg.Notice,
	}
	req := cfg.REQ
	req.LocalCommID, req.LocalCAGUID = k.local, c.guid
	k.kept = message(k.tid, mad.AttrREQ, &req)
	k.state.Store(uint32(ReqSent))
	c.conns[k.local] = k
	c.put(k.to, k.kept)
	k.arm()
	c.mu.Unlock()
	c.flush()
	return k, nil
}

// State returns the present state.
func (k *Conn) State() State { return State(k.state.Load()) }

// Active reports whether this side sent the REQ.
func (k *Conn) Active() bool { return k.active }

// LocalID returns the communication ID of this side.
func (k *Conn) LocalID() uint32 { return k.local }

// Confirm sends the RTU, after EventReply and when the queue pair can receive.
// It returns ErrState when the peer gave up meanwhile.
func (k *Conn) Confirm(private []byte) error {
	return k.request("confirm", inConfirm, func() (*mad.MAD, error) {
		m := mad.RTU{LocalCommID: k.local, RemoteCommID: k.remote}
		err := fill(m.PrivateData[:], private)
		return message(k.tid, mad.AttrRTU, &m), err
	})
}

// Reject refuses a connection after EventReply: it sends a REJ of the REP.
func (k *Conn) Reject(reason mad.RejectReason, private []byte) error {
	return k.request("reject", inReject, func() (*mad.MAD, error) {
		return k.rej(k.rejected(), reason, private)
	})
}

// Delay asks the peer for more time by an MRA; timeout is a time code. It is
// for who was told EventReply.
func (k *Conn) Delay(timeout uint8, private []byte) error {
	return k.request("delay", inDelay, func() (*mad.MAD, error) {
		m := mad.MRA{LocalCommID: k.local, RemoteCommID: k.remote, Message: k.rejected(), ServiceTimeout: timeout}
		err := fill(m.PrivateData[:], private)
		return message(k.tid, mad.AttrMRA, &m), err
	})
}

// Established tells that a message came over the queue pair (event
// communication established): the RTU was lost, or is late (IBA 12.9.7.2).
func (k *Conn) Established() {
	k.cm.mu.Lock()
	k.input(inData, nil, Event{})
	k.cm.mu.Unlock()
	k.cm.flush()
}

// Disconnect ends an established connection by a DREQ; EventDisconnected
// follows, at the latest when the peer does not answer.
func (k *Conn) Disconnect(private []byte) error {
	return k.request("disconnect", inDisconnect, func() (*mad.MAD, error) { return k.dreq(private) })
}

// Close ends the connection whatever its state is: by a DREQ, which is
// repeated in the background until the peer answers, or by a REJ. There are no
// further events. The queue pair may be destroyed at once.
func (k *Conn) Close() {
	k.cm.mu.Lock()
	k.closed = true
	m, _ := k.dreq(k.notice)
	k.step(inClose, m)
	k.cm.mu.Unlock()
	k.cm.flush()
}

// dreq makes a DREQ; cm.mu is held.
func (k *Conn) dreq(private []byte) (*mad.MAD, error) {
	m := mad.DREQ{LocalCommID: k.local, RemoteCommID: k.remote, RemoteQPN: k.qpn}
	err := fill(m.PrivateData[:], private)
	return message(k.cm.newTID(), mad.AttrDREQ, &m), err
}

// request carries out what the consumer asks for.
func (k *Conn) request(op string, in input, build func() (*mad.MAD, error)) error {
	k.cm.mu.Lock()
	m, err := build()
	if err == nil && !k.step(in, m) {
		err = ErrState
	}
	k.cm.mu.Unlock()
	if err != nil {
		return opError(op, err)
	}
	k.cm.flush()
	return nil
}

// rejected says of which message a REJ or MRA is: the one that this side got.
func (k *Conn) rejected() mad.CMMessage {
	if k.active {
		return mad.CMMessageREP
	}
	return mad.CMMessageREQ
}

// rej makes a REJ of this connection; cm.mu is held.
func (k *Conn) rej(of mad.CMMessage, reason mad.RejectReason, private []byte) (*mad.MAD, error) {
	m := mad.REJ{LocalCommID: k.local, RemoteCommID: k.remote, Message: of, Reason: reason}
	if reason == mad.RejectTimeout {
		// The peer, who may not know our ID, finds the connection by the
		// node GUID (IBA 12.6.7.2).
		m.InfoLength = 8
		putGUID(m.ARI[:], k.cm.guid)
	}
	err := fill(m.PrivateData[:], private)
	return message(k.tid, mad.AttrREJ, &m), err
}
