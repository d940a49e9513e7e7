package cli

import "ipoib/nl/ethnl"

func (s *session) moduleReply(m *message) int {
	t := m.genl()
	if !s.named(t[ethnl.ModuleHeader]) {
		return s.refuse()
	}
	if s.silent() {
		s.out.blank()
	}
	s.out.object("")
	defer s.out.endObject()
	s.out.str("ifname", "Module parameters for %s:\n", s.title())
	name := func(attr int, key string, names ...string) {
		v, ok := t.u8(attr)
		if !ok {
			return
		}
		text := "unknown"
		if v >= 1 && int(v) <= len(names) {
			text = names[v-1]
		}
		s.out.str(key, key+": %s\n", text)
	}
	name(ethnl.ModulePowerModePolicy, "power-mode-policy", "high", "auto")
	name(ethnl.ModulePowerMode, "power-mode", "low", "high")
	return cbOK
}

func getModule(s *session) int {
	if s.refused(ethnl.CmdModuleGet, true) {
		return unsupported
	}
	if s.more() {
		return 1
	}
	s.main.get(ethnl.CmdModuleGet, ethnl.ModuleHeader, 0)
	s.out.startJSON(s.json)
	defer s.out.endJSON()
	return s.main.ask(s.moduleReply)
}

var moduleParams = []param{{
	word: "power-mode-policy", attr: ethnl.ModulePowerModePolicy, words: 1, parse: name8,
	names: []value{{"high", 1}, {"auto", 2}},
}}

func setModule(s *session) int {
	return s.changeSome(ethnl.CmdModuleSet, "--set-module", moduleParams, 83)
}
