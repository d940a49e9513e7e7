package sm

import (
	"slices"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// Defaults of multicast groups that a partition file does not say otherwise
// about (OpenSM's osm_base.h).
const (
	DefaultGroupMTU   = rdma.MTU2048
	DefaultGroupRate  = rdma.Rate10
	DefaultGroupQKey  = rdma.QKey(0x0b1b)
	DefaultGroupScope = 2
	// DefaultPacketLife is a time code, 4.096 us x 2^18, about 1 s. It is the
	// subnet time-out and the packet life of paths and configured groups.
	DefaultPacketLife = 18

	defaultPartitionName = "Default"
	hopLimitMax          = 255
	scopeLinkLocal       = 2
)

// Membership is the kind of membership of a port in a partition.
type Membership uint8

// The kinds. A limited member talks to full members only (IBA 10.9.1.1).
const (
	NotMember Membership = iota
	LimitedMember
	FullMember
	// BothMembers has a full and a limited entry in its P_Key table.
	BothMembers
)

var membershipNames = [...]string{"none", "limited", "full", "both"}

// String prints the word of the partition file.
func (m Membership) String() string {
	if int(m) < len(membershipNames) {
		return membershipNames[m]
	}
	return "?"
}

// MarshalText makes a membership a word in JSON.
func (m Membership) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// Selector says which ports a member rule is about.
type Selector uint8

// The selectors, named after the keywords of the partition file.
const (
	SelectGUID Selector = iota
	SelectAll
	SelectAllCAs
	SelectAllSwitches
	SelectAllRouters
	SelectSelf
)

// MemberRule gives ports a membership. Of the rules of a partition that fit a
// port the last one counts.
type MemberRule struct {
	Selector   Selector
	GUID       rdma.GUID // with SelectGUID
	Membership Membership
	// Index0 puts the P_Key at index 0 of the port's table.
	Index0 bool
}

// endPort is what member rules look at.
type endPort struct {
	guid rdma.GUID
	kind mad.NodeType
	self bool
}

func (r *MemberRule) matches(p endPort) bool {
	switch r.Selector {
	case SelectGUID:
		return r.GUID == p.guid
	case SelectAll:
		return true
	case SelectAllCAs:
		return p.kind == mad.NodeTypeCA
	case SelectAllSwitches:
		return p.kind == mad.NodeTypeSwitch
	case SelectAllRouters:
		return p.kind == mad.NodeTypeRouter
	case SelectSelf:
		return p.self
	}
	return false
}

// GroupConfig is a multicast group that exists while its partition has
// members, whoever joins it.
type GroupConfig struct {
	// MGID holds the scope and, where its signature is IPoIB's, the P_Key.
	MGID      rdma.GID
	QKey      rdma.QKey
	MTU       rdma.MTU
	Rate      rdma.Rate
	SL        uint8
	TClass    uint8
	FlowLabel uint32 // 20 bits
}

// Partition is a set of ports that may talk to each other.
type Partition struct {
	Name string
	// PKey is the partition number; bit 15 is 0.
	PKey   rdma.PKey
	SL     uint8
	Rules  []MemberRule
	Groups []GroupConfig
}

// member returns the membership of a port and whether it is to be at index 0
// of the port's table.
func (p *Partition) member(e endPort) (Membership, bool) {
	for i := len(p.Rules) - 1; i >= 0; i-- {
		if r := &p.Rules[i]; r.matches(e) {
			return r.Membership, r.Index0
		}
	}
	return NotMember, false
}

// Partitions is the partition configuration of a subnet. ParsePartitions makes
// one; nil stands for open membership.
type Partitions struct {
	// List holds the partitions in the order of their definition. The
	// default partition is always there and is the first.
	List []*Partition
	// Warnings tell what was ignored.
	Warnings []Warning
}

// byPKey returns the partition with a number.
func (c *Partitions) byPKey(k rdma.PKey) *Partition {
	i := slices.IndexFunc(c.List, func(p *Partition) bool { return p.PKey == k.Base() })
	if i < 0 {
		return nil
	}
	return c.List[i]
}

// openPartitions is what applies without a partition file: every port is a
// full member of the default partition, which has an IPoIB broadcast group.
func openPartitions() *Partitions {
	p := &Partition{
		Name: defaultPartitionName, PKey: rdma.PKeyDefaultLimited,
		Rules: []MemberRule{{Selector: SelectAll, Membership: FullMember}},
	}
	p.Groups = []GroupConfig{broadcastGroup(p.PKey, defaultFlags(), DefaultGroupScope)}
	return &Partitions{List: []*Partition{p}}
}

// filePartitions is what applies before the first line of a partition file:
// the ports are limited members of the default partition, the manager's own
// is a full one.
func filePartitions() *Partitions {
	return &Partitions{List: []*Partition{{
		Name: defaultPartitionName, PKey: rdma.PKeyDefaultLimited,
		Rules: []MemberRule{
			{Selector: SelectAll, Membership: LimitedMember},
			{Selector: SelectSelf, Membership: FullMember},
		},
	}}}
}

// groupFlags are the mgroup flags of a partition definition or of an mgid
// line.
type groupFlags struct {
	mtu       rdma.MTU
	rate      rdma.Rate
	sl        uint8
	slGiven   bool
	scopes    uint16 // a bit for each scope given
	qkey      rdma.QKey
	tclass    uint8
	flowLabel uint32
}

func defaultFlags() groupFlags {
	return groupFlags{mtu: DefaultGroupMTU, rate: DefaultGroupRate}
}

// expand makes a group for each scope of the flags, of the default scope when
// there is none.
func (f groupFlags) expand(mgid rdma.GID) []GroupConfig {
	if f.scopes == 0 {
		f.scopes = 1 << DefaultGroupScope
	}
	var out []GroupConfig
	for scope := range uint8(16) {
		if f.scopes&(1<<scope) != 0 {
			out = append(out, f.group(mgid, scope))
		}
	}
	return out
}

func (f groupFlags) group(mgid rdma.GID, scope uint8) GroupConfig {
	mgid[1] = mgid[1]&0xf0 | scope
	return GroupConfig{
		MGID: mgid, QKey: f.qkey, MTU: f.mtu, Rate: f.rate, SL: f.sl, TClass: f.tclass, FlowLabel: f.flowLabel,
	}
}

// broadcastGroup is the IPoIB broadcast group of a partition (RFC 4391
// section 4).
func broadcastGroup(k rdma.PKey, f groupFlags, scope uint8) GroupConfig {
	if f.qkey == 0 {
		f.qkey = DefaultGroupQKey
	}
	return f.group(broadcastMGID(k, scope), scope)
}

// Signatures of MGIDs, bytes 2 and 3 (RFC 4391 section 4, IBA 4.1.1).
const (
	signatureIPv4 = 0x401b
	signatureIPv6 = 0x601b
	signatureSA   = 0xa01b
)

func signatureOf(g rdma.GID) uint16 { return uint16(g[2])<<8 | uint16(g[3]) }

func isIPoIB(g rdma.GID) bool {
	s := signatureOf(g)
	return s == signatureIPv4 || s == signatureIPv6
}

func scopeOf(g rdma.GID) uint8 { return g[1] & 0xf }

func mgidPKey(g rdma.GID) rdma.PKey { return rdma.PKey(g[4])<<8 | rdma.PKey(g[5]) }

func setMGIDPKey(g *rdma.GID, k rdma.PKey) { g[4], g[5] = uint8(k>>8), uint8(k) }

// broadcastMGID is ff1S:401b:<P_Key>::ffff:ffff.
func broadcastMGID(k rdma.PKey, scope uint8) rdma.GID {
	g := rdma.GID{0: 0xff, 1: 0x10 | scope, 2: signatureIPv4 >> 8, 3: signatureIPv4 & 0xff,
		12: 0xff, 13: 0xff, 14: 0xff, 15: 0xff}
	setMGIDPKey(&g, k.Full())
	return g
}
