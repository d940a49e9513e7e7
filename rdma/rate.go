package rdma

import (
	"fmt"
	"strconv"
	"strings"
)

// Rate is the IBA code of a static rate as path and multicast member records
// carry it (IBA table 15.2.5.16). The codes are not ordered by speed: compare
// with Mbps.
type Rate uint8

// The codes; the number in the name is the nominal Gb/s.
const (
	RateCurrent Rate = 0 // the port's own rate; address vectors only
	Rate2_5     Rate = 2
	Rate10      Rate = 3
	Rate30      Rate = 4
	Rate5       Rate = 5
	Rate20      Rate = 6
	Rate40      Rate = 7
	Rate60      Rate = 8
	Rate80      Rate = 9
	Rate120     Rate = 10
	Rate14      Rate = 11
	Rate56      Rate = 12
	Rate112     Rate = 13
	Rate168     Rate = 14
	Rate25      Rate = 15
	Rate100     Rate = 16
	Rate200     Rate = 17
	Rate300     Rate = 18
	Rate28      Rate = 19
	Rate50      Rate = 20
	Rate400     Rate = 21
	Rate600     Rate = 22
)

// rateMbps is kernel ib_rate_to_mbps.
var rateMbps = [...]int{
	Rate2_5: 2500, Rate10: 10000, Rate30: 30000, Rate5: 5000, Rate20: 20000,
	Rate40: 40000, Rate60: 60000, Rate80: 80000, Rate120: 120000,
	Rate14: 14062, Rate56: 56250, Rate112: 112500, Rate168: 168750,
	Rate25: 25781, Rate100: 103125, Rate200: 206250, Rate300: 309375,
	Rate28: 28125, Rate50: 53125, Rate400: 425000, Rate600: 637500,
}

var rateNominal = [...]string{
	Rate2_5: "2.5", Rate10: "10", Rate30: "30", Rate5: "5", Rate20: "20",
	Rate40: "40", Rate60: "60", Rate80: "80", Rate120: "120",
	Rate14: "14", Rate56: "56", Rate112: "112", Rate168: "168",
	Rate25: "25", Rate100: "100", Rate200: "200", Rate300: "300",
	Rate28: "28", Rate50: "50", Rate400: "400", Rate600: "600",
}

// Mbps returns the signalling rate in Mb/s (kernel ib_rate_to_mbps), or -1
// for an unknown code.
func (r Rate) Mbps() int {
	if int(r) >= len(rateMbps) || rateMbps[r] == 0 {
		return -1
	}
	return rateMbps[r]
}

// IsValid reports whether the code names a rate.
func (r Rate) IsValid() bool { return r.Mbps() > 0 }

// String prints the nominal rate, such as "10 Gb/s".
func (r Rate) String() string {
	if !r.IsValid() {
		return fmt.Sprintf("Rate(%d)", uint8(r))
	}
	return rateNominal[r] + " Gb/s"
}

// LinkSpeed is the per-lane speed code as the kernel numbers it (enum
// ib_port_speed); wire formats of PortInfo are converted in rdma/mad.
type LinkSpeed uint16

// The codes.
const (
	SpeedSDR   LinkSpeed = 1
	SpeedDDR   LinkSpeed = 2
	SpeedQDR   LinkSpeed = 4
	SpeedFDR10 LinkSpeed = 8
	SpeedFDR   LinkSpeed = 16
	SpeedEDR   LinkSpeed = 32
	SpeedHDR   LinkSpeed = 64
	SpeedNDR   LinkSpeed = 128
)

var speeds = []struct {
	s    LinkSpeed
	name string
	mbps int // per lane, as ib_ipoib reports it (ipoib_get_link_ksettings)
	rate [5]Rate
}{
	// rate by width 1X, 2X, 4X, 8X, 12X (OpenSM ib_port_info_compute_rate)
	{SpeedSDR, "SDR", 2500, [5]Rate{Rate2_5, Rate5, Rate10, Rate20, Rate30}},
	{SpeedDDR, "DDR", 5000, [5]Rate{Rate5, Rate10, Rate20, Rate40, Rate60}},
	{SpeedQDR, "QDR", 10000, [5]Rate{Rate10, Rate20, Rate40, Rate80, Rate120}},
	{SpeedFDR10, "FDR10", 10000, [5]Rate{Rate10, Rate20, Rate40, Rate80, Rate120}},
	{SpeedFDR, "FDR", 14000, [5]Rate{Rate14, Rate28, Rate56, Rate112, Rate168}},
	{SpeedEDR, "EDR", 25000, [5]Rate{Rate25, Rate50, Rate100, Rate200, Rate300}},
	{SpeedHDR, "HDR", 50000, [5]Rate{Rate50, Rate100, Rate200, Rate400, Rate600}},
	{SpeedNDR, "NDR", 100000, [5]Rate{Rate100, Rate200, Rate400, 0, 0}},
}

// Mbps returns the speed of one lane in Mb/s as the driver reports it to
// ethtool, 0 for an unknown code.
func (s LinkSpeed) Mbps() int {
	for _, e := range speeds {
		if e.s == s {
			return e.mbps
		}
	}
	return 0
}

func (s LinkSpeed) String() string {
	for _, e := range speeds {
		if e.s == s {
			return e.name
		}
	}
	return fmt.Sprintf("LinkSpeed(%d)", uint16(s))
}

// ParseLinkSpeed reads "SDR" to "NDR", in any case.
func ParseLinkSpeed(t string) (LinkSpeed, error) {
	for _, e := range speeds {
		if strings.EqualFold(e.name, t) {
			return e.s, nil
		}
	}
	return 0, fmt.Errorf("rdma: %q is not a link speed (SDR, DDR, QDR, FDR10, FDR, EDR, HDR, NDR)", t)
}

// LinkWidth is the link width code (enum ib_port_width, PortInfo).
type LinkWidth uint8

// The codes.
const (
	Width1X  LinkWidth = 1
	Width4X  LinkWidth = 2
	Width8X  LinkWidth = 4
	Width12X LinkWidth = 8
	Width2X  LinkWidth = 16
)

// Lanes returns 1, 2, 4, 8 or 12, and 0 for an unknown code.
func (w LinkWidth) Lanes() int {
	switch w {
	case Width1X:
		return 1
	case Width2X:
		return 2
	case Width4X:
		return 4
	case Width8X:
		return 8
	case Width12X:
		return 12
	}
	return 0
}

func (w LinkWidth) String() string {
	if n := w.Lanes(); n != 0 {
		return strconv.Itoa(n) + "X"
	}
	return fmt.Sprintf("LinkWidth(%d)", uint8(w))
}

// ParseLinkWidth reads "1X", "2X", "4X", "8X" or "12X"; the X may be left out.
func ParseLinkWidth(t string) (LinkWidth, error) {
	for _, w := range []LinkWidth{Width1X, Width2X, Width4X, Width8X, Width12X} {
		if strings.EqualFold(w.String(), t) || strconv.Itoa(w.Lanes()) == t {
			return w, nil
		}
	}
	return 0, fmt.Errorf("rdma: %q is not a link width (1X, 2X, 4X, 8X, 12X)", t)
}

// LinkRate returns the rate code of a link, 0 if there is none.
func LinkRate(w LinkWidth, s LinkSpeed) Rate {
	idx := map[int]int{1: 0, 2: 1, 4: 2, 8: 3, 12: 4}
	i, ok := idx[w.Lanes()]
	if !ok {
		return 0
	}
	for _, e := range speeds {
		if e.s == s {
			return e.rate[i]
		}
	}
	return 0
}
