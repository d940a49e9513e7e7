//go:build linux

package hostnet

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// ifreqData is struct ifreq with a pointer in its union.
type ifreqData struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [24 - unsafe.Sizeof(uintptr(0))]byte
}

// ethtool makes an ethtool request on a link.
func ethtool[T ethtoolLinkSettings | ethtoolValue](sock int, ifname string, s *T) error {
	if len(ifname) >= unix.IFNAMSIZ {
		return unix.ENODEV
	}
	req := ifreqData{data: unsafe.Pointer(s)}
	copy(req.name[:], ifname)
	// req holds s by a typed pointer, and the conversion in the argument list
	// keeps req alive during the call.
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(sock), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	if errno != 0 {
		return errno
	}
	return nil
}
