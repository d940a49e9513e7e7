package cli

import (
	"ipoib/nl"
	"ipoib/nl/ethnl"
)

func (s *session) pauseReply(m *message) int {
	t := m.genl()
	if !s.named(t[ethnl.PauseHeader]) {
		return s.refuse()
	}
	refuse := s.refuse()
	silent := s.silent()
	if silent {
		s.out.blank()
	}
	s.out.object("")
	defer s.out.endObject()
	s.out.str("ifname", "Pause parameters for %s:\n", s.title())
	s.showBool(t, ethnl.PauseAutoneg, "autonegotiate", "Autonegotiate:\t%s\n")
	s.showBool(t, ethnl.PauseRx, "rx", "RX:\t\t%s\n")
	s.showBool(t, ethnl.PauseTx, "tx", "TX:\t\t%s\n")
	if v, _ := t.u8(ethnl.PauseAutoneg); !s.watching && v != 0 {
		if s.negotiatedPause() < 0 {
			return refuse
		}
	}
	if t.has(ethnl.PauseStats) && !s.pauseStats(t[ethnl.PauseStats]) {
		return refuse
	}
	if !silent {
		s.out.blank()
	}
	return cbOK
}

// negotiatedPause asks for the link modes and prints what pause frames both
// sides agreed on.
func (s *session) negotiatedPause() int {
	if !s.secondSocket() {
		return failed
	}
	name := s.name
	s.second.getFor(name, s.hasName, ethnl.CmdLinkModesGet, ethnl.LinkModesHeader, ethnl.FlagCompactBitsets)
	return s.second.ask(func(m *message) int {
		t := m.genl()
		if !t.has(ethnl.LinkModesOurs) || !t.has(ethnl.LinkModesPeer) {
			return cbOK
		}
		ours, peer := bitset(t[ethnl.LinkModesOurs]), bitset(t[ethnl.LinkModesPeer])
		bit := func(v ethnl.BitsetView, i int) bool { on, _ := v.Bit(false, i); return on }
		op, pp := bit(ours, modePause), bit(peer, modePause)
		rx, tx := op && pp, op && pp
		if !rx && bit(ours, modeAsymPause) && bit(peer, modeAsymPause) {
			rx, tx = op, !op && pp
		}
		s.out.object("negotiated")
		for _, l := range []struct {
			key, format string
			on          bool
		}{{"rx", "RX negotiated: %s\n", rx}, {"tx", "TX negotiated: %s\n", tx}} {
			if s.out.json {
				s.out.raw(l.key, "true")
			} else {
				s.out.printf(l.format, onoff(l.on))
			}
		}
		s.out.endObject()
		return cbOK
	})
}

func (s *session) pauseStats(nest nl.Attr) bool {
	t := parse(nest)
	s.out.object("statistics")
	defer s.out.endObject()
	titled := false
	for _, st := range []struct {
		attr int
		name string
	}{{ethnl.PauseStatTxFrames, "tx_pause_frames"}, {ethnl.PauseStatRxFrames, "rx_pause_frames"}} {
		if !t.has(st.attr) {
			continue
		}
		if !titled && !s.out.json {
			s.out.print("Statistics:\n")
			titled = true
		}
		if len(t[st.attr].Data) != 8 {
			s.errorf("malformed netlink message (statistic)\n")
			return false
		}
		s.out.uint(st.name, "  "+st.name+": %d\n", t[st.attr].Uint64())
	}
	return true
}

func getPause(s *session) int {
	return s.showStats(ethnl.CmdPauseGet, s.pauseReply)
}

// showStats is show for commands that have statistics and JSON.
func (s *session) showStats(cmd uint8, cb func(*message) int) int {
	if s.refused(cmd, true) {
		return unsupported
	}
	if s.more() {
		return 1
	}
	flags := s.statsFlag(cmd, ethnl.LinkInfoHeader)
	s.main.get(cmd, ethnl.LinkInfoHeader, flags)
	s.out.startJSON(s.json)
	defer s.out.endJSON()
	return s.main.ask(cb)
}

var pauseParams = []param{
	{word: "autoneg", attr: ethnl.PauseAutoneg, words: 1, parse: onOff},
	{word: "rx", attr: ethnl.PauseRx, words: 1, parse: onOff},
	{word: "tx", attr: ethnl.PauseTx, words: 1, parse: onOff},
}

func setPause(s *session) int { return s.change(ethnl.CmdPauseSet, "-A", pauseParams, 76) }
