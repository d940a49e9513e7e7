package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ChildrenPoint is how long it takes to manage a number of child interfaces,
// in seconds of one program run each.
type ChildrenPoint struct {
	Children int     `json:"children"`
	Create   Summary `json:"create"`
	List     Summary `json:"list"`
	Delete   Summary `json:"delete"`
	// Memory is that of the service with all children, in MiB.
	Memory float64 `json:"memory"`
	Error  string  `json:"error,omitempty"`
}

// HostsPoint is a fabric of a number of hosts.
type HostsPoint struct {
	Hosts int `json:"hosts"`
	// Up is the time in seconds until all hosts were made and had carrier.
	Up float64 `json:"up"`
	// Throughput is the sum of one TCP stream per pair of hosts, in Gbit/s.
	Throughput float64 `json:"throughput"`
	// FirstPing is the time in milliseconds of the median first packet, with
	// address resolution and path query.
	FirstPing float64 `json:"first_ping"`
	// Memory is that of the service in MiB after the traffic, Idle its CPU
	// time in percent of a core.
	Memory float64 `json:"memory"`
	Idle   float64 `json:"idle"`
	Error  string  `json:"error,omitempty"`
}

// scaleTime bounds one point.
const scaleTime = 3 * time.Minute

// listRepeats is how often children are listed; the median counts.
const listRepeats = 5

// children measures 1 to 1,000 children of one interface.
func (b *bench) children(ctx context.Context) error {
	counts := []int{1, 10, 100, manyChildren}
	if b.opt.quick {
		counts = []int{100}
	}
	for _, n := range counts {
		name := fmt.Sprintf("children/%d", n)
		if !b.wanted(name) {
			continue
		}
		// A slow machine is no reason to spend rounds on many children.
		rounds := b.opt.rounds
		if n == manyChildren {
			rounds = min(rounds, 3)
		}
		p := ChildrenPoint{Children: n}
		var create, list, del []float64
		for range rounds {
			c, l, d, mib, err := b.childrenOnce(ctx, n)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				p.Error = err.Error()
				break
			}
			create, list, del, p.Memory = append(create, c), append(list, l), append(del, d), mib
			b.progress("%-14s created in %s s, listed in %s s, deleted in %s s", name, number(c), number(l), number(d))
		}
		if p.Error == "" {
			p.Create, p.List, p.Delete = summarize(create), summarize(list), summarize(del)
		} else {
			b.progress("%s failed: %s", name, p.Error)
		}
		b.report.Children = append(b.report.Children, p)
	}
	return nil
}

// childrenOnce makes, lists and deletes n children on a fresh service.
func (b *bench) childrenOnce(ctx context.Context, n int) (create, list, del, mib float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, scaleTime)
	defer cancel()
	height := len(b.undo)
	defer func() { err = errors.Join(err, b.unwind(height)) }()
	h, err := b.newHost(ctx, "bench-children")
	if err != nil {
		return
	}
	h.runDir = filepath.Join(b.dir, "children")
	service, err := b.service(ctx, h.runDir, "--hca", fmt.Sprintf("soft1,netns=%s,ifname=ib0", h.ns))
	if err != nil {
		return
	}
	if err = h.ip(ctx, "link", "set", "ib0", "up"); err != nil {
		return
	}
	timed := func(name string, args ...string) (float64, []byte, error) {
		cmd := h.command(ctx, name, args...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		began := time.Now()
		out, err := cmd.Output()
		took := time.Since(began).Seconds()
		if err != nil {
			err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
		}
		return took, out, err
	}
	batch := func(file string, line func(int) string) (float64, error) {
		path := filepath.Join(h.runDir, file)
		if err := os.WriteFile(path, batchLines(n, line), 0o644); err != nil {
			return 0, err
		}
		took, _, err := timed("ipoib", "-batch", path)
		return took, err
	}
	if create, err = batch("add", addChild); err != nil {
		return
	}
	var lists []float64
	for range listRepeats {
		took, out, err := timed("ipoib", "link", "show", "type", "ipoib")
		if err != nil {
			return 0, 0, 0, 0, err
		}
		if got := bytes.Count(out, []byte("ib0.")); got < n {
			return 0, 0, 0, 0, fmt.Errorf("%d of %d children are listed", got, n)
		}
		lists = append(lists, took)
	}
	list = median(lists)
	if mib, err = memory(service.cmd.Process.Pid); err != nil {
		return
	}
	del, err = batch("del", deleteChild)
	return
}

// batchLines is a batch file with a line per child.
func batchLines(n int, line func(pkey int) string) []byte {
	var buf bytes.Buffer
	for i := 1; i <= n; i++ {
		buf.WriteString(line(0x8000+i) + "\n")
	}
	return buf.Bytes()
}

func addChild(pkey int) string {
	return fmt.Sprintf("link add link ib0 name ib0.%04[1]x type ipoib pkey 0x%04[1]x", pkey)
}

func deleteChild(pkey int) string { return fmt.Sprintf("link del ib0.%04x", pkey) }

// hosts measures fabrics of 2 to 64 hosts.
func (b *bench) hosts(ctx context.Context) error {
	counts := []int{2, 4, 8, 16, 32, 64}
	if b.opt.quick {
		counts = []int{4}
	}
	for _, n := range counts {
		name := fmt.Sprintf("hosts/%d", n)
		if !b.wanted(name) {
			continue
		}
		p, err := b.fabric(ctx, n)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			p.Error = err.Error()
			b.progress("%s failed: %v", name, err)
		} else {
			b.progress("%-14s up in %s s, %s Gbit/s in all, %s MiB", name, number(p.Up), number(p.Throughput), number(p.Memory))
		}
		b.report.Hosts = append(b.report.Hosts, p)
	}
	return nil
}

// fabric measures n hosts that ipoib lab makes.
func (b *bench) fabric(ctx context.Context, n int) (p HostsPoint, err error) {
	p.Hosts = n
	ctx, cancel := context.WithTimeout(ctx, scaleTime)
	defer cancel()
	height := len(b.undo)
	defer func() { err = errors.Join(err, b.unwind(height)) }()
	runDir := filepath.Join(b.dir, "hosts")
	service, err := b.service(ctx, runDir, "--no-hca")
	if err != nil {
		return p, err
	}
	lab := func(ctx context.Context, args ...string) error {
		return check(command(ctx, "ipoib", append([]string{"--run-dir", runDir, "lab"}, args...)...))
	}
	b.later(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*commandTime)
		defer cancel()
		return lab(ctx, "down")
	})
	began := time.Now()
	if err := lab(ctx, "up", "--hosts", strconv.Itoa(n)); err != nil {
		return p, err
	}
	p.Up = time.Since(began).Seconds()
	var pairs []*target
	for i := 1; i <= n/2; i++ {
		pairs = append(pairs, &target{
			name:   fmt.Sprintf("%d-%d", i, i+n/2),
			client: labHost(i, runDir), server: labHost(i+n/2, runDir),
			addr: fmt.Sprintf("10.77.0.%d", i+n/2), services: []*process{service},
		})
	}
	if p.FirstPing, err = firstPing(ctx, pairs); err != nil {
		return p, err
	}
	if p.Throughput, err = b.together(ctx, pairs); err != nil {
		return p, err
	}
	values, err := b.idle(ctx, pairs[0])
	p.Memory, p.Idle = values[metricMemory], values[metricIdle]
	return p, err
}

// labHost is a host of ipoib lab.
func labHost(i int, runDir string) host {
	return host{ns: fmt.Sprintf("ibhost%d", i), runDir: runDir}
}

// firstPing is the median time of the first packet of each pair in ms.
func firstPing(ctx context.Context, pairs []*target) (float64, error) {
	var times []float64
	for _, t := range pairs {
		out, err := t.client.command(ctx, "ping", "-c", "1", "-W", "5", t.addr).Output()
		if err != nil {
			return 0, fmt.Errorf("hosts %s: ping: %w", t.name, err)
		}
		ms, err := parsePing(string(out))
		if err != nil {
			return 0, err
		}
		times = append(times, ms)
	}
	return median(times), nil
}

// parsePing reads the round trip in milliseconds from ping's first answer.
func parsePing(text string) (float64, error) {
	_, rest, ok := strings.Cut(text, " time=")
	value, _, ok2 := strings.Cut(rest, " ms")
	if !ok || !ok2 {
		return 0, errors.New("ping: no time in the output")
	}
	v, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return 0, fmt.Errorf("ping: %w", err)
	}
	return v, nil
}

// together runs one TCP stream per pair at the same time and adds them up.
func (b *bench) together(ctx context.Context, pairs []*target) (float64, error) {
	results := make([]iperfResult, len(pairs))
	errs := make([]error, len(pairs))
	var wg sync.WaitGroup
	for i, t := range pairs {
		wg.Go(func() { results[i], _, errs[i] = b.iperf(ctx, t, b.tcpArgs()...) })
	}
	wg.Wait()
	var sum float64
	for i, r := range results {
		if errs[i] != nil {
			return 0, fmt.Errorf("hosts %s: %w", pairs[i].name, errs[i])
		}
		sum += r.BitsPerSecond / 1e9
	}
	return sum, nil
}
