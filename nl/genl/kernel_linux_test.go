package genl_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/genetlink"
	"golang.org/x/sys/unix"
)

// kernelSocket is a plain NETLINK_GENERIC socket.
type kernelSocket struct {
	fd   int
	port uint32
}

func openKernel(tb testing.TB, ext, capped bool, port uint32) *kernelSocket {
	tb.Helper()
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC)
	if err != nil {
		skipOrFail(tb, "no NETLINK_GENERIC: %v", err)
	}
	for opt, on := range map[int]bool{unix.NETLINK_EXT_ACK: ext, unix.NETLINK_CAP_ACK: capped} {
		if on {
			if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, opt, 1); err != nil {
				tb.Fatal(err)
			}
		}
	}
	// Not to wait forever for a kernel that answers less than expected.
	tv := unix.NsecToTimeval(int64(5 * time.Second))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		tb.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: port}); err != nil {
		tb.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		tb.Fatal(err)
	}
	return &kernelSocket{fd: fd, port: sa.(*unix.SockaddrNetlink).Pid}
}

func (k *kernelSocket) write(b []byte) error {
	return unix.Sendto(k.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

func (k *kernelSocket) read() ([]byte, error) {
	b := make([]byte, 64<<10)
	n, _, err := unix.Recvfrom(k.fd, b, 0)
	if err != nil {
		return nil, err
	}
	return b[:n], nil
}

// skipOrFail skips, or fails where the environment promises what is missing.
func skipOrFail(tb testing.TB, format string, args ...any) {
	tb.Helper()
	if os.Getenv("IPOIB_TEST_ROOT") != "" {
		tb.Fatalf(format, args...)
	}
	tb.Skipf(format, args...)
}

// askKernel asks the running kernel on sockets bound to port.
func askKernel(port uint32) asker {
	return func(tb testing.TB, opts int, req []byte) [][]byte {
		tb.Helper()
		k := openKernel(tb, sockopts[opts].ext, sockopts[opts].capped, port)
		defer unix.Close(k.fd)
		if err := k.write(req); err != nil {
			tb.Fatal(err)
		}
		return untilMark(tb, k.write, k.read, req)
	}
}

// kernelFamily finds the kernel's ethtool family.
func kernelFamily(t *testing.T) (id uint16) {
	t.Helper()
	c, err := genetlink.Dial(nil)
	if err != nil {
		skipOrFail(t, "no NETLINK_GENERIC: %v", err)
	}
	defer c.Close()
	f, err := c.GetFamily("ethtool")
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return f.ID
}

// recordedSeries is the kernel series in testdata; others may differ in
// details that are theirs.
const recordedSeries = "6.18."

// TestKernelLive sends every case to the running kernel and to the service.
// With -update it records what the kernel says.
func TestKernelLive(t *testing.T) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		t.Fatal(err)
	}
	if release := unix.ByteSliceToString(uts.Release[:]); !strings.HasPrefix(release, recordedSeries) {
		t.Skipf("kernel %s is not of series %s", release, recordedSeries)
	}
	id := kernelFamily(t)
	const port = 0x70017001
	kernel := askKernel(port)
	service := askService(t, id, port)
	cases := ctrlCases()
	if id != 0 && os.Geteuid() == 0 {
		cases = append(cases, ethtoolCases()...)
	} else if *update {
		t.Fatal("recording needs root and the ethtool family")
	}
	var record bytes.Buffer
	fmt.Fprintf(&record, "family %d port %d\n", id, port)
	for _, c := range cases {
		fmt.Fprintf(&record, "case %s\n", c.name)
		for i, o := range sockopts {
			want := kernel(t, i, c.req(id))
			fmt.Fprintf(&record, "options %s\n", o.name)
			for _, b := range want {
				fmt.Fprintf(&record, "> %s\n", hex.EncodeToString(b))
			}
			compareAnswers(t, c.name+" "+o.name, service(t, i, c.req(id)), want, c.dump)
		}
	}
	if *update {
		if err := os.WriteFile(recorded(t), record.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
