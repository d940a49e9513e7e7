package tun

import (
	"golang.org/x/sys/unix"

	"ipoib/rdma"
)

// smallRead is what a buffer of the pool's small class takes: an IPoIB
// datagram of the largest link MTU.
const smallRead = 4096 + encapLen

// reader holds the buffers that the next packet is read into. It belongs to
// the one goroutine in Read.
//
// How large a packet is shows only after it was read. So it is read into a
// small buffer, with a large one behind for what does not fit; one that
// spills over is moved to the large buffer whole. After a large packet the
// next is expected to be large too, and read there directly.
type reader struct {
	pool       *rdma.BufferPool
	batchBytes int
	// small and large are kept from one packet to the next, because most use
	// one of them only. The payload starts at the virtio-net header.
	small, large *rdma.Buffer
	expectLarge  bool
	vec          iovecs
}

// Read implements Device.
func (d *device) Read(pkts []Packet) (int, error) {
	d.readMu.Lock()
	defer d.readMu.Unlock()
	for {
		n, err := d.readOnce(pkts)
		if n > 0 || err != nil || len(pkts) == 0 {
			return n, err
		}
		w, err := d.waiter()
		if err != nil {
			return 0, err
		}
		if err := w.wait(); err != nil && !d.closed.Load() {
			return 0, &OpError{Op: "wait", Name: *d.name.Load(), Err: err}
		}
	}
}

// readOnce is Read without waiting: it returns 0 packets when there are none.
func (d *device) readOnce(pkts []Packet) (int, error) {
	d.use.RLock()
	defer d.use.RUnlock()
	if d.closed.Load() {
		return 0, rdma.ErrClosed
	}
	return d.readBatch(pkts)
}

// waiter returns what Read waits with.
func (d *device) waiter() (*waiter, error) {
	d.use.RLock()
	defer d.use.RUnlock()
	if d.closed.Load() {
		return nil, rdma.ErrClosed
	}
	if d.wait == nil {
		w, err := newWaiter(d.fd)
		if err != nil {
			return nil, &OpError{Op: "wait", Name: *d.name.Load(), Err: err}
		}
		d.wait = w // Read has one goroutine; Close waits for use
	}
	return d.wait, nil
}

// readBatch reads what is there, 0 packets when nothing is.
func (d *device) readBatch(pkts []Packet) (n int, err error) {
	r := &d.reader
	for size := 0; n < len(pkts) && size < r.batchBytes; {
		buf, errno := r.read(d.fd)
		switch {
		case errno == unix.EAGAIN, errno != 0 && n > 0:
			return n, nil // an error comes again at the next call
		case errno == unix.EINTR:
			continue
		case errno == unix.EBADFD, errno == unix.EFAULT:
			// EFAULT is what a queue says while it is being detached
			// (tun_ring_recv, RCV_SHUTDOWN).
			return 0, ErrRemoved
		case errno != 0:
			return 0, &OpError{Op: "read", Name: *d.name.Load(), Err: errno}
		}
		if p, ok := d.packet(buf); ok {
			size += p.Buf.Len()
			pkts[n] = p
			n++
		}
	}
	return n, nil
}

// packet makes a packet of what was read, which starts at the virtio-net
// header; it reports false for what is none.
func (d *device) packet(buf *rdma.Buffer) (Packet, bool) {
	o, err := DecodeVnet(buf.Bytes())
	if err != nil {
		d.readInvalid.Add(1)
		if d.onInvalid != nil {
			d.onInvalid()
		}
		buf.Free()
		return Packet{}, false
	}
	buf.Pull(vnetRoom)
	return Packet{Buf: buf, Offload: o}, true
}

// read returns the next packet, which starts at the virtio-net header.
func (r *reader) read(fd int) (*rdma.Buffer, unix.Errno) {
	large := r.get(&r.large, rdma.MaxMessage)
	if r.expectLarge {
		n, errno := r.vec.read(fd, large, nil)
		if errno != 0 {
			return nil, errno
		}
		if n > vnetRoom+smallRead {
			return take(&r.large, n), 0
		}
		r.expectLarge = false
		copy(r.get(&r.small, smallRead), large[:n])
		return take(&r.small, n), 0
	}
	small := r.get(&r.small, smallRead)
	n, errno := r.vec.read(fd, small, large[len(small):])
	if errno != 0 {
		return nil, errno
	}
	if n <= len(small) {
		return take(&r.small, n), 0
	}
	r.expectLarge = true
	copy(large, small)
	return take(&r.large, n), 0
}

// get returns the memory of a kept buffer, from the virtio-net header on.
func (r *reader) get(kept **rdma.Buffer, size int) []byte {
	if *kept == nil {
		*kept = r.pool.Get(size)
		(*kept).Push(vnetRoom)
	}
	return (*kept).Bytes()
}

// take hands a kept buffer over with n octets in it.
func take(kept **rdma.Buffer, n int) *rdma.Buffer {
	b := *kept
	*kept = nil
	b.SetLen(n)
	return b
}

// release gives the kept buffers back.
func (r *reader) release() {
	for _, kept := range []**rdma.Buffer{&r.small, &r.large} {
		if *kept != nil {
			(*kept).Free()
			*kept = nil
		}
	}
}
