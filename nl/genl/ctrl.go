package genl

import (
	"io"
	"syscall"

	"ipoib/nl"
)

// Commands and attributes of the controller (uapi/linux/genetlink.h).
const (
	cmdNewFamily   = 1
	cmdDelFamily   = 2
	cmdGetFamily   = 3
	cmdNewMcastGrp = 7
	cmdDelMcastGrp = 8
	cmdGetPolicy   = 10

	attrFamilyID    = 1
	attrFamilyName  = 2
	attrVersion     = 3
	attrHdrSize     = 4
	attrMaxAttr     = 5
	attrOps         = 6
	attrMcastGroups = 7
	attrPolicy      = 8
	attrOpPolicy    = 9
	attrOp          = 10

	attrOpID    = 1
	attrOpFlags = 2

	attrGrpName = 1
	attrGrpID   = 2

	attrPolicyDo   = 1
	attrPolicyDump = 2
)

// ctrlFamilyPolicy and ctrlPolicyPolicy are ctrl_policy_family and
// ctrl_policy_policy.
var (
	ctrlFamilyPolicy = &nl.Policy{Attrs: []nl.AttrPolicy{
		attrFamilyID:   nl.U16(),
		attrFamilyName: nl.NulString(maxName),
	}}
	ctrlPolicyPolicy = &nl.Policy{Attrs: []nl.AttrPolicy{
		attrFamilyID:   nl.U16(),
		attrFamilyName: nl.NulString(maxName),
		attrOp:         nl.U32(),
	}}
)

// controller describes nlctrl.
func (r *Registry) controller() Family {
	return Family{
		Name:      "nlctrl",
		Version:   2,
		ResvStart: cmdGetPolicy + 1,
		Ops: []Op{
			{
				Cmd:      cmdGetFamily,
				Validate: DontValidateStrict | DontValidateDump,
				Policy:   ctrlFamilyPolicy,
				Do:       r.getFamily,
				Dump:     r.dumpFamilies,
			},
			{
				Cmd:    cmdGetPolicy,
				Policy: ctrlPolicyPolicy,
				Dump:   r.dumpPolicy,
			},
		},
		Groups: []Group{{Name: "notify", ID: ctrlID}},
	}
}

// getFamily is ctrl_getfamily: by id, and if a name is there by that.
func (r *Registry) getFamily(req *Request) error {
	var f *Registered
	byID, hasID := req.Attrs.Get(attrFamilyID)
	name, hasName := req.Attrs.Get(attrFamilyName)
	switch {
	case hasName:
		f = r.byName(name.String())
	case hasID:
		f = r.lookup(byID.Uint16())
	default:
		return syscall.EINVAL
	}
	if f == nil {
		return syscall.ENOENT
	}
	return req.Reply(cmdNewFamily, f.describe)
}

// dumpFamilies is ctrl_dumpfamily.
func (r *Registry) dumpFamilies(*Request) (*Dump, error) {
	return &Dump{
		Cmd: cmdNewFamily,
		Next: nl.Each(r.list(), func(e *nl.Encoder, f *Registered) error {
			return f.describe(e)
		}),
	}, nil
}

// describe is ctrl_fill_info.
func (f *Registered) describe(e *nl.Encoder) error {
	e.String(attrFamilyName, f.family.Name)
	e.U16(attrFamilyID, f.id)
	e.U32(attrVersion, uint32(f.family.Version))
	e.U32(attrHdrSize, uint32(f.family.HeaderSize))
	e.U32(attrMaxAttr, uint32(f.family.MaxAttr))
	if len(f.family.Ops) > 0 {
		e.NestNoFlag(attrOps, func() {
			for i := range f.family.Ops {
				o := &f.family.Ops[i]
				e.NestNoFlag(uint16(i+1), func() {
					e.U32(attrOpID, uint32(o.Cmd))
					e.U32(attrOpFlags, uint32(o.flags()))
				})
			}
		})
	}
	if len(f.groupIDs) > 0 {
		e.NestNoFlag(attrMcastGroups, func() {
			for i := range f.groupIDs {
				f.describeGroup(e, uint16(i+1), i)
			}
		})
	}
	return nil
}

func (f *Registered) describeGroup(e *nl.Encoder, t uint16, i int) {
	e.NestNoFlag(t, func() {
		e.U32(attrGrpID, f.groupIDs[i])
		e.String(attrGrpName, f.family.Groups[i].Name)
	})
}

// announce sends a controller event about f, or about its group when group is
// not negative, to all namespaces (genl_ctrl_event).
func (r *Registry) announce(cmd uint8, f *Registered, group int) {
	fill := f.describe
	if group >= 0 {
		fill = func(e *nl.Encoder) error {
			e.String(attrFamilyName, f.family.Name)
			e.U16(attrFamilyID, f.id)
			e.NestNoFlag(attrMcastGroups, func() { f.describeGroup(e, 1, group) })
			return nil
		}
	}
	// describe cannot fail, and neither can what it is wrapped in.
	_ = r.ctrl.Notify(nl.NetNS{}, 0, 0, cmd, fill)
}

// policyDump walks what a GETPOLICY dump sends: a message for each operation
// that has a policy, then one for each attribute of each policy.
type policyDump struct {
	fam *Registered
	ops []*Op
	set nl.PolicySet
	// policy and attr are the next attribute to describe.
	policy, attr int
}

// dumpPolicy is ctrl_dumppolicy_start.
func (r *Registry) dumpPolicy(req *Request) (*Dump, error) {
	var f *Registered
	byID, hasID := req.Attrs.Get(attrFamilyID)
	name, hasName := req.Attrs.Get(attrFamilyName)
	switch {
	case hasID:
		f = r.lookup(byID.Uint16())
	case hasName:
		f = r.byName(name.String())
	default:
		return nil, syscall.EINVAL
	}
	if f == nil {
		return nil, syscall.ENOENT
	}
	d := &policyDump{fam: f}
	if a, ok := req.Attrs.Get(attrOp); ok {
		var o *Op
		if cmd := a.Uint32(); cmd <= 0xff {
			o = f.family.op(uint8(cmd))
		}
		if o == nil {
			return nil, nl.BadAttr(syscall.ENOENT, a, "")
		}
		d.add(o)
	} else {
		for i := range f.family.Ops {
			d.add(&f.family.Ops[i])
		}
	}
	if d.set.Len() == 0 {
		return nil, syscall.ENODATA
	}
	return &Dump{Cmd: cmdGetPolicy, Next: d.next}, nil
}

func (d *policyDump) add(o *Op) {
	do, dump := o.doPolicy(), o.dumpPolicy()
	if do == nil && dump == nil {
		return
	}
	d.ops = append(d.ops, o)
	d.set.Add(do)
	d.set.Add(dump)
}

// next is one step of ctrl_dumppolicy.
func (d *policyDump) next(e *nl.Encoder) error {
	e.U16(attrFamilyID, d.fam.id)
	if len(d.ops) > 0 {
		o := d.ops[0]
		d.ops = d.ops[1:]
		e.Nest(attrOpPolicy, func() {
			e.Nest(uint16(o.Cmd), func() {
				if p := o.doPolicy(); p != nil {
					e.U32(attrPolicyDo, uint32(d.set.Index(p)))
				}
				if p := o.dumpPolicy(); p != nil {
					e.U32(attrPolicyDump, uint32(d.set.Index(p)))
				}
			})
		})
		return nil
	}
	for ; d.policy < d.set.Len(); d.policy, d.attr = d.policy+1, 0 {
		for attrs := d.set.At(d.policy).Attrs; d.attr < len(attrs); {
			a, t := &attrs[d.attr], uint16(d.attr)
			d.attr++
			described := false
			start := e.Len()
			e.Nest(attrPolicy, func() {
				e.Nest(uint16(d.policy), func() { described = a.Describe(e, t, &d.set) })
			})
			if described {
				return nil
			}
			e.Truncate(start)
		}
	}
	return io.EOF
}

var _ nl.Protocol = (*Registry)(nil)
