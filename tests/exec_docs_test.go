//go:build integration

package tests

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// documented is a command of a page of docs/commands that has a counterpart in
// ip or ethtool: what follows the prompt of the first host.
var documented = regexp.MustCompile(`(?m)^ibhost1# (.*)$`)

// standIn replaces our commands by those that they stand for.
var standIn = regexp.MustCompile(`\bipoib-ethtool\b|\bipoib\b(( -[a-z]+)* (link|monitor)\b)`)

// shortForm is a form of link add that ip does not have.
var shortForm = regexp.MustCompile(`\blink add \S+( pkey \S+)?(;|$)`)

// loopback is what ip shows and ipoib does not, in the forms of the pages.
var loopback = regexp.MustCompile(`(?m)^lo .*\n|^1: lo:.*\n(    .*\n)*`)

// Each command of the pages about ip's and ethtool's counterparts prints the
// same through the real tools.
func TestExecParityOfPages(t *testing.T) {
	l := newLab(t).up(2)
	ran := 0
	for _, page := range []string{"link.md", "ipoib-ethtool.md"} {
		text, err := os.ReadFile(filepath.Join("..", "docs", "commands", page))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range documented.FindAllStringSubmatch(string(text), -1) {
			ours := m[1]
			if !standIn.MatchString(ours) || strings.Contains(ours, "&") {
				continue
			}
			real := standIn.ReplaceAllStringFunc(ours, func(s string) string {
				if s == "ipoib-ethtool" {
					return "ethtool"
				}
				return "ip" + strings.TrimPrefix(s, "ipoib")
			})
			if shortForm.MatchString(ours) {
				real = ours
			}
			// What one host gives away comes to the other.
			ours = strings.ReplaceAll(ours, "ibhost2", "ibhost1")
			for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
				want := l.outcome(2, []string{"sh", "-c", ours})
				got := l.outcome(1, redirected("sh", "-c", real))
				if strings.Contains(ours, " -s ") || strings.Contains(ours, " -S ") {
					want, got = countless(want), countless(got)
				}
				want, got = hostNeutral(want), hostNeutral(loopback.ReplaceAllString(got, ""))
				if want == got {
					break
				}
				// What waits with sleep shows what comes in its time.
				if !strings.Contains(ours, "sleep ") || time.Now().After(end) {
					t.Errorf("%s\nours:\n%s\n%s\n%s", m[1], want, real, got)
					break
				}
			}
			ran++
		}
	}
	if ran == 0 {
		t.Fatal("the pages have no commands")
	}
	t.Logf("%d commands", ran)
}
