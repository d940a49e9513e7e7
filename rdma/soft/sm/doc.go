// Package sm is a subnet manager and subnet administration (SA) for one
// subnet. It works with management datagrams only, over a Port that
// management software may use, and so manages any fabric whose agents it can
// reach.
//
// # Subnet management
//
// A heavy sweep discovers the fabric by directed route, breadth first, and
// brings it to the wanted state: LIDs, P_Key tables, forwarding tables, port
// states (sweep.go and the files that it names). Only what differs from the
// wanted state is written. A light sweep asks the switches whether a port
// changed; that, a trap, or a request that failed, leads to a heavy one.
// Multicast forwarding tables are written by a worker of their own, so that
// joins do not wait for a sweep (mft.go); joins are answered after that.
//
// Several managers in a subnet agree on a master by SMInfo (sminfo.go).
//
// # Subnet administration
//
// The SA answers as OpenSM does (saTable in sa.go lists what it supports). It
// keeps multicast groups, event subscriptions and services; they are lost when
// the manager restarts, and clients are told so by the ClientReregister bit.
//
// # Partitions
//
// ParsePartitions reads OpenSM's partition file. Without one the membership is
// open: every port is a full member of the default partition, and Allow adds
// further P_Keys to single ports.
//
// # Locks
//
// SM.mu guards the published topology, groups, subscriptions, services and
// partitions. It is never held while an answer is awaited. Sweeps and
// the multicast worker are one goroutine each.
package sm
