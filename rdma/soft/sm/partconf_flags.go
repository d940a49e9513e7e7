package sm

import (
	"errors"
	"fmt"
	"strconv"

	"ipoib/rdma"
)

// parse takes one mgroup flag and reports whether it is one.
func (f *groupFlags) parse(flag, val string, hasVal bool) (bool, error) {
	for _, k := range groupFlagTable {
		if !abbreviates(flag, k.word) {
			continue
		}
		if !hasVal {
			return true, fmt.Errorf("flag %s needs a value", k.word)
		}
		v, err := parseNumber(val, 32)
		if err == nil {
			err = k.set(f, uint32(v))
		}
		if err != nil {
			return true, fmt.Errorf("%s=%s: %w", k.word, val, err)
		}
		return true, nil
	}
	return false, nil
}

var errRange = errors.New("value out of range")

// groupFlagTable has the flags in the order that abbreviations are tried.
var groupFlagTable = [...]struct {
	word string
	set  func(f *groupFlags, v uint32) error
}{
	{"mtu", func(f *groupFlags, v uint32) error {
		if f.mtu = rdma.MTU(v); v > 0xff || !f.mtu.IsValid() {
			return errRange
		}
		return nil
	}},
	{"rate", func(f *groupFlags, v uint32) error {
		if f.rate = rdma.Rate(v); v > 0xff || !f.rate.IsValid() {
			return errRange
		}
		return nil
	}},
	{"scope", func(f *groupFlags, v uint32) error {
		if v < 1 || v > 15 {
			return errRange
		}
		f.scopes |= 1 << v
		return nil
	}},
	{"Q_Key", func(f *groupFlags, v uint32) error {
		f.qkey = rdma.QKey(v)
		return nil
	}},
	{"TClass", func(f *groupFlags, v uint32) error {
		if f.tclass = uint8(v); v > 0xff {
			return errRange
		}
		return nil
	}},
	{"sl", func(f *groupFlags, v uint32) error {
		if f.sl, f.slGiven = uint8(v), true; v > 15 {
			return errRange
		}
		return nil
	}},
	{"FlowLabel", func(f *groupFlags, v uint32) error {
		if f.flowLabel = v; v > 0xfffff {
			return errRange
		}
		return nil
	}},
}

// parseNumber reads a number as strtoul does: 0x is hexadecimal, a leading 0
// octal, anything else decimal. A bare hexadecimal digit a to f, as in
// "scope=e", is taken too: it cannot mean anything else.
func parseNumber(s string, bits int) (uint64, error) {
	base := 10
	switch {
	case len(s) > 2 && (s[:2] == "0x" || s[:2] == "0X"):
		s, base = s[2:], 16
	case len(s) > 1 && s[0] == '0':
		s, base = s[1:], 8
	case len(s) == 1 && (s[0]|0x20) >= 'a' && (s[0]|0x20) <= 'f':
		base = 16
	}
	v, err := strconv.ParseUint(s, base, bits)
	if err != nil {
		return 0, errors.Unwrap(err)
	}
	return v, nil
}
