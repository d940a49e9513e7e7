// Package inet computes the Internet checksum (RFC 1071), for the checksum
// and large-send engines of the software HCA and for the packets that the
// datapath makes itself.
package inet

import (
	"encoding/binary"
	"math/bits"
)

// Sum adds the 16-bit big-endian words of b to a running one's-complement
// sum; an odd last byte counts as the high half of a word. Use it with Fold.
func Sum(b []byte, sum uint64) uint64 {
	// Eight bytes at a time: the carry of a 64-bit add is worth 1 in one's
	// complement as well.
	for len(b) >= 32 {
		var c uint64
		sum, c = bits.Add64(sum, binary.BigEndian.Uint64(b), 0)
		sum, c = bits.Add64(sum, binary.BigEndian.Uint64(b[8:]), c)
		sum, c = bits.Add64(sum, binary.BigEndian.Uint64(b[16:]), c)
		sum, c = bits.Add64(sum, binary.BigEndian.Uint64(b[24:]), c)
		sum, c = bits.Add64(sum, 0, c)
		sum += c
		b = b[32:]
	}
	for len(b) >= 8 {
		var c uint64
		sum, c = bits.Add64(sum, binary.BigEndian.Uint64(b), 0)
		sum += c
		b = b[8:]
	}
	var tail [8]byte
	copy(tail[:], b)
	sum, c := bits.Add64(sum, binary.BigEndian.Uint64(tail[:]), 0)
	return sum + c
}

// Fold reduces a running sum to 16 bits, without complement.
func Fold(sum uint64) uint16 {
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	return uint16(sum)
}

// Checksum returns the Internet checksum of b on top of a running sum.
func Checksum(b []byte, sum uint64) uint16 { return ^Fold(Sum(b, sum)) }

// Pseudo returns the running sum of the pseudo header of TCP, UDP or ICMPv6:
// addresses, protocol and length (RFC 793 section 3.1, RFC 8200 section 8.1).
// src and dst are 4 or 16 bytes long.
func Pseudo(src, dst []byte, proto uint8, length int) uint64 {
	return Sum(dst, Sum(src, uint64(proto)+uint64(length)))
}
