// Package logfmt is the slog handler of the service: lines in the form of the
// kernel's log, "<ifname>: text", with the other attributes behind.
package logfmt

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options change what is written around the text.
type Options struct {
	// Level is the least level that is written; nil is slog.LevelInfo.
	Level slog.Leveler
	// Journal writes for systemd-journald: a priority instead of time and
	// level.
	Journal bool
}

// Handler writes log records.
type Handler struct {
	mu    *sync.Mutex // guards out
	out   io.Writer
	opts  Options
	ifn   string
	attrs string
	group string
}

// New returns a handler that writes to out.
func New(out io.Writer, opts Options) *Handler {
	if opts.Level == nil {
		opts.Level = slog.LevelInfo
	}
	return &Handler{mu: new(sync.Mutex), out: out, opts: opts}
}

// Enabled implements slog.Handler.
func (h *Handler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.opts.Level.Level() }

// Handle implements slog.Handler.
func (h *Handler) Handle(_ context.Context, r slog.Record) error {
	var sb strings.Builder
	if h.opts.Journal {
		fmt.Fprintf(&sb, "<%d>", priority(r.Level))
	} else {
		sb.WriteString(r.Time.Format(timeFormat) + " " + levelColumn(r.Level))
	}
	ifn, text := h.text(r)
	if ifn != "" {
		sb.WriteString(ifn + ": ")
	}
	sb.WriteString(text + "\n")
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.out, sb.String())
	return err
}

// text returns the interface that a record is about, and its message with all
// other attributes.
func (h *Handler) text(r slog.Record) (ifn, text string) {
	ifn, attrs := h.ifn, h.attrs
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "ifname" && h.group == "" {
			ifn = a.Value.String()
		} else {
			attrs += format(h.group, a)
		}
		return true
	})
	return ifn, r.Message + attrs
}

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	n := *h
	for _, a := range attrs {
		if a.Key == "ifname" && h.group == "" {
			n.ifn = a.Value.String()
			continue
		}
		n.attrs += format(h.group, a)
	}
	return &n
}

// WithGroup implements slog.Handler.
func (h *Handler) WithGroup(name string) slog.Handler {
	n := *h
	n.group += name + "."
	return &n
}

// format prints an attribute as " key=value", quoted where it must be.
func format(group string, a slog.Attr) string {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		var sb strings.Builder
		for _, m := range v.Group() {
			sb.WriteString(format(group+a.Key+".", m))
		}
		return sb.String()
	}
	s := v.String()
	if v.Kind() == slog.KindTime {
		s = v.Time().Format(time.RFC3339Nano)
	}
	if s == "" || strings.ContainsAny(s, " \t\n\"=") || slices.ContainsFunc([]rune(s), func(r rune) bool { return r < ' ' }) {
		s = fmt.Sprintf("%q", s)
	}
	return " " + group + a.Key + "=" + s
}

const timeFormat = "2006-01-02T15:04:05.000Z07:00"

func levelColumn(l slog.Level) string { return fmt.Sprintf("%-5s ", levelName(l)) }

func levelName(l slog.Level) string {
	if l < slog.LevelInfo {
		return "DEBUG"
	}
	return l.String()
}

// priority is the syslog priority of a level.
func priority(l slog.Level) int {
	switch {
	case l >= slog.LevelError:
		return 3
	case l >= slog.LevelWarn:
		return 4
	case l >= slog.LevelInfo:
		return 6
	}
	return 7
}
