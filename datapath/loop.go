package datapath

import "sync"

// loop runs functions one after the other. Its goroutine lives only while
// there is work, so that a thousand idle interfaces cost none.
type loop struct {
	mu     sync.Mutex
	queue  []func() // guarded by mu, as is all below
	active bool
	closed bool
}

// post queues fn; it never blocks. After close it does nothing.
func (l *loop) post(fn func()) { l.tryPost(fn) }

// tryPost is post; it reports false when the loop is closed.
func (l *loop) tryPost(fn func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.queue = append(l.queue, fn)
	if !l.active {
		l.active = true
		go l.run()
	}
	return true
}

func (l *loop) run() {
	for {
		l.mu.Lock()
		if len(l.queue) == 0 {
			l.queue = nil
			l.active = false
			l.mu.Unlock()
			return
		}
		fn := l.queue[0]
		l.queue[0] = nil
		l.queue = l.queue[1:]
		l.mu.Unlock()
		fn()
	}
}

// call runs fn on the loop and waits for it. It must not be called from the
// loop itself. It reports false, without running fn, when the loop is closed.
func (l *loop) call(fn func()) bool {
	done := make(chan struct{})
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return false
	}
	l.queue = append(l.queue, func() { defer close(done); fn() })
	if !l.active {
		l.active = true
		go l.run()
	}
	l.mu.Unlock()
	<-done
	return true
}

// close lets the queued functions run and takes no more.
func (l *loop) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}
