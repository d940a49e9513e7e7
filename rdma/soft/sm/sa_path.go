package sm

import (
	"cmp"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// saPathGet answers PathRecord: Get gives one path, GetTable up to NumbPath
// for each pair of ports.
func (s *SM) saPathGet(r *saRequest) ([]mad.Attribute, mad.Status) {
	var q mad.PathRecord
	if err := r.m.Attr(&q); err != nil {
		return nil, mad.SAStatusReqInvalid
	}
	if r.mask.Has(mad.PRRateSelector|mad.PRRate) && !q.Rate.IsValid() ||
		r.mask.Has(mad.PRMTUSelector|mad.PRMTU) && !q.MTU.IsValid() {
		return nil, mad.SAStatusReqInvalid
	}
	if id := r.mask & mad.PRServiceID; id != 0 && id != mad.PRServiceID {
		return nil, mad.SAStatusInsufficientComponents
	}
	if r.mask.Has(mad.PRDGID) && q.DGID.IsMulticast() {
		return s.multicastPathLocked(r, &q), mad.StatusOK
	}
	src, ok := s.endsLocked(r.mask.Has(mad.PRSGID), q.SGID, r.mask.Has(mad.PRSLID), q.SLID)
	if !ok {
		return nil, mad.StatusOK
	}
	dst, ok := s.endsLocked(r.mask.Has(mad.PRDGID), q.DGID, r.mask.Has(mad.PRDLID), q.DLID)
	if !ok {
		return nil, mad.StatusOK
	}
	if src.conflict || dst.conflict {
		return nil, mad.SAStatusReqInvalid
	}
	if r.m.Method() != mad.MethodGet && r.mask.Has(mad.PRNumbPath) && q.NumbPath == 0 {
		return nil, mad.StatusOK
	}
	var out []mad.Attribute
	for _, d := range dst.ports {
		for _, p := range src.ports {
			rec := s.unicastPathLocked(r, &q, p, d)
			if rec == nil {
				continue
			}
			if src.gid != (rdma.GID{}) {
				rec.SGID = src.gid
			}
			if dst.gid != (rdma.GID{}) {
				rec.DGID = dst.gid
			}
			out = append(out, rec)
			if r.m.Method() == mad.MethodGet {
				return out, mad.StatusOK
			}
		}
	}
	return out, mad.StatusOK
}

// pathEnds are the ports that one side of a path request names.
type pathEnds struct {
	ports []*port
	// gid is the GID of the request, zero when it named none.
	gid rdma.GID
	// conflict is set when GID and LID name different ports.
	conflict bool
}

// endsLocked looks the ports up: all, when neither GID nor LID is given. It
// reports false when there is none.
func (s *SM) endsLocked(byGID bool, gid rdma.GID, byLID bool, lid rdma.LID) (pathEnds, bool) {
	var e pathEnds
	var p, q *port
	if byGID {
		if gid.Prefix() != rdma.DefaultSubnetPrefix && gid.Prefix() != s.cfg.SubnetPrefix {
			return e, false
		}
		if p = s.portByAliasLocked(gid.GUID()); p == nil {
			return e, false
		}
		e.gid, e.ports = gid, []*port{p}
	}
	if byLID {
		if q = s.topo.byLID[lid]; q == nil {
			return e, false
		}
		e.ports = []*port{q}
		e.conflict = p != nil && p != q
	}
	if !byGID && !byLID {
		e.ports = s.topo.ends
	}
	return e, true
}

// unicastPathLocked returns the path between two ports, nil when there is none
// that fits the request. Its MTU and rate are the least along the way.
func (s *SM) unicastPathLocked(r *saRequest, q *mad.PathRecord, src, dst *port) *mad.PathRecord {
	if src.lid == 0 || dst.lid == 0 || !sharePKey(r.port, src) || !sharePKey(r.port, dst) || !sharePKey(src, dst) {
		return nil
	}
	pkey, ok := pathPKey(r.mask, q, src, dst)
	if !ok {
		return nil
	}
	there, ok := s.pathParamsLocked(src, dst)
	if !ok {
		return nil
	}
	life := uint8(DefaultPacketLife)
	if src == dst {
		life = 0 // loopback (IBA table 205)
	}
	if !there.fit(r.mask, q) || !fitLife(r.mask, q, &life) {
		return nil
	}
	back, ok := s.pathParamsLocked(dst, src)
	reversible := ok && back.fit(r.mask, q)
	if r.mask.Has(mad.PRReversible) && q.Reversible && !reversible {
		return nil
	}
	rec := &mad.PathRecord{
		DGID: dst.gid(s.cfg.SubnetPrefix), SGID: src.gid(s.cfg.SubnetPrefix), DLID: dst.lid, SLID: src.lid,
		Reversible: reversible, PKey: pkey, SL: s.pathSLLocked(r.mask, q, pkey),
		MTUSelector: mad.SelectExactly, MTU: there.mtu, RateSelector: mad.SelectExactly, Rate: there.rate,
		PacketLifeTimeSelector: mad.SelectExactly, PacketLifeTime: life,
	}
	return rec
}

// pathPKey picks the P_Key of a path: what was asked for, in the form that it
// was asked for, or else the first that the ports share.
func pathPKey(mask mad.ComponentMask, q *mad.PathRecord, src, dst *port) (rdma.PKey, bool) {
	switch {
	case mask.Has(mad.PRRawTraffic) && q.RawTraffic:
		return 0, true
	case mask.Has(mad.PRPKey):
		return q.PKey, shareThisPKey(src, dst, q.PKey)
	}
	return commonPKey(src, dst)
}

// pathSLLocked is the SL asked for, or the partition's.
func (s *SM) pathSLLocked(mask mad.ComponentMask, q *mad.PathRecord, k rdma.PKey) uint8 {
	if mask.Has(mad.PRSL) {
		return q.SL
	}
	if p := s.confLocked().byPKey(k); p != nil {
		return p.SL
	}
	return 0
}

// pathParams are the limits along a way.
type pathParams struct {
	mtu  rdma.MTU
	rate rdma.Rate
}

func (v *pathParams) limit(p *port) {
	if p.info.MTUCap < v.mtu {
		v.mtu = p.info.MTUCap
	}
	if r := p.rate(); compareRates(r, v.rate) < 0 {
		v.rate = r
	}
}

// pathParamsLocked walks the forwarding tables.
func (s *SM) pathParamsLocked(src, dst *port) (pathParams, bool) {
	v := pathParams{mtu: src.info.MTUCap, rate: src.rate()}
	if !s.topo.path(src, dst, v.limit) {
		return v, false
	}
	v.limit(dst)
	return v, true
}

// fit adapts the limits to what a request wants and reports whether it can be
// had. MTU is lowered to a smaller one that was asked for exactly, the rate is
// not: as OpenSM answers.
func (v *pathParams) fit(mask mad.ComponentMask, q *mad.PathRecord) bool {
	if mask.Has(mad.PRMTUSelector | mad.PRMTU) {
		c := cmp.Compare(v.mtu, q.MTU)
		switch {
		case q.MTUSelector == mad.SelectLess && c >= 0:
			if v.mtu = q.MTU - 1; !v.mtu.IsValid() {
				return false
			}
		case q.MTUSelector == mad.SelectExactly && c > 0:
			v.mtu = q.MTU
		case !fits(q.MTUSelector, c):
			return false
		}
	}
	if mask.Has(mad.PRRateSelector | mad.PRRate) {
		c := compareRates(v.rate, q.Rate)
		switch {
		case q.RateSelector == mad.SelectLess && c >= 0:
			if v.rate = rateBelow(q.Rate); v.rate == 0 {
				return false
			}
		case !fits(q.RateSelector, c):
			return false
		}
	}
	return true
}

// fitLife does the same for the packet life time.
func fitLife(mask mad.ComponentMask, q *mad.PathRecord, life *uint8) bool {
	if !mask.Has(mad.PRPacketLifeTimeSelector | mad.PRPacketLifeTime) {
		return true
	}
	c := cmp.Compare(*life, q.PacketLifeTime)
	switch {
	case q.PacketLifeTimeSelector == mad.SelectLess && c >= 0:
		if q.PacketLifeTime <= 1 {
			return false
		}
		*life = q.PacketLifeTime - 1
		return true
	case q.PacketLifeTimeSelector == mad.SelectExactly && c > 0:
		*life = q.PacketLifeTime
		return true
	}
	return fits(q.PacketLifeTimeSelector, c)
}

// multicastPathLocked answers for a multicast DGID: the request with the
// parameters of the group, whose MLID is the DLID. A source that is named must
// be a member.
func (s *SM) multicastPathLocked(r *saRequest, q *mad.PathRecord) []mad.Attribute {
	g := s.groups.byMGID[q.DGID]
	if g == nil {
		return nil
	}
	rec := &g.rec
	if r.mask.Has(mad.PRSGID) && g.members[q.SGID.GUID()] == nil {
		return nil
	}
	if r.mask.Has(mad.PRSLID) {
		p := s.topo.byLID[q.SLID]
		if p == nil || g.memberAt(p) == nil {
			return nil
		}
	}
	if r.mask.Has(mad.PRDLID) && q.DLID != rec.MLID ||
		r.mask.Has(mad.PRPKey) && q.PKey != rec.PKey ||
		r.mask.Has(mad.PRSL) && q.SL != rec.SL ||
		r.mask.Has(mad.PRFlowLabel) && q.FlowLabel != rec.FlowLabel ||
		r.mask.Has(mad.PRHopLimit) && q.HopLimit != rec.HopLimit ||
		r.mask.Has(mad.PRTClass) && q.TClass != rec.TClass ||
		r.m.Method() != mad.MethodGet && r.mask.Has(mad.PRNumbPath) && q.NumbPath == 0 {
		return nil
	}
	out := *q
	out.DGID, out.DLID, out.TClass, out.PKey = rec.MGID, rec.MLID, rec.TClass, rec.PKey
	out.Reversible, out.NumbPath = false, 1
	out.SL, out.QoSClass, out.RawTraffic = rec.SL, 0, false
	out.FlowLabel, out.HopLimit = rec.FlowLabel, rec.HopLimit
	if scopeOf(rec.MGID) != scopeLinkLocal {
		out.HopLimit = hopLimitMax
	}
	out.MTUSelector, out.MTU = mad.SelectExactly, rec.MTU
	out.RateSelector, out.Rate = mad.SelectExactly, rec.Rate
	out.PacketLifeTimeSelector, out.PacketLifeTime = mad.SelectExactly, rec.PacketLifeTime
	return []mad.Attribute{&out}
}

// memberAt returns the membership of a port, under any of its GIDs.
func (g *group) memberAt(p *port) *member {
	for _, m := range g.members {
		if m.guid == p.guid {
			return m
		}
	}
	return nil
}

// saMultiPathGet answers GetMulti of MultiPathRecord: the paths between all
// sources and all destinations.
func (s *SM) saMultiPathGet(r *saRequest) ([]mad.Attribute, mad.Status) {
	var q mad.MultiPathRecord
	if err := r.m.Attr(&q); err != nil {
		return nil, mad.SAStatusReqInvalid
	}
	if len(q.SGIDs) == 0 || len(q.DGIDs) == 0 {
		return nil, mad.SAStatusInsufficientComponents
	}
	one := mad.PathRecord{
		RawTraffic: q.RawTraffic, Reversible: q.Reversible, PKey: q.PKey, SL: q.SL,
		MTUSelector: q.MTUSelector, MTU: q.MTU, RateSelector: q.RateSelector, Rate: q.Rate,
		PacketLifeTimeSelector: q.PacketLifeTimeSelector, PacketLifeTime: q.PacketLifeTime,
	}
	sub := *r
	sub.mask = multiPathMask(r.mask)
	if sub.mask.Has(mad.PRRateSelector|mad.PRRate) && !q.Rate.IsValid() ||
		sub.mask.Has(mad.PRMTUSelector|mad.PRMTU) && !q.MTU.IsValid() {
		return nil, mad.SAStatusReqInvalid
	}
	var out []mad.Attribute
	for _, d := range q.DGIDs {
		for _, g := range q.SGIDs {
			src, ok1 := s.endsLocked(true, g, false, 0)
			dst, ok2 := s.endsLocked(true, d, false, 0)
			if !ok1 || !ok2 {
				return nil, mad.SAStatusReqInvalidGID
			}
			if rec := s.unicastPathLocked(&sub, &one, src.ports[0], dst.ports[0]); rec != nil {
				rec.SGID, rec.DGID = g, d
				out = append(out, rec)
			}
		}
	}
	return out, mad.StatusOK
}

// multiPathMask translates the components of MultiPathRecord that limit paths.
func multiPathMask(m mad.ComponentMask) mad.ComponentMask {
	var out mad.ComponentMask
	for _, e := range [...]struct{ multi, path mad.ComponentMask }{
		{mad.MPRRawTraffic, mad.PRRawTraffic}, {mad.MPRReversible, mad.PRReversible},
		{mad.MPRPKey, mad.PRPKey}, {mad.MPRSL, mad.PRSL},
		{mad.MPRMTUSelector, mad.PRMTUSelector}, {mad.MPRMTU, mad.PRMTU},
		{mad.MPRRateSelector, mad.PRRateSelector}, {mad.MPRRate, mad.PRRate},
		{mad.MPRPacketLifeTimeSelector, mad.PRPacketLifeTimeSelector},
		{mad.MPRPacketLifeTime, mad.PRPacketLifeTime},
	} {
		if m.Has(e.multi) {
			out |= e.path
		}
	}
	return out
}
