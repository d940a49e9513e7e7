//go:build linux

package tun

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"ipoib/rdma"
)

// The system calls below do not tell the scheduler: the descriptor does not
// block, and a call is over in a few microseconds.

// iovecs is the argument of readv(2), kept so that it is not allocated for
// each packet.
type iovecs [2]unix.Iovec

// read reads one packet into a and, where that is full, b, which may be nil;
// a is not empty.
func (v *iovecs) read(fd int, a, b []byte) (int, unix.Errno) {
	n := uintptr(1)
	v[0].Base = &a[0]
	v[0].SetLen(len(a))
	if len(b) > 0 {
		n = 2
		v[1].Base = &b[0]
		v[1].SetLen(len(b))
	}
	// v is referenced by this frame and its pointers are typed, so that all
	// memory involved stays alive during the call; the heap does not move.
	r, _, errno := unix.RawSyscall(unix.SYS_READV, uintptr(fd), uintptr(unsafe.Pointer(v)), n)
	*v = iovecs{}
	return int(r), errno
}

// write writes b, which is not empty.
func write(fd int, b []byte) (int, unix.Errno) {
	// The conversion in the argument list keeps b alive during the call.
	r, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return int(r), errno
}

// partVecs is the argument of writev(2), kept so that it is not allocated for
// each packet.
type partVecs [1 + MaxParts]unix.Iovec

// write writes b, which is not empty, and the parts behind it, of which there
// are at most MaxParts, as one packet.
func (v *partVecs) write(fd int, b []byte, parts []*rdma.Buffer) (int, unix.Errno) {
	v[0].Base = &b[0]
	v[0].SetLen(len(b))
	n := 1
	for _, p := range parts {
		if part := p.Bytes(); len(part) > 0 {
			v[n].Base = &part[0]
			v[n].SetLen(len(part))
			n++
		}
	}
	// As in iovecs.read: typed pointers keep the memory alive.
	r, _, errno := unix.RawSyscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(v)), uintptr(n))
	clear(v[:n])
	return int(r), errno
}

// epollWait is epoll_wait(2) with a timeout in milliseconds, without telling
// the scheduler.
func epollWait(ep int, ev []unix.EpollEvent, ms int) (int, unix.Errno) {
	// The conversion in the argument list keeps ev alive during the call.
	r, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(ep), uintptr(unsafe.Pointer(&ev[0])), uintptr(len(ev)), uintptr(ms), 0, 0)
	return int(r), errno
}
