package sm

import (
	"context"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// Values that the manager writes to all ports, as OpenSM does by default.
const (
	switchLifeTime   = 18 // 4.096 us x 2^n
	headOfQueueLife  = 18
	leafQueueLife    = 16
	vlStallCount     = 7
	errorThreshold   = 8
	maxOperationalVL = 5 // code of VL0-14
)

// program brings the fabric to the wanted state, in OpenSM's order: the
// manager's own port, P_Keys, LIDs, forwarding tables, and the links at last.
// It returns the number of requests that failed.
func (s *SM) program(ctx context.Context, t *topology, first bool) int {
	failed := s.writePortInfo(ctx, []*port{t.self}, first)
	failed += s.writePKeys(ctx, t)
	var ports []*port
	for _, n := range t.nodes {
		for _, p := range n.ports {
			if p != t.self && (p.isEnd() || p.linked()) {
				ports = append(ports, p)
			}
		}
	}
	failed += s.writePortInfo(ctx, ports, first)
	failed += s.writeSLtoVL(ctx, t)
	failed += s.writeForwarding(ctx, t)
	failed += s.flushMFT(ctx)
	failed += s.activate(ctx, t, rdma.PortInit, rdma.PortArmed)
	failed += s.activate(ctx, t, rdma.PortArmed, rdma.PortActive)
	return failed
}

// writePortInfo writes the registers of ports that differ from what they are
// to be. Clients are asked to register again when the manager is new, when
// the port is, when it had another manager, and when it lost a group.
func (s *SM) writePortInfo(ctx context.Context, ports []*port, first bool) int {
	var reqs []*smp
	var written []*port
	s.mu.Lock()
	for _, p := range ports {
		if p.isEnd() && s.reregister[p.guid] {
			p.reregister = true
			delete(s.reregister, p.guid)
		}
	}
	s.mu.Unlock()
	for _, p := range ports {
		if p.isEnd() && p.lid == 0 {
			continue
		}
		p.reregister = p.reregister || p.isEnd() && (first || p.fresh || p.info.MasterSMLID != s.selfLID())
		want := s.wantedPortInfo(p)
		if samePortInfo(&want, &p.info) {
			continue
		}
		written = append(written, p)
		got := new(mad.PortInfo)
		reqs = append(reqs, set(p.node, s.portRoute(p), mad.AttrPortInfo, uint32(p.num), &want, got))
	}
	failed := s.run(ctx, reqs)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range written {
		if reqs[i].err != nil {
			s.log.Warn("cannot configure a port", "dev", p.node.desc.String(), "port", p.num, "err", reqs[i].err)
			continue
		}
		p.info = *reqs[i].recv.(*mad.PortInfo)
		p.info.ClientReregister = false
		p.reregister = false
	}
	return failed
}

// portRoute is the route by which a port is configured: of a channel adapter
// its own, of a switch the node's.
func (s *SM) portRoute(p *port) []uint8 {
	if p.node.isSwitch() {
		return p.node.route
	}
	return p.route
}

// wantedPortInfo is the PortInfo to write, with the states unchanged.
func (s *SM) wantedPortInfo(p *port) mad.PortInfo {
	w := p.info
	w.PortState, w.PortPhysicalState = rdma.PortNop, 0
	w.LinkDownDefaultState = rdma.PhysPolling
	w.ClientReregister = false
	if p.isEnd() {
		w.LID, w.LMC = p.lid, 0
		w.MasterSMLID, w.MasterSMSL = s.selfLID(), 0
		w.GIDPrefix = s.cfg.SubnetPrefix
		w.SubnetTimeout = DefaultPacketLife
		w.MKey, w.MKeyProtectBits, w.MKeyLeasePeriod = 0, 0, 0
		w.ClientReregister = p.reregister && w.CapMask.Has(mad.CapClientReregister)
	}
	if p.num == 0 {
		w.NeighborMTU = w.MTUCap
		return w
	}
	w.LocalPhyErrors, w.OverrunErrors = errorThreshold, errorThreshold
	far := p.peer
	if far == nil {
		return w
	}
	w.NeighborMTU = min(p.info.MTUCap, far.info.MTUCap)
	w.OperationalVLs = min(p.info.VLCap, far.info.VLCap, maxOperationalVL)
	if p.node.isSwitch() {
		w.VLStallCount, w.HOQLife = vlStallCount, headOfQueueLife
		if !far.node.isSwitch() {
			w.HOQLife = leafQueueLife
			w.PartitionEnforcementInbound, w.PartitionEnforcementOutbound = p.enforced()
		} else {
			w.PartitionEnforcementInbound, w.PartitionEnforcementOutbound = false, false
		}
	}
	return w
}

func (s *SM) selfLID() rdma.LID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.topo.self.lid
}

// samePortInfo reports whether nothing needs to be written.
func samePortInfo(want, have *mad.PortInfo) bool {
	h := *have
	h.PortState, h.PortPhysicalState, h.LocalPortNum = want.PortState, want.PortPhysicalState, want.LocalPortNum
	return !want.ClientReregister && h == *want
}

// writeForwarding writes LinearFDBTop and the blocks of the linear tables that
// changed.
func (s *SM) writeForwarding(ctx context.Context, t *topology) int {
	top := t.topLID()
	var reqs []*smp
	var wrote []func()
	for _, n := range t.switches {
		w := n.sw.info
		w.LinearFDBTop, w.LifeTimeValue = top, switchLifeTime
		w.PortStateChange = false // writing 1 would clear it
		if n.ports[0].info.CapMask.Has(mad.CapMulticastFDBTop) {
			w.MulticastFDBTop = rdma.LIDFirstMulticast + rdma.LID(s.multicastCapacity()) - 1
		}
		have := n.sw.info
		have.PortStateChange = false
		if w != have {
			got := new(mad.SwitchInfo)
			reqs = append(reqs, set(n, n.route, mad.AttrSwitchInfo, 0, &w, got))
			wrote = append(wrote, func() { n.sw.info = *got; n.sw.topDone = got.LinearFDBTop })
		} else {
			n.sw.topDone = top
		}
		for b := range len(n.sw.lft) / mad.LFTPerBlock {
			table := mad.LinearForwardingTable(n.sw.lft[b*mad.LFTPerBlock:])
			if done, ok := n.sw.lftDone[uint16(b)]; ok && done == table {
				continue
			}
			reqs = append(reqs, set(n, n.route, mad.AttrLinearForwardingTable, uint32(b), &table, nil))
			wrote = append(wrote, func() {
				if n.sw.lftDone == nil {
					n.sw.lftDone = make(map[uint16]mad.LinearForwardingTable)
				}
				n.sw.lftDone[uint16(b)] = table
			})
		}
	}
	failed := s.run(ctx, reqs)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, q := range reqs {
		if q.err == nil {
			wrote[i]()
		}
	}
	return failed
}

func (s *SM) multicastCapacity() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.groups.capacity
}

// writeSLtoVL writes the configured SL to VL table to all ports in use.
func (s *SM) writeSLtoVL(ctx context.Context, t *topology) int {
	if s.cfg.SLtoVL == nil {
		return 0
	}
	var reqs []*smp
	for _, n := range t.nodes {
		for _, p := range n.ports {
			if !p.linked() {
				continue
			}
			if !n.isSwitch() {
				reqs = append(reqs, set(n, p.route, mad.AttrSLtoVLMappingTable, 0, s.cfg.SLtoVL, nil).tolerant())
				continue
			}
			for _, in := range n.ports {
				if in != p && (in.num == 0 || in.linked()) {
					reqs = append(reqs, set(n, n.route, mad.AttrSLtoVLMappingTable, mad.SLtoVLMod(in.num, p.num),
						s.cfg.SLtoVL, nil).tolerant())
				}
			}
		}
	}
	return s.run(ctx, reqs)
}

// activate moves the links from one state to the next.
func (s *SM) activate(ctx context.Context, t *topology, from, to rdma.PortState) int {
	var reqs []*smp
	var ports []*port
	for _, n := range t.nodes {
		for _, p := range n.ports {
			if p.num == 0 || !p.linked() || p.info.PortState != from || p.isEnd() && p.lid == 0 {
				continue
			}
			w := p.info
			w.PortState, w.PortPhysicalState, w.ClientReregister = to, 0, false
			ports = append(ports, p)
			reqs = append(reqs, set(n, s.portRoute(p), mad.AttrPortInfo, uint32(p.num), &w, new(mad.PortInfo)))
		}
	}
	failed := s.run(ctx, reqs)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range ports {
		if reqs[i].err == nil {
			p.info = *reqs[i].recv.(*mad.PortInfo)
		}
	}
	return failed
}
