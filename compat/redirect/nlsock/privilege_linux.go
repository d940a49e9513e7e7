package nlsock

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// withoutPrivilege runs fn on a thread without effective capabilities, so that
// the supervisor cannot do for a program what that may not do itself.
func withoutPrivilege(fn func() error) error {
	runtime.LockOSThread()
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have [2]unix.CapUserData
	if err := unix.Capget(&hdr, &have[0]); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	none := have
	none[0].Effective, none[1].Effective = 0, 0
	if err := unix.Capset(&hdr, &none[0]); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	err := fn()
	if unix.Capset(&hdr, &have[0]) == nil {
		runtime.UnlockOSThread() // else the thread ends with the goroutine
	}
	return err
}
