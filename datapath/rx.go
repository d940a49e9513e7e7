package datapath

import (
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
		credits := 0
		b.out = b.out[:0]
		for k := range b.wcs[:n] {
			wc := &b.wcs[k]
			if wc.Status != rdma.WCSuccess {
				i.receiveError(wc)
				continue
			}
			credits += wc.Offload.Segments(wc.Buf.Len())
			i.receiveOne(v, wc, b)
		}
		if credits > 0 {
			// It fails only when the queue pair went to RESET meanwhile.
			_ = i.qp.PostRecv(credits)
		}
		i.writeOut(v, b)
	}
}

// receiveError takes a receive that completed with an error.
func (i *Interface) receiveError(wc *rdma.WorkCompletion) {
	if wc.Buf != nil {
		wc.Buf.Free()
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
	if v == nil || !v.up || i.isEcho(v, wc) {
		if v != nil && v.up {
			i.stats.drop(RXEcho)
		}
		buf.Free()
		return
	}
	msg := buf.Bytes()
	if i.dataOn() {
		i.dataf("received %d bytes, SLID 0x%04x", len(msg), uint16(wc.SLID))
	}
	typ, packet, err := encap.Decap(msg)
	if err != nil {
		i.stats.drop(RXShort)
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
		b.out = append(b.out, tun.Packet{Buf: buf, Offload: i.verified(v, wc)})
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
