package cli

import "ipoib/nl/ipoibnl"

// showRxFH is -x.
func showRxFH(s *session) int {
	if !s.words(word{"context", isContext}) {
		return s.badArgs()
	}
	return s.steps(step{ipoibnl.EthtoolGRxRings, "Cannot get RX ring count", 1})
}

func isContext(v string) bool {
	_, ok := inRange(v, 1, max32-1)
	return ok
}

// changeRxFH is -X: its words exclude each other in many ways.
func changeRxFH(s *session) int {
	if len(s.args) < 1 {
		return s.badArgs()
	}
	given := make(map[string]bool)
	for args := s.args; len(args) > 0; {
		w := args[0]
		args = args[1:]
		value := func(ok func(string) bool) bool {
			if len(args) == 0 || !ok(args[0]) {
				return false
			}
			args = args[1:]
			return true
		}
		ok := true
		switch w {
		case "equal":
			ok = value(func(v string) bool { _, ok := inRange(v, 1, 1<<31-1); return ok })
		case "start":
			ok = value(func(v string) bool {
				n, ok := inRange(v, 0, 1<<31-1)
				given["start"] = n != 0
				return ok
			})
		case "weight":
			n := 0
			for n < len(args) && args[n] != "" && digit(args[n][0]) < 10 {
				n++
			}
			args, ok = args[n:], n > 0
		case "hkey", "hfunc":
			ok = value(anyWord)
		case "context":
			ok = value(func(v string) bool { return v == "new" || isContext(v) })
		case "default", "delete":
		default:
			ok = false
		}
		if !ok {
			return s.badArgs()
		}
		if w != "start" {
			given[w] = true
		}
	}
	if why := rxfhConflict(given); why != "" {
		s.errorf("%s\n", why)
		return 1
	}
	return s.steps(step{ipoibnl.EthtoolGRxRings, "Cannot get RX ring count", 1})
}

// rxfhConflict says what is wrong with the words that were given.
func rxfhConflict(given map[string]bool) string {
	const exclusive = " options are mutually exclusive"
	for _, c := range []struct {
		wrong bool
		why   string
	}{
		{given["equal"] && given["weight"], "Equal and weight" + exclusive},
		{given["equal"] && given["default"], "Equal and default" + exclusive},
		{given["weight"] && given["default"], "Weight and default" + exclusive},
		{given["start"] && given["default"], "Start and default" + exclusive},
		{given["start"] && !given["equal"] && !given["weight"], "Start must be used with equal or weight options"},
		{given["default"] && given["context"], "Default and context" + exclusive},
		{given["delete"] && !given["context"], "Delete option requires context option"},
		{given["delete"] && given["weight"], "Delete and weight" + exclusive},
		{given["delete"] && given["equal"], "Delete and equal" + exclusive},
		{given["delete"] && given["default"], "Delete and default" + exclusive},
		{given["delete"] && given["hkey"], "Delete and hkey" + exclusive},
	} {
		if c.wrong {
			return c.why
		}
	}
	return ""
}
