package ethtoolsrv

import (
	"syscall"

	"ipoib/nl"
	"ipoib/nl/ethnl"
	"ipoib/nl/genl"
)

// row describes one command. A GET command has get and reply, a SET or ACT
// command has set.
type row struct {
	cmd    uint8
	header uint16 // attribute of the header, 1 if 0
	admin  bool   // needs CAP_NET_ADMIN over the network namespace
	reply  uint8
	// get checks a request and returns what answers it for an interface.
	get func(*query) (getFunc, error)
	// noDevice allows a request that names no interface.
	noDevice bool
	set      func(*query) error
	// before checks a request before its interface is looked up.
	before func(*genl.Request) error
	// noHeader is the error for a request without header, instead of the one
	// that names the attribute.
	noHeader error
}

type getFunc func(*query) (fillFunc, error)

// errHeader is what commands with a parser of their own say.
var errHeader = nl.Errorf(syscall.EINVAL, "request header missing")

// table lists the commands in order.
func table() []row {
	const header = ethnl.LinkInfoHeader // 1, as nearly everywhere
	rows := []row{
		{cmd: ethnl.CmdStrsetGet, reply: ethnl.MsgStrsetGetReply, get: strsetGet, noDevice: true},
		{cmd: ethnl.CmdLinkInfoGet, reply: ethnl.MsgLinkInfoGetReply, get: simple(linkInfo)},
		{cmd: ethnl.CmdLinkInfoSet, admin: true, set: refuse},
		{cmd: ethnl.CmdLinkModesGet, reply: ethnl.MsgLinkModesGetReply, get: simple(linkModes)},
		{cmd: ethnl.CmdLinkModesSet, admin: true, set: refuseLinkModes},
		{cmd: ethnl.CmdLinkStateGet, reply: ethnl.MsgLinkStateGetReply, get: simple(linkState)},
		{cmd: ethnl.CmdDebugGet, reply: ethnl.MsgDebugGetReply, get: nothing},
		{cmd: ethnl.CmdDebugSet, admin: true, set: refuse},
		{cmd: ethnl.CmdWoLGet, admin: true, reply: ethnl.MsgWoLGetReply, get: nothing},
		{cmd: ethnl.CmdWoLSet, admin: true, set: refuse},
		{cmd: ethnl.CmdFeaturesGet, reply: ethnl.MsgFeaturesGetReply, get: simple(features)},
		{cmd: ethnl.CmdFeaturesSet, admin: true, set: setFeatures, before: checkWanted, noHeader: errHeader},
		{cmd: ethnl.CmdPrivFlagsGet, reply: ethnl.MsgPrivFlagsGetReply, get: nothing},
		{cmd: ethnl.CmdPrivFlagsSet, admin: true, set: refusePrivFlags},
		{cmd: ethnl.CmdRingsGet, reply: ethnl.MsgRingsGetReply, get: nothing},
		{cmd: ethnl.CmdRingsSet, admin: true, set: refuseRings},
		{cmd: ethnl.CmdChannelsGet, reply: ethnl.MsgChannelsGetReply, get: nothing},
		{cmd: ethnl.CmdChannelsSet, admin: true, set: refuse},
		{cmd: ethnl.CmdCoalesceGet, reply: ethnl.MsgCoalesceGetReply, get: simple(coalesce)},
		{cmd: ethnl.CmdCoalesceSet, admin: true, set: setCoalesce},
		{cmd: ethnl.CmdPauseGet, reply: ethnl.MsgPauseGetReply, get: nothing},
		{cmd: ethnl.CmdPauseSet, admin: true, set: refuse},
		{cmd: ethnl.CmdEEEGet, reply: ethnl.MsgEEEGetReply, get: nothing},
		{cmd: ethnl.CmdEEESet, admin: true, set: refuse},
		{cmd: ethnl.CmdTSInfoGet, reply: ethnl.MsgTSInfoGetReply, get: simple(tsInfo)},
		{cmd: ethnl.CmdCableTestAct, admin: true, set: refuse, noHeader: errHeader},
		{cmd: ethnl.CmdCableTestTDRAct, admin: true, set: refuse, noHeader: errHeader},
		{cmd: ethnl.CmdTunnelInfoGet, reply: ethnl.MsgTunnelInfoGetReply, get: noTunnels, noHeader: errHeader},
		{cmd: ethnl.CmdFECGet, reply: ethnl.MsgFECGetReply, get: nothing},
		{cmd: ethnl.CmdFECSet, admin: true, set: refuse},
		{cmd: ethnl.CmdModuleEEPROMGet, admin: true, reply: ethnl.MsgModuleEEPROMGetReply, get: noEEPROM},
		{cmd: ethnl.CmdStatsGet, header: ethnl.StatsHeader, reply: ethnl.MsgStatsGetReply, get: statsGet},
		{cmd: ethnl.CmdPHCVClocksGet, reply: ethnl.MsgPHCVClocksGetReply, get: simple(headerOnly)},
		{cmd: ethnl.CmdModuleGet, reply: ethnl.MsgModuleGetReply, get: simple(headerOnly)},
		{cmd: ethnl.CmdModuleSet, admin: true, set: refuseModule},
		{cmd: ethnl.CmdPSEGet, reply: ethnl.MsgPSEGetReply, get: noPHY},
		{cmd: ethnl.CmdPSESet, admin: true, set: refusePSE},
	}
	for i := range rows {
		if rows[i].header == 0 {
			rows[i].header = header
		}
	}
	return rows
}

// simple is the get of a command whose request has only a header.
func simple(fn getFunc) func(*query) (getFunc, error) {
	return func(*query) (getFunc, error) { return fn, nil }
}
