package upstream

import (
	"encoding/binary"
	"errors"
	"syscall"

	"github.com/mdlayher/netlink"

	"ipoib/nl"
)

var native = binary.NativeEndian

func put(b []byte, typ, flags uint16, seq uint32) {
	native.PutUint32(b, uint32(len(b)))
	native.PutUint16(b[4:], typ)
	native.PutUint16(b[6:], flags)
	native.PutUint32(b[8:], seq)
}

func pad(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// isBarrier reports whether an NLMSG_ERROR message quotes an NLMSG_NOOP.
func isBarrier(b []byte) bool {
	return len(b) >= 2*nl.HeaderLen+4 && nl.ParseHeader(b[nl.HeaderLen+4:]).Type == netlink.Noop
}

// isOverrun reports whether events were lost at this place, which the
// connection survives.
func isOverrun(err error) bool { return errors.Is(err, syscall.ENOBUFS) }
