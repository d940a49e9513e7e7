package cli

import (
	"ipoib/nl"
	"ipoib/nl/ethnl"
)

// tsList prints the bits of a set, one on a line.
func (s *session) tsList(a nl.Attr, label, none string, set int) bool {
	s.out.print(label + ":")
	if a.Data == nil {
		s.out.print(none + "\n")
		return true
	}
	v := bitset(a)
	empty, err := v.Empty(false)
	if err != nil {
		s.errorf("malformed netlink message (bitset)\n")
	}
	if empty || err != nil {
		s.out.print(none + "\n")
		return err == nil
	}
	s.out.print("\n")
	var names []string
	if v.Compact {
		if !s.secondSocket() {
			return false
		}
		names = s.globalStrings(set, s.second)
	}
	return v.Walk(names, func(i int, name string, named, on bool) {
		switch {
		case !on:
		case named:
			s.out.print("\t" + name + "\n")
		default:
			s.out.printf("\tbit%d\n", i)
		}
	}) == nil
}

func (s *session) tsInfoReply(m *message) int {
	// Time stamping has no notification: only a dump is silent.
	refuse := cbError
	if s.dumping {
		refuse = cbOK
	}
	t := m.genl()
	if !s.named(t[ethnl.TSInfoHeader]) {
		return refuse
	}
	if s.dumping {
		s.out.print("\n")
	}
	s.out.printf("Time stamping parameters for %s:\n", s.title())
	if !s.tsList(t[ethnl.TSInfoTimestamping], "Capabilities", "", ethnl.SetSOFTimestamping) {
		return refuse
	}
	if v, ok := t.u32(ethnl.TSInfoPHCIndex); ok {
		s.out.printf("PTP Hardware Clock: %d\n", int32(v))
	} else {
		s.out.print("PTP Hardware Clock: none\n")
	}
	if !s.tsList(t[ethnl.TSInfoTxTypes], "Hardware Transmit Timestamp Modes", " none", ethnl.SetTSTxTypes) ||
		!s.tsList(t[ethnl.TSInfoRxFilters], "Hardware Receive Filter Modes", " none", ethnl.SetTSRxFilters) {
		return refuse
	}
	return cbOK
}

func getTSInfo(s *session) int {
	return s.show(ethnl.CmdTSInfoGet, ethnl.TSInfoHeader, 0, s.tsInfoReply)
}
