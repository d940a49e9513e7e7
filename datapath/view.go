package datapath

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"ipoib/datapath/connected"
	"ipoib/datapath/encap"
	"ipoib/datapath/mcast"
	"ipoib/datapath/neigh"
	"ipoib/datapath/path"
	"ipoib/rdma"
)

// NeighView is a neighbour as the commands show it.
type NeighView struct {
	IP     netip.Addr
	State  neigh.State
	Addr   encap.HardwareAddr // zero until it is known
	Router bool
	// Idle is the time since the last use; Queued packets wait for the
	// address.
	Idle   time.Duration
	Queued int
	// Transport is how packets go there ("ud" or "rc"), QPN to which queue
	// pair, LocalQPN from which, MTU how large they may be in bytes.
	Transport     string
	QPN, LocalQPN rdma.QPN
	MTU           int
	// Connection is the state of the connection in connected mode ("idle",
	// "connecting", "connected", "backoff"), "" to peers that take none.
	Connection string
	// LID is the way's destination, 0 while it is unknown.
	LID rdma.LID
}

// Neighbours lists the neighbour cache, by address.
func (i *Interface) Neighbours() []NeighView {
	var out []NeighView
	i.loop.call(func() {
		if i.removed {
			return
		}
		now := i.drv.sys.Clock.Now()
		i.neighs.Entries(func(e *neighbour) {
			v := NeighView{
				IP: e.IP, State: e.State(), Router: e.IsRouter(), Idle: max(e.Idle(now), 0), Queued: e.Queued(),
			}
			if e.State().HasAddr() {
				v.Addr, v.Transport, v.QPN, v.MTU = e.Addr(), "ud", e.Addr().QPN(), i.mtu.group
				v.LocalQPN = i.qp.Num()
				i.viewConnection(&v, e.Target.Load())
				if p := i.paths.Lookup(e.Addr().GID()); p != nil && p.Complete() {
					v.LID = p.Record.DLID
				}
			}
			out = append(out, v)
		})
	})
	slices.SortFunc(out, func(a, b NeighView) int { return a.IP.Compare(b.IP) })
	return out
}

// viewConnection adds what there is of a connection to a neighbour.
func (i *Interface) viewConnection(v *NeighView, peer *path.Peer) {
	if i.mode != Connected || i.conns.table == nil || !v.Addr.SupportsRC() {
		return
	}
	v.Connection = connected.Idle.String()
	if peer == nil {
		return
	}
	r := i.conns.table.Remote(peer)
	if r == nil {
		return
	}
	v.Connection = r.State().String()
	v.Queued += r.Queued()
	if c := r.Conn(); c != nil && r.State() == connected.Connected {
		v.Transport, v.QPN, v.LocalQPN, v.MTU = "rc", c.RemoteQPN(), c.QP.Num(), c.MTU()
	}
}

// ConnView is a connection as the commands show it.
type ConnView struct {
	// Addr is the peer, zero when it did not say who it is. Active: we asked
	// for the connection.
	Addr   encap.HardwareAddr
	Active bool
	// State is the state in the communication manager's terms
	// ("ESTABLISHED").
	State string
	// LocalQPN and RemoteQPN are its ends, MTU the largest IP packet that the
	// peer takes.
	LocalQPN, RemoteQPN rdma.QPN
	MTU                 int
}

// Connections lists the connections of either side, by peer and queue pair.
func (i *Interface) Connections() []ConnView {
	var out []ConnView
	i.loop.call(func() {
		if i.removed || i.conns.table == nil {
			return
		}
		i.conns.table.Conns(func(c *connected.Conn) {
			out = append(out, ConnView{
				Addr: c.Addr, Active: c.Active, State: c.State().String(),
				LocalQPN: c.QP.Num(), RemoteQPN: c.RemoteQPN(), MTU: max(c.MTU(), 0),
			})
		})
	})
	slices.SortFunc(out, func(a, b ConnView) int {
		return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.LocalQPN, b.LocalQPN))
	})
	return out
}

// AddNeighbour sets a permanent neighbour. It stays valid while the peer
// keeps its queue pair number (RFC 4391 section 9.4).
func (i *Interface) AddNeighbour(ip netip.Addr, a encap.HardwareAddr) error {
	return i.set("add neighbour", func() error {
		if !a.IsUnicast() || !ip.IsValid() || ip.IsMulticast() || ip.IsUnspecified() {
			return refuse("add neighbour", i.name, syscall.EINVAL, "")
		}
		i.neighs.SetPermanent(i.neighs.Get(ip), a)
		return nil
	})
}

// DeleteNeighbour removes a neighbour, permanent or not: ENOENT when there is
// none.
func (i *Interface) DeleteNeighbour(ip netip.Addr) error {
	return i.set("delete neighbour", func() error {
		e := i.neighs.Lookup(ip)
		if e == nil {
			return refuse("delete neighbour", i.name, syscall.ENOENT, "")
		}
		i.neighs.Remove(e)
		return nil
	})
}

// FlushNeighbours removes all neighbours that are not permanent.
func (i *Interface) FlushNeighbours() error {
	return i.set("flush neighbours", func() error {
		i.neighs.Flush(func(e *neighbour) bool { return !isPermanent(e) })
		return nil
	})
}

// PathView is a path as the commands and debugfs show it.
type PathView struct {
	GID      rdma.GID
	State    path.State
	Complete bool
	DLID     rdma.LID
	SL       uint8
	Rate     rdma.Rate
	MTU      rdma.MTU
	HopLimit uint8
}

// Paths lists the path records, by GID.
func (i *Interface) Paths() []PathView {
	var out []PathView
	i.loop.call(func() {
		if i.removed {
			return
		}
		i.paths.Paths(func(p *path.Path) {
			r := &p.Record
			out = append(out, PathView{
				GID: p.GID, State: p.State(), Complete: p.Complete(), DLID: r.DLID, SL: r.SL,
				Rate: r.Rate, MTU: r.MTU, HopLimit: r.HopLimit,
			})
		})
	})
	slices.SortFunc(out, func(a, b PathView) int { return bytes.Compare(a.GID[:], b.GID[:]) })
	return out
}

// GroupView is a multicast group as the commands and debugfs show it.
type GroupView struct {
	MGID    rdma.GID
	State   mcast.State
	Created time.Time
	Queued  int
	// Complete: an address handle exists. SendOnly: the host only sends
	// there. NonMember: received for routing.
	Complete, SendOnly, NonMember bool
	MLID                          rdma.LID
	QKey                          rdma.QKey
	MTU                           rdma.MTU
	Rate                          rdma.Rate
	SL                            uint8
	Broadcast                     bool
}

// Groups lists the multicast groups, by MGID.
func (i *Interface) Groups() []GroupView {
	var out []GroupView
	i.loop.call(func() {
		if i.removed {
			return
		}
		i.groups.Groups(func(g *mcast.Group) {
			r := &g.Record
			out = append(out, GroupView{
				MGID: g.MGID, State: g.State(), Created: g.Created, Queued: g.Queued(),
				Complete: g.Complete(), SendOnly: g.SendOnly(), NonMember: g.NonMember(),
				MLID: r.MLID, QKey: r.QKey, MTU: r.MTU, Rate: r.Rate, SL: r.SL,
				Broadcast: g == i.groups.Broadcast(),
			})
		})
	})
	slices.SortFunc(out, func(a, b GroupView) int {
		return bytes.Compare(a.MGID[:], b.MGID[:])
	})
	return out
}
