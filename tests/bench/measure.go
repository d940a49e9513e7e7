package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Metric is something that is measured for every target.
type Metric struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	Unit  string `json:"unit"`
	// Better is "more" or "less".
	Better string `json:"better"`
}

// Names of the metrics.
const (
	metricTCP        = "tcp"
	metricTCPReverse = "tcp_reverse"
	metricTCP4       = "tcp_4"
	metricUDP        = "udp_64"
	metricP50        = "latency_p50"
	metricP99        = "latency_p99"
	metricCPU        = "cpu_per_gigabit"
	metricIdle       = "idle_cpu"
	metricMemory     = "memory"
)

var metrics = []Metric{
	{metricTCP, "TCP, one stream", "Gbit/s", "more"},
	{metricTCPReverse, "TCP, one stream, other direction", "Gbit/s", "more"},
	{metricTCP4, "TCP, four streams", "Gbit/s", "more"},
	{metricUDP, "UDP, 64-byte packets received", "1000/s", "more"},
	{metricP50, "TCP ping-pong of 14 bytes, p50", "µs", "less"},
	{metricP99, "TCP ping-pong of 14 bytes, p99", "µs", "less"},
	{metricCPU, "CPU per gigabit of one TCP stream", "ms/Gbit", "less"},
	{metricIdle, "CPU of the services when idle", "% of a core", "less"},
	{metricMemory, "Memory of the services", "MiB", "less"},
}

// An experiment measures one or more metrics of a target.
type experiment struct {
	name string
	// quick has it in short runs too, repeat again when it was disturbed.
	quick, repeat bool
	run           func(context.Context, *bench, *target) (map[string]float64, error)
}

var experiments = []experiment{
	{"tcp", true, true, func(ctx context.Context, b *bench, t *target) (map[string]float64, error) {
		gbps, cpu, err := b.tcp(ctx, t)
		return map[string]float64{metricTCP: gbps, metricCPU: cpu}, err
	}},
	{"tcp-reverse", false, true, func(ctx context.Context, b *bench, t *target) (map[string]float64, error) {
		gbps, _, err := b.tcp(ctx, t, "-R")
		return map[string]float64{metricTCPReverse: gbps}, err
	}},
	{"tcp-4", false, true, func(ctx context.Context, b *bench, t *target) (map[string]float64, error) {
		gbps, _, err := b.tcp(ctx, t, "-P", "4")
		return map[string]float64{metricTCP4: gbps}, err
	}},
	{"udp-64", true, true, func(ctx context.Context, b *bench, t *target) (map[string]float64, error) {
		r, _, err := b.iperf(ctx, t, "-u", "-l", "64", "-b", "0")
		if err != nil {
			return nil, err
		}
		return map[string]float64{metricUDP: r.received() / 1e3}, nil
	}},
	{"latency", true, true, func(ctx context.Context, b *bench, t *target) (map[string]float64, error) {
		r, err := b.pingPong(ctx, t)
		return map[string]float64{metricP50: r.P50, metricP99: r.P99}, err
	}},
	{"idle", true, false, func(ctx context.Context, b *bench, t *target) (map[string]float64, error) {
		if len(t.services) == 0 {
			return nil, nil
		}
		return b.idle(ctx, t)
	}},
}

// tcp measures the throughput of TCP in Gbit/s and the CPU time that it takes
// in ms per Gbit: that of both programs, of the services between them, and of
// the machine's interrupts, where the kernel forwards.
func (b *bench) tcp(ctx context.Context, t *target, args ...string) (gbps, cpu float64, err error) {
	before, err := t.cpu()
	if err != nil {
		return 0, 0, err
	}
	irqBefore, err := interruptTime()
	if err != nil {
		return 0, 0, err
	}
	r, ends, err := b.iperf(ctx, t, b.tcpArgs(args...)...)
	if err != nil {
		return 0, 0, err
	}
	if r.Congestion != "" {
		b.report.Machine.Congestion = r.Congestion
	}
	after, err := t.cpu()
	if err != nil {
		return 0, 0, err
	}
	irqAfter, err := interruptTime()
	if err != nil {
		return 0, 0, err
	}
	total := ends + after - before + irqAfter - irqBefore
	return r.BitsPerSecond / 1e9, total.Seconds() * 1e3 / (r.Bytes * 8 / 1e9), nil
}

// cpu is the CPU time of a target's services so far.
func (t *target) cpu() (time.Duration, error) {
	var sum time.Duration
	for _, p := range t.services {
		d, err := cpuTime(p.cmd.Process.Pid)
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

// idle measures what services take when nothing happens.
func (b *bench) idle(ctx context.Context, t *target) (map[string]float64, error) {
	before, err := t.cpu()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(b.duration()):
	}
	after, err := t.cpu()
	if err != nil {
		return nil, err
	}
	values := map[string]float64{metricIdle: 100 * (after - before).Seconds() / time.Since(began).Seconds()}
	for _, p := range t.services {
		mib, err := memory(p.cmd.Process.Pid)
		if err != nil {
			return nil, err
		}
		values[metricMemory] += mib
	}
	return values, nil
}

// maxFailures is how often in a row a target may fail before it is left out.
const maxFailures = 3

// compare measures the targets side by side: in each round every experiment
// visits every target.
func (b *bench) compare(ctx context.Context) error {
	height := len(b.undo)
	var targets []*target
	for _, t := range newTargets() {
		if b.anyWanted(t) {
			targets = append(targets, t)
		}
	}
	for _, t := range targets {
		b.progress("setting up %s", t.title)
		if err := b.prepare(ctx, t); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			t.absent = err.Error()
			b.progress("%s is absent: %v", t.title, err)
		}
	}
	samples := make(map[*target]map[string][]float64)
	var others []float64
	for round := range b.opt.rounds {
		repeats := roundRepeats
		if b.opt.quick {
			repeats = 0
		}
		for _, e := range experiments {
			if b.opt.quick && !e.quick {
				continue
			}
			for _, t := range targets {
				if t.absent != "" || !b.wanted(t.name+"/"+e.name) {
					continue
				}
				values, share, err := b.calm(ctx, e, t, &repeats)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				b.note(t, e, round, values, share, err)
				if err != nil || len(values) == 0 {
					continue
				}
				others = append(others, 100*share)
				if samples[t] == nil {
					samples[t] = make(map[string][]float64)
				}
				for name, v := range values {
					samples[t][name] = append(samples[t][name], v)
				}
			}
		}
	}
	if len(others) > 0 {
		b.report.Others = summarize(others)
	}
	for _, t := range targets {
		r := TargetResult{Name: t.name, Title: t.title, Absent: t.absent, Errors: t.errors, Values: make(map[string]Summary)}
		for name, v := range samples[t] {
			r.Values[name] = summarize(v)
		}
		b.report.Targets = append(b.report.Targets, r)
	}
	return b.unwind(height)
}

func (b *bench) anyWanted(t *target) bool {
	for _, e := range experiments {
		if b.wanted(t.name+"/"+e.name) && (e.quick || !b.opt.quick) {
			return true
		}
	}
	return false
}

// note shows the outcome of one measurement, and leaves a target out that
// fails time after time.
func (b *bench) note(t *target, e experiment, round int, values map[string]float64, others float64, err error) {
	label := fmt.Sprintf("round %d/%d  %-12s %-15s", round+1, b.opt.rounds, e.name, t.name)
	if err != nil {
		b.progress("%s failed: %v", label, err)
		t.errors = append(t.errors, fmt.Sprintf("%s: %v", e.name, err))
		if t.failures++; t.failures == maxFailures {
			t.absent = fmt.Sprintf("it failed %d times in a row, last: %v", maxFailures, err)
		}
		return
	}
	t.failures = 0
	var parts []string
	for _, m := range metrics {
		if v, ok := values[m.Name]; ok {
			parts = append(parts, fmt.Sprintf("%s %s", number(v), m.Unit))
		}
	}
	if len(parts) == 0 {
		return
	}
	if others > disturbedShare {
		parts = append(parts, fmt.Sprintf("disturbed: others took %.0f %% of the machine", 100*others))
	}
	b.progress("%s %s", label, strings.Join(parts, ", "))
}
