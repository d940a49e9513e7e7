package wire

import (
	"encoding/binary"
	"slices"

	"github.com/mdlayher/netlink"

	"ipoib/nl"
	"ipoib/nl/rtlink"
)

// View is what the service says of the interfaces of a network namespace.
type View interface {
	// Link returns the body of a message about a link, behind the nlmsghdr, as
	// of now; nil when the link is not the service's.
	Link(index int32) []byte
	// Event is Link for a link that the kernel tells of unasked: it may be so
	// new that the service has not finished making it.
	Event(index int32) []byte
	// Gone is what was last known of a link, which may be gone; nil when it
	// never was the service's.
	Gone(index int32) []byte
	// Told notes that the program is told of a link, nil for its end. It
	// reports whether that is news.
	Told(index int32, link []byte) bool
}

// Item is a message that the service adds to a dump.
type Item struct {
	Index int32
	Type  netlink.HeaderType
	Body  []byte
}

// Dump is a running dump of the kernel that is to show what the service knows.
type Dump struct {
	// Ours has the links of the service.
	Ours map[int32]bool
	// Items take the place of the kernel's messages about the same link, or
	// follow at the end. What the kernel says of a link without any is left
	// out.
	Items []Item

	told map[int32]bool
}

// take returns the items of a link, once.
func (d *Dump) take(index int32) (out []Item) {
	if d.told[index] {
		return nil
	}
	if d.told == nil {
		d.told = make(map[int32]bool)
	}
	d.told[index] = true
	for _, it := range d.Items {
		if it.Index == index {
			out = append(out, it)
		}
	}
	return out
}

// rest returns the items that were not told yet.
func (d *Dump) rest() []Item {
	return slices.DeleteFunc(slices.Clone(d.Items), func(it Item) bool { return d.told[it.Index] })
}

// Patcher rewrites what one socket receives from the kernel.
type Patcher struct {
	// Protocol is that of the socket.
	Protocol int
	// Ethtool is the id of the kernel's ethtool family, 0 if not known.
	Ethtool netlink.HeaderType
	// View asks the service; it is called for links that may be its own.
	View View
	// Dumps are the running dumps by sequence number. They are removed when
	// they end.
	Dumps map[uint32]*Dump
}

// Datagram returns a datagram as the program is to see it, nil when nothing of
// it is left. It is b itself when nothing is to be changed.
func (p *Patcher) Datagram(b []byte) (out []byte, changed bool) {
	ms := Split(b)
	for i := range ms {
		repl, patched := p.message(&ms[i])
		switch {
		case patched && !changed:
			changed = true
			out = slices.Clone(b[:prefixLen(ms[:i])])
			fallthrough
		case patched:
			out = append(out, repl...)
		case changed:
			out = pad(append(out, ms[i].Raw...))
		}
	}
	if !changed {
		return b, false
	}
	return out, true
}

func prefixLen(ms []Message) (n int) {
	for i := range ms {
		n += nl.Align(len(ms[i].Raw))
	}
	return n
}

// message returns what takes the place of a message; ok is false when it is to
// stay as it is.
func (p *Patcher) message(m *Message) (repl []byte, ok bool) {
	d := p.Dumps[m.Sequence]
	switch {
	case m.Type == netlink.Done && d != nil:
		delete(p.Dumps, m.Sequence)
		if rest := d.rest(); m.Errno() == 0 && len(rest) > 0 {
			return append(items(m, rest), pad(slices.Clone(m.Raw))...), true
		}
		return nil, false
	case m.Type == netlink.Error:
		if m.Errno() != 0 {
			delete(p.Dumps, m.Sequence)
		}
		return nil, false
	case m.Type < nl.MinType:
		return nil, false
	case p.Protocol == nl.ProtoRoute:
		return p.route(m, d)
	case p.Protocol == nl.ProtoGeneric && p.Ethtool != 0 && m.Type == p.Ethtool:
		return p.ethtool(m, d)
	}
	return nil, false
}

// items encodes items as part of the dump that m belongs to.
func items(m *Message, list []Item) (out []byte) {
	for _, it := range list {
		out = Append(out, netlink.Header{Type: it.Type, Flags: netlink.Multi, Sequence: m.Sequence, PID: m.PID}, it.Body)
	}
	return out
}

func (p *Patcher) route(m *Message, d *Dump) ([]byte, bool) {
	body := m.Payload()
	multi := m.Flags&netlink.Multi != 0
	switch m.Type {
	case rtlink.NewLink, rtlink.DelLink:
		if len(body) < rtlink.HeaderLen {
			return nil, false
		}
		index := int32(native.Uint32(body[4:]))
		switch {
		case elsewhere(body):
			return nil, false
		case d != nil && multi:
			if !d.Ours[index] {
				return nil, false
			}
			return items(m, d.take(index)), true
		case body[0] == inet6:
			return p.inet6Link(m, index)
		case body[0] != 0 || !candidate(body):
			return nil, false
		case m.PID != 0:
			return relink(m, p.View.Link(index))
		}
		return p.event(m, index)
	case NewNeigh, DelNeigh:
		if d == nil && m.PID == 0 && !multi && len(body) >= ndmsgLen && p.View.Gone(int32(native.Uint32(body[4:]))) != nil {
			return nil, true // of the TUN, which has no link layer
		}
		if d == nil || !multi || len(body) < ndmsgLen || !d.Ours[int32(native.Uint32(body[4:]))] {
			return nil, false
		}
		return nil, true // the service's are at the end
	}
	return nil, false
}

// event rewrites what the kernel tells of a link unasked. Making an interface
// takes several changes of the TUN; what says nothing new is left out.
func (p *Patcher) event(m *Message, index int32) ([]byte, bool) {
	if m.Type == rtlink.DelLink {
		link := p.View.Gone(index)
		if link == nil {
			return nil, false
		}
		if !p.View.Told(index, nil) {
			return nil, true
		}
		return relink(m, link)
	}
	link := p.View.Event(index)
	if link == nil {
		last := p.View.Gone(index)
		if last == nil {
			return nil, false
		}
		if link = ending(m.Payload(), last); link == nil {
			return nil, true
		}
	}
	special := false
	for a := range attrs(m.Payload(), rtlink.HeaderLen) {
		if a.Type == rtlink.AttrEvent {
			if a.Uint32() == rtlink.EventFeatures {
				return nil, true // the service tells of its own
			}
			special = true
		}
	}
	// Until the service has followed the state of the TUN, which it tells of,
	// what it says is part before and part after.
	if follows := linkFlags(link)&rtlink.FlagUp == linkFlags(m.Payload())&rtlink.FlagUp; !follows && !special {
		return nil, true
	}
	if !p.View.Told(index, link) && !special {
		return nil, true
	}
	return relink(m, link)
}

// linkFlags are the flags of a message about a link.
func linkFlags(body []byte) uint32 {
	if len(body) < rtlink.HeaderLen {
		return 0
	}
	return native.Uint32(body[8:])
}

// ending is what to say of a link whose TUN is still there when the service
// has given it up: what it was last, down. It is nil until the TUN is.
func ending(body, last []byte) []byte {
	l, err := rtlink.Decode(last)
	if err != nil {
		return nil
	}
	k, err := rtlink.Decode(body)
	if err != nil {
		return nil
	}
	if k.Flags&rtlink.FlagUp != 0 {
		return nil
	}
	const state = rtlink.FlagUp | rtlink.FlagRunning | rtlink.FlagLowerUp
	l.Flags = l.Flags&^state | k.Flags&state
	l.Operstate, l.Carrier, l.Name = k.Operstate, k.Carrier, k.Name
	var e nl.Encoder
	l.Append(&e)
	return e.Bytes()
}

// candidate reports whether a link may be the service's: it is a TUN, or of
// InfiniBand's link type.
func candidate(body []byte) bool {
	if native.Uint16(body[2:]) == rtlink.TypeInfiniBand {
		return true
	}
	for a := range attrs(body, rtlink.HeaderLen) {
		if a.Type != rtlink.AttrLinkinfo {
			continue
		}
		for c := range a.Children() {
			if c.Type == rtlink.InfoKind {
				return c.String() == "tun"
			}
		}
	}
	return false
}

// relink puts what the service says of a link in place of what the kernel
// says. That the message is about a change stays.
func relink(m *Message, link []byte) ([]byte, bool) {
	if len(link) < rtlink.HeaderLen {
		return nil, false
	}
	link = slices.Clone(link)
	body := m.Payload()
	copy(link[12:16], body[12:16]) // ifi_change
	for a := range attrs(body, rtlink.HeaderLen) {
		switch a.Type {
		case rtlink.AttrEvent, rtlink.AttrNewNetNSID, rtlink.AttrNewIfindex:
			link = appendAttr(link, a.Type, a.Data)
		}
	}
	return Append(nil, m.Header, link), true
}

// inet6Link changes the IPv6 part of a link: it has the flags, the address and
// the link below as well (inet6_fill_ifinfo).
func (p *Patcher) inet6Link(m *Message, index int32) ([]byte, bool) {
	body := m.Payload()
	if m.Type != rtlink.NewLink || native.Uint16(body[2:]) != rtlink.TypeInfiniBand {
		return nil, false
	}
	l, err := rtlink.Decode(p.View.Link(index))
	if err != nil {
		return nil, false
	}
	out := slices.Clone(body[:rtlink.HeaderLen])
	native.PutUint32(out[8:], l.Flags)
	done := false
	put := func() {
		if !done {
			out = appendAttr(out, rtlink.AttrAddress, l.Address)
			if l.Link != nil {
				out = appendAttr(out, rtlink.AttrLink, native.AppendUint32(nil, *l.Link))
			}
		}
		done = true
	}
	for a := range attrs(body, rtlink.HeaderLen) {
		if a.Type == rtlink.AttrAddress || a.Type == rtlink.AttrLink {
			continue
		}
		t := a.Type
		if a.Nested {
			t |= nestedFlag
		}
		out = appendAttr(out, t, a.Data)
		if a.Type == rtlink.AttrIfname {
			put()
		}
	}
	put()
	return Append(nil, m.Header, out), true
}

const nestedFlag = 0x8000 // NLA_F_NESTED

func appendAttr(b []byte, t uint16, data []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(nl.AttrHeaderLen+len(data)))
	b = binary.NativeEndian.AppendUint16(b, t)
	return pad(append(b, data...))
}

func (p *Patcher) ethtool(m *Message, d *Dump) ([]byte, bool) {
	index := ReplyDevice(m)
	switch {
	case index == 0:
		return nil, false
	case d != nil && m.Flags&netlink.Multi != 0:
		if !d.Ours[index] {
			return nil, false
		}
		return items(m, d.take(index)), true
	case m.PID == 0 && m.Flags&netlink.Multi == 0 && p.View.Event(index) != nil:
		return nil, true // what the kernel tells of the TUN below; the service tells itself
	}
	return nil, false
}
