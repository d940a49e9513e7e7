// Package genl is generic netlink for the service: families with operations,
// policies and multicast groups, and the controller "nlctrl" that tells
// clients about them (net/netlink/genetlink.c).
//
// [New] makes the protocol and registers it with a server; [Registry.Register]
// adds a family:
//
//	reg := genl.New(srv)
//	fam, err := reg.Register(genl.Family{
//		Name:    "ipoib",
//		Version: 1,
//		Ops: []genl.Op{{
//			Cmd: 1, Flags: genl.UnsAdminPerm, Policy: setPolicy, Do: set,
//		}},
//		Groups: []genl.Group{{Name: "events"}},
//	})
//
// Requests of different clients run at the same time. What the kernel
// serializes with genl_mutex is left to the handlers' own locks.
package genl
