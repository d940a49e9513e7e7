package rdma

// MADSize is the size of every management datagram (IBA 13.4.2).
const MADSize = 256

// MADAddr says where a management datagram goes to, or came from.
type MADAddr struct {
	// LID is the peer's LID; LIDPermissive for directed-route SMPs.
	LID LID
	// QPN and QKey of the peer; QP1's Q_Key is QKeyGSI.
	QPN  QPN
	QKey QKey
	SL   uint8
	// PKeyIndex is the local P_Key table index used (QP1 only).
	PKeyIndex int
	// GRH is set when a global route header is present.
	GRH *GRHAttr
	// Port is, on a switch, the port that the datagram came in by.
	Port int
}

// MADAgentConfig describes a management agent (compare umad_register).
type MADAgentConfig struct {
	// QP is QPNSMI or QPNGSI.
	QP QPN
	// Class and ClassVersion of the datagrams, IBA 13.4.4. An agent for
	// class 0x01 also gets 0x81, as SMPs are either.
	Class, ClassVersion uint8
	// Methods lists the methods of the unsolicited datagrams that come to
	// this agent; no two agents of a port may share one. Responses always go
	// to the agent whose request they answer.
	Methods []uint8
	// QueueLen bounds the receive queue; what arrives when it is full is
	// dropped and counted as VL15Dropped. 0 means 512.
	QueueLen int
	// Receive is called with every datagram, one at a time, on a goroutine
	// of the agent. It owns the array.
	Receive func(from MADAddr, m *[MADSize]byte)
}

// MADAgent sends and receives management datagrams.
type MADAgent interface {
	// ID is placed by Send into bits 63-32 of the transaction ID of requests
	// (method bit 7 clear and not a repress); responses carry it back.
	// Callers leave those bits 0 and compare the lower 32. Of class 0x07,
	// communication management, it leaves transaction IDs alone: replies are
	// requests in form there, and must keep the requester's.
	ID() uint32
	// Send transmits one datagram. It does not wait and does not retry. The
	// array is the caller's again when it returns.
	Send(to MADAddr, m *[MADSize]byte) error
	// Close detaches the agent. A call of Receive that is under way may
	// still be when it returns; there will be no further one.
	Close() error
}
