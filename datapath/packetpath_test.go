package datapath

import (
	"net/netip"
	"testing"

	"ipoib/datapath/lro"
	"ipoib/datapath/tun"
	"ipoib/rdma"
	"ipoib/rdma/soft"
)

// Packets that no host should send are dropped, and counted by their reason.
func TestBadTransmit(t *testing.T) {
	pair(t, soft.ProfileFull, func(w *world, a, b *host) {
		good, o := open(tcp(a.ip(), b.ip(), 1, 1, 3000), 1000)
		for _, c := range []struct {
			name string
			ip   []byte
			o    rdma.Offload
			why  Drop
		}{
			{"empty", nil, rdma.Offload{}, TXMalformed},
			{"one octet", []byte{0x45}, rdma.Offload{}, TXMalformed},
			{"no IP", make([]byte, 40), rdma.Offload{}, TXMalformed},
			{"length past the end", good[:100], rdma.Offload{}, TXMalformed},
			{"jumbo", tcp(a.ip(), b.ip(), 1, 1, 9000), rdma.Offload{}, TXTooLong},
			{"checksum past the end", good, rdma.Offload{Checksum: true, CsumStart: 60000, CsumOffset: 16}, TXOffload},
			{"no segment size", good, func(o rdma.Offload) rdma.Offload { o.SegmentSize = 0; return o }(o), TXOffload},
			{"headers past the end", good, func(o rdma.Offload) rdma.Offload { o.HeaderLen = 60000; return o }(o), TXOffload},
			{"wrong protocol", good, func(o rdma.Offload) rdma.Offload { o.Segment = rdma.SegmentUDP4; return o }(o), TXOffload},
			{"wrong family", good, func(o rdma.Offload) rdma.Offload { o.Segment = rdma.SegmentTCP6; return o }(o), TXOffload},
			{"segments over the MTU", func() []byte { p, _ := open(tcp(a.ip(), b.ip(), 1, 1, 9000), 0); return p }(),
				func(o rdma.Offload) rdma.Offload { o.SegmentSize = 4000; return o }(o), TXTooLong},
		} {
			before, sent := a.ib0.DropCounts()[c.why], a.ib0.Stats().TxPackets
			a.batch(c.ip, c.o)
			w.settle()
			if n := a.ib0.DropCounts()[c.why] - before; n != 1 {
				t.Errorf("%s: %v grew by %d", c.name, c.why, n)
			}
			if a.ib0.Stats().TxPackets != sent {
				t.Errorf("%s: sent", c.name)
			}
		}
		if got := b.got(b.ib0); len(got) != 0 {
			t.Errorf("%d packets arrived", len(got))
		}
	})
}

// null takes packets from the datapath and does nothing.
type null struct {
	tun.Device
	packets int
}

func (d *null) Write(p []tun.Packet) (int, error) {
	d.packets += len(p)
	return len(p), nil
}

// The way of a packet from one interface to the other allocates nothing:
// large sends, small packets that are merged, and ones that are not.
func TestPacketPathDoesNotAllocate(t *testing.T) {
	pair(t, soft.ProfileFull, func(w *world, a, b *host) {
		sink := &null{Device: b.ib0.dev}
		b.ib0.dev = sink
		tx := &transmitter{i: a.ib0, cache: make(map[netip.Addr]dest)}
		pool := a.ib0.pd.Buffers()
		bigPkt, bigO := open(tcp(a.ip(), b.ip(), 1, 1, 60000), 2004)
		pkts := make([]tun.Packet, 0, txBatch)
		add := func(ip []byte, o rdma.Offload) {
			buf := pool.Get(4 + len(ip))
			copy(buf.Bytes()[4:], ip)
			pkts = append(pkts, tun.Packet{Buf: buf, Offload: o})
		}
		small := make([][]byte, 12)
		for k := range small {
			small[k] = tcp(a.ip(), b.ip(), uint32(900*k), uint16(k), 900)
		}
		ack, udp, udp6 := tcp(b.ip(), b.ip(), 1, 1, 0), ip4(a.ip(), b.ip(), 64), ip6(a.ip6(), b.ip6(), 64)
		run := func() {
			pkts = pkts[:0]
			add(bigPkt, bigO)
			for _, p := range small {
				add(p, rdma.Offload{})
			}
			add(ack, rdma.Offload{})
			add(udp, rdma.Offload{})
			add(udp6, rdma.Offload{})
			tx.batch(pkts)
		}
		for name, set := range map[string]func(){
			"default":  func() {},
			"gro off":  func() { b.feature(false, FeatureGRO) },
			"tx off":   func() { a.feature(false, FeatureIPCsum, FeatureIPv6Csum) },
			"rx off":   func() { b.feature(false, FeatureRXCsum) },
			"lro only": func() { b.feature(false, FeatureGRO); b.feature(true, FeatureLRO) },
		} {
			set()
			run()
			if n := testing.AllocsPerRun(50, run); n != 0 {
				t.Errorf("%s: %v allocations for %d packets", name, n, len(pkts))
			}
			b.feature(true, FeatureGRO, FeatureRXCsum)
			b.feature(false, FeatureLRO)
			a.feature(true, FeatureIPCsum, FeatureIPv6Csum)
		}
		if sink.packets == 0 {
			t.Error("nothing arrived")
		}
		b.ib0.dev = sink.Device
	})
}

// The host's own segmentation follows its switch.
func TestGSO(t *testing.T) {
	pair(t, soft.ProfileFull, func(w *world, a, b *host) {
		for _, on := range []bool{false, true} {
			a.feature(on, FeatureGSO)
			if a.ns.GSO("ib0") != on || !b.ns.GSO("ib0") {
				t.Errorf("gso %v: the host has %v", on, a.ns.GSO("ib0"))
			}
		}
	})
}

// merges needs what the host takes.
func TestMergeKinds(t *testing.T) {
	pair(t, soft.ProfileFull, func(w *world, a, b *host) {
		if k := b.ib0.merges(); k != (lro.Kinds{TCP: true, UDP: true}) {
			t.Errorf("%+v", k)
		}
	})
}
