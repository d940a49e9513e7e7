package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"ipoib/compat/fusefs"
	"ipoib/compat/sysfs"
)

// facesTree is the tree of the service's files in the run directory, with a
// view for each network namespace (compat/sysfs).
const facesTree = "sys"

// showFaces gives the calling thread mounts of its own in which /sys has the
// service's files of its network namespace. It does nothing where there are
// none, where they are shown already, or without the privilege to mount.
func showFaces(runDir string) error {
	var ns unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &ns); err != nil {
		return err
	}
	view := filepath.Join(runDir, facesTree, "netns", fmt.Sprint(ns.Ino))
	if !fusefs.Serves(view) || fusefs.Serves("/sys/devices/virtual/net") {
		return nil
	}
	err := unix.Unshare(unix.CLONE_NEWNS)
	if errors.Is(err, unix.EPERM) {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("unshare", err)
	}
	// What is mounted elsewhere later still appears here, and nothing of here
	// there.
	if err := unix.Mount("", "/", "none", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return os.NewSyscallError("mount", err)
	}
	return sysfs.Enter(view, filepath.Join(runDir, sysfs.LowerName))
}
