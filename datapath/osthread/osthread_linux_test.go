package osthread

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain runs on the first thread, which init has locked it to.
func init() { runtime.LockOSThread() }

var onFirst struct {
	first, tid, again int
	err               error
}

func TestMain(m *testing.M) {
	runtime.UnlockOSThread()
	done := make(chan error, 1)
	onFirst.first = unix.Gettid()
	run(func() (bool, error) {
		onFirst.tid = unix.Gettid()
		return true, errors.ErrUnsupported
	}, done)
	onFirst.err, onFirst.again = <-done, unix.Gettid()
	os.Exit(m.Run())
}

// What would run on the first thread of the process runs on another one.
func TestFirstThread(t *testing.T) {
	if onFirst.first != os.Getpid() {
		t.Fatalf("began on thread %d of %d", onFirst.first, os.Getpid())
	}
	if onFirst.tid == 0 || onFirst.tid == os.Getpid() || !errors.Is(onFirst.err, errors.ErrUnsupported) {
		t.Errorf("ran on %d, %v", onFirst.tid, onFirst.err)
	}
}

// A thread that is not restored is not there any more, nor is its working
// directory anybody else's.
func TestNotRestored(t *testing.T) {
	home, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		tid := 0
		err := Run(func() (bool, error) {
			tid = unix.Gettid()
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return false, err
			}
			return false, unix.Chdir("/proc")
		})
		if err != nil {
			t.Fatal(err)
		}
		if dir, err := os.Readlink("/proc/self/cwd"); err != nil || dir != home {
			t.Fatalf("in %s after thread %d, %v", dir, tid, err)
		}
	}
}
