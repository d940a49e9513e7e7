package cm

// State is the state of a connection (IBA 12.9.5, kernel enum ib_cm_state).
type State uint8

// The states. Active and passive are the sides that send REQ and REP.
const (
	// ReqSent: active, waits for REP.
	ReqSent State = iota
	// MRAReqRcvd: as ReqSent, and the peer asked for more time.
	MRAReqRcvd
	// RepRcvd: active, the consumer has to confirm.
	RepRcvd
	// MRARepSent: as RepRcvd, and the consumer asked for more time.
	MRARepSent
	// ReqRcvd: passive, the consumer has to accept.
	ReqRcvd
	// MRAReqSent: as ReqRcvd, and the consumer asked for more time.
	MRAReqSent
	// RepSent: passive, waits for RTU.
	RepSent
	// MRARepRcvd: as RepSent, and the peer asked for more time.
	MRARepRcvd
	// Established: either side.
	Established
	// DreqSent: either side, waits for DREP.
	DreqSent
	// Timewait: ended, while packets of it may still be under way.
	Timewait
	// Closed: over; the communication ID is no longer known.
	Closed
	numStates
)

var stateNames = [numStates]string{
	"REQ_SENT", "MRA_REQ_RCVD", "REP_RCVD", "MRA_REP_SENT", "REQ_RCVD", "MRA_REQ_SENT",
	"REP_SENT", "MRA_REP_RCVD", "ESTABLISHED", "DREQ_SENT", "TIMEWAIT", "CLOSED",
}

// String prints the kernel's name of the state.
func (s State) String() string {
	if s < numStates {
		return stateNames[s]
	}
	return "UNKNOWN"
}

// input is what happens to a connection.
type input uint8

const (
	inREQ        input = iota // the REQ of the connection once more
	inMRAReq                  // MRA of our REQ
	inMRARep                  // MRA of our REP
	inREP                     // REP, also once more
	inRTU                     // RTU
	inREJ                     // REJ of whatever we sent
	inDREQ                    // DREQ
	inDREP                    // DREP
	inData                    // a message came over the queue pair
	inTimeout                 // no answer; tries are left
	inExpired                 // no answer; none is left
	inAccept                  // consumer: send REP
	inConfirm                 // consumer: send RTU
	inDelay                   // consumer: send MRA
	inReject                  // consumer: send REJ
	inDisconnect              // consumer: send DREQ
	inClose                   // consumer: end whatever there is
	numInputs
)

// action is what a transition does, in the order of the bits.
type action uint16

const (
	doStop     action = 1 << iota // stop the timer of the message under way
	doSend                        // send the message that the input made, and keep it for repetition
	doWait                        // wait for its answer
	doResend                      // send the kept message again
	doRewait                      // wait once more for its answer
	doExtend                      // wait for as long as the MRA says
	doREJ                         // send the REJ that the input made
	doREJStale                    // send a REJ: stale connection
	doREJClose                    // send the REJ of a consumer that gives up
	doDREP                        // send a DREP
	doREQLost                     // send the REJ of a requester that gives up
	doTimewait                    // start the timewait timer
)

// transition is one cell of the table. The zero value ignores the input: it
// came late, twice, or not in order.
type transition struct {
	next  State
	do    action
	event EventType
	valid bool
}

func to(next State, do action, e EventType) transition {
	return transition{next: next, do: do, event: e, valid: true}
}

// ended is the transition of a DREQ or DREP that ends a connection.
func ended(do action) transition { return to(Timewait, doStop|do|doTimewait, EventDisconnected) }

// transitions is the state machine (IBA 12.9.7; kernel drivers/infiniband/
// core/cm.c, the handlers of the same messages).
var transitions = [numStates][numInputs]transition{
	ReqSent: {
		inMRAReq:  to(MRAReqRcvd, doExtend, EventNone),
		inREP:     to(RepRcvd, doStop, EventReply),
		inREJ:     to(Closed, doStop, EventRejected),
		inTimeout: to(ReqSent, doResend|doRewait, EventNone),
		inExpired: to(Closed, doStop, EventTimeout),
		inClose:   to(Closed, doStop|doREQLost, EventNone),
	},
	MRAReqRcvd: {
		inMRAReq:  to(MRAReqRcvd, doExtend, EventNone),
		inREP:     to(RepRcvd, doStop, EventReply),
		inREJ:     to(Closed, doStop, EventRejected),
		inTimeout: to(MRAReqRcvd, doResend|doRewait, EventNone),
		inExpired: to(Closed, doStop, EventTimeout),
		inClose:   to(Closed, doStop|doREQLost, EventNone),
	},
	RepRcvd: {
		inREJ:     to(Closed, 0, EventRejected),
		inDREQ:    ended(doDREP),
		inConfirm: to(Established, doSend, EventNone),
		inDelay:   to(MRARepSent, doSend, EventNone),
		inReject:  to(Closed, doREJ, EventNone),
		inClose:   to(Closed, doREJClose, EventNone),
	},
	MRARepSent: {
		inREP:     to(MRARepSent, doResend, EventNone),
		inREJ:     to(Closed, 0, EventRejected),
		inDREQ:    ended(doDREP),
		inConfirm: to(Established, doSend, EventNone),
		inReject:  to(Closed, doREJ, EventNone),
		inClose:   to(Closed, doREJClose, EventNone),
	},
	ReqRcvd: {
		inREJ:    to(Closed, 0, EventRejected),
		inAccept: to(RepSent, doSend|doWait, EventNone),
		inDelay:  to(MRAReqSent, doSend, EventNone),
		inReject: to(Closed, doREJ, EventNone),
		inClose:  to(Closed, doREJClose, EventNone),
	},
	MRAReqSent: {
		inREQ:    to(MRAReqSent, doResend, EventNone),
		inREJ:    to(Closed, 0, EventRejected),
		inAccept: to(RepSent, doSend|doWait, EventNone),
		inReject: to(Closed, doREJ, EventNone),
		inClose:  to(Closed, doREJClose, EventNone),
	},
	RepSent: {
		inREQ:        to(RepSent, doResend, EventNone),
		inMRARep:     to(MRARepRcvd, doExtend, EventNone),
		inRTU:        to(Established, doStop, EventEstablished),
		inREJ:        to(Closed, doStop, EventRejected),
		inDREQ:       ended(doDREP),
		inData:       to(Established, doStop, EventEstablished),
		inTimeout:    to(RepSent, doResend|doRewait, EventNone),
		inExpired:    to(Closed, doStop, EventTimeout),
		inDisconnect: to(DreqSent, doStop|doSend|doWait, EventNone),
		inClose:      to(Closed, doStop|doREJClose, EventNone),
	},
	MRARepRcvd: {
		inREQ:        to(MRARepRcvd, doResend, EventNone),
		inMRARep:     to(MRARepRcvd, doExtend, EventNone),
		inRTU:        to(Established, doStop, EventEstablished),
		inREJ:        to(Closed, doStop, EventRejected),
		inDREQ:       ended(doDREP),
		inData:       to(Established, doStop, EventEstablished),
		inTimeout:    to(MRARepRcvd, doResend|doRewait, EventNone),
		inExpired:    to(Closed, doStop, EventTimeout),
		inDisconnect: to(DreqSent, doStop|doSend|doWait, EventNone),
		inClose:      to(Closed, doStop|doREJClose, EventNone),
	},
	Established: {
		inREP: to(Established, doResend, EventNone),
		// Data came first.
		inRTU:        to(Established, 0, EventEstablished),
		inREJ:        to(Timewait, doTimewait, EventRejected),
		inDREQ:       ended(doDREP),
		inDisconnect: to(DreqSent, doSend|doWait, EventNone),
		inClose:      to(DreqSent, doSend|doWait, EventNone),
	},
	DreqSent: {
		inREJ:     to(Timewait, doStop|doTimewait, EventDisconnected),
		inDREQ:    ended(doDREP),
		inDREP:    ended(0),
		inTimeout: to(DreqSent, doResend|doRewait, EventNone),
		inExpired: to(Timewait, doStop|doTimewait, EventDisconnected),
		inClose:   to(DreqSent, 0, EventNone),
	},
	Timewait: {
		inREQ:     to(Timewait, doREJStale, EventNone),
		inDREQ:    to(Timewait, doDREP, EventNone),
		inExpired: to(Closed, 0, EventNone),
		inClose:   to(Timewait, 0, EventNone),
	},
	Closed: {
		inClose: to(Closed, 0, EventNone),
	},
}
