//go:build integration

package tests

import (
	"strings"
	"testing"
)

// TestNeighChange: permanent neighbours are made and removed.
func TestNeighChange(t *testing.T) {
	l := newLab(t, "--hca", "soft0")
	const lladdr = "00:00:00:48:fe:80:00:00:00:00:00:00:02:69:62:00:00:00:00:01"
	l.run("ipoib", "link", "set", "ib0", "up")
	l.eventually("ib0 has carrier", func() bool { return strings.Contains(l.run("ipoib", "link", "show", "ib0"), ",LOWER_UP") })
	l.run("ipoib", "neigh", "add", "10.0.0.9", "lladdr", lladdr, "dev", "ib0")
	if out := l.run("ipoib", "neigh"); !strings.Contains(out, lladdr+"  PERMANENT") {
		t.Errorf("added:\n%s", out)
	}
	l.run("ipoib", "neigh", "del", "10.0.0.9", "dev", "ib0")
	l.run("ipoib", "neigh", "flush", "dev", "ib0")
	if out := l.run("ipoib", "neigh"); strings.Contains(out, "10.0.0.9") {
		t.Errorf("deleted:\n%s", out)
	}
	l.exits(1, "ipoib: nosuch: no such device\n", "ipoib", "neigh", "flush", "dev", "nosuch")
}
