package mad

import "fmt"

// CMMessage names the message that a REJ rejects or an MRA acknowledges
// (IBA 12.6.6, 12.6.7).
type CMMessage uint8

// The messages.
const (
	CMMessageREQ   CMMessage = 0
	CMMessageREP   CMMessage = 1
	CMMessageOther CMMessage = 2 // of REJ; LAP of MRA
)

// RejectReason is the reason of a REJ (IBA 12.6.7.2).
type RejectReason uint16

// The reasons.
const (
	RejectNoQP                     RejectReason = 1
	RejectNoEEC                    RejectReason = 2
	RejectNoResources              RejectReason = 3
	RejectTimeout                  RejectReason = 4
	RejectUnsupported              RejectReason = 5
	RejectInvalidCommID            RejectReason = 6
	RejectInvalidCommInstance      RejectReason = 7
	RejectInvalidServiceID         RejectReason = 8
	RejectInvalidTransport         RejectReason = 9
	RejectStaleConnection          RejectReason = 10
	RejectNoRDC                    RejectReason = 11
	RejectInvalidGID               RejectReason = 12
	RejectInvalidLID               RejectReason = 13
	RejectInvalidSL                RejectReason = 14
	RejectInvalidTrafficClass      RejectReason = 15
	RejectInvalidHopLimit          RejectReason = 16
	RejectInvalidPacketRate        RejectReason = 17
	RejectInvalidAltGID            RejectReason = 18
	RejectInvalidAltLID            RejectReason = 19
	RejectInvalidAltSL             RejectReason = 20
	RejectInvalidAltTrafficClass   RejectReason = 21
	RejectInvalidAltHopLimit       RejectReason = 22
	RejectInvalidAltPacketRate     RejectReason = 23
	RejectPortCMRedirect           RejectReason = 24
	RejectPortRedirect             RejectReason = 25
	RejectInvalidMTU               RejectReason = 26
	RejectInsufficientResources    RejectReason = 27
	RejectConsumer                 RejectReason = 28
	RejectInvalidRNRRetry          RejectReason = 29
	RejectDuplicateLocalCommID     RejectReason = 30
	RejectInvalidClassVersion      RejectReason = 31
	RejectInvalidFlowLabel         RejectReason = 32
	RejectInvalidAltFlowLabel      RejectReason = 33
	RejectVendorOptionNotSupported RejectReason = 35
)

var rejectNames = map[RejectReason]string{
	RejectNoQP: "no queue pair available", RejectNoEEC: "no end-to-end context available",
	RejectNoResources: "no resources available", RejectTimeout: "timeout",
	RejectUnsupported: "unsupported request", RejectInvalidCommID: "invalid communication ID",
	RejectInvalidCommInstance: "invalid communication instance",
	RejectInvalidServiceID:    "invalid service ID", RejectInvalidTransport: "invalid transport service type",
	RejectStaleConnection: "stale connection", RejectNoRDC: "no reliable datagram channel",
	RejectInvalidGID: "primary remote port GID rejected", RejectInvalidLID: "primary remote port LID rejected",
	RejectInvalidSL: "invalid primary SL", RejectInvalidTrafficClass: "invalid primary traffic class",
	RejectInvalidHopLimit:   "invalid primary hop limit",
	RejectInvalidPacketRate: "invalid primary packet rate", RejectInvalidAltGID: "alternate remote port GID rejected",
	RejectInvalidAltLID: "alternate remote port LID rejected", RejectInvalidAltSL: "invalid alternate SL",
	RejectInvalidAltTrafficClass: "invalid alternate traffic class",
	RejectInvalidAltHopLimit:     "invalid alternate hop limit",
	RejectInvalidAltPacketRate:   "invalid alternate packet rate",
	RejectPortCMRedirect:         "port and CM redirection", RejectPortRedirect: "port redirection",
	RejectInvalidMTU:            "invalid path MTU",
	RejectInsufficientResources: "insufficient responder resources",
	RejectConsumer:              "consumer reject", RejectInvalidRNRRetry: "RNR retry count reject",
	RejectDuplicateLocalCommID: "duplicate local communication ID",
	RejectInvalidClassVersion:  "unsupported class version",
	RejectInvalidFlowLabel:     "invalid primary flow label", RejectInvalidAltFlowLabel: "invalid alternate flow label",
	RejectVendorOptionNotSupported: "vendor option not supported",
}

// String prints the number and the meaning.
func (r RejectReason) String() string {
	if n, ok := rejectNames[r]; ok {
		return fmt.Sprintf("%d (%s)", uint16(r), n)
	}
	return fmt.Sprintf("%d", uint16(r))
}

// REJ rejects or gives up a connection (IBA 12.6.7):
//
//	 0 LocalCommID (32)   4 RemoteCommID (32)
//	 8 MessageRejected 2  9 RejectInfoLength 7   10 Reason (16)
//	12 additional reject information (72)        84 private data (148)
type REJ struct {
	// LocalCommID is 0 when the sender has not made one.
	LocalCommID, RemoteCommID uint32
	Message                   CMMessage
	// InfoLength is how many bytes of ARI are valid, 7 bits.
	InfoLength  uint8
	Reason      RejectReason
	ARI         [REJARILen]byte
	PrivateData [REJPrivateLen]byte
}

// Len returns CMMessageLen.
func (*REJ) Len() int { return CMMessageLen }

// Marshal implements Attribute.
func (r *REJ) Marshal(b []byte) {
	_ = b[CMMessageLen-1]
	be.PutUint32(b[0:], r.LocalCommID)
	be.PutUint32(b[4:], r.RemoteCommID)
	b[8], b[9] = uint8(r.Message)<<6, r.InfoLength<<1
	be.PutUint16(b[10:], uint16(r.Reason))
	copy(b[12:84], r.ARI[:])
	copy(b[84:CMMessageLen], r.PrivateData[:])
}

// Unmarshal implements Attribute.
func (r *REJ) Unmarshal(b []byte) error {
	if err := need(b, CMMessageLen, "REJ"); err != nil {
		return err
	}
	*r = REJ{
		LocalCommID: be.Uint32(b[0:]), RemoteCommID: be.Uint32(b[4:]), Message: CMMessage(b[8] >> 6),
		InfoLength: b[9] >> 1, Reason: RejectReason(be.Uint16(b[10:])),
		ARI: [REJARILen]byte(b[12:84]), PrivateData: [REJPrivateLen]byte(b[84:]),
	}
	return nil
}

// MRA says that the message arrived and that the answer takes longer
// (IBA 12.6.6):
//
//	0 LocalCommID (32)   4 RemoteCommID (32)
//	8 MessageMRAed 2     9 ServiceTimeout 5     10 private data (222)
type MRA struct {
	LocalCommID, RemoteCommID uint32
	Message                   CMMessage
	ServiceTimeout            uint8 // time code
	PrivateData               [MRAPrivateLen]byte
}

// Len returns CMMessageLen.
func (*MRA) Len() int { return CMMessageLen }

// Marshal implements Attribute.
func (r *MRA) Marshal(b []byte) {
	_ = b[CMMessageLen-1]
	be.PutUint32(b[0:], r.LocalCommID)
	be.PutUint32(b[4:], r.RemoteCommID)
	b[8], b[9] = uint8(r.Message)<<6, r.ServiceTimeout<<3
	copy(b[10:CMMessageLen], r.PrivateData[:])
}

// Unmarshal implements Attribute.
func (r *MRA) Unmarshal(b []byte) error {
	if err := need(b, CMMessageLen, "MRA"); err != nil {
		return err
	}
	*r = MRA{
		LocalCommID: be.Uint32(b[0:]), RemoteCommID: be.Uint32(b[4:]), Message: CMMessage(b[8] >> 6),
		ServiceTimeout: b[9] >> 3, PrivateData: [MRAPrivateLen]byte(b[10:]),
	}
	return nil
}
