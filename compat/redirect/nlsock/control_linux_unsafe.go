//go:build linux && (amd64 || arm64)

package nlsock

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// ownControl builds the control messages that the kernel would add to a
// message of its own, as far as the socket asks for them: the group
// (NETLINK_PKTINFO) and the sender's credentials (SO_PASSCRED), which are
// those of the kernel.
func ownControl(fd int, group uint32) (b []byte) {
	if on, err := unix.GetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_PKTINFO); err == nil && on != 0 {
		b = appendControl(b, unix.SOL_NETLINK, unix.NETLINK_PKTINFO, native.AppendUint32(nil, group))
	}
	if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED); err == nil && on != 0 {
		b = appendControl(b, unix.SOL_SOCKET, unix.SCM_CREDENTIALS, make([]byte, unix.SizeofUcred))
	}
	return b
}

func appendControl(b []byte, level, typ int32, data []byte) []byte {
	at := len(b)
	b = append(b, make([]byte, unix.CmsgSpace(len(data)))...)
	// The header is at the start of CmsgSpace bytes, which are enough for it
	// and, made by append to a multiple of its alignment, aligned.
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[at]))
	h.Level, h.Type = level, typ
	h.SetLen(unix.CmsgLen(len(data)))
	copy(b[at+unix.CmsgLen(0):], data)
	return b
}
