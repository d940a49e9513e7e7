package sa

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jonboulle/clockwork"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

var query = PathQuery{DGID: gidB, SGID: gidA, PKey: 0xffff}

func TestPathRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newFake(t)
		s.answer(grant())
		rec, err := c.Path(t.Context(), query)
		if err != nil || rec.DLID != 9 {
			t.Fatalf("%+v, %v", rec, err)
		}
		m := s.requests()[0]
		var got mad.PathRecord
		if err := m.Attr(&got); err != nil {
			t.Fatal(err)
		}
		// The mask of the kernel's IPoIB (kernel ipoib_main.c path_rec_start).
		if m.ComponentMask() != 0x340c || m.Method() != mad.MethodGet || m.AttrID() != mad.AttrPathRecord || m.SMKey() != 0 {
			t.Errorf("request %v mask %#x", m, m.ComponentMask())
		}
		if got != (mad.PathRecord{DGID: gidB, SGID: gidA, PKey: 0xffff, NumbPath: 1}) {
			t.Errorf("record %+v", got)
		}
		q := query
		q.Reversible = true
		if _, err := c.Path(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		if m := s.requests()[0]; m.ComponentMask() != 0x3c0c {
			t.Errorf("mask %#x", m.ComponentMask())
		}
	})
}

// TestErrno: the errors are those that the kernel gives (kernel-ipoib 7.3).
func TestErrno(t *testing.T) {
	for _, tt := range []struct {
		name   string
		script func(*mad.MAD) *mad.MAD
		setup  func(c *Client, s *fakeSA)
		cancel time.Duration
		errno  syscall.Errno
		after  time.Duration
	}{
		{name: "silence", errno: syscall.ETIMEDOUT, after: time.Second},
		{name: "status", script: refuse(mad.SAStatusNoRecords), errno: syscall.EINVAL},
		{name: "busy", script: refuse(mad.StatusBusy), errno: syscall.EINVAL},
		{name: "no subnet manager", setup: func(_ *Client, s *fakeSA) {
			s.port.set(func(a *rdma.PortAttr) { a.SMLID = 0 })
		}, errno: syscall.EAGAIN},
		{name: "send error", setup: func(c *Client, _ *fakeSA) {
			c.mads.Agent().(interface{ SetSendError(error) }).SetSendError(rdma.ErrState)
		}, errno: syscall.EIO},
		{name: "cancelled", cancel: 50 * time.Millisecond, errno: syscall.EINTR, after: 50 * time.Millisecond},
		{name: "closed", setup: func(c *Client, _ *fakeSA) { _ = c.Close() }, errno: syscall.EINTR},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, s := newFake(t)
				s.answer(tt.script)
				if tt.setup != nil {
					tt.setup(c, s)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.cancel != 0 {
					time.AfterFunc(tt.cancel, cancel)
				}
				begin := time.Now()
				_, err := c.Path(ctx, query)
				var e *Error
				if !errors.As(err, &e) || e.Errno() != tt.errno || !errors.Is(err, tt.errno) {
					t.Errorf("%v, want errno %d", err, tt.errno)
				}
				if took := time.Since(begin); took != tt.after {
					t.Errorf("took %v, not %v", took, tt.after)
				}
			})
		})
	}
}

// TestTimes: a path query is sent ten times in 1000 ms, a join in 3000 ms,
// under one transaction ID.
func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newFake(t)
		_, _ = c.Path(t.Context(), query)
		check := func(attr mad.AttrID) {
			t.Helper()
			l := s.requests()
			for _, m := range l {
				if m.TID() != l[0].TID() || m.AttrID() != attr {
					t.Errorf("%v after %v", m, l[0])
				}
			}
			if len(l) != 10 {
				t.Errorf("sent %d times", len(l))
			}
		}
		check(mad.AttrPathRecord)
		begin := time.Now()
		_, _, err := c.Multicast().JoinAndWait(t.Context(), mad.MCMemberRecord{MGID: mgidA, JoinState: 1}, mad.MCRJoin, nil)
		if !errors.Is(err, syscall.ETIMEDOUT) || time.Since(begin) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		check(mad.AttrMCMemberRecord)
	})
}

// TestBadAnswers: what is not the answer does not count.
func TestBadAnswers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(m *mad.MAD)
	}{
		{"wrong transaction ID", func(m *mad.MAD) { m.SetTID(m.TID() + 1) }},
		{"wrong attribute", func(m *mad.MAD) { m.SetAttrID(mad.AttrNodeRecord) }},
		{"wrong method", func(m *mad.MAD) { m.SetMethod(mad.MethodDeleteResp) }},
		{"wrong class", func(m *mad.MAD) { m.SetClass(mad.ClassPerf) }},
		{"garbage", func(m *mad.MAD) {
			for i := 20; i < len(m); i++ {
				m[i] = byte(i * 7)
			}
			m.SetAttrID(0x7777)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, s := newFake(t)
				good := grant()
				s.answer(func(m *mad.MAD) *mad.MAD {
					m = good(m)
					tt.change(m)
					return m
				})
				if _, err := c.Path(t.Context(), query); !errors.Is(err, syscall.ETIMEDOUT) {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

// TestLateAnswer: an answer to the first try that comes during a later one
// counts, a second answer does not.
func TestLateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newFake(t)
		s.answer(grant())
		s.net.SetFilter(func(p packet) []time.Duration {
			if p.To == ownLID {
				return []time.Duration{250 * time.Millisecond, 260 * time.Millisecond}
			}
			return deliver
		})
		calls := 0
		c.StartPath(query, func(rec *mad.PathRecord, err error) {
			calls++
			if err != nil || rec.DLID != 9 {
				t.Errorf("%+v, %v", rec, err)
			}
		})
		pass(time.Minute)
		if calls != 1 {
			t.Errorf("%d calls", calls)
		}
	})
}

// TestManagerMoves: each request goes to the manager that the port knows then.
func TestManagerMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newFake(t)
		s.answer(grant())
		if _, err := c.Path(t.Context(), query); err != nil {
			t.Fatal(err)
		}
		var to []rdma.LID
		s.net.SetFilter(func(p packet) []time.Duration {
			to = append(to, p.To)
			return deliver
		})
		s.port.set(func(a *rdma.PortAttr) { a.SMLID = 7 })
		if _, err := c.Path(t.Context(), query); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("manager is not at LID 7: %v", err)
		}
		pass(0)
		for _, l := range to {
			if l != 7 {
				t.Errorf("sent to %v", l)
			}
		}
	})
}

// TestCancelledCallback: once cancel has returned nothing is called, neither
// when the answer comes nor when a timer cannot be stopped any more.
func TestCancelledCallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		called := func(*mad.PathRecord, error) { t.Error("called") }
		c, s := newFake(t)
		s.answer(grant())
		s.net.SetFilter(func(packet) []time.Duration { return []time.Duration{time.Millisecond} })
		c.StartPath(query, called)()
		pass(time.Minute)
		if n := len(s.requests()); n != 1 {
			t.Errorf("%d requests", n)
		}
		// Without a manager the error comes by a timer.
		s.port.set(func(a *rdma.PortAttr) { a.SMLID = 0 })
		c.clock = lateClock{c.clock}
		c.StartPath(query, called)()
		pass(time.Minute)
		failed := 0
		c.StartPath(query, func(_ *mad.PathRecord, err error) {
			failed++
			if !errors.Is(err, ErrNoManager) {
				t.Errorf("%v", err)
			}
		})
		pass(time.Minute)
		if failed != 1 {
			t.Errorf("called %d times", failed)
		}
	})
}

// lateClock is a clock whose timers run a moment later than asked for, and
// cannot be stopped: what they do comes after what the test does next.
type lateClock struct{ clockwork.Clock }

func (c lateClock) AfterFunc(d time.Duration, fn func()) clockwork.Timer {
	return lateTimer{c.Clock.AfterFunc(d+time.Millisecond, fn)}
}

type lateTimer struct{ clockwork.Timer }

func (lateTimer) Stop() bool { return false }

func TestClassPortInfo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newFake(t)
		s.answer(func(m *mad.MAD) *mad.MAD {
			m.Respond(0)
			m.SetRecord(&mad.ClassPortInfo{CapMask2: mad.SACap2SendOnlyFullMember})
			return m
		})
		info, err := c.ClassPortInfo(t.Context())
		if err != nil || info.CapMask2&mad.SACap2SendOnlyFullMember == 0 {
			t.Errorf("%+v, %v", info, err)
		}
		s.answer(refuse(mad.StatusMethodAttrUnsupported))
		if _, err := c.ClassPortInfo(t.Context()); !errors.Is(err, mad.ErrUnsupported) {
			t.Errorf("%v", err)
		}
	})
}
