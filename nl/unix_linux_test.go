package nl_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"ipoib/datapath/osthread"
	"ipoib/nl"
	"ipoib/nl/nltest"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// rootOnly skips without root, or fails where the environment promises it.
func rootOnly(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("IPOIB_TEST_ROOT") != "" {
		tb.Fatal("IPOIB_TEST_ROOT is set, but this is not root")
	}
	tb.Skip("needs root")
}

// serveToy serves the toy protocol on a socket that everyone may reach.
func serveToy(tb testing.TB, cfg nl.Config) (p *toy, srv *nl.Server, path string) {
	tb.Helper()
	dir, err := os.MkdirTemp("", "nl")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	path = filepath.Join(dir, "netlink.sock")
	l, err := nl.Listen(path, 0o666)
	if err != nil {
		tb.Fatal(err)
	}
	p, srv = newToy(tb, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, l) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			tb.Errorf("socket file after the end: %v", err)
		}
	})
	return p, srv, path
}

func dialUnix(tb testing.TB, path string, cfg nl.ConnConfig) *nl.Conn {
	tb.Helper()
	cfg.Protocol = toyProto
	c, err := nl.Dial(tb.Context(), path, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

// selfNetNS is the network namespace of this thread.
func selfNetNS(tb testing.TB) nl.NetNS {
	tb.Helper()
	f, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	ns, err := nl.NetNSOf(f)
	if err != nil {
		tb.Fatal(err)
	}
	return ns
}

// TestUnixPeer: the service knows who connected.
func TestUnixPeer(t *testing.T) {
	p, _, path := serveToy(t, nl.Config{})
	p.onRequest(func(r *nl.Request) {
		f, err := r.Peer().OpenNetNS()
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		ns, err := nl.NetNSOf(f)
		if err != nil || ns != r.NetNS() || ns != selfNetNS(t) || ns.IsZero() {
			t.Errorf("namespace %v of the file %v, %v", ns, r.NetNS(), err)
		}
		if r.Peer().PID() != os.Getpid() || r.Peer().UID() != uint32(os.Getuid()) {
			t.Errorf("peer %d %d", r.Peer().PID(), r.Peer().UID())
		}
		if r.Context().Err() != nil {
			t.Error("context has ended")
		}
	})
	c := dialUnix(t, path, nl.ConnConfig{})
	if int(c.PortID()) != os.Getpid() {
		t.Errorf("port id %d of process %d", c.PortID(), os.Getpid())
	}
	if e := ask(t, c, toyWarn); e != 0 {
		t.Error(e)
	}
	if raw, err := c.SyscallConn(); err != nil || raw.Control(func(fd uintptr) {
		if v, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE); v != unix.SOCK_SEQPACKET {
			t.Errorf("socket type %d, %v", v, err)
		}
	}) != nil {
		t.Error(err)
	}
	if err := c.NetlinkConn().SetWriteBuffer(1 << 16); err != nil {
		t.Error(err)
	}
}

// TestUnixCapabilities: what the connecting process may do, in its namespace
// and in the service's.
func TestUnixCapabilities(t *testing.T) {
	rootOnly(t)
	p, _, path := serveToy(t, nl.Config{})
	nobody := &syscall.Credential{Uid: 65534, Gid: 65534}
	const newUser = unix.CLONE_NEWUSER | unix.CLONE_NEWNET
	maps := func(a *syscall.SysProcAttr) *syscall.SysProcAttr {
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
		a.GidMappings = a.UidMappings
		return a
	}
	for _, c := range []struct {
		name, mode string
		attr       *syscall.SysProcAttr
		want       string
		own        bool // in the test's network namespace
	}{
		{"root", "plain", nil, "0 0 ", true},
		{"user", "plain", &syscall.SysProcAttr{Credential: nobody}, "1 1 ", true},
		{"user with the capability", "plain", &syscall.SysProcAttr{Credential: nobody, AmbientCaps: []uintptr{unix.CAP_NET_ADMIN}}, "0 0 ", true},
		{"root without the capability", "drop-before", nil, "1 1 ", true},
		{"root that drops it after connecting", "drop-after", nil, "1 1 ", true},
		{"root in a network namespace", "plain", &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}, "0 0 ", false},
		{"root of a user namespace", "plain", maps(&syscall.SysProcAttr{Cloneflags: newUser}), "0 1 ", false},
		{"root of a user namespace in the host's network", "plain", maps(&syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}), "1 1 ", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var own atomic.Bool
			p.onRequest(func(r *nl.Request) { own.Store(r.NetNS() == selfNetNS(t)) })
			if got := runChild(t, c.mode, path, c.attr, nil); got != c.want {
				t.Errorf("errnos %q, want %q", got, c.want)
			}
			if own.Load() != c.own {
				t.Errorf("in the test's namespace: %v", own.Load())
			}
		})
	}
}

// TestUnixPassedSocket: a descriptor that changes hands carries no rights,
// neither from who opened it nor to.
func TestUnixPassedSocket(t *testing.T) {
	rootOnly(t)
	_, _, path := serveToy(t, nl.Config{})
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}

	// Opened by root, used by a user.
	uc, err := net.Dial("unixpacket", path)
	if err != nil {
		t.Fatal(err)
	}
	defer uc.Close()
	uc.Write(nl.NewControl(nl.OpHello, 1, toyProto, 0, 0, 0, 0).Append(nil))
	if _, err := uc.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	f, err := uc.(*net.UnixConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.SetNonblock(int(f.Fd()), false); err != nil {
		t.Fatal(err)
	}
	if got := runChild(t, "inherited", path, nobody, f); got != "1 1 " {
		t.Errorf("user on root's socket: %q", got)
	}
	if got := runChild(t, "inherited", path, nil, f); got != "0 0 " {
		t.Errorf("root's child on root's socket: %q", got)
	}

	// Opened by a user, used by root.
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "pair")
	defer theirs.Close()
	defer unix.Close(pair[0])
	runChild(t, "pass", path, nobody, theirs)
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(pair[0], make([]byte, 1), oob, unix.MSG_DONTWAIT)
	if err != nil {
		t.Fatal(err)
	}
	cs, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		t.Fatal(err)
	}
	fds, err := unix.ParseUnixRights(&cs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	unix.SetNonblock(fds[0], false)
	if err := unix.Send(fds[0], request(toyChange, netlink.Acknowledge, 1), 0); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	if _, err := unix.Read(fds[0], b); err != nil {
		t.Fatal(err)
	}
	if e := -int32(nl.Attr{Data: b[nl.HeaderLen:]}.Uint32()); e != int32(unix.EPERM) {
		t.Errorf("root on a user's socket: errno %d", e)
	}
}

// TestUnixSocketNamespace: what counts is the namespace of the socket that
// connected, which need not be that of the process.
func TestUnixSocketNamespace(t *testing.T) {
	rootOnly(t)
	p, srv, path := serveToy(t, nl.Config{})
	got := make(chan nl.NetNS, 1)
	p.onRequest(func(r *nl.Request) { got <- r.NetNS() })
	var here nl.NetNS
	var c *nl.Conn
	err := osthread.Run(func() (_ bool, err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return false, err
		}
		here = selfNetNS(t)
		c, err = nl.Dial(context.Background(), path, nl.ConnConfig{Protocol: toyProto, Groups: 1})
		return false, err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	write(t, c, request(toyWarn, netlink.Acknowledge, 1))
	one(t, c)
	if ns := <-got; ns != here || ns == selfNetNS(t) {
		t.Errorf("request in %v, socket in %v, test in %v", ns, here, selfNetNS(t))
	}
	if srv.Notify(event(selfNetNS(t), 1)) != 0 || srv.Notify(event(here, 1)) != 1 {
		t.Error("a notification went to the wrong namespace")
	}
}

// TestLookupNSID: the kernel's own namespace ids.
func TestLookupNSID(t *testing.T) {
	rootOnly(t)
	name := fmt.Sprintf("nltest%d", os.Getpid())
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		t.Skipf("ip netns add: %s", out)
	}
	defer exec.Command("ip", "netns", "del", name).Run()
	self, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	other, err := os.Open("/run/netns/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if id, ok, err := nl.LookupNSID(self, other); ok || err != nil {
		t.Errorf("id %d before one was assigned, %v", id, err)
	}
	if out, err := exec.Command("ip", "netns", "set", name, "1234").CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	if id, ok, err := nl.LookupNSID(self, other); id != 1234 || !ok || err != nil {
		t.Errorf("id %d %v, %v", id, ok, err)
	}
	if _, ok, err := nl.LookupNSID(other, self); ok || err != nil {
		t.Errorf("the other way: %v %v", ok, err)
	}
}

func TestListen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sock")
	l, err := nl.Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", fi.Mode(), err)
	}
	if _, err := nl.Listen(path, 0o600); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("second listener: %v", err)
	}
	if l.Addr().String() != path {
		t.Errorf("address %v", l.Addr())
	}
	l.Close()
	// What a crash leaves behind.
	stale, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	if l, err = nl.Listen(path, 0o600); err != nil {
		t.Fatalf("stale socket: %v", err)
	}
	l.Close()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := nl.Listen(path, 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a file in its place: %v", err)
	}
	os.Remove(path)
	if _, err := nl.Dial(t.Context(), path, nl.ConnConfig{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no service: %v", err)
	}
}

// TestUnixEmptyAndLong: packets that no Conn sends end the connection of who
// does, and no other.
func TestUnixEmptyAndLong(t *testing.T) {
	_, srv, path := serveToy(t, nl.Config{})
	good := dialUnix(t, path, nl.ConnConfig{})
	for _, size := range []int{0, 1, nl.MaxDatagram + 1} {
		uc, err := net.Dial("unixpacket", path)
		if err != nil {
			t.Fatal(err)
		}
		if err := uc.(*net.UnixConn).SetWriteBuffer(1 << 20); err != nil {
			t.Fatal(err)
		}
		if _, err := uc.Write(make([]byte, size)); err != nil && size <= nl.MaxDatagram {
			t.Errorf("%d bytes: %v", size, err)
		} else if err == nil {
			if n, err := uc.Read(make([]byte, 100)); err == nil {
				t.Errorf("%d bytes are answered with %d", size, n)
			}
		}
		uc.Close()
	}
	if e := ask(t, good, toyWarn); e != 0 || srv.Clients() < 1 {
		t.Errorf("the good client: %v", e)
	}
}

// TestUnixPassedDescriptors: descriptors sent along are not received.
func TestUnixPassedDescriptors(t *testing.T) {
	_, _, path := serveToy(t, nl.Config{})
	c := dialUnix(t, path, nl.ConnConfig{})
	count := func() int {
		es, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(es)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if e := ask(t, c, toyWarn); e != 0 {
		t.Fatal(e)
	}
	before := count()
	for range 50 {
		raw.Control(func(fd uintptr) {
			err = unix.Sendmsg(int(fd), request(toyWarn, netlink.Acknowledge, 1), unix.UnixRights(0, 1, 2), nil, 0)
		})
		if err != nil {
			t.Fatal(err)
		}
		one(t, c)
	}
	if after := count(); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// TestInMemoryAndUnixAgree keeps the two transports alike in what they do at
// the end of a connection.
func TestInMemoryAndUnixAgree(t *testing.T) {
	_, srv, path := serveToy(t, nl.Config{})
	for name, c := range map[string]*nl.Conn{
		"unix":   dialUnix(t, path, nl.ConnConfig{}),
		"memory": nltest.Dial(t, srv, nltest.NewPeer(), nl.ConnConfig{Protocol: toyProto}),
	} {
		c.Close()
		if _, err := c.Receive(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: receive after close: %v", name, err)
		}
		if err := c.WriteDatagram(request(toyWarn, 0, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: send after close: %v", name, err)
		}
	}
}
