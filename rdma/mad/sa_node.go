package mad

import "ipoib/rdma"

// Components of NodeRecord.
const (
	NRLID ComponentMask = 1 << iota
	_
	NRBaseVersion
	NRClassVersion
	NRNodeType
	NRNumPorts
	NRSystemImageGUID
	NRNodeGUID
	NRPortGUID
	NRPartitionCap
	NRDeviceID
	NRRevision
	NRLocalPortNum
	NRVendorID
	NRNodeDescription
)

// NodeRecordLen is the length of NodeRecord in bytes.
const NodeRecordLen = 112

// NodeRecord is a node by the LID of one of its ports (IBA 15.2.5.2).
type NodeRecord struct {
	LID             rdma.LID
	NodeInfo        NodeInfo
	NodeDescription NodeDescription
}

// Len returns NodeRecordLen.
func (*NodeRecord) Len() int { return NodeRecordLen }

// Marshal implements Attribute.
func (r *NodeRecord) Marshal(b []byte) {
	_ = b[NodeRecordLen-1]
	be.PutUint16(b[0:], uint16(r.LID))
	be.PutUint16(b[2:], 0)
	r.NodeInfo.Marshal(b[4:])
	r.NodeDescription.Marshal(b[44:])
	clear(b[108:NodeRecordLen])
}

// Unmarshal implements Attribute. The 4 bytes of padding may be missing.
func (r *NodeRecord) Unmarshal(b []byte) error {
	if err := need(b, NodeRecordLen-4, "NodeRecord"); err != nil {
		return err
	}
	r.LID = rdma.LID(be.Uint16(b[0:]))
	if err := r.NodeInfo.Unmarshal(b[4:]); err != nil {
		return err
	}
	return r.NodeDescription.Unmarshal(b[44:])
}

// Components of PortInfoRecord. Bit 3+n is the n-th component of PortInfo;
// those that subnet tools ask for have names.
const (
	PIRLID               ComponentMask = 1 << 0
	PIRPortNum           ComponentMask = 1 << 1
	PIROptions           ComponentMask = 1 << 2
	PIRMKey              ComponentMask = 1 << 3
	PIRGIDPrefix         ComponentMask = 1 << 4
	PIRBaseLID           ComponentMask = 1 << 5
	PIRMasterSMLID       ComponentMask = 1 << 6
	PIRCapMask           ComponentMask = 1 << 7
	PIRDiagCode          ComponentMask = 1 << 8
	PIRLocalPortNum      ComponentMask = 1 << 10
	PIRLinkWidthEnabled  ComponentMask = 1 << 11
	PIRLinkWidthActive   ComponentMask = 1 << 13
	PIRPortState         ComponentMask = 1 << 15
	PIRPortPhysicalState ComponentMask = 1 << 16
	PIRLMC               ComponentMask = 1 << 20
	PIRLinkSpeedActive   ComponentMask = 1 << 21
	PIRNeighborMTU       ComponentMask = 1 << 23
	PIRMTUCap            ComponentMask = 1 << 31
	PIRGUIDCap           ComponentMask = 1 << 42
	PIRCapMask2          ComponentMask = 1 << 53
)

// PortInfoRecordLen is the length of PortInfoRecord in bytes.
const PortInfoRecordLen = 72

// PortInfoRecord is a port by LID and number (IBA 15.2.5.3).
type PortInfoRecord struct {
	LID      rdma.LID
	PortNum  uint8
	Options  uint8
	PortInfo PortInfo
}

// Len returns PortInfoRecordLen.
func (*PortInfoRecord) Len() int { return PortInfoRecordLen }

// Marshal implements Attribute.
func (r *PortInfoRecord) Marshal(b []byte) {
	_ = b[PortInfoRecordLen-1]
	be.PutUint16(b[0:], uint16(r.LID))
	b[2], b[3] = r.PortNum, r.Options
	r.PortInfo.Marshal(b[4:])
	clear(b[68:PortInfoRecordLen])
}

// Unmarshal implements Attribute. The 4 bytes of padding may be missing.
func (r *PortInfoRecord) Unmarshal(b []byte) error {
	if err := need(b, PortInfoRecordLen-4, "PortInfoRecord"); err != nil {
		return err
	}
	r.LID, r.PortNum, r.Options = rdma.LID(be.Uint16(b[0:])), b[2], b[3]
	return r.PortInfo.Unmarshal(b[4:])
}

// Components of SMInfoRecord.
const (
	SMIRLID ComponentMask = 1 << iota
	_
	SMIRGUID
	SMIRSMKey
	SMIRActCount
	SMIRPriority
	SMIRState
)

// SMInfoRecordLen is the length of SMInfoRecord in bytes.
const SMInfoRecordLen = 32

// SMInfoRecord is a subnet manager by LID (IBA 15.2.5.10).
type SMInfoRecord struct {
	LID    rdma.LID
	SMInfo SMInfo
}

// Len returns SMInfoRecordLen.
func (*SMInfoRecord) Len() int { return SMInfoRecordLen }

// Marshal implements Attribute.
func (r *SMInfoRecord) Marshal(b []byte) {
	_ = b[SMInfoRecordLen-1]
	be.PutUint16(b[0:], uint16(r.LID))
	be.PutUint16(b[2:], 0)
	r.SMInfo.Marshal(b[4:])
	clear(b[25:SMInfoRecordLen])
}

// Unmarshal implements Attribute. The 7 bytes of padding may be missing.
func (r *SMInfoRecord) Unmarshal(b []byte) error {
	if err := need(b, SMInfoRecordLen-7, "SMInfoRecord"); err != nil {
		return err
	}
	r.LID = rdma.LID(be.Uint16(b[0:]))
	return r.SMInfo.Unmarshal(b[4:])
}

// SWIRLID is a component of SwitchInfoRecord.
const SWIRLID ComponentMask = 1 << 0

// SwitchInfoRecordLen is the length of SwitchInfoRecord in bytes.
const SwitchInfoRecordLen = 24

// SwitchInfoRecord is a switch by LID (IBA 15.2.5.5).
type SwitchInfoRecord struct {
	LID        rdma.LID
	SwitchInfo SwitchInfo
}

// Len returns SwitchInfoRecordLen.
func (*SwitchInfoRecord) Len() int { return SwitchInfoRecordLen }

// Marshal implements Attribute.
func (r *SwitchInfoRecord) Marshal(b []byte) {
	_ = b[SwitchInfoRecordLen-1]
	be.PutUint16(b[0:], uint16(r.LID))
	be.PutUint16(b[2:], 0)
	r.SwitchInfo.Marshal(b[4:])
}

// Unmarshal implements Attribute.
func (r *SwitchInfoRecord) Unmarshal(b []byte) error {
	if err := need(b, SwitchInfoRecordLen, "SwitchInfoRecord"); err != nil {
		return err
	}
	r.LID = rdma.LID(be.Uint16(b[0:]))
	return r.SwitchInfo.Unmarshal(b[4:])
}

// Components of LinkRecord.
const (
	LRFromLID ComponentMask = 1 << iota
	LRFromPort
	LRToPort
	LRToLID
)

// LinkRecordLen is the length of LinkRecord in bytes.
const LinkRecordLen = 8

// LinkRecord is one direction of a link (IBA 15.2.5.13).
type LinkRecord struct {
	FromLID  rdma.LID
	FromPort uint8
	ToPort   uint8
	ToLID    rdma.LID
}

// Len returns LinkRecordLen.
func (*LinkRecord) Len() int { return LinkRecordLen }

// Marshal implements Attribute.
func (r *LinkRecord) Marshal(b []byte) {
	_ = b[LinkRecordLen-1]
	be.PutUint16(b[0:], uint16(r.FromLID))
	b[2], b[3] = r.FromPort, r.ToPort
	be.PutUint16(b[4:], uint16(r.ToLID))
	be.PutUint16(b[6:], 0)
}

// Unmarshal implements Attribute. The 2 bytes of padding may be missing.
func (r *LinkRecord) Unmarshal(b []byte) error {
	if err := need(b, LinkRecordLen-2, "LinkRecord"); err != nil {
		return err
	}
	*r = LinkRecord{
		FromLID: rdma.LID(be.Uint16(b[0:])), FromPort: b[2], ToPort: b[3], ToLID: rdma.LID(be.Uint16(b[4:])),
	}
	return nil
}
