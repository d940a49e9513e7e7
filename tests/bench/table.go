package main

import (
	"fmt"
	"math"
	"strings"
	"text/tabwriter"
)

// number prints a value with three significant digits or more.
func number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "-"
	case v == 0:
		return "0"
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 0.1:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.4f", v)
	}
}

// span prints the range of the samples.
func span(s Summary) string { return number(s.Min) + ".." + number(s.Max) }

// table collects rows of cells.
type table struct {
	text *strings.Builder
	w    *tabwriter.Writer
}

func newTable(text *strings.Builder, head ...string) table {
	t := table{text, tabwriter.NewWriter(text, 0, 0, 2, ' ', 0)}
	t.row(head...)
	return t
}

func (t table) row(cells ...string) {
	fmt.Fprintln(t.w, "  "+strings.Join(cells, "\t"))
}

// flush writes the table and an empty line.
func (t table) flush() {
	_ = t.w.Flush() // a strings.Builder takes everything
	t.text.WriteString("\n")
}

// text is the report as a person reads it.
func (r *Report) text() string {
	var out strings.Builder
	m := r.Machine
	fmt.Fprintf(&out, "%s, %d cores, Linux %s, %s, %s, load %s\n", m.CPU, m.Cores, m.Kernel, m.Go, m.Date, m.Load)
	fmt.Fprintf(&out, "ipoib %s, wireguard-go %s, iperf3 %s, sockperf %s", m.Ipoib, m.Wireguard, m.Iperf, m.Sockperf)
	if m.Congestion != "" {
		fmt.Fprintf(&out, ", TCP %s", m.Congestion)
	}
	fmt.Fprintf(&out, "\n%d interleaved rounds of %d s per measurement: medians and ranges;\n\"x\" is the median of the rounds' ratios\n", r.Rounds, r.Seconds)
	if len(r.Others.Samples) > 0 {
		fmt.Fprintf(&out, "other programs took %s %% of the machine meanwhile (%s)\n", number(r.Others.Median), span(r.Others))
	}
	out.WriteString("\n")
	for _, t := range r.Targets {
		if t.Absent != "" {
			fmt.Fprintf(&out, "%s is absent: %s\n\n", t.Title, firstLine(t.Absent))
		}
	}
	for _, metric := range r.Metrics {
		r.metricTable(&out, metric)
	}
	r.childrenTable(&out)
	r.hostsTable(&out)
	r.moderationTable(&out)
	r.aimsTable(&out)
	return strings.TrimRight(out.String(), "\n") + "\n"
}

func (r *Report) metricTable(out *strings.Builder, m Metric) {
	measured := false
	var bases []string
	for _, t := range r.Targets {
		if _, ok := t.Values[m.Name]; ok {
			measured = true
		}
	}
	if !measured {
		return
	}
	fmt.Fprintf(out, "%s (%s, %s is better)\n", m.Title, m.Unit, m.Better)
	head := []string{"", "median", "range"}
	for _, base := range baselines {
		if _, ok := r.median(base, m.Name); ok {
			bases = append(bases, base)
			head = append(head, "x "+base)
		}
	}
	t := newTable(out, head...)
	for _, target := range r.Targets {
		s, ok := target.Values[m.Name]
		switch {
		case ok:
			cells := []string{target.Title, number(s.Median), span(s)}
			for _, base := range bases {
				cell := "-"
				if v, ok := r.ratio(target.Name, base, m.Name); ok {
					cell = fmt.Sprintf("%.2f", v)
				}
				cells = append(cells, cell)
			}
			t.row(cells...)
		case target.Absent != "":
			t.row(target.Title, "absent")
		}
	}
	t.flush()
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func (r *Report) childrenTable(out *strings.Builder) {
	if len(r.Children) == 0 {
		return
	}
	out.WriteString("Children of one interface (seconds)\n")
	t := newTable(out, "children", "create all", "list all", "delete all", "memory, MiB")
	for _, p := range r.Children {
		if p.Error != "" {
			t.row(fmt.Sprint(p.Children), "failed: "+firstLine(p.Error))
			continue
		}
		t.row(fmt.Sprint(p.Children), number(p.Create.Median), number(p.List.Median), number(p.Delete.Median), number(p.Memory))
	}
	t.flush()
}

func (r *Report) hostsTable(out *strings.Builder) {
	if len(r.Hosts) == 0 {
		return
	}
	out.WriteString("Hosts on one fabric; every host of the first half sends TCP to one of the second\n")
	t := newTable(out, "hosts", "made and up, s", "TCP in all, Gbit/s", "first ping, ms", "memory, MiB", "idle CPU, %")
	for _, p := range r.Hosts {
		if p.Error != "" {
			t.row(fmt.Sprint(p.Hosts), "failed: "+firstLine(p.Error))
			continue
		}
		t.row(fmt.Sprint(p.Hosts), number(p.Up), number(p.Throughput), number(p.FirstPing), number(p.Memory), number(p.Idle))
	}
	t.flush()
}

func (r *Report) moderationTable(out *strings.Builder) {
	if len(r.Moderation) == 0 {
		return
	}
	fmt.Fprintf(out, "Receive moderation: %s messages a second over UDP; latency of TCP ping-pong\n", messageRate)
	t := newTable(out, "rx-usecs", "completion events, 1/s", "wakeups of the receiver, 1/s", "p50, µs", "p99, µs")
	for _, p := range r.Moderation {
		if p.Error != "" {
			t.row(fmt.Sprint(p.RxUsecs), "failed: "+firstLine(p.Error))
			continue
		}
		t.row(fmt.Sprint(p.RxUsecs), number(p.Events.Median), number(p.Wakeups.Median), number(p.P50.Median), number(p.P99.Median))
	}
	t.flush()
}

func (r *Report) aimsTable(out *strings.Builder) {
	out.WriteString("Aims\n")
	t := newTable(out, "", "measured", "at least", "aim", "")
	for _, a := range r.Aims {
		value, wanted, sign := "-", "-", ""
		if a.Less {
			sign = "<= "
		}
		if a.Value != nil {
			value = number(*a.Value)
		}
		if a.Aim != nil {
			wanted = sign + number(*a.Aim)
		}
		t.row(a.What, value+" "+a.Unit, sign+number(a.AtLeast), wanted, a.Verdict)
	}
	t.flush()
}
