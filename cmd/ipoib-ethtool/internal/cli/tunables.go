package cli

import (
	"strings"

	"ipoib/nl/ipoibnl"
)

// tunables are the names of --get-tunable and --set-tunable with the largest
// value.
var tunables = []struct {
	name  string
	limit uint64
}{
	{"rx-copybreak", max32},
	{"tx-copybreak", max32},
	{"pfc-prevention-tout", max16},
	{"tx-buf-size", max32},
}

func getTunable(s *session) int {
	if len(s.args) < 1 {
		return s.badArgs()
	}
	for _, a := range s.args {
		known := false
		for _, t := range tunables {
			if t.name != a {
				continue
			}
			known = true
			if _, errno := s.ioctl(ipoibnl.EthtoolGTunable); errno != 0 {
				s.errorf("%s: Cannot get tunable\n", a)
				return minusOne
			}
		}
		if !known {
			return s.badArgs()
		}
	}
	return 0
}

func setTunable(s *session) int {
	seen := make(map[string]bool)
	var list []word
	for _, t := range tunables {
		check := upTo(t.limit)
		list = append(list, word{t.name, func(v string) bool {
			seen[t.name] = true
			return check(v)
		}})
	}
	if !s.words(list...) || len(seen) == 0 {
		return s.badArgs()
	}
	for _, t := range tunables {
		if seen[t.name] {
			if code := s.steps(step{ipoibnl.EthtoolSTunable, t.name, minusOne}); code != 0 {
				return code
			}
		}
	}
	return 0
}

// phyTunables are the tunables of a PHY with the texts of a failure.
var phyTunables = []struct{ name, get, set string }{
	{"downshift", "Cannot Get PHY downshift count", "Cannot Set PHY downshift count"},
	{"fast-link-down", "Cannot Get PHY Fast Link Down value", "Cannot Set PHY Fast Link Down value"},
	{
		"energy-detect-power-down", "Cannot Get PHY Energy Detect Power Down value",
		"Cannot Set PHY Energy Detect Power Down",
	},
}

func getPHYTunable(s *session) int {
	for _, t := range phyTunables {
		if len(s.args) > 0 && s.args[0] == t.name {
			return s.steps(step{ipoibnl.EthtoolPHYGTunable, t.get, 87})
		}
	}
	return s.badArgs()
}

func setPHYTunable(s *session) int {
	for _, t := range phyTunables {
		if len(s.args) < 2 || s.args[0] != t.name {
			continue
		}
		if !isOnOff(s.args[1]) {
			s.errorf("Invalid boolean\n")
			return s.badArgs()
		}
		if !s.phyValue(t.name, s.args[1] == "on", s.args[2:]) {
			return s.badArgs()
		}
		return s.steps(step{ipoibnl.EthtoolPHYSTunable, t.set, 87})
	}
	return s.badArgs()
}

// phyValue checks what follows on or off. Words that it does not know it
// leaves alone, like ethtool.
func (s *session) phyValue(name string, on bool, args []string) bool {
	var v *uint64
	named := func(word string, limit uint64) bool {
		return len(args) < 2 || args[0] != word || into(&v, limit)(args[1])
	}
	switch name {
	case "downshift":
		if !named("count", max8) {
			return false
		}
		if v != nil && !on {
			s.errorf("'count' may not be set when downshift is off.\n")
			return false
		}
		if v != nil && *v == 0 {
			s.errorf("'count' may not be zero.\n")
			return false
		}
	case "fast-link-down":
		const off = 0xff // ETHTOOL_PHY_FAST_LINK_DOWN_OFF
		if on && (!named("msecs", max8) || v != nil && *v == off) {
			return false
		}
	default:
		const noTx = 0xfffe // ETHTOOL_PHY_EDPD_NO_TX; the default is above it
		if on && !named("msecs", max16) {
			return false
		}
		if on && (v == nil || *v > noTx) {
			s.errorf("'msecs' max value is %d.\n", noTx-1)
			return false
		}
	}
	return true
}

// resets are the components of --reset by bit (enum ethtool_reset_flags).
var resets = []string{"mgmt", "irq", "dma", "filter", "offload", "mac", "phy", "ram", "ap"}

func reset(s *session) int {
	if len(s.args) == 0 {
		return s.badArgs()
	}
	var data uint32
	for args := s.args; len(args) > 0; args = args[1:] {
		switch args[0] {
		case "flags":
			if args = args[1:]; len(args) == 0 {
				return s.badArgs()
			}
			v, _ := cstrtoul(args[0], 0)
			if uint32(v) == 0 {
				return s.badArgs()
			}
			data |= uint32(v)
		case "dedicated":
			data |= 0xffff
		case "all":
			data |= 0xffffffff
		default:
			bits := resetBits(args[0])
			if bits == 0 {
				return s.badArgs()
			}
			data |= bits
		}
	}
	s.out.printf("ETHTOOL_RESET 0x%x\n", data)
	return s.steps(step{ipoibnl.EthtoolReset, "Cannot issue ETHTOOL_RESET", 1})
}

func resetBits(name string) uint32 {
	base, shared := strings.CutSuffix(name, "-shared")
	for i, r := range resets {
		if r == base {
			if shared {
				i += 16 // ETH_RESET_SHARED_SHIFT
			}
			return 1 << i
		}
	}
	return 0
}

// perQueue is -Q.
func perQueue(s *session) int {
	if len(s.args) == 0 {
		return s.badArgs()
	}
	args := s.args
	if args[0] == "queue_mask" {
		if len(args) <= 2 {
			return s.badArgs()
		}
		if !queueMask(args[1]) {
			s.out.print("Invalid queue mask\n")
			return minusOne
		}
		args = args[2:]
	} else if _, errno := s.ioctl(ipoibnl.EthtoolGChannels); errno != 0 {
		s.perror("Cannot get number of queues", errno)
		return 242 // -EFAULT
	}
	o := findOption(args[0])
	if o == nil {
		return s.badArgs()
	}
	if !strings.HasSuffix(o.names, "coalesce") {
		s.errorf("The subcommand is not supported yet: Success\n")
		return 161 // -EOPNOTSUPP
	}
	const text = "Cannot get device per queue parameters"
	if code := s.steps(step{ipoibnl.EthtoolPerQueue, text, 242}); code != 0 {
		if s.lost == nil {
			// The caller reports it again, with another errno.
			s.errorf("%s: Invalid argument\n", text)
		}
		return code
	}
	return 0
}

// queueMask reports whether a word is a mask of queues in hex.
func queueMask(w string) bool {
	const maxDigits = 4096 / 4
	if len(w) > 2 && has0x(w) {
		w = w[2:]
	}
	for i := range len(w) {
		if digit(w[i]) >= 16 {
			return false
		}
	}
	return len(w) <= maxDigits
}
