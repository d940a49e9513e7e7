package ethtoolsrv

import (
	"syscall"

	"ipoib/nl"
	"ipoib/nl/ethnl"
)

// The groups of standard statistics with their string sets (kernel
// stats_put_stats).
var statGroups = []uint32{
	0: ethnl.SetStatsEthPHY, 1: ethnl.SetStatsEthMAC, 2: ethnl.SetStatsEthCtrl, 3: ethnl.SetStatsRMON,
}

// statsGet checks a STATS_GET request and answers with the groups asked for.
// They are empty: the driver has no standard statistics.
func statsGet(q *query) (getFunc, error) {
	names := ethnl.GlobalStrings(ethnl.SetStatsStd)
	var groups ethnl.Bitmap
	if a, ok := q.Attrs.Get(ethnl.StatsGroups); ok {
		value, mask, err := ethnl.ParseBitset(a, len(names), names)
		if err != nil {
			return nil, err
		}
		groups = ethnl.Bitmap64(value.Uint64() & mask.Uint64())
	}
	if groups.Uint64() == 0 {
		return nil, nl.Errorf(syscall.EINVAL, "no stats requested")
	}
	return func(*query) (fillFunc, error) {
		return func(e *nl.Encoder) {
			for id, set := range statGroups {
				if !groups.Test(id) {
					continue
				}
				e.Nest(ethnl.StatsGrp, func() {
					e.U32(ethnl.StatsGrpID, uint32(id))
					e.U32(ethnl.StatsGrpSSID, set)
				})
			}
		}, nil
	}, nil
}
