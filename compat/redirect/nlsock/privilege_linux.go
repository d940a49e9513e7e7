package nlsock

import (
	"golang.org/x/sys/unix"

	"ipoib/datapath/osthread"
)

// withPrivilege runs fn on a thread that has no effective capabilities but
// those of a set, so that the supervisor does nothing for a program that it may
// not do itself.
func withPrivilege(set uint64, fn func() error) error {
	return osthread.Run(func() (bool, error) {
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var have [2]unix.CapUserData
		if err := unix.Capget(&hdr, &have[0]); err != nil {
			return true, err
		}
		less := have
		less[0].Effective &= uint32(set)
		less[1].Effective &= uint32(set >> 32)
		if err := unix.Capset(&hdr, &less[0]); err != nil {
			return true, err
		}
		err := fn()
		return unix.Capset(&hdr, &have[0]) == nil, err
	})
}
