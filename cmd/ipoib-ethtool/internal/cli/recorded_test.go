package cli

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"ipoib/nl"
	"ipoib/nl/ipoibnl"
)

// recording is what ethtool 6.1 sent, was answered and printed for a command
// line, on a TUN named ib0 (testdata/recorded.txt).
type recording struct {
	line string
	// steps are "SOCKET > DATAGRAM", "SOCKET < DATAGRAM" and "SOCKET join
	// GROUP", with sockets by number in the order in which they were opened,
	// and datagrams as in the table.
	steps       []string
	out, errOut string
	code        int
}

// readRecordings reads the fixture: a table of datagrams, and command lines.
func readRecordings(t testing.TB) (list []recording, datagrams [][]byte) {
	t.Helper()
	text, err := os.ReadFile("testdata/recorded.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "", "#":
		case "datagram":
			_, data, _ := strings.Cut(rest, " ")
			b, err := hex.DecodeString(data)
			if err != nil {
				t.Fatal(err)
			}
			datagrams = append(datagrams, b)
		case "$":
			list = append(list, recording{line: strings.TrimPrefix(rest, "ethtool ")})
		default:
			r := &list[len(list)-1]
			switch word {
			case "out", "err":
				s, err := strconv.Unquote(rest)
				if err != nil {
					t.Fatalf("%s: %v", line, err)
				}
				if word == "out" {
					r.out = s
				} else {
					r.errOut = s
				}
			case "exit":
				if r.code, err = strconv.Atoi(rest); err != nil {
					t.Fatal(err)
				}
			default:
				r.steps = append(r.steps, line)
			}
		}
	}
	return list, datagrams
}

// player is the kernel as it was recorded.
type player struct {
	*recording
	datagrams [][]byte
	sockets   int
	problems  []string
}

func (p *player) failf(format string, args ...any) error {
	p.problems = append(p.problems, fmt.Sprintf(format, args...))
	return syscall.EIO
}

// Open implements Endpoint.
func (p *player) Open(int) (Socket, error) {
	p.sockets++
	return &playedSocket{p, p.sockets - 1}, nil
}

// Legacy implements Endpoint: these commands are not recorded.
func (p *player) Legacy(ipoibnl.EthtoolRequest) (r ipoibnl.EthtoolReply, err error) {
	return r, p.failf("an old request")
}

// next takes the next step of a socket, which must be of the kind.
func (p *player) next(socket int, kind string) (string, bool) {
	prefix := fmt.Sprint(socket, " ")
	for i, s := range p.steps {
		if rest, ok := strings.CutPrefix(s, prefix); ok {
			arg, ok := strings.CutPrefix(rest, kind+" ")
			if ok {
				p.steps = append(p.steps[:i:i], p.steps[i+1:]...)
			}
			return arg, ok
		}
	}
	return "", false
}

func (p *player) datagram(arg string) []byte {
	n, err := strconv.Atoi(arg)
	if err != nil || n >= len(p.datagrams) {
		return nil
	}
	return bytes.Clone(p.datagrams[n])
}

type playedSocket struct {
	p *player
	n int
}

func (s *playedSocket) PortID() uint32 { return 0 }
func (s *playedSocket) Close() error   { return nil }

func (s *playedSocket) WriteDatagram(b []byte) error {
	arg, ok := s.p.next(s.n, ">")
	if !ok {
		return s.p.failf("socket %d sends\n%s", s.n, nl.FormatDatagram(nl.ProtoGeneric, b))
	}
	if want := s.p.datagram(arg); !bytes.Equal(b, want) {
		return s.p.failf("socket %d sends\n%s\n% x\nnot\n%s\n% x", s.n, nl.FormatDatagram(nl.ProtoGeneric, b), b,
			nl.FormatDatagram(nl.ProtoGeneric, want), want)
	}
	return nil
}

func (s *playedSocket) ReadDatagram() (nl.Datagram, error) {
	arg, ok := s.p.next(s.n, "<")
	if !ok {
		return nl.Datagram{}, s.p.failf("socket %d receives", s.n)
	}
	return nl.Datagram{Bytes: s.p.datagram(arg)}, nil
}

func (s *playedSocket) JoinGroup(g uint32) error {
	if arg, ok := s.p.next(s.n, "join"); !ok || arg != fmt.Sprint(g) {
		return s.p.failf("socket %d joins %d", s.n, g)
	}
	return nil
}

// TestRecorded: for each command line we send the bytes that ethtool sent, and
// of the kernel's answers print what it printed.
func TestRecorded(t *testing.T) {
	list, datagrams := readRecordings(t)
	if len(list) < 80 {
		t.Fatalf("%d command lines", len(list))
	}
	for _, r := range list {
		p := &player{recording: &r, datagrams: datagrams}
		var out, errOut strings.Builder
		app := App{Stdout: &out, Stderr: &errOut, Endpoint: p}
		code := app.Run(split(r.line))
		for _, s := range p.problems {
			t.Errorf("%s: %s", r.line, s)
		}
		if len(p.steps) > 0 {
			t.Errorf("%s: left out: %q", r.line, p.steps)
		}
		if out.String() != r.out || errOut.String() != r.errOut || code != r.code {
			t.Errorf("%s: exit %d, %q, %q; want %d, %q, %q", r.line, code, out.String(), errOut.String(), r.code, r.out, r.errOut)
		}
	}
}
