package wire

import (
	"slices"
	"testing"

	"github.com/mdlayher/netlink"

	"ipoib/nl"
	"ipoib/nl/ethnl"
)

// tables of two versions: b went, x came, d has another number.
var (
	oldNames = []string{"a", "b", "", "c", "d"}
	newNames = []string{"a", "", "x", "c", "e", "d"}
)

func featuresBody(cmd uint8, set ethnl.Bitset, compact bool) []byte {
	e := nl.NewEncoder([]byte{cmd, 1, 0, 0})
	ethnl.AppendHeader(e, 1, 5, "ib0")
	set.Append(e, ethnl.FeaturesActive, compact)
	return e.Bytes()
}

// setOf reads the set of a body.
func setOf(t *testing.T, body []byte) ethnl.BitsetView {
	t.Helper()
	for a := range attrs(body, genlHeaderLen) {
		if a.Type == ethnl.FeaturesActive {
			return ethnl.ViewBitset(a)
		}
	}
	t.Fatal("no set")
	return ethnl.BitsetView{}
}

func TestLayout(t *testing.T) {
	l := NewLayout(oldNames, newNames)
	in := ethnl.Bitset{Size: 5, Value: ethnl.Bitmap{0b11011}, Mask: ethnl.Bitmap{0b11111}, Names: oldNames}
	v := setOf(t, l.Reply(featuresBody(ethnl.MsgFeaturesGetReply, in, true)))
	if v.Size != 6 || v.Value[0] != 0b101001 || v.Mask[0] != 0b101001 {
		t.Errorf("compact: %+v", v)
	}
	v = setOf(t, l.Reply(featuresBody(ethnl.MsgFeaturesNTF, in, false)))
	var got []string
	for _, b := range v.Bits {
		if newNames[b.Index] != b.Name {
			t.Errorf("bit %d is %s", b.Index, b.Name)
		}
		got = append(got, b.Name)
	}
	if !slices.Equal(got, []string{"a", "c", "d"}) || v.Size != 6 {
		t.Errorf("verbose: %v, size %d", got, v.Size)
	}
	// Requests name bits; one that neither table has stays.
	e := nl.NewEncoder([]byte{ethnl.CmdFeaturesSet, 1, 0, 0})
	e.Nest(ethnl.FeaturesWanted, func() {
		e.Nest(ethnl.BitsetBits, func() {
			for _, name := range []string{"b", "c", "nosuch"} {
				e.Nest(ethnl.BitsetBitsBit, func() { e.String(ethnl.BitsetBitName, name) })
			}
		})
	})
	got = nil
	for a := range attrs(l.Request(e.Bytes()), genlHeaderLen) {
		for _, b := range ethnl.ViewBitset(a).Bits {
			got = append(got, b.Name)
		}
	}
	if !slices.Equal(got, []string{"c", "nosuch"}) {
		t.Errorf("request: %v", got)
	}
	// Other messages stay as they are.
	other := featuresBody(ethnl.MsgCoalesceGetReply, in, true)
	if out := l.Reply(other); &out[0] != &other[0] {
		t.Error("another message was translated")
	}
}

func TestLimitGroups(t *testing.T) {
	e := nl.NewEncoder([]byte{ethnl.CmdStatsGet, 1, 0, 0})
	e.Nest(ethnl.StatsGroups, func() {
		e.Flag(ethnl.BitsetNoMask)
		e.U32(ethnl.BitsetSize, 40)
		e.Put(ethnl.BitsetValue, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0})
	})
	m := Split(Append(nil, netlink.Header{Type: 21, Flags: netlink.Request}, e.Bytes()))[0]
	for a := range attrs(Split(LimitGroups(&m, 4))[0].Payload(), genlHeaderLen) {
		if v := ethnl.ViewBitset(a); v.Size != 4 || len(v.Value) != 1 || v.Value[0] != 0xf || !v.List {
			t.Errorf("%+v", v)
		}
	}
}

func TestAsksFeatures(t *testing.T) {
	ask := func(ids ...uint32) *Message {
		e := nl.NewEncoder([]byte{ethnl.CmdStrsetGet, 1, 0, 0})
		if len(ids) > 0 {
			e.Nest(ethnl.StrsetStringSets, func() {
				for _, id := range ids {
					e.Nest(ethnl.StringSetsStringSet, func() { e.U32(ethnl.StringSetID, id) })
				}
			})
		}
		return &Split(Append(nil, netlink.Header{Type: 21}, e.Bytes()))[0]
	}
	for _, tt := range []struct {
		m           *Message
		asks, alone bool
	}{{ask(4), true, true}, {ask(4, 5), true, false}, {ask(5), false, false}, {ask(), true, false}} {
		if asks, alone := AsksFeatures(tt.m); asks != tt.asks || alone != tt.alone {
			t.Errorf("%v %v, want %v %v", asks, alone, tt.asks, tt.alone)
		}
	}
}
