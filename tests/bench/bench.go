package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// bench is one run of the program.
type bench struct {
	opt    options
	log    io.Writer
	report Report
	// dir holds the services' run directories.
	dir string
	// undo removes what was made, last first.
	undo []func() error
}

func newBench(o options, log io.Writer) (*bench, error) {
	for _, tool := range []string{"ip", "iperf3", "sockperf", "ping", "ipoib", "ipoib-ethtool"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%w (make deps build)", err)
		}
	}
	dir, err := os.MkdirTemp("/run", "ipoib-bench-")
	if err != nil {
		return nil, err
	}
	b := &bench{opt: o, log: log, dir: dir}
	b.report.Rounds, b.report.Seconds, b.report.Quick = o.rounds, o.seconds, o.quick
	b.later(func() error { return os.RemoveAll(dir) })
	return b, nil
}

// later has f called at the end.
func (b *bench) later(f func() error) { b.undo = append(b.undo, f) }

// close removes everything that the run made.
func (b *bench) close() error { return b.unwind(0) }

// unwind removes what was made since the stack had the given height.
func (b *bench) unwind(height int) error {
	var errs []error
	for len(b.undo) > height {
		last := len(b.undo) - 1
		f := b.undo[last]
		b.undo = b.undo[:last]
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// wanted tells whether -only selects something.
func (b *bench) wanted(name string) bool { return b.opt.only.MatchString(name) }

func (b *bench) progress(format string, args ...any) {
	fmt.Fprintf(b.log, format+"\n", args...)
}

// commandTime bounds a command that sets something up.
const commandTime = 30 * time.Second

// command returns a command that is ended when the context is.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 3 * time.Second
	return cmd
}

// check runs a command; its output is part of the error.
func check(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// ip runs ip(8).
func ip(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	return check(command(ctx, "ip", args...))
}

// host is a network namespace.
type host struct {
	ns     string
	runDir string
}

// command returns a command that runs in the host.
func (h host) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := command(ctx, "ip", append([]string{"netns", "exec", h.ns, name}, args...)...)
	if h.runDir != "" {
		cmd.Env = append(os.Environ(), "IPOIB_RUN_DIR="+h.runDir)
	}
	return cmd
}

// run runs a command in the host.
func (h host) run(ctx context.Context, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	return check(h.command(ctx, name, args...))
}

// ip runs ip(8) in the host.
func (h host) ip(ctx context.Context, args ...string) error {
	return ip(ctx, append([]string{"-n", h.ns}, args...)...)
}

// newHost makes a network namespace.
func (b *bench) newHost(ctx context.Context, name string) (host, error) {
	h := host{ns: name}
	if err := ip(ctx, "netns", "add", name); err != nil {
		return h, err
	}
	b.later(func() error { return ip(context.Background(), "netns", "del", name) })
	return h, h.ip(ctx, "link", "set", "lo", "up")
}

// process is a program that runs beside.
type process struct {
	cmd  *exec.Cmd
	out  lockedBuffer
	done chan struct{}
	err  error
	once sync.Once
}

// lockedBuffer keeps the first output of a process.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// maxOutput bounds what is kept.
const maxOutput = 1 << 16

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Write(p[:min(len(p), max(0, maxOutput-l.buf.Len()))])
	return len(p), nil
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(l.buf.String())
}

// start runs a command beside. It is ended by stop.
func start(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// wait waits for the end of the process and tells whether it came.
func (p *process) wait(d time.Duration) bool {
	select {
	case <-p.done:
		return true
	case <-time.After(d):
		return false
	}
}

// stop ends the process.
func (p *process) stop() {
	p.once.Do(func() {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
			_ = p.cmd.Process.Signal(sig)
			if p.wait(5 * time.Second) {
				return
			}
		}
	})
}

// until polls for a condition while the process runs.
func (p *process) until(ctx context.Context, what string, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	for !ok() {
		select {
		case <-p.done:
			return fmt.Errorf("%s: it ended (%w): %s", what, p.err, p.out.String())
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %s", what, ctx.Err(), p.out.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// listener starts a server in a host and waits until it listens.
func (b *bench) listener(ctx context.Context, h host, port int, name string, args ...string) (*process, error) {
	p, err := start(h.command(ctx, name, args...))
	if err != nil {
		return nil, err
	}
	err = p.until(ctx, name+" listens", func() bool { return listens(p.cmd.Process.Pid, port) })
	if err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}
