package soft

import (
	"sync"

	"ipoib/rdma"
)

// nodeKind is the NodeType of a NodeInfo (IBA 14.2.5.3).
type nodeKind uint8

const (
	kindCA     nodeKind = 1
	kindSwitch nodeKind = 2
)

// node is a channel adapter or a switch.
type node struct {
	fabric  *Fabric
	kind    nodeKind
	guid    rdma.GUID // node GUID
	sysGUID rdma.GUID
	// ports by number. Entry 0 is the management port of a switch and nil on
	// a channel adapter.
	ports []*port

	// pkeys is the length of the P_Key table of each port.
	pkeys int

	// Forwarding tables, of switches only.
	lft *lft
	mft *mft

	mu   sync.Mutex
	desc string    // guarded by mu
	sw   switchReg // guarded by mu

	traps trapSender
}

// externalPorts returns the ports that have a link.
func (n *node) externalPorts() []*port { return n.ports[1:] }

// NodeGUID returns the GUID of the node.
func (n *node) NodeGUID() rdma.GUID { return n.guid }

// Description returns the node description.
func (n *node) Description() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.desc
}

// Switch is a crossbar with a management port.
type Switch struct{ *node }

// ManagementPort returns port 0, where management software of the switch
// itself runs.
func (s *Switch) ManagementPort() *SwitchPort { return (*SwitchPort)(s.ports[0]) }

// NumPorts returns the number of external ports.
func (s *Switch) NumPorts() int { return len(s.ports) - 1 }

// SwitchPort is the management port of a switch, as far as management
// software needs it.
type SwitchPort port

// GUID returns the port GUID, which is the node GUID.
func (p *SwitchPort) GUID() rdma.GUID { return p.guid }

// Attr returns the state of the port.
func (p *SwitchPort) Attr() rdma.PortAttr { return (*port)(p).attr() }

// GID returns entry i of the GID table.
func (p *SwitchPort) GID(i int) (rdma.GID, error) {
	g := *p.gids.Load()
	if i < 0 || i >= len(g) {
		return rdma.GID{}, rdma.ErrNotFound
	}
	return g[i], nil
}

// RegisterAgent attaches management software to QP0 or QP1.
func (p *SwitchPort) RegisterAgent(cfg rdma.MADAgentConfig) (rdma.MADAgent, error) {
	return (*port)(p).registerAgent(cfg)
}

// SetIsSM sets or clears the IsSM bit of the capability mask.
func (p *SwitchPort) SetIsSM(on bool) error {
	(*port)(p).setIsSM(on)
	return nil
}
