// Package kstr reads numbers as the kernel's file attributes do. Each of its
// functions has the rules of one kernel function, which differ in what may
// stand before and behind the digits.
package kstr

import (
	"bytes"
	"math"
	"syscall"
)

// text is what a string function of the kernel sees of a write: everything up
// to the first NUL.
func text(b []byte) []byte {
	b, _, _ = bytes.Cut(b, []byte{0})
	return b
}

// isSpace is the kernel's isspace: ASCII blanks and the Latin-1 no-break
// space.
func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' || c == 0xa0 }

// digit returns the value of a hexadecimal digit, or 16.
func digit(c byte) uint64 {
	switch {
	case c >= '0' && c <= '9':
		return uint64(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return uint64(c|0x20-'a') + 10
	}
	return 16
}

// radix finds the base of a number by its prefix and returns what follows
// (kernel _parse_integer_fixup_radix): "0x" and a hexadecimal digit is 16,
// another "0" is 8.
func radix(b []byte) ([]byte, uint64) {
	switch {
	case len(b) == 0 || b[0] != '0':
		return b, 10
	case len(b) > 2 && b[1]|0x20 == 'x' && digit(b[2]) < 16:
		return b[2:], 16
	}
	return b, 8
}

// number reads digits of a base. It returns the value modulo 2^64, how many
// there were, and whether it is too large (kernel _parse_integer).
func number(b []byte, base uint64) (v uint64, n int, overflow bool) {
	for n < len(b) {
		d := digit(b[n])
		if d >= base {
			break
		}
		if v > (math.MaxUint64-d)/base {
			overflow = true
		}
		v = v*base + d
		n++
	}
	return v, n, overflow
}

// ScanInt reads an int as sscanf(buf, "%i", &v) does: leading blanks, an
// optional minus sign, a number in C notation; what follows is ignored and what
// is too wide is cut to 32 bits. ok is false when there is no number.
func ScanInt(b []byte) (v int32, ok bool) {
	b = text(b)
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	neg := len(b) > 0 && b[0] == '-'
	if neg {
		b = b[1:]
	}
	if len(b) == 0 || b[0] < '0' || b[0] > '9' {
		return 0, false
	}
	digits, base := radix(b)
	u, _, _ := number(digits, base)
	if neg {
		u = -u
	}
	return int32(u), true
}

// SimpleUlong reads an unsigned long as simple_strtoul(buf, NULL, 0) does: no
// blanks, no sign, what follows is ignored, and no number is 0.
func SimpleUlong(b []byte) uint64 {
	digits, base := radix(text(b))
	v, _, _ := number(digits, base)
	return v
}

// kstrtoull reads a number to the end of the text, where one newline may
// follow: EINVAL when it is none, ERANGE when it is too large.
func kstrtoull(b []byte) (uint64, error) {
	digits, base := radix(b)
	v, n, overflow := number(digits, base)
	switch rest := digits[n:]; {
	case overflow:
		return 0, syscall.ERANGE
	case n == 0, len(rest) > 1, len(rest) == 1 && rest[0] != '\n':
		return 0, syscall.EINVAL
	}
	return v, nil
}

// ParseUlong reads an unsigned long as kstrtoul(buf, 0, &v) does: an optional
// plus sign and a number in C notation, and nothing else but one newline.
func ParseUlong(b []byte) (uint64, error) {
	b = text(b)
	if len(b) > 0 && b[0] == '+' {
		b = b[1:]
	}
	return kstrtoull(b)
}

// ParseInt reads an int as kstrtoint(buf, 0, &v) does: ParseUlong with a sign,
// ERANGE outside 32 bits.
func ParseInt(b []byte) (int32, error) {
	b = text(b)
	if len(b) == 0 || b[0] != '-' {
		v, err := ParseUlong(b)
		if err == nil && v > math.MaxInt32 {
			err = syscall.ERANGE
		}
		if err != nil {
			return 0, err
		}
		return int32(v), nil
	}
	v, err := kstrtoull(b[1:])
	if err == nil && v > -math.MinInt32 {
		err = syscall.ERANGE
	}
	if err != nil {
		return 0, err
	}
	return int32(-int64(v)), nil
}
