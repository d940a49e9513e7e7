package soft

import (
	"sync"
	"sync/atomic"

	"ipoib/rdma"
)

const qpPageLen = 256

type qpPage [qpPageLen]atomic.Pointer[qp]

// qpTable finds queue pairs by number without a lock: a directory of pages,
// replaced when it grows.
type qpTable struct {
	dir atomic.Pointer[[]*qpPage]

	mu   sync.Mutex
	next rdma.QPN // guarded by mu
}

func (t *qpTable) lookup(n rdma.QPN) *qp {
	d := t.dir.Load()
	if d == nil || int(n/qpPageLen) >= len(*d) {
		return nil
	}
	page := (*d)[n/qpPageLen]
	if page == nil {
		return nil
	}
	return page[n%qpPageLen].Load()
}

// add gives q a number: the one asked for, or the next free one. Numbers are
// not reused before the 24 bits wrap, so that late packets find nobody.
func (t *qpTable) add(q *qp, want rdma.QPN) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if want != 0 {
		if want <= rdma.QPNGSI || want >= rdma.QPNMulticast {
			return rdma.ErrInvalid
		}
		if t.lookup(want) != nil {
			return rdma.ErrInUse
		}
		t.storeLocked(want, q)
		return nil
	}
	for range rdma.QPNMulticast {
		if t.next < firstQPN || t.next >= rdma.QPNMulticast {
			t.next = firstQPN
		}
		n := t.next
		t.next++
		if t.lookup(n) == nil {
			t.storeLocked(n, q)
			return nil
		}
	}
	return rdma.ErrQueueFull
}

func (t *qpTable) storeLocked(n rdma.QPN, q *qp) {
	var dir []*qpPage
	if d := t.dir.Load(); d != nil {
		dir = *d
	}
	page := int(n / qpPageLen)
	if page >= len(dir) || dir[page] == nil {
		grown := make([]*qpPage, max(len(dir), page+1))
		copy(grown, dir)
		grown[page] = new(qpPage)
		t.dir.Store(&grown)
		dir = grown
	}
	q.num = n
	dir[page][n%qpPageLen].Store(q)
}

func (t *qpTable) remove(q *qp) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lookup(q.num) == q {
		(*t.dir.Load())[q.num/qpPageLen][q.num%qpPageLen].Store(nil)
	}
}

func (t *qpTable) all() []*qp {
	var out []*qp
	d := t.dir.Load()
	if d == nil {
		return nil
	}
	for _, page := range *d {
		if page == nil {
			continue
		}
		for i := range page {
			if q := page[i].Load(); q != nil {
				out = append(out, q)
			}
		}
	}
	return out
}
