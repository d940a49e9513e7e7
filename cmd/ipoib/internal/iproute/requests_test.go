package iproute

import (
	"bufio"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// requests reads testdata/requests.txt: after each "$ arguments" line the
// messages that ip sent, by socket.
func requests(t *testing.T) (lines []string, sent map[string][]string) {
	t.Helper()
	f, err := os.Open("testdata/requests.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sent = make(map[string][]string)
	for sc := bufio.NewScanner(f); sc.Scan(); {
		text := sc.Text()
		if cmd, ok := strings.CutPrefix(text, "$ "); ok {
			lines = append(lines, cmd)
		} else if n := len(lines); n > 0 && text != "" {
			sent[lines[n-1]] = append(sent[lines[n-1]], text)
		}
	}
	return lines, sent
}

// TestRequests compares what we send with what ip 6.1 sent for the same
// command line, in a namespace with the links ib0 (2, above ib1), ib1 (3) and i1 (5).
func TestRequests(t *testing.T) {
	lines, sent := requests(t)
	if len(lines) < 50 {
		t.Fatalf("%d command lines in the fixture", len(lines))
	}
	for _, line := range lines {
		f := &fakeService{}
		for name, index := range map[string]int32{"ib0": 2, "ib1": 3, "i1": 5} {
			l := ib(name, index, 0)
			l.Address = l.Address[:6] // as the fixture's stand-ins have it
			if name == "ib0" {
				l.Link = new(uint32(3))
			}
			f.links = append(f.links, l)
		}
		runFake(f, strings.Fields(line)...)
		if d := cmp.Diff(withoutSockets(sent[line]), withoutSockets(f.sent)); d != "" {
			t.Errorf("ip %s (-ip +ours):\n%s", line, d)
		}
	}
}

// withoutSockets leaves out on which socket a message was sent, and sockets
// that join no group: ip opens one for each question about a name.
func withoutSockets(lines []string) (out []string) {
	for _, l := range lines {
		w := strings.Fields(l)
		switch {
		case w[0] == "bind" && w[2] == "0x0":
		case len(w) == 3:
			out = append(out, w[0]+" "+w[2])
		default:
			out = append(out, w[1])
		}
	}
	return out
}
