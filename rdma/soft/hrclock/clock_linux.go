package hrclock

import (
	"container/heap"
	"os"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
	"golang.org/x/sys/unix"
)

// short is below what a timer of AfterFunc is exact; for longer ones the
// runtime's is good enough.
const short = 20 * time.Millisecond

// Clock is the real clock with exact short timers, by a timerfd(2) that its
// owner waits for.
type Clock struct {
	clockwork.Clock
	fd   int
	base time.Time // the zero of timer.at

	mu     sync.Mutex
	timers timers        // guarded by mu, as is all below
	armed  time.Duration // the timer that fd is set for, 0 when it is not
	alarm  time.Duration // when fd becomes readable, 0 when that is at once for want of time
	late   lateness
	closed bool
}

var _ clockwork.Clock = (*Clock)(nil)

// New returns a clock. Whoever waits for its Descriptor carries out its timers,
// and closes it.
func New() (*Clock, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	return &Clock{Clock: clockwork.NewRealClock(), fd: fd, base: time.Now()}, nil
}

// Descriptor returns what is readable when Expire has something to do.
func (c *Clock) Descriptor() int { return c.fd }

// Close ends the clock, after whoever called Expire. Timers that run are
// forgotten, and new ones are those of the runtime.
func (c *Clock) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	for _, t := range c.timers {
		t.index = -1
	}
	c.timers = nil
	return os.NewSyscallError("close", unix.Close(c.fd))
}

// AfterFunc implements clockwork.Clock. fn is called by Expire when d is below
// 20 ms: it must not block, nor wait for another timer.
func (c *Clock) AfterFunc(d time.Duration, fn func()) clockwork.Timer {
	t := &timer{c: c, fn: fn, index: -1}
	t.Reset(d)
	return t
}

// timer is a timer of AfterFunc.
type timer struct {
	c  *Clock
	fn func()
	// All below is guarded by c.mu.
	at    time.Duration
	index int // in c.timers, -1 outside
	long  *time.Timer
}

// Chan implements clockwork.Timer: nothing is ever sent.
func (t *timer) Chan() <-chan time.Time { return nil }

// Stop implements clockwork.Timer.
func (t *timer) Stop() bool {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	return t.stop()
}

func (t *timer) stop() (active bool) {
	if t.index >= 0 {
		heap.Remove(&t.c.timers, t.index)
		active = true
	}
	if t.long != nil && t.long.Stop() {
		active = true
	}
	return active
}

// Reset implements clockwork.Timer.
func (t *timer) Reset(d time.Duration) bool {
	c := t.c
	c.mu.Lock()
	defer c.mu.Unlock()
	active := t.stop()
	if d >= short || c.closed {
		if t.long == nil {
			t.long = time.AfterFunc(d, t.fn)
		} else {
			t.long.Reset(d)
		}
		return active
	}
	t.at = time.Since(c.base) + max(d, 0)
	heap.Push(&c.timers, t)
	if t.index == 0 && (c.armed == 0 || t.at < c.armed) {
		c.arm(t.at, max(d, 0))
	}
	return active
}

// arm sets the descriptor for a timer that is due after d. It is readable
// before that by what its owner usually needs to wake up, or at once where too
// little is left to sleep.
func (c *Clock) arm(at, d time.Duration) {
	c.armed, c.alarm = at, at
	switch lead := c.late.lead; {
	case d > lead:
		c.alarm -= lead
		d -= lead
	case d <= maxPoll:
		c.alarm, d = 0, 0
	}
	_ = c.set(max(d, 1))
}

// set makes the descriptor readable after d, or not at all when that is 0.
func (c *Clock) set(d time.Duration) error {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	return os.NewSyscallError("timerfd_settime", unix.TimerfdSettime(c.fd, 0, &spec, nil))
}

// Expire carries out what is due. It must not be called by two at once.
func (c *Clock) Expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if late := time.Since(c.base) - c.alarm; c.armed != 0 && c.alarm != 0 && late >= 0 {
		c.late.observe(late)
	}
	for !c.closed {
		c.armed = 0
		if len(c.timers) == 0 {
			// What is set may be what was due: it was seen.
			_ = c.set(0)
			return
		}
		t := c.timers[0]
		if d := t.at - time.Since(c.base); d > 0 {
			c.arm(t.at, d)
			if c.alarm == 0 {
				// The owner calls again at once: whoever the event is for
				// may need this processor.
				c.mu.Unlock()
				unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
				c.mu.Lock()
			}
			return
		}
		heap.Pop(&c.timers)
		c.mu.Unlock()
		t.fn()
		c.mu.Lock()
	}
}

// timers is a heap by time.
type timers []*timer

func (h timers) Len() int           { return len(h) }
func (h timers) Less(i, j int) bool { return h[i].at < h[j].at }

func (h timers) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *timers) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}

// Pop implements heap.Interface.
func (h *timers) Pop() any {
	n := len(*h) - 1
	t := (*h)[n]
	(*h)[n], *h = nil, (*h)[:n]
	t.index = -1
	return t
}
