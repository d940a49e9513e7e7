package connected

import (
	"ipoib/datapath/encap"
	"ipoib/rdma"
	"ipoib/rdma/cm"
	"ipoib/rdma/mad"
)

// dial asks for a connection to a remote (kernel ipoib_cm_tx_init).
func (t *Table) dial(r *Remote) {
	r.state = Connecting
	c, err := t.newConn(true)
	if err != nil {
		t.hooks.Warnf("failed to create tx qp: %v", err)
		r.refusals++
		t.failed(r)
		return
	}
	c.Addr, c.remote, r.conn = r.peer.Addr.Key(), r, c
	t.add(c)
	rec := r.peer.Path.Record
	qpn, gid := r.peer.Addr.QPN(), r.peer.Addr.GID()
	t.hooks.Debugf("Request connection 0x%x for gid %s qpn 0x%x", uint32(c.QP.Num()), gid.Full(), uint32(qpn))
	service := mad.IPoIBServiceID(qpn)
	if r.legacy {
		service = mad.IPoIBServiceIDLegacy(qpn)
	}
	req := mad.REQ{
		ServiceID: service, LocalQPN: c.QP.Num(), StartingPSN: c.psn,
		RemoteCMResponseTimeout: responseTimeout, LocalCMResponseTimeout: responseTimeout, MaxCMRetries: maxCMRetries,
		RetryCount: retryCount, RNRRetryCount: rnrRetry, PKey: t.pkey, PathMTU: t.pathMTU(rec.MTU), SRQ: t.cfg.SRQ != nil,
		Primary: mad.CMPath{
			LocalLID: rec.SLID, RemoteLID: rec.DLID, LocalGID: t.own.GID(), RemoteGID: gid,
			FlowLabel: rec.FlowLabel, PacketRate: rec.Rate, TrafficClass: rec.TClass, HopLimit: rec.HopLimit,
			SL: rec.SL, SubnetLocal: rec.HopLimit <= 1, LocalAckTimeout: r.ack,
		},
	}
	copy(req.PrivateData[:], t.private())
	to := rdma.MADAddr{LID: rec.DLID, QPN: rdma.QPNGSI, QKey: rdma.QKeyGSI, SL: rec.SL, PKeyIndex: t.pkeyIdx}
	if av := t.addressVector(rec, gid); av.GRH != nil {
		to.GRH = av.GRH
	}
	c.cm, err = t.cfg.CM.Connect(cm.ConnectConfig{
		To: to, REQ: req, PacketLifeTime: rec.PacketLifeTime, Notice: t.private(),
	}, t.handler(c))
	if err != nil {
		t.hooks.Warnf("failed to send cm req: %v", err)
		t.refused(c)
	}
}

// handler passes the events of a connection to the owner's goroutine.
func (t *Table) handler(c *Conn) cm.Handler {
	return func(e cm.Event) {
		t.hooks.Post(func() {
			if t.conns[c.QP] == c {
				t.event(c, e)
			}
		})
	}
}

// event takes an event of the communication manager (kernel
// ipoib_cm_tx_handler, ipoib_cm_rx_handler).
func (t *Table) event(c *Conn, e cm.Event) {
	switch e.Type {
	case cm.EventReply:
		t.hooks.Debugf("REP received.")
		t.reply(c, e.REP)
	case cm.EventEstablished:
		t.established(c, e.Private)
	case cm.EventRejected:
		t.hooks.Debugf("CM error %d: REJ received, reason %v", e.Type, e.REJ.Reason)
		t.rejected(c, e.REJ)
	case cm.EventTimeout:
		t.hooks.Debugf("CM error %d: no answer", e.Type)
		t.unanswered(c)
	case cm.EventDisconnected:
		t.hooks.Debugf("DREQ received.")
		if c.remote != nil {
			c.remote.failures, c.remote.refusals = 0, 0
		}
		t.end(c)
	}
}

// reply takes the REP of a connection that was asked for.
func (t *Table) reply(c *Conn, rep *mad.REP) {
	r := c.remote
	if r == nil {
		return
	}
	reject := func(reason mad.RejectReason) {
		_ = c.cm.Reject(reason, t.private()) // ErrState: the peer gave up as well
		t.refused(c)
	}
	d, err := mad.ParseIPoIBPrivateData(rep.PrivateData[:])
	if err != nil {
		t.hooks.Warnf("Rejecting connection: mtu %d <= %d", d.ReceiveMTU, encap.HeaderLen)
		reject(mad.RejectConsumer)
		return
	}
	limit, ok := t.limitOf(d)
	if !ok {
		t.hooks.Warnf("Rejecting connection: mtu %d is too small", d.ReceiveMTU)
		reject(mad.RejectInvalidMTU)
		return
	}
	rec := r.peer.Path.Record
	c.remoteQPN, c.limit = rep.LocalQPN, limit
	if err := c.start(t.addressVector(rec, r.peer.Addr.GID()), t.pathMTU(rec.MTU), rep.StartingPSN, r.ack); err != nil {
		t.hooks.Warnf("failed to modify QP to RTS: %v", err)
		reject(mad.RejectNoResources)
		return
	}
	if err := c.cm.Confirm(t.private()); err != nil {
		t.refused(c)
		return
	}
	c.up, c.since = true, t.cfg.Clock.Now()
	t.use(r, c)
}

// rejected takes a REJ.
func (t *Table) rejected(c *Conn, rej *mad.REJ) {
	r := c.remote
	if r == nil || !c.Active || c.up {
		t.end(c)
		return
	}
	switch {
	case rej.Reason == mad.RejectInvalidServiceID && !r.legacy:
		// The Linux driver listens under a number of its own.
		r.legacy = true
		t.again(r, c)
		return
	case rej.Reason == mad.RejectStaleConnection && !r.restale:
		// The peer has just forgotten the old connection, ours or another
		// one with the number of our queue pair.
		r.restale = true
		t.again(r, c)
		return
	case rej.Reason == mad.RejectConsumer:
		// Our request crossed the peer's, which survives (RFC 4755 section
		// 3.3): the peer hears us on that connection.
		if in := t.incomingFrom(r, func(*Conn) bool { return true }); in != nil {
			t.detach(r, c)
			in.duplex = true
			r.state = Connecting
			if in.up {
				t.use(r, in)
			}
			return
		}
	}
	t.refused(c)
}

// detach ends a connection that did not come about, but not the attempt.
func (t *Table) detach(r *Remote, c *Conn) {
	c.remote, r.conn = nil, nil
	t.end(c)
}

// again makes another request at once.
func (t *Table) again(r *Remote, c *Conn) {
	t.detach(r, c)
	t.dial(r)
}

// refused ends a connection that is not wanted.
func (t *Table) refused(c *Conn) {
	if c.remote != nil {
		c.remote.refusals++
	}
	t.unanswered(c)
}

// unanswered ends a connection that did not come about.
func (t *Table) unanswered(c *Conn) {
	r := c.remote
	if r == nil {
		t.end(c)
		return
	}
	if r.legacy {
		r.legacy = false // the next attempt begins with the standard's form
	}
	t.detach(r, c)
	t.failed(r)
}

// addressVector is the way along a path. A GRH is used where the path has a hop
// limit, as for UD.
func (t *Table) addressVector(rec mad.PathRecord, dgid rdma.GID) rdma.AHAttr {
	return av(t.cfg.Port.Num(), rec.DLID, rec.SL, rec.Rate, dgid, rec.FlowLabel, rec.TClass, rec.HopLimit)
}

func av(port int, dlid rdma.LID, sl uint8, rate rdma.Rate, dgid rdma.GID, flow uint32, class, hops uint8) rdma.AHAttr {
	a := rdma.AHAttr{Port: port, DLID: dlid, SL: sl, StaticRate: rate}
	if hops > 0 {
		a.GRH = &rdma.GRHAttr{DGID: dgid, FlowLabel: flow, TrafficClass: class, HopLimit: hops}
	}
	return a
}

// pathMTU is what a connection may use: no more than the own port does.
func (t *Table) pathMTU(m rdma.MTU) rdma.MTU {
	if own := t.cfg.Port.Attr().ActiveMTU; own.IsValid() {
		return min(m, own)
	}
	return m
}
