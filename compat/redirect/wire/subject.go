package wire

import (
	"github.com/mdlayher/netlink"

	"ipoib/nl"
	"ipoib/nl/ethnl"
	"ipoib/nl/rtlink"
)

// Message types of neighbours (uapi/linux/rtnetlink.h).
const (
	NewNeigh netlink.HeaderType = 28
	DelNeigh netlink.HeaderType = 29
	GetNeigh netlink.HeaderType = 30
)

// Class is what kind of request a message is, as far as that matters here.
type Class int

// The classes.
const (
	// Other requests are none of the service's.
	Other Class = iota
	// LinkChange makes, changes or removes a link.
	LinkChange
	// LinkDump lists links.
	LinkDump
	// NeighDump lists neighbours, NeighGet asks for one.
	NeighDump
	NeighGet
	// NeighChange sets or removes a neighbour.
	NeighChange
	// Ethtool is a request of the ethtool family about a device, EthtoolDump
	// one about all.
	Ethtool
	EthtoolDump
)

// Subject is what a request is about.
type Subject struct {
	Class Class
	// Index is the interface's, 0 if the request has none; Name is its name or
	// alternative name.
	Index int32
	Name  string
	// Kind is the kind of the link that is to be made or changed, Parent the
	// index of the link that it is to be on top of.
	Kind   string
	Parent int32
	// Create is set when the request may make a link.
	Create bool
}

// Named reports whether the subject names an interface.
func (s *Subject) Named() bool { return s.Index != 0 || s.Name != "" }

const (
	inet6  = 10 // AF_INET6
	bridge = 7  // AF_BRIDGE

	ndmsgLen   = 12 // sizeof(struct ndmsg)
	ndaDst     = 1  // NDA_DST
	ndaLLAddr  = 2  // NDA_LLADDR
	ndaIfindex = 8  // NDA_IFINDEX

	genlHeaderLen = 4
)

// RouteSubject looks at a request of rtnetlink.
func RouteSubject(m *Message) (s Subject) {
	p := m.Payload()
	if m.Flags&netlink.Request == 0 || len(p) < 1 {
		return s
	}
	switch m.Type {
	case rtlink.NewLink, rtlink.DelLink, rtlink.SetLink, rtlink.NewLinkProp, rtlink.DelLinkProp:
		if len(p) >= rtlink.HeaderLen && p[0] != bridge && !elsewhere(p) {
			s.Class = LinkChange
			linkSubject(&s, p)
			s.Create = m.Type == rtlink.NewLink && m.Flags&netlink.Create != 0
		}
	case rtlink.GetLink:
		if m.Flags&netlink.Dump != 0 && p[0] != inet6 && p[0] != bridge && !elsewhere(p) {
			s.Class = LinkDump
		}
	case NewNeigh, DelNeigh, GetNeigh:
		if len(p) < ndmsgLen || p[0] == bridge {
			// A dump request may have the family alone.
			if m.Type == GetNeigh && m.Flags&netlink.Dump != 0 && p[0] != bridge {
				s.Class = NeighDump
			}
			return s
		}
		s.Class = NeighChange
		if m.Type == GetNeigh {
			s.Class = NeighGet
			if m.Flags&netlink.Dump != 0 {
				s.Class = NeighDump
			}
		}
		s.Index = int32(native.Uint32(p[4:]))
		for a := range attrs(p, ndmsgLen) {
			if a.Type == ndaIfindex && len(a.Data) >= 4 {
				s.Index = a.Int32()
			}
		}
	}
	return s
}

// elsewhere reports whether a message about a link is about another network
// namespace than the socket's (IFLA_TARGET_NETNSID).
func elsewhere(p []byte) bool {
	for a := range attrs(p, rtlink.HeaderLen) {
		if a.Type == rtlink.AttrTargetNetNSID {
			return true
		}
	}
	return false
}

func linkSubject(s *Subject, p []byte) {
	s.Index = int32(native.Uint32(p[4:]))
	for a := range attrs(p, rtlink.HeaderLen) {
		switch a.Type {
		case rtlink.AttrIfname:
			if a.String() != "" {
				s.Name = a.String()
			}
		case rtlink.AttrAltIfname:
			if s.Name == "" {
				s.Name = a.String()
			}
		case rtlink.AttrLink:
			if len(a.Data) >= 4 {
				s.Parent = a.Int32()
			}
		case rtlink.AttrLinkinfo:
			s.Kind = kindOf(a)
		}
	}
	if s.Index > 0 {
		s.Name = "" // a new name, if any
	}
}

// Plain reports whether a dump request of links asks for all of them: no
// attribute but IFLA_EXT_MASK.
func Plain(m *Message) bool {
	for a := range attrs(m.Payload(), rtlink.HeaderLen) {
		if a.Type != rtlink.AttrExtMask {
			return false
		}
	}
	return true
}

// DumpKind returns the kind of links that a dump request asks for, "" for all.
func DumpKind(m *Message) (kind string) {
	for a := range attrs(m.Payload(), rtlink.HeaderLen) {
		if a.Type == rtlink.AttrLinkinfo {
			kind = kindOf(a)
		}
	}
	return kind
}

// kindOf reads the kind in IFLA_LINKINFO.
func kindOf(info nl.Attr) (kind string) {
	for c := range info.Children() {
		if c.Type == rtlink.InfoKind {
			kind = c.String()
		}
	}
	return kind
}

// EthtoolSubject looks at a request of the ethtool family.
func EthtoolSubject(m *Message) (s Subject) {
	p := m.Payload()
	if m.Flags&netlink.Request == 0 || len(p) < genlHeaderLen {
		return s
	}
	s.Index, s.Name = deviceOf(p, headerAttr(p[0] == ethnl.CmdStatsGet))
	if s.Class = Ethtool; m.Flags&netlink.Dump == netlink.Dump {
		s.Class = EthtoolDump
	}
	return s
}

// headerAttr is the attribute that holds the header: it has another number in
// the messages about statistics (ETHTOOL_A_STATS_HEADER).
func headerAttr(stats bool) uint16 {
	if stats {
		return 2
	}
	return 1
}

// deviceOf reads the device of an ethtool message.
func deviceOf(p []byte, header uint16) (index int32, name string) {
	for a := range attrs(p, genlHeaderLen) {
		if a.Type != header {
			continue
		}
		for c := range a.Children() {
			switch {
			case c.Type == ethnl.HeaderDevIndex && len(c.Data) >= 4:
				index = c.Int32()
			case c.Type == ethnl.HeaderDevName:
				name = c.String()
			}
		}
	}
	return index, name
}

// ReplyDevice returns the index of the device that a message from the ethtool
// family is about, 0 for none.
func ReplyDevice(m *Message) int32 {
	p := m.Payload()
	if len(p) < genlHeaderLen {
		return 0
	}
	index, _ := deviceOf(p, headerAttr(p[0] == ethnl.MsgStatsGetReply))
	return index
}

// NetNSAttr finds the attribute of a link request that names a namespace by a
// descriptor or a process of the requester. It returns the attribute's
// offsets of type and value in the message, 0 when there is none.
func NetNSAttr(m *Message) (typ uint16, typeAt, valueAt int, value uint32) {
	p := m.Payload()
	if len(p) < rtlink.HeaderLen {
		return 0, 0, 0, 0
	}
	for a := range (nl.Attr{Data: p[rtlink.HeaderLen:], Offset: nl.HeaderLen + rtlink.HeaderLen - nl.AttrHeaderLen}).Children() {
		if (a.Type == rtlink.AttrNetNSFD || a.Type == rtlink.AttrNetNSPID) && len(a.Data) >= 4 {
			return a.Type, int(a.Offset) + 2, int(a.Offset) + nl.AttrHeaderLen, a.Uint32()
		}
	}
	return 0, 0, 0, 0
}
