package header

import "fmt"

// Opcode is BTH.OpCode: the transport in bits 7-5, the operation in bits 4-0
// (IBA table 38).
type Opcode uint8

// Transport is the upper three bits of an Opcode, in place.
type Transport uint8

// The transports.
const (
	TransportRC Transport = 0x00
	TransportUC Transport = 0x20
	TransportRD Transport = 0x40
	TransportUD Transport = 0x60
)

// Reliable connection.
const (
	RCSendFirst      Opcode = 0x00
	RCSendMiddle     Opcode = 0x01
	RCSendLast       Opcode = 0x02
	RCSendLastImm    Opcode = 0x03
	RCSendOnly       Opcode = 0x04
	RCSendOnlyImm    Opcode = 0x05
	RCWriteFirst     Opcode = 0x06
	RCWriteMiddle    Opcode = 0x07
	RCWriteLast      Opcode = 0x08
	RCWriteLastImm   Opcode = 0x09
	RCWriteOnly      Opcode = 0x0a
	RCWriteOnlyImm   Opcode = 0x0b
	RCReadRequest    Opcode = 0x0c
	RCReadRespFirst  Opcode = 0x0d
	RCReadRespMiddle Opcode = 0x0e
	RCReadRespLast   Opcode = 0x0f
	RCReadRespOnly   Opcode = 0x10
	RCAck            Opcode = 0x11
	RCAtomicAck      Opcode = 0x12
	RCCompareSwap    Opcode = 0x13
	RCFetchAdd       Opcode = 0x14
	RCSendLastInv    Opcode = 0x16
	RCSendOnlyInv    Opcode = 0x17
	transportMask           = 0xe0
)

// Unreliable connection.
const (
	UCSendFirst    Opcode = 0x20
	UCSendMiddle   Opcode = 0x21
	UCSendLast     Opcode = 0x22
	UCSendLastImm  Opcode = 0x23
	UCSendOnly     Opcode = 0x24
	UCSendOnlyImm  Opcode = 0x25
	UCWriteFirst   Opcode = 0x26
	UCWriteMiddle  Opcode = 0x27
	UCWriteLast    Opcode = 0x28
	UCWriteLastImm Opcode = 0x29
	UCWriteOnly    Opcode = 0x2a
	UCWriteOnlyImm Opcode = 0x2b
)

// Unreliable datagram.
const (
	UDSendOnly    Opcode = 0x64
	UDSendOnlyImm Opcode = 0x65
)

// Extended headers behind the BTH and the place of the packet in its message.
const (
	xDETH = 1 << iota
	xImm
	xRETH
	xAETH
	xAtomic    // AtomicETH, 28 bytes
	xAtomicAck // AtomicAckETH, 8 bytes
	xIETH      // 4 bytes
	oSend
	oFirst
	oMiddle
	oLast
	oOnly
	oResponse
	oKnown
)

const (
	atomicETHLen    = 28
	atomicAckETHLen = 8
	iethLen         = 4
)

type opInfo struct {
	flags  uint16
	extLen uint8
	name   string
}

var opcodes = func() (t [256]opInfo) {
	set := func(o Opcode, name string, flags uint16) {
		n := 0
		for _, e := range [...]struct {
			f uint16
			n int
		}{
			{xDETH, DETHLen}, {xImm, ImmDtLen}, {xRETH, RETHLen}, {xAETH, AETHLen},
			{xAtomic, atomicETHLen}, {xAtomicAck, atomicAckETHLen}, {xIETH, iethLen},
		} {
			if flags&e.f != 0 {
				n += e.n
			}
		}
		t[o] = opInfo{flags: flags | oKnown, extLen: uint8(n), name: name}
	}
	for tr, prefix := range map[Transport]string{TransportRC: "RC", TransportUC: "UC"} {
		b := Opcode(tr)
		set(b|RCSendFirst, prefix+" Send First", oSend|oFirst)
		set(b|RCSendMiddle, prefix+" Send Middle", oSend|oMiddle)
		set(b|RCSendLast, prefix+" Send Last", oSend|oLast)
		set(b|RCSendLastImm, prefix+" Send Last Immediate", oSend|oLast|xImm)
		set(b|RCSendOnly, prefix+" Send Only", oSend|oOnly)
		set(b|RCSendOnlyImm, prefix+" Send Only Immediate", oSend|oOnly|xImm)
		set(b|RCWriteFirst, prefix+" RDMA Write First", oFirst|xRETH)
		set(b|RCWriteMiddle, prefix+" RDMA Write Middle", oMiddle)
		set(b|RCWriteLast, prefix+" RDMA Write Last", oLast)
		set(b|RCWriteLastImm, prefix+" RDMA Write Last Immediate", oLast|xImm)
		set(b|RCWriteOnly, prefix+" RDMA Write Only", oOnly|xRETH)
		set(b|RCWriteOnlyImm, prefix+" RDMA Write Only Immediate", oOnly|xRETH|xImm)
	}
	set(RCReadRequest, "RC RDMA Read Request", oOnly|xRETH)
	set(RCReadRespFirst, "RC RDMA Read Response First", oFirst|xAETH|oResponse)
	set(RCReadRespMiddle, "RC RDMA Read Response Middle", oMiddle|oResponse)
	set(RCReadRespLast, "RC RDMA Read Response Last", oLast|xAETH|oResponse)
	set(RCReadRespOnly, "RC RDMA Read Response Only", oOnly|xAETH|oResponse)
	set(RCAck, "RC Acknowledge", oOnly|xAETH|oResponse)
	set(RCAtomicAck, "RC ATOMIC Acknowledge", oOnly|xAETH|xAtomicAck|oResponse)
	set(RCCompareSwap, "RC CmpSwap", oOnly|xAtomic)
	set(RCFetchAdd, "RC FetchAdd", oOnly|xAtomic)
	set(RCSendLastInv, "RC Send Last Invalidate", oSend|oLast|xIETH)
	set(RCSendOnlyInv, "RC Send Only Invalidate", oSend|oOnly|xIETH)
	set(UDSendOnly, "UD Send Only", oSend|oOnly|xDETH)
	set(UDSendOnlyImm, "UD Send Only Immediate", oSend|oOnly|xDETH|xImm)
	return t
}()

func (o Opcode) has(flag uint16) bool { return opcodes[o].flags&flag != 0 }

// IsKnown reports whether the code is one of the above.
func (o Opcode) IsKnown() bool { return o.has(oKnown) }

// Transport returns the transport.
func (o Opcode) Transport() Transport { return Transport(o & transportMask) }

// ExtLen returns the length of the extended headers in bytes.
func (o Opcode) ExtLen() int { return int(opcodes[o].extLen) }

// HasDETH reports whether a DETH follows the BTH.
func (o Opcode) HasDETH() bool { return o.has(xDETH) }

// HasAETH reports whether an AETH follows the BTH.
func (o Opcode) HasAETH() bool { return o.has(xAETH) }

// HasRETH reports whether a RETH follows the BTH.
func (o Opcode) HasRETH() bool { return o.has(xRETH) }

// HasImm reports whether immediate data are the last extended header.
func (o Opcode) HasImm() bool { return o.has(xImm) }

// IsSend reports whether the packet belongs to a SEND.
func (o Opcode) IsSend() bool { return o.has(oSend) }

// IsFirst reports whether the packet is the first of several.
func (o Opcode) IsFirst() bool { return o.has(oFirst) }

// IsMiddle reports whether the packet is neither first nor last.
func (o Opcode) IsMiddle() bool { return o.has(oMiddle) }

// IsLast reports whether the packet is the last of several.
func (o Opcode) IsLast() bool { return o.has(oLast) }

// IsOnly reports whether the packet is the whole message.
func (o Opcode) IsOnly() bool { return o.has(oOnly) }

// IsResponse reports whether the packet goes from responder to requester.
func (o Opcode) IsResponse() bool { return o.has(oResponse) }

// String prints the IBA name.
func (o Opcode) String() string {
	if n := opcodes[o].name; n != "" {
		return n
	}
	return fmt.Sprintf("Opcode(0x%02x)", uint8(o))
}

// String prints the IBA name.
func (t Transport) String() string {
	switch t {
	case TransportRC:
		return "RC"
	case TransportUC:
		return "UC"
	case TransportRD:
		return "RD"
	case TransportUD:
		return "UD"
	}
	return fmt.Sprintf("Transport(0x%02x)", uint8(t))
}
