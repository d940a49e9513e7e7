//go:build integration

package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// example is a command of a page in docs/commands, with its output.
type example struct {
	host   int
	line   string
	output string
}

// readExamples reads the console blocks of a page.
func readExamples(t *testing.T, file string) (out []example) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range strings.Split(string(text), "```console\n")[1:] {
		block, _, _ = strings.Cut(block, "```\n")
		for line := range strings.Lines(block) {
			if cmd, ok := strings.CutPrefix(line, "ibhost1# "); ok {
				out = append(out, example{1, strings.TrimSuffix(cmd, "\n"), ""})
			} else if cmd, ok := strings.CutPrefix(line, "# "); ok {
				out = append(out, example{0, strings.TrimSuffix(cmd, "\n"), ""})
			} else {
				out[len(out)-1].output += line
			}
		}
	}
	return out
}

var (
	number = regexp.MustCompile(`\S*\d\S*`)
	blanks = regexp.MustCompile(`[ \t-]+`)
	// known are the states of a neighbour whose address is known; which one it
	// has is a matter of seconds.
	known = regexp.MustCompile(`\b(REACHABLE|STALE|DELAY|PROBE)\b`)
	// inTime are examples that show what comes in its time: they are repeated
	// until they print what the page says.
	inTime = regexp.MustCompile(`\bsleep\b|^ipoib mcg ib0$`)
	// rows are examples that print lines of a few kinds, some more often than
	// on the page and in another order: groups, and packets.
	rows = regexp.MustCompile(`^ipoib mcg ib0$|^tshark`)
	// drops are the lines of reasons that occurred, of which the page of
	// ipoib stats has none: a packet or two to a group may be too early.
	drops = regexp.MustCompile(`(?m)^    drop \w+: [1-9].*\n`)
)

// shape is a line of output without numbers, names that contain some, and
// alignment.
func shape(line string) string {
	line = known.ReplaceAllString(line, "REACHABLE")
	return strings.TrimRight(blanks.ReplaceAllString(number.ReplaceAllString(line, "#"), " "), " ")
}

// differs tells how an output differs in shape from that of the page, or
// returns "".
func (x example) differs(output string) string {
	if x.line == "ipoib stats ib0" {
		output = drops.ReplaceAllString(output, "")
	}
	got, want := strings.Split(strings.TrimSuffix(output, "\n"), "\n"), strings.Split(strings.TrimSuffix(x.output, "\n"), "\n")
	if rows.MatchString(x.line) {
		return inOthers(got, want, "not on the page") + inOthers(want, got, "missing")
	}
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("it ends before line %d\nthe page: %.200q", i+1, want[i])
		case i >= len(want):
			return fmt.Sprintf("line %d: %.200q\nthe page ends before", i+1, got[i])
		case shape(got[i]) != shape(want[i]):
			return fmt.Sprintf("line %d: %.200q\nthe page: %.200q", i+1, got[i], want[i])
		}
	}
	return ""
}

// inOthers returns the first of some lines that has the shape of no other.
func inOthers(lines, others []string, what string) string {
	for _, line := range lines {
		if !slices.ContainsFunc(others, func(o string) bool { return shape(o) == shape(line) }) {
			return fmt.Sprintf("%s: %.200q\n", what, line)
		}
	}
	return ""
}

// example runs an example and returns what it prints, with the run directory
// and the name of the machine that the pages have.
func (l *lab) example(x example) string {
	args := []string{"bash", "-c", x.line}
	if x.host > 0 {
		args = append([]string{"ipoib"}, in(x.host, args...)...)
	}
	out, _ := l.command("timeout", append([]string{"60"}, args...)...).CombinedOutput()
	host, err := os.Hostname()
	if err != nil {
		l.t.Fatal(err)
	}
	return strings.NewReplacer(l.runDir, "/run/ipoib", host+" switch", "host switch").Replace(string(out))
}

// checkExample runs an example and compares.
func (l *lab) checkExample(x example) {
	l.t.Helper()
	first := ""
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		out := l.example(x)
		diff := x.differs(out)
		if diff == "" {
			return
		}
		if first == "" {
			first = fmt.Sprintf("%s\nit prints\n%.1500s", diff, out)
		}
		if !inTime.MatchString(x.line) || time.Now().After(end) {
			break
		}
	}
	l.t.Errorf("%s\n%s", x.line, first)
}

// serviceOfExample starts the service of an example; it is ended with the test.
func (l *lab) serviceOfExample(line, runDir string) {
	l.t.Helper()
	cmd := l.command("bash", "-c", "exec env "+line)
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		_ = l.try("ipoib", "--run-dir", runDir, "serve", "--teardown")
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	l.eventually("the example's service answers", func() bool {
		return l.try("ipoib", "--run-dir", runDir, "fabric", "manager") == nil
	})
}

// TestDocs runs the examples of the pages about commands, those of each page in
// hosts of their own: each must print what the page says, but for numbers.
func TestDocs(t *testing.T) {
	pages, err := filepath.Glob("../docs/commands/*.md")
	if err != nil || len(pages) < 13 {
		t.Fatal(pages, err)
	}
	t.Cleanup(func() { _ = os.Remove("/tmp/example.pcapng") })
	for _, page := range pages {
		examples := readExamples(t, page)
		if len(examples) == 0 {
			continue
		}
		t.Run(filepath.Base(page), func(t *testing.T) {
			l := newLab(t).up(2)
			for _, x := range examples {
				if x.line == "ipoib lab up" {
					continue // they are
				}
				if line, ok := strings.CutSuffix(x.line, "& sleep 0.5"); ok {
					l.serviceOfExample(line, "/run/other")
					continue
				}
				l.checkExample(x)
			}
		})
	}
}

// TestDocsComplete: there is a page for each command.
func TestDocsComplete(t *testing.T) {
	l := newLab(t)
	command := regexp.MustCompile(`(?m)^   (\w+)(?:, \w+)?  `)
	found := command.FindAllStringSubmatch(l.run("ipoib", "help"), -1)
	if len(found) < 13 {
		t.Errorf("%d commands", len(found))
	}
	for _, m := range found {
		if _, err := os.Stat("../docs/commands/" + m[1] + ".md"); err != nil && m[1] != "help" {
			t.Errorf("no page for %s", m[1])
		}
	}
}
