package tracee

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// pidfds are open threads, by number. One that is open stays that thread: when
// it ended and another has its number, it is found out and opened anew.
var pidfds = struct {
	sync.Mutex
	open map[int]int // guarded by the mutex
}{open: make(map[int]int)}

// maxPidfds bounds how many threads are kept open.
const maxPidfds = 256

// DupOf returns a duplicate of a descriptor of some thread, close-on-exec;
// EBADF when there is none.
func DupOf(tid, fd int) (int, error) {
	pidfds.Lock()
	defer pidfds.Unlock()
	if p, ok := pidfds.open[tid]; ok {
		n, err := unix.PidfdGetfd(p, fd, 0)
		if !errors.Is(err, unix.ESRCH) {
			return n, os.NewSyscallError("pidfd_getfd", err)
		}
		_ = unix.Close(p)
		delete(pidfds.open, tid)
	}
	p, keep, err := pidfdOpen(tid)
	if err != nil {
		return -1, os.NewSyscallError("pidfd_open", err)
	}
	n, err := unix.PidfdGetfd(p, fd, 0)
	if !keep {
		_ = unix.Close(p)
		return n, os.NewSyscallError("pidfd_getfd", err)
	}
	if len(pidfds.open) >= maxPidfds {
		for _, old := range pidfds.open {
			_ = unix.Close(old)
		}
		clear(pidfds.open)
	}
	pidfds.open[tid] = p
	return n, os.NewSyscallError("pidfd_getfd", err)
}

// pidfdOpen opens a thread (PIDFD_THREAD, Linux 6.9). Older kernels can open
// its process only, which cannot be kept: the thread's number may become that
// of another process while this one runs.
func pidfdOpen(tid int) (fd int, keep bool, err error) {
	fd, err = unix.PidfdOpen(tid, unix.O_EXCL)
	if !errors.Is(err, unix.EINVAL) {
		return fd, true, err
	}
	st, err := ReadStatus(tid)
	if err != nil {
		return -1, false, err
	}
	fd, err = unix.PidfdOpen(st.TGID, 0)
	return fd, false, err
}
