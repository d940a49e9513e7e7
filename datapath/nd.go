package datapath

import (
	"net/netip"

	"ipoib/datapath/encap"
	"ipoib/datapath/neigh"
	"ipoib/datapath/tun"
	"ipoib/rdma"
)

var allNodes = netip.MustParseAddr("ff02::1")

// maxND is room for an NS or NA with its IPv6 header and one option.
const maxND = 40 + 24 + encap.LinkAddrOptionLen

// solicitND sends a Neighbor Solicitation: to the solicited-node group, or to
// the neighbour that is to be verified (RFC 4861 section 7.2.2).
func (i *Interface) solicitND(e *neighbour, unicast bool) {
	src, ok := i.sourceFor(e.IP)
	if !ok {
		return // no address yet: nobody could answer
	}
	dst := encap.SolicitedNode(e.IP)
	if unicast {
		dst = e.IP
	}
	p := i.newND(func(b []byte) (int, error) {
		return encap.PutNS(b, encap.NSFields{Src: src, Dst: dst, Target: e.IP, SLLA: i.addr})
	})
	if unicast {
		i.paths.SendARP(e.Addr(), p)
		return
	}
	i.sendND(dst, p)
}

// newND builds an ND message.
func (i *Interface) newND(put func([]byte) (int, error)) tun.Packet {
	p, b := i.newPacket(encap.EtherTypeIPv6, maxND)
	n, _ := put(b) // the buffer is large enough
	p.Buf.SetLen(encap.HeaderLen + n)
	return p
}

// sendND sends an ND message to a group.
func (i *Interface) sendND(dst netip.Addr, p tun.Packet) {
	mgid, _ := encap.MGIDOf(i.broadcastMGID(), dst)
	i.groups.Send(mgid, p, false)
}

// announceND tells all neighbours the own address: an unsolicited Neighbor
// Advertisement (RFC 4861 section 7.2.6).
func (i *Interface) announceND(ip netip.Addr) {
	if i.running && i.groups.Up() {
		i.advertise(ip, allNodes, false, nil)
	}
}

// advertise sends a Neighbor Advertisement of the own address ip to dst: to
// the link-layer address to, or to a group when that is nil.
func (i *Interface) advertise(ip, dst netip.Addr, solicited bool, to *encap.HardwareAddr) {
	p := i.newND(func(b []byte) (int, error) {
		return encap.PutNA(b, encap.NAFields{
			Src: ip, Dst: dst, Target: ip, Router: i.host.forwarding, Solicited: solicited, Override: true, TLLA: i.addr,
		})
	})
	if to != nil {
		i.paths.SendARP(*to, p)
		return
	}
	i.sendND(dst, p)
}

// addLinkLayerOption completes an ND message of the host, which sits on a
// device without link-layer addresses: with the own address or, in a Redirect,
// the target's (RFC 4391 section 9.3). It returns false when it dropped the
// packet. Called on the transmitter.
func (i *Interface) addLinkLayerOption(v *txView, p *tun.Packet) bool {
	packet := p.Buf.Bytes()[encap.HeaderLen:]
	m, err := encap.ParseND(packet)
	if err != nil {
		// Not what RFC 4861 allows: it would be dropped at its destination.
		p.Buf.Free()
		i.stats.drop(TXMalformed)
		return false
	}
	ll := v.addr
	if m.Type() == encap.Redirect {
		d, ok := i.lookupDest(m.Target())
		if !ok || d.neigh == nil {
			return true // the option is optional there
		}
		peer := d.neigh.Target.Load()
		if peer == nil {
			return true
		}
		ll = peer.Addr
	}
	if out, err := encap.AddLinkLayerOption(packet, ll); err == nil {
		p.Buf.SetLen(encap.HeaderLen + len(out))
	}
	return true
}

// ndVerdict says what becomes of a received ND message.
type ndVerdict uint8

const (
	ndDrop ndVerdict = iota
	ndHost
	ndTaken
)

// receiveND sorts a received ND message. Solicitations and advertisements of
// neighbours are the loop's; the others go to the host without their
// link-layer options, which the host's device cannot have, after the loop
// learnt from them. Called on the receiver.
func (i *Interface) receiveND(wc *rdma.WorkCompletion) ndVerdict {
	buf := wc.Buf
	m, err := encap.ParseND(buf.Bytes()[encap.HeaderLen:])
	if err != nil {
		i.stats.drop(RXND)
		return ndDrop
	}
	switch m.Type() {
	case encap.NeighborSolicitation, encap.NeighborAdvertisement:
		slid := wc.SLID
		if !i.control(buf, func() { i.receiveNeighborMessage(m, slid) }) {
			return ndDrop
		}
		return ndTaken
	case encap.Redirect:
		if ll, err := m.TLLA(); err == nil {
			i.learnLater(m.Target(), ll)
		}
	default:
		if ll, err := m.SLLA(); err == nil {
			i.learnLater(m.Src(), ll)
		}
	}
	out, err := encap.StripLinkLayerOptions(buf.Bytes()[encap.HeaderLen:])
	if err != nil {
		i.stats.drop(RXND)
		return ndDrop
	}
	buf.SetLen(encap.HeaderLen + len(out))
	return ndHost
}

// learnLater notes a neighbour's address in the loop.
func (i *Interface) learnLater(ip netip.Addr, ll encap.HardwareAddr) {
	if !ll.IsUnicast() || ip.IsUnspecified() {
		return
	}
	if i.ctl.Add(1) > maxHandedOver {
		i.ctl.Add(-1)
		return
	}
	i.loop.post(func() {
		i.ctl.Add(-1)
		if i.running {
			i.neighs.Learn(i.neighs.Get(ip), neigh.Update{Addr: ll, Override: true})
		}
	})
}

func (i *Interface) receiveNeighborMessage(m encap.ND, slid rdma.LID) {
	if !i.running {
		return
	}
	ll, err := m.SLLA()
	if m.Type() == encap.NeighborAdvertisement {
		ll, err = m.TLLA()
	}
	if err == nil && slid != 0 { // over a connection there is none
		i.paths.Seen(ll.GID(), slid)
	}
	if m.Type() == encap.NeighborSolicitation {
		i.receiveNS(m)
	} else {
		i.receiveNA(m)
	}
}

// receiveNS answers a Neighbor Solicitation (RFC 4861 section 7.2.3 and
// 7.2.4, RFC 4862 section 5.4.3).
func (i *Interface) receiveNS(m encap.ND) {
	target := m.Target()
	if !i.host.owns(target) || i.host.dup[target] {
		return
	}
	if m.IsDAD() {
		if i.host.probing(target) {
			i.duplicate(target, encap.HardwareAddr{})
			return
		}
		i.advertise(target, allNodes, false, nil)
		return
	}
	ll, err := m.SLLA()
	if err == nil && !ll.IsUnicast() {
		i.stats.drop(RXND)
		return
	}
	e := i.neighs.Get(m.Src())
	if err == nil {
		i.neighs.Learn(e, neigh.Update{Addr: ll, Override: true})
		i.advertise(target, m.Src(), true, &ll)
		return
	}
	// Without the option the answer needs a resolution of its own.
	p := i.newND(func(b []byte) (int, error) {
		return encap.PutNA(b, encap.NAFields{
			Src: target, Dst: m.Src(), Target: target, Router: i.host.forwarding,
			Solicited: true, Override: true, TLLA: i.addr,
		})
	})
	i.resolve(e, p)
}

// receiveNA takes a Neighbor Advertisement (RFC 4861 section 7.2.5).
func (i *Interface) receiveNA(m encap.ND) {
	target := m.Target()
	ll, err := m.TLLA()
	if i.host.owns(target) {
		if err != nil || ll.Key() != i.addr.Key() {
			i.duplicate(target, ll)
		}
		return
	}
	e := i.neighs.Lookup(target)
	if e == nil {
		return
	}
	if err != nil {
		if m.Solicited() && e.State().HasAddr() {
			i.neighs.Confirm(e)
		}
		return
	}
	if !ll.IsUnicast() {
		i.stats.drop(RXND)
		return
	}
	i.neighs.Learn(e, neigh.Update{
		Addr: ll, Reachable: m.Solicited(), Override: m.Override(), Router: m.Router(), SetRouter: true,
	})
}
