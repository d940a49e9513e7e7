// Command ipoib runs the IPoIB service and its tools: interfaces in the manner
// of ip(8), and what has no counterpart there.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if code, ok := runSupervisor(os.Args); ok {
		os.Exit(code)
	}
	if code, ok := runExec(os.Args[1:], os.Stderr); ok {
		os.Exit(code)
	}
	if code, ok := runIP(os.Args[1:], os.Stdin, os.Stdout, os.Stderr); ok {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
