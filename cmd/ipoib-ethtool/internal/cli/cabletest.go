package cli

import (
	"fmt"
	"strconv"

	"ipoib/nl"
	"ipoib/nl/ethnl"
)

// Progress of a cable test (ETHTOOL_A_CABLE_TEST_NTF_STATUS_*).
const (
	testStarted   = 1
	testCompleted = 2
)

func pairName(pair uint8) string {
	if pair < 4 {
		return "Pair " + string(rune('A'+pair))
	}
	return "Unexpected pair"
}

// cableCodes are the results of a test by code.
var cableCodes = []string{"Unknown", "OK", "Open Circuit", "Short within Pair", "Short to another pair"}

// float writes a number with a fraction as a member, or text by format.
func (o *output) float(key, format string, v float32) {
	if !o.json {
		o.printf(format, v)
		return
	}
	o.raw(key, strconv.FormatFloat(float64(v), 'g', 6, 64))
}

// cableNotification prints what a cable test found. It reports whether the
// test is complete.
func (s *session) cableNotification(m *message, what string, entry func(nl.Attr) bool) (complete, ok bool) {
	t := m.genl()
	if !s.named(t[ethnl.CableTestNTFHeader]) {
		return false, false
	}
	status, _ := t.u8(ethnl.CableTestNTFStatus)
	if !s.out.json {
		switch status {
		case testStarted:
			s.out.printf("%s started for device %s.\n", what, s.title())
		case testCompleted:
			s.out.printf("%s completed for device %s.\n", what, s.title())
		}
	}
	for a := range t[ethnl.CableTestNTFNest].Children() {
		if !entry(a) {
			break
		}
	}
	return status == testCompleted, true
}

// cableEntry prints a result of a cable test. It reports false for one that
// lacks something.
func (s *session) cableEntry(a nl.Attr) bool {
	t := parse(a)
	pair, ok := t.u8(ethnl.CableResultPair)
	switch a.Type {
	case ethnl.CableNestResult:
		code, has := t.u8(ethnl.CableResultCode)
		if !ok || !has {
			return false
		}
		text := cableCodes[0]
		if int(code) < len(cableCodes) {
			text = cableCodes[code]
		}
		s.out.object("")
		s.out.str("pair", "%s ", pairName(pair))
		s.out.str("code", "code %s\n", text)
		s.out.endObject()
	case ethnl.CableNestFaultLength:
		cm, has := t.u32(ethnl.CableFaultLengthCentimetres)
		if !ok || !has {
			return false
		}
		s.out.object("")
		s.out.str("pair", "%s, ", pairName(pair))
		s.out.float("length", "fault length: %0.2fm\n", float32(cm)/100)
		s.out.endObject()
	}
	return true
}

// tdrEntry prints a result of time domain reflectometry.
func (s *session) tdrEntry(a nl.Attr) bool {
	t := parse(a)
	switch a.Type {
	case ethnl.CableTDRNestAmplitude:
		pair, ok := t.u8(ethnl.CableAmplitudePair)
		if !ok || !t.has(ethnl.CableAmplitudeMilliVolt) {
			return false
		}
		mv := int16(t[ethnl.CableAmplitudeMilliVolt].Uint16())
		s.out.object("")
		s.out.str("pair", "%s ", pairName(pair))
		if s.out.json {
			s.out.raw("amplitude", fmt.Sprint(mv))
		} else {
			s.out.printf("Amplitude %4d\n", mv)
		}
		s.out.endObject()
	case ethnl.CableTDRNestPulse:
		if !t.has(ethnl.CablePulseMilliVolt) {
			return false
		}
		s.out.object("")
		s.out.uint("pulse", "TDR Pulse %dmV\n", uint64(t[ethnl.CablePulseMilliVolt].Uint16()))
		s.out.endObject()
	case ethnl.CableTDRNestStep:
		from, okFrom := t.u32(ethnl.CableStepFirstDistance)
		to, okTo := t.u32(ethnl.CableStepLastDistance)
		step, okStep := t.u32(ethnl.CableStepStepDistance)
		if !okFrom || !okTo || !okStep {
			return false
		}
		s.out.object("")
		s.out.float("first", "Step configuration: %.2f-", float32(from)/100)
		s.out.float("last", "%.2f meters ", float32(to)/100)
		s.out.float("step", "in %.2fm steps\n", float32(step)/100)
		s.out.endObject()
	}
	return true
}

func (s *session) cableNTF(m *message) int {
	s.cableNotification(m, "Cable test", s.cableEntry)
	return cbOK
}

func (s *session) tdrNTF(m *message) int {
	s.cableNotification(m, "Cable test TDR", s.tdrEntry)
	return cbOK
}

// joinMonitor joins the group of notifications, in which the results of a
// cable test come.
func (s *session) joinMonitor() int {
	if s.group == 0 {
		s.errorf("multicast group 'monitor' not found\n")
		return unsupported
	}
	if s.main.conn.JoinGroup(s.group) != nil {
		return failed
	}
	return 0
}

// watch makes notifications pass that are no answer to a request.
func (s *session) watch(name string, filtered bool) {
	s.watching, s.filter, s.filtered = true, name, filtered
	s.main.port, s.main.seq = 0, 0
}

// runTest sends the request for a test and prints notifications until it is
// complete. The first message of all is the acknowledgement.
func (s *session) runTest(what string, cb func(*message) (complete bool)) int {
	if s.main.send() != nil {
		s.errorf("Cannot start %s\n", what)
		return failed
	}
	s.watch(s.dev, true)
	s.out.startJSON(s.json)
	defer s.out.endJSON()
	for complete := false; !complete; {
		code := s.main.receive(func(m *message) int {
			if complete = cb(m); complete {
				return cbStop
			}
			return cbOK
		})
		if code != 0 {
			return code
		}
	}
	return 0
}

func cableTest(s *session) int {
	if code := s.joinMonitor(); code != 0 {
		return code
	}
	s.main.get(ethnl.CmdCableTestAct, ethnl.CableTestHeader, 0)
	return s.runTest("cable test", func(m *message) bool {
		if m.cmd() != ethnl.MsgCableTestNTF {
			return false
		}
		complete, _ := s.cableNotification(m, "Cable test", s.cableEntry)
		return complete
	})
}

var tdrParams = []param{
	{word: "first", attr: ethnl.CableTestTDRCfgFirst, parse: needWord(metres)},
	{word: "last", attr: ethnl.CableTestTDRCfgLast, parse: needWord(metres)},
	{word: "step", attr: ethnl.CableTestTDRCfgStep, parse: needWord(metres)},
	{word: "pair", attr: ethnl.CableTestTDRCfgPair, parse: needWord(word8)},
}

// needWord refuses a parameter whose value is missing, without the count of
// words that other parameters have.
func needWord(parse func(*parser, *param, *nl.Encoder) bool) func(*parser, *param, *nl.Encoder) bool {
	return func(p *parser, par *param, e *nl.Encoder) bool {
		if len(p.args) == 0 {
			return p.invalid(null)
		}
		return parse(p, par, e)
	}
}

func cableTestTDR(s *session) int {
	if code := s.joinMonitor(); code != 0 {
		return code
	}
	s.main.set(ethnl.CmdCableTestTDRAct, 0)
	req, cfg := s.main.enc, nl.NewEncoder(nil)
	if !s.newParser("--cable-test-tdr").run(tdrParams, func(uint8) *nl.Encoder { return cfg }) {
		return failed
	}
	if cfg.Len() > 0 {
		req.Nest(ethnl.CableTestTDRCfg, func() { req.Raw(cfg.Bytes()) })
	}
	return s.runTest("cable test TDR", func(m *message) bool {
		if m.cmd() != ethnl.MsgCableTestTDRNTF {
			return false
		}
		complete, _ := s.cableNotification(m, "Cable test TDR", s.tdrEntry)
		return complete
	})
}
