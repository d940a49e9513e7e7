package mad

import (
	"fmt"

	"ipoib/rdma"
)

// SMState is the state of a subnet manager (IBA 14.4.1).
type SMState uint8

// The states.
const (
	SMNotActive   SMState = 0
	SMDiscovering SMState = 1
	SMStandby     SMState = 2
	SMMaster      SMState = 3
)

// String prints the name that sminfo uses.
func (s SMState) String() string {
	switch s {
	case SMNotActive:
		return "SMINFO_NOTACT"
	case SMDiscovering:
		return "SMINFO_DISCOVER"
	case SMStandby:
		return "SMINFO_STANDBY"
	case SMMaster:
		return "SMINFO_MASTER"
	}
	return fmt.Sprintf("SMState(%d)", uint8(s))
}

// Attribute modifiers of a Set of SMInfo, the control packets between subnet
// managers (IBA 14.4.1).
const (
	SMInfoHandover    uint32 = 1
	SMInfoAcknowledge uint32 = 2
	SMInfoDisable     uint32 = 3
	SMInfoStandby     uint32 = 4
	SMInfoDiscover    uint32 = 5
)

// SMInfoLen is the length of SMInfo in bytes.
const SMInfoLen = 21

// SMInfo describes a subnet manager (IBA 14.2.5.13).
type SMInfo struct {
	GUID     rdma.GUID // port GUID
	SMKey    uint64    // 0 to whom is not trusted
	ActCount uint32
	Priority uint8 // 4 bits
	State    SMState
}

// Len returns SMInfoLen.
func (*SMInfo) Len() int { return SMInfoLen }

// Marshal implements Attribute.
func (s *SMInfo) Marshal(b []byte) {
	_ = b[SMInfoLen-1]
	be.PutUint64(b[0:], uint64(s.GUID))
	be.PutUint64(b[8:], s.SMKey)
	be.PutUint32(b[16:], s.ActCount)
	b[20] = s.Priority<<4 | uint8(s.State)&0xf
}

// Unmarshal implements Attribute.
func (s *SMInfo) Unmarshal(b []byte) error {
	if err := need(b, SMInfoLen, "SMInfo"); err != nil {
		return err
	}
	*s = SMInfo{
		GUID: rdma.GUID(be.Uint64(b[0:])), SMKey: be.Uint64(b[8:]), ActCount: be.Uint32(b[16:]),
		Priority: b[20] >> 4, State: SMState(b[20] & 0xf),
	}
	return nil
}
