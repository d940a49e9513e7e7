package mad

import (
	"fmt"

	"ipoib/rdma"
)

// Components of MultiPathRecord.
const (
	MPRRawTraffic ComponentMask = 1 << iota
	_
	MPRFlowLabel
	MPRHopLimit
	MPRTClass
	MPRReversible
	MPRNumbPath
	MPRPKey
	MPRQoSClass
	MPRSL
	MPRMTUSelector
	MPRMTU
	MPRRateSelector
	MPRRate
	MPRPacketLifeTimeSelector
	MPRPacketLifeTime
	MPRServiceIDMSB
	MPRIndependenceSelector
	_
	MPRSGIDCount
	MPRDGIDCount
	MPRServiceIDLSB
)

const (
	multiPathFixedLen = 24
	// MultiPathMaxGIDs is how many GIDs fit in one datagram.
	MultiPathMaxGIDs = (SADataLen - multiPathFixedLen) / 16
)

// MultiPathRecord asks with GetMulti for the paths between two sets of ports
// (IBA 15.2.5.20). The answer is a table of PathRecord.
type MultiPathRecord struct {
	RawTraffic             bool
	FlowLabel              uint32 // 20 bits
	HopLimit               uint8
	TClass                 uint8
	Reversible             bool
	NumbPath               uint8 // 7 bits
	PKey                   rdma.PKey
	QoSClass               uint16 // 12 bits
	SL                     uint8
	MTUSelector            Selector
	MTU                    rdma.MTU
	RateSelector           Selector
	Rate                   rdma.Rate
	PacketLifeTimeSelector Selector
	PacketLifeTime         uint8
	ServiceID              uint64
	// IndependenceSelector 2 asks for paths that share no equipment.
	IndependenceSelector uint8 // 2 bits
	// SGIDs and DGIDs, together at most MultiPathMaxGIDs; Marshal leaves out
	// the rest.
	SGIDs, DGIDs []rdma.GID
}

// Len returns the length with the GIDs in bytes.
func (r *MultiPathRecord) Len() int {
	return multiPathFixedLen + 16*min(len(r.SGIDs)+len(r.DGIDs), MultiPathMaxGIDs)
}

// Marshal implements Attribute.
func (r *MultiPathRecord) Marshal(b []byte) {
	_ = b[r.Len()-1]
	be.PutUint32(b[0:], uint32(bit(r.RawTraffic, 7))<<24|r.FlowLabel&0xfffff<<8|uint32(r.HopLimit))
	b[4], b[5] = r.TClass, bit(r.Reversible, 7)|r.NumbPath&0x7f
	be.PutUint16(b[6:], uint16(r.PKey))
	be.PutUint16(b[8:], r.QoSClass<<4|uint16(r.SL&0xf))
	b[10] = selected(r.MTUSelector, uint8(r.MTU))
	b[11] = selected(r.RateSelector, uint8(r.Rate))
	b[12] = selected(r.PacketLifeTimeSelector, r.PacketLifeTime)
	be.PutUint64(b[16:], r.ServiceID) // byte 16 is written over below
	b[13] = uint8(r.ServiceID >> 56)
	b[14] = r.IndependenceSelector << 6
	s := r.SGIDs[:min(len(r.SGIDs), MultiPathMaxGIDs)]
	d := r.DGIDs[:min(len(r.DGIDs), MultiPathMaxGIDs-len(s))]
	b[15], b[16] = uint8(len(s)), uint8(len(d))
	o := multiPathFixedLen
	for _, l := range [...][]rdma.GID{s, d} {
		for i := range l {
			o += copy(b[o:], l[i][:])
		}
	}
}

// Unmarshal implements Attribute.
func (r *MultiPathRecord) Unmarshal(b []byte) error {
	if err := need(b, multiPathFixedLen, "MultiPathRecord"); err != nil {
		return err
	}
	ns, nd := int(b[15]), int(b[16])
	if ns+nd > MultiPathMaxGIDs {
		return fmt.Errorf("mad: MultiPathRecord with %d GIDs", ns+nd)
	}
	if err := need(b, multiPathFixedLen+16*(ns+nd), "MultiPathRecord"); err != nil {
		return err
	}
	word, qos := be.Uint32(b[0:]), be.Uint16(b[8:])
	*r = MultiPathRecord{
		RawTraffic: word>>31 != 0, FlowLabel: word >> 8 & 0xfffff, HopLimit: uint8(word),
		TClass: b[4], Reversible: b[5]&0x80 != 0, NumbPath: b[5] & 0x7f,
		PKey: rdma.PKey(be.Uint16(b[6:])), QoSClass: qos >> 4, SL: uint8(qos & 0xf),
		MTUSelector: Selector(b[10] >> 6), MTU: rdma.MTU(b[10] & 0x3f),
		RateSelector: Selector(b[11] >> 6), Rate: rdma.Rate(b[11] & 0x3f),
		PacketLifeTimeSelector: Selector(b[12] >> 6), PacketLifeTime: b[12] & 0x3f,
		ServiceID:            uint64(b[13])<<56 | be.Uint64(b[16:])&^(0xff<<56),
		IndependenceSelector: b[14] >> 6,
	}
	gids := func(off, n int) []rdma.GID {
		var l []rdma.GID
		for i := range n {
			l = append(l, rdma.GID(b[off+16*i:]))
		}
		return l
	}
	r.SGIDs = gids(multiPathFixedLen, ns)
	r.DGIDs = gids(multiPathFixedLen+16*ns, nd)
	return nil
}
