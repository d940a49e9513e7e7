//go:build integration

package tests

import (
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/netlink"

	"ipoib/nl"
	"ipoib/nl/rtlink"
)

// latency is the middle of the times that a request takes.
func latency(t *testing.T, c *client) time.Duration {
	t.Helper()
	var all []time.Duration
	for range 300 {
		start := time.Now()
		if _, err := c.get("ib0"); err != nil {
			t.Fatal(err)
		}
		all = append(all, time.Since(start))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// TestBadNeighbours: clients that flood the service, ask for lists and never
// read them, or join groups and never read, slow nobody else.
func TestBadNeighbours(t *testing.T) {
	l := newLab(t, "--hca", "soft0")
	c, err := l.newClient()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	ib0, err := c.get("ib0")
	if err != nil {
		t.Fatal(err)
	}
	for n := range 50 {
		if err := c.add(ib0, "c"+string(rune('0'+n/10))+string(rune('0'+n%10)), 0x8001+uint16(n)); err != nil {
			t.Fatal(err)
		}
	}
	before := latency(t, c)
	var wg sync.WaitGroup
	path := filepath.Join(l.runDir, "netlink.sock")
	bad := func(groups uint32, flags netlink.HeaderFlags, send bool) *nl.Conn {
		conn, err := nl.Dial(t.Context(), path, nl.ConnConfig{Protocol: nl.ProtoRoute, Groups: groups})
		if err != nil {
			t.Fatal(err)
		}
		if !send {
			return conn
		}
		wg.Go(func() {
			var e nl.Encoder
			_ = e.Message(netlink.Header{Type: rtlink.GetLink, Flags: netlink.Request | flags, Sequence: 1}, func(e *nl.Encoder) error {
				rtlink.AppendHeader(e, 0, 0, ib0.Index, 0, 0)
				return nil
			})
			for conn.WriteDatagram(e.Bytes()) == nil {
			}
		})
		return conn
	}
	// Four that never read, one of which listens, and one that reads.
	conns := []*nl.Conn{bad(0, 0, true), bad(0, netlink.Dump, true), bad(0, netlink.Acknowledge, true), bad(1, 0, false)}
	for n := range 2000 {
		// Events for the one that listens.
		_, err := c.link(rtlink.NewLink, 0, ib0.Index, nil, func(e *nl.Encoder) { e.U32(rtlink.AttrMTU, 1000+uint32(n%2)) })
		if err != nil {
			t.Fatal(err)
		}
	}
	during := latency(t, c)
	for _, conn := range conns {
		_ = conn.Close()
	}
	wg.Wait()
	after := latency(t, c)
	// Who waits for one of them waits much longer.
	t.Logf("a request takes %v, beside bad neighbours %v, after them %v", before, during, after)
	if during > 20*max(before, after)+50*time.Millisecond {
		t.Errorf("a request takes %v, beside bad neighbours %v", max(before, after), during)
	}
}
