// Package soft is an InfiniBand fabric in software: channel adapters,
// switches and links of one subnet, inside one process.
//
// It is a provider for the interfaces of package rdma (HCA is an
// rdma.Device), and it is a fabric that any subnet manager can manage: each
// node has a subnet management agent and a performance management agent that
// are reached by management datagrams only. Packets carry real headers; a
// packet travels as a descriptor (struct packet) and becomes the bytes of the
// wire format, with ICRC and VCRC, where somebody looks: at a Tap, at a
// faulty link, at Inject.
//
// # How a packet moves
//
//	QP.PostSend (qp_ud.go) -> port.transmit (transmit.go) -> Link -> port.receive
//	    switch: forward by LFT or MFT (forward.go) -> port.transmit ...
//	    HCA:    checks, then QP receive queue (deliver.go) -> CQ (cq.go)
//
// All of it runs on the poster's goroutine, unless a link delays the packet
// or a completion handler has to run elsewhere. Nothing is locked across a
// hop, and nothing is allocated for a packet that is not copied.
//
// # Reliable connections
//
// An RC message travels as one packet descriptor that holds all of it; taps
// and faulty links see the packets of the path MTU that it is on the wire
// (rc_wire.go). The descriptor lends the sender's buffer.
// Where no link of the way has faults, the receiver takes the buffer over,
// which acknowledges the message at once: nothing is copied and nothing waits.
// Otherwise the sender keeps it until an acknowledgement comes, and sends
// again from where a NAK or a timeout says (rc_request.go, rc_timer.go).
//
// Acknowledgements are packets on every way. Those of one EventBatch are sent
// as one, when the batch runs.
//
// # Management
//
// QP0 packets go to the SMA of the node (sma.go) or are forwarded by directed
// route (smi.go); QP1 packets go to the PMA (pma.go) or to a registered agent
// (agent.go).
package soft
