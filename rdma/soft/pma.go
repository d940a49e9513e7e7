package soft

import (
	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// pmaBase are the values that the counters of a port had when they were last
// set. The classic and the extended counters are set apart from each other
// (IBA 16.1.4.11); what runs never goes back. Guarded by node.mu.
type pmaBase struct {
	classic, extended rdma.PortCounters
}

// answerPMA answers Get and Set of the performance management class.
func (p *port) answerPMA(pk *packet, m *mad.MAD) {
	status := mad.StatusMethodAttrUnsupported
	if m.Method() == mad.MethodGet || m.Method() == mad.MethodSet {
		set := m.Method() == mad.MethodSet
		p.node.mu.Lock()
		switch m.AttrID() {
		case mad.AttrClassPortInfo:
			status = pmaClassPortInfo(m, set)
		case mad.AttrPortCounters:
			status = p.pmaPortCounters(m, set)
		case mad.AttrPortCountersExtended:
			status = p.pmaPortCountersExtended(m, set)
		}
		p.node.mu.Unlock()
	}
	m.SetMethod(mad.MethodGetResp)
	m.SetStatus(status)
	// Back to where it came from, with source and destination swapped.
	pk.DLID, pk.DestQP, pk.SrcQP, pk.QKey = pk.SLID, pk.SrcQP, rdma.QPNGSI, rdma.QKeyGSI
	pk.VL, pk.hops, pk.ev, pk.pathBits = 0, 0, nil, 0
	if pk.HasGRH {
		pk.GRH.DGID, pk.GRH.SGID = pk.GRH.SGID, p.GID0()
	}
	p.send(pk)
}

func pmaClassPortInfo(m *mad.MAD, set bool) mad.Status {
	if set {
		return mad.StatusMethodAttrUnsupported
	}
	c := mad.ClassPortInfo{
		BaseVersion: mad.BaseVersion, ClassVersion: mad.PMClassVersion,
		CapMask:       mad.PMCapAllPortSelect | mad.PMCapExtendedWidth | mad.PMCapXmitWait,
		CapMask2:      mad.PMCap2AdditionalCounters,
		RespTimeValue: respTimeValue,
	}
	m.SetAttr(&c)
	return mad.StatusOK
}

// selected returns the ports that PortSelect names.
func (p *port) selected(num uint8) []*port {
	switch {
	case num == mad.AllPorts:
		return p.node.externalPorts()
	case int(num) < len(p.node.ports) && p.node.ports[num] != nil:
		return p.node.ports[num : num+1]
	}
	return nil
}

func (p *port) pmaPortCounters(m *mad.MAD, set bool) mad.Status {
	var req mad.PortCounters
	if m.Attr(&req) != nil {
		return mad.StatusInvalidField
	}
	ports := p.selected(req.PortSelect)
	if len(ports) == 0 {
		return mad.StatusInvalidField
	}
	var sum rdma.PortCounters
	for _, q := range ports {
		raw := q.counters.snapshot()
		now := combine(&raw, &q.pma.classic, sub)
		if set {
			req.StoreSelected(&now)
			q.pma.classic = combine(&raw, &now, sub)
		}
		sum = combine(&sum, &now, add)
	}
	m.SetAttr(mad.NewPortCounters(req.PortSelect, &sum))
	return mad.StatusOK
}

func (p *port) pmaPortCountersExtended(m *mad.MAD, set bool) mad.Status {
	var req mad.PortCountersExtended
	if m.Attr(&req) != nil {
		return mad.StatusInvalidField
	}
	ports := p.selected(req.PortSelect)
	if len(ports) == 0 {
		return mad.StatusInvalidField
	}
	var sum rdma.PortCounters
	for _, q := range ports {
		raw := q.counters.snapshot()
		now := combine(&raw, &q.pma.extended, sub)
		if set {
			req.StoreSelected(&now)
			q.pma.extended = combine(&raw, &now, sub)
		}
		sum = combine(&sum, &now, add)
	}
	m.SetAttr(&mad.PortCountersExtended{PortSelect: req.PortSelect, Counters: sum})
	return mad.StatusOK
}

func sub(a, b uint64) uint64 { return a - b }
func add(a, b uint64) uint64 { return a + b }

// combine returns f of every pair of counters; it wraps, so that subtracting
// what sub returned gives the value back.
func combine(a, b *rdma.PortCounters, f func(a, b uint64) uint64) rdma.PortCounters {
	return rdma.PortCounters{
		SymbolErrors: f(a.SymbolErrors, b.SymbolErrors), LinkRecovers: f(a.LinkRecovers, b.LinkRecovers),
		LinkDowned: f(a.LinkDowned, b.LinkDowned), RcvErrors: f(a.RcvErrors, b.RcvErrors),
		RcvRemotePhysErrors:     f(a.RcvRemotePhysErrors, b.RcvRemotePhysErrors),
		RcvSwitchRelayErrors:    f(a.RcvSwitchRelayErrors, b.RcvSwitchRelayErrors),
		XmitDiscards:            f(a.XmitDiscards, b.XmitDiscards),
		XmitConstraintErrors:    f(a.XmitConstraintErrors, b.XmitConstraintErrors),
		RcvConstraintErrors:     f(a.RcvConstraintErrors, b.RcvConstraintErrors),
		LocalLinkIntegrity:      f(a.LocalLinkIntegrity, b.LocalLinkIntegrity),
		ExcessiveBufferOverruns: f(a.ExcessiveBufferOverruns, b.ExcessiveBufferOverruns),
		VL15Dropped:             f(a.VL15Dropped, b.VL15Dropped),
		XmitData:                f(a.XmitData, b.XmitData), RcvData: f(a.RcvData, b.RcvData),
		XmitPkts: f(a.XmitPkts, b.XmitPkts), RcvPkts: f(a.RcvPkts, b.RcvPkts), XmitWait: f(a.XmitWait, b.XmitWait),
		UnicastXmitPkts: f(a.UnicastXmitPkts, b.UnicastXmitPkts), UnicastRcvPkts: f(a.UnicastRcvPkts, b.UnicastRcvPkts),
		MulticastXmitPkts: f(a.MulticastXmitPkts, b.MulticastXmitPkts),
		MulticastRcvPkts:  f(a.MulticastRcvPkts, b.MulticastRcvPkts),
	}
}
