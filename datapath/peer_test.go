package datapath

import (
	"net/netip"
	"sync"
	"testing/synctest"

	"ipoib/datapath/encap"
	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// peer is an IPoIB node made by hand at a host's port: a queue pair whose
// messages the test writes and reads. The host's own interface stays down.
type peer struct {
	h    *host
	pd   rdma.PD
	cq   rdma.CQ
	qp   rdma.QP
	addr encap.HardwareAddr
	rec  mad.MCMemberRecord // of the broadcast group

	mu   sync.Mutex
	msgs []message // guarded by mu
}

// message is what a peer received.
type message struct {
	rdma.WorkCompletion
	typ  encap.EtherType
	body []byte
}

const testQKey = 0x0b1b

// peer makes a node at the host's port that has joined the broadcast group.
func (h *host) peer() *peer {
	t := h.w.t
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	p := &peer{h: h}
	var err error
	p.pd, err = h.hca.AllocPD()
	must(err)
	p.cq, err = h.hca.CreateCQ(rdma.CQConfig{Depth: 256, Handler: p.receive})
	must(err)
	p.qp, err = p.pd.CreateQP(rdma.QPConfig{
		Type: rdma.QPTUD, Port: 1, SendCQ: p.cq, RecvCQ: p.cq, MaxSend: 64, MaxRecv: 64, RecvSize: 4096,
		BlockMulticastLoopback: true,
	})
	must(err)
	must(p.qp.Modify(rdma.QPAttr{State: rdma.QPSInit, QKey: testQKey}, rdma.QPAttrState|rdma.QPAttrPKeyIndex|rdma.QPAttrQKey))
	must(p.qp.Modify(rdma.QPAttr{State: rdma.QPSRTR}, rdma.QPAttrState))
	must(p.qp.Modify(rdma.QPAttr{State: rdma.QPSRTS}, rdma.QPAttrState|rdma.QPAttrSQPSN))
	must(p.qp.PostRecv(64))
	gid, err := h.ib0.port.rdma.GID(0)
	must(err)
	p.addr = encap.UnicastAddr(0, p.qp.Num(), gid)
	p.rec = p.join(h.ib0.broadcastMGID(), mad.JoinFullMember)
	t.Cleanup(func() { _ = p.qp.Close() })
	return p
}

// join joins a group at the peer's port, by its own hands.
func (p *peer) join(mgid rdma.GID, state mad.JoinState) mad.MCMemberRecord {
	t := p.h.w.t
	t.Helper()
	port := p.h.ib0.port
	gid, _ := port.rdma.GID(0)
	var rec mad.MCMemberRecord
	var err error
	done := make(chan bool, 8)
	// The group is created, if need be, as one of the link (RFC 4391 section
	// 10).
	req, mask := p.rec, mad.MCRJoinCreate
	if req.MLID == 0 {
		mask = mad.MCRJoin
	}
	req.MGID, req.PortGID, req.PKey, req.JoinState = mgid, gid, rdma.PKeyDefault, state
	req.MTUSelector, req.RateSelector = mad.SelectExactly, mad.SelectExactly
	port.sa.Join(req, mask,
		func(r mad.MCMemberRecord, e error) {
			if e == nil || rec.MLID == 0 {
				rec, err = r, e
			}
			done <- true
		})
	<-done
	if err != nil {
		t.Fatalf("peer cannot join %v: %v", mgid, err)
	}
	if err := p.qp.AttachMulticast(mgid, rec.MLID); err != nil {
		t.Fatal(err)
	}
	p.h.w.settle()
	return rec
}

func (p *peer) receive(cq rdma.CQ) {
	var wcs [16]rdma.WorkCompletion
	for {
		n := cq.Poll(wcs[:])
		if n == 0 {
			return
		}
		_ = p.qp.PostRecv(n)
		for _, wc := range wcs[:n] {
			if wc.Status != rdma.WCSuccess || wc.Opcode != rdma.WCRecv {
				continue
			}
			m := message{WorkCompletion: wc}
			m.typ, m.body, _ = encap.Decap(append([]byte(nil), wc.Buf.Bytes()...))
			wc.Buf.Free()
			p.mu.Lock()
			p.msgs = append(p.msgs, m)
			p.mu.Unlock()
		}
	}
}

// take returns the messages since the last call, of one type or (0) of all.
func (p *peer) take(typ encap.EtherType) (out []message) {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.msgs {
		if typ == 0 || m.typ == typ {
			out = append(out, m)
		}
	}
	p.msgs = nil
	return out
}

// arps returns the ARP packets since the last call.
func (p *peer) arps() (out []encap.ARP) {
	for _, m := range p.take(encap.EtherTypeARP) {
		out = append(out, encap.ARP(m.body))
	}
	return out
}

// nds returns the Neighbor Discovery messages of a type since the last call.
func (p *peer) nds(typ encap.NDType) (out []encap.ND) {
	for _, m := range p.take(encap.EtherTypeIPv6) {
		if nd, err := encap.ParseND(m.body); err == nil && nd.Type() == typ {
			out = append(out, nd)
		}
	}
	return out
}

// to returns the address handle of an interface's port.
func (p *peer) to(i *Interface) rdma.AH {
	ah, err := p.pd.CreateAH(rdma.AHAttr{Port: 1, DLID: i.port.rdma.Attr().LID})
	if err != nil {
		p.h.w.t.Fatal(err)
	}
	return ah
}

// unicast sends a message to an interface's queue pair.
func (p *peer) unicast(i *Interface, typ encap.EtherType, body []byte) {
	p.h.w.t.Helper()
	p.raw(p.to(i), i.qp.Num(), p.message(typ, body))
}

// multicast sends a message to a group that the peer has joined.
func (p *peer) multicast(rec mad.MCMemberRecord, typ encap.EtherType, body []byte) {
	p.h.w.t.Helper()
	ah, err := p.pd.CreateAH(rdma.AHAttr{Port: 1, DLID: rec.MLID, GRH: &rdma.GRHAttr{DGID: rec.MGID}})
	if err != nil {
		p.h.w.t.Fatal(err)
	}
	p.raw(ah, rdma.QPNMulticast, p.message(typ, body))
}

func (p *peer) message(typ encap.EtherType, body []byte) []byte {
	b := make([]byte, encap.HeaderLen, encap.HeaderLen+len(body))
	encap.PutHeader(b, typ)
	return append(b, body...)
}

// raw sends the bytes of a message, and waits for what it causes.
func (p *peer) raw(ah rdma.AH, qpn rdma.QPN, msg []byte) {
	p.h.w.t.Helper()
	buf := p.pd.Buffers().Get(len(msg))
	copy(buf.Bytes(), msg)
	wr := []rdma.SendWR{{Buf: buf, AH: ah, RemoteQPN: qpn, RemoteQKey: p.qp.Query().QKey}}
	if _, err := p.qp.PostSend(wr, nil); err != nil {
		p.h.w.t.Fatal(err)
	}
	synctest.Wait()
}

// arp sends an ARP packet to an interface, by unicast or by broadcast.
func (p *peer) arp(i *Interface, f encap.ARPFields, broadcast bool) {
	p.h.w.t.Helper()
	b := make([]byte, encap.ARPLen)
	if _, err := encap.PutARP(b, f); err != nil {
		p.h.w.t.Fatal(err)
	}
	if broadcast {
		p.multicast(p.rec, encap.EtherTypeARP, b)
		return
	}
	p.unicast(i, encap.EtherTypeARP, b)
}

// answer sends an ARP reply: ip is at the address hw.
func (p *peer) answer(i *Interface, ip netip.Addr, hw encap.HardwareAddr) {
	p.h.w.t.Helper()
	p.arp(i, encap.ARPFields{
		Op: encap.ARPReply, SenderHW: hw, SenderIP: ip, TargetHW: i.Info().Addr, TargetIP: addr("10.0.0.1"),
	}, false)
}

// na sends a Neighbor Advertisement to an interface.
func (p *peer) na(i *Interface, f encap.NAFields) {
	p.h.w.t.Helper()
	b := make([]byte, maxND)
	n, err := encap.PutNA(b, f)
	if err != nil {
		p.h.w.t.Fatal(err)
	}
	p.unicast(i, encap.EtherTypeIPv6, b[:n])
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
