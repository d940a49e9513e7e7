//go:build linux && (amd64 || arm64)

package filter

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// ErrOtherSupervisor is returned when another program answers system calls of
// this one already: there can be one.
var ErrOtherSupervisor = errors.New("another program supervises the system calls of this one")

// ErrKernel is returned when the kernel has no user notification that signals
// do not interrupt (SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, Linux 5.19).
var ErrKernel = errors.New("the kernel is too old: Linux 5.19 or newer is needed, with CONFIG_SECCOMP_FILTER")

// Install sets the filter for the calling thread, which should be locked to
// its goroutine, and returns the listener, close-on-exec. Without
// CAP_SYS_ADMIN the thread and what it executes can gain no privileges any
// more (PR_SET_NO_NEW_PRIVS).
func Install(prog []bpf.RawInstruction) (listener int, err error) {
	// struct sock_filter and bpf.RawInstruction have the same layout: u16, two
	// u8, u32.
	fprog := unix.SockFprog{
		Len:    uint16(len(prog)),
		Filter: (*unix.SockFilter)(unsafe.Pointer(&prog[0])),
	}
	const flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	install := func() (uintptr, unix.Errno) {
		// The pointer is to memory that outlives the call, converted in it.
		fd, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags,
			uintptr(unsafe.Pointer(&fprog)))
		return fd, errno
	}
	fd, errno := install()
	if errno == unix.EACCES {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return -1, os.NewSyscallError("prctl", err)
		}
		fd, errno = install()
	}
	switch errno {
	case 0:
		return int(fd), nil
	case unix.EBUSY:
		return -1, ErrOtherSupervisor
	case unix.EINVAL, unix.ENOSYS:
		return -1, ErrKernel
	}
	return -1, os.NewSyscallError("seccomp", errno)
}
