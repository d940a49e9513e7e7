package sm

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"ipoib/rdma"
)

// allowKey is a P_Key that was allowed at a port.
type allowKey struct {
	guid rdma.GUID
	pkey rdma.PKey // partition number
}

// SetPartitions changes the partition configuration; nil is open membership.
// P_Key tables and configured groups follow.
func (s *SM) SetPartitions(p *Partitions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file = p
	s.applyPartitionsLocked()
	s.requestLocked(todo{tables: true})
}

// Allow makes a port a full member of a partition, with open membership; the
// partition gets an IPoIB broadcast group. The P_Key arrives in the port's
// table with the next writes; Disallow takes it back when it was called as
// often. It returns ErrClosedMembership when a partition configuration is in
// force, rdma.ErrInvalid for a P_Key without partition number, and
// rdma.ErrQueueFull when the port's table is full.
func (s *SM) Allow(guid rdma.GUID, pkey rdma.PKey) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkAllowLocked("allow", guid, pkey); err != nil {
		return err
	}
	k := allowKey{guid, pkey.Base()}
	if pkey.Base() != rdma.PKeyDefaultLimited && s.allowed[k] == 0 {
		if p := s.topo.byPort[guid]; p != nil && s.allowedAtLocked(guid) >= p.pkeyCap() {
			return allowError("allow", guid, pkey, rdma.ErrQueueFull)
		}
	}
	s.allowed[k]++
	if s.allowed[k] == 1 {
		s.changeAllowedLocked()
	}
	return nil
}

// Disallow takes an Allow back. It returns rdma.ErrNotFound when there was
// none.
func (s *SM) Disallow(guid rdma.GUID, pkey rdma.PKey) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkAllowLocked("disallow", guid, pkey); err != nil {
		return err
	}
	k := allowKey{guid, pkey.Base()}
	switch s.allowed[k] {
	case 0:
		return allowError("disallow", guid, pkey, rdma.ErrNotFound)
	case 1:
		delete(s.allowed, k)
		s.changeAllowedLocked()
	default:
		s.allowed[k]--
	}
	return nil
}

func (s *SM) checkAllowLocked(op string, guid rdma.GUID, pkey rdma.PKey) error {
	switch {
	case s.file != nil:
		return allowError(op, guid, pkey, ErrClosedMembership)
	case !pkey.IsValid() || guid == 0:
		return allowError(op, guid, pkey, rdma.ErrInvalid)
	}
	return nil
}

func allowError(op string, guid rdma.GUID, pkey rdma.PKey, err error) error {
	return fmt.Errorf("sm: %s P_Key %v at port %v: %w", op, pkey, guid, err)
}

// allowedAtLocked counts the P_Keys of a port with open membership.
func (s *SM) allowedAtLocked(guid rdma.GUID) int {
	n := 1 // the default one
	for k := range s.allowed {
		if k.guid == guid && k.pkey != rdma.PKeyDefaultLimited {
			n++
		}
	}
	return n
}

// changeAllowedLocked is called after a change of what is allowed. Groups and
// tables follow together: many changes come at once.
func (s *SM) changeAllowedLocked() {
	s.conf = nil
	s.requestLocked(todo{tables: true})
}

// applyPartitionsLocked takes over another partition configuration and brings
// the configured groups in line with it.
func (s *SM) applyPartitionsLocked() {
	s.conf = nil
	s.applyGroupsLocked()
}

// confLocked returns the partitions that apply: those of the file, or open
// membership with what is allowed.
func (s *SM) confLocked() *Partitions {
	switch {
	case s.conf != nil:
	case s.file != nil:
		s.conf = s.file
	default:
		s.conf = openPartitions()
		s.addAllowedLocked(s.conf)
	}
	return s.conf
}

// addAllowedLocked adds a partition for each P_Key that was allowed.
func (s *SM) addAllowedLocked(c *Partitions) {
	keys := slices.SortedFunc(maps.Keys(s.allowed), func(a, b allowKey) int {
		return cmp.Or(cmp.Compare(a.pkey, b.pkey), cmp.Compare(a.guid, b.guid))
	})
	for _, k := range keys {
		if k.pkey == rdma.PKeyDefaultLimited {
			continue // everybody is in it
		}
		p := c.List[len(c.List)-1]
		if p.PKey != k.pkey {
			p = &Partition{Name: fmt.Sprintf("%04x", uint16(k.pkey.Full())), PKey: k.pkey}
			p.Groups = []GroupConfig{broadcastGroup(p.PKey, defaultFlags(), DefaultGroupScope)}
			c.List = append(c.List, p)
		}
		p.Rules = append(p.Rules, MemberRule{Selector: SelectGUID, GUID: k.guid, Membership: FullMember})
	}
}

// applyGroupsLocked creates configured groups that are missing and drops those
// that are not configured any more. A group that clients made keeps its
// parameters when it becomes a configured one. Empty partitions have no
// groups, once the ports are known.
func (s *SM) applyGroupsLocked() {
	want := make(map[rdma.GID]bool)
	for _, part := range s.confLocked().List {
		if s.partitionEmptyLocked(part) {
			continue
		}
		for i := range part.Groups {
			c := &part.Groups[i]
			want[c.MGID] = true
			s.applyGroupLocked(part, c)
		}
	}
	for _, g := range s.groups.sorted() {
		if g.configured && !want[g.rec.MGID] {
			s.dropGroupLocked(g)
		}
	}
}

func (s *SM) applyGroupLocked(part *Partition, c *GroupConfig) {
	rec := configuredRecord(part, c)
	if g := s.groups.byMGID[c.MGID]; g != nil {
		if !g.configured {
			g.configured = true
			return
		}
		rec.MLID = g.rec.MLID
		if g.rec == rec {
			return
		}
		// Other parameters: members have to join anew.
		s.dropGroupLocked(g)
	}
	rec.MLID = s.groups.allocMLID(rec.MLID)
	if rec.MLID == 0 {
		s.log.Error("no multicast LID left for a configured group", "mgid", c.MGID)
		return
	}
	s.groups.add(&group{rec: rec, members: make(map[rdma.GUID]*member), configured: true})
}

// partitionEmptyLocked reports whether no known port is a member. Before the
// first sweep none is known and no partition counts as empty.
func (s *SM) partitionEmptyLocked(part *Partition) bool {
	if len(s.topo.ends) == 0 {
		return false
	}
	return !slices.ContainsFunc(s.topo.ends, func(p *port) bool {
		m, _ := part.member(s.endPortLocked(p))
		return m != NotMember
	})
}

func (s *SM) endPortLocked(p *port) endPort {
	return endPort{guid: p.guid, kind: p.node.info.NodeType, self: p == s.topo.self}
}
