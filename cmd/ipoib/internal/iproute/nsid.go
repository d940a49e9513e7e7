package iproute

import (
	"github.com/mdlayher/netlink"

	"ipoib/nl"
	"ipoib/nl/rtlink"
)

// NSID implements linkfmt.Names: the name of a namespace by its id.
func (n names) NSID(id int32) string {
	if id < 0 {
		return ""
	}
	n.s.readNSIDs()
	return n.s.nsids[id]
}

// readNSIDs asks once for the ids of all namespaces that have a name
// (netns_map_init).
func (s *session) readNSIDs() {
	if s.nsids != nil {
		return
	}
	s.nsids = make(map[int32]string)
	if s.nsh == nil {
		h, err := s.dial(nl.ConnConfig{})
		if err != nil {
			return
		}
		s.nsh = h
	}
	for _, name := range s.env.Host.NetNSNames() {
		id := s.nsid(name)
		if _, ok := s.nsids[id]; id >= 0 && !ok {
			s.nsids[id] = name
		}
	}
}

// nsid asks for the id of a named namespace, -1 for none
// (get_netnsid_from_name).
func (s *session) nsid(name string) int32 {
	if s.nsh == nil {
		h, err := s.dial(nl.ConnConfig{})
		if err != nil {
			return -1
		}
		s.nsh = h
	}
	f, err := s.env.Host.OpenNetNS(name)
	if err != nil {
		return -1
	}
	defer func() { _ = f.Close() }()
	m, err := s.talk(s.nsh, request{rtlink.GetNSID, netlink.Request, func(e *nl.Encoder) {
		e.Raw([]byte{0})
		e.U32(rtlink.NSIDAttrFD, uint32(f.Fd()))
	}}, true, true)
	if err != nil || len(m.data) < 4 {
		return -1
	}
	id := int32(-1)
	for a := range rtlink.Attrs(m.data[4:]) {
		if a.Type == rtlink.NSIDAttrNSID && len(a.Data) >= 4 {
			id = a.Int32()
		}
	}
	return id
}
