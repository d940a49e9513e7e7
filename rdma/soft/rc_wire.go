package soft

import (
	"ipoib/rdma"
	"ipoib/rdma/header"
	"ipoib/rdma/offload"
)

// messagePackets cuts an RC message into the packets that the wire carries.
// Each has a buffer of its own, which the consumer takes over.
func messagePackets(pk *packet) func(yield func(*packet) bool) {
	return func(yield func(*packet) bool) {
		src, mtu := pk.buf.Bytes(), pk.pathMTU
		if pk.offload.Checksum {
			whole := pk.buf.Clone()
			defer whole.Free()
			src = whole.Bytes()
			offload.Finish(src, pk.offload)
		}
		total := max(1, (len(src)+mtu-1)/mtu)
		for i := pk.first; i < total; i++ {
			seg := *pk
			seg.offload = rdma.Offload{}
			seg.pathMTU, seg.first = 0, 0
			seg.lent, seg.keep, seg.taken = false, false, false
			seg.PSN = pk.PSN.Add(i - pk.first)
			seg.Opcode = sendOpcode(i, total)
			if i < total-1 {
				seg.AckReq, seg.Solicited = false, false
			}
			body := src[i*mtu : min((i+1)*mtu, len(src))]
			seg.buf = pk.buf.Pool().Get(len(body))
			copy(seg.buf.Bytes(), body)
			if !yield(&seg) {
				return
			}
		}
	}
}

// sendOpcode returns the opcode of packet i of n of a SEND.
func sendOpcode(i, n int) header.Opcode {
	switch {
	case n == 1:
		return header.RCSendOnly
	case i == 0:
		return header.RCSendFirst
	case i == n-1:
		return header.RCSendLast
	}
	return header.RCSendMiddle
}
