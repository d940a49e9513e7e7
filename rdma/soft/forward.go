package soft

import (
	"sync/atomic"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// Sizes of forwarding tables.
const (
	lftCap      = 0xc000 // unicast LIDs
	mftCap      = 0x1000 // multicast LIDs from 0xc000
	lftBlock    = 64
	mftBlock    = 32
	noRoutePort = 0xff
)

// mft is a multicast forwarding table: port masks by multicast LID, up to 256
// ports. Blocks cover 32 LIDs for one group of 16 ports (IBA 14.2.5.12).
type mft struct {
	rows [mftCap]atomic.Pointer[portMask]
}

type portMask [16]uint16 // by position

func (t *mft) lookup(l rdma.LID) *portMask {
	i := int(l) - int(rdma.LIDFirstMulticast)
	if i < 0 || i >= mftCap {
		return nil
	}
	return t.rows[i].Load()
}

// set writes the 16 ports at position pos of one LID.
func (t *mft) set(i, pos int, bits uint16) {
	var m portMask
	if old := t.rows[i].Load(); old != nil {
		m = *old
	}
	m[pos] = bits
	t.rows[i].Store(&m)
}

func (m *portMask) has(p int) bool { return m[p/16]&(1<<(p%16)) != 0 }

// vlFor maps an SL to a virtual lane at port out, for packets that came in by
// port in (IBA 7.6.6). Where no table was set the lane is 0.
func (n *node) vlFor(in, out *port, sl uint8) uint8 {
	t := out.slTable.Load()
	if t == nil {
		return 0
	}
	return t.vl(in.num, sl)
}

// slTable is the SL to VL table of an output port.
type slTable struct {
	byInput map[int]mad.SLtoVLMappingTable
}

func (t *slTable) vl(in int, sl uint8) uint8 {
	m, ok := t.byInput[in]
	if !ok {
		return 0
	}
	return m.VL(sl)
}

// forward passes a data packet or GMP through a switch.
func (n *node) forward(in *port, pk *packet) {
	if pk.hops++; pk.hops > maxHops {
		in.counters.rcvSwitchRelay.Add(1)
		in.drop(pk, DropNoRoute)
		return
	}
	if in.num != 0 && in.enforceIn.Load() && !in.pkeySendable(pk.PKey) {
		in.counters.rcvConstraint.Add(1)
		in.counters.pkeyViolations.Add(1)
		n.trapSwitchPKey(in, pk)
		in.drop(pk, DropPKey)
		return
	}
	if pk.DLID.IsMulticast() {
		n.forwardMulticast(in, pk)
		return
	}
	out := int(n.route(pk.DLID))
	if out >= len(n.ports) || out == in.num {
		in.counters.rcvSwitchRelay.Add(1)
		in.drop(pk, DropNoRoute)
		return
	}
	if out == 0 {
		n.ports[0].deliverGMP(pk)
		return
	}
	n.output(in, n.ports[out], pk)
}

func (n *node) forwardMulticast(in *port, pk *packet) {
	mask := n.mft.lookup(pk.DLID)
	if mask == nil {
		in.counters.rcvSwitchRelay.Add(1)
		in.drop(pk, DropNoRoute)
		return
	}
	var prev *port
	for i := 1; i < len(n.ports); i++ {
		if i == in.num || !mask.has(i) {
			continue
		}
		if prev != nil {
			c := pk.clone()
			n.output(in, prev, &c)
		}
		prev = n.ports[i]
	}
	if prev == nil {
		// The only member is behind the port that it came in by.
		pk.release()
		return
	}
	n.output(in, prev, pk)
}

// output sends a packet out of a switch port.
func (n *node) output(in, out *port, pk *packet) {
	if out.enforceOut.Load() && !out.pkeyAllowed(pk.PKey) {
		out.counters.xmitConstraint.Add(1)
		n.trapSwitchPKey(out, pk)
		out.drop(pk, DropPKey)
		return
	}
	pk.VL = n.vlFor(in, out, pk.SL)
	if pk.VL == vlManagement {
		out.counters.xmitDiscards.Add(1)
		out.drop(pk, DropVL)
		return
	}
	out.transmit(pk)
}
