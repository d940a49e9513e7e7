package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"ipoib/cmd/internal/build"
	"ipoib/cmd/ipoib/internal/iproute"
	"ipoib/cmd/ipoib/internal/service"
)

// linkCommand and monitorCommand stand for runIP in the list of commands.
func linkCommand(e env) *cli.Command {
	return ipCommand(e, "link", "show, make, change and delete interfaces, as ip link does")
}

func monitorCommand(e env) *cli.Command {
	return ipCommand(e, "monitor", "tell of changes of interfaces as they happen, as ip monitor link does")
}

// ipCommand runs a command of ip(8) that came here by way of the flags: main
// asks runIP first.
func ipCommand(e env, name, usage string) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, SkipFlagParsing: true, HideHelp: true,
		Action: func(c *cli.Context) error {
			args := append([]string{"--run-dir", c.String("run-dir"), name}, c.Args().Slice()...)
			if code, _ := runIP(args, e.in, e.out, e.err); code != 0 {
				return cli.Exit("", code)
			}
			return nil
		},
	}
}

// gcStart is the use of memory from which on garbage is collected, in bytes.
const gcStart = 32 << 20

// runIP runs the commands that have the grammar of ip(8). ok is false for all
// others. It handles no signals: as with ip they end the process.
func runIP(args []string, in io.Reader, out, errOut io.Writer) (code int, ok bool) {
	if !iproute.Handles(args) {
		return 0, false
	}
	// Most of these commands end before a collection would pay off.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(gcStart)
	streams := env{in, out, errOut}
	ip := iproute.NewEnv(in, out, errOut, func(runDir string) string {
		if runDir == "" {
			runDir = os.Getenv(runDirEnv)
		}
		if runDir == "" {
			runDir = service.DefaultRunDir
		}
		return filepath.Join(runDir, service.SocketName)
	})
	ip.Version = build.Version
	// In a batch file the other commands work as well.
	ip.Object = func(args []string) (int, bool) {
		if newApp(streams).Command(args[0]) == nil {
			return 0, false
		}
		return run(context.Background(), append([]string{"ipoib"}, args...), in, out, errOut), true
	}
	return iproute.Run(args, ip), true
}
