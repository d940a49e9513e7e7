package rtnlface

import (
	"regexp"
	"strings"
	"sync"

	"ipoib/datapath"
	"ipoib/nl/rtlink"
)

// hostFlags are the interface flags that the TUN has a say in; all others
// are the interface's.
const hostFlags = rtlink.FlagDebug | rtlink.FlagNoTrailers | rtlink.FlagPromisc | rtlink.FlagAllmulti |
	rtlink.FlagMaster | rtlink.FlagSlave | rtlink.FlagMulticast | rtlink.FlagPortsel | rtlink.FlagAutomedia |
	rtlink.FlagDynamic

// link is the message about an interface: what the kernel says of the TUN,
// with what an IPoIB interface is. raw may be nil when the TUN is gone.
func link(i *datapath.Interface, info *datapath.Info, raw []byte) *rtlink.Link {
	l, err := rtlink.Decode(raw)
	if err != nil {
		l = &rtlink.Link{Flags: rtlink.FlagMulticast}
	}
	l.Family, l.Type, l.Index, l.Change = 0, rtlink.TypeInfiniBand, int32(info.Ifindex), 0
	l.Flags = linkFlags(l.Flags, info)
	l.Operstate = new(operstate(l.Operstate, info))
	if *l.Operstate == rtlink.OperDormant {
		l.Flags = l.Flags&^rtlink.FlagRunning | rtlink.FlagDormant
	}
	l.Name = info.Name
	l.MTU, l.MinMTU, l.MaxMTU = new(uint32(info.MTU)), new(uint32(datapath.MinMTU)), new(uint32(datapath.MaxMTU))
	l.TxQueueLen = new(uint32(info.TxQueueLen))
	l.Carrier = new(octet(info.Carrier))
	l.Alias = info.Alias
	l.Address, l.Broadcast = info.Addr[:], info.Broadcast[:]
	if l.PermAddress = nil; !info.PermAddr.IsZero() {
		l.PermAddress = info.PermAddr[:]
	}
	l.Stats64 = counters(i)
	l.Stats32 = l.Stats64
	l.AddrGenMode = new(uint8(info.AddrGenMode))
	setKind(l, info)
	if info.Parent != 0 {
		l.Link = new(uint32(info.Parent))
	} else {
		l.ParentBus, l.ParentDev = parentDevice(i.Port().Device().Attr().BusInfo)
	}
	return l
}

// pciAddress is how the kernel names a PCI function. It is compiled when it is
// needed: commands start without.
var pciAddress = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$`)
})

// parentDevice splits the bus information of a channel adapter into bus and
// device: a PCI address, or "bus:device".
func parentDevice(info string) (bus, dev string) {
	if pciAddress().MatchString(info) {
		return "pci", info
	}
	bus, dev, ok := strings.Cut(info, ":")
	if !ok {
		return "", info
	}
	return bus, dev
}

func octet(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// linkFlags are the interface flags (kernel ipoib_setup_common, dev_get_flags).
func linkFlags(host uint32, info *datapath.Info) uint32 {
	flags := host&hostFlags | rtlink.FlagBroadcast
	if info.NoARP {
		flags |= rtlink.FlagNoARP
	}
	if info.Up {
		flags |= rtlink.FlagUp
		if info.Carrier {
			flags |= rtlink.FlagLowerUp | rtlink.FlagRunning
		}
	}
	return flags
}

// operstate is the operational state (kernel default_operstate). What a user
// set at the TUN counts while there is carrier.
func operstate(host *uint8, info *datapath.Info) uint8 {
	switch {
	case !info.Up:
		return rtlink.OperDown
	case !info.Carrier && info.Parent != 0:
		return rtlink.OperLowerLayerDown
	case !info.Carrier:
		return rtlink.OperDown
	case host != nil && (*host == rtlink.OperDormant || *host == rtlink.OperTesting):
		return *host
	}
	return rtlink.OperUp
}

// counters are those of the driver: what the kernel counts of the TUN are the
// same packets seen from the other side.
func counters(i *datapath.Interface) *rtlink.Stats {
	s := i.Stats()
	return &rtlink.Stats{
		RxPackets: s.RxPackets, TxPackets: s.TxPackets, RxBytes: s.RxBytes, TxBytes: s.TxBytes,
		RxErrors: s.RxErrors, TxErrors: s.TxErrors, RxDropped: s.RxDropped, TxDropped: s.TxDropped,
		Multicast: s.Multicast,
	}
}

// setKind makes the link one of kind ipoib (kernel ipoib_fill_info). What a
// master says of it stays.
func setKind(l *rtlink.Link, info *datapath.Info) {
	d := rtlink.IPoIB{
		PKey: new(uint16(info.PKey)), Mode: new(uint16(info.Mode)), Umcast: new(uint16(octet(info.Umcast))),
	}
	k := &rtlink.Info{Kind: rtlink.KindIPoIB, Data: d.Bytes()}
	if l.Info != nil {
		k.SlaveKind, k.SlaveData = l.Info.SlaveKind, l.Info.SlaveData
	}
	l.Info = k
}
