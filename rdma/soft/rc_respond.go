package soft

import (
	"ipoib/rdma"
	"ipoib/rdma/header"
	"ipoib/rdma/offload"
)

// receiveRC takes a packet, or a whole message, whose addresses fit. It
// checks transport, state, P_Key and that it comes from the other end of the
// connection.
func (q *qp) receiveRC(pk *packet) {
	p := q.port
	if pk.Opcode.Transport() != header.TransportRC {
		p.drop(pk, DropOpcode)
		return
	}
	if st := q.qpState(); st != rdma.QPSRTR && st != rdma.QPSRTS && st != rdma.QPSSQD {
		p.drop(pk, DropQPState)
		return
	}
	if !pk.PKey.Match((*p.pkeys.Load())[q.pkeyIndex.Load()]) {
		p.violatePKey(pk)
		return
	}
	q.mu.Lock()
	st := q.qpState()
	switch {
	case st != rdma.QPSRTR && st != rdma.QPSRTS && st != rdma.QPSSQD:
		q.mu.Unlock()
		p.drop(pk, DropQPState)
		return
	case !q.fromPeer(pk):
		q.mu.Unlock()
		p.drop(pk, DropPath)
		return
	case pk.Opcode.IsResponse():
		if st != rdma.QPSRTR {
			q.responseRC(pk)
			q.sendRC(pk.ev)
		}
	case !pk.isSingle() && !q.takesWhole(pk):
		q.mu.Unlock()
		for seg := range segments(pk) {
			q.receiveRC(seg)
		}
		pk.release()
		return
	default:
		if st == rdma.QPSRTR && !q.rc.commEst {
			q.rc.commEst = true
			q.pd.dev.raise(rdma.AsyncEvent{Type: rdma.EventCommEst, QP: q})
		}
		if q.requestRC(pk) {
			q.replyRC(pk.ev)
		}
	}
	q.mu.Unlock()
	pk.release()
}

// fromPeer reports whether a packet has the addresses of the connection
// (IBA 9.6.1.5).
func (q *qp) fromPeer(pk *packet) bool {
	av := &q.attr.AV
	if pk.SLID != av.DLID || pk.HasGRH != (av.GRH != nil) {
		return false
	}
	return !pk.HasGRH || pk.GRH.SGID == av.GRH.DGID && pk.GRH.DGID == (*q.port.gids.Load())[av.GRH.SGIDIndex]
}

// takesWhole reports whether a message can be taken as it is: it is the one
// that is expected, from its beginning, and cut as this end expects it.
func (q *qp) takesWhole(pk *packet) bool {
	rc := q.rc
	return pk.first == 0 && pk.PSN == rc.epsn && rc.assembly == nil && pk.pathMTU == rc.mtu
}

// requestRC handles a request, a packet or a whole message, and reports
// whether a reply is to be sent now (IBA 9.7.4, 9.7.5.2).
func (q *qp) requestRC(pk *packet) (reply bool) {
	rc := q.rc
	switch d := pk.PSN.Diff(rc.epsn); {
	case d > 0:
		q.count(hwOutOfSequence)
		if rc.nakSent {
			return false
		}
		rc.nakSent = true
		return q.owe(header.NAKPSNSequence, rc.epsn)
	case d < 0:
		q.count(hwDuplicateRequest)
		return pk.AckReq && q.oweACK(pk.ev)
	}
	op, n, behind := pk.Opcode, pk.payloadLen(), pk.PSN.Add(pk.packetsLeft())
	begins, ends := op.IsFirst() || op.IsOnly(), op.IsLast() || op.IsOnly()
	switch {
	case op != header.RCSendFirst && op != header.RCSendMiddle && op != header.RCSendLast && op != header.RCSendOnly,
		begins != (rc.assembly == nil),
		!ends && n != rc.mtu,
		pk.isSingle() && n > rc.mtu,
		op == header.RCSendLast && n == 0:
		return q.refuse(header.NAKInvalidRequest, rdma.EventQPReqErr, pk.ev)
	}
	if begins && !q.takeRecv() {
		q.count(hwOutOfBuffer)
		q.count(hwSendRNR)
		q.port.counters.drops[DropNoBuffer].Add(1)
		// What follows is out of sequence, and will be sent again all the
		// same.
		rc.nakSent = true
		return q.owe(header.RNR(q.attr.MinRNRTimer), rc.epsn)
	}
	have := 0
	if rc.assembly != nil {
		have = rc.assembly.Len()
	}
	if have+n > q.recvSize {
		q.count(hwRespLocalLength)
		q.dropAssembly()
		q.failRecv(rdma.WCLocLenErr, pk.ev)
		return q.refuse(header.NAKInvalidRequest, noEvent, pk.ev)
	}
	if op.IsOnly() {
		if !q.deliverRC(pk, pk.buf) {
			return q.refuse(header.NAKRemoteOperational, rdma.EventQPFatal, pk.ev)
		}
	} else {
		if rc.assembly == nil {
			rc.assembly = q.pd.Buffers().Get(q.recvSize)
			rc.assembly.SetLen(0)
		}
		rc.assembly.SetLen(have + n)
		copy(rc.assembly.Bytes()[have:], pk.buf.Bytes())
		if ends {
			b := rc.assembly
			rc.assembly = nil
			if !q.deliverRC(pk, b) {
				b.Free()
				return q.refuse(header.NAKRemoteOperational, rdma.EventQPFatal, pk.ev)
			}
		}
	}
	rc.nakSent = false
	if ends {
		rc.msn = (rc.msn + 1) & 0xffffff
	}
	rc.epsn = behind
	return pk.AckReq && q.oweACK(pk.ev)
}

// takeRecv takes a receive buffer for a message.
func (q *qp) takeRecv() bool {
	if s := q.rc.srq; s != nil {
		return s.take()
	}
	return q.takeCredits(1)
}

// deliverRC completes a receive with a message. A buffer that came with the
// packet goes to the consumer, or a copy of it where the sender has to keep
// it.
func (q *qp) deliverRC(pk *packet, buf *rdma.Buffer) bool {
	wc := rdma.WorkCompletion{
		QP: q, Opcode: rdma.WCRecv, Buf: buf,
		SrcQP: q.attr.DestQPN, SLID: pk.SLID, SL: pk.SL, PKeyIndex: uint16(q.pkeyIndex.Load()),
	}
	if pk.HasGRH {
		wc.Flags, wc.GRH = rdma.WCGRH, pk.GRH
	}
	own := buf == pk.buf // the message is the packet
	copied := own && pk.keep
	if copied {
		wc.Buf = buf.Clone()
	}
	if own && pk.offload.Checksum {
		if q.aggregate.Load() {
			wc.Flags |= rdma.WCIPCsumOK
			wc.Offload = pk.offload
		} else {
			offload.Finish(wc.Buf.Bytes(), pk.offload)
		}
	}
	if !q.recvCQ.push(&wc, pk.ev) {
		if copied {
			wc.Buf.Free()
		}
		return false
	}
	if own && !copied {
		pk.taken = pk.lent
		pk.buf = nil
	}
	return true
}

func (q *qp) dropAssembly() {
	if b := q.rc.assembly; b != nil {
		b.Free()
		q.rc.assembly = nil
	}
}

// failRecv completes the receive that a message took with an error.
func (q *qp) failRecv(st rdma.WCStatus, ev *rdma.EventBatch) {
	if st == rdma.WCWRFlushErr {
		q.count(hwRespCQEFlush)
	} else {
		q.count(hwRespCQEError)
	}
	wc := rdma.WorkCompletion{QP: q, Opcode: rdma.WCRecv, Status: st}
	q.recvCQ.push(&wc, ev)
}

// refuse answers a request that cannot be carried out and takes the pair to
// ERR (IBA 9.9.3).
func (q *qp) refuse(s header.Syndrome, event rdma.EventType, ev *rdma.EventBatch) bool {
	q.owe(s, q.rc.epsn)
	q.failRC(event, ev)
	return true
}
