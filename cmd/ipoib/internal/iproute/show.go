package iproute

import (
	"strings"

	"github.com/mdlayher/netlink"

	"ipoib/cmd/ipoib/internal/linkfmt"
	"ipoib/nl"
	"ipoib/nl/rtlink"
)

// getRequest asks for a link by index, with further attributes.
func getRequest(family uint8, index uint32, attrs func(*nl.Encoder)) request {
	return request{rtlink.GetLink, netlink.Request, func(e *nl.Encoder) {
		rtlink.AppendHeader(e, family, 0, int32(index), 0, 0)
		attrs(e)
	}}
}

// showArgs are the words of `link show`.
type showArgs struct {
	filter linkfmt.Filter
	dev    string
	// one is set when a device was named, if only by an empty word.
	one bool
}

// addressFlags are words of `ip address` that `ip link show` takes as well,
// without effect on links (ip/ipaddress.c: get_filter).
var addressFlags = map[string]bool{
	"secondary": true, "temporary": true, "nodad": true, "optimistic": true, "dadfailed": true, "home": true,
	"deprecated": true, "tentative": true, "permanent": true, "mngtmpaddr": true, "noprefixroute": true,
	"autojoin": true, "stable-privacy": true, "dynamic": true, "primary": true,
}

// parseShow reads the words of `link show`.
func (s *session) parseShow(words []string) (out showArgs, err error) {
	out.filter.Link = true
	for a := (&args{s: s, list: words}); len(a.list) > 0; a.step() {
		word := a.word()
		switch word {
		case "up":
			out.filter.Up = true
			continue
		case "nomaster":
			out.filter.Master = -1
			continue
		case "to", "scope", "label", "group", "master", "vrf", "type":
			value, err := a.next()
			if err != nil {
				return out, err
			}
			if err := s.showFilter(&out.filter, word, value); err != nil {
				return out, err
			}
			continue
		}
		if addressFlags[strings.TrimPrefix(word, "-")] {
			continue
		}
		if word == "dev" {
			if word, err = a.next(); err != nil {
				return out, err
			}
		} else if matches(word, "help") {
			return out, s.linkUsage()
		}
		if out.one {
			return out, s.garbage("dev", word)
		}
		out.dev, out.one = word, true
	}
	return out, nil
}

func (s *session) showFilter(f *linkfmt.Filter, word, value string) error {
	switch word {
	case "to":
		s.errorf("Error: \"%s\" may be inet prefix, but it is not allowed in this context.\n", value)
		return fatal(1)
	case "group":
		g, ok := s.group(value)
		if !ok {
			return s.invalid("Invalid \"group\" value\n", value)
		}
		f.Group = &g
	case "master", "vrf":
		index, err := s.master(word, value)
		if err != nil {
			return err
		}
		f.Master = int32(index)
	case "type":
		if kind, ok := strings.CutSuffix(value, "_slave"); ok {
			f.SlaveKind = kind
		} else {
			f.Kind = value
		}
	}
	return nil
}

// show is `link show` (ip/ipaddress.c: ipaddr_list_link).
func (s *session) show(words []string) error {
	s.o.family = afPacket
	sh, err := s.parseShow(words)
	if err != nil {
		return err
	}
	if sh.one {
		sh.filter.Ifindex = int32(s.ifindex(sh.dev))
		if sh.filter.Ifindex <= 0 {
			s.errorf("Device \"%s\" does not exist.\n", sh.dev)
			return errFailed
		}
	}
	s.out.BeginList()
	defer s.out.EndList()
	if sh.one && sh.filter.Group == nil {
		return s.showOne(sh)
	}
	list, err := s.fetch(sh.filter)
	if err != nil {
		return nil // printed; ip exits with 0
	}
	for _, l := range list {
		s.out.BeginObject()
		s.out.Link(l, false, sh.filter)
		s.out.EndObject()
	}
	return nil
}

// showOne asks for a link by the name that was given (iplink_get).
func (s *session) showOne(sh showArgs) error {
	m, err := s.talk(s.rth, getRequest(s.o.family, 0, func(e *nl.Encoder) {
		e.String(nameAttr(sh.dev), sh.dev)
		e.U32(rtlink.AttrExtMask, rtlink.FilterVF)
	}), true, true)
	if err != nil {
		s.errorf("Cannot send link get request: %s\n", strerror(err))
		return fatal(1)
	}
	s.out.BeginObject()
	if l, err := rtlink.Decode(m.data); err == nil {
		s.out.Link(l, false, sh.filter)
	}
	s.out.EndObject()
	return nil
}

// fetch asks for the links that a filter may select, all of them before the
// first is printed: names of others may be needed.
func (s *session) fetch(f linkfmt.Filter) (list []*rtlink.Link, err error) {
	keep := func(m *message) {
		if l, err := s.decode(m); err == nil {
			list = append(list, l)
		}
	}
	if f.Ifindex != 0 {
		mask := rtlink.FilterVF
		if s.o.Stats == 0 {
			mask |= rtlink.FilterSkipStats
		}
		m, err := s.talk(s.rth, getRequest(s.o.family, uint32(f.Ifindex), func(e *nl.Encoder) {
			e.U32(rtlink.AttrExtMask, mask)
		}), true, true)
		if err != nil {
			s.errorf("Cannot send link request: %s\n", strerror(err))
			return nil, err
		}
		keep(m)
		return list, nil
	}
	r := getRequest(s.o.family, 0, func(e *nl.Encoder) {
		e.U32(rtlink.AttrExtMask, rtlink.FilterVF)
		if f.Master != 0 {
			e.S32(rtlink.AttrMaster, f.Master)
		}
		if f.Kind != "" {
			e.NestNoFlag(rtlink.AttrLinkinfo, func() { e.Put(rtlink.InfoKind, []byte(f.Kind)) })
		}
	})
	r.flags |= netlink.Dump
	if err := s.dump(s.rth, r, keep); err != nil {
		s.errorf("Dump terminated\n")
		return nil, err
	}
	return list, nil
}

// echoFilter is what ip prints an echo with: a filter that nobody set, which
// selects the default group.
func (s *session) echoFilter() linkfmt.Filter { return linkfmt.Filter{Group: new(uint32)} }
