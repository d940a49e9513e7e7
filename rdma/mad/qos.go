package mad

// SLtoVLLen is the length of SLtoVLMappingTable in bytes.
const SLtoVLLen = 8

// VLDrop is the entry of an SL to VL table that discards the packet
// (IBA 7.6.6).
const VLDrop = 15

// SLtoVLMappingTable holds the virtual lane of each service level, two to a
// byte (IBA 14.2.5.8). On a switch the attribute modifier holds the input
// port in bits 15-8 and the output port in bits 7-0.
type SLtoVLMappingTable [16]uint8

// VL returns the lane of a service level.
func (t *SLtoVLMappingTable) VL(sl uint8) uint8 { return t[sl&0xf] & 0xf }

// SLtoVLMod returns the attribute modifier of a pair of switch ports.
func SLtoVLMod(in, out uint8) uint32 { return uint32(in)<<8 | uint32(out) }

// Len returns SLtoVLLen.
func (*SLtoVLMappingTable) Len() int { return SLtoVLLen }

// Marshal implements Attribute.
func (t *SLtoVLMappingTable) Marshal(b []byte) {
	for i := range SLtoVLLen {
		b[i] = t[2*i]<<4 | t[2*i+1]&0xf
	}
}

// Unmarshal implements Attribute.
func (t *SLtoVLMappingTable) Unmarshal(b []byte) error {
	if err := need(b, SLtoVLLen, "SLtoVLMappingTable"); err != nil {
		return err
	}
	for i := range SLtoVLLen {
		t[2*i], t[2*i+1] = b[i]>>4, b[i]&0xf
	}
	return nil
}

// VLArbPerBlock is the number of entries in a block of VLArbitrationTable.
const VLArbPerBlock = 32

// VLArbElement is an entry of the VL arbitration table.
type VLArbElement struct {
	VL uint8 // 4 bits
	// Weight is in units of 64 bytes; 0 skips the entry.
	Weight uint8
}

// VLArbitrationTable is a block of the VL arbitration table (IBA 14.2.5.9).
// The attribute modifier holds the block in bits 31-16 (1 and 2 low priority,
// 3 and 4 high priority) and the switch port in bits 7-0.
type VLArbitrationTable [VLArbPerBlock]VLArbElement

// VLArbMod returns the attribute modifier of a block, 1 to 4.
func VLArbMod(block, port uint8) uint32 { return uint32(block)<<16 | uint32(port) }

// Len returns 64.
func (*VLArbitrationTable) Len() int { return tableBlockLen }

// Marshal implements Attribute.
func (t *VLArbitrationTable) Marshal(b []byte) {
	for i, e := range t {
		b[2*i], b[2*i+1] = e.VL&0xf, e.Weight
	}
}

// Unmarshal implements Attribute.
func (t *VLArbitrationTable) Unmarshal(b []byte) error {
	if err := need(b, tableBlockLen, "VLArbitrationTable"); err != nil {
		return err
	}
	for i := range t {
		t[i] = VLArbElement{VL: b[2*i] & 0xf, Weight: b[2*i+1]}
	}
	return nil
}
