// Package filter is the seccomp program that picks the system calls which a
// supervisor answers: netlink sockets are made by the supervisor and put at
// descriptors of one range, so that a comparison of the first argument tells
// them from all others, which run at native speed.
package filter
