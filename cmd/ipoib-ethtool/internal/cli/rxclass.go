package cli

import (
	"net/netip"
	"slices"
	"strings"

	"ipoib/nl/ipoibnl"
)

// flows are the kinds of packets of rx-flow-hash.
var flows = []string{"tcp4", "udp4", "ah4", "esp4", "sctp4", "tcp6", "udp6", "ah6", "esp6", "sctp6", "ether"}

// flowHash checks the words of rx-flow-hash: n of them, and then a context.
func flowHash(args []string, n int) bool {
	switch len(args) {
	case n:
	case n + 2:
		if _, ok := number(args[n+1], max32); args[n] != "context" || !ok {
			return false
		}
	default:
		return false
	}
	return slices.Contains(flows, args[1]) && (n < 3 || strings.Trim(args[2], "mvtsdfnr") == "")
}

// showRules is -n.
func showRules(s *session) int {
	switch {
	case len(s.args) > 0 && s.args[0] == "rx-flow-hash":
		if !flowHash(s.args, 2) {
			return s.badArgs()
		}
		return s.steps(step{ipoibnl.EthtoolGRxFH, "Cannot get RX network flow hashing options", 1})
	case len(s.args) == 2 && s.args[0] == "rule":
		if _, ok := number(s.args[1], 1<<31-1); !ok {
			return s.badArgs()
		}
		code := s.steps(step{ipoibnl.EthtoolGRxClsRule, "rxclass: Cannot get RX class rule", 1})
		if code != 0 {
			s.errorf("Cannot get RX classification rule\n")
		}
		return code
	case len(s.args) != 0:
		return s.badArgs()
	}
	s.steps(step{ipoibnl.EthtoolGRxRings, "Cannot get RX rings", 1})
	if s.lost != nil {
		return 1
	}
	code := s.steps(step{ipoibnl.EthtoolGRxClsRlCnt, "rxclass: Cannot get RX class rule count", 1})
	if code != 0 {
		s.errorf("RX classification rule retrieval failed\n")
	}
	return code
}

// changeRules is -N.
func changeRules(s *session) int {
	if len(s.args) < 2 {
		return s.badArgs()
	}
	switch s.args[0] {
	case "rx-flow-hash":
		if !flowHash(s.args, 3) {
			return s.badArgs()
		}
		// A failure is told, but does not change the exit code.
		s.steps(step{ipoibnl.EthtoolSRxFH, "Cannot change RX network flow hashing options", 1})
		return 0
	case "flow-type":
		located, ok := s.rule(s.args[1:])
		if !ok {
			return s.badArgs()
		}
		if located {
			s.steps(step{ipoibnl.EthtoolSRxClsRlIns, "rmgr: Cannot insert RX class rule", 1})
			return 0
		}
		code := s.steps(step{ipoibnl.EthtoolGRxClsRlCnt, "rxclass: Cannot get RX class rule count", 1})
		if code != 0 {
			s.errorf("Cannot insert classification rule\n")
		}
		return code
	case "delete":
		if _, ok := number(s.args[1], 1<<31-1); !ok {
			return s.badArgs()
		}
		code := s.steps(step{ipoibnl.EthtoolSRxClsRlDel, "rmgr: Cannot delete RX class rule", 1})
		if code != 0 {
			s.errorf("Cannot delete classification rule\n")
		}
		return code
	}
	return s.badArgs()
}

// Fields of a rule: which of them were given is a set of bits, which for the
// SPI are those of both ports.
const (
	fieldRing      = 0x0001
	fieldLoc       = 0x0002
	fieldSrc       = 0x0004
	fieldDst       = 0x0008
	fieldSrcPort   = 0x0010
	fieldDstPort   = 0x0020
	fieldSPI       = 0x0030
	fieldTOS       = 0x0040
	fieldProto     = 0x0080
	fieldVLAN      = 0x0100
	fieldUser      = 0x0200
	fieldVLANType  = 0x0400
	fieldMAC       = 0x0800
	fieldRingVF    = 0x1000
	fieldRingQueue = 0x2000
)

// field is a field of a rule.
type field struct {
	name string
	bit  uint32
	ok   func(string) bool
	mask bool // it may have a mask
}

// commonFields are those of every kind of rule.
var commonFields = []field{
	{"action", fieldRing, upTo(1<<64 - 1), false},
	{"vf", fieldRingVF, upTo(max8), false},
	{"queue", fieldRingQueue, upTo(max32), false},
	{"loc", fieldLoc, upTo(max32), false},
	{"vlan-etype", fieldVLANType, upTo(max16), true},
	{"vlan", fieldVLAN, upTo(max16), true},
	{"user-def", fieldUser, upTo(1<<64 - 1), true},
}

// ruleFields returns the fields of a kind of rule.
func ruleFields(kind string) []field {
	if kind == "ether" {
		return append([]field{
			{"src", fieldSrc, isMAC, true}, {"dst", fieldDst, isMAC, true}, {"proto", fieldProto, upTo(max16), true},
		}, commonFields...)
	}
	addr, tos := isIPv4, "tos"
	if strings.HasSuffix(kind, "6") {
		addr, tos = isIPv6, "tclass"
	}
	fields := []field{
		{"src-ip", fieldSrc, addr, true}, {"dst-ip", fieldDst, addr, true}, {tos, fieldTOS, upTo(max8), true},
		{"dst-mac", fieldMAC, isMAC, true},
	}
	ports := []field{{"src-port", fieldSrcPort, upTo(max16), true}, {"dst-port", fieldDstPort, upTo(max16), true}}
	spi := field{"spi", fieldSPI, upTo(max32), true}
	switch kind {
	case "tcp4", "udp4", "sctp4", "tcp6", "udp6", "sctp6":
		fields = append(fields, ports...)
	case "ah4", "esp4", "ah6", "esp6":
		fields = append(fields, spi)
	case "ip4", "ip6":
		fields = append(append(fields, ports...), spi, field{"l4proto", fieldProto, upTo(max8), true},
			field{"l4data", fieldSPI, upTo(max32), true})
	default:
		return nil
	}
	return append(fields, commonFields...)
}

func isIPv4(v string) bool {
	a, err := netip.ParseAddr(v)
	return err == nil && a.Is4()
}

func isIPv6(v string) bool {
	a, err := netip.ParseAddr(v)
	return err == nil && a.Is6() && a.Zone() == ""
}

// isMAC reports whether a word begins with six octets in hex.
func isMAC(v string) bool {
	for i := range 6 {
		n := 0
		for n < len(v) && n < 2 && digit(v[n]) < 16 {
			n++
		}
		v = v[n:]
		if n == 0 || i < 5 && (v == "" || v[0] != ':') {
			return false
		}
		v = v[min(1, len(v)):]
	}
	return true
}

// rule checks the words of a rule, and reports whether it has a location.
func (s *session) rule(args []string) (located, ok bool) {
	fields := ruleFields(args[0])
	if fields == nil {
		return false, s.badRule("Add rule, invalid syntax\n")
	}
	var given uint32
	for i := 1; i < len(args); {
		if args[i] == "context" {
			if i++; i >= len(args) {
				return false, s.badRule("'context' missing value\n")
			}
			v, ok := number(args[i], max32)
			if !ok {
				return false, s.badRule("Invalid context value[%s]\n", args[i])
			}
			if v == max32 { // ETH_RXFH_CONTEXT_ALLOC
				return false, s.badRule("Bad context value %x\n", v)
			}
			i++
			continue
		}
		n := slices.IndexFunc(fields, func(f field) bool { return f.name == args[i] })
		if n < 0 {
			s.out.printf("Add rule, unrecognized option[%s]\n", args[i])
			return false, false
		}
		f := &fields[n]
		if i++; i >= len(args) {
			break
		}
		if given&f.bit != 0 || !f.ok(args[i]) {
			return false, s.badRule("Invalid %s value[%s]\n", f.name, args[i])
		}
		given |= f.bit
		if i++; i >= len(args) || args[i] != "m" && args[i] != f.name+"-mask" {
			continue
		}
		if i++; i >= len(args) {
			return false, s.badRule("Add rule, invalid syntax\n")
		}
		if !f.mask || !f.ok(args[i]) {
			return false, s.badRule("Invalid %s mask[%s]\n", f.name, args[i])
		}
		i++
	}
	if given&fieldRing != 0 && given&fieldRingQueue != 0 {
		return false, s.badRule("action and queue are not compatible\n")
	}
	if given&fieldRing != 0 && given&fieldRingVF != 0 {
		return false, s.badRule("action and vf are not compatible\n")
	}
	return given&fieldLoc != 0, true
}

func (s *session) badRule(format string, args ...any) bool {
	s.errorf(format, args...)
	return false
}
