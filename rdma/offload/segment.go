package offload

import (
	"encoding/binary"

	"ipoib/rdma"
	"ipoib/rdma/inet"
)

// Layout of the headers that the engines edit, from the first octet of the
// message: a 4-octet encapsulation header, IP, TCP or UDP.
const (
	encapLen   = 4
	ip4MinLen  = 20
	ip6Len     = 40
	tcpMinLen  = 20
	udpLen     = 8
	protoTCP   = 6
	protoUDP   = 17
	tcpCsumOff = 16
	udpCsumOff = 6
	tcpFlagFIN = 0x01
	tcpFlagPSH = 0x08
	tcpFlagCWR = 0x80
)

// Valid reports whether an offload fits its message, so that Segment and
// Finish need no further checks: offsets lie inside, and a large send has the
// headers that its kind says.
func Valid(msg []byte, o rdma.Offload) bool {
	if o.Checksum {
		start, off := int(o.CsumStart), int(o.CsumOffset)
		if start < encapLen || start+off+2 > len(msg) {
			return false
		}
	}
	if o.Segment == rdma.SegmentNone {
		return true
	}
	hdr := int(o.HeaderLen)
	if !o.Checksum || o.SegmentSize == 0 || hdr >= len(msg) || len(msg) < encapLen+ip4MinLen {
		return false
	}
	l4, proto := int(o.CsumStart), uint8(protoTCP)
	switch o.Segment {
	case rdma.SegmentTCP4, rdma.SegmentUDP4:
		ihl := int(msg[encapLen]&0xf) * 4
		if msg[encapLen]>>4 != 4 || ihl < ip4MinLen || l4 != encapLen+ihl {
			return false
		}
		if o.Segment == rdma.SegmentUDP4 {
			proto = protoUDP
		}
		if msg[encapLen+9] != proto {
			return false
		}
	case rdma.SegmentTCP6, rdma.SegmentUDP6:
		// Extension headers may stand between; CsumStart is the end of them.
		if msg[encapLen]>>4 != 6 || l4 < encapLen+ip6Len {
			return false
		}
		if o.Segment == rdma.SegmentUDP6 {
			proto = protoUDP
		}
	default:
		return false
	}
	if proto == protoUDP {
		return hdr == l4+udpLen && o.CsumOffset == udpCsumOff
	}
	return o.CsumOffset == tcpCsumOff && l4+tcpMinLen <= len(msg) &&
		hdr == l4+int(msg[l4+12]>>4)*4 && hdr >= l4+tcpMinLen
}

// Segment returns segment i of a large send, 0 to o.Segments-1, in a buffer of
// the pool of src, which the caller owns. The offload must be Valid. With
// complete the checksum is complete and the returned offload is zero; without,
// the offload says what is missing.
func Segment(src *rdma.Buffer, o rdma.Offload, i int, complete bool) (*rdma.Buffer, rdma.Offload) {
	msg := src.Bytes()
	hdr, size := int(o.HeaderLen), int(o.SegmentSize)
	from := hdr + i*size
	body := msg[from:min(from+size, len(msg))]
	seg := src.Pool().Get(hdr + len(body))
	b := seg.Bytes()
	copy(b, msg[:hdr])
	copy(b[hdr:], body)
	edit(b, o, i, from+size >= len(msg))
	rest := rdma.Offload{Checksum: true, CsumStart: o.CsumStart, CsumOffset: o.CsumOffset}
	if complete {
		Finish(b, rest)
		rest = rdma.Offload{}
	}
	return seg, rest
}

// edit makes the copied header of segment i its own (kernel inet_gso_segment,
// tcp_gso_segment, __udp_gso_segment).
func edit(b []byte, o rdma.Offload, i int, last bool) {
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
	t, proto := b[l4:], uint8(protoTCP)
	switch o.Segment {
	case rdma.SegmentUDP4, rdma.SegmentUDP6:
		proto = protoUDP
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
	binary.BigEndian.PutUint16(t[o.CsumOffset:], inet.Fold(pseudo(ip, proto, len(t))))
}

// pseudo is the running sum of the pseudo header of an IP packet whose
// transport part is n octets long.
func pseudo(ip []byte, proto uint8, n int) uint64 {
	if ip[0]>>4 == 4 {
		return inet.Pseudo(ip[12:16], ip[16:20], proto, n)
	}
	return inet.Pseudo(ip[8:24], ip[24:40], proto, n)
}

// Finish completes a checksum whose field holds the pseudo header's sum. The
// offload must be Valid and no large send.
func Finish(msg []byte, o rdma.Offload) {
	if !o.Checksum {
		return
	}
	at := int(o.CsumStart) + int(o.CsumOffset)
	c := inet.Checksum(msg[o.CsumStart:], 0)
	if c == 0 && o.CsumOffset == udpCsumOff {
		c = 0xffff // UDP: 0 means "no checksum" (RFC 768)
	}
	binary.BigEndian.PutUint16(msg[at:], c)
}
