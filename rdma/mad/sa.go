package mad

import (
	"fmt"
)

// Offsets in the SA header (IBA 15.2.1.1): the RMPP header is at 24.
const (
	offSMKey         = 36
	offAttrOffset    = 44
	offComponentMask = 48
)

// SAHeaderLen is the part of the SA header that RMPP counts as payload of
// each segment: from SM_Key up to the records (IBA 15.2.1.2).
const SAHeaderLen = SADataOff - offSMKey

// ComponentMask selects the components of an SA record that a request names;
// bit 0 is the first component of the record (IBA 15.2.1.1). The others are
// wildcards.
type ComponentMask uint64

// Has reports whether all bits of v are set.
func (c ComponentMask) Has(v ComponentMask) bool { return c&v == v }

// SMKey returns the SM_Key of an SA datagram.
func (m *MAD) SMKey() uint64 { return be.Uint64(m[offSMKey:]) }

// SetSMKey sets the SM_Key of an SA datagram; 0 for clients that are not
// trusted.
func (m *MAD) SetSMKey(k uint64) { be.PutUint64(m[offSMKey:], k) }

// AttrOffset returns the distance of the records of a table in 8-byte units.
func (m *MAD) AttrOffset() uint16 { return be.Uint16(m[offAttrOffset:]) }

// SetAttrOffset sets the distance of the records in 8-byte units.
func (m *MAD) SetAttrOffset(v uint16) { be.PutUint16(m[offAttrOffset:], v) }

// ComponentMask returns the component mask of an SA datagram.
func (m *MAD) ComponentMask() ComponentMask { return ComponentMask(be.Uint64(m[offComponentMask:])) }

// SetComponentMask sets the component mask of an SA datagram.
func (m *MAD) SetComponentMask(c ComponentMask) { be.PutUint64(m[offComponentMask:], uint64(c)) }

// AttrOffsetOf returns the AttributeOffset that an SA response with records of
// this kind carries, as OpenSM answers: the whole 8-byte units of the record,
// 0 for ClassPortInfo and Notice.
func AttrOffsetOf(a Attribute) uint16 {
	switch a.(type) {
	case *ClassPortInfo, *Notice:
		return 0
	}
	return uint16(a.Len() / 8)
}

// SetRecord writes the record of an SA response with its AttributeOffset.
func (m *MAD) SetRecord(a Attribute) {
	m.SetAttr(a)
	m.SetAttrOffset(AttrOffsetOf(a))
}

// Respond turns an SA or GMP request into its response with a status: method,
// status and, of an SA response, RMPP header, SM_Key and AttributeOffset are
// written; the rest, the record included, stays.
func (m *MAD) Respond(s Status) {
	m.SetMethod(m.Method().Response())
	m.SetStatus(s)
	if m.Class() == ClassSA {
		m.SetRMPP(RMPPHeader{})
		m.SetSMKey(0)
		m.SetAttrOffset(0)
	}
}

// record is a pointer to a T that is an Attribute.
type record[T any] interface {
	*T
	Attribute
}

// DecodeRecords splits the data of a table response, with the AttributeOffset
// of its header, into records.
func DecodeRecords[T any, P record[T]](data []byte, attrOffset uint16) ([]T, error) {
	if len(data) == 0 {
		return nil, nil
	}
	var zero T
	step, n := int(attrOffset)*8, P(&zero).Len()
	if step < n {
		return nil, fmt.Errorf("mad: attribute offset %d is less than a record of %d bytes", attrOffset, n)
	}
	out := make([]T, 0, len(data)/step+1)
	for len(data) > 0 {
		out = append(out, zero)
		if err := P(&out[len(out)-1]).Unmarshal(data); err != nil {
			return nil, err
		}
		data = data[min(step, len(data)):]
	}
	return out, nil
}

// AppendRecord appends a record to the data of a table.
func AppendRecord(data []byte, a Attribute) []byte {
	n := len(data)
	data = append(data, make([]byte, int(AttrOffsetOf(a))*8)...)
	a.Marshal(data[n:])
	return data
}
