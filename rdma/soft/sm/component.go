package sm

import (
	"encoding/binary"

	"ipoib/rdma/mad"
)

// component is where a component of an SA record is: the bit in the component
// mask, and offset and length in bits in the record.
type component struct {
	bit    uint8
	off, n uint16
}

// recordMatches compares the components of a record that a mask selects with
// those of a request. Components that have no entry in the layout are
// ignored, as the reserved ones must be.
func recordMatches(mask mad.ComponentMask, layout []component, want, have []byte) bool {
	for _, c := range layout {
		if mask&(1<<c.bit) != 0 && !sameBits(want, have, int(c.off), int(c.n)) {
			return false
		}
	}
	return true
}

// sameBits compares n bits at an offset of two records.
func sameBits(a, b []byte, off, n int) bool {
	for n > 0 {
		i, shift := off/8, off%8
		take := min(n, 8-shift)
		mask := byte(0xff>>shift) &^ byte(0xff>>(shift+take))
		if (a[i]^b[i])&mask != 0 {
			return false
		}
		off, n = off+take, n-take
	}
	return true
}

// sequence lays components out one after the other, beginning with a bit of
// the mask and an offset in bits. A negative length is a gap: bits in the
// record and, as reserved components have, one bit in the mask.
func sequence(bit uint8, off uint16, lengths ...int) []component {
	var out []component
	for _, n := range lengths {
		if n < 0 {
			off += uint16(-n)
		} else {
			out = append(out, component{bit, off, uint16(n)})
			off += uint16(n)
		}
		bit++
	}
	return out
}

// The layouts, in the order of the components (IBA 15.2.5).
var (
	nodeRecordLayout = sequence(0, 0, 16, -16, 8, 8, 8, 8, 64, 64, 64, 16, 16, 32, 8, 24, 512)

	smInfoRecordLayout = sequence(0, 0, 16, -16, 64, 64, 32, 4, 4)

	switchInfoRecordLayout = sequence(0, 0, 16)

	linkRecordLayout = sequence(0, 0, 16, 8, 8, 16)

	pkeyTableRecordLayout = sequence(0, 0, 16, 16, 8)

	lftRecordLayout = sequence(0, 0, 16, 16)

	// Position has four bits, three reserved ones follow.
	mftRecordLayout = sequence(0, 0, 16, 4, -3, 9)

	guidInfoRecordLayout = append(sequence(0, 0, 16, 8),
		sequence(4, 64, 64, 64, 64, 64, 64, 64, 64, 64)...)

	informInfoRecordLayout = sequence(0, 0,
		128, 16, -48, // SubscriberGID, SubscriberEnum
		128, 16, 16, -16, 8, 8, 16, 16, 24, -3, 5, -8, 24)

	serviceRecordLayout = append(
		sequence(0, 0, 64, 128, 16, -16, -32, 128, 512), serviceDataLayout()...)
)

// serviceDataLayout are the single elements of the data fields.
func serviceDataLayout() []component {
	var lengths []int
	for _, f := range [...]struct{ count, bits int }{{16, 8}, {8, 16}, {4, 32}, {2, 64}} {
		for range f.count {
			lengths = append(lengths, f.bits)
		}
	}
	return sequence(7, 112*8, lengths...)
}

// portInfoRecordLayout follows PortInfo, which begins at byte 4. The
// CapabilityMask, bit 7, is compared apart.
var portInfoRecordLayout = append(sequence(0, 0, 16, 8), sequence(3, 4*8,
	64, 64, 16, 16, -32, 16, 16, 8, 8, 8, 8, 4, 4, 4, 4, 2, -3, 3, 4, 4, 4, 4, 4, 4, 8, 8, 8, 4, 4,
	3, 5, 4, 1, 1, 1, 1, 16, 16, 16, 8, 1, -2, 5, -3, 5, 4, 4, 16, -8, 24, 16, 4, 4, -3, 5)...)

// capMaskMatches compares the CapabilityMask of a PortInfoRecord: with bit 31
// of the attribute modifier, the bits asked for must be among those that are
// set.
func capMaskMatches(m *mad.MAD, want, have []byte) bool {
	if m.ComponentMask()&mad.PIRCapMask == 0 {
		return true
	}
	w, h := binary.BigEndian.Uint32(want[24:]), binary.BigEndian.Uint32(have[24:])
	if m.AttrMod()&(1<<31) != 0 {
		return w&h == w
	}
	return w == h
}
