package tracee

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

const statusText = "Name:\tip\nUmask:\t0022\nTgid:\t4711\nNgid:\t0\nPid:\t4712\nNStgid:\t4711\t23\nThreads:\t3\n" +
	"SigPnd:\t0000000000000001\nShdPnd:\t0000000000002000\nSigBlk:\t0000000000000004\nCapEff:\t000001ffffffffff\n"

func TestParseStatus(t *testing.T) {
	want := Status{
		TGID: 4711, NSTGID: 23, Threads: 3, Private: 1, Shared: 0x2000, Blocked: 4, Effective: 0x1ffffffffff,
	}
	if got := ParseStatus([]byte(statusText)); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func FuzzParseStatus(f *testing.F) {
	f.Add([]byte(statusText))
	f.Add([]byte("NStgid:\n:\nTgid"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s := ParseStatus(b); s.TGID < 0 || s.NSTGID < 0 || s.Threads < 0 {
			t.Errorf("%+v", s)
		}
	})
}

// self opens the test's own thread, which has memory to read and write.
func self(t *testing.T) *Thread {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	th := New(unix.Gettid(), func() bool { return true })
	t.Cleanup(th.Close)
	return th
}

// escaped keeps on the heap what addresses are taken of: a stack moves.
var escaped unsafe.Pointer

func address(p unsafe.Pointer) uint64 {
	escaped = p
	return uint64(uintptr(p))
}

func addressOf(b []byte) uint64 { return address(unsafe.Pointer(&b[0])) }

func TestMemory(t *testing.T) {
	th := self(t)
	src, dst := []byte("abcdefghij"), make([]byte, 10)
	iov := []Iovec{{addressOf(src), 3}, {addressOf(src) + 5, 5}}
	got, err := th.Gather(iov)
	if err != nil || string(got) != "abcfghij" {
		t.Errorf("Gather: %q, %v", got, err)
	}
	n, err := th.Scatter([]Iovec{{addressOf(dst), 2}, {0, 0}, {addressOf(dst) + 4, 100}}, []byte("123456"))
	if err != nil || n != 6 || !bytes.Equal(dst, []byte("12\x00\x003456\x00\x00")) {
		t.Errorf("Scatter: %q, %d, %v", dst, n, err)
	}
	for _, addr := range []uint64{0, 1, ^uint64(0), 1 << 63} {
		if err := th.Read(addr, dst); !errors.Is(err, unix.EFAULT) {
			t.Errorf("Read(%#x): %v", addr, err)
		}
		if err := th.Write(addr, dst); !errors.Is(err, unix.EFAULT) {
			t.Errorf("Write(%#x): %v", addr, err)
		}
	}
	if _, err := th.ReadIovecs(addressOf(src), maxIov+1); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("ReadIovecs: %v", err)
	}
	if n := Total([]Iovec{{0, 1 << 40}, {0, ^uint64(0)}}); n != maxTransfer {
		t.Errorf("Total: %d", n)
	}
	runtime.KeepAlive(src)
}

// struct msghdr is read as the C compiler lays it out.
func TestMsghdr(t *testing.T) {
	th := self(t)
	data, name, control := []byte("data"), make([]byte, 12), make([]byte, 32)
	iov := make([]unix.Iovec, 2)
	iov[0].Base, iov[1].Base = &data[0], &data[1]
	iov[0].SetLen(1)
	iov[1].SetLen(3)
	h := unix.Msghdr{Name: &name[0], Namelen: 12, Iov: &iov[0], Control: &control[0], Flags: 7}
	h.SetIovlen(2)
	h.SetControllen(32)
	addr := address(unsafe.Pointer(&h))
	m, err := th.ReadMsghdr(addr)
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != addressOf(name) || m.NameLen != 12 || m.Control != addressOf(control) || m.ControlLen != 32 || m.Flags != 7 {
		t.Errorf("%+v", m)
	}
	if b, err := th.Gather(m.Iov); err != nil || string(b) != "data" {
		t.Errorf("Gather: %q, %v", b, err)
	}
	m.NameLen, m.ControlLen, m.Flags = 8, 24, unix.MSG_TRUNC
	if err := th.WriteBack(&m); err != nil {
		t.Fatal(err)
	}
	if h.Namelen != 8 || h.Controllen != 24 || h.Flags != unix.MSG_TRUNC {
		t.Errorf("written back: %+v", h)
	}
	runtime.KeepAlive(data)
}

func TestDescriptors(t *testing.T) {
	th := self(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close(); _ = w.Close() }()
	if !th.HasFD(int(r.Fd())) || th.HasFD(99999) {
		t.Error("HasFD")
	}
	fd, err := th.Dup(int(w.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(fd, []byte("x")); err != nil {
		t.Error(err)
	}
	_ = unix.Close(fd)
	b := make([]byte, 1)
	if _, err := r.Read(b); err != nil || b[0] != 'x' {
		t.Errorf("read %q, %v", b, err)
	}
	if _, err := th.Dup(99999); err == nil || !strings.Contains(err.Error(), "bad file descriptor") {
		t.Errorf("Dup(99999): %v", err)
	}
	// Nothing is read of, or granted to, a thread that is gone: its number may
	// be another's.
	gone := New(unix.Gettid(), func() bool { return false })
	if err := gone.Read(addressOf(b), b); !errors.Is(err, ErrGone) {
		t.Errorf("Read of a thread that is gone: %v", err)
	}
	if err := gone.Write(addressOf(b), b); !errors.Is(err, ErrGone) {
		t.Errorf("Write to a thread that is gone: %v", err)
	}
	ns, err := gone.OpenNetNS()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ns.Close() }()
	if gone.NetAdmin(int(ns.Fd())) || gone.Capabilities() != 0 {
		t.Error("a thread that is gone has privileges")
	}
}

func TestNetAdmin(t *testing.T) {
	th := self(t)
	ns, err := th.OpenNetNS()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ns.Close() }()
	st, err := ReadStatus(th.TID)
	if err != nil {
		t.Fatal(err)
	}
	want := st.Effective&(1<<unix.CAP_NET_ADMIN) != 0 && os.Getuid() == 0
	if got := th.NetAdmin(int(ns.Fd())); got != want {
		t.Errorf("NetAdmin %v, want %v", got, want)
	}
	if !SameNetNS(ns, ns) {
		t.Error("SameNetNS")
	}
	if Freezing(th.TID) {
		t.Error("Freezing")
	}
}
