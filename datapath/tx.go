package datapath

import (
	"errors"
	"net/netip"
	"time"

	"ipoib/datapath/encap"
	"ipoib/datapath/mcast"
	"ipoib/datapath/path"
	"ipoib/datapath/tun"
	"ipoib/rdma"
	"ipoib/rdma/offload"
)

// The transmit path, per batch of packets from the TUN:
//
//  1. Read takes what waits (transmitter goroutine).
//  2. classify finds the destination: by the goroutine's own cache, by the
//     table that the loop fills, or by handing the packet to the loop.
//  3. The sends of the batch are posted at once: datagrams, and those of each
//     connection.
//  4. Receivers in this process that got packets run (EventBatch).
//
// Packets to one neighbour keep their order, except the first ones, which wait
// for its address in the loop while later ones may find it resolved.

// txBatch is the largest number of packets read before they are posted.
const txBatch = 32

// destCacheSize bounds the destinations that a transmitter remembers.
const destCacheSize = 8192

// txView is what the transmitter needs of the loop's state.
type txView struct {
	qp        rdma.QP
	qkey      rdma.QKey
	addr      encap.HardwareAddr
	limit     int  // largest datagram in bytes
	rc        bool // connected mode: connections are used where there are some
	rcCsum    bool // connections take checksums that are left to the device
	broadcast *mcast.Group
	features  FeatureSet // active
}

// dest is a destination that was looked up: a neighbour or a group.
type dest struct {
	neigh *neighbour
	group *mcast.Group
	// fallback: packets may go to the all-routers group instead.
	fallback bool
}

func (d *dest) dead() bool {
	return d.neigh != nil && d.neigh.Dead() || d.group != nil && d.group.Dead()
}

// transmitter reads the TUN of one interface.
type transmitter struct {
	i     *Interface
	gen   uint64
	cache map[netip.Addr]dest
	wrs   []rdma.SendWR
	rc    []rcBatch // of the connections of this batch; the rest is spare
	rcLen int
	ev    rdma.EventBatch
	now   time.Time
}

// rcBatch are the sends over one connection.
type rcBatch struct {
	qp  rdma.QP
	wrs []rdma.SendWR
}

// startTransmitter begins to read the device. It runs on the loop.
func (i *Interface) startTransmitter() {
	t := &transmitter{i: i, cache: make(map[netip.Addr]dest)}
	dev := i.dev
	gone := func(err error) {
		i.loop.post(func() {
			if i.dev == dev {
				i.onDeviceGone(err)
			}
		})
	}
	if err := i.drv.sys.Poller.Start(dev, txBatch, t.batch, gone); err != nil {
		gone(err)
	}
}

// batch sends a batch of packets; it owns their buffers.
func (t *transmitter) batch(pkts []tun.Packet) {
	i := t.i
	v := i.tx.Load()
	if v == nil {
		for _, p := range pkts {
			p.Buf.Free()
			i.stats.drop(TXNotReady)
		}
		return
	}
	if g := i.txGen.Load(); g != t.gen {
		t.gen = g
		clear(t.cache)
	}
	t.now = i.drv.sys.Clock.Now()
	t.wrs, t.rcLen = t.wrs[:0], 0
	for _, p := range pkts {
		t.classify(v, p)
	}
	i.post(v.qp, t.wrs, &t.ev)
	for k := range t.rc[:t.rcLen] {
		b := &t.rc[k]
		i.post(b.qp, b.wrs, &t.ev)
		b.qp = nil
	}
	t.ev.Run()
}

// add adds a send over a connection to the batch.
func (t *transmitter) add(qp rdma.QP, wr rdma.SendWR) {
	for k := t.rcLen - 1; k >= 0; k-- {
		if b := &t.rc[k]; b.qp == qp {
			b.wrs = append(b.wrs, wr)
			return
		}
	}
	if t.rcLen == len(t.rc) {
		t.rc = append(t.rc, rcBatch{wrs: make([]rdma.SendWR, 0, txBatch)})
	}
	b := &t.rc[t.rcLen]
	t.rcLen++
	b.qp, b.wrs = qp, append(b.wrs[:0], wr)
}

// classify adds a packet to the batch, or hands it to the loop.
func (t *transmitter) classify(v *txView, p tun.Packet) {
	i := t.i
	ip, err := encap.ParseIP(p.Buf.Bytes()[encap.HeaderLen:])
	if err != nil {
		p.Buf.Free()
		i.stats.drop(TXMalformed)
		return
	}
	if p.Offload != (rdma.Offload{}) && !t.offload(v, ip.EtherType, &p) {
		return
	}
	if ip.IsND() && !i.addLinkLayerOption(v, &p) {
		return
	}
	if !v.rc && i.tooLong(p, v.limit) {
		i.handOver(ip, p)
		return
	}
	if ip.IsIGMP() || ip.IsMLD() {
		// The host joins or leaves groups: the lists have changed.
		i.loop.post(i.readGroups)
	}
	d, ok := t.cache[ip.Dst]
	if !ok || d.dead() {
		if d, ok = i.lookupDest(ip.Dst); !ok || d.dead() {
			i.handOver(ip, p)
			return
		}
		if len(t.cache) >= destCacheSize {
			clear(t.cache)
		}
		t.cache[ip.Dst] = d
	}
	to := t.target(&d, v.carries(&p) && !ip.IsND())
	if to == nil || i.tooLong(p, v.limitOf(to)) {
		i.handOver(ip, p)
		return
	}
	encap.PutHeader(p.Buf.Bytes(), ip.EtherType)
	switch {
	case to.QP != nil && i.cmDataOn():
		i.dataf("sending packet: length %d connection 0x%x", p.Buf.Len(), uint32(to.QP.Num()))
	case to.QP == nil && i.dataOn():
		i.dataf("sending packet, length=%d dest_qpn=0x%06x", p.Buf.Len(), uint32(to.QPN))
	}
	wr := rdma.SendWR{Buf: p.Buf, AH: to.AH, RemoteQPN: to.QPN, RemoteQKey: v.qkey, Offload: p.Offload}
	if to.QP != nil {
		t.add(to.QP, wr)
		return
	}
	t.wrs = append(t.wrs, wr)
}

// offload checks the work that the host left to the interface and does what
// the adapter does not offer, or may not do. It returns false when the packet
// was dropped, or cut into others that went their way.
func (t *transmitter) offload(v *txView, typ encap.EtherType, p *tun.Packet) bool {
	i, o := t.i, p.Offload
	if !offload.Valid(p.Buf.Bytes(), o) {
		p.Buf.Free()
		i.stats.drop(TXOffload)
		return false
	}
	csum, tso := fIPCsum, fTSO
	if typ == encap.EtherTypeIPv6 {
		csum, tso = fIPv6Csum, fTSO6
	}
	left := o.Checksum && v.features&csum != 0
	switch o.Segment {
	case rdma.SegmentNone:
		if !left {
			offload.Finish(p.Buf.Bytes(), o)
			p.Offload = rdma.Offload{}
			i.stats.did(TXSoftChecksums, 1)
			return true
		}
	case rdma.SegmentTCP4, rdma.SegmentTCP6:
		if v.features&tso == 0 {
			t.cut(v, p, !left)
			return false
		}
		i.stats.did(TXLargeSends, 1)
	default:
		t.cut(v, p, !left)
		return false
	}
	i.stats.did(TXChecksums, 1)
	return true
}

// cut sends a large packet as the segments that it stands for: one that the
// host made before it was told that large sends are off.
func (t *transmitter) cut(v *txView, p *tun.Packet, complete bool) {
	n := p.Offload.Segments(p.Buf.Len())
	t.i.stats.did(TXSoftSegments, n)
	for k := range n {
		buf, o := offload.Segment(p.Buf, p.Offload, k, complete)
		t.classify(v, tun.Packet{Buf: buf, Offload: o})
	}
	p.Buf.Free()
}

// carries reports whether a packet may go over a connection: in connected
// mode, and with no more work left to the device than that does. Large sends
// were made before the mode changed.
func (v *txView) carries(p *tun.Packet) bool {
	return v.rc && p.Offload.Segment == rdma.SegmentNone && (v.rcCsum || !p.Offload.Checksum)
}

// limitOf is the largest message that goes to a target.
func (v *txView) limitOf(to *path.Target) int {
	if to.QP != nil {
		return to.Limit
	}
	return v.limit
}

// target returns where packets to d go, or nil when they have to wait. rc says
// that a connection may be used.
func (t *transmitter) target(d *dest, rc bool) *path.Target {
	if n := d.neigh; n != nil {
		peer := n.Target.Load()
		if peer == nil {
			return nil
		}
		if n.Touch(t.now) {
			t.i.loop.post(func() { t.i.neighs.Used(n) })
		}
		peer.Touch(t.now)
		if rc {
			if to := peer.RC.Load(); to != nil {
				return to
			}
			if peer.Wake() {
				t.i.loop.post(func() { t.i.wants(peer) })
			}
		}
		return peer.Target.Load()
	}
	d.group.Touch(t.now)
	if to := d.group.Target.Load(); to != nil {
		return to
	}
	if d.fallback {
		return d.group.Fallback.Load()
	}
	return nil
}

// lookupDest returns a destination that the loop has resolved.
func (i *Interface) lookupDest(ip netip.Addr) (dest, bool) {
	i.destMu.Lock()
	defer i.destMu.Unlock()
	d, ok := i.dests[ip]
	return d, ok
}

// storeDest tells the transmitter of a destination.
func (i *Interface) storeDest(ip netip.Addr, d dest) {
	i.destMu.Lock()
	defer i.destMu.Unlock()
	if len(i.dests) >= destCacheSize {
		clear(i.dests)
	}
	i.dests[ip] = d
}

// tooLong reports whether a message, or a segment of it, exceeds the limit.
func (i *Interface) tooLong(p tun.Packet, limit int) bool {
	if p.Offload.Segment != rdma.SegmentNone {
		return int(p.Offload.HeaderLen)+int(p.Offload.SegmentSize) > limit
	}
	return p.Buf.Len() > limit
}

// maxHandedOver bounds the packets on their way to the loop.
const maxHandedOver = 1024

// handOver passes a packet to the loop.
func (i *Interface) handOver(ip encap.IP, p tun.Packet) {
	if i.ctl.Add(1) > maxHandedOver {
		i.ctl.Add(-1)
		p.Buf.Free()
		i.stats.drop(TXQueueFull)
		return
	}
	i.loop.post(func() {
		i.ctl.Add(-1)
		i.slowTransmit(ip, p)
	})
}

// post posts sends and counts them as the driver does. It owns the buffers.
func (i *Interface) post(qp rdma.QP, wrs []rdma.SendWR, ev *rdma.EventBatch) {
	if len(wrs) == 0 {
		return
	}
	var packets, bytes uint64
	for k := range wrs {
		packets++
		bytes += txBytes(&wrs[k])
	}
	for len(wrs) > 0 {
		n, err := qp.PostSend(wrs, ev)
		wrs = wrs[n:]
		if err == nil {
			break
		}
		// The first that was not taken is dropped, the rest tried again.
		packets--
		bytes -= txBytes(&wrs[0])
		wrs[0].Buf.Free()
		i.stats.drop(postDrop(err))
		wrs = wrs[1:]
	}
	i.stats.txPackets.Add(packets)
	i.stats.txBytes.Add(bytes)
}

// txBytes is what tx_bytes counts: the message with its encapsulation header,
// of a large send without the headers that are repeated.
func txBytes(wr *rdma.SendWR) uint64 {
	n := uint64(wr.Buf.Len())
	if wr.Offload.Segment != rdma.SegmentNone {
		n -= uint64(wr.Offload.HeaderLen)
	}
	return n
}

// send posts one packet from the loop.
func (i *Interface) send(to path.Target, p tun.Packet) {
	qp := i.qp
	if to.QP != nil {
		if i.tooLong(p, to.Limit) {
			i.sendTooLong(p, to.Limit)
			return
		}
		qp = to.QP
	}
	wr := []rdma.SendWR{{Buf: p.Buf, AH: to.AH, RemoteQPN: to.QPN, RemoteQKey: i.qkey, Offload: p.Offload}}
	i.post(qp, wr, nil)
}

// postDrop is the reason of a send that was not taken: the send queue of a
// connection is full while its messages are not acknowledged.
func postDrop(err error) Drop {
	if errors.Is(err, rdma.ErrQueueFull) {
		return TXRCQueueFull
	}
	return TXPost
}

// dropTX drops a packet in the loop.
func (i *Interface) dropTX(p tun.Packet, why Drop) {
	p.Buf.Free()
	i.stats.drop(why)
}
