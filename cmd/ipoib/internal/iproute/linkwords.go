package iproute

import (
	"strings"

	"ipoib/nl/rtlink"
)

// flagWords are the words that switch an interface flag on or off.
var flagWords = map[string]struct {
	bit    uint32
	invert bool
}{
	"multicast":    {rtlink.FlagMulticast, false},
	"allmulticast": {rtlink.FlagAllmulti, false},
	"promisc":      {rtlink.FlagPromisc, false},
	"trailers":     {rtlink.FlagNoTrailers, true},
	"arp":          {rtlink.FlagNoARP, true},
}

// word handles one word with its value, unless it is the device. The order of
// the cases decides what an abbreviation means: that of iplink_parse.
func (p *linkRequest) word(a *args) (done bool, err error) {
	word := a.word()
	switch word {
	case "up", "down":
		p.change |= rtlink.FlagUp
		p.flags &^= rtlink.FlagUp
		if word == "up" {
			p.flags |= rtlink.FlagUp
		}
		return true, nil
	case "vf", "xdp", "xdpgeneric", "xdpdrv", "xdpoffload":
		// What the kernel says of an interface without either.
		p.s.errorf("RTNETLINK answers: Operation not supported\n")
		return true, errRefused
	}
	if matches(word, "nomaster") {
		p.attrs.U32(rtlink.AttrMaster, 0)
		return true, nil
	}
	set := p.setter(word)
	if set == nil {
		return false, nil
	}
	value, err := a.next()
	if err != nil {
		return true, err
	}
	if word == "protodown_reason" {
		return true, p.protoDownReason(a, value)
	}
	return true, set(value)
}

// setter returns what takes the value of a word, nil for the device.
func (p *linkRequest) setter(word string) func(string) error {
	is := func(w string) bool { return matches(word, w) }
	switch {
	case word == "name":
		return p.setName
	case word == "index":
		return p.setIndex
	case is("link"):
		return func(v string) error { p.link = v; return nil }
	case is("address"):
		return func(v string) error { return p.setAddress(rtlink.AttrAddress, v) }
	case is("broadcast"), word == "brd":
		return func(v string) error { return p.setAddress(rtlink.AttrBroadcast, v) }
	case is("txqueuelen"), word == "qlen", is("txqlen"):
		return p.integer(rtlink.AttrTxqlen, "txqueuelen", "txqueuelen")
	case word == "mtu":
		return p.integer(rtlink.AttrMTU, "mtu", "mtu")
	case word == "netns":
		return p.setNetNS
	case flagWords[word].bit != 0:
		return func(v string) error { return p.setFlag(word, v) }
	case word == "carrier":
		return func(v string) error { return p.setSwitch(rtlink.AttrCarrier, word, v) }
	case is("master"), word == "vrf":
		return func(v string) error { return p.setMaster(word, v) }
	case is("dynamic"):
		return func(v string) error { return p.setFlagBit("dynamic", rtlink.FlagDynamic, false, v) }
	case is("type"):
		return func(v string) error { p.typ, p.typed = v, true; return nil }
	case is("alias"):
		return p.setAlias
	case word == "group":
		return p.setGroup
	case word == "mode":
		return p.octet(rtlink.AttrLinkmode, linkmode, "Invalid link mode\n")
	case word == "state":
		return p.octet(rtlink.AttrOperstate, operstate, "Invalid operstate\n")
	case is("numtxqueues"):
		return p.integer(rtlink.AttrNumTxQueues, "numtxqueues", "numtxqueues")
	case is("numrxqueues"):
		return p.integer(rtlink.AttrNumRxQueues, "numrxqueues", "numrxqueues")
	case is("addrgenmode"):
		return p.setAddrGenMode
	case is("link-netns"):
		return p.setLinkNetNS
	case is("link-netnsid"):
		return p.integer(rtlink.AttrLinkNetNSID, "link-netns/link-netnsid", "link-netnsid")
	case word == "protodown":
		return func(v string) error { return p.setSwitch(rtlink.AttrProtoDown, word, v) }
	case word == "protodown_reason":
		return func(string) error { return nil }
	case word == "gso_max_size":
		return p.unsigned(rtlink.AttrGSOMaxSize, word, 1<<32-1)
	case word == "gso_max_segs":
		return p.unsigned(rtlink.AttrGSOMaxSegs, word, 65535)
	case word == "gro_max_size":
		return p.unsigned(rtlink.AttrGROMaxSize, word, 1<<32-1)
	case word == "parentdev":
		return func(v string) error { p.attrs.String(rtlink.AttrParentDevName, v); return nil }
	}
	return nil
}

func (p *linkRequest) setName(v string) error {
	if p.name != "" {
		return p.s.duplicate("name", v)
	}
	if !validName(v, rtlink.MaxName) {
		return p.s.invalid("\"name\" not a valid ifname", v)
	}
	p.name = v
	if p.dev == "" {
		p.dev = v
	}
	return nil
}

func (p *linkRequest) setIndex(v string) error {
	if p.newIndex != 0 {
		return p.s.duplicate("index", v)
	}
	if p.newIndex = atoi(v); p.newIndex <= 0 {
		return p.s.invalid("Invalid \"index\" value", v)
	}
	return nil
}

func (p *linkRequest) setAddress(attr uint16, v string) error {
	b, ok := parseAddress(v)
	if !ok {
		p.s.errorf("\"%s\" is invalid lladdr.\n", badOctet(v))
		return errFailed
	}
	if attr == rtlink.AttrAddress {
		p.addrLen = len(b)
	}
	p.attrs.Put(attr, b)
	return nil
}

func (p *linkRequest) integer(attr uint16, key, name string) func(string) error {
	return func(v string) error {
		if err := p.once(key, v); err != nil {
			return err
		}
		n, ok := getInteger(v)
		if !ok {
			return p.s.invalid("Invalid \""+name+"\" value\n", v)
		}
		p.attrs.S32(attr, n)
		return nil
	}
}

func (p *linkRequest) unsigned(attr uint16, name string, limit uint64) func(string) error {
	return func(v string) error {
		n, ok := getUnsigned(v, limit)
		if !ok {
			return p.s.invalid("Invalid \""+name+"\" value\n", v)
		}
		p.attrs.U32(attr, uint32(n))
		return nil
	}
}

func (p *linkRequest) octet(attr uint16, read func(string) (uint8, bool), msg string) func(string) error {
	return func(v string) error {
		n, ok := read(v)
		if !ok {
			return p.s.invalid(msg, v)
		}
		p.attrs.U8(attr, n)
		return nil
	}
}

func (p *linkRequest) setFlag(word, v string) error {
	f := flagWords[word]
	return p.setFlagBit(word, f.bit, f.invert, v)
}

func (p *linkRequest) setFlagBit(word string, bit uint32, invert bool, v string) error {
	p.change |= bit
	switch {
	case v != "on" && v != "off":
		return p.s.onOff(word, v)
	case (v == "on") != invert:
		p.flags |= bit
	default:
		p.flags &^= bit
	}
	return nil
}

// setSwitch reads on or off, abbreviated (lib/utils.c: parse_on_off).
func (p *linkRequest) setSwitch(attr uint16, word, v string) error {
	switch {
	case matches(v, "off"):
		p.attrs.U8(attr, 0)
	case matches(v, "on"):
		p.attrs.U8(attr, 1)
	default:
		p.s.errorf("Error: argument of \"%s\" must be one of \"off\", \"on\", not \"%s\"\n", word, v)
		// The value is -EINVAL, and so the exit code of ip.
		return exit{code: 22}
	}
	return nil
}

func (p *linkRequest) setNetNS(v string) error {
	if err := p.once("netns", v); err != nil {
		return err
	}
	if f, err := p.s.env.Host.OpenNetNS(v); err == nil {
		p.files = append(p.files, f)
		p.attrs.U32(rtlink.AttrNetNSFD, uint32(f.Fd()))
	} else if pid, ok := getInteger(v); ok {
		p.attrs.S32(rtlink.AttrNetNSPID, pid)
	} else {
		return p.s.invalid("Invalid \"netns\" value\n", v)
	}
	p.moves = true
	return nil
}

func (p *linkRequest) setMaster(word, v string) error {
	index, err := p.s.master(word, v)
	if err != nil {
		return err
	}
	p.attrs.U32(rtlink.AttrMaster, index)
	return nil
}

func (p *linkRequest) setAlias(v string) error {
	if len(v) > rtlink.MaxAlias {
		return p.s.invalid("alias too long\n", v)
	}
	p.attrs.Put(rtlink.AttrIfalias, []byte(v))
	return nil
}

func (p *linkRequest) setGroup(v string) error {
	if err := p.once("group", v); err != nil {
		return err
	}
	g, ok := p.s.group(v)
	if !ok {
		return p.s.invalid("Invalid \"group\" value\n", v)
	}
	p.group = true
	p.attrs.U32(rtlink.AttrGroup, g)
	return nil
}

func (p *linkRequest) setAddrGenMode(v string) error {
	mode, ok := addrGenMode(v)
	if !ok {
		return p.s.invalid("Invalid address generation mode\n", v)
	}
	rtlink.AppendAFSpec(&p.attrs, mode)
	return nil
}

func (p *linkRequest) setLinkNetNS(v string) error {
	if err := p.once("link-netns/link-netnsid", v); err != nil {
		return err
	}
	id := p.s.nsid(v)
	if id < 0 {
		return p.s.invalid("Invalid \"link-netns\" value\n", v)
	}
	p.attrs.S32(rtlink.AttrLinkNetNSID, id)
	return nil
}

// protoDownReason takes a reason, by its number, and on or off.
func (p *linkRequest) protoDownReason(a *args, reason string) error {
	n, ok := getUnsigned(reason, 31)
	if !ok {
		return p.s.invalid("invalid protodown reason\n", reason)
	}
	v, err := a.next()
	if err != nil {
		return err
	}
	mask, value := uint32(1)<<n, uint32(0)
	switch {
	case matches(v, "on"):
		value = mask
	case matches(v, "off"):
	default:
		return p.s.onOff("protodown_reason", v)
	}
	p.attrs.Nest(rtlink.AttrProtoDownReason, func() {
		p.attrs.U32(rtlink.ProtoDownReasonMask, mask)
		p.attrs.U32(rtlink.ProtoDownReasonValue, value)
	})
	return nil
}

// badOctet is what an error about an address quotes: the octet in question.
func badOctet(v string) string {
	if strings.Contains(v, ".") {
		return v
	}
	for part := range strings.SplitSeq(v, ":") {
		if n, ok := scanHex(part); !ok || n > 255 {
			return part
		}
	}
	return v
}
