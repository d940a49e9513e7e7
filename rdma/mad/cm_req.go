package mad

import "ipoib/rdma"

// CMMessageLen is the length of every communication management message behind
// the common header, in bytes.
const CMMessageLen = CMDataLen

// TransportService is the service that a REQ asks for (IBA 12.7.7).
type TransportService uint8

// The services.
const (
	ServiceRC       TransportService = 0
	ServiceUC       TransportService = 1
	ServiceRD       TransportService = 2
	ServiceExtended TransportService = 3
)

// Private data lengths in bytes (IBA 12.6).
const (
	REQPrivateLen  = 92
	REPPrivateLen  = 196
	RTUPrivateLen  = 224
	REJPrivateLen  = 148
	REJARILen      = 72
	MRAPrivateLen  = 222
	DREQPrivateLen = 220
	DREPPrivateLen = 224
)

const cmPathLen = 44

// CMPath is the primary or the alternate path of a REQ (IBA 12.6.5, from the
// port LIDs on). Local is the sender of the REQ.
type CMPath struct {
	LocalLID, RemoteLID rdma.LID
	LocalGID, RemoteGID rdma.GID
	FlowLabel           uint32 // 20 bits
	PacketRate          rdma.Rate
	TrafficClass        uint8
	HopLimit            uint8
	SL                  uint8
	SubnetLocal         bool
	// LocalAckTimeout is a time code, 4.096 us x 2^n; 0 is no timeout.
	LocalAckTimeout uint8
}

func (p *CMPath) marshal(b []byte) {
	be.PutUint16(b[0:], uint16(p.LocalLID))
	be.PutUint16(b[2:], uint16(p.RemoteLID))
	copy(b[4:20], p.LocalGID[:])
	copy(b[20:36], p.RemoteGID[:])
	be.PutUint32(b[36:], p.FlowLabel<<12|uint32(p.PacketRate)&0x3f)
	b[40], b[41] = p.TrafficClass, p.HopLimit
	b[42] = p.SL<<4 | bit(p.SubnetLocal, 3)
	b[43] = p.LocalAckTimeout << 3
}

func (p *CMPath) unmarshal(b []byte) {
	word := be.Uint32(b[36:])
	*p = CMPath{
		LocalLID: rdma.LID(be.Uint16(b[0:])), RemoteLID: rdma.LID(be.Uint16(b[2:])),
		LocalGID: rdma.GID(b[4:20]), RemoteGID: rdma.GID(b[20:36]),
		FlowLabel: word >> 12, PacketRate: rdma.Rate(word & 0x3f),
		TrafficClass: b[40], HopLimit: b[41], SL: b[42] >> 4, SubnetLocal: b[42]&8 != 0,
		LocalAckTimeout: b[43] >> 3,
	}
}

// REQ asks for a connection (IBA 12.6.5). Offsets are those of the message,
// from byte 24 of the datagram:
//
//	 0 LocalCommID (32)      8 ServiceID (64)       16 LocalCAGUID (64)
//	28 LocalQKey (32)       32 LocalQPN (24)        35 ResponderResources
//	36 LocalEECN (24)       39 InitiatorDepth       40 RemoteEECN (24)
//	43 RemoteCMResponseTimeout 5, TransportService 2, EndToEndFlowControl 1
//	44 StartingPSN (24)     47 LocalCMResponseTimeout 5, RetryCount 3
//	48 PKey (16)            50 PathMTU 4, RDCExists 1, RNRRetryCount 3
//	51 MaxCMRetries 4, SRQ 1, ExtendedTransport 3
//	52 primary path (44)    96 alternate path (44)  140 private data (92)
type REQ struct {
	LocalCommID        uint32
	ServiceID          uint64
	LocalCAGUID        rdma.GUID
	LocalQKey          rdma.QKey
	LocalQPN           rdma.QPN
	ResponderResources uint8
	LocalEECN          uint32 // 24 bits
	InitiatorDepth     uint8
	RemoteEECN         uint32 // 24 bits
	// RemoteCMResponseTimeout and LocalCMResponseTimeout are time codes,
	// 4.096 us x 2^n: how long the other and this side may take to answer.
	RemoteCMResponseTimeout uint8
	TransportService        TransportService
	EndToEndFlowControl     bool
	// StartingPSN is the first PSN that the recipient is to send.
	StartingPSN            rdma.PSN
	LocalCMResponseTimeout uint8
	RetryCount             uint8 // 3 bits
	PKey                   rdma.PKey
	PathMTU                rdma.MTU
	RDCExists              bool
	RNRRetryCount          uint8 // 3 bits, 7 is infinite
	MaxCMRetries           uint8 // 4 bits
	SRQ                    bool
	ExtendedTransport      uint8 // 3 bits
	Primary, Alternate     CMPath
	PrivateData            [REQPrivateLen]byte
}

// Len returns CMMessageLen.
func (*REQ) Len() int { return CMMessageLen }

// Marshal implements Attribute.
func (r *REQ) Marshal(b []byte) {
	_ = b[CMMessageLen-1]
	be.PutUint32(b[0:], r.LocalCommID)
	be.PutUint32(b[4:], 0)
	be.PutUint64(b[8:], r.ServiceID)
	be.PutUint64(b[16:], uint64(r.LocalCAGUID))
	be.PutUint32(b[24:], 0)
	be.PutUint32(b[28:], uint32(r.LocalQKey))
	put24x8(b[32:], uint32(r.LocalQPN), r.ResponderResources)
	put24x8(b[36:], r.LocalEECN, r.InitiatorDepth)
	put24x8(b[40:], r.RemoteEECN, r.RemoteCMResponseTimeout<<3|uint8(r.TransportService)&3<<1|bit(r.EndToEndFlowControl, 0))
	put24x8(b[44:], uint32(r.StartingPSN), r.LocalCMResponseTimeout<<3|r.RetryCount&7)
	be.PutUint16(b[48:], uint16(r.PKey))
	b[50] = uint8(r.PathMTU)<<4 | bit(r.RDCExists, 3) | r.RNRRetryCount&7
	b[51] = r.MaxCMRetries<<4 | bit(r.SRQ, 3) | r.ExtendedTransport&7
	r.Primary.marshal(b[52:])
	r.Alternate.marshal(b[52+cmPathLen:])
	copy(b[140:CMMessageLen], r.PrivateData[:])
}

// Unmarshal implements Attribute.
func (r *REQ) Unmarshal(b []byte) error {
	if err := need(b, CMMessageLen, "REQ"); err != nil {
		return err
	}
	*r = REQ{
		LocalCommID: be.Uint32(b[0:]), ServiceID: be.Uint64(b[8:]),
		LocalCAGUID: rdma.GUID(be.Uint64(b[16:])), LocalQKey: rdma.QKey(be.Uint32(b[28:])),
		LocalQPN: rdma.QPN(uint24(b[32:])), ResponderResources: b[35],
		LocalEECN: uint24(b[36:]), InitiatorDepth: b[39], RemoteEECN: uint24(b[40:]),
		RemoteCMResponseTimeout: b[43] >> 3, TransportService: TransportService(b[43] >> 1 & 3),
		EndToEndFlowControl: b[43]&1 != 0, StartingPSN: rdma.PSN(uint24(b[44:])),
		LocalCMResponseTimeout: b[47] >> 3, RetryCount: b[47] & 7,
		PKey: rdma.PKey(be.Uint16(b[48:])), PathMTU: rdma.MTU(b[50] >> 4),
		RDCExists: b[50]&8 != 0, RNRRetryCount: b[50] & 7,
		MaxCMRetries: b[51] >> 4, SRQ: b[51]&8 != 0, ExtendedTransport: b[51] & 7,
		PrivateData: [REQPrivateLen]byte(b[140:]),
	}
	r.Primary.unmarshal(b[52:])
	r.Alternate.unmarshal(b[52+cmPathLen:])
	return nil
}

func put24x8(b []byte, v uint32, low uint8) { be.PutUint32(b, v<<8|uint32(low)) }
