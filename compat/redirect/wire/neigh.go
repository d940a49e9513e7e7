package wire

import (
	"net/netip"

	"github.com/mdlayher/netlink"

	"ipoib/nl/ipoibnl"
)

// States of neighbours (uapi/linux/neighbour.h: NUD_*).
var nudStates = map[string]uint16{
	"INCOMPLETE": 0x01, "REACHABLE": 0x02, "STALE": 0x04, "DELAY": 0x08, "PROBE": 0x10,
	"FAILED": 0x20, "NOARP": 0x40, "PERMANENT": 0x80,
}

const (
	ntfRouter  = 0x80 // NTF_ROUTER
	rtnUnicast = 1    // RTN_UNICAST

	ndaCacheInfo = 3 // NDA_CACHEINFO
	ndaProbes    = 4 // NDA_PROBES

	// userHZ is the unit of struct nda_cacheinfo, per second.
	userHZ = 100
)

// family of an IP address (AF_INET, AF_INET6).
func family(ip netip.Addr) uint8 {
	if ip.Is4() {
		return 2
	}
	return inet6
}

// NeighItem is the message about a neighbour (neigh_fill_info).
func NeighItem(n *ipoibnl.Neigh) Item {
	b := make([]byte, ndmsgLen)
	b[0] = family(n.IP)
	native.PutUint32(b[4:], n.Ifindex)
	native.PutUint16(b[8:], nudStates[n.State])
	if n.Router {
		b[10] = ntfRouter
	}
	b[11] = rtnUnicast
	b = appendAttr(b, ndaDst, n.IP.AsSlice())
	if len(n.Addr) > 0 {
		b = appendAttr(b, ndaLLAddr, n.Addr)
	}
	// struct nda_cacheinfo: confirmed, used, updated, references.
	idle := uint32(n.IdleMS * userHZ / 1000)
	var ci []byte
	for _, v := range []uint32{idle, idle, idle, 0} {
		ci = native.AppendUint32(ci, v)
	}
	b = appendAttr(b, ndaProbes, native.AppendUint32(nil, 0))
	b = appendAttr(b, ndaCacheInfo, ci)
	return Item{Index: int32(n.Ifindex), Type: NewNeigh, Body: b}
}

// NeighRequest is what a request about one neighbour says.
type NeighRequest struct {
	Family uint8
	State  uint16
	Flags  uint8
	IP     netip.Addr
	Addr   []byte
}

// Proxy reports whether the request is about proxied addresses, which are a
// matter of the kernel (NTF_PROXY).
func (r *NeighRequest) Proxy() bool { return r.Flags&0x08 != 0 }

// ParseNeigh reads a request about neighbours. Where attributes are missing,
// so are the fields.
func ParseNeigh(m *Message) (r NeighRequest) {
	p := m.Payload()
	if len(p) > 0 {
		r.Family = p[0]
	}
	if len(p) < ndmsgLen {
		return r
	}
	r.State, r.Flags = native.Uint16(p[8:]), p[10]
	for a := range attrs(p, ndmsgLen) {
		switch a.Type {
		case ndaDst:
			r.IP, _ = netip.AddrFromSlice(a.Data)
		case ndaLLAddr:
			r.Addr = a.Data
		}
	}
	return r
}

// Match reports whether a neighbour is of the family that a dump asks for.
func (r *NeighRequest) Match(n *ipoibnl.Neigh) bool {
	return r.Family == 0 || r.Family == family(n.IP)
}

// Message encodes an item as a reply.
func (it *Item) Message(h netlink.Header) []byte {
	h.Type = it.Type
	return Append(nil, h, it.Body)
}
