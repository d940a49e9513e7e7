package cli

import (
	"encoding/binary"
	"math/bits"
	"strconv"
	"strings"

	"ipoib/nl"
	"ipoib/nl/ethnl"
)

// bitsetWords says how a bitset is written on the command line.
type bitsetWords struct {
	// hex: a number is hexadecimal without 0x as well.
	hex bool
	// list: names only, without on or off, and no mask.
	list bool
	// chars are the letters of the bits, reset the one that clears all.
	chars string
	reset byte
}

// parseFloat reads a number with a fraction.
func parseFloat(s string) (float64, bool) {
	v, err := strconv.ParseFloat(s, 32)
	return v, err == nil && s != ""
}

// numeric reports whether a word is a number with an optional mask, not a
// name.
func numeric(w string) bool {
	if has0x(w) {
		return true
	}
	slash := false
	for i := 0; i < len(w); i++ {
		if w[i] == '/' {
			if slash {
				return false
			}
			slash = true
			if has0x(w[i+1:]) {
				i += 2
			}
			continue
		}
		if digit(w[i]) >= 16 {
			return false
		}
	}
	return true
}

// bitsetParam takes a bitset: a number, a number and a mask, or names, each
// with on or off.
func bitsetParam(p *parser, par *param, e *nl.Encoder) bool {
	if len(p.args) > 0 && numeric(p.args[0]) {
		return p.numericBitset(par.attr, par.bits.list, par.bits.hex, e)
	}
	return p.namedBitset(par.attr, par.bits.list, e)
}

// charBitset takes a bitset: letters, or a number.
func charBitset(p *parser, par *param, e *nl.Encoder) bool {
	if par.bits.isChars(p.args[0]) || !numeric(p.args[0]) {
		return p.letters(par.attr, &par.bits, e)
	}
	return p.numericBitset(par.attr, par.bits.list, false, e)
}

// bitNumber reads a number into a bitmap, and returns how many bits it has.
// Without hex it is decimal if it can be.
func bitNumber(s string, hex bool) (m ethnl.Bitmap, nbits int, ok bool) {
	const maxDecimal = 10 // digits
	if s == "" {
		return nil, 0, false
	}
	if !hex && len(s) <= maxDecimal {
		if v, rest := cstrtoul(s, 10); rest == "" && v <= 1<<32-1 {
			return ethnl.Bitmap{uint32(v)}, bits.Len32(uint32(v)), true
		}
	}
	m = make(ethnl.Bitmap, (len(s)+7)/8)
	for at := len(m) - 1; s != ""; at-- {
		chunk := len(s) % 8
		if chunk == 0 {
			chunk = 8
		}
		v, rest := cstrtoul(s[:chunk], 16)
		if rest != "" {
			return nil, 0, false
		}
		m[at] = uint32(v)
		if nbits != 0 {
			nbits += 4 * chunk
		} else {
			nbits = bits.Len32(uint32(v))
		}
		s = s[chunk:]
	}
	return m, nbits, true
}

// numericBitset takes a number, and a mask behind a slash, as a compact
// bitset.
func (p *parser) numericBitset(attr uint16, list, hex bool, e *nl.Encoder) bool {
	w := p.next()
	hexMask := hex
	if has0x(w) {
		w, hex = w[2:], true
	}
	text, maskText, masked := strings.Cut(w, "/")
	if masked && list {
		return p.invalid(w)
	}
	var mask ethnl.Bitmap
	var n int
	if masked {
		if has0x(maskText) {
			maskText, hexMask = maskText[2:], true
		}
		var ok bool
		if mask, n, ok = bitNumber(maskText, hexMask); !ok {
			return p.invalid(w)
		}
	}
	value, nv, ok := bitNumber(text, hex)
	if !ok {
		return p.invalid(w)
	}
	n = max(n, nv)
	e.Nest(attr, func() {
		if !masked {
			e.Flag(ethnl.BitsetNoMask)
		}
		e.U32(ethnl.BitsetSize, uint32(n))
		e.Put(ethnl.BitsetValue, bitmapBytes(value, n))
		if masked {
			e.Put(ethnl.BitsetMask, bitmapBytes(mask, n))
		}
	})
	return true
}

// bitmapBytes are the words of a bitmap for n bits.
func bitmapBytes(m ethnl.Bitmap, n int) []byte {
	var b []byte
	for i := range (n + 31) / 32 {
		var w uint32
		if i < len(m) {
			w = m[i]
		}
		b = binary.NativeEndian.AppendUint32(b, w)
	}
	return b
}

// namedBitset takes names up to the end or "--", as a verbose bitset; the
// service knows what they mean.
func (p *parser) namedBitset(attr uint16, list bool, e *nl.Encoder) bool {
	ok := true
	e.Nest(attr, func() {
		if list {
			e.Flag(ethnl.BitsetNoMask)
		}
		e.Nest(ethnl.BitsetBits, func() {
			for ok && len(p.args) > 0 {
				w := p.args[0]
				if w == "--" {
					p.next()
					return
				}
				if list {
					p.next()
					putBit(e, w, false)
					continue
				}
				if len(p.args) < 2 || p.args[1] != "on" && p.args[1] != "off" {
					ok = p.errorf("flag '%s' for parameter '%s' is not followed by 'on' or 'off'\n", w, p.word)
					return
				}
				putBit(e, w, p.args[1] == "on")
				p.args = p.args[2:]
			}
		})
	})
	return ok
}

// isChars reports whether a word consists of letters of bits.
func (b *bitsetWords) isChars(w string) bool {
	signs := w != "" && (w[0] == '+' || w[0] == '-')
	for i := range len(w) {
		c := w[i]
		if c != b.reset && !(signs && (c == '+' || c == '-')) && strings.IndexByte(b.chars, c) < 0 {
			return false
		}
	}
	return true
}

// letters takes a word of letters, as a verbose bitset. With a sign in front
// it changes bits, without it sets all.
func (p *parser) letters(attr uint16, b *bitsetWords, e *nl.Encoder) bool {
	w := p.args[0]
	list := b.list || w == "" || w[0] != '+' && w[0] != '-'
	ok, on := true, true
	bad := func(c byte) {
		ok = p.errorf("invalid char '%c' in '%s' for parameter '%s'\n", c, w, p.word)
	}
	e.Nest(attr, func() {
		if list {
			e.Flag(ethnl.BitsetNoMask)
		}
		e.Nest(ethnl.BitsetBits, func() {
			start := e.Len()
			for i := 0; ok && i < len(w); i++ {
				c := w[i]
				if c == '+' || c == '-' {
					if list {
						ok = p.invalid(w)
					}
					on = c == '+'
					continue
				}
				if c == b.reset {
					if !list {
						bad(c)
					}
					e.Truncate(start)
					continue
				}
				bit := strings.IndexByte(b.chars, c)
				if bit < 0 {
					bad(c)
					continue
				}
				e.Nest(ethnl.BitsetBitsBit, func() {
					e.U32(ethnl.BitsetBitIndex, uint32(bit))
					if !list && on {
						e.Flag(ethnl.BitsetBitValue)
					}
				})
			}
		})
	})
	if ok {
		p.next()
	}
	return ok
}
