package nlsock

import (
	"golang.org/x/sys/unix"

	"ipoib/compat/redirect/tracee"
	"ipoib/compat/redirect/trap"
)

// erestartsys is what the kernel makes EINTR or a repetition of, as the
// signal's handler asks for (ERESTARTSYS). A thread that no signal waits for
// would see the number itself.
const erestartsys unix.Errno = 512

// waiter looks after a thread that waits for a datagram. Only SIGKILL wakes
// it: signals, stops and the freezer have to be noticed here.
type waiter struct {
	tr *trap.Trap
	// timed is set when the socket has a receive timeout: such a call is not
	// repeated after a signal.
	timed bool
	ticks int
	// shared counts the ticks for which a signal to the process waited.
	shared int
}

// check returns the errno that the call is to end with, 0 to wait on; ok is
// false when nobody waits any more.
func (w *waiter) check() (errno unix.Errno, ok bool) {
	if !w.tr.Valid() {
		return 0, false
	}
	st, err := tracee.ReadStatus(w.tr.TID)
	if err != nil {
		return 0, true
	}
	w.ticks++
	if w.signalled(&st) || w.ticks%4 == 0 && tracee.Freezing(w.tr.TID) {
		if w.timed {
			return unix.EINTR, true
		}
		return erestartsys, true
	}
	if w.shared > 2 {
		// The kernel gave a signal of the process to a thread of its choice,
		// perhaps to this one, and that has not taken it.
		return unix.EINTR, true
	}
	return 0, true
}

// signalled reports whether the kernel has told this thread of a signal. One
// for the process goes to the main thread if that takes it.
func (w *waiter) signalled(st *tracee.Status) bool {
	if st.Private&^st.Blocked != 0 {
		return true
	}
	waiting := st.Shared &^ st.Blocked
	switch {
	case waiting == 0:
		w.shared = 0
	case st.Threads == 1 || w.tr.TID == st.TGID:
		return true
	default:
		main, err := tracee.ReadStatus(st.TGID)
		if err == nil && waiting&main.Blocked != 0 {
			w.shared++
		}
	}
	return false
}
