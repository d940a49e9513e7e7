// Package encap holds the wire formats of IP over InfiniBand above the
// transport: the 4-octet encapsulation header, the 20-octet link-layer
// address, the multicast GID mapping, ARP and Neighbor Discovery as this link
// carries them, and the parts of IPv4, IPv6 and ICMP that a driver without a
// link-layer-aware host stack needs (RFC 4391, RFC 4755 section 3.1).
//
// It is portable, keeps no state and makes no system calls. Headers are views
// on the caller's bytes: IsValid, or the Parse function of the view, checks
// lengths and is the only gate before the getters, which may panic on bytes
// that did not pass it. Builders write into the caller's buffer. Nothing here
// allocates, except the text forms.
//
// Offsets that count from "the message" start at the encapsulation header;
// those of a packet start at the IP header.
package encap
