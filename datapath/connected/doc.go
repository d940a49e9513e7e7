// Package connected keeps the reliable connections of an interface: IPoIB
// connected mode (RFC 4755), as the ib_ipoib driver has it (ipoib_cm.c).
//
// A Remote is a peer that packets are sent to over a connection:
//
//	       use                    established
//	Idle -------> Connecting --------------------> Connected
//	 ^ ^            |    refused, no answer            |  ended, failed
//	 | +--back-off--+                                  |
//	 +-------------------------------------------------+
//
// While there is no connection packets go by UD, if they are not too long;
// those that are wait, three at most, as in the driver. After a refusal that
// lasts for a while everything goes by UD (RFC 4755 section 8): the back-off
// doubles with each failure.
//
// A Conn is one connection, of either side. A peer that takes messages in both
// directions says so in the private data of its RTU, as RFC 4755 section 6
// wants; then one connection serves both. The Linux driver uses each in one
// direction and sends no such data: towards it there are two. Of two requests
// that cross one survives (section 3.3).
//
// A Table belongs to one goroutine. Lookup, Conn.Received and Remote.Target may
// be used by others.
package connected
