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
func (a *AttrPolicy) Describe(e *Encoder, t uint16, set *PolicySet) bool {
	if a.typ == TypeUnspec || a.typ == typeReject {
		return false
	}
	e.Nest(t, func() {
		switch {
		case a.isNest():
			if set != nil && a.nested != nil && a.nested.MaxType() > 0 {
				e.U32(PolicyIdx, uint32(set.Index(a.nested)))
				e.U32(PolicyMaxType, uint32(a.nested.MaxType()))
			}
		case a.intLen() > 0:
			a.describeInt(e)
		case a.typ == TypeBitfield32:
			e.U32(PolicyBitfield32, uint32(a.mask))
		case a.typ == TypeString, a.typ == TypeNulString, a.typ == TypeBinary:
			a.describeLen(e)
		}
		e.U32(PolicyType, uint32(a.typ))
	})
	return true
}

func (a *AttrPolicy) describeInt(e *Encoder) {
	switch {
	case a.check == checkFunc:
	case a.isSigned():
		e.S64(PolicyMinS, a.smin)
		e.S64(PolicyMaxS, a.smax)
	case a.check == checkMask:
		e.U64(PolicyMask, a.mask)
	default:
		e.U64(PolicyMinU, a.umin)
		e.U64(PolicyMaxU, a.umax)
	}
}

// describeLen leaves out the lower bound of MinLen, as the kernel does.
func (a *AttrPolicy) describeLen(e *Encoder) {
	if a.check == checkRange {
		if a.umin != 0 {
			e.U32(PolicyMinLen, uint32(a.umin))
		}
		if a.umax < 0xffff {
			e.U32(PolicyMaxLen, uint32(a.umax))
		}
		return
	}
	if a.length != 0 {
		e.U32(PolicyMaxLen, uint32(a.length))
	}
}
