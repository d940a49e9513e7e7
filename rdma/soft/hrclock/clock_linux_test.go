package hrclock

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func newClock(t *testing.T) *Clock {
	t.Helper()
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	stop := drive(c)
	t.Cleanup(func() {
		stop()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// drive carries out timers, until stop is called.
func drive(c *Clock) (stop func()) {
	var ended atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !ended.Load() {
			if n, _ := unix.Poll([]unix.PollFd{{Fd: int32(c.Descriptor()), Events: unix.POLLIN}}, 20); n > 0 {
				c.Expire()
			}
		}
	}()
	return func() {
		ended.Store(true)
		<-done
	}
}

// Short timers are exact to a fraction of a millisecond, which the runtime's
// are not on an idle machine, and never early. On a busy machine most may be
// late for other reasons: a few that are exact are enough.
func TestExact(t *testing.T) {
	c := newClock(t)
	const d, limit = 100 * time.Microsecond, 500 * time.Microsecond
	var late []time.Duration
	for exact := 0; exact < 15; {
		start := time.Now()
		done := make(chan time.Duration)
		c.AfterFunc(d, func() {
			took := time.Since(start) - d
			go func() { done <- took }()
		})
		l := <-done
		if late = append(late, l); l < 0 {
			t.Errorf("a timer was early by %v", -l)
		}
		if l < limit {
			exact++
		}
		if len(late) == 10_000 {
			t.Fatalf("%d of %d timers were late by less than %v", exact, len(late), limit)
		}
	}
	slices.Sort(late)
	t.Logf("late by %v, half by less than %v", late[0], late[len(late)/2])
}

// The clock runs when all timers are set, so that how long that takes does not
// count.
func TestOrderStopReset(t *testing.T) {
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	var got []int // one goroutine alone
	done := make(chan struct{})
	note := func(n int) func() { return func() { got = append(got, n) } }
	never := c.AfterFunc(2*time.Millisecond, func() { t.Error("a stopped timer ran") })
	moved := c.AfterFunc(15*time.Millisecond, note(2))
	c.AfterFunc(-1, note(1))
	if !moved.Reset(time.Millisecond) || !never.Stop() || never.Stop() {
		t.Error("a timer that runs is not active")
	}
	if moved.Chan() != nil {
		t.Error("a channel")
	}
	c.AfterFunc(3*time.Millisecond, note(3))
	c.AfterFunc(4*time.Millisecond, func() { close(done) })
	long := make(chan struct{})
	c.AfterFunc(25*time.Millisecond, func() { close(long) }) // the runtime's
	stop := drive(c)
	<-done
	if !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("order %v", got)
	}
	if moved.Stop() {
		t.Error("a timer that ran is active")
	}
	<-long
	stop()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// The owner is woken as long before a timer as it is usually late, and does not
// sleep when it would oversleep.
func TestLead(t *testing.T) {
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	const lead = 40 * time.Microsecond
	c.late.lead = lead
	for _, tt := range []struct {
		d, early time.Duration // -1: at once
	}{{15 * time.Millisecond, lead}, {lead + 1, lead}, {lead, 0}, {maxPoll + 1, 0}, {maxPoll, -1}, {0, -1}} {
		c.arm(time.Second, tt.d)
		want := time.Second - tt.early
		if tt.early < 0 {
			want = 0
		}
		if c.armed != time.Second || c.alarm != want {
			t.Errorf("%v: armed for %v, readable at %v", tt.d, c.armed, c.alarm)
		}
	}
	c.armed = 0
	// Asked too early, as often as it is, a timer waits for its time.
	ran := false
	at := time.Now().Add(10 * time.Millisecond)
	c.AfterFunc(10*time.Millisecond, func() { ran = true })
	for !ran {
		c.Expire()
		if early := time.Until(at); ran && early > 0 {
			t.Errorf("%v early", early)
		}
	}
}

// A timer may be set again by its own function, as moderation does.
func TestFromFunction(t *testing.T) {
	c := newClock(t)
	var n atomic.Int32
	done := make(chan struct{})
	var mu sync.Mutex
	var tm interface{ Reset(time.Duration) bool }
	mu.Lock()
	tm = c.AfterFunc(time.Microsecond, func() {
		mu.Lock()
		defer mu.Unlock()
		if n.Add(1) == 100 {
			close(done)
			return
		}
		tm.Reset(10 * time.Microsecond)
	})
	mu.Unlock()
	<-done
}

func TestClose(t *testing.T) {
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	stop := drive(c)
	var closed atomic.Bool
	lost := c.AfterFunc(5*time.Millisecond, func() {
		if closed.Load() {
			t.Error("ran after Close")
		}
	})
	stop()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if c.Close() != nil || lost.Stop() {
		t.Error("a timer is left")
	}
	closed.Store(true)
	done := make(chan struct{})
	c.AfterFunc(10*time.Millisecond, func() { close(done) })
	<-done
}
