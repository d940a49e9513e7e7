package sysfs

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"ipoib/compat/fusefs"
	"ipoib/datapath"
)

// attr is an attribute of an interface that is not the TUN's.
type attr struct {
	perm uint32
	// on is nil for all interfaces.
	on func(n *netdev) bool
	// text is what a read shows; nil for a file that cannot be read.
	text func(n *netdev, info *datapath.Info) (string, error)
	// reader is told who reads, if it is set.
	reader func(n *netdev, c fusefs.Caller)
	// store takes a write; nil for a file that cannot be written.
	store func(n *netdev, c fusefs.Caller, b []byte) error
}

func (a *attr) has(n *netdev) bool { return a.on == nil || a.on(n) }

// plain makes a text of a state alone.
func plain(fn func(info *datapath.Info) string) func(*netdev, *datapath.Info) (string, error) {
	return func(_ *netdev, info *datapath.Info) (string, error) { return fn(info) + "\n", nil }
}

func number(fn func(info *datapath.Info) int) func(*netdev, *datapath.Info) (string, error) {
	return plain(func(info *datapath.Info) string { return strconv.Itoa(fn(info)) })
}

func isParent(n *netdev) bool { return n.parent() }
func isChild(n *netdev) bool  { return !n.parent() }

// running refuses what the kernel shows of an interface that is up only.
func running(fn func(n *netdev, info *datapath.Info) (string, error)) func(*netdev, *datapath.Info) (string, error) {
	return func(n *netdev, info *datapath.Info) (string, error) {
		if !info.Up {
			return "", syscall.EINVAL
		}
		s, err := fn(n, info)
		return s + "\n", err
	}
}

// attrs are the attributes of an interface, after the driver (kernel
// ipoib_main.c, ipoib_cm.c, ipoib_vlan.c) and net/core/net-sysfs.c.
var attrs map[string]*attr

func init() {
	attrs = map[string]*attr{
		"create_child": {perm: 0o200, on: isParent, store: storeCreateChild},
		"delete_child": {perm: 0o200, on: isParent, store: storeDeleteChild},
		"mode":         {perm: 0o644, text: plain(func(i *datapath.Info) string { return i.Mode.String() }), store: storeMode},
		"pkey": {perm: 0o444, text: plain(func(i *datapath.Info) string {
			return fmt.Sprintf("0x%04x", uint16(i.PKey))
		})},
		"umcast": {perm: 0o644, text: number(func(i *datapath.Info) int { return bit(i.Umcast) }), store: storeUmcast},
		"parent": {perm: 0o444, on: isChild, text: func(n *netdev, _ *datapath.Info) (string, error) {
			return n.i.Parent().Name() + "\n", nil
		}},
		"dev_id": {perm: 0o444, text: func(n *netdev, i *datapath.Info) (string, error) {
			return fmt.Sprintf("%#x\n", devPort(n, i)), nil
		}, reader: hintDevPort},
		"dev_port": {perm: 0o444, text: func(n *netdev, i *datapath.Info) (string, error) {
			return fmt.Sprintf("%d\n", devPort(n, i)), nil
		}},
		"address":   {perm: 0o444, text: plain(func(i *datapath.Info) string { return i.Addr.String() })},
		"broadcast": {perm: 0o444, text: plain(func(i *datapath.Info) string { return i.Broadcast.String() })},
		"addr_len":  {perm: 0o444, text: number(func(i *datapath.Info) int { return len(i.Addr) })},
		"type":      {perm: 0o444, text: number(func(*datapath.Info) int { return arphrdInfiniBand })},
		"addr_assign_type": {perm: 0o444, text: number(func(i *datapath.Info) int {
			if i.AddrSet {
				return addrSet
			}
			return addrPerm
		})},
		"name_assign_type": {perm: 0o444, text: nameAssignType},
		"ifindex":          {perm: 0o444, text: number(func(i *datapath.Info) int { return i.Ifindex })},
		"iflink": {perm: 0o444, text: func(n *netdev, i *datapath.Info) (string, error) {
			if p := n.i.Parent(); p != nil {
				return fmt.Sprintln(p.Info().Ifindex), nil
			}
			return fmt.Sprintln(i.Ifindex), nil
		}},
		"mtu":          {perm: 0o644, text: number(func(i *datapath.Info) int { return i.MTU }), store: storeMTU},
		"tx_queue_len": {perm: 0o644, text: number(func(i *datapath.Info) int { return i.TxQueueLen }), store: storeTxQueueLen},
		"flags":        {perm: 0o644, text: flagsText, store: storeFlags},
		"ifalias": {perm: 0o644, text: func(_ *netdev, i *datapath.Info) (string, error) {
			if i.Alias == "" {
				return "", nil
			}
			return i.Alias + "\n", nil
		}, store: storeAlias},
		"carrier": {perm: 0o644, text: running(func(_ *netdev, i *datapath.Info) (string, error) {
			return strconv.Itoa(bit(i.Carrier)), nil
		}), store: func(*netdev, fusefs.Caller, []byte) error { return syscall.EOPNOTSUPP }},
		"operstate": {perm: 0o444, text: operstate},
		"speed": {perm: 0o444, text: running(func(n *netdev, _ *datapath.Info) (string, error) {
			s, err := n.i.LinkSettings()
			return strconv.Itoa(s.Speed), err
		})},
		"duplex": {perm: 0o444, text: running(func(n *netdev, i *datapath.Info) (string, error) {
			if i.Carrier {
				return "full", nil
			}
			return "unknown", nil
		})},
		// Newer kernels do not have these where the driver does not.
		"phys_port_id":   {perm: 0o444, text: notSupported},
		"phys_port_name": {perm: 0o444, text: notSupported},
		"phys_switch_id": {perm: 0o444, text: notSupported},
	}
}

// Values of the attributes (uapi/linux/if_arp.h, uapi/linux/netdevice.h).
const (
	arphrdInfiniBand = 32
	addrPerm         = 0 // NET_ADDR_PERM
	addrSet          = 3 // NET_ADDR_SET
	nameEnum         = 1 // NET_NAME_ENUM
	nameUser         = 3 // NET_NAME_USER
)

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// devPort is dev_id and dev_port: those of children are 0 on any port (kernel
// ipoib_parent_init).
func devPort(n *netdev, info *datapath.Info) int {
	if n.parent() {
		return info.Port - 1
	}
	return 0
}

// hintDevPort tells once that dev_port is the file to read (kernel dev_id_show).
func hintDevPort(n *netdev, c fusefs.Caller) {
	info, err := n.info()
	if err != nil || devPort(n, info) == 0 {
		return
	}
	n.t.hinted.Do(func() {
		n.t.Log.With("ifname", info.Name).Info(fmt.Sprintf("%q wants to know my dev_id. Should it look at dev_port instead? "+
			"See Documentation/ABI/testing/sysfs-class-net for more info.", n.t.Guard.Command(c)))
	})
}

func notSupported(*netdev, *datapath.Info) (string, error) { return "", syscall.EOPNOTSUPP }

// enumerated reports whether the kernel chose the name of a child made by
// netlink: ipoib%d.
func enumerated(name string) bool {
	digits, ok := strings.CutPrefix(name, "ipoib")
	return ok && digits != "" && strings.Trim(digits, "0123456789") == ""
}

// nameAssignType is where the name comes from. Of parents and of children made
// by create_child that is unknown until they are renamed; netlink says it.
func nameAssignType(n *netdev, info *datapath.Info) (string, error) {
	b, err := n.lowerRead("name_assign_type")
	if err == nil {
		return string(b), nil
	}
	switch {
	case n.parent() || info.Legacy:
		return "", syscall.EINVAL
	case enumerated(info.Name):
		return fmt.Sprintln(nameEnum), nil
	}
	return fmt.Sprintln(nameUser), nil
}

// Interface flags (uapi/linux/if.h).
const (
	iffUp        = 1 << 0
	iffBroadcast = 1 << 1
	iffNoARP     = 1 << 7
	iffMulticast = 1 << 12
	// iffHost are those that the TUN has a say in: DEBUG, NOTRAILERS,
	// PROMISC, ALLMULTI, MASTER, SLAVE, MULTICAST, PORTSEL, AUTOMEDIA,
	// DYNAMIC.
	iffHost = 1<<2 | 1<<5 | 1<<8 | 1<<9 | 1<<10 | 1<<11 | iffMulticast | 1<<13 | 1<<14 | 1<<15
)

// flagsText shows the flags without those that the kernel computes for
// netlink, such as IFF_RUNNING.
func flagsText(n *netdev, info *datapath.Info) (string, error) {
	host := uint64(iffMulticast)
	if b, err := n.lowerRead("flags"); err == nil {
		if v, err := strconv.ParseUint(strings.TrimSpace(string(b)), 0, 32); err == nil {
			host = v
		}
	}
	flags := host&iffHost | iffBroadcast
	if info.Up {
		flags |= iffUp
	}
	if info.NoARP {
		flags |= iffNoARP
	}
	return fmt.Sprintf("%#x\n", flags), nil
}

// operstate is the operational state of RFC 2863 (kernel operstate_show,
// default_operstate). What a user set at the TUN counts while there is
// carrier.
func operstate(n *netdev, info *datapath.Info) (string, error) {
	switch {
	case !info.Up:
		return "down\n", nil
	case !info.Carrier && !n.parent():
		return "lowerlayerdown\n", nil
	case !info.Carrier:
		return "down\n", nil
	}
	if b, err := n.lowerRead("operstate"); err == nil {
		if s := string(b); s == "dormant\n" || s == "testing\n" {
			return s, nil
		}
	}
	return "up\n", nil
}

// statistics is the directory of struct rtnl_link_stats64.
func (n *netdev) statistics() *fusefs.Dir {
	var entries []fusefs.Entry
	for _, name := range []string{
		"collisions", "multicast", "rx_bytes", "rx_compressed", "rx_crc_errors", "rx_dropped", "rx_errors",
		"rx_fifo_errors", "rx_frame_errors", "rx_length_errors", "rx_missed_errors", "rx_nohandler",
		"rx_over_errors", "rx_packets", "tx_aborted_errors", "tx_bytes", "tx_carrier_errors", "tx_compressed",
		"tx_dropped", "tx_errors", "tx_fifo_errors", "tx_heartbeat_errors", "tx_packets", "tx_window_errors",
	} {
		entries = append(entries, fusefs.Entry{Name: name, Node: &fusefs.File{
			Perm: 0o444, Size: fusefs.PageSize,
			Show: func() ([]byte, error) {
				if n.gone.Load() {
					return nil, syscall.ENODEV
				}
				return fmt.Appendln(nil, counter(n.i.Stats(), name)), nil
			},
		}})
	}
	return fusefs.Fixed(entries...)
}

// counter returns a counter by its name; those that the driver never counts
// are 0.
func counter(s datapath.Stats, name string) uint64 {
	switch name {
	case "rx_packets":
		return s.RxPackets
	case "tx_packets":
		return s.TxPackets
	case "rx_bytes":
		return s.RxBytes
	case "tx_bytes":
		return s.TxBytes
	case "rx_errors":
		return s.RxErrors
	case "tx_errors":
		return s.TxErrors
	case "rx_dropped":
		return s.RxDropped
	case "tx_dropped":
		return s.TxDropped
	case "multicast":
		return s.Multicast
	}
	return 0
}
