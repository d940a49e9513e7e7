package hostnet

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// ifaddrmsg encodes the header of an address message.
func ifaddrmsg(family uint8, bits, ifindex int) []byte {
	b := make([]byte, unix.SizeofIfAddrmsg)
	b[0], b[1] = family, uint8(bits)
	binary.NativeEndian.PutUint32(b[4:], uint32(ifindex))
	return b
}

// Addrs implements Namespace.
func (n *namespace) Addrs(ifindex int) ([]Addr, error) {
	msgs, err := n.dump(unix.RTM_GETADDR, ifaddrmsg(unix.AF_UNSPEC, 0, ifindex), nil)
	if err != nil {
		return nil, n.opError("list addresses", strconv.Itoa(ifindex), err)
	}
	addrs := make([]Addr, 0, len(msgs))
	for _, m := range msgs {
		a, ok, err := decodeAddr(m.Data)
		if err != nil {
			return nil, n.opError("list addresses", strconv.Itoa(ifindex), err)
		}
		if ok && (ifindex == 0 || a.Index == ifindex) {
			addrs = append(addrs, a)
		}
	}
	return addrs, nil
}

// decodeAddr decodes an address message (struct ifaddrmsg and attributes). ok
// is false for an address of another family than IPv4 and IPv6.
func decodeAddr(b []byte) (a Addr, ok bool, err error) {
	ad, err := attributes(b, unix.SizeofIfAddrmsg)
	if err != nil {
		return Addr{}, false, err
	}
	if _, ok := familyOf(b[0]); !ok {
		return Addr{}, false, nil
	}
	a.Index = int(int32(binary.NativeEndian.Uint32(b[4:])))
	flags := uint32(b[2])
	// IFA_ADDRESS is the peer where IFA_LOCAL is there as well.
	var local, address netip.Addr
	for ad.Next() {
		switch ad.Type() {
		case unix.IFA_LOCAL:
			ad.Do(decodeIP(&local))
		case unix.IFA_ADDRESS:
			ad.Do(decodeIP(&address))
		case unix.IFA_BROADCAST:
			ad.Do(decodeIP(&a.Broadcast))
		case unix.IFA_FLAGS:
			flags = ad.Uint32()
		}
	}
	if err := ad.Err(); err != nil {
		return Addr{}, false, err
	}
	switch {
	case !local.IsValid():
		local = address
	case address.IsValid() && address != local:
		a.Peer = address
	}
	a.Prefix = netip.PrefixFrom(local, int(b[1]))
	if !a.Prefix.IsValid() {
		return Addr{}, false, fmt.Errorf("invalid address %v/%d", local, b[1])
	}
	a.Tentative = flags&unix.IFA_F_TENTATIVE != 0
	a.NoDAD = flags&unix.IFA_F_NODAD != 0
	a.Deprecated = flags&unix.IFA_F_DEPRECATED != 0
	a.NoPrefixRoute = flags&unix.IFA_F_NOPREFIXROUTE != 0
	return a, true, nil
}

// AddAddr implements Namespace.
func (n *namespace) AddAddr(a Addr) error {
	what := fmt.Sprintf("%d (%v)", a.Index, a.Prefix)
	if !a.Prefix.IsValid() {
		return n.opError("add address", what, unix.EINVAL)
	}
	var flags uint32
	if a.NoDAD {
		flags |= unix.IFA_F_NODAD
	}
	if a.NoPrefixRoute {
		flags |= unix.IFA_F_NOPREFIXROUTE
	}
	header := ifaddrmsg(familyNumber(FamilyOf(a.Prefix.Addr())), a.Prefix.Bits(), a.Index)
	err := n.change(unix.RTM_NEWADDR, netlink.Create|netlink.Excl, header, func(ae *netlink.AttributeEncoder) {
		local := a.Prefix.Addr()
		address := local
		if a.Peer.IsValid() {
			address = a.Peer
		}
		ae.Bytes(unix.IFA_LOCAL, local.AsSlice())
		ae.Bytes(unix.IFA_ADDRESS, address.AsSlice())
		if a.Broadcast.IsValid() {
			ae.Bytes(unix.IFA_BROADCAST, a.Broadcast.AsSlice())
		}
		if flags != 0 {
			ae.Uint32(unix.IFA_FLAGS, flags)
		}
	})
	return n.opError("add address", what, err)
}

// DelAddr implements Namespace.
func (n *namespace) DelAddr(ifindex int, prefix netip.Prefix) error {
	what := fmt.Sprintf("%d (%v)", ifindex, prefix)
	if !prefix.IsValid() {
		return n.opError("delete address", what, unix.EINVAL)
	}
	header := ifaddrmsg(familyNumber(FamilyOf(prefix.Addr())), prefix.Bits(), ifindex)
	err := n.change(unix.RTM_DELADDR, 0, header, func(ae *netlink.AttributeEncoder) {
		ae.Bytes(unix.IFA_LOCAL, prefix.Addr().AsSlice())
	})
	return n.opError("delete address", what, err)
}
