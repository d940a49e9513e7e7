package sm

import (
	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// noHops is the distance to what cannot be reached.
const noHops = 0xff

// minHops returns the distances between all switches: hops[a][b].
func minHops(switches []*node) [][]uint8 {
	n := len(switches)
	all := make([]uint8, n*n)
	for i := range all {
		all[i] = noHops
	}
	hops := make([][]uint8, n)
	queue := make([]*node, 0, n)
	for i, from := range switches {
		row := all[i*n : (i+1)*n : (i+1)*n]
		hops[i] = row
		row[i] = 0
		queue = append(queue[:0], from)
		for len(queue) > 0 {
			s := queue[0]
			queue = queue[1:]
			next := row[s.sw.index] + 1
			if next >= noHops {
				continue
			}
			for _, l := range s.sw.links {
				if d := &row[l.peer.sw.index]; *d == noHops {
					*d = next
					queue = append(queue, l.peer)
				}
			}
		}
	}
	return hops
}

// routeUnicast computes the linear forwarding tables of all switches: a
// shortest way to every LID, spread over the ports that have one. Of those the
// port that the fewest LIDs took so far is used, the lowest number first, as
// OpenSM's minhop engine does. LIDs of channel adapters and of switches are
// counted apart, since hardly any traffic goes to the latter. The result
// depends on the topology and the LIDs only.
func (t *topology) routeUnicast() {
	top := t.topLID()
	size := (int(top)/mad.LFTPerBlock + 1) * mad.LFTPerBlock
	at := make([][]*port, len(t.switches)) // LIDs by last switch
	for lid := rdma.LID(1); lid <= top; lid++ {
		if p := t.byLID[lid]; p != nil {
			if s, _ := p.attached(); s != nil {
				at[s.sw.index] = append(at[s.sw.index], p)
			}
		}
	}
	for i, s := range t.switches {
		s.sw.lft = make([]uint8, size)
		for k := range s.sw.lft {
			s.sw.lft[k] = mad.LFTNoPort
		}
		var load [2][256]int
		var ways []uint8
		for j, target := range t.switches {
			if j == i {
				for _, p := range at[j] {
					_, out := p.attached()
					s.sw.lft[p.lid] = out
				}
				continue
			}
			ways = s.waysTo(t.hops[target.sw.index], ways[:0])
			if len(ways) == 0 {
				continue
			}
			for _, p := range at[j] {
				count := &load[0]
				if p.node.isSwitch() {
					count = &load[1]
				}
				best := ways[0]
				for _, w := range ways[1:] {
					if count[w] < count[best] {
						best = w
					}
				}
				count[best]++
				s.sw.lft[p.lid] = best
			}
		}
	}
}

// waysTo appends the ports of a switch that lead closer to the switch whose
// distances are given, in ascending order.
func (n *node) waysTo(hops []uint8, ways []uint8) []uint8 {
	d := hops[n.sw.index]
	if d == noHops {
		return ways
	}
	for _, l := range n.sw.links {
		if hops[l.peer.sw.index] < d {
			ways = append(ways, l.port)
		}
	}
	return ways
}

// topLID returns the highest LID in use, 0 when there is none.
func (t *topology) topLID() rdma.LID {
	var top rdma.LID
	for lid := range t.byLID {
		top = max(top, lid)
	}
	return top
}

// path calls visit with each port that a packet from one end port to a LID
// passes, in pairs of output and input, and reports whether it arrives. It
// follows the tables that the switches are to have.
func (t *topology) path(from, to *port, visit func(*port)) bool {
	if from == to {
		return true
	}
	p := from
	if p.node.isSwitch() {
		if p = p.node.egress(to.lid); p == nil {
			return false
		}
	}
	// More hops than switches is a loop.
	for range len(t.switches) + 1 {
		in := p.peer
		if in == nil {
			return false
		}
		visit(p)
		visit(in)
		if in.node == to.node && (in == to || to.num == 0) {
			return true
		}
		if !in.node.isSwitch() {
			return false
		}
		if p = in.node.egress(to.lid); p == nil {
			return false
		}
	}
	return false
}

// egress returns the port by which a switch forwards a LID, nil when it does
// not.
func (n *node) egress(lid rdma.LID) *port {
	if int(lid) >= len(n.sw.lft) {
		return nil
	}
	out := n.sw.lft[lid]
	if out == 0 || int(out) >= len(n.ports) {
		return nil
	}
	return n.ports[out]
}
