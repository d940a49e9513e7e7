package netns

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"ipoib/datapath/osthread"
)

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// TestDoOwn needs no privilege: nil and the own namespace run in place.
func TestDoOwn(t *testing.T) {
	f, err := os.Open(threadFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := errors.New("from fn")
	for name, ns := range map[string]*os.File{"nil": nil, "own": f} {
		calls := 0
		if err := Do(ns, func() error { calls++; return want }); !errors.Is(err, want) || calls != 1 {
			t.Errorf("%s: %d calls, error %v", name, calls, err)
		}
	}
	closed, _ := os.Open(threadFile)
	closed.Close()
	if err := Do(closed, func() error { t.Error("fn was called"); return nil }); err == nil {
		t.Error("closed file: no error")
	}
}

func TestIntegrationDo(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("IPOIB_TEST_ROOT") == "1" {
			t.Fatal("IPOIB_TEST_ROOT is set, but this is not root")
		}
		t.Skip("needs root")
	}
	// A namespace without a name, on a thread that ends with the goroutine.
	var f *os.File
	err := osthread.Run(func() (_ bool, err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return false, err
		}
		f, err = os.Open(threadFile)
		return false, err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	want := st.Sys().(*syscall.Stat_t).Ino
	home := inode(t, threadFile)
	if want == home {
		t.Fatal("no new namespace")
	}
	for range 50 {
		var in uint64
		if err := Do(f, func() error { in = inode(t, threadFile); return nil }); err != nil {
			t.Fatal(err)
		}
		if in != want {
			t.Fatalf("ran in namespace %d, want %d", in, want)
		}
		if got := inode(t, threadFile); got != home {
			t.Fatalf("left in namespace %d, want %d", got, home)
		}
	}
	if err := Do(f, func() error { return os.ErrInvalid }); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("error of fn: %v", err)
	}
}
