// Package linkfmt prints links as iproute2 6.1 does: the text of `ip link` in
// all its forms and its JSON, byte for byte. It prints what a message says,
// whoever sent it, so that the real ip is the yardstick wherever the kernel
// has the same kind of link.
//
// The data of these kinds is printed: ipoib, and for the comparison bridge
// and its ports, macvlan, macvtap, tun and vlan. Of other kinds the name is
// printed only, as ip does of a kind that it does not know. Virtual functions
// and XDP programs are left out: an IPoIB interface here has none.
//
// The formats are those of ip/ipaddress.c: print_linkinfo,
// lib/json_writer.c and lib/color.c.
package linkfmt
