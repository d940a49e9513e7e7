package header

import (
	"encoding/binary"
	"hash/crc32"
)

// Both CRCs are computed with reflected registers, least significant bit of
// each byte first, seed all ones, complemented at the end and sent low byte
// first (IBA 7.8).
const vcrcPoly = 0xd008 // 0x100b reflected: x^16 + x^12 + x^3 + x + 1

var (
	icrcTable [8][256]uint32
	vcrcTable [16][256]uint16
	// icrcGlobalStart is the CRC-32 register behind the eight bytes of ones
	// that the ICRC of a packet with GRH sees in place of the LRH.
	icrcGlobalStart uint32
)

func init() {
	icrcTable[0] = *crc32.IEEETable
	for i := range 256 {
		c := uint16(i)
		for range 8 {
			if c&1 != 0 {
				c = c>>1 ^ vcrcPoly
			} else {
				c >>= 1
			}
		}
		vcrcTable[0][i] = c
	}
	for i := range 256 {
		c32, c16 := icrcTable[0][i], vcrcTable[0][i]
		for k := 1; k < len(icrcTable); k++ {
			c32 = icrcTable[0][uint8(c32)] ^ c32>>8
			icrcTable[k][i] = c32
		}
		for k := 1; k < len(vcrcTable); k++ {
			c16 = vcrcTable[0][uint8(c16)] ^ c16>>8
			vcrcTable[k][i] = c16
		}
	}
	icrcGlobalStart = icrcWord(^uint32(0), ^uint64(0))
}

// icrcWord feeds eight bytes, little-endian in v, to a CRC-32 register.
func icrcWord(crc uint32, v uint64) uint32 {
	v ^= uint64(crc)
	t := &icrcTable
	return t[7][uint8(v)] ^ t[6][uint8(v>>8)] ^ t[5][uint8(v>>16)] ^ t[4][uint8(v>>24)] ^
		t[3][uint8(v>>32)] ^ t[2][uint8(v>>40)] ^ t[1][uint8(v>>48)] ^ t[0][uint8(v>>56)]
}

// Bytes that the ICRC sees as ones because routers, switches and receivers
// may change them (IBA 7.8.1), as masks on little-endian words.
const (
	maskVL         uint64 = 0xf0                // LRH byte 0, upper half
	maskBTHLocal   uint64 = 0xff << (8 * 4)     // frame byte 12, in word 8-15
	maskGRHFirst   uint64 = 0xff000000_ffffff0f // TClass, FlowLabel; HopLmt
	maskBTHGlobal  uint64 = 0xff << (8 * 4)     // frame byte 52, in word 48-55
	icrcLocalHead         = 16
	icrcGlobalHead        = 56
)

// ICRC returns the invariant CRC of p, the packet from the LRH up to and
// without the ICRC, at least LRH, GRH where LNH is 3, and BTH. The wire has it
// little-endian. Nothing is copied.
func ICRC(p []byte) uint32 {
	le := binary.LittleEndian
	var crc uint32
	var rest []byte
	if LRH(p).LNH() == LNHIBAGlobal {
		_ = p[icrcGlobalHead+3]
		crc = icrcWord(icrcGlobalStart, le.Uint64(p[8:])|maskGRHFirst)
		for o := 16; o < 48; o += 8 {
			crc = icrcWord(crc, le.Uint64(p[o:]))
		}
		crc = icrcWord(crc, le.Uint64(p[48:])|maskBTHGlobal)
		rest = p[icrcGlobalHead:]
	} else {
		crc = icrcWord(^uint32(0), le.Uint64(p[0:])|maskVL)
		crc = icrcWord(crc, le.Uint64(p[8:])|maskBTHLocal)
		rest = p[icrcLocalHead:]
	}
	return crc32.Update(^crc, crc32.IEEETable, rest)
}

// VCRC returns the variant CRC of p, the packet from the LRH up to and with
// the ICRC. The wire has it little-endian.
func VCRC(p []byte) uint16 {
	crc := ^uint16(0)
	t := &vcrcTable
	for len(p) >= 16 {
		lo := binary.LittleEndian.Uint64(p) ^ uint64(crc)
		hi := binary.LittleEndian.Uint64(p[8:])
		crc = t[15][uint8(lo)] ^ t[14][uint8(lo>>8)] ^ t[13][uint8(lo>>16)] ^ t[12][uint8(lo>>24)] ^
			t[11][uint8(lo>>32)] ^ t[10][uint8(lo>>40)] ^ t[9][uint8(lo>>48)] ^ t[8][uint8(lo>>56)] ^
			t[7][uint8(hi)] ^ t[6][uint8(hi>>8)] ^ t[5][uint8(hi>>16)] ^ t[4][uint8(hi>>24)] ^
			t[3][uint8(hi>>32)] ^ t[2][uint8(hi>>40)] ^ t[1][uint8(hi>>48)] ^ t[0][uint8(hi>>56)]
		p = p[16:]
	}
	for _, b := range p {
		crc = t[0][uint8(crc)^b] ^ crc>>8
	}
	return ^crc
}

// minICRCLen returns the least number of bytes that ICRC needs, by LNH.
func minICRCLen(lnh LNH) int {
	if lnh == LNHIBAGlobal {
		return LRHLen + GRHLen + BTHLen
	}
	return LRHLen + BTHLen
}

// SetICRC writes the ICRC into the last four bytes of p, which is the packet
// from LRH to ICRC. It reports false, and writes nothing, when p is shorter
// than its headers.
func SetICRC(p []byte) bool {
	n := len(p) - ICRCLen
	if n < LRHLen || n < minICRCLen(LRH(p).LNH()) {
		return false
	}
	binary.LittleEndian.PutUint32(p[n:], ICRC(p[:n]))
	return true
}

// CheckICRC reports whether the last four bytes of p, which is the packet from
// LRH to ICRC, are its ICRC.
func CheckICRC(p []byte) bool {
	n := len(p) - ICRCLen
	if n < LRHLen || n < minICRCLen(LRH(p).LNH()) {
		return false
	}
	return binary.LittleEndian.Uint32(p[n:]) == ICRC(p[:n])
}

// SetVCRC writes the VCRC into the last two bytes of a frame.
func SetVCRC(frame []byte) {
	n := len(frame) - VCRCLen
	binary.LittleEndian.PutUint16(frame[n:], VCRC(frame[:n]))
}

// CheckVCRC reports whether the last two bytes of a frame are its VCRC.
func CheckVCRC(frame []byte) bool {
	n := len(frame) - VCRCLen
	return n >= 0 && binary.LittleEndian.Uint16(frame[n:]) == VCRC(frame[:n])
}
