package soft

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/rdma"
)

// Many pairs take from one queue at a time: every message takes one buffer,
// and where none is left the senders wait.
func TestSRQManyPairs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestNet(t, 2)
		pd, err := n.hcas[1].AllocPD()
		must(t, err)
		s, err := pd.CreateSRQ(rdma.SRQConfig{MaxRecv: 64, RecvSize: 9000, Limit: 8})
		must(t, err)
		must(t, s.PostRecv(16))
		const pairs, each = 8, 200
		var got atomic.Int64
		handler := func(int) func(rdma.CQ) {
			return func(c rdma.CQ) {
				for _, wc := range poll(c) {
					if wc.Status != rdma.WCSuccess {
						t.Errorf("receive: %v", wc.Status)
						continue
					}
					wc.Buf.Free()
					got.Add(1)
					if err := s.PostRecv(1); err != nil {
						t.Error(err)
					}
				}
			}
		}
		var wg sync.WaitGroup
		for range pairs {
			a, _ := connect(t, n.port(0), n.port(1), rcOpts{srq: s, handler: handler, rnrTimer: 1, maxSend: each})
			wg.Go(func() {
				for i := range each {
					b := a.buf(pattern(i*40, i))
					if _, err := a.qp.PostSend([]rdma.SendWR{{Buf: b}}, nil); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		time.Sleep(patience)
		synctest.Wait()
		if got.Load() != pairs*each {
			t.Errorf("%d of %d messages", got.Load(), pairs*each)
		}
		if c := s.(*srq).credits.Load(); c != 16 {
			t.Errorf("%d buffers left", c)
		}
	})
}

// The limit event comes once, and again after the queue was filled.
func TestSRQLimitRearms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestNet(t, 2)
		events := collectEvents(t, n.hcas[1])
		pd, err := n.hcas[1].AllocPD()
		must(t, err)
		s, err := pd.CreateSRQ(rdma.SRQConfig{MaxRecv: 8, RecvSize: 100, Limit: 2})
		must(t, err)
		must(t, s.PostRecv(3))
		a, _ := connect(t, n.port(0), n.port(1), rcOpts{srq: s})
		for range 2 {
			for range 3 {
				a.post(0, nil)
			}
			waitEvent(t, events, rdma.EventSRQLimitReached)
			must(t, s.PostRecv(3))
		}
		if len(events) != 0 {
			t.Errorf("%d more events", len(events))
		}
	})
}
