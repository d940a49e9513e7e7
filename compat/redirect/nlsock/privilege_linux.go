package nlsock

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// withPrivilege runs fn on a thread that has no effective capabilities but
// those of a set, so that the supervisor does nothing for a program that it may
// not do itself.
func withPrivilege(set uint64, fn func() error) error {
	done := make(chan error, 1)
	go func() {
		// The thread ends with the goroutine unless it is what it was.
		runtime.LockOSThread()
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var have [2]unix.CapUserData
		if err := unix.Capget(&hdr, &have[0]); err != nil {
			done <- err
			return
		}
		less := have
		less[0].Effective &= uint32(set)
		less[1].Effective &= uint32(set >> 32)
		if err := unix.Capset(&hdr, &less[0]); err != nil {
			done <- err
			return
		}
		err := fn()
		if unix.Capset(&hdr, &have[0]) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}
