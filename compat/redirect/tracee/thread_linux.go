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
	mem   int
	pidfd int
}

// ErrGone is returned for a thread that does not wait any more.
var ErrGone = errors.New("tracee: the thread is gone")

// Open opens the memory of a thread. valid reports whether it still waits.
func Open(tid int, valid func() bool) (*Thread, error) {
	fd, err := unix.Open(proc(tid)+"mem", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: proc(tid) + "mem", Err: err}
	}
	if !valid() {
		_ = unix.Close(fd)
		return nil, ErrGone
	}
	return &Thread{TID: tid, mem: fd, pidfd: -1}, nil
}

// Close releases what Open and other methods opened.
func (t *Thread) Close() {
	_ = unix.Close(t.mem)
	if t.pidfd >= 0 {
		_ = unix.Close(t.pidfd)
	}
}

func proc(tid int) string { return "/proc/" + strconv.Itoa(tid) + "/" }

// Read fills b from an address of the thread; EFAULT when it is not mapped.
func (t *Thread) Read(addr uint64, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Pread(t.mem, b, int64(addr))
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
	for len(b) > 0 {
		n, err := unix.Pwrite(t.mem, b, int64(addr))
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
func (t *Thread) Dup(fd int) (int, error) {
	if t.pidfd < 0 {
		p, err := pidfdOpen(t.TID)
		if err != nil {
			return -1, err
		}
		t.pidfd = p
	}
	return dup(t.pidfd, fd)
}

func dup(pidfd, fd int) (int, error) {
	n, err := unix.PidfdGetfd(pidfd, fd, 0)
	if err != nil {
		return -1, os.NewSyscallError("pidfd_getfd", err)
	}
	return n, nil
}

// pidfdOpen opens a thread (PIDFD_THREAD, Linux 6.9), or its process.
func pidfdOpen(tid int) (int, error) {
	fd, err := unix.PidfdOpen(tid, unix.O_EXCL)
	if errors.Is(err, unix.EINVAL) {
		var st Status
		if st, err = ReadStatus(tid); err == nil {
			fd, err = unix.PidfdOpen(st.TGID, 0)
		}
	}
	if err != nil {
		return -1, os.NewSyscallError("pidfd_open", err)
	}
	return fd, nil
}

// DupOf returns a duplicate of a descriptor of some thread.
func DupOf(tid, fd int) (int, error) {
	p, err := pidfdOpen(tid)
	if err != nil {
		return -1, err
	}
	defer func() { _ = unix.Close(p) }()
	return dup(p, fd)
}

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
