package netnstest

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ipoib/datapath/internal/netns"
	"ipoib/datapath/osthread"
)

// RequireRoot skips the test without root, or fails it when IPOIB_TEST_ROOT=1
// says that it has to run.
func RequireRoot(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("IPOIB_TEST_ROOT") == "1" {
		tb.Fatal("IPOIB_TEST_ROOT is set, but this is not root")
	}
	tb.Skip("needs root")
}

// NS is a network namespace that lasts as long as its file is open.
type NS struct {
	// File is its nsfs file.
	File *os.File
}

// New makes a network namespace with the loopback interface up. It goes with
// the test, and needs root (see RequireRoot).
func New(tb testing.TB) *NS {
	tb.Helper()
	RequireRoot(tb)
	ns := new(NS)
	err := osthread.Run(func() (_ bool, err error) {
		// The namespace is kept by the file alone.
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return false, os.NewSyscallError("unshare", err)
		}
		ns.File, err = os.Open("/proc/thread-self/ns/net")
		return false, err
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { ns.File.Close() })
	ns.Run(tb, "ip", "link", "set", "lo", "up")
	return ns
}

// Command returns a command that will run in the namespace.
func (n *NS) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	// The namespace is file 3 of nsenter, the first after standard error.
	c := exec.CommandContext(ctx, "nsenter", append([]string{"--net=/proc/self/fd/3", name}, args...)...)
	c.ExtraFiles = []*os.File{n.File}
	return c
}

// Run runs a command in the namespace and returns its standard output. A
// failing command fails the test.
func (n *NS) Run(tb testing.TB, name string, args ...string) string {
	tb.Helper()
	var out, errs bytes.Buffer
	c := n.Command(context.Background(), name, args...)
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		tb.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, errs.String())
	}
	return out.String()
}

// JSON runs a command in the namespace and decodes its output into v.
func (n *NS) JSON(tb testing.TB, v any, name string, args ...string) {
	tb.Helper()
	out := n.Run(tb, name, args...)
	if err := json.Unmarshal([]byte(out), v); err != nil {
		tb.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// Do calls fn on a thread in the namespace; sockets made there belong to it.
func (n *NS) Do(tb testing.TB, fn func() error) {
	tb.Helper()
	if err := netns.Do(n.File, fn); err != nil {
		tb.Fatal(err)
	}
}
