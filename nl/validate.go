package nl

import (
	"bytes"
	"encoding/binary"
	"syscall"
)

// Validation is how strictly attributes are read (include/net/netlink.h: enum
// netlink_validation).
type Validation uint8

// The single checks.
const (
	// ValidateTrailing refuses bytes behind the last attribute.
	ValidateTrailing Validation = 1 << iota
	// ValidateMaxType refuses types above the policy's.
	ValidateMaxType
	// ValidateUnspec refuses attributes that the policy does not describe.
	ValidateUnspec
	// ValidateStrictAttrs refuses integers of the wrong length.
	ValidateStrictAttrs
	// ValidateNested wants NLA_F_NESTED on nests and nowhere else.
	ValidateNested
)

// The modes in use.
const (
	// Liberal is NL_VALIDATE_LIBERAL: nlmsg_parse_deprecated, most of
	// rtnetlink, and generic netlink operations that ask for it.
	Liberal Validation = 0
	// DeprecatedStrict is NL_VALIDATE_DEPRECATED_STRICT:
	// nlmsg_parse_deprecated_strict, rtnetlink GET with strict checking.
	DeprecatedStrict = ValidateTrailing | ValidateMaxType
	// Strict is NL_VALIDATE_STRICT: generic netlink.
	Strict = DeprecatedStrict | ValidateUnspec | ValidateStrictAttrs | ValidateNested
)

// Extended-ack texts of lib/nlattr.c.
const (
	msgFailed      = "Attribute failed policy validation"
	msgUnknown     = "Unknown attribute type"
	msgUnsupported = "Unsupported attribute"
	msgRange       = "integer out of range"
	msgBinaryRange = "binary attribute size out of range"
	msgLength      = "invalid attribute length"
	msgNoNested    = "NLA_F_NESTED is missing"
	msgNested      = "NLA_F_NESTED not expected"
	msgReserved    = "reserved bit set"
	msgArrayShort  = "Array element too short"
	msgDepth       = "allowed policy recursion depth exceeded"
	msgLeftover    = "bytes leftover after parsing attributes"
	msgHeader      = "Invalid header length"
)

// maxDepth is MAX_POLICY_RECURSION_DEPTH: policies may refer to themselves.
const maxDepth = 10

// Parse reads the attributes in b, which starts at offset off of the request,
// and checks them against p as lib/nlattr.c does. Its errors are *Error with
// the kernel's errno, text, offset and policy. p nil checks nothing and knows
// no type.
func Parse(b []byte, off uint32, p *Policy, v Validation) (Attrs, error) {
	if p == nil {
		p = &Policy{}
	}
	s := Attrs{tb: make([]slot, p.MaxType()+1)}
	if err := walk(b, off, p, v, &s, 0); err != nil {
		return Attrs{}, err
	}
	return s, nil
}

// ParseNest is Parse for the content of a nest (nla_parse_nested). In the
// modes with ValidateNested the nest must have its flag.
func ParseNest(a Attr, p *Policy, v Validation) (Attrs, error) {
	if v&ValidateNested != 0 && !a.Nested {
		return Attrs{}, BadAttr(syscall.EINVAL, a, msgNoNested)
	}
	return Parse(a.Data, a.Offset+AttrHeaderLen, p, v)
}

// walk is __nla_validate_parse; s may be nil to validate only.
func walk(b []byte, off uint32, p *Policy, v Validation, s *Attrs, depth int) error {
	if depth >= maxDepth {
		return Errorf(syscall.EINVAL, msgDepth)
	}
	var err error
	left := scanAttrs(b, off, func(a Attr) bool {
		if a.Type == 0 || int(a.Type) > p.MaxType() {
			if v&ValidateMaxType != 0 {
				err = BadAttr(syscall.EINVAL, a, msgUnknown)
			}
			return err == nil
		}
		if err = p.validate(a, v, depth); err != nil {
			return false
		}
		if s != nil {
			if !s.tb[a.Type].ok {
				s.got++
			}
			s.tb[a.Type] = slot{a, true}
		}
		return true
	})
	if err != nil {
		return err
	}
	if left > 0 && v&ValidateTrailing != 0 {
		return Errorf(syscall.EINVAL, msgLeftover)
	}
	if s != nil {
		s.leftover = left
	}
	return nil
}

// policyError blames a with the policy it broke (NL_SET_ERR_MSG_ATTR_POL).
func policyError(code syscall.Errno, a Attr, pt *AttrPolicy, msg string) error {
	return &Error{Code: code, Msg: msg, Offset: a.Offset, Policy: pt}
}

// validate is validate_nla; a.Type is within the policy.
func (p *Policy) validate(a Attr, v Validation, depth int) error {
	if p.StrictStart != 0 && a.Type >= p.StrictStart {
		v |= Strict
	}
	pt := &p.Attrs[a.Type]
	if n := pt.intLen(); n != 0 && len(a.Data) != n && v&ValidateStrictAttrs != 0 {
		return policyError(syscall.EINVAL, a, pt, msgLength)
	}
	if v&ValidateNested != 0 {
		switch {
		case pt.isNest() && !a.Nested:
			return policyError(syscall.EINVAL, a, pt, msgNoNested)
		case !pt.isNest() && pt.typ != TypeUnspec && a.Nested:
			return policyError(syscall.EINVAL, a, pt, msgNested)
		}
	}
	if err := pt.validateType(a, v, depth); err != nil {
		return err
	}
	return pt.validateValue(a)
}

// validateType checks what the type says.
func (pt *AttrPolicy) validateType(a Attr, v Validation, depth int) error {
	n := len(a.Data)
	switch pt.typ {
	case typeReject:
		if pt.reject != "" {
			return BadAttr(syscall.EINVAL, a, pt.reject)
		}
		return policyError(syscall.EINVAL, a, pt, msgFailed)
	case TypeUnspec:
		if v&ValidateUnspec != 0 {
			return BadAttr(syscall.EINVAL, a, msgUnsupported)
		}
		if n < pt.length {
			return policyError(syscall.ERANGE, a, pt, msgFailed)
		}
	case TypeFlag:
		if n > 0 {
			return policyError(syscall.ERANGE, a, pt, msgFailed)
		}
	case TypeBitfield32:
		return pt.validateBitfield(a)
	case TypeString, TypeNulString:
		return pt.validateString(a)
	case TypeBinary:
		if pt.length != 0 && n > pt.length {
			return policyError(syscall.ERANGE, a, pt, msgFailed)
		}
	case TypeNested, TypeNestedArray:
		return pt.validateNest(a, v, depth)
	default:
		if n < pt.intLen() {
			return policyError(syscall.ERANGE, a, pt, msgFailed)
		}
	}
	return nil
}

func (pt *AttrPolicy) validateBitfield(a Attr) error {
	if len(a.Data) != 8 {
		return policyError(syscall.ERANGE, a, pt, msgFailed)
	}
	value := uint64(binary.NativeEndian.Uint32(a.Data))
	selector := uint64(binary.NativeEndian.Uint32(a.Data[4:]))
	if pt.mask == 0 || selector&^pt.mask != 0 || value&^pt.mask != 0 || value&^selector != 0 {
		return policyError(syscall.EINVAL, a, pt, msgFailed)
	}
	return nil
}

func (pt *AttrPolicy) validateString(a Attr) error {
	n := len(a.Data)
	if pt.typ == TypeNulString {
		window := a.Data
		if pt.length != 0 {
			window = window[:min(n, pt.length+1)]
		}
		if bytes.IndexByte(window, 0) < 0 {
			return policyError(syscall.EINVAL, a, pt, msgFailed)
		}
	}
	if n < 1 {
		return policyError(syscall.ERANGE, a, pt, msgFailed)
	}
	if pt.length == 0 {
		return nil
	}
	if a.Data[n-1] == 0 {
		n--
	}
	if n > pt.length {
		return policyError(syscall.ERANGE, a, pt, msgFailed)
	}
	return nil
}

func (pt *AttrPolicy) validateNest(a Attr, v Validation, depth int) error {
	n := len(a.Data)
	if n == 0 {
		return nil
	}
	if n < AttrHeaderLen {
		return policyError(syscall.ERANGE, a, pt, msgFailed)
	}
	if pt.nested == nil {
		return nil
	}
	if pt.typ == TypeNested {
		return walk(a.Data, a.Offset+AttrHeaderLen, pt.nested, v, nil, depth+1)
	}
	var err error
	scanAttrs(a.Data, a.Offset+AttrHeaderLen, func(e Attr) bool {
		switch n := len(e.Data); {
		case n == 0:
		case n < AttrHeaderLen:
			// The kernel hands over the inner policy's entry 0, which has no
			// description.
			err = BadAttr(syscall.ERANGE, e, msgArrayShort)
		default:
			err = walk(e.Data, e.Offset+AttrHeaderLen, pt.nested, v, nil, depth+1)
		}
		return err == nil
	})
	return err
}

// validateValue checks range, mask or function.
func (pt *AttrPolicy) validateValue(a Attr) error {
	switch pt.check {
	case checkRange, checkMin, checkMax:
		return pt.validateRange(a)
	case checkMask:
		if pt.unsigned(a)&^pt.mask != 0 {
			return BadAttr(syscall.EINVAL, a, msgReserved)
		}
	case checkFunc:
		if pt.fn != nil {
			return pt.fn(a)
		}
	}
	return nil
}

func (pt *AttrPolicy) validateRange(a Attr) error {
	switch {
	case pt.typ == TypeBinary:
		if n := uint64(len(a.Data)); n < pt.umin || n > pt.umax {
			return policyError(syscall.ERANGE, a, pt, msgBinaryRange)
		}
	case pt.isSigned():
		if x := pt.signed(a); x < pt.smin || x > pt.smax {
			return policyError(syscall.ERANGE, a, pt, msgRange)
		}
	default:
		if x := pt.unsigned(a); x < pt.umin || x > pt.umax {
			return policyError(syscall.ERANGE, a, pt, msgRange)
		}
	}
	return nil
}

// unsigned and signed read an integer of the policy's type. A longer payload
// is allowed in the liberal modes; its first bytes count.
func (pt *AttrPolicy) unsigned(a Attr) uint64 {
	switch pt.intLen() {
	case 1:
		return uint64(a.Uint8())
	case 2:
		return uint64(a.Uint16())
	case 4:
		return uint64(a.Uint32())
	}
	return a.Uint64()
}

func (pt *AttrPolicy) signed(a Attr) int64 {
	switch pt.intLen() {
	case 1:
		return int64(int8(a.Uint8()))
	case 2:
		return int64(int16(a.Uint16()))
	case 4:
		return int64(a.Int32())
	}
	return int64(a.Uint64())
}
