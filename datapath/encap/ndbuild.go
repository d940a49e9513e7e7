package encap

import (
	"net/netip"
)

// NSFields are the variable fields of a Neighbor Solicitation. The addresses
// are IPv6.
type NSFields struct {
	Src, Dst, Target netip.Addr
	// SLLA is the sender's link-layer address. The zero value, or an
	// unspecified source, leaves the option out (RFC 4861 section 4.3).
	SLLA HardwareAddr
}

// PutNS writes a Neighbor Solicitation, IPv6 header and checksum included, to
// the start of b and returns its size. It returns ErrNoRoom or ErrFamily.
func PutNS(b []byte, f NSFields) (int, error) {
	if f.Src.IsUnspecified() {
		f.SLLA = HardwareAddr{}
	}
	return putNeighbor(b, NeighborSolicitation, f.Src, f.Dst, f.Target, 0, f.SLLA)
}

// NAFields are the variable fields of a Neighbor Advertisement. The addresses
// are IPv6.
type NAFields struct {
	Src, Dst, Target            netip.Addr
	Router, Solicited, Override bool
	// TLLA is the target's link-layer address. The zero value leaves the
	// option out.
	TLLA HardwareAddr
}

// PutNA writes a Neighbor Advertisement, IPv6 header and checksum included, to
// the start of b and returns its size. It returns ErrNoRoom or ErrFamily.
func PutNA(b []byte, f NAFields) (int, error) {
	var flags byte
	if f.Router {
		flags |= naRouter
	}
	if f.Solicited {
		flags |= naSolicited
	}
	if f.Override {
		flags |= naOverride
	}
	return putNeighbor(b, NeighborAdvertisement, f.Src, f.Dst, f.Target, flags, f.TLLA)
}

// putNeighbor writes an NS or an NA: the two differ in type and flags only.
func putNeighbor(b []byte, t NDType, src, dst, target netip.Addr, flags byte, ll HardwareAddr) (int, error) {
	if !src.Is6() || !dst.Is6() || !target.Is6() {
		return 0, ErrFamily
	}
	n := IPv6Len + t.fixedLen()
	if !ll.IsZero() {
		n += LinkAddrOptionLen
	}
	if len(b) < n {
		return 0, ErrNoRoom
	}
	p := putIPv6(b[:n], src, dst, 255)
	m := p[IPv6Len:]
	m[0], m[ndCode] = byte(t), 0
	m[ndNAFlags], m[5], m[6], m[7] = flags, 0, 0, 0
	a := target.As16()
	copy(m[ndTarget:], a[:])
	if !ll.IsZero() {
		putLinkAddrOption(m[t.fixedLen():], t.LinkAddrOption(), ll)
	}
	putICMPv6Checksum(p, IPv6Len)
	return n, nil
}

// putIPv6 writes the fixed header of an ICMPv6 packet that fills b.
func putIPv6(b []byte, src, dst netip.Addr, hopLimit uint8) IPv6 {
	p := IPv6(b)
	p[0], p[1], p[2], p[3] = 0x60, 0, 0, 0
	p.setPayloadLen(len(b) - IPv6Len)
	p[6], p[7] = byte(ProtoICMPv6), hopLimit
	s, d := src.As16(), dst.As16()
	copy(p[8:], s[:])
	copy(p[24:], d[:])
	return p
}
