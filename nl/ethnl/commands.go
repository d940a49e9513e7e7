package ethnl

// User messages: the commands of requests (ETHTOOL_MSG_USER_*).
const (
	CmdStrsetGet       = 1
	CmdLinkInfoGet     = 2
	CmdLinkInfoSet     = 3
	CmdLinkModesGet    = 4
	CmdLinkModesSet    = 5
	CmdLinkStateGet    = 6
	CmdDebugGet        = 7
	CmdDebugSet        = 8
	CmdWoLGet          = 9
	CmdWoLSet          = 10
	CmdFeaturesGet     = 11
	CmdFeaturesSet     = 12
	CmdPrivFlagsGet    = 13
	CmdPrivFlagsSet    = 14
	CmdRingsGet        = 15
	CmdRingsSet        = 16
	CmdChannelsGet     = 17
	CmdChannelsSet     = 18
	CmdCoalesceGet     = 19
	CmdCoalesceSet     = 20
	CmdPauseGet        = 21
	CmdPauseSet        = 22
	CmdEEEGet          = 23
	CmdEEESet          = 24
	CmdTSInfoGet       = 25
	CmdCableTestAct    = 26
	CmdCableTestTDRAct = 27
	CmdTunnelInfoGet   = 28
	CmdFECGet          = 29
	CmdFECSet          = 30
	CmdModuleEEPROMGet = 31
	CmdStatsGet        = 32
	CmdPHCVClocksGet   = 33
	CmdModuleGet       = 34
	CmdModuleSet       = 35
	CmdPSEGet          = 36
	CmdPSESet          = 37
)

// Kernel messages: the commands of replies and notifications, numbered apart
// from the user messages (ETHTOOL_MSG_KERNEL_*).
const (
	MsgStrsetGetReply       = 1
	MsgLinkInfoGetReply     = 2
	MsgLinkInfoNTF          = 3
	MsgLinkModesGetReply    = 4
	MsgLinkModesNTF         = 5
	MsgLinkStateGetReply    = 6
	MsgDebugGetReply        = 7
	MsgDebugNTF             = 8
	MsgWoLGetReply          = 9
	MsgWoLNTF               = 10
	MsgFeaturesGetReply     = 11
	MsgFeaturesSetReply     = 12
	MsgFeaturesNTF          = 13
	MsgPrivFlagsGetReply    = 14
	MsgPrivFlagsNTF         = 15
	MsgRingsGetReply        = 16
	MsgRingsNTF             = 17
	MsgChannelsGetReply     = 18
	MsgChannelsNTF          = 19
	MsgCoalesceGetReply     = 20
	MsgCoalesceNTF          = 21
	MsgPauseGetReply        = 22
	MsgPauseNTF             = 23
	MsgEEEGetReply          = 24
	MsgEEENTF               = 25
	MsgTSInfoGetReply       = 26
	MsgCableTestNTF         = 27
	MsgCableTestTDRNTF      = 28
	MsgTunnelInfoGetReply   = 29
	MsgFECGetReply          = 30
	MsgFECNTF               = 31
	MsgModuleEEPROMGetReply = 32
	MsgStatsGetReply        = 33
	MsgPHCVClocksGetReply   = 34
	MsgModuleGetReply       = 35
	MsgModuleNTF            = 36
	MsgPSEGetReply          = 37
)
