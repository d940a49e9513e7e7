package sm

import (
	"cmp"
	"slices"
	"sync/atomic"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// node is a channel adapter, switch or router as discovered.
type node struct {
	info mad.NodeInfo // as seen through the port it was found by
	desc mad.NodeDescription
	// route is the directed route to the node, from the manager's port.
	route []uint8
	// ports by number. Of a switch all of them, 0 is the management port; of
	// another node those that were reached.
	ports []*port
	// sw is nil unless the node is a switch.
	sw *switchNode
	// dead is set when the node stopped answering during a sweep.
	dead atomic.Bool
}

func (n *node) isSwitch() bool { return n.info.NodeType == mad.NodeTypeSwitch }

// switchNode is what only a switch has.
type switchNode struct {
	info mad.SwitchInfo
	// index is the position in topology.switches.
	index int
	// links are the ports with another switch at the far end.
	links []switchLink
	// lft is the linear forwarding table that the switch is to have, in
	// whole blocks; lftDone is what it is known to have.
	lft     []uint8
	lftDone map[uint16]mad.LinearForwardingTable
	// topDone is LinearFDBTop as written last.
	topDone rdma.LID
}

// switchLink is a link between switches, from one of its ends.
type switchLink struct {
	port uint8
	peer *node
}

// port is a physical port. Ports of a channel adapter and the management port
// of a switch are end ports.
type port struct {
	node *node
	num  uint8
	// guid is the port GUID of an end port.
	guid rdma.GUID
	// route is the directed route to an end port of a channel adapter: its
	// P_Key table is reached only through the port itself.
	route []uint8
	info  mad.PortInfo
	// peer is the port at the other end of the link, nil when there is none.
	peer *port

	// lid is the LID that an end port is to have.
	lid rdma.LID
	// pkeys is the P_Key table as it is known to be, pkeysKnown says
	// whether it is.
	pkeys      []rdma.PKey
	pkeysKnown bool
	// pkeysFit is set on a switch port whose table holds the P_Keys of the
	// end port that it faces.
	pkeysFit bool
	// guids is the block 0 of the GUID table of an end port.
	guids mad.GUIDInfo
	// fresh is set on an end port that was not part of the last topology.
	fresh bool
	// reregister is set until the clients of an end port were asked to
	// register again.
	reregister bool
	// sm is the SMInfo of a manager that runs at the port.
	sm *mad.SMInfo
}

// isEnd reports whether the port has a LID.
func (p *port) isEnd() bool { return !p.node.isSwitch() || p.num == 0 }

// linked reports whether the port may be used: trained, and its far end
// known.
func (p *port) linked() bool { return p.peer != nil }

// up reports whether the port answers with a link that trained.
func (p *port) up() bool { return p.info.PortState >= rdma.PortInit }

// pkeyCap is the number of entries of the P_Key table (IBA 14.2.5.3,
// 14.2.5.4).
func (p *port) pkeyCap() int {
	if p.isEnd() {
		return int(p.node.info.PartitionCap)
	}
	return int(p.node.sw.info.PartitionEnforcementCap)
}

// attached returns the switch that a LID's last hop is at, and the port of it
// that leads to the LID; nil when the port hangs at no switch.
func (p *port) attached() (*node, uint8) {
	switch {
	case p.node.isSwitch():
		return p.node, 0
	case p.peer != nil && p.peer.node.isSwitch():
		return p.peer.node, p.peer.num
	}
	return nil, 0
}

// gid returns the port's GID.
func (p *port) gid(prefix uint64) rdma.GID { return rdma.MakeGID(prefix, p.guid) }

// rate returns the rate of the link as it runs. Ports of a switch other than
// port 0 have no capability mask of their own.
func (p *port) rate() rdma.Rate {
	info := p.info
	if p.node.isSwitch() && p.num != 0 {
		info.CapMask = p.node.ports[0].info.CapMask
	}
	return info.Rate()
}

// topology is the subnet as one sweep found it. It is private to the sweep
// until it is published; after that SM.mu guards what changes.
type topology struct {
	// nodes in the order of discovery, the manager's own first.
	nodes    []*node
	byGUID   map[rdma.GUID]*node
	switches []*node
	// self is the manager's port.
	self *port
	// ends are the end ports in the order of discovery, self first.
	ends   []*port
	byPort map[rdma.GUID]*port
	// byAlias has the end ports by their further GUIDs.
	byAlias map[rdma.GUID]*port
	byLID   map[rdma.LID]*port
	// hops are the distances between switches by index, noHops where there
	// is no way.
	hops [][]uint8
	// minCAMTU is the smallest MTU of a channel adapter port.
	minCAMTU rdma.MTU
}

func newTopology() *topology {
	return &topology{
		byGUID: make(map[rdma.GUID]*node), byPort: make(map[rdma.GUID]*port),
		byAlias: make(map[rdma.GUID]*port), byLID: make(map[rdma.LID]*port),
	}
}

// add registers a node. ports are made for a switch, those of other nodes are
// added as they are reached.
func (t *topology) add(n *node) {
	t.byGUID[n.info.NodeGUID] = n
	t.nodes = append(t.nodes, n)
	if !n.isSwitch() {
		return
	}
	n.sw = &switchNode{index: len(t.switches)}
	t.switches = append(t.switches, n)
	n.ports = make([]*port, int(n.info.NumPorts)+1)
	for i := range n.ports {
		n.ports[i] = &port{node: n, num: uint8(i)}
	}
	n.ports[0].guid, n.ports[0].route = n.info.PortGUID, n.route
	t.addEnd(n.ports[0])
}

// addEnd registers an end port.
func (t *topology) addEnd(p *port) {
	t.byPort[p.guid] = p
	t.ends = append(t.ends, p)
}

// portByNum returns a known port of a node.
func (n *node) portByNum(num uint8) *port {
	if n.isSwitch() {
		if int(num) < len(n.ports) {
			return n.ports[num]
		}
		return nil
	}
	i := slices.IndexFunc(n.ports, func(p *port) bool { return p.num == num })
	if i < 0 {
		return nil
	}
	return n.ports[i]
}

// reach adds a port of a channel adapter that was reached by a route.
func (t *topology) reach(n *node, info *mad.NodeInfo, route []uint8) *port {
	p := &port{node: n, num: info.LocalPortNum, guid: info.PortGUID, route: route}
	n.ports = append(n.ports, p)
	slices.SortFunc(n.ports, func(a, b *port) int { return cmp.Compare(a.num, b.num) })
	t.addEnd(p)
	return p
}

// link joins two ports.
func link(a, b *port) { a.peer, b.peer = b, a }

// index fills what is derived from the links: the switch links and distances.
func (t *topology) index() {
	for _, n := range t.switches {
		n.sw.links = n.sw.links[:0]
		for _, p := range n.ports[1:] {
			if p.linked() && p.peer.node.isSwitch() && p.peer.node != n {
				n.sw.links = append(n.sw.links, switchLink{p.num, p.peer.node})
			}
		}
	}
	t.hops = minHops(t.switches)
	t.minCAMTU = 0
	for _, p := range t.ends {
		if m := p.info.MTUCap; !p.node.isSwitch() && m.IsValid() && (t.minCAMTU == 0 || m < t.minCAMTU) {
			t.minCAMTU = m
		}
	}
}

// indexAliases lists the end ports by their further GUIDs.
func (t *topology) indexAliases() {
	for _, p := range t.ends {
		for _, g := range p.guids[1:] {
			if g != 0 {
				t.byAlias[g] = p
			}
		}
	}
}
