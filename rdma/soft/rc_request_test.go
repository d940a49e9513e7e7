package soft

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/header"
	"ipoib/rdma/offload"
)

// rcReply is an acknowledgement from QP 0x200 of LID 3 to QP 0x100 of LID 2.
func rcReply(s header.Syndrome, psn rdma.PSN) []byte {
	return rcRequest(header.RCAck, psn, nil, func(f *header.Fields) {
		f.SLID, f.DLID, f.DestQP, f.Syndrome, f.AckReq = 3, 2, 0x100, s, false
	})
}

// The requester's table. Three messages of two packets are on their way, PSN
// 0x10 to 0x15, and the peer is silent: what it says is injected.
func TestRCRequester(t *testing.T) {
	const ok, flush = rdma.WCSuccess, rdma.WCWRFlushErr
	type replies = [][]byte
	for _, c := range []struct {
		name string
		in   replies
		want []rdma.WCStatus
		err  bool
		sent []rdma.PSN // sent again
	}{
		{"ACK of one", replies{rcReply(ack, 0x11)}, []rdma.WCStatus{ok}, false, nil},
		{"ACK of half a message", replies{rcReply(ack, 0x10)}, nil, false, nil},
		{"ACK of all", replies{rcReply(ack, 0x15)}, []rdma.WCStatus{ok, ok, ok}, false, nil},
		{"ghost", replies{rcReply(ack, 0x0f), rcReply(ack, 0x11), rcReply(ack, 0x10)}, []rdma.WCStatus{ok}, false, nil},
		{"ACK of what was not sent", replies{rcReply(ack, 0x16)}, nil, false, nil},
		{"credit limit", replies{rcReply(3, 0x13)}, []rdma.WCStatus{ok, ok}, false, nil},
		{"reserved syndrome", replies{rcReply(0x40, 0x12)}, []rdma.WCStatus{ok}, false, nil},
		{"sequence NAK", replies{rcReply(header.NAKPSNSequence, 0x13)}, []rdma.WCStatus{ok}, false, []rdma.PSN{0x13, 0x14, 0x15}},
		{"sequence NAK of the first", replies{rcReply(header.NAKPSNSequence, 0x10)}, nil, false, []rdma.PSN{0x10, 0x11, 0x12, 0x13, 0x14, 0x15}},
		{"sequence NAK of what was not sent", replies{rcReply(header.NAKPSNSequence, 0x16)}, nil, false, nil},
		{"invalid request", replies{rcReply(header.NAKInvalidRequest, 0x12)}, []rdma.WCStatus{ok, rdma.WCRemInvReqErr, flush}, true, nil},
		{"remote access", replies{rcReply(header.NAKRemoteAccess, 0x10)}, []rdma.WCStatus{rdma.WCRemAccessErr, flush, flush}, true, nil},
		{"remote operation", replies{rcReply(header.NAKRemoteOperational, 0x15)}, []rdma.WCStatus{ok, ok, rdma.WCRemOpErr}, true, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, a, _ := vectorRC(t, rcOpts{psns: [2]rdma.PSN{0x10, 0}, mtu: rdma.MTU256, timeout: 31})
			l := n.f.LinkAt(n.hcas[0].At(1))
			var mu sync.Mutex
			var sent []rdma.PSN
			l.SetFaultsFrom(0, Faults{Loss: 1, Match: func(p PacketInfo) bool {
				mu.Lock()
				defer mu.Unlock()
				sent = append(sent, p.PSN)
				return true
			}})
			for i := range 3 {
				a.post(uint64(i), pattern(300, i))
			}
			if !slices.Equal(sent, []rdma.PSN{0x10, 0x11, 0x12, 0x13, 0x14, 0x15}) {
				t.Fatalf("sent %v", sent)
			}
			sent = nil
			for _, f := range c.in {
				must(t, n.f.Inject(n.hcas[0].At(1), f))
			}
			a.wantSends(c.want...)
			if !slices.Equal(sent, c.sent) {
				t.Errorf("sent again %v, want %v", sent, c.sent)
			}
			if s := a.qp.Query().State; (s == rdma.QPSErr) != c.err {
				t.Errorf("state %v", s)
			}
		})
	}
}

// Sequence NAKs without progress use up the retries.
func TestRCSequenceRetries(t *testing.T) {
	n, a, _ := vectorRC(t, rcOpts{noRetry: true, retry: 2, timeout: 31})
	n.f.LinkAt(n.hcas[0].At(1)).SetFaultsFrom(0, Faults{Loss: 1})
	a.post(1, pattern(10, 0))
	for range 2 {
		must(t, n.f.Inject(n.hcas[0].At(1), rcReply(header.NAKPSNSequence, 0)))
		a.wantSends()
	}
	must(t, n.f.Inject(n.hcas[0].At(1), rcReply(header.NAKPSNSequence, 0)))
	a.wantSends(rdma.WCRetryExcErr)
}

// The send queue holds MaxSend requests until they are acknowledged.
func TestRCSendQueueFull(t *testing.T) {
	n, a, _ := vectorRC(t, rcOpts{maxSend: 20, timeout: 31})
	n.f.LinkAt(n.hcas[0].At(1)).SetFaultsFrom(0, Faults{Loss: 1})
	wrs := make([]rdma.SendWR, 25)
	for i := range wrs {
		wrs[i] = rdma.SendWR{Buf: a.buf(pattern(10, i)), Flags: rdma.SendSignaled}
	}
	k, err := a.qp.PostSend(wrs, nil)
	if k != 20 || !errors.Is(err, rdma.ErrQueueFull) {
		t.Fatalf("%d taken, %v", k, err)
	}
	must(t, n.f.Inject(n.hcas[0].At(1), rcReply(ack, 4)))
	if k, err = a.qp.PostSend(wrs[20:], nil); k != 5 || err != nil {
		t.Fatalf("%d taken, %v", k, err)
	}
}

// Checksums left to the device are done where the receiver does not take them
// undone, and on the wire.
func TestRCChecksum(t *testing.T) {
	const start, at, size = 24, 30, 3000
	m := pattern(size, 1)
	m[at], m[at+1] = 0x12, 0x34 // the pseudo header's sum
	want := slices.Clone(m)
	o := rdma.Offload{Checksum: true, CsumStart: start, CsumOffset: at - start}
	offload.Finish(want, o)
	for name, c := range map[string]struct {
		aggregate bool
		faults    Faults
		undone    bool
	}{
		"done":                {false, Faults{}, false},
		"undone":              {true, Faults{}, true},
		"done by the wire":    {true, Faults{Duplicate: 1}, false},
		"done by the wire, 2": {false, Faults{Duplicate: 1}, false},
	} {
		t.Run(name, func(t *testing.T) {
			n, a, b := vectorRC(t, rcOpts{})
			must(t, b.qp.Modify(rdma.QPAttr{ReceiveAggregate: c.aggregate}, rdma.QPAttrReceiveAggregate))
			n.f.LinkAt(n.hcas[0].At(1)).SetFaults(c.faults)
			_, err := a.qp.PostSend([]rdma.SendWR{{Buf: a.buf(m), Offload: o}}, nil)
			must(t, err)
			got := poll(b.recv)
			if len(got) != 1 {
				t.Fatalf("%d messages", len(got))
			}
			wc := got[0]
			if c.undone {
				if wc.Offload != o || wc.Flags&rdma.WCIPCsumOK == 0 || !slices.Equal(wc.Buf.Bytes(), m) {
					t.Errorf("offload %+v flags %v", wc.Offload, wc.Flags)
				}
			} else if wc.Offload != (rdma.Offload{}) || !slices.Equal(wc.Buf.Bytes(), want) {
				t.Errorf("offload %+v, checksum % x", wc.Offload, wc.Buf.Bytes()[at:at+2])
			}
		})
	}
	_, a, _ := vectorRC(t, rcOpts{})
	for _, bad := range []rdma.Offload{{Checksum: true, CsumStart: size}, {Segment: rdma.SegmentTCP4, SegmentSize: 100}} {
		b := a.buf(m)
		if _, err := a.qp.PostSend([]rdma.SendWR{{Buf: b, Offload: bad}}, nil); !errors.Is(err, rdma.ErrInvalid) {
			t.Errorf("offload %+v: %v", bad, err)
		}
		b.Free()
	}
}

// The buffer of a message becomes the receiver's, without a copy, where
// nothing on the way needs one.
func TestRCBufferHandedOver(t *testing.T) {
	n, a, b := vectorRC(t, rcOpts{})
	for name, f := range map[string]Faults{"direct": {}, "faulty": {Reorder: 1e-9}} {
		n.f.LinkAt(n.hcas[0].At(1)).SetFaults(f)
		buf := a.buf(pattern(60000, 0))
		_, err := a.qp.PostSend([]rdma.SendWR{{Buf: buf}}, nil)
		must(t, err)
		got := poll(b.recv)
		if len(got) != 1 || (got[0].Buf == buf) != (name == "direct") {
			t.Errorf("%s: %d messages, same buffer %v", name, len(got), len(got) == 1 && got[0].Buf == buf)
		}
	}
}

// Many senders share a pair in both directions while states change; buffers
// have one owner, which the pool checks.
func TestRCConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestNet(t, 2)
		var ends [2]*rcEnd
		drain := func(i int) func(rdma.CQ) {
			return func(c rdma.CQ) {
				for _, wc := range poll(c) {
					if wc.Status != rdma.WCSuccess {
						continue // flushed, as would be what is posted now
					}
					clear(wc.Buf.Bytes())
					wc.Buf.Free()
					_ = ends[i].qp.PostRecv(1)
				}
			}
		}
		ends[0], ends[1] = connect(t, n.port(0), n.port(1), rcOpts{handler: drain, timeout: 10})
		l := n.f.LinkAt(n.hcas[0].At(1))
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for i := range 4 {
			e := ends[i%2]
			wg.Go(func() {
				var ev rdma.EventBatch
				for k := 0; ; k++ {
					select {
					case <-stop:
						return
					default:
					}
					b := e.buf(pattern(100+k*37%9000, k))
					if _, err := e.qp.PostSend([]rdma.SendWR{{Buf: b}}, &ev); err != nil {
						b.Free()
					}
					ev.Run()
					_ = poll(e.send)
					time.Sleep(100 * time.Microsecond) // all wake at a time
				}
			})
		}
		for i := range 20 {
			l.SetFaults([]Faults{{}, {Loss: 0.1, Reorder: 0.1, Duplicate: 0.1}}[i%2])
			time.Sleep(5 * time.Millisecond)
		}
		must(t, ends[0].qp.Modify(rdma.QPAttr{State: rdma.QPSErr}, rdma.QPAttrState))
		time.Sleep(5 * time.Millisecond)
		must(t, ends[0].qp.Modify(rdma.QPAttr{State: rdma.QPSReset}, rdma.QPAttrState))
		must(t, ends[1].qp.Close())
		close(stop)
		wg.Wait()
	})
}
