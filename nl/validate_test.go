package nl_test

import (
	"errors"
	"slices"
	"syscall"
	"testing"

	"ipoib/nl"
)

// testPolicy has every type of attribute.
var testPolicy = func() *nl.Policy {
	inner := &nl.Policy{Attrs: []nl.AttrPolicy{1: nl.U32(), 2: nl.NulString(4), 3: nl.Reject("")}}
	p := &nl.Policy{Attrs: []nl.AttrPolicy{
		1: nl.U8(), 2: nl.U16(), 3: nl.U32(), 4: nl.U64(),
		5: nl.S32().RangeSigned(-5, 5), 6: nl.Flag(), 7: nl.String(4), 8: nl.NulString(4),
		9: nl.Binary(4), 10: nl.MinLen(6), 11: nl.ExactLen(6), 12: nl.Nest(inner),
		13: nl.NestArray(inner), 14: nl.Bitfield32(3), 15: nl.Reject("go away"), 16: nl.Reject(""),
		17: nl.U32().Range(10, 20), 18: nl.U8().Mask(0x0f), 19: nl.U16().Min(5), 20: nl.U64().Max(9),
		21: nl.Unspec(2), 22: {}, 23: nl.S8(), 24: nl.S16().RangeSigned(-1, 1), 25: nl.S64(),
		26: nl.String(0), 27: nl.NulString(0), 28: nl.Nest(nil),
		29: nl.U32().Func(func(a nl.Attr) error {
			if a.Uint32()%2 != 0 {
				return nl.BadAttr(syscall.EDOM, a, "odd")
			}
			return nil
		}),
	}}
	return p
}()

func TestPolicy(t *testing.T) {
	const failed = "Attribute failed policy validation"
	const f = 0x8000 // NLA_F_NESTED
	bits := func(v, sel byte) []byte { return []byte{v, 0, 0, 0, sel, 0, 0, 0} }
	for _, c := range []struct {
		name    string
		typ     uint16
		payload []byte
		// The expected error for each mode, as "errno text"; empty: accepted.
		strict, liberal string
	}{
		{"u8", 1, []byte{1}, "", ""},
		{"u8 empty", 1, nil, "EINVAL invalid attribute length", "ERANGE " + failed},
		{"u8 long", 1, []byte{1, 2}, "EINVAL invalid attribute length", ""},
		{"u16 short", 2, []byte{1}, "EINVAL invalid attribute length", "ERANGE " + failed},
		{"u32 ok", 3, []byte{1, 2, 3, 4}, "", ""},
		{"u64 short", 4, []byte{1, 2, 3, 4}, "EINVAL invalid attribute length", "ERANGE " + failed},
		{"s32 low", 5, []byte{0xfa, 0xff, 0xff, 0xff}, "ERANGE integer out of range", "ERANGE integer out of range"},
		{"s32 edge", 5, []byte{0xfb, 0xff, 0xff, 0xff}, "", ""},
		{"flag", 6, nil, "", ""},
		{"flag with payload", 6, []byte{1}, "ERANGE " + failed, "ERANGE " + failed},
		{"string", 7, []byte("abcd"), "", ""},
		{"string with NUL", 7, []byte("abcd\x00"), "", ""},
		{"string long", 7, []byte("abcde"), "ERANGE " + failed, "ERANGE " + failed},
		{"string empty", 7, nil, "ERANGE " + failed, "ERANGE " + failed},
		{"nul string", 8, []byte("abcd\x00"), "", ""},
		{"nul string without", 8, []byte("abc"), "EINVAL " + failed, "EINVAL " + failed},
		{"nul string NUL too late", 8, []byte("abcde\x00"), "EINVAL " + failed, "EINVAL " + failed},
		{"nul string padded", 8, []byte("abc\x00\x00"), "", ""},
		{"nul string padded too far", 8, []byte("abc\x00\x00\x00"), "ERANGE " + failed, "ERANGE " + failed},
		{"nul string empty", 8, nil, "EINVAL " + failed, "EINVAL " + failed},
		{"binary", 9, []byte("abcd"), "", ""},
		{"binary long", 9, []byte("abcde"), "ERANGE " + failed, "ERANGE " + failed},
		{"min length", 10, []byte("abcdef"), "", ""},
		{"min length short", 10, []byte("abcde"), "ERANGE binary attribute size out of range", "ERANGE binary attribute size out of range"},
		{"exact length", 11, []byte("abcdef"), "", ""},
		{"exact length long", 11, []byte("abcdefg"), "ERANGE binary attribute size out of range", "ERANGE binary attribute size out of range"},
		{"nest empty", 12 | f, nil, "", ""},
		{"nest short", 12 | f, []byte{1, 2}, "ERANGE " + failed, "ERANGE " + failed},
		{"nest without flag", 12, []byte{8, 0, 1, 0, 1, 2, 3, 4}, "EINVAL NLA_F_NESTED is missing", ""},
		{"nest unknown inside", 12 | f, []byte{8, 0, 9, 0, 1, 2, 3, 4}, "EINVAL Unknown attribute type", ""},
		{"nest rejected inside", 12 | f, []byte{4, 0, 3, 0}, "EINVAL " + failed, "EINVAL " + failed},
		{"nest leftover", 12 | f, []byte{8, 0, 1, 0, 1, 2, 3, 4, 0, 0, 0, 0}, "EINVAL bytes leftover after parsing attributes", ""},
		{"array", 13 | f, []byte{12, 0, 7, 0, 8, 0, 1, 0, 1, 2, 3, 4}, "", ""},
		{"array with empty element", 13 | f, []byte{4, 0, 7, 0}, "", ""},
		{"array with short element", 13 | f, []byte{6, 0, 7, 0, 1, 2, 0, 0}, "ERANGE Array element too short", "ERANGE Array element too short"},
		{"array bad inside", 13 | f, []byte{10, 0, 7, 0, 6, 0, 1, 0, 1, 2, 0, 0}, "EINVAL invalid attribute length", "ERANGE " + failed},
		{"bitfield", 14, bits(1, 3), "", ""},
		{"bitfield value outside selector", 14, bits(2, 1), "EINVAL " + failed, "EINVAL " + failed},
		{"bitfield selector outside mask", 14, bits(0, 4), "EINVAL " + failed, "EINVAL " + failed},
		{"bitfield short", 14, []byte{1, 0, 0, 0}, "ERANGE " + failed, "ERANGE " + failed},
		{"rejected", 15, nil, "EINVAL go away", "EINVAL go away"},
		{"rejected silently", 16, nil, "EINVAL " + failed, "EINVAL " + failed},
		{"range low", 17, []byte{9, 0, 0, 0}, "ERANGE integer out of range", "ERANGE integer out of range"},
		{"range high edge", 17, []byte{20, 0, 0, 0}, "", ""},
		{"range long payload", 17, []byte{20, 0, 0, 0, 1}, "EINVAL invalid attribute length", ""},
		{"mask", 18, []byte{0x10}, "EINVAL reserved bit set", "EINVAL reserved bit set"},
		{"min", 19, []byte{4, 0}, "ERANGE integer out of range", "ERANGE integer out of range"},
		{"max", 20, []byte{10, 0, 0, 0, 0, 0, 0, 0}, "ERANGE integer out of range", "ERANGE integer out of range"},
		{"unspec", 21, []byte{1, 2}, "EINVAL Unsupported attribute", ""},
		{"unspec short", 21, []byte{1}, "EINVAL Unsupported attribute", "ERANGE " + failed},
		{"no policy", 22, nil, "EINVAL Unsupported attribute", ""},
		{"s8", 23, []byte{0x80}, "", ""},
		{"s16 high", 24, []byte{2, 0}, "ERANGE integer out of range", "ERANGE integer out of range"},
		{"s64", 25, []byte{0, 0, 0, 0, 0, 0, 0, 0x80}, "", ""},
		{"string of any length", 26, make([]byte, 999), "", ""},
		{"nul string of any length", 27, make([]byte, 999), "", ""},
		{"nest of anything", 28 | f, []byte{1, 2, 3, 4}, "", ""},
		{"function accepts", 29, []byte{2, 0, 0, 0}, "", ""},
		{"function refuses", 29, []byte{3, 0, 0, 0}, "EDOM odd", "EDOM odd"},
		{"flag on integer", 3 | f, []byte{1, 2, 3, 4}, "EINVAL NLA_F_NESTED not expected", ""},
		{"byte order flag", 3 | 0x4000, []byte{1, 2, 3, 4}, "", ""},
		{"type 0", 0, []byte{1}, "EINVAL Unknown attribute type", ""},
		{"type too high", 30, []byte{1}, "EINVAL Unknown attribute type", ""},
		{"type far too high", 0x3fff, []byte{1}, "EINVAL Unknown attribute type", ""},
	} {
		var e nl.Encoder
		e.Put(c.typ, c.payload)
		for mode, want := range map[nl.Validation]string{nl.Strict: c.strict, nl.Liberal: c.liberal} {
			s, err := nl.Parse(e.Bytes(), 100, testPolicy, mode)
			if got := describe(err); got != want {
				t.Errorf("%s, mode %#x: %q, want %q", c.name, mode, got, want)
			}
			known := int(c.typ&0x3fff) <= testPolicy.MaxType() && c.typ&0x3fff != 0
			if a, ok := s.Get(c.typ & 0x3fff); want == "" && ok != known {
				t.Errorf("%s, mode %#x: present %v", c.name, mode, ok)
			} else if ok && (a.Offset != 100 || !slices.Equal(a.Data, c.payload)) {
				t.Errorf("%s: offset %d data %x", c.name, a.Offset, a.Data)
			}
		}
	}
}

// describe names an *nl.Error as the tables do.
func describe(err error) string {
	if err == nil {
		return ""
	}
	names := map[syscall.Errno]string{
		syscall.EINVAL: "EINVAL", syscall.ERANGE: "ERANGE", syscall.EDOM: "EDOM",
	}
	var e *nl.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	return names[e.Errno()] + " " + e.Msg
}

// TestPolicyOffsets: the attribute to blame is found at any depth.
func TestPolicyOffsets(t *testing.T) {
	var e nl.Encoder
	e.U32(3, 7)
	e.Nest(12, func() {
		e.U32(1, 1)
		e.String(2, "toolong")
	})
	_, err := nl.Parse(e.Bytes(), 20, testPolicy, nl.Strict)
	var ne *nl.Error
	if !errors.As(err, &ne) || ne.Offset != 20+8+4+8 || ne.Policy == nil {
		t.Fatalf("%v", err)
	}
}

// TestPolicyStrictStart: types from strict_start_type on are validated
// strictly also in liberal mode.
func TestPolicyStrictStart(t *testing.T) {
	p := &nl.Policy{Attrs: []nl.AttrPolicy{1: nl.U16(), 2: nl.U16()}, StrictStart: 2}
	for typ, want := range map[uint16]string{1: "", 2: "EINVAL invalid attribute length"} {
		var e nl.Encoder
		e.U32(typ, 1)
		_, err := nl.Parse(e.Bytes(), 16, p, nl.Liberal)
		if got := describe(err); got != want {
			t.Errorf("type %d: %q, want %q", typ, got, want)
		}
	}
}

// TestPolicyRecursion: a policy that contains itself ends at depth 10.
func TestPolicyRecursion(t *testing.T) {
	p := &nl.Policy{Attrs: make([]nl.AttrPolicy, 2)}
	p.Attrs[1] = nl.Nest(p)
	for depth, want := range map[int]string{9: "", 10: "EINVAL allowed policy recursion depth exceeded"} {
		var e nl.Encoder
		var nest func(n int)
		nest = func(n int) {
			if n == 0 {
				e.Flag(1 | 0x8000)
				return
			}
			e.Nest(1, func() { nest(n - 1) })
		}
		nest(depth)
		_, err := nl.Parse(e.Bytes(), 16, p, nl.Strict)
		if got := describe(err); got != want {
			t.Errorf("depth %d: %q, want %q", depth, got, want)
		}
	}
}

func TestAttrs(t *testing.T) {
	var e nl.Encoder
	e.U32(3, 1)
	e.U8(1, 9)
	e.U32(3, 2)
	e.String(7, "abc")
	s, err := nl.Parse(append(e.Bytes(), 1), 16, testPolicy, nl.Liberal)
	if err != nil {
		t.Fatal(err)
	}
	if a, _ := s.Get(3); a.Uint32() != 2 || a.Offset != 16+16 {
		t.Errorf("of a repeated attribute the last counts: %+v", a)
	}
	if s.Len() != 3 || s.Leftover() != 1 || s.Has(2) || s.Has(999) {
		t.Errorf("len %d leftover %d", s.Len(), s.Leftover())
	}
	var types []uint16
	for a := range s.All() {
		types = append(types, a.Type)
	}
	if !slices.Equal(types, []uint16{1, 3, 7}) {
		t.Errorf("types %v", types)
	}
	if a, _ := s.Get(7); a.String() != "abc" {
		t.Errorf("string %q", a.String())
	}
	// Getters on a payload that is too short.
	short := nl.Attr{Data: []byte{}}
	if short.Uint8() != 0 || short.Uint16() != 0 || short.Uint32() != 0 || short.Uint64() != 0 || short.Int32() != 0 {
		t.Error("short payload is not 0")
	}
}

func TestEncoder(t *testing.T) {
	var e nl.Encoder
	e.NestNoFlag(1, func() {
		e.U8(1, 1)
		e.U16(2, 2)
		e.S32(3, -1)
		e.U64(4, 4)
		e.Put(5, []byte{1, 2, 3})
		e.Flag(6)
	})
	n := e.Len()
	e.Nest(2, func() { e.String(1, "x") })
	e.Truncate(n)
	outer, err := nl.Parse(e.Bytes(), 0, &nl.Policy{Attrs: []nl.AttrPolicy{1: nl.Nest(nil)}}, nl.Liberal)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := outer.Get(1)
	var lens []int
	for c := range a.Children() {
		lens = append(lens, len(c.Data))
	}
	if a.Nested || !slices.Equal(lens, []int{1, 2, 4, 8, 3, 0}) {
		t.Errorf("nested %v lengths %v", a.Nested, lens)
	}
	e.Put(1, make([]byte, 1<<16))
	if !errors.Is(e.Err(), syscall.EMSGSIZE) {
		t.Errorf("attribute of 64 KiB: %v", e.Err())
	}
	var big nl.Encoder
	big.Nest(1, func() {
		big.Put(1, make([]byte, 40000))
		big.Put(2, make([]byte, 40000))
	})
	if !errors.Is(big.Err(), syscall.EMSGSIZE) || big.Len() != 0 {
		t.Errorf("nest above 64 KiB: %v, %d bytes", big.Err(), big.Len())
	}
}

// FuzzParse: hostile attributes neither panic nor point outside the request,
// and what the strict mode accepts the liberal one does too.
func FuzzParse(f *testing.F) {
	var e nl.Encoder
	e.U32(3, 7)
	e.Nest(12, func() { e.U32(1, 1); e.String(2, "abc") })
	e.Nest(13, func() { e.Nest(1, func() { e.U32(1, 1) }) })
	f.Add(e.Bytes())
	f.Add([]byte{4, 0, 6, 0})
	f.Add([]byte{3, 0, 6, 0})
	f.Add([]byte{255, 255, 12, 128, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, strict := nl.Parse(b, 16, testPolicy, nl.Strict)
		s, liberal := nl.Parse(b, 16, testPolicy, nl.Liberal)
		if strict == nil && liberal != nil {
			t.Errorf("strict accepts what liberal refuses: %v", liberal)
		}
		for _, err := range []error{strict, liberal} {
			var ne *nl.Error
			if err != nil && (!errors.As(err, &ne) || int(ne.Offset) >= 16+len(b) && ne.Offset != 16) {
				t.Errorf("error %v for %d bytes", err, len(b))
			}
		}
		for a := range s.All() {
			if int(a.Offset)-16+4+len(a.Data) > len(b) {
				t.Errorf("attribute %d reaches beyond the request", a.Type)
			}
			for range a.Children() {
			}
		}
	})
}
