package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"ipoib/cmd/ipoib/internal/service"
	"ipoib/compat/redirect"
)

// Exit codes of exec for what is not the program's (as env and nohup have
// them).
const (
	exitExec       = 125
	exitNotRunning = 126
	exitNotFound   = 127
)

// superviseCommand is the first argument of the process that supervises a
// program; it is no command for people.
const superviseCommand = "exec-supervisor"

// execLogEnv names a file that the supervisor logs to.
const execLogEnv = "IPOIB_EXEC_LOG"

func execCommand() *cli.Command {
	return &cli.Command{
		Name: "exec", Usage: "run a program whose netlink and ethtool requests reach the service",
		ArgsUsage: "[--] COMMAND [ARGUMENT ...]",
		Description: "The program sees the service's interfaces as IPoIB interfaces of the kernel:\n" +
			"ip, ethtool and others work unchanged. Requests about anything else are the\n" +
			"kernel's. Exit codes: that of the program; 125 when it cannot be run this way,\n" +
			"126 when it cannot be executed, 127 when there is none.",
		SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			args := c.Args().Slice()
			if len(args) == 1 && (args[0] == "--help" || args[0] == "-h") {
				return cli.ShowSubcommandHelp(c)
			}
			if len(args) > 0 && args[0] == "--" {
				args = args[1:]
			}
			if len(args) == 0 {
				return cli.Exit("Usage: ipoib exec [--] COMMAND [ARGUMENT ...]", exitExec)
			}
			environ := os.Environ()
			if c.IsSet("run-dir") {
				environ = append(environ, "IPOIB_RUN_DIR="+c.String("run-dir"))
			}
			return runRedirected(args, environ, c.String("run-dir"))
		},
	}
}

// runRedirected becomes the program.
func runRedirected(args, environ []string, runDir string) error {
	path, err := exec.LookPath(args[0])
	switch {
	case errors.Is(err, exec.ErrDot), err == nil:
	case errors.Is(err, fs.ErrPermission):
		return cli.Exit(fmt.Sprintf("ipoib exec: %s: permission denied", args[0]), exitNotRunning)
	default:
		return cli.Exit(fmt.Sprintf("ipoib exec: %s: command not found", args[0]), exitNotFound)
	}
	self, err := os.Executable()
	if err != nil {
		return cli.Exit("ipoib exec: "+err.Error(), exitExec)
	}
	err = redirect.Exec(redirect.Command{
		Path: path, Args: args, Env: environ, Supervisor: []string{self, superviseCommand},
		Socket: filepath.Join(runDir, service.SocketName),
		Prepare: func() error {
			if err := showFaces(runDir); err != nil {
				fmt.Fprintf(os.Stderr, "ipoib exec: the files under /sys are the kernel's: %v\n", err)
			}
			return nil
		},
	})
	code := exitExec
	if _, ok := errors.AsType[*os.PathError](err); ok {
		code = exitNotRunning
	}
	return cli.Exit(fmt.Sprintf("ipoib exec: %v", err), code)
}

// runSupervisor runs the supervisor of a program. ok is false when that was
// not asked for.
func runSupervisor(args []string) (code int, ok bool) {
	if len(args) < 2 || args[1] != superviseCommand {
		return 0, false
	}
	log := slog.New(slog.DiscardHandler)
	if name := os.Getenv(execLogEnv); name != "" {
		if f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err == nil {
			log = slog.New(slog.NewTextHandler(f, &slog.HandlerOptions{Level: slog.LevelDebug}))
		}
	}
	self, err := os.Executable()
	if err == nil {
		err = redirect.Supervise([]string{self, superviseCommand}, args[2:], log)
	}
	if err != nil {
		log.Error("supervisor", "err", err)
		return 1, true
	}
	return 0, true
}
