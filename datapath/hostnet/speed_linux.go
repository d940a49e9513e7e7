package hostnet

import (
	"golang.org/x/sys/unix"

	"ipoib/datapath/internal/netns"
)

// ethtoolLinkSettings is struct ethtool_link_settings with room for the three
// link mode bitmaps (linux/ethtool.h, SCHAR_MAX words each).
type ethtoolLinkSettings struct {
	cmd, speed                        uint32
	duplex, port, phyAddress, autoneg uint8
	mdioSupport, tpMDIX, tpMDIXCtrl   uint8
	maskWords                         int8
	transceiver, masterSlaveCfg       uint8
	masterSlaveState, rateMatching    uint8
	_                                 [7]uint32
	masks                             [3 * 127]uint32
}

const (
	portTwistedPair  = 0x00 // PORT_TP
	portOther        = 0xff // PORT_OTHER
	phyAddressIPoIB  = 255
	speedUnknownBits = 0xffffffff // SPEED_UNKNOWN
)

// SetSpeed implements Namespace. The other fields are what the driver shows
// with and without carrier (ipoib_get_link_ksettings).
func (n *namespace) SetSpeed(ifname string, mbps int, d Duplex) error {
	err := netns.Do(n.file, func() error {
		sock, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(sock)
		// The kernel answers a request without bitmaps with the size of its
		// own, negative, and takes them from then on.
		s := ethtoolLinkSettings{cmd: unix.ETHTOOL_GLINKSETTINGS}
		if err := ethtool(sock, ifname, &s); err != nil {
			return err
		}
		s = ethtoolLinkSettings{cmd: unix.ETHTOOL_SLINKSETTINGS, maskWords: -s.maskWords}
		s.speed, s.duplex = uint32(mbps), uint8(d)
		s.port, s.phyAddress, s.autoneg = portOther, phyAddressIPoIB, 1
		if s.speed == speedUnknownBits {
			s.port, s.phyAddress, s.autoneg = portTwistedPair, 0, 0
		}
		return ethtool(sock, ifname, &s)
	})
	return n.opError("set speed", ifname, err)
}

// ethtoolValue is struct ethtool_value.
type ethtoolValue struct{ cmd, data uint32 }

// SetGSO implements Namespace.
func (n *namespace) SetGSO(ifname string, on bool) error {
	err := netns.Do(n.file, func() error {
		sock, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(sock)
		v := ethtoolValue{cmd: unix.ETHTOOL_SGSO}
		if on {
			v.data = 1
		}
		return ethtoolSet(sock, ifname, &v)
	})
	return n.opError("set generic segmentation", ifname, err)
}
