package datapath

import "sync/atomic"

// Stats are the counters of an interface as struct rtnl_link_stats64 has
// them, counted as the driver does: tx_bytes with, rx_bytes without the 4-byte
// encapsulation header.
type Stats struct {
	RxPackets, TxPackets uint64
	RxBytes, TxBytes     uint64
	RxErrors, TxErrors   uint64
	RxDropped, TxDropped uint64
	Multicast            uint64
}

// stats are the live counters.
type stats struct {
	rxPackets, txPackets, rxBytes, txBytes   atomic.Uint64
	rxErrors, txErrors, rxDropped, txDropped atomic.Uint64
	multicast                                atomic.Uint64
	drops                                    [numDrops]atomic.Uint64
	work                                     [numWorks]atomic.Uint64
}

func (s *stats) snapshot() Stats {
	return Stats{
		RxPackets: s.rxPackets.Load(), TxPackets: s.txPackets.Load(),
		RxBytes: s.rxBytes.Load(), TxBytes: s.txBytes.Load(),
		RxErrors: s.rxErrors.Load(), TxErrors: s.txErrors.Load(),
		RxDropped: s.rxDropped.Load(), TxDropped: s.txDropped.Load(),
		Multicast: s.multicast.Load(),
	}
}

// Drop is the reason why an interface dropped a packet.
type Drop uint8

// The reasons. Those that begin with TX count as tx_dropped as well.
const (
	// TXMalformed: the host sent what is no IP packet.
	TXMalformed Drop = iota
	// TXNotReady: no broadcast group yet, or the interface is down.
	TXNotReady
	// TXTooLong: above the MTU; counts as tx_errors too.
	TXTooLong
	// TXQueueFull: too many packets wait for an address or a path.
	TXQueueFull
	// TXUnreachable: nobody answered for the next hop.
	TXUnreachable
	// TXNoPath: the SA has no path to the neighbour.
	TXNoPath
	// TXNoGroup: the multicast group does not exist.
	TXNoGroup
	// TXPost: the queue pair refused the packet; counts as tx_errors too.
	TXPost
	// TXOffload: an offload that makes no sense.
	TXOffload
	// TXNoConnection: it waited for a connection that did not come about, or
	// ended.
	TXNoConnection
	// TXRCQueueFull: more messages on the way over a connection than its send
	// queue holds.
	TXRCQueueFull
	// TXRCRetry, TXRCRNR, TXRCFlushed and TXRCError: sends over a connection
	// that failed, for lack of an answer, for lack of receive buffers at the
	// peer, because an earlier one failed, for other reasons. They were
	// counted as sent (kernel ipoib_cm_handle_tx_wc).
	TXRCRetry
	TXRCRNR
	TXRCFlushed
	TXRCError
	// RXShort: shorter than the encapsulation header.
	RXShort
	// RXType: an EtherType that the link does not carry.
	RXType
	// RXIP: no valid IP packet.
	RXIP
	// RXARP: no valid ARP packet.
	RXARP
	// RXND: no valid Neighbor Discovery message.
	RXND
	// RXControl: more ARP and ND than the loop can take; rx_dropped.
	RXControl
	// RXHost: the host did not take the packet; rx_dropped.
	RXHost
	// RXEcho: an own multicast packet that came back.
	RXEcho
	// RXCompletion: a receive completed with an error; rx_dropped.
	RXCompletion
	// RXRCType: an EtherType that connections do not carry (RFC 4755 section
	// 4).
	RXRCType
	// RXRCError: a connection failed at its receiving end.
	RXRCError
	numDrops
)

var dropNames = [numDrops]string{
	TXMalformed: "tx_malformed", TXNotReady: "tx_not_ready", TXTooLong: "tx_too_long",
	TXQueueFull: "tx_queue_full", TXUnreachable: "tx_unreachable", TXNoPath: "tx_no_path",
	TXNoGroup: "tx_no_group", TXPost: "tx_post", TXOffload: "tx_offload",
	TXNoConnection: "tx_no_connection", TXRCQueueFull: "tx_rc_queue_full", TXRCRetry: "tx_rc_retry_exceeded",
	TXRCRNR: "tx_rc_rnr_exceeded", TXRCFlushed: "tx_rc_flushed", TXRCError: "tx_rc_error",
	RXShort: "rx_short", RXType: "rx_type", RXIP: "rx_ip", RXARP: "rx_arp", RXND: "rx_nd",
	RXControl: "rx_control", RXHost: "rx_host", RXEcho: "rx_echo", RXCompletion: "rx_completion",
	RXRCType: "rx_rc_type", RXRCError: "rx_rc_error",
}

// String returns the counter's name, such as "tx_too_long".
func (d Drop) String() string {
	if d < numDrops {
		return dropNames[d]
	}
	return "unknown"
}

// Drops lists all reasons in order.
func Drops() []Drop {
	out := make([]Drop, numDrops)
	for i := range out {
		out[i] = Drop(i)
	}
	return out
}

// drop counts one packet. What the driver would hand to the host stack, which
// then drops it, is counted by its reason only.
func (s *stats) drop(d Drop) {
	s.drops[d].Add(1)
	switch {
	case d == TXTooLong || d == TXPost:
		s.txErrors.Add(1)
		s.txDropped.Add(1)
	case d <= TXRCQueueFull:
		s.txDropped.Add(1)
	case d == RXControl || d == RXHost || d == RXCompletion:
		s.rxDropped.Add(1)
	}
}
