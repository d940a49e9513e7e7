//go:build amd64 || arm64

package notify

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"ipoib/compat/redirect/filter"
	"ipoib/datapath/osthread"
)

// roleEnv makes the test binary a program whose calls are answered by a test.
const roleEnv = "NOTIFY_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(roleEnv) != "" {
		os.Exit(twoCalls())
	}
	os.Exit(m.Run())
}

// twoCalls opens two sockets at the same time.
func twoCalls() int {
	errs := make(chan error, 2)
	for _, proto := range []int{unix.NETLINK_ROUTE, unix.NETLINK_GENERIC} {
		go func() {
			_, err := netlink(proto)
			errs <- err
		}()
	}
	for range 2 {
		if err := <-errs; err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return 0
}

var fds = filter.Range{Lo: 900, Hi: 964}

// thread is a thread of the test that has the filter.
type thread struct {
	l   *Listener
	tid int
	do  chan func()
}

func newThread(t *testing.T) *thread {
	t.Helper()
	prog, err := filter.Program(fds)
	if err != nil {
		t.Fatal(err)
	}
	th := &thread{do: make(chan func())}
	ready := make(chan error, 1)
	ended := make(chan struct{})
	go osthread.Run(func() (bool, error) {
		defer close(ended)
		fd, err := filter.Install(prog)
		if err == nil {
			th.l, th.tid = New(fd), unix.Gettid()
		}
		ready <- err
		for fn := range th.do {
			fn()
		}
		return false, nil
	})
	if err := <-ready; errors.Is(err, filter.ErrKernel) || errors.Is(err, filter.ErrOtherSupervisor) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		close(th.do)
		<-ended
		// Nobody has the filter any more.
		if _, err := th.l.Recv(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("Recv after the end: %v", err)
		}
		_ = th.l.Close()
	})
	return th
}

// call makes a call on the thread and returns what it was received as. The
// result comes when it was answered.
func (th *thread) call(t *testing.T, fn func() (int, error)) (Call, func() (int, error)) {
	t.Helper()
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	th.do <- func() {
		n, err := fn()
		done <- result{n, err}
	}
	c, err := th.l.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return c, func() (int, error) { r := <-done; return r.n, r.err }
}

func socket() (int, error) { return netlink(unix.NETLINK_ROUTE) }

// netlink is socket(2) as a call that Go's scheduler knows to wait, which
// unix.Socket is not: the answer comes from this process, or after another call.
func netlink(proto int) (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW, uintptr(proto))
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

func TestAnswers(t *testing.T) {
	th := newThread(t)
	for _, tt := range []struct {
		name   string
		answer func(id uint64) error
		n      int
		err    error
	}{
		{"a result", func(id uint64) error { return th.l.Return(id, 4711) }, 4711, nil},
		{"a negative result", func(id uint64) error { return th.l.Return(id, -int64(unix.EXFULL)) }, -1, unix.EXFULL},
		{"an error", func(id uint64) error { return th.l.Fail(id, unix.ENETDOWN) }, -1, unix.ENETDOWN},
	} {
		c, wait := th.call(t, socket)
		if c.TID != th.tid || c.Nr != unix.SYS_SOCKET || !slices.Equal(c.Args[:3], []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}) {
			t.Errorf("%s: %+v of thread %d", tt.name, c, th.tid)
		}
		if !th.l.Valid(c.ID) {
			t.Errorf("%s: does not wait", tt.name)
		}
		if err := tt.answer(c.ID); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if n, err := wait(); n != tt.n || !errors.Is(err, tt.err) {
			t.Errorf("%s: %d, %v", tt.name, n, err)
		}
		// Once is enough.
		if err := tt.answer(c.ID); !errors.Is(err, ErrGone) || th.l.Valid(c.ID) {
			t.Errorf("%s: answered again: %v", tt.name, err)
		}
	}
	c, wait := th.call(t, socket)
	if err := th.l.Continue(c.ID); err != nil {
		t.Error(err)
	}
	fd, err := wait()
	if err != nil {
		t.Fatalf("a call of the kernel's: %v", err)
	}
	_ = unix.Close(fd)
}

// A descriptor is put at a number in the program before the call is answered.
func TestInstall(t *testing.T) {
	th := newThread(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close(); _ = w.Close() }()
	c, wait := th.call(t, socket)
	if err := th.l.Install(c.ID, int(w.Fd()), fds.Lo, true); err != nil {
		t.Fatal(err)
	}
	if err := th.l.Install(c.ID, -1, fds.Lo, true); !errors.Is(err, unix.EBADF) {
		t.Errorf("no descriptor: %v", err)
	}
	if err := th.l.Return(c.ID, int64(fds.Lo)); err != nil {
		t.Fatal(err)
	}
	fd, err := wait()
	if err != nil || fd != fds.Lo {
		t.Fatalf("%d, %v", fd, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags != unix.FD_CLOEXEC {
		t.Errorf("flags %d, %v", flags, err)
	}
	if _, err := unix.Write(fd, []byte("x")); err != nil {
		t.Error(err)
	}
	b := make([]byte, 1)
	if _, err := r.Read(b); err != nil || b[0] != 'x' {
		t.Errorf("%q, %v", b, err)
	}
}

// A call whose answer waits for another call does not keep that from being
// answered, if it says that it waits.
func TestServe(t *testing.T) {
	th := newThread(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	status := make(chan syscall.WaitStatus, 1)
	go func() {
		th.do <- func() {
			// The filter is inherited.
			pid, err := syscall.ForkExec(self, []string{self}, &syscall.ProcAttr{
				Env: append(os.Environ(), roleEnv+"=1"), Files: []uintptr{0, 1, 2},
			})
			var ws syscall.WaitStatus
			if err == nil {
				_, err = syscall.Wait4(pid, &ws, 0, nil)
			}
			if err != nil {
				ws = 255 << 8
			}
			status <- ws
		}
	}()
	var ours, others atomic.Int32
	generic := make(chan struct{})
	served := make(chan error, 1)
	go func() {
		served <- th.l.Serve(func(c Call) {
			if c.Nr != unix.SYS_SOCKET {
				others.Add(1)
			} else if ours.Add(1); c.Args[2] == unix.NETLINK_ROUTE {
				th.l.Yield()
				th.l.Yield() // twice is as good
				<-generic
			} else {
				close(generic)
			}
			_ = th.l.Continue(c.ID)
		})
	}()
	if ws := <-status; ws.ExitStatus() != 0 {
		t.Errorf("exit status %d", ws.ExitStatus())
	}
	if ours.Load() != 2 {
		t.Errorf("%d calls, and %d others", ours.Load(), others.Load())
	}
	close(th.do)
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	th.do = make(chan func()) // for the clean-up
}
