package connected

import (
	"ipoib/datapath/encap"
	"ipoib/rdma"
	"ipoib/rdma/cm"
	"ipoib/rdma/mad"
)

// request takes a connection request (kernel ipoib_cm_req_handler).
func (t *Table) request(r *cm.Request) {
	t.hooks.Debugf("REQ arrived")
	reject := func(reason mad.RejectReason) {
		_ = r.Reject(reason, t.private()) // ErrState: the peer gave up as well
	}
	if !t.open {
		reject(mad.RejectInvalidServiceID)
		return
	}
	d, err := mad.ParseIPoIBPrivateData(r.REQ.PrivateData[:])
	if err != nil {
		t.hooks.Debugf("Rejecting connection: mtu %d <= %d", d.ReceiveMTU, encap.HeaderLen)
		reject(mad.RejectConsumer)
		return
	}
	limit, ok := t.limitOf(d)
	own := t.cfg.Port.Attr()
	if !ok || !r.REQ.PathMTU.IsValid() || r.REQ.PathMTU > own.MaxMTU {
		t.hooks.Debugf("Rejecting connection: mtu %d, path mtu %v", d.ReceiveMTU, r.REQ.PathMTU)
		reject(mad.RejectInvalidMTU)
		return
	}
	if !r.REQ.PKey.Match(t.pkey) {
		t.hooks.Debugf("Rejecting connection: P_Key %v", r.REQ.PKey)
		reject(mad.RejectConsumer)
		return
	}
	// Who it is: the queue pair of the private data and the GID of the
	// request (RFC 4755 section 3.3). Who does not tell is received from, and
	// no more.
	var from encap.HardwareAddr
	if a := encap.UnicastAddr(0, d.UDQPN, r.REQ.Primary.LocalGID); a.IsUnicast() {
		from = a
	}
	if o := t.remotes[from]; o != nil && t.crossing(o) && !t.yields(from) {
		t.hooks.Debugf("Rejecting connection: it crossed ours to %v", from)
		reject(mad.RejectConsumer)
		return
	}
	if t.cfg.SRQ == nil && t.incoming >= t.cfg.MaxConns {
		t.hooks.Warnf("max connection limit reached (%d)", t.cfg.MaxConns)
		reject(mad.RejectNoQP)
		return
	}
	c, err := t.newConn(false)
	if err == nil {
		c.Addr, c.remoteQPN, c.limit = from, r.REQ.LocalQPN, limit
		p := &r.REQ.Primary
		err = c.start(av(t.cfg.Port.Num(), p.LocalLID, p.SL, p.PacketRate, p.LocalGID, p.FlowLabel, p.TrafficClass, p.HopLimit),
			r.REQ.PathMTU, r.REQ.StartingPSN, t.ackOf(from))
		if err != nil {
			_ = c.QP.Close()
		}
	}
	if err != nil {
		t.hooks.Warnf("failed to create rx qp: %v", err)
		reject(mad.RejectNoResources)
		return
	}
	rep := mad.REP{
		LocalQPN: c.QP.Num(), StartingPSN: c.psn, TargetAckDelay: ackDelay,
		RNRRetryCount: r.REQ.RNRRetryCount, SRQ: t.cfg.SRQ != nil,
	}
	copy(rep.PrivateData[:], t.private())
	// Messages may come before Accept returns.
	c.cm = r.Conn()
	t.add(c)
	if _, err = r.Accept(cm.AcceptConfig{REP: rep, Notice: t.private()}, t.handler(c)); err != nil {
		t.hooks.Debugf("failed to send cm rep: %v", err)
		t.end(c)
	}
}

// ackDelay is the time code of how long an acknowledgement may take here:
// 2 ms.
const ackDelay = 9

// ackOf returns the ACK timeout that suits a peer.
func (t *Table) ackOf(from encap.HardwareAddr) uint8 {
	if r := t.remotes[from]; r != nil {
		return r.ack
	}
	return ackTimeout
}

// crossing reports whether our own request to a remote is under way. The peer
// may have answered it meanwhile, after a request of its own.
func (t *Table) crossing(r *Remote) bool {
	if r.state != Connecting || r.conn == nil || !r.conn.Active {
		return false
	}
	switch r.conn.State() {
	case cm.ReqSent, cm.MRAReqRcvd, cm.RepRcvd, cm.MRARepSent:
		return true
	}
	return false
}

// yields decides which of two crossing requests survives: that of the node
// with the larger address (RFC 4755 section 3.3).
func (t *Table) yields(from encap.HardwareAddr) bool { return t.own.Compare(from) < 0 }

// established is called when an incoming connection is set up; private are the
// private data of the RTU, when that was the reason.
func (t *Table) established(c *Conn, private []byte) {
	if !c.up {
		c.up, c.since = true, t.cfg.Clock.Now()
	}
	if private != nil {
		d, err := mad.ParseIPoIBPrivateData(private)
		if err == nil && !c.Addr.IsZero() && d.UDQPN == c.Addr.QPN() {
			c.duplex = true
		}
	}
	r := t.remotes[c.Addr]
	if r == nil || c.remote != nil {
		return
	}
	switch {
	case c.duplex && (r.state == Backoff || r.awaits()):
		t.use(r, c)
	case !r.awaits():
	case private != nil:
		// It is for one direction only.
		t.dial(r)
	default:
		// The RTU, which tells, is late or lost.
		t.after(r, rtuTime, func() {
			if r.awaits() {
				t.dial(r)
			}
		})
	}
}

// CommEstablished takes the event of that name: a message came before the RTU.
func (t *Table) CommEstablished(qp rdma.QP) {
	if c := t.conns[qp]; c != nil && !c.Active && !c.up {
		c.cm.Established()
	}
}
