package encap

import (
	"bytes"
	"encoding/hex"
	"fmt"

	"ipoib/rdma"
)

// HardwareAddrLen is the size of an IPoIB link-layer address (RFC 4391
// section 9.1.1, kernel INFINIBAND_ALEN).
const HardwareAddrLen = 20

// HardwareAddr is the link-layer address of an IPoIB interface or group:
//
//	 octet 0      1 - 3     4 - 19
//	+-------+--------------+------------------------------------------------+
//	| flags |   UD QPN     |   GID: subnet prefix and port GUID, or an MGID |
//	+-------+--------------+------------------------------------------------+
//
// It is comparable and may be a map key; tables of peers are keyed by Key,
// since the flags do not identify (RFC 4391 section 9.1.1).
type HardwareAddr [HardwareAddrLen]byte

// Flags of the first octet (RFC 4755 section 3.1; bit 0 of the RFC's picture
// is the most significant one). The other bits are reserved: zero on send,
// ignored on receive.
const (
	// FlagRC says that the interface accepts RC connections.
	FlagRC = 0x80
	// FlagUC says that the interface accepts UC connections.
	FlagUC = 0x40
	// flagMask keeps the defined flags.
	flagMask = FlagRC | FlagUC
)

// UnicastAddr returns the address of an interface. Reserved flags and the
// upper 8 bits of the QPN are dropped.
func UnicastAddr(flags uint8, qpn rdma.QPN, gid rdma.GID) HardwareAddr {
	var a HardwareAddr
	a[0] = flags & flagMask
	a[1], a[2], a[3] = byte(qpn>>16), byte(qpn>>8), byte(qpn)
	copy(a[4:], gid[:])
	return a
}

// MulticastAddr returns the address of a group: flags zero, QPN 0xffffff and
// the MGID.
func MulticastAddr(mgid rdma.GID) HardwareAddr {
	return UnicastAddr(0, rdma.QPNMulticast, mgid)
}

// BroadcastAddr returns the broadcast address of a link (kernel
// ipv4_bcast_addr; IFLA_BROADCAST).
func BroadcastAddr(scope Scope, pkey rdma.PKey) HardwareAddr {
	return MulticastAddr(BroadcastMGID(scope, pkey))
}

// Flags returns the capability flags, reserved bits cleared.
func (a HardwareAddr) Flags() uint8 { return a[0] & flagMask }

// SupportsRC reports whether the owner accepts RC connections.
func (a HardwareAddr) SupportsRC() bool { return a[0]&FlagRC != 0 }

// QPN returns the UD queue pair number.
func (a HardwareAddr) QPN() rdma.QPN {
	return rdma.QPN(a[1])<<16 | rdma.QPN(a[2])<<8 | rdma.QPN(a[3])
}

// GID returns octets 4 to 19.
func (a HardwareAddr) GID() rdma.GID { return rdma.GID(a[4:]) }

// Key returns the address with the flags octet zeroed: the identity of a peer.
func (a HardwareAddr) Key() HardwareAddr {
	a[0] = 0
	return a
}

// WithFlags returns the address with other flags.
func (a HardwareAddr) WithFlags(flags uint8) HardwareAddr {
	a[0] = flags & flagMask
	return a
}

// IsZero reports whether all octets are zero.
func (a HardwareAddr) IsZero() bool { return a == HardwareAddr{} }

// IsMulticast reports whether the address names a group, as the driver does:
// octet 4 is 0xff.
func (a HardwareAddr) IsMulticast() bool { return a[4] == 0xff }

// IsUnicast reports whether the address can be that of an interface: a
// unicast GID with prefix and GUID, and a QPN that is not one of the
// management or multicast numbers.
func (a HardwareAddr) IsUnicast() bool {
	g, q := a.GID(), a.QPN()
	return !g.IsMulticast() && g.Prefix() != 0 && g.GUID() != 0 &&
		q > rdma.QPNGSI && q != rdma.QPNMulticast
}

// Compare orders two addresses as RFC 4755 section 3.3 asks for crossing
// connection requests: numerically, flags zeroed, most significant octet
// first. It returns -1, 0 or 1.
func (a HardwareAddr) Compare(b HardwareAddr) int { return bytes.Compare(a[1:], b[1:]) }

// String prints lower-case octets joined by colons, as ip and sysfs do.
func (a HardwareAddr) String() string { return string(a.appendTo(nil)) }

// textLen is the length of the text form: two digits an octet, and colons.
const textLen = HardwareAddrLen*3 - 1

func (a HardwareAddr) appendTo(b []byte) []byte {
	for i, o := range a {
		if i > 0 {
			b = append(b, ':')
		}
		b = hex.AppendEncode(b, []byte{o})
	}
	return b
}

// ParseHardwareAddr reads the form of String, digits in either case.
func ParseHardwareAddr(s string) (HardwareAddr, error) {
	var a HardwareAddr
	if len(s) != textLen {
		return a, fmt.Errorf("encap: invalid hardware address %q", s)
	}
	for i := range a {
		if i > 0 && s[i*3-1] != ':' {
			return HardwareAddr{}, fmt.Errorf("encap: invalid hardware address %q", s)
		}
		if _, err := hex.Decode(a[i:i+1], []byte(s[i*3:i*3+2])); err != nil {
			return HardwareAddr{}, fmt.Errorf("encap: invalid hardware address %q", s)
		}
	}
	return a, nil
}

// MarshalText makes the address a string in JSON.
func (a HardwareAddr) MarshalText() ([]byte, error) { return a.appendTo(nil), nil }

// UnmarshalText is the inverse of MarshalText.
func (a *HardwareAddr) UnmarshalText(b []byte) error {
	v, err := ParseHardwareAddr(string(b))
	if err != nil {
		return err
	}
	*a = v
	return nil
}
