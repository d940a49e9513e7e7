package cli

import (
	"ipoib/nl"
	"ipoib/nl/ethnl"
	"ipoib/nl/genl"
)

// statsFlag returns the header flag for statistics if they were asked for and
// the service takes it for this command, which its policy tells.
func (s *session) statsFlag(cmd uint8, header uint16) uint32 {
	op := &s.ops[cmd]
	if !s.stats || op.flags&genl.CapHasPol == 0 {
		return 0
	}
	if !op.known {
		q := policyQuery{s: s, cmd: cmd, header: header}
		s.main.begin(ctrlID, ctrlGetPolicy, flagRequest|flagAck|flagDump)
		s.main.enc.Put(ctrlAttrFamilyID, u16bytes(s.family))
		s.main.enc.U32(ctrlAttrOp, uint32(cmd))
		if s.main.send() == nil {
			s.main.receive(q.read)
		}
		op.headerFlags, op.known = q.flags, true
	}
	return op.headerFlags & ethnl.FlagStats
}

func u16bytes(v uint16) []byte {
	e := nl.NewEncoder(nil)
	e.U16(1, v)
	return e.Bytes()[nl.AttrHeaderLen : nl.AttrHeaderLen+2]
}

// policyQuery finds the flags that the header of a command's request may
// have in a dump of its policy: the map of commands to policies comes first,
// then the policies, one attribute a message.
type policyQuery struct {
	s      *session
	cmd    uint8
	header uint16

	haveOp, haveHeader bool
	op, hdr            uint32 // numbers of the policies
	flags              uint32
}

func (q *policyQuery) read(m *message) int {
	t := m.genl()
	if !q.haveOp {
		if !t.has(ctrlAttrOpPolicy) {
			q.s.errorf("Error: op policy map not present\n")
			return cbError
		}
		const policyDo, policyDump = 1, 2
		which := policyDo
		if q.s.dumping {
			which = policyDump
		}
		for a := range t[ctrlAttrOpPolicy].Children() {
			if o := parse(a); a.Type == uint16(q.cmd) && o.has(which) {
				q.op, q.haveOp = o[which].Uint32(), true
			}
		}
		return cbOK
	}
	policy, ok := first(t[ctrlAttrPolicy])
	if !ok {
		return cbOK
	}
	attr, ok := first(policy)
	if !ok {
		return cbOK
	}
	d := parse(attr)
	if uint32(policy.Type) == q.op && attr.Type == q.header {
		if !d.has(nl.PolicyIdx) {
			q.s.errorf("Error: no policy index in what was expected to be ethtool header attribute\n")
			return cbError
		}
		q.hdr, q.haveHeader = d[nl.PolicyIdx].Uint32(), true
	}
	if q.haveHeader && uint32(policy.Type) == q.hdr && attr.Type == ethnl.HeaderFlags {
		if !d.has(nl.PolicyMask) {
			q.s.errorf("Error: validation mask not reported for ethtool header flags\n")
			return cbError
		}
		q.flags = uint32(d[nl.PolicyMask].Uint64())
	}
	return cbOK
}

// first returns the first attribute of a nest.
func first(a nl.Attr) (nl.Attr, bool) {
	for c := range a.Children() {
		return c, true
	}
	return nl.Attr{}, false
}
