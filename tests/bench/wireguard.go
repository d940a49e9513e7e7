package main

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
)

// wireguardCommand is the first argument that makes this program a WireGuard
// device.
const wireguardCommand = "wireguard"

// wireguardReady is what it prints when the device is there.
const wireguardReady = "ready"

// runWireguard is wireguard-go as its main function sets it up: one device
// with one TUN, in the network namespace that it is started in. The
// configuration comes from the standard input, in the form of wg(8)'s
// protocol up to an empty line; the device lives until the input ends.
func runWireguard(args []string, in io.Reader, out io.Writer) error {
	if len(args) != 1 {
		return errors.New("usage: bench wireguard INTERFACE")
	}
	t, err := tun.CreateTUN(args[0], device.DefaultMTU)
	if err != nil {
		return fmt.Errorf("wireguard: %w", err)
	}
	dev := device.NewDevice(t, conn.NewDefaultBind(), device.NewLogger(device.LogLevelError, args[0]+" "))
	defer dev.Close()
	var config strings.Builder
	for one := make([]byte, 1); !strings.HasSuffix(config.String(), "\n\n"); {
		if _, err := io.ReadFull(in, one); err != nil {
			return fmt.Errorf("wireguard: reading the configuration: %w", err)
		}
		config.Write(one)
	}
	if err := dev.IpcSet(config.String()); err != nil {
		return fmt.Errorf("wireguard: %w", err)
	}
	if err := dev.Up(); err != nil {
		return fmt.Errorf("wireguard: %w", err)
	}
	fmt.Fprintln(out, wireguardReady)
	_, err = io.Copy(io.Discard, in)
	return err
}

// wireguardPort is the UDP port of both devices.
const wireguardPort = 51820

// setupWireguard connects the hosts by wireguard-go over a veth pair: a
// process in each.
func setupWireguard(ctx context.Context, b *bench, t *target) error {
	if err := setupVeth(ctx, b, t); err != nil {
		return err
	}
	var keys [2]*ecdh.PrivateKey
	for i := range keys {
		var err error
		if keys[i], err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
			return err
		}
	}
	for i, h := range []host{t.client, t.server} {
		p, err := b.wireguard(ctx, h, wireguardConfig(keys[i], keys[1-i].PublicKey(), fmt.Sprintf("10.1.0.%d", 2-i)))
		if err != nil {
			return err
		}
		t.services = append(t.services, p)
	}
	return t.addresses(ctx, "10.2.0", "wg0")
}

// wireguardConfig is the configuration of a device with one peer.
func wireguardConfig(key *ecdh.PrivateKey, peer *ecdh.PublicKey, endpoint string) string {
	return fmt.Sprintf("private_key=%s\nlisten_port=%d\npublic_key=%s\nendpoint=%s:%d\nallowed_ip=0.0.0.0/0\n\n",
		hex.EncodeToString(key.Bytes()), wireguardPort, hex.EncodeToString(peer.Bytes()), endpoint, wireguardPort)
}

// wireguard starts a device in a host.
func (b *bench) wireguard(ctx context.Context, h host, config string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := h.command(context.WithoutCancel(ctx), self, wireguardCommand, "wg0")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p, err := start(cmd)
	if err != nil {
		return nil, err
	}
	b.later(func() error {
		_ = in.Close()
		p.stop()
		return nil
	})
	if _, err := io.WriteString(in, config); err != nil {
		return nil, fmt.Errorf("wireguard: %w: %s", err, p.out.String())
	}
	return p, p.until(ctx, "wireguard-go starts", func() bool {
		return strings.Contains(p.out.String(), wireguardReady)
	})
}
