// Package rdmatest is the conformance suite that every provider of the rdma
// interfaces must pass.
//
// A provider's test makes a Fixture, two ports of active links in one subnet,
// and runs Run or RunVirtual. Tests of a capability that the device lacks are skipped, after
// checking that the provider says so with rdma.ErrNotSupported.
package rdmatest

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/rdma"
)

// Fixture is what a provider offers to the suite.
type Fixture struct {
	// A and B are Active ports, of one or two devices. Both are full members
	// of PKey.
	A, B rdma.Port
	PKey rdma.PKey
	// MGID and MLID are a group that both ports have joined, so that its
	// packets reach them.
	MGID rdma.GID
	MLID rdma.LID
}

// Run runs the whole suite. make is called for every test.
func Run(t *testing.T, make func(t *testing.T) Fixture) {
	for _, c := range All {
		t.Run(c.Name, func(t *testing.T) { c.Fn(t, make(t)) })
	}
}

// RunVirtual is Run in virtual time, a bubble of testing/synctest a test, for
// providers that are of this process alone: how busy the machine is makes no
// difference then.
func RunVirtual(t *testing.T, make func(t *testing.T) Fixture) {
	for _, c := range All {
		t.Run(c.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { c.Fn(t, make(t)) })
		})
	}
}

// Case is one test of the suite.
type Case struct {
	Name string
	Fn   func(t *testing.T, f Fixture)
}

// All are the tests.
var All = []Case{
	{"PortAttr", testPortAttr},
	{"PortTables", testPortTables},
	{"UD/SendReceive", testUDSendReceive},
	{"UD/GRH", testUDGRH},
	{"UD/Order", testUDOrder},
	{"UD/QKeyMismatch", testUDQKeyMismatch},
	{"UD/ControlledQKey", testUDControlledQKey},
	{"UD/NoReceiveBuffer", testUDNoReceiveBuffer},
	{"UD/TooLong", testUDTooLong},
	{"UD/States", testUDStates},
	{"UD/Signaled", testUDSignaled},
	{"UD/Loopback", testUDLoopback},
	{"UD/Multicast", testUDMulticast},
	{"UD/MulticastLoopbackBlocked", testUDMulticastLoopback},
	{"UD/LSO", testUDLSO},
	{"UD/Checksum", testUDChecksum},
	{"UD/AggregateReceive", testUDAggregate},
	{"QP/Number", testQPNumber},
	{"QP/Close", testQPClose},
	{"QP/InvalidArguments", testQPInvalid},
	{"CQ/Handler", testCQHandler},
	{"CQ/EventBatch", testCQEventBatch},
	{"CQ/Moderation", testCQModeration},
	{"CQ/Overflow", testCQOverflow},
	{"AH/Validation", testAHValidation},
	{"MAD/Agents", testMADAgents},
	{"RC/NotSupported", testRCNotSupported},
	{"RC/SendReceive", testRCSendReceive},
	{"RC/Order", testRCOrder},
	{"RC/Signaled", testRCSignaled},
	{"RC/Loopback", testRCLoopback},
	{"RC/States", testRCStates},
	{"RC/InvalidAttributes", testRCInvalid},
	{"RC/Flush", testRCFlush},
	{"RC/Reconnect", testRCReconnect},
	{"RC/ReceiverNotReady", testRCNotReady},
	{"RC/ReceiverNeverReady", testRCNeverReady},
	{"RC/TooLong", testRCTooLong},
	{"RC/PeerGone", testRCPeerGone},
	{"RC/CommunicationEstablished", testRCCommEst},
	{"RC/Drain", testRCDrain},
	{"RC/EventBatch", testRCEventBatch},
	{"SRQ/NotSupported", testSRQNotSupported},
	{"SRQ/Shared", testSRQShared},
	{"SRQ/Empty", testSRQEmpty},
	{"SRQ/Limit", testSRQLimit},
	{"SRQ/LastWQE", testSRQLastWQE},
	{"SRQ/InvalidArguments", testSRQInvalid},
}

// side is one end of a UD exchange.
type side struct {
	t    *testing.T
	port rdma.Port
	pd   rdma.PD
	send rdma.CQ
	recv rdma.CQ
	qp   rdma.QP
}

const qkey rdma.QKey = 0x80000b1b

const (
	recvSize = 4096
	depth    = 128
)

// sideOpts changes how a side is made; zero values are the defaults above.
type sideOpts struct {
	qkey      rdma.QKey
	credits   int
	handler   func(rdma.CQ)
	block     bool
	cqDepth   int
	num       rdma.QPN
	aggregate bool
}

func newSide(t *testing.T, f Fixture, p rdma.Port, o sideOpts) *side {
	t.Helper()
	if o.qkey == 0 {
		o.qkey = qkey
	}
	if o.cqDepth == 0 {
		o.cqDepth = 2 * depth
	}
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
	s.send, err = dev.CreateCQ(rdma.CQConfig{Depth: depth})
	check("CreateCQ")
	s.recv, err = dev.CreateCQ(rdma.CQConfig{Depth: o.cqDepth, Handler: o.handler})
	check("CreateCQ")
	s.qp, err = s.pd.CreateQP(rdma.QPConfig{
		Type: rdma.QPTUD, Port: p.Num(), SendCQ: s.send, RecvCQ: s.recv,
		MaxSend: depth, MaxRecv: depth, RecvSize: recvSize, Num: o.num,
		BlockMulticastLoopback: o.block, LSO: true,
	})
	check("CreateQP")
	t.Cleanup(func() { _ = s.qp.Close(); _ = s.send.Close(); _ = s.recv.Close(); _ = s.pd.Close() })
	i, err := p.FindPKey(f.PKey)
	check("FindPKey")
	err = s.qp.Modify(rdma.QPAttr{State: rdma.QPSInit, PKeyIndex: uint16(i), QKey: o.qkey},
		rdma.QPAttrState|rdma.QPAttrPKeyIndex|rdma.QPAttrQKey)
	check("Modify INIT")
	err = s.qp.Modify(rdma.QPAttr{State: rdma.QPSRTR}, rdma.QPAttrState)
	check("Modify RTR")
	err = s.qp.Modify(rdma.QPAttr{State: rdma.QPSRTS, SQPSN: 7}, rdma.QPAttrState|rdma.QPAttrSQPSN)
	check("Modify RTS")
	if o.aggregate {
		err = s.qp.Modify(rdma.QPAttr{ReceiveAggregate: true}, rdma.QPAttrReceiveAggregate)
		check("Modify ReceiveAggregate")
	}
	if o.credits == 0 {
		o.credits = depth
	}
	if o.credits > 0 {
		err = s.qp.PostRecv(o.credits)
		check("PostRecv")
	}
	return s
}

// pair makes two sides.
func pair(t *testing.T, f Fixture) (a, b *side) {
	return newSide(t, f, f.A, sideOpts{}), newSide(t, f, f.B, sideOpts{})
}

func (s *side) ah(to *side, grh bool) rdma.AH {
	s.t.Helper()
	attr := rdma.AHAttr{Port: s.port.Num(), DLID: to.port.Attr().LID}
	if grh {
		g, _ := to.port.GID(0)
		attr.GRH = &rdma.GRHAttr{DGID: g, HopLimit: 3, TrafficClass: 5, FlowLabel: 0x12345}
	}
	h, err := s.pd.CreateAH(attr)
	if err != nil {
		s.t.Fatalf("CreateAH: %v", err)
	}
	s.t.Cleanup(func() { _ = h.Close() })
	return h
}

func (s *side) buf(data []byte) *rdma.Buffer {
	b := s.pd.Buffers().Get(len(data))
	copy(b.Bytes(), data)
	return b
}

// post sends one message to a queue pair.
func (s *side) post(h rdma.AH, to rdma.QPN, data []byte, change ...func(*rdma.SendWR)) {
	s.t.Helper()
	wr := rdma.SendWR{Buf: s.buf(data), AH: h, RemoteQPN: to, RemoteQKey: qkey}
	for _, c := range change {
		c(&wr)
	}
	if n, err := s.qp.PostSend([]rdma.SendWR{wr}, nil); n != 1 || err != nil {
		s.t.Fatalf("PostSend: %d, %v", n, err)
	}
}

// patience bounds the wait for something that must come; quiet is how long
// nothing has to come.
const (
	patience = 5 * time.Second
	quiet    = 20 * time.Millisecond
)

func poll(t *testing.T, c rdma.CQ) rdma.WorkCompletion {
	t.Helper()
	var wc [1]rdma.WorkCompletion
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Microsecond) {
		if c.Poll(wc[:]) == 1 {
			return wc[0]
		}
	}
	t.Fatal("no completion came")
	return wc[0]
}

func nothing(t *testing.T, c rdma.CQ) {
	t.Helper()
	time.Sleep(quiet)
	var wc [1]rdma.WorkCompletion
	if c.Poll(wc[:]) != 0 {
		t.Fatalf("a completion came: %v %v", wc[0].Opcode, wc[0].Status)
	}
}

// want checks that the next completion is a good receive of data.
func (s *side) want(data []byte) rdma.WorkCompletion {
	s.t.Helper()
	wc := poll(s.t, s.recv)
	if wc.Status != rdma.WCSuccess || wc.Opcode != rdma.WCRecv || wc.QP != s.qp {
		s.t.Fatalf("completion %v %v", wc.Opcode, wc.Status)
	}
	if !bytes.Equal(wc.Buf.Bytes(), data) {
		s.t.Fatalf("received %d bytes %x, want %d bytes %x", wc.Buf.Len(), head(wc.Buf.Bytes()), len(data), head(data))
	}
	wc.Buf.Free()
	wc.Buf = nil
	return wc
}

func head(b []byte) []byte { return b[:min(len(b), 64)] }

func wantErr(t *testing.T, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: error %v, want %v", what, err, target)
	}
}

func message(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}

func need(t *testing.T, p rdma.Port, c rdma.Cap, what string) {
	t.Helper()
	if p.Device().Attr().Caps&c != c {
		t.Skipf("%s has no %s", p.Device().Name(), what)
	}
}
