package mad

import "ipoib/rdma"

// Selector says how the MTU, rate or packet life time of a request is
// compared (IBA 15.2.5.16). Responses carry SelectExactly.
type Selector uint8

// The selectors.
const (
	SelectGreater Selector = 0
	SelectLess    Selector = 1
	SelectExactly Selector = 2
	SelectBest    Selector = 3 // largest MTU and rate, smallest life time
)

// JoinState holds the kinds of membership in a multicast group
// (IBA 15.2.5.17).
type JoinState uint8

// The kinds. SendOnlyFullMember needs SACap2SendOnlyFullMember.
const (
	JoinFullMember         JoinState = 1
	JoinNonMember          JoinState = 2
	JoinSendOnlyNonMember  JoinState = 4
	JoinSendOnlyFullMember JoinState = 8
)

// Components of MCMemberRecord.
const (
	MCRMGID ComponentMask = 1 << iota
	MCRPortGID
	MCRQKey
	MCRMLID
	MCRMTUSelector
	MCRMTU
	MCRTClass
	MCRPKey
	MCRRateSelector
	MCRRate
	MCRPacketLifeTimeSelector
	MCRPacketLifeTime
	MCRSL
	MCRFlowLabel
	MCRHopLimit
	MCRScope
	MCRJoinState
	MCRProxyJoin
)

// Component masks of the requests that IPoIB makes (kernel ipoib_multicast.c).
const (
	// MCRJoin joins the broadcast group, which exists.
	MCRJoin = MCRMGID | MCRPortGID | MCRPKey | MCRJoinState
	// MCRJoinCreate joins a group and creates it when it is missing.
	MCRJoinCreate = MCRJoin | MCRQKey | MCRMTUSelector | MCRMTU | MCRTClass |
		MCRRateSelector | MCRRate | MCRSL | MCRFlowLabel | MCRHopLimit
	// MCRCreate are the components without which the SA does not create a
	// group (o15-0.1.6).
	MCRCreate = MCRMGID | MCRPortGID | MCRQKey | MCRTClass | MCRPKey | MCRSL |
		MCRFlowLabel | MCRJoinState
	// MCRLeave leaves a group.
	MCRLeave = MCRMGID | MCRPortGID | MCRJoinState
)

// MCMemberRecordLen is the length of MCMemberRecord in a table, in bytes, 4
// of them padding.
const MCMemberRecordLen = 56

// MCMemberRecord is the membership of a port in a multicast group and the
// group's parameters (IBA 15.2.5.17):
//
//	 0 MGID   16 PortGID   32 Q_Key (32)   36 MLID (16)
//	38 MTUSelector 2, MTU 6          39 TClass
//	40 P_Key (16)                    42 RateSelector 2, Rate 6
//	43 PacketLifeTimeSelector 2, PacketLifeTime 6
//	44 SL 4, FlowLabel 20, HopLimit 8
//	48 Scope 4, JoinState 4          49 ProxyJoin 1
type MCMemberRecord struct {
	MGID                   rdma.GID
	PortGID                rdma.GID
	QKey                   rdma.QKey
	MLID                   rdma.LID
	MTUSelector            Selector
	MTU                    rdma.MTU
	TClass                 uint8
	PKey                   rdma.PKey
	RateSelector           Selector
	Rate                   rdma.Rate
	PacketLifeTimeSelector Selector
	// PacketLifeTime is a time code, 4.096 us x 2^n.
	PacketLifeTime uint8
	SL             uint8
	FlowLabel      uint32 // 20 bits
	HopLimit       uint8
	Scope          uint8 // 4 bits
	JoinState      JoinState
	ProxyJoin      bool
}

// Len returns MCMemberRecordLen.
func (*MCMemberRecord) Len() int { return MCMemberRecordLen }

// Marshal implements Attribute.
func (r *MCMemberRecord) Marshal(b []byte) {
	_ = b[MCMemberRecordLen-1]
	copy(b[0:16], r.MGID[:])
	copy(b[16:32], r.PortGID[:])
	be.PutUint32(b[32:], uint32(r.QKey))
	be.PutUint16(b[36:], uint16(r.MLID))
	b[38] = selected(r.MTUSelector, uint8(r.MTU))
	b[39] = r.TClass
	be.PutUint16(b[40:], uint16(r.PKey))
	b[42] = selected(r.RateSelector, uint8(r.Rate))
	b[43] = selected(r.PacketLifeTimeSelector, r.PacketLifeTime)
	be.PutUint32(b[44:], uint32(r.SL)<<28|r.FlowLabel&0xfffff<<8|uint32(r.HopLimit))
	b[48] = r.Scope<<4 | uint8(r.JoinState)&0xf
	b[49] = bit(r.ProxyJoin, 7)
	clear(b[50:MCMemberRecordLen])
}

// Unmarshal implements Attribute. The 4 bytes of padding may be missing.
func (r *MCMemberRecord) Unmarshal(b []byte) error {
	if err := need(b, MCMemberRecordLen-4, "MCMemberRecord"); err != nil {
		return err
	}
	word := be.Uint32(b[44:])
	*r = MCMemberRecord{
		MGID: rdma.GID(b[0:16]), PortGID: rdma.GID(b[16:32]),
		QKey: rdma.QKey(be.Uint32(b[32:])), MLID: rdma.LID(be.Uint16(b[36:])),
		MTUSelector: Selector(b[38] >> 6), MTU: rdma.MTU(b[38] & 0x3f), TClass: b[39],
		PKey:         rdma.PKey(be.Uint16(b[40:])),
		RateSelector: Selector(b[42] >> 6), Rate: rdma.Rate(b[42] & 0x3f),
		PacketLifeTimeSelector: Selector(b[43] >> 6), PacketLifeTime: b[43] & 0x3f,
		SL: uint8(word >> 28), FlowLabel: word >> 8 & 0xfffff, HopLimit: uint8(word),
		Scope: b[48] >> 4, JoinState: JoinState(b[48] & 0xf), ProxyJoin: b[49]&0x80 != 0,
	}
	return nil
}

func selected(s Selector, v uint8) uint8 { return uint8(s)<<6 | v&0x3f }
