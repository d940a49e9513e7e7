package nl

import (
	"fmt"
	"os"
)

// Cap is a Linux capability (uapi/linux/capability.h).
type Cap uint

// Capabilities that netlink asks for.
const (
	CapNetBroadcast Cap = 11
	CapNetAdmin     Cap = 12
	CapSysAdmin     Cap = 21
)

// NetNS identifies a network namespace: device and inode of its nsfs file.
// The zero value stands for all namespaces where that makes sense, and for an
// unknown one elsewhere.
type NetNS struct {
	Dev, Ino uint64
}

// IsZero reports whether n names no namespace.
func (n NetNS) IsZero() bool { return n == NetNS{} }

// String prints the form of /proc/PID/ns/net: "net:[4026531840]".
func (n NetNS) String() string { return fmt.Sprintf("net:[%d]", n.Ino) }

// Peer is the process at the other end of a connection, as its socket proves.
// Its methods may be called from any goroutine.
type Peer interface {
	// PID is the connecting process, 0 when it is not visible from here.
	PID() int
	// UID is its user id when it connected.
	UID() uint32
	// NetNS is the network namespace that the connecting socket belongs to.
	NetNS() NetNS
	// OpenNetNS returns a new descriptor of that namespace, to enter it with
	// setns(2). The caller closes it.
	OpenNetNS() (*os.File, error)
	// Capable reports whether the peer had capability c when it connected,
	// and the sender of a datagram has it now, in the service's own user
	// namespace (netlink_capable).
	Capable(from Sender, c Cap) bool
	// NetCapable is Capable in the user namespace that owns the peer's
	// network namespace (netlink_net_capable).
	NetCapable(from Sender, c Cap) bool
	// Close releases what identifies the peer.
	Close() error
}
