// Package nl is the netlink service core: what the kernel's af_netlink and
// nlattr do, over a unix socket.
//
// It knows messages, attributes, policies, acknowledgements, dumps, multicast
// groups, peers and their privileges. It knows nothing of generic netlink
// (nl/genl), of rtnetlink (nl/rtnl) or of IPoIB: those register a [Protocol]
// with a [Server].
//
// # Transport
//
// The service listens on an AF_UNIX SOCK_SEQPACKET socket; one packet is one
// netlink datagram of one or more messages, in host byte order, as on an
// AF_NETLINK socket. What a program would say with socket(2), bind(2) and
// setsockopt(2) travels as control messages (see [ControlType]): the first
// packet of a connection is a hello that names the netlink protocol, its
// answer carries the port id. Options and group memberships follow the same
// way, in order with the requests.
//
// [Conn] is the client end. It implements the Socket interface of
// github.com/mdlayher/netlink, so that netlink.NewConn and genetlink.NewConn
// work over it, and gives raw datagrams to whoever relays for others.
//
// # Manners
//
// Where the kernel has a rule this package follows it (net/netlink/af_netlink.c,
// lib/nlattr.c): a reply and its acknowledgement are two datagrams; an error
// quotes the request unless CAP_ACK is set; extended-ack attributes are added
// only with EXT_ACK; a dump is produced while the client reads, one at a time
// for each connection, and ends with DONE in a datagram of its own; a receiver
// whose queue is full loses messages and is told so with ENOBUFS.
//
// Nobody waits for a client: its requests are read by a goroutine of its own,
// its output is a bounded queue.
//
// # Errors
//
// Handlers return errors. An [*Error] says everything that an extended ack can
// say. The error of a package that must not import this one needs only
//
//	Errno() syscall.Errno
//	ExtAck() string                                    // optional: text
//	ExtAck() (msg string, badAttr, missType uint32)    // or: text, offset, type
//
// to be answered with that errno and that text. A syscall.Errno is taken as it
// is; any other error is EINVAL with its text as the extended ack.
//
// # Debugging
//
// Config.Trace receives every message in both directions, decoded: types,
// flags and errno by name, attributes indented.
package nl
