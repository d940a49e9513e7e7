package ethnl

import "ipoib/nl"

// String sets (enum ethtool_stringset).
const (
	SetTest            = 0
	SetStats           = 1
	SetPrivFlags       = 2
	SetNtupleFilters   = 3 // without strings
	SetFeatures        = 4
	SetRSSHashFuncs    = 5
	SetTunables        = 6
	SetPHYStats        = 7
	SetPHYTunables     = 8
	SetLinkModes       = 9
	SetMsgClasses      = 10
	SetWoLModes        = 11
	SetSOFTimestamping = 12
	SetTSTxTypes       = 13
	SetTSRxFilters     = 14
	SetUDPTunnelTypes  = 15
	SetStatsStd        = 16
	SetStatsEthPHY     = 17
	SetStatsEthMAC     = 18
	SetStatsEthCtrl    = 19
	SetStatsRMON       = 20
	// NumStringSets is ETH_SS_COUNT.
	NumStringSets = 21
)

// PerDevice reports whether a set belongs to an interface.
func PerDevice(set int) bool {
	switch set {
	case SetTest, SetStats, SetPrivFlags, SetPHYStats:
		return true
	}
	return false
}

// GlobalStrings returns a set that belongs to no interface, nil for the
// others and for the features, which the driver names.
func GlobalStrings(set int) []string {
	if set < 0 || set >= NumStringSets {
		return nil
	}
	return globalStrings[set]
}

// StringSet is a set of a STRSET reply.
type StringSet struct {
	ID int
	// Count is the number of strings, which are left out when only the counts
	// were asked for.
	Count   int
	Strings []string
}

// AppendStringSets appends the list of sets of a STRSET reply; sets without
// strings are left out, and with countsOnly all strings (kernel
// strset_fill_reply).
func AppendStringSets(e *nl.Encoder, sets []StringSet, countsOnly bool) {
	e.Nest(StrsetStringSets, func() {
		for _, s := range sets {
			if s.Count == 0 {
				continue
			}
			e.Nest(StringSetsStringSet, func() {
				e.U32(StringSetID, uint32(s.ID))
				e.U32(StringSetCount, uint32(s.Count))
				if countsOnly {
					return
				}
				e.Nest(StringSetStrings, func() {
					for i, text := range s.Strings {
						e.Nest(StringsString, func() {
							e.U32(StringIndex, uint32(i))
							e.String(StringValue, text)
						})
					}
				})
			})
		}
	})
}

// maxStrings bounds the strings of a set that a client takes.
const maxStrings = 1 << 16

// ViewStringSet reads one set of a STRSET reply. ok is false for a set that
// lacks something, or has strings outside its count.
func ViewStringSet(a nl.Attr) (s StringSet, ok bool) {
	var hasID, hasCount bool
	var list nl.Attr
	for c := range a.Children() {
		switch c.Type {
		case StringSetID:
			s.ID, hasID = int(min(c.Uint32(), maxStrings)), true
		case StringSetCount:
			s.Count, hasCount = int(c.Uint32()), true
		case StringSetStrings:
			list = c
		}
	}
	if !hasID || !hasCount || list.Type == 0 || s.Count > maxStrings {
		return s, false
	}
	s.Strings = make([]string, s.Count)
	for c := range list.Children() {
		if c.Type != StringsString {
			continue
		}
		at, text, has := -1, "", false
		for x := range c.Children() {
			switch x.Type {
			case StringIndex:
				at = int(min(x.Uint32(), maxStrings))
			case StringValue:
				text, has = x.String(), true
			}
		}
		if at < 0 || at >= s.Count || !has {
			return s, false
		}
		s.Strings[at] = text
	}
	return s, true
}
