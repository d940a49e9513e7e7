package soft

import (
	"ipoib/rdma"
	"ipoib/rdma/header"
	"ipoib/rdma/mad"
)

// newSMP returns a packet on QP0 with a copy of the datagram.
func (f *Fabric) newSMP(m *[rdma.MADSize]byte) packet {
	b := f.buffers.Get(rdma.MADSize)
	copy(b.Bytes(), m[:])
	return packet{
		Fields: header.Fields{
			VL: vlManagement, SLID: rdma.LIDPermissive, DLID: rdma.LIDPermissive,
			Opcode: header.UDSendOnly, PKey: rdma.PKeyDefault,
		},
		buf: b,
	}
}

// madOf returns the payload of a management packet, or nil when it is not one
// datagram.
func madOf(pk *packet) *mad.MAD {
	if pk.Opcode != header.UDSendOnly || pk.payloadLen() != rdma.MADSize {
		return nil
	}
	return mad.View((*[rdma.MADSize]byte)(pk.buf.Bytes()))
}

// receiveSMP takes a subnet management packet that came in by a port.
func (n *node) receiveSMP(in *port, pk *packet) {
	m := madOf(pk)
	if m == nil || pk.DestQP != rdma.QPNSMI || !m.Class().IsSMP() || m.Check() != nil {
		in.drop(pk, DropMAD)
		return
	}
	if pk.hops++; pk.hops > 2*maxHops {
		in.drop(pk, DropNoRoute)
		return
	}
	if m.IsDirected() {
		n.routeDirected(in, pk, m)
		return
	}
	mgmt := n.managementPort(in)
	if mgmt.ownsLID(pk.DLID) || pk.DLID == rdma.LIDPermissive {
		n.handleSMP(in, pk, m)
		return
	}
	if n.kind != kindSwitch {
		in.drop(pk, DropDLID)
		return
	}
	n.forwardSMP(in, pk)
}

// managementPort returns the port that speaks for the node to who comes in by
// port in: port 0 of a switch, the port itself on a channel adapter.
func (n *node) managementPort(in *port) *port {
	if n.kind == kindSwitch {
		return n.ports[0]
	}
	return in
}

// forwardSMP forwards a LID-routed SMP through a switch.
func (n *node) forwardSMP(in *port, pk *packet) {
	out := int(n.route(pk.DLID))
	if out == 0 || out >= len(n.ports) || out == in.num {
		in.counters.rcvSwitchRelay.Add(1)
		in.drop(pk, DropNoRoute)
		return
	}
	n.ports[out].transmit(pk)
}

// routeDirected moves a directed-route SMP one hop on (IBA 14.2.2). The hop
// pointer counts on the way out from 1 to the hop count, is one more at the
// destination, and counts back.
func (n *node) routeDirected(in *port, pk *packet, m *mad.MAD) {
	if m.DrSLID() != rdma.LIDPermissive || m.DrDLID() != rdma.LIDPermissive || m.HopCount() > mad.MaxHops {
		// Routes with a LID-routed part are not needed to manage one subnet.
		in.drop(pk, DropMAD)
		return
	}
	ptr, count := m.HopPointer(), m.HopCount()
	if !m.Direction() {
		switch {
		case ptr < count && ptr > 0:
			if n.kind != kindSwitch {
				in.drop(pk, DropNoRoute)
				return
			}
			m.ReturnPath()[ptr] = uint8(in.num)
			m.SetHopPointer(ptr + 1)
			n.emitDirected(in, int(m.InitialPath()[ptr+1]), pk)
		case ptr == count:
			if count > 0 {
				m.ReturnPath()[ptr] = uint8(in.num)
			}
			m.SetHopPointer(ptr + 1)
			n.handleSMP(in, pk, m)
		default:
			in.drop(pk, DropMAD)
		}
		return
	}
	switch {
	case ptr >= 2 && ptr <= count:
		if n.kind != kindSwitch {
			in.drop(pk, DropNoRoute)
			return
		}
		m.SetHopPointer(ptr - 1)
		n.emitDirected(in, int(m.ReturnPath()[ptr-1]), pk)
	case ptr <= 1:
		m.SetHopPointer(0)
		n.managementPort(in).agents.deliver(rdma.QPNSMI, pk, m, in)
	default:
		in.drop(pk, DropMAD)
	}
}

// emitDirected sends a directed-route SMP out of an external port.
func (n *node) emitDirected(in *port, out int, pk *packet) {
	if out < 1 || out >= len(n.ports) {
		in.drop(pk, DropNoRoute)
		return
	}
	n.ports[out].transmit(pk)
}

// sendSMP starts an SMP of a management agent at port p, or an answer of the
// node's SMA.
func (p *port) sendSMP(pk *packet, to rdma.LID) {
	m := madOf(pk)
	n := p.node
	if m.IsDirected() {
		if m.Direction() {
			// An answer: back over the way that the request came.
			ptr := m.HopPointer()
			if m.HopCount() == 0 || ptr < 2 {
				m.SetHopPointer(0)
				p.agents.deliver(rdma.QPNSMI, pk, m, p)
				return
			}
			m.SetHopPointer(ptr - 1)
			n.emitDirected(p, int(m.ReturnPath()[ptr-1]), pk)
			return
		}
		if m.HopCount() == 0 {
			m.SetHopPointer(1)
			n.handleSMP(p, pk, m)
			return
		}
		m.SetHopPointer(1)
		out := int(m.InitialPath()[1])
		if p.hca != nil && out != p.num {
			p.drop(pk, DropNoRoute)
			return
		}
		n.emitDirected(p, out, pk)
		return
	}
	pk.SLID, pk.DLID = p.LID(), to
	switch {
	case p.ownsLID(to):
		n.handleSMP(p, pk, m)
	case p.hca != nil:
		p.transmit(pk)
	default:
		n.forwardSMP(p, pk)
	}
}

// handleSMP is the end of an SMP's way: the SMA answers Get and Set, the rest
// goes to management software.
func (n *node) handleSMP(in *port, pk *packet, m *mad.MAD) {
	mgmt := n.managementPort(in)
	if m.AttrID() == mad.AttrSMInfo || m.IsResponse() && m.Method() != mad.MethodTrapRepress ||
		m.Method() == mad.MethodTrap {
		mgmt.agents.deliver(rdma.QPNSMI, pk, m, in)
		return
	}
	switch m.Method() {
	case mad.MethodTrapRepress:
		n.traps.repress(m.TID())
		pk.release()
		return
	case mad.MethodGet, mad.MethodSet:
	default:
		mgmt.drop(pk, DropMAD)
		return
	}
	if !n.sma(in, m) {
		mgmt.drop(pk, DropMAD)
		return
	}
	from := pk.SLID
	m.SetMethod(mad.MethodGetResp)
	if m.IsDirected() {
		m.SetDirection(true)
	}
	mgmtSend(mgmt, in, pk, from)
}

// mgmtSend sends an answer: a directed one leaves by the return path, which
// starts at the port that the request came in by.
func mgmtSend(mgmt, in *port, pk *packet, to rdma.LID) {
	pk.VL, pk.SLID, pk.DLID = vlManagement, rdma.LIDPermissive, rdma.LIDPermissive
	if mgmt.hca != nil {
		in.sendSMP(pk, to)
		return
	}
	mgmt.sendSMP(pk, to)
}
