package ipoibface

import (
	"syscall"

	"ipoib/datapath"
	"ipoib/datapath/encap"
	"ipoib/nl"
	"ipoib/nl/genl"
	"ipoib/nl/ipoibnl"
)

func (f *face) neighDump(r *genl.Request) (*genl.Dump, error) {
	ifaces, err := f.filtered(r)
	if err != nil {
		return nil, err
	}
	return perInterface(ipoibnl.CmdNeighGet, ifaces, func(i *datapath.Interface) []ipoibnl.Neigh {
		info := i.Info()
		var out []ipoibnl.Neigh
		for _, n := range i.Neighbours() {
			m := ipoibnl.Neigh{
				Ifindex: uint32(info.Ifindex), Ifname: info.Name, IP: n.IP, State: n.State.String(),
				Transport: n.Transport, QPN: uint32(n.QPN), MTU: uint32(n.MTU), LID: uint16(n.LID),
				Router: n.Router, Queued: uint32(n.Queued), IdleMS: uint64(n.Idle.Milliseconds()),
				LocalQPN: uint32(n.LocalQPN), Connection: n.Connection,
			}
			if !n.Addr.IsZero() {
				m.Addr = n.Addr[:]
			}
			out = append(out, m)
		}
		return out
	}), nil
}

// neighRequest reads a request about one neighbour.
func (f *face) neighRequest(r *genl.Request) (*datapath.Interface, ipoibnl.Neigh, error) {
	var q ipoibnl.Neigh
	if err := ipoibnl.UnmarshalAttrs(r.Attrs, &q); err != nil {
		return nil, q, err
	}
	i, err := f.iface(r, q.Ifindex, q.Ifname)
	return i, q, err
}

func (f *face) neighSet(r *genl.Request) error {
	i, q, err := f.neighRequest(r)
	if err != nil {
		return err
	}
	if len(q.Addr) != encap.HardwareAddrLen {
		return nl.Errorf(syscall.EINVAL, "a link-layer address has %d octets", encap.HardwareAddrLen)
	}
	return i.AddNeighbour(q.IP, encap.HardwareAddr(q.Addr))
}

func (f *face) neighDel(r *genl.Request) error {
	i, q, err := f.neighRequest(r)
	if err != nil {
		return err
	}
	if !q.IP.IsValid() {
		return i.FlushNeighbours()
	}
	return i.DeleteNeighbour(q.IP)
}

func (f *face) connDump(r *genl.Request) (*genl.Dump, error) {
	ifaces, err := f.filtered(r)
	if err != nil {
		return nil, err
	}
	return perInterface(ipoibnl.CmdConnGet, ifaces, func(i *datapath.Interface) []ipoibnl.Conn {
		info := i.Info()
		var out []ipoibnl.Conn
		for _, c := range i.Connections() {
			m := ipoibnl.Conn{
				Ifindex: uint32(info.Ifindex), Ifname: info.Name, Active: c.Active, State: c.State,
				LocalQPN: uint32(c.LocalQPN), RemoteQPN: uint32(c.RemoteQPN), MTU: uint32(c.MTU),
			}
			if !c.Addr.IsZero() {
				m.Addr = c.Addr[:]
			}
			out = append(out, m)
		}
		return out
	}), nil
}

func (f *face) pathDump(r *genl.Request) (*genl.Dump, error) {
	ifaces, err := f.filtered(r)
	if err != nil {
		return nil, err
	}
	return perInterface(ipoibnl.CmdPathGet, ifaces, func(i *datapath.Interface) []ipoibnl.Path {
		info := i.Info()
		var out []ipoibnl.Path
		for _, p := range i.Paths() {
			out = append(out, ipoibnl.Path{
				Ifindex: uint32(info.Ifindex), Ifname: info.Name, GID: p.GID, State: p.State.String(),
				Complete: p.Complete, DLID: uint16(p.DLID), SL: p.SL, RateMbps: uint32(max(p.Rate.Mbps(), 0)),
				MTU: uint32(p.MTU.Bytes()), HopLimit: p.HopLimit,
			})
		}
		return out
	}), nil
}

func (f *face) groupDump(r *genl.Request) (*genl.Dump, error) {
	ifaces, err := f.filtered(r)
	if err != nil {
		return nil, err
	}
	return perInterface(ipoibnl.CmdGroupGet, ifaces, func(i *datapath.Interface) []ipoibnl.Group {
		info := i.Info()
		var out []ipoibnl.Group
		for _, g := range i.Groups() {
			out = append(out, ipoibnl.Group{
				Ifindex: uint32(info.Ifindex), Ifname: info.Name, MGID: g.MGID, State: g.State.String(),
				Complete: g.Complete, SendOnly: g.SendOnly, NonMember: g.NonMember, Broadcast: g.Broadcast,
				MLID: uint16(g.MLID), QKey: uint32(g.QKey), MTU: uint32(g.MTU.Bytes()),
				RateMbps: uint32(max(g.Rate.Mbps(), 0)), SL: g.SL, Queued: uint32(g.Queued),
				CreatedMS: uint64(g.Created.UnixMilli()),
			})
		}
		return out
	}), nil
}

func (f *face) statsDump(r *genl.Request) (*genl.Dump, error) {
	ifaces, err := f.filtered(r)
	if err != nil {
		return nil, err
	}
	return perInterface(ipoibnl.CmdStatsGet, ifaces, func(i *datapath.Interface) []ipoibnl.Stats {
		info, s := i.Info(), i.Stats()
		m := ipoibnl.Stats{Ifindex: uint32(info.Ifindex), Ifname: info.Name, Counters: []ipoibnl.Counter{
			{Name: "rx_packets", Value: s.RxPackets}, {Name: "tx_packets", Value: s.TxPackets},
			{Name: "rx_bytes", Value: s.RxBytes}, {Name: "tx_bytes", Value: s.TxBytes},
			{Name: "rx_errors", Value: s.RxErrors}, {Name: "tx_errors", Value: s.TxErrors},
			{Name: "rx_dropped", Value: s.RxDropped}, {Name: "tx_dropped", Value: s.TxDropped},
			{Name: "multicast", Value: s.Multicast},
		}}
		works := i.WorkCounts()
		for k, w := range datapath.Works() {
			m.Counters = append(m.Counters, ipoibnl.Counter{Name: w.String(), Value: works[k]})
		}
		counts := i.DropCounts()
		for k, d := range datapath.Drops() {
			m.Drops = append(m.Drops, ipoibnl.Counter{Name: d.String(), Value: counts[k]})
		}
		return []ipoibnl.Stats{m}
	}), nil
}
