//go:build integration

package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds the wait for something that must come, on a machine that has
// much else to do.
const patience = time.Minute

func TestMain(m *testing.M) {
	if name := os.Getenv(helperEnv); name != "" {
		runHelper(name) // does not return
	}
	if os.Getuid() != 0 || os.Getenv("IPOIB_TEST_ROOT") != "1" {
		if os.Getenv("CI") != "" {
			fmt.Fprintln(os.Stderr, "integration tests need root and isolated.sh (make integration)")
			os.Exit(1)
		}
		fmt.Fprintln(os.Stderr, "skipped: integration tests need root and isolated.sh (make integration)")
		os.Exit(0)
	}
	for _, tool := range []string{"ipoib", "ip", "ping", "iperf3", "tshark", "jq"} {
		if _, err := exec.LookPath(tool); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// lab is a test's fabric: a service and the hosts that the test made.
type lab struct {
	t      *testing.T
	runDir string
	log    *os.File
	serve  *exec.Cmd
	args   []string
	hosts  int
}

// newLab starts a service without adapters; flags are added to its command
// line. Everything is removed at the end.
func newLab(t *testing.T, flags ...string) *lab {
	t.Helper()
	l := &lab{t: t, runDir: filepath.Join("/run", "ipoib-"+strconv.Itoa(os.Getpid())+"-"+strings.ReplaceAll(t.Name(), "/", "_"))}
	var err error
	if l.log, err = os.CreateTemp(t.TempDir(), "serve-*.log"); err != nil {
		t.Fatal(err)
	}
	l.args = append([]string{"--run-dir", l.runDir, "serve"}, flags...)
	if !strings.Contains(strings.Join(flags, " "), "--hca") {
		l.args = append(l.args, "--no-hca")
	}
	l.start()
	t.Cleanup(l.close)
	return l
}

// start runs the service and waits until it answers.
func (l *lab) start() {
	l.t.Helper()
	l.serve = exec.Command("ipoib", l.args...)
	l.serve.Stdout, l.serve.Stderr = l.log, l.log
	if err := l.serve.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.eventually("the service answers", func() bool { return l.try("ipoib", "fabric", "manager") == nil })
}

// kill ends the service at once, as kill -9 does.
func (l *lab) kill() {
	_ = l.serve.Process.Signal(syscall.SIGKILL)
	_ = l.serve.Wait()
}

func (l *lab) close() {
	if l.t.Failed() {
		// Its end only: what failed is above it, and is to be seen.
		if text, err := os.ReadFile(l.log.Name()); err == nil {
			l.t.Logf("end of the service's log:\n%s", text[max(0, len(text)-2000):])
		}
	}
	_ = l.try("ipoib", "lab", "down")
	_ = l.try("ipoib", "serve", "--teardown")
	if l.serve.ProcessState == nil {
		l.kill()
	}
	_ = l.log.Close()
	_ = os.RemoveAll(l.runDir)
}

// command returns a command with the test's run directory. One that hangs is
// ended, so that its test fails and not all.
func (l *lab) command(name string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	l.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = patience
	cmd.Env = append(os.Environ(), "IPOIB_RUN_DIR="+l.runDir)
	return cmd
}

func (l *lab) try(name string, args ...string) error {
	out, err := l.command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// run runs a command that must succeed and returns its standard output.
func (l *lab) run(name string, args ...string) string {
	l.t.Helper()
	cmd := l.command(name, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		l.t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out.String(), errOut.String())
	}
	return out.String()
}

// fails runs a command that must fail and returns what it printed.
func (l *lab) fails(name string, args ...string) string {
	l.t.Helper()
	out, err := l.command(name, args...).CombinedOutput()
	if err == nil {
		l.t.Fatalf("%s %s succeeded:\n%s", name, strings.Join(args, " "), out)
	}
	return string(out)
}

// in returns the command line that runs args in host i.
func in(i int, args ...string) []string {
	return append([]string{"lab", "exec", strconv.Itoa(i), "--"}, args...)
}

// on runs a command in host i that must succeed.
func (l *lab) on(i int, args ...string) string {
	l.t.Helper()
	return l.run("ipoib", in(i, args...)...)
}

func (l *lab) tryOn(i int, args ...string) error { return l.try("ipoib", in(i, args...)...) }

// up makes n hosts.
func (l *lab) up(n int) *lab {
	l.t.Helper()
	l.run("ipoib", "lab", "up", "--hosts", strconv.Itoa(n))
	l.hosts = n
	return l
}

// program is one that runs beside the test.
type program struct {
	*exec.Cmd
	l    *lab
	file string
}

// beside starts a command that goes on; it is ended with the test.
func (l *lab) beside(name string, args ...string) *program {
	l.t.Helper()
	p := &program{Cmd: l.command(name, args...), l: l}
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	f, err := os.CreateTemp(l.t.TempDir(), filepath.Base(name))
	if err != nil {
		l.t.Fatal(err)
	}
	defer f.Close()
	p.file, p.Stdout, p.Stderr = f.Name(), f, f
	if err := p.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if p.ProcessState == nil {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
	})
	return p
}

// background starts a command in host i that goes on.
func (l *lab) background(i int, args ...string) *program {
	l.t.Helper()
	return l.beside("ipoib", in(i, args...)...)
}

// text returns what the program has printed.
func (p *program) text() string {
	p.l.t.Helper()
	b, err := os.ReadFile(p.file)
	if err != nil {
		p.l.t.Fatal(err)
	}
	return string(b)
}

// prints waits until the program has printed a text.
func (p *program) prints(text string) {
	p.l.t.Helper()
	for end := time.Now().Add(patience); !strings.Contains(p.text(), text); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			p.l.t.Fatalf("%s never printed %q:\n%s", strings.Join(p.Args, " "), text, p.text())
		}
	}
}

// interrupt ends the program as ^C does, and returns what it printed.
func (p *program) interrupt() string {
	p.l.t.Helper()
	_ = p.Process.Signal(os.Interrupt)
	_ = p.Wait()
	return p.text()
}

// receives waits until process pid is the program of a name and waits for a
// message of a socket.
func (l *lab) receives(pid int, name string) {
	l.t.Helper()
	l.eventually(name+" waits for a message", func() bool {
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		call, _ := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
		return string(comm) == name+"\n" && strings.HasPrefix(string(call), strconv.Itoa(syscall.SYS_RECVMSG)+" ")
	})
}

// eventually waits until ok holds.
func (l *lab) eventually(what string, ok func() bool) {
	l.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	l.t.Fatalf("never: %s", what)
}

// ping sends count packets from host i; all must be answered.
func (l *lab) ping(i int, to string, args ...string) {
	l.t.Helper()
	out := l.on(i, append([]string{"ping", "-c", "3", "-i", "0.05", "-W", "20", to}, args...)...)
	if !strings.Contains(out, " 0% packet loss") {
		l.t.Errorf("ping from host %d to %s:\n%s", i, to, out)
	}
}

// noPing checks that nobody answers host i.
func (l *lab) noPing(i int, to string, args ...string) {
	l.t.Helper()
	if err := l.tryOn(i, append([]string{"ping", "-c", "2", "-i", "0.2", "-W", "1", to}, args...)...); err == nil {
		l.t.Errorf("ping from host %d to %s is answered", i, to)
	}
}

// trickle is less than TCP gives on any machine, in bits per second: that it
// is fast is for make bench to show, that it flows for a test.
const trickle = 1e6

// iperf sends from host i to an address of host j for a second and returns bits
// per second at the receiver.
func (l *lab) iperf(i, j int, to string, args ...string) float64 {
	l.t.Helper()
	srv := l.background(j, "iperf3", "-s", "-1", "-B", to)
	l.eventually("iperf3 listens", func() bool {
		return l.tryOn(j, "sh", "-c", "ss -ltn | grep -q :5201") == nil
	})
	out, err := l.command("ipoib", in(i, append([]string{"iperf3", "-J", "-t", "1", "-c", to}, args...)...)...).Output()
	if err != nil {
		l.t.Fatalf("iperf3 to %s: %v\n%s", to, err, out)
	}
	_ = srv.Wait()
	var r struct {
		End struct {
			SumReceived struct {
				Bits float64 `json:"bits_per_second"`
			} `json:"sum_received"`
			Sum struct {
				Bits float64 `json:"bits_per_second"`
				Lost float64 `json:"lost_percent"`
			} `json:"sum"`
		} `json:"end"`
	}
	if err := json.Unmarshal(out, &r); err != nil {
		l.t.Fatal(err)
	}
	return max(r.End.SumReceived.Bits, r.End.Sum.Bits)
}

// child makes a child interface in host i, sets it up and gives it an address.
func (l *lab) child(i int, pkey string, addr ...string) string {
	l.t.Helper()
	name := "ib0." + strings.TrimPrefix(pkey, "0x")
	l.on(i, "ipoib", "link", "add", name, "pkey", pkey)
	for _, a := range addr {
		l.on(i, "ip", "addr", "add", a, "dev", name)
	}
	l.on(i, "ip", "link", "set", name, "up")
	return name
}

// carrier reports whether an interface of host i has carrier.
func (l *lab) carrier(i int, dev string) bool {
	out, err := l.command("ipoib", in(i, "cat", "/sys/class/net/"+dev+"/carrier")...).Output()
	return err == nil && strings.TrimSpace(string(out)) == "1"
}

// waitCarrier waits until an interface has carrier and the kernel sends by it:
// on a busy machine it throws packets away for some time in between, until its
// worker has set the operational state and the queue (linkwatch_do_dev). Both
// happen under the lock that ip takes.
func (l *lab) waitCarrier(i int, dev string) {
	l.t.Helper()
	l.eventually(fmt.Sprintf("%s of host %d is up", dev, i), func() bool {
		out, err := l.command("ipoib", in(i, "ip", "-br", "link", "show", "dev", dev)...).Output()
		fields := strings.Fields(string(out))
		return err == nil && len(fields) > 1 && fields[1] == "UP"
	})
}

// stat returns a counter or the drops of a reason of an interface of host i.
func (l *lab) stat(i int, dev, name string) uint64 {
	l.t.Helper()
	return l.counter(l.on(i, "ipoib", "stats", "-j", dev), name)
}

// stat0 is stat of an interface in the test's own namespace.
func (l *lab) stat0(dev, name string) uint64 {
	l.t.Helper()
	return l.counter(l.run("ipoib", "stats", "-j", dev), name)
}

func (l *lab) counter(text, name string) uint64 {
	l.t.Helper()
	var s []struct {
		Counters, Drops []struct {
			Name  string
			Value uint64
		}
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		l.t.Fatal(err)
	}
	for _, c := range append(s[0].Counters, s[0].Drops...) {
		if c.Name == name {
			return c.Value
		}
	}
	l.t.Fatalf("no counter %s", name)
	return 0
}

// exitCode returns the exit code that an error of try tells of.
func exitCode(err error) int {
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode()
	}
	return 0
}
