package ethnl

import (
	"encoding/binary"
	"syscall"

	"ipoib/nl"
)

// Bitmap is a bitmap in the 32-bit words of compact bitsets.
type Bitmap []uint32

// NewBitmap returns an empty bitmap for size bits.
func NewBitmap(size int) Bitmap { return make(Bitmap, (size+31)/32) }

// Bitmap64 returns a bitmap of 64 bits.
func Bitmap64(v uint64) Bitmap { return Bitmap{uint32(v), uint32(v >> 32)} }

// Uint64 returns the first 64 bits.
func (b Bitmap) Uint64() uint64 {
	var v uint64
	for i := range min(len(b), 2) {
		v |= uint64(b[i]) << (32 * i)
	}
	return v
}

// Test reports whether bit i is set; bits outside the bitmap are not.
func (b Bitmap) Test(i int) bool { return i>>5 < len(b) && b[i>>5]>>(i&31)&1 != 0 }

// Set sets bit i, which must be inside the bitmap.
func (b Bitmap) Set(i int) { b[i>>5] |= 1 << (i & 31) }

// Bitset is a set of bits with names, as a reply carries it.
type Bitset struct {
	// Size is the number of bits.
	Size  int
	Value Bitmap
	// Mask are the bits that the set speaks of; nil makes it a list of those
	// in Value (ETHTOOL_A_BITSET_NOMASK).
	Mask Bitmap
	// Names are the names by bit.
	Names []string
}

// Append appends the bitset as attribute t, in the compact or the verbose form
// (kernel ethnl_put_bitset32).
func (b Bitset) Append(e *nl.Encoder, t uint16, compact bool) {
	e.Nest(t, func() {
		if b.Mask == nil {
			e.Flag(BitsetNoMask)
		}
		e.U32(BitsetSize, uint32(b.Size))
		if compact {
			e.Put(BitsetValue, b.words(b.Value))
			if b.Mask != nil {
				e.Put(BitsetMask, b.words(b.Mask))
			}
			return
		}
		e.Nest(BitsetBits, func() { b.appendBits(e) })
	})
}

func (b Bitset) appendBits(e *nl.Encoder) {
	listed := b.Mask
	if listed == nil {
		listed = b.Value
	}
	for i := range b.Size {
		if !listed.Test(i) {
			continue
		}
		e.Nest(BitsetBitsBit, func() {
			e.U32(BitsetBitIndex, uint32(i))
			if i < len(b.Names) {
				e.String(BitsetBitName, b.Names[i])
			}
			if b.Mask != nil && b.Value.Test(i) {
				e.Flag(BitsetBitValue)
			}
		})
	}
}

// words returns a bitmap as the payload of a compact bitset, cut to its size.
func (b Bitset) words(m Bitmap) []byte {
	out := make([]byte, 0, (b.Size+31)/32*4)
	for i := range (b.Size + 31) / 32 {
		var w uint32
		if i < len(m) {
			w = m[i]
		}
		if last := b.Size - 32*i; last < 32 {
			w &= 1<<last - 1
		}
		out = binary.NativeEndian.AppendUint32(out, w)
	}
	return out
}

// maxBitset is ETHNL_MAX_BITSET_SIZE, in bits.
const maxBitset = 1<<15 - 1

var (
	bitsetPolicy = &nl.Policy{Attrs: []nl.AttrPolicy{
		BitsetNoMask: nl.Flag(),
		BitsetSize:   nl.U32().Max(maxBitset),
		BitsetBits:   nl.Nest(nil),
		BitsetValue:  nl.Binary(0),
		BitsetMask:   nl.Binary(0),
	}}
	bitPolicy = &nl.Policy{Attrs: []nl.AttrPolicy{
		BitsetBitIndex: nl.U32(),
		BitsetBitName:  nl.NulString(0),
		BitsetBitValue: nl.Flag(),
	}}
)

// ParseBitset reads the bitset of a request for size bits with these names
// (kernel ethnl_parse_bitset): the bits in mask are to be as in value. Its
// errors have the kernel's errno, text and offset.
func ParseBitset(a nl.Attr, size int, names []string) (value, mask Bitmap, err error) {
	attrs, err := nl.ParseNest(a, bitsetPolicy, nl.Strict)
	if err != nil {
		return nil, nil, err
	}
	bits, verbose := attrs.Get(BitsetBits)
	if !verbose {
		return parseCompact(a, attrs, size)
	}
	if v, ok := attrs.Get(BitsetValue); ok {
		return nil, nil, nl.BadAttr(syscall.EINVAL, v, "value only allowed in compact bitset")
	}
	if v, ok := attrs.Get(BitsetMask); ok {
		return nil, nil, nl.BadAttr(syscall.EINVAL, v, "mask only allowed in compact bitset")
	}
	list := attrs.Has(BitsetNoMask)
	value, mask = NewBitmap(size), NewBitmap(size)
	if list {
		fill(mask, size)
	}
	for bit := range bits.Children() {
		if bit.Type != BitsetBitsBit {
			return nil, nil, nl.BadAttr(syscall.EINVAL, bit,
				"only ETHTOOL_A_BITSET_BITS_BIT allowed in ETHTOOL_A_BITSET_BITS")
		}
		i, on, err := parseBit(bit, size, names)
		if err != nil {
			return nil, nil, err
		}
		if on || list {
			value.Set(i)
		}
		mask.Set(i)
	}
	return value, mask, nil
}

// parseBit reads one bit of a verbose bitset (kernel ethnl_parse_bit).
func parseBit(bit nl.Attr, size int, names []string) (i int, on bool, err error) {
	attrs, err := nl.ParseNest(bit, bitPolicy, nl.Strict)
	if err != nil {
		return 0, false, err
	}
	on = attrs.Has(BitsetBitValue)
	name, named := attrs.Get(BitsetBitName)
	if idx, ok := attrs.Get(BitsetBitIndex); ok {
		if idx.Uint32() >= uint32(size) {
			return 0, false, nl.BadAttr(syscall.EOPNOTSUPP, idx, "bit index too high")
		}
		i = int(idx.Uint32())
		if named && i < len(names) && names[i] != name.String() {
			return 0, false, nl.BadAttr(syscall.EINVAL, bit, "bit index and name mismatch")
		}
		return i, on, nil
	}
	if !named {
		return 0, false, nl.BadAttr(syscall.EINVAL, bit, "neither bit index nor name specified")
	}
	for i, n := range names {
		if i < size && n == name.String() {
			return i, on, nil
		}
	}
	return 0, false, nl.BadAttr(syscall.EOPNOTSUPP, name, "bit name not found")
}

// parseCompact reads a compact bitset (kernel ethnl_compact_sanity_checks).
func parseCompact(a nl.Attr, attrs nl.Attrs, size int) (value, mask Bitmap, err error) {
	bad := func(a nl.Attr, text string) (Bitmap, Bitmap, error) {
		return nil, nil, nl.BadAttr(syscall.EINVAL, a, text)
	}
	list := attrs.Has(BitsetNoMask)
	n, hasSize := attrs.Get(BitsetSize)
	val, hasVal := attrs.Get(BitsetValue)
	msk, hasMask := attrs.Get(BitsetMask)
	switch {
	case list && hasMask:
		return bad(msk, "mask not allowed in list bitset")
	case !hasSize:
		return bad(a, "missing size in compact bitset")
	case !hasVal:
		return bad(a, "missing value in compact bitset")
	case !list && !hasMask:
		return bad(a, "missing mask in compact nonlist bitset")
	}
	got := int(n.Uint32())
	bytes := (got + 31) / 32 * 4
	switch {
	case len(val.Data) != bytes:
		return bad(val, "bitset value length does not match size")
	case hasMask && len(msk.Data) != bytes:
		return bad(msk, "bitset mask length does not match size")
	}
	value, mask = bitmapOf(val.Data, got), NewBitmap(size)
	last, attr := value, val
	if hasMask {
		last, attr = bitmapOf(msk.Data, got), msk
	}
	for i := size; i < got; i++ {
		if last.Test(i) {
			return bad(attr, "cannot modify bits past kernel bitset size")
		}
	}
	if list {
		fill(mask, size)
	} else {
		copy(mask, last)
	}
	out := NewBitmap(size)
	copy(out, value)
	return out, mask, nil
}

// bitmapOf reads size bits of a compact bitset's payload.
func bitmapOf(b []byte, size int) Bitmap {
	m := NewBitmap(size)
	for i := range m {
		if len(b) < 4*i+4 {
			break
		}
		m[i] = binary.NativeEndian.Uint32(b[4*i:])
		if last := size - 32*i; last < 32 {
			m[i] &= 1<<last - 1
		}
	}
	return m
}

// fill sets the first size bits.
func fill(m Bitmap, size int) {
	for i := range size {
		m.Set(i)
	}
}
