package tun

import (
	"errors"
	"math"
	"os"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"ipoib/rdma"
)

// Poller reads many devices on a few threads, which block in one system call
// while there is nothing to read. A thread reads a batch and carries it to its
// end, before it turns to the next device.
//
// Each device belongs to one thread, so nothing has to be changed in the
// kernel to keep the others away, and a packet for a device whose thread is
// busy wakes nobody.
//
// Where the system lets it, a thread reads with io_uring(7), which takes fewer
// system calls.
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
	wake    int       // an eventfd: something is in closing
	devices int       // guarded by Poller.mu
	closing []*polled // devices to let go of, guarded by Poller.mu

	// What follows belongs to the thread; it sets tid, ring and why at first.
	tid  int
	ring *ringThread // nil without io_uring
	why  error       // of that
	ev   [maxEvents]unix.EpollEvent
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
	ring   ringRead

	fd     int           // guarded by Poller.mu
	noRing bool          // guarded by Poller.mu: stays with epoll
	done   chan struct{} // guarded by Poller.mu: closed when the ring has let go of fd; nil unless it reads
}

// rounds is how many full batches are read before other devices get a turn.
const rounds = 4

// maxEvents is how many devices a thread serves before it asks again.
const maxEvents = 16

// lingerMS is how long, in milliseconds, a thread waits for more traffic before
// it goes to sleep in a way that the scheduler knows of.
const lingerMS = 1

// wakeToken is that of a thread's wake; 0 is that of the event that ends it.
const wakeToken = math.MaxUint64

// PollerConfig says how a Poller reads.
type PollerConfig struct {
	// Threads is how many there are. The process should have a GOMAXPROCS
	// larger by that than what it needs otherwise: a thread that blocks keeps
	// its share of the scheduler for a while.
	Threads int
	// NoRing has it do without io_uring.
	NoRing bool
}

// NewPoller starts a poller.
func NewPoller(c PollerConfig) (*Poller, error) {
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	p := &Poller{event: event, devices: make(map[uint64]*polled), watched: make(map[uint64]func())}
	for range c.Threads {
		if err := p.addThread(); err != nil {
			return nil, errors.Join(err, p.closeFiles())
		}
	}
	var started sync.WaitGroup
	started.Add(c.Threads)
	for _, t := range p.threads {
		p.workers.Go(func() {
			t.start(!c.NoRing)
			started.Done()
			p.work(t)
		})
	}
	started.Wait()
	return p, nil
}

// RingError returns nil if devices are read with io_uring, and why they are not
// otherwise: rdma.ErrNotSupported with NoRing or where the kernel cannot, or what
// the kernel said.
func (p *Poller) RingError() error { return p.threads[0].why }

// start makes the ring of a thread, if the system lets it.
func (t *thread) start(wanted bool) {
	runtime.LockOSThread()
	t.tid = unix.Gettid()
	t.why = rdma.ErrNotSupported
	if wanted {
		var r *ring
		if r, t.why = newRing(); t.why == nil {
			t.ring = &ringThread{ring: r, reading: make(map[uint64]*polled)}
			return // the ring belongs to the thread for good
		}
	}
	runtime.UnlockOSThread()
}

func (p *Poller) addThread() error {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	t := &thread{ep: ep, wake: -1}
	p.threads = append(p.threads, t)
	if t.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	return errors.Join(t.add(t.wake, wakeToken), t.add(p.event, 0))
}

func (p *Poller) closeFiles() error {
	err := unix.Close(p.event)
	for _, t := range p.threads {
		err = errors.Join(err, unix.Close(t.ep))
		if t.wake >= 0 {
			err = errors.Join(err, unix.Close(t.wake))
		}
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
		p.mu.Lock()
		defer p.mu.Unlock()
		e.fd = fd
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
// descriptor, or -1 when the thread does not poll it. It returns when the ring
// does not use the descriptor any more: what closed it last would have to wait
// until the kernel has removed the interface.
func (p *Poller) forget(e *polled, fd int) {
	if done := p.forgetLocked(e, fd); done != nil && unix.Gettid() != e.thread.tid {
		<-done
	}
}

func (p *Poller) forgetLocked(e *polled, fd int) (done chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.devices[e.token] != e {
		return nil
	}
	delete(p.devices, e.token)
	e.thread.devices--
	if fd >= 0 && !p.closed {
		if e.done == nil {
			// Closing it would not do while another process has a copy of it: a
			// child between fork and exec.
			_ = unix.EpollCtl(e.thread.ep, unix.EPOLL_CTL_DEL, fd, nil)
		} else {
			e.thread.closing = append(e.thread.closing, e)
			_, _ = unix.Write(e.thread.wake, one[:])
		}
	}
	return e.done
}

// one makes an eventfd readable, as any value but 0 does.
var one = [8]byte{0: 1}

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
	unix.Write(p.event, one[:])
	p.workers.Wait()
	return p.closeFiles()
}

// add has the thread poll a descriptor; the token travels in the event.
func (t *thread) add(fd int, token uint64) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(uint32(token)), Pad: int32(uint32(token >> 32))}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(t.ep, unix.EPOLL_CTL_ADD, fd, &ev))
}
