package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"ipoib/cmd/ipoib/internal/logfmt"
	"ipoib/nl/ipoibnl"
)

func logCommand(e env) *cli.Command {
	return &cli.Command{
		Name: "log", Usage: "show the service's log", ArgsUsage: "[IFNAME]",
		Description: "The messages of the driver are those of ib_ipoib. What is logged beyond warnings is\n" +
			"chosen by the debug levels (ipoib param).",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "wait for more"},
			&cli.UintFlag{Name: "lines", Aliases: []string{"n"}, Usage: "so many lines of the past", Value: 100},
			jsonFlag(),
		},
		Action: func(c *cli.Context) error { return showLog(c, e) },
	}
}

// sendLine passes lines of the service's log on to the netlink family.
func sendLine(fn func(ipoibnl.LogLine)) func(logfmt.Record) {
	return func(r logfmt.Record) {
		level := slog.LevelDebug // the driver's own levels
		if r.Level >= slog.LevelInfo {
			level = r.Level
		}
		fn(ipoibnl.LogLine{TimeNS: uint64(r.Time.UnixNano()), Level: level.String(), Ifname: r.Ifname, Text: r.Text})
	}
}

var errLogDone = errors.New("end of the log")

func showLog(c *cli.Context, e env) error {
	if c.NArg() > 1 {
		return fmt.Errorf("Usage: ipoib log [-f] [-n LINES] [IFNAME]")
	}
	ifname := c.Args().First()
	cl, err := dial(c)
	if err != nil {
		return err
	}
	defer func() { _ = cl.Close() }()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-c.Context.Done():
			_ = cl.Close()
		case <-stop:
		}
	}()
	q := ipoibnl.LogFollow{Lines: uint32(c.Uint("lines")), End: !c.Bool("follow")}
	var lost uint32
	err = ipoibnl.Stream(cl, ipoibnl.CmdLog, q, nil, func(l *ipoibnl.LogLine) error {
		if l.Lost > lost {
			fmt.Fprintf(e.err, "%d lines lost\n", l.Lost-lost)
			lost = l.Lost
		}
		switch {
		case l.Last:
			return errLogDone
		case ifname != "" && l.Ifname != ifname:
			return nil
		}
		return printLine(e.out, l, c.Bool("json"))
	})
	switch {
	case c.Context.Err() != nil, errors.Is(err, errLogDone), errors.Is(err, syscall.EPIPE):
		return nil
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF):
		return errors.New("the service has ended")
	}
	return err
}

func printLine(w io.Writer, l *ipoibnl.LogLine, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(l)
	}
	r := logfmt.Record{Time: time.Unix(0, int64(l.TimeNS)), Ifname: l.Ifname, Text: l.Text}
	if err := r.Level.UnmarshalText([]byte(l.Level)); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, r.Line())
	return err
}
