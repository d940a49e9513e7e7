package iproute

import (
	"errors"
	"fmt"
	"runtime"
	"slices"

	"ipoib/cmd/ipoib/internal/linkfmt"
	"ipoib/nl"
)

// session is one run of the program: in a batch file, all its commands.
type session struct {
	env Env
	o   options
	out *linkfmt.Printer
	// rth is the main socket, nil when closed.
	rth *handle
	// nsh asks for namespace ids.
	nsh    *handle
	links  cache
	probed bool
	groups map[uint32]string
	nsids  map[int32]string
}

// Handles reports whether a command line, without the program's name, is one
// of this package: `link`, `monitor`, a batch file, or -V.
func Handles(args []string) bool {
	o, rest, err := parseOptions(args)
	switch {
	case err != nil:
		// Options of other commands are not ours to judge.
		return slices.ContainsFunc(args, func(w string) bool { return w == "link" || w == "monitor" })
	case o.batch != "" || o.version:
		return true
	case len(rest) == 0:
		return false
	}
	_, ok := object(rest[0])
	return ok
}

// object finds a command by its abbreviation.
func object(word string) (func(*session, []string) error, bool) {
	switch {
	case matches(word, "link"):
		return (*session).link, true
	case len(word) > 1 && matches(word, "monitor"):
		// "m" is another object in ip.
		return (*session).monitor, true
	}
	return nil, false
}

// Run runs a command line, without the program's name, and returns the exit
// code. With -netns it changes the network namespace of its thread for good.
func Run(args []string, env Env) int {
	o, rest, err := parseOptions(args)
	if err != nil {
		var oe *optionError
		errors.As(err, &oe)
		fmt.Fprint(env.Stderr, oe.text)
		if oe.usage {
			fmt.Fprint(env.Stderr, usage)
		}
		return oe.code
	}
	if o.version {
		fmt.Fprintf(env.Stdout, "ipoib utility, ipoib-%s\n", env.Version)
		return 0
	}
	if o.netns != "" {
		// The thread is in the namespace from now on, and ends with us.
		runtime.LockOSThread()
		if err := env.Host.EnterNetNS(o.netns); err != nil {
			fmt.Fprintln(env.Stderr, err)
			return 255
		}
	}
	o.enableColor(&env)
	s := &session{env: env, o: o}
	s.out = linkfmt.New(env.Stdout, o.Options, names{s})
	defer s.close()
	if o.batch != "" {
		return codeOf(s.batch())
	}
	if h, err := s.dial(nl.ConnConfig{StrictCheck: true}); err == nil {
		s.rth = h
	} else if !isHelp(rest) {
		return codeOf(s.noSocket(err))
	}
	if len(rest) == 0 {
		fmt.Fprint(env.Stderr, usage)
		return 255
	}
	return codeOf(s.command(rest))
}

// isHelp reports whether a command asks for the help of an object, which needs
// no service.
func isHelp(words []string) bool { return len(words) > 1 && matches(words[1], "help") }

func (s *session) close() {
	_ = s.out.Flush()
	for _, h := range []*handle{s.rth, s.nsh} {
		if h != nil {
			_ = h.sock.Close()
		}
	}
}

// command runs one object with its arguments.
func (s *session) command(args []string) error {
	if run, ok := object(args[0]); ok {
		return run(s, args[1:])
	}
	if s.env.Object != nil {
		_ = s.out.Flush()
		if code, ok := s.env.Object(args); ok {
			if code != 0 {
				return exit{code: code}
			}
			return nil
		}
	}
	s.errorf("Object \"%s\" is unknown, try \"ip help\".\n", args[0])
	return errFailed
}

// args is the cursor over the words of a command.
type args struct {
	s    *session
	list []string
}

// word returns the present word, "" at the end.
func (a *args) word() string {
	if len(a.list) == 0 {
		return ""
	}
	return a.list[0]
}

// step goes to the next word (argc--, argv++).
func (a *args) step() { a.list = a.list[1:] }

// next goes to the next word, which must be there (NEXT_ARG).
func (a *args) next() (string, error) {
	a.step()
	if len(a.list) == 0 {
		return "", a.s.incomplete()
	}
	return a.list[0], nil
}
