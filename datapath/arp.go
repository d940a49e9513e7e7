package datapath

import (
	"net/netip"

	"ipoib/datapath/encap"
	"ipoib/datapath/neigh"
	"ipoib/datapath/tun"
	"ipoib/rdma"
)

// solicitARP sends an ARP request: to the broadcast group, or to the address
// that is to be verified.
func (i *Interface) solicitARP(e *neighbour, unicast bool) {
	src, ok := i.sourceFor(e.IP)
	if !ok {
		src = netip.IPv4Unspecified()
	}
	p := i.newARP(encap.ARPFields{Op: encap.ARPRequest, SenderHW: i.addr, SenderIP: src, TargetIP: e.IP})
	if unicast {
		i.paths.SendARP(e.Addr(), p)
		return
	}
	i.groups.Send(i.broadcastMGID(), p, false)
}

// newARP builds an ARP packet.
func (i *Interface) newARP(f encap.ARPFields) tun.Packet {
	p, b := i.newPacket(encap.EtherTypeARP, encap.ARPLen)
	// The buffer has the size, and callers pass IPv4 addresses.
	_, _ = encap.PutARP(b, f)
	return p
}

// announceARP tells all neighbours the own address: a gratuitous request
// (RFC 5227 section 2.3).
func (i *Interface) announceARP(ip netip.Addr) {
	if !i.running || !i.groups.Up() {
		return
	}
	p := i.newARP(encap.ARPFields{Op: encap.ARPRequest, SenderHW: i.addr, SenderIP: ip, TargetIP: ip})
	i.groups.Send(i.broadcastMGID(), p, false)
}

// receiveARP takes a valid ARP packet (RFC 826, kernel arp_process) that came
// from slid. group says that it came to a multicast group.
func (i *Interface) receiveARP(a encap.ARP, slid rdma.LID, group bool) {
	op, sender, target, hw := a.Op(), a.SenderIP(), a.TargetIP(), a.SenderHW()
	if !i.running || i.noARP || op != encap.ARPRequest && op != encap.ARPReply {
		return
	}
	if !hw.IsUnicast() || target.IsMulticast() || target.IsLoopback() || sender.IsMulticast() ||
		sender.IsLoopback() || sender == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		i.stats.drop(RXARP)
		return
	}
	i.paths.Seen(hw.GID(), slid)
	if i.host.owns(sender) && hw.Key() != i.addr.Key() {
		// Somebody else has, or claims, our address. Defend it once per
		// interval (RFC 5227 section 2.4).
		i.conflict(sender, hw)
	}
	local := i.answersARP(target)
	if op == encap.ARPRequest && local {
		if !a.IsProbe() {
			e := i.neighs.Get(sender)
			i.neighs.Learn(e, neigh.Update{Addr: hw, Override: !i.neighs.Locked(e)})
		}
		i.paths.SendARP(hw, i.newARP(encap.ARPFields{
			Op: encap.ARPReply, SenderHW: i.addr, SenderIP: target, TargetHW: hw, TargetIP: sender,
		}))
		return
	}
	if sender.IsUnspecified() {
		return
	}
	// What was not asked for makes no entry, but brings one up to date.
	e := i.neighs.Lookup(sender)
	if e == nil {
		return
	}
	gratuitous := a.IsGratuitous()
	i.neighs.Learn(e, neigh.Update{
		Addr: hw, Reachable: op == encap.ARPReply && !group && !gratuitous,
		Override: gratuitous || !i.neighs.Locked(e),
	})
}

// answersARP reports whether a request for target is answered: an address of
// this interface, or one of another interface of the namespace unless
// arp_ignore says otherwise.
func (i *Interface) answersARP(target netip.Addr) bool {
	if i.host.owns(target) {
		return true
	}
	if !i.ns.isLocal(target) {
		return false
	}
	for _, conf := range []string{"all", i.name} {
		if v, err := i.ns.ns.Sysctl(familyIPv4, conf, "arp_ignore"); err == nil && v != "0" {
			return false
		}
	}
	return true
}
