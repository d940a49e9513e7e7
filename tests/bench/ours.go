package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// connectedMTU is the largest MTU of connected mode.
const connectedMTU = "65520"

// setupOurs connects the hosts by IP over InfiniBand: a service with one
// channel adapter per host, set up further by configure.
func setupOurs(configure func(context.Context, host) error) func(context.Context, *bench, *target) error {
	return func(ctx context.Context, b *bench, t *target) error {
		if err := b.pair(ctx, t); err != nil {
			return err
		}
		runDir := filepath.Join(b.dir, t.name)
		t.client.runDir, t.server.runDir = runDir, runDir
		p, err := b.service(ctx, runDir,
			"--hca", fmt.Sprintf("soft1,netns=%s,ifname=ib0", t.client.ns),
			"--hca", fmt.Sprintf("soft2,netns=%s,ifname=ib0", t.server.ns))
		if err != nil {
			return err
		}
		t.services = []*process{p}
		for _, h := range []host{t.client, t.server} {
			if err := configure(ctx, h); err != nil {
				return err
			}
		}
		return t.addresses(ctx, "10.77.0", "ib0")
	}
}

// service starts ipoib serve and waits until it answers.
func (b *bench) service(ctx context.Context, runDir string, flags ...string) (*process, error) {
	if err := os.MkdirAll(runDir, 0o755); err != nil {
		return nil, err
	}
	args := append([]string{"--run-dir", runDir, "serve"}, flags...)
	p, err := start(command(context.WithoutCancel(ctx), "ipoib", args...))
	if err != nil {
		return nil, err
	}
	b.later(func() error {
		// Without a teardown the interfaces would stay.
		ctx, cancel := context.WithTimeout(context.Background(), 2*commandTime)
		defer cancel()
		err := check(command(ctx, "ipoib", "--run-dir", runDir, "serve", "--teardown"))
		if p.wait(10 * time.Second) {
			return os.RemoveAll(runDir)
		}
		p.stop()
		return errors.Join(err, os.RemoveAll(runDir))
	})
	err = p.until(ctx, "the service answers", func() bool {
		return command(ctx, "ipoib", "--run-dir", runDir, "fabric", "manager").Run() == nil
	})
	return p, err
}

// offloads switches every stateless offload on or off.
func offloads(state string) func(context.Context, host) error {
	return func(ctx context.Context, h host) error {
		for _, feature := range []string{"rx", "tx", "tso", "gso", "gro", "lro"} {
			if err := h.run(ctx, "ipoib-ethtool", "-K", "ib0", feature, state); err != nil {
				return err
			}
		}
		return nil
	}
}

// connectedMode switches to connected mode with its largest MTU.
func connectedMode(ctx context.Context, h host) error {
	if err := h.run(ctx, "ipoib", "link", "set", "ib0", "type", "ipoib", "mode", "connected"); err != nil {
		return fmt.Errorf("connected mode is not supported: %w", err)
	}
	return h.ip(ctx, "link", "set", "ib0", "mtu", connectedMTU)
}
