package mad

import (
	"bytes"

	"ipoib/rdma"
)

// Components of ServiceRecord. Bit 7 and up select the single elements of the
// data fields: 16 of 8 bits, 8 of 16, 4 of 32, 2 of 64.
const (
	SRServiceID    ComponentMask = 1 << 0
	SRServiceGID   ComponentMask = 1 << 1
	SRServicePKey  ComponentMask = 1 << 2
	SRServiceLease ComponentMask = 1 << 4
	SRServiceKey   ComponentMask = 1 << 5
	SRServiceName  ComponentMask = 1 << 6
	SRData8        ComponentMask = 0xffff << 7
	SRData16       ComponentMask = 0xff << 23
	SRData32       ComponentMask = 0xf << 31
	SRData64       ComponentMask = 0x3 << 35
)

// ServiceRecordLen is the length of ServiceRecord in bytes.
const ServiceRecordLen = 176

// ServiceLeaseForever never expires.
const ServiceLeaseForever uint32 = 0xffffffff

// ServiceRecord advertises a service (IBA 15.2.5.14).
type ServiceRecord struct {
	ServiceID  uint64
	ServiceGID rdma.GID
	PKey       rdma.PKey
	// Lease is in seconds.
	Lease  uint32
	Key    [16]byte
	Name   [64]byte // UTF-8, NUL padded
	Data8  [16]uint8
	Data16 [8]uint16
	Data32 [4]uint32
	Data64 [2]uint64
}

// ServiceName returns the name up to the first NUL.
func (r *ServiceRecord) ServiceName() string {
	b := r.Name[:]
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// Len returns ServiceRecordLen.
func (*ServiceRecord) Len() int { return ServiceRecordLen }

// Marshal implements Attribute.
func (r *ServiceRecord) Marshal(b []byte) {
	_ = b[ServiceRecordLen-1]
	be.PutUint64(b[0:], r.ServiceID)
	copy(b[8:24], r.ServiceGID[:])
	be.PutUint16(b[24:], uint16(r.PKey))
	be.PutUint16(b[26:], 0)
	be.PutUint32(b[28:], r.Lease)
	copy(b[32:48], r.Key[:])
	copy(b[48:112], r.Name[:])
	copy(b[112:128], r.Data8[:])
	for i, v := range r.Data16 {
		be.PutUint16(b[128+2*i:], v)
	}
	for i, v := range r.Data32 {
		be.PutUint32(b[144+4*i:], v)
	}
	for i, v := range r.Data64 {
		be.PutUint64(b[160+8*i:], v)
	}
}

// Unmarshal implements Attribute.
func (r *ServiceRecord) Unmarshal(b []byte) error {
	if err := need(b, ServiceRecordLen, "ServiceRecord"); err != nil {
		return err
	}
	*r = ServiceRecord{
		ServiceID: be.Uint64(b[0:]), ServiceGID: rdma.GID(b[8:24]), PKey: rdma.PKey(be.Uint16(b[24:])),
		Lease: be.Uint32(b[28:]), Key: [16]byte(b[32:48]), Name: [64]byte(b[48:112]),
		Data8: [16]byte(b[112:128]),
	}
	for i := range r.Data16 {
		r.Data16[i] = be.Uint16(b[128+2*i:])
	}
	for i := range r.Data32 {
		r.Data32[i] = be.Uint32(b[144+4*i:])
	}
	for i := range r.Data64 {
		r.Data64[i] = be.Uint64(b[160+8*i:])
	}
	return nil
}
