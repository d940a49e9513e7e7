package sysfs

import (
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"ipoib/compat/fusefs"
)

// LowerName and LowerDebugName are the directories beside the tree where the
// kernel's own sysfs and debugfs are mounted for the overlays.
const (
	LowerName      = "lower"
	LowerDebugName = "lower-debug"
)

// enteredAt is what Enter mounts over, and nothing else does.
const enteredAt = "/sys/devices/virtual/net"

// bindLower shows the kernel's sysfs without what is mounted over it.
func bindLower(lower string) error {
	if err := unix.Mount("/sys", lower, "", unix.MS_BIND, ""); err != nil {
		return &os.PathError{Op: "mount", Path: lower, Err: err}
	}
	return nil
}

// Reenter shows the tree at dir again where Enter did, in mount namespaces
// that fusefs.Leave was in. lower is the path of LowerName.
func Reenter(dir, lower string, places []fusefs.Place) error {
	return fusefs.Return(dir, places, func(list []fusefs.Place) error {
		entered := slices.ContainsFunc(list, func(p fusefs.Place) bool { return p.Path == enteredAt })
		if !entered || isMount(lower, unix.SYSFS_MAGIC) {
			return nil
		}
		return bindLower(lower)
	})
}

// Enter shows the tree in /sys of a mount namespace that belongs to the caller
// alone and has a sysfs of its own at /sys. view is the path of the caller's
// view, lower that of LowerName. Without a living tree it does nothing.
func Enter(view, lower string) error {
	if !fusefs.Serves(view) {
		return nil
	}
	if err := bindLower(lower); err != nil {
		return err
	}
	for _, m := range []struct{ from, to string }{
		{"devices/virtual/net", enteredAt},
		{"overlay/class", "/sys/class"},
		{"overlay/module", "/sys/module"},
		{"debug", "/sys/kernel/debug"},
	} {
		if !exists(m.to) {
			continue
		}
		if err := fusefs.Bind(view+"/"+m.from, m.to); err != nil {
			return err
		}
	}
	return nil
}
