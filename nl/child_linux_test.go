package nl_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"ipoib/nl"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// The tests of capabilities need processes with rights of their own: the test
// binary runs itself with childEnv set.
const childEnv = "NL_TEST_CHILD"

func TestMain(m *testing.M) {
	if mode, path, ok := strings.Cut(os.Getenv(childEnv), " "); ok {
		if err := child(mode, path); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child connects and prints the errnos of a change and a host change.
func child(mode, path string) error {
	if mode == "drop-before" {
		if err := dropCaps(); err != nil {
			return err
		}
	}
	if mode == "inherited" {
		// A connection made by the parent.
		return askRaw(3)
	}
	c, err := nl.Dial(context.Background(), path, nl.ConnConfig{Protocol: toyProto})
	if err != nil {
		return err
	}
	defer c.Close()
	switch mode {
	case "drop-after":
		if err := dropCaps(); err != nil {
			return err
		}
	case "pass":
		raw, err := c.SyscallConn()
		if err != nil {
			return err
		}
		return errors.Join(raw.Control(func(fd uintptr) {
			err = unix.Sendmsg(3, []byte{0}, unix.UnixRights(int(fd)), nil, 0)
		}), err)
	}
	for _, t := range []netlink.HeaderType{toyChange, toyHost} {
		if err := c.WriteDatagram(request(t, netlink.Acknowledge, 1)); err != nil {
			return err
		}
		ms, err := c.Receive()
		if err != nil {
			return err
		}
		fmt.Printf("%d ", -int32(nl.Attr{Data: ms[0].Data}.Uint32()))
	}
	return nil
}

// askRaw does the same on a connection that is a bare descriptor.
func askRaw(fd int) error {
	for _, t := range []netlink.HeaderType{toyChange, toyHost} {
		if err := unix.Send(fd, request(t, netlink.Acknowledge, 1), 0); err != nil {
			return err
		}
		b := make([]byte, 1000)
		if _, err := unix.Read(fd, b); err != nil {
			return err
		}
		fmt.Printf("%d ", -int32(nl.Attr{Data: b[nl.HeaderLen:]}.Uint32()))
	}
	return nil
}

func init() {
	if os.Getenv(childEnv) != "" {
		// main runs on the first thread then, the one that /proc tells of.
		runtime.LockOSThread()
	}
}

// dropCaps takes CAP_NET_ADMIN from the calling thread.
func dropCaps() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return err
	}
	data[0].Effective &^= 1 << nl.CapNetAdmin
	data[0].Permitted &^= 1 << nl.CapNetAdmin
	return unix.Capset(&hdr, &data[0])
}

func runChild(t *testing.T, mode, path string, attr *syscall.SysProcAttr, extra *os.File) string {
	t.Helper()
	// Not os.Executable: its directory is closed to other users.
	cmd := exec.Command("/proc/self/exe")
	// The race detector would wait a second before it exits.
	cmd.Env = append(os.Environ(), childEnv+"="+mode+" "+path, "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = attr
	if extra != nil {
		cmd.ExtraFiles = []*os.File{extra}
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s%s", err, out.String(), errs.String())
	}
	return out.String()
}
