//go:build integration

package tests

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
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
	// variable are commands whose output is another one each time, not in
	// numbers only.
	variable = regexp.MustCompile(`ping|tshark|groups|mcg|nodes|partitions|monitor|IPOIB_RUN_DIR|serve --no-hca|ipoib log`)
)

// shape is an output without numbers, names that contain some, and alignment.
func shape(s string) string { return blanks.ReplaceAllString(number.ReplaceAllString(s, "#"), " ") }

// TestDocs runs the examples of the pages about commands: each must print what
// the page says, but for numbers, and there is a page for each command.
func TestDocs(t *testing.T) {
	pages, err := filepath.Glob("../docs/commands/*.md")
	if err != nil || len(pages) < 13 {
		t.Fatal(pages, err)
	}
	var names []string
	for _, p := range pages {
		names = append(names, strings.TrimSuffix(filepath.Base(p), ".md"))
	}
	l := newLab(t).up(2)
	for line := range strings.Lines(l.run("ipoib", "help")) {
		f := strings.Fields(strings.ReplaceAll(line, ",", " "))
		if strings.HasPrefix(line, "   ") && len(f) > 2 && f[0] != "help" && !strings.HasPrefix(f[0], "-") &&
			strings.Contains(line, "  ") && !slices.Contains(names, f[0]) && regexp.MustCompile(`^   \w+(, \w+)?  `).MatchString(line) {
			t.Errorf("no page for %s", f[0])
		}
	}
	for _, page := range pages {
		for _, x := range readExamples(t, page) {
			if x.line == "ipoib lab up" {
				continue // they are
			}
			if line, ok := strings.CutSuffix(x.line, "& sleep 0.5"); ok {
				// A service that goes on.
				cmd := l.command("bash", "-c", line)
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				defer func() { _ = cmd.Wait() }()
				l.eventually("the example's service answers", func() bool {
					return l.try("ipoib", "--run-dir", "/run/other", "fabric", "manager") == nil
				})
				continue
			}
			args := []string{"-c", x.line}
			cmd := l.command("bash", args...)
			if x.host > 0 {
				cmd = l.command("ipoib", in(x.host, append([]string{"bash"}, args...)...)...)
			}
			out, _ := cmd.CombinedOutput()
			switch {
			case variable.MatchString(x.line):
				if (len(out) == 0) != (x.output == "") || strings.Contains(string(out), "panic") {
					t.Errorf("%s: %s\n%s", page, x.line, out)
				}
			case shape(string(out)) != shape(x.output):
				t.Errorf("%s: %s\nprints\n%s\nthe page says\n%s", page, x.line, out, x.output)
			}
		}
	}
}
