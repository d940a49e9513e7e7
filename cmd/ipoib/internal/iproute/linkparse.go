package iproute

import (
	"os"
	"strings"

	"ipoib/cmd/ipoib/internal/linkfmt"
	"ipoib/nl"
	"ipoib/nl/rtlink"
)

// linkRequest is what the words of `link add|set|replace|delete` come to:
// attributes in the order of the words, as ip sends them.
type linkRequest struct {
	s           *session
	family      uint8
	create, add bool

	flags, change uint32
	index         uint32 // ifi_index
	attrs         nl.Encoder

	name, dev, link string
	typ             string
	typed           bool
	// short is set when the type was left out: see the package comment.
	short    bool
	data     nl.Encoder // IFLA_INFO_DATA
	hasData  bool
	addrLen  int
	newIndex int32
	moves    bool
	group    bool
	seen     map[string]bool
	// files are kept open: the service opens them by descriptor.
	files []*os.File
}

// fill writes the message behind its nlmsghdr.
func (p *linkRequest) fill(e *nl.Encoder) {
	rtlink.AppendHeader(e, p.family, 0, int32(p.index), p.flags, p.change)
	e.Raw(p.attrs.Bytes())
	if !p.typed {
		return
	}
	e.NestNoFlag(rtlink.AttrLinkinfo, func() {
		e.Put(rtlink.InfoKind, []byte(p.typ))
		if p.hasData {
			e.NestNoFlag(rtlink.InfoData, func() { e.Raw(p.data.Bytes()) })
		}
	})
}

// once reports a word that must not come twice.
func (p *linkRequest) once(key, value string) error {
	if p.seen[key] {
		return p.s.duplicate(key, value)
	}
	if p.seen == nil {
		p.seen = make(map[string]bool)
	}
	p.seen[key] = true
	return nil
}

// parse reads the words up to the type (ip/iplink.c: iplink_parse).
func (p *linkRequest) parse(a *args) error {
	for len(a.list) > 0 && !p.typed {
		if p.shortForm(a) {
			break
		}
		done, err := p.word(a)
		if err == nil && !done {
			err = p.device(a)
		}
		if err != nil {
			return err
		}
		a.step()
	}
	return p.finish(a)
}

// shortForm notices the words of the kind ipoib where the type was left out.
func (p *linkRequest) shortForm(a *args) bool {
	if !p.add {
		return false
	}
	w := a.list
	if w[0] != "pkey" && w[0] != "umcast" &&
		(w[0] != "mode" || len(w) < 2 || w[1] != "datagram" && w[1] != "connected") {
		return false
	}
	p.typ, p.typed, p.short = rtlink.KindIPoIB, true, true
	return true
}

// device is a word that is none of the others: the device.
func (p *linkRequest) device(a *args) (err error) {
	word := a.word()
	if matches(word, "help") {
		return p.s.linkUsage()
	}
	if word == "dev" {
		if word, err = a.next(); err != nil {
			return err
		}
	}
	if p.dev != p.name {
		return p.s.garbage("dev", word)
	}
	if !validName(word, anyLength) {
		return p.s.invalid("\"dev\" not a valid ifname", word)
	}
	p.dev = word
	return nil
}

// finish resolves the names (the second half of iplink_parse).
func (p *linkRequest) finish(a *args) error {
	s := p.s
	switch {
	case p.name == "":
		p.name = p.dev
	case p.dev == "":
		p.dev = p.name
	}
	if p.add && !p.typed && p.link == "" {
		if _, _, ok := childName(p.name); ok {
			p.typ, p.typed, p.short = rtlink.KindIPoIB, true, true
		}
	}
	if p.dev != "" && p.addrLen > 0 && !p.create {
		if n, ok := s.addressLen(p.dev); ok && n != p.addrLen {
			s.errorf("Invalid address length %d - must be %d bytes\n", p.addrLen, n)
			return errFailed
		}
	}
	if p.newIndex != 0 && !p.create && !p.moves {
		s.errorf("index can be used only when creating devices or when moving device to another netns.\n")
		return fatal(255)
	}
	if p.group && p.dev == "" {
		switch {
		case len(a.list) > 0:
			return p.garbageArgs(a, true)
		case p.create:
			s.errorf("group cannot be used when creating devices.\n")
			return fatal(255)
		}
		p.typ, p.typed = "", false
		return nil
	}
	if p.create {
		return p.finishCreate()
	}
	if p.dev == "" {
		s.errorf("Not enough information: \"dev\" argument is required.\n")
		return fatal(255)
	}
	if p.index = s.ifindex(p.dev); p.index == 0 {
		return s.noDevice(p.dev)
	}
	if p.name == p.dev {
		p.name = ""
	}
	if p.newIndex != 0 {
		p.attrs.S32(rtlink.AttrNewIfindex, p.newIndex)
	}
	p.putName()
	return nil
}

func (p *linkRequest) finishCreate() error {
	s := p.s
	if p.name != p.dev {
		s.errorf("both \"name\" and \"dev\" cannot be used when creating devices.\n")
		return fatal(255)
	}
	if p.short && p.link == "" {
		parent, _, ok := childName(p.name)
		if !ok {
			s.errorf("Not enough information: \"link\" argument is required, or a name such as ib0.8001.\n")
			return errFailed
		}
		p.link = parent
	}
	if p.link != "" {
		below := s.anyIfindex(p.link)
		if below == 0 {
			return s.noDevice(p.link)
		}
		p.attrs.U32(rtlink.AttrLink, below)
	}
	p.index = uint32(p.newIndex)
	p.putName()
	return nil
}

func (p *linkRequest) putName() {
	if p.name != "" {
		p.attrs.String(rtlink.AttrIfname, p.name)
	}
}

func (p *linkRequest) garbageArgs(a *args, end bool) error {
	p.s.errorf("Garbage instead of arguments \"%s ...\". Try \"ip link help\".\n", a.word())
	if end {
		return fatal(255)
	}
	return errFailed
}

// childName splits a name such as ib0.8001 into the parent and the P_Key in
// hex.
func childName(name string) (parent string, pkey uint16, ok bool) {
	i := strings.LastIndexByte(name, '.')
	if i <= 0 || len(name)-i-1 != 4 {
		return "", 0, false
	}
	for _, c := range []byte(name[i+1:]) {
		d := hexDigit(c)
		if d > 15 {
			return "", 0, false
		}
		pkey = pkey<<4 | uint16(d)
	}
	return name[:i], pkey, true
}

// addressLen asks for the length of a link's address (nl_get_ll_addr_len).
func (s *session) addressLen(dev string) (int, bool) {
	index := s.ifindex(dev)
	if index == 0 {
		return 0, false
	}
	m, err := s.talk(s.rth, getRequest(s.o.family, index, func(*nl.Encoder) {}), true, true)
	if err != nil {
		return 0, false
	}
	l, err := rtlink.Decode(m.data)
	if err != nil || l.Address == nil {
		return 0, false
	}
	return len(l.Address), true
}

// linkmode and addrGenMode are words of `link set`, whatever their case.
func linkmode(word string) (uint8, bool) {
	return fold(word, "default", "dormant")
}

func addrGenMode(word string) (uint8, bool) {
	return fold(word, "eui64", "none", "stable_secret", "random")
}

func fold(word string, list ...string) (uint8, bool) {
	for i, s := range list {
		if strings.EqualFold(word, s) {
			return uint8(i), true
		}
	}
	return 0, false
}

func operstate(word string) (uint8, bool) {
	v := linkfmt.Operstate(word)
	return uint8(v), v >= 0
}
