package main

import (
	"fmt"
	"math"
	"slices"
)

// plots are the figures of a report by file name; those without values are
// left out.
func (r *Report) plots() map[string]figure {
	m := r.Machine
	subtitle := fmt.Sprintf("%s, %d cores, Linux %s, %s; medians and ranges, rounds: %d", m.CPU, m.Cores, m.Kernel, m.Date, r.Rounds)
	out := make(map[string]figure)
	add := func(file, title string, panels ...panel) {
		panels = slices.DeleteFunc(panels, func(p panel) bool { return p == nil })
		if len(panels) > 0 {
			out[file] = figure{title, subtitle, panels}
		}
	}
	add("throughput.svg", "TCP throughput", r.bars(metricTCP), r.bars(metricTCPReverse), r.bars(metricTCP4))
	add("packets.svg", "Small packets", r.bars(metricUDP))
	add("latency.svg", "Latency", r.bars(metricP50), r.bars(metricP99))
	add("cost.svg", "CPU and memory", r.bars(metricCPU), r.bars(metricIdle), r.bars(metricMemory))
	add("children.svg", "Children of one interface", r.childrenPanel())
	add("hosts.svg", "Hosts on one fabric", r.hostsPanels()...)
	add("moderation.svg", "Receive moderation", r.moderationPanels()...)
	return out
}

// bars is the panel of a metric, nil without values.
func (r *Report) bars(metric string) panel {
	at := slices.IndexFunc(r.Metrics, func(m Metric) bool { return m.Name == metric })
	if at < 0 {
		return nil
	}
	m := r.Metrics[at]
	p := bars{title: fmt.Sprintf("%s (%s, %s is better)", m.Title, m.Unit, m.Better)}
	for i, t := range r.Targets {
		v, ok := t.Values[metric]
		if !ok {
			continue
		}
		b := bar{label: t.Title, value: v, colour: colours[i%len(colours)]}
		if x, ok := r.ratio(t.Name, vethTarget, metric); ok && t.Name != vethTarget {
			b.note = fmt.Sprintf("  (%.2f x veth)", x)
		}
		p.rows = append(p.rows, b)
	}
	if len(p.rows) == 0 {
		return nil
	}
	return p
}

// curve is a panel over the points of a scale, nil without points.
func curve[P any](title, xTitle string, points []P, step func(P) int, failed func(P) bool, series ...namedValue[P]) panel {
	if len(points) == 0 {
		return nil
	}
	l := lines{title: title, xTitle: xTitle}
	for _, p := range points {
		l.steps = append(l.steps, fmt.Sprint(step(p)))
	}
	for _, s := range series {
		l.series = append(l.series, s.over(points, failed))
	}
	return l
}

// namedValue is a value of the points of a scale.
type namedValue[P any] struct {
	name string
	of   func(P) float64
}

func (n namedValue[P]) over(points []P, failed func(P) bool) series {
	s := series{name: n.name}
	for _, p := range points {
		v := math.NaN()
		if !failed(p) {
			v = n.of(p)
		}
		s.values = append(s.values, v)
	}
	return s
}

func (r *Report) childrenPanel() panel {
	type value = namedValue[ChildrenPoint]
	return curve("Time for all, seconds", "children", r.Children,
		func(p ChildrenPoint) int { return p.Children }, func(p ChildrenPoint) bool { return p.Error != "" },
		value{"create", func(p ChildrenPoint) float64 { return p.Create.Median }},
		value{"list", func(p ChildrenPoint) float64 { return p.List.Median }},
		value{"delete", func(p ChildrenPoint) float64 { return p.Delete.Median }})
}

func (r *Report) hostsPanels() []panel {
	type value = namedValue[HostsPoint]
	one := func(title, name string, of func(HostsPoint) float64) panel {
		return curve(title, "hosts", r.Hosts, func(p HostsPoint) int { return p.Hosts },
			func(p HostsPoint) bool { return p.Error != "" }, value{name, of})
	}
	return []panel{
		one("Time until all are made and up, seconds", "up", func(p HostsPoint) float64 { return p.Up }),
		one("TCP of all pairs together, Gbit/s", "TCP", func(p HostsPoint) float64 { return p.Throughput }),
		one("Memory of the service, MiB", "memory", func(p HostsPoint) float64 { return p.Memory }),
	}
}

func (r *Report) moderationPanels() []panel {
	type value = namedValue[ModerationPoint]
	panelOf := func(title string, values ...value) panel {
		return curve(title, "rx-usecs", r.Moderation, func(p ModerationPoint) int { return p.RxUsecs },
			func(p ModerationPoint) bool { return p.Error != "" }, values...)
	}
	return []panel{
		panelOf("Wakeups per second, with "+messageRate+" messages per second",
			value{"completion events", func(p ModerationPoint) float64 { return p.Events.Median }},
			value{"receiving program", func(p ModerationPoint) float64 { return p.Wakeups.Median }}),
		panelOf("TCP ping-pong of 14 bytes, µs",
			value{"p50", func(p ModerationPoint) float64 { return p.P50.Median }},
			value{"p99", func(p ModerationPoint) float64 { return p.P99.Median }}),
	}
}
