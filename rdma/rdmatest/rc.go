package rdmatest

import (
	"testing"
	"time"

	"ipoib/rdma"
)

const (
	rcInit = rdma.QPAttrState | rdma.QPAttrPKeyIndex
	rcRTR  = rdma.QPAttrState | rdma.QPAttrAV | rdma.QPAttrPathMTU | rdma.QPAttrDestQPN | rdma.QPAttrRQPSN |
		rdma.QPAttrMinRNRTimer
	rcRTS = rdma.QPAttrState | rdma.QPAttrSQPSN | rdma.QPAttrTimeout | rdma.QPAttrRetryCount | rdma.QPAttrRNRRetry

	rcRecvSize = 65524
)

// rcSideOpts changes how an end of a connection is made; zero values are the
// defaults.
type rcSideOpts struct {
	credits  int // receive buffers, depth by default; -1: none
	recvSize int
	handler  func(rdma.CQ)
	srq      rdma.SRQ
	attr     rdma.QPAttr // Timeout, RetryCount, RNRRetry
	grh      bool
}

// newRCSide makes a queue pair in state RESET.
func newRCSide(t *testing.T, p rdma.Port, o rcSideOpts) *side {
	t.Helper()
	need(t, p, rdma.CapRC, "RC transport")
	s := &side{t: t, port: p}
	dev := p.Device()
	var err error
	check := func(what string) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	s.pd, err = dev.AllocPD()
	check("AllocPD")
	s.send, err = dev.CreateCQ(rdma.CQConfig{Depth: 2 * depth})
	check("CreateCQ")
	s.recv, err = dev.CreateCQ(rdma.CQConfig{Depth: 2 * depth, Handler: o.handler})
	check("CreateCQ")
	if o.recvSize == 0 {
		o.recvSize = rcRecvSize
	}
	s.qp, err = s.pd.CreateQP(rdma.QPConfig{
		Type: rdma.QPTRC, Port: p.Num(), SendCQ: s.send, RecvCQ: s.recv, SRQ: o.srq,
		MaxSend: depth, MaxRecv: depth, RecvSize: o.recvSize,
	})
	check("CreateQP")
	if s.qp.Type() != rdma.QPTRC || s.qp.Query().State != rdma.QPSReset {
		t.Errorf("a new pair is %v in %v", s.qp.Type(), s.qp.Query().State)
	}
	t.Cleanup(func() { _ = s.qp.Close(); _ = s.send.Close(); _ = s.recv.Close(); _ = s.pd.Close() })
	return s
}

// steps are the changes of state that connect s to peer.
func (s *side) steps(f Fixture, peer *side, o rcSideOpts) (init, rtr, rts rdma.QPAttr) {
	s.t.Helper()
	i, err := s.port.FindPKey(f.PKey)
	if err != nil {
		s.t.Fatal(err)
	}
	av := rdma.AHAttr{Port: s.port.Num(), DLID: peer.port.Attr().LID}
	if o.grh {
		g, err := peer.port.GID(0)
		if err != nil {
			s.t.Fatal(err)
		}
		av.GRH = &rdma.GRHAttr{DGID: g, HopLimit: 1}
	}
	if o.attr == (rdma.QPAttr{}) {
		o.attr = rdma.QPAttr{Timeout: 14, RetryCount: 7, RNRRetry: 7}
	}
	// Each end's first PSN is its number, which ends are told of by the
	// connection manager in real life.
	psn := func(s *side) rdma.PSN { return 0xffff00 + rdma.PSN(s.qp.Num())&0xff }
	return rdma.QPAttr{State: rdma.QPSInit, PKeyIndex: uint16(i)},
		rdma.QPAttr{
			State: rdma.QPSRTR, AV: av, PathMTU: rdma.MTU2048, DestQPN: peer.qp.Num(), RQPSN: psn(peer),
			MinRNRTimer: 8, // 0.16 ms
		},
		rdma.QPAttr{
			State: rdma.QPSRTS, SQPSN: psn(s), Timeout: o.attr.Timeout, RetryCount: o.attr.RetryCount,
			RNRRetry: o.attr.RNRRetry,
		}
}

func (s *side) modify(attr rdma.QPAttr, mask rdma.QPAttrMask) {
	s.t.Helper()
	if err := s.qp.Modify(attr, mask); err != nil {
		s.t.Fatalf("Modify to %v: %v", attr.State, err)
	}
}

// connectTo takes a pair from RESET to state to.
func (s *side) connectTo(f Fixture, peer *side, o rcSideOpts, to rdma.QPState) {
	s.t.Helper()
	init, rtr, rts := s.steps(f, peer, o)
	s.modify(init, rcInit)
	if o.credits == 0 {
		o.credits = depth
	}
	if o.credits > 0 && o.srq == nil {
		if err := s.qp.PostRecv(o.credits); err != nil {
			s.t.Fatalf("PostRecv: %v", err)
		}
	}
	if to >= rdma.QPSRTR {
		s.modify(rtr, rcRTR)
	}
	if to >= rdma.QPSRTS {
		s.modify(rts, rcRTS)
	}
}

// rcPair makes a connection.
func rcPair(t *testing.T, f Fixture, oa, ob rcSideOpts) (a, b *side) {
	t.Helper()
	a, b = newRCSide(t, f.A, oa), newRCSide(t, f.B, ob)
	a.connectTo(f, b, oa, rdma.QPSRTS)
	b.connectTo(f, a, ob, rdma.QPSRTS)
	return a, b
}

// postRC sends one message, signalled.
func (s *side) postRC(id uint64, data []byte) {
	s.t.Helper()
	if n, err := s.qp.PostSend([]rdma.SendWR{{ID: id, Buf: s.buf(data), Flags: rdma.SendSignaled}}, nil); n != 1 || err != nil {
		s.t.Fatalf("PostSend: %d, %v", n, err)
	}
}

// wantSend checks the next completion of a send.
func (s *side) wantSend(id uint64, st rdma.WCStatus) {
	s.t.Helper()
	wc := poll(s.t, s.send)
	if wc.ID != id || wc.Status != st || wc.Opcode != rdma.WCSend || wc.QP != s.qp {
		s.t.Fatalf("send completion %d: %v, want %d: %v", wc.ID, wc.Status, id, st)
	}
}

func (s *side) wantState(st rdma.QPState) {
	s.t.Helper()
	for end := time.Now().Add(patience); s.qp.Query().State != st; time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			s.t.Fatalf("state %v, want %v", s.qp.Query().State, st)
		}
	}
}

// wantFlushed checks that n receives come back flushed.
func (s *side) wantFlushed(n int) {
	s.t.Helper()
	for i := range n {
		if wc := poll(s.t, s.recv); wc.Status != rdma.WCWRFlushErr || wc.Opcode != rdma.WCRecv || wc.Buf != nil {
			s.t.Fatalf("receive %d of %d: %v", i, n, wc.Status)
		}
	}
}

func testRCSendReceive(t *testing.T, f Fixture) {
	for _, grh := range []bool{false, true} {
		a, b := rcPair(t, f, rcSideOpts{grh: grh}, rcSideOpts{grh: grh})
		for i, n := range []int{0, 1, 2047, 2048, 2049, 4096, 6145, rcRecvSize} {
			a.postRC(uint64(i), message(n))
			b.want(message(n))
			a.wantSend(uint64(i), rdma.WCSuccess)
			b.postRC(uint64(i), message(n))
			a.want(message(n))
			b.wantSend(uint64(i), rdma.WCSuccess)
		}
	}
}

func testRCOrder(t *testing.T, f Fixture) {
	a, b := rcPair(t, f, rcSideOpts{}, rcSideOpts{})
	wrs := make([]rdma.SendWR, depth)
	for i := range wrs {
		wrs[i] = rdma.SendWR{ID: uint64(i), Buf: a.buf(message(i * 100)), Flags: rdma.SendSignaled}
	}
	var ev rdma.EventBatch
	if n, err := a.qp.PostSend(wrs, &ev); n != depth || err != nil {
		t.Fatalf("PostSend: %d, %v", n, err)
	}
	ev.Run()
	for i := range depth {
		b.want(message(i * 100))
		a.wantSend(uint64(i), rdma.WCSuccess)
	}
}

// Only requests that ask for it complete when they succeed.
func testRCSignaled(t *testing.T, f Fixture) {
	a, b := rcPair(t, f, rcSideOpts{}, rcSideOpts{})
	wrs := []rdma.SendWR{
		{ID: 1, Buf: a.buf(message(1))}, {ID: 2, Buf: a.buf(message(2)), Flags: rdma.SendSignaled}, {ID: 3, Buf: a.buf(message(3))},
	}
	if _, err := a.qp.PostSend(wrs, nil); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		b.want(message(i + 1))
	}
	a.wantSend(2, rdma.WCSuccess)
	nothing(t, a.send)
}

// Two pairs of one port are connected by the port's own LID.
func testRCLoopback(t *testing.T, f Fixture) {
	f.B = f.A
	a, b := rcPair(t, f, rcSideOpts{}, rcSideOpts{})
	a.postRC(1, message(5000))
	b.want(message(5000))
	a.wantSend(1, rdma.WCSuccess)
}

// A receiver without a buffer makes the sender wait and try again.
func testRCNotReady(t *testing.T, f Fixture) {
	a, b := rcPair(t, f, rcSideOpts{}, rcSideOpts{credits: 1})
	for i := range 3 {
		a.postRC(uint64(i), message(3000+i))
	}
	b.want(message(3000))
	a.wantSend(0, rdma.WCSuccess)
	nothing(t, b.recv)
	nothing(t, a.send)
	if err := b.qp.PostRecv(2); err != nil {
		t.Fatal(err)
	}
	for i := 1; i < 3; i++ {
		b.want(message(3000 + i))
		a.wantSend(uint64(i), rdma.WCSuccess)
	}
}

// An RNR retry count of 0 gives up at once.
func testRCNeverReady(t *testing.T, f Fixture) {
	a, b := rcPair(t, f, rcSideOpts{attr: rdma.QPAttr{Timeout: 14, RetryCount: 7}}, rcSideOpts{credits: -1})
	a.postRC(1, message(10))
	a.wantSend(1, rdma.WCRNRRetryExcErr)
	a.wantState(rdma.QPSErr)
	a.wantFlushed(depth)
	b.wantState(rdma.QPSRTS)
}

// A message above the receive buffer is an error of both ends.
func testRCTooLong(t *testing.T, f Fixture) {
	events := make(chan rdma.AsyncEvent, 64)
	cancel := f.B.Device().SubscribeEvents(func(e rdma.AsyncEvent) { events <- e })
	defer cancel()
	for _, n := range []int{2001, 5000} {
		a, b := rcPair(t, f, rcSideOpts{}, rcSideOpts{recvSize: 2000, credits: 2})
		a.postRC(1, message(2000))
		b.want(message(2000))
		a.wantSend(1, rdma.WCSuccess)
		a.postRC(2, message(n))
		a.postRC(3, message(1))
		a.wantSend(2, rdma.WCRemInvReqErr)
		a.wantSend(3, rdma.WCWRFlushErr)
		if wc := poll(t, b.recv); wc.Status != rdma.WCLocLenErr || wc.Opcode != rdma.WCRecv {
			t.Errorf("receive of %d bytes into 2000: %v", n, wc.Status)
		}
		a.wantState(rdma.QPSErr)
		b.wantState(rdma.QPSErr)
	}
}

// Where the peer is gone, retries end with an error.
func testRCPeerGone(t *testing.T, f Fixture) {
	a, b := rcPair(t, f, rcSideOpts{attr: rdma.QPAttr{Timeout: 10, RetryCount: 1, RNRRetry: 7}}, rcSideOpts{})
	if err := b.qp.Close(); err != nil {
		t.Fatal(err)
	}
	a.postRC(1, message(4))
	a.postRC(2, message(4))
	a.wantSend(1, rdma.WCRetryExcErr)
	a.wantSend(2, rdma.WCWRFlushErr)
	a.wantState(rdma.QPSErr)
}

// With an EventBatch the handler of a receive does not run inside PostSend.
func testRCEventBatch(t *testing.T, f Fixture) {
	got := make(chan int, depth)
	posting := make(chan struct{}, 1)
	inside := false
	o := rcSideOpts{handler: func(c rdma.CQ) {
		select {
		case posting <- struct{}{}:
			<-posting
		default:
			inside = true
		}
		var wc [8]rdma.WorkCompletion
		for n := c.Poll(wc[:]); n > 0; n = c.Poll(wc[:]) {
			for _, w := range wc[:n] {
				got <- w.Buf.Len()
				w.Buf.Free()
			}
		}
	}}
	a, _ := rcPair(t, f, rcSideOpts{}, o)
	var ev rdma.EventBatch
	for i := range 10 {
		posting <- struct{}{}
		_, err := a.qp.PostSend([]rdma.SendWR{{Buf: a.buf(message(i))}}, &ev)
		<-posting
		if err != nil {
			t.Fatal(err)
		}
		ev.Run()
	}
	for i := range 10 {
		select {
		case n := <-got:
			if n != i {
				t.Errorf("message %d has %d bytes", i, n)
			}
		case <-time.After(patience):
			t.Fatal("no completion came")
		}
	}
	if inside && f.A.Device() == f.B.Device() {
		t.Error("the handler ran inside PostSend")
	}
}
