package cli

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"ipoib/nl"
	"ipoib/nl/ipoibnl"
)

// requireEthtool skips a test without root and ethtool 6.1, with which it
// compares, or fails it when IPOIB_TEST_ROOT=1 says that it has to run.
// IPOIB_TEST_TOOLS=0 says that it has run already, without the race detector.
func requireEthtool(t *testing.T) {
	t.Helper()
	if os.Getenv("IPOIB_TEST_TOOLS") == "0" {
		t.Skip("IPOIB_TEST_TOOLS=0")
	}
	skip := t.Skipf
	if os.Getenv("IPOIB_TEST_ROOT") == "1" {
		skip = t.Fatalf
	}
	if os.Geteuid() != 0 {
		skip("needs root")
	}
	out, err := exec.CommandContext(t.Context(), "ethtool", "--version").Output()
	if err != nil || string(out) != "ethtool version 6.1\n" {
		skip("no ethtool 6.1: %s %v", out, err)
	}
}

// enterNetNS puts the test's thread into a network namespace of its own, for
// good: the thread ends with the test.
func enterNetNS(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"all", "default"} {
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+f+"/disable_ipv6", []byte("1"), 0)
	}
}

// ip runs ip commands that must succeed.
func ip(t *testing.T, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if out, err := exec.CommandContext(t.Context(), "ip", strings.Fields(l)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %s", l, out)
		}
	}
}

// kernel is the kernel as an endpoint.
type kernel struct{}

func (kernel) Open(proto int) (Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return nil, err
	}
	k := &kernelSocket{fd: fd}
	err = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	}
	if err == nil {
		// Nothing that a test waits for takes longer.
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5})
	}
	var sa unix.Sockaddr
	if err == nil {
		sa, err = unix.Getsockname(fd)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	k.port = sa.(*unix.SockaddrNetlink).Pid
	return k, nil
}

type kernelSocket struct {
	fd   int
	port uint32
}

func (k *kernelSocket) PortID() uint32 { return k.port }

func (k *kernelSocket) WriteDatagram(b []byte) error {
	return unix.Sendto(k.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

func (k *kernelSocket) ReadDatagram() (nl.Datagram, error) {
	b := make([]byte, 64<<10)
	n, _, err := unix.Recvfrom(k.fd, b, 0)
	return nl.Datagram{Bytes: b[:max(n, 0)]}, err
}

func (k *kernelSocket) JoinGroup(g uint32) error {
	return unix.SetsockoptInt(k.fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, int(g))
}

func (k *kernelSocket) Close() error { return unix.Close(k.fd) }

// ifreq is struct ifreq of SIOCETHTOOL.
type ifreq struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

// ethtoolIoctl makes a SIOCETHTOOL request with a buffer that begins with the
// command.
func ethtoolIoctl(ifname string, cmd uint32, buf []uint32) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	buf[0] = cmd
	r := ifreq{data: unsafe.Pointer(&buf[0])}
	copy(r.name[:unix.IFNAMSIZ-1], ifname)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&r)))
	runtime.KeepAlive(buf)
	if errno != 0 {
		return errno
	}
	return nil
}

func words8(b []uint32) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(&b[0])), 4*len(b)) }

// Legacy asks by ioctl.
func (kernel) Legacy(q ipoibnl.EthtoolRequest) (r ipoibnl.EthtoolReply, err error) {
	buf := make([]uint32, 16<<10)
	switch q.Cmd {
	case ipoibnl.EthtoolGDrvInfo:
		if err := ethtoolIoctl(q.Ifname, q.Cmd, buf); err != nil {
			return r, err
		}
		b := words8(buf)[4:]
		r.Driver, r.Version = unix.ByteSliceToString(b[:32]), unix.ByteSliceToString(b[32:64])
		r.Firmware, r.Bus = unix.ByteSliceToString(b[64:96]), unix.ByteSliceToString(b[96:128])
		r.NumStats = buf[(4+128+32+12+4)/4]
		return r, nil
	case ipoibnl.EthtoolGSsetInfo:
		return r, ethtoolIoctl(q.Ifname, q.Cmd, buf)
	case ipoibnl.EthtoolGStats:
		const set = 1 // ETH_SS_STATS
		buf[2] = 1 << set
		if err := ethtoolIoctl(q.Ifname, ipoibnl.EthtoolGSsetInfo, buf); err != nil {
			return r, err
		}
		n := int(buf[4])
		if buf[2] == 0 || n == 0 {
			return r, syscall.EOPNOTSUPP
		}
		names, values := make([]uint32, 3+8*n), make([]uint32, 2+2*n)
		names[1], names[2], values[1] = set, uint32(n), uint32(n)
		if err := ethtoolIoctl(q.Ifname, ipoibnl.EthtoolGStrings, names); err != nil {
			return r, err
		}
		if err := ethtoolIoctl(q.Ifname, q.Cmd, values); err != nil {
			return r, err
		}
		for i := range n {
			name := unix.ByteSliceToString(words8(names[3+8*i : 3+8*i+8]))
			v := uint64(values[2+2*i]) | uint64(values[3+2*i])<<32
			r.Stats = append(r.Stats, ipoibnl.Counter{Name: name, Value: v})
		}
		return r, nil
	}
	return r, ethtoolIoctl(q.Ifname, q.Cmd, buf)
}

// outcome is what a command printed and its exit code. All is both outputs in
// the order in which they were written.
type outcome struct {
	Stdout, Stderr, All string
	Code                int
}

// both writes to two buffers.
type both struct{ a, b *bytes.Buffer }

func (w both) Write(p []byte) (int, error) {
	w.b.Write(p)
	return w.a.Write(p)
}

// runWith runs our command against an endpoint.
func runWith(e Endpoint, args ...string) outcome {
	var out, errOut, all bytes.Buffer
	app := App{Stdout: both{&out, &all}, Stderr: both{&errOut, &all}, Endpoint: e, Version: "1.2.3"}
	code := app.Run(args)
	return outcome{out.String(), errOut.String(), all.String(), code}
}

// runEthtool runs the real command, with its outputs apart and together.
func runEthtool(t *testing.T, args ...string) outcome {
	t.Helper()
	var out, errOut bytes.Buffer
	code := execEthtool(t, &out, &errOut, args...)
	return outcome{out.String(), errOut.String(), "", code}
}

func execEthtool(t *testing.T, out, errOut *bytes.Buffer, args ...string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ethtool", args...)
	cmd.Stdout, cmd.Stderr = out, errOut
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}
