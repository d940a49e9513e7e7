package kstr

import (
	"errors"
	"syscall"
	"testing"
)

func TestScanInt(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want int32
		ok   bool
	}{
		{"8001", 8001, true},
		{"0x8001\n", 0x8001, true},
		{"0X8001", 0x8001, true},
		{"  \t\n0x8001", 0x8001, true},
		{"010", 8, true},
		{"08", 0, true},
		{"0x", 0, true},
		{"0xg", 0, true},
		{"0x8003 trailing", 0x8003, true},
		{"0x8004x", 0x8004, true},
		{"-1", -1, true},
		{"-0x10", -16, true},
		{"99999999999", 1215752191, true}, // modulo 2^32
		{"0x100000001", 1, true},
		{"18446744073709551617", 1, true}, // modulo 2^64
		{"0x8001\x00garbage", 0x8001, true},
		{"+1", 0, false},
		{"--1", 0, false},
		{"- 1", 0, false},
		{"-", 0, false},
		{"", 0, false},
		{" ", 0, false},
		{"\n", 0, false},
		{"\x00" + "1", 0, false},
		{"abc", 0, false},
		{"\xff\xfe", 0, false},
	} {
		if v, ok := ScanInt([]byte(tt.in)); v != tt.want || ok != tt.ok {
			t.Errorf("ScanInt(%q) = %d, %v, want %d, %v", tt.in, v, ok, tt.want, tt.ok)
		}
	}
}

func TestSimpleUlong(t *testing.T) {
	for in, want := range map[string]uint64{
		"1": 1, "0x10\n": 16, "010": 8, "1x": 1, "-1": 0, " 1": 0, "abc": 0, "": 0, "\n": 0, "+1": 0,
		"0xffffffff": 0xffffffff,
	} {
		if v := SimpleUlong([]byte(in)); v != want {
			t.Errorf("SimpleUlong(%q) = %d, want %d", in, v, want)
		}
	}
}

func TestParse(t *testing.T) {
	const einval, erange = syscall.EINVAL, syscall.ERANGE
	for _, tt := range []struct {
		in       string
		i        int32
		errInt   error
		u        uint64
		errUlong error
	}{
		{"1\n", 1, nil, 1, nil},
		{"+1", 1, nil, 1, nil},
		{"-1\n", -1, nil, 0, einval},
		{"0x1\n", 1, nil, 1, nil},
		{"010", 8, nil, 8, nil},
		{"08", 0, einval, 0, einval},
		{"0x", 0, einval, 0, einval},
		{"", 0, einval, 0, einval},
		{"\n", 0, einval, 0, einval},
		{" 1", 0, einval, 0, einval},
		{"1 ", 0, einval, 0, einval},
		{"1\n\n", 0, einval, 0, einval},
		{"abc", 0, einval, 0, einval},
		{"-+1", 0, einval, 0, einval},
		{"+-1", 0, einval, 0, einval},
		{"1\x00junk", 1, nil, 1, nil},
		{"2147483647", 2147483647, nil, 2147483647, nil},
		{"2147483648", 0, erange, 2147483648, nil},
		{"-2147483648", -2147483648, nil, 0, einval},
		{"-2147483649", 0, erange, 0, einval},
		{"18446744073709551615", 0, erange, 18446744073709551615, nil},
		{"18446744073709551616", 0, erange, 0, erange},
	} {
		if v, err := ParseInt([]byte(tt.in)); v != tt.i || !errors.Is(err, tt.errInt) {
			t.Errorf("ParseInt(%q) = %d, %v, want %d, %v", tt.in, v, err, tt.i, tt.errInt)
		}
		if v, err := ParseUlong([]byte(tt.in)); v != tt.u || !errors.Is(err, tt.errUlong) {
			t.Errorf("ParseUlong(%q) = %d, %v, want %d, %v", tt.in, v, err, tt.u, tt.errUlong)
		}
	}
}

// What one function takes in full, the more lenient ones read as the same
// number.
func FuzzNumbers(f *testing.F) {
	for _, s := range []string{"0x8001\n", "8001", "-1", "010", " 0x1", "99999999999999999999", "0x", "\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		strict, err := ParseInt(b)
		lax, ok := ScanInt(b)
		if err == nil && len(b) > 0 && b[0] != '+' && (!ok || lax != strict) {
			t.Errorf("%q: ParseInt %d, ScanInt %d, %v", b, strict, lax, ok)
		}
		if u, err := ParseUlong(b); err == nil && len(b) > 0 && b[0] != '+' && SimpleUlong(b) != u {
			t.Errorf("%q: ParseUlong %d, SimpleUlong %d", b, u, SimpleUlong(b))
		}
	})
}
