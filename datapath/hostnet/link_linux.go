package hostnet

import (
	"encoding/binary"
	"os"
	"strconv"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// ifinfomsg encodes the header of a link message.
func ifinfomsg(ifindex int, flags, mask uint32) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(ifindex))
	binary.NativeEndian.PutUint32(b[8:], flags)
	binary.NativeEndian.PutUint32(b[12:], mask)
	return b
}

// Links implements Namespace.
func (n *namespace) Links() ([]Link, error) {
	msgs, err := n.dump(unix.RTM_GETLINK, ifinfomsg(0, 0, 0), nil)
	if err != nil {
		return nil, n.opError("list links", "", err)
	}
	links := make([]Link, 0, len(msgs))
	for _, m := range msgs {
		l, err := decodeLink(m.Data)
		if err != nil {
			return nil, n.opError("list links", "", err)
		}
		links = append(links, l.Link)
	}
	return links, nil
}

// LinkByIndex implements Namespace.
func (n *namespace) LinkByIndex(ifindex int) (Link, error) {
	return n.link(strconv.Itoa(ifindex), ifinfomsg(ifindex, 0, 0), nil)
}

// LinkByName implements Namespace.
func (n *namespace) LinkByName(name string) (Link, error) {
	return n.link(name, ifinfomsg(0, 0, 0), func(ae *netlink.AttributeEncoder) {
		if len(name) >= unix.IFNAMSIZ {
			ae.String(unix.IFLA_ALT_IFNAME, name)
		} else {
			ae.String(unix.IFLA_IFNAME, name) // finds alternative names too
		}
	})
}

func (n *namespace) link(what string, header []byte, attrs func(*netlink.AttributeEncoder)) (Link, error) {
	msgs, err := n.execute(unix.RTM_GETLINK, 0, header, attrs)
	if err != nil {
		return Link{}, n.opError("get link", what, err)
	}
	if len(msgs) == 0 {
		return Link{}, n.opError("get link", what, errShort)
	}
	l, err := decodeLink(msgs[0].Data)
	return l.Link, n.opError("get link", what, err)
}

// linkMessage is a link as a message tells it.
type linkMessage struct {
	Link
	// family is AF_UNSPEC for the link itself, else what a protocol says of
	// it.
	family uint8
	// full: the message describes the link, not only an aspect of it.
	full bool
	// moved: the link leaves for another namespace.
	moved bool
}

// decodeLink decodes a link message (struct ifinfomsg and attributes).
func decodeLink(b []byte) (linkMessage, error) {
	ad, err := attributes(b, unix.SizeofIfInfomsg)
	if err != nil {
		return linkMessage{}, err
	}
	flags := binary.NativeEndian.Uint32(b[8:])
	l := linkMessage{family: b[0], Link: Link{
		Type:     int(binary.NativeEndian.Uint16(b[2:])),
		Index:    int(int32(binary.NativeEndian.Uint32(b[4:]))),
		Up:       flags&unix.IFF_UP != 0,
		Carrier:  flags&unix.IFF_LOWER_UP != 0,
		Running:  flags&unix.IFF_RUNNING != 0,
		AllMulti: flags&unix.IFF_ALLMULTI != 0,
		Promisc:  flags&unix.IFF_PROMISC != 0,
	}}
	for ad.Next() {
		switch ad.Type() {
		case unix.IFLA_IFNAME:
			l.Name = ad.String()
		case unix.IFLA_MTU:
			l.MTU = int(ad.Uint32())
			l.full = true
		case unix.IFLA_TXQLEN:
			l.TxQueueLen = int(ad.Uint32())
		case unix.IFLA_IFALIAS:
			l.Alias = ad.String()
		case unix.IFLA_LINKINFO:
			ad.Nested(func(ad *netlink.AttributeDecoder) error {
				for ad.Next() {
					if ad.Type() == unix.IFLA_INFO_KIND {
						l.Kind = ad.String()
					}
				}
				return nil
			})
		case unix.IFLA_AF_SPEC:
			// Other families than AF_UNSPEC put something else here.
			if l.family == unix.AF_UNSPEC {
				ad.Nested(l.decodeAFSpec)
			}
		case unix.IFLA_NEW_NETNSID, unix.IFLA_NEW_IFINDEX:
			l.moved = true
		}
	}
	return l, ad.Err()
}

// decodeAFSpec reads the one thing of interest that protocols add.
func (l *linkMessage) decodeAFSpec(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		if ad.Type() != unix.AF_INET6 {
			continue
		}
		ad.Nested(func(ad *netlink.AttributeDecoder) error {
			for ad.Next() {
				if ad.Type() == unix.IFLA_INET6_ADDR_GEN_MODE {
					l.AddrGenMode = AddrGenMode(ad.Uint8())
				}
			}
			return nil
		})
	}
	return nil
}

// setLink changes attributes of a link.
func (n *namespace) setLink(op string, ifindex int, attrs func(*netlink.AttributeEncoder)) error {
	err := n.change(unix.RTM_NEWLINK, 0, ifinfomsg(ifindex, 0, 0), attrs)
	return n.opError(op, strconv.Itoa(ifindex), err)
}

// SetUp implements Namespace.
func (n *namespace) SetUp(ifindex int, up bool) error {
	var flags uint32
	if up {
		flags = unix.IFF_UP
	}
	err := n.change(unix.RTM_NEWLINK, 0, ifinfomsg(ifindex, flags, unix.IFF_UP), nil)
	return n.opError("set state", strconv.Itoa(ifindex), err)
}

// SetMTU implements Namespace.
func (n *namespace) SetMTU(ifindex, mtu int) error {
	return n.setLink("set mtu", ifindex, func(ae *netlink.AttributeEncoder) {
		ae.Uint32(unix.IFLA_MTU, uint32(mtu))
	})
}

// SetName implements Namespace.
func (n *namespace) SetName(ifindex int, name string) error {
	return n.setLink("set name", ifindex, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.IFLA_IFNAME, name)
	})
}

// SetTxQueueLen implements Namespace.
func (n *namespace) SetTxQueueLen(ifindex, length int) error {
	return n.setLink("set txqueuelen", ifindex, func(ae *netlink.AttributeEncoder) {
		ae.Uint32(unix.IFLA_TXQLEN, uint32(length))
	})
}

// SetAlias implements Namespace.
func (n *namespace) SetAlias(ifindex int, alias string) error {
	return n.setLink("set alias", ifindex, func(ae *netlink.AttributeEncoder) {
		// Without the terminator: a length of 0 is what removes an alias.
		ae.Bytes(unix.IFLA_IFALIAS, []byte(alias))
	})
}

// SetAddrGenMode implements Namespace.
func (n *namespace) SetAddrGenMode(ifindex int, m AddrGenMode) error {
	return n.setLink("set addrgenmode", ifindex, func(ae *netlink.AttributeEncoder) {
		ae.Nested(unix.IFLA_AF_SPEC, func(ae *netlink.AttributeEncoder) error {
			ae.Nested(unix.AF_INET6, func(ae *netlink.AttributeEncoder) error {
				ae.Uint8(unix.IFLA_INET6_ADDR_GEN_MODE, uint8(m))
				return nil
			})
			return nil
		})
	})
}

// Move implements Namespace.
func (n *namespace) Move(ifindex int, to Namespace) error {
	f := to.File()
	if f == nil {
		return n.opError("move", strconv.Itoa(ifindex), os.ErrInvalid)
	}
	return control(f, func(fd int) error {
		return n.setLink("move", ifindex, func(ae *netlink.AttributeEncoder) {
			ae.Uint32(unix.IFLA_NET_NS_FD, uint32(fd))
		})
	})
}

// DeleteLink implements Namespace.
func (n *namespace) DeleteLink(ifindex int) error {
	err := n.change(unix.RTM_DELLINK, 0, ifinfomsg(ifindex, 0, 0), nil)
	return n.opError("delete", strconv.Itoa(ifindex), err)
}
