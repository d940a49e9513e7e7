package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"ipoib/cmd/ipoib/internal/lab"
	"ipoib/cmd/ipoib/internal/service"
	"ipoib/nl/ipoibnl"
)

func labCommand(e env) *cli.Command {
	newLab := func(c *cli.Context) (*lab.Lab, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		socket := socketOf(c)
		return &lab.Lab{
			RunDir: c.String("run-dir"), Log: e.err,
			Dial:  func(ctx context.Context) (*ipoibnl.Client, error) { return dialPath(ctx, socket) },
			Serve: []string{self, "--run-dir", c.String("run-dir"), "serve", "--no-hca"},
			Teardown: func(ctx context.Context) error {
				return teardown(ctx, &service.Config{RunDir: c.String("run-dir")}, slog.New(slog.DiscardHandler))
			},
		}, nil
	}
	return &cli.Command{
		Name: "lab", Usage: "make hosts on this machine that reach each other over InfiniBand",
		Description: "A host is a network namespace ibhost1, ibhost2 ... with a channel adapter of its\n" +
			"own on one fabric and an interface ib0 at 10.77.0.N/24 and fd77::N/64.",
		Subcommands: []*cli.Command{
			{
				Name: "up", Usage: "make hosts; those that are there stay",
				Flags: []cli.Flag{
					&cli.IntFlag{Name: "hosts", Aliases: []string{"n"}, Usage: "number of hosts", Value: 2},
					&cli.StringFlag{Name: "profile", Usage: "of the adapters that are made: full, generic or datagram"},
				},
				Action: func(c *cli.Context) error {
					l, err := newLab(c)
					if err != nil {
						return err
					}
					if c.Args().Present() {
						return fmt.Errorf("unexpected argument %q", c.Args().First())
					}
					l.Profile = c.String("profile")
					return l.Up(c.Context, c.Int("hosts"))
				},
			},
			{
				Name: "status", Usage: "show the hosts", Flags: []cli.Flag{jsonFlag()},
				Action: func(c *cli.Context) error { return labStatus(c, e, newLab) },
			},
			{
				Name: "exec", Usage: "run a program in a host", ArgsUsage: "HOST [--] COMMAND [ARGUMENT ...]",
				SkipFlagParsing: true,
				Action: func(c *cli.Context) error {
					args := c.Args().Slice()
					if len(args) > 1 && args[1] == "--" {
						args = append(args[:1:1], args[2:]...)
					}
					if len(args) < 2 {
						return fmt.Errorf("Usage: ipoib lab exec HOST -- COMMAND [ARGUMENT ...]")
					}
					environ := os.Environ()
					if c.IsSet("run-dir") {
						environ = append(environ, "IPOIB_RUN_DIR="+c.String("run-dir"))
					}
					return lab.Exec(c.String("run-dir"), args[0], args[1:], environ)
				},
			},
			{
				Name: "down", Usage: "remove the hosts and all that runs in them",
				Action: func(c *cli.Context) error {
					l, err := newLab(c)
					if err != nil {
						return err
					}
					return l.Down(c.Context)
				},
			},
		},
	}
}

func labStatus(c *cli.Context, e env, newLab func(*cli.Context) (*lab.Lab, error)) error {
	l, err := newLab(c)
	if err != nil {
		return err
	}
	hosts, err := l.Status(c.Context)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(e.out, hosts)
	}
	t := newTable(e.out, "HOST", "HCA", "IB0", "MTU", "ADDRESSES", "INTERFACES", "PROCESSES")
	for _, h := range hosts {
		state := "down"
		switch {
		case h.Up && h.Carrier:
			state = "up"
		case h.Up:
			state = "no carrier"
		}
		var addrs []string
		for _, a := range h.Addrs {
			addrs = append(addrs, a.String())
		}
		t.row(h.Host, h.HCA, state, h.MTU, strings.Join(addrs, " "), strings.Join(h.Ifnames, ","), h.Processes)
	}
	return t.flush()
}
