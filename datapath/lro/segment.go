package lro

import (
	"bytes"
	"encoding/binary"

	"ipoib/datapath/encap"
	"ipoib/datapath/tun"
	"ipoib/rdma"
)

// Places in the headers of TCP and UDP (RFC 9293, RFC 768).
const (
	tcpMin   = 20
	tcpSeq   = 4
	tcpAck   = 8
	tcpOff   = 12
	tcpFlags = 13
	tcpWin   = 14
	tcpCsum  = 16
	tcpOpts  = 20
	udpLen   = 8
	udpCsum  = 6
)

// Flags of TCP (RFC 9293, RFC 3168).
const (
	tcpFIN = 0x01
	tcpSYN = 0x02
	tcpRST = 0x04
	tcpPSH = 0x08
	tcpURG = 0x20
	tcpCWR = 0x80
)

// ipDF is the flag "don't fragment" in octet 6 of an IPv4 header.
const ipDF = 0x40

// segment is what is known of one packet of a batch. It may be a large one
// already, of several datagrams.
type segment struct {
	msg     []byte // from the encapsulation header on
	v4      bool
	proto   encap.Protocol
	l4      int // offset of the transport header in msg
	header  int // offset of the payload in msg
	payload int // octets
	size    int // of a full part, in octets
	count   int // of datagrams
	id      uint16
	seq     uint32
	flags   uint8
}

// class says how a packet is dealt with.
type class uint8

const (
	// unknown packets may belong to any flow: they end all merges.
	unknown class = iota
	// other packets are of a protocol that is not merged.
	other
	// inFlow packets may be merged, or end the merge of their flow.
	inFlow
)

// parse reads a packet.
func (s *segment) parse(p tun.Packet, k Kinds) class {
	s.msg = p.Buf.Bytes()
	if len(s.msg) < encap.HeaderLen+encap.IPv4MinLen {
		return unknown
	}
	ip := s.msg[encap.HeaderLen:]
	switch ip[0] {
	case 0x45: // no options
		s.v4, s.l4, s.proto = true, encap.HeaderLen+encap.IPv4MinLen, encap.Protocol(ip[9])
		// No fragment, no reserved flag, no padding.
		if binary.BigEndian.Uint16(ip[6:])&^(ipDF<<8) != 0 || int(binary.BigEndian.Uint16(ip[2:])) != len(ip) {
			return unknown
		}
		s.id = binary.BigEndian.Uint16(ip[4:])
	default:
		if ip[0]>>4 != 6 || len(ip) < encap.IPv6Len || int(binary.BigEndian.Uint16(ip[4:])) != len(ip)-encap.IPv6Len {
			return unknown
		}
		s.l4, s.proto = encap.HeaderLen+encap.IPv6Len, encap.Protocol(ip[6])
	}
	t := s.msg[s.l4:]
	csum := tcpCsum
	switch {
	case s.proto == encap.ProtoTCP && k.TCP && len(t) >= tcpMin:
		s.header = s.l4 + int(t[tcpOff]>>4)*4
		if s.header < s.l4+tcpMin || s.header > len(s.msg) {
			return unknown
		}
		s.seq, s.flags = binary.BigEndian.Uint32(t[tcpSeq:]), t[tcpFlags]
	case s.proto == encap.ProtoUDP && k.UDP && len(t) > udpLen:
		s.header = s.l4 + udpLen
		if int(binary.BigEndian.Uint16(t[4:])) != len(t) || t[udpCsum] == 0 && t[udpCsum+1] == 0 {
			return unknown
		}
		csum = udpCsum
	case s.proto == encap.ProtoUDP && !k.UDP, s.proto == encap.ProtoTCP && !k.TCP,
		s.proto == encap.ProtoICMP, s.proto == encap.ProtoICMPv6, s.proto == encap.ProtoIGMP:
		return other
	default:
		return unknown
	}
	s.payload = len(s.msg) - s.header
	s.size, s.count = s.payload, 1
	if o := p.Offload; o.Checksum {
		if int(o.CsumStart) != s.l4 || int(o.CsumOffset) != csum {
			return unknown // of a packet inside this one
		}
		if o.Segment != rdma.SegmentNone {
			s.size, s.count = int(o.SegmentSize), o.Segments(len(s.msg))
		}
	}
	return inFlow
}

// sameFlow reports whether addresses, protocol and ports are the same.
func (s *segment) sameFlow(o *segment) bool {
	if s.v4 != o.v4 || s.proto != o.proto || [4]byte(s.msg[s.l4:]) != [4]byte(o.msg[o.l4:]) {
		return false
	}
	a, b := s.msg[encap.HeaderLen:], o.msg[encap.HeaderLen:]
	if s.v4 {
		return [8]byte(a[12:]) == [8]byte(b[12:])
	}
	return [32]byte(a[8:]) == [32]byte(b[8:])
}

// opens reports whether others may join the packet (kernel tcp_gro_receive,
// out_check_final).
func (s *segment) opens() bool {
	return s.payload > 0 && s.payload == s.count*s.size && s.flags&(tcpURG|tcpPSH|tcpRST|tcpSYN|tcpFIN) == 0
}

// transportFits compares the TCP headers of the head s and a later segment:
// acknowledgement, header length, window, urgent pointer and options are the
// same, the flags too but for PSH and FIN. CWR is never merged: with accurate
// ECN it counts (kernel since 6.15), and a virtio-net header cannot tell.
func (s *segment) transportFits(o *segment) bool {
	a, b := s.msg[s.l4:s.header], o.msg[o.l4:o.header]
	return len(a) == len(b) && o.flags&tcpCWR == 0 && (s.flags^o.flags)&^(tcpFIN|tcpPSH) == 0 &&
		[5]byte(a[tcpAck:]) == [5]byte(b[tcpAck:]) && // acknowledgement, data offset
		[2]byte(a[tcpWin:]) == [2]byte(b[tcpWin:]) &&
		[2]byte(a[tcpCsum+2:]) == [2]byte(b[tcpCsum+2:]) && // urgent pointer
		bytes.Equal(a[tcpOpts:], b[tcpOpts:])
}
