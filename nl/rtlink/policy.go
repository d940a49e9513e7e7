package rtlink

import "ipoib/nl"

// ifMapLen is sizeof(struct rtnl_link_ifmap), in bytes.
const ifMapLen = 32

// Policy is what requests about links are checked with (kernel ifla_policy).
var Policy = &nl.Policy{Attrs: []nl.AttrPolicy{
	AttrAddress:          nl.Binary(MaxAddress),
	AttrBroadcast:        nl.Binary(MaxAddress),
	AttrIfname:           nl.String(MaxName),
	AttrMTU:              nl.U32(),
	AttrLink:             nl.U32(),
	AttrMaster:           nl.U32(),
	AttrTxqlen:           nl.U32(),
	AttrMap:              nl.Unspec(ifMapLen),
	AttrWeight:           nl.U32(),
	AttrOperstate:        nl.U8(),
	AttrLinkmode:         nl.U8(),
	AttrLinkinfo:         nl.Nest(nil),
	AttrNetNSPID:         nl.U32(),
	AttrIfalias:          nl.Binary(MaxAlias),
	AttrVFInfoList:       nl.Nest(nil),
	AttrVFPorts:          nl.Nest(nil),
	AttrPortSelf:         nl.Nest(nil),
	AttrAFSpec:           nl.Nest(nil),
	AttrGroup:            nl.U32(),
	AttrNetNSFD:          nl.U32(),
	AttrExtMask:          nl.U32(),
	AttrPromiscuity:      nl.U32(),
	AttrNumTxQueues:      nl.U32(),
	AttrNumRxQueues:      nl.U32(),
	AttrCarrier:          nl.U8(),
	AttrPhysPortID:       nl.Binary(maxPhysID),
	AttrCarrierChanges:   nl.U32(),
	AttrPhysSwitchID:     nl.Binary(maxPhysID),
	AttrLinkNetNSID:      nl.S32(),
	AttrProtoDown:        nl.U8(),
	AttrGSOMaxSegs:       nl.U32(),
	AttrGSOMaxSize:       nl.U32(),
	AttrXDP:              nl.Nest(nil),
	AttrEvent:            nl.U32(),
	AttrTargetNetNSID:    nl.S32(),
	AttrCarrierUpCount:   nl.U32(),
	AttrCarrierDownCount: nl.U32(),
	AttrNewIfindex:       nl.S32().RangeSigned(1, 1<<31-1),
	AttrMinMTU:           nl.U32(),
	AttrMaxMTU:           nl.U32(),
	AttrPropList:         nl.Nest(nil),
	AttrAltIfname:        nl.String(MaxAltName),
	AttrPermAddress:      nl.Reject(""),
	AttrProtoDownReason:  nl.Nest(nil),
	AttrParentDevName:    nl.NulString(0),
	AttrGROMaxSize:       nl.U32(),
	AttrTSOMaxSize:       nl.Reject(""),
	AttrTSOMaxSegs:       nl.Reject(""),
	AttrAllmulti:         nl.Reject(""),
}}

// maxPhysID is MAX_PHYS_ITEM_ID_LEN.
const maxPhysID = 32

// InfoPolicy checks the content of AttrLinkinfo (kernel ifla_info_policy).
var InfoPolicy = &nl.Policy{Attrs: []nl.AttrPolicy{
	InfoKind:      nl.String(0),
	InfoData:      nl.Nest(nil),
	InfoXStats:    nl.Unspec(0),
	InfoSlaveKind: nl.String(0),
	InfoSlaveData: nl.Nest(nil),
}}

// IPoIBPolicy checks InfoData of the kind "ipoib" (kernel ipoib_policy).
var IPoIBPolicy = &nl.Policy{Attrs: []nl.AttrPolicy{
	IPoIBPKey:   nl.U16(),
	IPoIBMode:   nl.U16(),
	IPoIBUmcast: nl.U16(),
}}

// ProtoDownReasonPolicy checks AttrProtoDownReason.
var ProtoDownReasonPolicy = &nl.Policy{Attrs: []nl.AttrPolicy{
	ProtoDownReasonMask:  nl.U32(),
	ProtoDownReasonValue: nl.U32(),
}}

// NSIDPolicy checks requests about namespace ids (kernel rtnl_net_policy).
var NSIDPolicy = &nl.Policy{Attrs: []nl.AttrPolicy{
	NSIDAttrNSID: nl.S32(),
	NSIDAttrPID:  nl.U32(),
	NSIDAttrFD:   nl.U32(),
	4:            nl.S32(), // NETNSA_TARGET_NSID
}}
