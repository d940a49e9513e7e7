package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/mdlayher/netlink"
	"github.com/urfave/cli/v2"

	"ipoib/cmd/internal/build"
	"ipoib/cmd/ipoib/internal/service"
	"ipoib/nl/ipoibnl"
)

// runDirEnv stands for the flag --run-dir.
const runDirEnv = "IPOIB_RUN_DIR"

// env are the streams of a command.
type env struct {
	in       io.Reader
	out, err io.Writer
}

// run runs the program and returns its exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	app := newApp(env{in, out, errOut})
	err := app.RunContext(ctx, args)
	if err == nil {
		return 0
	}
	if exit, ok := errors.AsType[cli.ExitCoder](err); ok {
		if s := exit.Error(); s != "" {
			fmt.Fprintln(errOut, s)
		}
		return exit.ExitCode()
	}
	fmt.Fprintf(errOut, "ipoib: %s\n", message(err))
	return 1
}

// newApp returns the program as a value.
func newApp(e env) *cli.App {
	return &cli.App{
		Name: "ipoib", Usage: "IP over InfiniBand in user space", Version: build.Version,
		Reader: e.in, Writer: e.out, ErrWriter: e.err,
		Description: "link and monitor have the words, the options and the output of ip(8), with its\n" +
			"global options in front: ipoib -d -j link show ib0, ipoib -batch FILE. Settings that\n" +
			"ethtool(8) has are shown and changed by ipoib-ethtool.",
		UseShortOptionHandling: true,
		ExitErrHandler:         func(*cli.Context, error) {}, // run decides
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "run-dir", Usage: "directory of the control socket and the state", Value: service.DefaultRunDir, EnvVars: []string{runDirEnv}},
		},
		Commands: plain(
			serveCommand(e), labCommand(e), execCommand(), linkCommand(e), monitorCommand(e), pkeyCommand(e),
			neighCommand(e), connCommand(e), pathCommand(e), mcgCommand(e), statsCommand(e), fabricCommand(e), captureCommand(e),
			paramCommand(e), logCommand(e), completionCommand(e),
		),
		CommandNotFound: func(c *cli.Context, name string) {},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return cli.Exit(fmt.Sprintf("Object %q is unknown, try \"ipoib help\".", c.Args().First()), 1)
			}
			return cli.ShowAppHelp(c)
		},
	}
}

// plain leaves the help command to the program: below a command it would be
// one among few.
func plain(list ...*cli.Command) []*cli.Command {
	for _, c := range list {
		c.HideHelpCommand = true
		plain(c.Subcommands...)
	}
	return list
}

// message is what a user sees of an error: of the service's, its text.
func message(err error) string {
	if op, ok := errors.AsType[*netlink.OpError](err); ok {
		if op.Message != "" {
			return op.Message
		}
		return op.Err.Error()
	}
	return err.Error()
}

// errNoService is printed when nothing listens.
var errNoService = errors.New("the service is not running (start it with: ipoib serve)")

// socketOf returns the control socket that the flags name.
func socketOf(c *cli.Context) string {
	return filepath.Join(c.String("run-dir"), service.SocketName)
}

// dial connects to the service.
func dial(c *cli.Context) (*ipoibnl.Client, error) {
	return dialPath(c.Context, socketOf(c))
}

func dialPath(ctx context.Context, path string) (*ipoibnl.Client, error) {
	cl, err := ipoibnl.Dial(ctx, path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, errNoService
	}
	return cl, err
}
