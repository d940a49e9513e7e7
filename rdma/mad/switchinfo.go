package mad

import "ipoib/rdma"

// SwitchInfoLen is the length of SwitchInfo in bytes, MulticastFDBTop
// included.
const SwitchInfoLen = 20

// SwitchInfo describes and configures a switch (IBA 14.2.5.4).
type SwitchInfo struct {
	// The capacities are numbers of entries of the forwarding tables.
	LinearFDBCap    uint16
	RandomFDBCap    uint16
	MulticastFDBCap uint16
	// LinearFDBTop is the highest LID with an entry in the linear table.
	LinearFDBTop                   rdma.LID
	DefaultPort                    uint8
	DefaultMulticastPrimaryPort    uint8
	DefaultMulticastNotPrimaryPort uint8
	LifeTimeValue                  uint8 // 5 bits, 4.096 us x 2^n; above 19 is infinite
	PortStateChange                bool  // set by the switch, cleared by a Set with the bit 1
	OptimizedSLtoVLMapping         uint8 // 2 bits
	LIDsPerPort                    uint16
	PartitionEnforcementCap        uint16
	InboundEnforcementCap          bool
	OutboundEnforcementCap         bool
	FilterRawInboundCap            bool
	FilterRawOutboundCap           bool
	EnhancedPort0                  bool
	MulticastFDBTop                rdma.LID // valid with CapMulticastFDBTop of port 0
}

// Len returns SwitchInfoLen.
func (*SwitchInfo) Len() int { return SwitchInfoLen }

// Marshal implements Attribute.
func (s *SwitchInfo) Marshal(b []byte) {
	_ = b[SwitchInfoLen-1]
	be.PutUint16(b[0:], s.LinearFDBCap)
	be.PutUint16(b[2:], s.RandomFDBCap)
	be.PutUint16(b[4:], s.MulticastFDBCap)
	be.PutUint16(b[6:], uint16(s.LinearFDBTop))
	b[8], b[9], b[10] = s.DefaultPort, s.DefaultMulticastPrimaryPort, s.DefaultMulticastNotPrimaryPort
	b[11] = s.LifeTimeValue<<3 | bit(s.PortStateChange, 2) | s.OptimizedSLtoVLMapping&3
	be.PutUint16(b[12:], s.LIDsPerPort)
	be.PutUint16(b[14:], s.PartitionEnforcementCap)
	b[16] = bit(s.InboundEnforcementCap, 7) | bit(s.OutboundEnforcementCap, 6) |
		bit(s.FilterRawInboundCap, 5) | bit(s.FilterRawOutboundCap, 4) | bit(s.EnhancedPort0, 3)
	b[17] = 0
	be.PutUint16(b[18:], uint16(s.MulticastFDBTop))
}

// Unmarshal implements Attribute.
func (s *SwitchInfo) Unmarshal(b []byte) error {
	if err := need(b, SwitchInfoLen, "SwitchInfo"); err != nil {
		return err
	}
	*s = SwitchInfo{
		LinearFDBCap: be.Uint16(b[0:]), RandomFDBCap: be.Uint16(b[2:]),
		MulticastFDBCap: be.Uint16(b[4:]), LinearFDBTop: rdma.LID(be.Uint16(b[6:])),
		DefaultPort: b[8], DefaultMulticastPrimaryPort: b[9], DefaultMulticastNotPrimaryPort: b[10],
		LifeTimeValue: b[11] >> 3, PortStateChange: b[11]&4 != 0, OptimizedSLtoVLMapping: b[11] & 3,
		LIDsPerPort: be.Uint16(b[12:]), PartitionEnforcementCap: be.Uint16(b[14:]),
		InboundEnforcementCap: b[16]&0x80 != 0, OutboundEnforcementCap: b[16]&0x40 != 0,
		FilterRawInboundCap: b[16]&0x20 != 0, FilterRawOutboundCap: b[16]&0x10 != 0,
		EnhancedPort0: b[16]&8 != 0, MulticastFDBTop: rdma.LID(be.Uint16(b[18:])),
	}
	return nil
}
