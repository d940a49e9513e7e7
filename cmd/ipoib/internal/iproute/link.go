package iproute

import (
	"github.com/mdlayher/netlink"

	"ipoib/nl"
	"ipoib/nl/rtlink"
)

// Flags of requests (NLM_F_*).
const (
	flagReplace netlink.HeaderFlags = 0x100
	flagExcl    netlink.HeaderFlags = 0x200
	flagCreate  netlink.HeaderFlags = 0x400
	flagAppend  netlink.HeaderFlags = 0x800
)

// link is `ip link` (ip/iplink.c: do_iplink).
func (s *session) link(words []string) error {
	if len(words) == 0 {
		return s.show(nil)
	}
	word, rest := words[0], words[1:]
	if err := s.probe(); err != nil {
		return err
	}
	switch {
	case matches(word, "add"):
		return s.modify(rtlink.NewLink, flagCreate|flagExcl, rest)
	case matches(word, "set"), matches(word, "change"):
		return s.modify(rtlink.NewLink, 0, rest)
	case matches(word, "replace"):
		return s.modify(rtlink.NewLink, flagCreate|flagReplace, rest)
	case matches(word, "delete"):
		return s.modify(rtlink.DelLink, 0, rest)
	}
	switch {
	case matches(word, "show"), matches(word, "lst"), matches(word, "list"):
		return s.show(rest)
	case matches(word, "property"):
		return s.property(rest)
	case matches(word, "help"):
		return s.linkHelp(rest)
	}
	s.errorf("Command \"%s\" is unknown, try \"ip link help\".\n", word)
	return fatal(255)
}

// probe asks once whether the service knows RTM_NEWLINK, as ip does: with an
// empty request (iplink_have_newlink). It does, so that nobody waits for the
// answer; who reads the socket next passes over it, for its number is 0.
func (s *session) probe() error {
	if s.probed || s.rth == nil {
		return nil
	}
	s.probed = true
	r := request{rtlink.NewLink, netlink.Request | netlink.Acknowledge, func(e *nl.Encoder) {
		rtlink.AppendHeader(e, 0, 0, 0, 0, 0)
	}}
	if err := s.rth.sock.WriteDatagram(r.encode(0)); err != nil {
		s.errorf("request send failed: %s\n", strerror(err))
		return fatal(1)
	}
	return nil
}

func (s *session) linkHelp(words []string) error {
	if len(words) > 0 && words[0] == rtlink.KindIPoIB {
		s.out.Text(ipoibUsage)
		return nil
	}
	return s.linkUsage()
}

func (s *session) linkUsage() error {
	s.errorf("%s", linkUsage)
	return fatal(255)
}

// modify makes, changes or deletes a link (ip/iplink.c: iplink_modify).
func (s *session) modify(typ netlink.HeaderType, flags netlink.HeaderFlags, words []string) error {
	p := &linkRequest{s: s, family: s.o.family, create: flags&flagCreate != 0, add: flags&flagExcl != 0}
	a := &args{s: s, list: words}
	if err := p.parse(a); err != nil {
		return err
	}
	if err := p.kind(a); err != nil {
		return err
	}
	if !p.typed && p.create {
		s.errorf("Not enough information: \"type\" argument is required\n")
		return errFailed
	}
	r := request{typ, netlink.Request | flags, p.fill}
	var err error
	if s.o.echo {
		r.flags |= netlink.Acknowledge | netlink.Echo
		err = s.talkEcho(r)
	} else {
		_, err = s.talk(s.rth, r, false, true)
	}
	if err != nil {
		return errRefused
	}
	s.links.forget(p.index)
	return nil
}

// talkEcho prints what the service echoes (rtnl_echo_talk).
func (s *session) talkEcho(r request) error {
	m, err := s.talk(s.rth, r, true, true)
	if err != nil {
		return err
	}
	s.out.BeginList()
	s.out.BeginObject()
	if m.Type == rtlink.NewLink || m.Type == rtlink.DelLink {
		if l, err := rtlink.Decode(m.data); err == nil {
			s.out.Link(l, m.Type == rtlink.DelLink, s.echoFilter())
		}
	}
	s.out.EndObject()
	s.out.EndList()
	return nil
}

// property adds and removes alternative names (ip/iplink.c: iplink_prop).
func (s *session) property(words []string) error {
	if len(words) == 0 {
		return s.linkUsage()
	}
	r := request{typ: rtlink.DelLinkProp, flags: netlink.Request}
	switch {
	case matches(words[0], "add"):
		r.typ, r.flags = rtlink.NewLinkProp, netlink.Request|flagExcl|flagCreate|flagAppend
	case matches(words[0], "del"):
	case matches(words[0], "help"):
		return s.linkUsage()
	default:
		s.errorf("Operator required\n")
		return fatal(255)
	}
	var dev string
	var alt []string
	for a := (&args{s: s, list: words[1:]}); len(a.list) > 0; a.step() {
		word := a.word()
		switch {
		case matches(word, "altname"):
			name, err := a.next()
			if err != nil {
				return err
			}
			if !validName(name, anyLength) {
				return s.invalid("not a valid altname", name)
			}
			alt = append(alt, name)
			continue
		case matches(word, "help"):
			return s.linkUsage()
		case word == "dev":
			var err error
			if word, err = a.next(); err != nil {
				return err
			}
		}
		if dev != "" {
			return s.garbage("dev", word)
		}
		if !validName(word, anyLength) {
			return s.invalid("\"dev\" not a valid ifname", word)
		}
		dev = word
	}
	if dev == "" {
		s.errorf("Not enough of information: \"dev\" argument is required.\n")
		return fatal(255)
	}
	index := s.ifindex(dev)
	if index == 0 {
		return s.noDevice(dev)
	}
	r.fill = func(e *nl.Encoder) {
		rtlink.AppendHeader(e, s.o.family, 0, int32(index), 0, 0)
		e.Nest(rtlink.AttrPropList, func() {
			for _, n := range alt {
				e.String(rtlink.AttrAltIfname, n)
			}
		})
	}
	if _, err := s.talk(s.rth, r, false, true); err != nil {
		return errRefused
	}
	return nil
}
