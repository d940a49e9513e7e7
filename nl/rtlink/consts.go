package rtlink

import "github.com/mdlayher/netlink"

// Message types (uapi/linux/rtnetlink.h).
const (
	NewLink     netlink.HeaderType = 16  // RTM_NEWLINK
	DelLink     netlink.HeaderType = 17  // RTM_DELLINK
	GetLink     netlink.HeaderType = 18  // RTM_GETLINK
	SetLink     netlink.HeaderType = 19  // RTM_SETLINK
	NewNSID     netlink.HeaderType = 88  // RTM_NEWNSID
	DelNSID     netlink.HeaderType = 89  // RTM_DELNSID
	GetNSID     netlink.HeaderType = 90  // RTM_GETNSID
	NewLinkProp netlink.HeaderType = 108 // RTM_NEWLINKPROP
	DelLinkProp netlink.HeaderType = 109 // RTM_DELLINKPROP
)

// Group is RTNLGRP_LINK, the multicast group of link events.
const Group = 1

// HeaderLen is sizeof(struct ifinfomsg), in bytes.
const HeaderLen = 16

// Attributes (uapi/linux/if_link.h: IFLA_*).
const (
	AttrAddress             = 1
	AttrBroadcast           = 2
	AttrIfname              = 3
	AttrMTU                 = 4
	AttrLink                = 5
	AttrQdisc               = 6
	AttrStats               = 7
	AttrMaster              = 10
	AttrProtinfo            = 12
	AttrTxqlen              = 13
	AttrMap                 = 14
	AttrWeight              = 15
	AttrOperstate           = 16
	AttrLinkmode            = 17
	AttrLinkinfo            = 18
	AttrNetNSPID            = 19
	AttrIfalias             = 20
	AttrNumVF               = 21
	AttrVFInfoList          = 22
	AttrStats64             = 23
	AttrVFPorts             = 24
	AttrPortSelf            = 25
	AttrAFSpec              = 26
	AttrGroup               = 27
	AttrNetNSFD             = 28
	AttrExtMask             = 29
	AttrPromiscuity         = 30
	AttrNumTxQueues         = 31
	AttrNumRxQueues         = 32
	AttrCarrier             = 33
	AttrPhysPortID          = 34
	AttrCarrierChanges      = 35
	AttrPhysSwitchID        = 36
	AttrLinkNetNSID         = 37
	AttrPhysPortName        = 38
	AttrProtoDown           = 39
	AttrGSOMaxSegs          = 40
	AttrGSOMaxSize          = 41
	AttrXDP                 = 43
	AttrEvent               = 44
	AttrNewNetNSID          = 45
	AttrTargetNetNSID       = 46
	AttrCarrierUpCount      = 47
	AttrCarrierDownCount    = 48
	AttrNewIfindex          = 49
	AttrMinMTU              = 50
	AttrMaxMTU              = 51
	AttrPropList            = 52
	AttrAltIfname           = 53
	AttrPermAddress         = 54
	AttrProtoDownReason     = 55
	AttrParentDevName       = 56
	AttrParentDevBusName    = 57
	AttrGROMaxSize          = 58
	AttrTSOMaxSize          = 59
	AttrTSOMaxSegs          = 60
	AttrAllmulti            = 61
	AttrDevlinkPort         = 62
	AttrGSOIPv4MaxSize      = 63
	AttrGROIPv4MaxSize      = 64
	AttrMaxPacingOffHorizon = 66
	AttrNetNSImmutable      = 67
	AttrHeadroom            = 68
	AttrTailroom            = 69
)

// Attributes inside AttrLinkinfo (IFLA_INFO_*).
const (
	InfoKind      = 1
	InfoData      = 2
	InfoXStats    = 3
	InfoSlaveKind = 4
	InfoSlaveData = 5
)

// Attributes inside AttrProtoDownReason (IFLA_PROTO_DOWN_REASON_*).
const (
	ProtoDownReasonMask  = 1
	ProtoDownReasonValue = 2
)

// Attributes of the RTM_*NSID messages (uapi/linux/net_namespace.h: NETNSA_*).
const (
	NSIDAttrNSID = 1
	NSIDAttrPID  = 2
	NSIDAttrFD   = 3
	// NSIDAttrCurrent is NETNSA_CURRENT_NSID.
	NSIDAttrCurrent = 5
)

// Interface flags (uapi/linux/if.h: IFF_*).
const (
	FlagUp           uint32 = 1 << 0
	FlagBroadcast    uint32 = 1 << 1
	FlagDebug        uint32 = 1 << 2
	FlagLoopback     uint32 = 1 << 3
	FlagPointToPoint uint32 = 1 << 4
	FlagNoTrailers   uint32 = 1 << 5
	FlagRunning      uint32 = 1 << 6
	FlagNoARP        uint32 = 1 << 7
	FlagPromisc      uint32 = 1 << 8
	FlagAllmulti     uint32 = 1 << 9
	FlagMaster       uint32 = 1 << 10
	FlagSlave        uint32 = 1 << 11
	FlagMulticast    uint32 = 1 << 12
	FlagPortsel      uint32 = 1 << 13
	FlagAutomedia    uint32 = 1 << 14
	FlagDynamic      uint32 = 1 << 15
	FlagLowerUp      uint32 = 1 << 16
	FlagDormant      uint32 = 1 << 17
	FlagEcho         uint32 = 1 << 18
)

// ChangeAll is ifi_change in a message about a new or a deleted link.
const ChangeAll = ^uint32(0)

// Operational states (RFC 2863 section 3.1.14, uapi/linux/if.h: IF_OPER_*).
const (
	OperUnknown        uint8 = 0
	OperNotPresent     uint8 = 1
	OperDown           uint8 = 2
	OperLowerLayerDown uint8 = 3
	OperTesting        uint8 = 4
	OperDormant        uint8 = 5
	OperUp             uint8 = 6
)

// Link types (uapi/linux/if_arp.h: ARPHRD_*).
const (
	TypeEther      uint16 = 1
	TypeInfiniBand uint16 = 32
	TypeLoopback   uint16 = 772
)

// Bits of AttrExtMask (uapi/linux/rtnetlink.h: RTEXT_FILTER_*).
const (
	FilterVF        uint32 = 1 << 0
	FilterSkipStats uint32 = 1 << 3
)

// EventFeatures is the value of AttrEvent for a change of features
// (IFLA_EVENT_FEATURES).
const EventFeatures uint32 = 2

// Limits of requests, in bytes.
const (
	// MaxName is the longest interface name, IFNAMSIZ without its NUL.
	MaxName = 15
	// MaxAltName is the longest alternative name, ALTIFNAMSIZ without its NUL.
	MaxAltName = 127
	// MaxAlias is IFALIASZ - 1.
	MaxAlias = 255
	// MaxAddress is MAX_ADDR_LEN.
	MaxAddress = 32
)

// MaxQueues is the largest queue count in a request (rtnl_create_link).
const MaxQueues = 4096
