package nl

import (
	"errors"
	"time"
)

// PacketConn carries netlink datagrams between a client and the service, one
// a packet, in order and without loss. The unix socket is one; nltest has one
// in memory.
type PacketConn interface {
	// ReadPacket returns the next datagram in memory that the caller owns,
	// and who sent it. It blocks until there is one, returns io.EOF once the
	// other end closed, and ErrPacketTooLong for a datagram above
	// [MaxDatagram], which is lost.
	ReadPacket() ([]byte, Sender, error)
	// WritePacket sends one datagram and does not keep b. It blocks while the
	// other end does not read and the buffers between are full.
	WritePacket(b []byte) error
	// SetReadDeadline and SetWriteDeadline work as in net.Conn.
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	// Close unblocks both directions.
	Close() error
}

// Sender is who sent a datagram.
type Sender struct {
	// PID is the process, as the receiver's pid namespace numbers it, 0 when
	// unknown. It differs from the connection's peer when a descriptor was
	// inherited or passed on.
	PID int
}

// Sizes in bytes.
const (
	// MaxDatagram is the largest datagram.
	MaxDatagram = 256 << 10
	// MaxRequest is the largest that a client may send, a little more than a
	// netlink socket with the default send buffer takes. An error answer that
	// quotes it has room for what it adds.
	MaxRequest = MaxDatagram - 4096
)

// ErrPacketTooLong is returned for a datagram above MaxDatagram.
var ErrPacketTooLong = errors.New("datagram too long")

// errEmptyPacket is returned for an empty datagram, which the kernel refuses
// with ENODATA and which a packet socket cannot tell from its end.
var errEmptyPacket = errors.New("empty datagram")
