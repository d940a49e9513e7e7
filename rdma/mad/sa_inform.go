package mad

import "ipoib/rdma"

// InformInfoLen is the length of InformInfo in bytes.
const InformInfoLen = 36

// InformInfo subscribes to notices, or ends the subscription (IBA 13.4.8.3):
//
//	 0 GID            16 LIDRangeBegin (16)   18 LIDRangeEnd (16)
//	22 IsGeneric      23 Subscribe            24 Type (16)
//	26 TrapNumber or DeviceID (16)            28 QPN (24)
//	31 - 3, RespTimeValue 5                   33 ProducerType or VendorID (24)
type InformInfo struct {
	// GID names the source; zero means that the LID range does.
	GID rdma.GID
	// LIDRangeBegin is rdma.LIDPermissive for all sources.
	LIDRangeBegin, LIDRangeEnd rdma.LID
	IsGeneric                  bool
	Subscribe                  bool
	// Type is a NoticeType, 0xffff for all.
	Type       uint16
	TrapNumber TrapNumber
	// QPN gets the reports.
	QPN           rdma.QPN
	RespTimeValue uint8
	ProducerType  ProducerType
}

// InformTypeAll is the wildcard of InformInfo.Type.
const InformTypeAll = 0xffff

// Len returns InformInfoLen.
func (*InformInfo) Len() int { return InformInfoLen }

// Marshal implements Attribute.
func (i *InformInfo) Marshal(b []byte) {
	_ = b[InformInfoLen-1]
	copy(b[0:16], i.GID[:])
	be.PutUint16(b[16:], uint16(i.LIDRangeBegin))
	be.PutUint16(b[18:], uint16(i.LIDRangeEnd))
	be.PutUint16(b[20:], 0)
	b[22], b[23] = bit(i.IsGeneric, 0), bit(i.Subscribe, 0)
	be.PutUint16(b[24:], i.Type)
	be.PutUint16(b[26:], uint16(i.TrapNumber))
	putUint24(b[28:], uint32(i.QPN))
	b[31] = i.RespTimeValue & 0x1f
	b[32] = 0
	putUint24(b[33:], uint32(i.ProducerType))
}

// Unmarshal implements Attribute.
func (i *InformInfo) Unmarshal(b []byte) error {
	if err := need(b, InformInfoLen, "InformInfo"); err != nil {
		return err
	}
	*i = InformInfo{
		GID:           rdma.GID(b[0:16]),
		LIDRangeBegin: rdma.LID(be.Uint16(b[16:])), LIDRangeEnd: rdma.LID(be.Uint16(b[18:])),
		IsGeneric: b[22] != 0, Subscribe: b[23] != 0, Type: be.Uint16(b[24:]),
		TrapNumber: TrapNumber(be.Uint16(b[26:])), QPN: rdma.QPN(uint24(b[28:])),
		RespTimeValue: b[31] & 0x1f, ProducerType: ProducerType(uint24(b[33:])),
	}
	return nil
}

// Components of InformInfoRecord.
const (
	IIRSubscriberGID ComponentMask = 1 << iota
	IIREnum
	_
	IIRGID
	IIRLIDRangeBegin
	IIRLIDRangeEnd
	_
	IIRIsGeneric
	IIRSubscribe
	IIRType
	IIRTrapNumber
	IIRQPN
	_
	IIRRespTimeValue
	_
	IIRProducerType
)

// InformInfoRecordLen is the length of InformInfoRecord in bytes.
const InformInfoRecordLen = 64

// InformInfoRecord is a subscription that the SA holds (IBA 15.2.5.12).
type InformInfoRecord struct {
	SubscriberGID  rdma.GID
	SubscriberEnum uint16
	InformInfo     InformInfo
}

// Len returns InformInfoRecordLen.
func (*InformInfoRecord) Len() int { return InformInfoRecordLen }

// Marshal implements Attribute.
func (r *InformInfoRecord) Marshal(b []byte) {
	_ = b[InformInfoRecordLen-1]
	copy(b[0:16], r.SubscriberGID[:])
	be.PutUint16(b[16:], r.SubscriberEnum)
	clear(b[18:24])
	r.InformInfo.Marshal(b[24:])
	clear(b[60:InformInfoRecordLen])
}

// Unmarshal implements Attribute.
func (r *InformInfoRecord) Unmarshal(b []byte) error {
	if err := need(b, InformInfoRecordLen, "InformInfoRecord"); err != nil {
		return err
	}
	r.SubscriberGID, r.SubscriberEnum = rdma.GID(b[0:16]), be.Uint16(b[16:])
	return r.InformInfo.Unmarshal(b[24:])
}
