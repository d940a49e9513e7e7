// Package neigh keeps the link-layer addresses of IP next hops: the neighbour
// cache that a host stack has for an Ethernet device, and which a TUN does
// not give.
//
// It is the state machine of RFC 4861 section 7.3, with the timers and limits
// of the Linux neighbour table, for IPv4 (ARP) and IPv6 (ND) alike. It sends
// nothing itself: probes, resolved packets and failures go to the hooks of
// Config.
//
//	           packet            answer
//	 (none) ---------> INCOMPLETE -----> REACHABLE <---------------+
//	                    |  ^                |  reachable time      | answer
//	3 broadcast probes  |  | packet         v                      |
//	without answer      |  |              STALE --packet--> DELAY  |
//	                    v  |                ^                 | 5 s|
//	                   FAILED <-------------|--- PROBE <------+    |
//	                     3 unicast probes   |      |               |
//	                     without answer     |      +---------------+
//	                                    unasked change
//
// A Table belongs to one goroutine. Only the fields of an Entry that say so
// may be read by others: the transmit path reads them without a lock.
package neigh
