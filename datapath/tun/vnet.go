package tun

import (
	"encoding/binary"
	"errors"

	"ipoib/rdma"
)

// VnetLen is the size of the header in front of each packet in octets (struct
// virtio_net_hdr, IFF_VNET_HDR).
const VnetLen = 10

// encapLen is encap.HeaderLen: the octets that both headers share.
const encapLen = 4

// vnetRoom is how far the virtio-net header reaches into the headroom.
const vnetRoom = VnetLen - encapLen

// Fields of struct virtio_net_hdr. Multi-octet fields have the machine's byte
// order, unless TUNSETVNETLE or TUNSETVNETBE say otherwise.
const (
	vnetFlags      = 0
	vnetGSOType    = 1
	vnetHdrLen     = 2
	vnetGSOSize    = 4
	vnetCsumStart  = 6
	vnetCsumOffset = 8

	vnetFlagNeedsCsum = 1 // VIRTIO_NET_HDR_F_NEEDS_CSUM

	gsoNone  = 0    // VIRTIO_NET_HDR_GSO_NONE
	gsoTCPv4 = 1    // VIRTIO_NET_HDR_GSO_TCPV4
	gsoTCPv6 = 4    // VIRTIO_NET_HDR_GSO_TCPV6
	gsoUDPL4 = 5    // VIRTIO_NET_HDR_GSO_UDP_L4
	gsoECN   = 0x80 // VIRTIO_NET_HDR_GSO_ECN
)

// errVnet is returned for an offload that makes no sense for its packet, or
// that a virtio-net header cannot express. It is counted, not reported.
var errVnet = errors.New("tun: invalid offload")

const (
	tcpMinLen  = 20
	tcpDataOff = 12 // octet that holds the header length in its upper half
	udpLen     = 8
	tcpCsumOff = 16
	udpCsumOff = 6
	ipv4MinLen = 20
	ipv6FixLen = 40
	maxOffset  = 0xffff // of a 16-bit field
)

// DecodeVnet reads a virtio-net header and the IP packet behind it, b, into an
// Offload. The header length is computed, because the one in the header is a
// hint that may be too large (struct virtio_net_hdr, hdr_len).
func DecodeVnet(b []byte) (rdma.Offload, error) {
	if len(b) < VnetLen {
		return rdma.Offload{}, errVnet
	}
	hdr, ip := b[:VnetLen], b[VnetLen:]
	if hdr[vnetFlags]&vnetFlagNeedsCsum == 0 {
		if hdr[vnetGSOType] != gsoNone {
			// Large sends come with a partial checksum, or their segments
			// could not be built.
			return rdma.Offload{}, errVnet
		}
		return rdma.Offload{}, nil
	}
	start := int(binary.NativeEndian.Uint16(hdr[vnetCsumStart:]))
	offset := int(binary.NativeEndian.Uint16(hdr[vnetCsumOffset:]))
	if start+offset+2 > len(ip) || start > maxOffset-encapLen {
		return rdma.Offload{}, errVnet
	}
	o := rdma.Offload{Checksum: true, CsumStart: uint16(start + encapLen), CsumOffset: uint16(offset)}
	typ := hdr[vnetGSOType]
	if typ == gsoNone {
		return o, nil
	}
	o.ECN = typ&gsoECN != 0
	o.SegmentSize = binary.NativeEndian.Uint16(hdr[vnetGSOSize:])
	version := ip[0] >> 4
	l4 := start
	switch typ &^ gsoECN {
	case gsoTCPv4:
		o.Segment = rdma.SegmentTCP4
	case gsoTCPv6:
		o.Segment = rdma.SegmentTCP6
	case gsoUDPL4:
		o.Segment = rdma.SegmentUDP4
		if version == 6 {
			o.Segment = rdma.SegmentUDP6
		}
	}
	if !segmentFits(o.Segment, version, offset) || o.SegmentSize == 0 {
		return rdma.Offload{}, errVnet
	}
	switch o.Segment {
	case rdma.SegmentTCP4, rdma.SegmentTCP6:
		if len(ip) < l4+tcpMinLen {
			return rdma.Offload{}, errVnet
		}
		l4 += int(ip[start+tcpDataOff]>>4) * 4
		if l4 < start+tcpMinLen {
			return rdma.Offload{}, errVnet
		}
	default:
		l4 += udpLen
	}
	if minIP := ipHeaderLen(version); start < minIP || l4 > len(ip) || l4 > maxOffset-encapLen {
		return rdma.Offload{}, errVnet
	}
	o.HeaderLen = uint16(l4 + encapLen)
	return o, nil
}

func ipHeaderLen(version byte) int {
	if version == 6 {
		return ipv6FixLen
	}
	return ipv4MinLen
}

// segmentFits reports whether a kind goes with the IP version and the place
// of the checksum in the transport header.
func segmentFits(k rdma.SegmentKind, version byte, csumOffset int) bool {
	switch k {
	case rdma.SegmentTCP4:
		return version == 4 && csumOffset == tcpCsumOff
	case rdma.SegmentTCP6:
		return version == 6 && csumOffset == tcpCsumOff
	case rdma.SegmentUDP4:
		return version == 4 && csumOffset == udpCsumOff
	case rdma.SegmentUDP6:
		return version == 6 && csumOffset == udpCsumOff
	}
	return false
}

// EncodeVnet writes the virtio-net header of the IP packet behind it to the
// first VnetLen octets of b. more is how many octets of the packet's payload
// follow elsewhere. It returns an error for an offload that does not fit the
// packet, or that a virtio-net header cannot express.
func EncodeVnet(b []byte, more int, o rdma.Offload) error {
	if len(b) <= VnetLen {
		return errVnet
	}
	hdr, ip := b[:VnetLen], b[VnetLen:]
	clear(hdr)
	if !o.Checksum {
		if o.Segment != rdma.SegmentNone {
			return errVnet
		}
		return nil
	}
	start := int(o.CsumStart) - encapLen
	if start < 0 || start+int(o.CsumOffset)+2 > len(ip) {
		return errVnet
	}
	hdr[vnetFlags] = vnetFlagNeedsCsum
	binary.NativeEndian.PutUint16(hdr[vnetCsumStart:], uint16(start))
	binary.NativeEndian.PutUint16(hdr[vnetCsumOffset:], o.CsumOffset)
	if o.Segment == rdma.SegmentNone {
		return nil
	}
	size := int(o.HeaderLen) - encapLen
	if !segmentFits(o.Segment, ip[0]>>4, int(o.CsumOffset)) || o.SegmentSize == 0 || size < start || size > len(ip) {
		return errVnet
	}
	if size+int(o.SegmentSize) >= len(ip)+more {
		// It fits one segment: a plain packet with a partial checksum.
		return nil
	}
	switch o.Segment {
	case rdma.SegmentTCP4:
		hdr[vnetGSOType] = gsoTCPv4
	case rdma.SegmentTCP6:
		hdr[vnetGSOType] = gsoTCPv6
	default:
		hdr[vnetGSOType] = gsoUDPL4
	}
	if o.ECN {
		hdr[vnetGSOType] |= gsoECN
	}
	binary.NativeEndian.PutUint16(hdr[vnetHdrLen:], uint16(size))
	binary.NativeEndian.PutUint16(hdr[vnetGSOSize:], o.SegmentSize)
	return nil
}
