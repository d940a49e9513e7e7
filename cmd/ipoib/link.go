package main

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"ipoib/cmd/internal/build"
	"ipoib/cmd/ipoib/internal/iproute"
	"ipoib/cmd/ipoib/internal/service"
)

// runIP runs the commands that have the grammar of ip(8). ok is false for all
// others. It handles no signals: as with ip they end the process.
func runIP(args []string, in io.Reader, out, errOut io.Writer) (code int, ok bool) {
	if !iproute.Handles(args) {
		return 0, false
	}
	streams := env{in, out, errOut}
	ip := iproute.NewEnv(in, out, errOut, func(runDir string) string {
		if runDir == "" {
			runDir = os.Getenv("IPOIB_RUN_DIR")
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
