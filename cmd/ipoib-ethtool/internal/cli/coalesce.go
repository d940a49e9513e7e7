package cli

import (
	"ipoib/nl"
	"ipoib/nl/ethnl"
)

// showU32 prints a number behind a label, or n/a for none.
func (s *session) showU32(t *table, attr int, label string) {
	if v, ok := t.u32(attr); ok {
		s.out.printf("%s%d\n", label, v)
		return
	}
	s.out.printf("%sn/a\n", label)
}

// showBool prints a switch by format, or n/a for none. In JSON it is true
// whatever its value, because that is what ethtool 6.1 writes.
func (s *session) showBool(t *table, attr int, key, format string) {
	if s.out.json {
		if t.has(attr) {
			s.out.raw(key, "true")
		}
		return
	}
	v, ok := t.u8(attr)
	text := "n/a"
	if ok {
		text = onoff(v != 0)
	}
	s.out.printf(format, text)
}

func onoff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// coalesceLines are the lines of -c behind the first; 0 is an empty line.
var coalesceLines = []struct {
	attr  int
	label string
}{
	{ethnl.CoalesceStatsBlockUsecs, "stats-block-usecs: "},
	{ethnl.CoalesceRateSampleInterval, "sample-interval: "},
	{ethnl.CoalescePktRateLow, "pkt-rate-low: "},
	{ethnl.CoalescePktRateHigh, "pkt-rate-high: "},
	{},
	{ethnl.CoalesceRxUsecs, "rx-usecs: "},
	{ethnl.CoalesceRxMaxFrames, "rx-frames: "},
	{ethnl.CoalesceRxUsecsIRQ, "rx-usecs-irq: "},
	{ethnl.CoalesceRxMaxFramesIRQ, "rx-frames-irq: "},
	{},
	{ethnl.CoalesceTxUsecs, "tx-usecs: "},
	{ethnl.CoalesceTxMaxFrames, "tx-frames: "},
	{ethnl.CoalesceTxUsecsIRQ, "tx-usecs-irq: "},
	{ethnl.CoalesceTxMaxFramesIRQ, "tx-frames-irq: "},
	{},
	{ethnl.CoalesceRxUsecsLow, "rx-usecs-low: "},
	{ethnl.CoalesceRxMaxFramesLow, "rx-frame-low: "},
	{ethnl.CoalesceTxUsecsLow, "tx-usecs-low: "},
	{ethnl.CoalesceTxMaxFramesLow, "tx-frame-low: "},
	{},
	{ethnl.CoalesceRxUsecsHigh, "rx-usecs-high: "},
	{ethnl.CoalesceRxMaxFramesHigh, "rx-frame-high: "},
	{ethnl.CoalesceTxUsecsHigh, "tx-usecs-high: "},
	{ethnl.CoalesceTxMaxFramesHigh, "tx-frame-high: "},
	{},
}

func (s *session) coalesceReply(m *message) int {
	t := m.genl()
	if !s.named(t[ethnl.CoalesceHeader]) {
		return s.refuse()
	}
	if s.silent() {
		s.out.print("\n")
	}
	s.out.printf("Coalesce parameters for %s:\n", s.title())
	s.showBool(t, ethnl.CoalesceUseAdaptiveRx, "rx", "Adaptive RX: %s  ")
	s.showBool(t, ethnl.CoalesceUseAdaptiveTx, "tx", "TX: %s\n")
	for _, l := range coalesceLines {
		if l.attr == 0 {
			s.out.print("\n")
			continue
		}
		s.showU32(t, l.attr, l.label)
	}
	s.showBool(t, ethnl.CoalesceUseCQEModeRx, "rx", "CQE mode RX: %s  ")
	s.showBool(t, ethnl.CoalesceUseCQEModeTx, "tx", "TX: %s\n")
	s.out.print("\n")
	return cbOK
}

func getCoalesce(s *session) int {
	return s.show(ethnl.CmdCoalesceGet, ethnl.CoalesceHeader, 0, s.coalesceReply)
}

// coalesceParams are the parameters of -C, which are also its help.
var coalesceParams = []param{
	{word: "adaptive-rx", attr: ethnl.CoalesceUseAdaptiveRx, words: 1, parse: onOff},
	{word: "adaptive-tx", attr: ethnl.CoalesceUseAdaptiveTx, words: 1, parse: onOff},
	{word: "sample-interval", attr: ethnl.CoalesceRateSampleInterval, words: 1, parse: word32},
	{word: "stats-block-usecs", attr: ethnl.CoalesceStatsBlockUsecs, words: 1, parse: word32},
	{word: "pkt-rate-low", attr: ethnl.CoalescePktRateLow, words: 1, parse: word32},
	{word: "pkt-rate-high", attr: ethnl.CoalescePktRateHigh, words: 1, parse: word32},
	{word: "rx-usecs", attr: ethnl.CoalesceRxUsecs, words: 1, parse: word32},
	{word: "rx-frames", attr: ethnl.CoalesceRxMaxFrames, words: 1, parse: word32},
	{word: "rx-usecs-irq", attr: ethnl.CoalesceRxUsecsIRQ, words: 1, parse: word32},
	{word: "rx-frames-irq", attr: ethnl.CoalesceRxMaxFramesIRQ, words: 1, parse: word32},
	{word: "tx-usecs", attr: ethnl.CoalesceTxUsecs, words: 1, parse: word32},
	{word: "tx-frames", attr: ethnl.CoalesceTxMaxFrames, words: 1, parse: word32},
	{word: "tx-usecs-irq", attr: ethnl.CoalesceTxUsecsIRQ, words: 1, parse: word32},
	{word: "tx-frames-irq", attr: ethnl.CoalesceTxMaxFramesIRQ, words: 1, parse: word32},
	{word: "rx-usecs-low", attr: ethnl.CoalesceRxUsecsLow, words: 1, parse: word32},
	{word: "rx-frames-low", attr: ethnl.CoalesceRxMaxFramesLow, words: 1, parse: word32},
	{word: "tx-usecs-low", attr: ethnl.CoalesceTxUsecsLow, words: 1, parse: word32},
	{word: "tx-frames-low", attr: ethnl.CoalesceTxMaxFramesLow, words: 1, parse: word32},
	{word: "rx-usecs-high", attr: ethnl.CoalesceRxUsecsHigh, words: 1, parse: word32},
	{word: "rx-frames-high", attr: ethnl.CoalesceRxMaxFramesHigh, words: 1, parse: word32},
	{word: "tx-usecs-high", attr: ethnl.CoalesceTxUsecsHigh, words: 1, parse: word32},
	{word: "tx-frames-high", attr: ethnl.CoalesceTxMaxFramesHigh, words: 1, parse: word32},
	{word: "cqe-mode-rx", attr: ethnl.CoalesceUseCQEModeRx, words: 1, parse: onOff},
	{word: "cqe-mode-tx", attr: ethnl.CoalesceUseCQEModeTx, words: 1, parse: onOff},
}

func setCoalesce(s *session) int {
	return s.change(ethnl.CmdCoalesceSet, "-C", coalesceParams, 1)
}

// change is a SET command with one message: code is the exit code when the
// service refuses it.
func (s *session) change(cmd uint8, option string, params []param, code int) int {
	if s.refused(cmd, false) {
		return unsupported
	}
	return s.changeUnchecked(cmd, option, params, code)
}

func (s *session) changeUnchecked(cmd uint8, option string, params []param, code int) int {
	s.main.set(cmd, 0)
	enc := s.main.enc
	if !s.newParser(option).run(params, func(uint8) *nl.Encoder { return enc }) {
		return 1
	}
	return s.set(code)
}

// changeSome is change for commands that need a parameter.
func (s *session) changeSome(cmd uint8, option string, params []param, code int) int {
	if s.refused(cmd, false) {
		return unsupported
	}
	if len(s.args) == 0 {
		s.errorf("ethtool (%s): parameters missing\n", option)
		return 1
	}
	return s.changeUnchecked(cmd, option, params, code)
}
