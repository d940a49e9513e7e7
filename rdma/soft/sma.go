package soft

import (
	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// smaHandler answers Get or Set of one attribute in place. It is called with
// node.mu held and returns the status; after a Set the answer is that of a
// Get.
type smaHandler func(n *node, in *port, m *mad.MAD, set bool) mad.Status

// smaFor returns the handler of an attribute, or nil.
func smaFor(id mad.AttrID) smaHandler {
	switch id {
	case mad.AttrNodeDescription:
		return smaNodeDescription
	case mad.AttrNodeInfo:
		return smaNodeInfo
	case mad.AttrSwitchInfo:
		return smaSwitchInfo
	case mad.AttrGUIDInfo:
		return smaGUIDInfo
	case mad.AttrPortInfo:
		return smaPortInfo
	case mad.AttrPKeyTable:
		return smaPKeyTable
	case mad.AttrSLtoVLMappingTable:
		return smaSLtoVL
	case mad.AttrVLArbitrationTable:
		return smaVLArbitration
	case mad.AttrLinearForwardingTable:
		return smaLFT
	case mad.AttrMulticastForwardingTable:
		return smaMFT
	}
	return nil
}

// sma answers one Get or Set. It reports false for requests that get no
// answer at all: those with a wrong M_Key (IBA 14.2.4.1).
func (n *node) sma(in *port, m *mad.MAD) bool {
	set := m.Method() == mad.MethodSet
	var after []func()
	n.mu.Lock()
	if !n.managementPort(in).mkeyOK(m, set) {
		n.mu.Unlock()
		n.trapMKey(in, m)
		return false
	}
	status := mad.StatusMethodAttrUnsupported
	if h := smaFor(m.AttrID()); h != nil {
		status = h(n, in, m, set)
	}
	after, n.sw.after = n.sw.after, nil
	n.mu.Unlock()
	if m.IsDirected() {
		m.SetSMPStatus(status)
	} else {
		m.SetStatus(status)
	}
	// Events and traps leave after the registers are consistent.
	for _, fn := range after {
		fn()
	}
	return true
}

// later runs fn when node.mu is released.
func (n *node) later(fn func()) { n.sw.after = append(n.sw.after, fn) }

// mkeyOK checks the M_Key: a key of 0 is open, protect bits 0 and 1 let
// everybody read (IBA table 137).
func (p *port) mkeyOK(m *mad.MAD, set bool) bool {
	key := p.info.MKey
	if key == 0 || m.MKey() == key || !set && p.info.MKeyProtectBits < 2 {
		return true
	}
	p.counters.mkeyViolations.Add(1)
	return false
}

func smaNodeDescription(n *node, _ *port, m *mad.MAD, set bool) mad.Status {
	if set {
		return mad.StatusMethodAttrUnsupported
	}
	d := mad.MakeNodeDescription(n.desc)
	m.SetAttr(&d)
	return mad.StatusOK
}

// Identification of the software nodes. The vendor ID is the OUI of the
// documentation range (RFC 7042 section 2.1.3).
const (
	vendorID     = 0x00005e
	deviceHCA    = 0x1b00
	deviceSwitch = 0x1b01
)

func smaNodeInfo(n *node, in *port, m *mad.MAD, set bool) mad.Status {
	if set {
		return mad.StatusMethodAttrUnsupported
	}
	info := mad.NodeInfo{
		BaseVersion: mad.BaseVersion, ClassVersion: mad.SMClassVersion,
		NodeType: mad.NodeType(n.kind), NumPorts: uint8(len(n.ports) - 1),
		SystemImageGUID: n.sysGUID, NodeGUID: n.guid, PortGUID: n.managementPort(in).guid,
		PartitionCap: uint16(n.pkeys), DeviceID: deviceHCA, Revision: 1,
		LocalPortNum: uint8(in.num), VendorID: vendorID,
	}
	if n.kind == kindSwitch {
		info.DeviceID = deviceSwitch
	}
	m.SetAttr(&info)
	return mad.StatusOK
}

// portOf returns the port that an attribute modifier names; 0 is the port the
// request came in by on a channel adapter, the management port on a switch.
func (n *node) portOf(in *port, num int) *port {
	if num >= len(n.ports) {
		return nil
	}
	if num == 0 && n.kind == kindCA {
		return in
	}
	return n.ports[num]
}

// smaGUIDInfo reads and writes the alias GUIDs of a port; entry 0 is the
// port's own.
func smaGUIDInfo(n *node, in *port, m *mad.MAD, set bool) mad.Status {
	p := n.managementPort(in)
	if m.AttrMod() >= gidTableLen/mad.GUIDsPerBlock {
		return mad.StatusInvalidField
	}
	gids := *p.gids.Load()
	var t mad.GUIDInfo
	if set {
		if err := m.Attr(&t); err != nil {
			return mad.StatusInvalidField
		}
		t[0] = p.guid
		p.setGUIDs(t)
		gids = *p.gids.Load()
	}
	for i := range t {
		t[i] = gids[i].GUID()
	}
	m.SetAttr(&t)
	return mad.StatusOK
}

// setGUIDs rebuilds the GID table from the subnet prefix and GUIDs.
func (p *port) setGUIDs(t mad.GUIDInfo) {
	g := make([]rdma.GID, gidTableLen)
	for i, guid := range t {
		if guid != 0 {
			g[i] = rdma.MakeGID(p.info.GIDPrefix, guid)
		}
	}
	p.setGIDs(g)
}

func (p *port) setGIDs(g []rdma.GID) {
	old := *p.gids.Load()
	p.gids.Store(&g)
	for i := range g {
		if old[i] != g[i] {
			p.eventLater(rdma.EventGIDChange)
			return
		}
	}
}

// eventLater raises a port event of a channel adapter once node.mu is free.
func (p *port) eventLater(t rdma.EventType) {
	if p.hca == nil {
		return
	}
	p.node.later(func() { p.hca.raise(rdma.AsyncEvent{Type: t, Port: p.num}) })
}

// smaPKeyTable reads and writes one block of a P_Key table. On a switch the
// modifier names the external port.
func smaPKeyTable(n *node, in *port, m *mad.MAD, set bool) mad.Status {
	block, num := int(m.AttrMod()&0xffff), int(m.AttrMod()>>16)
	p := n.managementPort(in)
	if n.kind == kindSwitch {
		p = n.portOf(in, num)
	}
	if p == nil || block >= n.pkeys/mad.PKeysPerBlock {
		return mad.StatusInvalidField
	}
	var t mad.PKeyTable
	at := block * mad.PKeysPerBlock
	if set {
		if err := m.Attr(&t); err != nil {
			return mad.StatusInvalidField
		}
		old := *p.pkeys.Load()
		table := append([]rdma.PKey(nil), old...)
		copy(table[at:], t[:])
		p.pkeys.Store(&table)
		for i := range table {
			if table[i] != old[i] {
				p.eventLater(rdma.EventPKeyChange)
				break
			}
		}
	}
	copy(t[:], (*p.pkeys.Load())[at:])
	m.SetAttr(&t)
	return mad.StatusOK
}

func smaSLtoVL(n *node, in *port, m *mad.MAD, set bool) mad.Status {
	inNum, outNum := int(m.AttrMod()>>8&0xff), int(m.AttrMod()&0xff)
	p := n.managementPort(in)
	if n.kind == kindSwitch {
		p = n.portOf(in, outNum)
		if inNum >= len(n.ports) {
			return mad.StatusInvalidField
		}
	} else {
		inNum = p.num
	}
	if p == nil {
		return mad.StatusInvalidField
	}
	var t mad.SLtoVLMappingTable
	old := p.slTable.Load()
	if set {
		if err := m.Attr(&t); err != nil {
			return mad.StatusInvalidField
		}
		next := &slTable{byInput: map[int]mad.SLtoVLMappingTable{inNum: t}}
		if old != nil {
			for k, v := range old.byInput {
				if k != inNum {
					next.byInput[k] = v
				}
			}
		}
		p.slTable.Store(next)
	} else if old != nil {
		t = old.byInput[inNum]
	}
	m.SetAttr(&t)
	return mad.StatusOK
}

// smaVLArbitration keeps the arbitration tables. The fabric has no queues to
// arbitrate: they are registers only.
func smaVLArbitration(n *node, in *port, m *mad.MAD, set bool) mad.Status {
	block, num := m.AttrMod()>>16, int(m.AttrMod()&0xff)
	p := n.managementPort(in)
	if n.kind == kindSwitch {
		p = n.portOf(in, num)
	}
	if p == nil || block < 1 || block > 4 {
		return mad.StatusInvalidField
	}
	if set {
		if err := m.Attr(&p.vlArb[block-1]); err != nil {
			return mad.StatusInvalidField
		}
	}
	m.SetAttr(&p.vlArb[block-1])
	return mad.StatusOK
}
