package sm

import (
	"ipoib/rdma"
)

// SetLID makes the manager give a port another LID, with the next sweep, which
// it asks for. It returns rdma.ErrInvalid for what is no unicast LID, and
// rdma.ErrInUse when another port has it.
func (s *SM) SetLID(g rdma.GUID, lid rdma.LID) error {
	if !lid.IsUnicast() || lid > lastLID {
		return rdma.ErrInvalid
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for o, l := range s.known {
		if l == lid && o != g {
			return rdma.ErrInUse
		}
	}
	s.known[g] = lid
	s.requestLocked(todo{heavy: true})
	return nil
}

// assignLIDsLocked gives every end port a LID. A port keeps the one that the
// manager gave it, also when it was gone for a while; one that the manager
// does not know keeps what it has, unless that is taken. Others get the lowest
// free one, the manager's own port first, which therefore is 1 in a new
// subnet.
func (s *SM) assignLIDsLocked(t *topology) {
	taken := make(map[rdma.LID]rdma.GUID, len(s.known))
	for g, l := range s.known {
		taken[l] = g
	}
	keep := func(p *port, l rdma.LID) bool {
		if !l.IsUnicast() || l > lastLID {
			return false
		}
		if owner, ok := taken[l]; ok && owner != p.guid {
			return false
		}
		p.lid = l
		taken[l] = p.guid
		s.known[p.guid] = l
		return true
	}
	for _, p := range t.ends {
		p.lid = 0
		if l, ok := s.known[p.guid]; ok {
			keep(p, l)
		} else {
			keep(p, p.info.LID)
		}
	}
	next := rdma.LIDFirstUnicast
	for _, p := range t.ends {
		if p.lid != 0 {
			continue
		}
		for next <= lastLID && taken[next] != 0 {
			next++
		}
		if next > lastLID {
			if next = s.recycleLIDLocked(t, taken); next == 0 {
				s.log.Error("no LID left", "guid", p.guid)
				continue
			}
		}
		keep(p, next)
	}
	clear(t.byLID)
	for _, p := range t.ends {
		if p.lid != 0 {
			t.byLID[p.lid] = p
		}
	}
}

// lastLID is the highest LID that is given out (IBA 4.1.3).
const lastLID = rdma.LIDLastUnicast

// recycleLIDLocked frees the lowest LID of a port that is gone.
func (s *SM) recycleLIDLocked(t *topology, taken map[rdma.LID]rdma.GUID) rdma.LID {
	for l := rdma.LIDFirstUnicast; l <= lastLID; l++ {
		if g := taken[l]; t.byPort[g] == nil {
			delete(taken, l)
			delete(s.known, g)
			return l
		}
	}
	return 0
}
