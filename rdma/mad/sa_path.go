package mad

import "ipoib/rdma"

// Components of PathRecord. ServiceID takes two bits: PRServiceID.
const (
	PRServiceIDMSB ComponentMask = 1 << iota
	PRServiceIDLSB
	PRDGID
	PRSGID
	PRDLID
	PRSLID
	PRRawTraffic
	_
	PRFlowLabel
	PRHopLimit
	PRTClass
	PRReversible
	PRNumbPath
	PRPKey
	PRQoSClass
	PRSL
	PRMTUSelector
	PRMTU
	PRRateSelector
	PRRate
	PRPacketLifeTimeSelector
	PRPacketLifeTime
	PRPreference

	PRServiceID = PRServiceIDMSB | PRServiceIDLSB
	// PRIPoIB are the components of the kernel's IPoIB (path_rec_start).
	PRIPoIB = PRDGID | PRSGID | PRTClass | PRNumbPath | PRPKey
)

// PathRecordLen is the length of PathRecord in bytes.
const PathRecordLen = 64

// PathRecord is a path between two ports, or from a port to a multicast group
// (IBA 15.2.5.16):
//
//	 0 ServiceID (64)   8 DGID   24 SGID   40 DLID (16)   42 SLID (16)
//	44 RawTraffic 1, - 3, FlowLabel 20, HopLimit 8
//	48 TClass   49 Reversible 1, NumbPath 7   50 P_Key (16)
//	52 QoSClass 12, SL 4              54 MTUSelector 2, MTU 6
//	55 RateSelector 2, Rate 6         56 PacketLifeTimeSelector 2, PacketLifeTime 6
//	57 Preference
type PathRecord struct {
	ServiceID  uint64
	DGID       rdma.GID
	SGID       rdma.GID
	DLID       rdma.LID
	SLID       rdma.LID
	RawTraffic bool
	FlowLabel  uint32 // 20 bits
	// HopLimit above 1 means that packets need a GRH.
	HopLimit   uint8
	TClass     uint8
	Reversible bool
	// NumbPath is the largest number of paths asked for, 7 bits.
	NumbPath               uint8
	PKey                   rdma.PKey
	QoSClass               uint16 // 12 bits
	SL                     uint8
	MTUSelector            Selector
	MTU                    rdma.MTU
	RateSelector           Selector
	Rate                   rdma.Rate
	PacketLifeTimeSelector Selector
	// PacketLifeTime is a time code, 4.096 us x 2^n.
	PacketLifeTime uint8
	Preference     uint8
}

// Len returns PathRecordLen.
func (*PathRecord) Len() int { return PathRecordLen }

// Marshal implements Attribute.
func (r *PathRecord) Marshal(b []byte) {
	_ = b[PathRecordLen-1]
	be.PutUint64(b[0:], r.ServiceID)
	copy(b[8:24], r.DGID[:])
	copy(b[24:40], r.SGID[:])
	be.PutUint16(b[40:], uint16(r.DLID))
	be.PutUint16(b[42:], uint16(r.SLID))
	be.PutUint32(b[44:], uint32(bit(r.RawTraffic, 7))<<24|r.FlowLabel&0xfffff<<8|uint32(r.HopLimit))
	b[48] = r.TClass
	b[49] = bit(r.Reversible, 7) | r.NumbPath&0x7f
	be.PutUint16(b[50:], uint16(r.PKey))
	be.PutUint16(b[52:], r.QoSClass<<4|uint16(r.SL&0xf))
	b[54] = selected(r.MTUSelector, uint8(r.MTU))
	b[55] = selected(r.RateSelector, uint8(r.Rate))
	b[56] = selected(r.PacketLifeTimeSelector, r.PacketLifeTime)
	b[57] = r.Preference
	clear(b[58:PathRecordLen])
}

// Unmarshal implements Attribute.
func (r *PathRecord) Unmarshal(b []byte) error {
	if err := need(b, PathRecordLen, "PathRecord"); err != nil {
		return err
	}
	word, qos := be.Uint32(b[44:]), be.Uint16(b[52:])
	*r = PathRecord{
		ServiceID: be.Uint64(b[0:]), DGID: rdma.GID(b[8:24]), SGID: rdma.GID(b[24:40]),
		DLID: rdma.LID(be.Uint16(b[40:])), SLID: rdma.LID(be.Uint16(b[42:])),
		RawTraffic: word>>31 != 0, FlowLabel: word >> 8 & 0xfffff, HopLimit: uint8(word),
		TClass: b[48], Reversible: b[49]&0x80 != 0, NumbPath: b[49] & 0x7f,
		PKey: rdma.PKey(be.Uint16(b[50:])), QoSClass: qos >> 4, SL: uint8(qos & 0xf),
		MTUSelector: Selector(b[54] >> 6), MTU: rdma.MTU(b[54] & 0x3f),
		RateSelector: Selector(b[55] >> 6), Rate: rdma.Rate(b[55] & 0x3f),
		PacketLifeTimeSelector: Selector(b[56] >> 6), PacketLifeTime: b[56] & 0x3f,
		Preference: b[57],
	}
	return nil
}
