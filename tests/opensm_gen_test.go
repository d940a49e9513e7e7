//go:build integration

package tests

import (
	"math/rand/v2"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// saGenerator makes requests to the SA, most of them nearly right. It leaves out
// what we do otherwise than OpenSM on purpose: it miscounts the full members
// of a group when one port is a full and a send-only full member; it makes
// broadcast groups whose P_Key is not that of their MGID; it ends the other
// memberships in a configured group without full members when any port leaves
// (rare: no sequence of this seed has it).
type saGenerator struct {
	rng   *rand.Rand
	n     *subnet
	mgids []rdma.GID
	made  []rdma.GID // by the SA
}

func newSAGenerator(rng *rand.Rand, n *subnet) *saGenerator {
	g := &saGenerator{rng: rng, n: n}
	for _, s := range []string{
		"ff12:401b:ffff::ffff:ffff", "ff12:401b:8002::ffff:ffff", // broadcast
		"ff12:401b:ffff::1", "ff12:401b:ffff::16", "ff12:401b:8002::1", "ff12:601b:ffff::1",
		"ff12:601b:ffff::1:ff10:3", "ff12:601b:8002::16",
		"ff15:401b:ffff::1", "ff12:401b:8003::1", "ff12:401b:ffff::fff:ffff",
		"ff12:a01b:fe80::5", "ff1e:a01b:fe80::5", "ff12:1234::7", "ff32:1234::7", "fe80::10:5", "::",
	} {
		g.mgids = append(g.mgids, rdma.MustParseGID(s))
	}
	return g
}

func pick[T any](r *rand.Rand, v ...T) T { return v[r.IntN(len(v))] }

// rarely is true once in n times.
func (g *saGenerator) rarely(n int) bool { return g.rng.IntN(n) == 0 }

func (g *saGenerator) mgid() rdma.GID {
	switch {
	case g.rarely(3):
		return pick(g.rng, g.mgids...)
	case len(g.made) > 0 && g.rarely(8):
		return pick(g.rng, g.made...)
	}
	return pick(g.rng, g.mgids[:8]...)
}

func (g *saGenerator) portGID(from int) rdma.GID {
	switch {
	case !g.rarely(8):
		return g.n.gid(from)
	case g.rarely(4):
		return rdma.MakeGID(0xfec0<<48, g.n.ports[from].GUID())
	case g.rarely(4):
		return rdma.MakeGID(rdma.DefaultSubnetPrefix, 0x999)
	}
	return g.n.gid(1 + g.rng.IntN(3))
}

func (g *saGenerator) group(from int) *mad.MCMemberRecord {
	mgid := g.mgid()
	r := &mad.MCMemberRecord{
		MGID: mgid, PortGID: g.portGID(from), QKey: 0x0b1b, PKey: rdma.PKeyDefault,
		MTUSelector: mad.SelectExactly, MTU: rdma.MTU2048, RateSelector: mad.SelectExactly, Rate: rdma.Rate10,
		JoinState: g.joinState(mgid),
	}
	if p := rdma.PKey(r.MGID[4])<<8 | rdma.PKey(r.MGID[5]); p == 0x8002 {
		r.PKey = p
	}
	for g.rarely(3) {
		switch g.rng.IntN(14) {
		case 0:
			r.QKey = pick[rdma.QKey](g.rng, 0, 0x80000b1b, 0x0b1c)
		case 1:
			r.MTUSelector = mad.Selector(g.rng.IntN(4))
		case 2:
			r.MTU = rdma.MTU(g.rng.IntN(7))
		case 3:
			r.RateSelector = mad.Selector(g.rng.IntN(4))
		case 4:
			r.Rate = pick[rdma.Rate](g.rng, 0, 1, 2, 3, 4, 5, 6, 7, 22, 23, 63)
		case 5:
			if r.PKey &= 0x7fff; r.MGID[12] != 0xff {
				r.PKey = pick(g.rng, r.PKey, 0x8002, 0xffff, 0, 0x8000, 0x8003)
			}
		case 6:
			r.SL = uint8(g.rng.IntN(16))
		case 7:
			r.TClass = 5
		case 8:
			r.FlowLabel = 77
		case 9:
			r.HopLimit = 3
		case 10:
			r.Scope = uint8(g.rng.IntN(16))
		case 11:
			r.JoinState |= g.joinState(mgid)
		case 12:
			r.PacketLifeTimeSelector, r.PacketLifeTime = mad.Selector(g.rng.IntN(4)), uint8(g.rng.IntN(64))
		case 13:
			r.MLID = pick[rdma.LID](g.rng, 0xc000, 0xc002, 0xc010, 7)
		}
	}
	return r
}

// joinState keeps send-only full members apart from others.
func (g *saGenerator) joinState(mgid rdma.GID) mad.JoinState {
	if mgid[15]%2 == 0 {
		return pick[mad.JoinState](g.rng, 8, 8, 8, 0)
	}
	return pick[mad.JoinState](g.rng, 1, 1, 1, 1, 2, 4, 5, 0)
}

// mask is one of those that clients use, at times with another bit.
func (g *saGenerator) mask(bits int, masks ...mad.ComponentMask) mad.ComponentMask {
	m := pick(g.rng, masks...)
	for g.rarely(4) {
		m ^= 1 << g.rng.IntN(bits)
	}
	return m
}

func (g *saGenerator) next() *saExchange {
	from := 2 + g.rng.IntN(2)
	x := &saExchange{from: from, attr: mad.AttrMCMemberRecord}
	switch g.rng.IntN(10) {
	case 0, 1, 2, 3:
		x.method, x.rec = mad.MethodSet, g.group(from)
		x.mask = g.mask(18, mad.MCRJoin, mad.MCRJoinCreate, mad.MCRJoinCreate, mad.MCRCreate, mad.MCRLeave)
	case 4, 5, 6:
		x.method, x.rec = mad.MethodDelete, g.group(from)
		x.mask = g.mask(18, mad.MCRLeave, mad.MCRJoin)
	case 7:
		x.method, x.rec = pick(g.rng, mad.MethodGet, mad.MethodGetTable), g.group(from)
		x.mask = g.mask(18, mad.MCRMGID, mad.MCRMGID|mad.MCRPortGID, mad.MCRMGID|mad.MCRPKey)
		if g.rarely(4) {
			x.key = 1
		}
	default:
		x.method, x.attr, x.rec = pick(g.rng, mad.MethodGet, mad.MethodGetTable), mad.AttrPathRecord, g.path(from)
		x.mask = g.mask(23, mad.PRIPoIB, mad.PRIPoIB|mad.PRReversible, mad.PRDGID|mad.PRSGID|mad.PRPKey, mad.PRDLID|mad.PRSLID|mad.PRPKey)
		// Between two ports, in one partition: which of many paths comes
		// first means nothing.
		x.mask |= mad.PRPKey
		if x.mask&(mad.PRSGID|mad.PRSLID) == 0 {
			x.mask |= mad.PRSGID
		}
		if x.mask&(mad.PRDGID|mad.PRDLID) == 0 {
			x.mask |= mad.PRDGID
		}
	}
	return x
}

func (g *saGenerator) path(from int) *mad.PathRecord {
	to := 1 + g.rng.IntN(3)
	r := &mad.PathRecord{
		SGID: g.n.gid(from), DGID: g.n.gid(to), SLID: g.n.ports[from].Attr().LID, DLID: g.n.ports[to].Attr().LID,
		Reversible: true, NumbPath: 1, PKey: rdma.PKeyDefault,
		MTUSelector: mad.SelectExactly, MTU: rdma.MTU2048, RateSelector: mad.SelectExactly, Rate: rdma.Rate10,
		PacketLifeTimeSelector: mad.SelectExactly, PacketLifeTime: 18,
	}
	for g.rarely(3) {
		switch g.rng.IntN(14) {
		case 0:
			r.SGID = g.portGID(from)
		case 1:
			r.DGID = g.mgid()
		case 2:
			r.DLID = pick[rdma.LID](g.rng, 0, 2, 9, 0xc000)
		case 3:
			r.PKey = pick[rdma.PKey](g.rng, 0x7fff, 0x8002, 0x0002, 0)
		case 4:
			r.SL = uint8(g.rng.IntN(16))
		case 5:
			r.MTUSelector, r.MTU = mad.Selector(g.rng.IntN(4)), rdma.MTU(g.rng.IntN(7))
		case 6:
			r.RateSelector, r.Rate = mad.Selector(g.rng.IntN(4)), pick[rdma.Rate](g.rng, 0, 2, 3, 6, 7, 63)
		case 7:
			r.PacketLifeTimeSelector, r.PacketLifeTime = mad.Selector(g.rng.IntN(4)), uint8(g.rng.IntN(64))
		case 8:
			r.Reversible = false
		case 9:
			r.NumbPath = uint8(g.rng.IntN(128))
		case 10:
			r.TClass, r.FlowLabel, r.HopLimit = 5, 77, 3
		case 11:
			r.QoSClass = 3
		case 12:
			r.RawTraffic = true
		case 13:
			r.DGID = g.n.gid(from)
		}
	}
	return r
}

// learn remembers the groups that the SA named.
func (g *saGenerator) learn(x *saExchange, answer *mad.MAD) {
	var r mad.MCMemberRecord
	if x.method == mad.MethodSet && x.attr == mad.AttrMCMemberRecord && answer.Status() == mad.StatusOK && answer.Attr(&r) == nil {
		if old, ok := x.rec.(*mad.MCMemberRecord); ok && old.MGID.IsZero() {
			g.made = append(g.made, r.MGID)
		}
	}
}
