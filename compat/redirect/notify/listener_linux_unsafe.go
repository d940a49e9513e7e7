//go:build linux && (amd64 || arm64)

package notify

import (
	"errors"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Call is a system call that waits for an answer.
type Call struct {
	// ID names the notification.
	ID uint64
	// TID is the calling thread in the supervisor's process namespace, 0 when
	// it is not visible there.
	TID int
	// Nr is the number of the call, Args its arguments.
	Nr   int
	Args [6]uint64
}

// ErrGone is returned when the call ended before it was answered: the thread
// was killed.
var ErrGone = errors.New("notify: the call is gone")

// Listener receives the calls.
type Listener struct {
	fd int
	// receiving is set while a goroutine waits for calls, or is about to.
	receiving atomic.Bool
	fn        func(Call)
	end       chan error
}

// New takes over the listener fd of a filter.
func New(fd int) *Listener {
	l := &Listener{fd: fd, end: make(chan error, 1)}
	l.receiving.Store(true) // until Serve has begun there is nobody to take over from
	// Answers wake the caller on the processor of who answers (Linux 6.6);
	// older kernels do without.
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_SET_FLAGS,
		unix.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
	return l
}

// Fd returns the descriptor.
func (l *Listener) Fd() int { return l.fd }

// Close ends the supervision: calls that wait and those to come fail with
// ENOSYS.
func (l *Listener) Close() error { return unix.Close(l.fd) }

// The structures of uapi/linux/seccomp.h.
type (
	notif struct {
		id    uint64
		pid   uint32
		flags uint32
		nr    int32
		arch  uint32
		ip    uint64
		args  [6]uint64
	}
	notifResp struct {
		id    uint64
		val   int64
		error int32
		flags uint32
	}
	notifAddFD struct {
		id       uint64
		flags    uint32
		srcFD    uint32
		newFD    uint32
		newFlags uint32
	}
)

func (l *Listener) ioctl(req uintptr, p unsafe.Pointer) (int, error) {
	for {
		// p is a pointer to a structure of the caller, converted in the call.
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), req, uintptr(p))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		case unix.ENOENT:
			return 0, ErrGone
		default:
			return 0, errno
		}
	}
}

// Serve calls fn with each call until no process has the filter any more. It
// does so one after the other on one goroutine, which costs least; before fn
// waits for anybody but the kernel, it has to call Yield.
func (l *Listener) Serve(fn func(Call)) error {
	l.fn = fn
	go l.receive()
	err := <-l.end
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

func (l *Listener) receive() {
	for {
		c, err := l.Recv()
		if err != nil {
			select {
			case l.end <- err:
			default:
			}
			return
		}
		l.receiving.Store(false)
		l.fn(c)
		if !l.receiving.CompareAndSwap(false, true) {
			return // another goroutine does this now
		}
	}
}

// Yield lets another goroutine receive calls while this one waits: what it
// waits for may be for such a call to be answered. It may be called from any
// goroutine, at any time.
func (l *Listener) Yield() {
	if l.receiving.CompareAndSwap(false, true) {
		go l.receive()
	}
}

// Recv waits for a call. os.ErrClosed says that no process has the filter any
// more.
func (l *Listener) Recv() (Call, error) {
	for {
		fds := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return Call{}, os.NewSyscallError("poll", err)
		}
		switch {
		case fds[0].Revents&unix.POLLIN != 0:
		case fds[0].Revents != 0:
			return Call{}, os.ErrClosed
		default:
			continue
		}
		var n notif
		_, err := l.ioctl(unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n))
		switch {
		case errors.Is(err, ErrGone): // between poll and here
		case err != nil:
			return Call{}, os.NewSyscallError("ioctl", err)
		default:
			return Call{ID: n.id, TID: int(n.pid), Nr: int(n.nr), Args: n.args}, nil
		}
	}
}

// Valid reports whether the call still waits. Reading /proc of its thread is
// reading about that thread only if this holds afterwards.
func (l *Listener) Valid(id uint64) bool {
	_, err := l.ioctl(unix.SECCOMP_IOCTL_NOTIF_ID_VALID, unsafe.Pointer(&id))
	return err == nil
}

// Return answers a call with a result.
func (l *Listener) Return(id uint64, value int64) error {
	return l.send(notifResp{id: id, val: value})
}

// Fail answers a call with an error.
func (l *Listener) Fail(id uint64, errno unix.Errno) error {
	return l.send(notifResp{id: id, error: -int32(errno)})
}

// Continue lets the kernel execute the call.
func (l *Listener) Continue(id uint64) error {
	return l.send(notifResp{id: id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE})
}

func (l *Listener) send(r notifResp) error {
	_, err := l.ioctl(unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r))
	return err
}

// Install puts a descriptor of the supervisor at number at in the calling
// process, whose call waits on: the supervisor can close its own before it
// answers. EBADF says that the process's limit of open files is not above it.
func (l *Listener) Install(id uint64, fd, at int, cloexec bool) error {
	a := notifAddFD{
		id: id, flags: unix.SECCOMP_ADDFD_FLAG_SETFD, srcFD: uint32(fd), newFD: uint32(at),
	}
	if cloexec {
		a.newFlags = unix.O_CLOEXEC
	}
	_, err := l.ioctl(unix.SECCOMP_IOCTL_NOTIF_ADDFD, unsafe.Pointer(&a))
	return err
}
