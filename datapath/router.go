package datapath

import (
	"ipoib/datapath/encap"
	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// routerState is the state of a multicast router: while the host has the
// interface in all-multicast mode, every group of the link is joined as
// NonMember, which receives but keeps no group alive (RFC 4391 section 11).
type routerState struct {
	on     bool
	groups map[rdma.GID]bool
	cancel func()
}

// setRouter follows the all-multicast flag.
func (i *Interface) setRouter(on bool) {
	i.router.on = on
	if i.router.cancel != nil {
		i.router.cancel()
		i.router.cancel = nil
	}
	if !on {
		i.router.groups = nil
		i.groups.SetRouter(nil)
		return
	}
	i.listGroups()
}

// listGroups asks the SA for all groups; creations after that come by trap 66.
func (i *Interface) listGroups() {
	if !i.router.on || !i.running {
		return
	}
	i.router.cancel = i.port.sa.ListGroups(func(recs []mad.MCMemberRecord, err error) {
		i.loop.post(func() {
			i.router.cancel = nil
			if !i.router.on || i.removed {
				return
			}
			if err != nil {
				i.warnf("cannot list the multicast groups: %v", err)
				return
			}
			i.router.groups = make(map[rdma.GID]bool)
			for _, r := range recs {
				if i.routes(r.MGID) {
					i.router.groups[r.MGID] = true
				}
			}
			i.groups.SetRouter(i.router.groups)
		})
	})
}

// routes reports whether a group is one of this link's, other than the
// broadcast group.
func (i *Interface) routes(mgid rdma.GID) bool {
	bcast := i.broadcastMGID()
	return encap.IsIPoIB(mgid) && encap.SameLink(mgid, bcast) && mgid != bcast
}

// routerDeleted forgets a group that is gone; it is joined anew when it is
// created again.
func (i *Interface) routerDeleted(mgid rdma.GID) {
	if i.router.groups[mgid] {
		delete(i.router.groups, mgid)
		i.groups.SetRouter(i.router.groups)
	}
}

// routerCreated joins a group that was created.
func (i *Interface) routerCreated(mgid rdma.GID) {
	if i.router.on && i.router.groups != nil && i.routes(mgid) {
		i.router.groups[mgid] = true
		i.groups.SetRouter(i.router.groups)
	}
}
