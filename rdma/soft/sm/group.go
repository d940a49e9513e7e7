package sm

import (
	"bytes"
	"maps"
	"slices"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

const joinFull = mad.JoinFullMember | mad.JoinSendOnlyFullMember

// joinReceives are the kinds of membership that traffic is forwarded to.
const joinReceives = mad.JoinFullMember | mad.JoinNonMember

// group is a multicast group. It is guarded by SM.mu.
type group struct {
	// rec holds the parameters, and in JoinState what the creator asked for.
	rec     mad.MCMemberRecord
	members map[rdma.GUID]*member
	// configured groups belong to the partition configuration and live
	// without members.
	configured bool
}

// member is the membership of one port.
type member struct {
	guid  rdma.GUID
	gid   rdma.GID
	state mad.JoinState
	// scope is the group's at the time of the join: what the record of the
	// membership says.
	scope uint8
	// proxy is set when another port made the join (o15-0.1.2).
	proxy bool
}

// fullMembers counts the members that keep the group alive.
func (g *group) fullMembers() int {
	n := 0
	for _, m := range g.members {
		if m.state&joinFull != 0 {
			n++
		}
	}
	return n
}

// sortedMembers returns the members by GUID.
func (g *group) sortedMembers() []*member {
	return slices.SortedFunc(maps.Values(g.members), func(a, b *member) int {
		return bytes.Compare(a.gid[:], b.gid[:])
	})
}

// groupTable are the multicast groups of the subnet. It is guarded by SM.mu.
type groupTable struct {
	byMGID map[rdma.GID]*group
	// byMLID has the group of each MLID from 0xc000, nil where it is free.
	byMLID []*group
	// dirty are the MLIDs whose forwarding entries are to be written.
	dirty map[rdma.LID]bool
	// nextMGID counts the MGIDs that the SA made up.
	nextMGID uint32
	// capacity is the number of MLIDs that all switches can forward.
	capacity int
}

// maxMLIDs is the number of multicast LIDs that there are (IBA 4.1.3).
const maxMLIDs = int(rdma.LIDLastMulticast-rdma.LIDFirstMulticast) + 1

func newGroupTable() groupTable {
	return groupTable{
		byMGID: make(map[rdma.GID]*group), dirty: make(map[rdma.LID]bool), capacity: maxMLIDs,
	}
}

// sorted returns the groups by MGID.
func (t *groupTable) sorted() []*group {
	return slices.SortedFunc(maps.Values(t.byMGID), func(a, b *group) int {
		return bytes.Compare(a.rec.MGID[:], b.rec.MGID[:])
	})
}

// allocMLID returns the MLID asked for when it is free, or else the lowest free
// one; 0 when there is none.
func (t *groupTable) allocMLID(want rdma.LID) rdma.LID {
	free := func(i int) bool { return i >= len(t.byMLID) || t.byMLID[i] == nil }
	if i := int(want) - int(rdma.LIDFirstMulticast); i >= 0 && i < t.capacity && free(i) {
		return want
	}
	for i := range t.capacity {
		if free(i) {
			return rdma.LIDFirstMulticast + rdma.LID(i)
		}
	}
	return 0
}

// add registers a group under the MLID in its record.
func (t *groupTable) add(g *group) {
	i := int(g.rec.MLID - rdma.LIDFirstMulticast)
	for len(t.byMLID) <= i {
		t.byMLID = append(t.byMLID, nil)
	}
	t.byMLID[i] = g
	t.byMGID[g.rec.MGID] = g
}

// remove drops a group and frees its MLID.
func (t *groupTable) remove(g *group) {
	t.byMLID[g.rec.MLID-rdma.LIDFirstMulticast] = nil
	delete(t.byMGID, g.rec.MGID)
	t.dirty[g.rec.MLID] = true
}

// exact sets the selectors as every answer has them.
func exact(r *mad.MCMemberRecord) {
	r.MTUSelector, r.RateSelector, r.PacketLifeTimeSelector = mad.SelectExactly, mad.SelectExactly, mad.SelectExactly
}

// configuredRecord is the record of a group of the partition configuration.
func configuredRecord(p *Partition, c *GroupConfig) mad.MCMemberRecord {
	r := mad.MCMemberRecord{
		MGID: c.MGID, QKey: c.QKey, MTU: c.MTU, Rate: c.Rate, PKey: p.PKey.Full(), SL: c.SL,
		TClass: c.TClass, FlowLabel: c.FlowLabel, PacketLifeTime: DefaultPacketLife,
		Scope: scopeOf(c.MGID), JoinState: mad.JoinFullMember,
	}
	if r.Scope != scopeLinkLocal {
		r.HopLimit = hopLimitMax
	}
	exact(&r)
	return r
}

// join adds bits to the membership of a port and returns what it is then.
func (s *SM) joinLocked(g *group, p *port, gid rdma.GID, bits mad.JoinState, proxy bool) *member {
	m := g.members[gid.GUID()]
	before := g.fullMembers()
	if m == nil {
		m = &member{guid: p.guid, gid: gid, scope: g.rec.Scope, proxy: proxy}
		g.members[gid.GUID()] = m
	}
	if m.state != m.state|bits {
		m.state |= bits
		s.groups.dirty[g.rec.MLID] = true
	}
	if before == 0 && g.fullMembers() != 0 {
		s.reportGroupLocked(mad.TrapMCGroupCreated, g)
	}
	return m
}

// leave takes bits from the membership of a port and returns the rest. The
// group goes with its last full member, and the other members with it, unless
// it is configured: then the members go all the same, as OpenSM has it.
func (s *SM) leaveLocked(g *group, m *member, bits mad.JoinState) mad.JoinState {
	before := g.fullMembers()
	m.state &^= bits
	s.groups.dirty[g.rec.MLID] = true
	if m.state == 0 {
		delete(g.members, m.gid.GUID())
	}
	if before == 0 || g.fullMembers() != 0 {
		return m.state
	}
	s.reportGroupLocked(mad.TrapMCGroupDeleted, g)
	clear(g.members)
	if !g.configured {
		s.groups.remove(g)
	}
	return 0
}

// dropMemberLocked removes what is left of a port that is gone, or that lost
// the partition of a group.
func (s *SM) dropMemberLocked(g *group, m *member) { s.leaveLocked(g, m, ^mad.JoinState(0)) }

// dropGroupLocked removes a configured group that is not configured any more, or
// otherwise. With an IPoIB broadcast group go the others of its link, whose
// parameters are its own (RFC 4391 section 10). Members lose them; those that
// stay in the partition are asked to register again.
func (s *SM) dropGroupLocked(g *group) {
	s.dropOneLocked(g)
	mgid := g.rec.MGID
	if mgid != broadcastMGID(mgidPKey(mgid), scopeOf(mgid)) {
		return
	}
	for _, o := range s.groups.sorted() {
		m := o.rec.MGID
		if !o.configured && isIPoIB(m) && mgidPKey(m) == mgidPKey(mgid) && scopeOf(m) == scopeOf(mgid) {
			s.dropOneLocked(o)
		}
	}
}

func (s *SM) dropOneLocked(g *group) {
	if g.fullMembers() != 0 {
		s.reportGroupLocked(mad.TrapMCGroupDeleted, g)
	}
	if part := s.conf.byPKey(g.rec.PKey); part != nil {
		for _, m := range g.members {
			if p := s.topo.byPort[m.guid]; p != nil {
				if kind, _ := part.member(s.endPortLocked(p)); kind != NotMember {
					s.reregister[p.guid] = true
				}
			}
		}
	}
	clear(g.members)
	s.groups.remove(g)
}

// pruneMembersLocked drops the memberships of ports that are not there any
// more or lost the group's partition.
func (s *SM) pruneMembersLocked() {
	for _, g := range s.groups.sorted() {
		for _, m := range g.sortedMembers() {
			p := s.topo.byPort[m.guid]
			if g.members[m.gid.GUID()] == m && (p == nil || !p.hasPKey(g.rec.PKey)) {
				s.dropMemberLocked(g, m)
			}
		}
	}
}

// memberPorts returns the end ports that are members in the group of an MLID.
func (s *SM) memberPortsLocked(mlid rdma.LID) []memberPort {
	i := int(mlid - rdma.LIDFirstMulticast)
	if i >= len(s.groups.byMLID) || s.groups.byMLID[i] == nil {
		return nil
	}
	var out []memberPort
	index := make(map[*port]int)
	for _, m := range s.groups.byMLID[i].sortedMembers() {
		p := s.topo.byPort[m.guid]
		if p == nil {
			continue
		}
		receives := m.state&joinReceives != 0
		if k, ok := index[p]; ok {
			out[k].receives = out[k].receives || receives
			continue
		}
		index[p] = len(out)
		out = append(out, memberPort{p, receives})
	}
	return out
}
