package cli

import (
	"math"
	"strings"
	"syscall"
)

// cstrtoul reads a number as strtoul(3) does and returns what follows it:
// white space and a sign are skipped, a number that is too large is the
// largest. Without a number rest is all of s.
func cstrtoul(s string, base uint64) (v uint64, rest string) {
	v, rest, _ = cstrtoull(s, base)
	return v, rest
}

// cstrtoull is cstrtoul that tells whether the number was too large (ERANGE).
func cstrtoull(s string, base uint64) (v uint64, rest string, over bool) {
	t := strings.TrimLeft(s, " \t\n\v\f\r")
	neg := false
	if t != "" && (t[0] == '-' || t[0] == '+') {
		neg = t[0] == '-'
		t = t[1:]
	}
	hex := len(t) > 2 && t[0] == '0' && (t[1] == 'x' || t[1] == 'X') && digit(t[2]) < 16
	switch {
	case (base == 0 || base == 16) && hex:
		base, t = 16, t[2:]
	case base == 0 && strings.HasPrefix(t, "0"):
		base = 8
	case base == 0:
		base = 10
	}
	n := 0
	for n < len(t) && uint64(digit(t[n])) < base {
		d := uint64(digit(t[n]))
		if v > (math.MaxUint64-d)/base {
			over = true
		}
		v = v*base + d
		n++
	}
	switch {
	case n == 0:
		return 0, s, false
	case over:
		return math.MaxUint64, t[n:], true
	case neg:
		v = -v
	}
	return v, t[n:], false
}

// digit returns the value of a digit in any base, 99 for what is none.
func digit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'z':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'Z':
		return int(c-'A') + 10
	}
	return 99
}

// number reads a whole number between 0 and limit, by the prefix in any base
// (get_uint_range with base 0).
func number(s string, limit uint64) (uint64, bool) {
	v, rest, over := cstrtoull(s, 0)
	return v, rest == "" && !over && v <= limit
}

// inRange reads a signed number (get_int_range with base 0).
func inRange(s string, lo, hi int64) (int64, bool) {
	t := strings.TrimLeft(s, " \t\n\v\f\r")
	neg := strings.HasPrefix(t, "-")
	u, rest := cstrtoul(strings.TrimPrefix(t, "-"), 0)
	if rest != "" || u > math.MaxInt64 {
		return 0, false
	}
	v := int64(u)
	if neg {
		v = -v
	}
	return v, v >= lo && v <= hi
}

// strerror returns the text of an errno as the C library has it.
func strerror(e syscall.Errno) string {
	t := e.Error()
	if strings.HasPrefix(t, "errno ") {
		return "Unknown error " + t[6:]
	}
	return strings.ToUpper(t[:1]) + t[1:]
}
