package header

import (
	"bytes"
	"encoding/hex"
	"hash/crc32"
	"slices"
	"testing"
)

// slowICRC follows IBA 7.8.1 word by word: a masked copy, then CRC-32.
func slowICRC(p []byte) uint32 {
	q := slices.Clone(p)
	if LRH(q).LNH() == LNHIBAGlobal {
		for i := range 8 {
			q[i] = 0xff
		}
		q[8] |= 0x0f
		q[9], q[10], q[11], q[15], q[52] = 0xff, 0xff, 0xff, 0xff, 0xff
	} else {
		q[0] |= 0xf0
		q[12] = 0xff
	}
	return crc32.ChecksumIEEE(q)
}

// slowVCRC is a bitwise, not reflected LFSR with the generator as the IBA
// prints it, 0x100b.
func slowVCRC(p []byte) uint16 {
	reg := uint16(0xffff)
	for _, b := range p {
		for i := range 8 {
			in := uint16(b>>i) & 1
			top := reg >> 15
			reg <<= 1
			if top^in != 0 {
				reg ^= 0x100b
			}
		}
	}
	reg = ^reg
	var out uint16 // highest coefficient first, into the low bit of byte 0
	for i := range 16 {
		out |= (reg >> (15 - i) & 1) << i
	}
	return out
}

func TestCRCReference(t *testing.T) {
	for _, tc := range []struct{ name, packet, icrc, vcrc string }{
		{"sample of the IBA", "7012375c000e17d2 0a2024870087b1b3000dec2a 01710a1c015d400238f27a05 0000000ebb884d85fd5cfba4728bc0690ed40000", "9625b75a", "45fa"},
		{"with GRH", "7013375c001817d2 6000000000320010 00000000000001250000000000000026 00000000000001170000000000000096 0a2024870087b1b3000dec2a 01710a1c015d400238f27a05 0000000ebb884d85fd5cfba4728bc0690ed40000", "1493ec46", "7c44"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := append(unhex(t, tc.packet), 0, 0, 0, 0, 0, 0)
			fix(t, p)
			n := len(p)
			if got := hex.EncodeToString(p[n-6 : n-2]); got != tc.icrc {
				t.Errorf("ICRC %s, want %s", got, tc.icrc)
			}
			if got := hex.EncodeToString(p[n-2:]); got != tc.vcrc {
				t.Errorf("VCRC %s, want %s", got, tc.vcrc)
			}
		})
	}
}

func TestCRCMasks(t *testing.T) {
	frames := loadFrames(t)
	for _, tc := range []struct {
		name, frame string
		change      func(p []byte)
		icrc, vcrc  string
	}{
		{"V3", "V3", func([]byte) {}, "2f63d9a7", "b20c"},
		{"V3 VL 5", "V3", func(p []byte) { LRH(p).SetVL(5) }, "2f63d9a7", "6cab"},
		{"V3 BECN", "V3", func(p []byte) { BTH(p[8:]).SetBECN(true) }, "2f63d9a7", "9d46"},
		{"V3 SL 5", "V3", func(p []byte) { LRH(p).SetSL(5) }, "15a2e497", "b624"},
		{"V3 DLID 7", "V3", func(p []byte) { LRH(p).SetDLID(7) }, "7422e3c9", "4150"},
		{"V4", "V4", func([]byte) {}, "fce9be32", "129b"},
		{"V4 HopLmt 63", "V4", func(p []byte) { GRH(p[8:]).SetHopLmt(63) }, "fce9be32", "b509"},
		{"V4 TClass 0 FlowLabel 0", "V4", func(p []byte) { GRH(p[8:]).SetVersionClassFlow(6, 0, 0) }, "fce9be32", "b115"},
		{"V4 SL 5", "V4", func(p []byte) { LRH(p).SetSL(5) }, "fce9be32", "cc9e"},
		{"V4 DLID 7", "V4", func(p []byte) { LRH(p).SetDLID(7) }, "fce9be32", "83bc"},
		{"V4 BECN", "V4", func(p []byte) { BTH(p[48:]).SetBECN(true) }, "fce9be32", "3dd1"},
		{"V4 PayLen 65", "V4", func(p []byte) { GRH(p[8:]).SetPayLen(65) }, "50e8dc54", "76c3"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := slices.Clone(frames[tc.frame])
			tc.change(p)
			fix(t, p)
			n := len(p)
			if got := hex.EncodeToString(p[n-6 : n-2]); got != tc.icrc {
				t.Errorf("ICRC %s, want %s", got, tc.icrc)
			}
			if got := hex.EncodeToString(p[n-2:]); got != tc.vcrc {
				t.Errorf("VCRC %s, want %s", got, tc.vcrc)
			}
		})
	}
}

// TestCRCAgainstSlow compares with bit by bit implementations at all lengths.
func TestCRCAgainstSlow(t *testing.T) {
	p := make([]byte, 300)
	for i := range p {
		p[i] = byte(i*7 + i>>3)
	}
	for _, lnh := range []LNH{LNHIBALocal, LNHIBAGlobal} {
		LRH(p).SetLNH(lnh)
		for n := minICRCLen(lnh); n <= len(p); n++ {
			if got, want := ICRC(p[:n]), slowICRC(p[:n]); got != want {
				t.Fatalf("ICRC LNH %d length %d: %08x, want %08x", lnh, n, got, want)
			}
		}
	}
	for n := range len(p) + 1 {
		if got, want := VCRC(p[:n]), slowVCRC(p[:n]); got != want {
			t.Fatalf("VCRC length %d: %04x, want %04x", n, got, want)
		}
	}
}

// TestCRCResidue checks the constants that the registers hold behind a good
// CRC, before the complement.
func TestCRCResidue(t *testing.T) {
	for name, f := range loadFrames(t) {
		if got := ^VCRC(f); got != 0x556f {
			t.Errorf("%s: VCRC residue %04x", name, got)
		}
		if got := ^slowICRC(f[:len(f)-VCRCLen]); got != 0xdebb20e3 {
			t.Errorf("%s: ICRC residue %08x", name, got)
		}
	}
}

func TestCRCShort(t *testing.T) {
	g := make([]byte, LRHLen+GRHLen+BTHLen+ICRCLen-1)
	LRH(g).SetLNH(LNHIBAGlobal)
	want := slices.Clone(g)
	if SetICRC(g) || CheckICRC(g) || SetICRC(nil) || CheckICRC(g[:10]) {
		t.Error("a packet shorter than its headers has no ICRC")
	}
	if !bytes.Equal(g, want) {
		t.Error("SetICRC wrote to a packet that is too short")
	}
	if CheckVCRC(nil) || CheckVCRC([]byte{0}) {
		t.Error("CheckVCRC accepts less than two bytes")
	}
}

func TestCRCAllocs(t *testing.T) {
	f := loadFrames(t)["V4"]
	n := testing.AllocsPerRun(100, func() {
		SetICRC(f[:len(f)-VCRCLen])
		SetVCRC(f)
		if !CheckICRC(f[:len(f)-VCRCLen]) || !CheckVCRC(f) {
			t.Error("bad CRC")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkICRC(b *testing.B) {
	p := make([]byte, 2076)
	LRH(p).SetLNH(LNHIBALocal)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		ICRC(p)
	}
}

func BenchmarkVCRC(b *testing.B) {
	p := make([]byte, 2080)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		VCRC(p)
	}
}
