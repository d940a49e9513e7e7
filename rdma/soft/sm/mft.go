package sm

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// mftRetry is the time to the next try after a multicast table could not be
// written.
const mftRetry = time.Second

// mftState is what the multicast forwarding tables are to hold and are known
// to hold. It is guarded by SM.mu; only the multicast worker writes tables.
type mftState struct {
	// want are the rows by switch and MLID.
	want map[rdma.GUID]map[rdma.LID]*portMask
	// done are the blocks as written, by switch.
	done map[rdma.GUID]map[mftKey]mad.MulticastForwardingTable
	// epoch tells results that come after all was forgotten.
	epoch *byte
	// waiters are closed when the worker has nothing left to do.
	waiters []chan struct{}
	failed  int // of the last round
	// answers to joins wait for the next round.
	answers []joinAnswer
}

// joinAnswer is the answer to a join that waits for the tables.
type joinAnswer struct {
	to rdma.MADAddr
	*saAnswer
}

// mftKey names a block of a table.
type mftKey struct {
	block    uint16
	position uint8
}

func newMFTState() mftState {
	return mftState{
		want:  make(map[rdma.GUID]map[rdma.LID]*portMask),
		done:  make(map[rdma.GUID]map[mftKey]mad.MulticastForwardingTable),
		epoch: new(byte),
	}
}

// mftBlock is a block of a table as written.
type mftBlock struct {
	mftKey
	table mad.MulticastForwardingTable
}

// blocksOf returns the blocks of a switch that were written, in order.
func (m *mftState) blocksOf(g rdma.GUID) []mftBlock {
	var out []mftBlock
	for k, t := range m.done[g] {
		out = append(out, mftBlock{k, t})
	}
	slices.SortFunc(out, func(a, b mftBlock) int {
		return cmp.Or(cmp.Compare(a.position, b.position), cmp.Compare(a.block, b.block))
	})
	return out
}

// forgetSwitches drops what is known of switches that are gone or were reset.
func (m *mftState) forgetSwitches(t *topology) {
	gone := func(g rdma.GUID) bool {
		n := t.byGUID[g]
		return n == nil || !n.isSwitch() || n.sw.lftDone == nil
	}
	for g := range m.want {
		if gone(g) {
			delete(m.want, g)
		}
	}
	for g := range m.done {
		if gone(g) {
			delete(m.done, g)
		}
	}
}

// mftWorker writes multicast forwarding tables whenever groups changed.
func (s *SM) mftWorker(ctx context.Context) {
	retry := s.clock.NewTimer(mftRetry)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			s.mu.Lock()
			s.releaseMFTLocked(0)
			s.mu.Unlock()
			return
		case <-s.kickMFT:
		case <-retry.Chan():
		}
		for s.writeMFT(ctx) {
		}
		s.mu.Lock()
		if len(s.groups.dirty) > 0 && s.state == mad.SMMaster {
			retry.Reset(mftRetry)
		}
		s.mu.Unlock()
	}
}

// flushMFT waits until the multicast tables are written, as far as that works.
// It returns the number of requests that failed.
func (s *SM) flushMFT(ctx context.Context) int {
	done := make(chan struct{})
	s.mu.Lock()
	s.mft.waiters = append(s.mft.waiters, done)
	s.mu.Unlock()
	wake(s.kickMFT)
	select {
	case <-ctx.Done():
	case <-done:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mft.failed
}

func (s *SM) releaseMFTLocked(failed int) {
	s.mft.failed = failed
	for _, w := range s.mft.waiters {
		close(w)
	}
	s.mft.waiters = nil
}

// mftWrite is one block to write.
type mftWrite struct {
	node *node
	key  mftKey
}

// writeMFT writes what the dirty groups need. It reports whether there is more
// to do at once.
func (s *SM) writeMFT(ctx context.Context) bool {
	s.mu.Lock()
	answers := s.mft.answers
	s.mft.answers = nil
	defer func() {
		for _, a := range answers {
			s.sendAnswer(a.to, a.saAnswer)
		}
	}()
	if s.state != mad.SMMaster || s.topo.self == nil {
		answers = nil // memberships were forgotten
		s.releaseMFTLocked(0)
		s.mu.Unlock()
		return false
	}
	epoch, t := s.mft.epoch, s.topo
	mlids := slices.Sorted(maps.Keys(s.groups.dirty))
	clear(s.groups.dirty)
	writes := s.planMFTLocked(t, mlids)
	reqs := make([]*smp, len(writes))
	for i, w := range writes {
		table := s.mft.tableOf(w.node.info.NodeGUID, w.key)
		reqs[i] = set(nil, w.node.route, mad.AttrMulticastForwardingTable, mad.MFTMod(w.key.block, w.key.position), &table, nil)
	}
	s.mu.Unlock()
	failed := s.run(ctx, reqs)
	s.mu.Lock()
	defer s.mu.Unlock() // before the answers leave
	if s.mft.epoch != epoch {
		answers = nil
		s.releaseMFTLocked(0)
		return false
	}
	for i, w := range writes {
		g := w.node.info.NodeGUID
		if reqs[i].err != nil {
			s.log.Warn("cannot write a multicast table", "dev", w.node.desc.String(), "err", reqs[i].err)
			delete(s.mft.done[g], w.key) // unknown
			for k := range rdma.LID(mad.MFTPerBlock) {
				mlid := rdma.LIDFirstMulticast + rdma.LID(w.key.block)*mad.MFTPerBlock + k
				if s.mft.want[g][mlid] != nil {
					s.groups.dirty[mlid] = true
				}
			}
			continue
		}
		if s.mft.done[g] == nil {
			s.mft.done[g] = make(map[mftKey]mad.MulticastForwardingTable)
		}
		s.mft.done[g][w.key] = *reqs[i].send.(*mad.MulticastForwardingTable)
	}
	if failed == 0 && len(s.groups.dirty) > 0 {
		return true // changed in the meantime
	}
	s.releaseMFTLocked(failed)
	return false
}

// planMFTLocked computes the trees of groups and returns the blocks that are
// not as they are to be. A switch that a group's tree touches gets the whole
// block at all positions: what is not known is written.
func (s *SM) planMFTLocked(t *topology, mlids []rdma.LID) []mftWrite {
	type touchKey struct {
		node  *node
		block uint16
	}
	touched := make(map[touchKey]bool)
	for _, mlid := range mlids {
		masks := t.routeMulticast(mlid, s.memberPortsLocked(mlid))
		block := uint16(mlid-rdma.LIDFirstMulticast) / mad.MFTPerBlock
		for _, n := range t.switches {
			g := n.info.NodeGUID
			switch m := masks[n]; {
			case m != nil:
				if s.mft.want[g] == nil {
					s.mft.want[g] = make(map[rdma.LID]*portMask)
				}
				s.mft.want[g][mlid] = m
			case s.mft.want[g][mlid] != nil:
				delete(s.mft.want[g], mlid)
			default:
				continue
			}
			touched[touchKey{n, block}] = true
		}
	}
	var out []mftWrite
	for k := range touched {
		for pos := range uint8(len(k.node.ports)-1)/16 + 1 {
			key := mftKey{k.block, pos}
			g := k.node.info.NodeGUID
			if done, ok := s.mft.done[g][key]; !ok || done != s.mft.tableOf(g, key) {
				out = append(out, mftWrite{k.node, key})
			}
		}
	}
	slices.SortFunc(out, func(a, b mftWrite) int {
		return cmp.Or(cmp.Compare(a.node.sw.index, b.node.sw.index), cmp.Compare(a.key.block, b.key.block),
			cmp.Compare(a.key.position, b.key.position))
	})
	return out
}

// tableOf returns a block as it is to be.
func (m *mftState) tableOf(g rdma.GUID, k mftKey) mad.MulticastForwardingTable {
	var t mad.MulticastForwardingTable
	for i := range t {
		if row := m.want[g][rdma.LIDFirstMulticast+rdma.LID(k.block)*mad.MFTPerBlock+rdma.LID(i)]; row != nil {
			t[i] = row[k.position]
		}
	}
	return t
}
