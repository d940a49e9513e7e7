package hostnet

import (
	"fmt"
	"net/netip"
)

// Link is a network interface.
type Link struct {
	// Index is the interface index; it may change when a link moves.
	Index int
	Name  string
	// Type is the ARP hardware type: 32 is InfiniBand (ARPHRD_INFINIBAND).
	Type int
	// Kind is the kind of a virtual link, such as "tun", else "".
	Kind string
	// Up is the administrative state (IFF_UP); Carrier is the state of the
	// line, which shows only while the link is up (IFF_LOWER_UP); Running comes
	// somewhat later, when the kernel sends by the link (IFF_RUNNING); AllMulti
	// and Promisc are the flags of that name.
	Up, Carrier, Running, AllMulti, Promisc bool
	// MTU is in octets, TxQueueLen in packets.
	MTU, TxQueueLen int
	// Alias is the interface alias (ip link set alias).
	Alias string
	// AddrGenMode is meaningful where the link has IPv6.
	AddrGenMode AddrGenMode
}

// LinkChange is a change of a link in the words of rtnetlink.
type LinkChange struct {
	// Type is the message type; 0 is RTM_NEWLINK, for an existing link.
	Type uint16
	// Flags are the interface flags (IFF_*) to be set, of those in Mask.
	Flags, Mask uint32
	// Attrs are encoded IFLA_* attributes.
	Attrs []byte
}

// AddrGenMode says how the kernel makes IPv6 link-local addresses (enum
// in6_addr_gen_mode).
type AddrGenMode uint8

// The modes.
const (
	AddrGenEUI64         AddrGenMode = 0
	AddrGenNone          AddrGenMode = 1
	AddrGenStablePrivacy AddrGenMode = 2
	AddrGenRandom        AddrGenMode = 3
)

// String prints the names of ip link.
func (m AddrGenMode) String() string {
	switch m {
	case AddrGenEUI64:
		return "eui64"
	case AddrGenNone:
		return "none"
	case AddrGenStablePrivacy:
		return "stable_secret"
	case AddrGenRandom:
		return "random"
	}
	return fmt.Sprintf("AddrGenMode(%d)", uint8(m))
}

// Duplex is what a link says of itself (ETHTOOL DUPLEX_*).
type Duplex uint8

// The values.
const (
	DuplexHalf    Duplex = 0x00
	DuplexFull    Duplex = 0x01
	DuplexUnknown Duplex = 0xff
)

// Addr is an address of a link.
type Addr struct {
	// Index is the interface index.
	Index int
	// Prefix is the address with the length of its network.
	Prefix netip.Prefix
	// Peer is the other end of a point-to-point address, else the zero Addr;
	// the prefix length is then that of the peer.
	Peer netip.Addr
	// Broadcast is the IPv4 broadcast address; the zero Addr is none.
	Broadcast netip.Addr
	// Tentative: duplicate address detection runs. NoDAD: it was not asked
	// for (IFA_F_NODAD). Deprecated: not for new connections.
	Tentative, NoDAD, Deprecated bool
	// NoPrefixRoute: no route for the prefix (IFA_F_NOPREFIXROUTE).
	NoPrefixRoute bool
}

// key identifies an address on its link.
func (a Addr) key() addrKey { return addrKey{a.Index, a.Prefix, a.Peer} }

type addrKey struct {
	index  int
	prefix netip.Prefix
	peer   netip.Addr
}

// RouteType is the kind of a route, numbered as rtnetlink does (RTN_*).
type RouteType uint8

// The types that a lookup may return.
const (
	RouteUnicast     RouteType = 1
	RouteLocal       RouteType = 2
	RouteBroadcast   RouteType = 3
	RouteAnycast     RouteType = 4
	RouteMulticast   RouteType = 5
	RouteBlackhole   RouteType = 6
	RouteUnreachable RouteType = 7
	RouteProhibit    RouteType = 8
)

// String prints the names of ip route.
func (t RouteType) String() string {
	names := [...]string{"none", "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit"}
	if int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("RouteType(%d)", uint8(t))
}

// RouteQuery is a packet whose route is asked for.
type RouteQuery struct {
	// Dst is the destination. Its family is the query's.
	Dst netip.Addr
	// Src is the source, or the zero Addr. One that the host does not own,
	// as in a forwarded packet, is left out of the lookup.
	Src netip.Addr
	// OIF is the index of the link that the packet leaves by, or 0.
	OIF int
	// TOS is the IPv4 type of service or the IPv6 traffic class.
	TOS uint8
}

// Route is the answer to a RouteQuery.
type Route struct {
	Type RouteType
	// Gateway is the next hop, of either family (RFC 5549), or the zero Addr
	// when the destination is on the link.
	Gateway netip.Addr
	// OIF is the index of the outgoing link, 0 where there is none.
	OIF int
	// PrefSrc is the source address that the host would choose.
	PrefSrc netip.Addr
	// MTU is the path MTU in octets that the route has or learnt, else 0.
	MTU int
}

// NextHop returns the address to resolve for dst.
func (r Route) NextHop(dst netip.Addr) netip.Addr {
	if r.Gateway.IsValid() {
		return r.Gateway
	}
	return dst
}

// EventType says what an Event tells.
type EventType uint8

// The events.
const (
	// EventLink: Link is new or has changed.
	EventLink EventType = iota + 1
	// EventLinkGone: Link, as last known, was deleted or has moved to another
	// namespace. Link.Index and Link.Name are valid.
	EventLinkGone
	// EventAddr: Addr is new or has changed.
	EventAddr
	// EventAddrGone: Addr was removed.
	EventAddrGone
	// EventRoute: a route or a rule of Family has changed; lookups made
	// before may be wrong now.
	EventRoute
	// EventGroups: the group memberships of the link Index may have changed.
	// Kernels before 6.13 do not tell (see Namespace.Groups).
	EventGroups
	// EventSynced: what there was when the watch began, or when it lost
	// events, has been told. After a loss each difference comes before it, and
	// routes and groups may have changed without an event of their own.
	EventSynced
)

// String prints a short name.
func (t EventType) String() string {
	names := [...]string{"none", "link", "link-gone", "addr", "addr-gone", "route", "groups", "synced"}
	if int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("EventType(%d)", uint8(t))
}

// Event is one change in a namespace. Which fields are set depends on Type.
type Event struct {
	Type EventType
	// Link is set in EventLink and EventLinkGone.
	Link Link
	// Moved is set in EventLinkGone when the link went to another namespace.
	Moved bool
	// Addr is set in EventAddr and EventAddrGone.
	Addr Addr
	// Family is set in EventRoute and EventGroups.
	Family Family
	// Index is set in EventGroups.
	Index int
	// Lost is set in EventSynced when the kernel had dropped events before.
	Lost bool
}
