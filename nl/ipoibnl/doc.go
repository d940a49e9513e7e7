// Package ipoibnl is the generic netlink family "ipoib" of the service: what
// is special to this implementation and has no kernel interface to follow
// (neighbours, paths, groups, the fabric, captures, the service itself).
//
// Messages are structs. A field tagged `nl:"3"` is attribute 3; Marshal,
// Unmarshal and PolicyOf derive encoding, decoding and the service's policy
// from the same tags, so that client and service cannot disagree:
//
//	uint8 ... uint64, int32  integers in host byte order
//	bool                     a flag
//	string                   NUL terminated
//	[]byte, [N]byte          as they are
//	netip.Addr               4 or 16 bytes; empty when it is not valid
//	struct, []struct         nests; a list is the attribute repeated
//
// Zero values are left out. Client is the other end, used by the commands.
package ipoibnl
