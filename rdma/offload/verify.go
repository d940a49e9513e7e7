package offload

import (
	"encoding/binary"

	"ipoib/rdma"
	"ipoib/rdma/inet"
)

// Verdict is what is known of the checksums of a packet.
type Verdict uint8

// The verdicts.
const (
	// None: there is no checksum that an adapter verifies: the packet is a
	// fragment, no TCP or UDP, behind IPv6 extension headers, UDP without a
	// checksum, padded, or malformed.
	None Verdict = iota
	// Good: the IPv4 header's and the transport checksum are right.
	Good
	// Bad: one of them is not.
	Bad
)

// Verify checks the checksums of the IP packet in a message, as an adapter
// with checksum offload does on receive (IB_WC_IP_CSUM_OK).
func Verify(msg []byte) Verdict {
	if !Checked(msg) {
		return None
	}
	ip, l4, proto := transport(msg)
	if ip[0]>>4 == 4 && inet.Checksum(ip[:l4], 0) != 0 {
		return Bad
	}
	t := ip[l4:]
	if inet.Checksum(t, pseudo(ip, proto, len(t))) != 0 {
		return Bad
	}
	return Good
}

// Checked reports whether Verify has a verdict on the message, without
// looking at the data: of two adapters that verify the same, one that did not
// vouch for such a message found it Bad.
func Checked(msg []byte) bool {
	ip, l4, proto := transport(msg)
	return ip != nil && (proto != protoUDP || ip[l4+udpCsumOff] != 0 || ip[l4+udpCsumOff+1] != 0)
}

// Partial makes the transport checksum of a Good packet a partial one: its
// field holds the sum of the pseudo header, and the returned offload tells of
// the rest. A virtio-net header has no other way to say that a packet was
// verified.
func Partial(msg []byte) rdma.Offload {
	ip, l4, proto := transport(msg)
	if ip == nil {
		return rdma.Offload{}
	}
	off := csumOffset(proto)
	t := ip[l4:]
	binary.BigEndian.PutUint16(t[off:], inet.Fold(pseudo(ip, proto, len(t))))
	return rdma.Offload{Checksum: true, CsumStart: uint16(encapLen + l4), CsumOffset: uint16(off)}
}

func csumOffset(proto uint8) int {
	if proto == protoUDP {
		return udpCsumOff
	}
	return tcpCsumOff
}

// transport finds the TCP or UDP header of a message's IP packet: ip is nil
// where there is none that an adapter looks at.
func transport(msg []byte) (ip []byte, l4 int, proto uint8) {
	if len(msg) < encapLen+ip4MinLen {
		return nil, 0, 0
	}
	ip = msg[encapLen:]
	switch ip[0] >> 4 {
	case 4:
		l4 = int(ip[0]&0xf) * 4
		// More fragments, or an offset.
		if l4 < ip4MinLen || int(binary.BigEndian.Uint16(ip[2:])) != len(ip) || binary.BigEndian.Uint16(ip[6:])&0x3fff != 0 {
			return nil, 0, 0
		}
		proto = ip[9]
	case 6:
		l4 = ip6Len
		if len(ip) < l4 || int(binary.BigEndian.Uint16(ip[4:])) != len(ip)-l4 {
			return nil, 0, 0
		}
		proto = ip[6]
	default:
		return nil, 0, 0
	}
	switch {
	case proto == protoTCP && len(ip) >= l4+tcpMinLen:
	case proto == protoUDP && len(ip) >= l4+udpLen && int(binary.BigEndian.Uint16(ip[l4+4:])) == len(ip)-l4:
	default:
		return nil, 0, 0
	}
	return ip, l4, proto
}
