package mad

import (
	"ipoib/rdma"
)

// PortInfoLen is the length of PortInfo in bytes.
const PortInfoLen = 64

// MKeyProtectBits says what is refused to a requester without the M_Key
// (IBA 14.2.4.1).
type MKeyProtectBits uint8

// PortInfo describes and configures a port (IBA 14.2.5.6):
//
//	 0 M_Key (64)                          8 GidPrefix (64)
//	16 LID (16)     18 MasterSMLID (16)   20 CapabilityMask (32)
//	24 DiagCode (16)                      26 M_KeyLeasePeriod (16)
//	28 LocalPortNum 29 LinkWidthEnabled   30 LinkWidthSupported   31 LinkWidthActive
//	32 LinkSpeedSupported 4, PortState 4  33 PortPhysicalState 4, LinkDownDefaultState 4
//	34 M_KeyProtectBits 2, -, LMC 3       35 LinkSpeedActive 4, LinkSpeedEnabled 4
//	36 NeighborMTU 4, MasterSMSL 4        37 VLCap 4, InitType 4
//	38 VLHighLimit  39 VLArbitrationHighCap  40 VLArbitrationLowCap
//	41 InitTypeReply 4, MTUCap 4          42 VLStallCount 3, HOQLife 5
//	43 OperationalVLs 4, PartitionEnforcementInbound, ...Outbound, FilterRawInbound, ...Outbound
//	44 M_KeyViolations (16) 46 P_KeyViolations (16) 48 Q_KeyViolations (16)
//	50 GUIDCap      51 ClientReregister, MulticastPKeyTrapSuppressionEnabled 2, SubnetTimeOut 5
//	52 -, RespTimeValue 5                 53 LocalPhyErrors 4, OverrunErrors 4
//	54 MaxCreditHint (16)                 56 -, LinkRoundTripLatency (24)
//	60 CapabilityMask2 (16)               62 LinkSpeedExtActive 4, LinkSpeedExtSupported 4
//	63 -, LinkSpeedExtEnabled 5
type PortInfo struct {
	MKey        uint64
	GIDPrefix   uint64
	LID         rdma.LID
	MasterSMLID rdma.LID
	CapMask     CapMask
	DiagCode    uint16
	// MKeyLeasePeriod is in seconds, 0 never expires.
	MKeyLeasePeriod uint16
	// LocalPortNum is the port that the request came in by.
	LocalPortNum uint8
	// The link widths are masks of rdma.LinkWidth; in a Set, 0 is no change
	// and 255 sets what is supported.
	LinkWidthEnabled   rdma.LinkWidth
	LinkWidthSupported rdma.LinkWidth
	LinkWidthActive    rdma.LinkWidth
	// LinkSpeedSupported, LinkSpeedActive and LinkSpeedEnabled are the 4-bit
	// codes for SDR, DDR and QDR; in a Set, 0 is no change and 15 sets what
	// is supported. See Speeds and ActiveSpeed for all speeds together.
	LinkSpeedSupported uint8
	LinkSpeedActive    uint8
	LinkSpeedEnabled   uint8
	// PortState and PortPhysicalState 0 are no change in a Set.
	PortState         rdma.PortState
	PortPhysicalState rdma.PhysState
	// LinkDownDefaultState is 1 for Sleep, 2 for Polling.
	LinkDownDefaultState rdma.PhysState
	MKeyProtectBits      MKeyProtectBits
	// LMC is the number of low LID bits that are masked, 0 to 7.
	LMC         uint8
	NeighborMTU rdma.MTU
	MasterSMSL  uint8
	// VLCap and OperationalVLs are codes: 1 VL0, 2 VL0-1, 3 VL0-3, 4 VL0-7,
	// 5 VL0-14.
	VLCap                uint8
	InitType             uint8
	VLHighLimit          uint8
	VLArbitrationHighCap uint8
	VLArbitrationLowCap  uint8
	InitTypeReply        uint8
	MTUCap               rdma.MTU
	VLStallCount         uint8
	// HOQLife is a time code, 4.096 us x 2^n; above 19 is infinite.
	HOQLife                      uint8
	OperationalVLs               uint8
	PartitionEnforcementInbound  bool
	PartitionEnforcementOutbound bool
	FilterRawInbound             bool
	FilterRawOutbound            bool
	MKeyViolations               uint16
	PKeyViolations               uint16
	QKeyViolations               uint16
	// GUIDCap is the number of GUIDs of the port.
	GUIDCap uint8
	// ClientReregister asks the clients of the port to join groups and
	// subscribe to notices again; valid with CapClientReregister.
	ClientReregister bool
	// MulticastPKeyTrapSuppression is 1 to suppress traps 257 and 259 for
	// multicast packets.
	MulticastPKeyTrapSuppression uint8
	// SubnetTimeout and RespTimeValue are time codes, 4.096 us x 2^n.
	SubnetTimeout  uint8
	RespTimeValue  uint8
	LocalPhyErrors uint8
	OverrunErrors  uint8
	MaxCreditHint  uint16
	// LinkRoundTripLatency is in units of 4 octet times, 24 bits.
	LinkRoundTripLatency uint32
	CapMask2             CapMask2
	// The extended link speeds are 4-bit and 5-bit codes for FDR, EDR, HDR
	// and NDR; in a Set, 0 is no change, 30 none and 31 what is supported.
	LinkSpeedExtActive    uint8
	LinkSpeedExtSupported uint8
	LinkSpeedExtEnabled   uint8
}

// Len returns PortInfoLen.
func (*PortInfo) Len() int { return PortInfoLen }

// Marshal implements Attribute.
func (p *PortInfo) Marshal(b []byte) {
	_ = b[PortInfoLen-1]
	be.PutUint64(b[0:], p.MKey)
	be.PutUint64(b[8:], p.GIDPrefix)
	be.PutUint16(b[16:], uint16(p.LID))
	be.PutUint16(b[18:], uint16(p.MasterSMLID))
	be.PutUint32(b[20:], uint32(p.CapMask))
	be.PutUint16(b[24:], p.DiagCode)
	be.PutUint16(b[26:], p.MKeyLeasePeriod)
	b[28] = p.LocalPortNum
	b[29] = uint8(p.LinkWidthEnabled)
	b[30] = uint8(p.LinkWidthSupported)
	b[31] = uint8(p.LinkWidthActive)
	b[32] = p.LinkSpeedSupported<<4 | uint8(p.PortState)&0xf
	b[33] = uint8(p.PortPhysicalState)<<4 | uint8(p.LinkDownDefaultState)&0xf
	b[34] = uint8(p.MKeyProtectBits)<<6 | p.LMC&7
	b[35] = p.LinkSpeedActive<<4 | p.LinkSpeedEnabled&0xf
	b[36] = uint8(p.NeighborMTU)<<4 | p.MasterSMSL&0xf
	b[37] = p.VLCap<<4 | p.InitType&0xf
	b[38], b[39], b[40] = p.VLHighLimit, p.VLArbitrationHighCap, p.VLArbitrationLowCap
	b[41] = p.InitTypeReply<<4 | uint8(p.MTUCap)&0xf
	b[42] = p.VLStallCount<<5 | p.HOQLife&0x1f
	b[43] = p.OperationalVLs<<4 | bit(p.PartitionEnforcementInbound, 3) |
		bit(p.PartitionEnforcementOutbound, 2) | bit(p.FilterRawInbound, 1) | bit(p.FilterRawOutbound, 0)
	be.PutUint16(b[44:], p.MKeyViolations)
	be.PutUint16(b[46:], p.PKeyViolations)
	be.PutUint16(b[48:], p.QKeyViolations)
	b[50] = p.GUIDCap
	b[51] = bit(p.ClientReregister, 7) | p.MulticastPKeyTrapSuppression&3<<5 | p.SubnetTimeout&0x1f
	b[52] = p.RespTimeValue & 0x1f
	b[53] = p.LocalPhyErrors<<4 | p.OverrunErrors&0xf
	be.PutUint16(b[54:], p.MaxCreditHint)
	be.PutUint32(b[56:], p.LinkRoundTripLatency&0xffffff)
	be.PutUint16(b[60:], uint16(p.CapMask2))
	b[62] = p.LinkSpeedExtActive<<4 | p.LinkSpeedExtSupported&0xf
	b[63] = p.LinkSpeedExtEnabled & 0x1f
}

// Unmarshal implements Attribute.
func (p *PortInfo) Unmarshal(b []byte) error {
	if err := need(b, PortInfoLen, "PortInfo"); err != nil {
		return err
	}
	*p = PortInfo{
		MKey:        be.Uint64(b[0:]),
		GIDPrefix:   be.Uint64(b[8:]),
		LID:         rdma.LID(be.Uint16(b[16:])),
		MasterSMLID: rdma.LID(be.Uint16(b[18:])),
		CapMask:     CapMask(be.Uint32(b[20:])),
		DiagCode:    be.Uint16(b[24:]), MKeyLeasePeriod: be.Uint16(b[26:]),
		LocalPortNum:       b[28],
		LinkWidthEnabled:   rdma.LinkWidth(b[29]),
		LinkWidthSupported: rdma.LinkWidth(b[30]),
		LinkWidthActive:    rdma.LinkWidth(b[31]),
		LinkSpeedSupported: b[32] >> 4, PortState: rdma.PortState(b[32] & 0xf),
		PortPhysicalState:    rdma.PhysState(b[33] >> 4),
		LinkDownDefaultState: rdma.PhysState(b[33] & 0xf),
		MKeyProtectBits:      MKeyProtectBits(b[34] >> 6), LMC: b[34] & 7,
		LinkSpeedActive: b[35] >> 4, LinkSpeedEnabled: b[35] & 0xf,
		NeighborMTU: rdma.MTU(b[36] >> 4), MasterSMSL: b[36] & 0xf,
		VLCap: b[37] >> 4, InitType: b[37] & 0xf,
		VLHighLimit: b[38], VLArbitrationHighCap: b[39], VLArbitrationLowCap: b[40],
		InitTypeReply: b[41] >> 4, MTUCap: rdma.MTU(b[41] & 0xf),
		VLStallCount: b[42] >> 5, HOQLife: b[42] & 0x1f,
		OperationalVLs:               b[43] >> 4,
		PartitionEnforcementInbound:  b[43]&8 != 0,
		PartitionEnforcementOutbound: b[43]&4 != 0,
		FilterRawInbound:             b[43]&2 != 0,
		FilterRawOutbound:            b[43]&1 != 0,
		MKeyViolations:               be.Uint16(b[44:]),
		PKeyViolations:               be.Uint16(b[46:]),
		QKeyViolations:               be.Uint16(b[48:]),
		GUIDCap:                      b[50],
		ClientReregister:             b[51]&0x80 != 0,
		MulticastPKeyTrapSuppression: b[51] >> 5 & 3,
		SubnetTimeout:                b[51] & 0x1f,
		RespTimeValue:                b[52] & 0x1f,
		LocalPhyErrors:               b[53] >> 4, OverrunErrors: b[53] & 0xf,
		MaxCreditHint:        be.Uint16(b[54:]),
		LinkRoundTripLatency: be.Uint32(b[56:]) & 0xffffff,
		CapMask2:             CapMask2(be.Uint16(b[60:])),
		LinkSpeedExtActive:   b[62] >> 4, LinkSpeedExtSupported: b[62] & 0xf,
		LinkSpeedExtEnabled: b[63] & 0x1f,
	}
	return nil
}
