// Package cm is the communication manager of a port: it sets up and ends RC
// connections by management datagrams (IBA chapter 12), as the kernel's ib_cm
// does. It knows nothing of queue pairs but their numbers; the consumer makes
// them and takes them through their states, with the parameters that REQ and
// REP carry.
//
//	active                                   passive
//	Connect ------------ REQ ------------->  Listener's function gets a Request
//	           <---------- MRA ------------  Request.Delay, optional
//	EventReply <---------- REP ------------  Request.Accept
//	Conn.Confirm ------- RTU ------------->  EventEstablished
//	        Disconnect -- DREQ ----------->  EventDisconnected
//	EventDisconnected <-- DREP ------------
//
// Messages that are not answered in time are sent again; duplicates are
// answered with what was sent before. The table in state.go says what each
// message and timer does in each state.
//
// A CM has no goroutine: it works on those of its callers, of the management
// agent and of its timers.
package cm
