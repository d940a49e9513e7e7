package iproute

import (
	"strconv"
	"strings"

	"github.com/mdlayher/netlink"

	"ipoib/nl"
	"ipoib/nl/rtlink"
)

// cache remembers links by index and name (lib/ll_map.c).
type cache struct {
	byIndex map[uint32]*cached
	byName  map[string]*cached
}

type cached struct {
	index uint32
	flags uint32
	name  string
	// names are all names that lead here.
	names []string
}

// remember takes over what a message says of a link.
func (c *cache) remember(l *rtlink.Link, deleted bool) {
	c.forget(uint32(l.Index))
	if deleted || l.Name == "" {
		return
	}
	if c.byIndex == nil {
		c.byIndex, c.byName = make(map[uint32]*cached), make(map[string]*cached)
	}
	e := &cached{index: uint32(l.Index), flags: l.Flags, name: l.Name, names: append([]string{l.Name}, l.AltNames...)}
	c.byIndex[e.index] = e
	for _, n := range e.names {
		c.byName[n] = e
	}
}

func (c *cache) forget(index uint32) {
	e := c.byIndex[index]
	if e == nil {
		return
	}
	delete(c.byIndex, index)
	for _, n := range e.names {
		if c.byName[n] == e {
			delete(c.byName, n)
		}
	}
}

// decode reads a link message and remembers it.
func (s *session) decode(m *message) (*rtlink.Link, error) {
	l, err := rtlink.Decode(m.data)
	if err == nil {
		s.links.remember(l, m.Type == rtlink.DelLink)
	}
	return l, err
}

// lookup asks for a link by name or, with "", by index (ll_link_get). It
// returns the index, 0 for none. ip opens a socket for each question; here the
// main one does, unless events come in on it.
func (s *session) lookup(name string, index uint32) uint32 {
	h := s.rth
	if h == nil || h.events {
		var err error
		if h, err = s.dial(nl.ConnConfig{}); err != nil {
			_ = s.noSocket(err)
			return 0
		}
		defer func() { _ = h.sock.Close() }()
	}
	m, err := s.talk(h, request{rtlink.GetLink, netlink.Request, func(e *nl.Encoder) {
		rtlink.AppendHeader(e, 0, 0, int32(index), 0, 0)
		e.U32(rtlink.AttrExtMask, rtlink.FilterVF|rtlink.FilterSkipStats)
		if name != "" {
			e.String(nameAttr(name), name)
		}
	}}, true, false)
	if err != nil {
		return 0
	}
	l, err := s.decode(m)
	if err != nil {
		return 0
	}
	return uint32(l.Index)
}

// nameAttr is the attribute that a name is asked for with.
func nameAttr(name string) uint16 {
	if validName(name, rtlink.MaxName) {
		return rtlink.AttrIfname
	}
	return rtlink.AttrAltIfname
}

// ifindex returns the index of a link of the service, 0 for none
// (ll_name_to_index). "if7" is index 7.
func (s *session) ifindex(name string) uint32 {
	if e := s.links.byName[name]; e != nil {
		return e.index
	}
	if i := s.lookup(name, 0); i != 0 {
		return i
	}
	return indexOf(name)
}

// anyIfindex is ifindex that also finds links of other kinds: what a link
// refers to need not be the service's to be named.
func (s *session) anyIfindex(name string) uint32 {
	if e := s.links.byName[name]; e != nil {
		return e.index
	}
	if i := s.lookup(name, 0); i != 0 {
		return i
	}
	if i, _ := s.env.Host.Link(name); i != 0 {
		return i
	}
	return indexOf(name)
}

// master returns the index of what the word master or vrf names; ip asks about
// a VRF once more, for its kind (name_is_vrf).
func (s *session) master(word, name string) (uint32, error) {
	index := s.anyIfindex(name)
	switch {
	case word == "vrf" && (index == 0 || s.kind(name) != "vrf"):
		return 0, s.invalid("Not a valid VRF name\n", name)
	case index == 0:
		return 0, s.invalid("Device does not exist\n", name)
	}
	return index, nil
}

// kind asks for the kind of a link, whether the service has it or the kernel.
func (s *session) kind(name string) string {
	m, err := s.talk(s.rth, getRequest(s.o.family, 0, func(e *nl.Encoder) { e.String(rtlink.AttrIfname, name) }), true, false)
	if err != nil {
		_, kind := s.env.Host.Link(name)
		return kind
	}
	if l, err := rtlink.Decode(m.data); err == nil && l.Info != nil {
		return l.Info.Kind
	}
	return ""
}

// indexOf reads "if7", as sscanf does.
func indexOf(name string) uint32 {
	digits, ok := strings.CutPrefix(name, "if")
	if !ok {
		return 0
	}
	n := 0
	for n < len(digits) && digits[n] >= '0' && digits[n] <= '9' {
		n++
	}
	v, _ := strconv.ParseUint(digits[:n], 10, 32)
	return uint32(v)
}

// names resolves numbers for the printer.
type names struct{ s *session }

// Ifname implements linkfmt.Names (ll_index_to_name).
func (n names) Ifname(index uint32) string {
	s := n.s
	if index == 0 {
		return "*"
	}
	if e := s.links.byIndex[index]; e != nil {
		return e.name
	}
	if s.lookup("", index) == index {
		if e := s.links.byIndex[index]; e != nil {
			return e.name
		}
	}
	if name := s.env.Host.Ifname(index); name != "" {
		return name
	}
	return "if" + strconv.FormatUint(uint64(index), 10)
}

// Flags implements linkfmt.Names; a link that is not known has all.
func (n names) Flags(index uint32) uint32 {
	if e := n.s.links.byIndex[index]; e != nil {
		return e.flags
	}
	return ^uint32(0)
}

// Group implements linkfmt.Names.
func (n names) Group(g uint32) string { return n.s.groupNames()[g] }

// groupNames reads the names of link groups once.
func (s *session) groupNames() map[uint32]string {
	if s.groups == nil {
		s.groups = s.env.Host.Groups()
		if s.groups == nil {
			s.groups = map[uint32]string{}
		}
		if _, ok := s.groups[0]; !ok {
			s.groups[0] = "default"
		}
	}
	return s.groups
}

// group reads the name or number of a link group (rtnl_group_a2n).
func (s *session) group(word string) (uint32, bool) {
	for n, name := range s.groupNames() {
		if name == word {
			return n, true
		}
	}
	v, ok := getInteger(word)
	return uint32(v), ok && v >= 0
}
