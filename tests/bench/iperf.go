package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// iperfPort is where the iperf3 server listens.
const iperfPort = 5201

// patience is how long a measurement may take beyond its own duration.
const patience = 15 * time.Second

// iperfResult is what iperf3 -J says about a run, as far as it is used here.
type iperfResult struct {
	// BitsPerSecond and Bytes are what the receiver got, Seconds its time.
	BitsPerSecond, Bytes, Seconds float64
	// Packets sent and lost, of a UDP run.
	Packets, Lost float64
	// Congestion is the sender's TCP congestion control.
	Congestion string
}

// received is the number of packets per second that arrived.
func (r iperfResult) received() float64 { return (r.Packets - r.Lost) / r.Seconds }

// parseIperf reads the output of iperf3 -J.
func parseIperf(text []byte) (iperfResult, error) {
	var doc struct {
		Error string `json:"error"`
		End   struct {
			SumReceived *struct {
				Seconds       float64 `json:"seconds"`
				Bytes         float64 `json:"bytes"`
				BitsPerSecond float64 `json:"bits_per_second"`
				Packets       float64 `json:"packets"`
				Lost          float64 `json:"lost_packets"`
			} `json:"sum_received"`
			Congestion string `json:"sender_tcp_congestion"`
		} `json:"end"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return iperfResult{}, fmt.Errorf("iperf3: %w", err)
	}
	if doc.Error != "" {
		return iperfResult{}, fmt.Errorf("iperf3: %s", doc.Error)
	}
	s := doc.End.SumReceived
	switch {
	case s == nil:
		return iperfResult{}, errors.New("iperf3: no sum_received in the output")
	case s.Seconds <= 0 || s.Bytes <= 0:
		return iperfResult{}, errors.New("iperf3: nothing was received")
	}
	return iperfResult{s.BitsPerSecond, s.Bytes, s.Seconds, s.Packets, s.Lost, doc.End.Congestion}, nil
}

// iperf runs iperf3 for the given seconds from the target's first to its
// second host, with arguments added at the client, and returns the CPU time
// that both ends took as well.
func (b *bench) iperf(ctx context.Context, t *target, args ...string) (iperfResult, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, b.duration()+patience)
	defer cancel()
	server, err := b.listener(ctx, t.server, iperfPort, "iperf3", "-s", "-1", "-p", strconv.Itoa(iperfPort))
	if err != nil {
		return iperfResult{}, 0, err
	}
	defer server.stop()
	argv := append([]string{
		"-c", t.addr, "-p", strconv.Itoa(iperfPort), "-J", "-t", strconv.Itoa(b.opt.seconds),
		"--connect-timeout", "3000",
	}, args...)
	client := t.client.command(ctx, "iperf3", argv...)
	text, err := client.Output()
	if len(text) == 0 && err != nil {
		return iperfResult{}, 0, fmt.Errorf("iperf3: %w", err)
	}
	r, perr := parseIperf(text)
	if err = errors.Join(perr, ctx.Err()); err != nil {
		return r, 0, err
	}
	server.wait(2 * time.Second) // -1: it ends by itself
	server.stop()
	return r, cpuOf(client.ProcessState) + cpuOf(server.cmd.ProcessState), nil
}

// tcpArgs are the arguments of all TCP runs.
func (b *bench) tcpArgs(args ...string) []string {
	if b.opt.congestion != "" {
		args = append(args, "-C", b.opt.congestion)
	}
	return args
}
