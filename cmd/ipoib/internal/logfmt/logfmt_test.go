package logfmt

import (
	"log/slog"
	"strings"
	"testing"
)

func TestLines(t *testing.T) {
	var sb strings.Builder
	l := slog.New(New(&sb, Options{Level: slog.LevelDebug - 2, Journal: true}))
	l.With("ifname", "ib0").Warn("P_Key 0x8001 is not found")
	l.Info("listening", "path", "/run/x y", "n", 3)
	l.With("ifname", "ib0").Log(t.Context(), slog.LevelDebug-1, "joining MGID", "lid", 5)
	l.WithGroup("sm").Error("sweep failed", "err", "time=out", slog.Group("g", "a", 1))
	want := `<4>ib0: P_Key 0x8001 is not found
<6>listening path="/run/x y" n=3
<7>ib0: joining MGID lid=5
<3>sweep failed sm.err="time=out" sm.g.a=1
`
	if sb.String() != want {
		t.Errorf("got\n%s\nwant\n%s", sb.String(), want)
	}
}

func TestTerminalForm(t *testing.T) {
	var sb strings.Builder
	l := slog.New(New(&sb, Options{}))
	l.Debug("hidden")
	l.Warn("shown", "ifname", "ib1")
	if s := sb.String(); !strings.HasSuffix(s, " WARN  ib1: shown\n") || strings.Contains(s, "hidden") || s[10] != 'T' {
		t.Errorf("%q", s)
	}
}
