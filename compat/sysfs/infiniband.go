package sysfs

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"ipoib/compat/fusefs"
	"ipoib/compat/internal/kstr"
	"ipoib/rdma"
)

// hcaDir is class/infiniband with the adapters of the view; overlay has those
// of the kernel as well.
func (v *view) hcaDir(overlay bool) *fusefs.Dir {
	node := func(dev rdma.Device) fusefs.Node {
		return v.hcas.get(hcaKey{dev, overlay}, func() fusefs.Node { return v.adapter(dev) })
	}
	kernel := v.classDir("infiniband")
	return &fusefs.Dir{
		Lookup: func(c fusefs.Caller, name string) (fusefs.Node, error) {
			for _, dev := range v.adapters() {
				if dev.Name() == name {
					return node(dev), nil
				}
			}
			if overlay {
				return kernel.Lookup(c, name)
			}
			return nil, nil
		},
		List: func(c fusefs.Caller) ([]fusefs.Entry, error) {
			var out []fusefs.Entry
			for _, dev := range v.adapters() {
				out = append(out, fusefs.Entry{Name: dev.Name(), Node: node(dev)})
			}
			if !overlay {
				return out, nil
			}
			list, err := kernel.List(c)
			return append(out, list...), err
		},
	}
}

// adapters lists the adapters of the view: those with an interface in it, and
// at home also those without any.
func (v *view) adapters() []rdma.Device {
	here, anywhere := make(map[string]bool), make(map[string]bool)
	for id, i := range v.t.spaces() {
		if i == nil && id != v.id {
			continue
		}
		for _, i := range v.t.Driver.Interfaces(id) {
			info := i.Info()
			anywhere[info.Device] = true
			here[info.Device] = here[info.Device] || info.NS == v.id
		}
	}
	list := slices.DeleteFunc(slices.Clone(v.t.Adapters()), func(d rdma.Device) bool {
		return !here[d.Name()] && (anywhere[d.Name()] || v.id != v.t.home)
	})
	v.hcas.keep(func(k hcaKey) bool { return slices.Contains(list, k.dev) })
	slices.SortFunc(list, func(a, b rdma.Device) int { return strings.Compare(a.Name(), b.Name()) })
	return list
}

// file makes a file that shows one value.
func file(name string, show func() (string, error)) fusefs.Entry {
	return fusefs.Entry{Name: name, Node: &fusefs.File{
		Perm: 0o444, Size: fusefs.PageSize,
		Show: func() ([]byte, error) {
			s, err := show()
			return []byte(s + "\n"), err
		},
	}}
}

// text is file for what cannot fail.
func text(name string, show func() string) fusefs.Entry {
	return file(name, func() (string, error) { return show(), nil })
}

// adapter is the directory of a channel adapter (kernel
// drivers/infiniband/core/sysfs.c).
func (v *view) adapter(dev rdma.Device) *fusefs.Dir {
	attr := dev.Attr
	var ports []fusefs.Entry
	for n := 1; n <= attr().PortCount; n++ {
		if p, err := dev.Port(n); err == nil {
			ports = append(ports, fusefs.Entry{Name: strconv.Itoa(n), Node: port(p)})
		}
	}
	return fusefs.Fixed(
		text("board_id", func() string { return attr().BoardID }),
		fusefs.Entry{Name: "device", Node: v.hcaDevice(dev)},
		text("fw_ver", func() string { return attr().FirmwareVersion }),
		text("hca_type", func() string { return attr().HCAType }),
		text("hw_rev", func() string { return attr().HWVersion }),
		text("node_desc", func() string { return fmt.Sprintf("%.64s", attr().NodeDesc) }),
		text("node_guid", func() string { return attr().NodeGUID.String() }),
		text("node_type", func() string { return nodeType(attr().NodeType) }),
		fusefs.Entry{Name: "ports", Node: fusefs.Fixed(ports...)},
		text("sys_image_guid", func() string { return attr().SystemImageGUID.String() }),
		fusefs.Entry{Name: "subsystem", Node: fusefs.To("..")},
		text("uevent", func() string { return "NAME=" + dev.Name() }),
	)
}

// nodeType prints a node type (kernel node_type_show).
func nodeType(t uint8) string {
	switch t {
	case 1:
		return "1: CA"
	case 2:
		return "2: switch"
	case 3:
		return "3: router"
	}
	return fmt.Sprintf("%d: <unknown>", t)
}

// hcaDevice is what stands for the PCI function of the adapter.
func (v *view) hcaDevice(dev rdma.Device) *fusefs.Dir {
	id := func(name string, n uint32) fusefs.Entry {
		return text(name, func() string { return fmt.Sprintf("0x%04x", n) })
	}
	a := dev.Attr()
	var links cache[string]
	link := func(name string) fusefs.Node {
		return links.get(name, func() fusefs.Node { return fusefs.To("../../../../net/" + name) })
	}
	ours := func() (out []string) {
		for _, i := range v.interfaces() {
			if i.Parent() == nil && i.Info().Device == dev.Name() {
				out = append(out, i.Name())
			}
		}
		return out
	}
	return fusefs.Fixed(
		id("device", uint32(a.VendorPartID)),
		fusefs.Entry{Name: "infiniband", Node: fusefs.Fixed(fusefs.Entry{Name: dev.Name(), Node: fusefs.To("../..")})},
		fusefs.Entry{Name: "net", Node: &fusefs.Dir{
			Lookup: func(_ fusefs.Caller, name string) (fusefs.Node, error) {
				if !slices.Contains(ours(), name) {
					return nil, nil
				}
				return link(name), nil
			},
			List: func(fusefs.Caller) (out []fusefs.Entry, err error) {
				for _, name := range ours() {
					out = append(out, fusefs.Entry{Name: name, Node: link(name)})
				}
				return out, nil
			},
		}},
		text("numa_node", func() string { return "-1" }),
		text("uevent", func() string { return "DRIVER=ipoib\nIPOIB_DEVICE=" + a.BusInfo }),
		id("vendor", a.VendorID),
	)
}

// port is the directory of a port.
func port(p rdma.Port) *fusefs.Dir {
	a := p.Attr
	var gids, types, ndevs, pkeys []fusefs.Entry
	for i := range a().GIDTableLen {
		name := strconv.Itoa(i)
		gids = append(gids, file(name, func() (string, error) {
			g, err := p.GID(i)
			return g.Full(), invalid(err)
		}))
		types = append(types, file(name, func() (string, error) {
			_, err := p.GID(i)
			return "IB/RoCE v1", invalid(err)
		}))
		// No network device belongs to a GID of InfiniBand.
		ndevs = append(ndevs, file(name, func() (string, error) { return "", syscall.EINVAL }))
	}
	for i := range a().PKeyTableLen {
		pkeys = append(pkeys, file(strconv.Itoa(i), func() (string, error) {
			k, err := p.PKey(i)
			return fmt.Sprintf("0x%04x", uint16(k)), invalid(err)
		}))
	}
	dir := func(name string, entries ...fusefs.Entry) fusefs.Entry {
		return fusefs.Entry{Name: name, Node: fusefs.Fixed(entries...)}
	}
	return fusefs.Fixed(
		text("cap_mask", func() string { return fmt.Sprintf("0x%08x", a().CapMask) }),
		dir("counters", counters(p)...),
		dir("gid_attrs", dir("ndevs", ndevs...), dir("types", types...)),
		dir("gids", gids...),
		dir("hw_counters", hwCounters(p)...),
		text("lid", func() string { return fmt.Sprintf("0x%x", uint16(a().LID)) }),
		text("lid_mask_count", func() string { return strconv.Itoa(int(a().LMC)) }),
		text("link_layer", func() string { return "InfiniBand" }),
		text("phys_state", func() string { return fmt.Sprintf("%d: %s", a().PhysState, a().PhysState) }),
		dir("pkeys", pkeys...),
		file("rate", func() (string, error) { return rate(a()) }),
		text("sm_lid", func() string { return fmt.Sprintf("0x%x", uint16(a().SMLID)) }),
		text("sm_sl", func() string { return strconv.Itoa(int(a().SMSL)) }),
		text("state", func() string { return fmt.Sprintf("%d: %s", a().State, a().State) }),
	)
}

func invalid(err error) error {
	if err != nil {
		return syscall.EINVAL
	}
	return nil
}

// speeds are the link speeds in 100 Mb/s a lane, as the kernel rounds them
// (rate_show).
var speeds = map[rdma.LinkSpeed]struct {
	name string
	rate int
}{
	rdma.SpeedDDR: {"DDR", 50}, rdma.SpeedQDR: {"QDR", 100}, rdma.SpeedFDR10: {"FDR10", 100},
	rdma.SpeedFDR: {"FDR", 140}, rdma.SpeedEDR: {"EDR", 250}, rdma.SpeedHDR: {"HDR", 500},
	rdma.SpeedNDR: {"NDR", 1000},
}

// rate prints the speed of a link: "100 Gb/sec (4X EDR)". Unknown speeds are
// SDR, an unknown width is EINVAL.
func rate(a rdma.PortAttr) (string, error) {
	s, ok := speeds[a.ActiveSpeed]
	if !ok {
		s.name, s.rate = "SDR", 25
	}
	lanes := a.ActiveWidth.Lanes()
	if lanes == 0 {
		return "", syscall.EINVAL
	}
	v, half := s.rate*lanes, ""
	if v%10 != 0 {
		half = ".5"
	}
	return fmt.Sprintf("%d%s Gb/sec (%dX %s)", v/10, half, lanes, s.name), nil
}

// counters are those of the PMA's PortCounters and PortCountersExtended, by
// the kernel's names.
func counters(p rdma.Port) []fusefs.Entry {
	c := func(name string, get func(*rdma.PortCounters) uint64) fusefs.Entry {
		return text(name, func() string {
			v := p.Counters()
			return strconv.FormatUint(get(&v), 10)
		})
	}
	type pc = rdma.PortCounters
	return []fusefs.Entry{
		c("VL15_dropped", func(v *pc) uint64 { return v.VL15Dropped }),
		c("excessive_buffer_overrun_errors", func(v *pc) uint64 { return v.ExcessiveBufferOverruns }),
		c("link_downed", func(v *pc) uint64 { return v.LinkDowned }),
		c("link_error_recovery", func(v *pc) uint64 { return v.LinkRecovers }),
		c("local_link_integrity_errors", func(v *pc) uint64 { return v.LocalLinkIntegrity }),
		c("multicast_rcv_packets", func(v *pc) uint64 { return v.MulticastRcvPkts }),
		c("multicast_xmit_packets", func(v *pc) uint64 { return v.MulticastXmitPkts }),
		c("port_rcv_constraint_errors", func(v *pc) uint64 { return v.RcvConstraintErrors }),
		c("port_rcv_data", func(v *pc) uint64 { return v.RcvData }),
		c("port_rcv_errors", func(v *pc) uint64 { return v.RcvErrors }),
		c("port_rcv_packets", func(v *pc) uint64 { return v.RcvPkts }),
		c("port_rcv_remote_physical_errors", func(v *pc) uint64 { return v.RcvRemotePhysErrors }),
		c("port_rcv_switch_relay_errors", func(v *pc) uint64 { return v.RcvSwitchRelayErrors }),
		c("port_xmit_constraint_errors", func(v *pc) uint64 { return v.XmitConstraintErrors }),
		c("port_xmit_data", func(v *pc) uint64 { return v.XmitData }),
		c("port_xmit_discards", func(v *pc) uint64 { return v.XmitDiscards }),
		c("port_xmit_packets", func(v *pc) uint64 { return v.XmitPkts }),
		c("port_xmit_wait", func(v *pc) uint64 { return v.XmitWait }),
		c("symbol_error", func(v *pc) uint64 { return v.SymbolErrors }),
		c("unicast_rcv_packets", func(v *pc) uint64 { return v.UnicastRcvPkts }),
		c("unicast_xmit_packets", func(v *pc) uint64 { return v.UnicastXmitPkts }),
	}
}

// maxLifespan is the limit of lifespan, in milliseconds (kernel
// set_stats_lifespan).
const maxLifespan = 10000

// hwCounters are what the provider counts beyond that, if anything. lifespan
// is how long the kernel keeps values; nothing is kept here.
func hwCounters(p rdma.Port) []fusefs.Entry {
	var mu sync.Mutex
	lifespan := 10
	out := []fusefs.Entry{{Name: "lifespan", Node: &fusefs.File{
		Perm: 0o644, Size: fusefs.PageSize,
		Show: func() ([]byte, error) {
			mu.Lock()
			defer mu.Unlock()
			return fmt.Appendln(nil, lifespan), nil
		},
		Store: func(_ fusefs.Caller, b []byte) error {
			v, err := kstr.ParseInt(b)
			if err == nil && (v < 0 || v > maxLifespan) {
				err = syscall.EINVAL
			}
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			lifespan = int(v)
			return nil
		},
	}}}
	hw, ok := p.(interface{ HWCounters() map[string]uint64 })
	if !ok {
		return out
	}
	for _, name := range slices.Sorted(maps.Keys(hw.HWCounters())) {
		out = append(out, text(name, func() string { return strconv.FormatUint(hw.HWCounters()[name], 10) }))
	}
	return out
}
