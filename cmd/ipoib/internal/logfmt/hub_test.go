package logfmt

import (
	"fmt"
	"log/slog"
	"testing"
	"time"
)

func TestHub(t *testing.T) {
	hub := NewHub()
	log := slog.New(hub.Handler(slog.LevelInfo))
	log.With("ifname", "ib0").Warn("multicast join failed", "err", "no route")
	log.Debug("below the level")
	var got []Record
	cancel := hub.Follow(10, func(r Record) { got = append(got, r) })
	log.WithGroup("sm").Info("swept", "nodes", 3)
	cancel()
	log.Info("not followed any more")
	if len(got) != 2 {
		t.Fatalf("%v", got)
	}
	if r := got[0]; r.Ifname != "ib0" || r.Text != `multicast join failed err="no route"` || r.Level != slog.LevelWarn {
		t.Errorf("%+v", r)
	}
	if r := got[1]; r.Ifname != "" || r.Text != "swept sm.nodes=3" {
		t.Errorf("%+v", r)
	}
	got[0].Time = time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	if s := got[0].Line(); s != `2026-01-02T03:04:05.006Z WARN  ib0: multicast join failed err="no route"` {
		t.Errorf("%s", s)
	}
}

// Only the last lines are kept, and of those as many as are asked for.
func TestHubBacklog(t *testing.T) {
	hub := NewHub()
	log := slog.New(hub.Handler(slog.LevelInfo))
	for n := range backlog + 5 {
		log.Info(fmt.Sprint(n))
	}
	for _, tt := range []struct {
		n, want int
		first   string
	}{{0, 0, ""}, {-1, 0, ""}, {3, 3, fmt.Sprint(backlog + 2)}, {5000, backlog, "5"}} {
		var got []Record
		hub.Follow(tt.n, func(r Record) { got = append(got, r) })()
		if len(got) != tt.want || tt.want > 0 && got[0].Text != tt.first {
			t.Errorf("%d lines: %d, first %v", tt.n, len(got), got[:min(len(got), 1)])
		}
	}
}
