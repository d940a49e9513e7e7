package ethnl

import (
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"testing"

	"ipoib/nl"
)

var testNames = func() []string {
	n := make([]string, 40)
	for i := range n {
		n[i] = "bit-" + string(rune('a'+i/10)) + string(rune('0'+i%10))
	}
	return n
}()

func encoded(b Bitset, compact bool) nl.Attr {
	e := nl.NewEncoder(nil)
	b.Append(e, 7, compact)
	for a := range (nl.Attr{Data: e.Bytes()}).Children() {
		return a
	}
	return nl.Attr{}
}

// TestBitsetBytes: small sets in both forms, as ethnl_put_bitset32 lays them
// out.
func TestBitsetBytes(t *testing.T) {
	two := NewBitmap(16)
	two.Set(3)
	two.Set(4)
	names := GlobalStrings(SetSOFTimestamping)
	for _, c := range []struct {
		name    string
		b       Bitset
		compact bool
		want    string
	}{
		{"list, compact", Bitset{Size: 16, Value: two, Names: names}, true,
			"180007800400010008000200100000000800040018000000"},
		{"list, verbose", Bitset{Size: 16, Value: two, Names: names}, false,
			"600007800400010008000200100000005000038024000180080001000300000015000200736f6674776172652d726563656976650000" +
				"0000280001800800010004000000" + "1a000200736f6674776172652d73797374656d2d636c6f636b000000"},
		{"mask, compact", Bitset{Size: 64, Value: Bitmap64(1 << 15), Mask: Bitmap64(1<<15 | 1<<40)}, true,
			"2400078008000200400000000c00040000800000000000000c0005000080000000010000"},
		{"mask, verbose", Bitset{Size: 5, Value: Bitmap{1}, Mask: Bitmap{3}, Names: testNames}, false,
			"44000780080002000500000038000380" + "1c00018008000100000000000b0002006269742d6130000004000300" +
				"1800018008000100010000000b0002006269742d61310000"},
		{"empty, verbose", Bitset{Size: 93, Value: NewBitmap(93), Mask: NewBitmap(93)}, false,
			"10000780080002005d00000004000380"},
	} {
		e := nl.NewEncoder(nil)
		c.b.Append(e, 7, c.compact)
		if got := hex.EncodeToString(e.Bytes()); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// TestBitsetRoundTrip: what is written in either form is read back, by the
// service's parser and by the client's.
func TestBitsetRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		size := 1 + rng.IntN(40)
		b := Bitset{Size: size, Value: NewBitmap(size), Names: testNames[:size]}
		if rng.IntN(2) == 0 {
			b.Mask = NewBitmap(size)
		}
		for i := range size {
			listed := rng.IntN(2) == 0
			if listed && b.Mask != nil {
				b.Mask.Set(i)
			}
			if listed && rng.IntN(2) == 0 {
				b.Value.Set(i)
			}
		}
		mask := b.Mask
		if mask == nil {
			mask = NewBitmap(size)
			fill(mask, size)
		}
		for _, compact := range []bool{true, false} {
			a := encoded(b, compact)
			value, m, err := ParseBitset(a, size, b.Names)
			if err != nil || !slices.Equal(value, b.Value) || !slices.Equal(m, mask) {
				t.Fatalf("compact %v: %v, value %x mask %x of %+v", compact, err, value, m, b)
			}
			got := NewBitmap(size)
			err = ViewBitset(a).Walk(b.Names, func(i int, name string, named, on bool) {
				if !named || name != b.Names[i] || !mask.Test(i) {
					t.Fatalf("compact %v: bit %d %q", compact, i, name)
				}
				if on {
					got.Set(i)
				}
			})
			if err != nil || !slices.Equal(got, b.Value) {
				t.Fatalf("compact %v: walked %x, %v, want %x", compact, got, err, b.Value)
			}
		}
	}
}

func TestBitsetView(t *testing.T) {
	b := Bitset{Size: 40, Value: Bitmap{1 << 3, 1 << 1}, Mask: Bitmap{1<<3 | 1<<5, 1 << 1}, Names: testNames}
	for _, compact := range []bool{true, false} {
		v := ViewBitset(encoded(b, compact))
		for i, want := range map[int][2]bool{3: {true, true}, 5: {false, true}, 33: {true, true}, 4: {false, false}, 99: {false, false}} {
			on, err1 := v.Bit(false, i)
			in, err2 := v.Bit(true, i)
			if on != want[0] || in != want[1] || err1 != nil || err2 != nil {
				t.Errorf("compact %v bit %d: %v %v, %v %v", compact, i, on, in, err1, err2)
			}
		}
		if e, err := v.Empty(false); e || err != nil {
			t.Errorf("compact %v: empty %v %v", compact, e, err)
		}
		b := b
		b.Value = Bitmap{0, 0}
		v = ViewBitset(encoded(b, compact))
		if e, err := v.Empty(false); !e || err != nil {
			t.Errorf("compact %v: no value is set, empty %v %v", compact, e, err)
		}
		if e, err := v.Empty(true); e || err != nil {
			t.Errorf("compact %v: mask empty %v %v", compact, e, err)
		}
	}
	list := ViewBitset(encoded(Bitset{Size: 4, Value: Bitmap{1}}, true))
	if _, err := list.Bit(true, 0); err == nil {
		t.Error("a list has no mask")
	}
	for _, bad := range []string{"", "08000200400000000800040000000000", "0400038008000200ffffffff"} {
		raw, _ := hex.DecodeString(bad)
		v := ViewBitset(nl.Attr{Data: raw})
		if err := v.Walk(testNames, func(int, string, bool, bool) {}); err == nil && len(v.Bits) == 0 && !v.Compact && v.Bits == nil {
			t.Errorf("%s: walked", bad)
		}
	}
}

// FuzzBitset: no input makes the parsers panic, and one that is taken says the
// same when it is written again.
func FuzzBitset(f *testing.F) {
	for _, c := range []bool{true, false} {
		f.Add(encoded(Bitset{Size: 40, Value: Bitmap{5, 1}, Mask: Bitmap{7, 3}, Names: testNames}, c).Data)
		f.Add(encoded(Bitset{Size: 40, Value: Bitmap{5, 1}, Names: testNames}, c).Data)
		f.Add(encoded(Bitset{Size: 96, Value: Bitmap{5, 1, 0}, Mask: Bitmap{7, 3, 0}, Names: testNames}, c).Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a := nl.Attr{Type: 1, Nested: true, Data: data}
		v := ViewBitset(a)
		_, _ = v.Empty(true)
		_, _ = v.Bit(true, 3)
		_ = v.Walk(testNames, func(int, string, bool, bool) {})
		value, mask, err := ParseBitset(a, 40, testNames)
		if err != nil {
			return
		}
		for i := range value {
			value[i] &= mask[i]
		}
		again := encoded(Bitset{Size: 40, Value: value, Mask: mask, Names: testNames}, false)
		v2, m2, err := ParseBitset(again, 40, testNames)
		if err != nil || !slices.Equal(v2, value) || !slices.Equal(m2, mask) {
			t.Fatalf("%x: again %x %x %v, want %x %x", data, v2, m2, err, value, mask)
		}
	})
}
