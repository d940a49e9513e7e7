package soft

import (
	"encoding/binary"
	"iter"

	"ipoib/rdma"
	"ipoib/rdma/inet"
)

// Layout of the headers that the large-send engine edits, from the first byte
// of the message: a 4-byte encapsulation header, IP, TCP or UDP.
const (
	encapLen   = 4
	ip4MinLen  = 20
	ip6Len     = 40
	tcpMinLen  = 20
	udpLen     = 8
	protoTCP   = 6
	protoUDP   = 17
	tcpFlagFIN = 0x01
	tcpFlagPSH = 0x08
	tcpFlagCWR = 0x80
)

// validOffload reports whether the offsets of an offload fit the message, so
// that segments and finish need no further checks.
func validOffload(b []byte, o rdma.Offload) bool {
	if o.Checksum {
		start, off := int(o.CsumStart), int(o.CsumOffset)
		if start < encapLen || start+off+2 > len(b) {
			return false
		}
	}
	if o.Segment == rdma.SegmentNone {
		return true
	}
	hdr := int(o.HeaderLen)
	if !o.Checksum || o.SegmentSize == 0 || hdr >= len(b) || len(b) < encapLen+ip4MinLen {
		return false
	}
	l4, proto := int(o.CsumStart), uint8(protoTCP)
	switch o.Segment {
	case rdma.SegmentTCP4, rdma.SegmentUDP4:
		ihl := int(b[encapLen]&0xf) * 4
		if b[encapLen]>>4 != 4 || ihl < ip4MinLen || l4 != encapLen+ihl {
			return false
		}
		if o.Segment == rdma.SegmentUDP4 {
			proto = protoUDP
		}
		if b[encapLen+9] != proto {
			return false
		}
	case rdma.SegmentTCP6, rdma.SegmentUDP6:
		// Extension headers may stand between; CsumStart is the end of them.
		if b[encapLen]>>4 != 6 || l4 < encapLen+ip6Len {
			return false
		}
		if o.Segment == rdma.SegmentUDP6 {
			proto = protoUDP
		}
	default:
		return false
	}
	if proto == protoUDP {
		return hdr == l4+udpLen && o.CsumOffset == 6
	}
	return o.CsumOffset == 16 && l4+tcpMinLen <= len(b) && hdr == l4+int(b[l4+12]>>4)*4 && hdr >= l4+tcpMinLen
}

// segments cuts an RC message or a large send into the packets that the wire carries, with
// complete checksums; a packet that only lacks its checksum comes out once.
// Each has a buffer of its own, which the consumer takes over.
func segments(pk *packet) iter.Seq[*packet] {
	if pk.pathMTU != 0 {
		return messagePackets(pk)
	}
	return func(yield func(*packet) bool) {
		src, o := pk.buf.Bytes(), pk.offload
		n := o.Segments(len(src))
		if n == 1 {
			seg := pk.clone()
			seg.offload = rdma.Offload{}
			finish(seg.buf.Bytes(), o)
			yield(&seg)
			return
		}
		hdr, size := int(o.HeaderLen), int(o.SegmentSize)
		for i := range n {
			from := hdr + i*size
			body := src[from:min(from+size, len(src))]
			seg := *pk
			seg.offload = rdma.Offload{}
			seg.PSN = pk.PSN.Add(i)
			seg.buf = pk.buf.Pool().Get(hdr + len(body))
			b := seg.buf.Bytes()
			copy(b, src[:hdr])
			copy(b[hdr:], body)
			editSegment(b, o, i, i == n-1)
			if !yield(&seg) {
				return
			}
		}
	}
}

// editSegment makes the copied header of segment i its own.
func editSegment(b []byte, o rdma.Offload, i int, last bool) {
	ip, l4 := b[encapLen:], int(o.CsumStart)
	switch o.Segment {
	case rdma.SegmentTCP4, rdma.SegmentUDP4:
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
		binary.BigEndian.PutUint16(ip[4:], binary.BigEndian.Uint16(ip[4:])+uint16(i))
		ip[10], ip[11] = 0, 0
		binary.BigEndian.PutUint16(ip[10:], inet.Checksum(ip[:int(ip[0]&0xf)*4], 0))
	default:
		binary.BigEndian.PutUint16(ip[4:], uint16(len(ip)-ip6Len))
	}
	t := b[l4:]
	switch o.Segment {
	case rdma.SegmentUDP4, rdma.SegmentUDP6:
		binary.BigEndian.PutUint16(t[4:], uint16(len(t)))
	default:
		seq := binary.BigEndian.Uint32(t[4:])
		binary.BigEndian.PutUint32(t[4:], seq+uint32(i)*uint32(o.SegmentSize))
		if !last {
			t[13] &^= tcpFlagFIN | tcpFlagPSH
		}
		if i > 0 {
			t[13] &^= tcpFlagCWR
		}
	}
	// The checksum field was seeded for the whole message; seed it for this
	// length.
	seed := pseudo(ip, len(t), o.Segment)
	binary.BigEndian.PutUint16(t[o.CsumOffset:], inet.Fold(seed))
	finish(b, rdma.Offload{Checksum: true, CsumStart: o.CsumStart, CsumOffset: o.CsumOffset})
}

func pseudo(ip []byte, n int, kind rdma.SegmentKind) uint64 {
	switch kind {
	case rdma.SegmentTCP4:
		return inet.Pseudo(ip[12:16], ip[16:20], protoTCP, n)
	case rdma.SegmentUDP4:
		return inet.Pseudo(ip[12:16], ip[16:20], protoUDP, n)
	case rdma.SegmentUDP6:
		return inet.Pseudo(ip[8:24], ip[24:40], protoUDP, n)
	}
	return inet.Pseudo(ip[8:24], ip[24:40], protoTCP, n)
}

// finish completes a checksum whose field holds the pseudo header's sum.
func finish(b []byte, o rdma.Offload) {
	if !o.Checksum {
		return
	}
	at := int(o.CsumStart) + int(o.CsumOffset)
	c := inet.Checksum(b[o.CsumStart:], 0)
	if c == 0 && o.CsumOffset == 6 {
		c = 0xffff // UDP: 0 means "no checksum" (RFC 768)
	}
	binary.BigEndian.PutUint16(b[at:], c)
}
