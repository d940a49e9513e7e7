package datapath

import (
	"syscall"

	"ipoib/datapath/encap"
	"ipoib/datapath/mcast"
	"ipoib/datapath/path"
	"ipoib/datapath/tun"
	"ipoib/rdma"
	"ipoib/rdma/cm"
	"ipoib/rdma/mad"
	"ipoib/rdma/sa"
)

// SubnetAdmin is what interfaces ask of the SA client of their port. Results
// come on any goroutine, not before the call returns; a cancelled request has
// no result. Errors carry the errno that the driver logs (rdma/sa).
type SubnetAdmin interface {
	// Path queries one path record.
	Path(q sa.PathQuery, done func(mad.PathRecord, error)) (cancel func())
	// Join makes the port a member of a group; its memberships are counted
	// over all interfaces. done is called with the result and, after success,
	// once more when an event at the port ends the membership. leave ends the
	// join or the membership.
	Join(req mad.MCMemberRecord, mask mad.ComponentMask, done func(mad.MCMemberRecord, error)) (leave func())
	// IsMember reports whether any user of the port is in a group.
	IsMember(mgid rdma.GID) bool
	// SendOnlyFullMember reports whether the SA offers that JoinState.
	SendOnlyFullMember() bool
	// NoMulticast reports that the SA has no UD multicast: an IPoIB link is
	// impossible then (RFC 4391 section 2).
	NoMulticast() bool
	// ListGroups lists the groups of the subnet that the port may see.
	ListGroups(done func([]mad.MCMemberRecord, error)) (cancel func())
	// SubscribeGroups tells of groups that the SA creates and deletes.
	SubscribeGroups(fn func(mgid rdma.GID, created bool)) (cancel func())
	Close() error
}

// port is a port of a channel adapter with its interfaces.
type port struct {
	drv    *Driver
	rdma   rdma.Port
	sa     SubnetAdmin
	cm     *cm.CM // nil: no connections
	cancel []func()
}

// closeClients detaches from the port.
func (p *port) closeClients() {
	if p.cm != nil {
		_ = p.cm.Close()
	}
	_ = p.sa.Close()
}

// onEvent passes an event of the port to its interfaces, children first.
func (p *port) onEvent(e rdma.AsyncEvent) {
	if e.Port != 0 && e.Port != p.rdma.Num() {
		return
	}
	for _, i := range p.drv.onPort(p) {
		i.loop.post(func() { i.onEvent(e) })
	}
}

func (i *Interface) onEvent(e rdma.AsyncEvent) {
	if i.removed {
		return
	}
	if e.QP != nil {
		i.onQPEvent(e)
		return
	}
	level, ok := levelOf(e.Type)
	if !ok {
		return
	}
	i.debugf("Event %d on device %s port %d", e.Type, i.port.rdma.Device().Name(), e.Port)
	i.flush(level)
}

// onCapabilities is called when what the SA can do has changed.
func (p *port) onCapabilities() {
	for _, i := range p.drv.onPort(p) {
		i.loop.post(func() { i.flush(flushNormal) })
	}
}

// onGroup passes a trap 66 or 67 to the interfaces.
func (p *port) onGroup(mgid rdma.GID, created bool) {
	for _, i := range p.drv.onPort(p) {
		if i.info.Load().PKey.Full() != encap.MGIDPKey(mgid) {
			continue // of another partition, or of no IP link
		}
		i.loop.post(func() {
			if i.removed {
				return
			}
			if created {
				i.groups.Created(mgid)
				i.routerCreated(mgid)
			} else {
				i.groups.Deleted(mgid)
				i.routerDeleted(mgid)
			}
		})
	}
}

// queryPath asks the SA for the path to a GID (kernel path_rec_start).
func (i *Interface) queryPath(p *path.Path) func() {
	i.debugf("Start path record lookup for %s", p.GID.Full())
	q := sa.PathQuery{DGID: p.GID, SGID: i.addr.GID(), PKey: i.pkey.Full()}
	if b := i.groups.Broadcast(); b != nil {
		q.TClass = b.Record.TClass
	}
	return i.port.sa.Path(q, func(rec mad.PathRecord, err error) {
		i.loop.post(func() {
			if err != nil {
				i.debugf("PathRec status %d for GID %s", errnoOf(err), p.GID.Full())
			} else {
				i.debugf("PathRec LID 0x%04x for GID %s", uint16(rec.DLID), p.GID.Full())
			}
			i.paths.Complete(p, rec, err)
		})
	})
}

// pathAH makes the address handle of a path. A GRH is used where the path has
// a hop limit (kernel ib_init_ah_attr_from_path).
func (i *Interface) pathAH(p *path.Path) (rdma.AH, error) {
	rec := &p.Record
	attr := rdma.AHAttr{Port: i.port.rdma.Num(), DLID: rec.DLID, SL: rec.SL, StaticRate: rec.Rate}
	if rec.HopLimit > 0 {
		attr.GRH = &rdma.GRHAttr{
			DGID: p.GID, FlowLabel: rec.FlowLabel, TrafficClass: rec.TClass, HopLimit: rec.HopLimit,
		}
	}
	ah, err := i.pd.CreateAH(attr)
	if err != nil {
		i.warnf("failed to create address handle for LID 0x%04x: %v", uint16(rec.DLID), err)
		return nil, err
	}
	i.debugf("created address handle for LID 0x%04x, SL %d", uint16(rec.DLID), rec.SL)
	return ah, nil
}

// mcastHooks joins the group table to the port.
func (i *Interface) mcastHooks() mcast.Hooks {
	return mcast.Hooks{
		Join: func(g *mcast.Group, rec mad.MCMemberRecord, mask mad.ComponentMask) func() {
			return i.port.sa.Join(rec, mask, func(rec mad.MCMemberRecord, err error) {
				i.loop.post(func() { i.groups.Joined(g, rec, err) })
			})
		},
		Ready: i.canJoin,
		SendOnlyState: func() (mad.JoinState, bool) {
			if i.drv.params.RFCSendOnly || !i.port.sa.SendOnlyFullMember() {
				return mad.JoinSendOnlyNonMember, false
			}
			return mad.JoinSendOnlyFullMember, true
		},
		Skip:            func(mgid rdma.GID) bool { return i.umcast && i.port.sa.IsMember(mgid) },
		BroadcastJoined: i.broadcastJoined,
		Attach:          func(g *mcast.Group) error { return i.qp.AttachMulticast(g.MGID, g.Record.MLID) },
		Detach: func(g *mcast.Group) {
			if err := i.qp.DetachMulticast(g.MGID, g.Record.MLID); err != nil {
				i.warnf("ib_detach_mcast failed (result = %v)", err)
			}
		},
		MakeAH:    i.groupAH,
		CarrierOn: i.carrierOn,
		Send:      i.send,
		Drop:      func(p tun.Packet) { i.dropTX(p, TXNoGroup) },
		Post:      i.loop.post,
		Debugf:    i.mcastf,
		Warnf:     i.warnf,
	}
}

// canJoin reports whether the port can join groups now.
func (i *Interface) canJoin() bool {
	if st := i.port.rdma.Attr().State; st != rdma.PortActive {
		i.mcastf("port state is not ACTIVE (state = %d) suspending join task", st)
		return false
	}
	if i.port.sa.NoMulticast() {
		i.warnf("the subnet has no multicast, IPoIB is impossible")
		return false
	}
	return i.addressValid()
}

// groupAH makes the address handle of a group; a GRH is always there.
func (i *Interface) groupAH(g *mcast.Group) (rdma.AH, error) {
	rec := &g.Record
	ah, err := i.pd.CreateAH(rdma.AHAttr{
		Port: i.port.rdma.Num(), DLID: rec.MLID, SL: rec.SL, StaticRate: rec.Rate,
		GRH: &rdma.GRHAttr{DGID: g.MGID, FlowLabel: rec.FlowLabel, TrafficClass: rec.TClass, HopLimit: rec.HopLimit},
	})
	if err != nil {
		i.warnf("ib_address_create failed: %v", err)
		return nil, err
	}
	i.mcastf("Created ah")
	return ah, nil
}

// errnoOf returns the negative errno of an error, as the driver logs it.
func errnoOf(err error) int {
	if err == nil {
		return 0
	}
	if n := Errno(err); n != syscall.EIO {
		return -int(n)
	}
	return -int(syscall.EINVAL)
}
