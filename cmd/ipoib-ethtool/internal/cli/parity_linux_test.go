package cli

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// devices makes interfaces with different answers.
func devices(t *testing.T) {
	t.Helper()
	ip(t,
		"link set lo up",
		"link add v0 type veth peer name v1", "link set v0 up", "link set v1 up",
		"link property add dev v0 altname a-name-longer-than-fifteen",
		"tuntap add t0 mode tun", "tuntap add t1 mode tap multi_queue", "link set t0 up",
		"link add ifb0 type ifb", "link add br0 type bridge", "link set v1 master br0",
		"link add link v0 name mv0 type macvlan mode bridge",
	)
}

// compare runs a command line that changes nothing with both programs against
// the kernel, again when the kernel may have changed something in between, as
// the state of a link that came up.
func compare(t *testing.T, line string, edit ...func(string) string) {
	t.Helper()
	args := split(line)
	for try := range 5 {
		time.Sleep(time.Duration(try) * 300 * time.Millisecond)
		want := runEthtool(t, args...)
		got := runWith(kernel{}, args...)
		got.All = ""
		for _, fn := range edit {
			want.Stdout, got.Stdout = fn(want.Stdout), fn(got.Stdout)
		}
		d := cmp.Diff(want, got)
		if d == "" {
			return
		}
		if try == 4 {
			t.Errorf("ethtool %s (-ethtool +ours):\n%s", line, d)
		}
	}
}

// split cuts a command line into words; ” is an empty one.
func split(line string) []string {
	args := strings.Fields(line)
	for i, a := range args {
		if a == "''" {
			args[i] = ""
		}
	}
	return args
}

// TestParityShow compares what is shown of all kinds of interfaces that this
// kernel has.
func TestParityShow(t *testing.T) {
	requireEthtool(t)
	enterNetNS(t)
	devices(t)
	devs := []string{"v0", "t0", "t1", "ifb0", "br0", "mv0", "lo", "*", "nosuch", "a-name-longer-than-fifteen"}
	some := []string{"v0", "t0", "*", "nosuch"}
	show := func(flags string, opts, devs []string) {
		for _, opt := range opts {
			for _, dev := range devs {
				compare(t, strings.Join([]string{flags, opt, dev}, " "))
			}
		}
	}
	opts := []string{"", "-a", "-c", "-g", "-k", "-i", "-l", "-m", "-n", "-x", "-P", "-T", "-S", "-d", "-e", "-w", "-t"}
	show("", opts, devs)
	for _, flags := range []string{"--json", "-I", "--include-statistics --json"} {
		show(flags, opts, some)
	}
	show("", []string{
		"--show-priv-flags", "--show-eee", "--show-fec", "--show-tunnels", "--show-module", "--phy-statistics",
	}, devs)
	// Other names of what is above.
	show("", []string{
		"--show-pause", "--show-coalesce", "--show-ring", "--show-features", "--show-offload", "--driver",
		"--show-channels", "--show-permaddr", "--show-time-stamping", "--statistics", "-u", "--show-nfc",
		"--show-ntuple", "--show-rxfh", "--show-rxfh-indir", "--dump-module-eeprom", "--module-info",
	}, some[:2])
	for _, line := range []string{
		"--json --show-fec v0", "--json --show-module v0", "--json -I --show-fec v0", "-I --show-fec v0",
		"-S v0 --all-groups", "-S v0 --groups rmon", "-S v0 --groups eth-phy eth-mac", "-S v0 --groups nosuch",
		"-S v0 --groups 0x3", "-S v0 --groups 0x3/0x3", "-S v0 --groups ''", "-S v0 --all-groups --groups rmon",
		"--json -S v0 --all-groups", "-S * --all-groups", "-S nosuch --all-groups", "-S v0 nosuch", "-S v0 --groups",
		"-m v0 hex on", "-m v0 raw on", "-m v0 hex on raw on", "-m v0 page 1", "-m v0 offset 5 length 3", "-m v0 i2c 0x51",
		"-m v0 i2c 0x81", "-m v0 hex on i2c 0x50", "-m v0 bogus", "-m v0 hex maybe", "-m v0 length", "-m * hex on", "-m *",
	} {
		compare(t, line)
	}
}

// compareChange runs a command line with both programs, each on an interface
// of its own: X, in the same state. It returns what ethtool did.
func compareChange(t *testing.T, theirs, ours, line string) outcome {
	t.Helper()
	args := func(dev string) []string {
		a := split(line)
		for i := range a {
			if a[i] == "X" {
				a[i] = dev
			}
		}
		return a
	}
	want := runEthtool(t, args(theirs)...)
	got := runWith(kernel{}, args(ours)...)
	got = outcome{strings.ReplaceAll(got.Stdout, ours, theirs), strings.ReplaceAll(got.Stderr, ours, theirs), "", got.Code}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("ethtool %s (-ethtool +ours):\n%s", line, d)
	}
	return want
}

// TestParityChange compares what changes settings, and all kinds of mistakes.
func TestParityChange(t *testing.T) {
	requireEthtool(t)
	enterNetNS(t)
	for _, d := range []string{"theirs", "oursxx"} {
		ip(t, "link add "+d+" numtxqueues 2 numrxqueues 2 type veth peer name "+d+"9", "link set "+d+" up", "link set "+d+"9 up",
			"tuntap add "+d+"t mode tap", "link set "+d+"t up")
	}
	for line := range strings.Lines(changes) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		o := compareChange(t, "theirs", "oursxx", line)
		if !strings.Contains(line, "X") || strings.HasPrefix(o.Stderr, "ethtool: bad command line") {
			continue // the same for any interface
		}
		compareChange(t, "theirst", "oursxxt", line)
	}
}

// portID is the line of a dump with a port id, which the kernel chooses.
var portID = regexp.MustCompile(`\|  \d{10}  \|\t\|     port ID    \|`)

// stale are command lines for which ethtool sends what was in its buffer
// before as padding; ours is zero. They are not compared by their bytes.
var stale = map[string]bool{
	"-m v0": true, "-K v0 bogus on": true, "-I -a v0": true, "-S v0 --groups rmon nosuch": true,
	"-m v0 offset 1 length 2": true,
}

// TestParityDebug compares what --debug shows of the messages.
func TestParityDebug(t *testing.T) {
	requireEthtool(t)
	enterNetNS(t)
	devices(t)
	for _, mask := range []string{"1", "2", "4", "8", "16", "0x12", "0x1e", "0xffffffff", "010"} {
		for _, line := range []string{
			"v0", "t0", "-a v0", "-c t0", "-g v0", "-k v0", "-k t1", "-l v0", "-m v0", "-P v0", "-P *", "-T v0",
			"--show-eee v0", "--show-fec t1", "--show-module v0", "--show-tunnels v0", "--show-priv-flags v0",
			"-c nosuch", "nosuch", "-k *", "*", "-K v0 bogus on", "-K v0 lro on", "-C t0 rx-usecs 3", "-C v0 rx-usecs 3",
			"-s t0 speed 10", "-s v0 msglvl bogus on", "-s v0 wol +g", "-s t0 autoneg on", "-G v0 rx-mini 5", "-I -a v0",
			"-S v0 --all-groups", "-S v0 --groups rmon nosuch", "-s v0 advertise 100baseT/Full on", "--cable-test v0",
			"-i v0", "-m v0 offset 1 length 2", "-s t0 master-slave forced-master sopass 1:2:3:4:5:6 wol g", "-L nosuch rx 1",
		} {
			if stale[line] && mask != "2" && mask != "0x12" {
				continue
			}
			compare(t, "--debug "+mask+" "+line, func(s string) string { return portID.ReplaceAllString(s, "(port)") })
		}
	}
}
