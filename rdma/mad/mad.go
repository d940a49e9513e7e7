package mad

import (
	"encoding/binary"
	"errors"
	"fmt"

	"ipoib/rdma"
)

var be = binary.BigEndian

// ErrShort is returned (wrapped) by Unmarshal when there are fewer bytes than
// the attribute has.
var ErrShort = errors.New("too few bytes")

// Versions in the common header (IBA 13.4.2).
const (
	BaseVersion    = 1
	SMClassVersion = 1
	SAClassVersion = 2
	CMClassVersion = 2
	PMClassVersion = 1
)

// Offsets in the common MAD header (IBA 13.4.2, figure 144).
const (
	offBaseVersion   = 0
	offClass         = 1
	offClassVersion  = 2
	offMethod        = 3
	offStatus        = 4
	offClassSpecific = 6
	offTID           = 8
	offAttrID        = 16
	offAttrMod       = 20
)

// Where the data of the classes start, in bytes from the start of the MAD,
// and how long they are.
const (
	HeaderLen  = 24 // common header; CM data follow it
	CMDataOff  = 24
	CMDataLen  = rdma.MADSize - CMDataOff
	SMPDataOff = 64
	SMPDataLen = 64
	SADataOff  = 56
	SADataLen  = rdma.MADSize - SADataOff
	PMDataOff  = 64
	PMDataLen  = rdma.MADSize - PMDataOff
)

// MAD is a management datagram. Convert from and to *[rdma.MADSize]byte with
// View and Bytes; neither copies.
type MAD [rdma.MADSize]byte

// View returns m as a MAD.
func View(m *[rdma.MADSize]byte) *MAD { return (*MAD)(m) }

// New returns an empty request of a class, with its class version filled in.
func New(c Class, method Method, attr AttrID) *MAD {
	m := new(MAD)
	m[offBaseVersion] = BaseVersion
	m[offClass] = uint8(c)
	m[offClassVersion] = c.Version()
	m[offMethod] = uint8(method)
	m.SetAttrID(attr)
	return m
}

// Bytes returns the datagram as an array.
func (m *MAD) Bytes() *[rdma.MADSize]byte { return (*[rdma.MADSize]byte)(m) }

// BaseVersion returns the MAD base version, 1.
func (m *MAD) BaseVersion() uint8 { return m[offBaseVersion] }

// Class returns the management class.
func (m *MAD) Class() Class { return Class(m[offClass]) }

// ClassVersion returns the version of the class's format.
func (m *MAD) ClassVersion() uint8 { return m[offClassVersion] }

// Method returns the method, response bit included.
func (m *MAD) Method() Method { return Method(m[offMethod]) }

// Status returns the status. In a directed-route SMP bit 15 is the direction:
// see SMPStatus.
func (m *MAD) Status() Status { return Status(be.Uint16(m[offStatus:])) }

// ClassSpecific returns bytes 6 and 7.
func (m *MAD) ClassSpecific() uint16 { return be.Uint16(m[offClassSpecific:]) }

// TID returns the transaction ID.
func (m *MAD) TID() uint64 { return be.Uint64(m[offTID:]) }

// AttrID returns the attribute ID.
func (m *MAD) AttrID() AttrID { return AttrID(be.Uint16(m[offAttrID:])) }

// AttrMod returns the attribute modifier.
func (m *MAD) AttrMod() uint32 { return be.Uint32(m[offAttrMod:]) }

// SetClass sets the management class and nothing else.
func (m *MAD) SetClass(c Class) { m[offClass] = uint8(c) }

// SetMethod sets the method.
func (m *MAD) SetMethod(v Method) { m[offMethod] = uint8(v) }

// SetStatus sets all 16 status bits.
func (m *MAD) SetStatus(s Status) { be.PutUint16(m[offStatus:], uint16(s)) }

// SetTID sets the transaction ID. Callers of rdma.MADAgent leave bits 63-32
// of requests 0.
func (m *MAD) SetTID(v uint64) { be.PutUint64(m[offTID:], v) }

// SetAttrID sets the attribute ID.
func (m *MAD) SetAttrID(v AttrID) { be.PutUint16(m[offAttrID:], uint16(v)) }

// SetAttrMod sets the attribute modifier.
func (m *MAD) SetAttrMod(v uint32) { be.PutUint32(m[offAttrMod:], v) }

// IsResponse reports whether the datagram answers another one: method bit 7,
// or a TrapRepress (kernel ib_response_mad).
func (m *MAD) IsResponse() bool {
	return m.Method().IsResponse() || m.Method() == MethodTrapRepress
}

// Check returns an error when the base version or the class version is not
// what the class has.
func (m *MAD) Check() error {
	if m.BaseVersion() != BaseVersion {
		return fmt.Errorf("mad: base version %d", m.BaseVersion())
	}
	if v := m.Class().Version(); m.ClassVersion() != v {
		return fmt.Errorf("mad: class %v version %d, not %d", m.Class(), m.ClassVersion(), v)
	}
	return nil
}

// SMPData returns bytes 64 to 127, the attribute of an SMP.
func (m *MAD) SMPData() []byte { return m[SMPDataOff : SMPDataOff+SMPDataLen] }

// SAData returns bytes 56 to 255, the record of an SA datagram.
func (m *MAD) SAData() []byte { return m[SADataOff:] }

// PMData returns bytes 64 to 255, the attribute of a performance management
// datagram.
func (m *MAD) PMData() []byte { return m[PMDataOff:] }

// CMData returns bytes 24 to 255, the message of a communication management
// datagram.
func (m *MAD) CMData() []byte { return m[CMDataOff:] }

// Data returns where the attribute of the datagram's class is.
func (m *MAD) Data() []byte {
	switch m.Class() {
	case ClassSM, ClassSMDirected:
		return m.SMPData()
	case ClassSA:
		return m.SAData()
	case ClassCM:
		return m.CMData()
	default:
		return m.PMData()
	}
}

// Attribute is the content of a datagram or of an SA record.
type Attribute interface {
	// Len is the length on the wire in bytes.
	Len() int
	// Marshal writes Len bytes; b must be that long.
	Marshal(b []byte)
	// Unmarshal reads Len bytes, or returns ErrShort. What follows is
	// ignored.
	Unmarshal(b []byte) error
}

// SetAttr writes an attribute to where the datagram's class has it and clears
// what follows. Of an SMP the paths are kept.
func (m *MAD) SetAttr(a Attribute) {
	d := m.Data()
	a.Marshal(d)
	clear(d[a.Len():])
}

// Attr reads the attribute from where the datagram's class has it.
func (m *MAD) Attr(a Attribute) error { return a.Unmarshal(m.Data()) }

// Header is the common MAD header as a value, for logs and tests.
type Header struct {
	BaseVersion   uint8
	Class         Class
	ClassVersion  uint8
	Method        Method
	Status        Status
	ClassSpecific uint16
	TID           uint64
	AttrID        AttrID
	AttrMod       uint32
}

// Header returns the common header.
func (m *MAD) Header() Header {
	return Header{
		BaseVersion: m.BaseVersion(), Class: m.Class(), ClassVersion: m.ClassVersion(),
		Method: m.Method(), Status: m.Status(), ClassSpecific: m.ClassSpecific(),
		TID: m.TID(), AttrID: m.AttrID(), AttrMod: m.AttrMod(),
	}
}

// SetHeader writes the common header.
func (m *MAD) SetHeader(h Header) {
	m[offBaseVersion], m[offClass] = h.BaseVersion, uint8(h.Class)
	m[offClassVersion], m[offMethod] = h.ClassVersion, uint8(h.Method)
	m.SetStatus(h.Status)
	be.PutUint16(m[offClassSpecific:], h.ClassSpecific)
	m.SetTID(h.TID)
	m.SetAttrID(h.AttrID)
	be.PutUint16(m[offAttrID+2:], 0)
	m.SetAttrMod(h.AttrMod)
}

// String prints the header in one line.
func (m *MAD) String() string {
	return fmt.Sprintf("%v %v(%s) mod %#x tid %#x status %v", m.Class(), m.Method(),
		m.AttrID().Name(m.Class()), m.AttrMod(), m.TID(), m.Status())
}

// need checks the length of an attribute.
func need(b []byte, n int, what string) error {
	if len(b) < n {
		return fmt.Errorf("mad: %s: %w: %d of %d", what, ErrShort, len(b), n)
	}
	return nil
}

// bit returns 1<<n when v holds.
func bit(v bool, n uint) uint8 {
	if v {
		return 1 << n
	}
	return 0
}

func uint24(b []byte) uint32 { return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]) }

func putUint24(b []byte, v uint32) { b[0], b[1], b[2] = uint8(v>>16), uint8(v>>8), uint8(v) }
