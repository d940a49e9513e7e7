package datapath

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"

	"ipoib/datapath/encap"
	"ipoib/datapath/hostnet"
	"ipoib/datapath/mcast"
	"ipoib/datapath/neigh"
	"ipoib/datapath/path"
	"ipoib/datapath/tun"
	"ipoib/rdma"
)

// neighbour is an entry of the neighbour cache; its target is the peer that
// the address belongs to.
type neighbour = neigh.Entry[path.Peer, tun.Packet]

// Interface is one IPoIB network interface.
type Interface struct {
	drv    *Driver
	port   *port
	parent *Interface // nil for a parent
	legacy bool       // child made through create_child
	dev    tun.Device
	loop   loop
	rng    *rand.Rand

	pd             rdma.PD
	sendCQ, recvCQ rdma.CQ
	qp             rdma.QP
	conns          connState

	stats stats
	info  atomic.Pointer[Info]
	tx    atomic.Pointer[txView]
	rx    atomic.Pointer[rxView]
	txGen atomic.Uint64 // changes when cached destinations are void
	ctl   atomic.Int32  // packets on their way to the loop

	// writeMu serializes writes to the TUN: the receiver's and the loop's.
	writeMu sync.Mutex
	rxBatch rxBatch // guarded by writeMu

	destMu sync.Mutex
	dests  map[netip.Addr]dest // guarded by destMu

	// Owned by the loop.
	ns       *netns
	name     string
	ifindex  int
	up       bool // IFF_UP
	carrier  bool
	running  bool // OPER_UP: between ibUp and ibDown
	opened   bool // INITIALIZED: queue pair is RTS
	removed  bool
	txqlen   int
	alias    string
	ownAlias string // the alias that we set
	noARP    bool   // IFF_NOARP: no address is asked for or told
	addrGen  hostnet.AddrGenMode
	mode     Mode
	umcast   bool
	pkey     rdma.PKey
	pkeyIdx  int
	qkey     rdma.QKey
	addr     encap.HardwareAddr
	permAddr encap.HardwareAddr
	addrSet  bool
	neverUp  bool
	mtu      mtuState
	// wanted and active are features, tunActive what the TUN was told of
	// them.
	wanted, active FeatureSet
	tunActive      tun.Features
	coalesce       Coalesce
	neighs         *neigh.Table[path.Peer, tun.Packet]
	paths          *path.Table
	groups         *mcast.Table
	host           hostState
	router         routerState
}

// broadcastAddr is the link-layer broadcast address (IFLA_BROADCAST). The
// scope is that of the fabric's IPoIB links.
func (i *Interface) broadcastAddr() encap.HardwareAddr {
	return encap.BroadcastAddr(i.drv.params.Scope, i.pkey.Full())
}

// broadcastMGID is the broadcast-GID.
func (i *Interface) broadcastMGID() rdma.GID { return i.broadcastAddr().GID() }

// hwFlags are the flags of the own address: RC whatever the mode is, unless
// the adapter has no connections (RFC 4391 section 9.1.1, RFC 4755 section
// 3.1, kernel ipoib_cm_dev_init).
func (i *Interface) hwFlags() uint8 {
	if i.conns.table == nil {
		return 0
	}
	return encap.FlagRC
}

// setAddr makes the address of GID and queue pair and shows it where it can
// be seen.
func (i *Interface) setAddr(gid rdma.GID) {
	i.addr = encap.UnicastAddr(i.hwFlags(), i.qp.Num(), gid)
	if i.conns.table != nil {
		i.conns.table.SetAddr(i.addr)
	}
	i.refreshAlias()
	i.updateViews()
}

// refreshAlias shows the addresses in the link alias, which stock tools
// print, unless the user has set one.
func (i *Interface) refreshAlias() {
	text := "ipoib " + i.addr.String() + " brd " + i.broadcastAddr().String()
	if i.ifindex == 0 || i.alias != "" && i.alias != i.ownAlias || i.alias == text {
		return
	}
	i.ownAlias = text
	if err := i.ns.ns.SetAlias(i.ifindex, text); err != nil {
		i.debugf("cannot set alias: %v", err)
		return
	}
	i.alias = text
}

// userAlias is the alias that a user set, or "".
func (i *Interface) userAlias() string {
	if i.alias == i.ownAlias {
		return ""
	}
	return i.alias
}

// updateViews publishes what transmitter and receiver need.
func (i *Interface) updateViews() {
	if !i.running || !i.groups.Up() {
		i.tx.Store(nil)
	} else {
		i.tx.Store(&txView{
			qp: i.qp, qkey: i.qkey, addr: i.addr,
			rc: i.mode == Connected, rcCsum: i.port.rdma.Device().Attr().Caps&rdma.CapRCIPCsum != 0,
			limit: i.mtu.group + encap.HeaderLen, broadcast: i.groups.Broadcast(),
			features: i.active | i.hiddenFeatures(),
		})
	}
	attr := i.port.rdma.Attr()
	gid, _ := i.port.rdma.GID(0)
	i.rx.Store(&rxView{
		lid: attr.LID, qpn: i.qp.Num(), gid: gid, broadcast: i.broadcastMGID(), up: i.running,
		verify: i.active&fRXCsum != 0, merge: i.merges(),
	})
}

// voidDests makes the transmitter look its destinations up again.
func (i *Interface) voidDests() {
	i.destMu.Lock()
	clear(i.dests)
	i.destMu.Unlock()
	i.txGen.Add(1)
}
