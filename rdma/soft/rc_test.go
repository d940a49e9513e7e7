package soft

import (
	"bytes"
	"testing"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// rcEnd is one end of a connection.
type rcEnd struct {
	t    testing.TB
	port rdma.Port
	pd   rdma.PD
	qp   rdma.QP
	send rdma.CQ
	recv rdma.CQ
}

// rcOpts describes both ends of a connection; zero values have defaults.
type rcOpts struct {
	nums             [2]rdma.QPN
	psns             [2]rdma.PSN // each end's first PSN
	mtu              rdma.MTU
	maxSend, maxRecv int
	recvSize         int
	credits          int // receive buffers posted; -1: none
	timeout          uint8
	retry, rnrRetry  uint8 // 7 by default
	rnrTimer         uint8
	srq              rdma.SRQ                  // of the second end
	handler          func(i int) func(rdma.CQ) // of the receive queues
	grh              bool
	noRetry          bool // retry counts of 0
	state            rdma.QPState
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const (
	rcInitMask = rdma.QPAttrState | rdma.QPAttrPKeyIndex
	rcRTRMask  = rdma.QPAttrState | rcPathAttrs
	rcRTSMask  = rdma.QPAttrState | rdma.QPAttrSQPSN | rcRetryAttrs
)

// connect makes a connection between two ports.
func connect(t testing.TB, pa, pb rdma.Port, o rcOpts) (a, b *rcEnd) {
	t.Helper()
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&o.maxSend, 128)
	def(&o.maxRecv, 256)
	def(&o.recvSize, rdma.MaxMessage)
	def(&o.credits, o.maxRecv)
	if o.mtu == 0 {
		o.mtu = rdma.MTU2048
	}
	if o.timeout == 0 {
		o.timeout = 14
	}
	if o.retry == 0 && !o.noRetry {
		o.retry = 7
	}
	if o.rnrRetry == 0 && !o.noRetry {
		o.rnrRetry = 7
	}
	if o.rnrTimer == 0 {
		o.rnrTimer = 14
	}
	if o.state == rdma.QPSReset {
		o.state = rdma.QPSRTS
	}
	ends := [2]*rcEnd{}
	for i, p := range []rdma.Port{pa, pb} {
		e := &rcEnd{t: t, port: p}
		var err error
		e.pd, err = p.Device().AllocPD()
		must(t, err)
		e.send, err = p.Device().CreateCQ(rdma.CQConfig{Depth: 8192})
		must(t, err)
		cfg := rdma.CQConfig{Depth: 8192}
		if o.handler != nil {
			cfg.Handler = o.handler(i)
		}
		e.recv, err = p.Device().CreateCQ(cfg)
		must(t, err)
		qc := rdma.QPConfig{
			Type: rdma.QPTRC, Port: p.Num(), SendCQ: e.send, RecvCQ: e.recv,
			MaxSend: o.maxSend, MaxRecv: o.maxRecv, RecvSize: o.recvSize, Num: o.nums[i],
		}
		if i == 1 {
			qc.SRQ = o.srq
		}
		e.qp, err = e.pd.CreateQP(qc)
		must(t, err)
		t.Cleanup(func() { _ = e.qp.Close() })
		ends[i] = e
	}
	for i, e := range ends {
		peer := ends[1-i]
		idx, err := e.port.FindPKey(0x8001)
		must(t, err)
		must(t, e.qp.Modify(rdma.QPAttr{State: rdma.QPSInit, PKeyIndex: uint16(idx)}, rcInitMask))
		if o.credits > 0 && (i == 0 || o.srq == nil) {
			must(t, e.qp.PostRecv(o.credits))
		}
		av := rdma.AHAttr{Port: e.port.Num(), DLID: peer.port.Attr().LID}
		if o.grh {
			g, err := peer.port.GID(0)
			must(t, err)
			av.GRH = &rdma.GRHAttr{DGID: g, HopLimit: 1}
		}
		must(t, e.qp.Modify(rdma.QPAttr{
			State: rdma.QPSRTR, AV: av, PathMTU: o.mtu, DestQPN: peer.qp.Num(),
			RQPSN: o.psns[1-i], MinRNRTimer: o.rnrTimer,
		}, rcRTRMask))
		if o.state == rdma.QPSRTR && i == 1 {
			continue
		}
		must(t, e.qp.Modify(rdma.QPAttr{
			State: rdma.QPSRTS, SQPSN: o.psns[i], Timeout: o.timeout, RetryCount: o.retry, RNRRetry: o.rnrRetry,
		}, rcRTSMask))
	}
	return ends[0], ends[1]
}

func (e *rcEnd) buf(data []byte) *rdma.Buffer {
	b := e.pd.Buffers().Get(len(data))
	copy(b.Bytes(), data)
	return b
}

// post sends a message, signalled.
func (e *rcEnd) post(id uint64, data []byte) {
	e.t.Helper()
	n, err := e.qp.PostSend([]rdma.SendWR{{ID: id, Buf: e.buf(data), Flags: rdma.SendSignaled}}, nil)
	if n != 1 || err != nil {
		e.t.Fatalf("PostSend: %d, %v", n, err)
	}
}

// poll returns the completions that wait in a queue.
func poll(c rdma.CQ) []rdma.WorkCompletion {
	var out []rdma.WorkCompletion
	var wc [64]rdma.WorkCompletion
	for n := c.Poll(wc[:]); n > 0; n = c.Poll(wc[:]) {
		out = append(out, wc[:n]...)
	}
	return out
}

// want checks that exactly these messages came, in this order.
func (e *rcEnd) want(msgs ...[]byte) {
	e.t.Helper()
	got := poll(e.recv)
	if len(got) != len(msgs) {
		e.t.Fatalf("%d messages came, want %d", len(got), len(msgs))
	}
	for i, wc := range got {
		if wc.Status != rdma.WCSuccess || !bytes.Equal(wc.Buf.Bytes(), msgs[i]) {
			e.t.Fatalf("message %d: %v", i, wc.Status)
		}
		wc.Buf.Free()
	}
}

// wantSends checks the statuses of the send completions, in order.
func (e *rcEnd) wantSends(st ...rdma.WCStatus) {
	e.t.Helper()
	got := poll(e.send)
	if len(got) != len(st) {
		e.t.Fatalf("%d send completions, want %d: %+v", len(got), len(st), got)
	}
	for i, wc := range got {
		if wc.Status != st[i] || wc.Opcode != rdma.WCSend || wc.QP != e.qp {
			e.t.Errorf("send completion %d: %v, want %v", i, wc.Status, st[i])
		}
	}
}

func pattern(n, seed int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + seed)
	}
	return b
}

// With path bits packets come from, and are accepted from, another LID of the
// port's range.
func TestRCPathBits(t *testing.T) {
	n := newTestNet(t, 2)
	a, b := connect(t, n.port(0), n.port(1), rcOpts{})
	// Port A has the LIDs 4 to 7 now; the switch knows the last one too.
	p := n.hcas[0].ports[1]
	p.lid.Store(4)
	p.lmc.Store(2)
	n.set(nil, mad.AttrSwitchInfo, 0, &mad.SwitchInfo{LinearFDBTop: 7})
	lft := mad.LinearForwardingTable{}
	for k := range lft {
		lft[k] = mad.LFTNoPort
	}
	lft[1], lft[3], lft[4], lft[7] = 0, 2, 1, 1
	n.set(nil, mad.AttrLinearForwardingTable, 0, &lft)
	for i, e := range []*rcEnd{a, b} {
		q := e.qp.(*qp)
		av := q.Query().AV
		if i == 0 {
			av.SrcPathBits = 3
		} else {
			av.DLID = 7
		}
		must(t, q.Modify(rdma.QPAttr{State: rdma.QPSSQD}, rdma.QPAttrState))
		must(t, q.Modify(rdma.QPAttr{State: rdma.QPSSQD, AV: av}, rdma.QPAttrState|rdma.QPAttrAV))
		must(t, q.Modify(rdma.QPAttr{State: rdma.QPSRTS}, rdma.QPAttrState))
	}
	a.post(1, pattern(5000, 0))
	b.want(pattern(5000, 0))
	b.post(1, pattern(5000, 1))
	a.want(pattern(5000, 1))
	a.wantSends(rdma.WCSuccess)
	b.wantSends(rdma.WCSuccess)
}

func TestRCSendReceive(t *testing.T) {
	for _, grh := range []bool{false, true} {
		n := newTestNet(t, 2)
		a, b := connect(t, n.port(0), n.port(1), rcOpts{grh: grh})
		for i, size := range []int{0, 1, 2047, 2048, 2049, 4096, 65524} {
			m := pattern(size, i)
			a.post(uint64(i), m)
			b.want(m)
			a.wantSends(rdma.WCSuccess)
			b.post(uint64(i), m)
			a.want(m)
			b.wantSends(rdma.WCSuccess)
		}
	}
}
