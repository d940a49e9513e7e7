package datapath

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"testing/synctest"

	"ipoib/datapath/tun"
	"ipoib/rdma"
	"ipoib/rdma/offload"
	"ipoib/rdma/soft"
)

// chunks cuts the octets of a fuzzer into packets of up to 255 octets, each
// with 12 octets for its offload.
func chunks(b []byte, fn func(o rdma.Offload, ip []byte)) {
	for len(b) > 13 {
		n := min(int(b[12]), len(b)-13)
		fn(rdma.Offload{
			Segment: rdma.SegmentKind(b[0] % 6), ECN: b[1]&1 != 0, Checksum: b[1]&2 != 0,
			SegmentSize: binary.BigEndian.Uint16(b[2:]), HeaderLen: binary.BigEndian.Uint16(b[4:]),
			CsumStart: binary.BigEndian.Uint16(b[6:]), CsumOffset: binary.BigEndian.Uint16(b[8:]),
		}, b[13:13+n])
		b = b[13+n:]
	}
}

// chunk is the inverse for one packet.
func chunk(o rdma.Offload, ip []byte) []byte {
	b := make([]byte, 13, 13+len(ip))
	b[0], b[1], b[12] = byte(o.Segment), 2, byte(len(ip))
	binary.BigEndian.PutUint16(b[2:], o.SegmentSize)
	binary.BigEndian.PutUint16(b[4:], o.HeaderLen)
	binary.BigEndian.PutUint16(b[6:], o.CsumStart)
	binary.BigEndian.PutUint16(b[8:], o.CsumOffset)
	return append(b, ip...)
}

func seeds(f *testing.F) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	a6, b6 := netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2")
	p, o := open(tcp(a, b, 1, 1, 200), 50)
	p6, o6 := open(tcp(a6, b6, 1, 1, 150), 60)
	q, oq := open(tcp(a, b, 1, 1, 30), 0)
	f.Add(append(chunk(o, p), chunk(oq, q)...))
	f.Add(append(chunk(o6, p6), chunk(rdma.Offload{}, ip4(a, b, 40))...))
	f.Add(append(chunk(rdma.Offload{}, ip6(a6, b6, 40)), chunk(rdma.Offload{}, ip4(a, netip.MustParseAddr("10.0.0.255"), 40))...))
}

// FuzzTransmit gives the transmitter any packets with any offloads: each is
// sent, handed to the loop or dropped, and none is freed twice.
func FuzzTransmit(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		pair(t, soft.ProfileGeneric, func(w *world, a, to *host) {
			if len(b) > 0 && b[0]&0x80 != 0 {
				a.feature(false, FeatureIPCsum)
			}
			tx := &transmitter{i: a.ib0, cache: make(map[netip.Addr]dest)}
			var pkts []tun.Packet
			chunks(b, func(o rdma.Offload, ip []byte) {
				buf := a.ib0.pd.Buffers().Get(4 + len(ip))
				copy(buf.Bytes()[4:], ip)
				pkts = append(pkts, tun.Packet{Buf: buf, Offload: o})
			})
			tx.batch(pkts)
			synctest.Wait()
			if !reach(a, to, a.ib0, to.ib0, a.ip(), to.ip()) {
				t.Error("nothing is sent any more")
			}
		})
	})
}

// FuzzReceive gives the receiver any messages, as a peer may send them.
func FuzzReceive(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		pair(t, soft.ProfileFull, func(w *world, a, to *host) {
			i := to.ib0
			var batch rxBatch
			v := i.rx.Load()
			handled, before := 0, total(i.DropCounts())
			chunks(b, func(o rdma.Offload, msg []byte) {
				buf := i.pd.Buffers().Get(len(msg))
				copy(buf.Bytes(), msg)
				wc := rdma.WorkCompletion{Opcode: rdma.WCRecv, Buf: buf, SrcQP: 72, SLID: 5, Flags: rdma.WCFlags(o.CsumStart) & 7}
				if offload.Valid(msg, o) { // a device checks its own
					wc.Offload = o
				}
				wc.GRH.DGID = i.broadcastMGID()
				i.receiveOne(v, &wc, &batch)
				handled++
			})
			drops := total(i.DropCounts()) - before
			i.writeMu.Lock()
			i.writeOut(v, &batch)
			i.writeMu.Unlock()
			synctest.Wait()
			if out := len(batch.out); out > handled || drops > uint64(handled) {
				t.Errorf("%d messages: %d written, %d dropped", handled, out, drops)
			}
		})
	})
}

func total(counts []uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}
