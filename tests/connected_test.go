//go:build integration

package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// mode switches ib0 of a host.
func (l *lab) mode(i int, mode string) {
	l.t.Helper()
	l.on(i, "ipoib", "link", "set", "ib0", "type", "ipoib", "mode", mode)
}

// mtu returns the MTU that the kernel has of a host's ib0.
func (l *lab) mtu(i int) string {
	l.t.Helper()
	return strings.TrimSpace(l.on(i, "cat", "/sys/class/net/ib0/mtu"))
}

type neighbour struct {
	IP         string `json:"dst"`
	Transport  string
	Connection string
	MTU        int
	QPN        int
	LocalQPN   int `json:"local_qpn"`
}

// neigh returns a neighbour of a host, by its address.
func (l *lab) neigh(i int, ip string) neighbour {
	l.t.Helper()
	var list []neighbour
	if err := json.Unmarshal([]byte(l.on(i, "ipoib", "neigh", "-j")), &list); err != nil {
		l.t.Fatal(err)
	}
	for _, n := range list {
		if n.IP == ip {
			return n
		}
	}
	l.t.Fatalf("host %d has no neighbour %s", i, ip)
	return neighbour{}
}

// Two hosts in connected mode: MTU 65520, RC both ways, and all that ethtool
// and the counters say.
func TestConnectedMode(t *testing.T) {
	l := newLab(t).up(2)
	for i := 1; i <= 2; i++ {
		l.mode(i, "connected")
		if got := l.mtu(i); got != "65520" {
			t.Errorf("host %d: MTU %s", i, got)
		}
		if out := l.on(i, "ipoib", "link", "show", "ib0"); !strings.Contains(out, "mtu 65520") {
			t.Errorf("%s", out)
		}
	}
	l.ping(1, "10.77.0.2")
	l.ping(1, "fd77::2")
	l.ping(1, "10.77.0.2", "-s", "65492", "-M", "do") // 65520 bytes
	l.ping(2, "fd77::1", "-s", "65472", "-M", "do")
	l.ping(1, "10.77.0.2", "-s", "65500") // 65528, two fragments
	if out := l.fails("ipoib", in(1, "ping", "-c", "1", "-W", "1", "-s", "65493", "-M", "do", "10.77.0.2")...); !strings.Contains(out, "mtu=65520") {
		t.Errorf("%s", out)
	}
	a, b := l.neigh(1, "10.77.0.2"), l.neigh(2, "10.77.0.1")
	if a.Transport != "rc" || a.Connection != "connected" || a.MTU != 65520 || b.Transport != "rc" || a.QPN != b.LocalQPN || a.LocalQPN != b.QPN {
		t.Errorf("%+v, %+v", a, b)
	}
	features := l.on(1, "ipoib-ethtool", "-k", "ib0")
	for _, want := range []string{"tx-checksum-ipv4: off [requested on]", "tx-tcp-segmentation: off [requested on]", "scatter-gather: on", "large-receive-offload: off [fixed]"} {
		if !strings.Contains(features, want) {
			t.Errorf("features lack %q:\n%s", want, features)
		}
	}
	for _, to := range []string{"10.77.0.2", "fd77::2"} {
		if bps := l.iperf(1, 2, to); bps < trickle {
			t.Errorf("TCP to %s: %.0f Mb/s", to, bps/1e6)
		} else {
			t.Logf("TCP to %s: %.0f Mb/s", to, bps/1e6)
		}
	}
	if bps := l.iperf(1, 2, "10.77.0.2", "-R"); bps < trickle {
		t.Errorf("TCP reversed: %.0f Mb/s", bps/1e6)
	}
	for i := 1; i <= 2; i++ {
		for _, c := range []string{"tx_errors", "rx_errors", "rx_dropped", "tx_rc_retry_exceeded", "tx_rc_error", "tx_no_connection"} {
			if n := l.stat(i, "ib0", c); n != 0 {
				t.Errorf("host %d: %s is %d", i, c, n)
			}
		}
	}
	// A group takes 2044 bytes; the host hears it of IPv6.
	tooBig := func() string { return l.on(1, "sh", "-c", "awk '/Icmp6InPktTooBigs/ {print $2}' /proc/net/snmp6") }
	before := tooBig()
	l.on(1, "sh", "-c", "ping -c 1 -W 1 -s 4000 -M do ff02::1%ib0 || true")
	if after := tooBig(); after == before {
		t.Errorf("packets that were too big: %s, then %s", before, after)
	}
	l.mode(1, "datagram")
	if got := l.mtu(1); got != "2044" {
		t.Errorf("MTU %s in datagram mode", got)
	}
	l.ping(2, "10.77.0.1")
	l.ping(2, "10.77.0.1", "-s", "65000") // connections are taken in either mode
	l.ping(1, "10.77.0.2", "-s", "2016", "-M", "do")
}

// Connections come back by themselves after what ends them: the link down, all
// packets lost until the retries are over, a flush for a new manager or LID.
func TestConnectedHeals(t *testing.T) {
	l := newLab(t).up(2)
	l.mode(1, "connected")
	l.mode(2, "connected")
	whole := func(after string) {
		t.Helper()
		for i, to := range map[int]string{1: "10.77.0.2", 2: "10.77.0.1"} {
			l.eventually("after "+after+" large packets arrive", func() bool {
				return l.tryOn(i, "ping", "-c", "1", "-W", "1", "-s", "65000", "-M", "do", to) == nil
			})
			if n := l.neigh(i, to); n.Transport != "rc" || n.Connection != "connected" {
				t.Errorf("after %s: %+v", after, n)
			}
		}
	}
	whole("the start")
	for range 2 {
		l.run("ipoib", "fabric", "link", port(2), "down")
		l.eventually("no carrier", func() bool { return !l.carrier(2, "ib0") })
		l.run("ipoib", "fabric", "link", port(2), "up")
		l.waitCarrier(2, "ib0")
		whole("the link was down")
	}
	broken := l.stat(1, "ib0", "tx_rc_retry_exceeded")
	l.run("ipoib", "fabric", "link", "--loss", "100", port(2), "set")
	l.noPing(1, "10.77.0.2")
	l.eventually("the connection breaks", func() bool {
		_ = l.tryOn(1, "ping", "-c", "1", "-W", "1", "10.77.0.2")
		return l.stat(1, "ib0", "tx_rc_retry_exceeded") > broken
	})
	l.run("ipoib", "fabric", "link", port(2), "set")
	whole("all was lost")
	l.run("ipoib", "fabric", "sm", "restart")
	whole("the manager restarted")
	l.run("ipoib", "fabric", "sm", "pause")
	l.ping(1, "10.77.0.2", "-s", "65000", "-M", "do")
	l.run("ipoib", "fabric", "sm", "resume")
	l.run("ipoib", "fabric", "sm", "lid", port(2), "0x40")
	whole("the LID changed")
}

// TCP to a host without connected mode works at its first try, although the
// MTU of the route is 65520: the kernel hears what the way takes.
func TestConnectedToDatagram(t *testing.T) {
	l := newLab(t).up(1)
	l.run("ipoib", "lab", "up", "--hosts", "2", "--profile", "datagram")
	if out := l.fails("ipoib", in(2, "ipoib", "link", "set", "ib0", "type", "ipoib", "mode", "connected")...); !strings.Contains(out, "Invalid argument") {
		t.Errorf("%s", out)
	}
	l.mode(1, "connected")
	for to, from := range map[string]string{"10.77.0.2": "10.77.0.1/32", "fd77::2": "fd77::1/128"} {
		// Of itself host 2 tells TCP how long its packets may be. It must
		// work without.
		l.on(2, "ip", "route", "add", from, "dev", "ib0", "advmss", "60000")
		l.background(2, "socat", "-u", "TCP-LISTEN:5009,pf=ip"+family(to), "OPEN:/run/received,creat,trunc")
		l.eventually("socat listens", func() bool { return l.tryOn(2, "sh", "-c", "ss -ltn | grep -q :5009") == nil })
		dst := to
		if family(to) == "6" {
			dst = "[" + to + "]"
		}
		long := l.stat(1, "ib0", "tx_too_long")
		l.on(1, "sh", "-c", "head -c 3000000 /dev/zero | timeout 60 socat -u - TCP:"+dst+":5009")
		l.eventually("3 MB arrive", func() bool {
			return strings.TrimSpace(l.on(2, "stat", "-c", "%s", "/run/received")) == "3000000"
		})
		if l.stat(1, "ib0", "tx_too_long") == long {
			t.Errorf("nothing to %s was too long", to)
		}
		if out := l.on(1, "ip", "route", "get", to); !strings.Contains(out, "mtu 2044") {
			t.Errorf("%s", out)
		}
		if bps := l.iperf(1, 2, to); bps < trickle {
			t.Errorf("TCP to %s: %.0f Mb/s", to, bps/1e6)
		}
		if n := l.neigh(1, to); n.Transport != "ud" || n.MTU != 2044 || n.Connection != "" {
			t.Errorf("%+v", n)
		}
		l.ping(1, to, "-s", "30000") // fragments of the path's MTU
	}
}

func family(ip string) string {
	if strings.Contains(ip, ":") {
		return "6"
	}
	return "4"
}

// flipTime is how long modes flip; IPOIB_FLIP_SECONDS makes it longer.
func flipTime() time.Duration {
	if n, err := strconv.Atoi(os.Getenv("IPOIB_FLIP_SECONDS")); err == nil {
		return time.Duration(n) * time.Second
	}
	return 6 * time.Second
}

// Modes flip every second while TCP runs both ways: nothing hangs, and TCP
// flows all the time and at the end.
func TestModeFlips(t *testing.T) {
	l := newLab(t).up(2)
	l.mode(1, "connected")
	l.mode(2, "connected")
	l.ping(1, "10.77.0.2")
	d := flipTime()
	srv := l.background(2, "iperf3", "-s", "-1", "-B", "10.77.0.2")
	l.eventually("iperf3 listens", func() bool { return l.tryOn(2, "sh", "-c", "ss -ltn | grep -q :5201") == nil })
	cmd := l.command("ipoib", in(1, "timeout", strconv.Itoa(int(d.Seconds())+60), "iperf3", "--bidir", "-J", "-i", "1", "-t", strconv.Itoa(int(d.Seconds())+3), "-c", "10.77.0.2")...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	var r struct {
		Error     string
		Intervals []struct {
			Sum, SumBidirReverse struct {
				Bits float64 `json:"bits_per_second"`
			}
		}
		End struct {
			Sent     struct{ Bytes float64 } `json:"sum_received"`
			Received struct{ Bytes float64 } `json:"sum_received_bidir_reverse"`
		}
	}
	go func() {
		err := json.NewDecoder(out).Decode(&r)
		if e := cmd.Wait(); err == nil {
			err = e
		}
		result <- err
	}()
	flips := 0
	for end := time.Now().Add(d); time.Now().Before(end); flips++ {
		l.mode(1+flips%2, []string{"datagram", "connected"}[flips/2%2])
		time.Sleep(time.Second)
	}
	l.mode(1, "connected")
	l.mode(2, "connected")
	select {
	case err := <-result:
		if err != nil || r.Error != "" {
			t.Fatalf("iperf3: %v %s", err, r.Error)
		}
	case <-time.After(d + 2*patience):
		t.Fatal("iperf3 hangs")
	}
	_ = srv.Wait()
	t.Logf("%d flips, %.0f MB there, %.0f MB back", flips, r.End.Sent.Bytes/1e6, r.End.Received.Bytes/1e6)
	if least := trickle / 8 * d.Seconds(); r.End.Sent.Bytes < least || r.End.Received.Bytes < least {
		t.Errorf("TCP starves: %.0f and %.0f bytes", r.End.Sent.Bytes, r.End.Received.Bytes)
	}
	l.ping(1, "10.77.0.2", "-s", "65000")
	l.ping(2, "10.77.0.1", "-s", "65000")
	if bps := l.iperf(1, 2, "10.77.0.2"); bps < trickle {
		t.Errorf("TCP after the flips: %.0f Mb/s", bps/1e6)
	}
}

// The frames of a connection as tshark reads them: CM messages and RC packets,
// none malformed.
func TestConnectedCapture(t *testing.T) {
	l := newLab(t).up(2)
	file := filepath.Join(t.TempDir(), "cm.pcapng")
	l.mode(1, "connected")
	l.mode(2, "connected")
	capture := l.capture(file, port(1))
	l.ping(1, "10.77.0.2")
	l.ping(1, "10.77.0.2", "-s", "10000", "-M", "do")
	l.mode(1, "datagram")
	l.mode(2, "datagram")
	// The last frame is the answer to the end of the connection.
	var text []byte
	l.eventually("the end is captured", func() bool {
		text, _ = exec.Command("tshark", "-r", file).Output()
		return strings.Contains(string(text), "CM: DisconnectReply")
	})
	capture.interrupt()
	for _, want := range []string{"CM: ConnectRequest", "CM: ConnectReply", "CM: ReadyToUse", "CM: DisconnectRequest", "RC Acknowledge", "RC Send"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	bad, err := exec.Command("tshark", "-r", file, "-Y", "_ws.malformed").CombinedOutput()
	if lines := regexp.MustCompile(`(?m)^ *\d+ .*$`).FindAllString(string(bad), -1); err != nil || len(lines) != 0 {
		t.Errorf("malformed: %v %s", err, strings.Join(lines, "\n"))
	}
	// The service ID is of RFC 4755 section 3.5.
	ids, err := exec.Command("tshark", "-r", file, "-Y", "infiniband.cm.req", "-T", "fields", "-e", "infiniband.cm.req.serviceid").Output()
	if n := l.neigh(1, "10.77.0.2"); err != nil || !strings.Contains(string(ids), fmt.Sprintf("0x01%014x", n.QPN)) {
		t.Errorf("service IDs %s, peer %#x: %v", ids, n.QPN, err)
	}
}
