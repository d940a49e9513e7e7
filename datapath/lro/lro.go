package lro

import (
	"encoding/binary"

	"ipoib/datapath/encap"
	"ipoib/datapath/tun"
	"ipoib/rdma"
	"ipoib/rdma/inet"
	"ipoib/rdma/offload"
)

// Limits of a merge.
const (
	// maxLen is the largest merged IP packet in octets (kernel
	// GRO_LEGACY_MAX_SIZE, exclusive).
	maxLen = 65535
	// maxParts is the largest number of buffers in a merged packet (kernel
	// UDP_GRO_CNT_MAX, UDP_MAX_SEGMENTS).
	maxParts = 64
	// maxFlows is how many flows are merged at a time (kernel MAX_GRO_SKBS).
	maxFlows = 8
)

// Kinds says what is merged.
type Kinds struct {
	TCP bool
	// UDP needs a host that takes large UDP packets (tun.FeatureUSO4).
	UDP bool
}

// Any reports whether anything is merged.
func (k Kinds) Any() bool { return k.TCP || k.UDP }

// Merger merges packets batch by batch. The zero value is ready to use, by one
// goroutine at a time.
type Merger struct {
	out   []tun.Packet
	parts [][]*rdma.Buffer // memory of out[i].Parts
	flows [maxFlows]flow
	n     int // flows in use
	kinds Kinds
}

// flow is a packet of out that others may join.
type flow struct {
	at       int // index in out
	head     segment
	count    int    // datagrams in it
	length   int    // octets of the IP packet
	next     uint32 // sequence number expected (TCP)
	fixedID  bool   // all IPv4 identifications are the same (UDP)
	verified bool   // the head's checksum was found right
	last     uint8  // PSH and FIN of what joined
}

// Merge merges the packets of a batch, in order, and returns what to write.
// The buffers now belong to the returned packets, which are valid until the
// next call; the caller frees them. Packets start with an encapsulation
// header; their offloads must be offload.Valid.
func (m *Merger) Merge(pkts []tun.Packet, k Kinds) []tun.Packet {
	m.out, m.n, m.kinds = m.out[:0], 0, k
	for i := range pkts {
		m.add(pkts[i])
	}
	m.closeAll()
	return m.out
}

func (m *Merger) add(p tun.Packet) {
	var s segment
	switch s.parse(p, m.kinds) {
	case unknown:
		m.closeAll()
		m.emit(p)
		return
	case other:
		m.emit(p)
		return
	}
	f := m.find(&s)
	if f >= 0 {
		if end, ok := m.join(&m.flows[f], &s, p); ok {
			if end {
				m.close(f)
			}
			return
		}
		m.close(f)
	}
	at := m.emit(p)
	if !s.opens() {
		return
	}
	if m.n == maxFlows {
		m.close(0) // the oldest
	}
	m.flows[m.n] = flow{
		at: at, head: s, count: s.count, length: len(s.msg) - encap.HeaderLen,
		next: s.seq + uint32(s.payload), verified: p.Offload.Checksum,
	}
	m.n++
}

// emit appends a packet to the result and returns its place.
func (m *Merger) emit(p tun.Packet) int {
	m.out = append(m.out, p)
	if len(m.parts) < len(m.out) {
		m.parts = append(m.parts, nil)
	}
	return len(m.out) - 1
}

// find returns the flow of a packet, or -1.
func (m *Merger) find(s *segment) int {
	for i := range m.n {
		if m.flows[i].head.sameFlow(s) {
			return i
		}
	}
	return -1
}

// join appends a packet to a flow. It reports false when the packet does not
// fit, and end when it is the last that does.
func (m *Merger) join(f *flow, s *segment, p tun.Packet) (end, ok bool) {
	h := &f.head
	parts := m.parts[f.at][:len(m.out[f.at].Parts)]
	if s.payload == 0 || s.payload > h.size && s.count == 1 || s.count > 1 && s.size != h.size ||
		f.length+s.payload > maxLen || len(parts) >= maxParts-1 || f.count+s.count > maxParts && s.proto == encap.ProtoUDP ||
		!f.networkFits(s) {
		return false, false
	}
	if s.proto == encap.ProtoTCP && (s.seq != f.next || !h.transportFits(s)) {
		return false, false
	}
	// Both are to be verified, unless the adapter did.
	if !p.Offload.Checksum && offload.Verify(s.msg) != offload.Good || !f.verify() {
		return false, false
	}
	if h.v4 && f.count == 1 && s.id == h.id {
		f.fixedID = true
	}
	p.Buf.Pull(s.header)
	parts = append(parts, p.Buf)
	m.parts[f.at], m.out[f.at].Parts = parts, parts
	f.count += s.count
	f.length += s.payload
	f.next += uint32(s.payload)
	f.last |= s.flags & (tcpPSH | tcpFIN)
	end = s.payload != s.count*h.size || f.last != 0 || s.proto == encap.ProtoUDP && f.count >= maxParts
	return end, true
}

// verify reports whether the checksum of the flow's head is right.
func (f *flow) verify() bool {
	if !f.verified {
		f.verified = offload.Verify(f.head.msg) == offload.Good
	}
	return f.verified
}

// networkFits compares the IP headers (kernel inet_gro_receive,
// ipv6_gro_receive).
func (f *flow) networkFits(s *segment) bool {
	h := &f.head
	a, b := h.msg[encap.HeaderLen:], s.msg[encap.HeaderLen:]
	if !h.v4 {
		// Traffic class, flow label, hop limit.
		return [4]byte(a) == [4]byte(b) && a[7] == b[7]
	}
	// Type of service, flags, time to live; the sums of headers.
	if a[1] != b[1] || a[6] != b[6] || a[8] != b[8] || f.count == h.count && !headerSum(a) || !headerSum(b) {
		return false
	}
	switch {
	case s.id == h.id+uint16(f.count) && !f.fixedID:
		return true
	case s.proto == encap.ProtoUDP && a[6]&ipDF != 0 && s.count == 1:
		return s.id == h.id && (f.fixedID || f.count == 1)
	}
	return false
}

func headerSum(ip []byte) bool { return inet.Checksum(ip[:encap.IPv4MinLen], 0) == 0 }

// close ends merging into a flow: its head becomes the header of the merged
// packet.
func (m *Merger) close(i int) {
	f := &m.flows[i]
	if f.count > f.head.count {
		m.out[f.at].Offload = f.finish()
	}
	m.n--
	copy(m.flows[i:], m.flows[i+1:m.n+1])
}

func (m *Merger) closeAll() {
	for m.n > 0 {
		m.close(m.n - 1)
	}
}

// finish writes lengths and checksums of the merged packet to its header.
func (f *flow) finish() rdma.Offload {
	h := &f.head
	ip, t := h.msg[encap.HeaderLen:], h.msg[h.l4:]
	n := f.length - (h.l4 - encap.HeaderLen) // octets of the transport part
	o := rdma.Offload{
		SegmentSize: uint16(h.size), HeaderLen: uint16(h.header),
		Checksum: true, CsumStart: uint16(h.l4), CsumOffset: tcpCsum,
	}
	src, dst := ip[8:24], ip[24:40]
	if h.v4 {
		src, dst = ip[12:16], ip[16:20]
		binary.BigEndian.PutUint16(ip[2:], uint16(f.length))
		ip[10], ip[11] = 0, 0
		binary.BigEndian.PutUint16(ip[10:], inet.Checksum(ip[:encap.IPv4MinLen], 0))
		o.Segment = rdma.SegmentTCP4
	} else {
		binary.BigEndian.PutUint16(ip[4:], uint16(f.length-encap.IPv6Len))
		o.Segment = rdma.SegmentTCP6
	}
	if h.proto == encap.ProtoUDP {
		o.CsumOffset = udpCsum
		o.Segment += rdma.SegmentUDP4 - rdma.SegmentTCP4
		binary.BigEndian.PutUint16(t[4:], uint16(n))
	} else {
		t[tcpFlags] |= f.last
	}
	binary.BigEndian.PutUint16(t[o.CsumOffset:], inet.Fold(inet.Pseudo(src, dst, uint8(h.proto), n)))
	return o
}
