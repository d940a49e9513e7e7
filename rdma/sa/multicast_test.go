package sa

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// user is a local user of a group: it notes what its callback gets.
type user struct {
	m   *Membership
	mu  sync.Mutex
	log []string
}

func (u *user) events() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	l := u.log
	u.log = nil
	return l
}

func (u *user) callback(rec *mad.MCMemberRecord, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	var e *Error
	switch {
	case err == nil:
		u.log = append(u.log, fmt.Sprintf("joined %d %v", rec.JoinState, rec.MLID))
	case errors.As(err, &e):
		u.log = append(u.log, fmt.Sprintf("errno %d", e.Errno()))
	default:
		u.log = append(u.log, err.Error())
	}
}

// fullRec is what IPoIB joins a group with.
func fullRec(mgid rdma.GID, state mad.JoinState) mad.MCMemberRecord {
	return mad.MCMemberRecord{
		MGID: mgid, PortGID: gidA, QKey: 0x0b1b, PKey: 0xffff, MTUSelector: 2, MTU: rdma.MTU2048,
		RateSelector: 2, Rate: rdma.Rate10, JoinState: state,
	}
}

func join(c *Client, rec mad.MCMemberRecord) *user {
	u := &user{}
	u.m = c.Multicast().Join(rec, mad.MCRJoinCreate, u.callback)
	return u
}

// asked summarizes what the SA was asked.
func asked(s *fakeSA) []string {
	var out []string
	for _, m := range s.requests() {
		var rec mad.MCMemberRecord
		if err := m.Attr(&rec); err != nil {
			out = append(out, err.Error())
			continue
		}
		out = append(out, fmt.Sprintf("%v %d %#x", m.Method(), rec.JoinState, uint64(m.ComponentMask())))
	}
	return out
}

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func inFake(t *testing.T, f func(t *testing.T, c *Client, s *fakeSA)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c, s := newFake(t)
		s.answer(grant())
		f(t, c, s)
	})
}

// TestSharedMembership: the first user joins, later ones are answered locally,
// the last one leaves.
func TestSharedMembership(t *testing.T) {
	inFake(t, func(t *testing.T, c *Client, s *fakeSA) {
		a := join(c, fullRec(mgidA, 1))
		b := join(c, fullRec(mgidA, 1))
		pass(time.Second)
		expect(t, "first", a.events(), "joined 1 0xc001")
		expect(t, "second", b.events(), "joined 1 0xc001")
		expect(t, "asked", asked(s), "Set 1 0x173f7")
		if rec, ok := c.Multicast().Lookup(mgidA); !ok || rec.MLID != 0xc001 {
			t.Errorf("lookup: %v %v", rec, ok)
		}
		a.m.Leave()
		a.m.Leave() // once only
		pass(time.Second)
		expect(t, "asked", asked(s))
		b.m.Leave()
		pass(time.Second)
		expect(t, "asked", asked(s), "Delete 1 0x10003")
		if _, ok := c.Multicast().Lookup(mgidA); ok {
			t.Error("still a member")
		}
		expect(t, "after leave", append(a.events(), b.events()...))
	})
}

// TestJoinStates: each join state is joined and left for itself.
func TestJoinStates(t *testing.T) {
	inFake(t, func(t *testing.T, c *Client, s *fakeSA) {
		a := join(c, fullRec(mgidA, mad.JoinFullMember))
		b := join(c, fullRec(mgidA, mad.JoinSendOnlyNonMember))
		d := join(c, fullRec(mgidA, mad.JoinFullMember|mad.JoinSendOnlyNonMember))
		pass(time.Second)
		expect(t, "asked", asked(s), "Set 1 0x173f7", "Set 4 0x173f7")
		expect(t, "both", d.events(), "joined 5 0xc001")
		a.m.Leave()
		b.m.Leave()
		pass(time.Second)
		expect(t, "asked", asked(s))
		d.m.Leave()
		pass(time.Second)
		expect(t, "asked", asked(s), "Delete 5 0x10003")
	})
}

// TestContradiction: a join that contradicts the membership fails locally.
func TestContradiction(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(r *mad.MCMemberRecord)
		ok   bool
	}{
		{"same", func(*mad.MCMemberRecord) {}, true},
		{"Q_Key", func(r *mad.MCMemberRecord) { r.QKey = 1 }, false},
		{"P_Key", func(r *mad.MCMemberRecord) { r.PKey = 0x8001 }, false},
		{"PortGID", func(r *mad.MCMemberRecord) { r.PortGID = gidB }, false},
		{"TClass", func(r *mad.MCMemberRecord) { r.TClass = 1 }, false},
		{"SL", func(r *mad.MCMemberRecord) { r.SL = 1 }, false},
		{"flow label", func(r *mad.MCMemberRecord) { r.FlowLabel = 1 }, false},
		{"hop limit", func(r *mad.MCMemberRecord) { r.HopLimit = 1 }, false},
		{"MTU", func(r *mad.MCMemberRecord) { r.MTU = rdma.MTU1024 }, false},
		{"MTU greater", func(r *mad.MCMemberRecord) { r.MTUSelector, r.MTU = 0, rdma.MTU1024 }, true},
		{"rate", func(r *mad.MCMemberRecord) { r.Rate = rdma.Rate20 }, false},
		{"rate less", func(r *mad.MCMemberRecord) { r.RateSelector, r.Rate = 1, rdma.Rate20 }, true},
		{"rate best", func(r *mad.MCMemberRecord) { r.RateSelector, r.Rate = 3, rdma.Rate20 }, true},
		{"MLID is not in the mask", func(r *mad.MCMemberRecord) { r.MLID = 0xc777 }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inFake(t, func(t *testing.T, c *Client, s *fakeSA) {
				join(c, fullRec(mgidA, 1))
				pass(time.Second)
				s.requests()
				r := fullRec(mgidA, 1)
				tt.set(&r)
				u := join(c, r)
				pass(time.Second)
				expect(t, "asked", asked(s))
				want := fmt.Sprintf("errno %d", syscall.EINVAL)
				if tt.ok {
					want = "joined 1 0xc001"
				}
				expect(t, "second user", u.events(), want)
			})
		})
	}
}

// TestPortEvents: events end memberships with ENETRESET, and users join anew.
func TestPortEvents(t *testing.T) {
	reset := fmt.Sprintf("errno %d", syscall.ENETRESET)
	for _, tt := range []struct {
		event rdma.EventType
		setup func(p *fakePort)
		reset bool
	}{
		{event: rdma.EventPortErr, reset: true},
		{event: rdma.EventLIDChange, reset: true},
		{event: rdma.EventSMChange, reset: true},
		{event: rdma.EventClientReregister, reset: true},
		{event: rdma.EventPortActive},
		{event: rdma.EventGIDChange},
		{event: rdma.EventPKeyChange},
		{event: rdma.EventPKeyChange, setup: func(p *fakePort) { p.pkeys = []rdma.PKey{0x8001, 0xffff} }, reset: true},
		{event: rdma.EventPKeyChange, setup: func(p *fakePort) { p.pkeys = []rdma.PKey{0x8001} }, reset: true},
	} {
		t.Run(tt.event.String(), func(t *testing.T) {
			inFake(t, func(t *testing.T, c *Client, s *fakeSA) {
				a, b := join(c, fullRec(mgidA, 1)), join(c, fullRec(mgidA, 1))
				pass(time.Second)
				s.requests()
				a.events()
				b.events()
				if tt.setup != nil {
					s.port.mu.Lock()
					tt.setup(s.port)
					s.port.mu.Unlock()
				}
				s.port.raise(tt.event)
				pass(time.Second)
				if !tt.reset {
					expect(t, "a", append(a.events(), b.events()...))
					return
				}
				expect(t, "a", a.events(), reset)
				expect(t, "b", b.events(), reset)
				if _, ok := c.Multicast().Lookup(mgidA); ok {
					t.Error("still a member")
				}
				a.m.Leave() // over already
				again := join(c, fullRec(mgidA, 1))
				pass(time.Second)
				expect(t, "rejoin", again.events(), "joined 1 0xc001")
				expect(t, "asked", asked(s), "Set 1 0x173f7")
			})
		})
	}
}

// TestEventDuringJoin: a join whose answer comes after a reset is made anew.
func TestEventDuringJoin(t *testing.T) {
	inFake(t, func(t *testing.T, c *Client, s *fakeSA) {
		s.net.SetFilter(func(p packet) []time.Duration {
			return []time.Duration{50 * time.Millisecond}
		})
		u := join(c, fullRec(mgidA, 1))
		pass(70 * time.Millisecond)
		s.port.raise(rdma.EventClientReregister)
		pass(time.Second)
		expect(t, "asked", asked(s), "Set 1 0x173f7", "Set 1 0x173f7")
		expect(t, "user", u.events(), "joined 1 0xc001")
	})
}

// TestRejoinFromCallback: a user may join from its callback.
func TestRejoinFromCallback(t *testing.T) {
	inFake(t, func(t *testing.T, c *Client, s *fakeSA) {
		u := &user{}
		var rejoin func(rec *mad.MCMemberRecord, err error)
		rejoin = func(rec *mad.MCMemberRecord, err error) {
			u.callback(rec, err)
			if errors.Is(err, ErrReset) {
				c.Multicast().Join(fullRec(mgidA, 1), mad.MCRJoinCreate, rejoin)
			}
		}
		c.Multicast().Join(fullRec(mgidA, 1), mad.MCRJoinCreate, rejoin)
		pass(time.Second)
		s.port.raise(rdma.EventLIDChange)
		s.port.raise(rdma.EventClientReregister)
		pass(time.Second)
		got := u.events()
		if len(got) < 3 || got[len(got)-1] != "joined 1 0xc001" {
			t.Errorf("%q", got)
		}
	})
}

// TestLeaveDuringJoin: a user that goes while the join is under way is not
// called, and the membership is left.
func TestLeaveDuringJoin(t *testing.T) {
	inFake(t, func(t *testing.T, c *Client, s *fakeSA) {
		s.net.SetFilter(func(packet) []time.Duration { return []time.Duration{50 * time.Millisecond} })
		u := join(c, fullRec(mgidA, 1))
		pass(70 * time.Millisecond)
		u.m.Leave()
		pass(time.Second)
		expect(t, "user", u.events())
		expect(t, "asked", asked(s), "Set 1 0x173f7", "Delete 1 0x10003")
	})
}

// TestFailedJoin: a refusal ends one join, the next user asks again.
func TestFailedJoin(t *testing.T) {
	inFake(t, func(t *testing.T, c *Client, s *fakeSA) {
		s.answer(refuse(mad.SAStatusReqInvalid))
		a, b := join(c, fullRec(mgidA, 1)), join(c, fullRec(mgidA, 1))
		pass(time.Second)
		expect(t, "a", a.events(), "errno 22")
		expect(t, "b", b.events(), "errno 22")
		expect(t, "asked", asked(s), "Set 1 0x173f7", "Set 1 0x173f7")
		s.answer(grant())
		d := join(c, fullRec(mgidA, 1))
		pass(time.Second)
		expect(t, "later", d.events(), "joined 1 0xc001")
	})
}

// TestLeaveRetries: a leave that fails is sent three times more.
func TestLeaveRetries(t *testing.T) {
	inFake(t, func(t *testing.T, c *Client, s *fakeSA) {
		u := join(c, fullRec(mgidA, 1))
		pass(time.Second)
		s.requests()
		s.answer(refuse(mad.SAStatusReqInvalid))
		u.m.Leave()
		pass(time.Minute)
		expect(t, "asked", asked(s), "Delete 1 0x10003", "Delete 1 0x10003", "Delete 1 0x10003", "Delete 1 0x10003")
		s.answer(grant())
		again := join(c, fullRec(mgidA, 1))
		pass(time.Second)
		expect(t, "again", again.events(), "joined 1 0xc001")
	})
}

// TestChosenMGID: the SA may choose the MGID.
func TestChosenMGID(t *testing.T) {
	inFake(t, func(t *testing.T, c *Client, _ *fakeSA) {
		u := join(c, fullRec(rdma.GID{}, 1))
		pass(time.Second)
		expect(t, "user", u.events(), "joined 1 0xc001")
		if _, ok := c.Multicast().Lookup(rdma.MustParseGID("ff12:a01b:fe80::1")); !ok {
			t.Error("group is not known by its MGID")
		}
		u.m.Leave()
		pass(time.Second)
		if n := len(c.Multicast().groups); n != 0 {
			t.Errorf("%d groups left", n)
		}
	})
}

// TestLyingSA: answers that do not fit the question fail the join and leave
// nothing behind.
func TestLyingSA(t *testing.T) {
	for name, lie := range map[string]func(r *mad.MCMemberRecord){
		"other MGID":    func(r *mad.MCMemberRecord) { r.MGID = mgidB },
		"no MGID":       func(r *mad.MCMemberRecord) { r.MGID = rdma.GID{} },
		"no join state": func(r *mad.MCMemberRecord) { r.JoinState = 0 },
		"other state":   func(r *mad.MCMemberRecord) { r.JoinState = mad.JoinSendOnlyNonMember },
	} {
		t.Run(name, func(t *testing.T) {
			inFake(t, func(t *testing.T, c *Client, s *fakeSA) {
				good := grant()
				s.answer(func(m *mad.MAD) *mad.MAD {
					m = good(m)
					var rec mad.MCMemberRecord
					if err := m.Attr(&rec); err != nil {
						t.Error(err)
					}
					lie(&rec)
					m.SetRecord(&rec)
					return m
				})
				u := join(c, fullRec(mgidA, 1))
				pass(time.Minute)
				expect(t, "user", u.events(), "errno 22")
				if n := len(c.Multicast().groups); n != 0 {
					t.Errorf("%d groups left", n)
				}
			})
		})
	}
}

func TestJoinStateZero(t *testing.T) {
	inFake(t, func(t *testing.T, c *Client, s *fakeSA) {
		u := join(c, fullRec(mgidA, 0))
		pass(time.Second)
		expect(t, "user", u.events(), "errno 22")
		expect(t, "asked", asked(s))
	})
}

// TestCloseFailsJoins: every join gets its callback.
func TestCloseFailsJoins(t *testing.T) {
	inFake(t, func(t *testing.T, c *Client, s *fakeSA) {
		s.answer(nil)
		a, b := join(c, fullRec(mgidA, 1)), join(c, fullRec(mgidB, 1))
		pass(time.Millisecond)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		d := join(c, fullRec(mgidA, 1))
		pass(time.Second)
		for _, u := range []*user{a, b, d} {
			expect(t, "user", u.events(), "errno 4")
		}
	})
}
