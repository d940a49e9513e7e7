package cm

import (
	"errors"
	"fmt"

	"ipoib/rdma/mad"
)

// EventType says what happened to a connection.
type EventType uint8

// The events (kernel enum ib_cm_event_type).
const (
	// EventNone is never reported.
	EventNone EventType = iota
	// EventReply: the peer accepted (REP); the consumer answers with Confirm,
	// Delay or Reject.
	EventReply
	// EventEstablished: the peer is ready, by RTU or because it sends. In the
	// second case it is reported once more when the RTU comes, for its
	// private data.
	EventEstablished
	// EventRejected: the peer sent a REJ; the connection is over.
	EventRejected
	// EventTimeout: the peer did not answer a REQ or REP; the connection is
	// over.
	EventTimeout
	// EventDisconnected: the connection was ended, by either side.
	EventDisconnected
)

var eventNames = [...]string{"none", "reply", "established", "rejected", "timeout", "disconnected"}

// String returns the name.
func (e EventType) String() string {
	if int(e) < len(eventNames) {
		return eventNames[e]
	}
	return fmt.Sprintf("EventType(%d)", uint8(e))
}

// Event is something that happened to a connection.
type Event struct {
	Type EventType
	Conn *Conn
	// REP is set with EventReply, REJ with EventRejected.
	REP *mad.REP
	REJ *mad.REJ
	// Private is the private data of the message that caused the event; nil
	// when none did.
	Private []byte
}

// Handler takes the events of a connection, in order and one at a time. It
// must not block; it may call methods of the Conn.
type Handler func(Event)

// Errors that callers test with errors.Is; a closed CM returns rdma.ErrClosed.
var (
	// ErrState is returned when the connection is in a state that does not
	// allow the operation: the peer was faster.
	ErrState = errors.New("connection is in the wrong state")
	// ErrListening is returned for a service ID that is taken.
	ErrListening = errors.New("service ID is in use")
	// ErrPrivateData is returned for private data that do not fit.
	ErrPrivateData = errors.New("too much private data")
)

func opError(op string, err error) error { return fmt.Errorf("cm: %s: %w", op, err) }
