package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"ipoib/cmd/internal/build"
	"ipoib/nl/ipoibnl"
	"ipoib/rdma/capture"
)

func captureCommand(e env) *cli.Command {
	return &cli.Command{
		Name: "capture", Usage: "capture the InfiniBand frames at a port to a pcapng file",
		ArgsUsage: "PORT    (an interface, soft0/1 or switch0/1)",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "write", Aliases: []string{"w"}, Usage: "file to write, - is standard output", Value: "-"},
			&cli.IntFlag{Name: "count", Aliases: []string{"c"}, Usage: "stop after so many frames"},
			&cli.DurationFlag{Name: "duration", Aliases: []string{"a"}, Usage: "stop after so long"},
		},
		Action: func(c *cli.Context) error { return runCapture(c, e) },
	}
}

var errCaptureDone = errors.New("capture is complete")

func runCapture(c *cli.Context, e env) error {
	if c.NArg() != 1 {
		return fmt.Errorf("Usage: ipoib capture [-w FILE] [-c COUNT] PORT")
	}
	port := c.Args().First()
	q := ipoibnl.Capture{Ifname: port}
	if strings.Contains(port, "/") {
		q = ipoibnl.Capture{Port: port}
	}
	cl, err := dial(c)
	if err != nil {
		return err
	}
	defer func() { _ = cl.Close() }()
	out, closeOut, err := openCapture(c.String("write"), e.out)
	if err != nil {
		return err
	}
	ctx := c.Context
	if d := c.Duration("duration"); d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	n, lost, err := copyFrames(ctx, cl, q, func() (*capture.Writer, error) {
		return capture.NewWriter(out, port, "ipoib "+build.Version)
	}, c.Int("count"))
	if cerr := closeOut(); err == nil {
		err = cerr
	}
	if err == nil {
		fmt.Fprintf(e.err, "%d frames captured, %d lost\n", n, lost)
	}
	return err
}

// copyFrames writes frames until ctx ends, limit is reached (0 is none), or
// the reader of the file is gone. The file is begun when the capture runs, so
// that it is one without a frame too, and nothing when there is no such port.
func copyFrames(ctx context.Context, cl *ipoibnl.Client, q ipoibnl.Capture, begin func() (*capture.Writer, error), limit int) (n int, lost uint32, err error) {
	stop := context.AfterFunc(ctx, func() { _ = cl.Close() })
	defer stop()
	var w *capture.Writer
	begun := func() error {
		if w, err = begin(); err != nil {
			return err
		}
		return w.Flush()
	}
	err = ipoibnl.Stream(cl, ipoibnl.CmdCapture, q, begun, func(d *ipoibnl.CaptureData) error {
		lost = d.Dropped
		if err := w.WriteFrame(time.Unix(0, int64(d.TimeNS)), d.Frame); err != nil {
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if n++; n == limit {
			return errCaptureDone
		}
		return nil
	})
	switch {
	case ctx.Err() != nil, errors.Is(err, errCaptureDone), errors.Is(err, syscall.EPIPE):
		return n, lost, nil
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF):
		return n, lost, errors.New("the service has ended")
	}
	return n, lost, err
}

// openCapture opens the file of a capture.
func openCapture(name string, stdout io.Writer) (io.Writer, func() error, error) {
	if name == "-" {
		return stdout, func() error { return nil }, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, nil, err
	}
	return f, f.Close, nil
}
