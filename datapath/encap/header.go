package encap

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// HeaderLen is the size of the encapsulation header in octets (RFC 4391
// section 6).
const HeaderLen = 4

// Errors that callers test with errors.Is. They are returned bare, so that a
// drop costs no allocation.
var (
	// ErrShort is returned when a message ends before its header does.
	ErrShort = errors.New("encap: message is too short")
	// ErrNoRoom is returned by builders when the buffer is too small.
	ErrNoRoom = errors.New("encap: no room in the buffer")
)

// EtherType says what follows the encapsulation header.
type EtherType uint16

// The types of RFC 4391 section 6.
const (
	EtherTypeIPv4 EtherType = 0x0800
	EtherTypeARP  EtherType = 0x0806
	EtherTypeRARP EtherType = 0x8035
	EtherTypeIPv6 EtherType = 0x86dd
)

// String prints the usual name, or the number.
func (t EtherType) String() string {
	switch t {
	case EtherTypeIPv4:
		return "IPv4"
	case EtherTypeARP:
		return "ARP"
	case EtherTypeRARP:
		return "RARP"
	case EtherTypeIPv6:
		return "IPv6"
	}
	return fmt.Sprintf("0x%04x", uint16(t))
}

// OnConnection reports whether the type may travel over a connected mode
// connection: IPv4 and IPv6 only (RFC 4755 section 4).
func (t EtherType) OnConnection() bool { return t == EtherTypeIPv4 || t == EtherTypeIPv6 }

// PutHeader writes the encapsulation header, reserved field zero (RFC 4391
// section 6), to the first HeaderLen octets of b.
func PutHeader(b []byte, t EtherType) {
	binary.BigEndian.PutUint32(b, uint32(t)<<16)
}

// Decap splits a received message into type and datagram. The reserved field
// is ignored (RFC 4391 section 6). A message below HeaderLen is ErrShort.
func Decap(msg []byte) (EtherType, []byte, error) {
	if len(msg) < HeaderLen {
		return 0, nil, ErrShort
	}
	return EtherType(binary.BigEndian.Uint16(msg)), msg[HeaderLen:], nil
}

// EtherTypeOf returns the type of an IP packet by its version field, or 0
// when it is neither IPv4 nor IPv6.
func EtherTypeOf(packet []byte) EtherType {
	switch Version(packet) {
	case 4:
		return EtherTypeIPv4
	case 6:
		return EtherTypeIPv6
	}
	return 0
}
