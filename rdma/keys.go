package rdma

import "fmt"

// LID is a 16-bit local identifier (IBA 4.1.3).
type LID uint16

// Ranges of local identifiers (IBA 4.1.3).
const (
	LIDFirstUnicast   LID = 0x0001
	LIDLastUnicast    LID = 0xbfff
	LIDFirstMulticast LID = 0xc000
	LIDLastMulticast  LID = 0xfffe
	LIDPermissive     LID = 0xffff
)

// IsMulticast reports whether the LID is in the multicast range.
func (l LID) IsMulticast() bool { return l >= LIDFirstMulticast && l <= LIDLastMulticast }

// IsUnicast reports whether the LID is in the unicast range.
func (l LID) IsUnicast() bool { return l >= LIDFirstUnicast && l <= LIDLastUnicast }

func (l LID) String() string { return fmt.Sprintf("0x%04x", uint16(l)) }

// PKey is a partition key: bit 15 is full membership, bits 14-0 the partition
// (IBA 10.9).
type PKey uint16

// Partition key values with a meaning of their own (IBA 10.9.1.2).
const (
	PKeyFullMember     PKey = 0x8000
	PKeyDefault        PKey = 0xffff
	PKeyDefaultLimited PKey = 0x7fff
)

// Base returns the partition number, bits 14-0.
func (p PKey) Base() PKey { return p &^ PKeyFullMember }

// Full returns the full-member form.
func (p PKey) Full() PKey { return p | PKeyFullMember }

// IsFull reports full membership.
func (p PKey) IsFull() bool { return p&PKeyFullMember != 0 }

// IsValid reports whether the partition number is not 0; 0x0000 and 0x8000
// match nothing.
func (p PKey) IsValid() bool { return p.Base() != 0 }

// Match reports whether a packet that carries p is accepted by a table entry
// t: same partition, not 0, and at least one of the two full (IBA 10.9.3).
func (p PKey) Match(t PKey) bool {
	return p.IsValid() && p.Base() == t.Base() && (p | t).IsFull()
}

func (p PKey) String() string { return fmt.Sprintf("0x%04x", uint16(p)) }

// QKey is a queue key (IBA 10.2.4). Values with bit 31 set are controlled: a
// work request that carries one sends the queue pair's own.
type QKey uint32

// QKeyGSI is the Q_Key of QP1 (IBA 13.5.1).
const QKeyGSI QKey = 0x80010000

// IsControlled reports whether bit 31 is set.
func (q QKey) IsControlled() bool { return q&0x80000000 != 0 }

func (q QKey) String() string { return fmt.Sprintf("0x%08x", uint32(q)) }

// QPN is a 24-bit queue pair number.
type QPN uint32

// Queue pair numbers with a meaning of their own (IBA 3.5.3).
const (
	QPNSMI       QPN = 0
	QPNGSI       QPN = 1
	QPNMulticast QPN = 0xffffff
	qpnMask          = 0xffffff
)

// IsValid reports whether the number fits in 24 bits.
func (q QPN) IsValid() bool { return q <= qpnMask }

func (q QPN) String() string { return fmt.Sprintf("0x%06x", uint32(q)) }

// PSN is a 24-bit packet sequence number; arithmetic is modulo 2^24.
type PSN uint32

// PSNMask keeps the 24 bits of a packet sequence number.
const PSNMask PSN = 0xffffff

// Add returns p+n modulo 2^24.
func (p PSN) Add(n int) PSN { return PSN(uint32(p)+uint32(n)) & PSNMask }

// Diff returns the signed distance from q to p: positive when p is after q.
// Half the number space counts as before (IBA 9.7.2).
func (p PSN) Diff(q PSN) int { return int(int32((uint32(p)-uint32(q))<<8) >> 8) }

func (p PSN) String() string { return fmt.Sprintf("0x%06x", uint32(p)) }
