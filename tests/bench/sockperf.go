package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// sockperfPort is where the sockperf server listens.
const sockperfPort = 11111

// messageSize is the length of a ping-pong message, sockperf's smallest.
const messageSize = "14"

// sockperfResult are the latencies that sockperf prints, in microseconds: half
// of the time from sending a message to receiving its answer.
type sockperfResult struct {
	P50, P99     float64
	Observations int
}

var (
	sockperfPercentile = regexp.MustCompile(`percentile (\d+\.\d+) =\s*(\d+\.\d+)`)
	sockperfTotal      = regexp.MustCompile(`Total (\d+) observations`)
)

// parseSockperf reads what sockperf ping-pong or under-load prints.
func parseSockperf(text []byte) (sockperfResult, error) {
	var r sockperfResult
	var have50, have99 bool
	sc := bufio.NewScanner(bytes.NewReader(text))
	for sc.Scan() {
		if m := sockperfPercentile.FindStringSubmatch(sc.Text()); m != nil {
			v, err := strconv.ParseFloat(m[2], 64)
			if err != nil {
				return r, fmt.Errorf("sockperf: %w", err)
			}
			switch m[1] {
			case "50.000":
				r.P50, have50 = v, true
			case "99.000":
				r.P99, have99 = v, true
			}
		}
		if m := sockperfTotal.FindStringSubmatch(sc.Text()); m != nil {
			n, err := strconv.Atoi(m[1])
			if err != nil {
				return r, fmt.Errorf("sockperf: %w", err)
			}
			r.Observations = n
		}
	}
	if err := sc.Err(); err != nil {
		return r, fmt.Errorf("sockperf: %w", err)
	}
	if !have50 || !have99 || r.Observations == 0 {
		return r, errors.New("sockperf: no latencies in the output")
	}
	return r, nil
}

// pingPong measures the latency of small TCP messages between the hosts of a
// target.
func (b *bench) pingPong(ctx context.Context, t *target) (sockperfResult, error) {
	r, _, err := b.sockperf(ctx, t, "ping-pong", "--tcp", "-m", messageSize)
	return r, err
}

// sockperf runs a sockperf client against a server in the target's second
// host. It returns the voluntary context switches of the server as well: how
// often it slept and was woken.
func (b *bench) sockperf(ctx context.Context, t *target, mode string, args ...string) (sockperfResult, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, b.duration()+patience)
	defer cancel()
	port := strconv.Itoa(sockperfPort)
	argv := []string{"server", "-p", port}
	for _, a := range args {
		if a == "--tcp" {
			argv = append(argv, a)
		}
	}
	server, err := b.listener(ctx, t.server, sockperfPort, "sockperf", argv...)
	if err != nil {
		return sockperfResult{}, 0, err
	}
	defer server.stop()
	argv = append([]string{mode, "-i", t.addr, "-p", port, "-t", strconv.Itoa(b.opt.seconds)}, args...)
	text, err := t.client.command(ctx, "sockperf", argv...).Output()
	r, perr := parseSockperf(text)
	if perr != nil {
		return r, 0, errors.Join(perr, err, ctx.Err())
	}
	server.stop()
	return r, wakeupsOf(server.cmd.ProcessState), nil
}

// duration is the time of one measurement.
func (b *bench) duration() time.Duration { return time.Duration(b.opt.seconds) * time.Second }
