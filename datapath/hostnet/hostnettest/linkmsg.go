package hostnettest

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/mdlayher/netlink"

	"ipoib/datapath/hostnet"
)

// Numbers of rtnetlink (uapi/linux/if_link.h, if.h).
const (
	attrIfname, attrMTU, attrQdisc, attrTxqlen, attrOperstate = 3, 4, 6, 13, 16
	attrLinkinfo, attrIfalias, attrAFSpec, attrPropList       = 18, 20, 26, 52
	infoKind, afInet6, inet6AddrGenMode                       = 1, 10, 8
	newLinkProp                                               = 108

	flagUp, flagPointToPoint, flagRunning = 1 << 0, 1 << 4, 1 << 6
	flagNoARP, flagPromisc, flagAllMulti  = 1 << 7, 1 << 8, 1 << 9
	flagMulticast, flagLowerUp            = 1 << 12, 1 << 16
)

// LinkMessages implements hostnet.Namespace, with the attributes that a Link
// has, and those that ChangeLink was given.
func (n *Namespace) LinkMessages(ifindex int) (out [][]byte, err error) {
	if ifindex != 0 {
		err = n.onLink("get link", ifindex, func(_ *space, l *link) error {
			out = append(out, l.message())
			return nil
		})
		return out, err
	}
	err = n.do("list links", "", func(s *space) error {
		for _, l := range s.sorted() {
			out = append(out, l.message())
		}
		return nil
	})
	return out, err
}

// message encodes a link. The caller holds mu.
func (l *link) message() []byte {
	flags := l.flags
	for bit, on := range map[uint32]bool{
		flagUp: l.Up, flagRunning | flagLowerUp: l.Up && l.lineUp, flagAllMulti: l.AllMulti, flagPromisc: l.Promisc,
		flagPointToPoint | flagNoARP: l.Kind == "tun", flagMulticast: true,
	} {
		if on {
			flags |= bit
		}
	}
	operstate := uint8(2)
	if l.Up && l.lineUp {
		operstate = 6
	}
	ae := netlink.NewAttributeEncoder()
	ae.String(attrIfname, l.Name)
	ae.Uint32(attrMTU, uint32(l.MTU))
	ae.Uint32(attrTxqlen, uint32(l.TxQueueLen))
	ae.Uint8(attrOperstate, operstate)
	ae.String(attrQdisc, "noop")
	if l.Alias != "" {
		ae.String(attrIfalias, l.Alias)
	}
	if l.Kind != "" {
		ae.Nested(attrLinkinfo, func(ae *netlink.AttributeEncoder) error {
			ae.String(infoKind, l.Kind)
			return nil
		})
	}
	ae.Nested(attrAFSpec, func(ae *netlink.AttributeEncoder) error {
		ae.Nested(afInet6, func(ae *netlink.AttributeEncoder) error {
			ae.Uint8(inet6AddrGenMode, uint8(l.AddrGenMode))
			return nil
		})
		return nil
	})
	for _, t := range slices.Sorted(maps.Keys(l.attrs)) {
		ae.Bytes(t, l.attrs[t])
	}
	if len(l.altNames) > 0 {
		ae.Nested(attrPropList, func(ae *netlink.AttributeEncoder) error {
			for _, name := range l.altNames {
				ae.String(attrPropList+1, name)
			}
			return nil
		})
	}
	b, _ := ae.Encode() // nothing here is too long
	h := make([]byte, 16)
	binary.NativeEndian.PutUint16(h[2:], uint16(l.Type))
	binary.NativeEndian.PutUint32(h[4:], uint32(l.Index))
	binary.NativeEndian.PutUint32(h[8:], flags)
	return append(h, b...)
}

// ChangeLink implements hostnet.Namespace: flags are set, attributes are kept
// for LinkMessages, alternative names added and removed.
func (n *Namespace) ChangeLink(ifindex int, c hostnet.LinkChange) error {
	return n.onLink("change link", ifindex, func(_ *space, l *link) error {
		l.flags = l.flags&^c.Mask | c.Flags&c.Mask
		l.Promisc = l.flags&flagPromisc != 0
		l.AllMulti = l.flags&flagAllMulti != 0
		ad, err := netlink.NewAttributeDecoder(c.Attrs)
		if err != nil {
			return err
		}
		for ad.Next() {
			if ad.Type() != attrPropList {
				if l.attrs == nil {
					l.attrs = make(map[uint16][]byte)
				}
				l.attrs[ad.Type()] = slices.Clone(ad.Bytes())
				continue
			}
			ad.Nested(func(ad *netlink.AttributeDecoder) error {
				for ad.Next() {
					name := ad.String()
					l.altNames = slices.DeleteFunc(l.altNames, func(s string) bool { return s == name })
					if c.Type == newLinkProp {
						l.altNames = append(l.altNames, name)
					}
				}
				return nil
			})
		}
		return ad.Err()
	})
}
