package nl

import "math"

// AttrType is the type of an attribute as policies declare it, numbered as
// the kernel reports it (uapi/linux/netlink.h: enum netlink_attribute_type).
type AttrType uint32

// The types. TypeUnspec accepts any payload in the liberal modes and is
// refused by the strict one.
const (
	TypeUnspec AttrType = iota
	TypeFlag
	TypeU8
	TypeU16
	TypeU32
	TypeU64
	TypeS8
	TypeS16
	TypeS32
	TypeS64
	TypeBinary
	TypeString
	TypeNulString
	TypeNested
	TypeNestedArray
	TypeBitfield32
	// typeReject is NLA_REJECT, which the kernel never reports.
	typeReject
)

// checkKind is the kernel's enum nla_policy_validation.
type checkKind uint8

const (
	checkNone checkKind = iota
	checkRange
	checkMin
	checkMax
	checkMask
	checkFunc
)

// AttrPolicy says what one attribute may look like (struct nla_policy). Make
// it with [U8] and its siblings; the zero value is NLA_UNSPEC.
type AttrPolicy struct {
	typ   AttrType
	check checkKind
	// length is the largest payload of strings and binaries, 0 for any, and
	// the smallest of an unspecified attribute.
	length     int
	umin, umax uint64
	smin, smax int64
	mask       uint64
	nested     *Policy
	reject     string
	fn         func(Attr) error
}

// Policy is the policy of a set of attributes, indexed by attribute type;
// entry 0 is unused. A *Policy without entries refuses every attribute in the
// strict modes.
type Policy struct {
	Attrs []AttrPolicy
	// StrictStart is the first attribute type that is validated strictly even
	// in the liberal modes, 0 for none (nla_policy.strict_start_type).
	StrictStart uint16
}

// MaxType returns the largest attribute type that the policy knows.
func (p *Policy) MaxType() int { return max(len(p.Attrs)-1, 0) }

// U8 is NLA_U8. The integers, U8 to U64 and S8 to S64, have that width and are
// in host byte order.
func U8() AttrPolicy { return AttrPolicy{typ: TypeU8, umax: math.MaxUint8} }

// U16 is NLA_U16; see [U8].
func U16() AttrPolicy { return AttrPolicy{typ: TypeU16, umax: math.MaxUint16} }

// U32 is NLA_U32; see [U8].
func U32() AttrPolicy { return AttrPolicy{typ: TypeU32, umax: math.MaxUint32} }

// U64 is NLA_U64; see [U8].
func U64() AttrPolicy { return AttrPolicy{typ: TypeU64, umax: math.MaxUint64} }

// S8 is NLA_S8; see [U8].
func S8() AttrPolicy { return AttrPolicy{typ: TypeS8, smin: math.MinInt8, smax: math.MaxInt8} }

// S16 is NLA_S16; see [U8].
func S16() AttrPolicy { return AttrPolicy{typ: TypeS16, smin: math.MinInt16, smax: math.MaxInt16} }

// S32 is NLA_S32; see [U8].
func S32() AttrPolicy { return AttrPolicy{typ: TypeS32, smin: math.MinInt32, smax: math.MaxInt32} }

// S64 is NLA_S64; see [U8].
func S64() AttrPolicy { return AttrPolicy{typ: TypeS64, smin: math.MinInt64, smax: math.MaxInt64} }

// Flag is an attribute without payload (NLA_FLAG).
func Flag() AttrPolicy { return AttrPolicy{typ: TypeFlag} }

// String is a string of 1 to n bytes, not counting a NUL at its end, which
// may be missing (NLA_STRING); n 0 is any length.
func String(n int) AttrPolicy { return AttrPolicy{typ: TypeString, length: n} }

// NulString is a string of at most n bytes that must end with a NUL
// (NLA_NUL_STRING); n 0 is any length.
func NulString(n int) AttrPolicy { return AttrPolicy{typ: TypeNulString, length: n} }

// Binary is a payload of at most n bytes, 0 for any (NLA_BINARY).
func Binary(n int) AttrPolicy { return AttrPolicy{typ: TypeBinary, length: n, umax: math.MaxUint16} }

// MinLen is a payload of at least n bytes (NLA_POLICY_MIN_LEN).
func MinLen(n int) AttrPolicy {
	return AttrPolicy{typ: TypeBinary, check: checkMin, umin: uint64(n), umax: math.MaxUint16}
}

// ExactLen is a payload of n bytes (NLA_POLICY_EXACT_LEN).
func ExactLen(n int) AttrPolicy {
	return AttrPolicy{typ: TypeBinary, check: checkRange, umin: uint64(n), umax: uint64(n)}
}

// Unspec is any payload of at least n bytes (NLA_UNSPEC with a length). The
// strict mode refuses it with "Unsupported attribute".
func Unspec(n int) AttrPolicy { return AttrPolicy{length: n} }

// Nest is a nest of attributes (NLA_NESTED); p nil leaves its content alone.
func Nest(p *Policy) AttrPolicy { return AttrPolicy{typ: TypeNested, nested: p} }

// NestArray is a nest of nests, whose types are only an index
// (NLA_NESTED_ARRAY); p describes each inner nest.
func NestArray(p *Policy) AttrPolicy { return AttrPolicy{typ: TypeNestedArray, nested: p} }

// Bitfield32 is a value with its selector, limited to the bits of mask
// (NLA_BITFIELD32).
func Bitfield32(mask uint32) AttrPolicy {
	return AttrPolicy{typ: TypeBitfield32, mask: uint64(mask)}
}

// Reject refuses the attribute with EINVAL (NLA_REJECT). The text replaces
// "Attribute failed policy validation" unless it is empty.
func Reject(text string) AttrPolicy { return AttrPolicy{typ: typeReject, reject: text} }

// Range limits an unsigned integer, or the length of a binary, to lo..hi
// (NLA_POLICY_RANGE): ERANGE outside.
func (pt AttrPolicy) Range(lo, hi uint64) AttrPolicy {
	pt.check, pt.umin, pt.umax = checkRange, lo, hi
	return pt
}

// RangeSigned limits a signed integer to lo..hi.
func (pt AttrPolicy) RangeSigned(lo, hi int64) AttrPolicy {
	pt.check, pt.smin, pt.smax = checkRange, lo, hi
	return pt
}

// Min limits an unsigned integer, or the length of a binary, from below
// (NLA_POLICY_MIN).
func (pt AttrPolicy) Min(lo uint64) AttrPolicy {
	pt.check, pt.umin = checkMin, lo
	return pt
}

// Max limits an unsigned integer, or the length of a binary, from above
// (NLA_POLICY_MAX).
func (pt AttrPolicy) Max(hi uint64) AttrPolicy {
	pt.check, pt.umax = checkMax, hi
	return pt
}

// Mask limits an unsigned integer to the bits of m (NLA_POLICY_MASK): EINVAL
// "reserved bit set" otherwise.
func (pt AttrPolicy) Mask(m uint64) AttrPolicy {
	pt.check, pt.mask = checkMask, m
	return pt
}

// Func has fn decide after the type's own check (NLA_POLICY_VALIDATE_FN).
// fn returns an error as a handler does.
func (pt AttrPolicy) Func(fn func(Attr) error) AttrPolicy {
	pt.check, pt.fn = checkFunc, fn
	return pt
}

func (pt *AttrPolicy) isSigned() bool { return pt.typ >= TypeS8 && pt.typ <= TypeS64 }

func (pt *AttrPolicy) isNest() bool { return pt.typ == TypeNested || pt.typ == TypeNestedArray }

// intLen returns the size of an integer type in bytes, 0 for other types.
func (pt *AttrPolicy) intLen() int {
	switch pt.typ {
	case TypeU8, TypeS8:
		return 1
	case TypeU16, TypeS16:
		return 2
	case TypeU32, TypeS32:
		return 4
	case TypeU64, TypeS64:
		return 8
	}
	return 0
}
