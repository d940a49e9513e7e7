package soft

import (
	"iter"

	"ipoib/rdma"
	"ipoib/rdma/offload"
)

// segments cuts an RC message or a large send into the packets that the wire
// carries, with complete checksums; a packet that only lacks its checksum comes out once.
// Each has a buffer of its own, which the consumer takes over.
func segments(pk *packet) iter.Seq[*packet] {
	if pk.pathMTU != 0 {
		return messagePackets(pk)
	}
	return func(yield func(*packet) bool) {
		n := pk.offload.Segments(pk.buf.Len())
		if n == 1 {
			seg := pk.clone()
			seg.offload = rdma.Offload{}
			offload.Finish(seg.buf.Bytes(), pk.offload)
			yield(&seg)
			return
		}
		for i := range n {
			if seg := pk.segment(i, true); !yield(&seg) {
				return
			}
		}
	}
}

// segment returns segment i of a large send.
func (p *packet) segment(i int, complete bool) packet {
	seg := *p
	seg.PSN = p.PSN.Add(i)
	seg.buf, seg.offload = offload.Segment(p.buf, p.offload, i, complete)
	return seg
}
