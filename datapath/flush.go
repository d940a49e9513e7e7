package datapath

import (
	"ipoib/datapath/neigh"
	"ipoib/datapath/path"
	"ipoib/rdma"
)

// flushLevel says how much an event undoes (kernel enum ipoib_flush_level).
type flushLevel uint8

const (
	// flushLight: paths are queried again, groups left and joined again; the
	// carrier stays.
	flushLight flushLevel = iota
	// flushNormal: down and up again.
	flushNormal
	// flushHeavy: as normal with a fresh queue pair, where the P_Key index
	// changed.
	flushHeavy
)

// levelOf returns the flush that a port event causes (kernel ipoib_event).
func levelOf(t rdma.EventType) (flushLevel, bool) {
	switch t {
	case rdma.EventClientReregister, rdma.EventGIDChange:
		return flushLight, true
	case rdma.EventPortErr, rdma.EventPortActive, rdma.EventLIDChange:
		return flushNormal, true
	case rdma.EventPKeyChange:
		return flushHeavy, true
	}
	return 0, false
}

// flush undoes what an event made void (kernel __ipoib_ib_dev_flush).
func (i *Interface) flush(level flushLevel) {
	if i.removed {
		return
	}
	defer i.publish()
	// An interface whose queue pair is not up has nothing to flush: a heavy
	// flush may find its P_Key and open it, any other only sees a new address.
	if !i.opened {
		if level == flushHeavy {
			i.flushUnopened()
		} else {
			i.addressChanged()
		}
		i.debugf("Not flushing - IPOIB_FLAG_INITIALIZED not set.")
		return
	}
	if level == flushHeavy {
		found, changed := i.findPKey()
		if found && !changed {
			if i.parent == nil {
				i.debugf("Not flushing - P_Key value not changed.")
			} else {
				i.debugf("Not flushing - P_Key index not changed.")
			}
			return
		}
		i.pkeyChanged()
		i.ibStop()
		if !found {
			i.warnf("P_Key 0x%04x is not found", uint16(i.pkey.Full()))
			return
		}
		i.addressChanged()
		i.ibOpen()
		return
	}
	if level == flushNormal {
		i.ibDown()
		i.addressChanged()
		i.ibUp()
		return
	}
	i.paths.Invalidate(func(p *path.Path) {
		i.debugf("mark path LID 0x%08x GID %s invalid", uint32(p.Record.DLID), p.GID.Full())
	})
	i.voidDests()
	i.groups.Stop()
	i.groups.Flush()
	i.addressChanged()
	i.groups.Start(i.broadcastMGID(), i.addr.GID(), i.pkey.Full())
	i.readGroups()
}

// flushUnopened is a P_Key change while the interface has no queue pair up:
// its P_Key may have come (Q-9 of the driver corrected: at any index).
func (i *Interface) flushUnopened() {
	found, changed := i.findPKey()
	if changed {
		i.pkeyChanged()
	}
	i.addressChanged()
	if i.up && found {
		i.ibOpen()
	}
}

// pkeyChanged shows a P_Key that changed in the addresses.
func (i *Interface) pkeyChanged() {
	i.refreshAlias()
	i.updateViews()
}

// addressChanged takes over the subnet prefix of GID 0 and, unless the user
// chose the address, the whole GID (kernel ipoib_dev_addr_changed_valid).
func (i *Interface) addressChanged() {
	gid, err := i.port.rdma.GID(0)
	if err != nil {
		return
	}
	old := i.addr.GID()
	if i.addrSet {
		if gid.GUID() == old.GUID() {
			i.addrSet = false // back in the driver's hands
		}
		gid = rdma.MakeGID(gid.Prefix(), old.GUID())
	}
	if gid != old {
		i.setAddr(gid)
		i.host.linkLocal = false
	}
}

// addressValid reports whether the own GID is in the port's table; until it is
// nothing is joined (kernel IPOIB_FLAG_DEV_ADDR_SET).
func (i *Interface) addressValid() bool {
	_, err := i.port.rdma.FindGID(i.addr.GID())
	return err == nil
}

func isPermanent(e *neighbour) bool { return e.State() == neigh.Permanent }
