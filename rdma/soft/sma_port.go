package soft

import (
	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// Registers that every port starts with.
const (
	vlCap           = 4  // VL0-VL7
	respTimeValue   = 18 // 4.096 us x 2^18, about 1 s
	subnetTimeout   = 18
	errorThreshold  = 8
	caCapMask       = mad.CapTrap | mad.CapSLMapping | mad.CapSystemImageGUID | mad.CapCapMask2 | mad.CapCommunicationManagement | mad.CapClientReregister | mad.CapAutomaticMigration
	switchCapMask   = mad.CapTrap | mad.CapSLMapping | mad.CapSystemImageGUID | mad.CapCapMask2 | mad.CapClientReregister
	mkeyLeasePeriod = 0
)

// initInfo fills the register file of a port.
func (p *port) initInfo(mtu rdma.MTU, speed rdma.LinkSpeed, width rdma.LinkWidth) {
	i := &p.info
	*i = mad.PortInfo{
		GIDPrefix: rdma.DefaultSubnetPrefix, LocalPortNum: uint8(p.num),
		PortPhysicalState: rdma.PhysPolling, LinkDownDefaultState: rdma.PhysPolling,
		MTUCap: mtu, NeighborMTU: mtu, VLCap: vlCap, OperationalVLs: vlCap,
		GUIDCap: gidTableLen, SubnetTimeout: subnetTimeout, RespTimeValue: respTimeValue,
		LocalPhyErrors: errorThreshold, OverrunErrors: errorThreshold,
		CapMask: caCapMask, MKeyLeasePeriod: mkeyLeasePeriod,
		VLArbitrationHighCap: mad.VLArbPerBlock, VLArbitrationLowCap: mad.VLArbPerBlock,
	}
	if p.node.kind == kindSwitch {
		i.CapMask = 0
		if p.num == 0 {
			i.CapMask = switchCapMask
		}
	}
	// A port runs every speed and width up to its own.
	var speeds rdma.LinkSpeed
	for s := rdma.SpeedSDR; s <= speed; s <<= 1 {
		if s != rdma.SpeedFDR10 || speed == rdma.SpeedFDR10 {
			speeds |= s
		}
	}
	i.SetSupportedSpeeds(speeds)
	p.speeds = speeds
	i.LinkWidthSupported = rdma.Width1X | width
	i.LinkWidthEnabled = i.LinkWidthSupported
	i.LinkWidthActive = rdma.Width1X
	p.mtu.Store(uint32(mtu.Bytes()))
}

// managementUp brings port 0 of a switch up; it has no link to train.
func (p *port) managementUp() {
	p.info.PortPhysicalState = rdma.PhysLinkUp
	p.info.LinkWidthActive = p.info.LinkWidthSupported &^ rdma.Width1X
	if p.info.LinkWidthActive == 0 {
		p.info.LinkWidthActive = rdma.Width1X
	}
	p.setActiveSpeed(fastest(p.speeds))
	p.state.Store(uint32(rdma.PortActive))
}

func (p *port) setActiveSpeed(s rdma.LinkSpeed) {
	p.speed = s
	p.info.SetActiveSpeed(s)
}

func fastest(s rdma.LinkSpeed) rdma.LinkSpeed {
	best := rdma.LinkSpeed(0)
	for bit := rdma.SpeedSDR; bit != 0 && bit <= rdma.SpeedNDR; bit <<= 1 {
		if s&bit != 0 {
			best = bit
		}
	}
	return best
}

// negotiate returns the fastest speed and the widest width of both ends.
func negotiate(a, b *port) (rdma.LinkSpeed, rdma.LinkWidth) {
	width := rdma.Width1X
	for _, w := range []rdma.LinkWidth{rdma.Width2X, rdma.Width4X, rdma.Width8X, rdma.Width12X} {
		if a.info.LinkWidthSupported&b.info.LinkWidthSupported&w != 0 {
			width = w
		}
	}
	return fastest(a.speeds & b.speeds), width
}

// linkUp is called when the cable trained.
func (p *port) linkUp(speed rdma.LinkSpeed, width rdma.LinkWidth) {
	p.node.mu.Lock()
	p.info.PortPhysicalState = rdma.PhysLinkUp
	p.info.LinkWidthActive = width
	p.setActiveSpeed(speed)
	p.state.Store(uint32(rdma.PortInit))
	p.node.mu.Unlock()
	p.node.portStateChanged()
}

// linkDown is called when the cable is pulled.
func (p *port) linkDown() {
	p.node.mu.Lock()
	was := p.State()
	p.info.PortPhysicalState = rdma.PhysPolling
	p.state.Store(uint32(rdma.PortDown))
	p.counters.linkDowned.Add(1)
	p.node.mu.Unlock()
	if p.hca != nil && was == rdma.PortActive {
		p.hca.raise(rdma.AsyncEvent{Type: rdma.EventPortErr, Port: p.num})
	}
	p.node.portStateChanged()
}

// portStateChanged tells the subnet manager, on a switch (trap 128).
func (n *node) portStateChanged() {
	if n.kind != kindSwitch {
		return
	}
	n.mu.Lock()
	n.sw.info.PortStateChange = true
	n.mu.Unlock()
	n.trapLinkState()
}

// attr is the snapshot that verbs users see.
func (p *port) attr() rdma.PortAttr {
	p.node.mu.Lock()
	defer p.node.mu.Unlock()
	return rdma.PortAttr{
		State: p.State(), PhysState: p.info.PortPhysicalState,
		LID: p.LID(), LMC: uint8(p.lmc.Load()), SMLID: p.info.MasterSMLID, SMSL: p.info.MasterSMSL,
		SubnetPrefix: p.info.GIDPrefix, MaxMTU: p.info.MTUCap, ActiveMTU: p.info.NeighborMTU,
		ActiveSpeed: p.speed, ActiveWidth: p.info.LinkWidthActive, CapMask: uint32(p.info.CapMask),
		GIDTableLen: gidTableLen, PKeyTableLen: p.node.pkeys,
		PKeyViolations: sat16(p.counters.pkeyViolations.Load()),
		QKeyViolations: sat16(p.counters.qkeyViolations.Load()), MaxMsgSize: 1 << 30,
	}
}

func sat16(v uint64) uint16 { return uint16(min(v, 0xffff)) }

func (p *port) setIsSM(on bool) {
	p.node.mu.Lock()
	old := p.info.CapMask
	if p.info.CapMask &^= mad.CapIsSM; on {
		p.info.CapMask |= mad.CapIsSM
	}
	changed := old != p.info.CapMask
	p.node.mu.Unlock()
	if changed {
		p.node.trapCapMask(p)
	}
}

// smaPortInfo reads and writes the registers of a port.
func smaPortInfo(n *node, in *port, m *mad.MAD, set bool) mad.Status {
	p := n.portOf(in, int(m.AttrMod()&0xff))
	if p == nil {
		return mad.StatusInvalidField
	}
	status := mad.StatusOK
	reregister := false
	if set {
		var s mad.PortInfo
		if m.Attr(&s) != nil {
			return mad.StatusInvalidField
		}
		status = p.setPortInfo(&s)
		// The bit reads back as written (IBA table 146).
		reregister = s.ClientReregister && status == mad.StatusOK
	}
	i := p.info
	i.PortState, i.LID, i.LMC = p.State(), p.LID(), uint8(p.lmc.Load())
	i.PartitionEnforcementInbound, i.PartitionEnforcementOutbound = p.enforceIn.Load(), p.enforceOut.Load()
	i.MKeyViolations = sat16(p.counters.mkeyViolations.Load())
	i.PKeyViolations = sat16(p.counters.pkeyViolations.Load())
	i.QKeyViolations = sat16(p.counters.qkeyViolations.Load())
	i.LocalPortNum = uint8(in.num)
	i.ClientReregister = reregister
	if m.MKey() != i.MKey && i.MKeyProtectBits != 0 {
		i.MKey = 0 // protect bits hide the key from who does not know it
	}
	m.SetAttr(&i)
	return status
}

// setPortInfo validates a Set as a whole, then applies it: nothing changes
// when a field is wrong.
func (p *port) setPortInfo(s *mad.PortInfo) mad.Status {
	from := p.State()
	to, phys := s.PortState, s.PortPhysicalState
	managed := p.num == 0 || p.hca != nil // has a LID
	switch {
	case to != rdma.PortNop && !stateChangeOK(p, from, to),
		managed && !s.LID.IsUnicast(),
		managed && s.LMC > 7,
		s.NeighborMTU != 0 && (!s.NeighborMTU.IsValid() || s.NeighborMTU > p.info.MTUCap),
		s.OperationalVLs > vlCap,
		phys != 0 && phys != rdma.PhysPolling && phys != rdma.PhysDisabled && phys != rdma.PhysSleep,
		s.MasterSMSL > 15:
		return mad.StatusInvalidField
	}
	i := &p.info
	if managed {
		p.setManaged(s)
	}
	if s.NeighborMTU != 0 {
		i.NeighborMTU = s.NeighborMTU
		p.mtu.Store(uint32(s.NeighborMTU.Bytes()))
	}
	if s.OperationalVLs != 0 {
		i.OperationalVLs = s.OperationalVLs
	}
	if w := s.LinkWidthEnabled; w == mad.LinkWidthSetSupported {
		i.LinkWidthEnabled = i.LinkWidthSupported
	} else if w != 0 && w&^i.LinkWidthSupported == 0 {
		i.LinkWidthEnabled = w
	}
	if v := s.LinkSpeedEnabled; v == mad.LinkSpeedSetSupported {
		i.LinkSpeedEnabled = i.LinkSpeedSupported
	} else if v != 0 && v&^i.LinkSpeedSupported == 0 {
		i.LinkSpeedEnabled = v
	}
	i.VLHighLimit, i.VLStallCount, i.HOQLife = s.VLHighLimit, s.VLStallCount, s.HOQLife
	i.LocalPhyErrors, i.OverrunErrors = s.LocalPhyErrors, s.OverrunErrors
	if s.LinkDownDefaultState != 0 {
		i.LinkDownDefaultState = s.LinkDownDefaultState
	}
	if p.node.kind == kindSwitch && p.num != 0 {
		p.enforceIn.Store(s.PartitionEnforcementInbound)
		p.enforceOut.Store(s.PartitionEnforcementOutbound)
	}
	// Violation counters are cleared by writing 0.
	if s.MKeyViolations == 0 {
		p.counters.mkeyViolations.Store(0)
	}
	if s.PKeyViolations == 0 {
		p.counters.pkeyViolations.Store(0)
	}
	if s.QKeyViolations == 0 {
		p.counters.qkeyViolations.Store(0)
	}
	p.applyState(from, to, phys)
	return mad.StatusOK
}

// setManaged applies the fields of a port with a LID.
func (p *port) setManaged(s *mad.PortInfo) {
	i := &p.info
	if p.LID() != s.LID || p.lmc.Load() != uint32(s.LMC) {
		p.lid.Store(uint32(s.LID))
		p.lmc.Store(uint32(s.LMC))
		p.eventLater(rdma.EventLIDChange)
	}
	if i.MasterSMLID != s.MasterSMLID || i.MasterSMSL != s.MasterSMSL {
		i.MasterSMLID, i.MasterSMSL = s.MasterSMLID, s.MasterSMSL
		p.eventLater(rdma.EventSMChange)
	}
	if i.GIDPrefix != s.GIDPrefix && s.GIDPrefix != 0 {
		i.GIDPrefix = s.GIDPrefix
		var t mad.GUIDInfo
		for k, g := range *p.gids.Load() {
			t[k] = g.GUID()
		}
		p.setGUIDs(t)
	}
	i.MKey, i.MKeyProtectBits, i.MKeyLeasePeriod = s.MKey, s.MKeyProtectBits, s.MKeyLeasePeriod
	i.SubnetTimeout = s.SubnetTimeout
	if s.ClientReregister {
		p.eventLater(rdma.EventClientReregister)
	}
}

// stateChangeOK tells which changes of the logical state a manager may ask
// for: Init to Armed, Armed to Active, anything to Down (IBA 7.2.7). A port
// that is in the state already is left alone.
func stateChangeOK(p *port, from, to rdma.PortState) bool {
	switch to {
	case from:
		return true
	case rdma.PortDown:
		return p.num != 0 || p.hca != nil
	case rdma.PortArmed:
		return from == rdma.PortInit
	case rdma.PortActive:
		return from == rdma.PortArmed
	}
	return false
}

// applyState changes the logical and physical state.
func (p *port) applyState(from, to rdma.PortState, phys rdma.PhysState) {
	switch {
	case to == rdma.PortDown || phys == rdma.PhysDisabled:
		// The link goes down and, unless disabled, trains again.
		l := p.link.Load()
		if l == nil {
			return
		}
		p.node.later(func() {
			l.SetUp(false)
			if phys != rdma.PhysDisabled {
				l.SetUp(true)
			}
		})
	case phys == rdma.PhysPolling && from == rdma.PortDown:
		if l := p.link.Load(); l != nil {
			p.node.later(func() { l.SetUp(true) })
		}
	case to == rdma.PortArmed || to == rdma.PortActive:
		p.state.Store(uint32(to))
		if to == rdma.PortActive && from != to {
			p.eventLater(rdma.EventPortActive)
		}
	}
}
