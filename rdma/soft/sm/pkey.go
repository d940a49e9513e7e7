package sm

import (
	"slices"

	"ipoib/rdma"
)

// hasPKey reports whether a port is a member of a partition, full or limited.
// The invalid P_Keys belong to everybody, as OpenSM has it.
func (p *port) hasPKey(k rdma.PKey) bool {
	return !k.IsValid() || p.entryFor(k) != 0
}

// entryFor returns the entry of a port's P_Key table for a partition, the full
// one where there are two, 0 when there is none.
func (p *port) entryFor(k rdma.PKey) rdma.PKey {
	var found rdma.PKey
	for _, e := range p.pkeys {
		if e.IsValid() && e.Base() == k.Base() {
			if e.IsFull() {
				return e
			}
			found = e
		}
	}
	return found
}

// shareThisPKey reports whether two ports may talk in a partition.
func shareThisPKey(a, b *port, k rdma.PKey) bool {
	ea, eb := a.entryFor(k), b.entryFor(k)
	return ea != 0 && eb != 0 && (ea.IsFull() || eb.IsFull())
}

// commonPKey returns the first entry of a port's table by which it may talk to
// another port.
func commonPKey(a, b *port) (rdma.PKey, bool) {
	for _, e := range a.pkeys {
		if e.IsValid() && shareThisPKey(a, b, e) {
			return a.entryFor(e), true
		}
	}
	return 0, false
}

// sharePKey reports whether two ports may talk in any partition. A port
// without a table is not restricted (IBA 10.9.2).
func sharePKey(a, b *port) bool {
	if a == b || !a.hasTable() || !b.hasTable() {
		return true
	}
	_, ok := commonPKey(a, b)
	return ok
}

func (p *port) hasTable() bool { return slices.ContainsFunc(p.pkeys, rdma.PKey.IsValid) }

// wantedKeys returns the P_Keys that a port is to have by its partitions, and
// the one for index 0: that of a rule with indx0, or the default partition's.
func wantedKeys(conf *Partitions, e endPort) (keys []rdma.PKey, first rdma.PKey) {
	var index0 rdma.PKey
	for _, part := range conf.List {
		m, at0 := part.member(e)
		var add []rdma.PKey
		switch m {
		case FullMember:
			add = []rdma.PKey{part.PKey.Full()}
		case LimitedMember:
			add = []rdma.PKey{part.PKey}
		case BothMembers:
			add = []rdma.PKey{part.PKey.Full(), part.PKey}
		}
		if len(add) == 0 {
			continue
		}
		keys = append(keys, add...)
		if at0 {
			index0 = add[0]
		}
		if part.PKey == rdma.PKeyDefaultLimited {
			first = add[0]
		}
	}
	if index0 != 0 {
		first = index0
	}
	return keys, first
}

// layoutPKeys places keys in a table of the given size. first goes to index 0;
// keys that are in the table keep their index, changed membership included;
// new ones follow the last one used so far, so that an index does not change
// its meaning at once, and fill gaps when the table is full to the end. What
// does not fit is returned. Of a partition that has two entries
// each keeps its own place.
func layoutPKeys(old, keys []rdma.PKey, first rdma.PKey, size int) (table, left []rdma.PKey) {
	table = make([]rdma.PKey, size)
	if size == 0 {
		return table, keys
	}
	table[0] = first
	var rest []rdma.PKey
	pending := make([]rdma.PKey, 0, len(keys))
	for _, k := range keys {
		if k != first {
			pending = append(pending, k)
		}
	}
	// Exact entries first, then those whose membership changed.
	place := func(form func(rdma.PKey) rdma.PKey) {
		index := make(map[rdma.PKey]int, len(old))
		for i, e := range slices.Backward(old) {
			if e.IsValid() {
				index[form(e)] = i
			}
		}
		rest = rest[:0]
		for _, k := range pending {
			if i := index[form(k)]; i > 0 && i < size && table[i] == 0 {
				table[i] = k
				continue
			}
			rest = append(rest, k)
		}
		pending = append(pending[:0], rest...)
	}
	place(func(k rdma.PKey) rdma.PKey { return k })
	place(rdma.PKey.Base)
	last := 0
	for i, k := range table {
		if k != 0 || i < len(old) && old[i] != 0 {
			last = i
		}
	}
	for _, k := range pending {
		i := last + 1
		if i >= size {
			i = 1 + slices.Index(table[1:], 0)
			if i == 0 {
				left = append(left, k)
				continue
			}
		}
		table[i] = k
		last = max(last, i)
	}
	return table, left
}

// peerTable is the table of a switch port that faces an end port: a partition
// once, the full entry where there are two. It reports whether all fits.
func peerTable(keys []rdma.PKey, size int) ([]rdma.PKey, bool) {
	table := make([]rdma.PKey, 0, size)
	for _, k := range keys {
		if !k.IsValid() || !k.IsFull() && slices.Contains(keys, k.Full()) {
			continue
		}
		if len(table) == size {
			return nil, false
		}
		table = append(table, k)
	}
	return append(table, make([]rdma.PKey, size-len(table))...), true
}
