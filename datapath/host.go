package datapath

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/jonboulle/clockwork"

	"ipoib/datapath/encap"
	"ipoib/datapath/hostnet"
	"ipoib/rdma"
)

const (
	familyIPv4 = hostnet.IPv4
	familyIPv6 = hostnet.IPv6
)

// dadWait is how long an address is probed before it counts as unique
// (RFC 4862 section 5.1: one probe, RetransTimer).
const dadWait = time.Second

// defendInterval limits the defence of an address (RFC 5227 section 2.4).
const defendInterval = 10 * time.Second

// hostState is what the loop knows of the host's side of the interface.
type hostState struct {
	addrs []hostnet.Addr
	dup   map[netip.Addr]bool // IPv6 addresses that others have
	dad   map[netip.Addr]clockwork.Timer
	// defended is when an IPv4 address was last defended.
	defended   map[netip.Addr]time.Time
	forwarding bool // IPv6 forwarding: we are a router
	linkLocal  bool // our link-local address was added since the last up
	allMulti   bool
}

// owns reports whether ip is an address of the interface.
func (h *hostState) owns(ip netip.Addr) bool {
	return slices.ContainsFunc(h.addrs, func(a hostnet.Addr) bool { return a.Prefix.Addr() == ip })
}

// probing reports whether duplicate address detection runs for ip.
func (h *hostState) probing(ip netip.Addr) bool { return h.dad[ip] != nil }

// onLink follows a change of the link that the host made or tells.
func (i *Interface) onLink(l hostnet.Link) {
	if i.removed {
		return
	}
	// The event may be older than what was set since: the present counts.
	if now, err := i.ns.ns.LinkByIndex(l.Index); err == nil {
		l = now
	}
	if l.Name != i.name {
		i.debugf("renamed to %s", l.Name)
		i.name = l.Name
	}
	if l.Alias != i.alias {
		i.alias = l.Alias
		i.refreshAlias()
	}
	i.txqlen = l.TxQueueLen
	i.followAddrGen(l.AddrGenMode)
	if l.MTU != i.mtu.mtu {
		i.followMTU(l.MTU)
	}
	if l.AllMulti != i.host.allMulti {
		i.host.allMulti = l.AllMulti
		i.setRouter(l.AllMulti)
	}
	if l.Up != i.up {
		i.up = l.Up
		if l.Up {
			i.open()
		} else {
			i.stop()
		}
	}
	i.publish()
}

// followMTU takes an MTU that was set with the host's own tools: what IPoIB
// cannot carry is put back.
func (i *Interface) followMTU(v int) {
	eff, err := i.mtu.change(i.name, v)
	if err != nil {
		i.log().Warn("mtu cannot be carried, putting it back", "mtu", v, "back", i.mtu.mtu, "max", i.mtu.max)
		i.setHostMTU(i.mtu.mtu)
		return
	}
	i.warnMulticast(eff)
	i.mtu.mtu = eff
	if eff != v {
		i.log().Warn("mtu is limited by the broadcast group", "mtu", v, "limit", eff)
		i.setHostMTU(eff)
	}
	i.checkIPv6()
}

func (i *Interface) setHostMTU(v int) {
	if err := i.ns.ns.SetMTU(i.ifindex, v); err != nil {
		i.debugf("cannot set mtu %d: %v", v, err)
	}
}

// onAddr follows an address that came or changed.
func (i *Interface) onAddr(a hostnet.Addr) {
	if i.removed {
		return
	}
	ip := a.Prefix.Addr()
	known := i.host.owns(ip)
	i.host.addrs = slices.DeleteFunc(i.host.addrs, func(o hostnet.Addr) bool { return o.Prefix == a.Prefix })
	i.host.addrs = append(i.host.addrs, a)
	if known {
		return
	}
	i.readGroups()
	if i.running && i.groups.Up() {
		i.announce(a)
	}
}

// onAddrGone follows an address that was removed.
func (i *Interface) onAddrGone(a hostnet.Addr) {
	ip := a.Prefix.Addr()
	i.host.addrs = slices.DeleteFunc(i.host.addrs, func(o hostnet.Addr) bool { return o.Prefix == a.Prefix })
	if i.host.owns(ip) {
		return
	}
	i.stopDAD(ip)
	delete(i.host.dup, ip)
	delete(i.host.defended, ip)
	i.readGroups()
}

// announce makes an own address known: IPv4 by a gratuitous ARP, IPv6 by an
// unsolicited advertisement after nobody else claimed it.
func (i *Interface) announce(a hostnet.Addr) {
	ip := a.Prefix.Addr()
	if ip.Is4() {
		i.announceARP(ip)
		return
	}
	if i.host.dup[ip] {
		return
	}
	if a.NoDAD {
		i.announceND(ip)
		return
	}
	i.startDAD(ip)
}

// announceAll announces all addresses, after the link came up.
func (i *Interface) announceAll() {
	for _, a := range slices.Clone(i.host.addrs) {
		i.announce(a)
	}
}

// startDAD probes an IPv6 address (RFC 4862 section 5.4.2). The host's device
// cannot: it has no link layer.
func (i *Interface) startDAD(ip netip.Addr) {
	if i.host.dad[ip] != nil {
		return
	}
	unspecified := netip.IPv6Unspecified()
	dst := encap.SolicitedNode(ip)
	i.sendND(dst, i.newND(func(b []byte) (int, error) {
		return encap.PutNS(b, encap.NSFields{Src: unspecified, Dst: dst, Target: ip})
	}))
	i.host.dad[ip] = i.drv.sys.Clock.AfterFunc(dadWait, func() {
		i.loop.post(func() {
			if i.host.dad[ip] == nil {
				return
			}
			delete(i.host.dad, ip)
			i.announceND(ip)
		})
	})
}

func (i *Interface) stopDAD(ip netip.Addr) {
	if t := i.host.dad[ip]; t != nil {
		t.Stop()
		delete(i.host.dad, ip)
	}
}

// duplicate notes that somebody else has an IPv6 address of ours: it is not
// answered for any more.
func (i *Interface) duplicate(ip netip.Addr, by encap.HardwareAddr) {
	i.stopDAD(ip)
	if i.host.dup[ip] {
		return
	}
	i.host.dup[ip] = true
	i.warnf("IPv6 duplicate address %v used by %v detected!", ip, by)
}

// conflict notes that somebody else uses an IPv4 address of ours.
func (i *Interface) conflict(ip netip.Addr, by encap.HardwareAddr) {
	now := i.drv.sys.Clock.Now()
	if last, ok := i.host.defended[ip]; ok && now.Sub(last) < defendInterval {
		return
	}
	i.host.defended[ip] = now
	i.warnf("IPv4 address %v is also used by %v", ip, by)
	i.announceARP(ip)
}

// checkIPv6 gives the interface its link-local address, made of the port GUID
// (RFC 4391 section 8), once it is up and its MTU carries IPv6.
func (i *Interface) checkIPv6() {
	if i.mtu.mtu < minIPv6MTU {
		// The host forgets all of IPv6, to begin anew when there is room
		// (kernel addrconf_ifdown).
		i.debugf("mtu %d is too small for IPv6", i.mtu.mtu)
		i.host.linkLocal = false
		return
	}
	if !i.up || !i.carrier || i.host.linkLocal || i.addrGen == hostnet.AddrGenNone {
		return
	}
	if l, err := i.ns.ns.LinkByIndex(i.ifindex); err == nil && l.AddrGenMode > hostnet.AddrGenNone {
		return // the user wants the host to choose
	}
	guid := i.addr.GID().GUID()
	a := hostnet.Addr{Index: i.ifindex, Prefix: netip.PrefixFrom(encap.LinkLocal(guid.InterfaceID()), 64)}
	err := i.ns.ns.AddAddr(a)
	if err != nil && !errors.Is(err, hostnet.ErrExist) {
		i.debugf("cannot add %v: %v", a.Prefix, err)
		return
	}
	i.host.linkLocal = true
}

// readGroups takes over the host's group memberships.
func (i *Interface) readGroups() {
	if i.removed || !i.up {
		return
	}
	list, err := i.ns.ns.Groups(i.ifindex)
	if err != nil {
		i.debugf("cannot read group memberships: %v", err)
		return
	}
	// The host joins no solicited-node groups on a device without link layer
	// (kernel addrconf_join_solict).
	for _, a := range i.host.addrs {
		if ip := a.Prefix.Addr(); ip.Is6() {
			list = append(list, encap.SolicitedNode(ip))
		}
	}
	want := make(map[rdma.GID]bool, len(list))
	bcast := i.broadcastMGID()
	for _, ip := range list {
		if ip.IsInterfaceLocalMulticast() {
			continue
		}
		if mgid, ok := encap.MGIDOf(bcast, ip); ok {
			want[mgid] = true
		}
	}
	i.groups.SetWanted(want)
}
