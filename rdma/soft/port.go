package soft

import (
	"slices"
	"sync/atomic"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// port is a port of a channel adapter or of a switch. Port 0 of a switch is
// its management port: it has a LID and queue pairs 0 and 1, and no link.
type port struct {
	node *node
	num  int
	hca  *HCA // nil on a switch
	guid rdma.GUID

	// info is the PortInfo register file, without the fields that the
	// atomics below hold for the packet path; guarded by node.mu.
	info mad.PortInfo
	// speeds are the supported speeds, speed is the active one (PortInfo
	// cannot tell FDR10 from QDR); guarded by node.mu.
	speeds, speed rdma.LinkSpeed
	// vlArb are the arbitration tables; guarded by node.mu.
	vlArb [4]mad.VLArbitrationTable

	// Read by the packet path, written with node.mu held.
	state      atomic.Uint32 // rdma.PortState
	lid        atomic.Uint32
	lmc        atomic.Uint32
	mtu        atomic.Uint32 // NeighborMTU in bytes
	enforceIn  atomic.Bool
	enforceOut atomic.Bool
	pkeys      atomic.Pointer[[]rdma.PKey]
	gids       atomic.Pointer[[]rdma.GID]
	link       atomic.Pointer[Link]
	taps       atomic.Pointer[[]*Tap]
	slTable    atomic.Pointer[slTable]

	counters portCounters
	pma      pmaBase
	agents   agentTable
}

// limits of the tables of a port.
const (
	defaultPKeys = 128 // 4 blocks
	gidTableLen  = 8   // 1 block of GUIDInfo
)

func newPort(n *node, num int, guid rdma.GUID) *port {
	p := &port{node: n, num: num, guid: guid}
	p.state.Store(uint32(rdma.PortDown))
	pk := make([]rdma.PKey, n.pkeys)
	// After reset the table holds the default P_Key only (IBA 10.9.1.2).
	pk[0] = rdma.PKeyDefault
	p.pkeys.Store(&pk)
	g := make([]rdma.GID, gidTableLen)
	g[0] = rdma.MakeGID(rdma.DefaultSubnetPrefix, guid)
	p.gids.Store(&g)
	return p
}

func (p *port) State() rdma.PortState { return rdma.PortState(p.state.Load()) }
func (p *port) LID() rdma.LID         { return rdma.LID(p.lid.Load()) }
func (p *port) GID0() rdma.GID        { return (*p.gids.Load())[0] }

// ownsLID reports whether a unicast LID is one of the port's 2^LMC.
func (p *port) ownsLID(l rdma.LID) bool {
	lid := p.LID()
	return lid != 0 && l>>p.lmc.Load() == lid>>p.lmc.Load()
}

// ownsGID reports whether a GID is in the port's table.
func (p *port) ownsGID(g rdma.GID) bool {
	for _, own := range *p.gids.Load() {
		if own == g && !own.IsZero() {
			return true
		}
	}
	return false
}

// pkeyAllowed reports whether any entry of the table accepts a packet's P_Key.
func (p *port) pkeyAllowed(pk rdma.PKey) bool {
	return slices.ContainsFunc(*p.pkeys.Load(), pk.Match)
}

// pkeySendable reports whether whoever faces a switch port may send with a
// P_Key: its membership, which the table of the switch port holds, is at least
// that of the packet. A limited member sends limited P_Keys, and these match
// each other here, unlike at a receiver.
func (p *port) pkeySendable(pk rdma.PKey) bool {
	for _, t := range *p.pkeys.Load() {
		if t.IsValid() && t.Base() == pk.Base() && (t.IsFull() || !pk.IsFull()) {
			return true
		}
	}
	return false
}

// drop counts a packet that ends here and releases it.
func (p *port) drop(pk *packet, r DropReason) {
	p.counters.drops[r].Add(1)
	pk.release()
}

// receives tells the states in which data packets pass a port: a switch and an HCA
// receive from Armed on, so that the neighbour may go Active first (IBA 7.2.7).
func (s portGate) receives() bool {
	return s == portGate(rdma.PortArmed) || s == portGate(rdma.PortActive)
}

// portGate is a port state as the packet path asks about it.
type portGate uint32

func (p *port) gate() portGate { return portGate(p.state.Load()) }

func (s portGate) sends() bool { return s == portGate(rdma.PortActive) }

// up reports whether the link works at all, which is enough for VL15.
func (s portGate) up() bool { return s >= portGate(rdma.PortInit) }
