package inet

import (
	"encoding/hex"
	"math/rand/v2"
	"testing"
)

// naive is RFC 1071's definition, word by word.
func naive(b []byte) uint16 {
	var s uint32
	for i := 0; i < len(b); i += 2 {
		w := uint32(b[i]) << 8
		if i+1 < len(b) {
			w |= uint32(b[i+1])
		}
		s += w
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}

func TestChecksumMatchesDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 300 {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		if got, want := Checksum(b, 0), naive(b); got != want {
			t.Fatalf("%d bytes: %#04x, want %#04x", n, got, want)
		}
	}
	ones := make([]byte, 65535)
	for i := range ones {
		ones[i] = 0xff
	}
	if got, want := Checksum(ones, 0), naive(ones); got != want {
		t.Errorf("all ones: %#04x, want %#04x", got, want)
	}
}

// The IPv4 header and the ICMP message of a ping whose checksums tshark calls
// good: the header sums to 0 with its checksum in place.
func TestChecksumOfRealPacket(t *testing.T) {
	p, _ := hex.DecodeString("45000021000100004001f6d7c0000201c00002020800a1f81234000168656c6c6f")
	if got := Checksum(p[:20], 0); got != 0 {
		t.Errorf("IPv4 header sums to %#04x", got)
	}
	if got := Checksum(p[20:], 0); got != 0 {
		t.Errorf("ICMP message sums to %#04x", got)
	}
}

func TestPseudoHeader(t *testing.T) {
	// ICMPv6 Neighbor Solicitation, fe80::200:5eef:1000:a to ff02::1:ff00:b.
	p, _ := hex.DecodeString("6000000000303afffe8000000000000002005eef1000000a" +
		"ff0200000000000000000001ff00000b87002cca00000000fe8000000000000002005eef1000000b" +
		"0103000000000048fe8000000000000000005eef1000000a")
	if got := Checksum(p[40:], Pseudo(p[8:24], p[24:40], 58, len(p)-40)); got != 0 {
		t.Errorf("ICMPv6 message sums to %#04x", got)
	}
}

func BenchmarkSum64K(b *testing.B) {
	buf := make([]byte, 65536)
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		Sum(buf, 0)
	}
}
