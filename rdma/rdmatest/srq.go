package rdmatest

import (
	"testing"

	"ipoib/rdma"
)

// newSRQ makes a shared receive queue at a port's device.
func newSRQ(t *testing.T, p rdma.Port, cfg rdma.SRQConfig) rdma.SRQ {
	t.Helper()
	need(t, p, rdma.CapRC|rdma.CapSRQ, "shared receive queue")
	pd, err := p.Device().AllocPD()
	if err != nil {
		t.Fatal(err)
	}
	s, err := pd.CreateSRQ(cfg)
	if err != nil {
		t.Fatalf("CreateSRQ: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func testSRQNotSupported(t *testing.T, f Fixture) {
	if f.A.Device().Attr().Caps&rdma.CapSRQ != 0 {
		t.Skip("the device has shared receive queues")
	}
	pd, err := f.A.Device().AllocPD()
	if err != nil {
		t.Fatal(err)
	}
	_, err = pd.CreateSRQ(rdma.SRQConfig{MaxRecv: 1, RecvSize: 64})
	wantErr(t, "shared receive queue", err, rdma.ErrNotSupported)
}

// Pairs take buffers of one queue, and each completes on its own CQ.
func testSRQShared(t *testing.T, f Fixture) {
	s := newSRQ(t, f.B, rdma.SRQConfig{MaxRecv: 16, RecvSize: 9000})
	o := rcSideOpts{srq: s}
	a1, b1 := rcPair(t, f, rcSideOpts{}, o)
	a2, b2 := rcPair(t, f, rcSideOpts{}, o)
	if err := s.PostRecv(5); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "PostRecv of a pair with an SRQ", b1.qp.PostRecv(1), rdma.ErrInvalid)
	a1.postRC(1, message(9000))
	a2.postRC(1, message(2))
	a2.postRC(2, message(3))
	a1.postRC(2, message(4))
	b1.want(message(9000))
	b1.want(message(4))
	b2.want(message(2))
	b2.want(message(3))
	wantErr(t, "Close of a queue in use", s.Close(), rdma.ErrInUse)
	// The queue's buffer size counts, and what one pair does is not the
	// other's business.
	a1.postRC(3, message(9001))
	b1.wantState(rdma.QPSErr)
	if wc := poll(t, b1.recv); wc.Status != rdma.WCLocLenErr {
		t.Errorf("receive of 9001 bytes: %v", wc.Status)
	}
	nothing(t, b1.recv)
	if err := s.PostRecv(1); err != nil {
		t.Fatal(err)
	}
	a2.postRC(3, message(6))
	b2.want(message(6))
	_ = b1.qp.Close()
	_ = b2.qp.Close()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	wantErr(t, "second Close", s.Close(), rdma.ErrClosed)
	wantErr(t, "PostRecv after Close", s.PostRecv(1), rdma.ErrClosed)
}

// An empty queue makes senders wait.
func testSRQEmpty(t *testing.T, f Fixture) {
	s := newSRQ(t, f.B, rdma.SRQConfig{MaxRecv: 4, RecvSize: 100})
	a, b := rcPair(t, f, rcSideOpts{}, rcSideOpts{srq: s})
	a.postRC(1, message(10))
	nothing(t, b.recv)
	if err := s.PostRecv(1); err != nil {
		t.Fatal(err)
	}
	b.want(message(10))
	a.wantSend(1, rdma.WCSuccess)
	wantErr(t, "PostRecv above MaxRecv", s.PostRecv(5), rdma.ErrQueueFull)
}

// Fewer buffers than the limit raise an event.
func testSRQLimit(t *testing.T, f Fixture) {
	events := subscribe(t, f.B.Device())
	s := newSRQ(t, f.B, rdma.SRQConfig{MaxRecv: 16, RecvSize: 100, Limit: 3})
	a, b := rcPair(t, f, rcSideOpts{}, rcSideOpts{srq: s})
	if err := s.PostRecv(4); err != nil {
		t.Fatal(err)
	}
	a.postRC(1, message(10))
	b.want(message(10))
	nothing(t, a.recv)
	select {
	case e := <-events:
		if e.Type == rdma.EventSRQLimitReached {
			t.Error("event at the limit, not below")
		}
	default:
	}
	a.postRC(2, message(11))
	b.want(message(11))
	if e := nextEvent(t, events, rdma.EventSRQLimitReached); e.SRQ != s {
		t.Error("event of another queue")
	}
}

// A pair in ERR takes no more buffers from its shared queue: that is what its
// owner waits for before it destroys the pair.
func testSRQLastWQE(t *testing.T, f Fixture) {
	events := subscribe(t, f.B.Device())
	s := newSRQ(t, f.B, rdma.SRQConfig{MaxRecv: 16, RecvSize: 100})
	_, b := rcPair(t, f, rcSideOpts{}, rcSideOpts{srq: s})
	if err := s.PostRecv(4); err != nil {
		t.Fatal(err)
	}
	b.modify(rdma.QPAttr{State: rdma.QPSErr}, rdma.QPAttrState)
	if e := nextEvent(t, events, rdma.EventQPLastWQEReached); e.QP != b.qp {
		t.Error("event of another pair")
	}
	nothing(t, b.recv) // the buffers stay in the queue
}

func testSRQInvalid(t *testing.T, f Fixture) {
	good := rdma.SRQConfig{MaxRecv: 4, RecvSize: 100}
	s := newSRQ(t, f.A, good)
	wantErr(t, "negative PostRecv", s.PostRecv(-1), rdma.ErrInvalid)
	pd, err := f.A.Device().AllocPD()
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]func(*rdma.SRQConfig){
		"no depth":     func(c *rdma.SRQConfig) { c.MaxRecv = 0 },
		"huge depth":   func(c *rdma.SRQConfig) { c.MaxRecv = 1 << 30 },
		"huge message": func(c *rdma.SRQConfig) { c.RecvSize = 1 << 30 },
		"limit":        func(c *rdma.SRQConfig) { c.Limit = 5 },
	} {
		cfg := good
		bad(&cfg)
		_, err := pd.CreateSRQ(cfg)
		wantErr(t, name, err, rdma.ErrInvalid)
	}
	a := newSide(t, f, f.A, sideOpts{})
	_, err = a.pd.CreateQP(rdma.QPConfig{
		Type: rdma.QPTUD, Port: f.A.Num(), SendCQ: a.send, RecvCQ: a.recv, MaxSend: 1, MaxRecv: 1, RecvSize: 64, SRQ: s,
	})
	wantErr(t, "UD pair with an SRQ", err, rdma.ErrInvalid)
}
