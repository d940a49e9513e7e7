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

// partitions are those of the transcripts' adapter that the lines need.
const partitions = "Default=0x7fff, ipoib : ALL=full;\nOne=0x0001, ipoib : ALL=full;\nTwo=0x0002, ipoib : ALL=full;\n"

// foreign are lines about what is not of these commands.
var foreign = regexp.MustCompile(`^(ifconfig|rmmod|modprobe|python3|ip addr|cat /proc|setpriv.*/sys/)|br0|cat /sys/class/net/\S+/(umcast|mode|address)`)

// connectedMode are lines that need the connected mode, or are about
// interfaces that were made with it.
var connectedMode = regexp.MustCompile(`\bconnected\b|\b(ibx|i4|i8)\b`)

// listing are lines that show all interfaces.
var listing = regexp.MustCompile(`^ip (-\S+ )*link( show)?( type ipoib)?$|^ip -br link;`)

// without removes interfaces from a listing.
func without(s string, names ...string) string {
	var out []string
	skip := false
	for line := range strings.Lines(s) {
		if !strings.HasPrefix(line, " ") {
			f := strings.Fields(line)
			name := f[0]
			if len(f) > 1 && strings.HasSuffix(name, ":") {
				name = strings.TrimSuffix(f[1], ":")
			}
			name, _, _ = strings.Cut(name, "@")
			skip = slices.Contains(names, name) && (name != "lo" || strings.Contains(line, "LOOPBACK"))
		}
		if !skip {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

// decided are lines whose outcome differs on purpose (docs/architecture.md), or
// that need what the software adapter has not.
var decided = []struct {
	re  *regexp.Regexp
	why string
}{
	{regexp.MustCompile(`^ethtool -K ib0 lro on`), "LRO can be switched"},
	{regexp.MustCompile(`> /sys/class/net/ib0/mtu`), "the kernel's file takes any value, and the service puts it back"},
	{regexp.MustCompile(`^ip link set ib0 mtu [01]; `), "a TUN has no MTU below 68; datapath.TestSetMTU has the limits"},
	{regexp.MustCompile(`^echo datagram .*; ethtool -k ib0`), "LRO can be switched, so it is not left out"},
	{regexp.MustCompile(`cut -c1-160$`), "where the lines are cut depends on the index; datapath.TestSetModeAndMTU has the order"},
	{regexp.MustCompile(`^ip link show ib1; ethtool ib1`), "the recorded port went without telling"},
}

// TestTranscripts runs the command lines of the driver's transcripts.
func TestTranscripts(t *testing.T) {
	for _, name := range []string{
		"01-link-show", "03-permission", "04-rtnl-link", "05-mtu-mode", "07-ethtool-query", "08-ethtool-coalesce", "09-ethtool-features",
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "partitions.conf")
			if err := os.WriteFile(file, []byte(partitions), 0o644); err != nil {
				t.Fatal(err)
			}
			r := newReplay(t, "--partitions", file)
			if name == "03-permission" {
				r.run("ipoib", "link", "add", "ib0.8001") // what its lines are about
			}
			compared := 0
			inConnected := false
			for _, rec := range readTranscript(t, name) {
				why := ""
				for _, d := range decided {
					if d.re.MatchString(rec.line) {
						why = d.why
					}
				}
				if foreign.MatchString(rec.line) {
					why = notRun
				}
				if !r.connected && why == "" && r.needsConnected(rec.line, &inConnected) {
					why = "there is no connected mode"
				}
				if listing.MatchString(rec.line) {
					// Our lists have only what is ours; r4 and so on were made
					// by a program.
					gone := []string{"lo", "r4", "r5", "r6", "r7", "r13"}
					if !r.connected {
						gone = append(gone, "ibx", "i4", "i8")
					}
					rec.output = without(rec.output, gone...)
				}
				if why == "" {
					compared++
				}
				r.check(rec, why)
			}
			t.Logf("%d lines compared", compared)
		})
	}
}

// needsConnected reports whether a line cannot give the recorded output
// without the connected mode. now follows the mode of ib0.
func (r *replay) needsConnected(line string, now *bool) bool {
	on := strings.Contains(line, "echo connected") && !strings.Contains(line, "echo datagram")
	needs := *now || on || connectedMode.MatchString(line)
	*now = (*now || on) && !strings.HasPrefix(line, "echo datagram") && !strings.HasSuffix(line, "mode; cat /sys/class/net/ib0/mtu")
	return needs
}
