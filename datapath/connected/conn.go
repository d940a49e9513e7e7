package connected

import (
	"sync/atomic"
	"time"

	"ipoib/datapath/encap"
	"ipoib/datapath/path"
	"ipoib/rdma"
	"ipoib/rdma/cm"
)

// Conn is one connection.
type Conn struct {
	// Addr is the peer's link-layer address without flags, zero when it did
	// not say who it is. Active: this side asked for the connection.
	Addr   encap.HardwareAddr
	Active bool
	QP     rdma.QP

	table *Table
	cm    *cm.Conn
	psn   rdma.PSN // first one that the peer sends
	// RemoteQPN is the other end; limit the largest message to be sent.
	remoteQPN rdma.QPN
	limit     int
	dlid      rdma.LID
	up        bool // established
	duplex    bool // of an incoming one: the peer receives on it too
	remote    *Remote
	used      time.Time
	since     time.Time // of the establishment

	busy   atomic.Bool // a message came since the last look
	seen   atomic.Bool // a message came at all
	failed atomic.Bool
}

// RemoteQPN returns the peer's queue pair, 0 before it is known.
func (c *Conn) RemoteQPN() rdma.QPN { return c.remoteQPN }

// Established reports whether the connection is set up.
func (c *Conn) Established() bool { return c.up }

// MTU returns the largest IP packet that the peer takes over the connection.
func (c *Conn) MTU() int { return c.limit - encap.HeaderLen }

// State returns the state in the communication manager's terms.
func (c *Conn) State() cm.State {
	if c.cm == nil {
		return cm.Closed
	}
	return c.cm.State()
}

// Received notes that a message came. Any goroutine may call it.
func (c *Conn) Received() {
	if !c.busy.Load() {
		c.busy.Store(true)
	}
	if !c.seen.Load() && !c.seen.Swap(true) && !c.Active {
		// It may have overtaken the RTU.
		c.cm.Established()
	}
}

// Fail ends a connection whose queue pair reported an error. Any goroutine may
// call it; it does something once.
func (c *Conn) Fail(st rdma.WCStatus) {
	if c.failed.Swap(true) {
		return
	}
	t := c.table
	t.hooks.Post(func() {
		if t.conns[c.QP] != c {
			return
		}
		// The driver warns of all but the loss of the peer.
		logf := t.hooks.Warnf
		if st == rdma.WCRetryExcErr || st == rdma.WCRNRRetryExcErr || st == rdma.WCWRFlushErr {
			logf = t.hooks.Debugf
		}
		logf("failed cm send event (status=%d, wrid=0 vend_err 0x0)", st)
		r := c.remote
		if r == nil {
			t.end(c)
			return
		}
		if st == rdma.WCRetryExcErr {
			r.ack = min(r.ack+ackStep, maxAckTimeout)
		}
		short := c.up && t.cfg.Clock.Since(c.since) < shortLife
		t.end(c)
		if short {
			if st != rdma.WCRetryExcErr {
				r.refusals++
			}
			t.failed(r)
		} else {
			r.failures, r.refusals = 0, 0
		}
	})
}

// target is where packets over the connection go.
func (c *Conn) target() *path.Target {
	return &path.Target{QP: c.QP, QPN: c.remoteQPN, Limit: c.limit}
}

// newConn makes a connection with a queue pair in INIT.
func (t *Table) newConn(active bool) (*Conn, error) {
	cfg := rdma.QPConfig{
		Type: rdma.QPTRC, Port: t.cfg.Port.Num(), SendCQ: t.cfg.SendCQ, RecvCQ: t.cfg.RecvCQ,
		SRQ: t.cfg.SRQ, MaxSend: t.cfg.MaxSend, RecvSize: t.cfg.ReceiveMTU,
	}
	if t.cfg.SRQ == nil {
		cfg.MaxRecv = t.cfg.MaxRecv
	}
	qp, err := t.cfg.PD.CreateQP(cfg)
	if err != nil {
		return nil, err
	}
	c := &Conn{
		Active: active, QP: qp, table: t, psn: rdma.PSN(t.cfg.Rand.Uint32()) & rdma.PSNMask, used: t.cfg.Clock.Now(),
	}
	err = qp.Modify(rdma.QPAttr{State: rdma.QPSInit, PKeyIndex: uint16(t.pkeyIdx), ReceiveAggregate: t.cfg.Aggregate},
		rdma.QPAttrState|rdma.QPAttrPKeyIndex|rdma.QPAttrReceiveAggregate)
	if err == nil && t.cfg.SRQ == nil {
		err = qp.PostRecv(t.cfg.MaxRecv)
	}
	if err != nil {
		_ = qp.Close()
		return nil, err
	}
	return c, nil
}

// start takes the queue pair to RTS. ack is the time code of the local ACK
// timeout.
func (c *Conn) start(av rdma.AHAttr, mtu rdma.MTU, psn rdma.PSN, ack uint8) error {
	c.dlid = av.DLID
	err := c.QP.Modify(rdma.QPAttr{
		State: rdma.QPSRTR, AV: av, PathMTU: mtu, DestQPN: c.remoteQPN, RQPSN: c.psn, MinRNRTimer: minRNRTimer,
	}, rdma.QPAttrState|rdma.QPAttrAV|rdma.QPAttrPathMTU|rdma.QPAttrDestQPN|rdma.QPAttrRQPSN|rdma.QPAttrMinRNRTimer)
	if err != nil {
		return err
	}
	return c.QP.Modify(rdma.QPAttr{
		State: rdma.QPSRTS, SQPSN: psn, Timeout: ack, RetryCount: retryCount, RNRRetry: rnrRetry,
	}, rdma.QPAttrState|rdma.QPAttrSQPSN|rdma.QPAttrTimeout|rdma.QPAttrRetryCount|rdma.QPAttrRNRRetry)
}

// end closes a connection and tells the peer; the remote that used it is
// without one.
func (t *Table) end(c *Conn) {
	if t.conns[c.QP] != c {
		return
	}
	delete(t.conns, c.QP)
	t.publish()
	r := c.remote
	if !c.Active {
		t.incoming--
		if o := t.remotes[c.Addr]; o != nil && o.awaits() {
			r = o
		}
	}
	c.up, c.remote = false, nil
	if r != nil {
		t.lost(r)
	}
	if c.cm != nil {
		c.cm.Close()
	}
	if err := c.QP.Close(); err != nil {
		t.hooks.Debugf("cannot close queue pair: %v", err)
	}
}
