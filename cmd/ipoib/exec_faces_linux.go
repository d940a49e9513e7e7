package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The files of the service, in the run directory (compat/sysfs): a tree with a
// view for each network namespace, and the directory where the kernel's own
// sysfs is mounted for what the views take from there.
const (
	facesTree  = "sys"
	facesLower = "lower"
)

// faceMounts are what of a view is shown where.
var faceMounts = []struct{ from, to string }{
	{"devices/virtual/net", "/sys/devices/virtual/net"},
	{"overlay/class", "/sys/class"},
	{"overlay/module", "/sys/module"},
	{"debug", "/sys/kernel/debug"},
}

// showFaces gives the calling thread mounts of its own in which /sys has the
// service's files of its network namespace. It does nothing where there are
// none, where they are shown already, or without the privilege to mount.
func showFaces(runDir string) error {
	var ns unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &ns); err != nil {
		return err
	}
	view := filepath.Join(runDir, facesTree, "netns", fmt.Sprint(ns.Ino))
	if !isFUSE(view) || isFUSE(faceMounts[0].to) {
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
	lower := filepath.Join(runDir, facesLower)
	if err := unix.Mount("/sys", lower, "", unix.MS_BIND, ""); err != nil {
		return &os.PathError{Op: "mount", Path: lower, Err: err}
	}
	for _, m := range faceMounts {
		if _, err := os.Stat(m.to); err != nil {
			continue
		}
		if err := unix.Mount(filepath.Join(view, m.from), m.to, "", unix.MS_BIND, ""); err != nil {
			return &os.PathError{Op: "mount", Path: m.to, Err: err}
		}
	}
	return nil
}

func isFUSE(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.FUSE_SUPER_MAGIC
}
