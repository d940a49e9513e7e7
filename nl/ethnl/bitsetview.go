package ethnl

import (
	"errors"

	"ipoib/nl"
)

// ErrMalformed is returned for a bitset of a reply that lacks what it needs.
var ErrMalformed = errors.New("malformed bitset")

// BitsetView is a bitset of a reply, as a client reads it. Replies come from a
// service that may know more bits than the client.
type BitsetView struct {
	// List marks a bitset without mask (ETHTOOL_A_BITSET_NOMASK).
	List bool
	// Compact marks one of bitmaps instead of a list of bits.
	Compact bool
	// Size is the number of bits; HasSize whether it was told.
	Size    int
	HasSize bool
	// Value and Mask are the bitmaps of a compact bitset; Mask is nil in a
	// list.
	Value, Mask Bitmap
	// Bits are those of a verbose bitset.
	Bits []BitView
}

// BitView is a bit of a verbose bitset.
type BitView struct {
	Index    int
	Name     string
	Value    bool
	HasIndex bool
	HasName  bool
}

// ViewBitset reads a bitset.
func ViewBitset(a nl.Attr) BitsetView {
	var v BitsetView
	var value, mask []byte
	hasBits := false
	for c := range a.Children() {
		switch c.Type {
		case BitsetNoMask:
			v.List = true
		case BitsetSize:
			v.Size, v.HasSize = int(min(c.Uint32(), maxBitset)), true
		case BitsetValue:
			value = c.Data
		case BitsetMask:
			mask = c.Data
		case BitsetBits:
			hasBits = true
			v.Bits = viewBits(c)
		}
	}
	if v.Compact = value != nil || mask != nil; !v.Compact {
		if !hasBits {
			v.Bits = nil
		} else if v.Bits == nil {
			v.Bits = []BitView{}
		}
		return v
	}
	v.Value = bitmapOf(value, 8*len(value))
	if mask != nil {
		v.Mask = bitmapOf(mask, 8*len(mask))
	}
	return v
}

func viewBits(a nl.Attr) []BitView {
	var out []BitView
	for c := range a.Children() {
		if c.Type != BitsetBitsBit {
			continue
		}
		var b BitView
		for x := range c.Children() {
			switch x.Type {
			case BitsetBitIndex:
				b.Index, b.HasIndex = int(min(x.Uint32(), maxBitset)), true
			case BitsetBitName:
				b.Name, b.HasName = x.String(), true
			case BitsetBitValue:
				b.Value = true
			}
		}
		out = append(out, b)
	}
	return out
}

// Bit reports whether bit i is set in the value, or with mask in the mask.
func (v BitsetView) Bit(mask bool, i int) (bool, error) {
	if mask && v.List {
		return false, ErrMalformed
	}
	if v.Compact {
		m := v.Value
		if mask {
			m = v.Mask
		}
		return m.Test(i), nil
	}
	if v.Bits == nil {
		return false, ErrMalformed
	}
	for _, b := range v.Bits {
		if !b.HasIndex {
			return false, ErrMalformed
		}
		if b.Index == i {
			return mask || v.List || b.Value, nil
		}
	}
	return false, nil
}

// Empty reports whether no bit is set in the value, or with mask in the mask.
func (v BitsetView) Empty(mask bool) (bool, error) {
	if v.Compact {
		m := v.Value
		if mask {
			m = v.Mask
		}
		for _, w := range m {
			if w != 0 {
				return false, nil
			}
		}
		return true, nil
	}
	if v.Bits == nil {
		return false, ErrMalformed
	}
	for _, b := range v.Bits {
		if mask || v.List || b.Value {
			return false, nil
		}
	}
	return true, nil
}

// Fits reports whether a compact bitset has bitmaps for all its bits.
func (v BitsetView) Fits() bool {
	words := (v.Size + 31) / 32
	return v.HasSize && len(v.Value) >= words && (v.Mask == nil || len(v.Mask) >= words)
}

// Walk calls fn for each bit that the set speaks of, in order. The names of a
// compact bitset are taken from names; named is false for a bit beyond them.
func (v BitsetView) Walk(names []string, fn func(i int, name string, named, on bool)) error {
	if !v.Compact {
		if v.Bits == nil {
			return ErrMalformed
		}
		for _, b := range v.Bits {
			if !b.HasIndex || !b.HasName {
				return ErrMalformed
			}
			fn(b.Index, b.Name, true, v.List || b.Value)
		}
		return nil
	}
	if !v.Fits() {
		return ErrMalformed
	}
	for i := range v.Size {
		if v.Mask != nil && !v.Mask.Test(i) {
			continue
		}
		if i < len(names) {
			fn(i, names[i], true, v.Value.Test(i))
		} else {
			fn(i, "", false, v.Value.Test(i))
		}
	}
	return nil
}
