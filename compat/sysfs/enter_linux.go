package sysfs

import (
	"os"

	"golang.org/x/sys/unix"

	"ipoib/compat/fusefs"
)

// LowerName and LowerDebugName are the directories beside the tree where the
// kernel's own sysfs and debugfs are mounted for the overlays.
const (
	LowerName      = "lower"
	LowerDebugName = "lower-debug"
)

// Enter shows the tree in /sys of a mount namespace that belongs to the caller
// alone and has a sysfs of its own at /sys. view is the path of the caller's
// view, lower that of LowerName. Without a living tree it does nothing.
func Enter(view, lower string) error {
	if !fusefs.Serves(view) {
		return nil
	}
	if err := unix.Mount("/sys", lower, "", unix.MS_BIND, ""); err != nil {
		return &os.PathError{Op: "mount", Path: lower, Err: err}
	}
	for _, m := range []struct{ from, to string }{
		{"devices/virtual/net", "/sys/devices/virtual/net"},
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
