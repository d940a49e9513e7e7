package mad

import "ipoib/rdma"

// ClassPortInfoLen is the length of ClassPortInfo in bytes.
const ClassPortInfoLen = 72

// Bits of ClassPortInfo.CapabilityMask. The lower eight are of all classes
// (IBA 13.4.8.1), the others of the class named.
const (
	ClassCapTrap     uint16 = 1 << 0 // generates traps
	ClassCapGetSet   uint16 = 1 << 1 // Get and Set of Notice
	ClassCapCapMask2 uint16 = 1 << 2 // CapabilityMask2 is valid

	SACapOptionalRecords      uint16 = 1 << 8 // IBA table 188
	SACapUDMulticast          uint16 = 1 << 9
	SACapMultiPath            uint16 = 1 << 10
	SACapReinit               uint16 = 1 << 11
	SACapPortInfoCapMaskMatch uint16 = 1 << 13

	PMCapAllPortSelect       uint16 = 1 << 8 // IBA 16.1.3.1
	PMCapExtendedWidth       uint16 = 1 << 9
	PMCapExtendedWidthNoIETF uint16 = 1 << 10 // without the unicast and multicast counters
	PMCapSamplesOnly         uint16 = 1 << 11
	PMCapXmitWait            uint16 = 1 << 12
)

// Bits of ClassPortInfo.CapabilityMask2 of the SA class.
const (
	SACap2QoS                uint32 = 1 << 1
	SACap2ReversePathPKey    uint32 = 1 << 2
	SACap2MulticastTop       uint32 = 1 << 3
	SACap2Hierarchy          uint32 = 1 << 4
	SACap2AliasGUIDs         uint32 = 1 << 5
	SACap2FullPortInfoRecord uint32 = 1 << 6
	// SACap2SendOnlyFullMember: JoinState bit 3 is known (kernel
	// IB_SA_CAP_MASK2_SENDONLY_FULL_MEM_SUPPORT).
	SACap2SendOnlyFullMember uint32 = 1 << 12
)

// ClassPortInfo says what a class's agent can do and where to reach it
// (IBA 13.4.8.1).
type ClassPortInfo struct {
	BaseVersion  uint8
	ClassVersion uint8
	CapMask      uint16
	CapMask2     uint32 // 27 bits
	// RespTimeValue is a time code, 4.096 us x 2^n.
	RespTimeValue uint8

	RedirectGID  rdma.GID
	RedirectTC   uint8
	RedirectSL   uint8
	RedirectFL   uint32 // 20 bits
	RedirectLID  rdma.LID
	RedirectPKey rdma.PKey
	RedirectQP   rdma.QPN
	RedirectQKey rdma.QKey
	TrapGID      rdma.GID
	TrapTC       uint8
	TrapSL       uint8
	TrapFL       uint32 // 20 bits
	TrapLID      rdma.LID
	TrapPKey     rdma.PKey
	TrapHopLimit uint8
	TrapQP       rdma.QPN
	TrapQKey     rdma.QKey
}

// Len returns ClassPortInfoLen.
func (*ClassPortInfo) Len() int { return ClassPortInfoLen }

// Marshal implements Attribute.
func (c *ClassPortInfo) Marshal(b []byte) {
	_ = b[ClassPortInfoLen-1]
	b[0], b[1] = c.BaseVersion, c.ClassVersion
	be.PutUint16(b[2:], c.CapMask)
	be.PutUint32(b[4:], c.CapMask2<<5|uint32(c.RespTimeValue&0x1f))
	copy(b[8:24], c.RedirectGID[:])
	be.PutUint32(b[24:], uint32(c.RedirectTC)<<24|uint32(c.RedirectSL&0xf)<<20|c.RedirectFL&0xfffff)
	be.PutUint16(b[28:], uint16(c.RedirectLID))
	be.PutUint16(b[30:], uint16(c.RedirectPKey))
	be.PutUint32(b[32:], uint32(c.RedirectQP)&0xffffff)
	be.PutUint32(b[36:], uint32(c.RedirectQKey))
	copy(b[40:56], c.TrapGID[:])
	be.PutUint32(b[56:], uint32(c.TrapTC)<<24|uint32(c.TrapSL&0xf)<<20|c.TrapFL&0xfffff)
	be.PutUint16(b[60:], uint16(c.TrapLID))
	be.PutUint16(b[62:], uint16(c.TrapPKey))
	be.PutUint32(b[64:], uint32(c.TrapHopLimit)<<24|uint32(c.TrapQP)&0xffffff)
	be.PutUint32(b[68:], uint32(c.TrapQKey))
}

// Unmarshal implements Attribute.
func (c *ClassPortInfo) Unmarshal(b []byte) error {
	if err := need(b, ClassPortInfoLen, "ClassPortInfo"); err != nil {
		return err
	}
	cap2, redir, trap, hopQP := be.Uint32(b[4:]), be.Uint32(b[24:]), be.Uint32(b[56:]), be.Uint32(b[64:])
	*c = ClassPortInfo{
		BaseVersion: b[0], ClassVersion: b[1], CapMask: be.Uint16(b[2:]),
		CapMask2: cap2 >> 5, RespTimeValue: uint8(cap2 & 0x1f),
		RedirectGID: rdma.GID(b[8:24]),
		RedirectTC:  uint8(redir >> 24), RedirectSL: uint8(redir >> 20 & 0xf), RedirectFL: redir & 0xfffff,
		RedirectLID: rdma.LID(be.Uint16(b[28:])), RedirectPKey: rdma.PKey(be.Uint16(b[30:])),
		RedirectQP: rdma.QPN(be.Uint32(b[32:]) & 0xffffff), RedirectQKey: rdma.QKey(be.Uint32(b[36:])),
		TrapGID: rdma.GID(b[40:56]),
		TrapTC:  uint8(trap >> 24), TrapSL: uint8(trap >> 20 & 0xf), TrapFL: trap & 0xfffff,
		TrapLID: rdma.LID(be.Uint16(b[60:])), TrapPKey: rdma.PKey(be.Uint16(b[62:])),
		TrapHopLimit: uint8(hopQP >> 24), TrapQP: rdma.QPN(hopQP & 0xffffff),
		TrapQKey: rdma.QKey(be.Uint32(b[68:])),
	}
	return nil
}
