package datapath

import (
	"ipoib/datapath/hostnet"
	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// How an interface comes up (kernel ipoib_open, ipoib_ib_dev_open/up), in the
// loop:
//
//	IFF_UP    -> open:   P_Key found? queue pair to RTS ("opened")
//	          -> ibUp:   join the broadcast group ("running")
//	joined    -> carrierOn: MTU, carrier, views for the packet path
//
// and goes down: ibDown leaves the groups and forgets paths and neighbours,
// stop resets the queue pair. Without its P_Key the interface stays up without
// carrier, until the P_Key table changes.

// open is called when the interface was set up.
func (i *Interface) open() {
	i.debugf("bringing up interface")
	i.host.linkLocal = false
	i.neverUp = false
	i.readSysctls()
	i.ibOpen()
	for _, c := range i.drv.children(i) {
		c.followParent(true)
	}
}

// stop is called when the interface was set down.
func (i *Interface) stop() {
	i.debugf("stopping interface")
	i.ibStop()
	for _, c := range i.drv.children(i) {
		c.followParent(false)
	}
}

// followParent sets a child up or down with its parent.
func (i *Interface) followParent(up bool) {
	i.loop.post(func() {
		if i.removed || i.up == up {
			return
		}
		if err := i.ns.ns.SetUp(i.ifindex, up); err != nil {
			i.debugf("cannot follow the parent: %v", err)
		}
	})
}

// findPKey looks the P_Key up in the port's table: of a parent it is entry 0,
// whatever that is, of a child the configured one wherever it is (kernel
// update_parent_pkey, update_child_pkey). changed says that the interface has
// to start over.
func (i *Interface) findPKey() (found, changed bool) {
	oldIdx, oldKey := i.pkeyIdx, i.pkey
	if i.parent == nil {
		pk, err := i.port.rdma.PKey(0)
		if err != nil || !pk.IsValid() {
			return false, i.pkeyIdx != noPKey && i.setPKeyIndex(noPKey)
		}
		i.pkey = pk.Full()
		i.setPKeyIndex(0)
		return true, oldKey != i.pkey || oldIdx != 0
	}
	idx, err := i.port.rdma.FindPKey(i.pkey)
	if err != nil {
		return false, i.setPKeyIndex(noPKey)
	}
	return true, i.setPKeyIndex(idx)
}

const noPKey = -1

func (i *Interface) setPKeyIndex(n int) bool {
	changed := i.pkeyIdx != n
	i.pkeyIdx = n
	return changed
}

// ibOpen takes the queue pair to RTS and starts the joins.
func (i *Interface) ibOpen() {
	if found, _ := i.findPKey(); !found {
		if i.pkey.IsValid() {
			i.warnf("P_Key 0x%04x is not found", uint16(i.pkey.Full()))
		} else {
			i.warnf("P_Key 0x%04x is Invalid", uint16(i.pkey.Full()))
		}
		return
	}
	if err := i.startQP(); err != nil {
		i.warnf("failed to modify QP to RTS: %v", err)
		i.resetQP()
		return
	}
	i.opened = true
	i.openConns()
	i.ibUp()
}

// startQP takes the queue pair from RESET to RTS (kernel ipoib_init_qp).
func (i *Interface) startQP() error {
	steps := []struct {
		attr rdma.QPAttr
		mask rdma.QPAttrMask
	}{
		{rdma.QPAttr{State: rdma.QPSInit, PKeyIndex: uint16(i.pkeyIdx), QKey: i.qkey},
			rdma.QPAttrState | rdma.QPAttrPKeyIndex | rdma.QPAttrQKey},
		{rdma.QPAttr{State: rdma.QPSRTR}, rdma.QPAttrState},
		{rdma.QPAttr{State: rdma.QPSRTS, ReceiveAggregate: i.aggregates(), ReceiveChecksum: i.active&fRXCsum != 0},
			rdma.QPAttrState | rdma.QPAttrSQPSN | rdma.QPAttrReceiveAggregate | rdma.QPAttrReceiveChecksum},
	}
	for _, s := range steps {
		if err := i.qp.Modify(s.attr, s.mask); err != nil {
			return err
		}
	}
	return i.qp.PostRecv(i.drv.params.RecvQueueSize)
}

func (i *Interface) resetQP() {
	if err := i.qp.Modify(rdma.QPAttr{State: rdma.QPSReset}, rdma.QPAttrState); err != nil {
		i.warnf("Failed to modify QP to RESET state: %v", err)
	}
}

// ibUp starts to join; it is also the second half of a normal flush.
func (i *Interface) ibUp() {
	i.running = true
	i.updateViews()
	i.groups.Start(i.broadcastMGID(), i.addr.GID(), i.pkey.Full())
	i.readGroups()
}

// ibDown leaves all groups and forgets paths and neighbours; it is also the
// first half of a normal flush.
func (i *Interface) ibDown() {
	i.debugf("downing ib_dev")
	i.running = false
	i.setCarrier(false)
	i.updateViews()
	i.groups.Stop()
	i.groups.Flush()
	i.paths.Flush()
	if i.conns.table != nil {
		i.conns.table.Distrust()
	}
	i.neighs.Flush(func(e *neighbour) bool { return !isPermanent(e) })
	for ip := range i.host.dad {
		i.stopDAD(ip)
	}
	i.voidDests()
}

// ibStop takes an opened interface down.
func (i *Interface) ibStop() {
	if i.running {
		i.ibDown()
	}
	if !i.opened {
		return
	}
	i.opened = false
	i.stopConns()
	// ERR flushes what is posted; nothing of it is waited for, since sends
	// are complete when they return.
	if err := i.qp.Modify(rdma.QPAttr{State: rdma.QPSErr}, rdma.QPAttrState); err != nil {
		i.warnf("Failed to modify QP to ERROR state: %v", err)
	}
	i.resetQP()
	i.debugf("All sends and receives done.")
}

// broadcastJoined takes over the parameters of the broadcast group (kernel
// ipoib_mcast_join_finish).
func (i *Interface) broadcastJoined(rec mad.MCMemberRecord) error {
	i.qkey = rec.QKey
	if err := i.qp.Modify(rdma.QPAttr{QKey: rec.QKey}, rdma.QPAttrQKey); err != nil {
		return err
	}
	if mtu := i.mtu.joined(rec.MTU); mtu != i.mtu.mtu {
		i.mtu.mtu = mtu
		i.setHostMTU(mtu)
	}
	return nil
}

// carrierOn is called when the broadcast group is joined and attached.
func (i *Interface) carrierOn() {
	if st := i.port.rdma.Attr().State; st != rdma.PortActive {
		i.mcastf("Keeping carrier off until IB port is active")
		return
	}
	i.updateViews()
	if !i.carrier {
		i.setCarrier(true)
		i.announceAll()
	}
	i.checkIPv6()
	i.publish()
}

// setCarrier switches the carrier of the TUN and what it says of its speed.
func (i *Interface) setCarrier(on bool) {
	if i.carrier == on {
		return
	}
	i.carrier = on
	mbps, duplex := -1, hostnet.DuplexUnknown
	if on {
		mbps, duplex = i.Speed(), hostnet.DuplexFull
	}
	if err := i.ns.ns.SetSpeed(i.name, mbps, duplex); err != nil {
		i.debugf("cannot set speed: %v", err)
	}
	if err := i.dev.SetCarrier(on); err != nil {
		i.debugf("cannot set carrier: %v", err)
	}
	i.publish()
}

// Speed returns the speed of the port in Mb/s as the driver reports it: lane
// speed times width (kernel ipoib_get_link_ksettings), -1 when it is unknown.
func (i *Interface) Speed() int {
	a := i.port.rdma.Attr()
	if v := a.ActiveSpeed.Mbps() * a.ActiveWidth.Lanes(); v > 0 {
		return v
	}
	return -1
}

// readSysctls notes the settings of the host that the loop needs.
func (i *Interface) readSysctls() {
	v, err := i.ns.ns.Sysctl(familyIPv6, i.name, "forwarding")
	i.host.forwarding = err == nil && v == "1"
}
