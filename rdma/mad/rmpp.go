package mad

import "fmt"

// Offsets in the RMPP header (IBA 13.6.2.1):
//
//	24 RMPPVersion   25 RMPPType   26 RRespTime 5, RMPPFlags 3   27 RMPPStatus
//	28 Data1: segment number (32)
//	32 Data2: PayloadLength of DATA, NewWindowLast of ACK (32)
const (
	offRMPPVersion = 24
	offRMPPType    = 25
	offRMPPFlags   = 26
	offRMPPStatus  = 27
	offRMPPData1   = 28
	offRMPPData2   = 32
	offRMPPPayload = 36
)

// RMPPVersion is the version of the protocol.
const RMPPVersion = 1

// RMPPNoRespTime in RRespTime means that no time is given.
const RMPPNoRespTime = 0x1f

// RMPPType is the kind of an RMPP packet.
type RMPPType uint8

// The kinds. RMPPNone is a datagram without RMPP.
const (
	RMPPNone  RMPPType = 0
	RMPPData  RMPPType = 1
	RMPPAck   RMPPType = 2
	RMPPStop  RMPPType = 3
	RMPPAbort RMPPType = 4
)

// String prints the IBA name.
func (t RMPPType) String() string {
	if int(t) < len(rmppTypeNames) {
		return rmppTypeNames[t]
	}
	return fmt.Sprintf("RMPPType(%d)", uint8(t))
}

var rmppTypeNames = [...]string{"none", "DATA", "ACK", "STOP", "ABORT"}

// Flags of an RMPP header.
const (
	RMPPFlagActive uint8 = 1
	RMPPFlagFirst  uint8 = 2
	RMPPFlagLast   uint8 = 4
)

// RMPPStatus says why a transfer was stopped or aborted (IBA 13.6.2.2).
type RMPPStatus uint8

// The values. RMPPResourcesExhausted comes with STOP, the others with ABORT.
const (
	RMPPStatusNormal       RMPPStatus = 0
	RMPPResourcesExhausted RMPPStatus = 1
	RMPPTotalTimeTooLong   RMPPStatus = 118
	RMPPInconsistentLast   RMPPStatus = 119 // with PayloadLength
	RMPPInconsistentFirst  RMPPStatus = 120 // with the segment number
	RMPPBadType            RMPPStatus = 121
	RMPPNewWindowTooSmall  RMPPStatus = 122
	RMPPSegmentTooBig      RMPPStatus = 123
	RMPPIllegalStatus      RMPPStatus = 124
	RMPPUnsupportedVersion RMPPStatus = 125
	RMPPTooManyRetries     RMPPStatus = 126
	RMPPUnspecified        RMPPStatus = 127
)

var rmppStatusNames = map[RMPPStatus]string{
	RMPPStatusNormal: "normal", RMPPResourcesExhausted: "resources exhausted",
	RMPPTotalTimeTooLong:   "total time too long",
	RMPPInconsistentLast:   "inconsistent last segment and payload length",
	RMPPInconsistentFirst:  "inconsistent first segment and segment number",
	RMPPBadType:            "bad RMPP type",
	RMPPNewWindowTooSmall:  "new window last too small",
	RMPPSegmentTooBig:      "segment number too big",
	RMPPIllegalStatus:      "illegal status",
	RMPPUnsupportedVersion: "unsupported version",
	RMPPTooManyRetries:     "too many retries",
	RMPPUnspecified:        "unspecified",
}

// String prints the number and the meaning.
func (s RMPPStatus) String() string {
	if n, ok := rmppStatusNames[s]; ok {
		return fmt.Sprintf("%d (%s)", uint8(s), n)
	}
	return fmt.Sprintf("%d", uint8(s))
}

// RMPPHeader is the header of the reliable multi-packet protocol.
type RMPPHeader struct {
	Version   uint8
	Type      RMPPType
	RRespTime uint8 // 5 bits, time code; RMPPNoRespTime where none is given
	Flags     uint8 // 3 bits
	Status    RMPPStatus
	// Segment is the segment number of DATA, from 1, or the last segment
	// that ACK acknowledges.
	Segment uint32
	// Data2 is PayloadLength in DATA: in the first segment the length of the
	// whole transfer or 0, in the last its own; both count the SA header of
	// each segment. In ACK it is NewWindowLast, the last segment that may be
	// sent.
	Data2 uint32
}

// Has reports whether a flag is set.
func (h RMPPHeader) Has(flag uint8) bool { return h.Flags&flag != 0 }

// RMPP returns the RMPP header.
func (m *MAD) RMPP() RMPPHeader {
	return RMPPHeader{
		Version: m[offRMPPVersion], Type: RMPPType(m[offRMPPType]),
		RRespTime: m[offRMPPFlags] >> 3, Flags: m[offRMPPFlags] & 7, Status: RMPPStatus(m[offRMPPStatus]),
		Segment: be.Uint32(m[offRMPPData1:]), Data2: be.Uint32(m[offRMPPData2:]),
	}
}

// SetRMPP writes the RMPP header.
func (m *MAD) SetRMPP(h RMPPHeader) {
	m[offRMPPVersion], m[offRMPPType] = h.Version, uint8(h.Type)
	m[offRMPPFlags], m[offRMPPStatus] = h.RRespTime<<3|h.Flags&7, uint8(h.Status)
	be.PutUint32(m[offRMPPData1:], h.Segment)
	be.PutUint32(m[offRMPPData2:], h.Data2)
}

// IsRMPP reports whether the datagram belongs to an RMPP transfer: its class
// has an RMPP header and the Active flag is set.
func (m *MAD) IsRMPP() bool {
	return m.Class() == ClassSA && m[offRMPPFlags]&RMPPFlagActive != 0
}
