package rdmatest

import (
	"encoding/binary"
	"fmt"
	"testing"

	"ipoib/rdma"
	"ipoib/rdma/inet"
)

func testUDSendReceive(t *testing.T, f Fixture) {
	a, b := pair(t, f)
	for _, n := range []int{0, 1, 4, 37, 256, 2044, 2048} {
		a.post(a.ah(b, false), b.qp.Num(), message(n))
		wc := b.want(message(n))
		if wc.SrcQP != a.qp.Num() || wc.SLID != f.A.Attr().LID || wc.Flags&rdma.WCGRH != 0 {
			t.Errorf("%d bytes: from QP %v LID %v flags %v", n, wc.SrcQP, wc.SLID, wc.Flags)
		}
	}
	nothing(t, a.send)
}

func testUDGRH(t *testing.T, f Fixture) {
	a, b := pair(t, f)
	a.post(a.ah(b, true), b.qp.Num(), message(100))
	wc := b.want(message(100))
	sgid, _ := f.A.GID(0)
	dgid, _ := f.B.GID(0)
	want := rdma.GRHInfo{SGID: sgid, DGID: dgid, FlowLabel: 0x12345, TrafficClass: 5, HopLimit: 3}
	if wc.Flags&rdma.WCGRH == 0 || wc.GRH != want {
		t.Errorf("GRH %+v flags %v, want %+v", wc.GRH, wc.Flags, want)
	}
}

func testUDOrder(t *testing.T, f Fixture) {
	a, b := pair(t, f)
	h := a.ah(b, false)
	var wrs []rdma.SendWR
	for i := range depth {
		wrs = append(wrs, rdma.SendWR{Buf: a.buf([]byte(fmt.Sprintf("message %03d", i))), AH: h, RemoteQPN: b.qp.Num(), RemoteQKey: qkey})
	}
	if n, err := a.qp.PostSend(wrs, nil); n != depth || err != nil {
		t.Fatalf("PostSend: %d, %v", n, err)
	}
	for i := range depth {
		b.want([]byte(fmt.Sprintf("message %03d", i)))
	}
}

func testUDQKeyMismatch(t *testing.T, f Fixture) {
	a, b := pair(t, f)
	before := f.B.Attr().QKeyViolations
	a.post(a.ah(b, false), b.qp.Num(), message(8), func(w *rdma.SendWR) { w.RemoteQKey = 0x1234 })
	nothing(t, b.recv)
	if after := f.B.Attr().QKeyViolations; after != before+1 {
		t.Errorf("Q_Key violations went from %d to %d", before, after)
	}
	a.post(a.ah(b, false), b.qp.Num(), message(9))
	b.want(message(9))
}

// A controlled Q_Key in a work request sends the queue pair's own
// (IBA 10.2.4).
func testUDControlledQKey(t *testing.T, f Fixture) {
	a, b := pair(t, f)
	a.post(a.ah(b, false), b.qp.Num(), message(8), func(w *rdma.SendWR) { w.RemoteQKey = 0x80001234 })
	b.want(message(8))
}

func testUDNoReceiveBuffer(t *testing.T, f Fixture) {
	a := newSide(t, f, f.A, sideOpts{})
	b := newSide(t, f, f.B, sideOpts{credits: 2})
	for range 3 {
		a.post(a.ah(b, false), b.qp.Num(), message(8))
	}
	b.want(message(8))
	b.want(message(8))
	nothing(t, b.recv)
	if err := b.qp.PostRecv(1); err != nil {
		t.Fatal(err)
	}
	a.post(a.ah(b, false), b.qp.Num(), message(9))
	b.want(message(9))
	wantErr(t, "PostRecv past the queue's depth", b.qp.PostRecv(depth+1), rdma.ErrQueueFull)
}

// A message above the MTU of the link is an error of the sender, whatever its
// flags say about completions.
func testUDTooLong(t *testing.T, f Fixture) {
	a, b := pair(t, f)
	n := f.A.Attr().ActiveMTU.Bytes() + 1
	a.post(a.ah(b, false), b.qp.Num(), message(n))
	if wc := poll(t, a.send); wc.Status != rdma.WCLocLenErr {
		t.Errorf("status %v", wc.Status)
	}
	nothing(t, b.recv)
}

func testUDStates(t *testing.T, f Fixture) {
	a, b := pair(t, f)
	h := a.ah(b, false)
	send := func() error {
		wr := rdma.SendWR{ID: 5, Buf: a.buf(message(4)), AH: h, RemoteQPN: b.qp.Num(), RemoteQKey: qkey}
		n, err := a.qp.PostSend([]rdma.SendWR{wr}, nil)
		if n == 0 {
			wr.Buf.Free()
		}
		return err
	}
	mod := func(s rdma.QPState, mask rdma.QPAttrMask) error {
		return a.qp.Modify(rdma.QPAttr{State: s}, rdma.QPAttrState|mask)
	}
	if err := mod(rdma.QPSErr, 0); err != nil {
		t.Fatal(err)
	}
	if err := send(); err != nil {
		t.Fatalf("a send in ERR is taken and flushed: %v", err)
	}
	if wc := poll(t, a.send); wc.Status != rdma.WCWRFlushErr || wc.ID != 5 {
		t.Errorf("send in ERR: %v", wc.Status)
	}
	for range depth {
		if wc := poll(t, a.recv); wc.Status != rdma.WCWRFlushErr || wc.Buf != nil {
			t.Fatalf("posted receive in ERR: %v", wc.Status)
		}
	}
	if err := mod(rdma.QPSReset, 0); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "send in RESET", send(), rdma.ErrState)
	wantErr(t, "receive in RESET", a.qp.PostRecv(1), rdma.ErrState)
	wantErr(t, "RESET to RTS", mod(rdma.QPSRTS, rdma.QPAttrSQPSN), rdma.ErrState)
	wantErr(t, "RESET to INIT without Q_Key", mod(rdma.QPSInit, rdma.QPAttrPKeyIndex), rdma.ErrInvalid)
	if s := a.qp.Query().State; s != rdma.QPSReset {
		t.Errorf("state %v after refused changes", s)
	}
	if err := mod(rdma.QPSInit, rdma.QPAttrPKeyIndex|rdma.QPAttrQKey); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "send in INIT", send(), rdma.ErrState)
	if err := a.qp.PostRecv(1); err != nil {
		t.Errorf("receive in INIT: %v", err)
	}
}

func testUDSignaled(t *testing.T, f Fixture) {
	a, b := pair(t, f)
	a.post(a.ah(b, false), b.qp.Num(), message(4), func(w *rdma.SendWR) { w.ID, w.Flags = 42, rdma.SendSignaled })
	if wc := poll(t, a.send); wc.ID != 42 || wc.Status != rdma.WCSuccess || wc.Opcode != rdma.WCSend {
		t.Errorf("completion %+v", wc)
	}
	b.want(message(4))
}

// Two queue pairs of one port reach each other by the port's own LID.
func testUDLoopback(t *testing.T, f Fixture) {
	a := newSide(t, f, f.A, sideOpts{})
	b := newSide(t, f, f.A, sideOpts{})
	a.post(a.ah(b, false), b.qp.Num(), message(64))
	b.want(message(64))
}

func (s *side) groupAH(f Fixture) rdma.AH {
	s.t.Helper()
	h, err := s.pd.CreateAH(rdma.AHAttr{Port: s.port.Num(), DLID: f.MLID, GRH: &rdma.GRHAttr{DGID: f.MGID}})
	if err != nil {
		s.t.Fatal(err)
	}
	return h
}

func testUDMulticast(t *testing.T, f Fixture) {
	a, b := pair(t, f)
	c := newSide(t, f, f.B, sideOpts{})   // a second listener behind one port
	out := newSide(t, f, f.B, sideOpts{}) // not attached
	for _, s := range []*side{b, c} {
		if err := s.qp.AttachMulticast(f.MGID, f.MLID); err != nil {
			t.Fatal(err)
		}
	}
	wantErr(t, "second attach", b.qp.AttachMulticast(f.MGID, f.MLID), rdma.ErrInUse)
	a.post(a.groupAH(f), rdma.QPNMulticast, message(50))
	for _, s := range []*side{b, c} {
		wc := s.want(message(50))
		if wc.Flags&(rdma.WCGRH|rdma.WCMulticast) != rdma.WCGRH|rdma.WCMulticast || wc.GRH.DGID != f.MGID {
			t.Errorf("flags %v DGID %v", wc.Flags, wc.GRH.DGID)
		}
	}
	nothing(t, out.recv)
	if err := b.qp.DetachMulticast(f.MGID, f.MLID); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "second detach", b.qp.DetachMulticast(f.MGID, f.MLID), rdma.ErrNotFound)
	a.post(a.groupAH(f), rdma.QPNMulticast, message(51))
	c.want(message(51))
	nothing(t, b.recv)
	wantErr(t, "attach to a unicast GID", b.qp.AttachMulticast(rdma.MakeGID(rdma.DefaultSubnetPrefix, 1), f.MLID), rdma.ErrInvalid)
}

func testUDMulticastLoopback(t *testing.T, f Fixture) {
	need(t, f.A, rdma.CapBlockMulticastLoopback, "multicast loopback blocking")
	a := newSide(t, f, f.A, sideOpts{block: true})
	b := newSide(t, f, f.A, sideOpts{})
	for _, s := range []*side{a, b} {
		if err := s.qp.AttachMulticast(f.MGID, f.MLID); err != nil {
			t.Fatal(err)
		}
	}
	a.post(a.groupAH(f), rdma.QPNMulticast, message(5))
	b.want(message(5)) // another pair of the same port hears it
	nothing(t, a.recv)
}

// tcp4 is an IPoIB message: encapsulation header, IPv4, TCP with the seeded
// checksum, n payload bytes.
func tcp4(n int) ([]byte, rdma.Offload) {
	const l4, hdr = 24, 44
	m := make([]byte, hdr+n)
	binary.BigEndian.PutUint16(m, 0x0800)
	ip := m[4:]
	ip[0], ip[8], ip[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	binary.BigEndian.PutUint16(ip[4:], 0xfffe)
	copy(ip[12:], []byte{10, 0, 0, 1, 10, 0, 0, 2})
	binary.BigEndian.PutUint16(ip[10:], inet.Checksum(ip[:20], 0))
	tcp := m[l4:]
	binary.BigEndian.PutUint32(tcp[4:], 0xffffff00)
	tcp[12], tcp[13] = 5<<4, 0x80|0x10|0x08|0x01 // CWR ACK PSH FIN
	copy(m[hdr:], message(n))
	binary.BigEndian.PutUint16(tcp[16:], inet.Fold(inet.Pseudo(ip[12:16], ip[16:20], 6, len(tcp))))
	return m, rdma.Offload{
		Segment: rdma.SegmentTCP4, SegmentSize: 1000, HeaderLen: hdr,
		Checksum: true, CsumStart: l4, CsumOffset: 16,
	}
}

// checkTCP4 verifies one segment of tcp4's message.
func checkTCP4(t *testing.T, m []byte, i, n, total int) {
	t.Helper()
	ip, tcp := m[4:], m[24:]
	from := i * 1000
	switch {
	case int(binary.BigEndian.Uint16(ip[2:])) != len(ip):
		t.Errorf("segment %d: IP length %d of %d", i, binary.BigEndian.Uint16(ip[2:]), len(ip))
	case inet.Checksum(ip[:20], 0) != 0:
		t.Errorf("segment %d: IP checksum", i)
	case binary.BigEndian.Uint16(ip[4:]) != uint16(0xfffe+i):
		t.Errorf("segment %d: IP ID %#x", i, binary.BigEndian.Uint16(ip[4:]))
	case inet.Checksum(tcp, inet.Pseudo(ip[12:16], ip[16:20], 6, len(tcp))) != 0:
		t.Errorf("segment %d: TCP checksum", i)
	case binary.BigEndian.Uint32(tcp[4:]) != 0xffffff00+uint32(from):
		t.Errorf("segment %d: sequence %#x", i, binary.BigEndian.Uint32(tcp[4:]))
	case string(tcp[20:]) != string(message(total)[from:min(from+1000, total)]):
		t.Errorf("segment %d: payload differs", i)
	}
	flags := byte(0x10)
	if i == 0 {
		flags |= 0x80
	}
	if i == n-1 {
		flags |= 0x09
	}
	if tcp[13] != flags {
		t.Errorf("segment %d: flags %#x, want %#x", i, tcp[13], flags)
	}
}

func testUDLSO(t *testing.T, f Fixture) {
	need(t, f.A, rdma.CapUDTSO, "large send")
	a, b := pair(t, f)
	const total = 5300
	m, o := tcp4(total)
	a.post(a.ah(b, false), b.qp.Num(), m, func(w *rdma.SendWR) { w.Offload = o })
	n := o.Segments(len(m))
	if n != 6 {
		t.Fatalf("%d segments", n)
	}
	for i := range n {
		wc := poll(t, b.recv)
		if wc.Status != rdma.WCSuccess || wc.Offload != (rdma.Offload{}) {
			t.Fatalf("segment %d: %v %+v", i, wc.Status, wc.Offload)
		}
		checkTCP4(t, wc.Buf.Bytes(), i, n, total)
		wc.Buf.Free()
	}
	nothing(t, b.recv)
	// Offsets that do not fit are refused by the device, not followed.
	for _, bad := range []func(*rdma.Offload){
		func(o *rdma.Offload) { o.HeaderLen = uint16(len(m)) },
		func(o *rdma.Offload) { o.HeaderLen-- },
		func(o *rdma.Offload) { o.CsumStart = 2 },
		func(o *rdma.Offload) { o.CsumOffset = uint16(len(m)) },
		func(o *rdma.Offload) { o.Segment = rdma.SegmentTCP6 },
		func(o *rdma.Offload) { o.Checksum = false },
	} {
		w := o
		bad(&w)
		a.post(a.ah(b, false), b.qp.Num(), m, func(wr *rdma.SendWR) { wr.Offload = w })
		if wc := poll(t, a.send); wc.Status != rdma.WCLocQPOpErr {
			t.Errorf("offload %+v: %v", w, wc.Status)
		}
	}
	nothing(t, b.recv)
}

func testUDChecksum(t *testing.T, f Fixture) {
	need(t, f.A, rdma.CapUDIPCsum, "checksum offload")
	a, b := pair(t, f)
	m, o := tcp4(100)
	o.Segment, o.SegmentSize, o.HeaderLen = rdma.SegmentNone, 0, 0
	a.post(a.ah(b, false), b.qp.Num(), m, func(w *rdma.SendWR) { w.Offload = o })
	wc := poll(t, b.recv)
	ip, tcp := wc.Buf.Bytes()[4:], wc.Buf.Bytes()[24:]
	if inet.Checksum(tcp, inet.Pseudo(ip[12:16], ip[16:20], 6, len(tcp))) != 0 {
		t.Error("TCP checksum was not completed")
	}
	wc.Buf.Free()
}

func testUDAggregate(t *testing.T, f Fixture) {
	need(t, f.B, rdma.CapReceiveAggregate, "aggregated receive")
	a := newSide(t, f, f.A, sideOpts{})
	b := newSide(t, f, f.B, sideOpts{aggregate: true, credits: 16})
	m, o := tcp4(10500)
	for range 2 { // needs 11 receive buffers each: the second finds too few
		a.post(a.ah(b, false), b.qp.Num(), m, func(w *rdma.SendWR) { w.Offload = o })
	}
	got := 0
	for got < 10500 {
		wc := poll(t, b.recv)
		if wc.Offload.Segment == rdma.SegmentNone {
			got += wc.Buf.Len() - 44
		} else {
			got += wc.Buf.Len() - int(wc.Offload.HeaderLen)
			if wc.Flags&rdma.WCIPCsumOK == 0 {
				t.Error("aggregate without WCIPCsumOK")
			}
		}
		wc.Buf.Free()
	}
	if got != 10500 {
		t.Errorf("%d payload bytes", got)
	}
}
