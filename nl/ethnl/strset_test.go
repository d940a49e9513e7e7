package ethnl

import (
	"slices"
	"strings"
	"testing"

	"ipoib/nl"
)

func appended(sets []StringSet, counts bool) nl.Attr {
	e := nl.NewEncoder(nil)
	AppendStringSets(e, sets, counts)
	for a := range (nl.Attr{Data: e.Bytes()}).Children() {
		return a
	}
	return nl.Attr{}
}

func TestStringSets(t *testing.T) {
	sets := []StringSet{
		{ID: 4, Count: 3, Strings: []string{"one", "", "three"}},
		{ID: 7},
		{ID: 1, Count: 1, Strings: []string{"rx_packets"}},
	}
	var got []StringSet
	for a := range appended(sets, false).Children() {
		s, ok := ViewStringSet(a)
		if !ok {
			t.Errorf("set %x", a.Data)
		}
		got = append(got, s)
	}
	if len(got) != 2 || got[0].ID != 4 || !slices.Equal(got[0].Strings, sets[0].Strings) || got[1].ID != 1 || got[1].Count != 1 {
		t.Errorf("%+v", got)
	}
	for a := range appended(sets, true).Children() {
		if s, ok := ViewStringSet(a); ok || s.Count == 0 {
			t.Errorf("only counts: %+v %v", s, ok)
		}
	}
}

func TestGlobalStrings(t *testing.T) {
	for id := -1; id <= NumStringSets; id++ {
		list := GlobalStrings(id)
		if has := list != nil; has == (id < 5 || id == 7 || id >= NumStringSets) {
			t.Errorf("set %d: %d strings", id, len(list))
		}
		for _, s := range list {
			if s == "" || len(s) >= StringLen || strings.ContainsAny(s, " \t") {
				t.Errorf("set %d: string %q", id, s)
			}
		}
	}
}

// FuzzStringSet: no reply makes a client panic or take strings outside the
// count.
func FuzzStringSet(f *testing.F) {
	f.Add(appended([]StringSet{{ID: 4, Count: 2, Strings: []string{"a", "b"}}}, false).Data[4:])
	f.Add(appended([]StringSet{{ID: 4, Count: 2}}, true).Data[4:])
	f.Fuzz(func(t *testing.T, data []byte) {
		s, ok := ViewStringSet(nl.Attr{Data: data})
		if ok && len(s.Strings) != s.Count {
			t.Fatalf("%+v", s)
		}
	})
}

func TestHeader(t *testing.T) {
	e := nl.NewEncoder(nil)
	AppendHeader(e, 1, 7, "ib0")
	AppendRequestHeader(e, 2, "", FlagCompactBitsets|FlagStats)
	AppendRequestHeader(e, 2, "ib0.8001", 0)
	var h []Header
	for a := range (nl.Attr{Data: e.Bytes()}).Children() {
		h = append(h, ParseHeader(a))
	}
	if len(h) != 3 || h[0].Index.Uint32() != 7 || h[0].Name.String() != "ib0" || h[0].Flags != 0 || h[0].Compact() {
		t.Errorf("%+v", h)
	}
	if h[1].HasIndex || h[1].HasName || h[1].Flags != 5 || !h[1].Compact() {
		t.Errorf("%+v", h[1])
	}
	if h[2].Name.String() != "ib0.8001" || h[2].HasIndex {
		t.Errorf("%+v", h[2])
	}
}

// FuzzHeader: a header of any content is read without a panic.
func FuzzHeader(f *testing.F) {
	e := nl.NewEncoder(nil)
	AppendHeader(e, 1, 7, "ib0")
	f.Add(e.Bytes()[4:])
	f.Fuzz(func(t *testing.T, data []byte) {
		h := ParseHeader(nl.Attr{Data: data})
		if h.HasName && strings.ContainsRune(h.Name.String(), 0) {
			t.Fatal("name with NUL")
		}
	})
}
