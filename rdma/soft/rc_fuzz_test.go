package soft

import (
	"testing"

	"ipoib/rdma"
	"ipoib/rdma/header"
)

// FuzzRCPackets lets any packets come to both ends of a connection that has
// messages on its way: requests and replies with near PSNs, all opcodes, all
// lengths. Every send and every receive then completes once, and every buffer
// has one owner, which the pool checks.
func FuzzRCPackets(f *testing.F) {
	f.Add([]byte{0x00, 0, 0xff, 0x80, 0x01, 1, 0xff, 0, 0x02, 2, 40, 0x80})
	f.Add([]byte{0x04, 0, 40, 0x80, 0x04, 0, 40, 0x80, 0x04, 5, 40, 0x80, 0x17, 1, 0, 0})
	f.Add([]byte{0x11, 0, 0x1f, 1, 0x11, 1, 0x60, 1, 0x11, 2, 0x2e, 1, 0x11, 3, 0x61, 1})
	f.Add([]byte{0x06, 0, 1, 0, 0x0c, 0, 0, 0, 0x13, 0, 0, 0})
	n := newTestNet(f, 2)
	n.f.LinkAt(n.hcas[0].At(1)).SetFaultsFrom(0, Faults{Loss: 1, Match: func(p PacketInfo) bool {
		return p.Opcode.Transport() == header.TransportRC && p.PSN%3 == 2
	}})
	f.Fuzz(func(t *testing.T, in []byte) {
		a, b := connect(t, n.port(0), n.port(1), rcOpts{
			nums: [2]rdma.QPN{0x100, 0x200}, mtu: rdma.MTU256, recvSize: 1000, credits: 8, timeout: 31,
		})
		defer b.qp.Close()
		defer a.qp.Close()
		const posted = 5
		for i := range posted {
			a.post(uint64(i), pattern(200*i, i))
		}
		for ; len(in) >= 4; in = in[4:] {
			op, psn, size := header.Opcode(in[0]), rdma.PSN(int8(in[1]))&rdma.PSNMask, int(in[2])
			if !op.IsKnown() || op.Transport() == header.TransportUD {
				continue
			}
			if op.HasAETH() && op != header.RCAck {
				size = 0
			}
			if in[3]&2 != 0 {
				size += 256
			}
			frame := rcRequest(op, psn, pattern(size, 0), func(f *header.Fields) {
				f.AckReq, f.Solicited = in[3]&0x80 != 0, in[3]&0x40 != 0
				f.Syndrome = header.Syndrome(in[2])
				if in[3]&1 != 0 {
					f.SLID, f.DLID, f.DestQP = 3, 2, 0x100
				}
				if op.ExtLen() > 0 && op != header.RCAck {
					f.Ext = make([]byte, op.ExtLen())
				}
			})
			_ = n.f.Inject(n.hcas[0].At(1), frame)
			_ = n.f.Inject(n.hcas[1].At(1), frame)
		}
		must(t, a.qp.Modify(rdma.QPAttr{State: rdma.QPSErr}, rdma.QPAttrState))
		must(t, b.qp.Modify(rdma.QPAttr{State: rdma.QPSErr}, rdma.QPAttrState))
		sends := poll(a.send)
		if len(sends) != posted {
			t.Fatalf("%d sends completed", len(sends))
		}
		for i, wc := range sends {
			if wc.ID != uint64(i) {
				t.Fatalf("completion %d at place %d", wc.ID, i)
			}
		}
		for _, e := range []*rcEnd{a, b} {
			recvs := poll(e.recv)
			if len(recvs) != 8 {
				t.Fatalf("%d receives completed of 8", len(recvs))
			}
			for _, wc := range recvs {
				if wc.Buf != nil {
					wc.Buf.Free()
				}
			}
		}
	})
}
