package nl_test

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"ipoib/nl"
)

// value reads an integer of any length.
func value(a nl.Attr) uint64 {
	if len(a.Data) == 8 {
		return binary.NativeEndian.Uint64(a.Data)
	}
	return uint64(a.Uint32())
}

func TestDescribe(t *testing.T) {
	type kv struct {
		t uint16
		v uint64
	}
	neg := func(v int64) uint64 { return uint64(v) }
	inner := &nl.Policy{Attrs: []nl.AttrPolicy{1: nl.U32()}}
	for _, c := range []struct {
		name string
		p    nl.AttrPolicy
		want []kv
	}{
		{"flag", nl.Flag(), []kv{{1, 1}}},
		{"u8", nl.U8(), []kv{{4, 0}, {5, 255}, {1, 2}}},
		{"u16 range", nl.U16().Range(1, 9), []kv{{4, 1}, {5, 9}, {1, 3}}},
		{"u32 min", nl.U32().Min(5), []kv{{4, 5}, {5, math.MaxUint32}, {1, 4}}},
		{"u64 max", nl.U64().Max(5), []kv{{4, 0}, {5, 5}, {1, 5}}},
		{"u32 mask", nl.U32().Mask(7), []kv{{12, 7}, {1, 4}}},
		{"u32 function", nl.U32().Func(nil), []kv{{1, 4}}},
		{"s8", nl.S8(), []kv{{2, neg(-128)}, {3, 127}, {1, 6}}},
		{"s64 range", nl.S64().RangeSigned(-3, 3), []kv{{2, neg(-3)}, {3, 3}, {1, 9}}},
		{"binary", nl.Binary(20), []kv{{7, 20}, {1, 10}}},
		{"exact", nl.ExactLen(20), []kv{{6, 20}, {7, 20}, {1, 10}}},
		{"minimum", nl.MinLen(20), []kv{{1, 10}}},
		{"string", nl.String(15), []kv{{7, 15}, {1, 11}}},
		{"nul string", nl.NulString(15), []kv{{7, 15}, {1, 12}}},
		{"nest", nl.Nest(inner), []kv{{8, 0}, {9, 1}, {1, 13}}},
		{"array", nl.NestArray(inner), []kv{{8, 0}, {9, 1}, {1, 14}}},
		{"nest of anything", nl.Nest(nil), []kv{{1, 13}}},
		{"bitfield", nl.Bitfield32(3), []kv{{10, 3}, {1, 15}}},
	} {
		var set nl.PolicySet
		set.Add(inner)
		var e nl.Encoder
		if !c.p.Describe(&e, 9, &set) {
			t.Errorf("%s: not described", c.name)
			continue
		}
		s, err := nl.Parse(e.Bytes(), 0, &nl.Policy{Attrs: []nl.AttrPolicy{9: nl.Nest(nil)}}, nl.Strict)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		a, _ := s.Get(9)
		var got []kv
		for x := range a.Children() {
			got = append(got, kv{x.Type, value(x)})
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	for _, p := range []nl.AttrPolicy{{}, nl.Unspec(4), nl.Reject("no")} {
		var e nl.Encoder
		if p.Describe(&e, 1, nil) || e.Len() != 0 {
			t.Errorf("%+v is described", p)
		}
	}
}

// TestPolicySet: nested policies are numbered breadth first, each once.
func TestPolicySet(t *testing.T) {
	leaf := &nl.Policy{Attrs: []nl.AttrPolicy{1: nl.U32()}}
	loop := &nl.Policy{Attrs: make([]nl.AttrPolicy, 3)}
	loop.Attrs[1], loop.Attrs[2] = nl.Nest(loop), nl.Nest(leaf)
	top := &nl.Policy{Attrs: []nl.AttrPolicy{1: nl.NestArray(leaf), 2: nl.Nest(loop), 3: nl.Nest(leaf)}}
	var set nl.PolicySet
	set.Add(top)
	set.Add(leaf)
	set.Add(nil)
	want := []*nl.Policy{top, leaf, loop}
	if set.Len() != len(want) {
		t.Fatalf("%d policies", set.Len())
	}
	for i, p := range want {
		if set.At(i) != p || set.Index(p) != i {
			t.Errorf("policy %d is elsewhere", i)
		}
	}
	if set.Index(&nl.Policy{}) != -1 {
		t.Error("a policy that was not added has an index")
	}
}
