package header

import (
	"fmt"
	"time"
)

// Syndrome says what an AETH acknowledges or refuses (IBA table 45): bits 6-5
// are the kind, bits 4-0 its value.
type Syndrome uint8

// SyndromeKind is the kind of an acknowledgement, bits 6-5 in place.
type SyndromeKind uint8

// The kinds.
const (
	SyndromeACK      SyndromeKind = 0x00
	SyndromeRNRNAK   SyndromeKind = 0x20
	SyndromeReserved SyndromeKind = 0x40
	SyndromeNAK      SyndromeKind = 0x60
)

// Syndromes with a meaning of their own.
const (
	// ACKNoCredit is an ACK whose credit field is invalid: there is no end to
	// end flow control.
	ACKNoCredit           Syndrome = 0x1f
	NAKPSNSequence        Syndrome = 0x60
	NAKInvalidRequest     Syndrome = 0x61
	NAKRemoteAccess       Syndrome = 0x62
	NAKRemoteOperational  Syndrome = 0x63
	NAKInvalidRDRequest   Syndrome = 0x64
	syndromeValueMask              = 0x1f
	syndromeInvalidCredit          = 0x1f
)

// Kind returns bits 6-5.
func (s Syndrome) Kind() SyndromeKind { return SyndromeKind(s & 0x60) }

// Value returns bits 4-0: the credit code, the RNR timer code or the NAK code.
func (s Syndrome) Value() uint8 { return uint8(s) & syndromeValueMask }

// String prints the kind and the value.
func (s Syndrome) String() string {
	switch s.Kind() {
	case SyndromeACK:
		return fmt.Sprintf("ACK(credit %d)", s.Value())
	case SyndromeRNRNAK:
		return fmt.Sprintf("RNR NAK(%v)", RNRTimer(s.Value()))
	}
	switch s {
	case NAKPSNSequence:
		return "NAK(PSN sequence error)"
	case NAKInvalidRequest:
		return "NAK(invalid request)"
	case NAKRemoteAccess:
		return "NAK(remote access error)"
	case NAKRemoteOperational:
		return "NAK(remote operational error)"
	case NAKInvalidRDRequest:
		return "NAK(invalid RD request)"
	}
	return fmt.Sprintf("Syndrome(0x%02x)", uint8(s))
}

// RNR returns the RNR NAK syndrome with a timer code.
func RNR(code uint8) Syndrome { return Syndrome(uint8(SyndromeRNRNAK) | code&syndromeValueMask) }

// rnrTimers are in units of 10 us (IBA table 46).
var rnrTimers = [32]uint32{
	65536, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192,
	256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 24576, 32768, 49152,
}

// RNRTimer returns how long an RNR NAK with a timer code tells the requester
// to wait (IBA table 46). Codes are taken modulo 32.
func RNRTimer(code uint8) time.Duration {
	return time.Duration(rnrTimers[code&syndromeValueMask]) * 10 * time.Microsecond
}

// RNRTimerCode returns the code of the shortest timer that is not below d;
// code 0, 655.36 ms, is the longest.
func RNRTimerCode(d time.Duration) uint8 {
	for c := uint8(1); c < uint8(len(rnrTimers)); c++ {
		if RNRTimer(c) >= d {
			return c
		}
	}
	return 0
}

// credits is IBA table 48.
var credits = [31]uint16{
	0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192,
	256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 24576, 32768,
}

// Credits returns the number of receive requests that an ACK announces; ok is
// false when its credit field is invalid (IBA table 48).
func (s Syndrome) Credits() (n int, ok bool) {
	if s.Kind() != SyndromeACK || s.Value() == syndromeInvalidCredit {
		return 0, false
	}
	return int(credits[s.Value()]), true
}

// ACKCredits returns the ACK syndrome that announces at most n receive
// requests.
func ACKCredits(n int) Syndrome {
	c := 0
	for c+1 < len(credits) && int(credits[c+1]) <= n {
		c++
	}
	return Syndrome(c)
}
