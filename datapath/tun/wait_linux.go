package tun

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// waiter parks the goroutine in Read until a TUN has packets. It is made by
// the first Read: a TUN that a Poller reads is not registered with the
// runtime's poller, or each packet would wake that as well.
type waiter struct {
	file *os.File // another descriptor of the TUN
	raw  syscall.RawConn
	// ready is kept, so that waiting does not allocate.
	ready func(fd uintptr) bool
}

func newWaiter(fd int) (*waiter, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	// The descriptor does not block, so that os.NewFile gives it to the
	// runtime's poller.
	w := &waiter{file: os.NewFile(uintptr(dup), "tun")}
	if w.raw, err = w.file.SyscallConn(); err != nil {
		w.file.Close()
		return nil, err
	}
	// The runtime tells of changes only, so what is there has to be asked for.
	w.ready = func(fd uintptr) bool {
		p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p[:], 0)
		return n > 0 || err != nil
	}
	return w, nil
}

// wait returns when the TUN may be readable, was deleted, or with an error
// after close.
func (w *waiter) wait() error {
	return w.raw.Read(w.ready)
}
