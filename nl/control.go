package nl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"github.com/mdlayher/netlink"
)

// ControlType is the message type that carries what is a system call on a
// real netlink socket. It is below [MinType], where the kernel reserves types
// for control and ignores those it does not know.
//
// Layout after the nlmsghdr, host byte order:
//
//	0 magic u32   4 version u8   5 op u8   6 reserved u16 (0)   8 arguments, u32 each
//
// Requests carry NLM_F_REQUEST. The answer repeats the sequence number, has
// the op with bit 7 set, and the arguments errno (0 or negative) and a value.
const ControlType netlink.HeaderType = 0xf

// ControlVersion is the version of the control messages. A server that does
// not know a client's version answers the hello with EPROTONOSUPPORT and the
// version that it does know.
const ControlVersion = 1

const controlMagic = 0x49504e4c // "IPNL"

// ControlOp is what a control message asks for.
type ControlOp uint8

// The operations.
const (
	// OpHello is the first packet of a connection: socket(2), bind(2) and the
	// usual options in one. Arguments: protocol, port id (0: the server
	// chooses), bit mask of groups 1 to 32, flags (bit n is option n, see
	// [Option]; bit 31 is [HelloUnprivileged]), receive size (see
	// [OptReceiveSize]). The answer's value is the port id.
	OpHello ControlOp = 1
	// OpSetOption is setsockopt(2). Arguments: option, value.
	OpSetOption ControlOp = 2
	// OpPacketInfo is sent by the server in front of a notification, in the
	// same datagram, when OptPacketInfo or OptListenAllNSID is set. Arguments:
	// group, network namespace id or -1.
	OpPacketInfo ControlOp = 3

	opAnswer ControlOp = 0x80
)

// HelloUnprivileged is a flag of a hello that gives up all privileges: for whoever
// relays requests of a program that has none.
const HelloUnprivileged uint32 = 1 << 31

// Option is a socket option: those of SOL_NETLINK by their numbers, and own
// ones from 256.
type Option uint32

// The options.
const (
	OptAddMembership  Option = 1 // NETLINK_ADD_MEMBERSHIP
	OptDropMembership Option = 2 // NETLINK_DROP_MEMBERSHIP
	OptPacketInfo     Option = 3 // NETLINK_PKTINFO
	// OptBroadcastError is NETLINK_BROADCAST_ERROR; accepted, without effect
	// because a client never broadcasts.
	OptBroadcastError Option = 4
	OptNoENOBUFS      Option = 5  // NETLINK_NO_ENOBUFS
	OptListenAllNSID  Option = 8  // NETLINK_LISTEN_ALL_NSID, needs CAP_NET_BROADCAST
	OptCapAck         Option = 10 // NETLINK_CAP_ACK
	OptExtAck         Option = 11 // NETLINK_EXT_ACK
	OptStrictCheck    Option = 12 // NETLINK_GET_STRICT_CHK

	// OptReceiveBuffer is SO_RCVBUF: the bytes that may wait for the client.
	OptReceiveBuffer Option = 256
	// OptReceiveSize is the size of the buffer that the client receives into,
	// in bytes: dumps are packed up to it (af_netlink.c: max_recvmsg_len).
	OptReceiveSize Option = 257
)

// flag options that may stand in a hello.
const helloOptions = 1<<OptPacketInfo | 1<<OptBroadcastError | 1<<OptNoENOBUFS |
	1<<OptListenAllNSID | 1<<OptCapAck | 1<<OptExtAck | 1<<OptStrictCheck

func (o Option) String() string {
	switch o {
	case OptAddMembership:
		return "ADD_MEMBERSHIP"
	case OptDropMembership:
		return "DROP_MEMBERSHIP"
	case OptPacketInfo:
		return "PKTINFO"
	case OptBroadcastError:
		return "BROADCAST_ERROR"
	case OptNoENOBUFS:
		return "NO_ENOBUFS"
	case OptListenAllNSID:
		return "LISTEN_ALL_NSID"
	case OptCapAck:
		return "CAP_ACK"
	case OptExtAck:
		return "EXT_ACK"
	case OptStrictCheck:
		return "GET_STRICT_CHK"
	case OptReceiveBuffer:
		return "RCVBUF"
	case OptReceiveSize:
		return "RCVSIZE"
	}
	return fmt.Sprintf("option %d", uint32(o))
}

// Control is a control message.
type Control struct {
	Version uint8
	Op      ControlOp
	// Answer marks the answer to Op.
	Answer bool
	// Sequence is the message's sequence number.
	Sequence uint32
	// Args are the arguments; those not sent are 0.
	Args [5]uint32
	n    int
}

// errNotControl is returned for a message that is no control message.
var errNotControl = errors.New("not a control message")

// ErrControlVersion is returned for a control message of another version.
var ErrControlVersion = errors.New("control message of an unknown version")

// controlArgs is the number of arguments of an operation.
func controlArgs(op ControlOp) int {
	switch op {
	case OpHello:
		return 5
	case OpSetOption, OpPacketInfo:
		return 2
	}
	return 0
}

// NewControl returns a control message with the arguments given.
func NewControl(op ControlOp, seq uint32, args ...uint32) Control {
	c := Control{Version: ControlVersion, Op: op, Sequence: seq, n: len(args)}
	copy(c.Args[:], args)
	return c
}

// answer returns the answer to c.
func (c Control) answer(err error, value uint32) Control {
	a := NewControl(c.Op, c.Sequence, 0, value)
	a.Answer = true
	if err != nil {
		e := toError(err)
		a.Args[0] = errnoWord(e.Errno())
	}
	return a
}

// Err returns the error of an answer, a syscall.Errno, or nil.
func (c Control) Err() error {
	if e := int32(c.Args[0]); e < 0 {
		return syscall.Errno(-e)
	}
	return nil
}

// Append appends the encoded message to b.
func (c Control) Append(b []byte) []byte {
	op, flags := c.Op, netlink.Request
	if c.Answer {
		op, flags = op|opAnswer, 0
	}
	if c.Op == OpPacketInfo {
		flags = 0
	}
	enc := NewEncoder(b)
	_ = enc.Message(netlink.Header{Type: ControlType, Flags: flags, Sequence: c.Sequence},
		func(enc *Encoder) error {
			enc.b = binary.NativeEndian.AppendUint32(enc.b, controlMagic)
			enc.b = append(enc.b, c.Version, uint8(op), 0, 0)
			for _, a := range c.Args[:c.n] {
				enc.b = binary.NativeEndian.AppendUint32(enc.b, a)
			}
			return nil
		})
	return enc.b
}

// ParseControl decodes a whole message. Arguments behind those known are
// ignored; a missing one is an error.
func ParseControl(msg []byte) (Control, error) {
	if len(msg) < HeaderLen+8 {
		return Control{}, errNotControl
	}
	h := ParseHeader(msg)
	p := msg[HeaderLen:]
	if h.Type != ControlType || binary.NativeEndian.Uint32(p) != controlMagic {
		return Control{}, errNotControl
	}
	op := ControlOp(p[5])
	c := Control{Version: p[4], Op: op &^ opAnswer, Answer: op&opAnswer != 0, Sequence: h.Sequence}
	n := controlArgs(c.Op)
	if c.Answer {
		n = 2
	}
	for p = p[8:]; len(p) >= 4 && c.n < min(n, len(c.Args)); p = p[4:] {
		c.Args[c.n] = binary.NativeEndian.Uint32(p)
		c.n++
	}
	if c.Version != ControlVersion {
		return c, ErrControlVersion
	}
	if c.n < n {
		return c, fmt.Errorf("control message %d is too short", c.Op)
	}
	return c, nil
}
