package rdma

import "fmt"

// QPType is the transport of a queue pair.
type QPType uint8

// The transports.
const (
	QPTUD QPType = iota
	QPTRC
)

func (t QPType) String() string {
	switch t {
	case QPTUD:
		return "UD"
	case QPTRC:
		return "RC"
	}
	return fmt.Sprintf("QPType(%d)", uint8(t))
}

// QPState is the state of a queue pair (IBA 10.3.1, kernel enum ib_qp_state).
type QPState uint8

// The states.
const (
	QPSReset QPState = iota
	QPSInit
	QPSRTR
	QPSRTS
	QPSSQD
	QPSSQE
	QPSErr
)

var qpStateNames = [...]string{"RESET", "INIT", "RTR", "RTS", "SQD", "SQE", "ERR"}

func (s QPState) String() string {
	if int(s) < len(qpStateNames) {
		return qpStateNames[s]
	}
	return fmt.Sprintf("QPState(%d)", uint8(s))
}

// QPConfig describes a queue pair to create.
type QPConfig struct {
	Type QPType
	// Port is the port number from 1.
	Port           int
	SendCQ, RecvCQ CQ
	// SRQ replaces the queue pair's own receive queue (RC).
	SRQ SRQ
	// MaxSend and MaxRecv are queue depths in work requests.
	MaxSend, MaxRecv int
	// RecvSize is the largest message accepted, in bytes (without GRH).
	RecvSize int
	// Num asks for this number; 0 lets the provider choose. ErrInUse when it
	// is taken, ErrNotSupported where the provider cannot.
	Num QPN
	// BlockMulticastLoopback keeps the pair's own multicast sends from it.
	BlockMulticastLoopback bool
	// LSO prepares the pair for large sends (IB_QP_CREATE_IPOIB_UD_LSO).
	LSO bool
}

// QPAttrMask names the valid fields of a QPAttr.
type QPAttrMask uint32

// The fields.
const (
	QPAttrState QPAttrMask = 1 << iota
	QPAttrPKeyIndex
	QPAttrQKey
	QPAttrSQPSN
	QPAttrRQPSN
	QPAttrDestQPN
	QPAttrAV
	QPAttrPathMTU
	QPAttrTimeout
	QPAttrRetryCount
	QPAttrRNRRetry
	QPAttrMinRNRTimer
	// QPAttrReceiveAggregate changes ReceiveAggregate.
	QPAttrReceiveAggregate
	// QPAttrReceiveChecksum changes ReceiveChecksum.
	QPAttrReceiveChecksum
)

// QPAttr are the modifiable attributes of a queue pair.
type QPAttr struct {
	State     QPState
	PKeyIndex uint16
	QKey      QKey
	SQPSN     PSN
	RQPSN     PSN
	// RC only.
	DestQPN QPN
	AV      AHAttr
	PathMTU MTU
	// Timeout is the local ACK timeout code, 4.096 us x 2^n, 0 is infinite.
	Timeout    uint8
	RetryCount uint8
	// RNRRetry 7 is infinite.
	RNRRetry uint8
	// MinRNRTimer is the timer code sent in RNR NAKs (IBA 9.7.5.2.8).
	MinRNRTimer uint8
	// ReceiveAggregate lets the device deliver an aggregated message as one
	// completion (CapReceiveAggregate). Off, each datagram is one completion.
	ReceiveAggregate bool
	// ReceiveChecksum asks for WCIPCsumOK on messages whose IP and TCP or UDP
	// checksums are right. A device in hardware verifies them all the time.
	ReceiveChecksum bool
}

// QP is a queue pair.
type QP interface {
	Num() QPN
	Type() QPType
	// Modify sets the attributes named by mask; nothing is changed when an
	// error is returned. State changes follow IBA 10.3.1; a transition that
	// needs an attribute which mask lacks returns ErrInvalid.
	Modify(attr QPAttr, mask QPAttrMask) error
	// Query returns the current attributes.
	Query() QPAttr
	// PostSend queues work requests in order. On success of request i its
	// buffer belongs to the provider. It returns how many were taken; the
	// error belongs to the first that was not. ev, if not nil, collects the
	// handlers to run (see EventBatch).
	PostSend(wrs []SendWR, ev *EventBatch) (int, error)
	// PostRecv makes n more receive buffers of RecvSize available.
	PostRecv(n int) error
	// AttachMulticast and DetachMulticast add the pair to, and remove it
	// from, the receivers of an MGID (UD only). Attaching twice is ErrInUse.
	AttachMulticast(mgid GID, mlid LID) error
	DetachMulticast(mgid GID, mlid LID) error
	// Close destroys the pair. Posted work is dropped without completion.
	Close() error
}

// SRQConfig describes a shared receive queue.
type SRQConfig struct {
	MaxRecv  int
	RecvSize int
	// Limit raises EventSRQLimitReached once fewer buffers are left.
	Limit int
}

// SRQ is a shared receive queue.
type SRQ interface {
	PostRecv(n int) error
	Close() error
}

// SendFlags modify a send.
type SendFlags uint8

// The flags.
const (
	// SendSignaled asks for a completion also when the send succeeds;
	// failures always complete.
	SendSignaled SendFlags = 1 << iota
	// SendSolicited sets the solicited event bit.
	SendSolicited
)

// SendWR is one SEND work request.
type SendWR struct {
	ID uint64
	// Buf holds the message; see Buffer for ownership.
	Buf *Buffer
	// AH, RemoteQPN and RemoteQKey address a UD message.
	AH         AH
	RemoteQPN  QPN
	RemoteQKey QKey
	Flags      SendFlags
	// Offload asks for segmentation or checksums.
	Offload Offload
}

// SegmentKind says how a large message is cut.
type SegmentKind uint8

// The kinds.
const (
	SegmentNone SegmentKind = iota
	SegmentTCP4
	SegmentTCP6
	SegmentUDP4
	SegmentUDP6
)

// Offload describes work left to the device on transmit, or already done by
// it on receive. Offsets count from the first byte of the message (for IPoIB
// the encapsulation header).
type Offload struct {
	// Segment and SegmentSize: cut into (or merged from) transport segments
	// of SegmentSize payload bytes; HeaderLen bytes in front are repeated.
	Segment     SegmentKind
	ECN         bool // the flow uses ECN: CWR only on the first segment
	SegmentSize uint16
	HeaderLen   uint16
	// Checksum: the transport checksum at CsumStart+CsumOffset covers only
	// the pseudo header; the rest from CsumStart on is to be added.
	Checksum   bool
	CsumStart  uint16
	CsumOffset uint16
}

// Segments returns into how many packets a message of n bytes is cut.
func (o Offload) Segments(n int) int {
	if o.Segment == SegmentNone || o.SegmentSize == 0 {
		return 1
	}
	p := n - int(o.HeaderLen)
	if p <= 0 {
		return 1
	}
	return (p + int(o.SegmentSize) - 1) / int(o.SegmentSize)
}

// GRHAttr are the fields of a global route header that a sender chooses.
type GRHAttr struct {
	DGID         GID
	SGIDIndex    int
	FlowLabel    uint32
	TrafficClass uint8
	HopLimit     uint8
}

// AHAttr describes the way to a destination.
type AHAttr struct {
	Port        int
	DLID        LID
	SL          uint8
	SrcPathBits uint8
	// StaticRate limits the injection rate; RateCurrent is the link's.
	StaticRate Rate
	// GRH is nil for packets without one.
	GRH *GRHAttr
}

// AH is an address handle.
type AH interface {
	Attr() AHAttr
	Close() error
}
