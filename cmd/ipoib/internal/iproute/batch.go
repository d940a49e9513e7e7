package iproute

import (
	"bufio"
	"errors"
	"io"
	"strings"

	"ipoib/nl"
)

// maxArgs is MAX_ARGS of iproute2.
const maxArgs = 512

// batch runs the commands of a file (lib/utils.c: do_batch).
func (s *session) batch() error {
	h, err := s.dial(nl.ConnConfig{})
	if err != nil {
		return s.noSocket(err)
	}
	s.rth = h
	in := s.env.Stdin
	if name := s.o.batch; name != "-" {
		f, err := s.env.Host.Open(name)
		if err != nil {
			s.errorf("Cannot open file \"%s\" for reading: %s\n", name, strerror(err))
			return errFailed
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	lines := &lineReader{r: bufio.NewReader(in)}
	family := s.o.family
	var result error
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			return result
		}
		if err != nil {
			s.errorf("Missing continuation line\n")
			return result
		}
		words, problem := splitWords(line)
		if problem != "" {
			s.errorf("%s\n", problem)
			return fatal(1)
		}
		if len(words) == 0 {
			continue
		}
		s.o.family = family
		err = s.command(words)
		var e exit
		if errors.As(err, &e) && e.fatal {
			return err
		}
		if err != nil {
			s.errorf("Command failed %s:%d\n", s.o.batch, lines.n)
			result = errFailed
			if !s.o.force {
				return result
			}
		}
	}
}

// lineReader reads lines without comments, joined where they end with a
// backslash (lib/utils.c: getcmdline).
type lineReader struct {
	r *bufio.Reader
	n int // lines read
}

var errNoContinuation = errors.New("missing continuation line")

func (l *lineReader) raw() (string, error) {
	line, err := l.r.ReadString('\n')
	if line == "" && err != nil {
		return "", io.EOF
	}
	l.n++
	if i := strings.IndexByte(line, '#'); i >= 0 {
		line = line[:i]
	}
	return line, nil
}

func (l *lineReader) next() (string, error) {
	line, err := l.raw()
	if err != nil {
		return "", err
	}
	for {
		i := strings.Index(line, "\\\n")
		if i < 0 {
			return line, nil
		}
		more, err := l.raw()
		if err != nil {
			return "", errNoContinuation
		}
		line = line[:i] + more
	}
}

// splitWords splits a line at blanks; a word may be in quotes (lib/utils.c:
// makeargs). problem is what ip prints before it gives up.
func splitWords(line string) (words []string, problem string) {
	const blank = " \t\r\n"
	for {
		line = strings.TrimLeft(line, blank)
		if line == "" {
			return words, ""
		}
		if len(words) >= maxArgs-1 {
			return nil, "Too many arguments to command"
		}
		if q := line[0]; q == '\'' || q == '"' {
			i := strings.IndexByte(line[1:], q)
			if i < 0 {
				return nil, "Unterminated quoted string"
			}
			words = append(words, line[1:1+i])
			line = line[i+2:]
			continue
		}
		i := strings.IndexAny(line, blank)
		if i < 0 {
			return append(words, line), ""
		}
		words = append(words, line[:i])
		line = line[i+1:]
	}
}
