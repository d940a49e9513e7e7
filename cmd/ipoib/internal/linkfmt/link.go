package linkfmt

import (
	"bytes"
	"strconv"

	"ipoib/nl/rtlink"
)

// Filter says which links are printed, and in which form.
type Filter struct {
	// Link is set for `ip link`; without it a link is printed as in
	// `ip monitor`.
	Link bool
	// Ifindex, Up, Group, Master, Kind and SlaveKind select links; zero values
	// and a nil Group select all.
	Ifindex         int32
	Up              bool
	Group           *uint32
	Master          int32
	Kind, SlaveKind string
}

// match reports whether the filter selects a link.
func (f *Filter) match(l *rtlink.Link) bool {
	var kind, slave string
	if l.Info != nil {
		kind, slave = l.Info.Kind, l.Info.SlaveKind
	}
	switch {
	case f.Ifindex != 0 && l.Index != f.Ifindex,
		f.Up && l.Flags&rtlink.FlagUp == 0,
		f.Group != nil && l.Group != nil && *l.Group != *f.Group,
		f.Master > 0 && (l.Master == nil || *l.Master != uint32(f.Master)),
		f.Kind != "" && kind != f.Kind,
		f.SlaveKind != "" && slave != f.SlaveKind:
		return false
	}
	return true
}

// Link prints a link, of an RTM_DELLINK if deleted is set. It reports whether
// the filter selects the link. Each link is flushed.
func (p *Printer) Link(l *rtlink.Link, deleted bool, f Filter) bool {
	if !f.match(l) {
		return false
	}
	if deleted {
		p.flag("deleted", "Deleted ", true)
	}
	if p.o.Brief {
		p.brief(l, f)
	} else {
		p.link(l, f)
	}
	return true
}

func (p *Printer) brief(l *rtlink.Link, f Filter) {
	mdown := p.nameAndLink(l, func(s string) { p.padded(ifnameColor, "ifname", 16, s) })
	if l.Operstate != nil {
		p.operstate(*l.Operstate)
	}
	if !f.Link {
		return
	}
	if l.Address != nil {
		p.colored(macColor, "address", "%s ", Address(l.Address, l.Type))
	}
	p.flags(l.Flags, mdown)
	p.Text("\n")
}

// nameAndLink prints the name with what is below the link, and returns
// whether that is down (lib/utils.c: print_name_and_link).
func (p *Printer) nameAndLink(l *rtlink.Link, print func(string)) (mdown bool) {
	name := l.Name
	if l.Link == nil {
		print(name)
		return false
	}
	below := ""
	switch link := *l.Link; {
	case link == 0 && p.json != nil:
		p.json.name("link")
		p.json.value("null")
	case link == 0:
		below = "NONE"
	case l.LinkNetNSID != nil && p.json != nil:
		p.num("link_index", "", int64(int32(link)))
	case l.LinkNetNSID != nil:
		below = "if" + strconv.FormatUint(uint64(link), 10)
	default:
		below = p.names.Ifname(link)
		if p.json != nil {
			p.str("link", "", below)
			below = ""
		}
		mdown = p.names.Flags(link)&rtlink.FlagUp == 0
	}
	if below != "" {
		name += "@" + below
	}
	print(name)
	return mdown
}

func (p *Printer) flags(flags uint32, mdown bool) {
	p.array("flags", "<")
	noCarrier := flags&rtlink.FlagUp != 0 && flags&rtlink.FlagRunning == 0
	if noCarrier {
		p.str("", "%s,", "NO-CARRIER")
	}
	flags &^= rtlink.FlagRunning
	p.bits(flagNames, flags)
	if mdown {
		p.str("", ",%s", "M-DOWN")
	}
	p.endArray("> ")
}

func (p *Printer) operstate(s uint8) {
	switch {
	case int(s) >= len(operNames) && p.json != nil:
		p.num("operstate_index", "", int64(s))
	case int(s) >= len(operNames):
		p.hex("", "state %s", uint64(s))
	case p.o.Brief:
		p.padded(operstateColor(s), "operstate", 14, operNames[s])
	default:
		p.Text("state ")
		p.colored(operstateColor(s), "operstate", "%s ", operNames[s])
	}
}

// link prints all but the brief form.
func (p *Printer) link(l *rtlink.Link, f Filter) {
	p.num("ifindex", "%d: ", int64(l.Index))
	mdown := p.nameAndLink(l, func(s string) { p.colored(ifnameColor, "ifname", "%s: ", s) })
	p.flags(l.Flags, mdown)
	p.u32("mtu", "mtu %d ", l.MTU)
	if l.Qdisc != "" {
		p.str("qdisc", "qdisc %s ", l.Qdisc)
	}
	if l.Master != nil {
		p.str("master", "master %s ", p.names.Ifname(*l.Master))
	}
	if l.Operstate != nil {
		p.operstate(*l.Operstate)
	}
	if f.Link && l.Linkmode != nil {
		if m := *l.Linkmode; int(m) < len(linkmodes) {
			p.str("linkmode", "mode %s ", linkmodes[m])
		} else {
			p.num("linkmode_index", "mode %d ", int64(m))
		}
	}
	if l.Group != nil {
		p.str("group", "group %s ", p.group(*l.Group))
	}
	if f.Link && l.TxQueueLen != nil && *l.TxQueueLen != 0 {
		p.num("txqlen", "qlen %d", int64(int32(*l.TxQueueLen)))
	}
	if l.Event != nil {
		p.event(*l.Event)
	}
	p.nl()
	p.addresses(l)
	p.netns(l)
	if l.ProtoDown != nil {
		p.protoDown(l)
	}
	if p.o.Details {
		p.details(l, f)
	}
	if l.Alias != "" && (f.Link || p.o.Details) {
		p.nl()
		p.str("ifalias", "    alias %s", l.Alias)
	}
	if f.Link && p.o.Stats > 0 {
		p.nl()
		p.stats(l)
	}
	if l.NumVF != nil && (f.Link || p.o.Details) && hasAttr(l, rtlink.AttrVFInfoList) && p.json != nil {
		p.array("vfinfo_list", "")
		p.endArray("")
	}
	p.altNames(l)
	p.Text("\n")
}

func hasAttr(l *rtlink.Link, t uint16) bool {
	for _, r := range l.Other {
		if r.Type == t {
			return true
		}
	}
	return false
}

func (p *Printer) event(e uint32) {
	switch {
	case int(e) >= len(events):
		p.num("event", "event %d ", int64(int32(e)))
	case e != 0:
		p.str("event", "event %s ", events[e])
	}
}

func (p *Printer) addresses(l *rtlink.Link) {
	p.str("link_type", "    link/%s ", p.typeName(l.Type))
	if l.Address != nil {
		p.colored(macColor, "address", "%s", Address(l.Address, l.Type))
	}
	if l.Broadcast != nil {
		if l.Flags&rtlink.FlagPointToPoint != 0 {
			p.Text(" peer ")
			if p.json != nil {
				p.flag("link_pointtopoint", "", true)
			}
		} else {
			p.Text(" brd ")
		}
		p.colored(macColor, "broadcast", "%s", Address(l.Broadcast, l.Type))
	}
	if l.PermAddress != nil && !bytes.Equal(l.PermAddress, l.Address) {
		p.Text(" permaddr ")
		p.colored(macColor, "permaddr", "%s", Address(l.PermAddress, l.Type))
	}
}

// netns prints in which namespace the link below is, and where a link went.
func (p *Printer) netns(l *rtlink.Link) {
	if l.LinkNetNSID != nil {
		id := *l.LinkNetNSID
		switch {
		case p.json != nil:
			p.num("link_netnsid", "", int64(id))
		case id < 0:
			p.Text(" link-netnsid unknown")
		case p.names.NSID(id) != "":
			p.Text(" link-netns " + p.names.NSID(id))
		default:
			p.Text(" link-netnsid " + strconv.Itoa(int(id)))
		}
	}
	if l.NewNetNSID != nil {
		if name := p.names.NSID(*l.NewNetNSID); name != "" {
			p.Text(" new-netns " + name)
		} else {
			p.Text(" new-netnsid " + strconv.Itoa(int(*l.NewNetNSID)))
		}
	}
	if l.NewIfindex != nil {
		p.Text(" new-ifindex " + strconv.Itoa(int(*l.NewIfindex)))
	}
}

// protoDown prints the reasons only of a link with a broadcast address, as ip
// does: it looks at the wrong attribute.
func (p *Printer) protoDown(l *rtlink.Link) {
	if *l.ProtoDown != 0 {
		p.flag("proto_down", " protodown on ", true)
	}
	if l.ProtoDownReason == nil || l.Broadcast == nil || uint8(*l.ProtoDownReason) == 0 {
		return
	}
	p.array("proto_down_reason", "protodown_reason <")
	format := "%s"
	for i, r := 0, uint8(*l.ProtoDownReason); r != 0; i, r = i+1, r>>1 {
		if r&1 != 0 {
			p.str("", format, strconv.Itoa(i))
			format = ",%s"
		}
	}
	p.endArray(">")
}

func (p *Printer) altNames(l *rtlink.Link) {
	if len(l.AltNames) == 0 {
		return
	}
	p.array("altnames", "")
	for _, s := range l.AltNames {
		p.nl()
		p.str("", "    altname %s", s)
	}
	p.endArray("")
}
