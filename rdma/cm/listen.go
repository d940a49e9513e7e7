package cm

import (
	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// Listener takes the connection requests for a service ID.
type Listener struct {
	cm     *CM
	id     uint64
	accept func(*Request)
}

// Listen calls accept for each new request for a service ID, until the
// listener is closed. accept must not block; it, or whoever it passes the
// request to, calls one of the request's methods.
func (c *CM) Listen(serviceID uint64, accept func(*Request)) (*Listener, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, opError("listen", rdma.ErrClosed)
	}
	if c.listeners[serviceID] != nil {
		return nil, opError("listen", ErrListening)
	}
	l := &Listener{cm: c, id: serviceID, accept: accept}
	c.listeners[serviceID] = l
	return l, nil
}

// Close ends the listener. Connections that it accepted stay, and a call of
// its function may be under way.
func (l *Listener) Close() {
	l.cm.mu.Lock()
	defer l.cm.mu.Unlock()
	if l.cm.listeners[l.id] == l {
		delete(l.cm.listeners, l.id)
	}
}

// Request is a connection that a peer asks for.
type Request struct {
	// REQ is what it asks for. From is where it came from.
	REQ  mad.REQ
	From rdma.MADAddr

	conn *Conn
}

// AcceptConfig says what a REP tells.
type AcceptConfig struct {
	// REP is what is sent, with private data. The communication IDs and the
	// node GUID are filled in.
	REP mad.REP
	// Notice is as in ConnectConfig.
	Notice []byte
}

// Conn returns the connection that Accept completes. Until then only Close and
// Established have a meaning.
func (r *Request) Conn() *Conn { return r.conn }

// Accept sends the REP; the queue pair is to be ready to receive before. h gets
// what comes of it. It returns ErrState when the peer gave up meanwhile.
func (r *Request) Accept(cfg AcceptConfig, h Handler) (*Conn, error) {
	k := r.conn
	if len(cfg.Notice) > mad.REJPrivateLen {
		return nil, opError("accept", ErrPrivateData)
	}
	err := k.request("accept", inAccept, func() (*mad.MAD, error) {
		k.handler, k.notice = h, cfg.Notice
		rep := cfg.REP
		rep.LocalCommID, rep.RemoteCommID, rep.LocalCAGUID = k.local, k.remote, k.cm.guid
		return message(k.tid, mad.AttrREP, &rep), nil
	})
	if err != nil {
		return nil, err
	}
	return k, nil
}

// Reject refuses the request with a REJ.
func (r *Request) Reject(reason mad.RejectReason, private []byte) error {
	return r.conn.Reject(reason, private)
}

// Delay tells the peer by an MRA that the answer takes longer; timeout is a
// time code.
func (r *Request) Delay(timeout uint8, private []byte) error {
	return r.conn.Delay(timeout, private)
}

// receiveREQ takes a REQ. mu is held.
func (c *CM) receiveREQ(from rdma.MADAddr, m *mad.MAD) bool {
	var req mad.REQ
	if m.Attr(&req) != nil {
		return false
	}
	if k := c.remotes[remoteID{req.LocalCAGUID, req.LocalCommID}]; k != nil {
		// The same REQ once more, or the same ID for another connection.
		if k.qpn != req.LocalQPN {
			c.refuse(from, m, &req, mad.RejectDuplicateLocalCommID)
			return true
		}
		return !k.active && k.input(inREQ, nil, Event{})
	}
	switch {
	case req.LocalCommID == 0:
		return false
	case req.TransportService != mad.ServiceRC:
		c.refuse(from, m, &req, mad.RejectInvalidTransport)
		return true
	}
	k := &Conn{
		cm: c, local: c.newID(), to: reply(from), tid: m.TID(),
		retries: int(req.MaxCMRetries),
		// The timeout that the requester gives itself, and the way there and
		// back: its ACK timeout is twice the packet life time.
		wait: Duration(req.LocalCMResponseTimeout) + Duration(req.Primary.LocalAckTimeout),
		life: Duration(max(req.Primary.LocalAckTimeout, 1)),
	}
	if old := k.know(req.LocalCommID, req.LocalCAGUID, req.LocalQPN); old != nil {
		// The peer has made its queue pair anew: the old connection is dead,
		// and the new one has to wait until nothing of it is under way (IBA
		// 12.9.8.3.1, kernel cm_match_req).
		c.refuse(from, m, &req, mad.RejectStaleConnection)
		old.stale()
		return true
	}
	l := c.listeners[req.ServiceID]
	if l == nil {
		k.forget()
		c.refuse(from, m, &req, mad.RejectInvalidServiceID)
		return true
	}
	k.state.Store(uint32(ReqRcvd))
	c.conns[k.local] = k
	r := &Request{REQ: req, From: from, conn: k}
	c.tell(func() { l.accept(r) })
	return true
}

// stale ends a connection whose peer has forgotten it.
func (k *Conn) stale() {
	d, _ := k.dreq(nil)
	if !k.step(inDisconnect, d) {
		return
	}
	k.report(Event{Type: EventDisconnected})
	k.closed = true
}

// refuse sends a REJ of a REQ that made no connection.
func (c *CM) refuse(from rdma.MADAddr, m *mad.MAD, req *mad.REQ, reason mad.RejectReason) {
	c.put(reply(from), message(m.TID(), mad.AttrREJ, &mad.REJ{
		RemoteCommID: req.LocalCommID, Message: mad.CMMessageREQ, Reason: reason,
	}))
}

// reply returns the address to answer to.
func reply(from rdma.MADAddr) rdma.MADAddr {
	from.QKey = rdma.QKeyGSI
	return from
}
