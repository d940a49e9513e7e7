package main

import (
	"slices"
	"strings"
	"testing"

	"ipoib/cmd/internal/bashcomp/bashtest"
)

// runApp runs the program and returns what it printed.
func runApp(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e strings.Builder
	code = run(t.Context(), append([]string{"ipoib"}, args...), strings.NewReader(""), &o, &e)
	return code, o.String(), e.String()
}

// TestCompletion asks bash what it offers.
func TestCompletion(t *testing.T) {
	code, script, errOut := runApp(t, "completion", "bash")
	if code != 0 || errOut != "" {
		t.Fatalf("code %d\n%s", code, errOut)
	}
	// A line that ends with a blank may be offered more than is listed.
	for line, want := range map[string]string{
		"ipoib l":                                     "lab link log",
		"ipoib m":                                     "monitor mcg",
		"ipoib help pk":                               "pkey",
		"ipoib --run-dir completion_t":                "completion_test.go",
		"ipoib --run-dir x -d -j link s":              "set show",
		"ipoib link add ib0.8001 pk":                  "pkey",
		"ipoib link add link ib0 name x type ":        "ipoib",
		"ipoib link add link ib0 name x type ipoib m": "mode",
		"ipoib link add ib0.8001 mode ":               "datagram connected",
		"ipoib link set ib0 ty":                       "type",
		"ipoib link set ib0 type ipoib mode c":        "connected",
		"ipoib link set ib0 type ipoib umcast ":       "0 1",
		"ipoib link set dev ib0 mode ":                "default dormant",
		"ipoib link set ib0 mtu ":                     "",
		"ipoib link set ib0 promisc on al":            "alias allmulticast",
		"ipoib link change ib0 addrgenmode r":         "random",
		"ipoib link show ty":                          "type",
		"ipoib link show type ":                       "ipoib",
		"ipoib link del ib0.8001 type i":              "ipoib",
		"ipoib link property add dev ib0 al":          "altname",
		"ipoib link help ":                            "ipoib",
		"ipoib -n x -batch completion_t":              "completion_test.go",
		"ipoib monitor l":                             "link label",
		"ipoib serve --log-level w":                   "warn",
		"ipoib serve --hca a,ports=2 --par":           "--partitions --param",
		"ipoib lab ":                                  "up status exec down --help",
		"ipoib lab up --h":                            "--hosts --help",
		"ipoib lab exec 1 ":                           "bash",
		"ipoib neigh d":                               "del dev",
		"ipoib neigh add 10.0.0.1 ll":                 "lladdr",
		"ipoib fabric ":                               "manager nodes partitions groups hcas link sm --json -j --help",
		"ipoib fabric sm re":                          "reload resume restart",
		"ipoib fabric link soft0/1 ":                  "up down set",
		"ipoib pkey explain --p":                      "--parent",
		"ipoib completion ":                           "bash --help",
		"ipoib capture -w completion_t":               "completion_test.go",
	} {
		got := bashtest.Complete(t, script, line)
		w := strings.Fields(want)
		for _, word := range w {
			if !slices.Contains(got, word) {
				t.Errorf("%q: no %q in %q", line, word, got)
			}
		}
		if want == "" || line[len(line)-1] != ' ' {
			slices.Sort(got)
			slices.Sort(w)
			if !slices.Equal(got, w) {
				t.Errorf("%q: %q, want %q", line, got, w)
			}
		}
	}
	if code, _, errOut := runApp(t, "completion", "fish"); code != 1 || !strings.Contains(errOut, "Usage: ipoib completion bash") {
		t.Errorf("fish: code %d, %s", code, errOut)
	}
}
