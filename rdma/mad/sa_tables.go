package mad

import "ipoib/rdma"

// tableRecordLen is the length of the records that hold a 64-byte block
// behind an 8-byte key.
const tableRecordLen = 8 + tableBlockLen

// Components of P_KeyTableRecord.
const (
	PKTRLID ComponentMask = 1 << iota
	PKTRBlock
	PKTRPort
)

// PKeyTableRecord is a block of a P_Key table (IBA 15.2.5.11).
type PKeyTableRecord struct {
	// LID is that of the port, of port 0 on a switch.
	LID   rdma.LID
	Block uint16
	// Port is the switch port, 0 on a channel adapter.
	Port  uint8
	Table PKeyTable
}

// Len returns 72.
func (*PKeyTableRecord) Len() int { return tableRecordLen }

// Marshal implements Attribute.
func (r *PKeyTableRecord) Marshal(b []byte) {
	be.PutUint16(b[0:], uint16(r.LID))
	be.PutUint16(b[2:], r.Block)
	b[4] = r.Port
	clear(b[5:8])
	r.Table.Marshal(b[8:])
}

// Unmarshal implements Attribute.
func (r *PKeyTableRecord) Unmarshal(b []byte) error {
	if err := need(b, tableRecordLen, "P_KeyTableRecord"); err != nil {
		return err
	}
	r.LID, r.Block, r.Port = rdma.LID(be.Uint16(b[0:])), be.Uint16(b[2:]), b[4]
	return r.Table.Unmarshal(b[8:])
}

// Components of LinearForwardingTableRecord.
const (
	LFTRLID ComponentMask = 1 << iota
	LFTRBlock
)

// LFTRecord is a block of a linear forwarding table (IBA 15.2.5.6).
type LFTRecord struct {
	LID   rdma.LID
	Block uint16
	Table LinearForwardingTable
}

// Len returns 72.
func (*LFTRecord) Len() int { return tableRecordLen }

// Marshal implements Attribute.
func (r *LFTRecord) Marshal(b []byte) {
	be.PutUint16(b[0:], uint16(r.LID))
	be.PutUint16(b[2:], r.Block)
	clear(b[4:8])
	r.Table.Marshal(b[8:])
}

// Unmarshal implements Attribute.
func (r *LFTRecord) Unmarshal(b []byte) error {
	if err := need(b, tableRecordLen, "LinearForwardingTableRecord"); err != nil {
		return err
	}
	r.LID, r.Block = rdma.LID(be.Uint16(b[0:])), be.Uint16(b[2:])
	return r.Table.Unmarshal(b[8:])
}

// Components of MulticastForwardingTableRecord.
const (
	MFTRLID ComponentMask = 1 << iota
	MFTRPosition
	_
	MFTRBlock
)

// MFTRecord is a block of a multicast forwarding table (IBA 15.2.5.8).
type MFTRecord struct {
	LID      rdma.LID
	Position uint8  // 4 bits: ports 16 x Position and up
	Block    uint16 // 9 bits
	Table    MulticastForwardingTable
}

// Len returns 72.
func (*MFTRecord) Len() int { return tableRecordLen }

// Marshal implements Attribute.
func (r *MFTRecord) Marshal(b []byte) {
	be.PutUint16(b[0:], uint16(r.LID))
	be.PutUint16(b[2:], uint16(r.Position)<<12|r.Block&0x1ff)
	clear(b[4:8])
	r.Table.Marshal(b[8:])
}

// Unmarshal implements Attribute.
func (r *MFTRecord) Unmarshal(b []byte) error {
	if err := need(b, tableRecordLen, "MulticastForwardingTableRecord"); err != nil {
		return err
	}
	v := be.Uint16(b[2:])
	r.LID, r.Position, r.Block = rdma.LID(be.Uint16(b[0:])), uint8(v>>12), v&0x1ff
	return r.Table.Unmarshal(b[8:])
}

// Components of GUIDInfoRecord. Bit 4+n selects the n-th GUID of the block.
const (
	GIRLID   ComponentMask = 1 << 0
	GIRBlock ComponentMask = 1 << 1
	GIRGUID0 ComponentMask = 1 << 4
)

// GUIDInfoRecord is a block of a port's GUID table (IBA 15.2.5.18).
type GUIDInfoRecord struct {
	LID   rdma.LID
	Block uint8
	Table GUIDInfo
}

// Len returns 72.
func (*GUIDInfoRecord) Len() int { return tableRecordLen }

// Marshal implements Attribute.
func (r *GUIDInfoRecord) Marshal(b []byte) {
	be.PutUint16(b[0:], uint16(r.LID))
	b[2] = r.Block
	clear(b[3:8])
	r.Table.Marshal(b[8:])
}

// Unmarshal implements Attribute.
func (r *GUIDInfoRecord) Unmarshal(b []byte) error {
	if err := need(b, tableRecordLen, "GUIDInfoRecord"); err != nil {
		return err
	}
	r.LID, r.Block = rdma.LID(be.Uint16(b[0:])), b[2]
	return r.Table.Unmarshal(b[8:])
}

// Components of SLtoVLMappingTableRecord.
const (
	SLVLRLID ComponentMask = 1 << iota
	SLVLRInPort
	SLVLROutPort
)

// SLtoVLRecordLen is the length of SLtoVLMappingTableRecord in bytes.
const SLtoVLRecordLen = 16

// SLtoVLMappingTableRecord is an SL to VL table (IBA 15.2.5.4). The ports are
// 0 on a channel adapter.
type SLtoVLMappingTableRecord struct {
	LID     rdma.LID
	InPort  uint8
	OutPort uint8
	Table   SLtoVLMappingTable
}

// Len returns SLtoVLRecordLen.
func (*SLtoVLMappingTableRecord) Len() int { return SLtoVLRecordLen }

// Marshal implements Attribute.
func (r *SLtoVLMappingTableRecord) Marshal(b []byte) {
	be.PutUint16(b[0:], uint16(r.LID))
	b[2], b[3] = r.InPort, r.OutPort
	clear(b[4:8])
	r.Table.Marshal(b[8:])
}

// Unmarshal implements Attribute.
func (r *SLtoVLMappingTableRecord) Unmarshal(b []byte) error {
	if err := need(b, SLtoVLRecordLen, "SLtoVLMappingTableRecord"); err != nil {
		return err
	}
	r.LID, r.InPort, r.OutPort = rdma.LID(be.Uint16(b[0:])), b[2], b[3]
	return r.Table.Unmarshal(b[8:])
}

// Components of VLArbitrationTableRecord.
const (
	VLARLID ComponentMask = 1 << iota
	VLAROutPort
	VLARBlock
)

// VLArbitrationTableRecord is a block of a VL arbitration table
// (IBA 15.2.5.9).
type VLArbitrationTableRecord struct {
	LID     rdma.LID
	OutPort uint8
	Block   uint8 // 1 to 4
	Table   VLArbitrationTable
}

// Len returns 72.
func (*VLArbitrationTableRecord) Len() int { return tableRecordLen }

// Marshal implements Attribute.
func (r *VLArbitrationTableRecord) Marshal(b []byte) {
	be.PutUint16(b[0:], uint16(r.LID))
	b[2], b[3] = r.OutPort, r.Block
	clear(b[4:8])
	r.Table.Marshal(b[8:])
}

// Unmarshal implements Attribute.
func (r *VLArbitrationTableRecord) Unmarshal(b []byte) error {
	if err := need(b, tableRecordLen, "VLArbitrationTableRecord"); err != nil {
		return err
	}
	r.LID, r.OutPort, r.Block = rdma.LID(be.Uint16(b[0:])), b[2], b[3]
	return r.Table.Unmarshal(b[8:])
}
