package rdmatest

import (
	"testing"
	"time"

	"ipoib/rdma"
)

// testRCStates walks through IBA 10.3.1: every change of state that is not in
// the table is refused, as is one that lacks an attribute, and changes
// nothing.
func testRCStates(t *testing.T, f Fixture) {
	a, b := newRCSide(t, f.A, rcSideOpts{}), newRCSide(t, f.B, rcSideOpts{})
	init, rtr, rts := a.steps(f, b, rcSideOpts{})
	send := func() error {
		buf := a.buf(message(4))
		n, err := a.qp.PostSend([]rdma.SendWR{{Buf: buf}}, nil)
		if n == 0 {
			buf.Free()
		}
		return err
	}
	refused := func(from rdma.QPState, to ...rdma.QPState) {
		t.Helper()
		for _, s := range to {
			wantErr(t, from.String()+" to "+s.String(), a.qp.Modify(rdma.QPAttr{State: s}, rdma.QPAttrState), rdma.ErrState)
		}
		if s := a.qp.Query().State; s != from {
			t.Fatalf("state %v after refused changes of %v", s, from)
		}
	}
	lacking := func(attr rdma.QPAttr, mask rdma.QPAttrMask) {
		t.Helper()
		for bit := rdma.QPAttrMask(1); bit <= mask; bit <<= 1 {
			if mask&bit != 0 && bit != rdma.QPAttrState {
				wantErr(t, "to "+attr.State.String()+" without an attribute", a.qp.Modify(attr, mask&^bit), rdma.ErrInvalid)
			}
		}
		wantErr(t, "to "+attr.State.String()+" with a Q_Key", a.qp.Modify(attr, mask|rdma.QPAttrQKey), rdma.ErrInvalid)
	}
	refused(rdma.QPSReset, rdma.QPSRTR, rdma.QPSRTS, rdma.QPSSQD)
	wantErr(t, "receive in RESET", a.qp.PostRecv(1), rdma.ErrState)
	wantErr(t, "send in RESET", send(), rdma.ErrState)
	lacking(init, rcInit)
	a.modify(init, rcInit)
	a.modify(init, rcInit) // INIT to INIT is in the table
	refused(rdma.QPSInit, rdma.QPSRTS, rdma.QPSSQD)
	wantErr(t, "send in INIT", send(), rdma.ErrState)
	if err := a.qp.PostRecv(1); err != nil {
		t.Errorf("receive in INIT: %v", err)
	}
	lacking(rtr, rcRTR)
	a.modify(rtr, rcRTR)
	refused(rdma.QPSRTR, rdma.QPSInit, rdma.QPSRTR, rdma.QPSSQD)
	wantErr(t, "send in RTR", send(), rdma.ErrState)
	lacking(rts, rcRTS)
	a.modify(rts, rcRTS)
	refused(rdma.QPSRTS, rdma.QPSInit, rdma.QPSRTR, rdma.QPSSQE)
	q := a.qp.Query()
	if q.State != rdma.QPSRTS || q.DestQPN != b.qp.Num() || q.RQPSN != rtr.RQPSN || q.SQPSN != rts.SQPSN ||
		q.PathMTU != rtr.PathMTU || q.AV.DLID != rtr.AV.DLID || q.MinRNRTimer != rtr.MinRNRTimer ||
		q.Timeout != rts.Timeout || q.RetryCount != rts.RetryCount || q.RNRRetry != rts.RNRRetry || q.PKeyIndex != init.PKeyIndex {
		t.Errorf("Query: %+v", q)
	}
	a.modify(rdma.QPAttr{State: rdma.QPSSQD}, rdma.QPAttrState)
	refused(rdma.QPSSQD, rdma.QPSInit, rdma.QPSRTR)
	a.modify(rdma.QPAttr{State: rdma.QPSRTS}, rdma.QPAttrState)
	a.modify(rdma.QPAttr{State: rdma.QPSErr}, rdma.QPAttrState)
	refused(rdma.QPSErr, rdma.QPSInit, rdma.QPSRTR, rdma.QPSRTS, rdma.QPSSQD)
	a.modify(rdma.QPAttr{State: rdma.QPSReset}, rdma.QPAttrState)
	wantErr(t, "multicast on RC", a.qp.AttachMulticast(f.MGID, f.MLID), rdma.ErrInvalid)
}

func testRCInvalid(t *testing.T, f Fixture) {
	a, b := newRCSide(t, f.A, rcSideOpts{}), newRCSide(t, f.B, rcSideOpts{})
	init, rtr, rts := a.steps(f, b, rcSideOpts{})
	try := func(name string, attr rdma.QPAttr, mask rdma.QPAttrMask, bad func(*rdma.QPAttr)) {
		t.Helper()
		bad(&attr)
		wantErr(t, name, a.qp.Modify(attr, mask), rdma.ErrInvalid)
	}
	try("P_Key index", init, rcInit, func(a *rdma.QPAttr) { a.PKeyIndex = 0xffff })
	a.modify(init, rcInit)
	for name, bad := range map[string]func(*rdma.QPAttr){
		"path MTU 0":       func(a *rdma.QPAttr) { a.PathMTU = 0 },
		"path MTU 6":       func(a *rdma.QPAttr) { a.PathMTU = 6 },
		"number 0":         func(a *rdma.QPAttr) { a.DestQPN = 0 },
		"number 2^24":      func(a *rdma.QPAttr) { a.DestQPN = 1 << 24 },
		"multicast number": func(a *rdma.QPAttr) { a.DestQPN = rdma.QPNMulticast },
		"RNR timer 32":     func(a *rdma.QPAttr) { a.MinRNRTimer = 32 },
		"LID 0":            func(a *rdma.QPAttr) { a.AV.DLID = 0 },
		"multicast LID":    func(a *rdma.QPAttr) { a.AV.DLID = 0xc000 },
		"SL 16":            func(a *rdma.QPAttr) { a.AV.SL = 16 },
		"other port":       func(a *rdma.QPAttr) { a.AV.Port = 77 },
		"GID index":        func(a *rdma.QPAttr) { a.AV.GRH = &rdma.GRHAttr{SGIDIndex: 1 << 20} },
	} {
		try(name, rtr, rcRTR, bad)
	}
	a.modify(rtr, rcRTR)
	for name, bad := range map[string]func(*rdma.QPAttr){
		"timeout 32":     func(a *rdma.QPAttr) { a.Timeout = 32 },
		"retry count 8":  func(a *rdma.QPAttr) { a.RetryCount = 8 },
		"RNR retry of 8": func(a *rdma.QPAttr) { a.RNRRetry = 8 },
	} {
		try(name, rts, rcRTS, bad)
	}
	a.modify(rts, rcRTS)
	if n, err := a.qp.PostSend([]rdma.SendWR{{}}, nil); n != 0 || err == nil {
		t.Error("a send without buffer was taken")
	}
}

// In ERR everything posted comes back flushed, and so does what is posted
// then.
func testRCFlush(t *testing.T, f Fixture) {
	a, b := rcPair(t, f, rcSideOpts{credits: 5}, rcSideOpts{credits: -1})
	for i := range 4 { // the receiver has no buffer: they stay
		a.postRC(uint64(i), message(9))
	}
	nothing(t, a.send)
	a.modify(rdma.QPAttr{State: rdma.QPSErr}, rdma.QPAttrState)
	for i := range 4 {
		a.wantSend(uint64(i), rdma.WCWRFlushErr)
	}
	a.wantFlushed(5)
	a.postRC(9, message(1))
	a.wantSend(9, rdma.WCWRFlushErr)
	if err := a.qp.PostRecv(2); err != nil {
		t.Fatal(err)
	}
	a.wantFlushed(2)
	nothing(t, a.recv)
	if err := b.qp.PostRecv(4); err != nil {
		t.Fatal(err)
	}
	nothing(t, b.recv)
}

// After RESET the pair is as new and can be connected again.
func testRCReconnect(t *testing.T, f Fixture) {
	a, b := rcPair(t, f, rcSideOpts{}, rcSideOpts{})
	a.postRC(1, message(7))
	b.modify(rdma.QPAttr{State: rdma.QPSErr}, rdma.QPAttrState)
	for _, s := range []*side{a, b} {
		s.modify(rdma.QPAttr{State: rdma.QPSReset}, rdma.QPAttrState)
		nothing(t, s.recv)
		nothing(t, s.send)
	}
	c := newRCSide(t, f.A, rcSideOpts{})
	c.connectTo(f, b, rcSideOpts{}, rdma.QPSRTS)
	b.connectTo(f, c, rcSideOpts{}, rdma.QPSRTS)
	c.postRC(5, message(5000))
	b.want(message(5000))
	c.wantSend(5, rdma.WCSuccess)
	b.postRC(6, message(10))
	c.want(message(10))
}

// nextEvent waits for an event of a type.
func nextEvent(t *testing.T, events chan rdma.AsyncEvent, typ rdma.EventType) rdma.AsyncEvent {
	t.Helper()
	for {
		select {
		case e := <-events:
			if e.Type == typ {
				return e
			}
		case <-time.After(patience):
			t.Fatalf("no event %q", typ)
		}
	}
}

func subscribe(t *testing.T, d rdma.Device) chan rdma.AsyncEvent {
	events := make(chan rdma.AsyncEvent, 64)
	t.Cleanup(d.SubscribeEvents(func(e rdma.AsyncEvent) { events <- e }))
	return events
}

// The first packet that comes in RTR tells the passive side that the active
// side is ready.
func testRCCommEst(t *testing.T, f Fixture) {
	a, b := newRCSide(t, f.A, rcSideOpts{}), newRCSide(t, f.B, rcSideOpts{})
	events := subscribe(t, f.B.Device())
	b.connectTo(f, a, rcSideOpts{}, rdma.QPSRTR)
	a.connectTo(f, b, rcSideOpts{}, rdma.QPSRTS)
	a.postRC(1, message(10))
	a.postRC(2, message(11))
	if e := nextEvent(t, events, rdma.EventCommEst); e.QP != b.qp {
		t.Error("event of another pair")
	}
	b.want(message(10))
	b.want(message(11))
	_, _, rts := b.steps(f, a, rcSideOpts{})
	b.modify(rts, rcRTS)
	b.postRC(3, message(12))
	a.want(message(12))
	select {
	case e := <-events:
		if e.Type == rdma.EventCommEst {
			t.Error("a second event")
		}
	case <-time.After(quiet):
	}
}

// In SQD what was begun is finished, the rest waits for RTS.
func testRCDrain(t *testing.T, f Fixture) {
	a, b := rcPair(t, f, rcSideOpts{}, rcSideOpts{credits: -1})
	events := subscribe(t, f.A.Device())
	a.postRC(1, message(3000))
	a.modify(rdma.QPAttr{State: rdma.QPSSQD}, rdma.QPAttrState)
	a.postRC(2, message(3001))
	if err := b.qp.PostRecv(2); err != nil {
		t.Fatal(err)
	}
	b.want(message(3000))
	a.wantSend(1, rdma.WCSuccess)
	if e := nextEvent(t, events, rdma.EventSQDrained); e.QP != a.qp {
		t.Error("event of another pair")
	}
	nothing(t, b.recv)
	b.postRC(7, message(5)) // it still receives
	a.want(message(5))
	a.modify(rdma.QPAttr{State: rdma.QPSRTS}, rdma.QPAttrState)
	b.want(message(3001))
	a.wantSend(2, rdma.WCSuccess)
}
