package ethnl

// The attributes, by nest or message (uapi/linux/ethtool_netlink.h:
// ETHTOOL_A_*). Each list starts at 1.

// ETHTOOL_A_HEADER_*
const (
	HeaderDevIndex = 1
	HeaderDevName  = 2
	HeaderFlags    = 3
)

// ETHTOOL_A_BITSET_BIT_*
const (
	BitsetBitIndex = 1
	BitsetBitName  = 2
	BitsetBitValue = 3
)

// ETHTOOL_A_BITSET_BITS_*
const (
	BitsetBitsBit = 1
)

// ETHTOOL_A_BITSET_*
const (
	BitsetNoMask = 1
	BitsetSize   = 2
	BitsetBits   = 3
	BitsetValue  = 4
	BitsetMask   = 5
)

// ETHTOOL_A_STRING_*
const (
	StringIndex = 1
	StringValue = 2
)

// ETHTOOL_A_STRINGS_*
const (
	StringsString = 1
)

// ETHTOOL_A_STRINGSET_*
const (
	StringSetID      = 1
	StringSetCount   = 2
	StringSetStrings = 3
)

// ETHTOOL_A_STRINGSETS_*
const (
	StringSetsStringSet = 1
)

// ETHTOOL_A_STRSET_*
const (
	StrsetHeader     = 1
	StrsetStringSets = 2
	StrsetCountsOnly = 3
)

// ETHTOOL_A_LINKINFO_*
const (
	LinkInfoHeader      = 1
	LinkInfoPort        = 2
	LinkInfoPhyAddr     = 3
	LinkInfoTPMDIX      = 4
	LinkInfoTPMDIXCtrl  = 5
	LinkInfoTransceiver = 6
)

// ETHTOOL_A_LINKMODES_*
const (
	LinkModesHeader           = 1
	LinkModesAutoneg          = 2
	LinkModesOurs             = 3
	LinkModesPeer             = 4
	LinkModesSpeed            = 5
	LinkModesDuplex           = 6
	LinkModesMasterSlaveCfg   = 7
	LinkModesMasterSlaveState = 8
	LinkModesLanes            = 9
	LinkModesRateMatching     = 10
)

// ETHTOOL_A_LINKSTATE_*
const (
	LinkStateHeader      = 1
	LinkStateLink        = 2
	LinkStateSQI         = 3
	LinkStateSQIMax      = 4
	LinkStateExtState    = 5
	LinkStateExtSubstate = 6
)

// ETHTOOL_A_DEBUG_*
const (
	DebugHeader  = 1
	DebugMsgMask = 2
)

// ETHTOOL_A_WOL_*
const (
	WoLHeader = 1
	WoLModes  = 2
	WoLSoPass = 3
)

// ETHTOOL_A_FEATURES_*
const (
	FeaturesHeader   = 1
	FeaturesHW       = 2
	FeaturesWanted   = 3
	FeaturesActive   = 4
	FeaturesNoChange = 5
)

// ETHTOOL_A_PRIVFLAGS_*
const (
	PrivFlagsHeader = 1
	PrivFlagsFlags  = 2
)

// ETHTOOL_A_RINGS_*
const (
	RingsHeader       = 1
	RingsRxMax        = 2
	RingsRxMiniMax    = 3
	RingsRxJumboMax   = 4
	RingsTxMax        = 5
	RingsRx           = 6
	RingsRxMini       = 7
	RingsRxJumbo      = 8
	RingsTx           = 9
	RingsRxBufLen     = 10
	RingsTCPDataSplit = 11
	RingsCQESize      = 12
	RingsTxPush       = 13
)

// ETHTOOL_A_CHANNELS_*
const (
	ChannelsHeader        = 1
	ChannelsRxMax         = 2
	ChannelsTxMax         = 3
	ChannelsOtherMax      = 4
	ChannelsCombinedMax   = 5
	ChannelsRxCount       = 6
	ChannelsTxCount       = 7
	ChannelsOtherCount    = 8
	ChannelsCombinedCount = 9
)

// ETHTOOL_A_COALESCE_*
const (
	CoalesceHeader             = 1
	CoalesceRxUsecs            = 2
	CoalesceRxMaxFrames        = 3
	CoalesceRxUsecsIRQ         = 4
	CoalesceRxMaxFramesIRQ     = 5
	CoalesceTxUsecs            = 6
	CoalesceTxMaxFrames        = 7
	CoalesceTxUsecsIRQ         = 8
	CoalesceTxMaxFramesIRQ     = 9
	CoalesceStatsBlockUsecs    = 10
	CoalesceUseAdaptiveRx      = 11
	CoalesceUseAdaptiveTx      = 12
	CoalescePktRateLow         = 13
	CoalesceRxUsecsLow         = 14
	CoalesceRxMaxFramesLow     = 15
	CoalesceTxUsecsLow         = 16
	CoalesceTxMaxFramesLow     = 17
	CoalescePktRateHigh        = 18
	CoalesceRxUsecsHigh        = 19
	CoalesceRxMaxFramesHigh    = 20
	CoalesceTxUsecsHigh        = 21
	CoalesceTxMaxFramesHigh    = 22
	CoalesceRateSampleInterval = 23
	CoalesceUseCQEModeTx       = 24
	CoalesceUseCQEModeRx       = 25
)

// ETHTOOL_A_PAUSE_*
const (
	PauseHeader  = 1
	PauseAutoneg = 2
	PauseRx      = 3
	PauseTx      = 4
	PauseStats   = 5
)

// ETHTOOL_A_PAUSE_STAT_*
const (
	PauseStatPad      = 1
	PauseStatTxFrames = 2
	PauseStatRxFrames = 3
)

// ETHTOOL_A_EEE_*
const (
	EEEHeader       = 1
	EEEModesOurs    = 2
	EEEModesPeer    = 3
	EEEActive       = 4
	EEEEnabled      = 5
	EEETxLPIEnabled = 6
	EEETxLPITimer   = 7
)

// ETHTOOL_A_TSINFO_*
const (
	TSInfoHeader       = 1
	TSInfoTimestamping = 2
	TSInfoTxTypes      = 3
	TSInfoRxFilters    = 4
	TSInfoPHCIndex     = 5
)

// ETHTOOL_A_PHC_VCLOCKS_*
const (
	PHCVClocksHeader = 1
	PHCVClocksNum    = 2
	PHCVClocksIndex  = 3
)

// ETHTOOL_A_CABLE_TEST_*
const (
	CableTestHeader = 1
)

// ETHTOOL_A_CABLE_RESULT_*
const (
	CableResultPair = 1
	CableResultCode = 2
)

// ETHTOOL_A_CABLE_FAULT_LENGTH_*
const (
	CableFaultLengthPair        = 1
	CableFaultLengthCentimetres = 2
)

// ETHTOOL_A_CABLE_NEST_*
const (
	CableNestResult      = 1
	CableNestFaultLength = 2
)

// ETHTOOL_A_CABLE_TEST_NTF_*
const (
	CableTestNTFHeader = 1
	CableTestNTFStatus = 2
	CableTestNTFNest   = 3
)

// ETHTOOL_A_CABLE_TEST_TDR_CFG_*
const (
	CableTestTDRCfgFirst = 1
	CableTestTDRCfgLast  = 2
	CableTestTDRCfgStep  = 3
	CableTestTDRCfgPair  = 4
)

// ETHTOOL_A_CABLE_TEST_TDR_*
const (
	CableTestTDRHeader = 1
	CableTestTDRCfg    = 2
)

// ETHTOOL_A_CABLE_AMPLITUDE_*
const (
	CableAmplitudePair      = 1
	CableAmplitudeMilliVolt = 2
)

// ETHTOOL_A_CABLE_PULSE_*
const (
	CablePulseMilliVolt = 1
)

// ETHTOOL_A_CABLE_STEP_*
const (
	CableStepFirstDistance = 1
	CableStepLastDistance  = 2
	CableStepStepDistance  = 3
)

// ETHTOOL_A_CABLE_TDR_NEST_*
const (
	CableTDRNestStep      = 1
	CableTDRNestAmplitude = 2
	CableTDRNestPulse     = 3
)

// ETHTOOL_A_CABLE_TEST_TDR_NTF_*
const (
	CableTestTDRNTFHeader = 1
	CableTestTDRNTFStatus = 2
	CableTestTDRNTFNest   = 3
)

// ETHTOOL_A_TUNNEL_UDP_ENTRY_*
const (
	TunnelUDPEntryPort = 1
	TunnelUDPEntryType = 2
)

// ETHTOOL_A_TUNNEL_UDP_TABLE_*
const (
	TunnelUDPTableSize  = 1
	TunnelUDPTableTypes = 2
	TunnelUDPTableEntry = 3
)

// ETHTOOL_A_TUNNEL_UDP_*
const (
	TunnelUDPTableNest = 1
)

// ETHTOOL_A_TUNNEL_INFO_*
const (
	TunnelInfoHeader   = 1
	TunnelInfoUDPPorts = 2
)

// ETHTOOL_A_FEC_*
const (
	FECHeader = 1
	FECModes  = 2
	FECAuto   = 3
	FECActive = 4
	FECStats  = 5
)

// ETHTOOL_A_FEC_STAT_*
const (
	FECStatPad       = 1
	FECStatCorrected = 2
	FECStatUncorr    = 3
	FECStatCorrBits  = 4
)

// ETHTOOL_A_MODULE_EEPROM_*
const (
	ModuleEEPROMHeader     = 1
	ModuleEEPROMOffset     = 2
	ModuleEEPROMLength     = 3
	ModuleEEPROMPage       = 4
	ModuleEEPROMBank       = 5
	ModuleEEPROMI2CAddress = 6
	ModuleEEPROMData       = 7
)

// ETHTOOL_A_STATS_*
const (
	StatsPad    = 1
	StatsHeader = 2
	StatsGroups = 3
	StatsGrp    = 4
)

// ETHTOOL_A_STATS_GRP_*
const (
	StatsGrpPad        = 1
	StatsGrpID         = 2
	StatsGrpSSID       = 3
	StatsGrpStat       = 4
	StatsGrpHistRx     = 5
	StatsGrpHistTx     = 6
	StatsGrpHistBktLow = 7
	StatsGrpHistBktHi  = 8
	StatsGrpHistVal    = 9
)

// ETHTOOL_A_MODULE_*
const (
	ModuleHeader          = 1
	ModulePowerModePolicy = 2
	ModulePowerMode       = 3
)

// ETHTOOL_A_PSE_*
const (
	PSEHeader           = 1
	PoDLPSEAdminState   = 2
	PoDLPSEAdminControl = 3
	PoDLPSEPwDStatus    = 4
)
