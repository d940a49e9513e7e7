package cli

import "ipoib/nl/ethnl"

// The messages of the controller and of rtnetlink for --debug, with the names
// that the kernel's headers give them (uapi/linux/genetlink.h, netlink.h,
// rtnetlink.h, if_link.h).

var policyTypes = []string{
	"NL_ATTR_TYPE_INVALID", "NL_ATTR_TYPE_FLAG", "NL_ATTR_TYPE_U8", "NL_ATTR_TYPE_U16", "NL_ATTR_TYPE_U32",
	"NL_ATTR_TYPE_U64", "NL_ATTR_TYPE_S8", "NL_ATTR_TYPE_S16", "NL_ATTR_TYPE_S32", "NL_ATTR_TYPE_S64",
	"NL_ATTR_TYPE_BINARY", "NL_ATTR_TYPE_STRING", "NL_ATTR_TYPE_NUL_STRING", "NL_ATTR_TYPE_NESTED",
	"NL_ATTR_TYPE_NESTED_ARRAY", "NL_ATTR_TYPE_BITFIELD32",
}

// element is the set of the elements of an array or of a nest with one type.
func element(set *ethnl.Set) *ethnl.Set {
	return &ethnl.Set{{Name: "0", Kind: ethnl.Nested, Nested: set}}
}

var policyAttr = ethnl.Set{
	1:  {Name: "NL_POLICY_TYPE_ATTR_TYPE", Kind: ethnl.U32, Enum: policyTypes},
	2:  {Name: "NL_POLICY_TYPE_ATTR_MIN_VALUE_S", Kind: ethnl.S64},
	3:  {Name: "NL_POLICY_TYPE_ATTR_MAX_VALUE_S", Kind: ethnl.S64},
	4:  {Name: "NL_POLICY_TYPE_ATTR_MIN_VALUE_U", Kind: ethnl.U64},
	5:  {Name: "NL_POLICY_TYPE_ATTR_MAX_VALUE_U", Kind: ethnl.U64},
	6:  {Name: "NL_POLICY_TYPE_ATTR_MIN_LENGTH", Kind: ethnl.U32},
	7:  {Name: "NL_POLICY_TYPE_ATTR_MAX_LENGTH", Kind: ethnl.U32},
	8:  {Name: "NL_POLICY_TYPE_ATTR_POLICY_IDX", Kind: ethnl.U32},
	9:  {Name: "NL_POLICY_TYPE_ATTR_POLICY_MAXTYPE", Kind: ethnl.U32},
	10: {Name: "NL_POLICY_TYPE_ATTR_BITFIELD32_MASK", Kind: ethnl.X32},
	11: {Name: "NL_POLICY_TYPE_ATTR_PAD"},
	12: {Name: "NL_POLICY_TYPE_ATTR_MASK", Kind: ethnl.Binary},
}

var controlAttrs = ethnl.Set{
	1: {Name: "CTRL_ATTR_FAMILY_ID", Kind: ethnl.U16},
	2: {Name: "CTRL_ATTR_FAMILY_NAME", Kind: ethnl.String},
	3: {Name: "CTRL_ATTR_VERSION", Kind: ethnl.U32},
	4: {Name: "CTRL_ATTR_HDRSIZE", Kind: ethnl.U32},
	5: {Name: "CTRL_ATTR_MAXATTR", Kind: ethnl.U32},
	6: {Name: "CTRL_ATTR_OPS", Kind: ethnl.Array, Nested: element(&ethnl.Set{
		1: {Name: "CTRL_ATTR_OP_ID", Kind: ethnl.U32},
		2: {Name: "CTRL_ATTR_OP_FLAGS", Kind: ethnl.X32},
	})},
	7: {Name: "CTRL_ATTR_MCAST_GROUPS", Kind: ethnl.Array, Nested: element(&ethnl.Set{
		1: {Name: "CTRL_ATTR_MCAST_GRP_NAME", Kind: ethnl.String},
		2: {Name: "CTRL_ATTR_MCAST_GRP_ID", Kind: ethnl.U32},
	})},
	8: {Name: "CTRL_ATTR_POLICY", Kind: ethnl.Array, Nested: &ethnl.Set{
		{Name: "0", Kind: ethnl.Array, Nested: element(&policyAttr)},
	}},
	9: {Name: "CTRL_ATTR_OP_POLICY", Kind: ethnl.Array, Nested: element(&ethnl.Set{
		1: {Name: "CTRL_ATTR_POLICY_DO", Kind: ethnl.U32},
		2: {Name: "CTRL_ATTR_POLICY_DUMP", Kind: ethnl.U32},
	})},
	10: {Name: "CTRL_ATTR_OP", Kind: ethnl.U32},
}

var controlMessages = []ethnl.Message{
	0: {Name: "CTRL_CMD_UNSPEC"},
	1: {Name: "CTRL_CMD_NEWFAMILY", Attrs: &controlAttrs}, 2: {Name: "CTRL_CMD_DELFAMILY", Attrs: &controlAttrs},
	3: {Name: "CTRL_CMD_GETFAMILY", Attrs: &controlAttrs}, 4: {Name: "CTRL_CMD_NEWOPS", Attrs: &controlAttrs},
	5: {Name: "CTRL_CMD_DELOPS", Attrs: &controlAttrs}, 6: {Name: "CTRL_CMD_GETOPS", Attrs: &controlAttrs},
	7: {Name: "CTRL_CMD_NEWMCAST_GRP", Attrs: &controlAttrs}, 8: {Name: "CTRL_CMD_DELMCAST_GRP", Attrs: &controlAttrs},
	9: {Name: "CTRL_CMD_GETMCAST_GRP", Attrs: &controlAttrs}, 10: {Name: "CTRL_CMD_GETPOLICY", Attrs: &controlAttrs},
}

var linkAttrs = ethnl.Set{
	0:  {Name: "IFLA_UNSPEC"},
	1:  {Name: "IFLA_ADDRESS", Kind: ethnl.Binary},
	2:  {Name: "IFLA_BROADCAST", Kind: ethnl.Binary},
	3:  {Name: "IFLA_IFNAME", Kind: ethnl.String},
	4:  {Name: "IFLA_MTU", Kind: ethnl.U32},
	5:  {Name: "IFLA_LINK", Kind: ethnl.U32},
	6:  {Name: "IFLA_QDISC", Kind: ethnl.String},
	7:  {Name: "IFLA_STATS", Kind: ethnl.Binary},
	8:  {Name: "IFLA_COST"},
	9:  {Name: "IFLA_PRIORITY"},
	10: {Name: "IFLA_MASTER", Kind: ethnl.U32},
	11: {Name: "IFLA_WIRELESS", Kind: ethnl.Binary},
	12: {Name: "IFLA_PROTINFO", Kind: ethnl.Nested},
	13: {Name: "IFLA_TXQLEN", Kind: ethnl.U32},
	14: {Name: "IFLA_MAP", Kind: ethnl.Binary},
	15: {Name: "IFLA_WEIGHT", Kind: ethnl.U32},
	16: {Name: "IFLA_OPERSTATE", Kind: ethnl.U8},
	17: {Name: "IFLA_LINKMODE", Kind: ethnl.U8},
	18: {Name: "IFLA_LINKINFO", Kind: ethnl.Nested},
	19: {Name: "IFLA_NET_NS_PID", Kind: ethnl.U32},
	20: {Name: "IFLA_IFALIAS", Kind: ethnl.String},
	21: {Name: "IFLA_NUM_VF", Kind: ethnl.U32},
	22: {Name: "IFLA_VFINFO_LIST", Kind: ethnl.Nested},
	23: {Name: "IFLA_STATS64", Kind: ethnl.Binary},
	24: {Name: "IFLA_VF_PORTS", Kind: ethnl.Nested},
	25: {Name: "IFLA_PORT_SELF", Kind: ethnl.Nested},
	26: {Name: "IFLA_AF_SPEC", Kind: ethnl.Nested},
	27: {Name: "IFLA_GROUP", Kind: ethnl.U32},
	28: {Name: "IFLA_NET_NS_FD", Kind: ethnl.U32},
	29: {Name: "IFLA_EXT_MASK", Kind: ethnl.U32},
	30: {Name: "IFLA_PROMISCUITY", Kind: ethnl.U32},
	31: {Name: "IFLA_NUM_TX_QUEUES", Kind: ethnl.U32},
	32: {Name: "IFLA_NUM_RX_QUEUES", Kind: ethnl.U32},
	33: {Name: "IFLA_CARRIER", Kind: ethnl.U8},
	34: {Name: "IFLA_PHYS_PORT_ID", Kind: ethnl.Binary},
	35: {Name: "IFLA_CARRIER_CHANGES", Kind: ethnl.U32},
	36: {Name: "IFLA_PHYS_SWITCH_ID", Kind: ethnl.Binary},
	37: {Name: "IFLA_LINK_NETNSID", Kind: ethnl.U32},
	38: {Name: "IFLA_PHYS_PORT_NAME", Kind: ethnl.String},
	39: {Name: "IFLA_PROTO_DOWN", Kind: ethnl.U8},
	40: {Name: "IFLA_GSO_MAX_SEGS", Kind: ethnl.U32},
	41: {Name: "IFLA_GSO_MAX_SIZE", Kind: ethnl.U32},
	42: {Name: "IFLA_PAD", Kind: ethnl.Binary},
	43: {Name: "IFLA_XDP", Kind: ethnl.U32},
	44: {Name: "IFLA_EVENT", Kind: ethnl.U32},
	45: {Name: "IFLA_NEW_NETNSID", Kind: ethnl.U32},
	46: {Name: "IFLA_IF_NETNSID", Kind: ethnl.U32},
	47: {Name: "IFLA_CARRIER_UP_COUNT", Kind: ethnl.U32},
	48: {Name: "IFLA_CARRIER_DOWN_COUNT", Kind: ethnl.U32},
	49: {Name: "IFLA_NEW_IFINDEX", Kind: ethnl.U32},
	50: {Name: "IFLA_MIN_MTU", Kind: ethnl.U32},
	51: {Name: "IFLA_MAX_MTU", Kind: ethnl.U32},
	52: {Name: "IFLA_PROP_LIST", Kind: ethnl.Nested},
	53: {Name: "IFLA_ALT_IFNAME", Kind: ethnl.String},
	54: {Name: "IFLA_PERM_ADDRESS", Kind: ethnl.Binary},
}

var routeMessages = []ethnl.Message{
	rtmNewLink: {Name: "RTM_NEWLINK", Attrs: &linkAttrs}, 17: {Name: "RTM_DELLINK", Attrs: &linkAttrs},
	rtmGetLink: {Name: "RTM_GETLINK", Attrs: &linkAttrs}, 19: {Name: "RTM_SETLINK", Attrs: &linkAttrs},
}
