package encap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"ipoib/rdma/inet"
)

// NDType is the ICMPv6 type of a Neighbor Discovery message (RFC 4861
// section 4).
type NDType uint8

// The messages.
const (
	RouterSolicitation    NDType = 133
	RouterAdvertisement   NDType = 134
	NeighborSolicitation  NDType = 135
	NeighborAdvertisement NDType = 136
	Redirect              NDType = 137
)

// String prints the short names of RFC 4861.
func (t NDType) String() string {
	switch t {
	case RouterSolicitation:
		return "RS"
	case RouterAdvertisement:
		return "RA"
	case NeighborSolicitation:
		return "NS"
	case NeighborAdvertisement:
		return "NA"
	case Redirect:
		return "Redirect"
	}
	return fmt.Sprintf("NDType(%d)", uint8(t))
}

// Errors of ParseND and of the option getters.
var (
	// ErrNotND is returned for a packet that is no ND message.
	ErrNotND = errors.New("encap: not a Neighbor Discovery message")
	// ErrND is returned for an ND message that RFC 4861 says to discard.
	ErrND = errors.New("encap: invalid Neighbor Discovery message")
	// ErrNoOption is returned when the message lacks the option.
	ErrNoOption = errors.New("encap: no such Neighbor Discovery option")
	// ErrOption is returned for a link-layer address option that does not
	// hold an IPoIB interface's address in the form of RFC 4391 section 9.3.
	ErrOption = errors.New("encap: invalid link-layer address option")
)

// ndFixedLen are the sizes of the fixed parts in octets, from the ICMPv6 type
// to the first option, indexed by type - RouterSolicitation (RFC 4861 section
// 4).
var ndFixedLen = [...]int{8, 16, 24, 24, 40}

func (t NDType) fixedLen() int { return ndFixedLen[t-RouterSolicitation] }

// Offsets in ND messages.
const (
	ndCode        = 1
	ndChecksum    = 2
	ndNAFlags     = 4
	ndTarget      = 8  // NS, NA, Redirect
	ndDestination = 24 // Redirect
)

// Flags of an NA.
const (
	naRouter    = 0x80
	naSolicited = 0x40
	naOverride  = 0x20
)

// ND is a validated Neighbor Discovery message. It is a view: it shares the
// packet's memory.
type ND struct {
	packet IPv6 // without octets after the payload
	off    int  // of the ICMPv6 header
}

// ParseND validates an IPv6 packet as RFC 4861 sections 6.1, 7.1 and 8.1 tell
// a receiver to: hop limit 255, code 0, checksum, lengths, options, and the
// rules on addresses. Fragmented messages are refused (RFC 6980 section 5).
// It returns ErrNotND or ErrND. Whether a link-layer address option has the
// right size is judged by SLLA and TLLA.
func ParseND(packet []byte) (ND, error) {
	p := IPv6(packet)
	if !p.IsValid() {
		return ND{}, ErrNotND
	}
	p = p[:IPv6Len+p.PayloadLen()]
	u, ok := p.Upper()
	if !ok || u.Proto != ProtoICMPv6 || u.Later || u.Offset >= len(p) {
		return ND{}, ErrNotND
	}
	m := ND{packet: p, off: u.Offset}
	t := m.Type()
	if t < RouterSolicitation || t > Redirect {
		return ND{}, ErrNotND
	}
	if u.HasFragment || p.HopLimit() != 255 || len(m.icmp()) < t.fixedLen() ||
		m.icmp()[ndCode] != 0 || m.checksum() != 0 || !m.optionsValid() || !m.addressesValid() {
		return ND{}, ErrND
	}
	return m, nil
}

func (m ND) icmp() []byte { return m.packet[m.off:] }

// checksum returns 0 when the checksum in the message is right.
func (m ND) checksum() uint16 { return icmpv6Checksum(m.packet, m.off) }

// icmpv6Checksum computes the checksum of the ICMPv6 message at off, which
// runs to the end of the packet, with the addresses of the fixed header.
func icmpv6Checksum(p IPv6, off int) uint16 {
	return inet.Checksum(p[off:], inet.Pseudo(p[8:24], p[24:40], uint8(ProtoICMPv6), len(p)-off))
}

// putICMPv6Checksum fills in the checksum of that message.
func putICMPv6Checksum(p IPv6, off int) {
	c := p[off+ndChecksum : off+ndChecksum+2]
	c[0], c[1] = 0, 0
	binary.BigEndian.PutUint16(c, icmpv6Checksum(p, off))
}

// addressesValid applies the rules on source, destination and target.
func (m ND) addressesValid() bool {
	src, dst := m.Src(), m.Dst()
	switch m.Type() {
	case RouterSolicitation:
		return !src.IsUnspecified() || !m.has(OptSLLA)
	case RouterAdvertisement:
		return src.IsLinkLocalUnicast()
	case NeighborSolicitation:
		return !m.Target().IsMulticast() &&
			(!src.IsUnspecified() || (isSolicitedNode(dst) && !m.has(OptSLLA)))
	case NeighborAdvertisement:
		return !m.Target().IsMulticast() && (!dst.IsMulticast() || !m.Solicited())
	default: // Redirect
		to, dest := m.Target(), m.Destination()
		return src.IsLinkLocalUnicast() && !dest.IsMulticast() &&
			(to.IsLinkLocalUnicast() || to == dest)
	}
}

func isSolicitedNode(a netip.Addr) bool { return a == SolicitedNode(a) }

// Packet returns the IPv6 packet.
func (m ND) Packet() IPv6 { return m.packet }

// Type returns the message type.
func (m ND) Type() NDType { return NDType(m.packet[m.off]) }

// Src returns the IPv6 source address.
func (m ND) Src() netip.Addr { return m.packet.Src() }

// Dst returns the IPv6 destination address.
func (m ND) Dst() netip.Addr { return m.packet.Dst() }

// Target returns the target address of an NS, NA or Redirect, and the zero
// Addr for the other messages.
func (m ND) Target() netip.Addr {
	if m.Type() < NeighborSolicitation {
		return netip.Addr{}
	}
	return netip.AddrFrom16([16]byte(m.icmp()[ndTarget:]))
}

// Destination returns the destination address of a Redirect, and the zero
// Addr for the other messages.
func (m ND) Destination() netip.Addr {
	if m.Type() != Redirect {
		return netip.Addr{}
	}
	return netip.AddrFrom16([16]byte(m.icmp()[ndDestination:]))
}

// Router returns the R flag of an NA; false for the other messages (RFC 4861
// section 4.4).
func (m ND) Router() bool { return m.naFlag(naRouter) }

// Solicited returns the S flag of an NA, as Router does.
func (m ND) Solicited() bool { return m.naFlag(naSolicited) }

// Override returns the O flag of an NA, as Router does.
func (m ND) Override() bool { return m.naFlag(naOverride) }

func (m ND) naFlag(bit byte) bool {
	return m.Type() == NeighborAdvertisement && m.icmp()[ndNAFlags]&bit != 0
}

// IsDAD reports an NS that probes for a duplicate address: its source is
// unspecified (RFC 4862 section 5.4).
func (m ND) IsDAD() bool { return m.Type() == NeighborSolicitation && m.Src().IsUnspecified() }

// RouterLifetime returns the router lifetime of an RA in seconds: 0 is no
// default router, and the value of the other messages (RFC 4861 section 4.2).
func (m ND) RouterLifetime() uint16 {
	if m.Type() != RouterAdvertisement {
		return 0
	}
	return binary.BigEndian.Uint16(m.icmp()[6:])
}
