package soft

import (
	"ipoib/rdma"
	"ipoib/rdma/header"
)

// deliver gives a packet to the queue pairs of a channel adapter, in the
// order of checks of the IBA (9.6.1): destination, GRH, queue pair, P_Key,
// Q_Key, length.
func (p *port) deliver(pk *packet) {
	if pk.DLID.IsMulticast() {
		if !pk.HasGRH || !pk.GRH.DGID.IsMulticast() || pk.DestQP != rdma.QPNMulticast || pk.Opcode != header.UDSendOnly {
			p.counters.rcvErrors.Add(1)
			p.drop(pk, DropGRH)
			return
		}
		p.hca.deliverMulticast(p, pk)
		return
	}
	if !p.ownsLID(pk.DLID) {
		p.counters.rcvErrors.Add(1)
		p.drop(pk, DropDLID)
		return
	}
	if pk.HasGRH && !p.ownsGID(pk.GRH.DGID) {
		p.drop(pk, DropGRH)
		return
	}
	if pk.DestQP == rdma.QPNGSI {
		p.deliverGMP(pk)
		return
	}
	q := p.hca.qps.lookup(pk.DestQP)
	if q == nil || q.port != p {
		p.drop(pk, DropNoQP)
		return
	}
	q.receive(pk)
}

// deliverMulticast gives a copy to every queue pair attached to the MGID.
func (h *HCA) deliverMulticast(p *port, pk *packet) {
	h.mcast.mu.RLock()
	defer h.mcast.mu.RUnlock()
	var prev *qp
	for _, q := range h.mcast.groups[pk.GRH.DGID] {
		if q.port != p || q.blockLoopback && q == pk.source {
			continue
		}
		if prev != nil {
			c := pk.clone()
			prev.receive(&c)
		}
		prev = q
	}
	if prev == nil {
		p.drop(pk, DropNoGroup)
		return
	}
	prev.receive(pk)
}

// hasReceivers reports whether a queue pair other than the sender listens to
// the group.
func (h *HCA) hasReceivers(g rdma.GID, source *qp) bool {
	h.mcast.mu.RLock()
	defer h.mcast.mu.RUnlock()
	for _, q := range h.mcast.groups[g] {
		if q != source || !q.blockLoopback {
			return true
		}
	}
	return false
}

// violatePKey counts a P_Key violation at a channel adapter port and tells
// the subnet manager (trap 257).
func (p *port) violatePKey(pk *packet) {
	p.counters.pkeyViolations.Add(1)
	p.node.trapBadKey(p, pk, true)
	p.drop(pk, DropPKey)
}

// violateQKey counts a Q_Key violation (trap 258).
func (p *port) violateQKey(pk *packet) {
	p.counters.qkeyViolations.Add(1)
	p.node.trapBadKey(p, pk, false)
	p.drop(pk, DropQKey)
}
