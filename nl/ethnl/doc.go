// Package ethnl is the message format of the generic netlink family
// "ethtool" (Documentation/networking/ethtool-netlink.rst), shared by the
// service and the command: commands and attributes by number, the policies of
// requests, bitsets in both encodings, string sets, the common header, and a
// schema that names and types every attribute.
//
// It covers what Linux 6.1 knows: user messages 1 to 37. It holds no state and
// knows no interface.
package ethnl

// Name and Version of the family, and its multicast group
// (ETHTOOL_GENL_NAME, ETHTOOL_GENL_VERSION, ETHTOOL_MCGRP_MONITOR_NAME).
const (
	Name         = "ethtool"
	Version      = 1
	GroupMonitor = "monitor"
)

// Flags of the request header (ETHTOOL_FLAG_*).
const (
	// FlagCompactBitsets asks for bitsets as bitmaps, without names.
	FlagCompactBitsets = 1 << iota
	// FlagOmitReply leaves out the optional reply to a SET request.
	FlagOmitReply
	// FlagStats asks for statistics in the reply.
	FlagStats
)

// MaxDevName is the longest interface name of a request, in bytes
// (ALTIFNAMSIZ - 1).
const MaxDevName = 127

// StringLen is the size of a name in a string set, in bytes (ETH_GSTRING_LEN).
const StringLen = 32
