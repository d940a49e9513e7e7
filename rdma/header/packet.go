package header

import (
	"errors"

	"ipoib/rdma"
)

// Reasons for which Parse refuses a frame, in the order of the checks. They
// are returned as they are, without a wrapper, as each is a counter to the
// caller.
var (
	// ErrLength: shorter than its headers, not as long as PktLen says, or
	// with more padding than payload.
	ErrLength = errors.New("header: bad length")
	// ErrLVer: the link version is not 0.
	ErrLVer = errors.New("header: bad link version")
	// ErrVCRC: the variant CRC is wrong.
	ErrVCRC = errors.New("header: bad VCRC")
	// ErrLNH: a raw packet, with neither BTH nor GRH.
	ErrLNH = errors.New("header: raw packet")
	// ErrGRH: bad version, next header or length in the GRH.
	ErrGRH = errors.New("header: bad GRH")
	// ErrMulticast: a multicast DLID without GRH, multicast DGID or multicast
	// destination queue pair (IBA 10.5.2).
	ErrMulticast = errors.New("header: bad multicast addressing")
	// ErrICRC: the invariant CRC is wrong.
	ErrICRC = errors.New("header: bad ICRC")
	// ErrTVer: the transport version is not 0.
	ErrTVer = errors.New("header: bad transport version")
	// ErrOpcode: an opcode that is reserved, or of a transport that has gone
	// (RD).
	ErrOpcode = errors.New("header: unknown opcode")
)

// Packet is a frame taken apart. The slices point into the frame; those that
// the frame does not have are nil.
type Packet struct {
	LRH LRH
	GRH GRH
	BTH BTH
	// Ext are all extended headers, DETH to ImmDt the ones that are in it.
	Ext   []byte
	DETH  DETH
	AETH  AETH
	RETH  RETH
	ImmDt ImmDt
	// Payload is without padding.
	Payload []byte
}

// Parse takes a frame from LRH to VCRC apart and checks length, versions,
// CRCs, GRH and opcode, in the order of IBA 7.8, 8.4 and 9.6. The payload may
// be longer than any MTU.
func Parse(frame []byte) (Packet, error) {
	if len(frame) < LRHLen+BTHLen+ICRCLen {
		return Packet{}, ErrLength
	}
	n := len(frame) - VCRCLen
	h := LRH(frame)
	if h.PktLen()*4 != n {
		return Packet{}, ErrLength
	}
	if h.LVer() != 0 {
		return Packet{}, ErrLVer
	}
	if !CheckVCRC(frame) {
		return Packet{}, ErrVCRC
	}
	return parse(frame[:n])
}

// ParseNoVCRC is Parse for a packet that ends with the ICRC, as tunnels
// between switches carry it.
func ParseNoVCRC(p []byte) (Packet, error) {
	if len(p) < LRHLen+BTHLen+ICRCLen || LRH(p).PktLen()*4 != len(p) {
		return Packet{}, ErrLength
	}
	if LRH(p).LVer() != 0 {
		return Packet{}, ErrLVer
	}
	return parse(p)
}

// parse goes on behind the VCRC; p ends with the ICRC.
func parse(p []byte) (Packet, error) {
	pk := Packet{LRH: LRH(p[:LRHLen])}
	off := LRHLen
	switch pk.LRH.LNH() {
	case LNHIBALocal:
	case LNHIBAGlobal:
		if len(p) < LRHLen+GRHLen+BTHLen+ICRCLen {
			return Packet{}, ErrLength
		}
		pk.GRH = GRH(p[off : off+GRHLen])
		off += GRHLen
		if pk.GRH.IPVer() != 6 || pk.GRH.NxtHdr() != NxtHdrIBA || pk.GRH.PayLen() != len(p)-off {
			return Packet{}, ErrGRH
		}
	default:
		return Packet{}, ErrLNH
	}
	pk.BTH = BTH(p[off : off+BTHLen])
	off += BTHLen
	if pk.LRH.DLID().IsMulticast() &&
		(pk.GRH == nil || pk.GRH[24] != 0xff || pk.BTH.DestQP() != rdma.QPNMulticast) {
		return Packet{}, ErrMulticast
	}
	if !CheckICRC(p) {
		return Packet{}, ErrICRC
	}
	if pk.BTH.TVer() != 0 {
		return Packet{}, ErrTVer
	}
	op := pk.BTH.Opcode()
	if !op.IsKnown() {
		return Packet{}, ErrOpcode
	}
	end := len(p) - ICRCLen - pk.BTH.PadCnt()
	ext := off + op.ExtLen()
	if ext > end {
		return Packet{}, ErrLength
	}
	pk.Payload = p[ext:end:end]
	pk.setExt(op, p[off:ext:ext])
	return pk, nil
}

// setExt points at the single extended headers.
func (p *Packet) setExt(op Opcode, ext []byte) {
	if len(ext) == 0 {
		return
	}
	p.Ext = ext
	switch {
	case op.HasDETH():
		p.DETH = DETH(ext[:DETHLen])
	case op.HasAETH():
		p.AETH = AETH(ext[:AETHLen])
	case op.HasRETH():
		p.RETH = RETH(ext[:RETHLen])
	}
	if op.HasImm() {
		p.ImmDt = ImmDt(ext[len(ext)-ImmDtLen:])
	}
}

// IsMulticast reports whether the packet goes to a multicast LID.
func (p *Packet) IsMulticast() bool { return p.LRH.DLID().IsMulticast() }
