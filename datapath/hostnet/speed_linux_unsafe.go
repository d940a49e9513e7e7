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

// ethtool makes an ethtool request about the settings of a link.
func ethtool(sock int, ifname string, s *ethtoolLinkSettings) error {
	return ethtoolRequest(sock, ifname, unsafe.Pointer(s))
}

// ethtoolSet makes an ethtool request with one value.
func ethtoolSet(sock int, ifname string, v *ethtoolValue) error {
	return ethtoolRequest(sock, ifname, unsafe.Pointer(v))
}

func ethtoolRequest(sock int, ifname string, data unsafe.Pointer) error {
	if len(ifname) >= unix.IFNAMSIZ {
		return unix.ENODEV
	}
	req := ifreqData{data: data}
	copy(req.name[:], ifname)
	// req holds the data by a pointer, and the conversion in the argument
	// list keeps req alive during the call.
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(sock), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	if errno != 0 {
		return errno
	}
	return nil
}
