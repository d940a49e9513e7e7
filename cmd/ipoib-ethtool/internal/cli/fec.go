package cli

import (
	"encoding/binary"
	"strings"

	"ipoib/nl"
	"ipoib/nl/ethnl"
)

// fecName prints an encoding under the name that it has on the command line.
func (s *session) fecName(i int, name string, named bool) {
	switch {
	case i == modeFECNone:
		name = "Off"
	case i == modeFECBaseR:
		name = "BaseR"
	case !named:
		name = null
	}
	s.out.str("", " %s", name)
}

func (s *session) fecReply(m *message) int {
	t := m.genl()
	if !s.named(t[ethnl.FECHeader]) || !s.secondSocket() {
		return s.refuse()
	}
	name := s.title()
	names := s.globalStrings(ethnl.SetLinkModes, s.second)
	if s.silent() {
		s.out.blank()
	}
	s.out.object("")
	defer s.out.endObject()
	s.out.str("ifname", "FEC parameters for %s:\n", name)

	s.out.array("config", "Supported/Configured FEC encodings:")
	empty := true
	if auto, _ := t.u8(ethnl.FECAuto); auto != 0 {
		s.out.str("", " %s", "Auto")
		empty = false
	}
	err := bitset(t[ethnl.FECModes]).Walk(names, func(i int, name string, named, on bool) {
		if on {
			s.fecName(i, name, named)
			empty = false
		}
	})
	if err != nil {
		return s.refuse()
	}
	if empty {
		s.out.str("", " %s", "None")
	}
	s.out.closeArray("\n")

	s.out.array("active", "Active FEC encoding:")
	switch active, _ := t.u32(ethnl.FECActive); {
	case active == 0:
		s.out.str("", " %s", "None")
	case uint64(active) < uint64(len(names)):
		s.fecName(int(active), names[active], true)
	default:
		s.out.uint("", " BIT%d", uint64(active))
	}
	s.out.closeArray("\n")

	if t.has(ethnl.FECStats) && !s.fecStats(t[ethnl.FECStats]) {
		return s.refuse()
	}
	return cbOK
}

// fecStats prints counters, each a total and then one for each lane.
func (s *session) fecStats(nest nl.Attr) bool {
	t := parse(nest)
	s.out.object("statistics")
	defer s.out.endObject()
	titled := false
	for _, st := range []struct {
		attr int
		name string
	}{
		{ethnl.FECStatCorrected, "corrected_blocks"},
		{ethnl.FECStatUncorr, "uncorrectable_blocks"},
		{ethnl.FECStatCorrBits, "corrected_bits"},
	} {
		data := t[st.attr].Data
		if len(data) == 0 {
			continue
		}
		if !titled && !s.out.json {
			s.out.print("Statistics:\n")
			titled = true
		}
		if len(data)%8 != 0 {
			s.errorf("malformed netlink message (statistic)\n")
			return false
		}
		total := binary.NativeEndian.Uint64(data)
		if s.out.json {
			s.out.object(st.name)
			s.out.uint("total", "", total)
		} else {
			s.out.printf("  %s: %d\n", st.name, total)
		}
		if lanes := data[8:]; len(lanes) > 0 {
			s.out.array("lanes", "")
			for i := 0; i < len(lanes); i += 8 {
				v := binary.NativeEndian.Uint64(lanes[i:])
				if s.out.json {
					s.out.uint("", "", v)
				} else {
					s.out.printf("    Lane %d: %d\n", i/8, v)
				}
			}
			s.out.closeArray("")
		}
		s.out.endObject()
	}
	return true
}

func getFEC(s *session) int { return s.showStats(ethnl.CmdFECGet, s.fecReply) }

// encodings takes the names of encodings up to the end or "--", as a list and
// the switch for the automatic choice.
func encodings(p *parser, par *param, e *nl.Encoder) bool {
	auto := uint8(0)
	e.Nest(par.attr, func() {
		e.Flag(ethnl.BitsetNoMask)
		e.Nest(ethnl.BitsetBits, func() {
			for len(p.args) > 0 {
				w := p.next()
				switch {
				case w == "--":
					return
				case strings.EqualFold(w, "auto"):
					auto = 1
					continue
				case strings.EqualFold(w, "off"):
					w = "None"
				default:
					w = strings.ToUpper(w)
				}
				putBit(e, w, false)
			}
		})
	})
	e.U8(ethnl.FECAuto, auto)
	return true
}

var fecParams = []param{{word: "encoding", attr: ethnl.FECModes, words: 1, parse: encodings}}

func setFEC(s *session) int { return s.changeSome(ethnl.CmdFECSet, "--set-fec", fecParams, 83) }
