// Package ipoibface serves the generic netlink family "ipoib" (nl/ipoibnl):
// it shows the driver's neighbours, paths, groups and counters, the fabric as
// its subnet manager sees it, and controls the service. It only translates:
// what is allowed and what happens is decided in the packages below.
package ipoibface

import (
	"io"
	"syscall"

	"ipoib/compat/modparam"
	"ipoib/datapath"
	"ipoib/datapath/hostnet"
	"ipoib/nl"
	"ipoib/nl/genl"
	"ipoib/nl/ipoibnl"
	"ipoib/rdma/soft"
	"ipoib/rdma/soft/sm"
)

// Service is what the family needs of the service as a whole. Errors carry an
// errno.
type Service interface {
	Info() ipoibnl.Service
	Stop(teardown bool)
	Adapters() []ipoibnl.HCA
	AddAdapter(ipoibnl.HCA) error
	RemoveAdapter(name string) error
	// ReloadPartitions reads the partition file again; EINVAL without one.
	ReloadPartitions() error
	// Port returns the fabric port that a name such as "soft0/1" means.
	Port(name string) (soft.End, error)
}

// Config names what the family shows.
type Config struct {
	Driver  *datapath.Driver
	Fabric  *soft.Fabric
	SM      *sm.SM
	Service Service
	// Params are the module parameters.
	Params *modparam.Set
	// FollowLog calls fn with the last n lines of the log and with each new
	// one until cancel is called; fn does not block. nil: there is no log.
	FollowLog func(n int, fn func(ipoibnl.LogLine)) (cancel func())
}

type face struct {
	Config
}

// Register adds the family.
func Register(reg *genl.Registry, cfg Config) (*genl.Registered, error) {
	f := &face{cfg}
	do := func(cmd uint8, flags genl.OpFlags, req any, fn func(*genl.Request) error) genl.Op {
		op := genl.Op{Cmd: cmd, Flags: flags, Do: fn}
		if req != nil {
			op.Policy = ipoibnl.PolicyOf(req)
		}
		return op
	}
	dump := func(cmd uint8, fn func(*genl.Request) (*genl.Dump, error)) genl.Op {
		return genl.Op{Cmd: cmd, DumpPolicy: ipoibnl.PolicyOf(ipoibnl.Filter{}), Dump: fn}
	}
	const admin, service = genl.UnsAdminPerm, genl.AdminPerm
	return reg.Register(genl.Family{
		Name: ipoibnl.Name, Version: ipoibnl.Version,
		Ops: []genl.Op{
			do(ipoibnl.CmdServiceGet, 0, nil, f.serviceGet),
			do(ipoibnl.CmdServiceStop, service, ipoibnl.ServiceStop{}, f.serviceStop),
			dump(ipoibnl.CmdNeighGet, f.neighDump),
			dump(ipoibnl.CmdConnGet, f.connDump),
			do(ipoibnl.CmdNeighSet, admin, ipoibnl.Neigh{}, f.neighSet),
			do(ipoibnl.CmdNeighDel, admin, ipoibnl.Neigh{}, f.neighDel),
			dump(ipoibnl.CmdPathGet, f.pathDump),
			dump(ipoibnl.CmdGroupGet, f.groupDump),
			dump(ipoibnl.CmdStatsGet, f.statsDump),
			dump(ipoibnl.CmdNodeGet, f.nodeDump),
			dump(ipoibnl.CmdPartitionGet, f.partitionDump),
			dump(ipoibnl.CmdFabricGroupGet, f.fabricGroupDump),
			do(ipoibnl.CmdManagerGet, 0, nil, f.managerGet),
			dump(ipoibnl.CmdHCAGet, f.hcaDump),
			do(ipoibnl.CmdHCAAdd, service, ipoibnl.HCA{}, f.hcaAdd),
			do(ipoibnl.CmdHCADel, service, ipoibnl.HCA{}, f.hcaDel),
			do(ipoibnl.CmdCapture, service, ipoibnl.Capture{}, f.capture),
			do(ipoibnl.CmdFault, service, ipoibnl.Fault{}, f.fault),
			do(ipoibnl.CmdEthtool, 0, ipoibnl.EthtoolRequest{}, f.ethtool),
			dump(ipoibnl.CmdParamGet, f.paramDump),
			do(ipoibnl.CmdParamSet, service, ipoibnl.Param{}, f.paramSet),
			do(ipoibnl.CmdLog, service, ipoibnl.LogFollow{}, f.log),
		},
	})
}

// list is a dump of objects that are at hand.
func list[T any](cmd uint8, items []T) *genl.Dump {
	return &genl.Dump{Cmd: cmd, Next: nl.Each(items, func(e *nl.Encoder, v T) error {
		ipoibnl.Marshal(e, v)
		return nil
	})}
}

// perInterface is a dump of objects that interfaces have: those of one
// interface are read when the client gets there.
func perInterface[T any](cmd uint8, ifaces []*datapath.Interface, read func(*datapath.Interface) []T) *genl.Dump {
	var have []T
	return &genl.Dump{Cmd: cmd, Next: func(e *nl.Encoder) error {
		for len(have) == 0 {
			if len(ifaces) == 0 {
				return io.EOF
			}
			have = read(ifaces[0])
			ifaces = ifaces[1:]
		}
		ipoibnl.Marshal(e, have[0])
		have = have[1:]
		return nil
	}}
}

func netnsOf(r *genl.Request) hostnet.ID {
	ns := r.NetNS()
	return hostnet.ID{Dev: ns.Dev, Ino: ns.Ino}
}

// iface finds an interface of the requester's namespace by index or name;
// ENODEV when there is none.
func (f *face) iface(r *genl.Request, ifindex uint32, name string) (*datapath.Interface, error) {
	var i *datapath.Interface
	switch {
	case ifindex != 0:
		i = f.Driver.ByIndex(netnsOf(r), int(ifindex))
	case name != "":
		i = f.Driver.ByName(netnsOf(r), name)
	default:
		return nil, nl.Errorf(syscall.EINVAL, "no interface named")
	}
	if i == nil {
		return nil, syscall.ENODEV
	}
	return i, nil
}

// filtered returns the interfaces that a dump is about.
func (f *face) filtered(r *genl.Request) ([]*datapath.Interface, error) {
	var q ipoibnl.Filter
	if err := ipoibnl.UnmarshalAttrs(r.Attrs, &q); err != nil {
		return nil, err
	}
	if q.Ifindex == 0 && q.Ifname == "" {
		return f.Driver.Interfaces(netnsOf(r)), nil
	}
	i, err := f.iface(r, q.Ifindex, q.Ifname)
	if err != nil {
		return nil, err
	}
	return []*datapath.Interface{i}, nil
}

func reply(r *genl.Request, cmd uint8, v any) error {
	return r.Reply(cmd, func(e *nl.Encoder) error { ipoibnl.Marshal(e, v); return nil })
}

func (f *face) serviceGet(r *genl.Request) error {
	return reply(r, ipoibnl.CmdServiceGet, f.Service.Info())
}

func (f *face) serviceStop(r *genl.Request) error {
	var q ipoibnl.ServiceStop
	if err := ipoibnl.UnmarshalAttrs(r.Attrs, &q); err != nil {
		return err
	}
	f.Service.Stop(q.Teardown)
	return nil
}
