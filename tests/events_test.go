//go:build integration

package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// port is the fabric port of a host's adapter.
func port(i int) string { return fmt.Sprintf("soft%d/1", i) }

// A link is pulled and plugged: carrier follows, and traffic resumes without a
// restart of anything.
func TestLinkFlap(t *testing.T) {
	l := newLab(t).up(2)
	l.ping(1, "10.77.0.2")
	for range 3 {
		l.run("ipoib", "fabric", "link", port(2), "down")
		l.eventually("no carrier", func() bool { return !l.carrier(2, "ib0") })
		l.noPing(1, "10.77.0.2")
		l.run("ipoib", "fabric", "link", port(2), "up")
		l.waitCarrier(2, "ib0")
		l.ping(1, "10.77.0.2")
		l.ping(2, "fd77::1")
	}
}

// The subnet manager restarts and forgets what it knew; members join again
// when it asks them to (client reregister).
func TestManagerRestart(t *testing.T) {
	l := newLab(t).up(3)
	l.child(1, "0x8001", "10.78.0.1/24")
	l.child(2, "0x8001", "10.78.0.2/24")
	l.waitCarrier(1, "ib0.8001")
	l.waitCarrier(2, "ib0.8001")
	l.ping(1, "10.78.0.2")
	groups := func() string {
		return l.run("sh", "-c", "ipoib fabric groups | awk '/:ffff:ffff/ {print $1, NF}' | sort")
	}
	sweeps := func() string { return l.run("sh", "-c", "ipoib fabric manager -j | jq .sweeps") }
	before, swept := groups(), sweeps()
	l.run("ipoib", "fabric", "sm", "restart")
	l.eventually("the groups have their members again", func() bool { return sweeps() != swept && groups() == before })
	l.ping(1, "10.77.0.2")
	l.ping(1, "10.78.0.2")
	l.ping(3, "10.77.0.1") // a path that nobody had asked for
}

// The partition file changes while interfaces run: a P_Key goes and comes, a
// port becomes a limited member, the parameters of a group change. Carrier,
// reach and MTU follow without a restart; a file that is wrong changes nothing.
func TestPartitionsReload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "partitions.conf")
	write := func(lines ...string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const def = "Default=0x7fff, ipoib : ALL=full;"
	write(def, "One=0x0001, ipoib : ALL=full;")
	l := newLab(t, "--partitions", file).up(3)
	reload := func() { l.run("ipoib", "fabric", "sm", "reload") }
	for i := 1; i <= 3; i++ {
		l.child(i, "0x8001", fmt.Sprintf("10.78.0.%d/24", i))
		l.waitCarrier(i, "ib0.8001")
	}
	l.ping(1, "10.78.0.2")
	write(def)
	reload()
	l.eventually("the child has no carrier", func() bool { return !l.carrier(1, "ib0.8001") })
	l.noPing(1, "10.78.0.2")
	l.ping(1, "10.77.0.2")
	// Back, at another index of the tables.
	write(def, "Two=0x0002, ipoib : ALL=full;", "One=0x0001, ipoib : ALL=full;")
	reload()
	for i := 1; i <= 3; i++ {
		l.waitCarrier(i, "ib0.8001")
	}
	l.ping(1, "10.78.0.2")
	// Limited members reach full ones only.
	guid := func(i int) string {
		return "0x" + strings.ReplaceAll(strings.TrimSpace(l.on(i, "ibstat", "-p")), "0x", "")
	}
	write(def, "One=0x0001, ipoib : "+guid(1)+"=full, "+guid(2)+"=limited, "+guid(3)+"=limited;")
	if err := l.serve.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	l.eventually("hosts 2 and 3 are limited members", func() bool {
		out := l.run("ipoib", "fabric", "nodes")
		return strings.Count(out, "0xffff,0x0001") == 2
	})
	for i := 2; i <= 3; i++ {
		l.eventually(fmt.Sprintf("host %d reaches the full member", i), func() bool {
			return l.tryOn(i, "ping", "-c", "1", "-W", "1", "10.78.0.1") == nil
		})
	}
	l.noPing(2, "10.78.0.3")
	write(def, "One=0x0001, ipoib, mtu=5 : ALL=full;")
	reload()
	l.eventually("the MTU follows the group", func() bool {
		return strings.TrimSpace(l.on(1, "cat", "/sys/class/net/ib0.8001/mtu")) == "4092" && l.carrier(2, "ib0.8001")
	})
	l.eventually("host 2 answers", func() bool { return l.tryOn(1, "ping", "-c", "1", "-W", "1", "10.78.0.2") == nil })
	l.ping(1, "10.78.0.2", "-s", "4064", "-M", "do")
	write("One=0x0001, ipoib : nobody=full;")
	if out := l.fails("ipoib", "fabric", "sm", "reload"); !strings.Contains(out, "partitions.conf") || !strings.Contains(out, "line 1") {
		t.Errorf("%s", out)
	}
	l.ping(1, "10.78.0.2")
}

// A port gets another LID: who knew the old one finds the new one.
func TestLIDChange(t *testing.T) {
	l := newLab(t).up(3)
	l.mode(1, "connected")
	l.ping(1, "10.77.0.2")
	l.ping(3, "10.77.0.2")
	l.ping(2, "fd77::1")
	l.run("ipoib", "fabric", "sm", "lid", port(2), "0x40")
	l.eventually("the port has its LID", func() bool {
		return strings.Contains(l.on(2, "cat", "/sys/class/infiniband/soft2/ports/1/lid"), "0x40")
	})
	for _, i := range []int{1, 3} {
		l.eventually(fmt.Sprintf("host %d reaches host 2", i), func() bool {
			return l.tryOn(i, "ping", "-c", "1", "-W", "1", "10.77.0.2") == nil
		})
		l.ping(i, "10.77.0.2")
		if out := l.on(i, "ipoib", "path"); !strings.Contains(out, "0x0040") {
			t.Errorf("host %d:\n%s", i, out)
		}
	}
	l.ping(2, "fd77::1")
	for args, want := range map[string]string{
		"soft2/1 0x40":   "", // as it is
		"soft1/1 0x40":   "another port has LID 0x0040",
		"soft1/1 0xc000": "0xc000 is no unicast LID",
		"soft1/1 x":      `"x" is not a LID`,
		"soft9/1 5":      "no port soft9/1",
		"soft1/1":        "Usage: ipoib fabric sm",
	} {
		err := l.try("ipoib", append([]string{"fabric", "sm", "lid"}, strings.Fields(args)...)...)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
	if out := l.fails("ipoib", "fabric", "sm", "reload"); !strings.Contains(out, "no partition file") {
		t.Errorf("%s", out)
	}
}

// While the SA is silent known paths serve; what needs it heals as soon as it
// answers.
func TestSilentSA(t *testing.T) {
	l := newLab(t).up(3)
	l.ping(1, "10.77.0.2")
	l.run("ipoib", "fabric", "sm", "pause")
	l.ping(1, "10.77.0.2")
	l.noPing(1, "10.77.0.3")
	l.run("ipoib", "fabric", "sm", "resume")
	l.eventually("host 3 is reached", func() bool { return l.tryOn(1, "ping", "-c", "1", "-W", "1", "10.77.0.3") == nil })
	l.ping(3, "10.77.0.1")
}

// Loss and duplication on a link: TCP gets through, and all is well after.
func TestLossAndDuplication(t *testing.T) {
	l := newLab(t).up(2)
	l.ping(1, "10.77.0.2")
	l.run("ipoib", "fabric", "link", "--loss", "1", "--duplicate", "10", "--reorder", "1", "--corrupt", "0.5", port(2), "set")
	bps := l.iperf(1, 2, "10.77.0.2")
	t.Logf("TCP over the bad link: %.0f Mb/s", bps/1e6)
	if bps < trickle/10 { // each loss costs some round trips
		t.Errorf("TCP over a bad link: %.0f b/s", bps)
	}
	out, _ := l.command("ipoib", in(1, "ping", "-c", "200", "-i", "0.005", "-W", "1", "10.77.0.2")...).CombinedOutput()
	if !regexp.MustCompile(`\+\d+ duplicates`).Match(out) {
		t.Errorf("no duplicates:\n%s", out[max(0, len(out)-200):])
	}
	l.run("ipoib", "fabric", "link", port(2), "set")
	l.ping(1, "10.77.0.2")
	l.ping(1, "10.77.0.2", "-c", "100", "-i", "0.01")
}

// capture starts a capture and waits until it runs.
func (l *lab) capture(file, port string) *program {
	l.t.Helper()
	p := l.beside("ipoib", "capture", "-w", file, port)
	l.eventually("the capture runs", func() bool {
		st, err := os.Stat(file)
		return err == nil && st.Size() > 0
	})
	return p
}

// decodes are what a capture of the life of a link has, as filters of tshark.
var decodes = []struct{ what, filter string }{
	{"a join (MCMemberRecord Set)", "infiniband.mad.attributeid == 0x0038 && infiniband.mad.method == 0x02"},
	{"its answer", "infiniband.mad.attributeid == 0x0038 && infiniband.mad.method == 0x81"},
	{"a path request", "infiniband.mad.attributeid == 0x0035 && infiniband.mad.method == 0x01"},
	{"its answer (PathRecord)", "infiniband.mad.attributeid == 0x0035 && infiniband.mad.method == 0x81"},
	{"an ARP request", "arp.opcode == 1"},
	{"an ARP reply", "arp.opcode == 2"},
	{"a neighbour solicitation", "icmpv6.type == 135"},
	{"a neighbour advertisement", "icmpv6.type == 136"},
	{"an echo request", "icmp.type == 8 && ip.dst == 10.77.0.2"},
	{"an echo reply", "icmp.type == 0 && ip.src == 10.77.0.2"},
	{"an IPv6 echo request", "icmpv6.type == 128"},
	{"an IPv6 echo reply", "icmpv6.type == 129"},
	{"an option with a link address", "icmpv6.opt.linkaddr"},
	{"a group packet with its header", "infiniband.grh && arp"},
}

// tshark understands a capture of the link's life down to the IP packets:
// groups joined, paths asked for, ARP, neighbour discovery and echoes.
func TestCaptureDecodes(t *testing.T) {
	l := newLab(t).up(2)
	file := filepath.Join(t.TempDir(), "life.pcapng")
	capture := l.capture(file, port(1))
	// Down and up again: all groups are joined anew.
	l.on(1, "ip", "link", "set", "ib0", "down")
	l.on(1, "ip", "link", "set", "ib0", "up")
	l.on(1, "ip", "addr", "replace", "fd77::1/64", "dev", "ib0") // lost with down
	l.waitCarrier(1, "ib0")
	l.ping(1, "10.77.0.2")
	l.ping(1, "fd77::2")
	tshark := func(filter string, args ...string) string {
		return l.run("tshark", append([]string{"-n", "-r", file, "-Y", filter}, args...)...)
	}
	l.eventually("the last echo is captured", func() bool {
		out, _ := l.command("tshark", "-r", file, "-Y", "icmpv6.type == 129").Output()
		return strings.Count(string(out), "\n") >= 3
	})
	capture.interrupt()
	if code := capture.ProcessState.ExitCode(); code != 0 {
		t.Errorf("capture: exit code %d, %s", code, capture.text())
	}
	// Frames and bytes of each filter, in the one line of the one interval.
	filters := "io,stat,0"
	for _, d := range decodes {
		filters += "," + d.filter
	}
	table := l.run("tshark", "-n", "-q", "-r", file, "-z", filters)
	counts := regexp.MustCompile(`(?m)^\|[^|]*<>[^|]*\|(.*)\|$`).FindStringSubmatch(table)
	if counts == nil {
		t.Fatalf("no counts in\n%s", table)
	}
	columns := strings.Split(counts[1], "|")
	if len(columns) != 2*len(decodes) {
		t.Fatalf("%d columns in\n%s", len(columns), table)
	}
	for i, d := range decodes {
		if strings.TrimSpace(columns[2*i]) == "0" {
			t.Errorf("%s is missing", d.what)
		}
	}
	if out := tshark("_ws.malformed || _ws.expert.severity >= error"); out != "" {
		t.Errorf("tshark complains:\n%s", out)
	}
	if out := tshark("ip.checksum.status == \"Bad\" || icmp.checksum.status == \"Bad\" || icmpv6.checksum.status == \"Bad\"", "-o", "ip.check_checksum:TRUE"); out != "" {
		t.Errorf("bad checksums:\n%s", out)
	}
	// The round trip is seen: every request has its reply.
	if n := strings.Count(tshark("icmp.resptime"), "\n"); n < 3 {
		t.Errorf("%d echo replies were matched with their requests", n)
	}
}
