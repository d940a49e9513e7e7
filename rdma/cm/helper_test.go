package cm

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
	"ipoib/rdma/mad/madtest"
)

const (
	testService = 0x0100000000000049
	testGUID    = 0x5eef1000000a
	peerGUID    = 0x5eef1000000b
	peerID      = 0x22222222
	peerQPN     = 0x200
	ownQPN      = 0x100
)

// bench is a CM at LID 1 with a peer made by hand at LID 2.
type bench struct {
	t     *testing.T
	net   *madtest.Network
	cm    *CM
	agent rdma.MADAgent
	conn  *Conn
	req   *Request
	tid   uint64

	mu     sync.Mutex
	mads   []mad.MAD // guarded by mu, as is all below
	events []Event
}

func inBench(t *testing.T, fn func(*bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.net.Close()
		fn(b)
		_ = b.cm.Close()
	})
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, net: madtest.New(), tid: 0x7700000001}
	var err error
	if b.cm, err = New(Config{Port: b.net.Port(1), NodeGUID: testGUID, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	b.agent, err = b.net.Port(2).RegisterAgent(rdma.MADAgentConfig{
		QP: rdma.QPNGSI, Class: uint8(mad.ClassCM), ClassVersion: 2, Methods: []uint8{uint8(mad.MethodSend)},
		Receive: func(_ rdma.MADAddr, m *[rdma.MADSize]byte) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.mads = append(b.mads, *mad.View(m))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.cm.Listen(testService, func(r *Request) { b.req, b.conn = r, r.conn }); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) handle(e Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, e)
}

// take returns the messages and events since the last call.
func (b *bench) take() (mads []mad.MAD, events []Event) {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	mads, events = b.mads, b.events
	b.mads, b.events = nil, nil
	return mads, events
}

// peer sends a message as the peer.
func (b *bench) peer(attr mad.AttrID, a mad.Attribute) {
	b.t.Helper()
	b.peerMAD(message(b.tid, attr, a))
}

func (b *bench) peerMAD(m *mad.MAD) {
	b.t.Helper()
	if err := b.agent.Send(b.net.Port(1).Addr(), m.Bytes()); err != nil {
		b.t.Fatal(err)
	}
	synctest.Wait()
}

// The times of the messages under test: an answer may take 33.6 ms, packets
// are under way for at most 1.05 ms.
const (
	testTimeout = 13
	testLife    = 8
)

func testREQ() mad.REQ {
	r := mad.REQ{
		ServiceID: testService, LocalQPN: ownQPN, RemoteCMResponseTimeout: testTimeout,
		LocalCMResponseTimeout: testTimeout, MaxCMRetries: 1, PKey: 0xffff, PathMTU: rdma.MTU2048,
	}
	r.Primary.LocalAckTimeout = testLife + 1
	copy(r.PrivateData[:], "request")
	return r
}

func peerREQ() mad.REQ {
	r := testREQ()
	r.LocalCommID, r.LocalCAGUID, r.LocalQPN = peerID, peerGUID, peerQPN
	return r
}

func (b *bench) rep() *mad.REP {
	r := &mad.REP{LocalCommID: peerID, RemoteCommID: b.conn.local, LocalCAGUID: peerGUID, LocalQPN: peerQPN}
	copy(r.PrivateData[:], "reply")
	return r
}

func (b *bench) connect() {
	b.t.Helper()
	var err error
	b.conn, err = b.cm.Connect(ConnectConfig{
		To: b.net.Port(2).Addr(), REQ: testREQ(), PacketLifeTime: testLife, Notice: []byte("notice"),
	}, b.handle)
	if err != nil {
		b.t.Fatal(err)
	}
	synctest.Wait()
}

func (b *bench) accept() error {
	rep := mad.REP{LocalQPN: ownQPN}
	copy(rep.PrivateData[:], "reply")
	r := b.req
	if r == nil {
		r = &Request{conn: b.conn} // which no API gives out
	}
	_, err := r.Accept(AcceptConfig{REP: rep, Notice: []byte("notice")}, b.handle)
	synctest.Wait()
	return err
}

// reach brings the connection into a state; side is "active" or "passive".
func (b *bench) reach(side string, st State) {
	b.t.Helper()
	must := func(err error) {
		b.t.Helper()
		if err != nil {
			b.t.Fatal(err)
		}
		synctest.Wait()
	}
	if side == "active" {
		b.connect()
		steps := []struct {
			st State
			do func()
		}{
			{MRAReqRcvd, func() { b.stimulate("MRA of REQ") }},
			{RepRcvd, func() { b.peer(mad.AttrREP, b.rep()) }},
			{MRARepSent, func() { must(b.conn.Delay(testTimeout, nil)) }},
			{Established, func() { must(b.conn.Confirm([]byte("ready"))) }},
			{DreqSent, func() { must(b.conn.Disconnect(nil)) }},
			{Timewait, func() { b.stimulate("DREP") }},
		}
		for _, s := range steps {
			// The states of the MRAs are detours.
			if s.st == st || s.st < st && s.st != MRAReqRcvd && s.st != MRARepSent {
				s.do()
			}
		}
	} else {
		r := peerREQ()
		b.peer(mad.AttrREQ, &r)
		steps := []struct {
			st State
			do func()
		}{
			{MRAReqSent, func() { must(b.req.Delay(testTimeout, nil)) }},
			{RepSent, func() { must(b.accept()) }},
			{MRARepRcvd, func() { b.stimulate("MRA of REP") }},
			{Established, func() { b.stimulate("RTU") }},
			{DreqSent, func() { must(b.conn.Disconnect(nil)) }},
			{Timewait, func() { b.stimulate("DREP") }},
		}
		for _, s := range steps {
			if s.st == st || s.st < st && s.st != MRAReqSent && s.st != MRARepRcvd {
				s.do()
			}
		}
	}
	if got := b.conn.State(); got != st {
		b.t.Fatalf("%s side in %v, not %v", side, got, st)
	}
	b.take()
}

// stimuli are all that can happen to a connection.
var stimuli = []string{
	"REQ", "MRA of REQ", "MRA of REP", "REP", "RTU", "REJ of REQ", "REJ of REP", "DREQ", "DREP",
	"data", "time", "more time", "accept", "confirm", "delay", "reject", "disconnect", "close",
}

func (b *bench) stimulate(s string) {
	k := b.conn
	local, remote := uint32(peerID), k.local // of the peer's messages
	switch s {
	case "REQ":
		r := peerREQ()
		b.peer(mad.AttrREQ, &r)
	case "MRA of REQ":
		b.peer(mad.AttrMRA, &mad.MRA{LocalCommID: local, RemoteCommID: remote, Message: mad.CMMessageREQ, ServiceTimeout: testTimeout + 2})
	case "MRA of REP":
		b.peer(mad.AttrMRA, &mad.MRA{LocalCommID: local, RemoteCommID: remote, Message: mad.CMMessageREP, ServiceTimeout: testTimeout + 2})
	case "REP":
		b.peer(mad.AttrREP, b.rep())
	case "RTU":
		v := &mad.RTU{LocalCommID: local, RemoteCommID: remote}
		copy(v.PrivateData[:], "ready")
		b.peer(mad.AttrRTU, v)
	case "REJ of REQ":
		b.peer(mad.AttrREJ, &mad.REJ{RemoteCommID: remote, Message: mad.CMMessageREQ, Reason: mad.RejectNoQP})
	case "REJ of REP":
		b.peer(mad.AttrREJ, &mad.REJ{LocalCommID: local, RemoteCommID: remote, Message: mad.CMMessageREP, Reason: mad.RejectNoQP})
	case "DREQ":
		b.peer(mad.AttrDREQ, &mad.DREQ{LocalCommID: local, RemoteCommID: remote, RemoteQPN: ownQPN})
	case "DREP":
		b.peer(mad.AttrDREP, &mad.DREP{LocalCommID: local, RemoteCommID: remote})
	case "data":
		k.Established()
	case "time":
		// Longer than an answer may take, not as long as an MRA asks for.
		time.Sleep(50 * time.Millisecond)
	case "more time":
		time.Sleep(time.Second)
	case "accept":
		_ = b.accept()
	case "confirm":
		_ = k.Confirm(nil)
	case "delay":
		_ = k.Delay(testTimeout, nil)
	case "reject":
		_ = k.Reject(mad.RejectNoResources, nil)
	case "disconnect":
		_ = k.Disconnect(nil)
	case "close":
		k.Close()
	}
}

// describe says what was sent and told, shortly.
func describe(mads []mad.MAD, events []Event) string {
	var out []string
	for k := range mads {
		m := &mads[k]
		s := shortNames[m.AttrID()]
		if m.AttrID() == mad.AttrREJ {
			var v mad.REJ
			_ = m.Attr(&v)
			s += fmt.Sprint(" ", uint16(v.Reason))
		}
		out = append(out, s)
	}
	for _, e := range events {
		out = append(out, e.Type.String())
	}
	return strings.Join(out, ", ")
}

var shortNames = map[mad.AttrID]string{
	mad.AttrREQ: "REQ", mad.AttrMRA: "MRA", mad.AttrREJ: "REJ", mad.AttrREP: "REP",
	mad.AttrRTU: "RTU", mad.AttrDREQ: "DREQ", mad.AttrDREP: "DREP",
}
