package tracee

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Thread is a thread that waits.
type Thread struct {
	// TID is its number.
	TID   int
	valid func() bool
	mem   int // -1 until it is needed
}

// ErrGone is returned for a thread that does not wait any more.
var ErrGone = errors.New("tracee: the thread is gone")

// New returns a thread. valid reports whether it still waits.
func New(tid int, valid func() bool) *Thread { return &Thread{TID: tid, valid: valid, mem: -1} }

// Close releases what other methods opened.
func (t *Thread) Close() {
	if t.mem >= 0 {
		_ = unix.Close(t.mem)
		t.mem = -1
	}
}

// memory opens the memory of the thread.
func (t *Thread) memory() (int, error) {
	if t.mem >= 0 {
		return t.mem, nil
	}
	fd, err := unix.Open(proc(t.TID)+"mem", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: proc(t.TID) + "mem", Err: err}
	}
	if !t.valid() {
		_ = unix.Close(fd)
		return -1, ErrGone
	}
	t.mem = fd
	return fd, nil
}

func proc(tid int) string { return "/proc/" + strconv.Itoa(tid) + "/" }

// Read fills b from an address of the thread; EFAULT when it is not mapped.
func (t *Thread) Read(addr uint64, b []byte) error {
	mem, err := t.memory()
	if err != nil {
		return err
	}
	for len(b) > 0 {
		n, err := unix.Pread(mem, b, int64(addr))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || n == 0:
			return unix.EFAULT
		}
		b, addr = b[n:], addr+uint64(n)
	}
	return nil
}

// Write writes b to an address of the thread; EFAULT when it is not mapped.
func (t *Thread) Write(addr uint64, b []byte) error {
	mem, err := t.memory()
	if err != nil {
		return err
	}
	for len(b) > 0 {
		n, err := unix.Pwrite(mem, b, int64(addr))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || n == 0:
			return unix.EFAULT
		}
		b, addr = b[n:], addr+uint64(n)
	}
	return nil
}

// Dup returns a duplicate of a descriptor of the thread, close-on-exec; EBADF
// when there is none.
func (t *Thread) Dup(fd int) (int, error) { return DupOf(t.TID, fd) }

// HasFD reports whether a descriptor is open in the thread.
func (t *Thread) HasFD(fd int) bool {
	_, err := os.Lstat(proc(t.TID) + "fd/" + strconv.Itoa(fd))
	return err == nil
}

// OpenNetNS opens the network namespace of the thread. The caller closes it.
func (t *Thread) OpenNetNS() (*os.File, error) { return os.Open(proc(t.TID) + "ns/net") }

// Uint32 reads a number in host byte order.
func (t *Thread) Uint32(addr uint64) (uint32, error) {
	var b [4]byte
	err := t.Read(addr, b[:])
	return native.Uint32(b[:]), err
}

// readAll reads a small file whole.
func readAll(path string, buf []byte) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	n := 0
	for n < len(buf) {
		m, err := unix.Read(fd, buf[n:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		}
		if m == 0 {
			return buf[:n], nil
		}
		n += m
	}
	return nil, fmt.Errorf("%s: %w", path, io.ErrShortBuffer)
}

// SocketInode returns the inode of the socket that a descriptor of some thread
// is, 0 when it is none.
func SocketInode(tid, fd int) uint64 {
	link, err := os.Readlink(proc(tid) + "fd/" + strconv.Itoa(fd))
	if err != nil {
		return 0
	}
	text, ok := strings.CutPrefix(link, "socket:[")
	if !ok {
		return 0
	}
	ino, err := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 64)
	if err != nil {
		return 0
	}
	return ino
}
