package soft

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/header"
)

// numbered is message i of a stream: its number, and content that follows
// from it.
func numbered(b []byte, i int) {
	binary.BigEndian.PutUint32(b, uint32(i))
	for k := 4; k < len(b); k++ {
		b[k] = byte(i + k*5)
	}
}

// stream sends count messages of many sizes from a to b and checks that each
// arrives once, whole and in order.
func stream(t *testing.T, a, b *rcEnd, count, maxSize int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(7, 7))
	sizes := make([]int, count)
	for i := range sizes {
		sizes[i] = 4 + rng.IntN(maxSize-4)
	}
	want := make([]byte, maxSize)
	got, sent, completed := 0, 0, 0
	collect := func() {
		for _, wc := range poll(b.recv) {
			if wc.Status != rdma.WCSuccess {
				t.Fatalf("receive %d: %v", got, wc.Status)
			}
			if got == count {
				t.Fatal("more messages came than were sent")
			}
			numbered(want[:sizes[got]], got)
			if !bytes.Equal(wc.Buf.Bytes(), want[:sizes[got]]) {
				t.Fatalf("message %d: %d bytes, number %d", got, wc.Buf.Len(), binary.BigEndian.Uint32(wc.Buf.Bytes()))
			}
			got++
			wc.Buf.Free()
			must(t, b.qp.PostRecv(1))
		}
		for _, wc := range poll(a.send) {
			if wc.Status != rdma.WCSuccess || wc.ID != uint64(completed) {
				t.Fatalf("send %d: completion %d %v", completed, wc.ID, wc.Status)
			}
			completed++
		}
	}
	for end := time.Now().Add(time.Hour); completed < count || got < count; {
		if time.Now().After(end) {
			t.Fatalf("stuck at %d sent, %d received, %d completed", sent, got, completed)
		}
		progress := false
		for sent < count {
			buf := a.pd.Buffers().Get(sizes[sent])
			numbered(buf.Bytes(), sent)
			_, err := a.qp.PostSend([]rdma.SendWR{{ID: uint64(sent), Buf: buf, Flags: rdma.SendSignaled}}, nil)
			if errors.Is(err, rdma.ErrQueueFull) {
				buf.Free()
				break
			}
			must(t, err)
			sent++
			progress = true
			if sent%32 == 0 {
				break
			}
		}
		before := got + completed
		collect()
		if !progress && got+completed == before {
			time.Sleep(100 * time.Microsecond)
		}
	}
	time.Sleep(time.Second)
	collect()
}

// 100,000 messages over a link that loses, reorders and duplicates packets
// arrive intact, in order and once. Where no chance made a timer run out in
// them, which is rare, more follow until one did.
func TestRCSurvivesFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestNet(t, 2)
		a, b := connect(t, n.port(0), n.port(1), rcOpts{psns: [2]rdma.PSN{0xfff000, 3}, timeout: 8})
		n.f.LinkAt(n.hcas[0].At(1)).SetFaults(Faults{Loss: 0.01, Duplicate: 0.01, Reorder: 0.01})
		stream(t, a, b, 100_000/raceFactor, 5000)
		for range 100 {
			if n.hcas[0].HWCounters()["local_ack_timeout_err"] > 0 {
				break
			}
			stream(t, a, b, 1000, 5000)
		}
		ca, cb := n.hcas[0].HWCounters(), n.hcas[1].HWCounters()
		for _, name := range []string{"packet_seq_err", "local_ack_timeout_err", "completer_retry_err"} {
			if ca[name] == 0 {
				t.Errorf("%s is 0", name)
			}
		}
		for _, name := range []string{"out_of_sequence", "duplicate_request"} {
			if cb[name] == 0 {
				t.Errorf("%s is 0", name)
			}
		}
		if q := a.qp.(*qp).HWCounters(); q["packet_seq_err"] != ca["packet_seq_err"] {
			t.Errorf("queue pair's counters %v, adapter's %v", q, ca)
		}
	})
}

func TestRCFaultKinds(t *testing.T) {
	for name, f := range map[string]Faults{
		"corruption":    {Corrupt: 0.02},
		"delay":         {Delay: 200 * time.Microsecond},
		"delay, loss":   {Delay: 200 * time.Microsecond, Loss: 0.002},
		"rate":          {RateMbps: 1000},
		"heavy reorder": {Reorder: 0.3, ReorderDelay: 50 * time.Microsecond},
		"duplicates":    {Duplicate: 1},
	} {
		for ends, set := range map[string]func(l *Link){
			"both ways": func(l *Link) { l.SetFaults(f) },
			"requests":  func(l *Link) { l.SetFaultsFrom(0, f) },
			"replies":   func(l *Link) { l.SetFaultsFrom(1, f) },
		} {
			t.Run(name+"/"+ends, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := newTestNet(t, 2)
					a, b := connect(t, n.port(0), n.port(1), rcOpts{mtu: rdma.MTU512, timeout: 12})
					set(n.f.LinkAt(n.hcas[0].At(1)))
					stream(t, a, b, 200/raceFactor, 20000)
				})
			})
		}
	}
}

// A stream goes on over faults that come and go while it runs.
func TestRCFaultsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestNet(t, 2)
		a, b := connect(t, n.port(0), n.port(1), rcOpts{timeout: 12})
		l := n.f.LinkAt(n.hcas[0].At(1))
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range 50 {
				if i%2 == 0 {
					l.SetFaults(Faults{Delay: 20 * time.Microsecond, Loss: 0.01})
				} else {
					l.SetFaults(Faults{})
				}
				time.Sleep(time.Millisecond)
			}
		}()
		for range 5 {
			stream(t, a, b, 2000/raceFactor, 9000)
		}
		<-done
	})
}

// A lost acknowledgement makes the requester send again; the responder does
// not deliver again, but acknowledges again.
func TestRCLostACK(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestNet(t, 2)
		a, b := connect(t, n.port(0), n.port(1), rcOpts{timeout: 14})
		lost := 0
		n.f.LinkAt(n.hcas[0].At(1)).SetFaultsFrom(1, Faults{Loss: 1, Match: func(p PacketInfo) bool {
			if p.Opcode == header.RCAck && lost < 2 {
				lost++
				return true
			}
			return false
		}})
		m := pattern(5000, 1)
		a.post(1, m)
		b.want(m)
		a.wantSends()
		// 4.096 us x 2^14 = 67.1 ms, twice.
		time.Sleep(134 * time.Millisecond)
		a.wantSends()
		time.Sleep(time.Millisecond)
		synctest.Wait()
		a.wantSends(rdma.WCSuccess)
		b.want()
		if c := n.hcas[1].HWCounters(); c["duplicate_request"] != 6 {
			t.Errorf("counters %v", c)
		}
		if c := n.hcas[0].HWCounters(); c["local_ack_timeout_err"] != 2 || c["completer_retry_err"] != 2 {
			t.Errorf("counters %v", c)
		}
	})
}

// Where nobody answers, retries end with an error, and all that was posted
// comes back flushed, in order.
func TestRCRetryExceeded(t *testing.T) {
	for name, cut := range map[string]func(n *testNet, b *rcEnd){
		"link down":       func(n *testNet, _ *rcEnd) { n.f.LinkAt(n.hcas[1].At(1)).SetUp(false) },
		"own link down":   func(n *testNet, _ *rcEnd) { n.f.LinkAt(n.hcas[0].At(1)).SetUp(false) },
		"peer destroyed":  func(_ *testNet, b *rcEnd) { _ = b.qp.Close() },
		"adapter removed": func(n *testNet, _ *rcEnd) { _ = n.hcas[1].Close() },
		"peer in RESET":   func(_ *testNet, b *rcEnd) { _ = b.qp.Modify(rdma.QPAttr{}, rdma.QPAttrState) },
		"peer in ERR": func(_ *testNet, b *rcEnd) {
			_ = b.qp.Modify(rdma.QPAttr{State: rdma.QPSErr}, rdma.QPAttrState)
		},
	} {
		for _, retry := range []uint8{0, 3} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := newTestNet(t, 2)
					a, b := connect(t, n.port(0), n.port(1), rcOpts{noRetry: true, retry: retry, timeout: 14, credits: 4})
					a.post(0, pattern(100, 0))
					b.want(pattern(100, 0))
					a.wantSends(rdma.WCSuccess)
					cut(n, b)
					for i := range 3 {
						// Flushed requests complete without the flag too.
						_, err := a.qp.PostSend([]rdma.SendWR{{ID: uint64(i), Buf: a.buf(pattern(3000, 0))}}, nil)
						must(t, err)
					}
					time.Sleep(time.Duration(1+int(retry))*67109*time.Microsecond - time.Millisecond)
					synctest.Wait()
					a.wantSends()
					time.Sleep(2 * time.Millisecond)
					synctest.Wait()
					a.wantSends(rdma.WCRetryExcErr, rdma.WCWRFlushErr, rdma.WCWRFlushErr)
					if s := a.qp.Query().State; s != rdma.QPSErr {
						t.Errorf("state %v", s)
					}
					if r := poll(a.recv); len(r) != 4 || r[0].Status != rdma.WCWRFlushErr {
						t.Errorf("%d receives flushed", len(r))
					}
					a.post(9, pattern(10, 0))
					a.wantSends(rdma.WCWRFlushErr)
					if c := n.hcas[0].HWCounters(); c["local_ack_timeout_err"] != uint64(retry)+1 || c["retry_exceeded_err"] != 1 {
						t.Errorf("counters %v", c)
					}
				})
			})
		}
	}
}

func TestRCRNRExceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestNet(t, 2)
		a, _ := connect(t, n.port(0), n.port(1), rcOpts{credits: -1, noRetry: true, rnrRetry: 2, rnrTimer: 20})
		a.post(1, pattern(10, 0))
		a.post(2, pattern(10, 0))
		time.Sleep(20 * time.Millisecond) // two timers of 10.24 ms
		synctest.Wait()
		a.wantSends()
		time.Sleep(time.Millisecond)
		synctest.Wait()
		a.wantSends(rdma.WCRNRRetryExcErr, rdma.WCWRFlushErr)
		c, d := n.hcas[0].HWCounters(), n.hcas[1].HWCounters()
		if c["rnr_nak_retry_err"] != 3 || c["retry_rnr_exceeded_err"] != 1 || d["send_rnr_err"] != 3 || d["out_of_buffer"] != 3 {
			t.Errorf("counters %v, %v", c, d)
		}
	})
}

// An RNR retry count of 7 has no end.
func TestRCRNRInfinite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestNet(t, 2)
		a, b := connect(t, n.port(0), n.port(1), rcOpts{credits: -1, rnrTimer: 1})
		m := pattern(70, 0)
		a.post(1, m)
		time.Sleep(10 * time.Millisecond)
		must(t, b.qp.PostRecv(1))
		time.Sleep(time.Millisecond)
		synctest.Wait()
		b.want(m)
		a.wantSends(rdma.WCSuccess)
	})
}
