package encap

import (
	"encoding/binary"
	"net/netip"
)

// ARPLen is the size of an ARP packet on this link, without the
// encapsulation header (RFC 826, RFC 4391 section 9.2).
const ARPLen = 56

// HardwareTypeInfiniBand is the ARP hardware type (RFC 4391 section 9.2,
// kernel ARPHRD_INFINIBAND).
const HardwareTypeInfiniBand = 32

// ARPOp is an ARP operation.
type ARPOp uint16

// The operations of RFC 826, and of RFC 903 under EtherTypeRARP.
const (
	ARPRequest  ARPOp = 1
	ARPReply    ARPOp = 2
	RARPRequest ARPOp = 3
	RARPReply   ARPOp = 4
)

// Offsets in an ARP packet.
const (
	arpHType    = 0
	arpPType    = 2
	arpHLen     = 4
	arpPLen     = 5
	arpOp       = 6
	arpSenderHW = 8
	arpSenderIP = 28
	arpTargetHW = 32
	arpTargetIP = 52
)

// ARP is a view of an ARP or RARP packet, which starts behind the
// encapsulation header. Octets after ARPLen are ignored.
type ARP []byte

// IsValid reports whether the packet is long enough and its types and
// lengths are those of IPv4 on InfiniBand (RFC 4391 section 9.2). It does not
// judge the operation or the addresses.
func (p ARP) IsValid() bool {
	return len(p) >= ARPLen &&
		binary.BigEndian.Uint16(p[arpHType:]) == HardwareTypeInfiniBand &&
		binary.BigEndian.Uint16(p[arpPType:]) == uint16(EtherTypeIPv4) &&
		p[arpHLen] == HardwareAddrLen && p[arpPLen] == 4
}

// Op returns the operation.
func (p ARP) Op() ARPOp { return ARPOp(binary.BigEndian.Uint16(p[arpOp:])) }

// SenderHW returns the sender's link-layer address, flags included.
func (p ARP) SenderHW() HardwareAddr { return HardwareAddr(p[arpSenderHW:arpSenderIP]) }

// SenderIP returns the sender's IPv4 address.
func (p ARP) SenderIP() netip.Addr { return netip.AddrFrom4([4]byte(p[arpSenderIP:])) }

// TargetHW returns the target's link-layer address; a request carries zeros
// there, which the receiver ignores.
func (p ARP) TargetHW() HardwareAddr { return HardwareAddr(p[arpTargetHW:arpTargetIP]) }

// TargetIP returns the target's IPv4 address.
func (p ARP) TargetIP() netip.Addr { return netip.AddrFrom4([4]byte(p[arpTargetIP:])) }

// IsGratuitous reports whether sender and target IPv4 address are the same: an
// announcement (RFC 5227 section 1.1).
func (p ARP) IsGratuitous() bool {
	return [4]byte(p[arpSenderIP:]) == [4]byte(p[arpTargetIP:])
}

// IsProbe reports whether the sender asks without an address of its own (RFC
// 5227 section 1.1). Nothing is learnt from a probe.
func (p ARP) IsProbe() bool {
	return p.Op() == ARPRequest && [4]byte(p[arpSenderIP:]) == [4]byte{}
}

// ARPFields are the variable fields of an ARP packet. The zero TargetHW is
// what a request carries. The addresses are IPv4.
type ARPFields struct {
	Op                 ARPOp
	SenderHW, TargetHW HardwareAddr
	SenderIP, TargetIP netip.Addr
}

// PutARP writes an ARP packet of ARPLen octets to the start of b. It returns
// ErrNoRoom when b is shorter and ErrFamily for addresses other than IPv4.
func PutARP(b []byte, f ARPFields) (int, error) {
	if len(b) < ARPLen {
		return 0, ErrNoRoom
	}
	if !f.SenderIP.Is4() || !f.TargetIP.Is4() {
		return 0, ErrFamily
	}
	binary.BigEndian.PutUint16(b[arpHType:], HardwareTypeInfiniBand)
	binary.BigEndian.PutUint16(b[arpPType:], uint16(EtherTypeIPv4))
	b[arpHLen], b[arpPLen] = HardwareAddrLen, 4
	binary.BigEndian.PutUint16(b[arpOp:], uint16(f.Op))
	copy(b[arpSenderHW:], f.SenderHW[:])
	sip, tip := f.SenderIP.As4(), f.TargetIP.As4()
	copy(b[arpSenderIP:], sip[:])
	copy(b[arpTargetHW:], f.TargetHW[:])
	copy(b[arpTargetIP:], tip[:])
	return ARPLen, nil
}
