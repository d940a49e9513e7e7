package main

import (
	"errors"
	"fmt"
	"io"
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
			if wantsHelp(args) {
				return cli.ShowSubcommandHelp(c)
			}
			environ := os.Environ()
			if c.IsSet("run-dir") {
				environ = append(environ, runDirEnv+"="+c.String("run-dir"))
			}
			code, err := runRedirected(args, environ, c.String("run-dir"))
			return cli.Exit(err, code)
		},
	}
}

func wantsHelp(args []string) bool {
	return len(args) == 1 && (args[0] == "--help" || args[0] == "-h")
}

// runExec runs the command exec where no flag is in front of it: without all
// that the other commands need, the program starts sooner. ok is false when
// that is not what was asked for.
func runExec(args []string, errOut io.Writer) (code int, ok bool) {
	if len(args) == 0 || args[0] != "exec" || wantsHelp(args[1:]) {
		return 0, false
	}
	runDir := os.Getenv(runDirEnv)
	if runDir == "" {
		runDir = service.DefaultRunDir
	}
	code, err := runRedirected(args[1:], os.Environ(), runDir)
	fmt.Fprintln(errOut, err)
	return code, true
}

// runRedirected becomes the program. It returns only if that fails, with an
// exit code.
func runRedirected(args, environ []string, runDir string) (int, error) {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return exitExec, errors.New("Usage: ipoib exec [--] COMMAND [ARGUMENT ...]")
	}
	path, err := exec.LookPath(args[0])
	switch {
	case errors.Is(err, exec.ErrDot), err == nil:
	case errors.Is(err, fs.ErrPermission):
		return exitNotRunning, fmt.Errorf("ipoib exec: %s: permission denied", args[0])
	default:
		return exitNotFound, fmt.Errorf("ipoib exec: %s: command not found", args[0])
	}
	self, err := os.Executable()
	if err != nil {
		return exitExec, fmt.Errorf("ipoib exec: %w", err)
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
	return code, fmt.Errorf("ipoib exec: %w", err)
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
