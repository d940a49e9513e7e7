package mad

import (
	"math"

	"ipoib/rdma"
)

// AllPorts in PortSelect addresses all ports of a switch, with
// PMCapAllPortSelect.
const AllPorts = 255

// CounterSelect names the counters that a Set of PortCounters writes
// (IBA 16.1.3.5). Bits 16 and up are CounterSelect2.
type CounterSelect uint32

// The counters.
const (
	SelSymbolErrors CounterSelect = 1 << iota
	SelLinkRecovers
	SelLinkDowned
	SelRcvErrors
	SelRcvRemotePhysErrors
	SelRcvSwitchRelayErrors
	SelXmitDiscards
	SelXmitConstraintErrors
	SelRcvConstraintErrors
	SelLocalLinkIntegrity
	SelExcessiveBufferOverruns
	SelVL15Dropped
	SelXmitData
	SelRcvData
	SelXmitPkts
	SelRcvPkts
	SelXmitWait
	SelQP1Dropped

	SelAll CounterSelect = 1<<18 - 1
)

// PortCountersLen is the length of PortCounters in bytes.
const PortCountersLen = 44

// PortCounters are the counters of a port in the old widths; they stop at
// their largest value (IBA 16.1.3.5):
//
//	 1 PortSelect            2 CounterSelect (16)
//	 4 SymbolErrorCounter (16)       6 LinkErrorRecoveryCounter   7 LinkDownedCounter
//	 8 PortRcvErrors (16)           10 PortRcvRemotePhysicalErrors (16)
//	12 PortRcvSwitchRelayErrors (16)   14 PortXmitDiscards (16)
//	16 PortXmitConstraintErrors     17 PortRcvConstraintErrors
//	18 CounterSelect2               19 LocalLinkIntegrityErrors 4, ExcessiveBufferOverrunErrors 4
//	20 QP1Dropped (16)              22 VL15Dropped (16)
//	24 PortXmitData (32)  28 PortRcvData  32 PortXmitPkts  36 PortRcvPkts  40 PortXmitWait
type PortCounters struct {
	PortSelect           uint8
	CounterSelect        CounterSelect // 24 bits
	SymbolErrors         uint16
	LinkRecovers         uint8
	LinkDowned           uint8
	RcvErrors            uint16
	RcvRemotePhysErrors  uint16
	RcvSwitchRelayErrors uint16
	XmitDiscards         uint16
	XmitConstraintErrors uint8
	RcvConstraintErrors  uint8
	// LocalLinkIntegrity and ExcessiveBufferOverruns have 4 bits.
	LocalLinkIntegrity      uint8
	ExcessiveBufferOverruns uint8
	QP1Dropped              uint16
	VL15Dropped             uint16
	// XmitData and RcvData count 4-byte words.
	XmitData, RcvData uint32
	XmitPkts, RcvPkts uint32
	// XmitWait counts ticks with data but no credit.
	XmitWait uint32
}

// Len returns PortCountersLen.
func (*PortCounters) Len() int { return PortCountersLen }

// Marshal implements Attribute.
func (p *PortCounters) Marshal(b []byte) {
	_ = b[PortCountersLen-1]
	b[0], b[1] = 0, p.PortSelect
	be.PutUint16(b[2:], uint16(p.CounterSelect))
	be.PutUint16(b[4:], p.SymbolErrors)
	b[6], b[7] = p.LinkRecovers, p.LinkDowned
	be.PutUint16(b[8:], p.RcvErrors)
	be.PutUint16(b[10:], p.RcvRemotePhysErrors)
	be.PutUint16(b[12:], p.RcvSwitchRelayErrors)
	be.PutUint16(b[14:], p.XmitDiscards)
	b[16], b[17] = p.XmitConstraintErrors, p.RcvConstraintErrors
	b[18] = uint8(p.CounterSelect >> 16)
	b[19] = p.LocalLinkIntegrity<<4 | p.ExcessiveBufferOverruns&0xf
	be.PutUint16(b[20:], p.QP1Dropped)
	be.PutUint16(b[22:], p.VL15Dropped)
	be.PutUint32(b[24:], p.XmitData)
	be.PutUint32(b[28:], p.RcvData)
	be.PutUint32(b[32:], p.XmitPkts)
	be.PutUint32(b[36:], p.RcvPkts)
	be.PutUint32(b[40:], p.XmitWait)
}

// Unmarshal implements Attribute.
func (p *PortCounters) Unmarshal(b []byte) error {
	if err := need(b, PortCountersLen, "PortCounters"); err != nil {
		return err
	}
	*p = PortCounters{
		PortSelect:    b[1],
		CounterSelect: CounterSelect(be.Uint16(b[2:])) | CounterSelect(b[18])<<16,
		SymbolErrors:  be.Uint16(b[4:]), LinkRecovers: b[6], LinkDowned: b[7],
		RcvErrors: be.Uint16(b[8:]), RcvRemotePhysErrors: be.Uint16(b[10:]),
		RcvSwitchRelayErrors: be.Uint16(b[12:]), XmitDiscards: be.Uint16(b[14:]),
		XmitConstraintErrors: b[16], RcvConstraintErrors: b[17],
		LocalLinkIntegrity: b[19] >> 4, ExcessiveBufferOverruns: b[19] & 0xf,
		QP1Dropped: be.Uint16(b[20:]), VL15Dropped: be.Uint16(b[22:]),
		XmitData: be.Uint32(b[24:]), RcvData: be.Uint32(b[28:]),
		XmitPkts: be.Uint32(b[32:]), RcvPkts: be.Uint32(b[36:]), XmitWait: be.Uint32(b[40:]),
	}
	return nil
}

func sat[T uint8 | uint16 | uint32](v uint64, limit T) T { return T(min(v, uint64(limit))) }

// NewPortCounters returns the counters of a port in their old widths, each at
// most its largest value.
func NewPortCounters(port uint8, c *rdma.PortCounters) *PortCounters {
	const m8, m16, m32 uint64 = math.MaxUint8, math.MaxUint16, math.MaxUint32
	return &PortCounters{
		PortSelect:   port,
		SymbolErrors: sat(c.SymbolErrors, uint16(m16)), LinkRecovers: sat(c.LinkRecovers, uint8(m8)),
		LinkDowned: sat(c.LinkDowned, uint8(m8)), RcvErrors: sat(c.RcvErrors, uint16(m16)),
		RcvRemotePhysErrors:     sat(c.RcvRemotePhysErrors, uint16(m16)),
		RcvSwitchRelayErrors:    sat(c.RcvSwitchRelayErrors, uint16(m16)),
		XmitDiscards:            sat(c.XmitDiscards, uint16(m16)),
		XmitConstraintErrors:    sat(c.XmitConstraintErrors, uint8(m8)),
		RcvConstraintErrors:     sat(c.RcvConstraintErrors, uint8(m8)),
		LocalLinkIntegrity:      sat(c.LocalLinkIntegrity, uint8(15)),
		ExcessiveBufferOverruns: sat(c.ExcessiveBufferOverruns, uint8(15)),
		VL15Dropped:             sat(c.VL15Dropped, uint16(m16)),
		XmitData:                sat(c.XmitData, uint32(m32)), RcvData: sat(c.RcvData, uint32(m32)),
		XmitPkts: sat(c.XmitPkts, uint32(m32)), RcvPkts: sat(c.RcvPkts, uint32(m32)),
		XmitWait: sat(c.XmitWait, uint32(m32)),
	}
}

// StoreSelected writes the counters that CounterSelect names to c, the effect
// of a Set.
func (p *PortCounters) StoreSelected(c *rdma.PortCounters) {
	for _, e := range [...]struct {
		sel CounterSelect
		dst *uint64
		v   uint64
	}{
		{SelSymbolErrors, &c.SymbolErrors, uint64(p.SymbolErrors)},
		{SelLinkRecovers, &c.LinkRecovers, uint64(p.LinkRecovers)},
		{SelLinkDowned, &c.LinkDowned, uint64(p.LinkDowned)},
		{SelRcvErrors, &c.RcvErrors, uint64(p.RcvErrors)},
		{SelRcvRemotePhysErrors, &c.RcvRemotePhysErrors, uint64(p.RcvRemotePhysErrors)},
		{SelRcvSwitchRelayErrors, &c.RcvSwitchRelayErrors, uint64(p.RcvSwitchRelayErrors)},
		{SelXmitDiscards, &c.XmitDiscards, uint64(p.XmitDiscards)},
		{SelXmitConstraintErrors, &c.XmitConstraintErrors, uint64(p.XmitConstraintErrors)},
		{SelRcvConstraintErrors, &c.RcvConstraintErrors, uint64(p.RcvConstraintErrors)},
		{SelLocalLinkIntegrity, &c.LocalLinkIntegrity, uint64(p.LocalLinkIntegrity)},
		{SelExcessiveBufferOverruns, &c.ExcessiveBufferOverruns, uint64(p.ExcessiveBufferOverruns)},
		{SelVL15Dropped, &c.VL15Dropped, uint64(p.VL15Dropped)},
		{SelXmitData, &c.XmitData, uint64(p.XmitData)},
		{SelRcvData, &c.RcvData, uint64(p.RcvData)},
		{SelXmitPkts, &c.XmitPkts, uint64(p.XmitPkts)},
		{SelRcvPkts, &c.RcvPkts, uint64(p.RcvPkts)},
		{SelXmitWait, &c.XmitWait, uint64(p.XmitWait)},
	} {
		if p.CounterSelect&e.sel != 0 {
			*e.dst = e.v
		}
	}
}
