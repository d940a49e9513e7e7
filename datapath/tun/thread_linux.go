package tun

import "golang.org/x/sys/unix"

// work is what a thread does until the poller is closed.
func (p *Poller) work(t *thread) {
	if t.ring != nil {
		p.workRing(t)
		return
	}
	for {
		// While there is traffic the thread waits without telling the
		// scheduler, which would give its processor away and take it back
		// for each packet. A collection that begins meanwhile interrupts the
		// call by a signal, and has to wait for lingerMS at worst.
		n, errno := epollWait(t.ep, t.ev[:], lingerMS)
		var err error
		if errno != 0 || n < 1 {
			n, err = unix.EpollWait(t.ep, t.ev[:], -1)
		}
		if n < 1 {
			if err != nil && err != unix.EINTR {
				return // cannot happen while the descriptor is open
			}
			continue
		}
		if !p.handle(t, n) {
			return
		}
	}
}

// handle deals with n events of epoll; it reports false when the poller is
// closed.
func (p *Poller) handle(t *thread, n int) bool {
	for i := range t.ev[:n] {
		token := uint64(uint32(t.ev[i].Fd)) | uint64(uint32(t.ev[i].Pad))<<32
		switch token {
		case 0:
			return false
		case wakeToken:
			p.letGo(t)
			continue
		}
		p.mu.Lock()
		e, ready := p.devices[token], p.watched[token]
		ring := e != nil && t.ring != nil && !e.noRing
		p.mu.Unlock()
		switch {
		case ring:
			p.startReading(t, e)
		case e != nil:
			p.serve(e)
		case ready != nil:
			ready()
		}
	}
	return true
}

// letGo ends the reading of devices that were closed.
func (p *Poller) letGo(t *thread) {
	var b [8]byte
	_, _ = unix.Read(t.wake, b[:])
	p.mu.Lock()
	closing := t.closing
	t.closing = nil
	p.mu.Unlock()
	for _, e := range closing {
		if t.ring.reading[e.token] == e {
			t.endReading(e)
		}
	}
}

// serve reads what a device has.
func (p *Poller) serve(e *polled) {
	err := e.drain()
	if err == nil {
		return
	}
	_ = e.op("poll", func(fd int) error {
		p.forget(e, fd)
		return nil
	})
	if !e.device.closed.Load() {
		e.gone(err)
	}
}

// drain hands over what there is, up to some batches. The first packet of
// sparse traffic is carried to its end before more is looked for: that costs a
// system call, which it does not have to wait for.
func (e *polled) drain() error {
	limit, total := 1, 0
	if e.burst {
		limit = len(e.pkts)
	}
	defer func() { e.burst = total > 1 }()
	for range rounds {
		n, err := e.readOnce(e.pkts[:limit])
		if n > 0 {
			// The device is not locked: fn may write to it, or close it.
			e.fn(e.pkts[:n])
		}
		total += n
		if err != nil || n < limit {
			return err
		}
		limit = len(e.pkts)
	}
	return nil
}
