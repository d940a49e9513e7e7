//go:build integration

package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// No traffic crosses partitions.
func TestPartitionIsolation(t *testing.T) {
	l := newLab(t).up(3)
	l.child(1, "0x8001", "10.80.0.1/24", "fd80::1/64")
	l.child(2, "0x8001", "10.80.0.2/24", "fd80::2/64")
	l.child(3, "0x8002", "10.80.0.3/24", "fd80::3/64")
	for i, dev := range map[int]string{1: "ib0.8001", 2: "ib0.8001", 3: "ib0.8002"} {
		l.waitCarrier(i, dev)
	}
	l.ping(1, "10.80.0.2")
	before := l.stat(3, "ib0.8002", "rx_packets")
	l.noPing(1, "10.80.0.3")
	l.noPing(3, "10.80.0.1")
	l.noPing(3, "fd80::1")
	l.noPing(1, "ff02::1%ib0.8001", "-I", "ib0.8002") // no such interface there
	if after := l.stat(3, "ib0.8002", "rx_packets"); after != before {
		t.Errorf("%d packets crossed to partition 0x8002", after-before)
	}
}

// With a partition file the file decides; limited members reach full members
// only (4392-§1.2-5).
func TestPartitionFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "partitions.conf")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const guid = "0x0269620000000%d01"
	write("Default=0x7fff, ipoib, mtu=5, rate=7, Q_Key=0x80000b1b : ALL=full;\n" +
		"Blue=0x0001, ipoib : " + fmt.Sprintf(guid, 1) + "=full, " + fmt.Sprintf(guid, 2) + "=limited, " + fmt.Sprintf(guid, 3) + "=limited;\n")
	l := newLab(t, "--partitions", file)
	for i := 1; i <= 3; i++ {
		l.run("ip", "netns", "add", fmt.Sprintf("ibhost%d", i))
		l.run("ip", "-n", fmt.Sprintf("ibhost%d", i), "link", "set", "lo", "up")
	}
	t.Cleanup(func() {
		for i := 1; i <= 3; i++ {
			_ = l.try("ip", "netns", "del", fmt.Sprintf("ibhost%d", i))
		}
	})
	// Restart with adapters of known GUIDs in those namespaces.
	l.kill()
	args := []string{"--run-dir", l.runDir, "serve", "--partitions", file}
	for i := 1; i <= 3; i++ {
		args = append(args, "--hca", fmt.Sprintf("soft%d,guid=0x0269620000000%d00,netns=ibhost%d,ifname=ib0", i, i, i))
	}
	l.args = args
	l.start()
	for i := 1; i <= 3; i++ {
		l.on(i, "ip", "link", "set", "ib0", "up")
		l.waitCarrier(i, "ib0")
		l.on(i, "ip", "addr", "add", fmt.Sprintf("10.77.0.%d/24", i), "dev", "ib0")
		l.child(i, "0x8001", fmt.Sprintf("10.80.0.%d/24", i))
		l.waitCarrier(i, "ib0.8001")
	}
	// mtu=5 of the file is 4092 at the interface.
	if mtu := strings.TrimSpace(l.on(1, "cat", "/sys/class/net/ib0/mtu")); mtu != "4092" {
		t.Errorf("mtu %s", mtu)
	}
	l.ping(1, "10.77.0.2", "-s", "4064", "-M", "do")
	l.ping(1, "10.80.0.2") // full to limited
	l.ping(3, "10.80.0.1") // limited to full
	l.noPing(2, "10.80.0.3")
	// A partition that the port is not in: up without carrier.
	l.on(1, "ipoib", "link", "add", "ib0.8005", "pkey", "0x8005")
	l.on(1, "ip", "link", "set", "ib0.8005", "up")
	l.eventually("the missing P_Key is logged", func() bool {
		text, _ := os.ReadFile(l.log.Name())
		return strings.Contains(string(text), "ib0.8005: P_Key 0x8005 is not found")
	})
	if l.carrier(1, "ib0.8005") {
		t.Error("carrier in a partition that the port is not in")
	}
}

// kill -9 of the service during a ping: it resumes after a restart, with
// addresses, routes and children intact.
func TestKillAndTakeOver(t *testing.T) {
	l := newLab(t).up(2)
	for i := 1; i <= 2; i++ {
		l.child(i, "0x8001", fmt.Sprintf("10.78.0.%d/24", i))
		l.waitCarrier(i, "ib0.8001")
	}
	l.on(1, "ip", "route", "add", "10.99.0.0/16", "via", "10.77.0.2")
	l.ping(1, "10.77.0.2")
	l.ping(1, "10.78.0.2")
	peers := func() string {
		return l.on(1, "sh", "-c", "ipoib neigh | grep -E '^10[.]7[78][.]0[.]2 ' | grep -oE '^[0-9.]+|00:[0-9a-f:]+' | sort")
	}
	addrBefore := l.on(1, "sh", "-c", "ip -br addr show dev ib0; ip route show dev ib0")
	neighBefore := peers()
	ping := l.background(1, "ping", "-i", "0.1", "10.77.0.2")
	ping.prints("icmp_seq=5 ")
	l.kill()
	if out := l.fails("ipoib", "neigh"); !strings.Contains(out, "service is not running") {
		t.Errorf("without the service: %s", out)
	}
	answers := strings.Count(ping.text(), " bytes from ")
	l.start()
	for _, dev := range []string{"ib0", "ib0.8001"} {
		l.waitCarrier(1, dev)
		l.waitCarrier(2, dev)
	}
	l.ping(1, "10.77.0.2")
	l.ping(1, "10.78.0.2")
	if after := l.on(1, "sh", "-c", "ip -br addr show dev ib0; ip route show dev ib0"); after != addrBefore {
		t.Errorf("addresses and routes were\n%s\nand are\n%s", addrBefore, after)
	}
	// The queue pair keeps its number, so that peers keep our address.
	if after := peers(); after != neighBefore || !strings.Contains(after, "10.78.0.2") {
		t.Errorf("the peers' addresses were\n%s\nand are\n%s", neighBefore, after)
	}
	l.eventually("the ping goes on", func() bool { return strings.Count(ping.text(), " bytes from ") >= answers+5 })
}

func TestSecondInstance(t *testing.T) {
	l := newLab(t)
	out := l.fails("ipoib", "--run-dir", l.runDir, "serve", "--no-hca")
	if !strings.Contains(out, "another instance of the service is running") {
		t.Errorf("%s", out)
	}
	l.run("ipoib", "fabric", "manager") // the first is unharmed
}

// Without configuration there is an ib0; a clean stop leaves it, --teardown
// does not.
func TestDefaultsStopTeardown(t *testing.T) {
	l := newLab(t, "--hca", "soft0")
	l.run("ip", "link", "set", "ib0", "up")
	l.eventually("ib0 has carrier", func() bool {
		b, err := os.ReadFile("/sys/class/net/ib0/carrier")
		return err == nil && string(b) == "1\n"
	})
	if b, _ := os.ReadFile("/sys/class/net/ib0/speed"); string(b) != "100000\n" {
		t.Errorf("speed %q", b)
	}
	if b, _ := os.ReadFile("/sys/class/net/ib0/type"); string(b) != "32\n" {
		t.Errorf("type %q", b)
	}
	if out := l.run("ethtool", "ib0"); !strings.Contains(out, "Speed: 100000Mb/s") {
		t.Errorf("ethtool:\n%s", out)
	}
	alias := l.run("ip", "link", "show", "dev", "ib0")
	if !regexp.MustCompile(`alias ipoib 80:00:00:48:fe:80:.* brd 00:ff:ff:ff:ff:12:40:1b:ff:ff:00:00:00:00:00:00:ff:ff:ff:ff`).MatchString(alias) {
		t.Errorf("alias:\n%s", alias)
	}
	_ = l.serve.Process.Signal(os.Interrupt)
	if err := l.serve.Wait(); err != nil {
		t.Errorf("clean stop: %v", err)
	}
	if out := l.run("ip", "-br", "link", "show", "dev", "ib0"); !strings.Contains(out, "NO-CARRIER") {
		t.Errorf("after the stop: %s", out)
	}
	l.start()
	l.eventually("ib0 has carrier again", func() bool {
		b, err := os.ReadFile("/sys/class/net/ib0/carrier")
		return err == nil && string(b) == "1\n"
	})
	l.run("ipoib", "serve", "--teardown")
	_ = l.serve.Wait()
	if err := l.try("ip", "link", "show", "dev", "ib0"); err == nil {
		t.Error("ib0 is there after --teardown")
	}
	// And of a service that was killed.
	l.start()
	l.run("ip", "link", "show", "dev", "ib0")
	l.kill()
	l.run("ipoib", "serve", "--teardown")
	if err := l.try("ip", "link", "show", "dev", "ib0"); err == nil {
		t.Error("ib0 is there after --teardown of a killed service")
	}
}

func TestBadConfiguration(t *testing.T) {
	l := newLab(t)
	dir := t.TempDir()
	for name, c := range map[string]struct {
		text  string
		flags []string
		want  string
	}{
		"unknown key":      {text: "foo = 1\n", want: `unknown key "foo"`},
		"syntax":           {text: "run_dir = \n", want: "line 1"},
		"hca name":         {flags: []string{"--hca", "-x"}, want: "cannot be the name"},
		"hca option":       {flags: []string{"--hca", "a,foo=1"}, want: `no option "foo"`},
		"hca mtu":          {flags: []string{"--hca", "a,mtu=1500"}, want: "1500 is not an InfiniBand MTU"},
		"hca speed":        {flags: []string{"--hca", "a,speed=fast"}, want: "not a link speed"},
		"guid":             {flags: []string{"--hca", "a,guid=zz"}, want: "invalid GUID"},
		"parameter":        {flags: []string{"--param", "nonsense=1"}, want: `unknown parameter "nonsense"`},
		"parameter value":  {flags: []string{"--param", "send_queue_size=x"}, want: "is not NAME=NUMBER"},
		"prefix":           {flags: []string{"--subnet-prefix", "10.0.0.0"}, want: "is not a /64 prefix"},
		"log level":        {flags: []string{"--log-level", "loud"}, want: "not a log level"},
		"partitions":       {flags: []string{"--partitions", "/nonexistent"}, want: "no such file"},
		"partition syntax": {text: "", flags: []string{"--partitions", filepath.Join(dir, "p")}, want: "line 2"},
	} {
		t.Run(name, func(t *testing.T) {
			l := l.with(t)
			cfg := filepath.Join(t.TempDir(), "c.toml")
			_ = os.WriteFile(cfg, []byte(c.text), 0o644)
			_ = os.WriteFile(filepath.Join(dir, "p"), []byte("Default=0x7fff : ALL=full;\nBad=0xzz : ALL;\n"), 0o644)
			args := append([]string{"--run-dir", filepath.Join(dir, "run"), "serve", "--config", cfg}, c.flags...)
			if out := l.fails("timeout", append([]string{"60", "ipoib"}, args...)...); !strings.Contains(out, c.want) {
				t.Errorf("%s", out)
			}
		})
	}
}
