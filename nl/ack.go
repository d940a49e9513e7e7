package nl

import (
	"encoding/binary"
	"syscall"

	"github.com/mdlayher/netlink"
)

// The builders below each make one whole datagram.

// ackMessage builds the NLMSG_ERROR answer to the request msg (netlink_ack):
// e nil is success, warn its extended-ack text.
func ackMessage(msg []byte, h netlink.Header, port uint32, e *Error, warn string, capAck, extAck bool) []byte {
	var errno int32
	var flags netlink.HeaderFlags
	quoted := msg
	if e != nil {
		errno = -int32(e.Errno())
	}
	// Only an error quotes the request's payload, and only without CAP_ACK.
	if e == nil || capAck {
		flags |= netlink.Capped
		quoted = msg[:HeaderLen]
	}
	tlvs := encodeExtAck(e, warn, extAck)
	if len(tlvs) > 0 {
		flags |= netlink.AcknowledgeTLVs
	}
	enc := NewEncoder(make([]byte, 0, HeaderLen+4+Align(len(quoted))+len(tlvs)))
	// Fill functions that return nil cannot make Message fail.
	_ = enc.Message(netlink.Header{Type: netlink.Error, Flags: flags, Sequence: h.Sequence, PID: port},
		func(enc *Encoder) error {
			enc.b = binary.NativeEndian.AppendUint32(enc.b, uint32(errno))
			enc.Raw(quoted)
			enc.b = append(enc.b, tlvs...)
			return nil
		})
	return enc.b
}

// doneMessage builds the end of a dump (netlink_dump_done): e nil is success.
func doneMessage(h netlink.Header, port uint32, flags netlink.HeaderFlags, e *Error, extAck bool) []byte {
	var errno int32
	flags |= netlink.Multi
	if e != nil {
		errno = -int32(e.Errno())
	}
	tlvs := encodeExtAck(e, "", extAck)
	if len(tlvs) > 0 {
		flags |= netlink.AcknowledgeTLVs
	}
	enc := NewEncoder(make([]byte, 0, HeaderLen+4+len(tlvs)))
	_ = enc.Message(netlink.Header{Type: netlink.Done, Flags: flags, Sequence: h.Sequence, PID: port},
		func(enc *Encoder) error {
			enc.b = binary.NativeEndian.AppendUint32(enc.b, uint32(errno))
			enc.b = append(enc.b, tlvs...)
			return nil
		})
	return enc.b
}

// encodeExtAck builds the extended-ack attributes in the kernel's order
// (netlink_ack_tlv_fill). Success can carry a text only.
func encodeExtAck(e *Error, warn string, extAck bool) []byte {
	if !extAck {
		return nil
	}
	var enc Encoder
	if e == nil {
		if warn != "" {
			enc.String(ExtAckMsg, warn)
		}
		return enc.b
	}
	if e.Msg != "" {
		enc.String(ExtAckMsg, e.Msg[:min(len(e.Msg), maxExtAckText)])
	}
	if len(e.Cookie) > 0 {
		enc.Put(ExtAckCookie, e.Cookie)
	}
	if e.Offset != 0 {
		enc.U32(ExtAckOffs, e.Offset)
	}
	if e.Policy != nil {
		e.Policy.Describe(&enc, ExtAckPolicy, nil)
	}
	if e.MissType != 0 {
		enc.U32(ExtAckMissType, e.MissType)
	}
	if e.MissNest != 0 {
		enc.U32(ExtAckMissNest, e.MissNest)
	}
	return enc.b
}

// maxExtAckText bounds a text that came from an arbitrary error.
const maxExtAckText = 1024

// overrunMessage tells a client that messages were lost at this place; its
// Conn returns ENOBUFS, as the socket would after netlink_overrun.
func overrunMessage(port uint32) []byte {
	var enc Encoder
	_ = enc.Message(netlink.Header{Type: netlink.Overrun, PID: port}, func(enc *Encoder) error {
		enc.b = binary.NativeEndian.AppendUint32(enc.b, errnoWord(syscall.ENOBUFS))
		return nil
	})
	return enc.b
}

// errnoWord is the negative errno as it travels in a message.
func errnoWord(e syscall.Errno) uint32 { return -uint32(e) }
