package datapath

import (
	"syscall"

	"ipoib/datapath/encap"
	"ipoib/rdma"
)

// set runs a setter on the loop and publishes what it changed.
func (i *Interface) set(op string, fn func() error) error {
	var err error
	ok := i.loop.call(func() {
		if i.removed {
			err = errGone(op, i.name)
			return
		}
		err = fn()
		i.publish()
	})
	if !ok {
		return errGone(op, i.Name())
	}
	return err
}

// SetUp sets the interface up or down. An interface without its P_Key, or
// without a subnet manager, is up without carrier.
func (i *Interface) SetUp(up bool) error {
	return i.set("set up", func() error {
		if i.up == up {
			return nil
		}
		if err := i.ns.ns.SetUp(i.ifindex, up); err != nil {
			return system("set up", i.name, err)
		}
		i.up = up
		if up {
			i.open()
		} else {
			i.stop()
		}
		return nil
	})
}

// SetMTU sets the MTU in bytes (kernel ipoib_change_mtu): in datagram mode 72
// to the port's maximum; above the broadcast group's MTU it is remembered and
// the group's is used. In connected mode up to 65520.
func (i *Interface) SetMTU(v int) error {
	return i.set("set mtu", func() error {
		eff, err := i.mtu.change(i.name, v)
		if err != nil {
			if v >= minUDMTU && v <= MaxMTU && i.mode == Datagram {
				i.debugf("MTU must be smaller than the underlying link layer MTU - 4 (%d)", i.mtu.max)
			}
			return err
		}
		if eff == i.mtu.mtu {
			return nil
		}
		i.warnMulticast(eff)
		if err := i.ns.ns.SetMTU(i.ifindex, eff); err != nil {
			return system("set mtu", i.name, err)
		}
		i.mtu.mtu = eff
		i.checkIPv6()
		return nil
	})
}

// SetName renames the interface.
func (i *Interface) SetName(name string) error {
	return i.set("set name", func() error {
		if name == i.name {
			return nil
		}
		if err := i.ns.ns.SetName(i.ifindex, name); err != nil {
			return system("set name", i.name, err)
		}
		if l, err := i.ns.ns.LinkByIndex(i.ifindex); err == nil {
			name = l.Name // it may have been a pattern
		}
		i.name = name
		return nil
	})
}

// SetTxQueueLen sets the transmit queue length in packets.
func (i *Interface) SetTxQueueLen(n int) error {
	return i.set("set txqueuelen", func() error {
		if err := i.ns.ns.SetTxQueueLen(i.ifindex, n); err != nil {
			return system("set txqueuelen", i.name, err)
		}
		i.txqlen = n
		return nil
	})
}

// maxAlias is IFALIASZ without the terminating NUL.
const maxAlias = 255

// SetAlias sets the interface alias; "" brings back the one that shows the
// addresses.
func (i *Interface) SetAlias(s string) error {
	return i.set("set alias", func() error {
		if err := checkAlias("set alias", i.name, s); err != nil {
			return err
		}
		if s == "" {
			i.alias = ""
			i.refreshAlias()
			return nil
		}
		if err := i.ns.ns.SetAlias(i.ifindex, s); err != nil {
			return system("set alias", i.name, err)
		}
		i.alias = s
		return nil
	})
}

// checkMode refuses a mode that the interface cannot be in.
func (i *Interface) checkMode(op string, m Mode) error {
	if m > Connected || m == Connected && i.hwFlags()&encap.FlagRC == 0 {
		return refuse(op, i.Name(), syscall.EINVAL, "")
	}
	return nil
}

// SetMode switches between datagram and connected mode (kernel
// ipoib_set_mode). Connected mode needs the RC flag in the own address. The
// MTU goes to the largest there is, or down to that of the broadcast group;
// outgoing connections end, and packets that wait are dropped.
func (i *Interface) SetMode(m Mode) error {
	return i.set("set mode", func() error {
		if err := i.checkMode("set mode", m); err != nil {
			return err
		}
		if m == i.mode {
			return nil
		}
		i.mode, i.mtu.connected = m, m == Connected
		if m == Connected {
			i.warnf("enabling connected mode will cause multicast packet drops")
		}
		i.updateFeatures()
		i.publish() // subscribers hear of features and MTU one by one
		mtu := i.mtu.maxCM
		if m == Datagram {
			mtu = min(i.mtu.group, i.mtu.mtu)
		}
		if eff, err := i.mtu.change(i.name, mtu); err == nil && eff != i.mtu.mtu {
			i.warnMulticast(eff)
			i.mtu.mtu = eff
			i.setHostMTU(eff)
			i.checkIPv6()
		}
		i.paths.Flush()
		i.updateViews()
		i.voidDests()
		return nil
	})
}

// warnMulticast says that groups do not take packets of the MTU.
func (i *Interface) warnMulticast(mtu int) {
	if i.mode == Connected && mtu > i.mtu.group {
		i.warnf("mtu > %d will cause multicast packet drops.", i.mtu.group)
	}
}

// SetUmcast makes the interface leave groups that other users of the port
// have joined to them (kernel umcast_store).
func (i *Interface) SetUmcast(on bool) error {
	return i.set("set umcast", func() error {
		if on {
			i.umcast = true
			i.warnf("ignoring multicast groups joined directly by userspace")
		} else {
			i.umcast = false
		}
		return nil
	})
}

// SetAddress changes the GUID part of the address (kernel ipoib_set_mac): the
// rest must be as it is, and the interface down. Children of a parent follow.
func (i *Interface) SetAddress(a encap.HardwareAddr) error {
	const op = "set address"
	err := i.set(op, func() error {
		if err := i.checkAddress(op, a); err != nil {
			return err
		}
		i.takeGUID(a.GID().GUID())
		return nil
	})
	if err != nil || i.parent != nil {
		return err
	}
	for _, c := range i.drv.children(i) {
		_ = c.set(op, func() error { c.takeGUID(a.GID().GUID()); return nil })
	}
	return nil
}

// takeGUID makes a GUID that of the own address; the port's own gives control
// back to the driver.
func (i *Interface) takeGUID(g rdma.GUID) {
	i.addrSet = true
	i.setAddr(rdma.MakeGID(i.addr.GID().Prefix(), g))
	i.host.linkLocal = false
	if own, err := i.port.rdma.GID(0); err == nil && own.GUID() == g {
		i.addrSet = false
	}
	i.flush(flushLight)
}
