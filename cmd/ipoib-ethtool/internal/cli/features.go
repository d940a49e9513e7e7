package cli

import (
	"slices"
	"strings"

	"ipoib/nl/ethnl"
)

// oldFlags are the offloads that ethtool knew before features had names: the
// short and the long form, and the features that they stand for.
var oldFlags = []struct{ short, long, pattern string }{
	{"rx", "rx-checksumming", "rx-checksum"},
	{"tx", "tx-checksumming", "tx-checksum-*"},
	{"sg", "scatter-gather", "tx-scatter-gather*"},
	{"tso", "tcp-segmentation-offload", "tx-tcp*-segmentation"},
	{"ufo", "udp-fragmentation-offload", "tx-udp-fragmentation"},
	{"gso", "generic-segmentation-offload", "tx-generic-segmentation"},
	{"gro", "generic-receive-offload", "rx-gro"},
	{"lro", "large-receive-offload", "rx-lro"},
	{"rxvlan", "rx-vlan-offload", "rx-vlan-hw-parse"},
	{"txvlan", "tx-vlan-offload", "tx-vlan-hw-insert"},
	{"ntuple", "ntuple-filters", "rx-ntuple-filter"},
	{"rxhash", "receive-hashing", "rx-hashing"},
}

// ufo is never shown: no kernel that speaks this protocol has it.
const ufo = 4

// matches reports whether a feature's name fits a pattern with at most one
// asterisk.
func matches(name, pattern string) bool {
	head, tail, star := strings.Cut(pattern, "*")
	if !star {
		return name == pattern
	}
	return len(name) >= len(head)+len(tail) && strings.HasPrefix(name, head) && strings.HasSuffix(name, tail)
}

// featureSets are the bitmaps of a FEATURES reply.
type featureSets struct {
	hw, wanted, active, nochange ethnl.Bitmap
	n                            int
}

// readFeatures takes the four compact bitsets, which must be of one size.
func readFeatures(t *table) (f featureSets, ok bool) {
	for i, dst := range []*ethnl.Bitmap{&f.hw, &f.wanted, &f.active, &f.nochange} {
		attr := ethnl.FeaturesHW + i
		if !t.has(attr) {
			return f, false
		}
		v := bitset(t[attr])
		if !v.HasSize || v.Value == nil || !v.Fits() || i > 0 && v.Size != f.n {
			return f, false
		}
		*dst, f.n = v.Value, v.Size
	}
	return f, true
}

// line prints a feature.
func (s *session) featureLine(f *featureSets, i int, name, indent string) {
	active, wanted := f.active.Test(i), f.wanted.Test(i)
	fixed := !f.hw.Test(i) || f.nochange.Test(i)
	if s.out.json {
		s.featureObject(name, active, jsonBool(fixed), jsonBool(wanted))
		return
	}
	suffix := ""
	switch {
	case fixed:
		suffix = " [fixed]"
	case active != wanted:
		suffix = " [requested " + onoff(wanted) + "]"
	}
	s.out.printf("%s%s: %s%s\n", indent, name, onoff(active), suffix)
}

func (s *session) featureObject(name string, active bool, fixed, requested string) {
	s.out.object(name)
	s.out.raw("active", jsonBool(active))
	s.out.raw("fixed", fixed)
	s.out.raw("requested", requested)
	s.out.endObject()
}

func jsonBool(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

// featureList prints the old flags with the features that they stand for, then
// all other features.
func (s *session) featureList(f *featureSets, names []string) {
	flagOf := make([]int, f.n)
	of := make([][]int, len(oldFlags))
	for i := range f.n {
		flagOf[i] = -1
		if i >= len(names) || names[i] == "" {
			continue
		}
		k := slices.IndexFunc(oldFlags, func(o struct{ short, long, pattern string }) bool {
			return matches(names[i], o.pattern)
		})
		if flagOf[i] = k; k >= 0 {
			of[k] = append(of[k], i)
		}
	}
	for k, o := range oldFlags {
		if k == ufo {
			continue
		}
		if len(of[k]) == 1 {
			s.featureLine(f, of[k][0], o.long, "")
			continue
		}
		on := slices.ContainsFunc(of[k], f.active.Test)
		if s.out.json {
			s.featureObject(o.long, on, "null", "null")
		} else {
			s.out.printf("%s: %s\n", o.long, onoff(on))
		}
		for _, i := range of[k] {
			s.featureLine(f, i, names[i], "\t")
		}
	}
	for i := range f.n {
		if i < len(names) && names[i] != "" && flagOf[i] < 0 {
			s.featureLine(f, i, names[i], "")
		}
	}
}

func (s *session) featuresReply(m *message) int {
	if !s.watching && !s.secondSocket() {
		return cbError
	}
	names := s.globalStrings(ethnl.SetFeatures, s.second)
	t := m.genl()
	if !s.named(t[ethnl.FeaturesHeader]) {
		return cbOK
	}
	silent := s.silent()
	if silent {
		s.out.print("\n")
	}
	s.out.object("")
	s.out.str("ifname", "Features for %s:\n", s.title())
	f, ok := readFeatures(t)
	if ok {
		s.featureList(&f, names)
	}
	s.out.endObject()
	if silent || ok {
		return cbOK
	}
	return cbError
}

func getFeatures(s *session) int {
	if s.refused(ethnl.CmdFeaturesGet, true) {
		return unsupported
	}
	if s.more() {
		return 1
	}
	s.main.get(ethnl.CmdFeaturesGet, ethnl.FeaturesHeader, ethnl.FlagCompactBitsets)
	s.out.startJSON(s.json)
	defer s.out.endJSON()
	return s.main.ask(s.featuresReply)
}
