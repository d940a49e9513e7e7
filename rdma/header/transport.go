package header

import (
	"ipoib/rdma"
)

// BTH is a base transport header (IBA 9.2):
//
//	0 OpCode   1 SE 1, MigReq 1, PadCnt 2, TVer 4   2 P_Key (16)
//	4 FECN 1, BECN 1, - 6   5 DestQP (24)   8 AckReq 1, - 7   9 PSN (24)
type BTH []byte

// IsValid reports whether the slice holds the header.
func (h BTH) IsValid() bool { return len(h) >= BTHLen }

// Opcode returns the operation.
func (h BTH) Opcode() Opcode { return Opcode(h[0]) }

// Solicited returns the solicited event bit.
func (h BTH) Solicited() bool { return h[1]&0x80 != 0 }

// MigReq returns the migration request bit.
func (h BTH) MigReq() bool { return h[1]&0x40 != 0 }

// PadCnt returns how many bytes of padding follow the payload, 0 to 3.
func (h BTH) PadCnt() int { return int(h[1] >> 4 & 3) }

// TVer returns the transport version, 0.
func (h BTH) TVer() uint8 { return h[1] & 0xf }

// PKey returns the partition key.
func (h BTH) PKey() rdma.PKey { return rdma.PKey(be.Uint16(h[2:])) }

// FECN returns the forward congestion bit.
func (h BTH) FECN() bool { return h[4]&0x80 != 0 }

// BECN returns the backward congestion bit.
func (h BTH) BECN() bool { return h[4]&0x40 != 0 }

// DestQP returns the destination queue pair.
func (h BTH) DestQP() rdma.QPN { return rdma.QPN(be.Uint32(h[4:]) & 0xffffff) }

// AckReq returns the acknowledge request bit.
func (h BTH) AckReq() bool { return h[8]&0x80 != 0 }

// PSN returns the packet sequence number.
func (h BTH) PSN() rdma.PSN { return rdma.PSN(be.Uint32(h[8:]) & 0xffffff) }

// SetOpcode sets the operation.
func (h BTH) SetOpcode(o Opcode) { h[0] = uint8(o) }

// SetSolicited sets the solicited event bit.
func (h BTH) SetSolicited(v bool) { setBit(h, 1, 0x80, v) }

// SetMigReq sets the migration request bit.
func (h BTH) SetMigReq(v bool) { setBit(h, 1, 0x40, v) }

// SetPadCnt sets the number of bytes of padding, 0 to 3.
func (h BTH) SetPadCnt(n int) { h[1] = h[1]&^0x30 | uint8(n)&3<<4 }

// SetTVer sets the transport version.
func (h BTH) SetTVer(v uint8) { h[1] = h[1]&0xf0 | v&0xf }

// SetPKey sets the partition key.
func (h BTH) SetPKey(k rdma.PKey) { be.PutUint16(h[2:], uint16(k)) }

// SetFECN sets the forward congestion bit, which the ICRC does not cover.
func (h BTH) SetFECN(v bool) { setBit(h, 4, 0x80, v) }

// SetBECN sets the backward congestion bit, which the ICRC does not cover.
func (h BTH) SetBECN(v bool) { setBit(h, 4, 0x40, v) }

// SetDestQP sets the destination queue pair.
func (h BTH) SetDestQP(q rdma.QPN) { put24(h[5:], uint32(q)) }

// SetAckReq sets the acknowledge request bit.
func (h BTH) SetAckReq(v bool) { setBit(h, 8, 0x80, v) }

// SetPSN sets the packet sequence number.
func (h BTH) SetPSN(p rdma.PSN) { put24(h[9:], uint32(p)) }

// DETH is a datagram extended transport header (IBA 9.3.1):
//
//	0 Q_Key (32)   4 -   5 SrcQP (24)
type DETH []byte

// IsValid reports whether the slice holds the header.
func (h DETH) IsValid() bool { return len(h) >= DETHLen }

// QKey returns the queue key.
func (h DETH) QKey() rdma.QKey { return rdma.QKey(be.Uint32(h[0:])) }

// SrcQP returns the source queue pair.
func (h DETH) SrcQP() rdma.QPN { return rdma.QPN(be.Uint32(h[4:]) & 0xffffff) }

// SetQKey sets the queue key.
func (h DETH) SetQKey(k rdma.QKey) { be.PutUint32(h[0:], uint32(k)) }

// SetSrcQP sets the source queue pair.
func (h DETH) SetSrcQP(q rdma.QPN) { put24(h[5:], uint32(q)) }

// AETH is an acknowledge extended transport header (IBA 9.3.5):
//
//	0 Syndrome   1 MSN (24)
type AETH []byte

// IsValid reports whether the slice holds the header.
func (h AETH) IsValid() bool { return len(h) >= AETHLen }

// Syndrome returns the kind of acknowledgement.
func (h AETH) Syndrome() Syndrome { return Syndrome(h[0]) }

// MSN returns the 24-bit message sequence number.
func (h AETH) MSN() uint32 { return be.Uint32(h[0:]) & 0xffffff }

// SetSyndrome sets the kind of acknowledgement.
func (h AETH) SetSyndrome(s Syndrome) { h[0] = uint8(s) }

// SetMSN sets the 24-bit message sequence number.
func (h AETH) SetMSN(v uint32) { put24(h[1:], v) }

// RETH is an RDMA extended transport header (IBA 9.3.3), which IPoIB does not
// use:
//
//	0 virtual address (64)   8 R_Key (32)   12 DMA length (32)
type RETH []byte

// IsValid reports whether the slice holds the header.
func (h RETH) IsValid() bool { return len(h) >= RETHLen }

// VA returns the virtual address.
func (h RETH) VA() uint64 { return be.Uint64(h[0:]) }

// RKey returns the memory key.
func (h RETH) RKey() uint32 { return be.Uint32(h[8:]) }

// DMALen returns the length of the transfer in bytes.
func (h RETH) DMALen() uint32 { return be.Uint32(h[12:]) }

// ImmDt is an immediate data header (IBA 9.3.6).
type ImmDt []byte

// IsValid reports whether the slice holds the header.
func (h ImmDt) IsValid() bool { return len(h) >= ImmDtLen }

// Data returns the immediate data.
func (h ImmDt) Data() uint32 { return be.Uint32(h[0:]) }

// SetData sets the immediate data.
func (h ImmDt) SetData(v uint32) { be.PutUint32(h[0:], v) }

func setBit(b []byte, i int, mask uint8, v bool) {
	if v {
		b[i] |= mask
	} else {
		b[i] &^= mask
	}
}

func put24(b []byte, v uint32) { b[0], b[1], b[2] = uint8(v>>16), uint8(v>>8), uint8(v) }
