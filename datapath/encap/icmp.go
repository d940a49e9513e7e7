package encap

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"ipoib/rdma/inet"
)

// ErrNoICMP is returned when an ICMP error about the packet must not be sent
// (RFC 1122 section 3.2.2, RFC 4443 section 2.4 e).
var ErrNoICMP = errors.New("encap: no ICMP error may be sent about this packet")

// Sizes of ICMP errors in octets: they quote as much of the packet as fits
// (RFC 1812 section 4.3.2.3, RFC 4443 section 2.4 c).
const (
	ICMPErrorMaxLen   = 576
	ICMPv6ErrorMaxLen = 1280
	icmpHeaderLen     = 8
	icmpTTL           = 64
)

// PutHostUnreachable writes the ICMP error for a packet whose next hop does
// not answer, to the start of b: host unreachable (3/1, RFC 792) for IPv4,
// address unreachable (1/3, RFC 4443 section 3.1) for IPv6. It goes to the
// packet's source and comes from src, a unicast address of the same family; a
// host discards what comes from an address of its own, so the packet's
// destination is a good choice. It returns the size of the IP packet written;
// the error is ErrNoICMP, ErrMalformed, ErrFamily or ErrNoRoom.
func PutHostUnreachable(b, packet []byte, src netip.Addr) (int, error) {
	if Version(packet) == 6 {
		return putICMPv6Error(b, packet, src, 1, 3, 0)
	}
	return putICMPError(b, packet, src, 3, 1, 0)
}

// PutPacketTooBig writes the ICMP error for a packet above mtu octets:
// fragmentation needed (3/4, RFC 1191 section 4) for IPv4, packet too big
// (2/0, RFC 4443 section 3.2) for IPv6. Otherwise it is as
// PutHostUnreachable. Whether an IPv4 packet may be fragmented instead is up
// to the caller.
func PutPacketTooBig(b, packet []byte, src netip.Addr, mtu int) (int, error) {
	if Version(packet) == 6 {
		return putICMPv6Error(b, packet, src, icmpv6TooBig, 0, uint32(mtu))
	}
	return putICMPError(b, packet, src, 3, 4, uint32(min(mtu, 0xffff)))
}

// putICMPError writes an ICMP error for IPv4; rest is the second word of the
// ICMP header.
func putICMPError(b, packet []byte, src netip.Addr, typ, code uint8, rest uint32) (int, error) {
	orig := IPv4(packet)
	if !orig.IsValid() {
		return 0, ErrMalformed
	}
	if !src.Is4() {
		return 0, ErrFamily
	}
	orig = orig[:orig.TotalLen()]
	if src.IsMulticast() || !icmpErrorAllowed(orig) {
		return 0, ErrNoICMP
	}
	quote := min(len(orig), ICMPErrorMaxLen-IPv4MinLen-icmpHeaderLen)
	n := IPv4MinLen + icmpHeaderLen + quote
	if len(b) < n {
		return 0, ErrNoRoom
	}
	b = b[:n]
	// Precedence as Linux sets it (RFC 1812 section 4.3.2.5); DF with
	// identification 0 (RFC 6864 section 4.1).
	b[0], b[1] = 0x45, orig.TOS()&0x1e|0xc0
	binary.BigEndian.PutUint16(b[2:], uint16(n))
	binary.BigEndian.PutUint32(b[4:], 0x4000)
	b[8], b[9], b[10], b[11] = icmpTTL, byte(ProtoICMP), 0, 0
	s := src.As4()
	copy(b[12:], s[:])
	copy(b[16:], orig[12:16])
	binary.BigEndian.PutUint16(b[10:], inet.Checksum(b[:IPv4MinLen], 0))

	m := b[IPv4MinLen:]
	m[0], m[1], m[2], m[3] = typ, code, 0, 0
	binary.BigEndian.PutUint32(m[4:], rest)
	copy(m[icmpHeaderLen:], orig)
	binary.BigEndian.PutUint16(m[2:], inet.Checksum(m, 0))
	return n, nil
}

// icmpErrorAllowed applies RFC 1122 section 3.2.2: nothing about an ICMP
// error, a group, a broadcast, a later fragment, or from a source that is not
// a single host.
func icmpErrorAllowed(p IPv4) bool {
	src, dst := p.Src(), p.Dst()
	s, d := src.As4(), dst.As4()
	switch {
	case dst.IsMulticast(), d[0] >= 240,
		src.IsMulticast(), s[0] >= 240, s[0] == 0, src.IsLoopback(),
		p.FragmentOffset() != 0:
		return false
	case p.Protocol() != ProtoICMP:
		return true
	}
	m := p[p.HeaderLen():]
	if len(m) == 0 {
		return false
	}
	switch m[0] { // the queries and replies of RFC 792 and RFC 950
	case 0, 8, 9, 10, 13, 14, 15, 16, 17, 18:
		return true
	}
	return false
}

const icmpv6TooBig = 2

// putICMPv6Error writes an ICMPv6 error.
func putICMPv6Error(b, packet []byte, src netip.Addr, typ, code uint8, rest uint32) (int, error) {
	orig := IPv6(packet)
	if !orig.IsValid() {
		return 0, ErrMalformed
	}
	if !src.Is6() {
		return 0, ErrFamily
	}
	orig = orig[:IPv6Len+orig.PayloadLen()]
	if src.IsMulticast() || !icmpv6ErrorAllowed(orig, typ) {
		return 0, ErrNoICMP
	}
	quote := min(len(orig), ICMPv6ErrorMaxLen-IPv6Len-icmpHeaderLen)
	n := IPv6Len + icmpHeaderLen + quote
	if len(b) < n {
		return 0, ErrNoRoom
	}
	p := putIPv6(b[:n], src, orig.Src(), icmpTTL)
	m := p[IPv6Len:]
	m[0], m[1] = typ, code
	binary.BigEndian.PutUint32(m[4:], rest)
	copy(m[icmpHeaderLen:], orig)
	putICMPv6Checksum(p, IPv6Len)
	return n, nil
}

// icmpv6ErrorAllowed applies RFC 4443 section 2.4 e: nothing about an ICMPv6
// error or a Redirect, nothing to a group but packet too big, nothing to a
// source that is not a single node.
func icmpv6ErrorAllowed(p IPv6, typ uint8) bool {
	src := p.Src()
	if src.IsUnspecified() || src.IsMulticast() || src.IsLoopback() ||
		(p.Dst().IsMulticast() && typ != icmpv6TooBig) {
		return false
	}
	u, ok := p.Upper()
	if !ok || u.Later || u.Proto != ProtoICMPv6 {
		return ok
	}
	if u.Offset >= len(p) {
		return false
	}
	t := p[u.Offset]
	return t >= 128 && NDType(t) != Redirect
}
