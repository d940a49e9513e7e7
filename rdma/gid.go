package rdma

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// GUID is a 64-bit globally unique identifier (EUI-64) of a node, a system
// image or a port (IBA chapter 4).
type GUID uint64

// String prints the form of sysfs and of the diagnostics:
// "0002:c903:00a0:b0c1".
func (g GUID) String() string {
	return fmt.Sprintf("%04x:%04x:%04x:%04x", uint16(g>>48), uint16(g>>32), uint16(g>>16), uint16(g))
}

// ParseGUID reads "0x0002c90300a0b0c1", "0002c90300a0b0c1" or
// "0002:c903:00a0:b0c1".
func ParseGUID(s string) (GUID, error) {
	t := strings.TrimPrefix(strings.TrimPrefix(s, "0x"), "0X")
	if strings.Contains(t, ":") {
		parts := strings.Split(t, ":")
		if len(parts) != 4 && len(parts) != 8 {
			return 0, fmt.Errorf("rdma: invalid GUID %q", s)
		}
		for _, p := range parts {
			if len(p) != 16/len(parts) {
				return 0, fmt.Errorf("rdma: invalid GUID %q", s)
			}
		}
		t = strings.Join(parts, "")
	}
	if t == "" || len(t) > 16 {
		return 0, fmt.Errorf("rdma: invalid GUID %q", s)
	}
	v, err := strconv.ParseUint(t, 16, 64)
	if err != nil {
		return 0, fmt.Errorf("rdma: invalid GUID %q", s)
	}
	return GUID(v), nil
}

// eui64ULBit is bit 0x02 of the first octet, the universal/local bit of a
// modified EUI-64 (RFC 4291 appendix A).
const eui64ULBit = GUID(0x02) << 56

// InterfaceID returns the IPv6 interface identifier of a port GUID: the u bit
// is set where the GUID is an unmodified EUI-64 and kept where it is set
// already (RFC 4391 section 8).
func (g GUID) InterfaceID() uint64 { return uint64(g | eui64ULBit) }

// GID is a 128-bit global identifier: a subnet prefix and a port GUID, or a
// multicast GID (IBA 4.1).
type GID [16]byte

// DefaultSubnetPrefix is the link-local prefix fe80::/64 that a subnet has
// unless its manager is configured otherwise (IBA 4.1.1).
const DefaultSubnetPrefix uint64 = 0xfe80000000000000

// MakeGID joins a subnet prefix and a port GUID.
func MakeGID(prefix uint64, guid GUID) GID {
	var g GID
	binary.BigEndian.PutUint64(g[:8], prefix)
	binary.BigEndian.PutUint64(g[8:], uint64(guid))
	return g
}

// ParseGID reads the textual form of an IPv6 address, compressed or not.
func ParseGID(s string) (GID, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is6() || a.Is4In6() || a.Zone() != "" {
		return GID{}, fmt.Errorf("rdma: invalid GID %q", s)
	}
	return GID(a.As16()), nil
}

// MustParseGID is ParseGID for constants; it panics on bad text.
func MustParseGID(s string) GID {
	g, err := ParseGID(s)
	if err != nil {
		panic(err)
	}
	return g
}

// Prefix returns the subnet prefix, the upper 64 bits.
func (g GID) Prefix() uint64 { return binary.BigEndian.Uint64(g[:8]) }

// GUID returns the lower 64 bits.
func (g GID) GUID() GUID { return GUID(binary.BigEndian.Uint64(g[8:])) }

// IsMulticast reports whether the GID is an MGID, that is starts with 0xff.
func (g GID) IsMulticast() bool { return g[0] == 0xff }

// IsZero reports whether all 128 bits are 0.
func (g GID) IsZero() bool { return g == GID{} }

// String prints the shortest IPv6 text form (RFC 5952), as saquery does.
func (g GID) String() string { return netip.AddrFrom16(g).String() }

// Full prints eight zero-padded groups, the kernel's %pI6, as in the driver's
// log: "fe80:0000:0000:0000:0002:c903:00a0:b0c1".
func (g GID) Full() string {
	var b [39]byte
	for i := range 8 {
		hex.Encode(b[i*5:], g[i*2:i*2+2])
		if i < 7 {
			b[i*5+4] = ':'
		}
	}
	return string(b[:])
}

// Uncompressed prints eight groups without padding and without zero
// compression, as the driver's debugfs files do: "ff12:401b:ffff:0:0:0:0:1".
func (g GID) Uncompressed() string {
	var sb strings.Builder
	for i := range 8 {
		if i > 0 {
			sb.WriteByte(':')
		}
		sb.WriteString(strconv.FormatUint(uint64(binary.BigEndian.Uint16(g[i*2:])), 16))
	}
	return sb.String()
}

// MarshalText makes a GID a string in JSON.
func (g GID) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (g *GID) UnmarshalText(b []byte) error {
	v, err := ParseGID(string(b))
	if err != nil {
		return err
	}
	*g = v
	return nil
}

// MarshalText makes a GUID a string in JSON.
func (g GUID) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (g *GUID) UnmarshalText(b []byte) error {
	v, err := ParseGUID(string(b))
	if err != nil {
		return err
	}
	*g = v
	return nil
}
