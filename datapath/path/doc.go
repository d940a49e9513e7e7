// Package path keeps the way to each peer: the path record of its GID, which
// the subnet administrator gives, and the address handle made of it. It is
// what the ib_ipoib driver calls path and neigh (ipoib_main.c).
//
//	Peer (20-octet address) --> Path (GID) --> path record --> address handle
//
//	         packet            record
//	   New ---------> Querying -------> Valid ---Invalidate---> Invalid
//	    ^                |  ^                                      |
//	    +----failure-----+  +--------------packet-----------------+
//
// Packets wait while the query runs, three for a peer and three ARP packets
// for a path, as in the driver.
//
// A Table belongs to one goroutine; Peer.Target may be read by others.
package path
