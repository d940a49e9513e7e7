package datapath

import (
	"errors"

	"ipoib/datapath/hostnet"
	"ipoib/datapath/tun"
)

// onLinkGone is called when the link left its namespace: it was moved to
// another one, or deleted.
func (i *Interface) onLinkGone(moved bool) {
	if i.removed {
		return
	}
	if !moved {
		// Deleted; the device says so as well (onDeviceGone).
		return
	}
	f, err := i.dev.NetNS()
	if err != nil {
		i.debugf("cannot find the namespace that the link moved to: %v", err)
		return
	}
	ns, err := i.drv.sys.Host.ByFile(f)
	_ = f.Close()
	if err != nil {
		i.log().Warn("cannot follow the link to its new namespace", "err", err)
		return
	}
	i.enter(ns)
}

// enter makes ns the namespace of the interface, whose link is there already.
// It takes ns over.
func (i *Interface) enter(ns hostnet.Namespace) {
	n, err := i.drv.useNamespace(ns)
	if err != nil {
		i.log().Warn("cannot follow the link to its new namespace", "err", err)
		return
	}
	old := i.ns
	old.detach(i.ifindex)
	i.ns = n
	i.drv.releaseNamespace(old)
	// The kernel takes addresses and routes away and sets the link down.
	for _, a := range append([]hostnet.Addr(nil), i.host.addrs...) {
		i.onAddrGone(a)
	}
	name, err := i.dev.Name()
	if err != nil {
		return // deleted meanwhile
	}
	l, err := n.ns.LinkByName(name)
	if err != nil {
		i.log().Warn("the link is not in its new namespace", "err", err)
		return
	}
	i.ifindex = l.Index
	n.attach(l.Index, i)
	i.readLink()
}

// onDeviceGone is called when the transmitter ended: the device was closed by
// us, or deleted by the host.
func (i *Interface) onDeviceGone(err error) {
	if i.removed {
		return
	}
	if !errors.Is(err, tun.ErrRemoved) {
		i.log().Error("reading the TUN failed", "err", err)
		return
	}
	// As the driver, a child can be deleted and a parent cannot: it comes
	// back, without addresses. Both take the driver's topology lock, which
	// our callers may hold while they wait for this loop.
	if i.parent != nil {
		go func() { _ = i.drv.removeGone(i) }()
		return
	}
	go i.drv.revive(i)
}

// removeGone removes a child whose link was deleted by the host.
func (d *Driver) removeGone(i *Interface) error {
	d.topology.Lock()
	defer d.topology.Unlock()
	i.remove(false)
	return nil
}

// revive makes the TUN of a parent again after the host deleted it, in its
// namespace or, when that is gone too, in that of the service.
func (d *Driver) revive(i *Interface) {
	d.topology.Lock()
	defer d.topology.Unlock()
	i.loop.call(func() {
		if i.removed {
			return
		}
		i.log().Warn("the interface of a port cannot be deleted, making it again")
		if i.up {
			i.up = false
			i.stop()
		}
		_ = i.dev.Close()
		i.ns.detach(i.ifindex)
		i.ifindex = 0
		i.host.addrs = nil
		i.alias = ""
		i.mtu = newMTUState(i.port.rdma.Attr().MaxMTU, i.mtu.maxCM)
		i.mtu.connected = i.mode == Connected
		if i.mtu.connected {
			i.mtu.mtu = i.mtu.maxCM
		}
		if err := i.openTUN(nil); err != nil {
			i.log().Error("cannot make the interface again", "err", err)
			return
		}
		i.ns.attach(i.ifindex, i)
		i.refreshAlias()
		i.publish()
		i.startTransmitter()
		i.readLink()
	})
}

// SetNamespace moves the interface to another network namespace, taking ns
// over. A name that is taken there is EEXIST.
func (i *Interface) SetNamespace(ns hostnet.Namespace) error {
	return i.set("set netns", func() error {
		if ns.ID() == i.ns.id {
			return ns.Close()
		}
		if err := i.ns.ns.Move(i.ifindex, ns); err != nil {
			_ = ns.Close()
			return system("set netns", i.name, err)
		}
		i.enter(ns)
		return nil
	})
}
