package trap

import (
	"golang.org/x/sys/unix"

	"ipoib/compat/redirect/notify"
	"ipoib/compat/redirect/tracee"
)

// Trap is a system call of a program that waits for its answer. Exactly one
// of the methods that answer takes effect; answers after the first are ignored.
type Trap struct {
	notify.Call
	// Thread is who calls.
	Thread *tracee.Thread

	l        Answers
	answered bool
}

// Answers is where answers go; a *notify.Listener in programs.
type Answers interface {
	Valid(id uint64) bool
	Return(id uint64, value int64) error
	Fail(id uint64, errno unix.Errno) error
	Continue(id uint64) error
	Install(id uint64, fd, at int, cloexec bool) error
	// Yield is called before the answer waits for anybody but the kernel.
	Yield()
}

var _ Answers = (*notify.Listener)(nil)

// New returns a call that was received.
func New(l Answers, c notify.Call) *Trap {
	return &Trap{Call: c, Thread: tracee.New(c.TID, func() bool { return l.Valid(c.ID) }), l: l}
}

// Yield lets other calls be answered while this one waits.
func (t *Trap) Yield() { t.l.Yield() }

// Close releases the thread.
func (t *Trap) Close() { t.Thread.Close() }

// Answered reports whether there was an answer.
func (t *Trap) Answered() bool { return t.answered }

// Valid reports whether the call still waits.
func (t *Trap) Valid() bool { return t.l.Valid(t.ID) }

// Return answers with a result, Fail with an errno, Continue has the kernel
// execute the call. The error is notify.ErrGone when nobody waits any more.
func (t *Trap) Return(value int) error {
	if t.answered {
		return nil
	}
	t.answered = true
	return t.l.Return(t.ID, int64(value))
}

// Fail answers with an errno.
func (t *Trap) Fail(errno unix.Errno) error {
	if t.answered {
		return nil
	}
	t.answered = true
	return t.l.Fail(t.ID, errno)
}

// Continue has the kernel execute the call.
func (t *Trap) Continue() error {
	if t.answered {
		return nil
	}
	t.answered = true
	return t.l.Continue(t.ID)
}

// Install puts descriptor fd at number at in the program. The call waits on.
func (t *Trap) Install(fd, at int, cloexec bool) error { return t.l.Install(t.ID, fd, at, cloexec) }

// FD is argument n as a descriptor.
func (t *Trap) FD(n int) int { return int(int32(t.Args[n])) }
