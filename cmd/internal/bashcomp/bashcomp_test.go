package bashcomp

import (
	"slices"
	"strings"
	"testing"

	"ipoib/cmd/internal/bashcomp/bashtest"
)

// TestWalk walks a grammar with values, other words and words that have to be
// quoted.
func TestWalk(t *testing.T) {
	g := &Grammar{Program: "to-ol"}
	root := g.Add(Root, "-v", "it's")
	root.Value("--file", Files)
	root.Then("set", "/set")
	g.Add("/set", "dev0", "dev1").Other = "/set/"
	set := g.Add("/set/", "up")
	set.Value("mode", "fast", "slow")
	set.Value("mtu")
	set.Value("type", "big")
	set.Next["type"] = "/big"
	g.Add("/big", "colour")
	var script strings.Builder
	if err := g.Write(&script); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"to-ol ":                              "-v it's --file set",
		"to-ol i":                             "it's",
		"to-ol --file bashcomp.g":             "bashcomp.go",
		"to-ol --file x s":                    "set",
		"to-ol -v set ":                       "dev0 dev1",
		"to-ol set dev1 m":                    "mode mtu",
		"to-ol set dev1 mode ":                "fast slow",
		"to-ol set dev1 mode fast mtu ":       "",
		"to-ol set dev1 mtu 3 u":              "up",
		"to-ol set dev1 mtu 3 up type ":       "big",
		"to-ol set dev1 type big ":            "colour",
		"to-ol set dev1 type big colour c":    "colour",
		"to-ol set dev1 no such word mode sl": "slow",
	} {
		if got := bashtest.Complete(t, script.String(), line); !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}
