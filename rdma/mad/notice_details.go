package mad

import (
	"fmt"

	"ipoib/rdma"
)

// NoticeDetails is the trap-dependent part of a notice (IBA 14.2.5.1).
type NoticeDetails interface {
	marshalDetails(d *[NoticeDetailsLen]byte)
	unmarshalDetails(d *[NoticeDetailsLen]byte)
}

// SetDetails writes the details; the rest of the field becomes 0.
func (n *Notice) SetDetails(d NoticeDetails) {
	clear(n.Details[:])
	d.marshalDetails(&n.Details)
}

// ParseDetails returns the details of a generic trap with a known layout:
// *DetailsGID for 64 to 67, *DetailsLink for 128, *DetailsPort for 129 to 131,
// *DetailsLocalChange for 144, *DetailsSystemImageGUID for 145,
// *DetailsBadMKey for 256, *DetailsBadKey for 257 and 258,
// *DetailsSwitchBadPKey for 259.
func (n *Notice) ParseDetails() (NoticeDetails, error) {
	if !n.IsGeneric {
		return nil, fmt.Errorf("mad: notice of vendor 0x%06x has unknown details", uint32(n.ProducerType))
	}
	var d NoticeDetails
	switch t := n.TrapNumber; {
	case t >= TrapGIDInService && t <= TrapMCGroupDeleted:
		d = new(DetailsGID)
	case t == TrapLinkStateChange:
		d = new(DetailsLink)
	case t > TrapLinkStateChange && t <= TrapFlowControlTimeout:
		d = new(DetailsPort)
	case t == TrapCapMaskChange:
		d = new(DetailsLocalChange)
	case t == TrapSystemImageGUID:
		d = new(DetailsSystemImageGUID)
	case t == TrapBadMKey:
		d = new(DetailsBadMKey)
	case t == TrapBadPKey, t == TrapBadQKey:
		d = new(DetailsBadKey)
	case t == TrapSwitchBadPKey:
		d = new(DetailsSwitchBadPKey)
	default:
		return nil, fmt.Errorf("mad: trap %d has unknown details", t)
	}
	d.unmarshalDetails(&n.Details)
	return d, nil
}

// NewTrap returns a generic notice of a trap raised by a node of type p with
// the given LID.
func NewTrap(t TrapNumber, p ProducerType, issuer rdma.LID, d NoticeDetails) *Notice {
	n := &Notice{IsGeneric: true, Type: t.NoticeType(), ProducerType: p, TrapNumber: t, IssuerLID: issuer}
	if d != nil {
		n.SetDetails(d)
	}
	return n
}

// DetailsGID are the details of traps 64 to 67: the port GID, or the MGID.
type DetailsGID struct{ GID rdma.GID }

func (v *DetailsGID) marshalDetails(d *[NoticeDetailsLen]byte)   { copy(d[6:22], v.GID[:]) }
func (v *DetailsGID) unmarshalDetails(d *[NoticeDetailsLen]byte) { v.GID = rdma.GID(d[6:22]) }

// DetailsLink are the details of trap 128: the LID of the switch.
type DetailsLink struct{ LID rdma.LID }

func (v *DetailsLink) marshalDetails(d *[NoticeDetailsLen]byte) { be.PutUint16(d[0:], uint16(v.LID)) }
func (v *DetailsLink) unmarshalDetails(d *[NoticeDetailsLen]byte) {
	v.LID = rdma.LID(be.Uint16(d[0:]))
}

// DetailsPort are the details of traps 129 to 131.
type DetailsPort struct {
	LID     rdma.LID
	PortNum uint8
}

func (v *DetailsPort) marshalDetails(d *[NoticeDetailsLen]byte) {
	be.PutUint16(d[2:], uint16(v.LID))
	d[4] = v.PortNum
}

func (v *DetailsPort) unmarshalDetails(d *[NoticeDetailsLen]byte) {
	v.LID, v.PortNum = rdma.LID(be.Uint16(d[2:])), d[4]
}

// ChangeFlags say what changed, in trap 144 with OtherLocalChanges.
type ChangeFlags uint16

// The flags.
const (
	ChangeNodeDescription  ChangeFlags = 1 << 0
	ChangeLinkWidthEnabled ChangeFlags = 1 << 1
	ChangeLinkSpeedEnabled ChangeFlags = 1 << 2
	ChangeSMPriority       ChangeFlags = 1 << 3
	ChangeHierarchyInfo    ChangeFlags = 1 << 4
	ChangeCapMask2         ChangeFlags = 1 << 5
)

// DetailsLocalChange are the details of trap 144.
type DetailsLocalChange struct {
	LID               rdma.LID
	OtherLocalChanges bool
	CapMask           CapMask
	Changes           ChangeFlags
	CapMask2          CapMask2
}

func (v *DetailsLocalChange) marshalDetails(d *[NoticeDetailsLen]byte) {
	be.PutUint16(d[2:], uint16(v.LID))
	d[5] = bit(v.OtherLocalChanges, 0)
	be.PutUint32(d[6:], uint32(v.CapMask))
	be.PutUint16(d[10:], uint16(v.Changes))
	be.PutUint16(d[12:], uint16(v.CapMask2))
}

func (v *DetailsLocalChange) unmarshalDetails(d *[NoticeDetailsLen]byte) {
	*v = DetailsLocalChange{
		LID: rdma.LID(be.Uint16(d[2:])), OtherLocalChanges: d[5]&1 != 0,
		CapMask: CapMask(be.Uint32(d[6:])), Changes: ChangeFlags(be.Uint16(d[10:])),
		CapMask2: CapMask2(be.Uint16(d[12:])),
	}
}

// DetailsSystemImageGUID are the details of trap 145.
type DetailsSystemImageGUID struct {
	LID             rdma.LID
	SystemImageGUID rdma.GUID
}

func (v *DetailsSystemImageGUID) marshalDetails(d *[NoticeDetailsLen]byte) {
	be.PutUint16(d[2:], uint16(v.LID))
	be.PutUint64(d[6:], uint64(v.SystemImageGUID))
}

func (v *DetailsSystemImageGUID) unmarshalDetails(d *[NoticeDetailsLen]byte) {
	v.LID, v.SystemImageGUID = rdma.LID(be.Uint16(d[2:])), rdma.GUID(be.Uint64(d[6:]))
}

// DetailsBadMKey are the details of trap 256: an SMP with a wrong M_Key.
type DetailsBadMKey struct {
	LID    rdma.LID // of the requester
	DrSLID rdma.LID
	Method Method
	AttrID AttrID
	// AttrMod and MKey are those of the request.
	AttrMod uint32
	MKey    uint64
	// Directed says that the request was directed-route; Truncated that the
	// return path does not hold all of its hops.
	Directed, Truncated bool
	HopCount            uint8 // 6 bits
	ReturnPath          [30]uint8
}

func (v *DetailsBadMKey) marshalDetails(d *[NoticeDetailsLen]byte) {
	be.PutUint16(d[2:], uint16(v.LID))
	be.PutUint16(d[4:], uint16(v.DrSLID))
	d[6] = uint8(v.Method)
	be.PutUint16(d[8:], uint16(v.AttrID))
	be.PutUint32(d[10:], v.AttrMod)
	be.PutUint64(d[14:], v.MKey)
	d[23] = bit(v.Directed, 7) | bit(v.Truncated, 6) | v.HopCount&0x3f
	copy(d[24:54], v.ReturnPath[:])
}

func (v *DetailsBadMKey) unmarshalDetails(d *[NoticeDetailsLen]byte) {
	*v = DetailsBadMKey{
		LID: rdma.LID(be.Uint16(d[2:])), DrSLID: rdma.LID(be.Uint16(d[4:])), Method: Method(d[6]),
		AttrID: AttrID(be.Uint16(d[8:])), AttrMod: be.Uint32(d[10:]), MKey: be.Uint64(d[14:]),
		Directed: d[23]&0x80 != 0, Truncated: d[23]&0x40 != 0, HopCount: d[23] & 0x3f,
		ReturnPath: [30]uint8(d[24:54]),
	}
}

// DetailsBadKey are the details of traps 257 and 258: a packet from LID1,
// GID1 and QP1 to LID2, GID2 and QP2 with a wrong P_Key or Q_Key.
type DetailsBadKey struct {
	LID1, LID2 rdma.LID
	Key        uint32 // P_Key in the lower 16 bits, or Q_Key
	SL         uint8
	QP1, QP2   rdma.QPN
	GID1, GID2 rdma.GID // 0 when the packet had no GRH
}

func (v *DetailsBadKey) marshalDetails(d *[NoticeDetailsLen]byte) {
	be.PutUint16(d[2:], uint16(v.LID1))
	be.PutUint16(d[4:], uint16(v.LID2))
	be.PutUint32(d[6:], v.Key)
	be.PutUint32(d[10:], uint32(v.SL)<<28|uint32(v.QP1)&0xffffff)
	be.PutUint32(d[14:], uint32(v.QP2)&0xffffff)
	copy(d[18:34], v.GID1[:])
	copy(d[34:50], v.GID2[:])
}

func (v *DetailsBadKey) unmarshalDetails(d *[NoticeDetailsLen]byte) {
	slqp := be.Uint32(d[10:])
	*v = DetailsBadKey{
		LID1: rdma.LID(be.Uint16(d[2:])), LID2: rdma.LID(be.Uint16(d[4:])), Key: be.Uint32(d[6:]),
		SL: uint8(slqp >> 28), QP1: rdma.QPN(slqp & 0xffffff), QP2: rdma.QPN(be.Uint32(d[14:]) & 0xffffff),
		GID1: rdma.GID(d[18:34]), GID2: rdma.GID(d[34:50]),
	}
}

// DetailsSwitchBadPKey are the details of trap 259: a switch port dropped a
// packet for its P_Key.
type DetailsSwitchBadPKey struct {
	// DataValid says which of the fields are: bit 0 LID1, 1 LID2, 2 P_Key,
	// 3 SL, 4 QP1, 5 QP2, 6 GID1, 7 GID2.
	DataValid  uint16
	LID1, LID2 rdma.LID
	PKey       rdma.PKey
	SL         uint8
	QP1, QP2   rdma.QPN
	GID1, GID2 rdma.GID
	SwitchLID  rdma.LID
	PortNum    uint8
}

func (v *DetailsSwitchBadPKey) marshalDetails(d *[NoticeDetailsLen]byte) {
	be.PutUint16(d[0:], v.DataValid)
	be.PutUint16(d[2:], uint16(v.LID1))
	be.PutUint16(d[4:], uint16(v.LID2))
	be.PutUint16(d[6:], uint16(v.PKey))
	be.PutUint32(d[8:], uint32(v.SL)<<28|uint32(v.QP1)&0xffffff)
	be.PutUint32(d[12:], uint32(v.QP2)&0xffffff)
	copy(d[16:32], v.GID1[:])
	copy(d[32:48], v.GID2[:])
	be.PutUint16(d[48:], uint16(v.SwitchLID))
	d[50] = v.PortNum
}

func (v *DetailsSwitchBadPKey) unmarshalDetails(d *[NoticeDetailsLen]byte) {
	slqp := be.Uint32(d[8:])
	*v = DetailsSwitchBadPKey{
		DataValid: be.Uint16(d[0:]), LID1: rdma.LID(be.Uint16(d[2:])), LID2: rdma.LID(be.Uint16(d[4:])),
		PKey: rdma.PKey(be.Uint16(d[6:])), SL: uint8(slqp >> 28), QP1: rdma.QPN(slqp & 0xffffff),
		QP2: rdma.QPN(be.Uint32(d[12:]) & 0xffffff), GID1: rdma.GID(d[16:32]), GID2: rdma.GID(d[32:48]),
		SwitchLID: rdma.LID(be.Uint16(d[48:])), PortNum: d[50],
	}
}
