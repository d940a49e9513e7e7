package encap

import "iter"

// OptionType is the type of an ND option (RFC 4861 section 4.6).
type OptionType uint8

// The link-layer address options.
const (
	OptSLLA OptionType = 1 // source link-layer address
	OptTLLA OptionType = 2 // target link-layer address
)

// Layout of a link-layer address option on this link (RFC 4391 section 9.3):
// type, length in units of 8 octets, two zero octets, the address.
const (
	// LinkAddrOptionLen is its size in octets.
	LinkAddrOptionLen = 24
	optAddr           = 4
	optUnit           = 8
)

// Option is a view of one ND option, type and length included.
type Option []byte

// Type returns the option type.
func (o Option) Type() OptionType { return OptionType(o[0]) }

// LinkAddr returns the address of a link-layer address option. It returns
// ErrOption when the length is not 3 units, or when what stands there is no
// interface's address, as when a sender put the two octets of padding behind
// the address in place of before it. The padding itself is not looked at.
func (o Option) LinkAddr() (HardwareAddr, error) {
	if len(o) != LinkAddrOptionLen {
		return HardwareAddr{}, ErrOption
	}
	a := HardwareAddr(o[optAddr:])
	// Shifted by two octets, the GID starts with the zeros of the subnet
	// prefix and ends with the padding.
	shifted := a[4] == 0 && a[18] == 0 && a[19] == 0
	if !a.IsUnicast() || shifted {
		return HardwareAddr{}, ErrOption
	}
	return a, nil
}

// nextOption splits the first option off. ok is false when its length is 0 or
// runs past the end (RFC 4861 section 4.6).
func nextOption(b []byte) (o Option, rest []byte, ok bool) {
	if len(b) < optUnit || b[1] == 0 || int(b[1])*optUnit > len(b) {
		return nil, nil, false
	}
	n := int(b[1]) * optUnit
	return Option(b[:n]), b[n:], true
}

// options returns the octets after the fixed part.
func (m ND) options() []byte { return m.icmp()[m.Type().fixedLen():] }

func (m ND) optionsValid() bool {
	for b := m.options(); len(b) > 0; {
		_, rest, ok := nextOption(b)
		if !ok {
			return false
		}
		b = rest
	}
	return true
}

// Options iterates over the options in order.
func (m ND) Options() iter.Seq[Option] {
	return func(yield func(Option) bool) {
		for b := m.options(); len(b) > 0; {
			o, rest, ok := nextOption(b)
			if !ok || !yield(o) {
				return
			}
			b = rest
		}
	}
}

// has reports whether there is an option of type t, of any length.
func (m ND) has(t OptionType) bool {
	for o := range m.Options() {
		if o.Type() == t {
			return true
		}
	}
	return false
}

// SLLA returns the source link-layer address of an RS, RA or NS. The error is
// ErrNoOption or ErrOption.
func (m ND) SLLA() (HardwareAddr, error) { return m.linkAddr(OptSLLA) }

// TLLA returns the target link-layer address of an NA or Redirect. The error
// is ErrNoOption or ErrOption.
func (m ND) TLLA() (HardwareAddr, error) { return m.linkAddr(OptTLLA) }

func (m ND) linkAddr(t OptionType) (HardwareAddr, error) {
	for o := range m.Options() {
		if o.Type() == t {
			return o.LinkAddr()
		}
	}
	return HardwareAddr{}, ErrNoOption
}

// LinkAddrOption returns the type of the link-layer address option that a
// message of type t carries: the target's for NA and Redirect, the source's
// for the others.
func (t NDType) LinkAddrOption() OptionType {
	if t == NeighborAdvertisement || t == Redirect {
		return OptTLLA
	}
	return OptSLLA
}

// putLinkAddrOption writes the option to the first LinkAddrOptionLen octets.
func putLinkAddrOption(b []byte, t OptionType, a HardwareAddr) {
	b[0], b[1], b[2], b[3] = byte(t), LinkAddrOptionLen/optUnit, 0, 0
	copy(b[optAddr:LinkAddrOptionLen], a[:])
}
