package datapath

import (
	"math/bits"
	"sync/atomic"

	"ipoib/datapath/encap"
)

// Params are the driver's parameters that are fixed at start (module
// parameters of ib_ipoib, mode 0444). NewParams rounds them as the driver
// does.
type Params struct {
	// SendQueueSize and RecvQueueSize are ring sizes in packets.
	SendQueueSize, RecvQueueSize int
	// MaxNonSRQConnQP is how many connected queue pairs without a shared
	// receive queue an interface may have, up to 4096; 0 is the default of
	// 128, a negative number is none.
	MaxNonSRQConnQP int
	// RFCSendOnly joins groups that the host only sends to as
	// SendOnlyNonMember, which cannot create them, and falls back to the
	// all-routers group (RFC 4391 section 10). By default they are joined as
	// SendOnlyFullMember, as the driver does, where the SA offers that.
	RFCSendOnly bool
	// Scope is the scope of the links' multicast GIDs; 0 is link-local
	// (RFC 4391 section 4.1).
	Scope encap.Scope
}

// Limits of the rings (kernel IPOIB_MIN_QUEUE_SIZE, IPOIB_MAX_QUEUE_SIZE).
const (
	DefaultSendQueue = 128
	DefaultRecvQueue = 256
	minSendQueue     = 128
	minRecvQueue     = 2
	maxQueue         = 8192
	// DefaultConnQP and maxConnQP limit connected queue pairs (kernel
	// IPOIB_CM_MAX_CONN_QP).
	DefaultConnQP = 128
	maxConnQP     = 4096
)

// Normalize fills in defaults and rounds the sizes up to powers of two within
// their limits (kernel ipoib_init_module).
func (p Params) Normalize() Params {
	if p.SendQueueSize == 0 {
		p.SendQueueSize = DefaultSendQueue
	}
	if p.RecvQueueSize == 0 {
		p.RecvQueueSize = DefaultRecvQueue
	}
	if p.Scope == 0 {
		p.Scope = encap.ScopeLinkLocal
	}
	if p.MaxNonSRQConnQP == 0 {
		p.MaxNonSRQConnQP = DefaultConnQP
	}
	p.MaxNonSRQConnQP = min(max(p.MaxNonSRQConnQP, 0), maxConnQP)
	p.SendQueueSize = min(max(pow2(p.SendQueueSize), minSendQueue), maxQueue)
	p.RecvQueueSize = min(max(pow2(p.RecvQueueSize), minRecvQueue), maxQueue)
	return p
}

// pow2 rounds up to a power of two.
func pow2(n int) int {
	if n <= 1 {
		return 1
	}
	if n > maxQueue {
		return maxQueue
	}
	return 1 << bits.Len(uint(n-1))
}

// DebugLevels are the debug switches that may change at run time; a value
// above 0 enables (module parameters of ib_ipoib, mode 0644).
type DebugLevels struct {
	// Debug is debug_level: life cycle, paths, events. Mcast is
	// mcast_debug_level, Data is data_debug_level: every packet, CMData is
	// cm_data_debug_level: every packet of a connection.
	Debug, Mcast, Data, CMData atomic.Int32
}
