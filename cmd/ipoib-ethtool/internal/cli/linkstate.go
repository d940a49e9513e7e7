package cli

import "ipoib/nl/ethnl"

// extState is a reason why there is no link, with its finer ones by number.
type extState struct {
	name string
	sub  []string
}

// extStates are the extended link states (ETHTOOL_LINK_EXT_STATE_*).
var extStates = []extState{
	{"Autoneg", []string{
		1: "No partner detected", 2: "Ack not received", 3: "Next page exchange failed",
		4: "No partner detected during force mode", 5: "FEC mismatch during override", 6: "No HCD",
	}},
	{"Link training failure", []string{
		1: "KR frame lock not acquired", 2: "KR link inhibit timeout",
		3: "KR Link partner did not set receiver ready", 4: "Remote side is not ready yet",
	}},
	{"Logical mismatch", []string{
		1: "PCS did not acquire block lock", 2: "PCS did not acquire AM lock", 3: "PCS did not get align_status",
		4: "FC FEC is not locked", 5: "RS FEC is not locked",
	}},
	{"Bad signal integrity", []string{
		1: "Large number of physical errors", 2: "Unsupported rate", 3: "Serdes reference clock lost", 4: "Serdes ALOS",
	}},
	{"No cable", nil},
	{"Cable issue", []string{1: "Unsupported cable", 2: "Cable test failure"}},
	{"EEPROM issue", nil},
	{"Calibration failure", nil},
	{"Power budget exceeded", nil},
	{"Overheat", nil},
	{"Module", []string{1: "CMIS module is not in ModuleReady state"}},
}

func (s *session) linkStateReply(m *message) int {
	t, show := s.settings(m, ethnl.LinkStateHeader)
	if !show {
		return cbOK
	}
	if v, ok := t.u8(ethnl.LinkStateLink); ok {
		s.banner()
		s.out.printf("\tLink detected: %s", yesNo(v != 0, "yes", "no"))
		s.extState(t)
		s.out.print("\n")
	}
	if v, ok := t.u32(ethnl.LinkStateSQI); ok {
		s.banner()
		s.out.printf("\tSQI: %d", v)
		if most, ok := t.u32(ethnl.LinkStateSQIMax); ok {
			s.out.printf("/%d", most)
		}
		s.out.print("\n")
	}
	return cbOK
}

// extState prints why there is no link, if the service says so.
func (s *session) extState(t *table) {
	v, ok := t.u8(ethnl.LinkStateExtState)
	if !ok {
		return
	}
	var sub []string
	if int(v) < len(extStates) {
		s.out.print(" (" + extStates[v].name)
		sub = extStates[v].sub
	} else {
		s.out.printf(" (%d", v)
	}
	if n, ok := t.u8(ethnl.LinkStateExtSubstate); ok {
		if int(n) < len(sub) && sub[n] != "" {
			s.out.print(", " + sub[n])
		} else {
			s.out.printf(", %d", n)
		}
	}
	s.out.print(")")
}
