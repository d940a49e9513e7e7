package iproute

import (
	"strings"

	"ipoib/cmd/ipoib/internal/linkfmt"
)

// Address families that -f and its short forms name.
const (
	afInet   = 2
	afBridge = 7
	afInet6  = 10
	afPacket = 17
	afMPLS   = 28
)

// options are the global options.
type options struct {
	linkfmt.Options
	family        uint8
	timestamp     int // -t, and -ts counts too
	timestampFull bool
	force, echo   bool
	batch         string
	netns         string
	runDir        string
	color         colorWhen
	version, help bool
}

type colorWhen uint8

const (
	colorNever colorWhen = iota
	colorAuto
	colorAlways
)

// optionError is a wrong option: what ip prints and exits with.
type optionError struct {
	text  string
	code  int
	usage bool
}

func (e *optionError) Error() string { return e.text }

// parseOptions reads the options in front of the object, abbreviated as ip
// allows, and returns what follows them (ip/ip.c: main).
func parseOptions(args []string) (o options, rest []string, err error) {
	for len(args) > 0 {
		opt := args[0]
		if opt == "--" {
			args = args[1:]
			break
		}
		if opt == "" || opt[0] != '-' {
			break
		}
		if strings.HasPrefix(opt, "--") {
			opt = opt[1:]
		}
		n, err := o.take(opt, args[1:])
		if err != nil {
			return o, nil, err
		}
		args = args[1+n:]
		if o.version || o.help {
			break
		}
	}
	return o, args, nil
}

// take applies one option and returns how many arguments it took. The order of
// the cases decides what an abbreviation means.
func (o *options) take(opt string, args []string) (int, error) {
	is := func(word string) bool { return matches(opt, word) }
	value := func(set func(string) error) (int, error) {
		if len(args) == 0 {
			return 0, &optionError{code: 255, usage: true}
		}
		return 1, set(args[0])
	}
	keep := func(at *string) (int, error) {
		return value(func(s string) error { *at = s; return nil })
	}
	switch {
	case is("-loops"):
		return value(func(string) error { return nil })
	case is("-family"):
		return value(o.setFamily)
	case opt == "-4":
		o.family = afInet
	case opt == "-6":
		o.family = afInet6
	case opt == "-0":
		o.family = afPacket
	case opt == "-M":
		o.family = afMPLS
	case opt == "-B":
		o.family = afBridge
	case is("-human"), is("-human-readable"):
		o.Human = true
	case is("-iec"):
		o.IEC = true
	case is("-stats"), is("-statistics"):
		o.Stats++
	case is("-details"):
		o.Details = true
	case is("-resolve"):
	case is("-oneline"):
		o.OneLine = true
	case is("-timestamp"):
		o.timestamp++
		o.timestampFull = true
	case is("-tshort"):
		o.timestamp++
		o.timestampFull = false
	case is("-Version"):
		o.version = true
	case is("-force"):
		o.force = true
	case is("-batch"):
		return keep(&o.batch)
	case is("-brief"):
		o.Brief = true
	case is("-json"):
		o.JSON = true
	case is("-pretty"):
		o.Pretty = true
	case is("-rcvbuf"):
		return value(func(s string) error {
			if _, ok := getUnsigned(s, 1<<32-1); !ok {
				return &optionError{text: "Invalid rcvbuf size '" + s + "'\n", code: 255}
			}
			return nil
		})
	case o.setColor(opt):
	case is("-help"):
		return 0, &optionError{code: 255, usage: true}
	case is("-netns"):
		if len(args) == 0 {
			return 0, &optionError{text: "Command line is not complete. Try option \"help\"\n", code: 255}
		}
		return keep(&o.netns)
	case is("-Numeric"):
		o.Numeric = true
	case is("-all"):
	case opt == "-echo":
		o.echo = true
	case opt == "-run-dir":
		return keep(&o.runDir)
	case strings.HasPrefix(opt, "-run-dir="):
		o.runDir = strings.TrimPrefix(opt, "-run-dir=")
	default:
		return 0, &optionError{text: "Option \"" + opt + "\" is unknown, try \"ip -help\".\n", code: 255}
	}
	return 0, nil
}

func (o *options) setFamily(s string) error {
	f, ok := map[string]uint8{"inet": afInet, "inet6": afInet6, "link": afPacket, "mpls": afMPLS, "bridge": afBridge}[s]
	switch {
	case s == "help":
		return &optionError{code: 255, usage: true}
	case !ok:
		return &optionError{text: "Error: argument \"" + s + "\" is wrong: invalid protocol family\n", code: 255}
	}
	o.family = f
	return nil
}

// setColor reads -c[olor][=always|auto|never].
func (o *options) setColor(opt string) bool {
	word, when, _ := strings.Cut(opt, "=")
	if !matches(word, "-color") {
		return false
	}
	switch when {
	case "", "always":
		o.color = colorAlways
	case "auto":
		o.color = colorAuto
	case "never":
		o.color = colorNever
	default:
		return false
	}
	return true
}

// enableColor decides about colours once the output is known.
func (o *options) enableColor(env *Env) {
	if o.JSON || o.color == colorNever || o.color == colorAuto && !env.Terminal {
		return
	}
	o.Color = true
	if i := strings.LastIndexByte(env.ColorFGBG, ';'); i >= 0 {
		bg := env.ColorFGBG[i+1:]
		o.Dark = len(bg) == 1 && (bg >= "0" && bg <= "6" || bg == "8")
	}
}
