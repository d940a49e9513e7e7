package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{5, 1, 3}, 3}, {[]float64{4, 1, 3, 2}, 2.5}} {
		kept := slices.Clone(c.in)
		if got := median(c.in); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.in, got, c.want)
		}
		if !slices.Equal(kept, c.in) {
			t.Errorf("the samples %v were changed to %v", kept, c.in)
		}
	}
	if !math.IsNaN(median(nil)) {
		t.Error("there is a median of nothing")
	}
	if s := summarize([]float64{5, 1, 3}); s.Median != 3 || s.Min != 1 || s.Max != 5 || !slices.Equal(s.Samples, []float64{5, 1, 3}) {
		t.Errorf("%+v", s)
	}
}

func TestOver(t *testing.T) {
	sum := func(v ...float64) Summary { return summarize(v) }
	for _, c := range []struct {
		name string
		a, b Summary
		want float64
		ok   bool
	}{
		// The second round was slow for both.
		{"paired", sum(10, 2, 12), sum(20, 4, 20), 0.5, true},
		{"a round is missing", sum(10, 30), sum(20, 4, 40), 1, true},
		{"by nothing", sum(1), sum(0), 0, false},
		{"nothing by nothing", sum(0), sum(0), 0, false},
	} {
		if got, ok := over(c.a, c.b); ok != c.ok || ok && got != c.want {
			t.Errorf("%s: %v, %v; want %v, %v", c.name, got, ok, c.want, c.ok)
		}
	}
}

func TestVerdict(t *testing.T) {
	f := func(v float64) *float64 { return &v }
	for _, c := range []struct {
		row  AimResult
		want string
	}{
		{AimResult{AtLeast: 1}, verdictAbsent},
		{AimResult{AtLeast: 1, Value: f(0.99)}, verdictMissed},
		{AimResult{AtLeast: 1, Value: f(1)}, verdictReached},
		{AimResult{AtLeast: 1, Value: f(1.5), Aim: f(2)}, verdictEnough},
		{AimResult{AtLeast: 1, Value: f(2), Aim: f(2)}, verdictReached},
		{AimResult{AtLeast: 10, Value: f(11), Less: true}, verdictMissed},
		{AimResult{AtLeast: 10, Value: f(5), Aim: f(3), Less: true}, verdictEnough},
		{AimResult{AtLeast: 10, Value: f(2), Aim: f(3), Less: true}, verdictReached},
	} {
		if got := verdict(c.row); got != c.want {
			t.Errorf("%+v: %s, want %s", c.row, got, c.want)
		}
	}
}

// sample is a report with a target that is absent and titles that XML must
// escape.
func sample() *Report {
	values := func(v ...float64) Summary { return summarize(v) }
	r := &Report{
		Machine: Machine{CPU: "A & B <1>", Cores: 2, Kernel: "6.1", Go: "go1", Date: "2026-01-02", Congestion: "cubic"},
		Rounds:  2, Seconds: 1, Metrics: metrics, Others: values(1, 30),
		Targets: []TargetResult{
			{Name: vethTarget, Title: "veth", Values: map[string]Summary{
				metricTCP: values(18, 20), metricTCPReverse: values(20, 20), metricP50: values(6, 6)}},
			{Name: vxlanTarget, Title: "VXLAN", Values: map[string]Summary{metricTCP: values(9, 10), metricTCPReverse: values(10, 10)}},
			{Name: wireguardTarget, Title: "wireguard-go", Absent: "no <TUN>\nmore", Values: map[string]Summary{}},
			{Name: oursTarget, Title: "ours", Values: map[string]Summary{
				metricTCP: values(13.5, 15), metricTCPReverse: values(12, 12), metricP50: values(12, 12), metricIdle: values(0, 0)}},
		},
		Children: []ChildrenPoint{
			{Children: 1, Create: values(0.01), List: values(0.01), Delete: values(0.02)},
			{Children: 1000, Create: values(2), List: values(0.05), Delete: values(20), Memory: 80},
		},
		Hosts:      []HostsPoint{{Hosts: 2, Up: 0.1, Throughput: 10, Memory: 15}, {Hosts: 64, Error: "broken & <gone>"}},
		Moderation: []ModerationPoint{{RxUsecs: 0, Events: values(2e4), Wakeups: values(1e4), P50: values(10), P99: values(20)}},
	}
	r.finish(time.Minute)
	return r
}

func TestText(t *testing.T) {
	text := sample().text()
	for _, want := range []string{
		"A & B <1>, 2 cores, Linux 6.1, go1, 2026-01-02",
		"other programs took 15.5 % of the machine meanwhile (1.00..30.0)",
		"wireguard-go is absent: no <TUN>\n",
		"TCP, one stream (Gbit/s, more is better)",
		"  ours                  14.2    13.5..15.0  0.75    1.50",
		"  wireguard-go          absent",
		"  1000      2.00        0.0500    20.0        80.0",
		"failed: broken & <gone>",
		// The slower direction counts: 12 of 20 and 12 of 10.
		"TCP, datagram mode, offloads on  1.20 x VXLAN      1.00      -          reached",
		"TCP, datagram mode, offloads on  0.60 x veth       0.70      1.00       missed",
		"TCP, connected mode, MTU 65520   - x veth          0.90      1.10       not measured",
		"TCP ping-pong of 14 bytes, p50   2.00 x veth       <= 2.50   <= 1.80    enough",
		"1,000 children: list all         0.0500 s          <= 0.10   <= 0.0300  enough",
	} {
		if !strings.Contains(squeeze(text), squeeze(want)) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "64-byte packets received") {
		t.Error("a table without values is printed")
	}
}

// squeeze makes runs of spaces one.
func squeeze(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' }), " ")
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.0312: "0.0312", 0.5: "0.50", 9.876: "9.88", 17.94: "17.9", 1234.5: "1234", math.NaN(): "-"} {
		if got := number(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}

func wellFormed(t *testing.T, name string, text []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
			return
		}
	}
}

func TestWrite(t *testing.T) {
	r, dir := sample(), filepath.Join(t.TempDir(), "out")
	if err := r.write(dir, "text\n"); err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(filepath.Join(dir, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(doc, &back); err != nil {
		t.Fatal(err)
	}
	if got := back.text(); got != r.text() {
		t.Errorf("the report changed by way of JSON:\n%s", got)
	}
	names := slices.Sorted(maps.Keys(r.plots()))
	if want := []string{"children.svg", "cost.svg", "hosts.svg", "latency.svg", "moderation.svg", "throughput.svg"}; !slices.Equal(names, want) {
		t.Errorf("plots %v, want %v", names, want)
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		wellFormed(t, name, text)
		for _, bad := range []string{"NaN", "Inf"} {
			if bytes.Contains(text, []byte(bad)) {
				t.Errorf("%s has %s", name, bad)
			}
		}
	}
	text, _ := os.ReadFile(filepath.Join(dir, "throughput.svg"))
	for _, want := range []string{"A &amp; B &lt;1&gt;", ">14.2  (0.75 x veth)<", ">ours<"} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("no %q in throughput.svg", want)
		}
	}
}

func TestScale(t *testing.T) {
	one := func(v ...float64) scale { return lines{series: []series{{"s", v}}}.scale() }
	if s := one(2, 8); s.log || s.top != 8 || !slices.Equal(s.ticks, []float64{0, 2, 4, 6, 8}) {
		t.Errorf("%+v", s)
	}
	s := one(0.02, 20, math.NaN())
	if !s.log || s.top != 100 || len(s.ticks) != 5 {
		t.Errorf("%+v", s)
	}
	if got := s.place(1); math.Abs(got-0.5) > 1e-9 {
		t.Errorf("1 is at %v of 0.01 to 100", got)
	}
	if got := s.place(0); got != 0 {
		t.Errorf("0 is at %v", got)
	}
	if s := one(0); s.top <= 0 {
		t.Errorf("%+v", s)
	}
	for v, want := range map[float64]float64{1: 1, 1.1: 2, 3: 5, 7: 10, 0.03: 0.05} {
		if got := niceStep(v); math.Abs(got-want) > 1e-9 {
			t.Errorf("step after %v: %v, want %v", v, got, want)
		}
	}
}

func TestOptions(t *testing.T) {
	parse := func(args ...string) options {
		t.Helper()
		o, err := parseOptions(args, io.Discard)
		if err != nil {
			t.Fatal(args, err)
		}
		return o
	}
	if o := parse(); o.rounds != 5 || o.seconds != 2 || o.out != defaultOut {
		t.Errorf("%+v", o)
	}
	if o := parse("-quick"); o.rounds != 1 || o.seconds != 1 || o.out != "" {
		t.Errorf("%+v", o)
	}
	if o := parse("-quick", "-rounds", "2", "-out", "x"); o.rounds != 2 || o.seconds != 1 || o.out != "x" {
		t.Errorf("%+v", o)
	}
	if o := parse("-only", "veth/"); o.out != "" || !o.only.MatchString("veth/tcp") || o.only.MatchString("hosts/2") {
		t.Errorf("%+v", o)
	}
	for _, bad := range [][]string{{"-rounds", "0"}, {"-seconds", "-1"}, {"-only", "("}, {"more"}, {"-what"}} {
		if _, err := parseOptions(bad, io.Discard); err == nil {
			t.Errorf("%v: no error", bad)
		}
	}
}
