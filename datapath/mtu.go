package datapath

import (
	"syscall"

	"ipoib/datapath/encap"
	"ipoib/rdma"
)

// The MTUs of an interface, all in bytes:
//
//	IB MTU       payload of one InfiniBand packet: 256 to 4096 (rdma.MTU)
//	UD MTU       largest IP packet in datagram mode: IB MTU - 4
//	max UD MTU   UD MTU of the largest MTU that the port is able to do
//	             (kernel max_ib_mtu - 4)
//	group MTU    UD MTU of the broadcast group (kernel mcast_mtu); it limits
//	             datagram mode and all multicast
//	admin MTU    what the user asked for last (kernel admin_mtu)
//	max CM MTU   largest IP packet in connected mode, 65520
//	MTU          what the interface has: min(group MTU, admin MTU) in
//	             datagram mode, what the user asked for in connected mode
//
// A message is an IP packet with its encapsulation header: MTU + 4.
const (
	// MinMTU and MaxMTU are min_mtu and max_mtu of the network device.
	MinMTU = 0
	MaxMTU = 65520
	// minUDMTU is the lower limit in datagram mode: an IPv4 packet of 68
	// bytes and the header (kernel ipoib_change_mtu, ETH_MIN_MTU).
	minUDMTU = 68 + encap.HeaderLen
	// minIPv6MTU is the least MTU of a link with IPv6 (RFC 8200 section 5).
	minIPv6MTU = 1280
)

// udMTU returns the UD MTU of an IB MTU.
func udMTU(m rdma.MTU) int { return m.Bytes() - encap.HeaderLen }

// mtuState are the MTUs of one interface, owned by its loop.
type mtuState struct {
	max   int // max UD MTU
	maxCM int // max CM MTU
	group int // group MTU; max before the first join
	admin int
	mtu   int
	// connected is set in connected mode.
	connected bool
}

func newMTUState(portMax rdma.MTU, maxCM int) mtuState {
	m := udMTU(portMax)
	return mtuState{max: m, maxCM: maxCM, group: m, admin: m, mtu: m}
}

// change applies a request and returns the MTU to be set, or the refusal of
// ipoib_change_mtu.
func (s *mtuState) change(name string, v int) (int, error) {
	switch {
	case v == s.mtu:
		return v, nil
	case v > MaxMTU:
		return 0, refuse("set mtu", name, syscall.EINVAL, "mtu greater than device maximum")
	case v < MinMTU:
		return 0, refuse("set mtu", name, syscall.EINVAL, "mtu less than device minimum")
	case s.connected && v > s.maxCM:
		return 0, refuse("set mtu", name, syscall.EINVAL, "")
	case s.connected:
		return v, nil
	case v < minUDMTU, v > s.max:
		return 0, refuse("set mtu", name, syscall.EINVAL, "")
	}
	s.admin = v
	return min(v, s.group), nil
}

// joined takes the MTU of the broadcast group and returns the MTU to be set
// (kernel ipoib_mcast_join_finish).
func (s *mtuState) joined(m rdma.MTU) int {
	g := udMTU(m)
	if s.admin == s.group {
		s.admin = g
	}
	s.group = g
	if s.connected {
		return s.mtu
	}
	return min(s.group, s.admin)
}
