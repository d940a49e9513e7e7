package ipoibface

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"ipoib/nl/genl"
	"ipoib/nl/ipoibnl"
	"ipoib/rdma"
	"ipoib/rdma/soft/sm"
)

// portNames maps port GUIDs to the node and the port that have them.
func portNames(st *sm.State) map[rdma.GUID]ipoibnl.PartitionMember {
	m := make(map[rdma.GUID]ipoibnl.PartitionMember)
	for _, n := range st.Nodes {
		for _, p := range n.Ports {
			if p.GUID != 0 {
				m[p.GUID] = ipoibnl.PartitionMember{GUID: uint64(p.GUID), Node: n.Desc, Port: p.Num}
			}
		}
	}
	return m
}

func (f *face) nodeDump(*genl.Request) (*genl.Dump, error) {
	st := f.SM.State()
	peers := make(map[sm.LinkEnd]sm.LinkEnd)
	for _, l := range st.Links {
		peers[l.A], peers[l.B] = l.B, l.A
	}
	names := make(map[rdma.GUID]string)
	for _, n := range st.Nodes {
		names[n.GUID] = n.Desc
	}
	var out []ipoibnl.Node
	for _, n := range st.Nodes {
		m := ipoibnl.Node{GUID: uint64(n.GUID), Type: uint8(n.Type), Desc: n.Desc}
		for _, p := range n.Ports {
			fp := ipoibnl.FabricPort{
				Num: p.Num, GUID: uint64(p.GUID), LID: uint16(p.LID), State: uint8(p.State),
				PhysState: uint8(p.Phys), Rate: p.Rate.String(), RateMbps: uint32(max(p.Rate.Mbps(), 0)),
				MTU: uint32(p.MTU.Bytes()),
			}
			if peer, ok := peers[sm.LinkEnd{Node: n.GUID, Port: p.Num}]; ok {
				fp.PeerNode, fp.PeerPort = names[peer.Node], peer.Port
			}
			for _, k := range p.PKeys {
				if k.IsValid() {
					fp.PKeys = binary.BigEndian.AppendUint16(fp.PKeys, uint16(k))
				}
			}
			m.Ports = append(m.Ports, fp)
		}
		out = append(out, m)
	}
	return list(ipoibnl.CmdNodeGet, out), nil
}

func (f *face) partitionDump(*genl.Request) (*genl.Dump, error) {
	st := f.SM.State()
	names := portNames(&st)
	ipoib := make(map[rdma.PKey]bool)
	for _, g := range st.Groups {
		ipoib[g.Record.PKey.Base()] = true
	}
	var out []ipoibnl.Partition
	for _, p := range st.Partitions {
		m := ipoibnl.Partition{PKey: uint16(p.PKey.Full()), Name: p.Name, IPoIB: ipoib[p.PKey.Base()]}
		for _, pm := range p.Members {
			e := names[pm.GUID]
			e.GUID, e.Membership = uint64(pm.GUID), pm.Membership.String()
			m.Members = append(m.Members, e)
		}
		out = append(out, m)
	}
	return list(ipoibnl.CmdPartitionGet, out), nil
}

func (f *face) fabricGroupDump(*genl.Request) (*genl.Dump, error) {
	st := f.SM.State()
	names := portNames(&st)
	var out []ipoibnl.FabricGroup
	for _, g := range st.Groups {
		r := g.Record
		m := ipoibnl.FabricGroup{
			MGID: r.MGID, MLID: uint16(r.MLID), PKey: uint16(r.PKey), QKey: uint32(r.QKey),
			MTU: uint32(r.MTU.Bytes()), RateMbps: uint32(max(r.Rate.Mbps(), 0)), SL: r.SL, Scope: r.Scope,
		}
		for _, gm := range g.Members {
			m.Members = append(m.Members, ipoibnl.GroupMember{
				GID: gm.GID, JoinState: uint8(gm.JoinState), Node: names[gm.GID.GUID()].Node,
			})
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b ipoibnl.FabricGroup) int { return cmp.Compare(a.MLID, b.MLID) })
	return list(ipoibnl.CmdFabricGroupGet, out), nil
}

func (f *face) managerGet(r *genl.Request) error {
	st := f.SM.State()
	m := ipoibnl.Manager{
		State: fmt.Sprint(st.State), GUID: uint64(st.Port), LID: uint16(f.SM.LIDOf(st.Port)),
		Priority: st.Priority, Prefix: st.Prefix, Paused: st.Paused, Ready: st.Ready,
		Sweeps: st.Stats.HeavySweeps, LightSweeps: st.Stats.LightSweeps,
		LastSweepUS: uint64(st.Stats.LastSweep.Microseconds()),
	}
	return reply(r, ipoibnl.CmdManagerGet, m)
}

func (f *face) hcaDump(*genl.Request) (*genl.Dump, error) {
	return list(ipoibnl.CmdHCAGet, f.Service.Adapters()), nil
}

func (f *face) hcaAdd(r *genl.Request) error {
	var q ipoibnl.HCA
	if err := ipoibnl.UnmarshalAttrs(r.Attrs, &q); err != nil {
		return err
	}
	return f.Service.AddAdapter(q)
}

func (f *face) hcaDel(r *genl.Request) error {
	var q ipoibnl.HCA
	if err := ipoibnl.UnmarshalAttrs(r.Attrs, &q); err != nil {
		return err
	}
	return f.Service.RemoveAdapter(q.Name)
}
