package nl

// Attributes that describe a policy (uapi/linux/netlink.h: enum
// netlink_policy_type_attr).
const (
	PolicyType       = 1
	PolicyMinS       = 2
	PolicyMaxS       = 3
	PolicyMinU       = 4
	PolicyMaxU       = 5
	PolicyMinLen     = 6
	PolicyMaxLen     = 7
	PolicyIdx        = 8
	PolicyMaxType    = 9
	PolicyBitfield32 = 10
	PolicyMask       = 12
)

// PolicySet numbers policies and those nested in them, in the order in which
// the kernel's policy dump does (net/netlink/policy.c).
type PolicySet struct {
	list []*Policy
}

// Add appends p and what is nested in it, unless already there.
func (s *PolicySet) Add(p *Policy) {
	s.add(p)
	// The list grows while it is walked: breadth first.
	for i := 0; i < len(s.list); i++ {
		for j := range s.list[i].Attrs {
			if a := &s.list[i].Attrs[j]; a.isNest() {
				s.add(a.nested)
			}
		}
	}
}

func (s *PolicySet) add(p *Policy) {
	if p != nil && s.Index(p) < 0 {
		s.list = append(s.list, p)
	}
}

// Index returns the number of p, -1 if it was not added.
func (s *PolicySet) Index(p *Policy) int {
	for i, q := range s.list {
		if q == p {
			return i
		}
	}
	return -1
}

// Len returns the number of policies.
func (s *PolicySet) Len() int { return len(s.list) }

// At returns policy number i.
func (s *PolicySet) At(i int) *Policy { return s.list[i] }

// Describe appends a nest of type t that describes the policy
// (netlink_policy_dump_write_attr). set numbers nested policies and may be
// nil. It appends nothing and returns false for an attribute that has no
// policy or is rejected.
func (pt *AttrPolicy) Describe(e *Encoder, t uint16, set *PolicySet) bool {
	if pt.typ == TypeUnspec || pt.typ == typeReject {
		return false
	}
	e.Nest(t, func() {
		switch {
		case pt.isNest():
			if set != nil && pt.nested != nil && pt.nested.MaxType() > 0 {
				e.U32(PolicyIdx, uint32(set.Index(pt.nested)))
				e.U32(PolicyMaxType, uint32(pt.nested.MaxType()))
			}
		case pt.intLen() > 0:
			pt.describeInt(e)
		case pt.typ == TypeBitfield32:
			e.U32(PolicyBitfield32, uint32(pt.mask))
		case pt.typ == TypeString, pt.typ == TypeNulString, pt.typ == TypeBinary:
			pt.describeLen(e)
		}
		e.U32(PolicyType, uint32(pt.typ))
	})
	return true
}

func (pt *AttrPolicy) describeInt(e *Encoder) {
	switch {
	case pt.check == checkFunc:
	case pt.isSigned():
		e.S64(PolicyMinS, pt.smin)
		e.S64(PolicyMaxS, pt.smax)
	case pt.check == checkMask:
		e.U64(PolicyMask, pt.mask)
	default:
		e.U64(PolicyMinU, pt.umin)
		e.U64(PolicyMaxU, pt.umax)
	}
}

// describeLen leaves out the lower bound of MinLen, as the kernel does.
func (pt *AttrPolicy) describeLen(e *Encoder) {
	if pt.check == checkRange {
		if pt.umin != 0 {
			e.U32(PolicyMinLen, uint32(pt.umin))
		}
		if pt.umax < 0xffff {
			e.U32(PolicyMaxLen, uint32(pt.umax))
		}
		return
	}
	if pt.length != 0 {
		e.U32(PolicyMaxLen, uint32(pt.length))
	}
}
