package datapath

import (
	"ipoib/datapath/connected"
	"ipoib/datapath/encap"
	"ipoib/datapath/path"
	"ipoib/datapath/tun"
	"ipoib/rdma"
	"ipoib/rdma/cm"
)

// Connected mode (RFC 4755, kernel ipoib_cm.c). An interface whose adapter has
// the RC transport listens for connections whatever its mode is: the mode says
// how it sends. The connections are those of package connected, on the loop:
//
//	TX  path.Peer.RC is set -> its queue pair, else UD; a packet that is too
//	    long for UD waits in the loop for the connection that is being made
//	RX  the same completion queue as UD; messages come from the SRQ

// connState is what connected mode needs, owned by the loop except for table's
// methods that others may call.
type connState struct {
	table  *connected.Table // nil: no RC
	sendCQ rdma.CQ
	srq    rdma.SRQ
}

// Sizes of received messages (kernel ipoib_cm_dev_init): an SRQ entry is made
// of pages.
const (
	maxRecvSGE = 16
	pageSize   = 4096
)

// maxCMMTU is the largest MTU in connected mode.
func maxCMMTU(attr rdma.DeviceAttr) int {
	if attr.Caps&rdma.CapSRQ == 0 {
		return MaxMTU
	}
	return min(min(maxRecvSGE, attr.MaxSRQSGE)*pageSize-0x10, MaxMTU)
}

// openCM makes the communication manager of the port; without it its
// interfaces have no connected mode.
func (p *port) openCM() {
	dev := p.rdma.Device()
	if dev.Attr().Caps&rdma.CapRC == 0 {
		return
	}
	log := p.drv.sys.Log.With("dev", dev.Name(), "port", p.rdma.Num())
	m, err := cm.New(cm.Config{
		Port: p.rdma, NodeGUID: dev.Attr().NodeGUID, Clock: p.drv.sys.Clock, Log: log,
		Seed: p.drv.sys.Seed ^ uint64(p.rdma.GUID()),
	})
	if err != nil {
		log.Warn("no connected mode", "err", err)
		return
	}
	p.cm = m
}

// createRC makes what all connections of the interface share.
func (i *Interface) createRC() error {
	if i.port.cm == nil {
		return nil
	}
	dev, params := i.port.rdma.Device(), &i.drv.params
	attr := dev.Attr()
	c := &i.conns
	var err error
	c.sendCQ, err = dev.CreateCQ(rdma.CQConfig{Depth: attr.MaxCQE, Handler: i.sendFailed})
	if err != nil {
		return err
	}
	if attr.Caps&rdma.CapSRQ != 0 {
		c.srq, err = i.pd.CreateSRQ(rdma.SRQConfig{MaxRecv: params.RecvQueueSize, RecvSize: maxCMMTU(attr) + encap.HeaderLen})
		if err != nil {
			return err
		}
		if err = c.srq.PostRecv(params.RecvQueueSize); err != nil {
			return err
		}
	}
	c.table = connected.NewTable(connected.Config{
		Clock: i.drv.sys.Clock, Rand: i.rng, CM: i.port.cm, PD: i.pd, Port: i.port.rdma,
		SendCQ: c.sendCQ, RecvCQ: i.recvCQ, SRQ: c.srq,
		MaxSend: params.SendQueueSize, MaxRecv: params.RecvQueueSize, MaxConns: params.MaxNonSRQConnQP,
		ReceiveMTU: maxCMMTU(attr) + encap.HeaderLen, Aggregate: attr.Caps&rdma.CapRCIPCsum != 0,
		Hooks: connected.Hooks{
			Send:     i.send,
			Drop:     func(p tun.Packet) { i.dropTX(p, TXNoConnection) },
			Overflow: func(p tun.Packet) { i.dropTX(p, TXQueueFull) },
			IPv6:     func() bool { return i.mtu.mtu >= minIPv6MTU },
			Post:     i.loop.tryPost,
			Debugf:   i.debugf, Warnf: i.warnf,
		},
	})
	return nil
}

// closeRC undoes createRC.
func (i *Interface) closeRC() {
	c := &i.conns
	if c.table != nil {
		c.table.Close()
	}
	if c.srq != nil {
		_ = c.srq.Close()
	}
	if c.sendCQ != nil {
		_ = c.sendCQ.Close()
	}
}

// openConns starts to listen (kernel ipoib_cm_dev_open).
func (i *Interface) openConns() {
	if i.conns.table == nil {
		return
	}
	if err := i.conns.table.Open(i.addr, i.pkey.Full(), i.pkeyIdx); err != nil {
		i.warnf("%s: failed to listen on ID 0x%x: %v", i.port.rdma.Device().Name(), uint32(i.qp.Num()), err)
	}
}

// stopConns ends all connections (kernel ipoib_cm_dev_stop).
func (i *Interface) stopConns() {
	if i.conns.table != nil {
		i.conns.table.Close()
	}
}

// wants asks for a connection to a peer, where the mode is connected and the
// peer takes connections.
func (i *Interface) wants(n *path.Peer) bool {
	if i.mode != Connected || i.conns.table == nil || !n.Addr.SupportsRC() {
		return false
	}
	i.conns.table.Want(n)
	return true
}

// carries is txView.carries in the loop.
func (i *Interface) carries(p *tun.Packet) bool {
	v := txView{rc: i.mode == Connected, rcCsum: i.port.rdma.Device().Attr().Caps&rdma.CapRCIPCsum != 0}
	return v.carries(p)
}

// sendPeer sends a packet to a peer in the loop: over the connection if there
// is one, else as a datagram if that is possible.
func (i *Interface) sendPeer(n *path.Peer, p tun.Packet) {
	if i.carries(&p) && i.wants(n) {
		if to := n.RC.Load(); to != nil {
			n.Touch(i.drv.sys.Clock.Now())
			i.send(*to, p)
			return
		}
	}
	i.paths.Send(n, p)
}

// sendDatagram sends a packet whose path is known. What is too long for a
// datagram waits for a connection, or the host hears of it.
func (i *Interface) sendDatagram(n *path.Peer, to path.Target, p tun.Packet) {
	limit := i.mtu.group + encap.HeaderLen
	if !i.tooLong(p, limit) {
		i.send(to, p)
		return
	}
	if n != nil && i.carries(&p) && i.wants(n) {
		if rc := n.RC.Load(); rc != nil {
			i.send(*rc, p)
			return
		}
		if i.conns.table.Queue(n, p) {
			return
		}
	}
	i.sendTooLong(p, limit)
}

// sendTooLong is dropTooLong of a packet that was looked at before.
func (i *Interface) sendTooLong(p tun.Packet, limit int) {
	ip, err := encap.ParseIP(p.Buf.Bytes()[encap.HeaderLen:])
	if err != nil {
		i.dropTX(p, TXMalformed)
		return
	}
	i.dropTooLong(ip, p, limit)
}

// peerChanged is called when the path of a peer came or went.
func (i *Interface) peerChanged(n *path.Peer) {
	if i.conns.table == nil || n.Target.Load() == nil {
		return
	}
	i.conns.table.PathChanged(n)
}

// peerInUse keeps a peer that we do not send to, but who sends to us over our
// connection.
func (i *Interface) peerInUse(n *path.Peer) bool {
	return i.conns.table != nil && i.conns.table.InUse(n)
}

// sendFailed is the handler of the connections' send completions: only sends
// that failed complete.
func (i *Interface) sendFailed(cq rdma.CQ) {
	var wcs [16]rdma.WorkCompletion
	for {
		n := cq.Poll(wcs[:])
		if n == 0 {
			return
		}
		for k := range wcs[:n] {
			wc := &wcs[k]
			if wc.Status == rdma.WCSuccess {
				continue
			}
			i.stats.drop(rcDrop(wc.Status))
			if c := i.conns.table.Lookup(wc.QP); c != nil {
				c.Fail(wc.Status)
			}
		}
	}
}

// rcDrop is the reason of a send over a connection that failed.
func rcDrop(st rdma.WCStatus) Drop {
	switch st {
	case rdma.WCRetryExcErr:
		return TXRCRetry
	case rdma.WCRNRRetryExcErr:
		return TXRCRNR
	case rdma.WCWRFlushErr:
		return TXRCFlushed
	}
	return TXRCError
}

// onQPEvent takes an event of a queue pair: that of a connection may have
// failed without a completion to tell.
func (i *Interface) onQPEvent(e rdma.AsyncEvent) {
	if i.conns.table == nil {
		return
	}
	switch e.Type {
	case rdma.EventQPFatal, rdma.EventQPReqErr, rdma.EventQPAccessErr:
		if c := i.conns.table.Lookup(e.QP); c != nil {
			i.stats.drop(RXRCError)
			c.Fail(rdma.WCGeneralErr)
		}
	case rdma.EventCommEst:
		i.conns.table.CommEstablished(e.QP)
	}
}
