package sm

import (
	"context"
	"fmt"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// claim is what a port found at the far end of its link.
type claim struct {
	node *node
	port uint8
}

// discovery is one walk through the fabric.
type discovery struct {
	s    *SM
	t    *topology
	prev *topology // of the sweep before
	// master is set when the manager is the master already.
	master bool
	// claims are the far ends that ports found, in the order of discovery.
	claims map[*port]claim
	order  []*port
	failed int
}

// discover walks the fabric breadth first by directed route, from the
// manager's own port. Nodes that do not answer are left out; what failed is
// counted. It fails when the manager's own node does not answer.
func (s *SM) discover(ctx context.Context, prev *topology) (*topology, int, error) {
	s.mu.Lock()
	master := s.state == mad.SMMaster
	s.mu.Unlock()
	d := &discovery{s: s, t: newTopology(), prev: prev, master: master, claims: make(map[*port]claim)}
	var info mad.NodeInfo
	first := get(nil, nil, mad.AttrNodeInfo, 0, &info)
	if s.run(ctx, []*smp{first}) != 0 {
		return nil, 0, fmt.Errorf("own node: %w", first.err)
	}
	n := &node{info: info}
	d.t.add(n)
	d.t.self = n.portByNum(0)
	if !n.isSwitch() {
		d.t.self = d.t.reach(n, &info, nil)
	}
	ends := []*port{d.t.self}
	for level := []*node{n}; (len(level) > 0 || len(ends) > 0) && ctx.Err() == nil; {
		d.describe(ctx, level, ends)
		level, ends = d.probe(ctx, level)
	}
	d.join()
	d.t.index()
	return d.t, d.failed, ctx.Err()
}

// describe reads what the manager has to know of nodes and end ports that
// were just found.
func (d *discovery) describe(ctx context.Context, level []*node, ends []*port) {
	var reqs []*smp
	for _, n := range level {
		reqs = append(reqs, get(n, n.route, mad.AttrNodeDescription, 0, &n.desc).tolerant())
		if n.isSwitch() {
			reqs = append(reqs, get(n, n.route, mad.AttrSwitchInfo, 0, &n.sw.info))
		}
	}
	d.failed += d.s.run(ctx, reqs)
	// The change bit is cleared before the ports are read: a change from now
	// on sets it again. Only the master writes: what another one has read may
	// be old when it writes it back.
	reqs = reqs[:0]
	for _, n := range level {
		if d.master && n.isSwitch() && n.sw.info.PortStateChange {
			reqs = append(reqs, set(n, n.route, mad.AttrSwitchInfo, 0, &n.sw.info, &n.sw.info))
		}
	}
	d.failed += d.s.run(ctx, reqs)
	reqs = reqs[:0]
	for _, n := range level {
		if n.isSwitch() {
			for _, p := range n.ports {
				reqs = append(reqs, get(n, n.route, mad.AttrPortInfo, uint32(p.num), &p.info))
			}
		}
	}
	for _, p := range ends {
		if !p.node.isSwitch() {
			reqs = append(reqs, get(p.node, p.route, mad.AttrPortInfo, uint32(p.num), &p.info))
		}
	}
	d.failed += d.s.run(ctx, reqs)
}

// probe asks for the far ends of the nodes' links. It returns the nodes that
// were not known and the end ports of channel adapters.
func (d *discovery) probe(ctx context.Context, level []*node) ([]*node, []*port) {
	var from []*port
	var infos []*mad.NodeInfo
	var reqs []*smp
	for _, n := range level {
		if len(n.route) >= mad.MaxHops {
			continue
		}
		for _, p := range n.ports {
			if p.num == 0 || !p.up() || !n.isSwitch() && p != d.t.self {
				continue
			}
			info := new(mad.NodeInfo)
			from, infos = append(from, p), append(infos, info)
			reqs = append(reqs, get(nil, extend(n.route, p.num), mad.AttrNodeInfo, 0, info))
		}
	}
	// What does not answer is no failure of the sweep: light sweeps try again.
	d.s.run(ctx, reqs)
	var nodes []*node
	var ends []*port
	for i, p := range from {
		if reqs[i].err != nil {
			d.s.log.Warn("no answer through a link that is up", "dev", p.node.desc.String(), "port", p.num,
				"err", reqs[i].err)
			continue
		}
		known := len(d.t.nodes)
		n, end := d.meet(infos[i], reqs[i].route)
		if n == nil {
			continue
		}
		d.claims[p] = claim{n, infos[i].LocalPortNum}
		d.order = append(d.order, p)
		if len(d.t.nodes) > known {
			nodes = append(nodes, n)
		}
		if end != nil {
			ends = append(ends, end)
		}
	}
	return nodes, ends
}

// meet registers the node that answered, unless it is known, and the end port
// that it was reached by. It returns nil for one that cannot be told from
// another.
func (d *discovery) meet(info *mad.NodeInfo, route []uint8) (*node, *port) {
	n := d.t.byGUID[info.NodeGUID]
	if n == nil {
		if info.NodeGUID == 0 || d.t.byPort[info.PortGUID] != nil {
			d.s.log.Error("GUID is in use twice, node ignored", "node", info.NodeGUID, "guid", info.PortGUID)
			return nil, nil
		}
		n = &node{info: *info, route: route}
		d.t.add(n)
	}
	if n.isSwitch() || n.portByNum(info.LocalPortNum) != nil {
		return n, nil
	}
	if d.t.byPort[info.PortGUID] != nil {
		d.s.log.Error("GUID is in use twice, port ignored", "guid", info.PortGUID, "port", info.LocalPortNum)
		return nil, nil
	}
	return n, d.t.reach(n, info, route)
}

// join makes links of claims. Both ends of a link between switches must agree,
// which tells two nodes with one GUID apart; of several links to one port of
// a channel adapter the first counts.
func (d *discovery) join() {
	for _, p := range d.order {
		c := d.claims[p]
		far := c.node.portByNum(c.port)
		if p.peer != nil && p.peer == far {
			continue
		}
		back, ok := d.claims[far]
		switch {
		case far == nil || p.peer != nil || far.peer != nil,
			ok && (back.node != p.node || back.port != p.num):
			d.s.log.Error("two nodes have the same GUID, link ignored", "node", c.node.info.NodeGUID,
				"dev", p.node.desc.String(), "port", p.num)
		default:
			link(p, far)
		}
	}
}

// inherit takes over what is known of ports and switches from the sweep
// before, unless they were reset since.
func (t *topology) inherit(prev *topology) {
	for _, n := range t.switches {
		old := prev.byGUID[n.info.NodeGUID]
		if old == nil || !old.isSwitch() || len(old.ports) != len(n.ports) ||
			n.ports[0].info.LID != old.ports[0].lid || n.sw.info.LinearFDBTop != old.sw.topDone {
			continue
		}
		n.sw.lftDone, n.sw.topDone = old.sw.lftDone, old.sw.topDone
		for i, p := range n.ports[1:] {
			if o := old.ports[i+1]; p.info.PortState == rdma.PortActive {
				p.pkeys, p.pkeysKnown = o.pkeys, o.pkeysKnown
			}
		}
	}
	for _, p := range t.ends {
		o := prev.byPort[p.guid]
		p.fresh = o == nil || o.lid == 0 || p.info.LID != o.lid
		p.reregister = o != nil && o.reregister
		if p.fresh {
			continue
		}
		p.guids = o.guids
		if p.num == 0 || p.info.PortState == rdma.PortActive {
			p.pkeys, p.pkeysKnown = o.pkeys, o.pkeysKnown
		}
	}
}
