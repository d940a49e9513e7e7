//go:build integration

package tests

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// lroCan are the lines that differ from the driver's: LRO can be switched on.
var lroCan = strings.NewReplacer(
	"large-receive-offload: off [fixed]", "large-receive-offload: off",
	`{"large-receive-offload":{"active":false,"fixed":true,"requested":false}}`,
	`{"large-receive-offload":{"active":false,"fixed":false,"requested":false}}`,
	"Could not change any device features\nActual changes:\nrx-lro: off [requested on]\n[exit 1]", "[exit 0]",
	"Actual changes:\nrx-gro: off\nrx-lro: off [requested on]\n[exit 0]", "[exit 0]",
)

// The commands of a transcript of the kernel's driver, with an adapter that
// offers IPv4 checksums and LSO only, give the same output and exit codes.
func TestEthtoolFeaturesAsTheDriver(t *testing.T) {
	text, err := os.ReadFile("testdata/ethtool-features.txt")
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, "--hca", "soft0,profile=generic")
	l.eventually("ib0 is there", func() bool { return l.try("ip", "link", "show", "ib0") == nil })
	steps := 0
	for _, step := range strings.Split(string(text), "\n$ ")[1:] {
		cmd, want, _ := strings.Cut(step, "\n")
		want = strings.TrimSpace(lroCan.Replace(want))
		c := l.command("sh", "-c", strings.ReplaceAll(cmd, "ethtool ", "ipoib-ethtool "))
		out, err := c.CombinedOutput()
		code := 0
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			code = exit.ExitCode()
		}
		got := fmt.Sprintf("%s[exit %d]", out, code)
		if got != want {
			t.Errorf("$ %s\n%s\nwant\n%s", cmd, got, want)
		}
		if strings.Contains(cmd, "lro on") {
			l.run("ipoib-ethtool", "-K", "ib0", "lro", "off")
		}
		steps++
	}
	if steps < 45 {
		t.Errorf("only %d commands", steps)
	}
}

// feature switches features of ib0 in host i.
func (l *lab) feature(i int, args ...string) {
	l.t.Helper()
	l.on(i, append([]string{"ipoib-ethtool", "-K", "ib0"}, args...)...)
}

// grown returns by how much counters of ib0 in host i grow while fn runs.
func (l *lab) grown(i int, fn func(), names ...string) map[string]uint64 {
	l.t.Helper()
	before := make(map[string]uint64)
	for _, n := range names {
		before[n] = l.stat(i, "ib0", n)
	}
	fn()
	out := make(map[string]uint64)
	for _, n := range names {
		out[n] = l.stat(i, "ib0", n) - before[n]
	}
	return out
}

// Each offload shows in the counters of a TCP stream, and the stream works
// without any of them.
func TestOffloadsInTraffic(t *testing.T) {
	l := newLab(t).up(2)
	for _, v := range []struct{ name, to string }{{"v4", "10.77.0.2"}, {"v6", "fd77::2"}} {
		var bps float64
		stream := func() {
			if bps = l.iperf(1, 2, v.to); bps < trickle {
				t.Errorf("%s: %.0f Mb/s", v.name, bps/1e6)
			}
		}
		tx := []string{"tx_large_sends", "tx_soft_checksums", "tx_checksums", "tx_packets"}
		rx := []string{"rx_aggregates", "rx_merged", "rx_writes", "rx_packets", "rx_checksum_good", "rx_checksum_bad", "rx_events"}
		var r map[string]uint64
		run := func() map[string]uint64 { return l.grown(1, func() { r = l.grown(2, stream, rx...) }, tx...) }

		s := run()
		t.Logf("%s default: %.0f Mb/s %v %v", v.name, bps/1e6, s, r)
		if s["tx_large_sends"] == 0 || r["rx_aggregates"] == 0 || r["rx_writes"] >= r["rx_packets"]/2 || r["rx_checksum_bad"] != 0 {
			t.Errorf("%s, default: sent %v, received %v", v.name, s, r)
		}
		l.feature(1, "tso", "off")
		s = run()
		t.Logf("%s tso off: %.0f Mb/s %v %v", v.name, bps/1e6, s, r)
		if s["tx_large_sends"] != 0 || r["rx_aggregates"] != 0 || r["rx_merged"] == 0 {
			t.Errorf("%s, tso off: sent %v, received %v", v.name, s, r)
		}
		l.feature(2, "gro", "off")
		run()
		t.Logf("%s gro off: %.0f Mb/s %v", v.name, bps/1e6, r)
		if r["rx_merged"] != 0 || r["rx_writes"] < r["rx_packets"]*9/10 {
			t.Errorf("%s, gro off: received %v", v.name, r)
		}
		l.feature(2, "lro", "on")
		run()
		t.Logf("%s lro on: %.0f Mb/s %v", v.name, bps/1e6, r)
		if r["rx_merged"] == 0 {
			t.Errorf("%s, lro on: received %v", v.name, r)
		}
		l.feature(2, "lro", "off", "rx", "off")
		l.feature(1, "tx", "off")
		s = run()
		t.Logf("%s all off: %.0f Mb/s %v %v", v.name, bps/1e6, s, r)
		if s["tx_checksums"] != 0 || r["rx_checksum_good"] != 0 || r["rx_merged"] != 0 {
			t.Errorf("%s, all off: sent %v, received %v", v.name, s, r)
		}
		l.feature(2, "gro", "on", "rx", "on")
		l.feature(1, "tx", "on", "tso", "on")
	}
	for i := 1; i <= 2; i++ {
		for _, n := range []string{"tx_errors", "tx_offload", "rx_ip"} {
			if v := l.stat(i, "ib0", n); v != 0 {
				t.Errorf("host %d: %s is %d", i, n, v)
			}
		}
	}
}

var pingTimes = regexp.MustCompile(`= ([0-9.]+)/([0-9.]+)/`)

// pingTime returns the shortest and the mean round trip of packets that come
// one at a time.
func (l *lab) pingTime(i int, to string) (least, mean time.Duration) {
	l.t.Helper()
	out := l.on(i, "ping", "-q", "-c", "10", "-i", "0.1", "-W", "20", to)
	m := pingTimes.FindStringSubmatch(out)
	if m == nil {
		l.t.Fatalf("no times in %s", out)
	}
	ms := func(s string) time.Duration {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			l.t.Fatal(err)
		}
		return time.Duration(v * float64(time.Millisecond))
	}
	return ms(m[1]), ms(m[2])
}

// Moderation at the receiver of requests delays each by the time set, and a
// flood of datagrams wakes it less often. The times are long, so that those of
// a busy machine do not matter: what they are for short ones shows make bench.
func TestModeration(t *testing.T) {
	l := newLab(t).up(2)
	const hold = 20 * time.Millisecond
	// flood sends a second long, fewer packets per hold than the queue takes.
	flood := func() (events, packets uint64, took time.Duration) {
		start := time.Now()
		g := l.grown(2, func() {
			srv := l.background(2, "iperf3", "-s", "-1", "-B", "10.77.0.2")
			l.eventually("iperf3 listens", func() bool {
				return l.tryOn(2, "sh", "-c", "ss -ltn | grep -q :5201") == nil
			})
			l.on(1, "iperf3", "-c", "10.77.0.2", "-u", "-b", "5M", "-l", "64", "-t", "1")
			_ = srv.Wait()
		}, "rx_events", "rx_packets")
		return g["rx_events"], g["rx_packets"], time.Since(start)
	}
	usecs := func(d time.Duration) string { return strconv.FormatInt(d.Microseconds(), 10) }
	l.ping(1, "10.77.0.2")
	before, _ := l.pingTime(1, "10.77.0.2")
	events, packets, _ := flood()
	l.on(2, "ipoib-ethtool", "-C", "ib0", "rx-usecs", usecs(hold))
	_, after := l.pingTime(1, "10.77.0.2")
	fewer, same, took := flood()
	t.Logf("ping %v, with rx-usecs %v %v; %d events for %d packets, then %d for %d in %v", before, hold, after, events, packets, fewer, same, took)
	// A packet that comes while another is held waits for less.
	if before >= hold/2 || after < hold/2 {
		t.Errorf("a round trip takes %v, with rx-usecs %v %v", before, hold, after)
	}
	if most := uint64(took/hold) + 2; fewer > most || same < 3*fewer {
		t.Errorf("%d events for %d packets in %v", fewer, same, took)
	}
	// rx-frames ends the wait: with one packet at a time nothing is held.
	l.on(2, "ipoib-ethtool", "-C", "ib0", "rx-usecs", usecs(2*hold), "rx-frames", "1")
	if d, _ := l.pingTime(1, "10.77.0.2"); d >= hold {
		t.Errorf("with rx-frames 1 a round trip takes %v", d)
	}
	for _, p := range []string{"tx-usecs", "tx-frames", "adaptive-rx"} {
		v := "8"
		if p == "adaptive-rx" {
			v = "on"
		}
		out, err := l.command("ipoib", in(2, "ipoib-ethtool", "-C", "ib0", p, v)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "netlink error: cannot modify an unsupported parameter") {
			t.Errorf("%s: %v %s", p, err, out)
		}
	}
}
