package main

import (
	"context"
	"fmt"
	"time"
)

// A target is one way to connect two hosts.
type target struct {
	// name is the key in the results and for -only.
	name, title string
	// setup makes the hosts and connects them.
	setup func(context.Context, *bench, *target) error

	client, server host
	// addr is the server's address.
	addr string
	// services are the processes that carry the packets, if any.
	services []*process
	// absent tells why there are no results.
	absent string
	errors []string
	// failures counts measurements that failed without one between that
	// succeeded.
	failures int
}

// Names of the targets.
const (
	vethTarget      = "veth"
	vxlanTarget     = "vxlan"
	wireguardTarget = "wireguard-go"
	oursTarget      = "ours"
	oursOffTarget   = "ours-nooffload"
	connectedTarget = "ours-connected"
)

// baselines are the targets that the others are compared with.
var baselines = []string{vethTarget, vxlanTarget, wireguardTarget}

func newTargets() []*target {
	return []*target{
		{name: vethTarget, title: "veth", setup: setupVeth},
		{name: vxlanTarget, title: "VXLAN over veth", setup: setupVXLAN},
		{name: wireguardTarget, title: "wireguard-go over veth", setup: setupWireguard},
		{name: oursTarget, title: "ours, datagram, offloads on", setup: setupOurs(offloads("on"))},
		{name: oursOffTarget, title: "ours, datagram, offloads off", setup: setupOurs(offloads("off"))},
		{name: connectedTarget, title: "ours, connected, MTU 65520", setup: setupOurs(connectedMode)},
	}
}

// prepare makes a target's hosts and waits until they reach each other. What
// was made of a target that fails is removed.
func (b *bench) prepare(ctx context.Context, t *target) error {
	height := len(b.undo)
	err := t.setup(ctx, b, t)
	if err == nil {
		err = b.reach(ctx, t)
	}
	if err == nil {
		return nil
	}
	if uerr := b.unwind(height); uerr != nil {
		return fmt.Errorf("%w (and %w)", err, uerr)
	}
	t.services = nil
	return err
}

// pair makes the two hosts of a target.
func (b *bench) pair(ctx context.Context, t *target) (err error) {
	if t.client, err = b.newHost(ctx, "bench-"+t.name+"-1"); err != nil {
		return err
	}
	t.server, err = b.newHost(ctx, "bench-"+t.name+"-2")
	return err
}

// reach waits until the server answers.
func (b *bench) reach(ctx context.Context, t *target) error {
	var err error
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if err = t.client.run(ctx, "ping", "-c", "1", "-W", "1", t.addr); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// addresses gives the hosts addresses 1 and 2 in a network of 24 bits, given
// by its first three, and sets their interface up.
func (t *target) addresses(ctx context.Context, net, dev string) error {
	for i, h := range []host{t.client, t.server} {
		if err := h.ip(ctx, "addr", "add", fmt.Sprintf("%s.%d/24", net, i+1), "dev", dev); err != nil {
			return err
		}
		if err := h.ip(ctx, "link", "set", dev, "up"); err != nil {
			return err
		}
	}
	t.addr = net + ".2"
	return nil
}

// setupVeth connects the hosts by a plain veth pair.
func setupVeth(ctx context.Context, b *bench, t *target) error {
	if err := b.pair(ctx, t); err != nil {
		return err
	}
	if err := ip(ctx, "link", "add", "veth0", "netns", t.client.ns, "type", "veth",
		"peer", "name", "veth0", "netns", t.server.ns); err != nil {
		return err
	}
	return t.addresses(ctx, "10.1.0", "veth0")
}

// setupVXLAN connects the hosts by VXLAN over a veth pair.
func setupVXLAN(ctx context.Context, b *bench, t *target) error {
	if err := setupVeth(ctx, b, t); err != nil {
		return err
	}
	for i, h := range []host{t.client, t.server} {
		if err := h.ip(ctx, "link", "add", "vxlan0", "type", "vxlan", "id", "42", "dev", "veth0",
			"local", fmt.Sprintf("10.1.0.%d", i+1), "remote", fmt.Sprintf("10.1.0.%d", 2-i),
			"dstport", "4789"); err != nil {
			return err
		}
	}
	return t.addresses(ctx, "10.2.0", "vxlan0")
}
