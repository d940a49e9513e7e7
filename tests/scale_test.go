//go:build integration

package tests

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// fastest returns the shortest time that a command took in n runs.
func (l *lab) fastest(n int, name string, args ...string) time.Duration {
	l.t.Helper()
	best := time.Hour
	for range n {
		start := time.Now()
		l.run(name, args...)
		best = min(best, time.Since(start))
	}
	return best
}

// TestThousandChildren makes, lists and removes 1,000 interfaces.
func TestThousandChildren(t *testing.T) {
	const n = 1000
	l := newLab(t, "--hca", "soft0")
	batch := func(format string, n int) time.Duration {
		t.Helper()
		var b bytes.Buffer
		for i := range n {
			fmt.Fprintf(&b, format, 0x8001+i)
		}
		file := filepath.Join(t.TempDir(), "batch")
		if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return l.fastest(1, "ipoib", "-batch", file)
	}
	create := batch("link add ib0.%04x\n", n)
	list := l.fastest(5, "ipoib", "link", "show")
	if lines := strings.Count(l.run("ipoib", "link", "show"), "\n    link/infiniband "); lines != n+1 {
		t.Errorf("%d interfaces", lines)
	}
	t.Logf("%d children: created in %v, listed in %v", n, create, list)
	// Ten times what it takes, and more: what grows with the square of the
	// number takes longer.
	if create > 2*patience || list > 3*time.Second {
		t.Errorf("creating took %v, listing %v", create, list)
	}
	if out := l.run("ipoib-ethtool", "-c", "*"); strings.Count(out, "Coalesce parameters for ib0.") != n {
		t.Errorf("ethtool listed %d", strings.Count(out, "Coalesce parameters for ib0."))
	}
	// The name is free when the command has ended.
	batch("link del ib0.%04[1]x\nlink add ib0.%04[1]x\n", 100)
	remove := batch("link del ib0.%04x\n", n)
	t.Logf("deleted in %v", remove)
	if remove > 2*patience {
		t.Errorf("deleting took %v", remove)
	}
	if out := l.run("ip", "-br", "link"); strings.Contains(out, "ib0.") {
		t.Errorf("there is still\n%s", out)
	}
}

// TestCommandSpeed compares the wall time of commands with that of the real
// ones: the fastest of interleaved runs. The aim is three times theirs; on a
// busy machine each hand-over from one process to another waits, and ip and
// ethtool have none.
func TestCommandSpeed(t *testing.T) {
	l := newLab(t, "--hca", "soft0")
	for _, tc := range []struct{ ours, real []string }{
		{[]string{"ipoib", "link", "show", "ib0"}, []string{"ip", "link", "show", "ib0"}},
		{[]string{"ipoib-ethtool", "-c", "ib0"}, []string{"ethtool", "-c", "ib0"}},
	} {
		var ours, real []time.Duration
		for range 40 {
			for _, c := range []struct {
				args []string
				to   *[]time.Duration
			}{{tc.ours, &ours}, {tc.real, &real}} {
				cmd := exec.Command(c.args[0], c.args[1:]...)
				cmd.Env = append(os.Environ(), "IPOIB_RUN_DIR="+l.runDir)
				start := time.Now()
				if err := cmd.Run(); err != nil {
					t.Fatalf("%v: %v", c.args, err)
				}
				*c.to = append(*c.to, time.Since(start))
			}
		}
		o, r := slices.Min(ours), slices.Min(real)
		slices.Sort(ours)
		slices.Sort(real)
		t.Logf("%s: fastest %v, median %v; %s: fastest %v, median %v; ratio %.1f, of the medians %.1f",
			strings.Join(tc.ours, " "), o, ours[len(ours)/2], strings.Join(tc.real, " "), r, real[len(real)/2],
			float64(o)/float64(r), float64(ours[len(ours)/2])/float64(real[len(real)/2]))
		const limit = 15
		if o > limit*r {
			t.Errorf("%s takes %v, %s %v", strings.Join(tc.ours, " "), o, strings.Join(tc.real, " "), r)
		}
	}
}
