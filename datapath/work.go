package datapath

// Work is something that offloads, merging and moderation did; it is counted,
// so that the effect of a feature can be seen.
type Work uint8

// What is counted.
const (
	// TXLargeSends are large sends handed to the adapter whole, TXChecksums
	// messages whose checksum was left to it.
	TXLargeSends Work = iota
	TXChecksums
	// TXSoftSegments and TXSoftChecksums were made here, because the adapter
	// does not, or may not.
	TXSoftSegments
	TXSoftChecksums
	// RXEvents are completion events: how often the receiver was woken.
	RXEvents
	// RXAggregates are large messages that arrived whole.
	RXAggregates
	// RXChecksumGood are messages whose checksum the adapter vouches for,
	// RXChecksumBad those with a wrong one, which are delivered all the same.
	RXChecksumGood
	RXChecksumBad
	// RXMerged are datagrams that were appended to another before the host
	// got them; RXWrites are the packets that it got.
	RXMerged
	RXWrites
	numWorks
)

var workNames = [numWorks]string{
	TXLargeSends: "tx_large_sends", TXChecksums: "tx_checksums",
	TXSoftSegments: "tx_soft_segments", TXSoftChecksums: "tx_soft_checksums",
	RXEvents: "rx_events", RXAggregates: "rx_aggregates",
	RXChecksumGood: "rx_checksum_good", RXChecksumBad: "rx_checksum_bad",
	RXMerged: "rx_merged", RXWrites: "rx_writes",
}

// String returns the counter's name, such as "rx_merged".
func (w Work) String() string {
	if w < numWorks {
		return workNames[w]
	}
	return "unknown"
}

// Works lists all in order.
func Works() []Work {
	out := make([]Work, numWorks)
	for i := range out {
		out[i] = Work(i)
	}
	return out
}

// WorkCounts returns the counters of Works, in their order.
func (i *Interface) WorkCounts() []uint64 {
	out := make([]uint64, numWorks)
	for w := range out {
		out[w] = i.stats.work[w].Load()
	}
	return out
}

// did counts work that was done n times.
func (s *stats) did(w Work, n int) { s.work[w].Add(uint64(n)) }
