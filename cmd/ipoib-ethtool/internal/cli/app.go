package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"ipoib/nl"
	"ipoib/nl/ipoibnl"
)

// Socket is a netlink socket that is bound, with extended acks.
type Socket interface {
	PortID() uint32
	WriteDatagram([]byte) error
	ReadDatagram() (nl.Datagram, error)
	JoinGroup(uint32) error
	Close() error
}

// Endpoint is the service that is asked: IPoIB's, or in tests the kernel.
type Endpoint interface {
	// Open opens a socket of a netlink protocol, nl.ProtoGeneric or
	// nl.ProtoRoute. ErrNoService says that nobody answers.
	Open(proto int) (Socket, error)
	// Legacy is what ethtool asks by ioctl. The error is an errno.
	Legacy(ipoibnl.EthtoolRequest) (ipoibnl.EthtoolReply, error)
}

// ErrNoService is returned by an Endpoint that is not running.
var ErrNoService = errors.New("the service is not running (start it with: ipoib serve)")

// App is the program with its surroundings.
type App struct {
	Stdout, Stderr io.Writer
	// LineBuffered flushes the output at every line, as on a terminal.
	LineBuffered bool
	Endpoint     Endpoint
	Version      string
}

// wildcard is the name that means all interfaces.
const wildcard = "*"

// Run runs the program with its arguments, without the program's name, and
// returns the exit code.
func (a *App) Run(args []string) int {
	s := &session{app: a, out: newOutput(a.Stdout, a.LineBuffered), errw: a.Stderr, endpoint: a.Endpoint}
	defer s.out.flush()
	defer s.close()
	return s.run(args)
}

// run parses what comes before the command and starts it.
func (s *session) run(args []string) int {
flags:
	for len(args) > 0 {
		switch args[0] {
		case "--debug":
			if len(args) < 2 {
				return s.badArgs()
			}
			v, rest := cstrtoul(args[1], 0)
			if args[1] == "" || rest != "" {
				return s.badArgs()
			}
			s.debug = uint32(v)
			args = args[2:]
		case "--json":
			s.json = true
			args = args[1:]
		case "--include-statistics", "-I":
			s.stats = true
			args = args[1:]
		default:
			break flags
		}
	}
	if len(args) == 0 {
		return s.badArgs()
	}
	if args[0] == "--monitor" {
		s.args = args[1:]
		if s.monitor() != 0 {
			return 1
		}
		return 0
	}
	opt := &options[0]
	if o := findOption(args[0]); o != nil {
		opt, args = o, args[1:]
	} else if strings.HasPrefix(args[0], "-") {
		return s.badArgs()
	}
	if !opt.noDev {
		if len(args) == 0 {
			return s.badArgs()
		}
		s.dev, s.hasDev, args = args[0], true, args[1:]
	}
	if s.json && !opt.json {
		return s.badArgs()
	}
	s.args = args
	return s.start(opt)
}

// maxIoctlName is what fits into struct ifreq, in bytes (IFNAMSIZ - 1).
const maxIoctlName = 15

// start runs a command: by netlink if it can be, else by its old way.
func (s *session) start(opt *option) int {
	reason := "ioctl-only request"
	if opt.check == nil || opt.check(s) {
		code, why := s.startNetlink(opt)
		if why == "" {
			return code
		}
		reason = why
	}
	switch {
	case opt.old == nil:
		s.errorf("%s, subcommand not supported by ioctl\n", reason)
		return 1
	case s.dev == wildcard:
		s.errorf("%s, wildcard dump not supported\n", reason)
		return 1
	case len(s.dev) > maxIoctlName:
		s.errorf("%s, device name longer than %d not supported\n", reason, maxIoctlName)
		return 1
	case s.json:
		return s.badArgs()
	}
	code := opt.old(s)
	if s.lost != nil {
		return 1
	}
	return code & 0xff
}

// startNetlink runs the netlink form of a command. why says why there is
// none.
func (s *session) startNetlink(opt *option) (code int, why string) {
	if len(s.dev) > maxName {
		s.errorf("device name '%s' longer than %d characters\n", s.dev, maxName)
		return 1, ""
	}
	if opt.netlink == nil {
		return 0, "ethtool netlink support for subcommand missing"
	}
	if err := s.open(); err != nil {
		s.errorf("ipoib-ethtool: %v\n", err)
		return 1, ""
	}
	code = opt.netlink(s)
	if opt.old == nil || code != unsupported || !s.fallback {
		if s.noWildcard {
			s.errorf("subcommand does not support wildcard dump\n")
		}
		if code < 0 {
			code = 1
		}
		return code, ""
	}
	if s.noWildcard {
		return 0, "subcommand does not support wildcard dump"
	}
	return 0, "kernel netlink support for subcommand missing"
}

// badArgs refuses the command line.
func (s *session) badArgs() int {
	s.errorf("ethtool: bad command line argument(s)\nFor more information run ethtool -h\n")
	return 1
}

// errorf writes to standard error, which is not buffered.
func (s *session) errorf(format string, args ...any) {
	fmt.Fprintf(s.errw, format, args...)
}
