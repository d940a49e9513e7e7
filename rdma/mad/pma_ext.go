package mad

import "ipoib/rdma"

// ExtSelect names the counters that a Set of PortCountersExtended writes
// (IBA 16.1.4.11): CounterSelect in bits 15-0, CounterSelect2 in bits 47-16.
type ExtSelect uint64

// The counters.
const (
	ExtXmitData ExtSelect = 1 << iota
	ExtRcvData
	ExtXmitPkts
	ExtRcvPkts
	ExtUnicastXmitPkts
	ExtUnicastRcvPkts
	ExtMulticastXmitPkts
	ExtMulticastRcvPkts
)

// The error counters, which CounterSelect2 names.
const (
	ExtSymbolErrors ExtSelect = 1 << (16 + iota)
	ExtLinkRecovers
	ExtLinkDowned
	ExtRcvErrors
	ExtRcvRemotePhysErrors
	ExtRcvSwitchRelayErrors
	ExtXmitDiscards
	ExtXmitConstraintErrors
	ExtRcvConstraintErrors
	ExtLocalLinkIntegrity
	ExtExcessiveBufferOverruns
	ExtVL15Dropped
	ExtXmitWait
	ExtQP1Dropped

	ExtAll ExtSelect = 0xff | 0x3fff<<16
)

// Lengths of PortCountersExtended in bytes: with the packet counters only,
// and with the error counters that PMCap2AdditionalCounters announces.
const (
	PortCountersExtendedBaseLen = 72
	PortCountersExtendedLen     = 184
)

// PMCap2AdditionalCounters is the bit of ClassPortInfo.CapabilityMask2 for the
// error counters in PortCountersExtended.
const PMCap2AdditionalCounters uint32 = 1 << 1

// PortCountersExtended are the counters of a port in 64 bits, in the order of
// the struct from byte 8 (IBA 16.1.4.11). They wrap.
type PortCountersExtended struct {
	PortSelect    uint8
	CounterSelect ExtSelect // 48 bits
	Counters      rdma.PortCounters
	QP1Dropped    uint64
}

// counters returns the counters in wire order, the n-th selected by the n-th
// bit of ExtSelect: 0 to 7, then 16 and up.
func (p *PortCountersExtended) counters() [22]*uint64 {
	c := &p.Counters
	return [...]*uint64{
		&c.XmitData, &c.RcvData, &c.XmitPkts, &c.RcvPkts,
		&c.UnicastXmitPkts, &c.UnicastRcvPkts, &c.MulticastXmitPkts, &c.MulticastRcvPkts,
		&c.SymbolErrors, &c.LinkRecovers, &c.LinkDowned, &c.RcvErrors, &c.RcvRemotePhysErrors,
		&c.RcvSwitchRelayErrors, &c.XmitDiscards, &c.XmitConstraintErrors, &c.RcvConstraintErrors,
		&c.LocalLinkIntegrity, &c.ExcessiveBufferOverruns, &c.VL15Dropped, &c.XmitWait, &p.QP1Dropped,
	}
}

// Len returns PortCountersExtendedLen.
func (*PortCountersExtended) Len() int { return PortCountersExtendedLen }

// Marshal implements Attribute.
func (p *PortCountersExtended) Marshal(b []byte) {
	_ = b[PortCountersExtendedLen-1]
	b[0], b[1] = 0, p.PortSelect
	be.PutUint16(b[2:], uint16(p.CounterSelect))
	be.PutUint32(b[4:], uint32(p.CounterSelect>>16))
	for i, c := range p.counters() {
		be.PutUint64(b[8+8*i:], *c)
	}
}

// Unmarshal implements Attribute. PortCountersExtendedBaseLen bytes will do;
// the error counters are 0 then.
func (p *PortCountersExtended) Unmarshal(b []byte) error {
	if err := need(b, PortCountersExtendedBaseLen, "PortCountersExtended"); err != nil {
		return err
	}
	*p = PortCountersExtended{
		PortSelect:    b[1],
		CounterSelect: ExtSelect(be.Uint16(b[2:])) | ExtSelect(be.Uint32(b[4:]))<<16,
	}
	for i, c := range p.counters() {
		if len(b) >= 16+8*i {
			*c = be.Uint64(b[8+8*i:])
		}
	}
	return nil
}

// StoreSelected writes the counters that CounterSelect names to c, the effect
// of a Set.
func (p *PortCountersExtended) StoreSelected(c *rdma.PortCounters) {
	dst := PortCountersExtended{Counters: *c}
	to, from := dst.counters(), p.counters()
	for i := range from {
		sel := ExtSelect(1) << i
		if i >= 8 {
			sel = 1 << (16 + i - 8)
		}
		if p.CounterSelect&sel != 0 {
			*to[i] = *from[i]
		}
	}
	*c = dst.Counters
}
