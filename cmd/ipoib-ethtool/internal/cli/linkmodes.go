package cli

import (
	"fmt"

	"ipoib/nl"
	"ipoib/nl/ethnl"
)

// modeClass sorts the bits of a set of link modes, of which some are no modes.
type modeClass uint8

const (
	classReal modeClass = iota
	classAutoneg
	classPort
	classPause
	classFEC
)

// Bits of the link modes that are no modes (ETHTOOL_LINK_MODE_*_BIT).
const (
	modeAutoneg   = 6
	modeTP        = 7
	modeBNC       = 11
	modePause     = 13
	modeAsymPause = 14
	modeBackplane = 16
	modeFECNone   = 49
	modeFECBaseR  = 51
	modeFECLLRS   = 74
)

func classOf(mode int) modeClass {
	switch {
	case mode == modeAutoneg:
		return classAutoneg
	case mode >= modeTP && mode <= modeBNC, mode == modeBackplane:
		return classPort
	case mode == modePause || mode == modeAsymPause:
		return classPause
	case mode >= modeFECNone && mode <= modeFECBaseR, mode == modeFECLLRS:
		return classFEC
	}
	return classReal
}

// halfDuplex reports whether a mode is half duplex: the next one goes onto the
// same line.
func halfDuplex(mode int) bool {
	switch mode {
	case 0, 2, 4, 90: // 10baseT, 100baseT, 1000baseT, 100baseFX
		return true
	}
	return false
}

// modeList says how a list of link modes is printed.
type modeList struct {
	class modeClass
	// mask: the supported modes, not the advertised ones.
	mask bool
	// between separates entries; empty puts each on a line of its own.
	before, between, after string
	// none is printed for an empty list.
	none string
}

// modes prints the link modes of one class. It reports false after saying
// that the set is malformed.
func (s *session) modes(a nl.Attr, l modeList) bool {
	v := bitset(a)
	bits, ok := s.modeBits(&v, l.mask)
	if !ok {
		return s.malformed("link_modes")
	}
	s.out.print("\t" + l.before)
	// A compact set has the separator before its first entry as well.
	first, prev := true, -2
	for _, b := range bits {
		if classOf(b.Index) != l.class {
			continue
		}
		switch {
		case first && !v.Compact:
		case l.class == classReal && b.Index == prev+1 && halfDuplex(prev):
			s.out.print(" ")
		case l.between != "":
			s.out.print("\t" + l.between)
		default:
			s.out.printf("\n\t%*s", len(l.before), "")
		}
		s.out.print(b.Name)
		first, prev = false, b.Index
	}
	if first {
		s.out.print(l.none)
	}
	s.out.print(l.after)
	return true
}

// modeBits are the bits that are set in the value or the mask, with names.
func (s *session) modeBits(v *ethnl.BitsetView, mask bool) ([]ethnl.BitView, bool) {
	if mask && v.List {
		return nil, false
	}
	if !v.Compact {
		var out []ethnl.BitView
		for _, b := range v.Bits {
			if !b.HasIndex || !b.HasName {
				return nil, false
			}
			if mask || v.List || b.Value {
				out = append(out, b)
			}
		}
		return out, v.Bits != nil
	}
	if !s.secondSocket() {
		return nil, false
	}
	names := s.globalStrings(ethnl.SetLinkModes, s.second)
	m := v.Value
	if mask {
		m = v.Mask
	}
	if m == nil || !v.Fits() {
		return nil, false
	}
	var out []ethnl.BitView
	for i := range v.Size {
		if !m.Test(i) {
			continue
		}
		name := fmt.Sprintf("BIT%d", i)
		if i < len(names) {
			name = names[i]
		}
		out = append(out, ethnl.BitView{Index: i, Name: name})
	}
	return out, true
}

// malformed says that a part of an answer cannot be used.
func (s *session) malformed(what string) bool {
	s.out.flush()
	s.errorf("malformed netlink message (%s)\n", what)
	return false
}

// bit reads a bit of a set.
func (s *session) bit(v *ethnl.BitsetView, mask bool, i int) (on, ok bool) {
	on, err := v.Bit(mask, i)
	if err != nil {
		s.errorf("malformed netlink message (bitset)\n")
	}
	return on, err == nil
}

// pauseModes prints what pause frames a set of link modes speaks of.
func (s *session) pauseModes(v *ethnl.BitsetView, mask bool, label string) bool {
	pause, ok := s.bit(v, mask, modePause)
	asym := false
	if ok {
		asym, ok = s.bit(v, mask, modeAsymPause)
	}
	if !ok {
		s.errorf("malformed netlink message (pause modes)\n")
		return false
	}
	text := "No"
	switch {
	case pause && asym:
		text = "Symmetric Receive-only"
	case pause:
		text = "Symmetric"
	case asym:
		text = "Transmit-only"
	}
	s.out.print("\t" + label + text + "\n")
	return true
}

// autonegMode prints whether a set of link modes has auto-negotiation.
func (s *session) autonegMode(v *ethnl.BitsetView, mask bool, label string) bool {
	on, ok := s.bit(v, mask, modeAutoneg)
	if ok {
		s.out.print("\t" + label + yesNo(on, "Yes", "No") + "\n")
	}
	return ok
}

func yesNo(on bool, yes, no string) string {
	if on {
		return yes
	}
	return no
}

const notReported = "Not reported"

// ourModes prints the modes that are supported and advertised.
func (s *session) ourModes(a nl.Attr) bool {
	s.banner()
	v := bitset(a)
	return s.modes(a, modeList{classPort, true, "Supported ports: [ ", " ", " ]\n", ""}) &&
		s.modes(a, modeList{classReal, true, "Supported link modes:   ", "", "\n", notReported}) &&
		s.pauseModes(&v, true, "Supported pause frame use: ") &&
		s.autonegMode(&v, true, "Supports auto-negotiation: ") &&
		s.modes(a, modeList{classFEC, true, "Supported FEC modes: ", " ", "\n", notReported}) &&
		s.modes(a, modeList{classReal, false, "Advertised link modes:  ", "", "\n", notReported}) &&
		s.pauseModes(&v, false, "Advertised pause frame use: ") &&
		s.autonegMode(&v, false, "Advertised auto-negotiation: ") &&
		s.modes(a, modeList{classFEC, false, "Advertised FEC modes: ", " ", "\n", notReported})
}

// peerModes prints the modes that the other side advertises.
func (s *session) peerModes(a nl.Attr) bool {
	s.banner()
	v := bitset(a)
	const peer = "Link partner advertised "
	return s.modes(a, modeList{classReal, false, peer + "link modes:  ", "", "\n", notReported}) &&
		s.pauseModes(&v, false, peer+"pause frame use: ") &&
		s.autonegMode(&v, false, peer+"auto-negotiation: ") &&
		s.modes(a, modeList{classFEC, false, peer + "FEC modes: ", " ", "\n", notReported})
}
