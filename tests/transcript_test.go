//go:build integration

package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The transcripts in testdata are what Linux 6.1's driver, iproute2 6.1 and
// ethtool 6.1 printed. Here their command lines run against the service, with
// the commands' names changed and nothing else.

// recorded is one command line of a transcript.
type recorded struct {
	line, output string
	exit         string
	kmsg         string // what the kernel said, line by line
}

// readTranscript reads testdata/transcripts/NAME.txt: what was run on its first
// adapter.
func readTranscript(t *testing.T, name string) (out []recorded) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "transcripts", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	exitRE := regexp.MustCompile(`(?m)^\[exit (\d+)\]$`)
	for _, block := range strings.Split(string(text), "\n$ ")[1:] {
		line, rest, _ := strings.Cut(block, "\n")
		m := exitRE.FindStringSubmatchIndex(rest)
		if m == nil {
			t.Fatalf("%s: %q has no exit code", name, line)
		}
		out = append(out, recorded{line, rest[:m[0]], rest[m[2]:m[3]], rest[m[1]:]})
		if strings.Contains(rest[m[1]:], "\n# hca ") {
			break
		}
	}
	return out
}

// rewrites turns what is written to files of the driver, or of its test
// adapter, into the same by command.
var rewrites = []struct {
	re *regexp.Regexp
	by string
}{
	{regexp.MustCompile(`echo 0x([0-9a-f]+) > /sys/class/net/(\S+)/create_child`), "ip link add link $2 name $2.$1 type ipoib pkey 0x$1"},
	{regexp.MustCompile(`echo (connected|datagram) > /sys/class/net/(\S+)/mode`), "ip link set $2 type ipoib mode $1"},
	{regexp.MustCompile(`echo "state 0 2 1" > /sys/kernel/debug/fakeib/ctl`), "ipoib fabric link fib0/2 down"},
}

// volatile are the parts that the README of the transcripts names as such, or
// that are decided differently (docs/architecture.md).
var volatile = []struct {
	re *regexp.Regexp
	by string
}{
	{regexp.MustCompile(`(?m)^\d+: `), "N: "},
	{regexp.MustCompile(`"ifindex": \d+`), `"ifindex": N`},
	// The flag of connected mode and the queue pair number.
	{regexp.MustCompile(`\b[08]0:00:[0-9a-f]{2}:[0-9a-f]{2}:fe:80:`), "FL:QP:QP:QP:fe:80:"},
	{regexp.MustCompile(`qdisc \w+`), "qdisc Q"},
	{regexp.MustCompile(`"qdisc": "\w+"`), `"qdisc": "Q"`},
	// One queue per interface; the adapter is no PCI function.
	{regexp.MustCompile(`num([tr])xqueues \d+`), "num${1}xqueues N"},
	{regexp.MustCompile(`"num_([tr])x_queues": \d+`), `"num_${1}x_queues": N`},
	{regexp.MustCompile(`parentbus \S+ parentdev \S+`), "parentbus B parentdev D"},
	{regexp.MustCompile(`"parent(bus|dev)": "[^"]*"`), `"parent$1": "P"`},
	// LRO can be switched.
	{regexp.MustCompile(`(?m)^large-receive-offload: .*`), "large-receive-offload: LRO"},
	{regexp.MustCompile(`"large-receive-offload": ?\{[^}]*\}`), `"large-receive-offload": LRO`},
	// Counters.
	{regexp.MustCompile(`(?m)^ {5,}[0-9 ]+$`), "     COUNTERS"},
	{regexp.MustCompile(`(?m)^( +"?[a-z_]*(bytes|packets|dropped|multicast|carrier_changes)"?): \d+`), "$1: N"},
	// The driver's own answers.
	{regexp.MustCompile(`(?m)^version: .*`), "version: V"},
	{regexp.MustCompile(`(?m)^firmware-version: .*`), "firmware-version: V"},
	{regexp.MustCompile(`(?m)^bus-info: .*`), "bus-info: B"},
}

// scrub removes what is volatile.
func scrub(s string) string {
	for _, v := range volatile {
		s = v.re.ReplaceAllString(s, v.by)
	}
	return s
}

// replay is a service that a transcript runs against.
type replay struct {
	*lab
	bin string
	// connected is set when the driver has the connected mode.
	connected bool
}

// newReplay starts a service with the adapter of the transcripts, and puts
// programs named ip and ethtool in front of the real ones.
func newReplay(t *testing.T, flags ...string) *replay {
	t.Helper()
	flags = append(flags, "--hca", "fib0,ports=2,guid=0x0002c90300a0b0c0,profile=generic")
	r := &replay{lab: newLab(t, flags...), bin: filepath.Join("/run", "bin-"+strings.ReplaceAll(t.Name(), "/", "-"))}
	// Where any user may go.
	if err := os.MkdirAll(r.bin, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(r.bin) })
	for name, text := range map[string]string{
		"ip": `#!/bin/sh
for w in "$@"; do
	case $w in
	-*) ;;
	link | monitor) exec ipoib "$@" ;;
	*) break ;;
	esac
done
exec ` + realTool(t, "ip") + ` "$@"
`,
		"ethtool": "#!/bin/sh\nexec ipoib-ethtool \"$@\"\n",
	} {
		if err := os.WriteFile(filepath.Join(r.bin, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r.connected = r.try("ipoib", "link", "set", "ib0", "type", "ipoib", "mode", "connected") == nil
	if r.connected {
		r.run("ipoib", "link", "set", "ib0", "type", "ipoib", "mode", "datagram")
	}
	return r
}

// realTool is the path of a program that is not ours.
func realTool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// shell runs a command line and returns what it printed, on both streams, and
// its exit code.
func (r *replay) shell(line string) (string, string) {
	cmd := r.command("bash", "-c", line)
	cmd.Env = append(cmd.Env, "PATH="+r.bin+":"+os.Getenv("PATH"), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	code := 0
	if err != nil {
		code = cmd.ProcessState.ExitCode()
	}
	return string(out), fmt.Sprint(code)
}

// showing matches command lines that change nothing and may be repeated.
var showing = regexp.MustCompile(`^((ip (-\S+ )*link( show( dev)? ?\S*( type ipoib)?)?|ethtool (--json )?(-[a-zA-Z]|--show\S*)? ?\S+|cat \S+)( \| head -1)?(; )?)+$`)

// check runs one line of a transcript and compares.
// why says why it is not compared, or is empty.
func (r *replay) check(rec recorded, why string) {
	r.t.Helper()
	line := rec.line
	for _, w := range rewrites {
		line = w.re.ReplaceAllString(line, w.by)
	}
	if why != "" {
		r.t.Logf("not compared: %s: %s", rec.line, why)
		if why != notRun {
			r.shell(line)
		}
		return
	}
	want := scrub(rec.output) + "[exit " + rec.exit + "]"
	var got string
	limit := patience
	if r.t.Failed() {
		limit = 3 * time.Second
	}
	for end := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		out, code := r.shell(line)
		got = scrub(out) + "[exit " + code + "]"
		// Carrier comes when it comes.
		if got == want || !showing.MatchString(line) || time.Now().After(end) {
			break
		}
	}
	if d := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); d != "" {
		r.t.Errorf("%s (-recorded +ours):\n%s", rec.line, d)
	}
}

// notRun is why a line is not even run.
const notRun = "of no part of this program"
