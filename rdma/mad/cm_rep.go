package mad

import "ipoib/rdma"

// REP accepts a connection (IBA 12.6.8):
//
//	 0 LocalCommID (32)   4 RemoteCommID (32)   8 LocalQKey (32)
//	12 LocalQPN (24)     16 LocalEECN (24)     20 StartingPSN (24)
//	24 ResponderResources   25 InitiatorDepth
//	26 TargetAckDelay 5, FailoverAccepted 2, EndToEndFlowControl 1
//	27 RNRRetryCount 3, SRQ 1   28 LocalCAGUID (64)   36 private data (196)
type REP struct {
	LocalCommID, RemoteCommID uint32
	LocalQKey                 rdma.QKey
	LocalQPN                  rdma.QPN
	LocalEECN                 uint32 // 24 bits
	// StartingPSN is the first PSN that the sender of the REQ is to send.
	StartingPSN        rdma.PSN
	ResponderResources uint8
	InitiatorDepth     uint8
	TargetAckDelay     uint8 // time code
	// FailoverAccepted is 0 when the alternate path was accepted.
	FailoverAccepted    uint8
	EndToEndFlowControl bool
	RNRRetryCount       uint8 // 3 bits, 7 is infinite
	SRQ                 bool
	LocalCAGUID         rdma.GUID
	PrivateData         [REPPrivateLen]byte
}

// Len returns CMMessageLen.
func (*REP) Len() int { return CMMessageLen }

// Marshal implements Attribute.
func (r *REP) Marshal(b []byte) {
	_ = b[CMMessageLen-1]
	be.PutUint32(b[0:], r.LocalCommID)
	be.PutUint32(b[4:], r.RemoteCommID)
	be.PutUint32(b[8:], uint32(r.LocalQKey))
	put24x8(b[12:], uint32(r.LocalQPN), 0)
	put24x8(b[16:], r.LocalEECN, 0)
	put24x8(b[20:], uint32(r.StartingPSN), 0)
	b[24], b[25] = r.ResponderResources, r.InitiatorDepth
	b[26] = r.TargetAckDelay<<3 | r.FailoverAccepted&3<<1 | bit(r.EndToEndFlowControl, 0)
	b[27] = r.RNRRetryCount<<5 | bit(r.SRQ, 4)
	be.PutUint64(b[28:], uint64(r.LocalCAGUID))
	copy(b[36:CMMessageLen], r.PrivateData[:])
}

// Unmarshal implements Attribute.
func (r *REP) Unmarshal(b []byte) error {
	if err := need(b, CMMessageLen, "REP"); err != nil {
		return err
	}
	*r = REP{
		LocalCommID: be.Uint32(b[0:]), RemoteCommID: be.Uint32(b[4:]),
		LocalQKey: rdma.QKey(be.Uint32(b[8:])), LocalQPN: rdma.QPN(uint24(b[12:])),
		LocalEECN: uint24(b[16:]), StartingPSN: rdma.PSN(uint24(b[20:])),
		ResponderResources: b[24], InitiatorDepth: b[25],
		TargetAckDelay: b[26] >> 3, FailoverAccepted: b[26] >> 1 & 3, EndToEndFlowControl: b[26]&1 != 0,
		RNRRetryCount: b[27] >> 5, SRQ: b[27]&0x10 != 0,
		LocalCAGUID: rdma.GUID(be.Uint64(b[28:])), PrivateData: [REPPrivateLen]byte(b[36:]),
	}
	return nil
}

// RTU says that the requester is ready (IBA 12.6.9).
type RTU struct {
	LocalCommID, RemoteCommID uint32
	PrivateData               [RTUPrivateLen]byte
}

// Len returns CMMessageLen.
func (*RTU) Len() int { return CMMessageLen }

// Marshal implements Attribute.
func (r *RTU) Marshal(b []byte) {
	be.PutUint32(b[0:], r.LocalCommID)
	be.PutUint32(b[4:], r.RemoteCommID)
	copy(b[8:CMMessageLen], r.PrivateData[:])
}

// Unmarshal implements Attribute.
func (r *RTU) Unmarshal(b []byte) error {
	if err := need(b, CMMessageLen, "RTU"); err != nil {
		return err
	}
	*r = RTU{
		LocalCommID: be.Uint32(b[0:]), RemoteCommID: be.Uint32(b[4:]),
		PrivateData: [RTUPrivateLen]byte(b[8:]),
	}
	return nil
}

// DREQ ends a connection (IBA 12.6.10).
type DREQ struct {
	LocalCommID, RemoteCommID uint32
	RemoteQPN                 rdma.QPN // of the recipient
	PrivateData               [DREQPrivateLen]byte
}

// Len returns CMMessageLen.
func (*DREQ) Len() int { return CMMessageLen }

// Marshal implements Attribute.
func (r *DREQ) Marshal(b []byte) {
	be.PutUint32(b[0:], r.LocalCommID)
	be.PutUint32(b[4:], r.RemoteCommID)
	put24x8(b[8:], uint32(r.RemoteQPN), 0)
	copy(b[12:CMMessageLen], r.PrivateData[:])
}

// Unmarshal implements Attribute.
func (r *DREQ) Unmarshal(b []byte) error {
	if err := need(b, CMMessageLen, "DREQ"); err != nil {
		return err
	}
	*r = DREQ{
		LocalCommID: be.Uint32(b[0:]), RemoteCommID: be.Uint32(b[4:]),
		RemoteQPN: rdma.QPN(uint24(b[8:])), PrivateData: [DREQPrivateLen]byte(b[12:]),
	}
	return nil
}

// DREP answers a DREQ (IBA 12.6.11).
type DREP struct {
	LocalCommID, RemoteCommID uint32
	PrivateData               [DREPPrivateLen]byte
}

// Len returns CMMessageLen.
func (*DREP) Len() int { return CMMessageLen }

// Marshal implements Attribute.
func (r *DREP) Marshal(b []byte) {
	be.PutUint32(b[0:], r.LocalCommID)
	be.PutUint32(b[4:], r.RemoteCommID)
	copy(b[8:CMMessageLen], r.PrivateData[:])
}

// Unmarshal implements Attribute.
func (r *DREP) Unmarshal(b []byte) error {
	if err := need(b, CMMessageLen, "DREP"); err != nil {
		return err
	}
	*r = DREP{
		LocalCommID: be.Uint32(b[0:]), RemoteCommID: be.Uint32(b[4:]),
		PrivateData: [DREPPrivateLen]byte(b[8:]),
	}
	return nil
}
