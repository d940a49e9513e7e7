package ethnl

// Kind is how the payload of an attribute is read and printed.
type Kind uint8

// The kinds. An attribute of kind None is padding, or has no number.
const (
	None Kind = iota
	Flag
	U8
	U16
	U32
	U64
	S16
	// X32 is a U32 that is printed in hex, Bool a U8 that is on or off.
	X32
	Bool
	String // NUL terminated
	Binary
	Nested
	// S64 and Array, whose elements are all of Nested's type 0, do not occur
	// in this family; they are for the tables of others.
	S64
	Array
)

// Attr describes an attribute.
type Attr struct {
	// Name is the kernel's, ETHTOOL_A_...
	Name string
	Kind Kind
	// Nested is the content of a nest.
	Nested *Set
	// Enum names the values of an integer, if they have names.
	Enum []string
}

// Set describes the attributes of a message or a nest, by type.
type Set []Attr

// Lookup returns the attribute of type t, and whether there is one.
func (s *Set) Lookup(t uint16) (*Attr, bool) {
	if s == nil || int(t) >= len(*s) || (*s)[t].Name == "" {
		return nil, false
	}
	return &(*s)[t], true
}

// Message describes a message.
type Message struct {
	// Name is the kernel's, ETHTOOL_MSG_...
	Name  string
	Attrs *Set
}

// UserMessages are the messages to the service, by command.
var UserMessages = []Message{
	1:  {"ETHTOOL_MSG_STRSET_GET", &setStrset},
	2:  {"ETHTOOL_MSG_LINKINFO_GET", &setLinkInfo},
	3:  {"ETHTOOL_MSG_LINKINFO_SET", &setLinkInfo},
	4:  {"ETHTOOL_MSG_LINKMODES_GET", &setLinkModes},
	5:  {"ETHTOOL_MSG_LINKMODES_SET", &setLinkModes},
	6:  {"ETHTOOL_MSG_LINKSTATE_GET", &setLinkState},
	7:  {"ETHTOOL_MSG_DEBUG_GET", &setDebug},
	8:  {"ETHTOOL_MSG_DEBUG_SET", &setDebug},
	9:  {"ETHTOOL_MSG_WOL_GET", &setWoL},
	10: {"ETHTOOL_MSG_WOL_SET", &setWoL},
	11: {"ETHTOOL_MSG_FEATURES_GET", &setFeatures},
	12: {"ETHTOOL_MSG_FEATURES_SET", &setFeatures},
	13: {"ETHTOOL_MSG_PRIVFLAGS_GET", &setPrivFlags},
	14: {"ETHTOOL_MSG_PRIVFLAGS_SET", &setPrivFlags},
	15: {"ETHTOOL_MSG_RINGS_GET", &setRings},
	16: {"ETHTOOL_MSG_RINGS_SET", &setRings},
	17: {"ETHTOOL_MSG_CHANNELS_GET", &setChannels},
	18: {"ETHTOOL_MSG_CHANNELS_SET", &setChannels},
	19: {"ETHTOOL_MSG_COALESCE_GET", &setCoalesce},
	20: {"ETHTOOL_MSG_COALESCE_SET", &setCoalesce},
	21: {"ETHTOOL_MSG_PAUSE_GET", &setPause},
	22: {"ETHTOOL_MSG_PAUSE_SET", &setPause},
	23: {"ETHTOOL_MSG_EEE_GET", &setEEE},
	24: {"ETHTOOL_MSG_EEE_SET", &setEEE},
	25: {"ETHTOOL_MSG_TSINFO_GET", &setTSInfo},
	26: {"ETHTOOL_MSG_CABLE_TEST_ACT", &setCableTest},
	27: {"ETHTOOL_MSG_CABLE_TEST_TDR_ACT", &setCableTestTDR},
	28: {"ETHTOOL_MSG_TUNNEL_INFO_GET", &setTunnelInfo},
	29: {"ETHTOOL_MSG_FEC_GET", &setFEC},
	30: {"ETHTOOL_MSG_FEC_SET", &setFEC},
	31: {"ETHTOOL_MSG_MODULE_EEPROM_GET", &setModuleEEPROM},
	32: {"ETHTOOL_MSG_STATS_GET", &setStats},
	33: {"ETHTOOL_MSG_PHC_VCLOCKS_GET", &setPHCVClocks},
	34: {"ETHTOOL_MSG_MODULE_GET", &setModule},
	35: {"ETHTOOL_MSG_MODULE_SET", &setModule},
	36: {"ETHTOOL_MSG_PSE_GET", &setPSE},
	37: {"ETHTOOL_MSG_PSE_SET", &setPSE},
}

// KernelMessages are the messages from the service, by command.
var KernelMessages = []Message{
	1:  {"ETHTOOL_MSG_STRSET_GET_REPLY", &setStrset},
	2:  {"ETHTOOL_MSG_LINKINFO_GET_REPLY", &setLinkInfo},
	3:  {"ETHTOOL_MSG_LINKINFO_NTF", &setLinkInfo},
	4:  {"ETHTOOL_MSG_LINKMODES_GET_REPLY", &setLinkModes},
	5:  {"ETHTOOL_MSG_LINKMODES_NTF", &setLinkModes},
	6:  {"ETHTOOL_MSG_LINKSTATE_GET_REPLY", &setLinkState},
	7:  {"ETHTOOL_MSG_DEBUG_GET_REPLY", &setDebug},
	8:  {"ETHTOOL_MSG_DEBUG_NTF", &setDebug},
	9:  {"ETHTOOL_MSG_WOL_GET_REPLY", &setWoL},
	10: {"ETHTOOL_MSG_WOL_NTF", &setWoL},
	11: {"ETHTOOL_MSG_FEATURES_GET_REPLY", &setFeatures},
	12: {"ETHTOOL_MSG_FEATURES_SET_REPLY", &setFeatures},
	13: {"ETHTOOL_MSG_FEATURES_NTF", &setFeatures},
	14: {"ETHTOOL_MSG_PRIVFLAGS_GET_REPLY", &setPrivFlags},
	15: {"ETHTOOL_MSG_PRIVFLAGS_NTF", &setPrivFlags},
	16: {"ETHTOOL_MSG_RINGS_GET_REPLY", &setRings},
	17: {"ETHTOOL_MSG_RINGS_NTF", &setRings},
	18: {"ETHTOOL_MSG_CHANNELS_GET_REPLY", &setChannels},
	19: {"ETHTOOL_MSG_CHANNELS_NTF", &setChannels},
	20: {"ETHTOOL_MSG_COALESCE_GET_REPLY", &setCoalesce},
	21: {"ETHTOOL_MSG_COALESCE_NTF", &setCoalesce},
	22: {"ETHTOOL_MSG_PAUSE_GET_REPLY", &setPause},
	23: {"ETHTOOL_MSG_PAUSE_NTF", &setPause},
	24: {"ETHTOOL_MSG_EEE_GET_REPLY", &setEEE},
	25: {"ETHTOOL_MSG_EEE_NTF", &setEEE},
	26: {"ETHTOOL_MSG_TSINFO_GET_REPLY", &setTSInfo},
	27: {"ETHTOOL_MSG_CABLE_TEST_NTF", &setCableTestNTF},
	28: {"ETHTOOL_MSG_CABLE_TEST_TDR_NTF", &setCableTestTDRNTF},
	29: {"ETHTOOL_MSG_TUNNEL_INFO_GET_REPLY", &setTunnelInfo},
	30: {"ETHTOOL_MSG_FEC_GET_REPLY", &setFEC},
	31: {"ETHTOOL_MSG_FEC_NTF", &setFEC},
	32: {"ETHTOOL_MSG_MODULE_EEPROM_GET_REPLY", &setModuleEEPROM},
	33: {"ETHTOOL_MSG_STATS_GET_REPLY", &setStats},
	34: {"ETHTOOL_MSG_PHC_VCLOCKS_GET_REPLY", &setPHCVClocks},
	35: {"ETHTOOL_MSG_MODULE_GET_REPLY", &setModule},
	36: {"ETHTOOL_MSG_MODULE_NTF", &setModule},
	37: {"ETHTOOL_MSG_PSE_GET_REPLY", &setPSE},
}
