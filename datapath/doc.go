// Package datapath is the IP over InfiniBand driver: it carries the packets of
// network interfaces of the host over queue pairs of a channel adapter
// (RFC 4391, RFC 4392), and it holds the one state of every interface that the
// faces above (netlink, ethtool, sysfs, the commands) show and change.
//
// A Driver has ports; each port has a parent Interface, which may have child
// interfaces in other partitions. An attribute has one setter, a method of
// Interface or Driver, which checks the value as the kernel's ib_ipoib does
// and returns an *Error that carries the errno.
//
// # Goroutines
//
// An interface has three:
//
//   - the loop (loop.go): everything that is not per packet. It owns all
//     tables and state machines, so that these need no locks.
//   - the transmitter (tx.go): reads the TUN, finds the peer without a lock
//     and posts sends; packets that need more go to the loop.
//   - the receiver (rx.go): the completion handler; it writes IP packets to
//     the TUN and passes ARP and ND to the loop. It mostly runs on the
//     sender's transmitter, within one process.
//
// In connected mode (connected.go) the loop also owns the connections; the
// transmitter posts to their queue pairs, the receiver takes their messages
// from the same completion queue.
//
// What the loop publishes for the other two is atomic: txView, neigh.Entry,
// path.Peer, mcast.Group.
//
// # The kernel's part
//
// Administrative state, name, MTU, addresses, routes and network namespace of
// the TUN are the kernel's, followed by package hostnet. Carrier, speed, the
// link-layer address and neighbours are ours.
package datapath
