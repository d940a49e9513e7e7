package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// ModerationPoint is the effect of one setting of receive moderation.
type ModerationPoint struct {
	RxUsecs int `json:"rx_usecs"`
	// Events is how often the interface was woken by completions in a second
	// of evenly spaced messages, Wakeups how often the receiving program was.
	Events  Summary `json:"events"`
	Wakeups Summary `json:"wakeups"`
	// P50 and P99 are the latencies of TCP ping-pong in microseconds.
	P50   Summary `json:"p50"`
	P99   Summary `json:"p99"`
	Error string  `json:"error,omitempty"`
}

// messageRate is the number of messages per second of the wakeup measurement:
// one in 50 microseconds.
const messageRate = "20000"

// moderation measures settings of rx-usecs, interleaved as the targets are.
func (b *bench) moderation(ctx context.Context) error {
	settings := []int{0, 16, 100, 1000}
	if b.opt.quick {
		settings = []int{0, 100}
	}
	var points []*moderationSamples
	for _, usecs := range settings {
		if b.wanted(fmt.Sprintf("moderation/%d", usecs)) {
			points = append(points, &moderationSamples{usecs: usecs})
		}
	}
	if len(points) == 0 {
		return nil
	}
	height := len(b.undo)
	t := &target{name: "moderation", title: "moderation", setup: setupOurs(offloads("on"))}
	if err := b.prepare(ctx, t); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		b.progress("moderation failed: %v", err)
		for _, p := range points {
			p.err = err
		}
	}
	for range b.opt.rounds {
		for _, p := range points {
			if p.err != nil {
				continue
			}
			p.err = p.measure(ctx, b, t)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if p.err != nil {
				b.progress("moderation/%d failed: %v", p.usecs, p.err)
			}
		}
	}
	for _, p := range points {
		b.report.Moderation = append(b.report.Moderation, p.point())
	}
	return b.unwind(height)
}

// moderationSamples collects what was measured with one setting.
type moderationSamples struct {
	usecs                     int
	events, wakeups, p50, p99 []float64
	err                       error
}

func (p *moderationSamples) measure(ctx context.Context, b *bench, t *target) error {
	for _, h := range []host{t.client, t.server} {
		err := h.run(ctx, "ipoib-ethtool", "-C", "ib0", "rx-usecs", strconv.Itoa(p.usecs))
		if err != nil {
			return err
		}
	}
	before, err := completionEvents(ctx, t.server)
	if err != nil {
		return err
	}
	_, wakeups, err := b.sockperf(ctx, t, "under-load", "-m", messageSize, "--mps", messageRate, "--reply-every", "1000")
	if err != nil {
		return err
	}
	after, err := completionEvents(ctx, t.server)
	if err != nil {
		return err
	}
	r, err := b.pingPong(ctx, t)
	if err != nil {
		return err
	}
	seconds := b.duration().Seconds()
	p.events = append(p.events, (after-before)/seconds)
	p.wakeups = append(p.wakeups, float64(wakeups)/seconds)
	p.p50, p.p99 = append(p.p50, r.P50), append(p.p99, r.P99)
	b.progress("moderation/%-4d %s events/s, %s wakeups/s, p50 %s µs, p99 %s µs", p.usecs,
		number((after-before)/seconds), number(float64(wakeups)/seconds), number(r.P50), number(r.P99))
	return nil
}

// eventCounter counts the completion events of an interface.
const eventCounter = "rx_events"

// completionEvents reads how often the interface of a host was woken.
func completionEvents(ctx context.Context, h host) (float64, error) {
	text, err := h.command(ctx, "ipoib", "stats", "--json", "dev", "ib0").Output()
	if err != nil {
		return 0, fmt.Errorf("ipoib stats: %w", err)
	}
	v, ok, err := parseCounter(text, eventCounter)
	if err == nil && !ok {
		err = fmt.Errorf("ipoib stats: no counter %s", eventCounter)
	}
	return v, err
}

// parseCounter finds a counter of the one interface in the output of ipoib
// stats --json.
func parseCounter(text []byte, name string) (value float64, ok bool, err error) {
	var list []struct {
		Counters []struct {
			Name  string  `json:"name"`
			Value float64 `json:"value"`
		} `json:"counters"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return 0, false, fmt.Errorf("ipoib stats: %w", err)
	}
	for _, i := range list {
		for _, c := range i.Counters {
			if c.Name == name {
				return c.Value, true, nil
			}
		}
	}
	return 0, false, nil
}

func (p *moderationSamples) point() ModerationPoint {
	if p.err == nil && len(p.p50) == 0 {
		p.err = errors.New("not measured")
	}
	if p.err != nil {
		return ModerationPoint{RxUsecs: p.usecs, Error: p.err.Error()}
	}
	return ModerationPoint{
		RxUsecs: p.usecs,
		Events:  summarize(p.events), Wakeups: summarize(p.wakeups),
		P50: summarize(p.p50), P99: summarize(p.p99),
	}
}
