//go:build integration

package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// scenario is a transcript about what happens between interfaces: packets,
// groups, events, connections. Its adapter has a port in each of two
// namespaces, or both in one.
type scenario struct {
	name string
	// apart puts the second port into a namespace of its own: "a" and "b".
	apart bool
	// before is run first.
	before string
	// commands are what stands for the recorded ones; an empty one is left out
	// with what it printed.
	commands []command
	// why says of lines why they are not run.
	why []reason
	// since is where the log was one line before.
	since int64
	// unsaid are messages of the driver that there are none of here.
	unsaid []reason
}

type command struct {
	re     *regexp.Regexp
	by     string
	output *regexp.Regexp // of a command that is left out
}

type reason struct {
	re  *regexp.Regexp
	why string
	do  string // is run in its place
}

// passing are what differs from run to run.
var passing = []struct {
	re *regexp.Regexp
	by string
}{
	{regexp.MustCompile(`time[= ][0-9.]+ ?ms`), "time=T"},
	{regexp.MustCompile(`(?m)^rtt min/avg/max/mdev = .*`), "rtt T"},
	{regexp.MustCompile(`(?m)^  created: .*`), "  created: C"},
	{regexp.MustCompile(`"(bytes|lost_percent)":[0-9.]+`), `"$1":N`},
	{regexp.MustCompile(`(?m)^( +(rx|tx)_(packets|bytes)): \d+`), "$1: N"},
	{regexp.MustCompile(`(?m)\b(DELAY|STALE|PROBE) $`), "REACHABLE "},
	{regexp.MustCompile(`(ref \d+ )?used \S+probes \d+`), "used N"},
}

func pass(s string) string {
	for _, p := range passing {
		s = p.re.ReplaceAllString(s, p.by)
	}
	return scrub(s)
}

// lasting are commands whose effect is not to be had twice.
var lasting = regexp.MustCompile(`^echo|link (set|add)|neigh add|iperf3|-M do ff02`)

// play runs one line and compares what it prints and what the driver says.
func (r *replay) play(s *scenario, rec recorded, said []string) bool {
	r.t.Helper()
	for _, w := range s.why {
		if w.re.MatchString(rec.line) {
			r.t.Logf("not run: %s: %s", rec.line, w.why)
			r.shell(w.do)
			return false
		}
	}
	line, want := rec.line, rec.output
	for _, c := range s.commands {
		if !c.re.MatchString(line) {
			continue
		}
		line = c.re.ReplaceAllString(line, c.by)
		if c.output != nil {
			want = c.output.ReplaceAllString(want, "$1")
		}
	}
	want = pass(want) + "[exit " + rec.exit + "]"
	for k := range said {
		said[k], _, _ = strings.Cut(said[k], " head 0x") // of the driver's ring
	}
	// Messages may have come with the line before: the driver's back-off
	// runs on between two lines.
	before := s.since
	s.since = r.logSize()
	var got string
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		out, code := r.shell(line)
		if got = pass(out) + "[exit " + code + "]"; got == want || lasting.MatchString(rec.line) || time.Now().After(end) {
			break
		}
	}
	if d := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); d != "" {
		r.t.Errorf("%s\nrun as: %s\n(-recorded +ours):\n%s", rec.line, line, d)
	}
	for _, msg := range said {
		for _, u := range s.unsaid {
			if u.re.MatchString(msg) {
				msg = ""
			}
		}
		if msg == "" {
			continue
		}
		ok := false
		for end := time.Now().Add(patience); !ok && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			ok = strings.Contains(r.logSince(before), " "+msg+"\n")
		}
		if !ok {
			r.t.Errorf("%s\nno message %q in\n%s", rec.line, msg, r.logSince(before))
		}
	}
	return true
}

func (r *replay) logSize() int64 {
	st, err := os.Stat(r.log.Name())
	if err != nil {
		r.t.Fatal(err)
	}
	return st.Size()
}

func (r *replay) logSince(at int64) string {
	text, err := os.ReadFile(r.log.Name())
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text[at:])
}

// kernelSaid are messages of others than the driver.
var kernelSaid = regexp.MustCompile(`^(IPv6: |device |random: )|Budget exhausted`)

func drop(line, output string) command {
	c := command{re: regexp.MustCompile(line)}
	if output != "" {
		c.output = regexp.MustCompile(output)
	}
	return c
}

func instead(line, by string) command { return command{re: regexp.MustCompile(line), by: by} }

func because(why string, lines ...string) (out []reason) {
	for _, l := range lines {
		out = append(out, reason{re: regexp.MustCompile(l), why: why})
	}
	return out
}

const join = `import socket, struct, sys, time
group, dev, wait = sys.argv[1:]
index = socket.if_nametoindex(dev)
if ":" in group:
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, group) + struct.pack("@I", index))
else:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + socket.inet_aton("0.0.0.0") + struct.pack("@I", index))
time.sleep(float(wait))
`

// newScenario starts a service for a scenario.
func newScenario(t *testing.T, s *scenario) *replay {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "partitions.conf")
	if err := os.WriteFile(file, []byte(partitions), 0o644); err != nil {
		t.Fatal(err)
	}
	r := newReplay(t, "--partitions", file, "--sysfs-overlay")
	real := realTool(t, "ip")
	// The real one, in namespaces too.
	script := `#!/bin/sh
case $1 in
-n) ns=$2; shift 2; exec ` + real + ` netns exec "$ns" "$0" "$@" ;;
netns) exec ` + real + ` "$@" ;;
*) exec ipoib exec -- ` + real + ` "$@" ;;
esac
`
	if err := os.WriteFile(filepath.Join(r.bin, "ip"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "mj.py"), []byte(join), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PARTITIONS", file)
	if s.apart {
		for ns, dev := range map[string]string{"a": "ib0", "b": "ib1"} {
			r.run(real, "netns", "add", ns)
			t.Cleanup(func() { r.run(real, "netns", "del", ns) })
			r.run("ipoib", "link", "set", dev, "netns", ns)
			r.eventually(dev+" has moved", func() bool { return r.try(real, "-n", ns, "link", "show", dev) == nil })
		}
		r.run(real, "-n", "a", "addr", "add", "10.0.0.1/24", "dev", "ib0")
		r.run(real, "-n", "b", "addr", "add", "10.0.0.2/24", "dev", "ib1")
		r.run(real, "-n", "a", "link", "set", "ib0", "up")
		r.run(real, "-n", "b", "link", "set", "ib1", "up")
		for ns, dev := range map[string]string{"a": "ib0", "b": "ib1"} {
			r.eventually(dev+" has carrier", func() bool {
				return r.try(real, "netns", "exec", ns, "grep", "-q", "1", r.runDir+"/sys/class/net/"+dev+"/carrier") == nil
			})
		}
		st, err := os.Stat("/run/netns/a")
		if err != nil {
			t.Fatal(err)
		}
		// The driver's tables are not of a namespace; they are read of the
		// first one.
		debug := fmt.Sprintf("%s/sys/netns/%d/debug/ipoib/", r.runDir, st.Sys().(*syscall.Stat_t).Ino)
		s.commands = append(s.commands,
			instead(`/sys/class/net/`, r.runDir+"/sys/class/net/"),
			instead(`/sys/kernel/debug/ipoib/`, debug),
			instead(`/tmp/mj.py`, dir+"/mj.py"),
		)
	}
	return r
}

// TestScenarios runs the transcripts about packets, groups, events and
// connections.
func TestScenarios(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			r := newScenario(t, &s)
			if s.before != "" {
				if out, code := r.shell(s.before); code != "0" {
					t.Fatalf("%s: %s", s.before, out)
				}
			}
			ran, lines := 0, readTranscript(t, s.name)
			for _, rec := range lines {
				var said []string
				for msg := range strings.Lines(rec.kmsg) {
					msg = strings.TrimSuffix(msg, "\n")
					if msg, ok := strings.CutPrefix(msg, "[kmsg] "); ok && !kernelSaid.MatchString(msg) {
						said = append(said, msg)
					}
				}
				if r.play(&s, rec, said) {
					ran++
				}
			}
			t.Logf("%d of %d lines", ran, len(lines))
		})
	}
}

// created are the driver's addresses of address handles.
var created = because("an address in the kernel", `Created ah `, `created address handle `)

// fakeib matches a command of the recorded adapter.
func fakeib(ctl string) string {
	return `echo ['"]` + ctl + `['"] > /sys/kernel/debug/fakeib/ctl`
}

// subnetOf is what changes the partitions of a subnet.
func subnetOf(partitions ...string) string {
	return `printf '%s\n' '` + strings.Join(partitions, `' '`) + `' >$$PARTITIONS; ipoib fabric sm reload`
}

const (
	defaultPart = "Default=0x7fff, ipoib : ALL=full;"
	onePart     = "One=0x0001, ipoib : ALL=full;"
)

var scenarios = []scenario{
	{
		name: "12-traffic", apart: true,
		// What is not run had sent packets.
		before: `ip netns exec a ping -c 2 -i 0.4 10.0.0.2`,
		commands: []command{
			drop(`; ip netns exec a cat /proc/net/dev`, `(?s)Inter-.*`),
			drop(`; cat /sys/kernel/debug/fakeib/ctl \| head -2`, `(?s)port 0/1 .*`),
			instead(`(-6 route); ip -n a neigh`, "$1"),
		},
		why: slices.Concat(
			because("the host's stack sees IP packets, not the link's frames", `tcpdump`, `arping`, `arp -n`, `python3 -c`),
			because("under exec the refusal has no text", `lladdr 00:11:22:33:44:55`),
		),
	},
	{
		name: "14-multicast", apart: true,
		before: `ip -n a route add 224.0.0.0/4 dev ib0`,
		commands: []command{
			drop(`; grep '?group\S+ /sys/kernel/debug/fakeib/ctl`, `(?m)^group .*\n`),
			{regexp.MustCompile(`ip -n a maddr show dev \w+`), "true", regexp.MustCompile(`(?m)^\d+:\t\w+\n|^\t(?:link|inet6?) +.*\n`)},
			// The host does not report the groups that are joined for it.
			{regexp.MustCompile(`_mcg$`), "_mcg", regexp.MustCompile(`(?s)GID: ff12:601b:ffff:0:0:0:0:16\n.*?\n\n`)},
			{regexp.MustCompile(`c1_mcg`), "c1_mcg", regexp.MustCompile(`GID: ff12:601b:8001:0:0:0:0:16\n`)},
			// Not after a second, but when all is there.
			instead(`sleep 1; true; (.*) c1 1.5 & sleep 1; (grep) GID ([^ ;]+)`,
				`$1 c1 5 & until [ $$($2 -c GID $3) -ge 7 ]; do sleep 0.1; done; $2 GID $3`),
			drop(fakeib(`sa fail 0 0`)+`; `, ""),
			instead(fakeib(`sa drop 1`), `ipoib fabric sm pause`),
			instead(fakeib(`sa drop 0`), `ipoib fabric sm resume`),
		},
		why: slices.Concat(
			because("a TUN has no link-layer groups", `dev_mcast`, `maddr (add|del) 01:`),
			because("the SA does not refuse what is right; datapath.Test4391_S12_1_FailedJoinIsLogged", `sa fail 0x38`),
		),
	},
	{
		name: "15-events",
		commands: []command{
			drop(`;? ?cat /sys/class/net/ib0/carrier_changes`, `(?m)^\d+\n$`),
			instead(fakeib(`state 0 ([12]) 1`), `ipoib fabric link fib0/$1 down`),
			instead(fakeib(`state 0 ([12]) 4`), `ipoib fabric link fib0/$1 up`),
			instead(fakeib(`(?:state 0 1 2|smlid .*|event 0 1 (?:18|8))`), `true`),
			instead(fakeib(`event 0 1 17`), `ipoib fabric sm restart`),
			instead(fakeib(`pkey 0 1 1 0x0000`), subnetOf(defaultPart)),
			instead(fakeib(`pkey 0 1 9 0x8001`), subnetOf(defaultPart, "Two=0x0002 : ALL=full;", onePart)),
			instead(fakeib(`pkey 0 1 9 0x0001`), subnetOf(defaultPart, "One=0x0001, ipoib : ALL=limited;")),
			instead(fakeib(`pkey 0 1 0 0x7fff`), subnetOf("Default=0x7fff, ipoib : ALL=limited;", onePart)),
			instead(fakeib(`pkey 0 1 0 0x8005`), subnetOf(defaultPart, "Five=0x0005, ipoib, indx0 : ALL=full;", onePart)),
			drop(fakeib(`sa fail 0 0`)+`; `, ""),
			// IPv6 lists its groups before it uses them.
			{regexp.MustCompile(`^(ip -br link); cat /sys/kernel/debug/ipoib/ib0_mcg`), "$1", regexp.MustCompile(`(?s)GID: .*`)},
			instead(fakeib(`(?:pkey 0 1 0 0xffff|sa autobcast 1|sa fail 0 0)`), subnetOf(defaultPart, onePart)),
			instead(fakeib(`lid 0 1 9`), `ipoib fabric sm lid fib0/1 9`),
			instead(fakeib(`sa drop 1`), `ipoib fabric sm pause`),
			instead(fakeib(`sa drop 0`), `ipoib fabric sm resume`),
			drop(fakeib(`sa flush 1`)+`; `, ""),
			instead(fakeib(`(?:sa autobcast 0|sa fail 0x38 0x0700)`), subnetOf("Default=0x7fff : ALL=full;", "One=0x0001 : ALL=full;")),
			drop(fakeib(`sa rate 3`)+`; `+fakeib(`sa sl 3`)+`; `, ""),
			instead(fakeib(`sa mtu (\d)`), subnetOf("Default=0x7fff, ipoib, mtu=$1, rate=3, sl=3 : ALL=full;", "One=0x0001, ipoib, mtu=$1, rate=3, sl=3 : ALL=full;")),
			// The recorded SA had a rate for all paths, ours asks the ports.
			{regexp.MustCompile(`(sleep 1; ping .* /sys/kernel/debug/ipoib/ib0_path)$`), "$1 | grep -v rate:", regexp.MustCompile(`(?m)^  rate:.*\n`)},
			drop(`; grep group /sys/kernel/debug/fakeib/ctl \| head -2`, `(?m)^group .*\n`),
		},
		why: []reason{{
			regexp.MustCompile(`sa fail 0x35`), "the SA does not refuse what is right; path.TestFailureRemovesPeers",
			`ip neigh add 10.0.0.9 lladdr 80:00:00:50:fe:80:00:00:00:00:00:00:00:02:c9:03:00:a0:b0:c2 dev ib0`,
		}},
	},
	{
		name: "17-connected", apart: true,
		before: `ipoib param set debug_level 1`,
		commands: []command{
			drop(`rdma res show qp; |; rdma res show qp`, `(?m)^link fib0/.*\n`),
			// Which comes first to ping: that its packet was too big, or the
			// echo of itself?
			{regexp.MustCompile(`(-M do ff02::1%ib0);`), "$1 >/dev/null;", regexp.MustCompile(`(?s)^PING.*\n(NIC)`)},
		},
		unsaid: slices.Concat(created,
			because("one connection serves both directions",
				`Request connection`, `REQ arrived`, `REP received`, `ib1: (Reap|Destroy)`),
			because("groups are no neighbours", `neigh free for ffffff`)),
	},
}
