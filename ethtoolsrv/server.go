package ethtoolsrv

import (
	"fmt"
	"sync/atomic"

	"ipoib/datapath"
	"ipoib/datapath/hostnet"
	"ipoib/nl"
	"ipoib/nl/ethnl"
	"ipoib/nl/genl"
)

// Config configures the family.
type Config struct {
	// Driver has the interfaces.
	Driver *datapath.Driver
	// ID and Group ask for the numbers of the family and of its group, to
	// agree with the kernel's; 0: the next free ones.
	ID    uint16
	Group uint32
}

// Server is the registered family.
type Server struct {
	drv    *datapath.Driver
	family *genl.Registered
	reg    *genl.Registry
	cancel func()
	// seq numbers the notifications, for all namespaces (kernel
	// ethnl_bcast_seq).
	seq atomic.Uint32
}

// Register adds the family to reg. It fails like Registry.Register.
func Register(reg *genl.Registry, cfg Config) (*Server, error) {
	s := &Server{drv: cfg.Driver, reg: reg}
	f := genl.Family{
		Name: ethnl.Name, ID: cfg.ID, Version: ethnl.Version,
		// Commands after MODULE_GET are checked for reserved bits
		// (kernel ethtool_genl_family.resv_start_op).
		ResvStart: ethnl.CmdModuleGet + 1,
		Groups:    []genl.Group{{Name: ethnl.GroupMonitor, ID: cfg.Group}},
	}
	policies := ethnl.RequestPolicies()
	for _, row := range table() {
		f.Ops = append(f.Ops, row.op(s, policies[row.cmd]))
	}
	var err error
	if s.family, err = reg.Register(f); err != nil {
		return nil, fmt.Errorf("ethtoolsrv: %w", err)
	}
	s.cancel = s.drv.Subscribe(s.changed)
	return s, nil
}

// Close removes the family.
func (s *Server) Close() error {
	s.cancel()
	return s.reg.Unregister(s.family)
}

// changed tells the group of a change. It runs on the loop of the interface
// and does not block.
func (s *Server) changed(c datapath.Change) {
	if c.Old == nil || c.New == nil {
		return
	}
	if c.Old.Features.Active != c.New.Features.Active {
		s.notify(c.New, ethnl.MsgFeaturesNTF, featuresFill(c.New, true))
	}
	if c.Old.Coalesce != c.New.Coalesce {
		s.notify(c.New, ethnl.MsgCoalesceNTF, coalesceFill(c.New))
	}
}

// notify sends a notification: the reply of the GET command, with compact
// bitsets (kernel ethnl_default_notify).
func (s *Server) notify(info *datapath.Info, msg uint8, fill fillFunc) {
	seq := s.seq.Add(1)
	// It cannot fail: a message is far below the limits.
	_ = s.family.Notify(netNS(info.NS), 0, seq, msg, func(e *nl.Encoder) error {
		ethnl.AppendHeader(e, ethnl.LinkInfoHeader, info.Ifindex, info.Name)
		fill(e)
		return e.Err()
	})
}

func netNS(id hostnet.ID) nl.NetNS     { return nl.NetNS{Dev: id.Dev, Ino: id.Ino} }
func hostNetNS(id nl.NetNS) hostnet.ID { return hostnet.ID{Dev: id.Dev, Ino: id.Ino} }
