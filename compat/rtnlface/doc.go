// Package rtnlface is the rtnetlink face of the driver: what `ip link` and
// libraries of rtnetlink say to kernel IPoIB, they say to it. It registers
// handlers for RTM_NEWLINK, RTM_SETLINK, RTM_DELLINK, RTM_GETLINK, the
// alternative names and RTM_GETNSID with the dispatcher of package nl/rtnl, and
// tells members of RTNLGRP_LINK of changes.
//
// It only translates. Every rule is in a setter of package datapath, or the
// kernel's, where the TUN holds an attribute; what is here is the part of
// net/core/rtnetlink.c that comes before a driver is asked: which attributes
// there may be, in which order they are looked at, which errno a request gets
// that names no link.
//
// A link is shown as the kernel shows the TUN, with what IPoIB says of it in
// place of what a TUN says: type, flags, addresses, kind, counters. What the
// kernel has no part in (and so is refused) is in table unsupported.
//
// Differences from the kernel: a request with several attributes is checked as
// a whole first, so that nothing is changed when one is refused; the broadcast
// address cannot be set.
package rtnlface
