package cli

// Limits of numbers.
const (
	max8  = 1<<8 - 1
	max16 = 1<<16 - 1
	max32 = 1<<32 - 1
)

// word is a word of a command's arguments and what the one behind it must be.
type word struct {
	name  string
	check func(string) bool
}

// words reads pairs of a word and its value, and reports whether all of them
// are known and valid.
func (s *session) words(list ...word) bool {
	args := s.args
next:
	for len(args) > 0 {
		for _, w := range list {
			if w.name != args[0] {
				continue
			}
			if len(args) < 2 || !w.check(args[1]) {
				return false
			}
			args = args[2:]
			continue next
		}
		return false
	}
	return true
}

func anyWord(string) bool { return true }

func isOnOff(v string) bool { return v == "on" || v == "off" }

// onInto takes on or off.
func onInto(dst *bool) func(string) bool {
	return func(v string) bool {
		*dst = v == "on"
		return isOnOff(v)
	}
}

// upTo takes a number.
func upTo(limit uint64) func(string) bool {
	return func(v string) bool {
		_, ok := number(v, limit)
		return ok
	}
}

// into takes a number and stores it.
func into(dst **uint64, limit uint64) func(string) bool {
	return func(v string) bool {
		n, ok := number(v, limit)
		*dst = &n
		return ok
	}
}
