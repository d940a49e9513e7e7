package datapath

import (
	"ipoib/datapath/connected"
	"ipoib/datapath/encap"
	"ipoib/datapath/lro"
	"ipoib/datapath/tun"
	"ipoib/rdma"
	"ipoib/rdma/offload"
)

// The receive path, per batch of completions:
//
//  1. The completion queue calls receive: mostly on the goroutine of who sent
//     the packets, within one process.
//  2. Own multicast that came back is dropped, the rest sorted by type: ARP,
//     Neighbor Solicitations and Advertisements go to the loop.
//  3. What the device verified is marked, and datagrams of one flow are merged
//     (package lro), unless both LRO and GRO are off: every datagram is written
//     alone then.
//  4. IP packets are written to the TUN, in the buffers that they came in.
//  5. The receive buffers are posted again.
//
// Messages of connections come to the same queue. They carry IPv4 and IPv6
// only (RFC 4755 section 4); a peer may send by either way at any time. As in
// the driver they are neither verified nor merged.

// rxBatchLen is how many completions are polled at once.
const rxBatchLen = 32

// rxView is what the receiver needs of the loop's state.
type rxView struct {
	lid       rdma.LID
	qpn       rdma.QPN
	gid       rdma.GID
	broadcast rdma.GID
	up        bool
	verify    bool      // rx-checksum is on
	merge     lro.Kinds // LRO or GRO
}

type rxBatch struct {
	wcs    [rxBatchLen]rdma.WorkCompletion
	out    []tun.Packet
	merger lro.Merger
	// rc are packets of connections, which are not merged.
	rc []tun.Packet
	// Receive buffers to be posted again: of the UD pair, of the SRQ, and of
	// the connection that messages came over last.
	ud, shared, own int
	conn            *connected.Conn
}

// receive is the handler of the receive completion queue.
func (i *Interface) receive(cq rdma.CQ) {
	i.writeMu.Lock()
	defer i.writeMu.Unlock()
	b := &i.rxBatch
	i.stats.did(RXEvents, 1)
	for {
		n := cq.Poll(b.wcs[:])
		if n == 0 {
			return
		}
		v := i.rx.Load()
		b.out, b.rc = b.out[:0], b.rc[:0]
		for k := range b.wcs[:n] {
			wc := &b.wcs[k]
			if wc.Status != rdma.WCSuccess {
				i.receiveError(wc)
				continue
			}
			if wc.QP == i.qp {
				b.ud += wc.Offload.Segments(wc.Buf.Len())
			} else {
				i.receivedOn(wc, b)
			}
			i.receiveOne(v, wc, b)
		}
		i.repost(b)
		i.writeOut(v, b)
	}
}

// receivedOn notes a message of a connection.
func (i *Interface) receivedOn(wc *rdma.WorkCompletion, b *rxBatch) {
	if b.conn == nil || b.conn.QP != wc.QP {
		i.repostOwn(b)
		b.conn = i.conns.table.Lookup(wc.QP)
	}
	if i.conns.srq != nil {
		b.shared++
	} else {
		b.own++
	}
	if b.conn != nil {
		b.conn.Received()
	}
}

// repost makes the receive buffers of a batch available again. It fails only
// when a queue went down meanwhile.
func (i *Interface) repost(b *rxBatch) {
	if b.ud > 0 {
		_ = i.qp.PostRecv(b.ud)
	}
	if b.shared > 0 {
		_ = i.conns.srq.PostRecv(b.shared)
	}
	i.repostOwn(b)
	b.ud, b.shared, b.conn = 0, 0, nil
}

func (i *Interface) repostOwn(b *rxBatch) {
	if b.own > 0 && b.conn != nil {
		_ = b.conn.QP.PostRecv(b.own)
	}
	b.own = 0
}

// receiveError takes a receive that completed with an error.
func (i *Interface) receiveError(wc *rdma.WorkCompletion) {
	if wc.Buf != nil {
		wc.Buf.Free()
	}
	if wc.QP != i.qp {
		if wc.Status != rdma.WCWRFlushErr {
			i.stats.drop(RXCompletion)
		}
		i.debugf("cm recv error (status=%d, wrid=%d vend_err 0x%x)", wc.Status, wc.ID, wc.VendorErr)
		if c := i.conns.table.Lookup(wc.QP); c != nil {
			c.Fail(wc.Status)
		}
		return
	}
	if wc.Status == rdma.WCWRFlushErr {
		return
	}
	i.stats.drop(RXCompletion)
	i.warnf("failed recv event (status=%d, wrid=%d vend_err 0x%x)", wc.Status, wc.ID, wc.VendorErr)
}

// receiveOne sorts one message; it owns the buffer.
func (i *Interface) receiveOne(v *rxView, wc *rdma.WorkCompletion, b *rxBatch) {
	buf := wc.Buf
	ud := wc.QP == i.qp
	if v == nil || !v.up || ud && i.isEcho(v, wc) {
		if v != nil && v.up {
			i.stats.drop(RXEcho)
		}
		buf.Free()
		return
	}
	msg := buf.Bytes()
	switch {
	case !ud && i.cmDataOn():
		i.dataf("cm recv completion: received %d bytes, connection 0x%x", len(msg), uint32(wc.QP.Num()))
	case ud && i.dataOn():
		i.dataf("received %d bytes, SLID 0x%04x", len(msg), uint16(wc.SLID))
	}
	typ, packet, err := encap.Decap(msg)
	if err != nil {
		i.stats.drop(RXShort)
		buf.Free()
		return
	}
	if !ud && !typ.OnConnection() {
		i.stats.drop(RXRCType)
		buf.Free()
		return
	}
	i.countRX(v, wc, len(msg))
	switch typ {
	case encap.EtherTypeIPv4, encap.EtherTypeIPv6:
		ip, err := encap.ParseIP(packet)
		if err != nil || ip.EtherType != typ {
			i.stats.drop(RXIP)
			break
		}
		if ip.IsND() {
			switch i.receiveND(wc) {
			case ndTaken:
				return
			case ndDrop:
				buf.Free()
				return
			}
		}
		if ud {
			b.out = append(b.out, tun.Packet{Buf: buf, Offload: i.verified(v, wc)})
		} else {
			b.rc = append(b.rc, tun.Packet{Buf: buf, Offload: wc.Offload})
		}
		return
	case encap.EtherTypeARP:
		arp := encap.ARP(packet)
		if !arp.IsValid() {
			i.stats.drop(RXARP)
			break
		}
		slid, group := wc.SLID, wc.Flags&rdma.WCMulticast != 0
		if i.control(buf, func() { i.receiveARP(arp, slid, group) }) {
			return
		}
	case encap.EtherTypeRARP:
		// Reverse ARP has no use here; it is known, not malformed.
		i.stats.drop(RXType)
	default:
		i.stats.drop(RXType)
	}
	buf.Free()
}

// control passes a buffer to the loop, which frees it after fn. It reports
// false, and the buffer stays with the caller, when the loop has too much to
// do already.
func (i *Interface) control(buf *rdma.Buffer, fn func()) bool {
	if i.ctl.Add(1) > maxHandedOver {
		i.ctl.Add(-1)
		i.stats.drop(RXControl)
		return false
	}
	i.loop.post(func() {
		i.ctl.Add(-1)
		fn()
		buf.Free()
	})
	return true
}

// isEcho reports whether a packet is an own multicast that came back: same
// LID and queue pair, and the GID, where there is one, is our own (kernel
// ipoib_ib_handle_rx_wc).
func (i *Interface) isEcho(v *rxView, wc *rdma.WorkCompletion) bool {
	if wc.SLID != v.lid || wc.SrcQP != v.qpn {
		return false
	}
	return wc.Flags&rdma.WCGRH == 0 || wc.GRH.SGID.GUID() == v.gid.GUID()
}

// countRX counts a message: its packets on the wire, without encapsulation
// headers.
func (i *Interface) countRX(v *rxView, wc *rdma.WorkCompletion, n int) {
	packets := uint64(wc.Offload.Segments(n))
	bytes := uint64(n) - encap.HeaderLen
	if packets > 1 {
		bytes += (packets - 1) * uint64(wc.Offload.HeaderLen-encap.HeaderLen)
	}
	i.stats.rxPackets.Add(packets)
	i.stats.rxBytes.Add(bytes)
	if wc.Flags&rdma.WCGRH != 0 && wc.GRH.DGID.IsMulticast() && wc.GRH.DGID != v.broadcast {
		i.stats.multicast.Add(packets)
	}
}

// verified returns what is left to do of a message, for the host: nothing of
// a checksum that was verified. A TUN knows no other way to say that than a
// partial checksum, so it becomes one.
func (i *Interface) verified(v *rxView, wc *rdma.WorkCompletion) rdma.Offload {
	if wc.Offload.Segment != rdma.SegmentNone {
		i.stats.did(RXAggregates, 1)
	}
	switch {
	case wc.Offload.Checksum:
		i.stats.did(RXChecksumGood, wc.Offload.Segments(wc.Buf.Len()))
		return wc.Offload
	case !v.verify:
		return rdma.Offload{}
	case wc.Flags&rdma.WCIPCsumOK != 0:
		i.stats.did(RXChecksumGood, 1)
		return offload.Partial(wc.Buf.Bytes())
	case i.csumCap(wc) && offload.Checked(wc.Buf.Bytes()):
		i.stats.did(RXChecksumBad, 1)
	}
	return rdma.Offload{}
}

// csumCap reports whether the device verifies checksums of the IP version of
// a message.
func (i *Interface) csumCap(wc *rdma.WorkCompletion) bool {
	need := rdma.CapUDIPCsum
	if encap.Version(wc.Buf.Bytes()[encap.HeaderLen:]) == 6 {
		need = rdma.CapUDIP6Csum
	}
	return i.port.rdma.Device().Attr().Caps&need != 0
}

// writeOut merges a batch, writes it to the TUN and frees it. writeMu is held.
func (i *Interface) writeOut(v *rxView, b *rxBatch) {
	out := b.out
	if len(out) > 1 && v.merge.Any() {
		out = b.merger.Merge(out, v.merge)
		i.stats.did(RXMerged, len(b.out)-len(out))
	}
	i.write(out)
	i.write(b.rc)
}

// write writes packets to the TUN and frees them. writeMu is held.
func (i *Interface) write(out []tun.Packet) {
	if len(out) == 0 {
		return
	}
	n, _ := i.dev.Write(out)
	i.stats.did(RXWrites, n)
	for k := n; k < len(out); k++ {
		i.stats.drop(RXHost)
	}
	for k := range out {
		out[k].Free()
	}
}

// writeHost writes one packet of our own making to the TUN: an IP packet of n
// bytes that fill put in place.
func (i *Interface) writeHost(size int, fill func(b []byte) (int, error)) {
	buf := i.pd.Buffers().Get(encap.HeaderLen + size)
	n, err := fill(buf.Bytes()[encap.HeaderLen:])
	if err == nil {
		buf.SetLen(encap.HeaderLen + n)
		i.writeMu.Lock()
		_, _ = i.dev.Write([]tun.Packet{{Buf: buf}})
		i.writeMu.Unlock()
	}
	buf.Free()
}
