package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"ipoib/cmd/internal/build"
	"ipoib/cmd/ipoib-ethtool/internal/cli"
	"ipoib/nl"
	"ipoib/nl/ipoibnl"
)

// defaultRunDir is the service's directory, unless IPOIB_RUN_DIR names one.
const defaultRunDir = "/run/ipoib"

// gcStart is the use of memory from which on garbage is collected, in bytes: a
// command ends before that as a rule.
const gcStart = 32 << 20

func main() {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(gcStart)
	dir := os.Getenv("IPOIB_RUN_DIR")
	if dir == "" {
		dir = defaultRunDir
	}
	app := &cli.App{
		Stdout: os.Stdout, Stderr: os.Stderr, LineBuffered: isTerminal(os.Stdout),
		Endpoint: service{filepath.Join(dir, "netlink.sock")}, Version: build.Version,
	}
	os.Exit(app.Run(os.Args[1:]))
}

// service is the service's socket as an endpoint.
type service struct{ path string }

// maxDatagram is how much of an answer is received at once, as libmnl's users
// do it, in bytes.
const maxDatagram = 32 << 10

// Open implements cli.Endpoint.
func (s service) Open(proto int) (cli.Socket, error) {
	c, err := nl.Dial(context.Background(), s.path, nl.ConnConfig{Protocol: proto, ExtAck: true, ReceiveSize: maxDatagram})
	if err != nil {
		return nil, absent(err)
	}
	return c, nil
}

// Legacy implements cli.Endpoint.
func (s service) Legacy(q ipoibnl.EthtoolRequest) (ipoibnl.EthtoolReply, error) {
	var r ipoibnl.EthtoolReply
	c, err := ipoibnl.Dial(context.Background(), s.path)
	if err != nil {
		return r, absent(err)
	}
	defer c.Close()
	return r, c.Get(ipoibnl.CmdEthtool, &q, &r)
}

// absent names the error of a service that does not run.
func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return cli.ErrNoService
	}
	return err
}
