package netns

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"ipoib/datapath/osthread"
)

// threadFile is the nsfs file of the calling thread.
const threadFile = "/proc/thread-self/ns/net"

// Do calls fn on a thread in the network namespace that ns is open on, and
// returns its error. A nil ns, or the namespace that the process is in, needs
// no privilege; entering another takes CAP_SYS_ADMIN. fn must not start
// goroutines that rely on the namespace.
//
// The thread's own namespace is restored afterwards. Should that fail, the
// thread is not used again.
func Do(ns *os.File, fn func() error) error {
	if ns == nil {
		return fn()
	}
	return osthread.Run(func() (bool, error) { return enter(ns, fn) })
}

// enter runs fn on the calling thread and reports whether the thread is where
// it was before.
func enter(ns *os.File, fn func() error) (restored bool, err error) {
	home, err := os.Open(threadFile)
	if err != nil {
		return true, err
	}
	defer home.Close()
	same, err := sameFile(home, ns)
	if err != nil {
		return true, err
	}
	if same {
		return true, fn()
	}
	if err := setns(ns); err != nil {
		return true, err
	}
	defer func() {
		if back := setns(home); back != nil {
			restored, err = false, fmt.Errorf("return to own network namespace: %w", back)
			return
		}
		restored = true
	}()
	return false, fn()
}

func sameFile(a, b *os.File) (bool, error) {
	x, err := a.Stat()
	if err != nil {
		return false, err
	}
	y, err := b.Stat()
	if err != nil {
		return false, err
	}
	return os.SameFile(x, y), nil
}

func setns(f *os.File) error {
	return control(f, func(fd int) error {
		return os.NewSyscallError("setns", unix.Setns(fd, unix.CLONE_NEWNET))
	})
}

// control calls fn with the descriptor of f without changing f's mode, as Fd
// would.
func control(f *os.File, fn func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := c.Control(func(fd uintptr) { inner = fn(int(fd)) }); err != nil {
		return err
	}
	return inner
}
