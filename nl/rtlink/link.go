package rtlink

import "ipoib/nl"

// Link is a link message. A nil pointer or slice and an empty string are
// attributes that are absent.
type Link struct {
	// The fields of struct ifinfomsg. Type is the ARP hardware type.
	Family        uint8
	Type          uint16
	Index         int32
	Flags, Change uint32

	// Name is IFLA_IFNAME.
	Name string
	// TxQueueLen is in packets.
	TxQueueLen *uint32
	// Operstate is one of the Oper values; Linkmode is 0 for default, 1 for
	// dormant.
	Operstate, Linkmode *uint8
	// The MTUs are in bytes.
	MTU, MinMTU, MaxMTU   *uint32
	Group                 *uint32
	Promiscuity, Allmulti *uint32
	// The sizes are in bytes, the segments are counted.
	NumTxQueues, NumRxQueues               *uint32
	GSOMaxSegs, GSOMaxSize, GROMaxSize     *uint32
	GSOIPv4MaxSize, GROIPv4MaxSize         *uint32
	TSOMaxSize, TSOMaxSegs                 *uint32
	Master                                 *uint32
	Carrier                                *uint8
	Alias                                  string
	CarrierChanges, CarrierUp, CarrierDown *uint32
	ProtoDown                              *uint8
	// ProtoDownReason is the bit mask IFLA_PROTO_DOWN_REASON_VALUE.
	ProtoDownReason *uint32
	Event           *uint32

	Address, Broadcast, PermAddress []byte
	Stats64                         *Stats
	Stats32                         *Stats
	Info                            *Info
	// Link is the ifindex of the link below (IFLA_LINK), LinkNetNSID the id of
	// the namespace that it is in.
	Link        *uint32
	LinkNetNSID *int32
	Qdisc       string
	// AddrGenMode is IFLA_INET6_ADDR_GEN_MODE, inside AFSpec; Decode fills in
	// both and Append lets this one win.
	AddrGenMode *uint8
	AFSpec      []byte
	// AltNames are the alternative names.
	AltNames []string
	// ParentDev and ParentBus are the device behind the link.
	ParentDev, ParentBus     string
	PhysPortName             string
	PhysPortID, PhysSwitchID []byte
	NumVF                    *uint32
	// NewNetNSID and NewIfindex say where a link went, in RTM_DELLINK.
	NewNetNSID, NewIfindex *int32

	// Other holds the attributes without a field, in the order they came in.
	Other []Raw
}

// Raw is an attribute as it came in.
type Raw struct {
	Type uint16
	// Nested is NLA_F_NESTED.
	Nested bool
	Data   []byte
}

// Info is IFLA_LINKINFO.
type Info struct {
	// Kind is the kind of the link, "" for none; Data its attributes.
	Kind string
	Data []byte
	// XStats are statistics of the kind.
	XStats []byte
	// SlaveKind is the kind of the master, SlaveData what it says of this
	// link.
	SlaveKind string
	SlaveData []byte
}

// Attrs iterates over encoded attributes, such as Info.Data.
func Attrs(b []byte) func(yield func(nl.Attr) bool) { return nl.Attr{Data: b}.Children() }
