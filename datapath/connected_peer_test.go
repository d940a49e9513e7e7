package datapath

import (
	"sync"
	"testing/synctest"

	"ipoib/datapath/encap"
	"ipoib/rdma"
	"ipoib/rdma/cm"
	"ipoib/rdma/mad"
)

// cmPeer is a connected mode node made by hand: a peer whose connections the
// test accepts and asks for.
type cmPeer struct {
	*peer
	cm   *cm.CM
	rcCQ rdma.CQ

	// How it behaves.
	mtu      uint32           // receive MTU that it announces
	oneWay   bool             // as the Linux driver: no private data in RTU
	refuse   mad.RejectReason // of all requests
	deaf     bool             // takes requests and does not answer
	noBlock  bool             // no private data in REP
	listened []*cm.Listener

	mu     sync.Mutex
	reqs   []mad.REQ // guarded by mu, as is all below
	conns  []*cmPeerConn
	rcMsgs []message
}

type cmPeerConn struct {
	p      *cmPeer
	qp     rdma.QP
	conn   *cm.Conn
	remote mad.IPoIBPrivateData // what the other side said in its last message
	rtu    []byte
	events []cm.Event
}

// cmPeer makes a node at the host's port. forms are the service IDs that it
// listens to, made of its queue pair.
func (h *host) cmPeer(forms ...func(rdma.QPN) uint64) *cmPeer {
	t := h.w.t
	t.Helper()
	p := &cmPeer{peer: h.peer(), cm: h.ib0.port.cm, mtu: 65524}
	p.addr = p.addr.WithFlags(encap.FlagRC)
	var err error
	if p.rcCQ, err = h.hca.CreateCQ(rdma.CQConfig{Depth: 1024, Handler: p.receiveRC}); err != nil {
		t.Fatal(err)
	}
	for _, form := range forms {
		l, err := p.cm.Listen(form(p.qp.Num()), p.accept)
		if err != nil {
			t.Fatal(err)
		}
		p.listened = append(p.listened, l)
	}
	t.Cleanup(func() {
		for _, l := range p.listened {
			l.Close()
		}
		for _, c := range p.conns {
			_ = c.qp.Close()
		}
	})
	return p
}

func (p *cmPeer) block() []byte {
	b := make([]byte, mad.IPoIBPrivateDataLen)
	mad.IPoIBPrivateData{UDQPN: p.qp.Num(), ReceiveMTU: p.mtu}.Put(b)
	return b
}

func (p *cmPeer) receiveRC(cq rdma.CQ) {
	var wcs [16]rdma.WorkCompletion
	for {
		n := cq.Poll(wcs[:])
		if n == 0 {
			return
		}
		for _, wc := range wcs[:n] {
			if wc.Status != rdma.WCSuccess || wc.Opcode != rdma.WCRecv {
				continue
			}
			_ = wc.QP.PostRecv(1)
			m := message{WorkCompletion: wc}
			m.typ, m.body, _ = encap.Decap(append([]byte(nil), wc.Buf.Bytes()...))
			wc.Buf.Free()
			p.mu.Lock()
			p.rcMsgs = append(p.rcMsgs, m)
			p.mu.Unlock()
		}
	}
}

// takeRC returns the messages of connections since the last call.
func (p *cmPeer) takeRC() []message {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.rcMsgs
	p.rcMsgs = nil
	return m
}

// takeREQs returns the requests since the last call.
func (p *cmPeer) takeREQs() []mad.REQ {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.reqs
	p.reqs = nil
	return r
}

func (p *cmPeer) newConn() *cmPeerConn {
	qp, err := p.pd.CreateQP(rdma.QPConfig{
		Type: rdma.QPTRC, Port: 1, SendCQ: p.rcCQ, RecvCQ: p.rcCQ, MaxSend: 64, MaxRecv: 64, RecvSize: 65524,
	})
	if err == nil {
		err = qp.Modify(rdma.QPAttr{State: rdma.QPSInit}, rdma.QPAttrState|rdma.QPAttrPKeyIndex)
	}
	if err == nil {
		err = qp.PostRecv(64)
	}
	if err != nil {
		p.h.w.t.Error(err)
	}
	c := &cmPeerConn{p: p, qp: qp}
	p.mu.Lock()
	p.conns = append(p.conns, c)
	p.mu.Unlock()
	return c
}

// start takes the queue pair to RTS.
func (c *cmPeerConn) start(lid rdma.LID, mtu rdma.MTU, qpn rdma.QPN, psn rdma.PSN) {
	err := c.qp.Modify(rdma.QPAttr{
		State: rdma.QPSRTR, AV: rdma.AHAttr{Port: 1, DLID: lid}, PathMTU: mtu, DestQPN: qpn, RQPSN: 0x700, MinRNRTimer: 1,
	}, rdma.QPAttrState|rdma.QPAttrAV|rdma.QPAttrPathMTU|rdma.QPAttrDestQPN|rdma.QPAttrRQPSN|rdma.QPAttrMinRNRTimer)
	if err == nil {
		err = c.qp.Modify(rdma.QPAttr{State: rdma.QPSRTS, SQPSN: psn, Timeout: 12, RetryCount: 2, RNRRetry: 2},
			rdma.QPAttrState|rdma.QPAttrSQPSN|rdma.QPAttrTimeout|rdma.QPAttrRetryCount|rdma.QPAttrRNRRetry)
	}
	if err != nil {
		c.p.h.w.t.Error(err)
	}
}

// event takes an event of a connection. It runs on goroutines of the CM.
func (c *cmPeerConn) event(e cm.Event) {
	c.p.mu.Lock()
	c.events = append(c.events, e)
	if e.Type == cm.EventEstablished && e.Private != nil {
		c.rtu = e.Private
	}
	c.p.mu.Unlock()
	if e.Type != cm.EventReply {
		return
	}
	c.remote, _ = mad.ParseIPoIBPrivateData(e.REP.PrivateData[:])
	c.start(c.p.h.w.host(1).ib0.port.rdma.Attr().LID, rdma.MTU2048, e.REP.LocalQPN, e.REP.StartingPSN)
	var private []byte
	if !c.p.oneWay {
		private = c.p.block()
	}
	if err := e.Conn.Confirm(private); err != nil {
		c.p.h.w.t.Error(err)
	}
}

// types returns the events so far.
func (c *cmPeerConn) types() (out []cm.EventType) {
	synctest.Wait()
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	for _, e := range c.events {
		out = append(out, e.Type)
	}
	return out
}

// accept takes a request.
func (p *cmPeer) accept(r *cm.Request) {
	p.mu.Lock()
	p.reqs = append(p.reqs, r.REQ)
	p.mu.Unlock()
	switch {
	case p.deaf:
		return
	case p.refuse != 0:
		_ = r.Reject(p.refuse, p.block())
		return
	}
	c := p.newConn()
	c.remote, _ = mad.ParseIPoIBPrivateData(r.REQ.PrivateData[:])
	c.start(r.REQ.Primary.LocalLID, r.REQ.PathMTU, r.REQ.LocalQPN, r.REQ.StartingPSN)
	c.conn = r.Conn()
	rep := mad.REP{LocalQPN: c.qp.Num(), StartingPSN: 0x700}
	if !p.noBlock {
		copy(rep.PrivateData[:], p.block())
	}
	if _, err := r.Accept(cm.AcceptConfig{REP: rep}, c.event); err != nil {
		p.h.w.t.Error(err)
	}
}

// dial asks an interface of host 1 for a connection; change may alter the REQ.
func (p *cmPeer) dial(i *Interface, change func(*mad.REQ)) *cmPeerConn {
	c := p.newConn()
	gid, _ := p.h.ib0.port.rdma.GID(0)
	own, to := p.h.ib0.port.rdma.Attr().LID, i.port.rdma.Attr().LID
	req := mad.REQ{
		ServiceID: mad.IPoIBServiceID(i.Info().QPN), LocalQPN: c.qp.Num(), StartingPSN: 0x700,
		RemoteCMResponseTimeout: 17, LocalCMResponseTimeout: 17, MaxCMRetries: 3, PKey: 0xffff, PathMTU: rdma.MTU2048,
		Primary: mad.CMPath{
			LocalLID: own, RemoteLID: to, LocalGID: gid, RemoteGID: i.Info().Addr.GID(), SubnetLocal: true, LocalAckTimeout: 12,
		},
	}
	copy(req.PrivateData[:], p.block())
	if change != nil {
		change(&req)
	}
	var err error
	c.conn, err = p.cm.Connect(cm.ConnectConfig{
		To: rdma.MADAddr{LID: to, QPN: rdma.QPNGSI, QKey: rdma.QKeyGSI}, REQ: req, PacketLifeTime: 10,
	}, c.event)
	if err != nil {
		p.h.w.t.Fatal(err)
	}
	p.h.w.settle()
	return c
}

// send sends a message over the connection.
func (c *cmPeerConn) send(typ encap.EtherType, body []byte) {
	c.p.h.w.t.Helper()
	msg := c.p.message(typ, body)
	buf := c.p.pd.Buffers().Get(len(msg))
	copy(buf.Bytes(), msg)
	if _, err := c.qp.PostSend([]rdma.SendWR{{Buf: buf}}, nil); err != nil {
		c.p.h.w.t.Fatal(err)
	}
	synctest.Wait()
}

// linux is a node that does as the Linux driver.
func (p *cmPeer) linux() *cmPeer {
	p.oneWay = true
	return p
}

var (
	rfcForm    = mad.IPoIBServiceID
	legacyForm = mad.IPoIBServiceIDLegacy
)

// duoCM is duo with a connected mode node: host 1's interface is up and in
// connected mode, and knows the node's address.
func duoCM(w *world, forms ...func(rdma.QPN) uint64) (*host, *cmPeer) {
	w.t.Helper()
	h, o := w.host(1), w.host(2)
	h.up(h.ib0, 0)
	w.settle()
	w.settle()
	p := o.cmPeer(forms...)
	w.connect(h)
	p.meet(h)
	return h, p
}

// meet tells the host the node's address.
func (p *cmPeer) meet(h *host) {
	p.h.w.t.Helper()
	if err := h.ib0.AddNeighbour(p.h.ip(), p.addr); err != nil {
		p.h.w.t.Fatal(err)
	}
}

// udOnly hides the RC transport of a port's adapter.
type udOnly struct{ rdma.Port }

type udDevice struct{ rdma.Device }

func (p udOnly) Device() rdma.Device { return udDevice{p.Port.Device()} }

func (d udDevice) Attr() rdma.DeviceAttr {
	a := d.Device.Attr()
	a.Caps &^= rdma.CapRC | rdma.CapSRQ
	return a
}

func (d udDevice) Port(n int) (rdma.Port, error) {
	p, err := d.Device.Port(n)
	if err != nil {
		return nil, err
	}
	return udOnly{p}, nil
}

// noSRQ hides the shared receive queues.
type noSRQ struct{ rdma.Port }

type noSRQDevice struct{ rdma.Device }

func (p noSRQ) Device() rdma.Device { return noSRQDevice{p.Port.Device()} }

func (d noSRQDevice) Attr() rdma.DeviceAttr {
	a := d.Device.Attr()
	a.Caps &^= rdma.CapSRQ
	return a
}
