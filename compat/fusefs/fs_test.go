package fusefs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// The tree as the kernel asks for it, without a kernel.

func lookup(t *testing.T, r *raw, parent uint64, name string) (uint64, fuse.Status) {
	t.Helper()
	var out fuse.EntryOut
	st := r.Lookup(nil, &fuse.InHeader{NodeId: parent}, name, &out)
	return out.NodeId, st
}

func TestNodes(t *testing.T) {
	f := &File{Perm: 0o644, Size: PageSize, Show: func() ([]byte, error) { return []byte("x"), nil }}
	r := newRaw(Fixed(Entry{"d", Fixed(Entry{"f", f})}, Entry{"l", To("d/f")}))
	d, st := lookup(t, r, fuse.FUSE_ROOT_ID, "d")
	if !st.Ok() || d == fuse.FUSE_ROOT_ID {
		t.Fatal(d, st)
	}
	again, _ := lookup(t, r, fuse.FUSE_ROOT_ID, "d")
	if again != d {
		t.Error("another node")
	}
	if _, st := lookup(t, r, d, "none"); st != fuse.ENOENT {
		t.Error(st)
	}
	id, _ := lookup(t, r, d, "f")
	if _, st := lookup(t, r, id, "x"); st != fuse.ENOTDIR {
		t.Error(st)
	}
	// A node that the kernel forgot is not known any more.
	r.Forget(d, 1)
	if _, st := lookup(t, r, d, "f"); !st.Ok() {
		t.Error("forgotten too early")
	}
	r.Forget(d, 7)
	if _, st := lookup(t, r, d, "f"); st != fuse.Status(syscall.ESTALE) {
		t.Error(st)
	}
	if _, st := r.Readlink(nil, &fuse.InHeader{NodeId: id}); st != fuse.EINVAL {
		t.Error(st)
	}
}

func TestOpenPermissions(t *testing.T) {
	for _, tt := range []struct {
		perm  uint32
		debug bool
		flags uint32
		want  fuse.Status
	}{
		{0o644, false, syscall.O_RDWR, fuse.OK}, {0o444, false, syscall.O_RDONLY, fuse.OK},
		{0o444, false, syscall.O_WRONLY, fuse.EACCES}, {0o444, false, syscall.O_RDWR, fuse.EACCES},
		{0o200, false, syscall.O_RDONLY, fuse.EACCES}, {0o200, false, syscall.O_RDWR, fuse.EACCES},
		{0o200, false, syscall.O_WRONLY, fuse.OK}, {0o444, true, syscall.O_WRONLY, fuse.OK},
	} {
		r := newRaw(Fixed(Entry{"f", &File{Perm: tt.perm, Debug: tt.debug}}))
		id, _ := lookup(t, r, fuse.FUSE_ROOT_ID, "f")
		var out fuse.OpenOut
		in := fuse.OpenIn{Flags: tt.flags}
		in.NodeId = id
		if st := r.Open(nil, &in, &out); st != tt.want {
			t.Errorf("%o debug %v flags %#x: %v, want %v", tt.perm, tt.debug, tt.flags, st, tt.want)
		}
	}
}

// carrying is an error like datapath's.
type carrying struct{}

func (carrying) Error() string        { return "text" }
func (carrying) Errno() syscall.Errno { return syscall.EEXIST }

func TestStatus(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want fuse.Status
	}{
		{nil, fuse.OK}, {syscall.ENOTUNIQ, fuse.Status(syscall.ENOTUNIQ)},
		{fmt.Errorf("wrapped: %w", syscall.ENODEV), fuse.Status(syscall.ENODEV)},
		{carrying{}, fuse.Status(syscall.EEXIST)}, {errors.New("nothing known"), fuse.EIO},
	} {
		if got := status(tt.err); got != tt.want {
			t.Errorf("%v: %v", tt.err, got)
		}
	}
}

func TestStoreErrors(t *testing.T) {
	f := &File{Perm: 0o644, Store: func(_ Caller, b []byte) error {
		if len(b) == PageSize {
			return syscall.ERANGE
		}
		return nil
	}}
	for n, want := range map[int]error{0: nil, 1: nil, PageSize - 1: nil, PageSize: syscall.ERANGE, PageSize + 1: syscall.ERANGE} {
		if _, err := f.Write(Caller{}, make([]byte, n)); !errors.Is(err, want) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if _, err := (&File{}).Write(Caller{}, nil); !errors.Is(err, syscall.EINVAL) {
		t.Error(err)
	}
	long := &File{Show: func() ([]byte, error) { return make([]byte, 2*PageSize), nil }}
	if b, _ := long.Read(); len(b) != PageSize {
		t.Errorf("%d bytes", len(b))
	}
	long.Debug = true
	if b, _ := long.Read(); len(b) != 2*PageSize {
		t.Errorf("%d bytes", len(b))
	}
}

func pollMessage(fh, kh uint64, flags uint32) []byte {
	b := make([]byte, inHeaderLen+pollInLen)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint32(b[4:], opPoll)
	binary.NativeEndian.PutUint64(b[8:], 77)
	binary.NativeEndian.PutUint64(b[inHeaderLen:], fh)
	binary.NativeEndian.PutUint64(b[inHeaderLen+8:], kh)
	binary.NativeEndian.PutUint32(b[inHeaderLen+16:], flags)
	return b
}

// poll(2) of a file: changed until it is read, changed again after Changed,
// woken once per request (kernel kernfs_generic_poll).
func TestPoll(t *testing.T) {
	f := &File{Perm: 0o444, Show: func() ([]byte, error) { return []byte("x"), nil }}
	r := newRaw(Fixed(Entry{"f", f}))
	id, _ := lookup(t, r, fuse.FUSE_ROOT_ID, "f")
	var open fuse.OpenOut
	in := fuse.OpenIn{}
	in.NodeId = id
	if st := r.Open(nil, &in, &open); !st.Ok() {
		t.Fatal(st)
	}
	var woken []uint64
	out := make([]byte, 64)
	poll := func(flags uint32) uint32 {
		t.Helper()
		n := r.pollRequest(pollMessage(open.Fh, 5, flags), out, func(kh uint64) { woken = append(woken, kh) })
		if n != outHeaderLen+8 || binary.NativeEndian.Uint64(out[8:]) != 77 {
			t.Fatalf("answer %x", out[:n])
		}
		return binary.NativeEndian.Uint32(out[outHeaderLen:])
	}
	read := func() {
		t.Helper()
		if _, st := r.Read(nil, &fuse.ReadIn{Fh: open.Fh, Size: 10}, nil); !st.Ok() {
			t.Fatal(st)
		}
	}
	if ev := poll(0); ev != pollAlways|pollChanged {
		t.Errorf("at first %#x", ev)
	}
	read()
	if ev := poll(scheduleNotify); ev != pollAlways {
		t.Errorf("after reading %#x", ev)
	}
	f.Changed()
	f.Changed()
	if !slices.Equal(woken, []uint64{5}) {
		t.Errorf("woken %v", woken)
	}
	if ev := poll(0); ev != pollAlways|pollChanged {
		t.Errorf("after the change %#x", ev)
	}
	read()
	poll(scheduleNotify)
	r.Release(nil, &fuse.ReleaseIn{Fh: open.Fh})
	f.Changed()
	if len(woken) != 1 {
		t.Error("a closed file was woken")
	}
	if n := r.pollRequest(pollMessage(99, 1, 0), out, nil); n != outHeaderLen || int32(binary.NativeEndian.Uint32(out[4:])) != -int32(syscall.EBADF) {
		t.Errorf("unknown handle: %x", out[:n])
	}
	if w := pollWakeup(5); len(w) != 24 || binary.NativeEndian.Uint32(w[4:]) != notifyPoll || binary.NativeEndian.Uint64(w[16:]) != 5 {
		t.Errorf("%x", w)
	}
}

func FuzzPollRequest(f *testing.F) {
	f.Add(pollMessage(1, 2, 1))
	f.Add([]byte{})
	f.Add(make([]byte, inHeaderLen))
	r := newRaw(Fixed())
	f.Fuzz(func(t *testing.T, b []byte) {
		out := make([]byte, 64)
		if n := r.pollRequest(b, out, func(uint64) {}); n != 0 && n != outHeaderLen {
			t.Errorf("%d bytes for %x", n, b)
		}
	})
}
