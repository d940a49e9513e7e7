package datapath

import "syscall"

// LinkSettings is what ethtool shows of the link (struct
// ethtool_link_settings, kernel ipoib_get_link_ksettings).
type LinkSettings struct {
	// Speed is in Mb/s, -1 when it is unknown.
	Speed int
	// Duplex is 1 for full, 0xff for unknown (DUPLEX_*).
	Duplex uint8
	// Port is 0xff for "other" (PORT_OTHER). PhyAddr and Autoneg have no
	// meaning on InfiniBand; the driver says 255 and on.
	Port, PhyAddr uint8
	Autoneg       bool
}

// LinkSettings returns the settings of the link: those of the InfiniBand port
// with a carrier, unknown ones without. A port whose speed or width has no
// number is EINVAL.
//
// An interface that was never set up counts as with a carrier: the driver
// switches it off in open.
func (i *Interface) LinkSettings() (LinkSettings, error) {
	info := i.Info()
	if !info.Carrier && !info.NeverUp {
		return LinkSettings{Speed: -1, Duplex: 0xff}, nil
	}
	v := i.Speed()
	if v < 0 {
		return LinkSettings{}, refuse("get link settings", info.Name, syscall.EINVAL, "failed to retrieve link settings")
	}
	return LinkSettings{Speed: v, Duplex: 1, Port: 0xff, PhyAddr: 0xff, Autoneg: true}, nil
}

// StatNames are the names of the statistics that ethtool shows, in the
// driver's order (kernel ipoib_gstrings_stats).
func StatNames() []string { return statNames[:] }

var statNames = [...]string{
	"rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "tx_errors", "rx_dropped", "tx_dropped", "multicast",
}

// Values are the statistics in the order of StatNames.
func (s Stats) Values() []uint64 {
	return []uint64{
		s.RxPackets, s.TxPackets, s.RxBytes, s.TxBytes, s.TxErrors, s.RxDropped, s.TxDropped, s.Multicast,
	}
}
