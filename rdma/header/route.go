package header

import (
	"encoding/binary"

	"ipoib/rdma"
)

var be = binary.BigEndian

// Lengths of the headers and trailers in bytes.
const (
	LRHLen   = 8
	GRHLen   = 40
	BTHLen   = 12
	DETHLen  = 8
	AETHLen  = 4
	RETHLen  = 16
	ImmDtLen = 4
	ICRCLen  = 4
	VCRCLen  = 2

	// MaxHeaderLen is the largest stack of headers that IPoIB sends: LRH,
	// GRH, BTH and DETH.
	MaxHeaderLen = LRHLen + GRHLen + BTHLen + DETHLen
	// MaxPktLen is the largest packet from LRH to ICRC, the 11 bits of
	// PktLen in 4-byte words.
	MaxPktLen = 0x7ff * 4
)

// LNH is the link next header field of an LRH (IBA 7.7.5).
type LNH uint8

// The values.
const (
	LNHRaw       LNH = 0 // raw, EtherType header
	LNHIPv6      LNH = 1 // raw IPv6
	LNHIBALocal  LNH = 2 // BTH
	LNHIBAGlobal LNH = 3 // GRH, then BTH
)

// LRH is a local route header (IBA 7.7):
//
//	0 VL 4, LVer 4   1 SL 4, - 2, LNH 2   2 DLID (16)
//	4 - 5, PktLen 11   6 SLID (16)
type LRH []byte

// IsValid reports whether the slice holds the header.
func (h LRH) IsValid() bool { return len(h) >= LRHLen }

// VL returns the virtual lane.
func (h LRH) VL() uint8 { return h[0] >> 4 }

// LVer returns the link version, 0.
func (h LRH) LVer() uint8 { return h[0] & 0xf }

// SL returns the service level.
func (h LRH) SL() uint8 { return h[1] >> 4 }

// LNH returns what follows.
func (h LRH) LNH() LNH { return LNH(h[1] & 3) }

// DLID returns the destination.
func (h LRH) DLID() rdma.LID { return rdma.LID(be.Uint16(h[2:])) }

// PktLen returns the length from the LRH to the ICRC in 4-byte words.
func (h LRH) PktLen() int { return int(be.Uint16(h[4:]) & 0x7ff) }

// SLID returns the source.
func (h LRH) SLID() rdma.LID { return rdma.LID(be.Uint16(h[6:])) }

// SetVL sets the virtual lane. The ICRC does not cover it, the VCRC does.
func (h LRH) SetVL(v uint8) { h[0] = h[0]&0xf | v<<4 }

// SetLVer sets the link version.
func (h LRH) SetLVer(v uint8) { h[0] = h[0]&0xf0 | v&0xf }

// SetSL sets the service level.
func (h LRH) SetSL(v uint8) { h[1] = h[1]&0xf | v<<4 }

// SetLNH sets what follows.
func (h LRH) SetLNH(v LNH) { h[1] = h[1]&0xfc | uint8(v)&3 }

// SetDLID sets the destination.
func (h LRH) SetDLID(v rdma.LID) { be.PutUint16(h[2:], uint16(v)) }

// SetPktLen sets the length in 4-byte words.
func (h LRH) SetPktLen(v int) { be.PutUint16(h[4:], be.Uint16(h[4:])&0xf800|uint16(v)&0x7ff) }

// SetSLID sets the source.
func (h LRH) SetSLID(v rdma.LID) { be.PutUint16(h[6:], uint16(v)) }

// NxtHdrIBA is GRH.NxtHdr of an InfiniBand transport packet (IBA 8.3).
const NxtHdrIBA = 0x1b

// GRH is a global route header, in the layout of IPv6 (IBA 8.3):
//
//	0 IPVer 4, TClass 8, FlowLabel 20   4 PayLen (16)   6 NxtHdr   7 HopLmt
//	8 SGID   24 DGID
type GRH []byte

// IsValid reports whether the slice holds the header.
func (h GRH) IsValid() bool { return len(h) >= GRHLen }

// IPVer returns the version, 6.
func (h GRH) IPVer() uint8 { return h[0] >> 4 }

// TClass returns the traffic class.
func (h GRH) TClass() uint8 { return h[0]<<4 | h[1]>>4 }

// FlowLabel returns the 20-bit flow label.
func (h GRH) FlowLabel() uint32 { return be.Uint32(h[0:]) & 0xfffff }

// PayLen returns the length from behind the GRH to the ICRC in bytes.
func (h GRH) PayLen() int { return int(be.Uint16(h[4:])) }

// NxtHdr returns what follows.
func (h GRH) NxtHdr() uint8 { return h[6] }

// HopLmt returns the hop limit.
func (h GRH) HopLmt() uint8 { return h[7] }

// SGID returns the source.
func (h GRH) SGID() rdma.GID { return rdma.GID(h[8:24]) }

// DGID returns the destination.
func (h GRH) DGID() rdma.GID { return rdma.GID(h[24:40]) }

// SetVersionClassFlow sets IPVer, TClass and FlowLabel.
func (h GRH) SetVersionClassFlow(version, tclass uint8, flow uint32) {
	be.PutUint32(h[0:], uint32(version)<<28|uint32(tclass)<<20|flow&0xfffff)
}

// SetPayLen sets the length in bytes.
func (h GRH) SetPayLen(v int) { be.PutUint16(h[4:], uint16(v)) }

// SetNxtHdr sets what follows.
func (h GRH) SetNxtHdr(v uint8) { h[6] = v }

// SetHopLmt sets the hop limit.
func (h GRH) SetHopLmt(v uint8) { h[7] = v }

// SetSGID sets the source.
func (h GRH) SetSGID(g rdma.GID) { copy(h[8:24], g[:]) }

// SetDGID sets the destination.
func (h GRH) SetDGID(g rdma.GID) { copy(h[24:40], g[:]) }

// Info returns the fields that a receive completion carries.
func (h GRH) Info() rdma.GRHInfo {
	return rdma.GRHInfo{
		SGID: h.SGID(), DGID: h.DGID(), FlowLabel: h.FlowLabel(),
		TrafficClass: h.TClass(), HopLimit: h.HopLmt(),
	}
}

// Encode writes the whole header in front of payLen bytes.
func (h GRH) Encode(g *rdma.GRHInfo, payLen int) {
	h.SetVersionClassFlow(6, g.TrafficClass, g.FlowLabel)
	h.SetPayLen(payLen)
	h[6], h[7] = NxtHdrIBA, g.HopLimit
	copy(h[8:24], g.SGID[:])
	copy(h[24:40], g.DGID[:])
}
