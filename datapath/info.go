package datapath

import (
	"fmt"

	"ipoib/datapath/encap"
	"ipoib/datapath/hostnet"
	"ipoib/rdma"
)

// Mode is how an interface sends unicast packets (IFLA_IPOIB_MODE).
type Mode uint16

// The modes.
const (
	Datagram  Mode = 0
	Connected Mode = 1
)

// String prints the name of the sysfs file, or the number.
func (m Mode) String() string {
	switch m {
	case Datagram:
		return "datagram"
	case Connected:
		return "connected"
	}
	return fmt.Sprintf("Mode(%d)", uint16(m))
}

// Info is a snapshot of an interface, consistent in itself.
type Info struct {
	Name    string
	Ifindex int
	// NS is the network namespace; NSName its name in /run/netns, or "".
	NS     hostnet.ID
	NSName string
	// Parent is the parent's ifindex and ParentName its name; 0 and "" for a
	// parent. Legacy is set for children made through create_child.
	Parent     int
	ParentName string
	Legacy     bool
	// Device is the channel adapter, Port the port number on it, from 1.
	Device string
	Port   int

	Up, Carrier bool
	MTU         int
	// GroupMTU is the UD MTU of the broadcast group.
	GroupMTU   int
	TxQueueLen int
	// Alias is the user's, "" when the link has the one that shows its
	// addresses.
	Alias     string
	PKey      rdma.PKey
	Mode      Mode
	Umcast    bool
	Addr      encap.HardwareAddr
	PermAddr  encap.HardwareAddr // zero when the user chose the address at creation
	Broadcast encap.HardwareAddr
	// NoARP is the flag of that name: addresses are not resolved.
	NoARP bool
	// AddrGenMode says how the IPv6 link-local address comes about.
	AddrGenMode hostnet.AddrGenMode
	// AddrSet is set when the user chose the address.
	AddrSet bool
	QPN     rdma.QPN
	QKey    rdma.QKey
	// NeverUp is set until the interface is set up for the first time.
	NeverUp  bool
	Features Features
	Coalesce Coalesce
}

// Info returns the present state. It never blocks.
func (i *Interface) Info() Info { return *i.info.Load() }

// Name returns the present name.
func (i *Interface) Name() string { return i.info.Load().Name }

// Stats returns the counters.
func (i *Interface) Stats() Stats { return i.stats.snapshot() }

// DropCounts returns the dropped packets by reason, in the order of Drops.
func (i *Interface) DropCounts() []uint64 {
	out := make([]uint64, numDrops)
	for d := range out {
		out[d] = i.stats.drops[d].Load()
	}
	return out
}

// Parent returns the parent interface, nil for a parent.
func (i *Interface) Parent() *Interface { return i.parent }

// Port returns the port of the channel adapter.
func (i *Interface) Port() rdma.Port { return i.port.rdma }

// publish replaces the snapshot and tells the subscribers when it changed.
// Called on the loop only.
func (i *Interface) publish() {
	old := i.info.Load()
	if old != nil && old.Ifindex == 0 {
		old = nil // not told yet
	}
	n := &Info{
		Name: i.name, Ifindex: i.ifindex, NS: i.ns.id, NSName: i.ns.ns.Name(),
		Legacy: i.legacy, Device: i.port.rdma.Device().Name(), Port: i.port.rdma.Num(),
		Up: i.up, Carrier: i.carrier, MTU: i.mtu.mtu, GroupMTU: i.mtu.group,
		TxQueueLen: i.txqlen, Alias: i.userAlias(), NoARP: i.noARP, AddrGenMode: i.addrGen,
		PKey: i.pkey.Full(), Mode: i.mode, Umcast: i.umcast,
		Addr: i.addr, PermAddr: i.permAddr, Broadcast: i.broadcastAddr(), AddrSet: i.addrSet,
		QKey: i.qkey, NeverUp: i.neverUp, Features: i.featureState(), Coalesce: i.coalesce,
	}
	if i.qp != nil {
		n.QPN = i.qp.Num()
	}
	if i.parent != nil {
		p := i.parent.info.Load()
		n.Parent, n.ParentName = p.Ifindex, p.Name
	}
	if old != nil && *old == *n {
		return
	}
	i.info.Store(n)
	i.drv.notify(Change{Interface: i, Old: old, New: n})
}
