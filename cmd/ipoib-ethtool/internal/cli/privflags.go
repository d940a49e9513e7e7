package cli

import (
	"fmt"

	"ipoib/nl/ethnl"
)

func (s *session) privFlagsReply(m *message) int {
	t := m.genl()
	if !t.has(ethnl.PrivFlagsFlags) {
		return s.refuse()
	}
	if !s.named(t[ethnl.PrivFlagsHeader]) {
		return cbOK
	}
	v := bitset(t[ethnl.PrivFlagsFlags])
	var names []string
	if v.Compact {
		if !s.secondSocket() {
			return s.refuse()
		}
		names = s.deviceStrings(s.title(), ethnl.SetPrivFlags, s.second)
	}
	type flag struct {
		name string
		on   bool
	}
	var flags []flag
	width := 0
	err := v.Walk(names, func(i int, name string, named, on bool) {
		if !named {
			name = fmt.Sprintf("bit%d", i)
		}
		flags = append(flags, flag{name, on})
		width = max(width, len(name))
	})
	if err != nil {
		return s.refuse()
	}
	if s.silent() {
		s.out.print("\n")
	}
	s.out.printf("Private flags for %s:\n", s.title())
	for _, f := range flags {
		s.out.printf("%-*s: %s\n", width, f.name, onoff(f.on))
	}
	return cbOK
}

func getPrivFlags(s *session) int {
	return s.show(ethnl.CmdPrivFlagsGet, ethnl.PrivFlagsHeader, 0, s.privFlagsReply)
}

// setPrivFlags is --set-priv-flags, whose words are one bitset.
func setPrivFlags(s *session) int {
	if s.refused(ethnl.CmdPrivFlagsSet, false) {
		return unsupported
	}
	s.main.set(ethnl.CmdPrivFlagsSet, 0)
	p := s.newParser("--set-priv-flags")
	if !bitsetParam(p, &param{attr: ethnl.PrivFlagsFlags}, s.main.enc) {
		return failed
	}
	return s.set(1)
}
