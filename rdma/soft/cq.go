package soft

import (
	"sync"
	"time"

	"github.com/jonboulle/clockwork"

	"ipoib/rdma"
)

// cqState is where the handler of a completion queue stands.
//
//	idle    --completion, no moderation or count reached-->  ready
//	idle    --completion, moderated-->                       waiting
//	waiting --count reached or time over-->                  ready
//	ready   --RunHandler-->                                  running
//	running --handler returned, queue empty-->               idle
//	running --handler returned, completions left-->          running
type cqState uint8

const (
	cqIdle cqState = iota
	cqWaiting
	cqReady
	cqRunning
)

// cq implements rdma.CQ.
type cq struct {
	dev     *HCA
	handler func(rdma.CQ)
	depth   int

	mu     sync.Mutex
	ring   []rdma.WorkCompletion // guarded by mu, as is all below
	head   int
	n      int
	state  cqState
	frames int
	period time.Duration
	timer  clockwork.Timer
	closed bool
	failed bool

	wakeups counter // handler runs
}

var _ rdma.CQ = (*cq)(nil)
var _ rdma.Runner = (*cq)(nil)

func newCQ(dev *HCA, cfg rdma.CQConfig) (*cq, error) {
	if cfg.Depth < 1 || cfg.Depth > maxCQE {
		return nil, dev.opError("create_cq", 0, rdma.ErrInvalid)
	}
	// The ring grows on demand: most queues of most interfaces stay short.
	return &cq{dev: dev, handler: cfg.Handler, depth: cfg.Depth, ring: make([]rdma.WorkCompletion, min(cfg.Depth, 16))}, nil
}

// Poll implements rdma.CQ.
func (c *cq) Poll(wcs []rdma.WorkCompletion) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := min(len(wcs), c.n)
	for i := range n {
		wcs[i] = c.ring[c.head]
		c.ring[c.head].Buf = nil
		c.ring[c.head].QP = nil
		if c.head++; c.head == len(c.ring) {
			c.head = 0
		}
	}
	c.n -= n
	return n
}

// Moderate implements rdma.CQ. A period of 0 switches moderation off whatever
// the count is: a count alone could hold the last completions of a burst for
// ever.
func (c *cq) Moderate(frames, usecs uint16) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return rdma.ErrClosed
	}
	c.frames, c.period = int(frames), time.Duration(usecs)*time.Microsecond
	run := c.state == cqWaiting && c.dueLocked()
	if run {
		c.readyLocked()
	}
	c.mu.Unlock()
	if run {
		go c.RunHandler()
	}
	return nil
}

// dueLocked reports whether waiting completions are to be handled now.
func (c *cq) dueLocked() bool {
	return c.period == 0 || c.frames > 0 && c.n >= c.frames
}

func (c *cq) readyLocked() {
	c.state = cqReady
	if c.timer != nil {
		c.timer.Stop()
	}
}

// push adds a completion. ev, if not nil, takes the handler. It reports false
// when the queue is full or closed; the buffer is the caller's then.
func (c *cq) push(wc *rdma.WorkCompletion, ev *rdma.EventBatch) bool {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return false
	}
	if c.n == len(c.ring) && !c.growLocked() {
		first := !c.failed
		c.failed = true
		c.mu.Unlock()
		if first {
			c.dev.raise(rdma.AsyncEvent{Type: rdma.EventCQErr, CQ: c})
		}
		return false
	}
	tail := c.head + c.n
	if tail >= len(c.ring) {
		tail -= len(c.ring)
	}
	c.ring[tail] = *wc
	c.n++
	run := false
	if c.handler != nil {
		switch c.state {
		case cqIdle:
			if run = c.dueLocked(); run {
				c.state = cqReady
			} else {
				c.state = cqWaiting
				c.startTimerLocked()
			}
		case cqWaiting:
			if run = c.dueLocked(); run {
				c.readyLocked()
			}
		}
	}
	c.mu.Unlock()
	if run {
		if ev != nil {
			ev.Add(c)
		} else {
			go c.RunHandler()
		}
	}
	return true
}

func (c *cq) growLocked() bool {
	if len(c.ring) >= c.depth {
		return false
	}
	ring := make([]rdma.WorkCompletion, min(c.depth, 2*len(c.ring)))
	k := copy(ring, c.ring[c.head:])
	copy(ring[k:], c.ring[:c.head])
	c.ring, c.head = ring, 0
	return true
}

func (c *cq) startTimerLocked() {
	if c.timer == nil {
		c.timer = c.dev.fabric.clock.AfterFunc(c.period, c.expire)
		return
	}
	c.timer.Reset(c.period)
}

// expire ends a moderation period.
func (c *cq) expire() {
	c.mu.Lock()
	run := c.state == cqWaiting && !c.closed
	if run {
		c.state = cqReady
	}
	c.mu.Unlock()
	if run {
		c.RunHandler()
	}
}

// RunHandler implements rdma.Runner: it calls the handler until no completion
// is left.
func (c *cq) RunHandler() {
	c.mu.Lock()
	if c.state != cqReady || c.closed {
		c.mu.Unlock()
		return
	}
	c.state = cqRunning
	for {
		c.mu.Unlock()
		c.wakeups.Add(1)
		c.handler(c)
		c.mu.Lock()
		if c.n == 0 || c.closed {
			c.state = cqIdle
			c.mu.Unlock()
			return
		}
		if !c.dueLocked() {
			c.state = cqWaiting
			c.startTimerLocked()
			c.mu.Unlock()
			return
		}
	}
}

// Close implements rdma.CQ. Completions that nobody polled are dropped.
func (c *cq) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return rdma.ErrClosed
	}
	c.closed = true
	if c.timer != nil {
		c.timer.Stop()
	}
	for ; c.n > 0; c.n-- {
		if b := c.ring[c.head].Buf; b != nil {
			b.Free()
		}
		c.ring[c.head] = rdma.WorkCompletion{}
		c.head = (c.head + 1) % len(c.ring)
	}
	return nil
}

// drop removes the completions of a destroyed queue pair.
func (c *cq) drop(q rdma.QP) {
	c.mu.Lock()
	defer c.mu.Unlock()
	keep := c.n
	c.n = 0
	for i := range keep {
		from := (c.head + i) % len(c.ring)
		wc := c.ring[from]
		c.ring[from] = rdma.WorkCompletion{}
		if wc.QP == q {
			if wc.Buf != nil {
				wc.Buf.Free()
			}
			continue
		}
		c.ring[(c.head+c.n)%len(c.ring)] = wc
		c.n++
	}
}
