// Package redirect runs unmodified programs so that their netlink and
// SIOCETHTOOL requests about the service's interfaces are answered by the
// service, and everything else by the kernel.
//
// Exec installs a seccomp filter and becomes the program: same process, same
// terminal, same exit status. A supervisor, one for each Exec and none of the
// program's children, answers the system calls that the filter picks:
//
//	program ──socket(AF_NETLINK)──► supervisor: a real netlink socket of the kernel, at a
//	                                descriptor of the filter's range
//	        ──sendmsg──► is it about an interface of the service? the service answers;
//	                     else the program sends it to the kernel itself
//	        ──recvmsg──► what the kernel queued, rewritten where it is about the service's
//	                     interfaces, and the service's answers
//	        ──ioctl(SIOCETHTOOL)──► the service, if it names one of its interfaces
//
// The parts: filter (the seccomp program), notify (notifications), tracee (the
// memory and the descriptors of the program), trap (both together), wire
// (what is in messages), upstream (the service), nlsock (the sockets), ethioctl
// (the ioctls).
//
// # What it guarantees
//
// Without a service all is the kernel's. Privileges are the program's own: a
// process without CAP_NET_ADMIN over its network namespace changes nothing
// through the supervisor. A supervisor that dies leaves no program waiting: the
// kernel fails its calls with ENOSYS.
//
// # What it does not see
//
// io_uring, 32-bit programs, sockets that were opened before or passed in from
// outside, duplicates that dup2(2) puts outside of the range, and namespaces
// that the supervisor may not enter.
package redirect
