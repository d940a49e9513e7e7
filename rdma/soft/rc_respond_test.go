package soft

import (
	"encoding/hex"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/header"
	"ipoib/rdma/mad"
)

// rcRequest is a frame from QP 0x100 of LID 2 to QP 0x200 of LID 3.
func rcRequest(op header.Opcode, psn rdma.PSN, payload []byte, change ...func(*header.Fields)) []byte {
	f := header.Fields{
		SLID: 2, DLID: 3, Opcode: op, MigReq: true, PKey: 0x8001, DestQP: 0x200, PSN: psn,
		AckReq: op.IsLast() || op.IsOnly(),
	}
	if n := op.ExtLen(); n > 0 && !op.HasAETH() && !op.HasImm() {
		f.Ext = make([]byte, n)
	}
	for _, c := range change {
		c(&f)
	}
	b, err := f.Append(nil, payload)
	if err != nil {
		panic(err)
	}
	return b
}

// answer is what a responder says to a packet.
type answer struct {
	syn header.Syndrome
	psn rdma.PSN
	msn uint32
}

// answers collects the replies that leave an adapter.
func answers(t testing.TB, n *testNet, i int) (take func() []answer) {
	t.Helper()
	frames := tapHost(t, n, i)
	done := 0
	return func() []answer {
		var out []answer
		all := frames()
		for _, f := range all[done:] {
			b, _ := hex.DecodeString(f)
			p, err := header.Parse(b)
			must(t, err)
			if p.AETH != nil {
				out = append(out, answer{p.AETH.Syndrome(), p.BTH.PSN(), p.AETH.MSN()})
			}
		}
		done = len(all)
		return out
	}
}

const ack = header.ACKNoCredit

// The responder's table: every row starts with a pair that expects PSN 0x10,
// has a path MTU of 256 and three receive buffers of 600 bytes.
func TestRCResponder(t *testing.T) {
	m := func(n int) []byte { return pattern(n, 3) }
	req := rcRequest
	const first, middle, last, only = header.RCSendFirst, header.RCSendMiddle, header.RCSendLast, header.RCSendOnly
	type frames = [][]byte
	for _, c := range []struct {
		name    string
		in      frames
		want    []answer
		deliver []int // sizes of the messages
		failed  rdma.WCStatus
		state   rdma.QPState
	}{
		{"expected", frames{req(only, 0x10, m(10)), req(only, 0x11, nil)}, []answer{{ack, 0x10, 1}, {ack, 0x11, 2}}, []int{10, 0}, 0, rdma.QPSRTS},
		{"no AckReq", frames{req(only, 0x10, m(10), func(f *header.Fields) { f.AckReq = false })}, nil, []int{10}, 0, rdma.QPSRTS},
		{"AckReq on First", frames{req(first, 0x10, m(256), func(f *header.Fields) { f.AckReq = true })}, []answer{{ack, 0x10, 0}}, nil, 0, rdma.QPSRTS},
		{"segments", frames{req(first, 0x10, m(256)), req(middle, 0x11, m(256)), req(last, 0x12, m(88))}, []answer{{ack, 0x12, 1}}, []int{600}, 0, rdma.QPSRTS},
		{"gap, NAK once", frames{req(only, 0x11, m(1)), req(only, 0x12, m(1)), req(only, 0x10, m(2)), req(only, 0x12, m(1))},
			[]answer{{header.NAKPSNSequence, 0x10, 0}, {ack, 0x10, 1}, {header.NAKPSNSequence, 0x11, 1}}, []int{2}, 0, rdma.QPSRTS},
		{"duplicate", frames{req(only, 0x10, m(1)), req(only, 0x10, m(1)), req(only, 0x0f, m(1))},
			[]answer{{ack, 0x10, 1}, {ack, 0x10, 1}, {ack, 0x10, 1}}, []int{1}, 0, rdma.QPSRTS},
		{"duplicate inside a message", frames{req(first, 0x10, m(256)), req(first, 0x10, m(256)), req(last, 0x11, m(1))},
			[]answer{{ack, 0x11, 1}}, []int{257}, 0, rdma.QPSRTS},
		{"no buffer", frames{req(only, 0x10, nil), req(only, 0x11, nil), req(only, 0x12, nil), req(only, 0x13, nil), req(only, 0x14, nil)},
			[]answer{{ack, 0x10, 1}, {ack, 0x11, 2}, {ack, 0x12, 3}, {header.RNR(14), 0x13, 3}}, []int{0, 0, 0}, 0, rdma.QPSRTS},
		{"Middle first", frames{req(middle, 0x10, m(256))}, []answer{{header.NAKInvalidRequest, 0x10, 0}}, nil, 0, rdma.QPSErr},
		{"Last first", frames{req(last, 0x10, m(1))}, []answer{{header.NAKInvalidRequest, 0x10, 0}}, nil, 0, rdma.QPSErr},
		{"First in a message", frames{req(first, 0x10, m(256)), req(first, 0x11, m(256))}, []answer{{header.NAKInvalidRequest, 0x11, 0}}, nil, 0, rdma.QPSErr},
		{"Only in a message", frames{req(first, 0x10, m(256)), req(only, 0x11, m(1))}, []answer{{header.NAKInvalidRequest, 0x11, 0}}, nil, 0, rdma.QPSErr},
		{"short First", frames{req(first, 0x10, m(255))}, []answer{{header.NAKInvalidRequest, 0x10, 0}}, nil, 0, rdma.QPSErr},
		{"short Middle", frames{req(first, 0x10, m(256)), req(middle, 0x11, m(0))}, []answer{{header.NAKInvalidRequest, 0x11, 0}}, nil, 0, rdma.QPSErr},
		{"empty Last", frames{req(first, 0x10, m(256)), req(last, 0x11, nil)}, []answer{{header.NAKInvalidRequest, 0x11, 0}}, nil, 0, rdma.QPSErr},
		{"long Last", frames{req(first, 0x10, m(256)), req(last, 0x11, m(257))}, []answer{{header.NAKInvalidRequest, 0x11, 0}}, nil, 0, rdma.QPSErr},
		{"long Only", frames{req(only, 0x10, m(257))}, []answer{{header.NAKInvalidRequest, 0x10, 0}}, nil, 0, rdma.QPSErr},
		{"message above the buffer", frames{req(first, 0x10, m(256)), req(middle, 0x11, m(256)), req(last, 0x12, m(89))},
			[]answer{{header.NAKInvalidRequest, 0x12, 0}}, nil, rdma.WCLocLenErr, rdma.QPSErr},
		{"immediate", frames{req(header.RCSendOnlyImm, 0x10, m(1))}, []answer{{header.NAKInvalidRequest, 0x10, 0}}, nil, 0, rdma.QPSErr},
		{"RDMA write", frames{req(header.RCWriteOnly, 0x10, m(1))}, []answer{{header.NAKInvalidRequest, 0x10, 0}}, nil, 0, rdma.QPSErr},
		{"RDMA read", frames{req(header.RCReadRequest, 0x10, nil)}, []answer{{header.NAKInvalidRequest, 0x10, 0}}, nil, 0, rdma.QPSErr},
		{"atomic", frames{req(header.RCFetchAdd, 0x10, nil)}, []answer{{header.NAKInvalidRequest, 0x10, 0}}, nil, 0, rdma.QPSErr},
		{"silence after an error", frames{req(last, 0x10, m(1)), req(only, 0x10, m(1)), req(only, 0x11, m(1))},
			[]answer{{header.NAKInvalidRequest, 0x10, 0}}, nil, 0, rdma.QPSErr},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, _, b := vectorRC(t, rcOpts{psns: [2]rdma.PSN{0x10, 0}, mtu: rdma.MTU256, recvSize: 600, credits: 3})
			take := answers(t, n, 1)
			for _, f := range c.in {
				must(t, n.f.Inject(n.hcas[1].At(1), f))
			}
			if got := take(); !slices.Equal(got, c.want) {
				t.Errorf("answers %v, want %v", got, c.want)
			}
			var sizes []int
			flushed := 0
			for _, wc := range poll(b.recv) {
				switch wc.Status {
				case rdma.WCSuccess:
					sizes = append(sizes, wc.Buf.Len())
					wc.Buf.Free()
				case rdma.WCWRFlushErr:
					flushed++
				default:
					if wc.Status != c.failed {
						t.Errorf("receive %v", wc.Status)
					}
					c.failed = 0
					flushed++
				}
			}
			if !slices.Equal(sizes, c.deliver) || c.failed != 0 {
				t.Errorf("messages %v, want %v; status %v missing", sizes, c.deliver, c.failed)
			}
			if s := b.qp.Query().State; s != c.state {
				t.Errorf("state %v, want %v", s, c.state)
			}
			if c.state == rdma.QPSErr && flushed != 3-len(sizes) {
				t.Errorf("%d receives flushed", flushed)
			}
		})
	}
}

// A request that cannot be carried out is told to the consumer, who has no
// completion of it.
func TestRCRequestErrorEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _, b := vectorRC(t, rcOpts{})
		events := collectEvents(t, n.hcas[1])
		must(t, n.f.Inject(n.hcas[1].At(1), rcRequest(header.RCSendMiddle, 0, pattern(2048, 0))))
		if e := waitEvent(t, events, rdma.EventQPReqErr); e.QP != b.qp {
			t.Errorf("event of %v", e.QP)
		}
	})
}

// Only packets of the connection reach it.
func TestRCPath(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*header.Fields)
		drop   DropReason
	}{
		"other SLID": {func(f *header.Fields) { f.SLID = 4 }, DropPath},
		"GRH that the path has not": {func(f *header.Fields) {
			f.HasGRH = true
			f.GRH.SGID = rdma.MakeGID(rdma.DefaultSubnetPrefix, 0x5eef1000000a)
			f.GRH.DGID = rdma.MakeGID(rdma.DefaultSubnetPrefix, 0x5eef1000000b)
		}, DropPath},
		"other P_Key":     {func(f *header.Fields) { f.PKey = 0xffff }, DropPKey},
		"UD opcode":       {func(f *header.Fields) { f.Opcode = header.UDSendOnly }, DropOpcode},
		"UC opcode":       {func(f *header.Fields) { f.Opcode = header.UCSendOnly }, DropOpcode},
		"other number":    {func(f *header.Fields) { f.DestQP = 0x201 }, DropNoQP},
		"atomic response": {func(f *header.Fields) { f.Opcode, f.Ext = header.RCAtomicAck, make([]byte, 12) }, DropOpcode},
	} {
		t.Run(name, func(t *testing.T) {
			n, _, b := vectorRC(t, rcOpts{})
			p := n.hcas[1].ports[1]
			before := n.port(1).Attr().PKeyViolations
			frame := rcRequest(header.RCSendOnly, 0, pattern(8, 0), c.change)
			must(t, n.f.Inject(n.hcas[1].At(1), frame))
			b.want()
			if d := p.counters.drops[c.drop].Load(); d != 1 {
				t.Errorf("drops %v", p.Drops())
			}
			if v := n.port(1).Attr().PKeyViolations - before; (v == 1) != (c.drop == DropPKey) {
				t.Errorf("%d P_Key violations", v)
			}
			if s := b.qp.Query().State; s != rdma.QPSRTS {
				t.Errorf("state %v", s)
			}
		})
	}
}

// With a GRH in its path a pair takes no packet without one, nor with others'
// GIDs.
func TestRCPathGRH(t *testing.T) {
	n, _, b := vectorRC(t, rcOpts{grh: true})
	own, peer := rdma.MakeGID(rdma.DefaultSubnetPrefix, 0x5eef1000000b), rdma.MakeGID(rdma.DefaultSubnetPrefix, 0x5eef1000000a)
	grh := func(sgid, dgid rdma.GID) func(*header.Fields) {
		return func(f *header.Fields) { f.HasGRH, f.GRH = true, rdma.GRHInfo{SGID: sgid, DGID: dgid} }
	}
	for _, f := range [][]byte{
		rcRequest(header.RCSendOnly, 0, nil), rcRequest(header.RCSendOnly, 0, nil, grh(own, own)),
	} {
		must(t, n.f.Inject(n.hcas[1].At(1), f))
		b.want()
	}
	must(t, n.f.Inject(n.hcas[1].At(1), rcRequest(header.RCSendOnly, 0, nil, grh(peer, own))))
	b.want([]byte{})
}

// A limited member talks to full ones, and an emptied P_Key entry silences
// the connection.
func TestRCPKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := vectorRC(t, rcOpts{})
		n.set([]uint8{1}, mad.AttrPKeyTable, 0, &mad.PKeyTable{rdma.PKeyDefault, 0x0001})
		a.post(1, pattern(8, 0))
		b.want(pattern(8, 0))
		a.wantSends(rdma.WCSuccess)
		n.set([]uint8{1}, mad.AttrPKeyTable, 0, &mad.PKeyTable{rdma.PKeyDefault})
		before := n.port(0).Counters().XmitConstraintErrors
		a.post(1, pattern(8, 0))
		b.want()
		a.wantSends()
		if c := n.port(0).Counters().XmitConstraintErrors; c != before+1 {
			t.Errorf("constraint errors went from %d to %d", before, c)
		}
	})
}

// A completion queue without room is the responder's own failure.
func TestRCOverrun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := vectorRC(t, rcOpts{})
		events := collectEvents(t, n.hcas[1])
		b.recv.(*cq).depth = len(b.recv.(*cq).ring)
		room := b.recv.(*cq).depth
		for i := range room {
			a.post(uint64(i), nil)
		}
		_ = poll(a.send)
		a.post(99, nil)
		a.wantSends(rdma.WCRemOpErr)
		for _, q := range []rdma.QP{a.qp, b.qp} {
			if s := q.Query().State; s != rdma.QPSErr {
				t.Errorf("state %v", s)
			}
		}
		waitEvent(t, events, rdma.EventCQErr)
		if e := waitEvent(t, events, rdma.EventQPFatal); e.QP != b.qp {
			t.Errorf("event of %v", e.QP)
		}
	})
}

func collectEvents(t testing.TB, h *HCA) chan rdma.AsyncEvent {
	events := make(chan rdma.AsyncEvent, 64)
	t.Cleanup(h.SubscribeEvents(func(e rdma.AsyncEvent) { events <- e }))
	return events
}

// waitEvent returns the next event of a type.
func waitEvent(t testing.TB, events chan rdma.AsyncEvent, typ rdma.EventType) rdma.AsyncEvent {
	t.Helper()
	for {
		select {
		case e := <-events:
			if e.Type == typ {
				return e
			}
		case <-time.After(patience):
			t.Fatalf("no event %v", typ)
		}
	}
}
