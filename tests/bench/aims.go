package main

// AimResult is one row of the table of what is to be reached.
type AimResult struct {
	What string `json:"what"`
	Unit string `json:"unit"`
	// Value is what was measured.
	Value *float64 `json:"value"`
	// AtLeast is the limit that must be kept and Aim the one that is wanted;
	// both are upper limits where Less is set.
	AtLeast float64  `json:"at_least"`
	Aim     *float64 `json:"aim"`
	Less    bool     `json:"less"`
	Verdict string   `json:"verdict"`
}

// The verdicts on a value.
const (
	verdictReached = "reached"
	verdictEnough  = "enough"
	verdictMissed  = "missed"
	verdictAbsent  = "not measured"
)

// aim is a row before its value is known.
type aim struct {
	what, unit   string
	value        func(*Report) (float64, bool)
	atLeast, aim float64
	less         bool
}

// slower is the ratio of TCP throughput in the direction where it is less.
func slower(target, base string) func(*Report) (float64, bool) {
	return func(r *Report) (float64, bool) {
		v, ok := r.ratio(target, base, metricTCP)
		if back, have := r.ratio(target, base, metricTCPReverse); have {
			v = min(v, back)
		}
		return v, ok
	}
}

func overBase(target, base, metric string) func(*Report) (float64, bool) {
	return func(r *Report) (float64, bool) { return r.ratio(target, base, metric) }
}

// manyChildren is the number of children of the aims.
const manyChildren = 1000

func childrenTime(pick func(ChildrenPoint) Summary) func(*Report) (float64, bool) {
	return func(r *Report) (float64, bool) {
		for _, p := range r.Children {
			if p.Children == manyChildren && p.Error == "" {
				return pick(p).Median, true
			}
		}
		return 0, false
	}
}

var aims = []aim{
	{"TCP, datagram mode, offloads on", "x VXLAN", slower(oursTarget, vxlanTarget), 1.0, 0, false},
	{"TCP, datagram mode, offloads on", "x veth", slower(oursTarget, vethTarget), 0.7, 1.0, false},
	{"TCP, connected mode, MTU 65520", "x VXLAN", slower(connectedTarget, vxlanTarget), 1.2, 0, false},
	{"TCP, connected mode, MTU 65520", "x veth", slower(connectedTarget, vethTarget), 0.9, 1.1, false},
	{"TCP ping-pong of 14 bytes, p50", "x veth", overBase(oursTarget, vethTarget, metricP50), 2.5, 1.8, true},
	{"UDP, 64-byte packets per second", "x wireguard-go", overBase(oursTarget, wireguardTarget, metricUDP), 1.0, 2.0, false},
	{"CPU when idle", "% of a core", func(r *Report) (float64, bool) { return r.median(oursTarget, metricIdle) }, 1, 0, true},
	{"1,000 children: create all", "s", childrenTime(func(p ChildrenPoint) Summary { return p.Create }), 10, 3, true},
	{"1,000 children: list all", "s", childrenTime(func(p ChildrenPoint) Summary { return p.List }), 0.1, 0.03, true},
}

// judge compares the measurements with the aims.
func (r *Report) judge() []AimResult {
	var out []AimResult
	for _, a := range aims {
		row := AimResult{What: a.what, Unit: a.unit, AtLeast: a.atLeast, Less: a.less}
		if a.aim != 0 {
			row.Aim = &a.aim
		}
		v, ok := a.value(r)
		if ok {
			row.Value = &v
		}
		row.Verdict = verdict(row)
		out = append(out, row)
	}
	return out
}

func verdict(row AimResult) string {
	if row.Value == nil {
		return verdictAbsent
	}
	keeps := func(limit float64) bool {
		if row.Less {
			return *row.Value <= limit
		}
		return *row.Value >= limit
	}
	switch {
	case !keeps(row.AtLeast):
		return verdictMissed
	case row.Aim != nil && !keeps(*row.Aim):
		return verdictEnough
	default:
		return verdictReached
	}
}
