//go:build integration

package fusefs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The tests mount in the mount namespace that tests/isolated.sh makes.

// value is a file that keeps what is written.
func value(text string) (*File, *atomic.Value) {
	v := new(atomic.Value)
	v.Store(text)
	f := &File{Perm: 0o644, Size: PageSize, Show: func() ([]byte, error) { return []byte(v.Load().(string)), nil }}
	f.Store = func(_ Caller, b []byte) error {
		if bytes.HasPrefix(b, []byte("bad")) {
			return syscall.EINVAL
		}
		v.Store(string(b))
		f.Changed()
		return nil
	}
	return f, v
}

func mount(t *testing.T, root *Dir) (string, *Server) {
	t.Helper()
	if os.Getenv("IPOIB_TEST_ROOT") != "1" {
		t.Skip("needs root and isolated.sh (make integration)")
	}
	dir := t.TempDir()
	s, err := Mount(dir, "ipoib:"+t.Name(), root, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return dir, s
}

func TestMountReadWrite(t *testing.T) {
	f, v := value("one\n")
	secret := &File{Perm: 0o200, Size: PageSize, Store: f.Store, Show: f.Show}
	debug := &File{Perm: 0o444, Debug: true, Show: f.Show}
	dir, _ := mount(t, Fixed(
		Entry{"value", f}, Entry{"secret", secret}, Entry{"debug", debug}, Entry{"link", To("value")},
		Entry{"sub", Fixed(Entry{"value", f})},
	))
	sh := func(cmd string) string {
		t.Helper()
		// Not by Dir: a forked child that waits for this process's answer keeps
		// the runtime from stopping the world, and that the answer.
		c := exec.Command("bash", "-c", "cd "+dir+"; "+cmd)
		out, _ := c.CombinedOutput()
		return string(out)
	}
	for _, tt := range []struct{ cmd, want string }{
		{"cat value", "one\n"},
		{"cat link sub/value", "one\none\n"},
		{"ls", "debug\nlink\nsecret\nsub\nvalue\n"},
		{"stat -c '%a %s %F' value", "644 4096 regular file\n"},
		{"stat -c '%a %s' debug", "444 0\n"},
		{"echo two > value; cat value", "two\n"},
		{"printf three >> value; cat value", "three"},
		{"echo bad > value", "bash: line 1: echo: write error: Invalid argument\n"},
		{"cat value", "three"},
		{"cat secret", "cat: secret: Permission denied\n"},
		{"echo four > secret; cat value", "four\n"},
		{"echo x > debug", "bash: line 1: echo: write error: Invalid argument\n"},
		{"echo x > none", "bash: line 1: none: Permission denied\n"},
		{"cat none", "cat: none: No such file or directory\n"},
		{"mkdir d", "mkdir: cannot create directory ‘d’: Operation not permitted\n"},
		{"rm -f value", "rm: cannot remove 'value': Operation not permitted\n"},
		{"chmod 600 value", "chmod: changing permissions of 'value': Operation not permitted\n"},
		{"setpriv --reuid 1000 --clear-groups --inh-caps=-all bash -c 'cat value; echo 1 > value'", "four\nbash: line 1: value: Permission denied\n"},
	} {
		if got := sh("LC_ALL=C.UTF-8; export LC_ALL; " + tt.cmd); got != tt.want {
			t.Errorf("%s:\n%swant\n%s", tt.cmd, got, tt.want)
		}
	}
	// A write at an offset is the value all the same, one above a page is cut.
	// (Not by package os: its poller would wait for this process's answer.)
	w, err := unix.Open(filepath.Join(dir, "value"), unix.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(w)
	if n, err := unix.Pwrite(w, []byte("five"), 100); n != 4 || err != nil || v.Load() != "five" {
		t.Errorf("write at an offset: %d, %v, %v", n, err, v.Load())
	}
	for _, size := range []int{PageSize, PageSize + 1, 1 << 20} {
		n, err := unix.Write(w, bytes.Repeat([]byte("x"), size))
		if n != PageSize || err != nil || len(v.Load().(string)) != PageSize {
			t.Errorf("write of %d: %d, %v", size, n, err)
		}
	}
	// Reading goes on where it was, and starts anew at 0.
	v.Store("abcdef")
	buf := make([]byte, 3)
	if _, err := unix.Pread(w, buf, 0); err != nil || string(buf) != "abc" {
		t.Errorf("%q, %v", buf, err)
	}
	v.Store("ABCDEF")
	if _, err := unix.Pread(w, buf, 3); err != nil || string(buf) != "def" {
		t.Errorf("%q, %v", buf, err)
	}
	if _, err := unix.Pread(w, buf, 0); err != nil || string(buf) != "ABC" {
		t.Errorf("%q, %v", buf, err)
	}
}

func TestMountPoll(t *testing.T) {
	f, _ := value("one\n")
	dir, _ := mount(t, Fixed(Entry{"value", f}))
	fd, err := unix.Open(filepath.Join(dir, "value"), unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	poll := func(ms int) int16 {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}
		for {
			_, err := unix.Poll(fds, ms)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			return fds[0].Revents
		}
	}
	read := func() {
		if _, err := unix.Pread(fd, make([]byte, 10), 0); err != nil {
			t.Fatal(err)
		}
	}
	// Before it was read, a file counts as changed.
	if ev := poll(0); ev != unix.POLLPRI|unix.POLLERR {
		t.Errorf("before reading: %#x", ev)
	}
	read()
	if ev := poll(0); ev != 0 {
		t.Errorf("after reading: %#x", ev)
	}
	for range 3 {
		woken := make(chan int16, 1)
		go func() { woken <- poll(60000) }()
		time.Sleep(30 * time.Millisecond) // let it wait; it may also come late
		f.Changed()
		select {
		case ev := <-woken:
			if ev != unix.POLLPRI|unix.POLLERR {
				t.Errorf("woken with %#x", ev)
			}
		case <-time.After(time.Minute):
			t.Fatal("poll is not woken")
		}
		read()
	}
}

func TestMountReaders(t *testing.T) {
	// A slow file does not hold up others.
	release := make(chan struct{})
	slow := &File{Perm: 0o444, Show: func() ([]byte, error) { <-release; return []byte("slow"), nil }}
	f, _ := value("fast")
	dir, _ := mount(t, Fixed(Entry{"slow", slow}, Entry{"fast", f}))
	var slows, fasts sync.WaitGroup
	for range 50 {
		slows.Go(func() {
			if out, err := exec.Command("cat", filepath.Join(dir, "slow")).Output(); string(out) != "slow" {
				t.Errorf("%q, %v", out, err)
			}
		})
	}
	for range 50 {
		fasts.Go(func() {
			if out, err := exec.Command("cat", filepath.Join(dir, "fast")).Output(); string(out) != "fast" {
				t.Errorf("%q, %v", out, err)
			}
		})
	}
	done := make(chan struct{})
	go func() {
		fasts.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Error("fast files wait for the slow one")
	}
	close(release)
	slows.Wait()
}

func TestMountManyEntries(t *testing.T) {
	var entries []Entry
	for i := range 3000 {
		entries = append(entries, Entry{fmt.Sprintf("entry-%04d", i), To("x")})
	}
	dir, _ := mount(t, Fixed(entries...))
	out, err := exec.Command("ls", dir).Output()
	if n := strings.Count(string(out), "\n"); n != 3000 || err != nil {
		t.Errorf("%d entries, %v", n, err)
	}
}

func TestMountClose(t *testing.T) {
	f, _ := value("one\n")
	dir, s := mount(t, Fixed(Entry{"value", f}))
	other := t.TempDir()
	if err := Bind(dir, other); err != nil {
		t.Fatal(err)
	}
	if !Serves(dir) || !Serves(filepath.Join(other, "value")) {
		t.Error("does not serve")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	// What was bound answers with an error until it is cleaned.
	if _, err := unix.Open(filepath.Join(other, "value"), unix.O_RDONLY, 0); !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("%v", err)
	}
	if Serves(other) {
		t.Error("still serves")
	}
	gone, err := Clean("ipoib:" + t.Name())
	if err != nil || !slices.Equal(gone, []string{other}) {
		t.Errorf("cleaned %v, %v", gone, err)
	}
	if list, _ := os.ReadDir(other); len(list) != 0 {
		t.Error("still mounted")
	}
}

// What other processes have mounted of a tree in mount namespaces of their own
// is taken away and given back.
func TestLeaveAndReturn(t *testing.T) {
	f, _ := value("one\n")
	dir, s := mount(t, Fixed(Entry{"sub", Fixed(Entry{"value", f})}))
	at := t.TempDir()
	script := fmt.Sprintf("mount --make-rprivate /; mount --bind %s/sub %s; echo ready; read x", dir, at)
	cmd := exec.Command("unshare", "--mount", "sh", "-c", script)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close(); _ = cmd.Wait() }()
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	look := func() string {
		b, _ := exec.Command("nsenter", "-t", fmt.Sprint(cmd.Process.Pid), "-m", "cat", at+"/value").CombinedOutput()
		return string(b)
	}
	if got := look(); got != "one\n" {
		t.Fatalf("%q", got)
	}
	source := "ipoib:" + t.Name()
	places, err := Leave(source)
	if err != nil || !slices.ContainsFunc(places, func(p Place) bool { return p.Path == at && p.Root == "/sub" }) {
		t.Fatalf("%v, %v", places, err)
	}
	if got := look(); !strings.Contains(got, "No such file") {
		t.Errorf("%q", got)
	}
	prepared := 0
	prepare := func(list []Place) error { prepared += len(list); return nil }
	gone := Place{NS: 1, Path: at, Root: "/"}
	lost := Place{NS: places[0].NS, Path: at + "/nowhere", Root: "/no such part"}
	for range 2 { // the second time there is nothing to do
		if err := Return(dir, append(slices.Clone(places), gone, lost), prepare); err != nil {
			t.Errorf("%v", err)
		}
		if got := look(); got != "one\n" {
			t.Errorf("%q", got)
		}
	}
	if prepared != 2*(len(places)+1) {
		t.Errorf("prepared for %d", prepared)
	}
	// A dead tree is taken away as well.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := look(); !strings.Contains(got, "not connected") {
		t.Errorf("%q", got)
	}
	if again, err := Leave(source); err != nil || len(again) < 1 {
		t.Errorf("%v, %v", again, err)
	}
	if list, err := Leave(source); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}
