package redirecttest

import (
	"encoding/binary"
	"runtime"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"ipoib/compat/redirect/notify"
	"ipoib/compat/redirect/trap"
)

// Answers records how a call was answered. It is a trap.Answers.
type Answers struct {
	mu sync.Mutex
	// Count is how many answers there were, Gone makes the caller one that
	// does not wait; what follows is the last answer.
	Count     int
	Gone      bool
	Value     int64
	Errno     unix.Errno
	Continued bool
	// Yields counts the calls of Yield.
	Yields int
}

var _ trap.Answers = (*Answers)(nil)

func (a *Answers) set(fn func()) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.Gone {
		return notify.ErrGone
	}
	a.Count++
	a.Value, a.Errno, a.Continued = 0, 0, false
	fn()
	return nil
}

// Valid implements trap.Answers.
func (a *Answers) Valid(uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.Gone
}

// Return implements trap.Answers.
func (a *Answers) Return(_ uint64, v int64) error { return a.set(func() { a.Value = v }) }

// Fail implements trap.Answers.
func (a *Answers) Fail(_ uint64, e unix.Errno) error { return a.set(func() { a.Errno = e }) }

// Continue implements trap.Answers.
func (a *Answers) Continue(uint64) error { return a.set(func() { a.Continued = true }) }

// Install implements trap.Answers: nothing can be installed.
func (a *Answers) Install(uint64, int, int, bool) error { return unix.EBADF }

// Yield implements trap.Answers.
func (a *Answers) Yield() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Yields++
}

// Call returns a call of the test's own thread, which stays the same for the
// test, and where its answer goes.
func Call(tb testing.TB, nr int, args ...uint64) (*trap.Trap, *Answers) {
	tb.Helper()
	runtime.LockOSThread()
	tb.Cleanup(runtime.UnlockOSThread)
	c := notify.Call{ID: 1, TID: unix.Gettid(), Nr: nr}
	copy(c.Args[:], args)
	a := new(Answers)
	t := trap.New(a, c)
	tb.Cleanup(t.Close)
	return t, a
}

// Memory is a page of a program, behind which nothing can be read or written.
type Memory struct {
	b []byte
}

// NewMemory maps the memory.
func NewMemory(tb testing.TB) *Memory {
	tb.Helper()
	page := unix.Getpagesize()
	fd, err := unix.MemfdCreate("program", unix.MFD_CLOEXEC)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Ftruncate(fd, int64(page)); err != nil {
		tb.Fatal(err)
	}
	// The second page is behind the end of the file: it cannot be read, not
	// even by /proc/PID/mem, which PROT_NONE does not stop.
	b, err := unix.Mmap(fd, 0, 2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = unix.Munmap(b) })
	return &Memory{b: b[:page:page]}
}

// Len is the size of the memory.
func (m *Memory) Len() int { return len(m.b) }

// Put copies b to the end of the memory, so that the byte behind it is not
// mapped, in front of room bytes, and returns its address.
func (m *Memory) Put(b []byte, room int) uint64 {
	at := len(m.b) - len(b) - room
	clear(m.b)
	copy(m.b[at:], b)
	return m.Address(at)
}

// Address is that of an offset.
func (m *Memory) Address(at int) uint64 {
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(m.b)))) + uint64(at)
}

// At returns the n bytes at an address.
func (m *Memory) At(addr uint64, n int) []byte {
	at := int(addr - m.Address(0))
	return m.b[at : at+n]
}

// Put32 appends numbers in host byte order.
func Put32(b []byte, vs ...uint32) []byte {
	for _, v := range vs {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	return b
}
