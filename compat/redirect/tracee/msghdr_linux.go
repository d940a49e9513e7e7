package tracee

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

var native = binary.NativeEndian

// Sizes of structures of a 64-bit process, in bytes.
const (
	msghdrLen  = 56
	mmsghdrLen = 64
	iovecLen   = 16
	// maxIov is UIO_MAXIOV.
	maxIov = 1024
)

// Iovec is a buffer of the thread.
type Iovec struct{ Base, Len uint64 }

// Total is the length of buffers, cut where it exceeds what one call moves.
func Total(iov []Iovec) int {
	var n uint64
	for _, v := range iov {
		if n += v.Len; n > maxTransfer || v.Len > maxTransfer {
			return maxTransfer
		}
	}
	return int(n)
}

// maxTransfer bounds what is copied for one message, in bytes: a little more
// than any netlink datagram.
const maxTransfer = 1 << 20

// ReadIovecs reads an array of struct iovec; EMSGSIZE when it is longer than
// the kernel takes.
func (t *Thread) ReadIovecs(addr, n uint64) ([]Iovec, error) {
	if n > maxIov {
		return nil, unix.EMSGSIZE
	}
	b := make([]byte, n*iovecLen)
	if err := t.Read(addr, b); err != nil {
		return nil, err
	}
	iov := make([]Iovec, n)
	for i := range iov {
		iov[i] = Iovec{native.Uint64(b[i*iovecLen:]), native.Uint64(b[i*iovecLen+8:])}
	}
	return iov, nil
}

// Gather reads buffers of the thread.
func (t *Thread) Gather(iov []Iovec) ([]byte, error) {
	b := make([]byte, Total(iov))
	at := 0
	for _, v := range iov {
		n := min(int(min(v.Len, maxTransfer)), len(b)-at)
		if err := t.Read(v.Base, b[at:at+n]); err != nil {
			return nil, err
		}
		at += n
	}
	return b, nil
}

// Scatter writes b to buffers of the thread and returns how much fitted.
func (t *Thread) Scatter(iov []Iovec, b []byte) (int, error) {
	done := 0
	for _, v := range iov {
		n := int(min(v.Len, uint64(len(b)-done)))
		if n == 0 {
			continue
		}
		if err := t.Write(v.Base, b[done:done+n]); err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// Msghdr is a struct msghdr of the thread.
type Msghdr struct {
	// Addr is where it is.
	Addr uint64
	// Name and Control are addresses, 0 for none.
	Name, Control       uint64
	NameLen, ControlLen uint64
	Iov                 []Iovec
	Flags               int32
}

// ReadMsghdr reads a struct msghdr with its array of buffers.
func (t *Thread) ReadMsghdr(addr uint64) (m Msghdr, err error) {
	var b [msghdrLen]byte
	if err := t.Read(addr, b[:]); err != nil {
		return m, err
	}
	m = Msghdr{
		Addr: addr,
		Name: native.Uint64(b[0:]), NameLen: uint64(native.Uint32(b[8:])),
		Control: native.Uint64(b[32:]), ControlLen: native.Uint64(b[40:]),
		Flags: int32(native.Uint32(b[48:])),
	}
	m.Iov, err = t.ReadIovecs(native.Uint64(b[16:]), native.Uint64(b[24:]))
	return m, err
}

// WriteBack writes the fields that recvmsg(2) returns.
func (t *Thread) WriteBack(m *Msghdr) error {
	var b [8]byte
	native.PutUint32(b[:], uint32(m.NameLen))
	if err := t.Write(m.Addr+8, b[:4]); err != nil {
		return err
	}
	native.PutUint64(b[:], m.ControlLen)
	if err := t.Write(m.Addr+40, b[:]); err != nil {
		return err
	}
	native.PutUint32(b[:], uint32(m.Flags))
	return t.Write(m.Addr+48, b[:4])
}

// MmsgAddr is the address of element i of an array of struct mmsghdr.
func MmsgAddr(vec uint64, i int) uint64 { return vec + uint64(i)*mmsghdrLen }

// WriteMmsgLen writes msg_len of a struct mmsghdr.
func (t *Thread) WriteMmsgLen(addr uint64, n int) error {
	var b [4]byte
	native.PutUint32(b[:], uint32(n))
	return t.Write(addr+msghdrLen, b[:])
}
