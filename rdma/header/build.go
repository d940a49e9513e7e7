package header

import (
	"slices"

	"ipoib/rdma"
)

// Fields are the header fields of a packet to build. Those of headers that
// the opcode does not have are not used.
type Fields struct {
	// LRH
	VL, SL     uint8
	DLID, SLID rdma.LID
	// GRH is written when HasGRH is set.
	HasGRH bool
	GRH    rdma.GRHInfo
	// BTH
	Opcode     Opcode
	Solicited  bool
	MigReq     bool
	FECN, BECN bool
	PKey       rdma.PKey
	DestQP     rdma.QPN
	AckReq     bool
	PSN        rdma.PSN
	// DETH
	QKey  rdma.QKey
	SrcQP rdma.QPN
	// AETH
	Syndrome Syndrome
	MSN      uint32 // 24 bits
	// ImmDt
	Imm uint32
	// Ext are the extended headers as they are, for opcodes with others than
	// DETH, AETH and ImmDt. Its length must be Opcode.ExtLen.
	Ext []byte
}

// Fields returns the fields of a parsed packet. Ext points into the frame.
func (p *Packet) Fields() Fields {
	f := Fields{
		VL: p.LRH.VL(), SL: p.LRH.SL(), DLID: p.LRH.DLID(), SLID: p.LRH.SLID(),
		Opcode: p.BTH.Opcode(), Solicited: p.BTH.Solicited(), MigReq: p.BTH.MigReq(),
		FECN: p.BTH.FECN(), BECN: p.BTH.BECN(), PKey: p.BTH.PKey(), DestQP: p.BTH.DestQP(),
		AckReq: p.BTH.AckReq(), PSN: p.BTH.PSN(),
	}
	if p.GRH != nil {
		f.HasGRH, f.GRH = true, p.GRH.Info()
	}
	if p.DETH != nil {
		f.QKey, f.SrcQP = p.DETH.QKey(), p.DETH.SrcQP()
	}
	if p.AETH != nil {
		f.Syndrome, f.MSN = p.AETH.Syndrome(), p.AETH.MSN()
	}
	if p.ImmDt != nil {
		f.Imm = p.ImmDt.Data()
	}
	if f.Opcode.has(xRETH | xAtomic | xAtomicAck | xIETH) {
		f.Ext = p.Ext
	}
	return f
}

// HeaderLen returns the length of all headers in bytes.
func (f *Fields) HeaderLen() int {
	n := LRHLen + BTHLen + f.Opcode.ExtLen()
	if f.HasGRH {
		n += GRHLen
	}
	return n
}

// PacketLen returns the length from LRH to ICRC in bytes, padding included. A
// frame is VCRCLen longer.
func (f *Fields) PacketLen(payload int) int {
	return f.HeaderLen() + (payload+3)&^3 + ICRCLen
}

// Put writes the headers in front of a payload of the given length: b must
// have HeaderLen bytes. It fails with ErrOpcode when the opcode is unknown or
// Ext is missing or not as long as its headers, and with ErrLength when the
// packet is longer than PktLen can say.
func (f *Fields) Put(b []byte, payload int) error {
	n := f.PacketLen(payload)
	switch {
	case n > MaxPktLen:
		return ErrLength
	case !f.Opcode.IsKnown(), f.Ext != nil && len(f.Ext) != f.Opcode.ExtLen():
		return ErrOpcode
	case f.Ext == nil && f.Opcode.has(xRETH|xAtomic|xAtomicAck|xIETH):
		return ErrOpcode
	}
	_ = b[f.HeaderLen()-1]
	h := LRH(b)
	lnh := LNHIBALocal
	if f.HasGRH {
		lnh = LNHIBAGlobal
	}
	h[0], h[1] = f.VL<<4, f.SL<<4|uint8(lnh)
	h.SetDLID(f.DLID)
	be.PutUint16(h[4:], uint16(n/4))
	h.SetSLID(f.SLID)
	b = b[LRHLen:]
	if f.HasGRH {
		GRH(b).Encode(&f.GRH, n-LRHLen-GRHLen)
		b = b[GRHLen:]
	}
	t := BTH(b)
	t[0], t[1] = uint8(f.Opcode), uint8(-payload&3)<<4
	t.SetSolicited(f.Solicited)
	t.SetMigReq(f.MigReq)
	t.SetPKey(f.PKey)
	t[4] = 0
	t.SetFECN(f.FECN)
	t.SetBECN(f.BECN)
	t.SetDestQP(f.DestQP)
	t[8] = 0
	t.SetAckReq(f.AckReq)
	t.SetPSN(f.PSN)
	f.putExt(b[BTHLen:])
	return nil
}

func (f *Fields) putExt(b []byte) {
	if f.Ext != nil {
		copy(b, f.Ext)
		return
	}
	switch {
	case f.Opcode.HasDETH():
		d := DETH(b)
		d.SetQKey(f.QKey)
		d[4] = 0
		d.SetSrcQP(f.SrcQP)
	case f.Opcode.HasAETH():
		a := AETH(b)
		a.SetSyndrome(f.Syndrome)
		a.SetMSN(f.MSN)
	}
	if f.Opcode.HasImm() {
		ImmDt(b[f.Opcode.ExtLen()-ImmDtLen:]).SetData(f.Imm)
	}
}

// Append appends a whole frame, LRH to VCRC, to dst. See Put for the errors.
func (f *Fields) Append(dst, payload []byte) ([]byte, error) {
	dst, err := f.AppendNoVCRC(dst, payload)
	if err != nil {
		return dst, err
	}
	start := len(dst) - f.PacketLen(len(payload))
	dst = append(dst, 0, 0)
	SetVCRC(dst[start:])
	return dst, nil
}

// AppendNoVCRC appends a packet that ends with the ICRC to dst.
func (f *Fields) AppendNoVCRC(dst, payload []byte) ([]byte, error) {
	n := f.PacketLen(len(payload))
	out := slices.Grow(dst, n+VCRCLen)[:len(dst)+n]
	p := out[len(dst):]
	if err := f.Put(p, len(payload)); err != nil {
		return dst, err
	}
	h := f.HeaderLen()
	copy(p[h:], payload)
	clear(p[h+len(payload):])
	SetICRC(p)
	return out, nil
}
