package sm

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"ipoib/rdma"
)

// Warning is something in a partition file that was understood in a default
// way, or ignored, as OpenSM does.
type Warning struct {
	Line int
	Text string
}

// String prints "line N: text".
func (w Warning) String() string { return fmt.Sprintf("line %d: %s", w.Line, w.Text) }

// ParseError is an error in a partition file.
type ParseError struct {
	Line int
	Err  error
}

func (e *ParseError) Error() string { return fmt.Sprintf("sm: partitions, line %d: %v", e.Line, e.Err) }

func (e *ParseError) Unwrap() error { return e.Err }

var errNoDefinition = errors.New("no partition definition found, <name>[=<P_Key>][,flags] : expected")

// maxPartitionLine bounds a line of a partition file, in bytes.
const maxPartitionLine = 1 << 20

// ParsePartitions reads a partition file in the syntax of OpenSM
// (doc/partition-config.txt):
//
//	[Name][=P_Key][,indx0][,ipoib][,mgroup flags][,defmember=full|limited|both] :
//	        [GUID|keyword][=full|limited|both], ...
//	        mgid=<gid>[,mgroup flags]
//	        ... ;
//
// The mgroup flags are mtu, rate, sl, scope, Q_Key, TClass and FlowLabel; the
// keywords ALL, ALL_CAS, ALL_SWITCHES, ALL_ROUTERS, SELF and NONE. What
// follows # is a comment. A definition ends with ; and its header stands on
// one line. Definitions of one partition number add up, of two rules for a port
// the later one counts. Keywords may be cut short, as OpenSM allows. Values
// that OpenSM would skip with a message in its log are errors. Errors are of
// type *ParseError.
func ParsePartitions(r io.Reader) (*Partitions, error) {
	p := &partParser{conf: filePartitions()}
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxPartitionLine)
	for s.Scan() {
		p.line++
		if err := p.parseLine(s.Text()); err != nil {
			return nil, &ParseError{p.line, err}
		}
	}
	if err := s.Err(); err != nil {
		return nil, &ParseError{p.line + 1, err}
	}
	if !p.defined {
		// OpenSM takes a file without a definition for a broken one and
		// goes on without it.
		p.warn("no partition is defined, all ports are full members of the default partition")
		conf := openPartitions()
		conf.Warnings = p.conf.Warnings
		return conf, nil
	}
	return p.conf, nil
}

// partParser holds the state between lines.
type partParser struct {
	conf *Partitions
	line int
	// defined is set by the first definition.
	defined bool
	// cur is the definition that the parser is in, nil between two.
	cur *partDef
	// lastPKey is the last generated partition number.
	lastPKey rdma.PKey
}

// partDef is a definition up to its ;.
type partDef struct {
	part      *Partition
	flags     groupFlags
	ipoib     bool
	index0    bool
	defmember Membership
}

func (p *partParser) warn(format string, a ...any) {
	p.conf.Warnings = append(p.conf.Warnings, Warning{p.line, fmt.Sprintf(format, a...)})
}

func (p *partParser) parseLine(text string) error {
	text, _, _ = strings.Cut(text, "#")
	for {
		text = strings.TrimSpace(text)
		if text == "" {
			return nil
		}
		stmt, rest, ended := strings.Cut(text, ";")
		if err := p.parseStatement(stmt); err != nil {
			return err
		}
		if !ended {
			return nil
		}
		p.cur = nil
		text = rest
	}
}

// parseStatement takes the part of a definition that is on one line.
func (p *partParser) parseStatement(s string) error {
	if p.cur == nil {
		header, props, ok := strings.Cut(s, ":")
		if !ok {
			return errNoDefinition
		}
		if err := p.parseHeader(header); err != nil {
			return err
		}
		s = props
	}
	for s != "" {
		item, rest, _ := strings.Cut(s, ",")
		name, val, hasVal := token(item)
		if name == "mgid" {
			// The group's flags take the rest of the line.
			return p.parseGroup(val, rest)
		}
		if err := p.parseMember(name, val, hasVal); err != nil {
			return err
		}
		s = rest
	}
	return nil
}

// token splits "name = value".
func token(s string) (name, val string, hasVal bool) {
	name, val, hasVal = strings.Cut(s, "=")
	return strings.TrimSpace(name), strings.TrimSpace(val), hasVal
}

// abbreviates reports whether s is a keyword or the start of one. The empty
// string is not.
func abbreviates(s, keyword string) bool { return s != "" && strings.HasPrefix(keyword, s) }

func (p *partParser) parseHeader(s string) error {
	d := &partDef{flags: defaultFlags(), defmember: LimitedMember}
	first, rest, _ := strings.Cut(s, ",")
	name, id, hasID := token(first)
	if !hasID && name != "" && name[0] >= '0' && name[0] <= '9' {
		name, id, hasID = "", name, true
	}
	var pkey rdma.PKey
	if hasID {
		v, err := parseNumber(id, 16)
		if err != nil {
			return fmt.Errorf("P_Key %q: %w", id, err)
		}
		if pkey = rdma.PKey(v).Base(); pkey == 0 {
			return fmt.Errorf("P_Key %q: %w", id, errRange)
		}
	}
	for rest != "" {
		var item string
		item, rest, _ = strings.Cut(rest, ",")
		flag, val, hasVal := token(item)
		if err := p.parseFlag(d, flag, val, hasVal); err != nil {
			return err
		}
	}
	part, err := p.partition(name, pkey)
	if err != nil {
		return err
	}
	d.part = part
	if d.flags.slGiven {
		part.SL = d.flags.sl
	}
	if d.ipoib {
		f := d.flags
		if f.qkey == 0 {
			f.qkey = DefaultGroupQKey
		}
		p.addGroups(part, f.expand(broadcastMGID(part.PKey, 0)))
	}
	p.cur, p.defined = d, true
	return nil
}

// partition finds or makes the partition of a definition: by number, or by
// name with a number of its own.
func (p *partParser) partition(name string, pkey rdma.PKey) (*Partition, error) {
	if pkey == 0 {
		for _, q := range p.conf.List {
			if name != "" && q.Name == name {
				return q, nil
			}
		}
		for p.lastPKey++; p.conf.byPKey(p.lastPKey) != nil; p.lastPKey++ {
		}
		if p.lastPKey >= rdma.PKeyDefaultLimited {
			return nil, errors.New("no P_Key left to generate")
		}
		pkey = p.lastPKey
	}
	if q := p.conf.byPKey(pkey); q != nil {
		return q, nil
	}
	if name == "" {
		name = fmt.Sprintf("%04x", uint16(pkey))
	}
	q := &Partition{Name: name, PKey: pkey}
	p.conf.List = append(p.conf.List, q)
	return q, nil
}

// addGroups adds groups that the partition, or another one, does not have.
func (p *partParser) addGroups(part *Partition, groups []GroupConfig) {
	for _, g := range groups {
		switch old := p.group(g.MGID); {
		case old == nil:
			part.Groups = append(part.Groups, g)
		case *old != g:
			p.warn("group %v is defined already, the first definition counts", g.MGID)
		}
	}
}

func (p *partParser) group(mgid rdma.GID) *GroupConfig {
	for _, q := range p.conf.List {
		for i := range q.Groups {
			if q.Groups[i].MGID == mgid {
				return &q.Groups[i]
			}
		}
	}
	return nil
}

func (p *partParser) parseFlag(d *partDef, flag, val string, hasVal bool) error {
	switch flag {
	case "":
		p.warn("empty flag ignored")
		return nil
	case "indx0":
		d.index0 = true
		return nil
	}
	if ok, err := d.flags.parse(flag, val, hasVal); ok || err != nil {
		return err
	}
	switch {
	case abbreviates(flag, "ipoib"):
		d.ipoib = true
	case abbreviates(flag, "defmember"):
		m, ok := parseMembership(val)
		if !ok {
			return fmt.Errorf("defmember=%s: full, limited or both expected", val)
		}
		d.defmember = m
	default:
		p.warn("unknown partition flag %q ignored", flag)
	}
	return nil
}

func parseMembership(s string) (Membership, bool) {
	switch {
	case abbreviates(s, "full"):
		return FullMember, true
	case abbreviates(s, "both"):
		return BothMembers, true
	case abbreviates(s, "limited"):
		return LimitedMember, true
	}
	return LimitedMember, false
}

var portKeywords = [...]struct {
	word string
	sel  Selector
}{
	{"ALL", SelectAll}, {"ALL_CAS", SelectAllCAs}, {"ALL_SWITCHES", SelectAllSwitches},
	{"ALL_ROUTERS", SelectAllRouters}, {"SELF", SelectSelf},
}

func (p *partParser) parseMember(name, val string, hasVal bool) error {
	if name == "" || abbreviates(name, "NONE") {
		return nil
	}
	r := MemberRule{Membership: p.cur.defmember, Index0: p.cur.index0}
	if hasVal {
		m, ok := parseMembership(val)
		if !ok {
			p.warn("unknown membership %q of port %s, limited is assumed", val, name)
		}
		r.Membership = m
	}
	for _, k := range portKeywords {
		if abbreviates(name, k.word) {
			r.Selector = k.sel
			p.cur.part.Rules = append(p.cur.part.Rules, r)
			return nil
		}
	}
	v, err := parseNumber(name, 64)
	if err != nil || v == 0 {
		return fmt.Errorf("port %q: a GUID or ALL, ALL_CAS, ALL_SWITCHES, ALL_ROUTERS, SELF expected", name)
	}
	r.GUID = rdma.GUID(v)
	p.cur.part.Rules = append(p.cur.part.Rules, r)
	return nil
}

// parseGroup takes an mgid line: the group inherits the flags of the
// definition, except TClass.
func (p *partParser) parseGroup(val, flags string) error {
	a, err := netip.ParseAddr(val)
	if err != nil || !a.Is6() || a.Zone() != "" || a.As16()[0] != 0xff {
		return fmt.Errorf("mgid %q is not a multicast GID", val)
	}
	mgid := rdma.GID(a.As16())
	f := p.cur.flags
	f.tclass = 0
	for flags != "" {
		var item string
		item, flags, _ = strings.Cut(flags, ",")
		flag, v, hasVal := token(item)
		if ok, err := f.parse(flag, v, hasVal); err != nil {
			return err
		} else if !ok {
			p.warn("unknown group flag %q ignored", flag)
		}
	}
	if isIPoIB(mgid) {
		part := p.cur.part
		if k := mgidPKey(mgid); k != 0 && k != part.PKey.Full() && mgid != broadcastMGID(rdma.PKeyDefault, scopeLinkLocal) {
			return fmt.Errorf("mgid %v has P_Key %v, the partition is %v", mgid, k, part.PKey)
		}
		if f.mtu != p.cur.flags.mtu || f.rate != p.cur.flags.rate {
			return fmt.Errorf("mgid %v: MTU and rate of an IP group must be those of the broadcast group", mgid)
		}
		setMGIDPKey(&mgid, part.PKey.Full())
		if f.qkey == 0 {
			f.qkey = DefaultGroupQKey
		}
	}
	p.addGroups(p.cur.part, f.expand(mgid))
	return nil
}
