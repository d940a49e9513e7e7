package sm

import (
	"cmp"
	"slices"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// Stats counts what the manager did.
type Stats struct {
	HeavySweeps, LightSweeps uint64
	// LastSweep is how long the last heavy sweep took, LastFailed how many
	// of its requests failed.
	LastSweep  time.Duration
	LastFailed int
	Traps      uint64
	// SARequests were answered. The others were not: those that came while
	// the SA was silent, those with a method or attribute that it does not
	// support, with a wrong SM_Key, or from an unknown port.
	SARequests, SAIgnored, SAUnsupported, SABadKey, SAUnknownPort uint64
	// Reports were sent to subscribers; SubscribersDropped lost their
	// subscription because they did not answer.
	Reports, SubscribersDropped uint64
	// Malformed datagrams had a wrong version.
	Malformed uint64
}

// State is a snapshot of the manager and its subnet.
type State struct {
	State    mad.SMState
	Ready    bool
	Paused   bool
	Priority uint8
	// Port is the GUID of the manager's port, Master that of the manager
	// that this one watches, if it is a standby.
	Port   rdma.GUID
	Master rdma.GUID
	Prefix uint64

	Nodes         []NodeState
	Links         []LinkState
	Partitions    []PartitionState
	Groups        []GroupState
	Subscriptions []SubscriptionState
	Services      []mad.ServiceRecord
	Stats         Stats
}

// NodeState is a node of the subnet.
type NodeState struct {
	GUID  rdma.GUID
	Type  mad.NodeType
	Desc  string
	Ports []PortState
}

// PortState is a port of a node. Of switches, port 0 has the LID; the other
// ports are listed when their link is up.
type PortState struct {
	Num   uint8
	GUID  rdma.GUID
	LID   rdma.LID
	State rdma.PortState
	Phys  rdma.PhysState
	MTU   rdma.MTU
	Rate  rdma.Rate
	PKeys []rdma.PKey
	// Manager is set when a subnet manager runs at the port.
	Manager bool
}

// LinkState is a link, named once.
type LinkState struct {
	A, B LinkEnd
}

// LinkEnd is one end of a link.
type LinkEnd struct {
	Node rdma.GUID
	Port uint8
}

// PartitionState is a partition with its members.
type PartitionState struct {
	Name    string
	PKey    rdma.PKey
	Members []PartitionMember
}

// PartitionMember is a port in a partition.
type PartitionMember struct {
	GUID       rdma.GUID
	Membership Membership
}

// GroupState is a multicast group with its members.
type GroupState struct {
	// Record holds the parameters; PortGID and JoinState are not used.
	Record mad.MCMemberRecord
	// Configured groups belong to the partition configuration.
	Configured bool
	Members    []GroupMember
}

// GroupMember is a port in a multicast group.
type GroupMember struct {
	GID       rdma.GID
	JoinState mad.JoinState
	ProxyJoin bool
}

// SubscriptionState is an event subscription.
type SubscriptionState struct {
	GID  rdma.GID
	LID  rdma.LID
	Info mad.InformInfo
}

// State returns a snapshot.
func (s *SM) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := State{
		State: s.state, Ready: s.ready, Paused: s.paused, Priority: s.cfg.Priority,
		Port: s.port.GUID(), Prefix: s.cfg.SubnetPrefix, Stats: s.stats,
	}
	if s.master != nil {
		st.Master = s.master.guid
	}
	for _, n := range s.topo.nodes {
		st.Nodes = append(st.Nodes, s.nodeStateLocked(n))
		for _, p := range n.ports {
			if q := p.peer; q != nil && cmp.Or(cmp.Compare(n.info.NodeGUID, q.node.info.NodeGUID), cmp.Compare(p.num, q.num)) < 0 {
				st.Links = append(st.Links, LinkState{
					A: LinkEnd{n.info.NodeGUID, p.num}, B: LinkEnd{q.node.info.NodeGUID, q.num},
				})
			}
		}
	}
	for _, part := range s.confLocked().List {
		ps := PartitionState{Name: part.Name, PKey: part.PKey}
		for _, p := range s.topo.ends {
			if m, _ := part.member(s.endPortLocked(p)); m != NotMember {
				ps.Members = append(ps.Members, PartitionMember{p.guid, m})
			}
		}
		st.Partitions = append(st.Partitions, ps)
	}
	for _, g := range s.groups.sorted() {
		gs := GroupState{Record: g.rec, Configured: g.configured}
		gs.Record.JoinState = 0
		for _, m := range g.sortedMembers() {
			gs.Members = append(gs.Members, GroupMember{m.gid, m.state, m.proxy})
		}
		st.Groups = append(st.Groups, gs)
	}
	for _, sub := range s.subs {
		st.Subscriptions = append(st.Subscriptions, SubscriptionState{sub.gid, sub.to.LID, sub.info})
	}
	now := s.clock.Now()
	s.expireServicesLocked()
	for _, v := range s.services {
		rec := v.lease(now)
		clear(rec.Key[:])
		st.Services = append(st.Services, rec)
	}
	return st
}

func (s *SM) nodeStateLocked(n *node) NodeState {
	ns := NodeState{GUID: n.info.NodeGUID, Type: n.info.NodeType, Desc: n.desc.String()}
	for _, p := range n.ports {
		if !p.isEnd() && !p.up() {
			continue
		}
		ps := PortState{
			Num: p.num, GUID: p.guid, LID: p.lid, State: p.info.PortState, Phys: p.info.PortPhysicalState,
			MTU: p.info.NeighborMTU, Rate: p.rate(), Manager: p.sm != nil || p == s.topo.self,
		}
		for _, k := range p.pkeys {
			if k.IsValid() && p.isEnd() {
				ps.PKeys = append(ps.PKeys, k)
			}
		}
		ns.Ports = append(ns.Ports, ps)
	}
	return ns
}

// LIDOf returns the LID that the manager gave to a port, 0 when it does not
// know it.
func (s *SM) LIDOf(g rdma.GUID) rdma.LID {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.topo.byPort[g]; p != nil {
		return p.lid
	}
	return 0
}

// Group returns a multicast group by MGID.
func (s *State) Group(mgid rdma.GID) (GroupState, bool) {
	i := slices.IndexFunc(s.Groups, func(g GroupState) bool { return g.Record.MGID == mgid })
	if i < 0 {
		return GroupState{}, false
	}
	return s.Groups[i], true
}
