package encap

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Errors of the IP parsers.
var (
	// ErrMalformed is returned for an IP packet whose header contradicts
	// itself or its length.
	ErrMalformed = errors.New("encap: malformed IP packet")
	// ErrFamily is returned by builders for an address of the wrong family.
	ErrFamily = errors.New("encap: address of the wrong family")
)

// Protocol is an IP protocol number, or an IPv6 next header value.
type Protocol uint8

// The protocols that the datapath tells apart (IANA protocol numbers).
const (
	ProtoHopByHop    Protocol = 0
	ProtoICMP        Protocol = 1
	ProtoIGMP        Protocol = 2
	ProtoTCP         Protocol = 6
	ProtoUDP         Protocol = 17
	ProtoRouting     Protocol = 43
	ProtoFragment    Protocol = 44
	ProtoAH          Protocol = 51
	ProtoICMPv6      Protocol = 58
	ProtoNoNext      Protocol = 59
	ProtoDestOptions Protocol = 60
)

// Version returns the version field of an IP packet, or 0 for an empty one.
func Version(packet []byte) int {
	if len(packet) == 0 {
		return 0
	}
	return int(packet[0] >> 4)
}

// IPv4MinLen and IPv6Len are the sizes of the headers without options and
// extension headers, in octets (RFC 791, RFC 8200).
const (
	IPv4MinLen = 20
	IPv6Len    = 40
)

// IPv4 is a view of an IPv4 packet.
type IPv4 []byte

// IsValid reports whether version and both lengths fit the packet; octets
// after the total length are allowed. The header checksum is not verified.
func (p IPv4) IsValid() bool {
	return len(p) >= IPv4MinLen && p[0]>>4 == 4 && p.HeaderLen() >= IPv4MinLen &&
		p.TotalLen() >= p.HeaderLen() && p.TotalLen() <= len(p)
}

// HeaderLen returns the header size in octets, options included.
func (p IPv4) HeaderLen() int { return int(p[0]&0xf) * 4 }

// TotalLen returns the size of the datagram in octets.
func (p IPv4) TotalLen() int { return int(binary.BigEndian.Uint16(p[2:])) }

// TOS returns the type of service octet.
func (p IPv4) TOS() uint8 { return p[1] }

// DontFragment reports the DF flag.
func (p IPv4) DontFragment() bool { return p[6]&0x40 != 0 }

// FragmentOffset returns the offset of a fragment in octets; 0 is the first,
// or a whole datagram.
func (p IPv4) FragmentOffset() int { return int(binary.BigEndian.Uint16(p[6:])&0x1fff) * 8 }

// TTL returns the time to live.
func (p IPv4) TTL() uint8 { return p[8] }

// Protocol returns the protocol field.
func (p IPv4) Protocol() Protocol { return Protocol(p[9]) }

// Src returns the source address.
func (p IPv4) Src() netip.Addr { return netip.AddrFrom4([4]byte(p[12:])) }

// Dst returns the destination address.
func (p IPv4) Dst() netip.Addr { return netip.AddrFrom4([4]byte(p[16:])) }

// IPv6 is a view of an IPv6 packet.
type IPv6 []byte

// IsValid reports whether version and length fit the packet; octets after the
// payload are allowed.
func (p IPv6) IsValid() bool {
	return len(p) >= IPv6Len && p[0]>>4 == 6 && IPv6Len+p.PayloadLen() <= len(p)
}

// PayloadLen returns the payload length field: octets after the fixed header.
func (p IPv6) PayloadLen() int { return int(binary.BigEndian.Uint16(p[4:])) }

// setPayloadLen sets the payload length field.
func (p IPv6) setPayloadLen(n int) { binary.BigEndian.PutUint16(p[4:], uint16(n)) }

// TrafficClass returns the traffic class.
func (p IPv6) TrafficClass() uint8 { return p[0]<<4 | p[1]>>4 }

// NextHeader returns the next header field of the fixed header.
func (p IPv6) NextHeader() Protocol { return Protocol(p[6]) }

// HopLimit returns the hop limit.
func (p IPv6) HopLimit() uint8 { return p[7] }

// Src returns the source address.
func (p IPv6) Src() netip.Addr { return netip.AddrFrom16([16]byte(p[8:])) }

// Dst returns the destination address.
func (p IPv6) Dst() netip.Addr { return netip.AddrFrom16([16]byte(p[24:])) }

// Upper is where the upper layer of an IPv6 packet starts.
type Upper struct {
	// Proto is the upper-layer protocol, or the first header that cannot be
	// looked through (ESP, no next header, a non-first fragment's content).
	Proto Protocol
	// Offset counts octets from the IPv6 header.
	Offset int
	// HasFragment: a fragment header was passed. Later: it is not the first
	// fragment, so that there is no upper-layer header at Offset.
	HasFragment, Later bool
}

// Upper walks the extension headers (RFC 8200 section 4). The packet must be
// valid; ok is false when a header runs past its end.
func (p IPv6) Upper() (u Upper, ok bool) {
	end := IPv6Len + p.PayloadLen()
	u.Proto, u.Offset = p.NextHeader(), IPv6Len
	for {
		var size int
		b := p[u.Offset:end]
		switch u.Proto {
		case ProtoHopByHop, ProtoRouting, ProtoDestOptions:
			if len(b) < 2 {
				return u, false
			}
			size = 8 + int(b[1])*8
		case ProtoAH: // in 4-octet units, minus 2 (RFC 4302 section 2.2)
			if len(b) < 2 {
				return u, false
			}
			size = 8 + int(b[1])*4
		case ProtoFragment:
			if len(b) < 8 {
				return u, false
			}
			size = 8
			u.HasFragment = true
			u.Later = binary.BigEndian.Uint16(b[2:])&0xfff8 != 0
		default:
			return u, true
		}
		if size > len(b) {
			return u, false
		}
		u.Proto, u.Offset = Protocol(b[0]), u.Offset+size
		if u.Later {
			return u, true
		}
	}
}

// IP is what the transmit path needs to know of a packet from the host.
type IP struct {
	EtherType EtherType
	Src, Dst  netip.Addr
	// Proto is the upper-layer protocol, and L4 where it starts, in octets
	// from the IP header. Later marks a fragment without that header.
	Proto Protocol
	L4    int
	Later bool
	// Len is the size of the packet by its header, in octets.
	Len int
	// TOS is the IPv4 type of service or the IPv6 traffic class.
	TOS uint8
	// ICMPType is the type of an ICMP, IGMP or ICMPv6 message, 0 otherwise.
	ICMPType uint8
}

// ParseIP classifies a packet. It returns ErrMalformed when the packet is
// neither valid IPv4 nor valid IPv6.
func ParseIP(packet []byte) (IP, error) {
	var ip IP
	switch Version(packet) {
	case 4:
		p := IPv4(packet)
		if !p.IsValid() {
			return IP{}, ErrMalformed
		}
		ip = IP{
			EtherType: EtherTypeIPv4, Src: p.Src(), Dst: p.Dst(),
			Proto: p.Protocol(), L4: p.HeaderLen(), Later: p.FragmentOffset() != 0,
			Len: p.TotalLen(), TOS: p.TOS(),
		}
	case 6:
		p := IPv6(packet)
		if !p.IsValid() {
			return IP{}, ErrMalformed
		}
		u, ok := p.Upper()
		if !ok {
			return IP{}, ErrMalformed
		}
		ip = IP{
			EtherType: EtherTypeIPv6, Src: p.Src(), Dst: p.Dst(),
			Proto: u.Proto, L4: u.Offset, Later: u.Later,
			Len: IPv6Len + p.PayloadLen(), TOS: p.TrafficClass(),
		}
	default:
		return IP{}, ErrMalformed
	}
	if !ip.Later && ip.L4 < ip.Len {
		switch ip.Proto {
		case ProtoICMP, ProtoIGMP, ProtoICMPv6:
			ip.ICMPType = packet[ip.L4]
		}
	}
	return ip, nil
}

// IsMulticast reports whether the destination is an IPv4 or IPv6 group.
func (ip *IP) IsMulticast() bool { return ip.Dst.IsMulticast() }

// IsLimitedBroadcast reports whether the destination is 255.255.255.255.
// Directed broadcasts are known to the routing table only.
func (ip *IP) IsLimitedBroadcast() bool {
	return ip.Dst == netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// IsIGMP reports an IGMP message (RFC 2236, RFC 3376).
func (ip *IP) IsIGMP() bool { return ip.EtherType == EtherTypeIPv4 && ip.Proto == ProtoIGMP }

// IsMLD reports an MLD message (RFC 2710, RFC 3810).
func (ip *IP) IsMLD() bool {
	if !ip.isICMPv6() {
		return false
	}
	switch ip.ICMPType {
	case 130, 131, 132, 143: // query, v1 report, done, v2 report
		return true
	}
	return false
}

// IsND reports a Neighbor Discovery message (RFC 4861 section 4).
func (ip *IP) IsND() bool {
	return ip.isICMPv6() && ip.ICMPType >= uint8(RouterSolicitation) && ip.ICMPType <= uint8(Redirect)
}

func (ip *IP) isICMPv6() bool {
	return ip.EtherType == EtherTypeIPv6 && ip.Proto == ProtoICMPv6 && !ip.Later && ip.L4 < ip.Len
}
