package sm

import (
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// trapDebounce is the time from a trap to the sweep that it causes: what
// happens together is swept together.
const trapDebounce = 20 * time.Millisecond

// receiveTrap answers a trap, tells the subscribers, and sweeps when the fabric
// changed.
func (s *SM) receiveTrap(from rdma.MADAddr, m *mad.MAD) {
	n, err := m.Notice()
	if err != nil {
		return
	}
	repress := *m
	s.reply(from, &repress)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Traps++
	if s.state != mad.SMMaster {
		return
	}
	s.log.Debug("trap", "lid", n.IssuerLID, "trap", uint16(n.TrapNumber), "generic", n.IsGeneric)
	if n.IsGeneric {
		switch n.TrapNumber {
		case mad.TrapLinkStateChange, mad.TrapCapMaskChange, mad.TrapSystemImageGUID:
			s.requestLocked(todo{heavy: true, due: s.clock.Now().Add(trapDebounce)})
		}
	}
	if p := s.topo.byLID[n.IssuerLID]; p != nil {
		n.IssuerGID = p.gid(s.cfg.SubnetPrefix)
		s.reportLocked(&n, n.IssuerGID, func(to *port) bool { return sharePKey(p, to) })
	}
}
