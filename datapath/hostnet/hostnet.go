package hostnet

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"github.com/mdlayher/netlink"
)

// ID identifies a network namespace while it exists: device and inode of its
// nsfs file, as stat on /proc/PID/ns/net shows.
type ID struct {
	Dev, Ino uint64
}

// String prints what readlink on /proc/PID/ns/net shows.
func (id ID) String() string { return fmt.Sprintf("net:[%d]", id.Ino) }

// Host opens network namespaces. Each call returns a Namespace of its own,
// which the caller closes.
type Host interface {
	// Current opens the namespace of this process.
	Current() (Namespace, error)
	// ByName opens a namespace that ip netns knows, in /run/netns.
	ByName(name string) (Namespace, error)
	// ByPath opens the namespace whose nsfs file is at path.
	ByPath(path string) (Namespace, error)
	// ByPID opens the namespace of a process.
	ByPID(pid int) (Namespace, error)
	// ByFile opens the namespace that an open nsfs file stands for; the file
	// stays with the caller.
	ByFile(f *os.File) (Namespace, error)
	// ByID searches /run/netns and the processes for a namespace, such as one
	// remembered from before a crash. ErrNotExist when it is gone.
	ByID(id ID) (Namespace, error)
	// Abandoned returns those of ids that nothing but this process keeps: no
	// mount, no thread and no open file of another process. Sockets of other
	// processes cannot be seen.
	Abandoned(ids []ID) []ID
}

// Namespace is one network namespace. All methods may be called from any
// goroutine. Errors are *OpError; those that name a link match ErrNotExist
// when it is gone, and after Close all operations return ErrClosed.
type Namespace interface {
	// ID returns the identity of the namespace.
	ID() ID
	// Name returns the name in /run/netns, or "" for the namespace of this
	// process and for one that has none.
	Name() string
	// File returns the open nsfs file, which stays with the Namespace, for
	// system calls that enter the namespace. It is nil for a fake.
	File() *os.File
	// Close releases the namespace and ends its Watchers.
	Close() error

	// Links lists all links.
	Links() ([]Link, error)
	// LinkByIndex and LinkByName return one link; an alternative name is a
	// name.
	LinkByIndex(ifindex int) (Link, error)
	LinkByName(name string) (Link, error)
	// SetUp sets the administrative state (IFF_UP).
	SetUp(ifindex int, up bool) error
	// SetMTU sets the MTU in octets.
	SetMTU(ifindex, mtu int) error
	// SetName renames a link.
	SetName(ifindex int, name string) error
	// SetTxQueueLen sets the transmit queue length in packets.
	SetTxQueueLen(ifindex, n int) error
	// SetAlias sets the interface alias; "" removes it.
	SetAlias(ifindex int, alias string) error
	// SetAddrGenMode says how the kernel makes IPv6 link-local addresses.
	SetAddrGenMode(ifindex int, m AddrGenMode) error
	// Move moves a link to another namespace. A name that is taken there is
	// an error (EEXIST), and nothing is moved.
	Move(ifindex int, to Namespace) error
	// DeleteLink deletes a link.
	DeleteLink(ifindex int) error
	// LinkMessages returns all that the kernel says of a link, or of all links
	// for ifindex 0: RTM_NEWLINK messages behind their nlmsghdr, without
	// statistics per protocol.
	LinkMessages(ifindex int) ([][]byte, error)
	// ChangeLink changes what has no method of its own.
	ChangeLink(ifindex int, c LinkChange) error
	// SetSpeed sets what ethtool and, while the link is up,
	// /sys/class/net/X/speed show; mbps -1 is unknown. Port, PHY address and
	// autonegotiation follow (ETHTOOL_SLINKSETTINGS, which a TUN stores for
	// this purpose).
	SetSpeed(ifname string, mbps int, d Duplex) error

	// Addrs lists the addresses of a link, or of all links for ifindex 0.
	Addrs(ifindex int) ([]Addr, error)
	// AddAddr adds an address; one that is there already is ErrExist.
	AddAddr(a Addr) error
	// DelAddr removes an address; ErrNotExist when it is not there.
	DelAddr(ifindex int, prefix netip.Prefix) error

	// Route looks up the route of a packet, in one request to the kernel. An
	// unreachable destination is a Route of that type, not an error.
	Route(q RouteQuery) (Route, error)

	// Groups lists the IP multicast groups, of both families and of every
	// scope, that the host has joined on a link; none for a link that is gone.
	Groups(ifindex int) ([]netip.Addr, error)

	// Sysctl reads, and SetSysctl writes, net.FAMILY.conf.IFNAME.KEY.
	Sysctl(f Family, ifname, key string) (string, error)
	SetSysctl(f Family, ifname, key, value string) error

	// Watch follows the namespace. fn is called for each event in order, on
	// one goroutine: first once for each link and address there is, then an
	// EventSynced, then for each change. It must not block for long, nor call
	// Close of the Watcher or of the Namespace. The first call may come before
	// Watch returns. Linux does not tell of a new alias or address generation
	// mode of a link that is down.
	Watch(fn func(Event)) (Watcher, error)
}

// Watcher is a running Namespace.Watch.
type Watcher interface {
	// Close ends the calls; none is running or will follow when it returns.
	Close() error
}

// Family is an address family.
type Family uint8

// The families.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// String prints the name that /proc/sys/net uses.
func (f Family) String() string {
	switch f {
	case IPv4:
		return "ipv4"
	case IPv6:
		return "ipv6"
	}
	return fmt.Sprintf("Family(%d)", uint8(f))
}

// FamilyOf returns the family of an address.
func FamilyOf(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

// Errors that callers test with errors.Is; other causes are a syscall.Errno.
var (
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("network namespace is closed")
	// ErrNotExist: the namespace, link or address does not exist.
	ErrNotExist = errors.New("does not exist")
	// ErrExist: the address, or a link of that name, exists already.
	ErrExist = errors.New("exists already")
	// ErrPermission: CAP_NET_ADMIN, or CAP_SYS_ADMIN to enter a namespace, is
	// missing.
	ErrPermission = errors.New("permission denied")
)

// OpError is the error of an operation: what was tried on which link. It
// matches the errors above by the errno of its cause, which errors.As finds.
type OpError struct {
	// Op is what was tried, such as "set mtu".
	Op string
	// Link is the name or index of the link; it may be empty.
	Link string
	// Err is the cause.
	Err error
}

func (e *OpError) Error() string {
	if e.Link == "" {
		return fmt.Sprintf("hostnet: %s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("hostnet: %s on %s: %v", e.Op, e.Link, e.Err)
}

func (e *OpError) Unwrap() error { return e.Err }

// ExtAck returns the kernel's text about the error (NLMSGERR_ATTR_MSG), or "".
func (e *OpError) ExtAck() string {
	if op, ok := errors.AsType[*netlink.OpError](e.Err); ok {
		return op.Message
	}
	return ""
}

// Is makes the errors of this package match the errno they stand for.
func (e *OpError) Is(target error) bool {
	switch target {
	case ErrNotExist:
		return is(e.Err, syscall.ENODEV, syscall.ENOENT, syscall.EADDRNOTAVAIL, syscall.ESRCH)
	case ErrExist:
		return is(e.Err, syscall.EEXIST)
	case ErrPermission:
		return is(e.Err, syscall.EPERM, syscall.EACCES)
	case ErrClosed:
		return is(e.Err, os.ErrClosed)
	}
	return false
}

// is reports whether err is one of causes.
func is(err error, causes ...error) bool {
	return slices.ContainsFunc(causes, func(c error) bool { return errors.Is(err, c) })
}
