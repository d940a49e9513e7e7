package datapath

import (
	"fmt"
	"syscall"

	"ipoib/datapath/lro"
	"ipoib/datapath/tun"
	"ipoib/rdma"
)

// Feature is an offload or another property of a network device, numbered and
// named as Linux 6.1 does (kernel NETIF_F_*_BIT, netdev_features_strings).
// Only consistency of number and name matters to clients, which go by name.
type Feature uint8

// The features that an IPoIB interface has an opinion about.
const (
	FeatureSG             Feature = 0
	FeatureIPCsum         Feature = 1
	FeatureIPv6Csum       Feature = 4
	FeatureHighDMA        Feature = 5
	FeatureVLANChallenged Feature = 10
	FeatureGSO            Feature = 11
	FeatureLLTX           Feature = 12
	FeatureNetnsLocal     Feature = 13
	FeatureGRO            Feature = 14
	FeatureLRO            Feature = 15
	FeatureTSO            Feature = 16
	FeatureTSOMangleID    Feature = 19
	FeatureTSO6           Feature = 20
	FeatureRXCsum         Feature = 40
	FeatureNoCacheCopy    Feature = 41
	FeatureGROList        Feature = 57
	FeatureGROUDPFwd      Feature = 59
	// NumFeatures is NETDEV_FEATURE_COUNT.
	NumFeatures = 64
)

// featureNames has "" where a bit has no meaning.
var featureNames = [NumFeatures]string{
	0: "tx-scatter-gather", 1: "tx-checksum-ipv4", 3: "tx-checksum-ip-generic", 4: "tx-checksum-ipv6",
	5: "highdma", 6: "tx-scatter-gather-fraglist", 7: "tx-vlan-hw-insert", 8: "rx-vlan-hw-parse",
	9: "rx-vlan-filter", 10: "vlan-challenged", 11: "tx-generic-segmentation", 12: "tx-lockless",
	13: "netns-local", 14: "rx-gro", 15: "rx-lro", 16: "tx-tcp-segmentation", 17: "tx-gso-robust",
	18: "tx-tcp-ecn-segmentation", 19: "tx-tcp-mangleid-segmentation", 20: "tx-tcp6-segmentation",
	21: "tx-fcoe-segmentation", 22: "tx-gre-segmentation", 23: "tx-gre-csum-segmentation",
	24: "tx-ipxip4-segmentation", 25: "tx-ipxip6-segmentation", 26: "tx-udp_tnl-segmentation",
	27: "tx-udp_tnl-csum-segmentation", 28: "tx-gso-partial", 29: "tx-tunnel-remcsum-segmentation",
	30: "tx-sctp-segmentation", 31: "tx-esp-segmentation", 33: "tx-udp-segmentation", 34: "tx-gso-list",
	35: "tx-checksum-fcoe-crc", 36: "tx-checksum-sctp", 37: "fcoe-mtu", 38: "rx-ntuple-filter",
	39: "rx-hashing", 40: "rx-checksum", 41: "tx-nocache-copy", 42: "loopback", 43: "rx-fcs", 44: "rx-all",
	45: "tx-vlan-stag-hw-insert", 46: "rx-vlan-stag-hw-parse", 47: "rx-vlan-stag-filter",
	48: "l2-fwd-offload", 49: "hw-tc-offload", 50: "esp-hw-offload", 51: "esp-tx-csum-hw-offload",
	52: "rx-udp_tunnel-port-offload", 53: "tls-hw-tx-offload", 54: "tls-hw-rx-offload", 55: "rx-gro-hw",
	56: "tls-hw-record", 57: "rx-gro-list", 58: "macsec-hw-offload", 59: "rx-udp-gro-forwarding",
	60: "hsr-tag-ins-offload", 61: "hsr-tag-rm-offload", 62: "hsr-fwd-offload", 63: "hsr-dup-offload",
}

// FeatureNames lists the names by bit; unused bits have none.
func FeatureNames() []string { return featureNames[:] }

// String returns the kernel's name, or the number of a bit without one.
func (f Feature) String() string {
	if f < NumFeatures && featureNames[f] != "" {
		return featureNames[f]
	}
	return fmt.Sprintf("Feature(%d)", uint8(f))
}

// FeatureSet is a set of features, bit n for feature n (netdev_features_t).
type FeatureSet uint64

// Set returns the set that holds f only.
func (f Feature) Set() FeatureSet { return 1 << f }

// Has reports whether f is in the set.
func (s FeatureSet) Has(f Feature) bool { return s>>f&1 != 0 }

// Single sets that the rules below are written with (NETIF_F_*).
const (
	fSG       = FeatureSet(1) << FeatureSG
	fIPCsum   = FeatureSet(1) << FeatureIPCsum
	fIPv6Csum = FeatureSet(1) << FeatureIPv6Csum
	fGSO      = FeatureSet(1) << FeatureGSO
	fGRO      = FeatureSet(1) << FeatureGRO
	fLRO      = FeatureSet(1) << FeatureLRO
	fTSO      = FeatureSet(1) << FeatureTSO
	fMangleID = FeatureSet(1) << FeatureTSOMangleID
	fTSO6     = FeatureSet(1) << FeatureTSO6
	fRXCsum   = FeatureSet(1) << FeatureRXCsum
	fCore     = FeatureSet(1)<<FeatureNoCacheCopy | 1<<FeatureGROList | 1<<FeatureGROUDPFwd
	// fFixed are on and cannot be changed (kernel ipoib_intf_init).
	fFixed = fSG | FeatureSet(1)<<FeatureHighDMA | FeatureSet(1)<<FeatureVLANChallenged
	// NeverChange are the features that nobody may ask to change
	// (NETIF_F_NEVER_CHANGE).
	NeverChange = FeatureSet(1)<<FeatureVLANChallenged | 1<<FeatureLLTX | 1<<FeatureNetnsLocal
)

// Features are the features of an interface (struct net_device: hw_features,
// wanted_features, features).
type Features struct {
	// HW can be changed, Active is in effect. Wanted was asked for, perhaps
	// in a mode that offers more than the present one.
	HW, Wanted, Active FeatureSet
}

// offered are the features that can be changed in datagram mode (kernel
// ipoib_set_dev_features, register_netdevice). IPv6 offloads and LRO are our
// own.
func (i *Interface) offered() FeatureSet {
	caps := i.port.rdma.Device().Attr().Caps
	s := fGSO | fGRO | fLRO | fCore
	if caps&rdma.CapUDIPCsum != 0 {
		s |= fIPCsum | fRXCsum
		if caps&rdma.CapUDTSO != 0 {
			s |= fTSO | fMangleID
		}
	}
	if caps&rdma.CapUDIP6Csum != 0 {
		s |= fIPv6Csum | fRXCsum
		if caps&rdma.CapUDTSO6 != 0 {
			s |= fTSO6
		}
	}
	return s
}

// hwFeatures are the features that can be changed in the present mode: LRO is
// for datagrams only. What else connected mode lacks can be asked for.
func (i *Interface) hwFeatures() FeatureSet {
	if i.mode == Connected {
		return i.offered() &^ fLRO
	}
	return i.offered()
}

// defaultOff are changeable features that are off until asked for.
const defaultOff = fCore | fMangleID | fLRO

// fixFeatures leaves out what does not go together: connected mode has no
// transmit offloads (kernel ipoib_fix_features), large sends need checksums
// (kernel netdev_fix_features).
func fixFeatures(s FeatureSet, m Mode) FeatureSet {
	if m == Connected {
		s &^= fIPCsum | fIPv6Csum | fTSO | fTSO6 | fLRO
	}
	if s&fIPCsum == 0 {
		s &^= fTSO
	}
	if s&fIPv6Csum == 0 {
		s &^= fTSO6
	}
	if s&fTSO == 0 {
		s &^= fMangleID
	}
	return s
}

// initFeatures sets what a new interface starts with, before its TUN is made.
func (i *Interface) initFeatures(restore *State) {
	i.wanted = i.offered() &^ defaultOff
	if restore != nil {
		for f, name := range featureNames {
			if on, ok := restore.Features[name]; ok && name != "" {
				i.wanted &^= 1 << f
				if on {
					i.wanted |= 1 << f
				}
			}
		}
	}
	i.active = i.resultingFeatures()
}

// resultingFeatures are the active features that mode and wishes lead to.
func (i *Interface) resultingFeatures() FeatureSet { return fixFeatures(fFixed|i.wanted, i.mode) }

// updateFeatures applies a change of the mode or of what is wanted. Called on
// the loop; what the TUN or the queue pair refuses stays as it was.
func (i *Interface) updateFeatures() {
	old, next := i.active, i.resultingFeatures()
	if next == old {
		return
	}
	i.active = next
	if want := i.tunFeatures(); want != i.tunActive {
		if err := i.setOffload(want); err != nil {
			i.warnf("set_features() failed (%v); wanted 0x%016x, left 0x%016x", err, uint64(next), uint64(old))
			i.active = old
			return
		}
	}
	if (old^next)&fGSO != 0 {
		i.setGSO()
	}
	i.updateReceive()
	i.updateViews()
}

// setOffload tells the host what it may leave to the interface.
func (i *Interface) setOffload(want tun.Features) error {
	if _, err := i.dev.SetOffload(want); err != nil {
		return err
	}
	i.tunActive = want
	return nil
}

// setGSO tells the host whether to cut large sends itself where the interface
// takes none, or never to make them.
func (i *Interface) setGSO() {
	if err := i.ns.ns.SetGSO(i.name, i.active&fGSO != 0); err != nil {
		i.debugf("cannot set generic segmentation: %v", err)
	}
}

// updateReceive tells an open queue pair whether to verify checksums and to
// deliver merged messages.
func (i *Interface) updateReceive() {
	if !i.opened {
		return // startQP will
	}
	attr := rdma.QPAttr{ReceiveAggregate: i.aggregates(), ReceiveChecksum: i.active&fRXCsum != 0}
	if err := i.qp.Modify(attr, rdma.QPAttrReceiveAggregate|rdma.QPAttrReceiveChecksum); err != nil {
		i.warnf("cannot change receive offloads: %v", err)
	}
}

// hiddenFeatures are checksum offloads that connected mode does not offer to
// users, and that are used nevertheless where the adapter can: a checksum that
// is not needed is not made.
func (i *Interface) hiddenFeatures() FeatureSet {
	if i.mode != Connected || i.port.rdma.Device().Attr().Caps&rdma.CapRCIPCsum == 0 {
		return 0
	}
	return i.wanted & i.offered() & (fIPCsum | fIPv6Csum)
}

// tunFeatures are the offloads that the host may leave to us. The TUN knows
// one checksum offload for both protocols: what the adapter does not do of it,
// the transmitter does.
func (i *Interface) tunFeatures() tun.Features {
	var f tun.Features
	if i.active&(fIPCsum|fIPv6Csum) != 0 || i.hiddenFeatures() != 0 {
		f |= tun.FeatureCsum
	}
	if i.active&fTSO != 0 {
		f |= tun.FeatureTSO4 | tun.FeatureTSOECN
	}
	if i.active&fTSO6 != 0 {
		f |= tun.FeatureTSO6
	}
	return f
}

// aggregates reports whether the device may deliver large sends whole: to the
// host that is what LRO or GRO would make of them, provided that nobody wants
// to verify their checksums.
func (i *Interface) aggregates() bool {
	return i.active&(fLRO|fGRO) != 0 && i.active&fRXCsum != 0 &&
		i.port.rdma.Device().Attr().Caps&rdma.CapReceiveAggregate != 0
}

// merges returns what the receiver merges: LRO knows TCP only, as the adapters
// that have it; GRO takes UDP as well, where the host understands it.
func (i *Interface) merges() lro.Kinds {
	const uso = tun.FeatureUSO4 | tun.FeatureUSO6
	return lro.Kinds{TCP: i.active&(fLRO|fGRO) != 0, UDP: i.active&fGRO != 0 && i.dev.Accepts()&uso == uso}
}

// FeatureResult says what became of a request to change features, in the
// terms of ETHTOOL_MSG_FEATURES_SET_REPLY.
type FeatureResult struct {
	// WantedMask are the requested features whose state is another than
	// requested; WantedValue is what was requested of them.
	WantedValue, WantedMask FeatureSet
	// ActiveMask are the features whose state changed; ActiveValue is their
	// new state.
	ActiveValue, ActiveMask FeatureSet
}

// SetFeatures asks for the features in mask to be as in value (kernel
// ethnl_set_features). What cannot be changed is left out without an error, and
// wishes are remembered for when another mode allows them. It returns EINVAL
// for features in NeverChange.
//
// result, unless nil, is called with the outcome before the change is told to
// subscribers; it must not block.
func (i *Interface) SetFeatures(value, mask FeatureSet, result func(FeatureResult)) error {
	const op = "set features"
	return i.set(op, func() error {
		if mask&NeverChange != 0 {
			return refuse(op, i.name, syscall.EINVAL, "attempt to change non-ethtool features")
		}
		old := i.active
		req := i.wanted&^mask | value&mask
		if req != i.wanted {
			hw := i.hwFeatures()
			i.wanted = i.wanted&^hw | req&hw
			i.updateFeatures()
		}
		if result != nil {
			refused, changed := (req^i.active)&mask, old^i.active
			result(FeatureResult{
				WantedValue: req & refused, WantedMask: refused,
				ActiveValue: i.active & changed, ActiveMask: changed,
			})
		}
		return nil
	})
}

// featureState is the published state.
func (i *Interface) featureState() Features {
	return Features{HW: i.hwFeatures(), Wanted: i.wanted, Active: i.active}
}

// featureWishes are the wishes that differ from the defaults, by name, for
// State.
func (i *Interface) featureWishes() map[string]bool {
	offered := i.offered()
	wanted := i.Info().Features.Wanted
	diff := (wanted ^ offered&^defaultOff) & offered
	if diff == 0 {
		return nil
	}
	m := make(map[string]bool)
	for f := range Feature(NumFeatures) {
		if diff.Has(f) {
			m[f.String()] = wanted.Has(f)
		}
	}
	return m
}
