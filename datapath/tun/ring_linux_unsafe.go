//go:build linux

package tun

import (
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"ipoib/rdma"
)

// ring is an io_uring(7) of one thread, which reads into buffers that the
// kernel chooses when there is something to read: one request reads a device
// until it is cancelled, and one system call waits for all devices and reads
// them. It needs Linux 6.7 and that the process may use io_uring.
//
// All of it belongs to the thread that made it. The kernel works on requests in
// the calls of that thread only, so what is shared with it needs no ordering
// but that of the calls; the atomic operations are for the race detector's and
// the compiler's sake.
type ring struct {
	fd       int
	queues   []byte // mapped, as are requests and choice
	requests []byte
	choice   []byte

	sqHead, sqTail *uint32
	sqes           []ringRequest
	cqHead, cqTail *uint32
	cqes           []ringResult

	// pool provides bufs, which the kernel holds; one that was handed over is
	// nil until refill.
	pool   *rdma.BufferPool
	bufs   []*rdma.Buffer
	used   []uint16
	offers []ringBuffer
	tail   uint16

	linger  unix.Timespec
	waiting ringWait
}

// Of uapi/linux/io_uring.h.
type (
	ringParams struct {
		sqEntries, cqEntries, flags, cpu, idle, features, wqFD uint32
		_                                                      [3]uint32
		sq                                                     struct {
			head, tail, mask, entries, flags, dropped, array, _ uint32
			_                                                   uint64
		}
		cq struct {
			head, tail, mask, entries, overflow, cqes, flags, _ uint32
			_                                                   uint64
		}
	}
	ringRequest struct {
		op, flags    uint8
		_            uint16
		fd           int32
		off, addr    uint64
		len, opFlags uint32
		user         uint64
		group        uint16
		_            uint16
		_            uint32
		_, _         uint64
	}
	ringResult struct {
		user  uint64
		res   int32
		flags uint32
	}
	// ringBuffer is io_uring_buf; the tail of the ring of buffers lies in the
	// last field of the first.
	ringBuffer struct {
		addr uint64
		len  uint32
		id   uint16
		tail uint16
	}
	ringBufferReg struct {
		addr    uint64
		entries uint32
		group   uint16
		flags   uint16
		_       [3]uint64
	}
	ringWait struct {
		mask uint64
		size uint32
		_    uint32
		ts   uint64
	}
	ringProbe struct {
		last, n uint8
		_       uint16
		_       [3]uint32
		ops     [256]struct {
			op, _ uint8
			flags uint16
			_     uint32
		}
	}
)

const (
	ringSetupCQSize       = 1 << 3
	ringSetupSingleIssuer = 1 << 12
	ringSetupDeferTaskrun = 1 << 13

	ringOffSQEs = 0x10000000

	ringEnterGetEvents = 1 << 0
	ringEnterExtArg    = 1 << 3

	ringRegisterProbe   = 8
	ringRegisterBuffers = 22 // IORING_REGISTER_PBUF_RING

	ringOpPoll     = 6
	ringOpCancel   = 14
	ringOpReadMany = 49 // IORING_OP_READ_MULTISHOT

	ringChooseBuffer = 1 << 5 // IOSQE_BUFFER_SELECT

	ringHasBuffer = 1 << 0 // IORING_CQE_F_BUFFER
	ringMore      = 1 << 1 // IORING_CQE_F_MORE
)

const (
	// ringRequests is how many requests are submitted at a time.
	ringRequests = 256
	// ringBuffers is how many buffers there are at first, each for a large
	// send: with 4 a stream was 0.9 times as fast.
	ringBuffers = 16
	// maxRingBuffers is how many there may be. 64 hosts that send at a time
	// were 0.2 times as fast with 16.
	maxRingBuffers = 256
	ringGroup      = 0
)

// newRing fails with ENOSYS or rdma.ErrNotSupported where the kernel does not
// have what is needed, with EPERM where it is not allowed.
func newRing() (_ *ring, err error) {
	p := ringParams{flags: ringSetupCQSize | ringSetupSingleIssuer | ringSetupDeferTaskrun, cqEntries: 4 * ringRequests}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, ringRequests, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, os.NewSyscallError("io_uring_setup", errno)
	}
	r := &ring{fd: int(fd), pool: rdma.NewBufferPool()}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if err := r.probe(); err != nil {
		return nil, err
	}
	const mode, shared = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_POPULATE
	size := max(p.sq.array+p.sqEntries*4, p.cq.cqes+p.cqEntries*uint32(unsafe.Sizeof(ringResult{})))
	if r.queues, err = unix.Mmap(r.fd, 0, int(size), mode, shared); err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	if r.requests, err = unix.Mmap(r.fd, ringOffSQEs, int(p.sqEntries)*int(unsafe.Sizeof(ringRequest{})), mode, shared); err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	if r.choice, err = unix.Mmap(-1, 0, maxRingBuffers*int(unsafe.Sizeof(ringBuffer{})), mode, unix.MAP_PRIVATE|unix.MAP_ANON); err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	at := func(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.queues[off])) }
	r.sqHead, r.sqTail = at(p.sq.head), at(p.sq.tail)
	r.cqHead, r.cqTail = at(p.cq.head), at(p.cq.tail)
	r.sqes = unsafe.Slice((*ringRequest)(unsafe.Pointer(&r.requests[0])), p.sqEntries)
	r.cqes = unsafe.Slice((*ringResult)(unsafe.Pointer(&r.queues[p.cq.cqes])), p.cqEntries)
	r.offers = unsafe.Slice((*ringBuffer)(unsafe.Pointer(&r.choice[0])), maxRingBuffers)
	for i := range p.sqEntries {
		*at(p.sq.array + i*4) = i
	}
	reg := ringBufferReg{addr: uint64(uintptr(unsafe.Pointer(&r.choice[0]))), entries: maxRingBuffers, group: ringGroup}
	if err := r.register(ringRegisterBuffers, unsafe.Pointer(&reg), 1); err != nil {
		return nil, err
	}
	r.grow(ringBuffers)
	r.refill()
	r.linger = unix.NsecToTimespec(lingerMS * 1e6)
	r.waiting.ts = uint64(uintptr(unsafe.Pointer(&r.linger)))
	return r, nil
}

func (r *ring) register(what uintptr, arg unsafe.Pointer, n uintptr) error {
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), what, uintptr(arg), n, 0, 0)
	if errno != 0 {
		return os.NewSyscallError("io_uring_register", errno)
	}
	return nil
}

func (r *ring) probe() error {
	var p ringProbe
	if err := r.register(ringRegisterProbe, unsafe.Pointer(&p), uintptr(len(p.ops))); err != nil {
		return err
	}
	if p.last < ringOpReadMany {
		return rdma.ErrNotSupported
	}
	return nil
}

// close must not be called while a device is read.
func (r *ring) close() {
	_ = unix.Close(r.fd)
	for _, m := range [][]byte{r.queues, r.requests, r.choice} {
		if m != nil {
			_ = unix.Munmap(m)
		}
	}
	for _, b := range r.bufs {
		if b != nil {
			b.Free()
		}
	}
}

// push adds a request, which the next call of enter submits.
func (r *ring) push(q ringRequest) {
	tail := atomic.LoadUint32(r.sqTail)
	for tail-atomic.LoadUint32(r.sqHead) >= uint32(len(r.sqes)) {
		_, _ = r.enter(0, false)
	}
	r.sqes[tail%uint32(len(r.sqes))] = q
	atomic.StoreUint32(r.sqTail, tail+1)
}

// readMany reads a device until it is cancelled or there are no buffers.
func (r *ring) readMany(fd int, user uint64) {
	r.push(ringRequest{op: ringOpReadMany, flags: ringChooseBuffer, fd: int32(fd), off: ^uint64(0), user: user, group: ringGroup})
}

// poll tells once when a descriptor is readable.
func (r *ring) poll(fd int, user uint64) {
	r.push(ringRequest{op: ringOpPoll, fd: int32(fd), opFlags: unix.POLLIN, user: user})
}

// cancel ends the request of a user.
func (r *ring) cancel(of, user uint64) {
	r.push(ringRequest{op: ringOpCancel, fd: -1, addr: of, user: user})
}

// wait submits what was pushed and waits for results, at first without telling
// Go's scheduler: see Poller.work.
func (r *ring) wait() error {
	errno, ready := r.enter(1, true)
	for !ready {
		switch errno {
		case 0, unix.EINTR, unix.ETIME, unix.EAGAIN, unix.EBUSY:
		default:
			return os.NewSyscallError("io_uring_enter", errno) // cannot happen
		}
		errno, ready = r.enter(1, false)
	}
	return nil
}

// enter submits what was pushed and waits for n results, for lingerMS at most
// when linger is set. ready says that there are some.
func (r *ring) enter(n uintptr, linger bool) (errno unix.Errno, ready bool) {
	submit := uintptr(atomic.LoadUint32(r.sqTail) - atomic.LoadUint32(r.sqHead))
	if linger {
		// What waiting points to is part of r.
		_, _, errno = unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), submit, n,
			ringEnterGetEvents|ringEnterExtArg, uintptr(unsafe.Pointer(&r.waiting)), unsafe.Sizeof(r.waiting))
	} else {
		_, _, errno = unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), submit, n, ringEnterGetEvents, 0, 0)
	}
	return errno, atomic.LoadUint32(r.cqTail) != atomic.LoadUint32(r.cqHead)
}

// next returns the next result, false when there is none.
func (r *ring) next() (ringResult, bool) {
	head := atomic.LoadUint32(r.cqHead)
	if head == atomic.LoadUint32(r.cqTail) {
		return ringResult{}, false
	}
	c := r.cqes[head%uint32(len(r.cqes))]
	atomic.StoreUint32(r.cqHead, head+1)
	return c, true
}

// take returns the packet of a result, which starts at the virtio-net header,
// in a buffer of a size that fits; the kernel's is given back by refill.
func (r *ring) take(c ringResult, pool *rdma.BufferPool) *rdma.Buffer {
	id, n := uint16(c.flags>>16), max(int(c.res), 0)
	r.used = append(r.used, id)
	b := r.bufs[id]
	if n > vnetRoom+smallRead {
		r.bufs[id] = nil
		b.SetLen(n)
		return b
	}
	small := pool.Get(smallRead)
	copy(small.Push(vnetRoom), b.Bytes()[:n])
	small.SetLen(n)
	return small
}

// grow adds n buffers, if there may be so many; refill offers them.
func (r *ring) grow(n int) {
	for range min(n, maxRingBuffers-len(r.bufs)) {
		r.used = append(r.used, uint16(len(r.bufs)))
		r.bufs = append(r.bufs, nil)
	}
}

// refill offers the kernel buffers in place of those that were taken.
func (r *ring) refill() {
	for _, id := range r.used {
		if r.bufs[id] == nil {
			r.bufs[id] = r.pool.Get(rdma.MaxMessage)
			r.bufs[id].Push(vnetRoom)
		}
		b := r.bufs[id].Bytes()
		o := &r.offers[r.tail%maxRingBuffers]
		// bufs keeps the memory alive.
		o.addr, o.len, o.id = uint64(uintptr(unsafe.Pointer(&b[0]))), uint32(len(b)), id
		r.tail++
	}
	r.used = r.used[:0]
	r.offers[0].tail = r.tail
}
