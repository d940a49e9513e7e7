package lro

import (
	"encoding/binary"
	"net/netip"

	"ipoib/datapath/encap"
	"ipoib/datapath/tun"
	"ipoib/rdma"
	"ipoib/rdma/inet"
	"ipoib/rdma/offload"
)

var pool = rdma.NewBufferPool()

// pkt describes a packet of a test; zero values are what most packets have.
type pkt struct {
	v6, udp    bool
	src        byte // last octet of the source address
	port       uint16
	seq, ack   uint32
	flags      byte // besides ACK
	win        uint16
	opts       []byte
	data       []byte
	id         uint16
	noDF       bool
	tos, ttl   byte
	label      byte // lowest octet of the flow label
	ipOpts     bool
	frag       uint16 // flags and offset field
	pad        int    // octets behind the packet
	noCsum     bool   // UDP without a checksum
	badCsum    bool
	badIPCsum  bool
	partial    bool // checksum left open
	large      int  // a large one, with segments of so many octets
	nextHeader byte // of IPv6, when not the transport
}

var (
	addr4 = netip.MustParseAddr("10.0.0.2").As4()
	addr6 = netip.MustParseAddr("fd00::2").As16()
)

// ip returns the IP packet, checksums complete.
func (p pkt) ip() []byte {
	var t []byte
	proto := byte(6)
	if p.udp {
		proto = 17
		t = make([]byte, 8)
		binary.BigEndian.PutUint16(t[4:], uint16(8+len(p.data)))
	} else {
		t = make([]byte, 20+len(p.opts))
		copy(t[20:], p.opts)
		binary.BigEndian.PutUint32(t[4:], p.seq)
		binary.BigEndian.PutUint32(t[8:], p.ack)
		t[12] = byte(len(t)/4) << 4
		t[13] = 0x10 | p.flags
		win := p.win
		if win == 0 {
			win = 500
		}
		binary.BigEndian.PutUint16(t[14:], win)
	}
	binary.BigEndian.PutUint16(t, 1000+p.port)
	binary.BigEndian.PutUint16(t[2:], 5201)
	t = append(t, p.data...)
	ttl := p.ttl
	if ttl == 0 {
		ttl = 64
	}
	var ip []byte
	var sum uint64
	if p.v6 {
		ip = make([]byte, 40)
		ip[0], ip[1], ip[3] = 0x60|p.tos>>4, p.tos<<4, p.label
		binary.BigEndian.PutUint16(ip[4:], uint16(len(t)))
		ip[6], ip[7] = proto, ttl
		if p.nextHeader != 0 {
			ip[6] = p.nextHeader
		}
		copy(ip[8:], addr6[:])
		ip[23] = 10 + p.src
		copy(ip[24:], addr6[:])
		sum = inet.Pseudo(ip[8:24], ip[24:40], proto, len(t))
	} else {
		ip = make([]byte, 20)
		if p.ipOpts {
			ip = append(ip, 1, 1, 1, 0)
		}
		ip[0] = 0x40 | byte(len(ip)/4)
		ip[1] = p.tos
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)+len(t)))
		binary.BigEndian.PutUint16(ip[4:], p.id)
		frag := p.frag
		if !p.noDF && frag == 0 {
			frag = 0x4000
		}
		binary.BigEndian.PutUint16(ip[6:], frag)
		ip[8], ip[9] = ttl, proto
		copy(ip[12:], addr4[:])
		ip[15] = 10 + p.src
		copy(ip[16:], addr4[:])
		binary.BigEndian.PutUint16(ip[10:], inet.Checksum(ip, 0))
		if p.badIPCsum {
			ip[10] ^= 0x55
		}
		sum = inet.Pseudo(ip[12:16], ip[16:20], proto, len(t))
	}
	at := 16
	if p.udp {
		at = 6
	}
	if !p.noCsum {
		c := inet.Checksum(t, sum)
		if c == 0 {
			c = 0xffff
		}
		binary.BigEndian.PutUint16(t[at:], c)
	}
	if p.badCsum {
		t[at] ^= 0x55
	}
	return append(append(ip, t...), make([]byte, p.pad)...)
}

// packet returns the packet as the receiver gets it.
func (p pkt) packet() tun.Packet {
	out := raw(p.ip())
	if p.large > 0 {
		p.partial = true
	}
	if p.partial {
		out.Offload = offload.Partial(out.Buf.Bytes())
	}
	if p.large > 0 {
		kind := rdma.SegmentTCP4
		if p.v6 {
			kind = rdma.SegmentTCP6
		}
		hdr := 20 + len(p.opts)
		if p.udp {
			kind += rdma.SegmentUDP4 - rdma.SegmentTCP4
			hdr = 8
		}
		out.Offload.Segment = kind
		out.Offload.HeaderLen = out.Offload.CsumStart + uint16(hdr)
		out.Offload.SegmentSize = uint16(p.large)
	}
	return out
}

// raw makes a packet of any octets.
func raw(ip []byte) tun.Packet {
	b := pool.Get(encap.HeaderLen + len(ip))
	copy(b.Bytes()[encap.HeaderLen:], ip)
	return tun.Packet{Buf: b}
}

// cut returns the IP packets, with complete checksums, that a packet stands
// for.
func cut(p tun.Packet) (out [][]byte) {
	whole := pool.Get(p.Len())
	defer whole.Free()
	n := copy(whole.Bytes(), p.Buf.Bytes())
	for _, part := range p.Parts {
		n += copy(whole.Bytes()[n:], part.Bytes())
	}
	if p.Offload.Segment == rdma.SegmentNone {
		offload.Finish(whole.Bytes(), p.Offload)
		return [][]byte{append([]byte(nil), whole.Bytes()[encap.HeaderLen:]...)}
	}
	for i := range p.Offload.Segments(whole.Len()) {
		seg, _ := offload.Segment(whole, p.Offload, i, true)
		out = append(out, append([]byte(nil), seg.Bytes()[encap.HeaderLen:]...))
		seg.Free()
	}
	return out
}

// bytesOf returns n octets that differ with the seed.
func bytesOf(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)*7 + seed
	}
	return b
}
