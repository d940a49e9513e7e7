package soft

import (
	"ipoib/rdma"
	"ipoib/rdma/header"
)

// packet is one packet, or one large send that stays whole, on its way
// through the fabric. Functions that take a *packet consume its buffer; they
// never keep the pointer: who delays a packet keeps a copy (detach).
type packet struct {
	header.Fields

	buf     *rdma.Buffer // payload; nil where there is none
	offload rdma.Offload

	// pathMTU is set on an RC message that travels whole: buf holds all of
	// it, and the wire cuts it into packets of that many bytes. first is the
	// packet that it begins with, as a resend may begin inside a message; PSN
	// is that packet's.
	pathMTU, first int
	// lent: buf is the sender's, who keeps it until the message is
	// acknowledged; release leaves it alone. The queue pair that the message
	// is for may take it nevertheless and says so with taken, which
	// acknowledges the message to a sender that waits for nothing else. keep
	// forbids that: the acknowledgement is to go the way of packets.
	lent, keep, taken bool

	// pathBits are the low LMC bits of the source LID.
	pathBits uint8
	// source is the sending queue pair, to keep its own multicast from it.
	source *qp
	// ev takes the completion handlers, nil to run them on their own
	// goroutines.
	ev *rdma.EventBatch
	// hops bounds forwarding, whatever the tables say.
	hops uint8
}

// maxHops is the largest hop count of a path (IBA 14.2.2 allows 63).
const maxHops = 64

func (p *packet) release() {
	if p.buf != nil && !p.lent {
		p.buf.Free()
	}
	p.buf = nil
}

// clone returns a copy with a buffer of its own.
func (p *packet) clone() packet {
	c := *p
	if p.buf != nil {
		c.buf = p.buf.Clone()
	}
	c.lent = false
	return c
}

// detach returns the packet for keeping: it takes over the buffer, or a copy
// of one that is lent, and belongs to no batch any more.
func (p *packet) detach() *packet {
	c := *p
	if c.lent {
		c = p.clone()
	}
	c.ev = nil
	p.buf = nil
	return &c
}

func (p *packet) payloadLen() int {
	if p.buf == nil {
		return 0
	}
	return p.buf.Len()
}

// isSingle reports whether the packet is one on the wire, with these headers.
func (p *packet) isSingle() bool {
	if p.pathMTU != 0 {
		return p.payloadLen() <= p.pathMTU
	}
	return p.offload.Segments(p.payloadLen()) == 1
}

// wire returns how many packets the descriptor is on the wire, their size in
// 4-byte words from LRH to ICRC, and the largest payload of one.
func (p *packet) wire() (packets int, words uint64, payload int) {
	n := p.payloadLen()
	fixed := p.HeaderLen() + header.ICRCLen
	if mtu := p.pathMTU; mtu != 0 {
		n -= p.first * mtu
		packets = max(1, (n+mtu-1)/mtu)
		last := n - (packets-1)*mtu
		words = uint64(packets-1)*uint64(fixed+mtu)/4 + uint64(fixed+last+3)/4
		return packets, words, min(n, mtu)
	}
	packets = p.offload.Segments(n)
	if packets == 1 {
		return 1, uint64(fixed+n+3) / 4, n
	}
	hdr, seg := int(p.offload.HeaderLen), int(p.offload.SegmentSize)
	last := n - hdr - (packets-1)*seg
	words = uint64(packets-1)*uint64((fixed+hdr+seg+3)/4) + uint64((fixed+hdr+last+3)/4)
	return packets, words, hdr + seg
}
