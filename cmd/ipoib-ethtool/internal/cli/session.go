package cli

import (
	"errors"
	"io"
	"syscall"

	"ipoib/nl"
	"ipoib/nl/ethnl"
	"ipoib/nl/genl"
)

// Results of commands that are no exit code: the program ends with 1, unless
// an unsupported command has an old form.
const (
	failed      = -1
	unsupported = -int(syscall.EOPNOTSUPP)
)

// maxName is the longest name of an interface, in bytes.
const maxName = ethnl.MaxDevName

// session is one run of the program.
type session struct {
	app      *App
	out      *output
	errw     io.Writer
	endpoint Endpoint

	// What the command line says.
	debug  uint32
	json   bool
	stats  bool
	dev    string
	hasDev bool
	args   []string

	// main carries the requests; second those for strings while an answer on
	// main is being read; route is rtnetlink.
	main, second, route *socket

	family uint16
	group  uint32
	ops    [256]opInfo

	// quiet hides refusals: 1 those with EOPNOTSUPP, 2 all.
	quiet int
	// exitCode overrides the one of a failed request.
	exitCode   int
	dumping    bool
	watching   bool
	bannered   bool
	filter     string
	filtered   bool
	name       string // of the interface in the answer
	hasName    bool
	fallback   bool
	lost       error // why the service could not be asked
	noWildcard bool

	global [ethnl.NumStringSets]*ethnl.StringSet
	perDev map[string]*[ethnl.NumStringSets]*ethnl.StringSet
}

// opInfo is what the controller says of a command.
type opInfo struct {
	flags genl.OpFlags
	// headerFlags are the flags that its request header may have, once
	// known.
	headerFlags uint32
	known       bool
}

var errNoFamily = errors.New("the service has no family " + ethnl.Name)

// The controller's numbers (uapi/linux/genetlink.h).
const (
	ctrlID        = 16
	ctrlGetFamily = 3
	ctrlGetPolicy = 10

	ctrlAttrFamilyID    = 1
	ctrlAttrFamilyName  = 2
	ctrlAttrOps         = 6
	ctrlAttrMcastGroups = 7
	ctrlAttrPolicy      = 8
	ctrlAttrOpPolicy    = 9
	ctrlAttrOp          = 10
)

// open connects to the family.
func (s *session) open() error {
	var err error
	if s.main, err = s.newSocket(nl.ProtoGeneric); err != nil {
		return err
	}
	s.quiet = 2
	defer func() { s.quiet = 0 }()
	s.main.begin(ctrlID, ctrlGetFamily, flagRequest|flagAck)
	s.main.enc.String(ctrlAttrFamilyName, ethnl.Name)
	if err := s.main.send(); err != nil {
		return err
	}
	s.main.receive(s.readFamily)
	if s.family == 0 {
		return errNoFamily
	}
	return nil
}

// readFamily takes the controller's answer.
func (s *session) readFamily(m *message) int {
	t := m.genl()
	s.family = t[ctrlAttrFamilyID].Uint16()
	for op := range t[ctrlAttrOps].Children() {
		o := parse(op)
		if id, ok := o.u32(1); ok && o.has(2) && id < uint32(len(s.ops)) {
			s.ops[id].flags = genl.OpFlags(o[2].Uint32())
		}
	}
	for g := range t[ctrlAttrMcastGroups].Children() {
		o := parse(g)
		if o.has(1) && o.has(2) && o[1].String() == ethnl.GroupMonitor {
			s.group = o[2].Uint32()
			break
		}
	}
	return cbOK
}

// close closes the sockets.
func (s *session) close() {
	for _, k := range []*socket{s.main, s.second, s.route} {
		if k != nil {
			_ = k.conn.Close()
		}
	}
}

// refused reports whether a command cannot be asked: the service does not
// have it, or not for all interfaces.
func (s *session) refused(cmd uint8, wildcards bool) bool {
	all := s.dev == wildcard
	if all && !wildcards {
		s.noWildcard = true
		return true
	}
	flags := s.ops[cmd].flags
	if flags == 0 {
		s.fallback = true
		return true
	}
	want := genl.CapDo
	if all {
		want = genl.CapDump
		if flags&want == 0 {
			s.noWildcard = true
		}
	}
	return flags&want == 0
}

// more refuses arguments behind those of a command that takes none.
func (s *session) more() bool {
	if len(s.args) == 0 {
		return false
	}
	s.errorf("ethtool: unexpected parameter '%s'\n", s.args[0])
	return true
}

// show is a command that asks for one message and prints the answer.
func (s *session) show(cmd uint8, header uint16, flags uint32, cb func(*message) int) int {
	if s.refused(cmd, true) {
		return unsupported
	}
	if s.more() {
		return 1
	}
	s.main.get(cmd, header, flags)
	return s.main.ask(cb)
}

// set sends a request without answer; code is the exit code of a failure.
func (s *session) set(code int) int {
	if s.main.send() != nil {
		return code
	}
	if s.main.receive(s.unexpected) == 0 {
		return 0
	}
	if s.exitCode != 0 {
		return s.exitCode
	}
	return code
}

// unexpected takes a message where none is expected.
func (s *session) unexpected(m *message) int {
	s.errorf("received unexpected message: len=%d type=%d cmd=%d\n", len(m.raw), m.typ, m.cmd())
	return cbOK
}

// silent reports whether an answer is one of many, each with an empty line
// before it.
func (s *session) silent() bool { return s.dumping || s.watching }

// refuse is the result of a callback that cannot use an answer.
func (s *session) refuse() int {
	if s.silent() {
		return cbOK
	}
	return cbError
}

// named takes the name of the interface from an answer, and reports whether
// it is to be shown.
func (s *session) named(header nl.Attr) bool {
	s.name, s.hasName = "", false
	if header.Data != nil {
		t := parse(header)
		s.name, s.hasName = "(none)", true
		if t.has(ethnl.HeaderDevName) {
			s.name = t[ethnl.HeaderDevName].String()
		}
	}
	return s.shown()
}

func (s *session) shown() bool { return !s.filtered || s.hasName && s.name == s.filter }

// title is the name as it is printed.
func (s *session) title() string {
	if !s.hasName {
		return "(null)"
	}
	return s.name
}

// secondSocket opens the socket for strings.
func (s *session) secondSocket() bool {
	if s.second != nil {
		return true
	}
	k, err := s.newSocket(nl.ProtoGeneric)
	s.second = k
	return err == nil
}
