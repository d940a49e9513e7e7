package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"time"
)

// Report is everything that a run found.
type Report struct {
	Machine Machine `json:"machine"`
	Rounds  int     `json:"rounds"`
	// Seconds is the time of one measurement.
	Seconds int  `json:"seconds"`
	Quick   bool `json:"quick"`
	// Took is the time of the run in seconds.
	Took float64 `json:"took"`
	// Others is what other programs took of the machine during the
	// measurements, in percent of all its CPUs.
	Others     Summary           `json:"others"`
	Metrics    []Metric          `json:"metrics"`
	Targets    []TargetResult    `json:"targets"`
	Children   []ChildrenPoint   `json:"children"`
	Hosts      []HostsPoint      `json:"hosts"`
	Moderation []ModerationPoint `json:"moderation"`
	Aims       []AimResult       `json:"aims"`
}

// TargetResult is what was measured for one target.
type TargetResult struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	// Absent tells why values are missing.
	Absent string             `json:"absent,omitempty"`
	Errors []string           `json:"errors,omitempty"`
	Values map[string]Summary `json:"values"`
}

// finish computes what follows from the measurements.
func (r *Report) finish(took time.Duration) {
	r.Took = took.Round(time.Second).Seconds()
	r.Metrics = metrics
	r.Aims = r.judge()
}

// target returns the result of a target.
func (r *Report) target(name string) (TargetResult, bool) {
	for _, t := range r.Targets {
		if t.Name == name {
			return t, true
		}
	}
	return TargetResult{}, false
}

// summary returns a metric of a target.
func (r *Report) summary(target, metric string) (Summary, bool) {
	t, ok := r.target(target)
	if !ok {
		return Summary{}, false
	}
	s, ok := t.Values[metric]
	return s, ok
}

// median returns the median of a metric of a target.
func (r *Report) median(target, metric string) (float64, bool) {
	s, ok := r.summary(target, metric)
	return s.Median, ok
}

// ratio returns how many times that of another a target's metric is.
func (r *Report) ratio(target, base, metric string) (float64, bool) {
	a, okA := r.summary(target, metric)
	b, okB := r.summary(base, metric)
	if !okA || !okB {
		return 0, false
	}
	return over(a, b)
}

// write leaves the report as JSON, text and plots in a directory.
func (r *Report) write(dir, text string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	doc, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	files := map[string][]byte{"results.json": append(doc, '\n'), "results.txt": []byte(text)}
	for name, p := range r.plots() {
		var buf bytes.Buffer
		if err := p.svg(&buf); err != nil {
			return err
		}
		files[name] = buf.Bytes()
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
