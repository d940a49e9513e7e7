package tun

import (
	"math"

	"golang.org/x/sys/unix"
)

// What results of a ring are for; others are tokens of devices.
const (
	ringEpoll  = 0
	ringCancel = math.MaxUint64
)

// ringThread is what a thread with a ring has more than others. All of it
// belongs to the thread.
type ringThread struct {
	*ring
	// reading are the devices that the ring reads, by token.
	reading map[uint64]*polled
	// batch is the device whose packets are being collected, and their octets.
	batch *polled
	size  int
	// ended are devices whose request has ended.
	ended []*polled
}

// ringRead is what a device has more that a ring reads. It belongs to the
// thread.
type ringRead struct {
	n      int        // packets in pkts
	hungry bool       // nothing was read since the request was made
	active bool       // there is a request
	ending bool       // it is not to be made again
	result unix.Errno // of the request
}

// workRing is work with a ring: a device that has something to read for the
// first time is read by the ring from then on. The rest is left to epoll, whose
// instance the ring polls.
func (p *Poller) workRing(t *thread) {
	defer func() {
		for _, e := range t.ring.reading {
			t.letGo(e)
		}
	}()
	for open := true; open; {
		t.ring.poll(t.ep, ringEpoll)
		for events := false; !events; {
			if t.ring.wait() != nil {
				return
			}
			events = p.reap(t)
		}
		n, _ := epollWait(t.ep, t.ev[:], 0)
		open = p.handle(t, max(n, 0))
	}
	for _, e := range t.ring.reading {
		t.endReading(e)
	}
	for len(t.ring.reading) > 0 {
		if t.ring.wait() != nil {
			return
		}
		p.reap(t)
	}
	t.ring.close()
}

// startReading moves a device from epoll to the ring, unless it was closed.
func (p *Poller) startReading(t *thread, e *polled) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.devices[e.token] != e {
		return
	}
	// The descriptor is open: Close waits for forget, which needs the lock.
	_ = unix.EpollCtl(t.ep, unix.EPOLL_CTL_DEL, e.fd, nil)
	e.done = make(chan struct{})
	t.ring.reading[e.token] = e
	t.ring.read(e)
}

// stopReading moves a device back to epoll for good, unless it was closed:
// what is wrong shows when it is read there.
func (p *Poller) stopReading(t *thread, e *polled) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t.letGo(e)
	e.done, e.noRing = nil, true
	if p.devices[e.token] == e {
		_ = t.add(e.fd, e.token)
	}
}

// endReading has the ring let go of a device.
func (t *thread) endReading(e *polled) {
	switch {
	case e.ring.ending:
	case e.ring.active:
		t.ring.cancel(e.token, ringCancel)
	default:
		t.letGo(e)
	}
	e.ring.ending = true
}

// letGo tells who waits that the ring does not use the descriptor any more.
func (t *thread) letGo(e *polled) {
	delete(t.ring.reading, e.token)
	close(e.done)
}

// read makes the request that reads a device.
func (r *ringThread) read(e *polled) {
	e.ring.active, e.ring.hungry = true, true
	r.readMany(e.fd, e.token)
}

// reap hands over what the ring has read, in batches, and reports whether epoll
// has events.
func (p *Poller) reap(t *thread) (events bool) {
	r := t.ring
	for {
		c, ok := r.next()
		switch {
		case !ok:
			r.flush()
			p.renew(t)
			return events
		case c.user == ringEpoll:
			events = true
		case c.user != ringCancel:
			r.result(r.reading[c.user], c)
		}
	}
}

// result takes a result of a request that reads a device.
func (r *ringThread) result(e *polled, c ringResult) {
	if e != r.batch {
		r.flush()
		r.batch = e
	}
	q := &e.ring
	if c.flags&ringHasBuffer != 0 {
		q.hungry = false
		buf := r.take(c, e.reader.pool)
		if e.device.closed.Load() {
			buf.Free()
		} else if pkt, ok := e.packet(buf); ok {
			e.pkts[q.n] = pkt
			q.n++
			r.size += pkt.Buf.Len()
		}
	}
	if q.n == len(e.pkts) || r.size >= e.reader.batchBytes {
		r.flush()
	}
	if c.flags&ringMore == 0 {
		q.active, q.result = false, unix.Errno(max(-c.res, 0))
		r.ended = append(r.ended, e)
	}
}

// flush hands a batch over, and offers the kernel buffers for the next: often
// the same ones.
func (r *ringThread) flush() {
	if e := r.batch; e != nil && e.ring.n > 0 {
		n := e.ring.n
		e.ring.n = 0
		e.fn(e.pkts[:n])
	}
	r.batch, r.size = nil, 0
	r.refill()
}

// renew makes the requests again that ended for want of buffers. Devices that
// got nothing are the first, so that they get something besides busy ones. Where
// there are many devices there have to be more buffers.
func (p *Poller) renew(t *thread) {
	ended := t.ring.ended
	t.ring.ended = ended[:0]
	if n := len(t.ring.bufs); len(ended) > n/8 {
		t.ring.grow(n)
		t.ring.refill()
	}
	for _, hungry := range [...]bool{true, false} {
		for _, e := range ended {
			q := &e.ring
			switch {
			case q.active || q.hungry != hungry:
			case q.ending:
				t.letGo(e)
			case q.result == 0 || q.result == unix.ENOBUFS:
				t.ring.read(e)
			default:
				p.stopReading(t, e)
			}
		}
	}
	clear(ended)
}
