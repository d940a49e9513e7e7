package sm

import (
	"cmp"
	"slices"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// Components that a join and a creation must name (o15-0.2.3, o15-0.2.4).
const (
	mcrJoin   = mad.MCRMGID | mad.MCRPortGID | mad.MCRJoinState
	mcrCreate = mad.MCRCreate
)

// saMCMemberSet joins a port to a group, and creates the group when it is
// missing and the request says enough about it.
func (s *SM) saMCMemberSet(r *saRequest) ([]mad.Attribute, mad.Status) {
	var rec mad.MCMemberRecord
	prefix, status := s.decodeMCMember(r, &rec)
	if status != mad.StatusOK {
		return nil, status
	}
	p := s.portByAliasLocked(rec.PortGID.GUID())
	if p == nil {
		return nil, mad.SAStatusReqInvalid
	}
	proxy := p != r.port
	if proxy && !sharePKey(p, r.port) || r.mask.Has(mad.MCRPKey) && rec.PKey.Base() == 0 {
		return nil, mad.SAStatusReqInvalid
	}
	g := s.groups.byMGID[rec.MGID]
	isNew := g == nil
	if isNew {
		if g, status = s.newGroupLocked(r.mask, rec, p); status != mad.StatusOK {
			return nil, status
		}
	} else if !sameParameters(r.mask, &rec, &g.rec) {
		return nil, mad.SAStatusReqInvalid
	}
	if !fitsMTUAndRate(r.mask, &rec, &g.rec) || !realizes(p, &g.rec) || rec.JoinState == 0 ||
		!p.hasPKey(g.rec.PKey) || !s.mayModifyLocked(r, g, &rec) {
		return nil, mad.SAStatusReqInvalid
	}
	if isNew {
		g.rec.MLID = s.groups.allocMLID(rec.MLID)
		if g.rec.MLID == 0 {
			return nil, mad.SAStatusNoResources
		}
		s.groups.add(g)
	}
	m := s.joinLocked(g, p, rec.PortGID, rec.JoinState, proxy)
	out := g.rec
	out.PortGID, out.ProxyJoin = rdma.MakeGID(prefix, rec.PortGID.GUID()), rec.ProxyJoin
	out.Scope, out.JoinState = m.scope, m.state
	return []mad.Attribute{&out}, mad.StatusOK
}

// saMCMemberDelete takes a port, or some of its join states, from a group.
func (s *SM) saMCMemberDelete(r *saRequest) ([]mad.Attribute, mad.Status) {
	var rec mad.MCMemberRecord
	prefix, status := s.decodeMCMember(r, &rec)
	if status != mad.StatusOK {
		return nil, status
	}
	g := s.groups.byMGID[rec.MGID]
	if g == nil {
		return nil, mad.SAStatusReqInvalid
	}
	m := g.members[rec.PortGID.GUID()]
	if m == nil || rec.JoinState == 0 || rec.JoinState&^m.state != 0 || !s.mayModifyLocked(r, g, &rec) {
		return nil, mad.SAStatusReqInvalid // o15-0.1.14
	}
	// The answer is the request with what is left, as OpenSM has it.
	out := rec
	out.PortGID = rdma.MakeGID(prefix, rec.PortGID.GUID())
	out.Scope = m.scope
	out.JoinState = s.leaveLocked(g, m, rec.JoinState)
	exact(&out)
	return []mad.Attribute{&out}, mad.StatusOK
}

// decodeMCMember reads and checks what joins and leaves have in common. The
// default prefix stands for the subnet's; the prefix of the request is
// returned for the answer.
func (s *SM) decodeMCMember(r *saRequest, rec *mad.MCMemberRecord) (uint64, mad.Status) {
	if err := r.m.Attr(rec); err != nil {
		return 0, mad.SAStatusReqInvalid
	}
	if !r.mask.Has(mcrJoin) {
		return 0, mad.SAStatusInsufficientComponents
	}
	if r.mask.Has(mad.MCRMTUSelector|mad.MCRMTU) && !rec.MTU.IsValid() ||
		r.mask.Has(mad.MCRRateSelector|mad.MCRRate) && !rec.Rate.IsValid() {
		return 0, mad.SAStatusReqInvalid
	}
	prefix := rec.PortGID.Prefix()
	if prefix == rdma.DefaultSubnetPrefix {
		rec.PortGID = rdma.MakeGID(s.cfg.SubnetPrefix, rec.PortGID.GUID())
	}
	if rec.PortGID.Prefix() != s.cfg.SubnetPrefix {
		return 0, mad.SAStatusReqInvalidGID
	}
	return prefix, mad.StatusOK
}

// mayModifyLocked tells whether a requester may change a membership: one that
// a port made itself belongs to that port alone, one made by proxy to the
// ports of the group's partition (o15-0.2.1). New memberships are free.
func (s *SM) mayModifyLocked(r *saRequest, g *group, rec *mad.MCMemberRecord) bool {
	m := g.members[rec.PortGID.GUID()]
	switch {
	case m == nil:
		return true
	case m.proxy:
		return r.port.hasPKey(g.rec.PKey)
	}
	return r.port.guid == m.guid
}

// sameParameters compares the components of a request that must be a group's.
func sameParameters(mask mad.ComponentMask, rec, g *mad.MCMemberRecord) bool {
	return !(mask.Has(mad.MCRQKey) && rec.QKey != g.QKey ||
		mask.Has(mad.MCRPKey) && (rec.PKey.Base() != g.PKey.Base() || !rec.PKey.IsFull() && !g.PKey.IsFull()) ||
		mask.Has(mad.MCRTClass) && rec.TClass != g.TClass ||
		mask.Has(mad.MCRSL) && rec.SL != g.SL ||
		mask.Has(mad.MCRFlowLabel) && rec.FlowLabel != g.FlowLabel ||
		mask.Has(mad.MCRHopLimit) && rec.HopLimit != g.HopLimit)
}

// fitsMTUAndRate compares MTU and rate of a group with what a request wants.
// The selector in the mask is what counts, as with OpenSM: without it the
// value is ignored, with it the field is compared whether it is in the mask
// or not.
func fitsMTUAndRate(mask mad.ComponentMask, rec, g *mad.MCMemberRecord) bool {
	return (!mask.Has(mad.MCRMTUSelector) || fits(rec.MTUSelector, cmp.Compare(g.MTU, rec.MTU))) &&
		(!mask.Has(mad.MCRRateSelector) || fits(rec.RateSelector, compareRates(g.Rate, rec.Rate)))
}

// fits applies a selector to the comparison of what there is with what was
// asked for.
func fits(sel mad.Selector, c int) bool {
	switch sel {
	case mad.SelectGreater:
		return c > 0
	case mad.SelectLess:
		return c < 0
	case mad.SelectExactly:
		return c == 0
	}
	return true
}

func compareRates(a, b rdma.Rate) int { return cmp.Compare(a.Mbps(), b.Mbps()) }

// realizes tells whether a port can do the MTU and the rate of a group.
func realizes(p *port, g *mad.MCMemberRecord) bool {
	return p.info.NeighborMTU >= g.MTU && compareRates(p.rate(), g.Rate) >= 0
}

// newGroupLocked makes the group that a request describes; it is not yet in
// the table and has no MLID.
func (s *SM) newGroupLocked(mask mad.ComponentMask, rec mad.MCMemberRecord, p *port) (*group, mad.Status) {
	if rec.JoinState&joinFull == 0 {
		return nil, mad.SAStatusReqInvalid // o15-0.1.9
	}
	if !mask.Has(mcrCreate) {
		return nil, mad.SAStatusInsufficientComponents
	}
	if rec.MGID.IsZero() {
		if !s.makeMGIDLocked(mask, &rec) {
			return nil, mad.SAStatusNoResources
		}
	} else if !s.mgidAllowedLocked(mask, &rec) {
		return nil, mad.SAStatusReqInvalid
	}
	mtu, ok := chooseMTU(mask, &rec, p.info.NeighborMTU, s.topo.minCAMTU)
	if !ok {
		return nil, mad.SAStatusReqInvalid
	}
	rate, ok := chooseRate(mask, &rec, p.rate())
	if !ok {
		return nil, mad.SAStatusReqInvalid
	}
	rec.MTU, rec.Rate = mtu, rate
	exact(&rec)
	rec.PortGID = rdma.GID{}
	return &group{rec: rec, members: make(map[rdma.GUID]*member)}, mad.StatusOK
}

// makeMGIDLocked makes up an MGID: SA signature, subnet prefix and a number,
// laid out as OpenSM does.
func (s *SM) makeMGIDLocked(mask mad.ComponentMask, rec *mad.MCMemberRecord) bool {
	scope := uint8(scopeLinkLocal)
	if mask.Has(mad.MCRScope) {
		scope = rec.Scope
	}
	g := rdma.MakeGID(0, 0)
	g[0], g[1], g[2], g[3] = 0xff, 0x10|scope, signatureSA>>8, signatureSA&0xff
	prefix := rdma.MakeGID(s.cfg.SubnetPrefix, 0)
	copy(g[4:12], prefix[:8])
	for range 1000 {
		n := s.groups.nextMGID
		s.groups.nextMGID++
		g[10], g[11], g[12], g[13] = uint8(n), uint8(n>>8), uint8(n>>16), uint8(n>>24)
		if s.groups.byMGID[g] == nil {
			rec.MGID = g
			return true
		}
	}
	return false
}

// mgidAllowedLocked checks an MGID that a client chose (o15-0.1.5). IPoIB's
// need the broadcast group of their P_Key and scope, and its parameters
// (RFC 4391 section 10).
func (s *SM) mgidAllowedLocked(mask mad.ComponentMask, rec *mad.MCMemberRecord) bool {
	g := rec.MGID
	if !g.IsMulticast() || g[1]&0xe0 != 0 {
		return false
	}
	if !isIPoIB(g) {
		// Link-local MGIDs with this signature are the SA's to make.
		return signatureOf(g) != signatureSA || scopeOf(g) != scopeLinkLocal
	}
	bcast := broadcastMGID(0, scopeOf(g))
	bcast[4], bcast[5] = g[4], g[5]
	if g == bcast {
		return mgidPKey(g).IsFull() && mgidPKey(g).Base() == rec.PKey.Base()
	}
	b := s.groups.byMGID[bcast]
	return b != nil && sameParameters(mask, rec, &b.rec)
}

// chooseMTU picks the MTU of a new group: what the request demands, or the
// best that the port has.
func chooseMTU(mask mad.ComponentMask, rec *mad.MCMemberRecord, own, least rdma.MTU) (rdma.MTU, bool) {
	if own == 0 {
		own = least
	}
	if !mask.Has(mad.MCRMTU|mad.MCRMTUSelector) || rec.MTUSelector == mad.SelectBest {
		return own, own.IsValid()
	}
	mtu := rec.MTU
	switch rec.MTUSelector {
	case mad.SelectGreater:
		if mtu >= own {
			return 0, false
		}
		mtu = own
	case mad.SelectLess:
		mtu = min(mtu-1, own)
	}
	return mtu, mtu.IsValid()
}

// chooseRate is chooseMTU for the rate.
func chooseRate(mask mad.ComponentMask, rec *mad.MCMemberRecord, own rdma.Rate) (rdma.Rate, bool) {
	if !mask.Has(mad.MCRRate|mad.MCRRateSelector) || rec.RateSelector == mad.SelectBest {
		return own, own.IsValid()
	}
	rate := rec.Rate
	switch rec.RateSelector {
	case mad.SelectGreater:
		if compareRates(rate, own) >= 0 {
			return 0, false
		}
		rate = own
	case mad.SelectLess:
		if compareRates(rate, own) > 0 {
			rate = own
		} else {
			rate = rateBelow(rate)
		}
	}
	return rate, rate.IsValid()
}

// rates are all codes by speed.
var rates = func() []rdma.Rate {
	var l []rdma.Rate
	for r := rdma.Rate(1); r < 64; r++ {
		if r.IsValid() {
			l = append(l, r)
		}
	}
	slices.SortStableFunc(l, compareRates)
	return l
}()

// rateBelow returns the fastest rate that is slower, 0 when there is none.
func rateBelow(r rdma.Rate) rdma.Rate {
	for _, v := range slices.Backward(rates) {
		if compareRates(v, r) < 0 {
			return v
		}
	}
	return 0
}

// saMCMemberGet reads groups, or for who has the SM_Key memberships.
func (s *SM) saMCMemberGet(r *saRequest) ([]mad.Attribute, mad.Status) {
	var rec mad.MCMemberRecord
	if err := r.m.Attr(&rec); err != nil {
		return nil, mad.SAStatusReqInvalid
	}
	var out []mad.Attribute
	add := func(g *group, gid rdma.GID, scope uint8, state mad.JoinState, proxy bool) {
		if r.mask.Has(mad.MCRScope) && rec.Scope != scope ||
			r.mask.Has(mad.MCRJoinState) && rec.JoinState != state {
			return
		}
		v := g.rec
		v.Scope, v.JoinState = scope, 0
		if r.trusted {
			v.PortGID, v.JoinState, v.ProxyJoin = gid, state, proxy
		}
		out = append(out, &v)
	}
	for _, g := range s.groupsForLocked(r, &rec) {
		switch {
		case r.mask.Has(mad.MCRPortGID):
			if m := g.members[rec.PortGID.GUID()]; m != nil {
				add(g, m.gid, m.scope, m.state, m.proxy)
			}
		case r.trusted:
			for _, m := range g.sortedMembers() {
				add(g, m.gid, m.scope, m.state, m.proxy)
			}
		default:
			add(g, rdma.GID{}, g.rec.Scope, g.rec.JoinState, false)
		}
	}
	return out, mad.StatusOK
}

// groupsForLocked returns the groups that a requester may see and that fit the
// components that are a group's.
func (s *SM) groupsForLocked(r *saRequest, rec *mad.MCMemberRecord) []*group {
	var candidates []*group
	if r.mask.Has(mad.MCRMGID) {
		if g := s.groups.byMGID[rec.MGID]; g != nil {
			candidates = append(candidates, g)
		}
	} else {
		candidates = s.groups.sorted()
	}
	return slices.DeleteFunc(candidates, func(g *group) bool {
		return r.mask.Has(mad.MCRMLID) && rec.MLID != g.rec.MLID ||
			!r.port.hasPKey(g.rec.PKey) || !sameParameters(r.mask, rec, &g.rec) ||
			r.mask.Has(mad.MCRProxyJoin) && rec.ProxyJoin != g.rec.ProxyJoin ||
			!fitsMTUAndRate(r.mask, rec, &g.rec)
	})
}
