package encap

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"ipoib/rdma"
)

// Scope is the scope nibble of a multicast GID.
type Scope uint8

// The scopes that routers know (RFC 4392 section 1.2.1.2). All groups of a
// link have the scope of its broadcast group.
const (
	ScopeLinkLocal         Scope = 0x2
	ScopeSiteLocal         Scope = 0x5
	ScopeOrganizationLocal Scope = 0x8
	ScopeGlobal            Scope = 0xe
)

// Signature is the 16-bit field of an MGID that tells whose group it is (RFC
// 4391 section 4).
type Signature uint16

// The signatures.
const (
	SignatureIPv4 Signature = 0x401b
	SignatureIPv6 Signature = 0x601b
)

func (s Signature) String() string { return fmt.Sprintf("0x%04x", uint16(s)) }

// Offsets and values in an MGID:
//
//	| 0xff | 0x1S | signature | P_Key | group id, 80 bits |
//	   0      1        2-3       4-5          6-15
const (
	mgidFlagsTransient = 0x10 // T: not a well-known group (RFC 4391 section 4)
	mgidFlagsMask      = 0xf0
)

// BroadcastMGID returns the broadcast-GID of a link: FF1s:401B:<P_Key>::FFFF:FFFF
// with the full-member form of the P_Key (RFC 4391 sections 4 and 4.1). Only
// the low nibble of scope is used.
func BroadcastMGID(scope Scope, pkey rdma.PKey) rdma.GID {
	g := rdma.GID{0: 0xff, 1: mgidFlagsTransient | byte(scope&0xf), 12: 0xff, 13: 0xff, 14: 0xff, 15: 0xff}
	binary.BigEndian.PutUint16(g[2:], uint16(SignatureIPv4))
	binary.BigEndian.PutUint16(g[4:], uint16(pkey.Full()))
	return g
}

// MGIDOf maps an IP multicast group, or 255.255.255.255, to the MGID on the
// link whose broadcast-GID is bcast; scope and P_Key are taken from there,
// never from the address (RFC 4391 section 4, kernel ip_ib_mc_map and
// ipv6_ib_mc_map). ok is false for any other address, including the
// subnet-directed broadcasts, which only a routing table can tell.
func MGIDOf(bcast rdma.GID, group netip.Addr) (mgid rdma.GID, ok bool) {
	switch {
	case group.Is4():
		a := group.As4()
		if a == [4]byte{255, 255, 255, 255} {
			return bcast, true
		}
		if a[0]&0xf0 != 0xe0 {
			return rdma.GID{}, false
		}
		mgid = linkPart(bcast, SignatureIPv4)
		mgid[12] = a[0] & 0x0f
		copy(mgid[13:], a[1:])
		return mgid, true
	case group.Is6():
		a := group.As16()
		if a[0] != 0xff {
			return rdma.GID{}, false
		}
		mgid = linkPart(bcast, SignatureIPv6)
		copy(mgid[6:], a[6:])
		return mgid, true
	}
	return rdma.GID{}, false
}

// linkPart returns the part of an MGID that all groups of a link share, with
// a signature.
func linkPart(bcast rdma.GID, sig Signature) rdma.GID {
	var g rdma.GID
	copy(g[:6], bcast[:6])
	binary.BigEndian.PutUint16(g[2:], uint16(sig))
	return g
}

// AllRoutersMGID returns the all-routers group of the family that mgid
// belongs to, which carries traffic whose own group does not exist (RFC 4391
// section 10). ok is false when mgid is no IPoIB group.
func AllRoutersMGID(mgid rdma.GID) (routers rdma.GID, ok bool) {
	if !IsIPoIB(mgid) {
		return rdma.GID{}, false
	}
	routers = linkPart(mgid, MGIDSignature(mgid))
	routers[15] = 2
	return routers, true
}

// IsIPoIB reports whether an MGID has the form of RFC 4391 section 4: a
// transient multicast GID with one of the two signatures.
func IsIPoIB(mgid rdma.GID) bool {
	sig := MGIDSignature(mgid)
	return mgid[0] == 0xff && mgid[1]&mgidFlagsMask == mgidFlagsTransient &&
		(sig == SignatureIPv4 || sig == SignatureIPv6)
}

// IsBroadcastMGID reports whether an MGID is the broadcast-GID of some link.
func IsBroadcastMGID(mgid rdma.GID) bool {
	return mgid == BroadcastMGID(MGIDScope(mgid), MGIDPKey(mgid)) && MGIDPKey(mgid).IsFull()
}

// MGIDScope returns the scope nibble.
func MGIDScope(mgid rdma.GID) Scope { return Scope(mgid[1] & 0xf) }

// MGIDSignature returns octets 2 and 3.
func MGIDSignature(mgid rdma.GID) Signature { return Signature(binary.BigEndian.Uint16(mgid[2:])) }

// MGIDPKey returns octets 4 and 5.
func MGIDPKey(mgid rdma.GID) rdma.PKey { return rdma.PKey(binary.BigEndian.Uint16(mgid[4:])) }

// SameLink reports whether an IPoIB MGID belongs to the link whose
// broadcast-GID is bcast: same scope and P_Key (kernel
// ipoib_mcast_addr_is_valid).
func SameLink(mgid, bcast rdma.GID) bool {
	return IsIPoIB(mgid) && mgid[1] == bcast[1] && MGIDPKey(mgid) == MGIDPKey(bcast)
}

// IPv4Group returns the IPv4 group of an MGID. The mapping is one to one
// within a link; ok is false for an IPv6 or foreign MGID, and for the
// broadcast-GID, which is no group.
func IPv4Group(mgid rdma.GID) (group netip.Addr, ok bool) {
	if !IsIPoIB(mgid) || MGIDSignature(mgid) != SignatureIPv4 || [6]byte(mgid[6:]) != [6]byte{} || mgid[12]&0xf0 != 0 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte{0xe0 | mgid[12], mgid[13], mgid[14], mgid[15]}), true
}

// SolicitedNode returns the solicited-node group of an IPv6 address:
// ff02::1:ffXX:XXXX (RFC 4291 section 2.7.1).
func SolicitedNode(a netip.Addr) netip.Addr {
	b := a.As16()
	return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 11: 0x01, 12: 0xff, 13: b[13], 14: b[14], 15: b[15]})
}

// LinkLocal returns fe80::/64 with a 64-bit interface identifier, which for an
// IPoIB interface is GUID.InterfaceID of its port (RFC 4391 section 8.1), or
// one that the administrator gave.
func LinkLocal(iid uint64) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], rdma.DefaultSubnetPrefix)
	binary.BigEndian.PutUint64(b[8:], iid)
	return netip.AddrFrom16(b)
}
