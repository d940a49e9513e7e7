package soft

import "ipoib/rdma"

// transmit sends a packet out of a port over its link. The packet's VL is
// set; data packets need an Active port, SMPs (VL15) a link.
func (p *port) transmit(pk *packet) {
	l := p.link.Load()
	gate := p.gate()
	if l == nil || pk.VL == vlManagement && !gate.up() || pk.VL != vlManagement && !gate.sends() {
		p.counters.xmitDiscards.Add(1)
		p.drop(pk, DropPortState)
		return
	}
	packets, words, payload := pk.wire()
	if payload > int(p.mtu.Load()) && pk.VL != vlManagement {
		p.counters.xmitDiscards.Add(1)
		p.drop(pk, DropMTU)
		return
	}
	c := &p.counters
	c.xmitPkts.Add(uint64(packets))
	c.xmitData.Add(words)
	if pk.DLID.IsMulticast() {
		c.multXmitPkts.Add(uint64(packets))
	}
	if t := p.taps.Load(); t != nil {
		p.capture(*t, pk, DirOut)
	}
	l.carry(pk, p)
}

// receive takes a packet from the link.
func (p *port) receive(pk *packet) {
	gate := p.gate()
	if !gate.up() || pk.VL != vlManagement && !gate.receives() {
		p.drop(pk, DropPortState)
		return
	}
	packets, words, payload := pk.wire()
	c := &p.counters
	c.rcvPkts.Add(uint64(packets))
	c.rcvData.Add(words)
	if pk.DLID.IsMulticast() {
		c.multRcvPkts.Add(uint64(packets))
	}
	if t := p.taps.Load(); t != nil {
		p.capture(*t, pk, DirIn)
	}
	if pk.VL == vlManagement {
		p.node.receiveSMP(p, pk)
		return
	}
	if payload > int(p.mtu.Load()) {
		c.rcvErrors.Add(1)
		p.drop(pk, DropMTU)
		return
	}
	if p.hca != nil {
		p.deliver(pk)
		return
	}
	p.node.forward(p, pk)
}

// vlManagement is VL15, for subnet management only (IBA 3.5.7).
const vlManagement = 15

// send starts a packet of a queue pair at its port: to the port itself, or
// out.
func (p *port) send(pk *packet) {
	pk.SLID = p.LID() | rdma.LID(pk.pathBits)&(1<<p.lmc.Load()-1)
	if pk.DLID.IsUnicast() && p.ownsLID(pk.DLID) {
		// A channel adapter loops packets to its own LID back inside.
		if p.gate().receives() {
			if p.hca != nil {
				p.deliver(pk)
			} else {
				p.deliverGMP(pk)
			}
			return
		}
		p.drop(pk, DropPortState)
		return
	}
	if p.hca == nil {
		// Management port of a switch: into the crossbar.
		p.node.forward(p, pk)
		return
	}
	pk.VL = p.node.vlFor(p, p, pk.SL)
	if pk.VL == vlManagement {
		p.counters.xmitDiscards.Add(1)
		p.drop(pk, DropVL)
		return
	}
	if pk.DLID.IsMulticast() && pk.HasGRH {
		p.deliverMulticastLocal(pk)
	}
	p.transmit(pk)
}

// deliverMulticastLocal gives the other queue pairs of the sending port that
// listen to the group their copy: switches do not send a packet back out of
// the port that it came in by.
func (p *port) deliverMulticastLocal(pk *packet) {
	if !p.gate().sends() || !p.hca.hasReceivers(pk.GRH.DGID, pk.source) {
		return
	}
	c := pk.clone()
	p.hca.deliverMulticast(p, &c)
}
