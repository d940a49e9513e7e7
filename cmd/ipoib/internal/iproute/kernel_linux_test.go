package iproute

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ipoib/nl"
)

// requireRoot skips a test that makes network namespaces, or fails it when
// IPOIB_TEST_ROOT=1 says that it has to run.
func requireRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("IPOIB_TEST_ROOT") == "1" {
			t.Fatal("not root")
		}
		t.Skip("needs root")
	}
}

// requireIP skips a test without ip of iproute2 6.1, with which we compare.
// IPOIB_TEST_TOOLS=0 says that it has run already, without the race detector.
func requireIP(t *testing.T) {
	t.Helper()
	if os.Getenv("IPOIB_TEST_TOOLS") == "0" {
		t.Skip("IPOIB_TEST_TOOLS=0")
	}
	out, err := exec.CommandContext(t.Context(), "ip", "-V").Output()
	if err != nil || !strings.Contains(string(out), "iproute2-6.1") {
		if os.Getenv("IPOIB_TEST_ROOT") == "1" {
			t.Fatalf("no ip of iproute2 6.1: %s %v", out, err)
		}
		t.Skipf("no ip of iproute2 6.1: %s %v", out, err)
	}
}

// enterNetNS puts the test's thread into a network namespace of its own, for
// good: the thread ends with the test.
func enterNetNS(t *testing.T) {
	t.Helper()
	requireRoot(t)
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
}

// kernelSocket is a rtnetlink socket of the kernel as a Socket.
type kernelSocket struct {
	fd   int
	port uint32
}

func dialKernel(_ string, cfg nl.ConnConfig) (Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	for opt, on := range map[int]bool{
		unix.NETLINK_EXT_ACK: cfg.ExtAck, unix.NETLINK_GET_STRICT_CHK: cfg.StrictCheck,
		unix.NETLINK_LISTEN_ALL_NSID: cfg.ListenAllNSID,
	} {
		if on {
			if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, opt, 1); err != nil {
				return nil, err
			}
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: cfg.Groups}); err != nil {
		return nil, err
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return nil, err
	}
	return &kernelSocket{fd, sa.(*unix.SockaddrNetlink).Pid}, nil
}

func (k *kernelSocket) WriteDatagram(b []byte) error {
	return unix.Sendto(k.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

func (k *kernelSocket) ReadDatagram() (nl.Datagram, error) {
	b := make([]byte, 256<<10)
	n, _, err := unix.Recvfrom(k.fd, b, 0)
	return nl.Datagram{Bytes: b[:max(n, 0)], NSID: -1}, err
}

func (k *kernelSocket) JoinGroup(g uint32) error {
	return unix.SetsockoptInt(k.fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, int(g))
}

func (k *kernelSocket) PortID() uint32 { return k.port }

func (k *kernelSocket) Close() error { return unix.Close(k.fd) }

// outcome is what a command printed and its exit code.
type outcome struct {
	Stdout, Stderr string
	Code           int
}

// runOurs runs our command against the kernel.
func runOurs(stdin string, args ...string) outcome {
	var out, errOut bytes.Buffer
	env := NewEnv(strings.NewReader(stdin), &out, &errOut, nil)
	env.Dial = dialKernel
	code := Run(args, env)
	return outcome{out.String(), errOut.String(), code}
}

// runIP runs the real command.
func runIP(t *testing.T, stdin string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, "ip", args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errOut
	cmd.Env = append(os.Environ(), "COLORFGBG=")
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return outcome{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
}

// setUp runs ip commands that must succeed.
func setUp(t *testing.T, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if o := runIP(t, "", strings.Fields(l)...); o.Code != 0 {
			t.Fatalf("ip %s: %s", l, o.Stderr)
		}
	}
}
