package mad

import (
	"fmt"

	"ipoib/rdma"
)

// Service IDs of IPoIB connected mode. RFC 4755 section 3.5 has the IETF
// block, first octet 0x01; the Linux driver has 0x10 (IPOIB_CM_IETF_ID).
const (
	ipoibServiceID       uint64 = 0x01 << 56
	ipoibServiceIDLegacy uint64 = 0x10 << 56
)

// IPoIBServiceID returns the Service-ID under which the interface with the
// given UD queue pair listens (RFC 4755 section 3.5).
func IPoIBServiceID(qpn rdma.QPN) uint64 { return ipoibServiceID | uint64(qpn)&0xffffff }

// IPoIBServiceIDLegacy returns the Service-ID that the Linux driver uses.
func IPoIBServiceIDLegacy(qpn rdma.QPN) uint64 { return ipoibServiceIDLegacy | uint64(qpn)&0xffffff }

// ParseIPoIBServiceID returns the UD queue pair number of a Service-ID in
// either form; ok is false for any other Service-ID.
func ParseIPoIBServiceID(id uint64) (qpn rdma.QPN, legacy, ok bool) {
	switch id &^ 0xffffff {
	case ipoibServiceID:
		return rdma.QPN(id & 0xffffff), false, true
	case ipoibServiceIDLegacy:
		return rdma.QPN(id & 0xffffff), true, true
	}
	return 0, false, false
}

// IPoIBPrivateDataLen is the length of IPoIBPrivateData in bytes.
const IPoIBPrivateDataLen = 8

// IPoIBPrivateData is what IPoIB puts at the start of the private data of
// REQ, REP, RTU and REJ (RFC 4755 section 6.1).
type IPoIBPrivateData struct {
	// UDQPN is the sender's UD queue pair, part of its link-layer address.
	UDQPN rdma.QPN
	// ReceiveMTU is the largest message that the sender takes, in bytes with
	// the encapsulation header.
	ReceiveMTU uint32
}

// Put writes the block into private data of at least IPoIBPrivateDataLen
// bytes and clears the rest.
func (p IPoIBPrivateData) Put(b []byte) {
	be.PutUint32(b[0:], uint32(p.UDQPN)&0xffffff)
	be.PutUint32(b[4:], p.ReceiveMTU)
	clear(b[IPoIBPrivateDataLen:])
}

// ParseIPoIBPrivateData reads the block from private data. It fails when a
// ReceiveMTU leaves no room behind the encapsulation header.
func ParseIPoIBPrivateData(b []byte) (IPoIBPrivateData, error) {
	if err := need(b, IPoIBPrivateDataLen, "IPoIB private data"); err != nil {
		return IPoIBPrivateData{}, err
	}
	p := IPoIBPrivateData{UDQPN: rdma.QPN(uint24(b[1:])), ReceiveMTU: be.Uint32(b[4:])}
	if p.ReceiveMTU <= 4 {
		return p, fmt.Errorf("mad: IPoIB private data with receive MTU %d", p.ReceiveMTU)
	}
	return p, nil
}
