package iproute

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
)

// exit is an error that was printed already. code is the exit code of the
// process; fatal ends it also in a batch file.
type exit struct {
	code  int
	fatal bool
}

func (e exit) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// Exit codes: a command that returns -1 or -2, and exit(-1), in ip.
var (
	errFailed  = exit{code: 1}
	errRefused = exit{code: 2}
)

func fatal(code int) error { return exit{code: code, fatal: true} }

// codeOf returns the exit code of the outcome of a command.
func codeOf(err error) int {
	var e exit
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.code
	}
	return 1
}

func (s *session) errorf(format string, args ...any) {
	_ = s.out.Flush()
	fmt.Fprintf(s.env.Stderr, format, args...)
}

// The errors of lib/utils.c, which end the process.

func (s *session) incomplete() error {
	s.errorf("Command line is not complete. Try option \"help\"\n")
	return fatal(255)
}

func (s *session) invalid(msg, arg string) error {
	s.errorf("Error: argument \"%s\" is wrong: %s\n", arg, msg)
	return fatal(255)
}

func (s *session) duplicate(key, arg string) error {
	s.errorf("Error: duplicate \"%s\": \"%s\" is the second value.\n", key, arg)
	return fatal(255)
}

func (s *session) garbage(key, arg string) error {
	s.errorf("Error: either \"%s\" is duplicate, or \"%s\" is a garbage.\n", key, arg)
	return fatal(255)
}

func (s *session) noDevice(name string) error {
	s.errorf("Cannot find device \"%s\"\n", name)
	return errFailed
}

func (s *session) onOff(msg, value string) error {
	s.errorf("Error: argument of \"%s\" must be \"on\" or \"off\", not \"%s\"\n", msg, value)
	return errFailed
}

// strerror returns the C library's text of an error: that of Go with a capital
// letter.
func strerror(err error) string {
	var num syscall.Errno
	if !errors.As(err, &num) {
		if errors.Is(err, io.EOF) {
			return "Success"
		}
		return err.Error()
	}
	t := num.Error()
	if t == "" {
		return t
	}
	return strings.ToUpper(t[:1]) + t[1:]
}
