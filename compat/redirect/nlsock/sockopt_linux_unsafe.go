//go:build linux && (amd64 || arm64)

package nlsock

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// member reports whether a socket has joined a group
// (NETLINK_LIST_MEMBERSHIPS).
func member(fd int, group uint32) bool {
	var words [64]uint32 // 2048 groups
	size := uint32(len(words) * 4)
	// Both pointers are to local variables, converted in the call.
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_NETLINK, unix.NETLINK_LIST_MEMBERSHIPS,
		uintptr(unsafe.Pointer(&words)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 || group == 0 || int(group) > len(words)*32 {
		return false
	}
	g := group - 1
	return words[g/32]>>(g%32)&1 != 0
}

// sendTicket sends a message to the kernel without changing what the socket
// is connected to.
func sendKernel(fd int, b []byte) error {
	return unix.Sendto(fd, b, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}
