package cli

import (
	"ipoib/nl"
	"ipoib/nl/ethnl"
)

func (s *session) badStats(what string) bool {
	s.errorf("invalid kernel response - %s\n", what)
	return false
}

// histogram prints the buckets of one direction.
func (s *session) histogram(grp nl.Attr, attr uint16, group, dir string) {
	s.out.array(dir+"-pktsNtoM", "")
	defer s.out.closeArray("")
	for a := range grp.Children() {
		if a.Type == attr && !s.bucket(a, group, dir) {
			return
		}
	}
}

func (s *session) bucket(a nl.Attr, group, dir string) bool {
	t := parse(a)
	for _, i := range []int{ethnl.StatsGrpHistBktLow, ethnl.StatsGrpHistBktHi, ethnl.StatsGrpHistVal} {
		if !t.has(i) {
			return s.badStats("histogram entry missing attributes")
		}
	}
	low, high := t[ethnl.StatsGrpHistBktLow].Uint32(), t[ethnl.StatsGrpHistBktHi].Uint32()
	v := t[ethnl.StatsGrpHistVal].Uint64()
	if s.out.json {
		s.out.object("")
		s.out.uint("low", "", uint64(low))
		s.out.uint("high", "", uint64(high))
		s.out.uint("val", "", v)
		s.out.endObject()
		return true
	}
	s.out.printf("%s-%s-etherStatsPkts", dir, group)
	switch {
	case low != 0 && high != 0:
		s.out.printf("%dto%dOctets: %d\n", low, high, v)
	case high != 0:
		s.out.printf("%dOctets: %d\n", high, v)
	case low != 0:
		s.out.printf("%dtoMaxOctets: %d\n", low, v)
	default:
		return s.badStats("bad histogram entry bounds")
	}
	return true
}

// statsGroup prints a group of standard statistics.
func (s *session) statsGroup(grp nl.Attr, groups []string) bool {
	t := parse(grp)
	if !t.has(ethnl.StatsGrpID) {
		return false
	}
	if !t.has(ethnl.StatsGrpSSID) {
		return true
	}
	names := s.globalStrings(int(min(t[ethnl.StatsGrpSSID].Uint32(), ethnl.NumStringSets)), s.second)
	group := null
	if id := t[ethnl.StatsGrpID].Uint32(); uint64(id) < uint64(len(groups)) {
		group = groups[id]
	}
	s.out.object(group)
	defer s.out.endObject()
	histRx, histTx := false, false
	for a := range grp.Children() {
		switch a.Type {
		case ethnl.StatsGrpHistRx:
			histRx = true
		case ethnl.StatsGrpHistTx:
			histTx = true
		}
		if a.Type != ethnl.StatsGrpStat {
			continue
		}
		st, ok := first(a)
		if !ok || len(st.Data) != 8 {
			return s.badStats("bad statistic entry")
		}
		if int(st.Type) >= len(names) || names[st.Type] == "" {
			continue
		}
		name := names[st.Type]
		if !s.out.json {
			s.out.printf("%s-%s: ", group, name)
		}
		s.out.uint(name, "%d\n", st.Uint64())
	}
	if histRx {
		s.histogram(grp, ethnl.StatsGrpHistRx, group, "rx")
	}
	if histTx {
		s.histogram(grp, ethnl.StatsGrpHistTx, group, "tx")
	}
	return true
}

func (s *session) statsReply(m *message) int {
	if !s.named(m.genl()[ethnl.StatsHeader]) || !s.secondSocket() {
		return s.refuse()
	}
	name := s.title()
	groups := s.globalStrings(ethnl.SetStatsStd, s.second)
	if s.silent() {
		s.out.blank()
	}
	s.out.object("")
	defer s.out.endObject()
	s.out.str("ifname", "Standard stats for %s:\n", name)
	for a := range m.attrs(genlLen).Children() {
		if a.Type == ethnl.StatsGrp && !s.statsGroup(a, groups) {
			return s.refuse()
		}
	}
	return cbOK
}

// allGroups asks for all groups that the service knows.
func allGroups(p *parser, par *param, e *nl.Encoder) bool {
	s := p.s
	if !s.secondSocket() {
		return false
	}
	n := len(s.globalStrings(ethnl.SetStatsStd, s.second))
	all := ethnl.NewBitmap(n)
	for i := range n {
		all.Set(i)
	}
	e.Nest(par.attr, func() {
		e.Flag(ethnl.BitsetNoMask)
		e.U32(ethnl.BitsetSize, uint32(n))
		e.Put(ethnl.BitsetValue, bitmapBytes(all, n))
	})
	return true
}

var statsParams = []param{
	{
		word: "--groups", attr: ethnl.StatsGroups, words: 1, alt: 1, parse: bitsetParam,
		bits: bitsetWords{list: true},
	},
	{word: "--all-groups", attr: ethnl.StatsGroups, alt: 1, parse: allGroups},
}

// getStats is -S with groups; without them it is asked in the old way.
func getStats(s *session) int {
	s.main.get(ethnl.CmdStatsGet, ethnl.StatsHeader, 0)
	enc := s.main.enc
	if !s.newParser("-S").run(statsParams, func(uint8) *nl.Encoder { return enc }) {
		return 1
	}
	s.out.startJSON(s.json)
	defer s.out.endJSON()
	return s.main.ask(s.statsReply)
}
