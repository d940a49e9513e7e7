package soft

import (
	"fmt"
	"testing"

	"ipoib/rdma"
)

// rcStream is a connection whose receiver frees what comes and posts the
// buffer again.
func rcStream(t testing.TB) (a *rcEnd) {
	n := newTestNet(t, 2)
	var ends [2]*rcEnd
	wcs := make([]rdma.WorkCompletion, 64)
	drain := func(i int) func(rdma.CQ) {
		return func(c rdma.CQ) {
			for k := c.Poll(wcs); k > 0; k = c.Poll(wcs) {
				for _, wc := range wcs[:k] {
					wc.Buf.Free()
				}
				_ = ends[i].qp.PostRecv(k)
			}
		}
	}
	ends[0], ends[1] = connect(t, n.port(0), n.port(1), rcOpts{handler: drain})
	return ends[0]
}

// sendBatch sends 16 messages, the last one signalled, and takes its
// completion.
func sendBatch(t testing.TB, a *rcEnd, wrs []rdma.SendWR, ev *rdma.EventBatch, size int) {
	for i := range wrs {
		wrs[i] = rdma.SendWR{Buf: a.pd.Buffers().Get(size)}
	}
	wrs[len(wrs)-1].Flags = rdma.SendSignaled
	if n, err := a.qp.PostSend(wrs, ev); n != len(wrs) || err != nil {
		t.Fatalf("PostSend: %d, %v", n, err)
	}
	ev.Run()
	if a.send.Poll(sent[:]) != 1 || sent[0].Status != rdma.WCSuccess {
		t.Fatalf("send completion: %v", sent[0].Status)
	}
}

const streamBatch = 16

// sent is polled into; it must not be allocated for every batch.
var sent [2]rdma.WorkCompletion

func TestRCAllocations(t *testing.T) {
	for _, size := range []int{64, 2048, 65524} {
		a := rcStream(t)
		wrs := make([]rdma.SendWR, streamBatch)
		var ev rdma.EventBatch
		sendBatch(t, a, wrs, &ev, size)
		if n := testing.AllocsPerRun(100, func() { sendBatch(t, a, wrs, &ev, size) }); n != 0 {
			t.Errorf("%d bytes: %v allocations for %d messages", size, n, streamBatch)
		}
	}
}

func BenchmarkRCSend(b *testing.B) {
	for _, size := range []int{2048, 65524} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			a := rcStream(b)
			wrs := make([]rdma.SendWR, streamBatch)
			var ev rdma.EventBatch
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for i := 0; i < b.N; i += streamBatch {
				sendBatch(b, a, wrs, &ev, size)
			}
		})
	}
}
