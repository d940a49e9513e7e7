package ethnl

import "ipoib/nl"

// The policies of the requests (kernel net/ethtool/*.c: ethnl_*_policy).

// basicFlags are the header flags of every request, statsFlags those of
// requests that can be answered with statistics.
const (
	basicFlags = FlagCompactBitsets | FlagOmitReply
	statsFlags = basicFlags | FlagStats
)

var (
	headerPolicy      = makeHeaderPolicy(basicFlags)
	headerStatsPolicy = makeHeaderPolicy(statsFlags)
)

func makeHeaderPolicy(flags uint64) *nl.Policy {
	return &nl.Policy{Attrs: []nl.AttrPolicy{
		HeaderDevIndex: nl.U32(),
		HeaderDevName:  nl.NulString(MaxDevName),
		HeaderFlags:    nl.U32().Mask(flags),
	}}
}

// getPolicy is that of a GET request that has nothing but the header.
func getPolicy(header int, p *nl.Policy) *nl.Policy {
	attrs := make([]nl.AttrPolicy, header+1)
	attrs[header] = nl.Nest(p)
	return &nl.Policy{Attrs: attrs}
}

// setPolicy is that of a request with attributes of its own.
func setPolicy(attrs map[int]nl.AttrPolicy) *nl.Policy {
	p := &nl.Policy{Attrs: []nl.AttrPolicy{LinkInfoHeader: nl.Nest(headerPolicy)}}
	for t, a := range attrs {
		for len(p.Attrs) <= t {
			p.Attrs = append(p.Attrs, nl.AttrPolicy{})
		}
		p.Attrs[t] = a
	}
	return p
}

func coalescePolicy() *nl.Policy {
	attrs := make(map[int]nl.AttrPolicy)
	for t := CoalesceRxUsecs; t <= CoalesceRateSampleInterval; t++ {
		attrs[t] = nl.U32()
	}
	attrs[CoalesceUseAdaptiveRx], attrs[CoalesceUseAdaptiveTx] = nl.U8(), nl.U8()
	attrs[CoalesceUseCQEModeTx], attrs[CoalesceUseCQEModeRx] = nl.U8().Max(1), nl.U8().Max(1)
	return setPolicy(attrs)
}

// Limits of ETHTOOL_MSG_MODULE_EEPROM_GET.
const (
	eepromPageLen = 128  // ETH_MODULE_EEPROM_PAGE_LEN
	maxI2CAddress = 0x7f // ETH_MODULE_MAX_I2C_ADDRESS
)

// RequestPolicies returns the policy of every user message, by command.
func RequestPolicies() []*nl.Policy {
	get := getPolicy(LinkInfoHeader, headerPolicy)
	stats := getPolicy(LinkInfoHeader, headerStatsPolicy)
	u8, u32, nest := nl.U8(), nl.U32(), nl.Nest(nil)
	return []*nl.Policy{
		CmdStrsetGet:   setPolicy(map[int]nl.AttrPolicy{StrsetStringSets: nest, StrsetCountsOnly: nl.Flag()}),
		CmdLinkInfoGet: get,
		CmdLinkInfoSet: setPolicy(map[int]nl.AttrPolicy{
			LinkInfoPort: u8, LinkInfoPhyAddr: u8, LinkInfoTPMDIXCtrl: u8,
		}),
		CmdLinkModesGet: get,
		CmdLinkModesSet: setPolicy(map[int]nl.AttrPolicy{
			LinkModesAutoneg: u8, LinkModesOurs: nest, LinkModesSpeed: u32, LinkModesDuplex: u8,
			LinkModesMasterSlaveCfg: u8, LinkModesLanes: u32.Range(1, 8),
		}),
		CmdLinkStateGet: get,
		CmdDebugGet:     get,
		CmdDebugSet:     setPolicy(map[int]nl.AttrPolicy{DebugMsgMask: nest}),
		CmdWoLGet:       get,
		CmdWoLSet:       setPolicy(map[int]nl.AttrPolicy{WoLModes: nest, WoLSoPass: nl.Binary(6)}),
		CmdFeaturesGet:  get,
		CmdFeaturesSet:  setPolicy(map[int]nl.AttrPolicy{FeaturesWanted: nest}),
		CmdPrivFlagsGet: get,
		CmdPrivFlagsSet: setPolicy(map[int]nl.AttrPolicy{PrivFlagsFlags: nest}),
		CmdRingsGet:     get,
		CmdRingsSet: setPolicy(map[int]nl.AttrPolicy{
			RingsRx: u32, RingsRxMini: u32, RingsRxJumbo: u32, RingsTx: u32,
			RingsRxBufLen: u32.Min(1), RingsCQESize: u32.Min(1), RingsTxPush: u8.Max(1),
		}),
		CmdChannelsGet: get,
		CmdChannelsSet: setPolicy(map[int]nl.AttrPolicy{
			ChannelsRxCount: u32, ChannelsTxCount: u32, ChannelsOtherCount: u32, ChannelsCombinedCount: u32,
		}),
		CmdCoalesceGet: get,
		CmdCoalesceSet: coalescePolicy(),
		CmdPauseGet:    stats,
		CmdPauseSet:    setPolicy(map[int]nl.AttrPolicy{PauseAutoneg: u8, PauseRx: u8, PauseTx: u8}),
		CmdEEEGet:      get,
		CmdEEESet: setPolicy(map[int]nl.AttrPolicy{
			EEEModesOurs: nest, EEEEnabled: u8, EEETxLPIEnabled: u8, EEETxLPITimer: u32,
		}),
		CmdTSInfoGet:       get,
		CmdCableTestAct:    get,
		CmdCableTestTDRAct: setPolicy(map[int]nl.AttrPolicy{CableTestTDRCfg: nest}),
		CmdTunnelInfoGet:   get,
		CmdFECGet:          stats,
		CmdFECSet:          setPolicy(map[int]nl.AttrPolicy{FECModes: nest, FECAuto: u8.Max(1)}),
		CmdModuleEEPROMGet: setPolicy(map[int]nl.AttrPolicy{
			ModuleEEPROMOffset: u32.Range(0, eepromPageLen*2-1), ModuleEEPROMLength: u32.Range(1, eepromPageLen),
			ModuleEEPROMPage: u8, ModuleEEPROMBank: u8, ModuleEEPROMI2CAddress: u8.Range(0, maxI2CAddress),
		}),
		CmdStatsGet: {Attrs: []nl.AttrPolicy{
			StatsHeader: nl.Nest(headerPolicy), StatsGroups: nest,
		}},
		CmdPHCVClocksGet: get,
		CmdModuleGet:     get,
		CmdModuleSet:     setPolicy(map[int]nl.AttrPolicy{ModulePowerModePolicy: u8.Range(1, 2)}),
		CmdPSEGet:        get,
		CmdPSESet:        setPolicy(map[int]nl.AttrPolicy{PoDLPSEAdminControl: u32.Range(2, 3)}),
	}
}
