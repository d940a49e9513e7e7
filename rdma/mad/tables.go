package mad

import "ipoib/rdma"

// Entries of one block of the tables that are read and written in blocks of
// 64 bytes (IBA 14.2.5).
const (
	PKeysPerBlock = 32
	GUIDsPerBlock = 8
	LFTPerBlock   = 64
	MFTPerBlock   = 32

	tableBlockLen = SMPDataLen
)

// LFTNoPort is the entry of a linear forwarding table that has no port.
const LFTNoPort uint8 = 255

// PKeyTable is a block of a port's P_Key table (IBA 14.2.5.7). The attribute
// modifier holds the block number and, on a switch, the port in bits 31-16.
type PKeyTable [PKeysPerBlock]rdma.PKey

// PKeyTableMod returns the attribute modifier of a block; port is 0 on a
// channel adapter.
func PKeyTableMod(block uint16, port uint8) uint32 { return uint32(port)<<16 | uint32(block) }

// Len returns 64.
func (*PKeyTable) Len() int { return tableBlockLen }

// Marshal implements Attribute.
func (t *PKeyTable) Marshal(b []byte) {
	for i, k := range t {
		be.PutUint16(b[2*i:], uint16(k))
	}
}

// Unmarshal implements Attribute.
func (t *PKeyTable) Unmarshal(b []byte) error {
	if err := need(b, tableBlockLen, "P_KeyTable"); err != nil {
		return err
	}
	for i := range t {
		t[i] = rdma.PKey(be.Uint16(b[2*i:]))
	}
	return nil
}

// GUIDInfo is a block of a port's GUID table (IBA 14.2.5.5). The attribute
// modifier is the block number. Entry 0 of block 0 is the port GUID and
// cannot be written.
type GUIDInfo [GUIDsPerBlock]rdma.GUID

// Len returns 64.
func (*GUIDInfo) Len() int { return tableBlockLen }

// Marshal implements Attribute.
func (t *GUIDInfo) Marshal(b []byte) {
	for i, g := range t {
		be.PutUint64(b[8*i:], uint64(g))
	}
}

// Unmarshal implements Attribute.
func (t *GUIDInfo) Unmarshal(b []byte) error {
	if err := need(b, tableBlockLen, "GUIDInfo"); err != nil {
		return err
	}
	for i := range t {
		t[i] = rdma.GUID(be.Uint64(b[8*i:]))
	}
	return nil
}

// LinearForwardingTable is a block of output ports by LID (IBA 14.2.5.10).
// The attribute modifier is the block number: LID / 64.
type LinearForwardingTable [LFTPerBlock]uint8

// Len returns 64.
func (*LinearForwardingTable) Len() int { return tableBlockLen }

// Marshal implements Attribute.
func (t *LinearForwardingTable) Marshal(b []byte) { copy(b[:tableBlockLen], t[:]) }

// Unmarshal implements Attribute.
func (t *LinearForwardingTable) Unmarshal(b []byte) error {
	if err := need(b, tableBlockLen, "LinearForwardingTable"); err != nil {
		return err
	}
	copy(t[:], b)
	return nil
}

// MulticastForwardingTable is a block of port masks by MLID: bit n of an
// entry is port 16 x position + n (IBA 14.2.5.12). The attribute modifier
// holds the position in bits 31-28 and the block, (MLID-0xc000) / 32, in bits
// 8-0.
type MulticastForwardingTable [MFTPerBlock]uint16

// MFTMod returns the attribute modifier of a block.
func MFTMod(block uint16, position uint8) uint32 {
	return uint32(position)<<28 | uint32(block)&0x1ff
}

// SplitMFTMod is the inverse of MFTMod.
func SplitMFTMod(mod uint32) (block uint16, position uint8) {
	return uint16(mod & 0x1ff), uint8(mod >> 28)
}

// Len returns 64.
func (*MulticastForwardingTable) Len() int { return tableBlockLen }

// Marshal implements Attribute.
func (t *MulticastForwardingTable) Marshal(b []byte) {
	for i, k := range t {
		be.PutUint16(b[2*i:], k)
	}
}

// Unmarshal implements Attribute.
func (t *MulticastForwardingTable) Unmarshal(b []byte) error {
	if err := need(b, tableBlockLen, "MulticastForwardingTable"); err != nil {
		return err
	}
	for i := range t {
		t[i] = be.Uint16(b[2*i:])
	}
	return nil
}
