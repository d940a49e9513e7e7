// Package rtnl is the dispatcher of rtnetlink for the service: a table of
// message types with their handlers, and the rules that the kernel applies
// before a handler runs (net/core/rtnetlink.c: rtnetlink_rcv_msg). It knows no
// link, address or route; who does registers handlers.
//
// Requests of different clients run at the same time. What the kernel
// serializes with the rtnl lock is left to the handlers' own locks.
package rtnl
