package iproute

import (
	"math"
	"strings"
)

// parseC reads a number as strtol and strtoul with base 0 do: blanks, a sign,
// 0x and 0 prefixes. The whole string must be the number. A magnitude above 64
// bits is not ok.
func parseC(s string) (neg bool, v uint64, ok bool) {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	if s != "" && (s[0] == '-' || s[0] == '+') {
		neg = s[0] == '-'
		s = s[1:]
	}
	base := uint64(10)
	switch {
	case len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x' && hexDigit(s[2]) < 16:
		base, s = 16, s[2:]
	case len(s) > 1 && s[0] == '0':
		base = 8
	}
	if s == "" {
		return false, 0, false
	}
	for i := range len(s) {
		d := hexDigit(s[i])
		if d >= base || v > (math.MaxUint64-d)/base {
			return false, 0, false
		}
		v = v*base + d
	}
	return neg, v, true
}

func hexDigit(c byte) uint64 {
	switch {
	case c >= '0' && c <= '9':
		return uint64(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return uint64(c|0x20-'a') + 10
	}
	return math.MaxUint8
}

// getInteger is get_integer: an int.
func getInteger(s string) (int32, bool) {
	neg, v, ok := parseC(s)
	switch {
	case !ok:
		return 0, false
	case neg && v <= 1<<31:
		return int32(-int64(v)), true
	case !neg && v < 1<<31:
		return int32(v), true
	}
	return 0, false
}

// getUnsigned is get_unsigned with the largest value given. A negative number
// wraps around at 64 bits, as strtoul has it.
func getUnsigned(s string, limit uint64) (uint64, bool) {
	neg, v, ok := parseC(s)
	if neg {
		v = -v
	}
	return v, ok && v <= limit
}

// atoi is atoi(3).
func atoi(s string) int32 {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	n := 0
	if n < len(s) && (s[n] == '-' || s[n] == '+') {
		n++
	}
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	digits := strings.TrimLeft(strings.TrimLeft(s[:n], "+-"), "0")
	if digits == "" {
		return 0
	}
	if s[0] == '-' {
		digits = "-" + digits
	}
	v, _ := getInteger(digits)
	return v
}

// matches reports whether arg is an abbreviation of word.
func matches(arg, word string) bool { return arg != "" && strings.HasPrefix(word, arg) }

// validName is check_altifname, and with a limit check_ifname.
func validName(s string, limit int) bool {
	return s != "" && len(s) <= limit && !strings.ContainsAny(s, "/ \t\n\v\f\r")
}

// anyLength is a limit for validName.
const anyLength = math.MaxInt

// parseAddress reads a link-layer address (lib/ll_addr.c: ll_addr_a2n): octets
// in hex with colons, or an IPv4 address.
func parseAddress(s string) ([]byte, bool) {
	const longest = 32
	if strings.Contains(s, ".") {
		return parseIPv4(s)
	}
	var out []byte
	for part := range strings.SplitSeq(s, ":") {
		if len(out) == longest {
			return append(out, 0), true // too long; the service says so
		}
		v, ok := scanHex(part)
		if !ok || v > 255 {
			return nil, false
		}
		out = append(out, byte(v))
	}
	return out, true
}

// scanHex is sscanf with %x: what follows the number does not matter.
func scanHex(s string) (uint64, bool) {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	s = strings.TrimPrefix(s, "+")
	if len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x' && hexDigit(s[2]) < 16 {
		s = s[2:]
	}
	n, v := 0, uint64(0)
	for n < len(s) && hexDigit(s[n]) < 16 && v < 1<<32 {
		v = v<<4 | hexDigit(s[n])
		n++
	}
	return v, n > 0
}

// parseIPv4 reads 10, 10.8 or 10.0.0.1, from the left.
func parseIPv4(s string) ([]byte, bool) {
	out := make([]byte, 4)
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return nil, false
	}
	for i, p := range parts {
		v, ok := getUnsigned(p, 255)
		if !ok {
			return nil, false
		}
		out[i] = byte(v)
	}
	return out, true
}
