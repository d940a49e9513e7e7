package soft

import (
	"sync"

	"ipoib/rdma"
	"ipoib/rdma/header"
	"ipoib/rdma/offload"
)

// PostSend implements rdma.QP. UD packets, and RC messages that nothing on
// their way holds up, are on their way, and mostly delivered, when it returns.
func (q *qp) PostSend(wrs []rdma.SendWR, ev *rdma.EventBatch) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.rc != nil {
		n, err := q.postRC(wrs, ev)
		if err != nil {
			err = q.pd.dev.opError("post_send", q.port.num, err)
		}
		return n, err
	}
	for i := range wrs {
		if err := q.postUD(&wrs[i], ev); err != nil {
			return i, q.pd.dev.opError("post_send", q.port.num, err)
		}
	}
	return len(wrs), nil
}

func (q *qp) postUD(wr *rdma.SendWR, ev *rdma.EventBatch) error {
	switch q.qpState() {
	case rdma.QPSRTS:
	case rdma.QPSErr:
		wr.Buf.Free()
		q.complete(wr, rdma.WCWRFlushErr, ev)
		return nil
	default:
		return rdma.ErrState
	}
	h, ok := wr.AH.(*ah)
	if !ok || h.port != q.port || !wr.RemoteQPN.IsValid() || wr.Buf == nil {
		return rdma.ErrInvalid
	}
	// A message longer than the link MTU cannot be a UD packet; the
	// completion carries the error (IBA 11.4.1.1).
	if !offload.Valid(wr.Buf.Bytes(), wr.Offload) || !q.pd.dev.offers(wr) {
		wr.Buf.Free()
		q.complete(wr, rdma.WCLocQPOpErr, ev)
		return nil
	}
	size := wr.Buf.Len()
	if n := wr.Offload.Segments(size); n > 1 {
		size = int(wr.Offload.HeaderLen) + int(wr.Offload.SegmentSize)
	}
	if size > int(q.port.mtu.Load()) {
		q.port.counters.xmitDiscards.Add(1)
		q.port.counters.drops[DropMTU].Add(1)
		wr.Buf.Free()
		q.complete(wr, rdma.WCLocLenErr, ev)
		return nil
	}
	pkey := (*q.port.pkeys.Load())[q.pkeyIndex.Load()]
	p := &q.tx
	*p = packet{
		Fields: header.Fields{
			SL: h.attr.SL, DLID: h.attr.DLID, Opcode: header.UDSendOnly,
			Solicited: wr.Flags&rdma.SendSolicited != 0,
			PKey:      pkey, DestQP: wr.RemoteQPN, PSN: q.psn,
			QKey: wr.RemoteQKey, SrcQP: q.num,
		},
		buf: wr.Buf, offload: wr.Offload, source: q, ev: ev, pathBits: h.attr.SrcPathBits,
	}
	if wr.RemoteQKey.IsControlled() {
		// A controlled Q_Key in a request sends the context's (IBA 10.2.4).
		p.QKey = rdma.QKey(q.qkey.Load())
	}
	if g := h.attr.GRH; g != nil {
		p.HasGRH = true
		p.GRH = rdma.GRHInfo{
			SGID: (*q.port.gids.Load())[g.SGIDIndex], DGID: g.DGID,
			FlowLabel: g.FlowLabel, TrafficClass: g.TrafficClass, HopLimit: g.HopLimit,
		}
	}
	q.psn = q.psn.Add(wr.Offload.Segments(wr.Buf.Len()))
	if !pkey.IsValid() {
		// The entry was emptied after the pair was set up.
		q.port.counters.xmitConstraint.Add(1)
		q.port.drop(p, DropPKey)
	} else {
		q.port.send(p)
	}
	p.buf, p.ev = nil, nil
	if wr.Flags&rdma.SendSignaled != 0 {
		q.complete(wr, rdma.WCSuccess, ev)
	}
	return nil
}

// offers reports whether the adapter does the work of a request.
func (h *HCA) offers(wr *rdma.SendWR) bool {
	if !wr.Offload.Checksum {
		return true
	}
	need := rdma.CapUDIPCsum
	v6 := wr.Buf.Bytes()[ipAt]>>4 == 6
	if v6 {
		need = rdma.CapUDIP6Csum
	}
	switch {
	case wr.Offload.Segment == rdma.SegmentNone:
	case v6:
		need |= rdma.CapUDTSO6
	default:
		need |= rdma.CapUDTSO
	}
	return h.attr.Caps&need == need
}

func (q *qp) complete(wr *rdma.SendWR, st rdma.WCStatus, ev *rdma.EventBatch) {
	wc := rdma.WorkCompletion{ID: wr.ID, QP: q, Opcode: rdma.WCSend, Status: st}
	q.sendCQ.push(&wc, ev)
}

// receive takes a packet whose addresses fit. It checks transport, state,
// P_Key, Q_Key and length, and completes a posted receive.
func (q *qp) receive(pk *packet) {
	if q.rc != nil {
		q.receiveRC(pk)
		return
	}
	p := q.port
	if q.typ != rdma.QPTUD || pk.Opcode != header.UDSendOnly {
		p.drop(pk, DropOpcode)
		return
	}
	if st := q.qpState(); st != rdma.QPSRTR && st != rdma.QPSRTS && st != rdma.QPSSQD && st != rdma.QPSSQE {
		p.drop(pk, DropQPState)
		return
	}
	idx := q.pkeyIndex.Load()
	if !pk.PKey.Match((*p.pkeys.Load())[idx]) {
		p.violatePKey(pk)
		return
	}
	if uint32(pk.QKey) != q.qkey.Load() {
		p.violateQKey(pk)
		return
	}
	n, _, payload := pk.wire()
	if payload > q.recvSize {
		p.drop(pk, DropTooLong)
		return
	}
	if n > 1 && !q.aggregate.Load() {
		q.receiveSegments(pk, n)
		return
	}
	if !q.takeCredits(int64(n)) {
		p.counters.hw[hwOutOfBuffer].Add(uint64(n))
		p.counters.bufferOverruns.Add(1)
		p.drop(pk, DropNoBuffer)
		return
	}
	flags := q.checksum(pk)
	wc := rdma.WorkCompletion{
		QP: q, Opcode: rdma.WCRecv, Buf: pk.buf, Flags: flags,
		SrcQP: pk.SrcQP, SLID: pk.SLID, SL: pk.SL, PKeyIndex: uint16(idx),
		Offload: pk.offload,
	}
	if pk.HasGRH {
		wc.Flags |= rdma.WCGRH
		wc.GRH = pk.GRH
	}
	if pk.DLID.IsMulticast() {
		wc.Flags |= rdma.WCMulticast
	}
	if !q.recvCQ.push(&wc, pk.ev) {
		p.drop(pk, DropNoBuffer)
		return
	}
	pk.buf = nil
}

// receiveSegments cuts a large send into the datagrams that the wire would
// carry, for a pair that takes no aggregates. Their checksums stay open where
// nobody would look at them.
func (q *qp) receiveSegments(pk *packet, n int) {
	complete := !q.verifies(pk)
	seg := segmentPool.Get().(*packet)
	for i := range n {
		*seg = pk.segment(i, complete)
		q.receive(seg)
	}
	*seg = packet{}
	segmentPool.Put(seg)
	pk.release()
}

// segmentPool saves an allocation for each large send that is cut.
var segmentPool = sync.Pool{New: func() any { return new(packet) }}

// checksum does the receive part of checksum offload: a packet whose checksum
// was never computed, because it did not leave this process, is as good as
// verified, for a pair that verifies; for another it is completed.
func (q *qp) checksum(pk *packet) rdma.WCFlags {
	verifies := q.verifies(pk)
	switch {
	case pk.offload.Checksum && (verifies || q.aggregate.Load()):
		return rdma.WCIPCsumOK
	case pk.offload.Checksum:
		offload.Finish(pk.buf.Bytes(), pk.offload)
		pk.offload = rdma.Offload{}
	case verifies && offload.Verify(pk.buf.Bytes()) == offload.Good:
		return rdma.WCIPCsumOK
	}
	return 0
}

// verifies reports whether the pair verifies the checksums of a packet: the
// adapter has to know its protocol.
func (q *qp) verifies(pk *packet) bool {
	if !q.verify.Load() || pk.payloadLen() <= ipAt {
		return false
	}
	need := rdma.CapUDIPCsum
	if pk.buf.Bytes()[ipAt]>>4 == 6 {
		need = rdma.CapUDIP6Csum
	}
	return q.pd.dev.attr.Caps&need != 0
}

// ipAt is where the IP packet starts in a message.
const ipAt = 4
