package upstream

import (
	"slices"
	"testing"

	"ipoib/compat/redirect/wire"
	"ipoib/nl"
	"ipoib/nl/ethnl"
)

// FuzzAnswers reads answers that no service gives.
func FuzzAnswers(f *testing.F) {
	var e nl.Encoder
	e.Raw([]byte{1, 2, 0, 0})
	e.String(attrName, ethnl.Name)
	e.U16(attrFamilyID, 21)
	e.Nest(attrGroups, func() {
		e.Nest(1, func() {
			e.String(attrGroupName, ethnl.GroupMonitor)
			e.U32(attrGroupID, 5)
		})
	})
	f.Add(e.Bytes())
	e = nl.Encoder{}
	ethnl.AppendStringSets(&e, []ethnl.StringSet{{ID: ethnl.SetFeatures, Count: 2, Strings: []string{"a", "b"}}}, false)
	f.Add(e.Bytes())
	f.Add([]byte{255, 255, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		whole := append([]byte{0, 0, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}, b...)
		native.PutUint32(whole, uint32(len(whole)))
		m := wire.Split(whole)[0]
		if family, err := parseFamily(&m); (err != nil) != (len(b) < 4) {
			t.Errorf("%+v, %v", family, err)
		}
		names := featureNames([][]byte{b, nil, b})
		if l := wire.NewLayout(names, slices.Clone(names)); l == nil {
			t.Error("no layout")
		}
		if isBarrier(b) && len(b) < 2*nl.HeaderLen+4 {
			t.Error("a barrier")
		}
	})
}
