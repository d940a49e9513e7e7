package cli

import (
	"syscall"

	"ipoib/nl"
	"ipoib/nl/ethnl"
)

// settingsParams are the parameters of -s, which make up to four messages.
var settingsParams = []param{
	{
		word: "port", group: ethnl.CmdLinkInfoSet, attr: ethnl.LinkInfoPort, words: 1, parse: name8,
		names: []value{{"tp", 0}, {"aui", 1}, {"mii", 2}, {"fibre", 3}, {"bnc", 4}, {"da", 5}},
	},
	{
		word: "mdix", group: ethnl.CmdLinkInfoSet, attr: ethnl.LinkInfoTPMDIXCtrl, words: 1, parse: name8,
		names: []value{{"auto", mdiAuto}, {"on", mdiX}, {"off", mdi}},
	},
	{word: "phyad", group: ethnl.CmdLinkInfoSet, attr: ethnl.LinkInfoPhyAddr, words: 1, parse: word8},
	{word: "xcvr", group: ethnl.CmdLinkInfoSet, words: 1, parse: deprecated},
	{
		word: "autoneg", group: ethnl.CmdLinkModesSet, attr: ethnl.LinkModesAutoneg, words: 1, parse: name8,
		names: []value{{"off", 0}, {"on", 1}},
	},
	{
		word: "advertise", group: ethnl.CmdLinkModesSet, attr: ethnl.LinkModesOurs, words: 1, parse: bitsetParam,
		bits: bitsetWords{hex: true},
	},
	{word: "speed", group: ethnl.CmdLinkModesSet, attr: ethnl.LinkModesSpeed, words: 1, parse: word32},
	{word: "lanes", group: ethnl.CmdLinkModesSet, attr: ethnl.LinkModesLanes, words: 1, parse: word32},
	{
		word: "duplex", group: ethnl.CmdLinkModesSet, attr: ethnl.LinkModesDuplex, words: 1, parse: name8,
		names: []value{{"half", 0}, {"full", 1}},
	},
	{
		word: "master-slave", group: ethnl.CmdLinkModesSet, attr: ethnl.LinkModesMasterSlaveCfg, words: 1, parse: name8,
		names: []value{{"preferred-master", 2}, {"preferred-slave", 3}, {"forced-master", 4}, {"forced-slave", 5}},
	},
	{
		word: "wol", group: ethnl.CmdWoLSet, attr: ethnl.WoLModes, words: 1, parse: charBitset,
		bits: bitsetWords{chars: wolChars, reset: 'd'},
	},
	{word: "sopass", group: ethnl.CmdWoLSet, attr: ethnl.WoLSoPass, words: 1, parse: octets},
	{word: "msglvl", group: ethnl.CmdDebugSet, attr: ethnl.DebugMsgMask, words: 1, parse: bitsetParam},
}

// settingsGroups are the messages of -s in the order that they are sent.
var settingsGroups = []uint8{ethnl.CmdLinkInfoSet, ethnl.CmdLinkModesSet, ethnl.CmdWoLSet, ethnl.CmdDebugSet}

// setSettings is -s.
func setSettings(s *session) int {
	reqs := make(map[uint8]*nl.Encoder)
	message := func(group uint8) *nl.Encoder {
		if reqs[group] == nil {
			s.main.set(group, 0)
			reqs[group] = s.main.enc
		}
		return reqs[group]
	}
	if !s.newParser("-s").run(settingsParams, message) {
		return 1
	}
	for _, cmd := range settingsGroups {
		if reqs[cmd] != nil && s.refused(cmd, false) {
			return 1
		}
	}
	for _, cmd := range settingsGroups {
		if reqs[cmd] != nil && !s.sendSettings(cmd, reqs[cmd]) {
			return 75
		}
	}
	return 0
}

// sendSettings sends a message of -s and takes the acknowledgement.
func (s *session) sendSettings(cmd uint8, e *nl.Encoder) bool {
	if cmd == ethnl.CmdLinkModesSet && s.advertiseAll(e) != 0 {
		return false
	}
	return s.main.sendRequest(e) == nil && s.main.receive(s.unexpected) == 0
}

// advertiseAll adds all link modes to a request that only switches
// auto-negotiation on: that is what this meant by ioctl.
func (s *session) advertiseAll(e *nl.Encoder) int {
	m := message{raw: e.Bytes()}
	t := m.genl()
	if v, ok := t.u8(ethnl.LinkModesAutoneg); !ok || v == 0 || t.has(ethnl.LinkModesOurs) ||
		t.has(ethnl.LinkModesSpeed) || t.has(ethnl.LinkModesDuplex) || t.has(ethnl.LinkModesLanes) {
		return 0
	}
	if s.refused(ethnl.CmdLinkModesGet, false) || s.refused(ethnl.CmdLinkModesSet, false) {
		return -int(syscall.EOPNOTSUPP)
	}
	s.main.get(ethnl.CmdLinkModesGet, ethnl.LinkModesHeader, ethnl.FlagCompactBitsets)
	if s.main.send() != nil {
		return failed
	}
	return s.main.receive(func(m *message) int {
		v := bitset(m.genl()[ethnl.LinkModesOurs])
		if !v.HasSize || v.Value == nil || v.Mask == nil || !v.Fits() {
			return cbError
		}
		for i := range v.Size {
			if classOf(i) != classReal {
				v.Mask[i>>5] &^= 1 << (i & 31)
			}
		}
		all := bitmapBytes(v.Mask, v.Size)
		e.Nest(ethnl.LinkModesOurs, func() {
			e.U32(ethnl.BitsetSize, uint32(v.Size))
			e.Put(ethnl.BitsetValue, all)
			e.Put(ethnl.BitsetMask, all)
		})
		return cbOK
	})
}
