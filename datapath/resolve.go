package datapath

import (
	"net/netip"

	"ipoib/datapath/encap"
	"ipoib/datapath/hostnet"
	"ipoib/datapath/mcast"
	"ipoib/datapath/neigh"
	"ipoib/datapath/path"
	"ipoib/datapath/tun"
	"ipoib/rdma"
)

// newTables makes the tables of an interface and joins them: a next hop has a
// link-layer address (neigh), the address has a path (path), the path an
// address handle.
func (i *Interface) newTables() {
	sys := &i.drv.sys
	i.neighs = neigh.NewTable(sys.Clock, i.rng, neigh.Hooks[path.Peer, tun.Packet]{
		Probe: i.solicit,
		Changed: func(e *neighbour, q []tun.Packet) {
			peer := i.point(e)
			for _, p := range q {
				i.sendPeer(peer, p)
			}
		},
		Failed: func(_ *neighbour, q []tun.Packet) {
			for _, p := range q {
				i.unreachable(p)
			}
		},
		Removed: func(e *neighbour, q []tun.Packet) {
			i.debugf("neighbour %v removed", e.IP)
			for _, p := range q {
				i.dropTX(p, TXUnreachable)
			}
		},
		Dropped: func(p tun.Packet) { i.dropTX(p, TXQueueFull) },
		Post:    i.loop.post,
	})
	i.paths = path.NewTable(sys.Clock, path.Hooks{
		Query:       i.queryPath,
		MakeAH:      i.pathAH,
		Send:        i.sendDatagram,
		Drop:        func(p tun.Packet) { i.dropTX(p, TXNoPath) },
		PeerChanged: i.peerChanged,
		PeerRemoved: i.peerRemoved,
		InUse:       i.peerInUse,
		Post:        i.loop.post,
		Debugf:      i.debugf,
	})
	i.groups = mcast.NewTable(sys.Clock, i.mcastHooks())
}

// slowTransmit sends a packet for which the transmitter had no destination.
func (i *Interface) slowTransmit(ip encap.IP, p tun.Packet) {
	if !i.running || !i.groups.Up() {
		i.dropTX(p, TXNotReady)
		return
	}
	encap.PutHeader(p.Buf.Bytes(), ip.EtherType)
	limit := i.mtu.group + encap.HeaderLen
	long := i.tooLong(p, limit)
	switch {
	case long && (i.mode == Datagram || ip.IsLimitedBroadcast() || ip.IsMulticast()):
		i.dropTooLong(ip, p, limit)
	case ip.IsLimitedBroadcast():
		i.sendGroup(ip.Dst, i.broadcastMGID(), p, false)
	case ip.IsMulticast():
		mgid, _ := encap.MGIDOf(i.broadcastMGID(), ip.Dst)
		i.sendGroup(ip.Dst, mgid, p, !mcast.IsLinkLocal(ip))
	default:
		i.sendUnicast(ip, p)
	}
}

// dropTooLong drops a packet above the MTU and tells the host how long it may
// be (kernel ipoib_send, ipoib_cm_skb_too_long).
func (i *Interface) dropTooLong(ip encap.IP, p tun.Packet, limit int) {
	i.warnf("packet len %d (> %d) too long to send, dropping", p.Buf.Len(), limit)
	// The error comes from the destination, as if the far end of the link
	// had sent it: the host discards IPv4 packets from its own addresses. One
	// about a group, which there is for IPv6 only, comes from ourselves.
	src := ip.Dst
	if src.IsMulticast() {
		src, _ = i.sourceFor(src)
	}
	i.writeHost(encap.ICMPv6ErrorMaxLen, func(b []byte) (int, error) {
		return encap.PutPacketTooBig(b, p.Buf.Bytes()[encap.HeaderLen:], src, i.mtu.group)
	})
	i.dropTX(p, TXTooLong)
}

// unreachable drops a packet whose next hop does not answer and tells the
// host (kernel arp_error_report).
func (i *Interface) unreachable(p tun.Packet) {
	packet := p.Buf.Bytes()[encap.HeaderLen:]
	if ip, err := encap.ParseIP(packet); err == nil {
		i.writeHost(encap.ICMPv6ErrorMaxLen, func(b []byte) (int, error) {
			return encap.PutHostUnreachable(b, packet, ip.Dst)
		})
	}
	i.dropTX(p, TXUnreachable)
}

func (i *Interface) sendGroup(ip netip.Addr, mgid rdma.GID, p tun.Packet, fallback bool) {
	if g := i.groups.Send(mgid, p, fallback); g != nil {
		i.storeDest(ip, dest{group: g, fallback: fallback})
	}
}

// sendUnicast finds the next hop of a packet in the host's routes and sends it
// there.
func (i *Interface) sendUnicast(ip encap.IP, p tun.Packet) {
	if d, ok := i.lookupDest(ip.Dst); ok && !d.dead() {
		switch {
		case d.neigh != nil:
			i.resolve(d.neigh, p)
		default:
			i.sendGroup(ip.Dst, d.group.MGID, p, d.fallback)
		}
		return
	}
	hop := ip.Dst
	r, err := i.ns.ns.Route(hostnet.RouteQuery{Dst: ip.Dst, Src: ip.Src, OIF: i.ifindex, TOS: ip.TOS})
	switch {
	case err == nil && r.Type == hostnet.RouteBroadcast:
		// Directed broadcast (RFC 4391 section 5).
		i.sendGroup(ip.Dst, i.broadcastMGID(), p, false)
		return
	case err == nil && r.Type == hostnet.RouteUnicast:
		hop = r.NextHop(ip.Dst)
	}
	// Without a route the packet was bound to the interface: the destination
	// is on the link, as the kernel has it.
	e := i.neighs.Get(hop)
	i.storeDest(ip.Dst, dest{neigh: e})
	i.resolve(e, p)
}

// resolve sends a packet to a neighbour, or lets it wait for its address.
func (i *Interface) resolve(e *neighbour, p tun.Packet) {
	if !i.neighs.Send(e, p) {
		return
	}
	peer := e.Target.Load()
	if peer == nil || peer.Dead() {
		peer = i.point(e)
	}
	if ip, err := encap.ParseIP(p.Buf.Bytes()[encap.HeaderLen:]); err == nil && ip.IsND() {
		i.paths.Send(peer, p) // resolution goes by UD (RFC 4755 section 7)
		return
	}
	i.sendPeer(peer, p)
}

// point makes the entry's address the target of its packets.
func (i *Interface) point(e *neighbour) *path.Peer {
	peer := i.paths.Peer(e.Addr())
	e.Target.Store(peer)
	return peer
}

// peerRemoved forgets a peer that failed or was idle: the next packet to one
// of its neighbours makes a new one.
func (i *Interface) peerRemoved(peer *path.Peer) {
	i.debugf("neigh free for %06x %s", uint32(peer.Addr.QPN()), peer.Addr.GID().Full())
	if i.conns.table != nil {
		i.conns.table.ForgetPeer(peer)
	}
	i.neighs.Entries(func(e *neighbour) { e.Target.CompareAndSwap(peer, nil) })
}

// solicit asks for the address of a neighbour.
func (i *Interface) solicit(e *neighbour, unicast bool) {
	if !i.running || i.noARP || !i.groups.Up() {
		return
	}
	if e.IP.Is4() {
		i.solicitARP(e, unicast)
	} else {
		i.solicitND(e, unicast)
	}
}

// sourceFor chooses the own address to ask with: one in the target's network,
// else the first of the family; for IPv6 of the target's scope.
func (i *Interface) sourceFor(target netip.Addr) (netip.Addr, bool) {
	var first netip.Addr
	for _, a := range i.host.addrs {
		ip := a.Prefix.Addr()
		if ip.Is4() != target.Is4() || i.host.dup[ip] {
			continue
		}
		net := a.Prefix
		if a.Peer.IsValid() {
			net = netip.PrefixFrom(a.Peer, a.Prefix.Bits())
		}
		if net.Masked().Contains(target) {
			return ip, true
		}
		if !first.IsValid() || ip.IsLinkLocalUnicast() && !first.IsLinkLocalUnicast() {
			first = ip
		}
	}
	return first, first.IsValid()
}

// newPacket takes a buffer of n bytes behind an encapsulation header.
func (i *Interface) newPacket(t encap.EtherType, n int) (tun.Packet, []byte) {
	buf := i.pd.Buffers().Get(encap.HeaderLen + n)
	encap.PutHeader(buf.Bytes(), t)
	return tun.Packet{Buf: buf}, buf.Bytes()[encap.HeaderLen:]
}
