package tun

import (
	"errors"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"ipoib/rdma"
)

// Poller reads many devices on a few threads, which block in epoll_wait(2)
// while there is nothing to read. A thread reads a batch and carries it to its
// end, before it turns to the next device.
//
// Each device belongs to one thread, so nothing has to be changed in the
// kernel to keep the others away, and a packet for a device whose thread is
// busy wakes nobody.
//
// A nil *Poller reads each device on a goroutine of its own.
type Poller struct {
	event   int
	threads []*thread
	workers sync.WaitGroup

	mu      sync.Mutex
	next    uint64             // guarded by mu, as is all below
	devices map[uint64]*polled // by token
	watched map[uint64]func()  // by token
	closed  bool
}

// thread is one of a Poller's.
type thread struct {
	ep      int
	devices int // guarded by Poller.mu
}

// polled is a device of a Poller. Its token, which is never used again, tells
// it from a later one with the same descriptor. What changes belongs to its
// thread.
type polled struct {
	*device
	thread *thread
	token  uint64
	pkts   []Packet
	burst  bool // packets come in batches
	fn     func([]Packet)
	gone   func(error)
}

// rounds is how many full batches are read before other devices get a turn.
const rounds = 4

// maxEvents is how many devices a thread serves before it asks again.
const maxEvents = 16

// lingerMS is how long, in milliseconds, a thread waits for more traffic before
// it goes to sleep in a way that the scheduler knows of.
const lingerMS = 1

// NewPoller starts a poller with so many threads. The process should have a
// GOMAXPROCS larger by that than what it needs otherwise: a thread that blocks
// keeps its share of the scheduler for a while.
func NewPoller(threads int) (*Poller, error) {
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	p := &Poller{event: event, devices: make(map[uint64]*polled), watched: make(map[uint64]func())}
	for range threads {
		if err := p.addThread(); err != nil {
			return nil, errors.Join(err, p.closeFiles())
		}
	}
	for _, t := range p.threads {
		p.workers.Go(func() { p.work(t) })
	}
	return p, nil
}

func (p *Poller) addThread() error {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	t := &thread{ep: ep}
	p.threads = append(p.threads, t)
	return t.add(p.event, 0)
}

func (p *Poller) closeFiles() error {
	err := unix.Close(p.event)
	for _, t := range p.threads {
		err = errors.Join(err, unix.Close(t.ep))
	}
	return os.NewSyscallError("close", err)
}

// Start reads a device until it is closed. fn is called with each batch of up
// to batch packets, by one thread at a time; the buffers are its own, the
// slice is not. gone is called once when reading fails, with ErrRemoved when
// the host deleted the interface; not when the device is closed.
func (p *Poller) Start(d Device, batch int, fn func([]Packet), gone func(error)) error {
	k, ok := d.(*device)
	if p == nil || !ok {
		go readLoop(d, batch, fn, gone)
		return nil
	}
	e := &polled{device: k, pkts: make([]Packet, batch), fn: fn, gone: gone}
	if err := p.enter(e); err != nil {
		return err
	}
	err := k.op("poll", func(fd int) error {
		k.onClose.Store(func() { p.forget(e, fd) })
		return e.thread.add(fd, e.token)
	})
	if err != nil {
		p.forget(e, -1)
	}
	return err
}

// Watch has a thread call ready whenever a descriptor is readable, until the
// Poller is closed. What a packet has to wait for is best waited for where
// packets are read: another thread would have to be woken, maybe on another
// processor.
func (p *Poller) Watch(fd int, ready func()) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return rdma.ErrClosed
	}
	p.next++
	token := p.next
	p.watched[token] = ready
	p.mu.Unlock()
	err := p.threads[0].add(fd, token)
	if err != nil {
		p.mu.Lock()
		delete(p.watched, token)
		p.mu.Unlock()
	}
	return err
}

// enter gives a device a token and the thread that has the fewest devices.
func (p *Poller) enter(e *polled) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return rdma.ErrClosed
	}
	e.thread = slices.MinFunc(p.threads, func(a, b *thread) int { return a.devices - b.devices })
	e.thread.devices++
	p.next++
	e.token = p.next
	p.devices[e.token] = e
	return nil
}

// forget ends the polling of a device, if that was not done. fd is its open
// descriptor, or -1 when the thread does not poll it.
func (p *Poller) forget(e *polled, fd int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.devices[e.token] != e {
		return
	}
	delete(p.devices, e.token)
	e.thread.devices--
	if fd >= 0 && !p.closed {
		// Closing it would not do while another process has a copy of it: a
		// child between fork and exec.
		_ = unix.EpollCtl(e.thread.ep, unix.EPOLL_CTL_DEL, fd, nil)
	}
}

// Close ends the threads and waits for them. It must not be called by fn or
// gone.
func (p *Poller) Close() error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	again := p.closed
	p.closed = true
	p.mu.Unlock()
	if again {
		return nil
	}
	one := [8]byte{0: 1} // any value but 0 makes the eventfd readable
	unix.Write(p.event, one[:])
	p.workers.Wait()
	return p.closeFiles()
}

// add has the thread poll a descriptor; the token travels in the event.
func (t *thread) add(fd int, token uint64) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(uint32(token)), Pad: int32(uint32(token >> 32))}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(t.ep, unix.EPOLL_CTL_ADD, fd, &ev))
}

func (p *Poller) work(t *thread) {
	var ev [maxEvents]unix.EpollEvent
	for {
		// While there is traffic the thread waits without telling the
		// scheduler, which would give its processor away and take it back
		// for each packet. A collection that begins meanwhile interrupts the
		// call by a signal, and has to wait for lingerMS at worst.
		n, errno := epollWait(t.ep, ev[:], lingerMS)
		var err error
		if errno != 0 || n < 1 {
			n, err = unix.EpollWait(t.ep, ev[:], -1)
		}
		if n < 1 {
			if err != nil && err != unix.EINTR {
				return // cannot happen while the descriptor is open
			}
			continue
		}
		for i := range ev[:n] {
			token := uint64(uint32(ev[i].Fd)) | uint64(uint32(ev[i].Pad))<<32
			if token == 0 {
				return
			}
			p.mu.Lock()
			e, ready := p.devices[token], p.watched[token]
			p.mu.Unlock()
			switch {
			case e != nil:
				p.serve(e)
			case ready != nil:
				ready()
			}
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
