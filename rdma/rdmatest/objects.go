package rdmatest

import (
	"sync/atomic"
	"testing"
	"time"

	"ipoib/rdma"
)

func testPortAttr(t *testing.T, f Fixture) {
	for _, p := range []rdma.Port{f.A, f.B} {
		a := p.Attr()
		if a.State != rdma.PortActive || a.PhysState != rdma.PhysLinkUp || !a.LID.IsUnicast() ||
			!a.SMLID.IsUnicast() || !a.ActiveMTU.IsValid() || a.ActiveMTU > a.MaxMTU || !a.Rate().IsValid() {
			t.Errorf("%s port %d: %+v", p.Device().Name(), p.Num(), a)
		}
		if got, err := p.Device().Port(p.Num()); err != nil || got.GUID() != p.GUID() {
			t.Errorf("Port(%d): %v", p.Num(), err)
		}
	}
	_, err := f.A.Device().Port(f.A.Device().Attr().PortCount + 1)
	wantErr(t, "port past the last", err, rdma.ErrNotFound)
}

func testPortTables(t *testing.T, f Fixture) {
	p := f.A
	g, err := p.GID(0)
	if err != nil || g != rdma.MakeGID(p.Attr().SubnetPrefix, p.GUID()) {
		t.Errorf("GID 0: %v, %v", g, err)
	}
	if i, err := p.FindGID(g); i != 0 || err != nil {
		t.Errorf("FindGID: %d, %v", i, err)
	}
	_, err = p.FindGID(rdma.GID{15: 1})
	wantErr(t, "FindGID of another", err, rdma.ErrNotFound)
	_, err = p.GID(p.Attr().GIDTableLen)
	wantErr(t, "GID past the table", err, rdma.ErrNotFound)
	i, err := p.FindPKey(f.PKey)
	if err != nil {
		t.Fatal(err)
	}
	if pk, err := p.PKey(i); err != nil || pk.Base() != f.PKey.Base() {
		t.Errorf("PKey(%d): %v, %v", i, pk, err)
	}
	_, err = p.FindPKey(0x8000)
	wantErr(t, "FindPKey of partition 0", err, rdma.ErrNotFound)
	_, err = p.PKey(p.Attr().PKeyTableLen)
	wantErr(t, "PKey past the table", err, rdma.ErrNotFound)
}

// A number can be asked for, so that addresses survive a restart.
func testQPNumber(t *testing.T, f Fixture) {
	a := newSide(t, f, f.A, sideOpts{})
	num := a.qp.Num()
	if num <= rdma.QPNGSI || num >= rdma.QPNMulticast {
		t.Errorf("number %v", num)
	}
	cfg := rdma.QPConfig{Type: rdma.QPTUD, Port: f.A.Num(), SendCQ: a.send, RecvCQ: a.recv, MaxSend: 1, MaxRecv: 1, RecvSize: 64, Num: num}
	_, err := a.pd.CreateQP(cfg)
	wantErr(t, "a number that is taken", err, rdma.ErrInUse)
	_ = a.qp.Close()
	q, err := a.pd.CreateQP(cfg)
	if err != nil || q.Num() != num {
		t.Fatalf("a number that is free again: %v", err)
	}
	_ = q.Close()
}

func testQPClose(t *testing.T, f Fixture) {
	a, b := pair(t, f)
	h, num := a.ah(b, false), b.qp.Num()
	if err := b.qp.Close(); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "second Close", b.qp.Close(), rdma.ErrClosed)
	wantErr(t, "Modify after Close", b.qp.Modify(rdma.QPAttr{QKey: 1}, rdma.QPAttrQKey), rdma.ErrClosed)
	a.post(h, num, message(4))
	nothing(t, b.recv)
}

func testQPInvalid(t *testing.T, f Fixture) {
	a := newSide(t, f, f.A, sideOpts{})
	good := rdma.QPConfig{Type: rdma.QPTUD, Port: f.A.Num(), SendCQ: a.send, RecvCQ: a.recv, MaxSend: 1, MaxRecv: 1, RecvSize: 64}
	for name, bad := range map[string]func(*rdma.QPConfig){
		"no port":      func(c *rdma.QPConfig) { c.Port = 0 },
		"no CQ":        func(c *rdma.QPConfig) { c.RecvCQ = nil },
		"no depth":     func(c *rdma.QPConfig) { c.MaxSend = 0 },
		"huge depth":   func(c *rdma.QPConfig) { c.MaxRecv = 1 << 30 },
		"huge message": func(c *rdma.QPConfig) { c.RecvSize = 1 << 30 },
	} {
		cfg := good
		bad(&cfg)
		if q, err := a.pd.CreateQP(cfg); err == nil {
			t.Errorf("%s: accepted", name)
			_ = q.Close()
		}
	}
	wr := rdma.SendWR{Buf: a.buf(message(4))}
	n, err := a.qp.PostSend([]rdma.SendWR{wr}, nil)
	if n != 0 || err == nil {
		t.Error("a UD send without address handle was taken")
	}
	wr.Buf.Free() // still ours: it was not taken
	wantErr(t, "negative PostRecv", a.qp.PostRecv(-1), rdma.ErrInvalid)
}

// The handler is called for what comes, again for what comes later, and never
// twice at a time.
func testCQHandler(t *testing.T, f Fixture) {
	var running, got, bad atomic.Int32
	b := newSide(t, f, f.B, sideOpts{handler: func(c rdma.CQ) {
		if running.Add(1) != 1 {
			bad.Add(1)
		}
		var wc [4]rdma.WorkCompletion
		for n := c.Poll(wc[:]); n > 0; n = c.Poll(wc[:]) {
			for _, w := range wc[:n] {
				w.Buf.Free()
				got.Add(1)
			}
			_ = wc
		}
		running.Add(-1)
	}})
	const senders, each = 4, depth / 4
	for range senders {
		a := newSide(t, f, f.A, sideOpts{})
		h := a.ah(b, false)
		go func() {
			for range each {
				wr := rdma.SendWR{Buf: a.buf(message(4)), AH: h, RemoteQPN: b.qp.Num(), RemoteQKey: qkey}
				_, _ = a.qp.PostSend([]rdma.SendWR{wr}, nil)
			}
		}()
	}
	for end := time.Now().Add(patience); got.Load() < senders*each && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if got.Load() != senders*each || bad.Load() != 0 {
		t.Errorf("%d of %d completions, %d concurrent calls", got.Load(), senders*each, bad.Load())
	}
}

// With an EventBatch the handler runs in Run, or on a goroutine of the
// provider, but not inside PostSend.
func testCQEventBatch(t *testing.T, f Fixture) {
	var posting, inside atomic.Bool
	var got atomic.Int32
	b := newSide(t, f, f.B, sideOpts{handler: func(c rdma.CQ) {
		if posting.Load() {
			inside.Store(true)
		}
		var wc [8]rdma.WorkCompletion
		for n := c.Poll(wc[:]); n > 0; n = c.Poll(wc[:]) {
			for _, w := range wc[:n] {
				w.Buf.Free()
			}
			got.Add(int32(n))
		}
	}})
	a := newSide(t, f, f.A, sideOpts{})
	h := a.ah(b, false)
	var ev rdma.EventBatch
	for range 10 {
		wr := rdma.SendWR{Buf: a.buf(message(4)), AH: h, RemoteQPN: b.qp.Num(), RemoteQKey: qkey}
		posting.Store(true)
		_, err := a.qp.PostSend([]rdma.SendWR{wr}, &ev)
		posting.Store(false)
		if err != nil {
			t.Fatal(err)
		}
		ev.Run()
	}
	for end := time.Now().Add(patience); got.Load() < 10 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if got.Load() != 10 {
		t.Errorf("%d completions", got.Load())
	}
	if inside.Load() && f.A.Device() == f.B.Device() {
		t.Error("the handler ran inside PostSend")
	}
}

func testCQModeration(t *testing.T, f Fixture) {
	need(t, f.B, rdma.CapModerateCQ, "completion moderation")
	var calls, got atomic.Int32
	b := newSide(t, f, f.B, sideOpts{handler: func(c rdma.CQ) {
		calls.Add(1)
		var wc [8]rdma.WorkCompletion
		for n := c.Poll(wc[:]); n > 0; n = c.Poll(wc[:]) {
			for _, w := range wc[:n] {
				w.Buf.Free()
			}
			got.Add(int32(n))
		}
	}})
	a := newSide(t, f, f.A, sideOpts{})
	h := a.ah(b, false)
	settle := func(n int32) {
		t.Helper()
		for end := time.Now().Add(patience); got.Load() < n && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		if got.Load() != n {
			t.Fatalf("%d completions, want %d", got.Load(), n)
		}
	}
	// Eight frames or 50 ms.
	if err := b.recv.Moderate(8, 50000); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for range 8 {
		a.post(h, b.qp.Num(), message(4))
	}
	settle(8)
	if calls.Load() != 1 || time.Since(start) > 40*time.Millisecond {
		t.Errorf("8 frames: %d calls after %v", calls.Load(), time.Since(start))
	}
	start = time.Now()
	a.post(h, b.qp.Num(), message(4))
	settle(9)
	if d := time.Since(start); d < 45*time.Millisecond {
		t.Errorf("one frame was handled after %v, not 50 ms", d)
	}
	if err := b.recv.Moderate(0, 0); err != nil {
		t.Fatal(err)
	}
	start = time.Now()
	a.post(h, b.qp.Num(), message(4))
	settle(10)
	if d := time.Since(start); d > 40*time.Millisecond {
		t.Errorf("unmoderated frame took %v", d)
	}
}

// A queue that is too small loses completions and says so by an event.
func testCQOverflow(t *testing.T, f Fixture) {
	events := make(chan rdma.AsyncEvent, 64)
	cancel := f.B.Device().SubscribeEvents(func(e rdma.AsyncEvent) { events <- e })
	defer cancel()
	a := newSide(t, f, f.A, sideOpts{})
	b := newSide(t, f, f.B, sideOpts{cqDepth: 4})
	for range 5 {
		a.post(a.ah(b, false), b.qp.Num(), message(4))
	}
	for range 4 {
		b.want(message(4))
	}
	for {
		select {
		case e := <-events:
			if e.Type == rdma.EventCQErr && e.CQ == b.recv {
				return
			}
		case <-time.After(patience):
			t.Fatal("no CQ error event")
		}
	}
}

func testAHValidation(t *testing.T, f Fixture) {
	pd, err := f.A.Device().AllocPD()
	if err != nil {
		t.Fatal(err)
	}
	lid := f.B.Attr().LID
	for name, attr := range map[string]rdma.AHAttr{
		"no port":               {DLID: lid},
		"LID 0":                 {Port: f.A.Num()},
		"permissive LID":        {Port: f.A.Num(), DLID: rdma.LIDPermissive},
		"SL 16":                 {Port: f.A.Num(), DLID: lid, SL: 16},
		"unknown rate":          {Port: f.A.Num(), DLID: lid, StaticRate: 63},
		"multicast without GRH": {Port: f.A.Num(), DLID: 0xc000},
		"GID index":             {Port: f.A.Num(), DLID: lid, GRH: &rdma.GRHAttr{SGIDIndex: 1 << 20}},
	} {
		if _, err := pd.CreateAH(attr); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	want := rdma.AHAttr{Port: f.A.Num(), DLID: lid, SL: 3, StaticRate: rdma.Rate10}
	h, err := pd.CreateAH(want)
	if err != nil {
		t.Fatal(err)
	}
	if got := h.Attr(); got != want {
		t.Errorf("attributes %+v, want %+v", got, want)
	}
}

func testRCNotSupported(t *testing.T, f Fixture) {
	if f.A.Device().Attr().Caps&rdma.CapRC != 0 {
		t.Skip("the device has RC")
	}
	a := newSide(t, f, f.A, sideOpts{})
	_, err := a.pd.CreateQP(rdma.QPConfig{Type: rdma.QPTRC, Port: f.A.Num(), SendCQ: a.send, RecvCQ: a.recv, MaxSend: 1, MaxRecv: 1, RecvSize: 64})
	wantErr(t, "RC queue pair", err, rdma.ErrNotSupported)
}

// Two agents exchange a request and its answer by QP1: the answer finds its
// way by the transaction ID.
func testMADAgents(t *testing.T, f Fixture) {
	const class, version, methodGet, methodResp = 0x09, 1, 0x01, 0x81
	type recv struct {
		from rdma.MADAddr
		mad  *[rdma.MADSize]byte
	}
	asked, answered := make(chan recv, 4), make(chan recv, 4)
	server, err := f.B.RegisterAgent(rdma.MADAgentConfig{
		QP: rdma.QPNGSI, Class: class, ClassVersion: version, Methods: []uint8{methodGet},
		Receive: func(from rdma.MADAddr, m *[rdma.MADSize]byte) { asked <- recv{from, m} },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	_, err = f.B.RegisterAgent(rdma.MADAgentConfig{
		QP: rdma.QPNGSI, Class: class, ClassVersion: version, Methods: []uint8{methodGet},
		Receive: func(rdma.MADAddr, *[rdma.MADSize]byte) {},
	})
	wantErr(t, "second agent for a method", err, rdma.ErrInUse)
	client, err := f.A.RegisterAgent(rdma.MADAgentConfig{
		QP: rdma.QPNGSI, Class: class, ClassVersion: version,
		Receive: func(from rdma.MADAddr, m *[rdma.MADSize]byte) { answered <- recv{from, m} },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	pkey, err := f.A.FindPKey(rdma.PKeyDefault)
	if err != nil {
		t.Skip("no default partition")
	}
	var m [rdma.MADSize]byte
	m[0], m[1], m[2], m[3], m[15], m[255] = 1, class, version, methodGet, 0x77, 0xee
	to := rdma.MADAddr{LID: f.B.Attr().LID, QPN: rdma.QPNGSI, QKey: rdma.QKeyGSI, PKeyIndex: pkey}
	if err := client.Send(to, &m); err != nil {
		t.Fatal(err)
	}
	wait := func(c chan recv) recv {
		t.Helper()
		select {
		case r := <-c:
			return r
		case <-time.After(patience):
			t.Fatal("no datagram came")
			return recv{}
		}
	}
	req := wait(asked)
	if req.from.LID != f.A.Attr().LID || req.from.QPN != rdma.QPNGSI || req.mad[255] != 0xee || req.mad[15] != 0x77 {
		t.Errorf("request from %+v: % x", req.from, req.mad[:24])
	}
	req.mad[3], req.mad[254] = methodResp, 0xdd
	if err := server.Send(req.from, req.mad); err != nil {
		t.Fatal(err)
	}
	resp := wait(answered)
	if resp.from.LID != f.B.Attr().LID || resp.mad[254] != 0xdd || resp.mad[15] != 0x77 {
		t.Errorf("answer from %+v: % x", resp.from, resp.mad[:24])
	}
	_ = client.Close()
	if err := client.Send(to, &m); err == nil {
		t.Error("a closed agent sent")
	}
}
