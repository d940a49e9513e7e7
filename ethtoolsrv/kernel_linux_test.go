package ethtoolsrv_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ipoib/datapath/osthread"
	"ipoib/nl"
	"ipoib/nl/ethnl"
)

// TestIntegrationCapture makes testdata/kernel.txt anew, with -update, or
// compares it with the running kernel.
func TestIntegrationCapture(t *testing.T) {
	if os.Getuid() != 0 {
		if os.Getenv("IPOIB_TEST_ROOT") != "" {
			t.Fatal("not root")
		}
		t.Skip("needs root for a network namespace")
	}
	release := kernelRelease(t)
	text := "# Answers of Linux " + release + " to the requests of kernel_test.go, normalized.\n"
	have := loadCapture(t)
	for _, kind := range []string{"ifb", "tun"} {
		inNamespace(t, kind, func(k *kernelSocket) {
			for _, c := range kernelCases() {
				if c.tun != (kind == "tun") {
					continue
				}
				got := c.answers(t, k.family, k.write, k.read)
				text += "case " + c.key() + "\n"
				for _, a := range got {
					text += "> " + a + "\n"
				}
				if want := have[c.key()]; !*update && strings.Join(got, "\n") != strings.Join(want, "\n") {
					t.Logf("%s: this kernel differs from that of the capture:\n got %s\nwant %s", c.key(), describe(got), describe(want))
				}
			}
		})
	}
	if *update {
		if err := os.WriteFile(captureFile, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func kernelRelease(tb testing.TB) string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		tb.Fatal(err)
	}
	major, _, _ := strings.Cut(unix.ByteSliceToString(u.Release[:]), "-")
	return major
}

// kernelSocket is a NETLINK_GENERIC socket of the kernel's.
type kernelSocket struct {
	fd     int
	family uint16
}

func (k *kernelSocket) write(b []byte) error {
	return unix.Sendto(k.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

func (k *kernelSocket) read() ([]byte, error) {
	b := make([]byte, 64<<10)
	n, _, err := unix.Recvfrom(k.fd, b, 0)
	return b[:max(n, 0)], err
}

// inNamespace runs fn in a new network namespace that has a device ib0.
func inNamespace(t *testing.T, kind string, fn func(*kernelSocket)) {
	t.Helper()
	err := osthread.Run(func() (bool, error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return false, err
		}
		args := strings.Fields("link add ib0 type " + kind)
		if kind == "tun" {
			args = strings.Fields("tuntap add ib0 mode tun")
		}
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return false, fmt.Errorf("ip %v: %w %s", args, err, out)
		}
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC)
		if err != nil {
			return false, err
		}
		defer unix.Close(fd)
		tv := unix.NsecToTimeval(int64(5 * time.Second))
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
		_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
		k := &kernelSocket{fd: fd}
		if err := k.write(encode(unix.GENL_ID_CTRL, unix.CTRL_CMD_GETFAMILY, request, 1, func(e *nl.Encoder) {
			e.String(unix.CTRL_ATTR_FAMILY_NAME, ethnl.Name)
		})); err != nil {
			return false, err
		}
		b, err := k.read()
		if err != nil {
			return false, err
		}
		for a := range (nl.Attr{Data: b[20:]}).Children() {
			if a.Type == unix.CTRL_ATTR_FAMILY_ID {
				k.family = binary.NativeEndian.Uint16(a.Data)
			}
		}
		fn(k)
		return false, nil
	})
	if err != nil {
		t.Error(err)
	}
}
