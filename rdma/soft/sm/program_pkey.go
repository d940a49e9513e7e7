package sm

import (
	"context"
	"slices"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// readTables reads the P_Key tables that are not known, and of ports that are
// new the GUIDs.
func (s *SM) readTables(ctx context.Context, t *topology) int {
	var reqs []*smp
	var done []func()
	for _, n := range t.nodes {
		for _, p := range n.ports {
			if p.isEnd() && p.fresh && p.info.GUIDCap > 0 {
				reqs = append(reqs, get(n, s.portRoute(p), mad.AttrGUIDInfo, 0, &p.guids).tolerant())
				done = append(done, func() {})
			}
			if p.pkeysKnown || !p.isEnd() && (!p.linked() || p.peer.node.isSwitch()) || p.pkeyCap() == 0 {
				continue
			}
			p.pkeys = make([]rdma.PKey, p.pkeyCap())
			p.pkeysKnown = true
			for b := range (len(p.pkeys) + mad.PKeysPerBlock - 1) / mad.PKeysPerBlock {
				block := new(mad.PKeyTable)
				reqs = append(reqs, get(n, s.portRoute(p), mad.AttrPKeyTable, pkeyMod(p, b), block))
				done = append(done, func() { copy(p.pkeys[b*mad.PKeysPerBlock:], block[:]) })
			}
		}
	}
	failed := s.run(ctx, reqs)
	for i, q := range reqs {
		if q.err == nil {
			done[i]()
		}
	}
	t.indexAliases()
	return failed
}

func pkeyMod(p *port, block int) uint32 {
	if p.node.isSwitch() {
		return mad.PKeyTableMod(uint16(block), p.num)
	}
	return mad.PKeyTableMod(uint16(block), 0)
}

// enforced says whether a switch port checks P_Keys, in both directions: its
// table holds those of the port that it faces.
func (p *port) enforced() (in, out bool) {
	sw := &p.node.sw.info
	return p.pkeysFit && sw.InboundEnforcementCap, p.pkeysFit && sw.OutboundEnforcementCap
}

// pkeyWrite is one block of a P_Key table to write.
type pkeyWrite struct {
	port  *port
	block int
	table []rdma.PKey // the whole of it
}

// planPKeys adds the blocks in which a table differs from what the port has.
func planPKeys(plan []pkeyWrite, p *port, table []rdma.PKey) []pkeyWrite {
	for b := 0; b*mad.PKeysPerBlock < len(table); b++ {
		from, to := b*mad.PKeysPerBlock, min((b+1)*mad.PKeysPerBlock, len(table))
		if !slices.Equal(table[from:to], p.pkeys[from:to]) {
			plan = append(plan, pkeyWrite{p, b, table})
		}
	}
	return plan
}

// writePKeys writes the P_Key tables of end ports and of the switch ports that
// face them. The switches come first, so that the way is free when an end port
// learns that it is a member.
func (s *SM) writePKeys(ctx context.Context, t *topology) int {
	var facing, ends []pkeyWrite
	s.mu.Lock()
	for _, p := range t.ends {
		if p.pkeyCap() == 0 || len(p.pkeys) == 0 {
			continue
		}
		keys, first := wantedKeys(s.confLocked(), s.endPortLocked(p))
		table, left := layoutPKeys(p.pkeys, keys, first, p.pkeyCap())
		if len(left) > 0 {
			s.log.Error("P_Key table is full", "dev", p.node.desc.String(), "port", p.num, "pkey", left[0],
				"missing", len(left))
		}
		ends = planPKeys(ends, p, table)
		far := p.peer
		if far == nil || !far.node.isSwitch() || p.node.isSwitch() || len(far.pkeys) == 0 {
			continue
		}
		filter, ok := peerTable(table, len(far.pkeys))
		if far.pkeysFit = ok; ok {
			facing = planPKeys(facing, far, filter)
		} else {
			s.log.Warn("P_Keys do not fit in the switch port, not enforced there", "dev", far.node.desc.String(),
				"port", far.num)
		}
	}
	s.mu.Unlock()
	return s.sendPKeys(ctx, facing) + s.sendPKeys(ctx, ends)
}

// sendPKeys writes blocks. The SA takes them for written from the start: the
// port may join a group as soon as it sees its table.
func (s *SM) sendPKeys(ctx context.Context, plan []pkeyWrite) int {
	reqs := make([]*smp, len(plan))
	s.mu.Lock()
	for i, w := range plan {
		var block mad.PKeyTable
		from := w.block * mad.PKeysPerBlock
		copy(block[:], w.table[from:])
		w.port.pkeys = slices.Clone(w.port.pkeys)
		copy(w.port.pkeys[from:min(from+mad.PKeysPerBlock, len(w.table))], w.table[from:])
		reqs[i] = set(w.port.node, s.portRoute(w.port), mad.AttrPKeyTable, pkeyMod(w.port, w.block), &block, nil)
	}
	s.mu.Unlock()
	failed := s.run(ctx, reqs)
	for i, w := range plan {
		if reqs[i].err != nil {
			s.log.Warn("cannot write a P_Key table", "dev", w.port.node.desc.String(), "port", w.port.num,
				"err", reqs[i].err)
			w.port.pkeysKnown = false
		}
	}
	return failed
}

// updateTables brings groups and P_Key tables in line with changed partitions:
// the groups first, for the ports join them when they see their table.
func (s *SM) updateTables(ctx context.Context) int {
	s.mu.Lock()
	s.applyGroupsLocked()
	t, state := s.topo, s.state
	s.mu.Unlock()
	if state != mad.SMMaster || t.self == nil {
		return 0
	}
	failed := s.writePKeys(ctx, t)
	var ports []*port
	s.mu.Lock()
	for _, p := range t.ends {
		if s.reregister[p.guid] {
			ports = append(ports, p)
		}
	}
	s.mu.Unlock()
	for _, p := range t.ends {
		if far := p.peer; far != nil && far.node.isSwitch() && !p.node.isSwitch() {
			ports = append(ports, far)
		}
	}
	failed += s.writePortInfo(ctx, ports, false)
	s.mu.Lock()
	s.pruneMembersLocked()
	s.mu.Unlock()
	wake(s.kickMFT)
	return failed
}
