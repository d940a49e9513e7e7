package soft

import (
	"sync/atomic"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// switchReg are the management registers of a node; info is used on switches
// only. Guarded by node.mu.
type switchReg struct {
	info  mad.SwitchInfo
	after []func() // see node.later
}

func (r *switchReg) init(pkeys int) {
	r.info = mad.SwitchInfo{
		LinearFDBCap: lftCap, MulticastFDBCap: mftCap,
		DefaultMulticastPrimaryPort: noRoutePort, DefaultMulticastNotPrimaryPort: noRoutePort,
		LifeTimeValue: 18, PartitionEnforcementCap: uint16(pkeys),
		InboundEnforcementCap: true, OutboundEnforcementCap: true, EnhancedPort0: true,
	}
}

func smaSwitchInfo(n *node, _ *port, m *mad.MAD, set bool) mad.Status {
	if n.kind != kindSwitch {
		return mad.StatusMethodAttrUnsupported
	}
	r := &n.sw.info
	if set {
		var s mad.SwitchInfo
		if m.Attr(&s) != nil || int(s.LinearFDBTop) >= lftCap {
			return mad.StatusInvalidField
		}
		r.LinearFDBTop = s.LinearFDBTop
		n.lft.top.Store(uint32(s.LinearFDBTop))
		r.DefaultPort = s.DefaultPort
		r.DefaultMulticastPrimaryPort = s.DefaultMulticastPrimaryPort
		r.DefaultMulticastNotPrimaryPort = s.DefaultMulticastNotPrimaryPort
		r.LifeTimeValue = s.LifeTimeValue
		r.OptimizedSLtoVLMapping = s.OptimizedSLtoVLMapping
		r.MulticastFDBTop = s.MulticastFDBTop
		if s.PortStateChange {
			// Writing 1 clears the bit (IBA table 142).
			r.PortStateChange = false
		}
	}
	m.SetAttr(r)
	return mad.StatusOK
}

func smaLFT(n *node, _ *port, m *mad.MAD, set bool) mad.Status {
	if n.kind != kindSwitch {
		return mad.StatusMethodAttrUnsupported
	}
	block := m.AttrMod()
	if block >= lftCap/lftBlock {
		return mad.StatusInvalidField
	}
	var t mad.LinearForwardingTable
	if set {
		if m.Attr(&t) != nil {
			return mad.StatusInvalidField
		}
		b := [lftBlock]uint8(t)
		n.lft.blocks[block].Store(&b)
	} else if b := n.lft.blocks[block].Load(); b != nil {
		t = mad.LinearForwardingTable(*b)
	} else {
		for i := range t {
			t[i] = noRoutePort
		}
	}
	m.SetAttr(&t)
	return mad.StatusOK
}

func smaMFT(n *node, _ *port, m *mad.MAD, set bool) mad.Status {
	if n.kind != kindSwitch {
		return mad.StatusMethodAttrUnsupported
	}
	block, pos := mad.SplitMFTMod(m.AttrMod())
	at := int(block) * mftBlock
	if at >= mftCap || int(pos) >= len(portMask{}) {
		return mad.StatusInvalidField
	}
	var t mad.MulticastForwardingTable
	if set {
		if m.Attr(&t) != nil {
			return mad.StatusInvalidField
		}
		for i, bits := range t {
			n.mft.set(at+i, int(pos), bits)
		}
	} else {
		for i := range t {
			if row := n.mft.rows[at+i].Load(); row != nil {
				t[i] = row[pos]
			}
		}
	}
	m.SetAttr(&t)
	return mad.StatusOK
}

// lft is a linear forwarding table: blocks of 64 ports, replaced whole.
type lft struct {
	top    atomic.Uint32 // LinearFDBTop
	blocks [lftCap / lftBlock]atomic.Pointer[[lftBlock]uint8]
}

// route returns the output port of a unicast LID, or noRoutePort.
func (n *node) route(l rdma.LID) uint8 {
	if uint32(l) > n.lft.top.Load() || int(l) >= lftCap {
		return noRoutePort
	}
	b := n.lft.blocks[l/lftBlock].Load()
	if b == nil {
		return noRoutePort
	}
	return b[l%lftBlock]
}
