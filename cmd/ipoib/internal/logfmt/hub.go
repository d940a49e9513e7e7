package logfmt

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Record is one line of the log.
type Record struct {
	Time  time.Time
	Level slog.Level
	// Ifname is the interface that the line is about, or "".
	Ifname string
	// Text is the message with its other attributes.
	Text string
}

// backlog is how many lines a Hub keeps.
const backlog = 1000

// Hub keeps the last lines of a log and passes new ones on to those who
// follow it. It is a slog.Handler by the handlers that it makes.
type Hub struct {
	mu   sync.Mutex
	ring []Record             // guarded by mu: the oldest first
	subs map[int]func(Record) // guarded by mu
	next int                  // guarded by mu
}

// NewHub returns a hub without lines.
func NewHub() *Hub { return &Hub{subs: make(map[int]func(Record))} }

// Handler returns a handler whose lines of at least a level go to the hub.
func (h *Hub) Handler(level slog.Leveler) slog.Handler {
	return &hubHandler{hub: h, format: New(nil, Options{Level: level})}
}

// Follow calls fn with the last n lines and then with each new one, in order,
// until cancel is called. fn must not block, nor log.
func (h *Hub) Follow(n int, fn func(Record)) (cancel func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.ring[max(len(h.ring)-max(n, 0), 0):] {
		fn(r)
	}
	id := h.next
	h.next++
	h.subs[id] = fn
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.subs, id)
	}
}

func (h *Hub) add(r Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.ring) == backlog {
		h.ring = slices.Delete(h.ring, 0, 1)
	}
	h.ring = append(h.ring, r)
	for _, fn := range h.subs {
		fn(r)
	}
}

type hubHandler struct {
	hub    *Hub
	format *Handler
}

func (h *hubHandler) Enabled(ctx context.Context, l slog.Level) bool { return h.format.Enabled(ctx, l) }

func (h *hubHandler) Handle(_ context.Context, r slog.Record) error {
	ifn, text := h.format.text(r)
	h.hub.add(Record{Time: r.Time, Level: r.Level, Ifname: ifn, Text: text})
	return nil
}

func (h *hubHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &hubHandler{h.hub, h.format.WithAttrs(attrs).(*Handler)}
}

func (h *hubHandler) WithGroup(name string) slog.Handler {
	return &hubHandler{h.hub, h.format.WithGroup(name).(*Handler)}
}

// Line prints a record as a Handler writes it.
func (r *Record) Line() string {
	s := r.Time.Format(timeFormat) + " " + levelColumn(r.Level)
	if r.Ifname != "" {
		s += r.Ifname + ": "
	}
	return s + r.Text
}
