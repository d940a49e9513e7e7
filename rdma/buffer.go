package rdma

import "sync"

// Headroom is kept free in front of the payload of every Buffer, for headers
// that are put in place: a GRH (40), a virtio-net header, an encapsulation
// header.
const Headroom = 64

// MaxMessage is the largest payload of a Buffer: a 64 KiB IP packet with its
// encapsulation header, rounded up.
const MaxMessage = 65536 + 64

// Size classes of a pool: one link MTU, and a large send.
const (
	smallMessage = 4096 + 64
	smallKeep    = 1024
	largeKeep    = 256
)

// Buffer is one block of memory registered with a provider. It has exactly
// one owner at any time; the owner reads and writes Bytes and ends with Free.
// Handing over (SendWR.Buf, WorkCompletion.Buf) moves ownership.
type Buffer struct {
	mem      []byte
	off, end int
	pool     *BufferPool
	free     bool
}

// Bytes returns the payload.
func (b *Buffer) Bytes() []byte { return b.mem[b.off:b.end] }

// Len returns the payload size in bytes.
func (b *Buffer) Len() int { return b.end - b.off }

// Cap returns the largest payload that fits behind the current start.
func (b *Buffer) Cap() int { return len(b.mem) - b.off }

// Reset makes the payload n bytes at the default place, with Headroom in
// front. The content is undefined. It panics when n does not fit.
func (b *Buffer) Reset(n int) []byte {
	b.off, b.end = Headroom, Headroom+n
	return b.mem[b.off:b.end]
}

// SetLen sets the payload size, keeping its start.
func (b *Buffer) SetLen(n int) { b.end = b.off + n; _ = b.mem[:b.end] }

// Push extends the payload by n bytes at the front and returns it.
func (b *Buffer) Push(n int) []byte {
	if n > b.off {
		panic("rdma: buffer headroom exhausted")
	}
	b.off -= n
	return b.Bytes()
}

// Pull drops n bytes from the front and returns the rest.
func (b *Buffer) Pull(n int) []byte {
	if n > b.Len() {
		panic("rdma: buffer pulled past its end")
	}
	b.off += n
	return b.Bytes()
}

// Free gives the buffer back to its pool. A second Free panics: it would give
// one block two owners.
func (b *Buffer) Free() {
	if b.free {
		panic("rdma: buffer freed twice")
	}
	b.free = true
	b.pool.put(b)
}

// Pool returns the pool that the buffer goes back to.
func (b *Buffer) Pool() *BufferPool { return b.pool }

// Clone returns a copy of the payload in a buffer of the same pool.
func (b *Buffer) Clone() *Buffer {
	c := b.pool.Get(b.Len())
	copy(c.Bytes(), b.Bytes())
	return c
}

// BufferPool hands out buffers. It keeps a bounded number of free ones and
// leaves the rest to the garbage collector.
type BufferPool struct {
	small, large freeList
}

type freeList struct {
	mu   sync.Mutex
	free []*Buffer // guarded by mu
}

// NewBufferPool returns an empty pool.
func NewBufferPool() *BufferPool { return &BufferPool{} }

// Get returns a buffer with a payload of n bytes, content undefined, which
// the caller owns. It panics when n is over MaxMessage.
func (p *BufferPool) Get(n int) *Buffer {
	if n > MaxMessage {
		panic("rdma: buffer over MaxMessage")
	}
	list, size := &p.small, smallMessage
	if n > smallMessage {
		list, size = &p.large, MaxMessage
	}
	list.mu.Lock()
	var b *Buffer
	if k := len(list.free); k > 0 {
		b = list.free[k-1]
		list.free = list.free[:k-1]
	}
	list.mu.Unlock()
	if b == nil {
		b = &Buffer{mem: make([]byte, Headroom+size), pool: p}
	}
	b.free = false
	b.Reset(n)
	return b
}

func (p *BufferPool) put(b *Buffer) {
	list, keep := &p.small, smallKeep
	if len(b.mem) > Headroom+smallMessage {
		list, keep = &p.large, largeKeep
	}
	list.mu.Lock()
	if len(list.free) < keep {
		list.free = append(list.free, b)
	}
	list.mu.Unlock()
}
