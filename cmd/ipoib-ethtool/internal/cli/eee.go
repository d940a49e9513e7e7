package cli

import "ipoib/nl/ethnl"

func (s *session) eeeReply(m *message) int {
	t := m.genl()
	if !s.named(t[ethnl.EEEHeader]) {
		return s.refuse()
	}
	for _, a := range []int{
		ethnl.EEEModesOurs, ethnl.EEEActive, ethnl.EEEEnabled, ethnl.EEETxLPIEnabled, ethnl.EEETxLPITimer,
	} {
		if !t.has(a) {
			s.errorf("Malformed response from kernel\n")
			return s.refuse()
		}
	}
	if s.silent() {
		s.out.print("\n")
	}
	s.out.printf("EEE settings for %s:\n\tEEE status: ", s.title())
	empty, err := bitset(t[ethnl.EEEModesOurs]).Empty(true)
	if err != nil {
		s.errorf("malformed netlink message (bitset)\n")
	}
	if empty || err != nil {
		s.out.print("not supported\n")
		return cbOK
	}
	active, _ := t.u8(ethnl.EEEActive)
	if enabled, _ := t.u8(ethnl.EEEEnabled); enabled == 0 {
		s.out.print("disabled\n")
	} else {
		s.out.printf("enabled - %s\n", yesNo(active != 0, "active", "inactive"))
	}
	if on, _ := t.u8(ethnl.EEETxLPIEnabled); on != 0 {
		timer, _ := t.u32(ethnl.EEETxLPITimer)
		s.out.printf("\tTx LPI: %d (us)\n", timer)
	} else {
		s.out.print("\tTx LPI: disabled\n")
	}
	ours, peer := t[ethnl.EEEModesOurs], t[ethnl.EEEModesPeer]
	if s.modes(ours, modeList{classReal, true, "Supported EEE link modes:  ", "", "\n", notReported}) &&
		s.modes(ours, modeList{classReal, false, "Advertised EEE link modes:  ", "", "\n", notReported}) &&
		s.modes(peer, modeList{classReal, false, "Link partner advertised EEE link modes:  ", "", "\n", notReported}) {
		return cbOK
	}
	return s.refuse()
}

func getEEE(s *session) int { return s.show(ethnl.CmdEEEGet, ethnl.EEEHeader, 0, s.eeeReply) }

var eeeParams = []param{
	{word: "advertise", attr: ethnl.EEEModesOurs, words: 1, parse: bitsetParam, bits: bitsetWords{hex: true}},
	{word: "tx-lpi", attr: ethnl.EEETxLPIEnabled, words: 1, parse: onOff},
	{word: "tx-timer", attr: ethnl.EEETxLPITimer, words: 1, parse: word32},
	{word: "eee", attr: ethnl.EEEEnabled, words: 1, parse: onOff},
}

func setEEE(s *session) int { return s.changeSome(ethnl.CmdEEESet, "--set-eee", eeeParams, 76) }
