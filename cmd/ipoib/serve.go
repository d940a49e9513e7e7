package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"ipoib/cmd/internal/build"
	"ipoib/cmd/ipoib/internal/logfmt"
	"ipoib/cmd/ipoib/internal/service"
	"ipoib/compat/modparam"
	"ipoib/datapath"
	"ipoib/nl/ipoibnl"
)

func serveCommand(e env) *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "run the service in the foreground",
		Description: "Without any configuration there is one channel adapter, soft0, with one port and\n" +
			"the interface ib0. Interfaces stay when the service ends, so that the next one\n" +
			"takes them over; --teardown removes them. The keys of --hca are ports, guid, mtu,\n" +
			"speed, width, profile (full, generic or datagram), netns, ifname (once per port).",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Usage: "configuration file (TOML)", Value: service.DefaultConfig},
			&cli.StringSliceFlag{Name: "hca", Usage: "channel adapter `NAME[,KEY=VALUE...]`; repeat for more"},
			&cli.BoolFlag{Name: "no-hca", Usage: "start without channel adapters"},
			&cli.StringFlag{Name: "partitions", Usage: "partition file in OpenSM's syntax; without one membership is open"},
			&cli.StringFlag{Name: "subnet-prefix", Usage: "subnet prefix, such as fe80::"},
			&cli.StringSliceFlag{Name: "param", Usage: "module parameter `NAME=VALUE`, such as send_queue_size=512"},
			&cli.BoolFlag{Name: "sysfs", Usage: "show the interfaces' files in /sys where the kernel has a place for them"},
			&cli.BoolFlag{Name: "sysfs-overlay", Usage: "the same, and cover /sys/class, /sys/module and /sys/kernel/debug for the rest"},
			&cli.BoolFlag{Name: "rfc-sendonly", Usage: "join groups that are only sent to as RFC 4391 says, not as the driver does"},
			&cli.BoolFlag{Name: "no-io-uring", Usage: "read the interfaces with epoll, also where the system allows io_uring"},
			&cli.StringFlag{Name: "log-level", Usage: "debug, info, warn or error", Value: "info"},
			&cli.BoolFlag{Name: "teardown", Usage: "stop a running service and remove all interfaces"},
		},
		Action: func(c *cli.Context) error { return serve(c, e) },
	}
}

func serve(c *cli.Context, e env) error {
	if c.Args().Present() {
		return fmt.Errorf("serve: unexpected argument %q", c.Args().First())
	}
	cfg, err := serveConfig(c)
	if err != nil {
		return err
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		return fmt.Errorf("serve: %q is not a log level (debug, info, warn, error)", cfg.LogLevel)
	}
	if level == slog.LevelInfo {
		// The driver's debug messages have switches of their own.
		level = datapath.LevelData
	}
	hub := logfmt.NewHub()
	log := slog.New(slog.NewMultiHandler(
		logfmt.New(e.err, logfmt.Options{Level: level, Journal: os.Getenv("JOURNAL_STREAM") != ""}), hub.Handler(level),
	))
	cfg.FollowLog = func(n int, fn func(ipoibnl.LogLine)) func() { return hub.Follow(n, sendLine(fn)) }
	service.Version = build.Version
	if c.Bool("teardown") {
		return teardown(c.Context, cfg, log)
	}
	s, err := service.New(*cfg, log)
	if err != nil {
		return err
	}
	if cfg.Partitions != "" {
		// As with OpenSM.
		hangup := make(chan os.Signal, 1)
		signal.Notify(hangup, syscall.SIGHUP)
		defer func() {
			signal.Stop(hangup)
			close(hangup)
		}()
		go func() {
			for range hangup {
				if err := s.ReloadPartitions(); err != nil {
					log.Error("the partitions stay as they are", "err", err)
				}
			}
		}()
	}
	return s.Run(c.Context)
}

// serveConfig joins configuration file and flags; flags win.
func serveConfig(c *cli.Context) (*service.Config, error) {
	cfg, err := service.LoadConfig(c.String("config"), c.IsSet("config"))
	if err != nil {
		return nil, err
	}
	if c.IsSet("run-dir") || cfg.RunDir == "" {
		cfg.RunDir = c.String("run-dir")
	}
	for name, dst := range map[string]*string{
		"partitions": &cfg.Partitions, "subnet-prefix": &cfg.SubnetPrefix, "log-level": &cfg.LogLevel,
	} {
		if c.IsSet(name) || *dst == "" {
			*dst = c.String(name)
		}
	}
	if c.IsSet("no-io-uring") {
		cfg.NoIOURing = c.Bool("no-io-uring")
	}
	if c.IsSet("rfc-sendonly") {
		cfg.RFCSendOnly = c.Bool("rfc-sendonly")
	}
	cfg.Sysfs = cfg.Sysfs || c.Bool("sysfs")
	cfg.SysfsOverlay = cfg.SysfsOverlay || c.Bool("sysfs-overlay")
	for _, p := range c.StringSlice("param") {
		name, value, ok := strings.Cut(p, "=")
		n, err := modparam.Parse([]byte(value))
		if !ok || err != nil {
			return nil, fmt.Errorf("serve: --param %q is not NAME=NUMBER", p)
		}
		if cfg.Params == nil {
			cfg.Params = make(map[string]int)
		}
		cfg.Params[name] = n
	}
	if c.Bool("no-hca") {
		cfg.NoHCA, cfg.HCAs = true, nil
	}
	if list := c.StringSlice("hca"); len(list) > 0 {
		cfg.HCAs = nil
		// The flag splits at commas: an element with "=" belongs to the
		// adapter before it.
		for _, part := range list {
			key, value, isOption := strings.Cut(part, "=")
			if !isOption {
				cfg.HCAs = append(cfg.HCAs, service.HCA{Name: part})
				continue
			}
			if len(cfg.HCAs) == 0 {
				return nil, fmt.Errorf("serve: --hca %q has no adapter name in front", part)
			}
			if err := hcaOption(&cfg.HCAs[len(cfg.HCAs)-1], key, value); err != nil {
				return nil, err
			}
		}
	}
	return cfg, cfg.Normalize()
}

func hcaOption(h *service.HCA, key, value string) (err error) {
	switch key {
	case "ports":
		h.Ports, err = strconv.Atoi(value)
	case "mtu":
		h.MTU, err = strconv.Atoi(value)
	case "guid":
		h.GUID = value
	case "speed":
		h.Speed = value
	case "width":
		h.Width = value
	case "profile":
		h.Profile = value
	case "netns":
		h.NetNS = value
	case "ifname":
		h.Ifnames = append(h.Ifnames, value)
	default:
		return fmt.Errorf("serve: --hca has no option %q (ports, guid, mtu, speed, width, profile, netns, ifname)", key)
	}
	if err != nil {
		return fmt.Errorf("serve: --hca %s=%s is not a number", key, value)
	}
	return nil
}

// teardownWait bounds how long a running service may take to go. The kernel
// takes up to 30 ms for each of its interfaces.
const teardownWait = time.Minute

// teardown removes everything: by the running service, or, where none runs,
// what the last one left.
func teardown(ctx context.Context, cfg *service.Config, log *slog.Logger) error {
	cl, err := dialPath(ctx, cfg.Socket())
	if err == nil {
		err = cl.Stop(true)
		_ = cl.Close()
	}
	if err != nil && !errors.Is(err, errNoService) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, teardownWait)
	defer cancel()
	for {
		// A service that ends holds the run directory to its end.
		err := service.Cleanup(*cfg, log)
		if !errors.Is(err, service.ErrRunning) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the service does not end: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
