package ethtoolsrv

import (
	"syscall"

	"ipoib/datapath"
	"ipoib/nl"
	"ipoib/nl/ethnl"
)

var (
	stringSetsPolicy = &nl.Policy{Attrs: []nl.AttrPolicy{ethnl.StringSetsStringSet: nl.Nest(nil)}}
	stringSetPolicy  = &nl.Policy{Attrs: []nl.AttrPolicy{ethnl.StringSetID: nl.U32()}}
)

// stringsOf returns a string set; per-device ones are those of any IPoIB
// interface.
func stringsOf(id int) []string {
	switch id {
	case ethnl.SetStats:
		return datapath.StatNames()
	case ethnl.SetFeatures:
		return datapath.FeatureNames()
	}
	return ethnl.GlobalStrings(id)
}

// strsetGet checks a STRSET_GET request (kernel strset_parse_request).
func strsetGet(q *query) (getFunc, error) {
	var ids uint32
	if nest, ok := q.Attrs.Get(ethnl.StrsetStringSets); ok {
		if _, err := nl.ParseNest(nest, stringSetsPolicy, nl.Strict); err != nil {
			return nil, err
		}
		for a := range nest.Children() {
			attrs, err := nl.ParseNest(a, stringSetPolicy, nl.Strict)
			if err != nil {
				return nil, err
			}
			id, ok := attrs.Get(ethnl.StringSetID)
			if !ok {
				return nil, nl.Missing(ethnl.StringSetID, a.Offset)
			}
			if id.Uint32() >= ethnl.NumStringSets {
				return nil, nl.BadAttr(syscall.EOPNOTSUPP, a, "unknown string set id")
			}
			ids |= 1 << id.Uint32()
		}
	}
	counts := q.Attrs.Has(ethnl.StrsetCountsOnly)
	return func(q *query) (fillFunc, error) { return strset(q, ids, counts) }, nil
}

// strset answers with the sets asked for, or with all of the interface or all
// that belong to none.
func strset(q *query, ids uint32, counts bool) (fillFunc, error) {
	var sets []ethnl.StringSet
	for id := range ethnl.NumStringSets {
		own := ethnl.PerDevice(id)
		names := stringsOf(id)
		switch {
		case ids == 0 && own != (q.dev != nil), ids != 0 && ids>>id&1 == 0:
			continue
		case own && q.dev == nil:
			return nil, nl.Errorf(syscall.EINVAL, "requested per device strings without dev")
		case !own && names == nil:
			if ids == 0 {
				continue
			}
			return nil, syscall.EOPNOTSUPP
		}
		sets = append(sets, ethnl.StringSet{ID: id, Count: len(names), Strings: names})
	}
	return func(e *nl.Encoder) { ethnl.AppendStringSets(e, sets, counts) }, nil
}
