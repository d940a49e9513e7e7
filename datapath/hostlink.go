package datapath

import (
	"encoding/binary"
	"syscall"

	"ipoib/datapath/hostnet"
)

// HostLink returns what the kernel says of the TUN: an RTM_NEWLINK message
// behind its nlmsghdr. What the kernel can hold of an interface is there.
func (i *Interface) HostLink() ([]byte, error) {
	info := i.Info()
	n, err := i.drv.space(info.NS)
	if err != nil {
		return nil, err
	}
	msgs, err := n.ns.LinkMessages(info.Ifindex)
	if err != nil {
		return nil, system("get link", info.Name, err)
	}
	if len(msgs) == 0 {
		return nil, errGone("get link", info.Name)
	}
	return msgs[0], nil
}

// HostLinks returns the messages of all links of a namespace that has
// interfaces, by ifindex.
func (d *Driver) HostLinks(ns hostnet.ID) (map[int][]byte, error) {
	n, err := d.space(ns)
	if err != nil {
		return nil, err
	}
	msgs, err := n.ns.LinkMessages(0)
	if err != nil {
		return nil, system("list links", "", err)
	}
	out := make(map[int][]byte, len(msgs))
	for _, m := range msgs {
		if len(m) >= 8 {
			out[int(int32(binary.NativeEndian.Uint32(m[4:])))] = m
		}
	}
	return out, nil
}

// space returns a namespace that has interfaces.
func (d *Driver) space(id hostnet.ID) (*netns, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := d.spaces[id]; n != nil {
		return n, nil
	}
	return nil, errGone("open namespace", id.String())
}

// Interface flags (uapi/linux/if.h).
const (
	flagUp    = 1 << 0
	flagNoARP = 1 << 7
	// hostFlags are those that a user may change and the kernel keeps:
	// DEBUG, NOTRAILERS, PROMISC, ALLMULTI, MULTICAST, PORTSEL, AUTOMEDIA,
	// DYNAMIC (kernel __dev_change_flags).
	hostFlags = 1<<2 | 1<<5 | 1<<8 | 1<<9 | 1<<12 | 1<<13 | 1<<14 | 1<<15
)

// SetFlags sets the interface flags (IFF_*) in mask as in flags. Those that
// nobody can set are left out without an error (kernel dev_change_flags).
func (i *Interface) SetFlags(flags, mask uint32) error {
	const op = "set flags"
	err := i.set(op, func() error {
		if m := mask & hostFlags; m != 0 {
			err := i.ns.ns.ChangeLink(i.ifindex, hostnet.LinkChange{Flags: flags & m, Mask: m})
			if err != nil {
				return system(op, i.name, err)
			}
		}
		if mask&flagNoARP != 0 {
			i.noARP = flags&flagNoARP != 0
		}
		return nil
	})
	if err != nil || mask&flagUp == 0 {
		return err
	}
	return i.SetUp(flags&flagUp != 0)
}

// SetHostLink changes attributes of the link that only the kernel gives a
// meaning to: encoded IFLA_GROUP, IFLA_MASTER, IFLA_LINKMODE and the like. The
// kernel refuses what it does not like.
func (i *Interface) SetHostLink(attrs []byte) error {
	return i.changeHost("set link", hostnet.LinkChange{Attrs: attrs})
}

// AddAltNames adds alternative names of the link: attrs is an encoded
// IFLA_PROP_LIST.
func (i *Interface) AddAltNames(attrs []byte) error {
	return i.changeHost("add names", hostnet.LinkChange{Type: newLinkProp, Attrs: attrs})
}

// RemoveAltNames removes alternative names, given as to AddAltNames.
func (i *Interface) RemoveAltNames(attrs []byte) error {
	return i.changeHost("remove names", hostnet.LinkChange{Type: delLinkProp, Attrs: attrs})
}

// RTM_NEWLINKPROP and RTM_DELLINKPROP.
const (
	newLinkProp = 108
	delLinkProp = 109
)

func (i *Interface) changeHost(op string, c hostnet.LinkChange) error {
	return i.set(op, func() error { return system(op, i.name, i.ns.ns.ChangeLink(i.ifindex, c)) })
}

// SetAddrGenMode says how the IPv6 link-local address comes about. From the
// port GUID (eui64) we make it ourselves, since the TUN has no address for the
// kernel to make it of: for the kernel the mode is none then.
func (i *Interface) SetAddrGenMode(m hostnet.AddrGenMode) error {
	const op = "set addrgenmode"
	return i.set(op, func() error {
		if m > hostnet.AddrGenRandom {
			return refuse(op, i.name, syscall.EINVAL, "")
		}
		host := m
		if m == hostnet.AddrGenEUI64 {
			host = hostnet.AddrGenNone
		}
		if err := i.ns.ns.SetAddrGenMode(i.ifindex, host); err != nil {
			return system(op, i.name, err)
		}
		i.addrGen = m
		i.checkIPv6()
		return nil
	})
}

// followAddrGen takes over a mode that was set with the host's own tools.
func (i *Interface) followAddrGen(m hostnet.AddrGenMode) {
	switch {
	case m != hostnet.AddrGenNone:
		i.addrGen = m
	case i.addrGen != hostnet.AddrGenNone:
		i.addrGen = hostnet.AddrGenEUI64
	}
}
