package tun

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Poller reads many devices on a few threads, which block in epoll_wait(2)
// while there is nothing to read. A thread reads a batch and carries it to its
// end, before it turns to the next device.
//
// The devices are a one-shot interest, so that one thread at a time has a
// device, and a packet for one that is being read wakes nobody.
//
// A nil *Poller reads each device on a goroutine of its own.
type Poller struct {
	ep, event int
	workers   sync.WaitGroup

	mu      sync.Mutex
	next    uint64             // guarded by mu, as is all below
	devices map[uint64]*polled // by token
	closed  bool
}

// polled is a device of a Poller. Its token, which is never used again, tells
// it from a later one with the same descriptor.
type polled struct {
	*device
	token uint64
	// mu is never waited for long: the one-shot interest keeps other threads
	// away. It carries the reader's state from one thread to the next.
	mu   sync.Mutex
	pkts []Packet // guarded by mu
	fn   func([]Packet)
	gone func(error)
}

// rounds is how many full batches are read before other devices get a turn.
const rounds = 4

// NewPoller starts a poller with so many threads. The process should have a
// GOMAXPROCS larger by that than what it needs otherwise: a thread that blocks
// keeps its share of the scheduler for a while.
func NewPoller(threads int) (*Poller, error) {
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		unix.Close(event)
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	p := &Poller{ep: ep, event: event, devices: make(map[uint64]*polled)}
	if err := p.control(unix.EPOLL_CTL_ADD, event, unix.EPOLLIN, 0); err != nil {
		unix.Close(ep)
		unix.Close(event)
		return nil, err
	}
	for range threads {
		p.workers.Go(p.work)
	}
	return p, nil
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
	p.mu.Lock()
	p.next++
	e.token = p.next
	p.devices[e.token] = e
	p.mu.Unlock()
	err := k.op("poll", func(fd int) error {
		k.onClose.Store(func() { p.forget(e) })
		return p.control(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN|unix.EPOLLONESHOT, e.token)
	})
	if err != nil {
		p.forget(e)
	}
	return err
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
	unix.Close(p.event)
	return os.NewSyscallError("close", unix.Close(p.ep))
}

func (p *Poller) forget(e *polled) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.devices, e.token)
}

// control changes what is polled; the token travels in the event.
func (p *Poller) control(op, fd int, events uint32, token uint64) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(uint32(token)), Pad: int32(uint32(token >> 32))}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.ep, op, fd, &ev))
}

func (p *Poller) work() {
	// One event at a time: if there are more, the kernel wakes another thread.
	var ev [1]unix.EpollEvent
	for {
		n, err := unix.EpollWait(p.ep, ev[:], -1)
		if n < 1 {
			if err != nil && err != unix.EINTR {
				return // cannot happen while the descriptor is open
			}
			continue
		}
		token := uint64(uint32(ev[0].Fd)) | uint64(uint32(ev[0].Pad))<<32
		if token == 0 {
			return
		}
		p.mu.Lock()
		e := p.devices[token]
		p.mu.Unlock()
		if e != nil {
			p.serve(e)
		}
	}
}

// serve reads what a device has.
func (p *Poller) serve(e *polled) {
	err := e.drain()
	if err == nil {
		err = e.op("poll", func(fd int) error {
			return p.control(unix.EPOLL_CTL_MOD, fd, unix.EPOLLIN|unix.EPOLLONESHOT, e.token)
		})
	}
	if err != nil {
		p.forget(e)
		if !e.device.closed.Load() {
			e.gone(err)
		}
	}
}

// drain hands over what there is, up to some batches.
func (e *polled) drain() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for range rounds {
		n, err := e.readOnce(e.pkts)
		if n > 0 {
			// The device is not locked: fn may write to it, or close it.
			e.fn(e.pkts[:n])
		}
		if err != nil || n < len(e.pkts) {
			return err
		}
	}
	return nil
}
