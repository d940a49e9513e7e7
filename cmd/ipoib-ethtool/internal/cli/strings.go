package cli

import (
	"ipoib/nl"
	"ipoib/nl/ethnl"
)

// globalStrings returns a string set that belongs to no interface, asking for
// it on k the first time.
func (s *session) globalStrings(set int, k *socket) []string {
	if set < 0 || set >= len(s.global) {
		return nil
	}
	if s.global[set] == nil {
		s.askStrings(k, "", false, set)
	}
	if s.global[set] == nil {
		return nil
	}
	return s.global[set].Strings
}

// deviceStrings returns a string set of an interface.
func (s *session) deviceStrings(dev string, set int, k *socket) []string {
	if _, ok := s.perDev[dev]; !ok {
		s.askStrings(k, dev, true, set)
	}
	if sets := s.perDev[dev]; sets != nil && sets[set] != nil {
		return sets[set].Strings
	}
	return nil
}

// askStrings asks for a string set, or for all with set negative, and returns
// the exit code.
func (s *session) askStrings(k *socket, dev string, has bool, set int) int {
	if k == nil {
		return 1
	}
	k.begin(s.family, ethnl.CmdStrsetGet, flagRequest|flagAck)
	header32(k.enc, ethnl.StrsetHeader, dev, has, 0)
	if set >= 0 {
		k.enc.Nest(ethnl.StrsetStringSets, func() {
			k.enc.Nest(ethnl.StringSetsStringSet, func() { k.enc.U32(ethnl.StringSetID, uint32(set)) })
		})
	}
	return k.ask(s.readStrings)
}

// readStrings takes a STRSET reply.
func (s *session) readStrings(m *message) int {
	t := m.genl()
	into := &s.global
	if t.has(ethnl.StrsetHeader) {
		h := parse(t[ethnl.StrsetHeader])
		if !h.has(ethnl.HeaderDevIndex) || !h.has(ethnl.HeaderDevName) {
			return cbOK
		}
		dev := h[ethnl.HeaderDevName].String()
		if s.filtered && dev != s.filter {
			return cbOK
		}
		if s.perDev == nil {
			s.perDev = make(map[string]*[ethnl.NumStringSets]*ethnl.StringSet)
		}
		if s.perDev[dev] == nil {
			s.perDev[dev] = new([ethnl.NumStringSets]*ethnl.StringSet)
		}
		into = s.perDev[dev]
	}
	for a := range t[ethnl.StrsetStringSets].Children() {
		if a.Type != ethnl.StringSetsStringSet {
			continue
		}
		if set, ok := ethnl.ViewStringSet(a); ok && set.ID < len(into) {
			into[set.ID] = &set
		}
	}
	return cbOK
}

// bitset reads a bitset attribute.
func bitset(a nl.Attr) ethnl.BitsetView { return ethnl.ViewBitset(a) }
