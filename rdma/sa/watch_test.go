package sa

import (
	"slices"
	"sync"
	"testing"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// report sends a report of a group trap to the client.
func (s *fakeSA) report(tid uint64, trap mad.TrapNumber, mgid rdma.GID) {
	m := mad.New(mad.ClassSA, mad.MethodReport, mad.AttrNotice)
	m.SetTID(tid)
	n := mad.NewTrap(trap, mad.ProducerClassManager, saLID, &mad.DetailsGID{GID: mgid})
	m.SetNotice(n)
	s.sendTo(m)
}

func (s *fakeSA) sendTo(m *mad.MAD) {
	if err := s.agent.Send(rdma.MADAddr{LID: ownLID, QPN: 1, QKey: rdma.QKeyGSI}, m.Bytes()); err != nil {
		s.t.Error(err)
	}
}

// watcher collects group events.
type watcher struct {
	mu  sync.Mutex
	got []GroupEvent
}

func (w *watcher) event(e GroupEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.got = append(w.got, e)
}

func (w *watcher) events() []GroupEvent {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.got
	w.got = nil
	return l
}

// Test4391_S10_7_SubscribesToGroupTraps: traps 66 and 67, from all sources.
func Test4391_S10_7_SubscribesToGroupTraps(t *testing.T) {
	inFake(t, func(t *testing.T, c *Client, s *fakeSA) {
		w := new(watcher)
		cancel := c.WatchGroups(w.event)
		pass(time.Second)
		if !c.Subscribed() {
			t.Error("not subscribed")
		}
		var traps []mad.TrapNumber
		for _, m := range s.requests() {
			var i mad.InformInfo
			if err := m.Attr(&i); err != nil || m.Method() != mad.MethodSet || m.AttrID() != mad.AttrInformInfo {
				t.Errorf("%v %v", m, err)
			}
			traps = append(traps, i.TrapNumber)
			want := mad.InformInfo{
				LIDRangeBegin: 0xffff, IsGeneric: true, Subscribe: true, Type: 0xffff, TrapNumber: i.TrapNumber,
				QPN: 1, RespTimeValue: 19, ProducerType: 0xffffff,
			}
			if i != want {
				t.Errorf("%+v", i)
			}
		}
		if slices.Sort(traps); !slices.Equal(traps, []mad.TrapNumber{66, 67}) {
			t.Errorf("traps %v", traps)
		}
		cancel()
		pass(time.Second)
		for _, m := range s.requests() {
			var i mad.InformInfo
			if err := m.Attr(&i); err != nil || i.Subscribe {
				t.Errorf("%+v %v", i, err)
			}
		}
		if c.Subscribed() {
			t.Error("still subscribed")
		}
	})
}

// TestReports: each report is answered every time and delivered once.
func TestReports(t *testing.T) {
	inFake(t, func(t *testing.T, c *Client, s *fakeSA) {
		w := new(watcher)
		defer c.WatchGroups(w.event)()
		pass(time.Second)
		s.requests()
		s.report(11, mad.TrapMCGroupCreated, mgidA)
		s.report(11, mad.TrapMCGroupCreated, mgidA) // the answer got lost
		s.report(12, mad.TrapMCGroupDeleted, mgidA)
		pass(time.Second)
		want := []GroupEvent{{mgidA, true}, {mgidA, false}}
		if got := w.events(); !slices.Equal(got, want) {
			t.Errorf("%v", got)
		}
		l := s.requests()
		if len(l) != 3 {
			t.Fatalf("%d answers", len(l))
		}
		for i, m := range l {
			if m.Method() != mad.MethodReportResp || uint32(m.TID()) != []uint32{11, 11, 12}[i] || m.Status() != 0 {
				t.Errorf("%v", m)
			}
			n, err := m.Notice()
			if d, _ := n.ParseDetails(); err != nil || d.(*mad.DetailsGID).GID != mgidA {
				t.Errorf("answer does not carry the notice: %v", err)
			}
		}
		// The same number much later is another report.
		pass(2 * time.Minute)
		s.report(11, mad.TrapMCGroupCreated, mgidB)
		pass(time.Second)
		if got := w.events(); !slices.Equal(got, []GroupEvent{{mgidB, true}}) {
			t.Errorf("%v", got)
		}
	})
}

// TestForeignReports: what does not come from the SA, or is no report, is
// dropped.
func TestForeignReports(t *testing.T) {
	inFake(t, func(t *testing.T, c *Client, s *fakeSA) {
		w := new(watcher)
		defer c.WatchGroups(w.event)()
		pass(time.Second)
		s.port.set(func(a *rdma.PortAttr) { a.SMLID = 77 })
		s.report(1, mad.TrapMCGroupCreated, mgidA)
		pass(time.Second)
		s.port.set(func(a *rdma.PortAttr) { a.SMLID = saLID })
		m := mad.New(mad.ClassSA, mad.MethodReport, mad.AttrMCMemberRecord)
		s.sendTo(m)
		s.report(2, mad.TrapGIDInService, gidA) // another trap
		pass(time.Second)
		if got := w.events(); len(got) != 0 {
			t.Errorf("%v", got)
		}
		c.reports.mu.Lock()
		defer c.reports.mu.Unlock()
		if c.reports.dropped != 2 {
			t.Errorf("%d dropped", c.reports.dropped)
		}
	})
}

// TestResubscribes: after events, after failures, and now and then.
func TestResubscribes(t *testing.T) {
	inFake(t, func(t *testing.T, c *Client, s *fakeSA) {
		s.answer(nil)
		defer c.WatchGroups(func(GroupEvent) {})()
		pass(10 * time.Second)
		if c.Subscribed() {
			t.Error("subscribed to a silent SA")
		}
		s.answer(grant())
		pass(20 * time.Second)
		if !c.Subscribed() {
			t.Error("not subscribed after the SA came back")
		}
		for _, e := range []rdma.EventType{rdma.EventPortActive, rdma.EventClientReregister, rdma.EventSMChange, rdma.EventLIDChange} {
			s.requests()
			s.port.raise(e)
			pass(time.Second)
			if l := s.requests(); len(l) != 2 {
				t.Errorf("%v: %d requests", e, len(l))
			}
		}
		s.requests()
		pass(subscribeRenewal + time.Second)
		if l := s.requests(); len(l) != 2 || !c.Subscribed() {
			t.Errorf("renewal: %d requests", len(l))
		}
	})
}

func TestSubscribe(t *testing.T) {
	inFake(t, func(t *testing.T, c *Client, s *fakeSA) {
		if err := c.Subscribe(t.Context(), mad.TrapGIDInService); err != nil {
			t.Error(err)
		}
		if err := c.Unsubscribe(t.Context(), mad.TrapGIDInService); err != nil {
			t.Error(err)
		}
		s.answer(refuse(mad.SAStatusReqDenied))
		if err := c.Subscribe(t.Context(), mad.TrapBadPKey); err == nil {
			t.Error("no error")
		}
	})
}

// TestEventsWithoutManager: events meet requests that fail at once, because
// there is no manager; neither waits for the other.
func TestEventsWithoutManager(t *testing.T) {
	inFake(t, func(t *testing.T, c *Client, s *fakeSA) {
		s.port.set(func(a *rdma.PortAttr) { a.SMLID = 0 })
		defer c.WatchGroups(func(GroupEvent) {})()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 500 {
					s.port.raise(rdma.EventPortActive)
				}
			})
		}
		wg.Wait()
		s.port.set(func(a *rdma.PortAttr) { a.SMLID = saLID })
		pass(time.Minute)
		if !c.Subscribed() {
			t.Error("not subscribed")
		}
	})
}
