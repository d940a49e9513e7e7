package cli

import (
	"slices"
	"strings"
	"testing"

	"ipoib/cmd/internal/bashcomp/bashtest"
)

// TestCompletion asks bash what it offers.
func TestCompletion(t *testing.T) {
	var out, errOut strings.Builder
	app := &App{Stdout: &out, Stderr: &errOut}
	if code := app.Run([]string{"--completion", "bash"}); code != 0 || errOut.Len() > 0 {
		t.Fatalf("code %d\n%s", code, errOut.String())
	}
	for line, want := range map[string]string{
		"ipoib-ethtool --show-p":                        "--show-pause --show-permaddr --show-priv-flags",
		"ipoib-ethtool --debug 2 --js":                  "--json",
		"ipoib-ethtool -C ib0 rx-f":                     "rx-frames rx-frames-irq rx-frames-low rx-frames-high",
		"ipoib-ethtool -C ib0 rx-frames 3 adaptive-rx ": "on off",
		"ipoib-ethtool -C ib0 rx-frames ":               "",
		"ipoib-ethtool --coalesce ib0 rx-usecs-h":       "rx-usecs-high",
		"ipoib-ethtool -K ib0 l":                        "lro",
		"ipoib-ethtool -K ib0 lro on tso o":             "on off",
		"ipoib-ethtool --features ib0 tx-checksum":      "tx-checksum-ipv4 tx-checksum-ipv6",
		"ipoib-ethtool -s ib0 duplex ":                  "half full",
		"ipoib-ethtool -s ib0 autoneg on sp":            "speed",
		"ipoib-ethtool -S ib0 --g":                      "--groups",
		"ipoib-ethtool -t ib0 o":                        "online offline",
		"ipoib-ethtool --set-fec ib0 encoding r":        "rs",
		"ipoib-ethtool --monitor --sh":                  "--show-features --show-offload --show-priv-flags --show-ring --show-channels --show-coalesce --show-pause --show-eee --show-module",
		"ipoib-ethtool --completion ":                   "bash",
	} {
		got, w := bashtest.Complete(t, out.String(), line), strings.Fields(want)
		slices.Sort(got)
		slices.Sort(w)
		if !slices.Equal(got, w) {
			t.Errorf("%q: %q, want %q", line, got, w)
		}
	}
	// Each option is offered, and no command of the table is forgotten.
	got := bashtest.Complete(t, out.String(), "ipoib-ethtool -")
	for _, o := range options[1:] {
		for n := range strings.SplitSeq(o.names, "|") {
			if !slices.Contains(got, n) {
				t.Errorf("%s is not offered", n)
			}
		}
	}
}
