package hrclock

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func newClock(t *testing.T) *Clock {
	t.Helper()
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Half of short timers are exact to a fraction of a millisecond, which the
// runtime's are not on an idle machine; none is early.
func TestExact(t *testing.T) {
	c := newClock(t)
	var late []time.Duration
	for range 60 {
		const d = 100 * time.Microsecond
		start := time.Now()
		done := make(chan time.Duration)
		c.AfterFunc(d, func() {
			took := time.Since(start) - d
			go func() { done <- took }()
		})
		late = append(late, <-done)
	}
	slices.Sort(late)
	if late[0] < 0 {
		t.Errorf("a timer was early by %v", -late[0])
	}
	t.Logf("late by %v, half by less than %v", late[0], late[len(late)/2])
	if m := late[len(late)/4]; m > 500*time.Microsecond {
		t.Errorf("a quarter of the timers was late by less than %v only", m)
	}
}

func TestOrderStopReset(t *testing.T) {
	c := newClock(t)
	var mu sync.Mutex
	var got []int
	done := make(chan struct{}, 1)
	note := func(n int) func() {
		return func() {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, n)
			if len(got) == 4 {
				done <- struct{}{}
			}
		}
	}
	never := c.AfterFunc(2*time.Millisecond, func() { t.Error("a stopped timer ran") })
	c.AfterFunc(3*time.Millisecond, note(3))
	c.AfterFunc(25*time.Millisecond, note(4)) // the runtime's
	c.AfterFunc(-1, note(1))
	moved := c.AfterFunc(15*time.Millisecond, note(2))
	if !moved.Reset(time.Millisecond) || !never.Stop() || never.Stop() {
		t.Error("a timer that runs is not active")
	}
	if moved.Chan() != nil {
		t.Error("a channel")
	}
	<-done
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(got, []int{1, 2, 3, 4}) {
		t.Errorf("order %v", got)
	}
	if moved.Stop() {
		t.Error("a timer that ran is active")
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
	lost := c.AfterFunc(5*time.Millisecond, func() { t.Error("ran after Close") })
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if c.Close() != nil || lost.Stop() {
		t.Error("a timer is left")
	}
	done := make(chan struct{})
	c.AfterFunc(time.Millisecond, func() { close(done) })
	<-done
}
