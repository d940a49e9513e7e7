package osthread

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Run calls fn on a thread that no other goroutine uses meanwhile, and returns
// its error. fn reports whether the thread is again what it was before; the
// thread ends otherwise, without harm to others.
//
// It is never the first thread of the process: that one cannot end, and what is
// done to it is done to what /proc shows of the process.
func Run(fn func() (restored bool, err error)) error {
	done := make(chan error, 1)
	go run(fn, done)
	return <-done
}

func run(fn func() (bool, error), done chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() {
		// While this goroutine holds the first thread, another one cannot run on it.
		done <- Run(fn)
		runtime.UnlockOSThread()
		return
	}
	restored, err := fn()
	if restored {
		runtime.UnlockOSThread()
	}
	done <- err
}
