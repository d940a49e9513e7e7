// Package bashtest asks bash what a completion script offers.
package bashtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Complete reads a script into bash and returns what it offers at the end of a
// command line, whose last word may be empty ("ipoib link ").
func Complete(t testing.TB, script, line string) []string {
	t.Helper()
	if _, err := exec.LookPath("bash"); err != nil {
		if os.Getenv("IPOIB_TEST_TOOLS") == "1" {
			t.Fatal(err)
		}
		t.Skip("no bash")
	}
	file := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(line)
	if strings.HasSuffix(line, " ") {
		words = append(words, "")
	}
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = "'" + w + "'"
	}
	// What an interactive shell does, with nounset to find slips.
	text := fmt.Sprintf("set -u; source %s || exit 1; COMP_WORDS=(%s); COMP_CWORD=%d; "+
		"f=$(complete -p %s) || exit 1; f=${f#*-F }; ${f%%%% *}; for w in \"${COMPREPLY[@]}\"; do printf '%%s\\n' \"$w\"; done",
		file, strings.Join(quoted, " "), len(words)-1, words[0])
	cmd := exec.Command("bash", "--norc", "--noprofile", "-c", text)
	var errOut strings.Builder
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil || errOut.Len() > 0 {
		t.Fatalf("bash, for %q: %v\n%s", line, err, errOut.String())
	}
	return strings.Fields(string(out))
}
