package sysfs

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"ipoib/compat/fusefs"
	"ipoib/datapath/hostnet"
	"ipoib/datapath/osthread"
	"ipoib/nl"
)

// HostGuard is the Guard of callers on this machine, by /proc.
type HostGuard struct{}

// NetNS implements Guard.
func (HostGuard) NetNS(c fusefs.Caller) (hostnet.ID, error) {
	id, err := nl.ThreadNetNS(c.TID)
	return hostnet.ID{Dev: id.Dev, Ino: id.Ino}, err
}

// NetAdmin implements Guard.
func (HostGuard) NetAdmin(c fusefs.Caller, netns *os.File) bool {
	return nl.ThreadNetCapable(c.TID, netns, nl.CapNetAdmin)
}

// Command implements Guard.
func (HostGuard) Command(c fusefs.Caller) string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(c.TID) + "/comm")
	if err != nil {
		return "?"
	}
	return strings.TrimSuffix(string(b), "\n")
}

// OpenLower opens a sysfs of a network namespace that is mounted nowhere
// (Linux 5.2): what the kernel has, whatever is mounted over it.
func OpenLower(ns hostnet.Namespace) (*os.Root, error) {
	file := ns.File()
	if file == nil {
		return nil, os.ErrInvalid
	}
	var root *os.Root
	err := osthread.Run(func() (_ bool, err error) {
		root, err = mountDetached(int(file.Fd()))
		return false, err
	})
	runtime.KeepAlive(file)
	return root, err
}

// mountDetached mounts sysfs in a namespace, from the calling thread.
func mountDetached(netns int) (*os.Root, error) {
	if err := unix.Setns(netns, unix.CLONE_NEWNET); err != nil {
		return nil, os.NewSyscallError("setns", err)
	}
	ctx, err := unix.Fsopen("sysfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("fsopen", err)
	}
	defer func() { _ = unix.Close(ctx) }()
	if err := unix.FsconfigCreate(ctx); err != nil {
		return nil, os.NewSyscallError("fsconfig", err)
	}
	fd, err := unix.Fsmount(ctx, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("fsmount", err)
	}
	// The directory that is opened keeps the mount.
	defer func() { _ = unix.Close(fd) }()
	root, err := os.OpenRoot("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return nil, fmt.Errorf("opening sysfs: %w", err)
	}
	return root, nil
}
