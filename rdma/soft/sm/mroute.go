package sm

import (
	"math"

	"ipoib/rdma"
)

// portMask is a row of a multicast forwarding table: the ports of a switch, 16
// to a position.
type portMask [16]uint16

func (m *portMask) add(p uint8) { m[p/16] |= 1 << (p % 16) }

// memberPort is an end port with its membership in the groups of one MLID.
type memberPort struct {
	port *port
	// receives is false for a port that only sends: no table has an entry
	// towards it (RFC 4391 section 10).
	receives bool
}

// routeMulticast returns the port masks of the switches for one MLID: one
// spanning tree over the switches that have members, so that no packet
// arrives twice and none can loop. It returns nil when fewer than two ports
// are members; OpenSM leaves the tables empty then, too.
//
// The root is the switch with the shortest longest way to a member, as
// OpenSM's; the branches are shortest ways to it, chosen among equals by the
// MLID, so that groups spread over the links.
func (t *topology) routeMulticast(mlid rdma.LID, members []memberPort) map[*node]*portMask {
	if len(members) < 2 {
		return nil
	}
	var at []*node // switches with members
	seen := make(map[*node]bool)
	masks := make(map[*node]*portMask)
	mask := func(n *node) *portMask {
		if masks[n] == nil {
			masks[n] = new(portMask)
		}
		return masks[n]
	}
	for _, m := range members {
		s, out := m.port.attached()
		if s == nil {
			continue
		}
		if !seen[s] {
			seen[s] = true
			at = append(at, s)
		}
		if m.receives {
			mask(s).add(out)
		}
	}
	root := t.root(at)
	if root == nil {
		return masks
	}
	hops := t.hops[root.sw.index]
	joined := map[*node]bool{root: true}
	var ways []uint8
	for _, s := range at {
		for n := s; !joined[n]; {
			ways = n.waysTo(hops, ways[:0])
			if len(ways) == 0 {
				break // not connected to the root
			}
			joined[n] = true
			up := n.ports[ways[int(mlid)%len(ways)]]
			mask(n).add(up.num)
			mask(up.peer.node).add(up.peer.num)
			n = up.peer.node
		}
	}
	return masks
}

// root returns the switch whose longest distance to the given ones is the
// shortest, the first discovered among equals.
func (t *topology) root(at []*node) *node {
	var best *node
	least := math.MaxInt
	for i, s := range t.switches {
		longest := 0
		for _, m := range at {
			longest = max(longest, int(t.hops[i][m.sw.index]))
		}
		if longest < least {
			best, least = s, longest
		}
	}
	return best
}
