package redirect

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ipoib/nl"
	"ipoib/nl/rtlink"
	"ipoib/nl/rtnl"
)

// The test binary is also the launcher, the supervisor and the program.
const (
	roleLaunch    = "redirect-launch"
	roleSupervise = "redirect-supervise"
	roleProgram   = "redirect-program"
)

func TestMain(m *testing.M) {
	if len(os.Args) < 2 {
		os.Exit(m.Run())
	}
	var err error
	switch os.Args[1] {
	default:
		os.Exit(m.Run())
	case roleLaunch: // socket, program, arguments
		var self string
		if self, err = os.Executable(); err == nil {
			err = Exec(Command{
				Path: os.Args[3], Args: os.Args[3:], Env: os.Environ(), Socket: os.Args[2],
				Supervisor: []string{self, roleSupervise},
			})
		}
	case roleSupervise:
		err = Supervise(os.Args[:2], os.Args[2:], slog.New(slog.DiscardHandler))
	case roleProgram:
		err = program(os.Args[2:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// toyService is a service to which the loopback interface belongs, so that
// neither a TUN nor root is needed.
type toyService struct {
	path string
}

func startToy(t *testing.T) *toyService {
	t.Helper()
	dir, err := os.MkdirTemp("", "redirect")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &toyService{path: filepath.Join(dir, "netlink.sock")}
	l, err := nl.Listen(s.path, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	srv := nl.NewServer(nl.Config{})
	table := rtnl.NewTable(srv)
	lo := &rtlink.Link{
		Type: rtlink.TypeInfiniBand, Index: 1, Name: "lo", Address: bytes.Repeat([]byte{0xab}, 20),
		Flags: rtlink.FlagBroadcast | rtlink.FlagMulticast, Info: &rtlink.Info{Kind: rtlink.KindIPoIB},
		Alias: strings.Repeat("long ", 40), // longer than what the kernel says
	}
	fill := func(e *nl.Encoder) error { lo.Append(e); return nil }
	named := func(r *rtnl.Request) bool {
		if a, ok := r.Attrs.Get(rtlink.AttrIfname); ok {
			return a.String() == "lo"
		}
		return len(r.FamilyHeader) >= 8 && binary.NativeEndian.Uint32(r.FamilyHeader[4:]) == 1
	}
	err = table.Register(
		rtnl.Handler{
			Type: rtlink.GetLink, HeaderSize: rtlink.HeaderLen, Policy: rtlink.Policy,
			Do: func(r *rtnl.Request) error {
				if !named(r) {
					return syscall.ENODEV
				}
				return r.Reply(rtlink.NewLink, 0, fill)
			},
			Dump: func(*rtnl.Request) (*nl.Dump, error) {
				return &nl.Dump{Type: rtlink.NewLink, Next: nl.Each([]int{1}, func(e *nl.Encoder, _ int) error { return fill(e) })}, nil
			},
		},
		rtnl.Handler{
			Type: rtlink.SetLink, HeaderSize: rtlink.HeaderLen, Policy: rtlink.Policy,
			Do: func(*rtnl.Request) error { return syscall.EXFULL }, // an errno that nobody else says
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, l) }()
	t.Cleanup(func() { cancel(); <-done })
	return s
}

// launch runs the program under a supervisor and returns what it printed.
func (s *toyService) launch(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The program is a copy: what runs the supervisor's binary is not
	// redirected.
	prog := filepath.Join(filepath.Dir(s.path), "program")
	if _, err := os.Stat(prog); err != nil {
		if out, err := exec.Command("cp", self, prog).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	cmd := exec.CommandContext(ctx, self, append([]string{roleLaunch, s.path, prog, roleProgram}, args...)...)
	out, err := cmd.CombinedOutput()
	if bytes.Contains(out, []byte("the kernel is too old")) || bytes.Contains(out, []byte("another program supervises")) {
		t.Skipf("%s", out)
	}
	return strings.TrimSpace(string(out)), err
}

// program is what runs under the supervisor.
func program(args []string) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	switch args[0] {
	case "dump":
		return programDump(fd, args[1:])
	case "refused":
		return programRefused(fd)
	case "dup":
		return programDup(fd)
	case "peek":
		return programPeek(fd)
	case "timeout":
		return programTimeout(fd)
	case "interrupt":
		return programInterrupt(fd)
	}
	return fmt.Errorf("no program %q", args[0])
}

var kernel = &unix.SockaddrNetlink{Family: unix.AF_NETLINK}

func request(t netlink.HeaderType, flags netlink.HeaderFlags, seq uint32, index int32) []byte {
	var e nl.Encoder
	_ = e.Message(netlink.Header{Type: t, Flags: netlink.Request | flags, Sequence: seq}, func(e *nl.Encoder) error {
		rtlink.AppendHeader(e, 0, 0, index, 0, 0)
		return nil
	})
	return e.Bytes()
}

// programDump lists the links with a buffer of a size and one kind of call.
func programDump(fd int, args []string) error {
	size, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	if err := sendBy(args[0], fd, request(rtlink.GetLink, netlink.Dump, 5, 0)); err != nil {
		return err
	}
	for {
		b, err := receiveBy(args[0], fd, size)
		if err != nil {
			return err
		}
		for len(b) >= nl.HeaderLen {
			h := nl.ParseHeader(b)
			if h.Length < nl.HeaderLen || int(h.Length) > len(b) {
				return fmt.Errorf("%d bytes of a message of %d", len(b), h.Length)
			}
			if h.Type == netlink.Done {
				return nil
			}
			l, err := rtlink.Decode(b[nl.HeaderLen:h.Length])
			if err != nil {
				return err
			}
			if l.Name == "lo" {
				kind := "native"
				if l.Info != nil {
					kind = l.Info.Kind
				}
				fmt.Printf("lo %s %x %d\n", kind, l.Address, len(l.Alias))
			}
			b = b[min(nl.Align(int(h.Length)), len(b)):]
		}
	}
}

// sendBy sends with one of the calls that there are.
func sendBy(call string, fd int, b []byte) error {
	switch call {
	case "write":
		_, err := unix.Write(fd, b)
		return err
	case "writev":
		_, err := unix.Writev(fd, [][]byte{b[:7], b[7:]})
		return err
	case "msg":
		_, err := unix.SendmsgBuffers(fd, [][]byte{b[:20], b[20:]}, nil, kernel, 0)
		return err
	}
	return unix.Sendto(fd, b, 0, kernel)
}

func receiveBy(call string, fd, size int) ([]byte, error) {
	b := make([]byte, size)
	switch call {
	case "write":
		n, err := unix.Read(fd, b)
		return b[:max(n, 0)], err
	case "writev":
		n, err := unix.Readv(fd, [][]byte{b[:100], b[100:]})
		return b[:max(n, 0)], err
	case "msg":
		n, _, flags, from, err := unix.RecvmsgBuffers(fd, [][]byte{b[:33], b[33:]}, nil, 0)
		if err == nil && flags&unix.MSG_TRUNC != 0 {
			err = errors.New("truncated")
		}
		if name, ok := from.(*unix.SockaddrNetlink); err == nil && (!ok || name.Pid != 0) {
			err = fmt.Errorf("from %v", from)
		}
		return b[:max(n, 0)], err
	}
	n, _, err := unix.Recvfrom(fd, b, 0)
	return b[:max(n, 0)], err
}

// programRefused changes the service's link and another one.
func programRefused(fd int) error {
	for i, index := range []int32{1, 0x7ffffff0} {
		if err := unix.Sendto(fd, request(rtlink.SetLink, netlink.Acknowledge, uint32(i), index), 0, kernel); err != nil {
			return err
		}
		b := make([]byte, 4096)
		n, _, err := unix.Recvfrom(fd, b, 0)
		if err != nil {
			return err
		}
		h := nl.ParseHeader(b)
		self, err := unix.Getsockname(fd)
		if err != nil {
			return err
		}
		if pid := self.(*unix.SockaddrNetlink).Pid; h.PID != pid || int(pid) != os.Getpid() {
			return fmt.Errorf("port id %d, answer to %d, process %d", pid, h.PID, os.Getpid())
		}
		fmt.Println(n > 36, syscall.Errno(-int32(binary.NativeEndian.Uint32(b[nl.HeaderLen:]))).Error())
	}
	return nil
}

// programDup receives through a duplicate what was asked through the socket.
func programDup(fd int) error {
	for _, dup := range []func() (int, error){
		func() (int, error) { return unix.Dup(fd) },
		func() (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) },
	} {
		other, err := dup()
		if err != nil {
			return err
		}
		if err := unix.Sendto(fd, request(rtlink.SetLink, netlink.Acknowledge, 1, 1), 0, kernel); err != nil {
			return err
		}
		b := make([]byte, 4096)
		if _, _, err := unix.Recvfrom(other, b, 0); err != nil {
			return err
		}
		fmt.Println(syscall.Errno(-int32(binary.NativeEndian.Uint32(b[nl.HeaderLen:]))).Error())
		_ = unix.Close(other)
	}
	return nil
}

// programPeek looks at the size of an answer before it takes it, as ip does,
// and takes a part of one.
func programPeek(fd int) error {
	for range 2 {
		if err := unix.Sendto(fd, request(rtlink.SetLink, netlink.Acknowledge, 1, 1), 0, kernel); err != nil {
			return err
		}
	}
	n, _, _, _, err := unix.Recvmsg(fd, nil, nil, unix.MSG_PEEK|unix.MSG_TRUNC)
	if err != nil {
		return err
	}
	b := make([]byte, n)
	m, _, _, _, err := unix.Recvmsg(fd, b, nil, 0)
	if err != nil {
		return err
	}
	part, _, flags, _, err := unix.Recvmsg(fd, b[:10], nil, 0)
	if err != nil {
		return err
	}
	_, _, again := unix.Recvfrom(fd, b, unix.MSG_DONTWAIT)
	fmt.Println(n == m, part, flags&unix.MSG_TRUNC != 0, errors.Is(again, unix.EAGAIN))
	return nil
}

// programTimeout waits for nothing, for a while.
func programTimeout(fd int) error {
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200000}); err != nil {
		return err
	}
	start := time.Now()
	_, _, err := unix.Recvfrom(fd, make([]byte, 10), 0)
	took := time.Since(start)
	fmt.Println(errors.Is(err, unix.EAGAIN), took > 150*time.Millisecond)
	return nil
}

// programInterrupt is interrupted while it waits, by a signal whose handler,
// as all of Go's, repeats calls.
func programInterrupt(fd int) error {
	done := make(chan error, 1)
	go func() {
		_, _, err := unix.Recvfrom(fd, make([]byte, 4096), 0)
		done <- err
	}()
	for range 5 {
		time.Sleep(60 * time.Millisecond)
		if err := unix.Kill(os.Getpid(), unix.SIGURG); err != nil {
			return err
		}
	}
	select {
	case err := <-done:
		return fmt.Errorf("the call returned: %w", err)
	case <-time.After(200 * time.Millisecond):
	}
	if err := unix.Sendto(fd, request(rtlink.SetLink, netlink.Acknowledge, 1, 1), 0, kernel); err != nil {
		return err
	}
	fmt.Println(<-done)
	return nil
}

func TestRedirect(t *testing.T) {
	s := startToy(t)
	ours := "lo ipoib " + strings.Repeat("ab", 20) + " 200"
	for _, tt := range []struct{ args, want string }{
		{"dump sendto 32768", ours}, {"dump write 4096", ours}, {"dump writev 8192", ours}, {"dump msg 16384", ours},
		{"dup", "exchange full\nexchange full"},
		{"peek", "true 10 true true"},
		{"timeout", "true true"},
		{"interrupt", "<nil>"},
	} {
		out, err := s.launch(t, strings.Fields(tt.args)...)
		if os.Geteuid() != 0 && (tt.args == "dup" || tt.args == "peek") {
			continue // changes are refused otherwise
		}
		if err != nil || out != tt.want {
			t.Errorf("%s: %v\ngot  %s\nwant %s", tt.args, err, out, tt.want)
		}
	}
}

// A change of the service's link is judged by the service, one of another link
// by the kernel, and both by what the program may.
func TestRefused(t *testing.T) {
	s := startToy(t)
	out, err := s.launch(t, "refused")
	want := "true exchange full\ntrue no such device"
	if os.Geteuid() != 0 {
		want = "true operation not permitted\ntrue operation not permitted"
	}
	if err != nil || out != want {
		t.Errorf("%v\ngot  %s\nwant %s", err, out, want)
	}
}

// Without a service the kernel answers.
func TestNoService(t *testing.T) {
	s := startToy(t)
	s.path = filepath.Join(filepath.Dir(s.path), "other.sock")
	out, err := s.launch(t, "dump", "sendto", "32768")
	if want := "lo native 000000000000 0"; err != nil || out != want {
		t.Errorf("%v\ngot  %s\nwant %s", err, out, want)
	}
}
