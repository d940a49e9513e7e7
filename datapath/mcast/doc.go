// Package mcast keeps the multicast groups of one interface: the broadcast
// group, the groups that the host listens to, and those that it only sends
// to (RFC 4391 sections 5 and 10, kernel ipoib_multicast.c).
//
// The broadcast group comes first: nothing else is joined before it is, and
// its record gives the parameters of all others. A group that the host
// listens to is joined as full member, which creates it if need be. A group
// that it only sends to is joined send-only when the first packet goes there
// and left when none did for a while.
//
//	        join             record              Delete/idle/Flush
//	Idle --------> Joining ---------> Joined -------------------> (gone)
//	 ^                |
//	 |  back-off over | refused or no answer
//	 +----- Waiting <-+       send-only, second failure --> Idle, queue dropped
//	                          RFC rules: no such group  --> Absent until trap 66
//
// A Table belongs to one goroutine; Group.Target and Group.Fallback may be
// read by others.
package mcast
