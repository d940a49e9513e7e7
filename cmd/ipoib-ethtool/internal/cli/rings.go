package cli

import "ipoib/nl/ethnl"

func (s *session) channelsReply(m *message) int {
	t := m.genl()
	if !s.named(t[ethnl.ChannelsHeader]) {
		return s.refuse()
	}
	if s.silent() {
		s.out.print("\n")
	}
	s.out.printf("Channel parameters for %s:\nPre-set maximums:\n", s.title())
	s.showU32(t, ethnl.ChannelsRxMax, "RX:\t\t")
	s.showU32(t, ethnl.ChannelsTxMax, "TX:\t\t")
	s.showU32(t, ethnl.ChannelsOtherMax, "Other:\t\t")
	s.showU32(t, ethnl.ChannelsCombinedMax, "Combined:\t")
	s.out.print("Current hardware settings:\n")
	s.showU32(t, ethnl.ChannelsRxCount, "RX:\t\t")
	s.showU32(t, ethnl.ChannelsTxCount, "TX:\t\t")
	s.showU32(t, ethnl.ChannelsOtherCount, "Other:\t\t")
	s.showU32(t, ethnl.ChannelsCombinedCount, "Combined:\t")
	return cbOK
}

func getChannels(s *session) int {
	return s.show(ethnl.CmdChannelsGet, ethnl.ChannelsHeader, 0, s.channelsReply)
}

var channelsParams = []param{
	{word: "rx", attr: ethnl.ChannelsRxCount, words: 1, parse: word32},
	{word: "tx", attr: ethnl.ChannelsTxCount, words: 1, parse: word32},
	{word: "other", attr: ethnl.ChannelsOtherCount, words: 1, parse: word32},
	{word: "combined", attr: ethnl.ChannelsCombinedCount, words: 1, parse: word32},
}

func setChannels(s *session) int { return s.change(ethnl.CmdChannelsSet, "-L", channelsParams, 1) }

func (s *session) ringsReply(m *message) int {
	t := m.genl()
	if !s.named(t[ethnl.RingsHeader]) {
		return s.refuse()
	}
	if s.silent() {
		s.out.print("\n")
	}
	s.out.printf("Ring parameters for %s:\nPre-set maximums:\n", s.title())
	s.showU32(t, ethnl.RingsRxMax, "RX:\t\t")
	s.showU32(t, ethnl.RingsRxMiniMax, "RX Mini:\t")
	s.showU32(t, ethnl.RingsRxJumboMax, "RX Jumbo:\t")
	s.showU32(t, ethnl.RingsTxMax, "TX:\t\t")
	s.out.print("Current hardware settings:\n")
	s.showU32(t, ethnl.RingsRx, "RX:\t\t")
	s.showU32(t, ethnl.RingsRxMini, "RX Mini:\t")
	s.showU32(t, ethnl.RingsRxJumbo, "RX Jumbo:\t")
	s.showU32(t, ethnl.RingsTx, "TX:\t\t")
	s.showU32(t, ethnl.RingsRxBufLen, "RX Buf Len:\t\t")
	s.showU32(t, ethnl.RingsCQESize, "CQE Size:\t\t")
	s.showBool(t, ethnl.RingsTxPush, "tx-push", "TX Push:\t%s\n")
	s.out.print("TCP data split:\t")
	switch v, _ := t.u8(ethnl.RingsTCPDataSplit); v {
	case 0: // ETHTOOL_TCP_DATA_SPLIT_UNKNOWN
		s.out.print("n/a\n")
	case 1:
		s.out.print("off\n")
	case 2:
		s.out.print("on\n")
	default:
		s.out.printf("unknown(%d)\n", v)
	}
	return cbOK
}

func getRings(s *session) int {
	return s.show(ethnl.CmdRingsGet, ethnl.RingsHeader, 0, s.ringsReply)
}

var ringsParams = []param{
	{word: "rx", attr: ethnl.RingsRx, words: 1, parse: word32},
	{word: "rx-mini", attr: ethnl.RingsRxMini, words: 1, parse: word32},
	{word: "rx-jumbo", attr: ethnl.RingsRxJumbo, words: 1, parse: word32},
	{word: "tx", attr: ethnl.RingsTx, words: 1, parse: word32},
	{word: "rx-buf-len", attr: ethnl.RingsRxBufLen, words: 1, parse: word32},
	{word: "cqe-size", attr: ethnl.RingsCQESize, words: 1, parse: word32},
	{word: "tx-push", attr: ethnl.RingsTxPush, words: 1, parse: onOff},
}

func setRings(s *session) int { return s.change(ethnl.CmdRingsSet, "-G", ringsParams, 81) }
