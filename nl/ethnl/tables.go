package ethnl

// The attributes of every nest, by type.

var (
	rateMatching = []string{"RATE_MATCH_NONE", "RATE_MATCH_PAUSE", "RATE_MATCH_CRS", "RATE_MATCH_OPEN_LOOP"}
	tcpDataSplit = []string{
		"ETHTOOL_TCP_DATA_SPLIT_UNKNOWN", "ETHTOOL_TCP_DATA_SPLIT_DISABLED", "ETHTOOL_TCP_DATA_SPLIT_ENABLED",
	}
	pseAdminState = []string{
		1: "ETHTOOL_PODL_PSE_ADMIN_STATE_UNKNOWN", 2: "ETHTOOL_PODL_PSE_ADMIN_STATE_DISABLED",
		3: "ETHTOOL_PODL_PSE_ADMIN_STATE_ENABLED",
	}
	psePowerStatus = []string{
		1: "ETHTOOL_PODL_PSE_PW_D_STATUS_UNKNOWN", 2: "ETHTOOL_PODL_PSE_PW_D_STATUS_DISABLED",
		3: "ETHTOOL_PODL_PSE_PW_D_STATUS_SEARCHING", 4: "ETHTOOL_PODL_PSE_PW_D_STATUS_DELIVERING",
		5: "ETHTOOL_PODL_PSE_PW_D_STATUS_SLEEP", 6: "ETHTOOL_PODL_PSE_PW_D_STATUS_IDLE",
		7: "ETHTOOL_PODL_PSE_PW_D_STATUS_ERROR",
	}
)

// setStat are the statistics of a group: their types are indexes into the
// group's string set.
var setStat = Set{
	0: {Name: "0", Kind: U64}, 1: {Name: "1", Kind: U64}, 2: {Name: "2", Kind: U64}, 3: {Name: "3", Kind: U64}, 4: {Name: "4", Kind: U64},
	5: {Name: "5", Kind: U64}, 6: {Name: "6", Kind: U64}, 7: {Name: "7", Kind: U64}, 8: {Name: "8", Kind: U64}, 9: {Name: "9", Kind: U64},
	10: {Name: "10", Kind: U64}, 11: {Name: "11", Kind: U64}, 12: {Name: "12", Kind: U64}, 13: {Name: "13", Kind: U64}, 14: {Name: "14", Kind: U64},
	15: {Name: "15", Kind: U64}, 16: {Name: "16", Kind: U64}, 17: {Name: "17", Kind: U64}, 18: {Name: "18", Kind: U64}, 19: {Name: "19", Kind: U64},
	20: {Name: "20", Kind: U64}, 21: {Name: "21", Kind: U64}, 22: {Name: "22", Kind: U64}, 23: {Name: "23", Kind: U64}, 24: {Name: "24", Kind: U64},
	25: {Name: "25", Kind: U64}, 26: {Name: "26", Kind: U64}, 27: {Name: "27", Kind: U64}, 28: {Name: "28", Kind: U64}, 29: {Name: "29", Kind: U64},
}

// setHist is a bucket of a histogram: attributes of the group that it is in.
var setHist = Set{
	7: {Name: "ETHTOOL_A_STATS_GRP_HIST_BKT_LOW", Kind: U32},
	8: {Name: "ETHTOOL_A_STATS_GRP_HIST_BKT_HI", Kind: U32},
	9: {Name: "ETHTOOL_A_STATS_GRP_HIST_VAL", Kind: U64},
}

var setHeader = Set{ // ETHTOOL_A_HEADER_*
	1: {Name: "ETHTOOL_A_HEADER_DEV_INDEX", Kind: U32},
	2: {Name: "ETHTOOL_A_HEADER_DEV_NAME", Kind: String},
	3: {Name: "ETHTOOL_A_HEADER_FLAGS", Kind: X32},
}

var setBitsetBit = Set{ // ETHTOOL_A_BITSET_BIT_*
	1: {Name: "ETHTOOL_A_BITSET_BIT_INDEX", Kind: U32},
	2: {Name: "ETHTOOL_A_BITSET_BIT_NAME", Kind: String},
	3: {Name: "ETHTOOL_A_BITSET_BIT_VALUE", Kind: Flag},
}

var setBitsetBits = Set{ // ETHTOOL_A_BITSET_BITS_*
	1: {Name: "ETHTOOL_A_BITSET_BITS_BIT", Kind: Nested, Nested: &setBitsetBit},
}

var setBitset = Set{ // ETHTOOL_A_BITSET_*
	1: {Name: "ETHTOOL_A_BITSET_NOMASK", Kind: Flag},
	2: {Name: "ETHTOOL_A_BITSET_SIZE", Kind: U32},
	3: {Name: "ETHTOOL_A_BITSET_BITS", Kind: Nested, Nested: &setBitsetBits},
	4: {Name: "ETHTOOL_A_BITSET_VALUE", Kind: Binary},
	5: {Name: "ETHTOOL_A_BITSET_MASK", Kind: Binary},
}

var setString = Set{ // ETHTOOL_A_STRING_*
	1: {Name: "ETHTOOL_A_STRING_INDEX", Kind: U32},
	2: {Name: "ETHTOOL_A_STRING_VALUE", Kind: String},
}

var setStrings = Set{ // ETHTOOL_A_STRINGS_*
	1: {Name: "ETHTOOL_A_STRINGS_STRING", Kind: Nested, Nested: &setString},
}

var setStringSet = Set{ // ETHTOOL_A_STRINGSET_*
	1: {Name: "ETHTOOL_A_STRINGSET_ID", Kind: U32},
	2: {Name: "ETHTOOL_A_STRINGSET_COUNT", Kind: U32},
	3: {Name: "ETHTOOL_A_STRINGSET_STRINGS", Kind: Nested, Nested: &setStrings},
}

var setStringSets = Set{ // ETHTOOL_A_STRINGSETS_*
	1: {Name: "ETHTOOL_A_STRINGSETS_STRINGSET", Kind: Nested, Nested: &setStringSet},
}

var setStrset = Set{ // ETHTOOL_A_STRSET_*
	1: {Name: "ETHTOOL_A_STRSET_HEADER", Kind: Nested, Nested: &setHeader},
	2: {Name: "ETHTOOL_A_STRSET_STRINGSETS", Kind: Nested, Nested: &setStringSets},
	3: {Name: "ETHTOOL_A_STRSET_COUNTS_ONLY", Kind: Flag},
}

var setLinkInfo = Set{ // ETHTOOL_A_LINKINFO_*
	1: {Name: "ETHTOOL_A_LINKINFO_HEADER", Kind: Nested, Nested: &setHeader},
	2: {Name: "ETHTOOL_A_LINKINFO_PORT", Kind: U8},
	3: {Name: "ETHTOOL_A_LINKINFO_PHYADDR", Kind: U8},
	4: {Name: "ETHTOOL_A_LINKINFO_TP_MDIX", Kind: U8},
	5: {Name: "ETHTOOL_A_LINKINFO_TP_MDIX_CTRL", Kind: U8},
	6: {Name: "ETHTOOL_A_LINKINFO_TRANSCEIVER", Kind: U8},
}

var setLinkModes = Set{ // ETHTOOL_A_LINKMODES_*
	1:  {Name: "ETHTOOL_A_LINKMODES_HEADER", Kind: Nested, Nested: &setHeader},
	2:  {Name: "ETHTOOL_A_LINKMODES_AUTONEG", Kind: Bool},
	3:  {Name: "ETHTOOL_A_LINKMODES_OURS", Kind: Nested, Nested: &setBitset},
	4:  {Name: "ETHTOOL_A_LINKMODES_PEER", Kind: Nested, Nested: &setBitset},
	5:  {Name: "ETHTOOL_A_LINKMODES_SPEED", Kind: U32},
	6:  {Name: "ETHTOOL_A_LINKMODES_DUPLEX", Kind: U8},
	7:  {Name: "ETHTOOL_A_LINKMODES_MASTER_SLAVE_CFG", Kind: U8},
	8:  {Name: "ETHTOOL_A_LINKMODES_MASTER_SLAVE_STATE", Kind: U8},
	9:  {Name: "ETHTOOL_A_LINKMODES_LANES", Kind: U32},
	10: {Name: "ETHTOOL_A_LINKMODES_RATE_MATCHING", Kind: U8, Enum: rateMatching},
}

var setLinkState = Set{ // ETHTOOL_A_LINKSTATE_*
	1: {Name: "ETHTOOL_A_LINKSTATE_HEADER", Kind: Nested, Nested: &setHeader},
	2: {Name: "ETHTOOL_A_LINKSTATE_LINK", Kind: Bool},
	3: {Name: "ETHTOOL_A_LINKSTATE_SQI", Kind: U32},
	4: {Name: "ETHTOOL_A_LINKSTATE_SQI_MAX", Kind: U32},
	5: {Name: "ETHTOOL_A_LINKSTATE_EXT_STATE", Kind: U8},
	6: {Name: "ETHTOOL_A_LINKSTATE_EXT_SUBSTATE", Kind: U8},
}

var setDebug = Set{ // ETHTOOL_A_DEBUG_*
	1: {Name: "ETHTOOL_A_DEBUG_HEADER", Kind: Nested, Nested: &setHeader},
	2: {Name: "ETHTOOL_A_DEBUG_MSGMASK", Kind: Nested, Nested: &setBitset},
}

var setWoL = Set{ // ETHTOOL_A_WOL_*
	1: {Name: "ETHTOOL_A_WOL_HEADER", Kind: Nested, Nested: &setHeader},
	2: {Name: "ETHTOOL_A_WOL_MODES", Kind: Nested, Nested: &setBitset},
	3: {Name: "ETHTOOL_A_WOL_SOPASS", Kind: Binary},
}

var setFeatures = Set{ // ETHTOOL_A_FEATURES_*
	1: {Name: "ETHTOOL_A_FEATURES_HEADER", Kind: Nested, Nested: &setHeader},
	2: {Name: "ETHTOOL_A_FEATURES_HW", Kind: Nested, Nested: &setBitset},
	3: {Name: "ETHTOOL_A_FEATURES_WANTED", Kind: Nested, Nested: &setBitset},
	4: {Name: "ETHTOOL_A_FEATURES_ACTIVE", Kind: Nested, Nested: &setBitset},
	5: {Name: "ETHTOOL_A_FEATURES_NOCHANGE", Kind: Nested, Nested: &setBitset},
}

var setPrivFlags = Set{ // ETHTOOL_A_PRIVFLAGS_*
	1: {Name: "ETHTOOL_A_PRIVFLAGS_HEADER", Kind: Nested, Nested: &setHeader},
	2: {Name: "ETHTOOL_A_PRIVFLAGS_FLAGS", Kind: Nested, Nested: &setBitset},
}

var setRings = Set{ // ETHTOOL_A_RINGS_*
	1:  {Name: "ETHTOOL_A_RINGS_HEADER", Kind: Nested, Nested: &setHeader},
	2:  {Name: "ETHTOOL_A_RINGS_RX_MAX", Kind: U32},
	3:  {Name: "ETHTOOL_A_RINGS_RX_MINI_MAX", Kind: U32},
	4:  {Name: "ETHTOOL_A_RINGS_RX_JUMBO_MAX", Kind: U32},
	5:  {Name: "ETHTOOL_A_RINGS_TX_MAX", Kind: U32},
	6:  {Name: "ETHTOOL_A_RINGS_RX", Kind: U32},
	7:  {Name: "ETHTOOL_A_RINGS_RX_MINI", Kind: U32},
	8:  {Name: "ETHTOOL_A_RINGS_RX_JUMBO", Kind: U32},
	9:  {Name: "ETHTOOL_A_RINGS_TX", Kind: U32},
	10: {Name: "ETHTOOL_A_RINGS_RX_BUF_LEN", Kind: U32},
	11: {Name: "ETHTOOL_A_RINGS_TCP_DATA_SPLIT", Kind: U8, Enum: tcpDataSplit},
	12: {Name: "ETHTOOL_A_RINGS_CQE_SIZE", Kind: U32},
	13: {Name: "ETHTOOL_A_RINGS_TX_PUSH", Kind: Bool},
}

var setChannels = Set{ // ETHTOOL_A_CHANNELS_*
	1: {Name: "ETHTOOL_A_CHANNELS_HEADER", Kind: Nested, Nested: &setHeader},
	2: {Name: "ETHTOOL_A_CHANNELS_RX_MAX", Kind: U32},
	3: {Name: "ETHTOOL_A_CHANNELS_TX_MAX", Kind: U32},
	4: {Name: "ETHTOOL_A_CHANNELS_OTHER_MAX", Kind: U32},
	5: {Name: "ETHTOOL_A_CHANNELS_COMBINED_MAX", Kind: U32},
	6: {Name: "ETHTOOL_A_CHANNELS_RX_COUNT", Kind: U32},
	7: {Name: "ETHTOOL_A_CHANNELS_TX_COUNT", Kind: U32},
	8: {Name: "ETHTOOL_A_CHANNELS_OTHER_COUNT", Kind: U32},
	9: {Name: "ETHTOOL_A_CHANNELS_COMBINED_COUNT", Kind: U32},
}

var setCoalesce = Set{ // ETHTOOL_A_COALESCE_*
	1:  {Name: "ETHTOOL_A_COALESCE_HEADER", Kind: Nested, Nested: &setHeader},
	2:  {Name: "ETHTOOL_A_COALESCE_RX_USECS", Kind: U32},
	3:  {Name: "ETHTOOL_A_COALESCE_RX_MAX_FRAMES", Kind: U32},
	4:  {Name: "ETHTOOL_A_COALESCE_RX_USECS_IRQ", Kind: U32},
	5:  {Name: "ETHTOOL_A_COALESCE_RX_MAX_FRAMES_IRQ", Kind: U32},
	6:  {Name: "ETHTOOL_A_COALESCE_TX_USECS", Kind: U32},
	7:  {Name: "ETHTOOL_A_COALESCE_TX_MAX_FRAMES", Kind: U32},
	8:  {Name: "ETHTOOL_A_COALESCE_TX_USECS_IRQ", Kind: U32},
	9:  {Name: "ETHTOOL_A_COALESCE_TX_MAX_FRAMES_IRQ", Kind: U32},
	10: {Name: "ETHTOOL_A_COALESCE_STATS_BLOCK_USECS", Kind: U32},
	11: {Name: "ETHTOOL_A_COALESCE_USE_ADAPTIVE_RX", Kind: Bool},
	12: {Name: "ETHTOOL_A_COALESCE_USE_ADAPTIVE_TX", Kind: Bool},
	13: {Name: "ETHTOOL_A_COALESCE_PKT_RATE_LOW", Kind: U32},
	14: {Name: "ETHTOOL_A_COALESCE_RX_USECS_LOW", Kind: U32},
	15: {Name: "ETHTOOL_A_COALESCE_RX_MAX_FRAMES_LOW", Kind: U32},
	16: {Name: "ETHTOOL_A_COALESCE_TX_USECS_LOW", Kind: U32},
	17: {Name: "ETHTOOL_A_COALESCE_TX_MAX_FRAMES_LOW", Kind: U32},
	18: {Name: "ETHTOOL_A_COALESCE_PKT_RATE_HIGH", Kind: U32},
	19: {Name: "ETHTOOL_A_COALESCE_RX_USECS_HIGH", Kind: U32},
	20: {Name: "ETHTOOL_A_COALESCE_RX_MAX_FRAMES_HIGH", Kind: U32},
	21: {Name: "ETHTOOL_A_COALESCE_TX_USECS_HIGH", Kind: U32},
	22: {Name: "ETHTOOL_A_COALESCE_TX_MAX_FRAMES_HIGH", Kind: U32},
	23: {Name: "ETHTOOL_A_COALESCE_RATE_SAMPLE_INTERVAL", Kind: U32},
	24: {Name: "ETHTOOL_A_COALESCE_USE_CQE_MODE_TX", Kind: Bool},
	25: {Name: "ETHTOOL_A_COALESCE_USE_CQE_MODE_RX", Kind: Bool},
}

var setPause = Set{ // ETHTOOL_A_PAUSE_*
	1: {Name: "ETHTOOL_A_PAUSE_HEADER", Kind: Nested, Nested: &setHeader},
	2: {Name: "ETHTOOL_A_PAUSE_AUTONEG", Kind: Bool},
	3: {Name: "ETHTOOL_A_PAUSE_RX", Kind: Bool},
	4: {Name: "ETHTOOL_A_PAUSE_TX", Kind: Bool},
	5: {Name: "ETHTOOL_A_PAUSE_STATS", Kind: Nested, Nested: &setPauseStat},
}

var setPauseStat = Set{ // ETHTOOL_A_PAUSE_STAT_*
	1: {Name: "ETHTOOL_A_PAUSE_STAT_PAD", Kind: Binary},
	2: {Name: "ETHTOOL_A_PAUSE_STAT_TX_FRAMES", Kind: U64},
	3: {Name: "ETHTOOL_A_PAUSE_STAT_RX_FRAMES", Kind: U64},
}

var setEEE = Set{ // ETHTOOL_A_EEE_*
	1: {Name: "ETHTOOL_A_EEE_HEADER", Kind: Nested, Nested: &setHeader},
	2: {Name: "ETHTOOL_A_EEE_MODES_OURS", Kind: Nested, Nested: &setBitset},
	3: {Name: "ETHTOOL_A_EEE_MODES_PEER", Kind: Nested, Nested: &setBitset},
	4: {Name: "ETHTOOL_A_EEE_ACTIVE", Kind: Bool},
	5: {Name: "ETHTOOL_A_EEE_ENABLED", Kind: Bool},
	6: {Name: "ETHTOOL_A_EEE_TX_LPI_ENABLED", Kind: Bool},
	7: {Name: "ETHTOOL_A_EEE_TX_LPI_TIMER", Kind: U32},
}

var setTSInfo = Set{ // ETHTOOL_A_TSINFO_*
	1: {Name: "ETHTOOL_A_TSINFO_HEADER", Kind: Nested, Nested: &setHeader},
	2: {Name: "ETHTOOL_A_TSINFO_TIMESTAMPING", Kind: Nested, Nested: &setBitset},
	3: {Name: "ETHTOOL_A_TSINFO_TX_TYPES", Kind: Nested, Nested: &setBitset},
	4: {Name: "ETHTOOL_A_TSINFO_RX_FILTERS", Kind: Nested, Nested: &setBitset},
	5: {Name: "ETHTOOL_A_TSINFO_PHC_INDEX", Kind: U32},
}

var setPHCVClocks = Set{ // ETHTOOL_A_PHC_VCLOCKS_*
	1: {Name: "ETHTOOL_A_PHC_VCLOCKS_HEADER", Kind: Nested, Nested: &setHeader},
	2: {Name: "ETHTOOL_A_PHC_VCLOCKS_NUM", Kind: U32},
	3: {Name: "ETHTOOL_A_PHC_VCLOCKS_INDEX", Kind: Binary},
}

var setCableTest = Set{ // ETHTOOL_A_CABLE_TEST_*
	1: {Name: "ETHTOOL_A_CABLE_TEST_HEADER", Kind: Nested, Nested: &setHeader},
}

var setCableResult = Set{ // ETHTOOL_A_CABLE_RESULT_*
	1: {Name: "ETHTOOL_A_CABLE_RESULT_PAIR", Kind: U8},
	2: {Name: "ETHTOOL_A_CABLE_RESULT_CODE", Kind: U8},
}

var setCableFaultLength = Set{ // ETHTOOL_A_CABLE_FAULT_LENGTH_*
	1: {Name: "ETHTOOL_A_CABLE_FAULT_LENGTH_PAIR", Kind: U8},
	2: {Name: "ETHTOOL_A_CABLE_FAULT_LENGTH_CM", Kind: U32},
}

var setCableNest = Set{ // ETHTOOL_A_CABLE_NEST_*
	1: {Name: "ETHTOOL_A_CABLE_NEST_RESULT", Kind: Nested, Nested: &setCableResult},
	2: {Name: "ETHTOOL_A_CABLE_NEST_FAULT_LENGTH", Kind: Nested, Nested: &setCableFaultLength},
}

var setCableTestNTF = Set{ // ETHTOOL_A_CABLE_TEST_NTF_*
	1: {Name: "ETHTOOL_A_CABLE_TEST_NTF_HEADER", Kind: Nested, Nested: &setHeader},
	2: {Name: "ETHTOOL_A_CABLE_TEST_NTF_STATUS", Kind: U8},
	3: {Name: "ETHTOOL_A_CABLE_TEST_NTF_NEST", Kind: Nested, Nested: &setCableNest},
}

var setCableTestTDRCfg = Set{ // ETHTOOL_A_CABLE_TEST_TDR_CFG_*
	1: {Name: "ETHTOOL_A_CABLE_TEST_TDR_CFG_FIRST", Kind: U32},
	2: {Name: "ETHTOOL_A_CABLE_TEST_TDR_CFG_LAST", Kind: U32},
	3: {Name: "ETHTOOL_A_CABLE_TEST_TDR_CFG_STEP", Kind: U32},
	4: {Name: "ETHTOOL_A_CABLE_TEST_TDR_CFG_PAIR", Kind: U8},
}

var setCableTestTDR = Set{ // ETHTOOL_A_CABLE_TEST_TDR_*
	1: {Name: "ETHTOOL_A_CABLE_TEST_TDR_HEADER", Kind: Nested, Nested: &setHeader},
	2: {Name: "ETHTOOL_A_CABLE_TEST_TDR_CFG", Kind: Nested, Nested: &setCableTestTDRCfg},
}

var setCableAmplitude = Set{ // ETHTOOL_A_CABLE_AMPLITUDE_*
	1: {Name: "ETHTOOL_A_CABLE_AMPLITUDE_PAIR", Kind: U8},
	2: {Name: "ETHTOOL_A_CABLE_AMPLITUDE_mV", Kind: S16},
}

var setCablePulse = Set{ // ETHTOOL_A_CABLE_PULSE_*
	1: {Name: "ETHTOOL_A_CABLE_PULSE_mV", Kind: S16},
}

var setCableStep = Set{ // ETHTOOL_A_CABLE_STEP_*
	1: {Name: "ETHTOOL_A_CABLE_STEP_FIRST_DISTANCE", Kind: U32},
	2: {Name: "ETHTOOL_A_CABLE_STEP_LAST_DISTANCE", Kind: U32},
	3: {Name: "ETHTOOL_A_CABLE_STEP_STEP_DISTANCE", Kind: U32},
}

var setCableTDRNest = Set{ // ETHTOOL_A_CABLE_TDR_NEST_*
	1: {Name: "ETHTOOL_A_CABLE_TDR_NEST_STEP", Kind: Nested, Nested: &setCableStep},
	2: {Name: "ETHTOOL_A_CABLE_TDR_NEST_AMPLITUDE", Kind: Nested, Nested: &setCableAmplitude},
	3: {Name: "ETHTOOL_A_CABLE_TDR_NEST_PULSE", Kind: Nested, Nested: &setCablePulse},
}

var setCableTestTDRNTF = Set{ // ETHTOOL_A_CABLE_TEST_TDR_NTF_*
	1: {Name: "ETHTOOL_A_CABLE_TEST_TDR_NTF_HEADER", Kind: Nested, Nested: &setHeader},
	2: {Name: "ETHTOOL_A_CABLE_TEST_TDR_NTF_STATUS", Kind: U8},
	3: {Name: "ETHTOOL_A_CABLE_TEST_TDR_NTF_NEST", Kind: Nested, Nested: &setCableTDRNest},
}

var setTunnelUDPEntry = Set{ // ETHTOOL_A_TUNNEL_UDP_ENTRY_*
	1: {Name: "ETHTOOL_A_TUNNEL_UDP_ENTRY_PORT", Kind: U16},
	2: {Name: "ETHTOOL_A_TUNNEL_UDP_ENTRY_TYPE", Kind: U32},
}

var setTunnelUDPTable = Set{ // ETHTOOL_A_TUNNEL_UDP_TABLE_*
	1: {Name: "ETHTOOL_A_TUNNEL_UDP_TABLE_SIZE", Kind: U32},
	2: {Name: "ETHTOOL_A_TUNNEL_UDP_TABLE_TYPES", Kind: Nested, Nested: &setBitset},
	3: {Name: "ETHTOOL_A_TUNNEL_UDP_TABLE_ENTRY", Kind: Nested, Nested: &setTunnelUDPEntry},
}

var setTunnelUDP = Set{ // ETHTOOL_A_TUNNEL_UDP_*
	1: {Name: "ETHTOOL_A_TUNNEL_UDP_TABLE", Kind: Nested, Nested: &setTunnelUDPTable},
}

var setTunnelInfo = Set{ // ETHTOOL_A_TUNNEL_INFO_*
	1: {Name: "ETHTOOL_A_TUNNEL_INFO_HEADER", Kind: Nested, Nested: &setHeader},
	2: {Name: "ETHTOOL_A_TUNNEL_INFO_UDP_PORTS", Kind: Nested, Nested: &setTunnelUDP},
}

var setFEC = Set{ // ETHTOOL_A_FEC_*
	1: {Name: "ETHTOOL_A_FEC_HEADER", Kind: Nested, Nested: &setHeader},
	2: {Name: "ETHTOOL_A_FEC_MODES", Kind: Nested, Nested: &setBitset},
	3: {Name: "ETHTOOL_A_FEC_AUTO", Kind: Bool},
	4: {Name: "ETHTOOL_A_FEC_ACTIVE", Kind: U32},
	5: {Name: "ETHTOOL_A_FEC_STATS", Kind: Nested, Nested: &setFECStat},
}

var setFECStat = Set{ // ETHTOOL_A_FEC_STAT_*
	1: {Name: "ETHTOOL_A_FEC_STAT_PAD", Kind: Binary},
	2: {Name: "ETHTOOL_A_FEC_STAT_CORRECTED", Kind: U64},
	3: {Name: "ETHTOOL_A_FEC_STAT_UNCORR", Kind: U64},
	4: {Name: "ETHTOOL_A_FEC_STAT_CORR_BITS", Kind: U64},
}

var setModuleEEPROM = Set{ // ETHTOOL_A_MODULE_EEPROM_*
	1: {Name: "ETHTOOL_A_MODULE_EEPROM_HEADER", Kind: Nested, Nested: &setHeader},
	2: {Name: "ETHTOOL_A_MODULE_EEPROM_OFFSET", Kind: U32},
	3: {Name: "ETHTOOL_A_MODULE_EEPROM_LENGTH", Kind: U32},
	4: {Name: "ETHTOOL_A_MODULE_EEPROM_PAGE", Kind: U8},
	5: {Name: "ETHTOOL_A_MODULE_EEPROM_BANK", Kind: U8},
	6: {Name: "ETHTOOL_A_MODULE_EEPROM_I2C_ADDRESS", Kind: U8},
	7: {Name: "ETHTOOL_A_MODULE_EEPROM_DATA", Kind: Binary},
}

var setStats = Set{ // ETHTOOL_A_STATS_*
	2: {Name: "ETHTOOL_A_STATS_HEADER", Kind: Nested, Nested: &setHeader},
	3: {Name: "ETHTOOL_A_STATS_GROUPS", Kind: Nested, Nested: &setBitset},
	4: {Name: "ETHTOOL_A_STATS_GRP", Kind: Nested, Nested: &setStatsGrp},
}

var setStatsGrp = Set{ // ETHTOOL_A_STATS_GRP_*
	2: {Name: "ETHTOOL_A_STATS_GRP_ID", Kind: U32},
	3: {Name: "ETHTOOL_A_STATS_GRP_SS_ID", Kind: U32},
	4: {Name: "ETHTOOL_A_STATS_GRP_STAT", Kind: Nested, Nested: &setStat},
	5: {Name: "ETHTOOL_A_STATS_GRP_HIST_RX", Kind: Nested, Nested: &setHist},
	6: {Name: "ETHTOOL_A_STATS_GRP_HIST_TX", Kind: Nested, Nested: &setHist},
	7: {Name: "ETHTOOL_A_STATS_GRP_HIST_BKT_LOW", Kind: U32},
	8: {Name: "ETHTOOL_A_STATS_GRP_HIST_BKT_HI", Kind: U32},
	9: {Name: "ETHTOOL_A_STATS_GRP_HIST_VAL", Kind: U64},
}

var setModule = Set{ // ETHTOOL_A_MODULE_*
	1: {Name: "ETHTOOL_A_MODULE_HEADER", Kind: Nested, Nested: &setHeader},
	2: {Name: "ETHTOOL_A_MODULE_POWER_MODE_POLICY", Kind: U8},
	3: {Name: "ETHTOOL_A_MODULE_POWER_MODE", Kind: U8},
}

var setPSE = Set{ // ETHTOOL_A_PSE_*
	1: {Name: "ETHTOOL_A_PSE_HEADER", Kind: Nested, Nested: &setHeader},
	2: {Name: "ETHTOOL_A_PODL_PSE_ADMIN_STATE", Kind: U32, Enum: pseAdminState},
	3: {Name: "ETHTOOL_A_PODL_PSE_ADMIN_CONTROL", Kind: U32, Enum: pseAdminState},
	4: {Name: "ETHTOOL_A_PODL_PSE_PW_D_STATUS", Kind: U32, Enum: psePowerStatus},
}
