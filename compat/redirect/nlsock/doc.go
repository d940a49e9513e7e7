// Package nlsock answers the system calls on redirected netlink sockets.
//
// The program has a real socket of the kernel, made by the supervisor: bind,
// poll, options and memberships are the kernel's. Two kinds of calls are
// answered here. A send is looked at: what is for the kernel the program sends
// itself, what is about an interface of the service goes there and its answer
// waits in a stash. A receive takes from the kernel's queue and from the stash,
// in order, rewrites what is about the service's interfaces, and puts it into
// the program's memory.
//
// # Tickets
//
// What waits in the stash has to make the socket readable. The supervisor
// sends a request without effect (NLMSG_NOOP) through the socket; the kernel
// queues its acknowledgement, the ticket, at the place in the queue where the
// stashed datagrams belong. A receive drops tickets.
//
// # Duplicates
//
// To work on the program's socket the supervisor holds a duplicate of it. That
// must be closed before the program runs on: a socket that the program closes
// has to be closed then, or it cannot bind the same port id again.
package nlsock
