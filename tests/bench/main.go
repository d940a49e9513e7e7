package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == wireguardCommand {
		os.Exit(exitCode(runWireguard(os.Args[2:], os.Stdin, os.Stdout)))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	os.Exit(exitCode(run(ctx, os.Args[1:], os.Stdout, os.Stderr)))
}

func exitCode(err error) int {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	default:
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
}

// options are the command line.
type options struct {
	rounds     int
	seconds    int
	quick      bool
	only       *regexp.Regexp
	out        string
	congestion string
}

// defaultOut is where a whole run leaves its results.
const defaultOut = "docs/bench"

func parseOptions(args []string, errOut io.Writer) (options, error) {
	var o options
	var only string
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(errOut)
	fs.IntVar(&o.rounds, "rounds", 5, "rounds; results are medians over them")
	fs.IntVar(&o.seconds, "seconds", 2, "seconds per measurement")
	fs.BoolVar(&o.quick, "quick", false, "one short round of the most important measurements, no files unless -out is given")
	fs.StringVar(&only, "only", "", "run what matches `REGEX`, such as veth/tcp, ours.*/latency, children, hosts/64 or moderation; no files unless -out is given")
	fs.StringVar(&o.out, "out", "", "directory for JSON, text and SVG (default "+defaultOut+" for a whole run)")
	fs.StringVar(&o.congestion, "congestion", "", "TCP congestion control `NAME` (default: the system's)")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if o.quick {
		given := make(map[string]bool)
		fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
		if !given["rounds"] {
			o.rounds = 1
		}
		if !given["seconds"] {
			o.seconds = 1
		}
	}
	if o.rounds < 1 || o.seconds < 1 {
		return o, errors.New("-rounds and -seconds must be at least 1")
	}
	if o.out == "" && only == "" && !o.quick {
		o.out = defaultOut
	}
	var err error
	if o.only, err = regexp.Compile(only); err != nil {
		return o, fmt.Errorf("-only: %w", err)
	}
	return o, nil
}

// run is the whole program but for the exit code.
func run(ctx context.Context, args []string, out, errOut io.Writer) (err error) {
	o, err := parseOptions(args, errOut)
	if err != nil {
		return err
	}
	if os.Getuid() != 0 || os.Getenv("IPOIB_TEST_ROOT") != "1" {
		return errors.New("root and namespaces of its own are needed: run it by make bench")
	}
	b, err := newBench(o, errOut)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	started := time.Now()
	if b.report.Machine, err = describeMachine(ctx, started); err != nil {
		return err
	}
	for _, part := range []func(context.Context) error{b.compare, b.children, b.hosts, b.moderation} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	b.report.finish(time.Since(started))
	text := b.report.text()
	if _, err := io.WriteString(out, text); err != nil {
		return err
	}
	if o.out == "" {
		return nil
	}
	return b.report.write(o.out, text)
}
