package sa

import (
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
	"ipoib/rdma/mad/madtest"
)

func testLog(tb testing.TB) *slog.Logger {
	if !testing.Verbose() {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type packet = madtest.Packet

var deliver = madtest.Deliver

const (
	ownLID = 5
	saLID  = 1
)

var (
	mgidA = rdma.MustParseGID("ff12:401b:ffff::1")
	mgidB = rdma.MustParseGID("ff12:601b:ffff::2")
	gidA  = rdma.MustParseGID("fe80::2:c903:a0:b0c1")
	gidB  = rdma.MustParseGID("fe80::2:c903:a0:b0c2")
)

// fakePort is a port on a madtest network. What the client does not use is
// not there.
type fakePort struct {
	rdma.Port
	net   *madtest.Port
	mu    sync.Mutex
	attr  rdma.PortAttr
	pkeys []rdma.PKey
	subs  []func(rdma.AsyncEvent)
}

func (p *fakePort) RegisterAgent(cfg rdma.MADAgentConfig) (rdma.MADAgent, error) {
	return p.net.RegisterAgent(cfg)
}
func (p *fakePort) Device() rdma.Device { return fakeDevice{port: p} }
func (p *fakePort) Num() int            { return 1 }

func (p *fakePort) Attr() rdma.PortAttr {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.attr
}

func (p *fakePort) FindPKey(k rdma.PKey) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, e := range p.pkeys {
		if e.Base() == k.Base() {
			return i, nil
		}
	}
	return 0, rdma.ErrNotFound
}

func (p *fakePort) set(f func(a *rdma.PortAttr)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.attr)
}

// raise delivers an event.
func (p *fakePort) raise(t rdma.EventType) {
	p.mu.Lock()
	subs := p.subs
	p.mu.Unlock()
	for _, fn := range subs {
		fn(rdma.AsyncEvent{Type: t, Port: 1})
		fn(rdma.AsyncEvent{Type: t, Port: 2}) // another port's
	}
}

type fakeDevice struct {
	rdma.Device
	port *fakePort
}

func (d fakeDevice) SubscribeEvents(fn func(rdma.AsyncEvent)) func() {
	d.port.mu.Lock()
	defer d.port.mu.Unlock()
	d.port.subs = append(d.port.subs, fn)
	return func() {}
}

// fakeSA is an SA whose answers a test scripts.
type fakeSA struct {
	t     *testing.T
	net   *madtest.Network
	agent rdma.MADAgent
	port  *fakePort

	mu     sync.Mutex
	log    []*mad.MAD
	script func(m *mad.MAD) *mad.MAD // nil is silence
}

// newFake returns a client and the SA that it talks to.
func newFake(t *testing.T) (*Client, *fakeSA) {
	t.Helper()
	s := &fakeSA{t: t, net: madtest.New()}
	t.Cleanup(s.net.Close)
	s.port = &fakePort{net: s.net.Port(ownLID), pkeys: []rdma.PKey{0xffff, 0x8001}}
	s.port.attr = rdma.PortAttr{State: rdma.PortActive, LID: ownLID, SMLID: saLID}
	s.agent = s.listen(saLID)
	c, err := New(s.port, Config{Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, s
}

func (s *fakeSA) listen(lid rdma.LID) rdma.MADAgent {
	s.t.Helper()
	agent, err := s.net.Port(lid).RegisterAgent(rdma.MADAgentConfig{
		QP: rdma.QPNGSI, Class: uint8(mad.ClassSA), ClassVersion: mad.SAClassVersion,
		Methods: []uint8{uint8(mad.MethodGet), uint8(mad.MethodSet), uint8(mad.MethodDelete), uint8(mad.MethodGetTable)},
		Receive: s.receive,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return agent
}

func (s *fakeSA) receive(from rdma.MADAddr, b *[rdma.MADSize]byte) {
	m := *mad.View(b)
	s.mu.Lock()
	s.log = append(s.log, &m)
	script := s.script
	s.mu.Unlock()
	if m.IsResponse() || script == nil {
		return
	}
	req := m
	if resp := script(&req); resp != nil {
		// At the end of a test the network is gone first.
		if err := s.agent.Send(from, resp.Bytes()); err != nil && !errors.Is(err, rdma.ErrClosed) {
			s.t.Error(err)
		}
	}
}

// answer scripts the SA.
func (s *fakeSA) answer(f func(m *mad.MAD) *mad.MAD) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = f
}

// requests returns what was asked since the last call.
func (s *fakeSA) requests() []*mad.MAD {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.log
	s.log = nil
	return l
}

// refuse answers with a status.
func refuse(status mad.Status) func(*mad.MAD) *mad.MAD {
	return func(m *mad.MAD) *mad.MAD {
		m.Respond(status)
		return m
	}
}

// grant answers like an SA that agrees with everything: paths, joins, leaves
// and subscriptions. It keeps the join states.
func grant() func(*mad.MAD) *mad.MAD {
	states := make(map[rdma.GID]mad.JoinState)
	return func(m *mad.MAD) *mad.MAD {
		method, attr := m.Method(), m.AttrID()
		var rec mad.MCMemberRecord
		var path mad.PathRecord
		m2 := *m
		m.Respond(mad.StatusOK)
		switch attr {
		case mad.AttrMCMemberRecord:
			if err := m2.Attr(&rec); err != nil {
				return nil
			}
			if method == mad.MethodDelete {
				states[rec.MGID] &^= rec.JoinState
			} else {
				if rec.MGID.IsZero() {
					rec.MGID = rdma.MustParseGID("ff12:a01b:fe80::1")
				}
				states[rec.MGID] |= rec.JoinState
			}
			rec.JoinState = states[rec.MGID]
			rec.MLID, rec.QKey, rec.PKey, rec.MTU, rec.Rate = 0xc001, 0x0b1b, 0xffff, rdma.MTU2048, rdma.Rate10
			m.SetRecord(&rec)
		case mad.AttrPathRecord:
			if err := m2.Attr(&path); err != nil {
				return nil
			}
			path.DLID, path.SLID, path.MTU, path.Rate = 9, ownLID, rdma.MTU2048, rdma.Rate10
			m.SetRecord(&path)
		}
		return m
	}
}

// pass lets time pass and what it brings be done.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
