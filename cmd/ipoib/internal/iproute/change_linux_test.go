package iproute

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// changes are command lines that change links of the kernel, or are refused.
// Both programs run them, each in a namespace of its own.
var changes = []string{
	// What works.
	"link set v0 mtu 1400", "link set v0 up", "link set dev v0 down", "link change v0 up mtu 1300", "link set v0 down",
	"link set v0 name w0", "link set w0 name v0", "link set v0 txqueuelen 55", "link set v0 qlen 56", "link set v0 txql 57",
	"link set v0 alias x", "link set v0 al hello", "link set v0 address 02:00:00:00:00:77", "link s v0 addr 02:0:0:0:0:78",
	"link set v0 broadcast ff:ff:ff:ff:ff:fe", "link set v0 brd ff:ff:ff:ff:ff:ff",
	"link set v0 promisc on", "link set v0 promisc off", "link set v0 allmulticast on", "link set v0 multicast off",
	"link set v0 arp off", "link set v0 arp on trailers off", "link set v0 dynamic on", "link set v0 dyn off",
	"link set v0 group 5", "link set group 5 up", "link set group 5 down", "link set v0 group default",
	"link set v0 master br0", "link set v0 nomaster", "link set v0 mas br0 up", "link set v0 n",
	"link set v0 mode dormant", "link set v0 mode DEFAULT", "link set v0 state dormant", "link set v0 state up",
	"link set v0 addrgenmode none", "link set v0 addrg eui64", "link set v0 addrgenmode RANDOM",
	"link set v0 gso_max_size 60000 gso_max_segs 100", "link set v0 gro_max_size 0xf000",
	"link property add dev v0 altname alternative", "link property add v0 altname b1 altname b2", "link set alternative mtu 1402",
	"link property del dev v0 altname b2", "link pro del v0 altname nosuchname",
	"link add x0 type ifb", "link add name x1 type bridge", "link add dev x2 mtu 1234 type ifb", "link add x3 index 333 type ifb",
	"link add link v0 name mv9 type macvlan", "link add x4 numtxqueues 3 numrxqueues 2 address 02:00:00:00:00:79 txqueuelen 3 type ifb",
	"link del x0", "link delete dev x1", "link del x2 type ifb", "link d x3", "link del mv9", "link del if99999",
	"-echo link add x9 type ifb index 444", "-echo -j link add x8 index 445 address 02:00:00:00:00:80 type ifb", "link add x5 group 5 type ifb",
	"link del group 5", "link replace x9 type ifb", "link replace x7 type ifb index 446", "link set if446 mtu 1401",
	// What does not.
	"link set v0 mtu abc", "link set v0 mtu 0x", "link set v0 mtu", "link set v0 mtu 70000", "link set v0 mtu -1", "link set v0 mtu 1",
	"link set v0 mtu 4294967295", "link set v0 mtu 1400 mtu 1400", "link set v0 txqueuelen x", "link set v0 txqueuelen 1 qlen 2",
	"link set v0 name", "link set v0 name averyveryverylongname", "link set v0 name a/b", "link set v0 name v1", "link set v0 name br0",
	"link set v0 name a name b", "link set", "link set v0 v1", "link set v0 dev v1", "link set v0 foo", "link set dev",
	"link set nosuch up", "link set nosuch name alsonot", "link set averyveryverylongname up", "link set a/b up",
	"link set v0 address 02:00:00", "link set v0 address zz:00:00:00:00:01", "link set v0 address 100:0:0:0:0:1", "link set v0 address",
	"link set v0 address 1.2.3.4", "link set v0 address 1.2.3.4.5", "link set v0 broadcast 1:2", "link set lo address 02:00:00:00:00:01:02:03",
	"link set v0 promisc maybe", "link set v0 arp 1", "link set v0 multicast", "link set v0 carrier maybe", "link set v0 carrier of",
	"link set v0 protodown x", "link set v0 protodown on", "link set v0 protodown_reason 3 on", "link set v0 protodown_reason x on",
	"link set v0 protodown_reason 3 x", "link set v0 group nosuch", "link set v0 group 1 group 2", "link set group 77 up",
	"link set group 5 up type ifb", "link add group 5 type ifb", "link add group 5", "link set v0 master nosuch", "link set v0 master v1",
	"link set v0 vrf nosuch", "link set v0 vrf v1", "link set v0 vrf if101", "link set v0 mode nosuch", "link set v0 state nosuch", "link set v0 addrgenmode nosuch",
	"link set v0 gso_max_size x", "link set v0 gso_max_segs 65536", "link set v0 gro_max_size -1", "link set v0 gso_max_size 999999999",
	"link set v0 index 7", "link set v0 index x", "link set v0 index 7 index 8", "link set v0 netns nosuchnamespace", "link set v0 netns 99999999",
	"link set v0 netns nosuch netns nosuch", "link set v0 link-netnsid x", "link set v0 type", "link set v0 type nosuch", "link set v0 type nosuch foo bar",
	"link set v0 type ipoib pkey", "link set v0 type ipoib pkey 0x10000", "link set v0 type ipoib pkey -1", "link set v0 type ipoib pkey abc",
	"link set v0 type ipoib mode foo", "link set v0 type ipoib mode", "link set v0 type ipoib umcast x", "link set v0 type ipoib bogus 1",
	"link set v0 type ipoib help", "link set v0 type ipoib pkey 1", "link add x type ipoib", "link add link v0 name x type ipoib pk 0x8001 m datagram u 1",
	"link add link v0 x type ipoib mode CONNECTED", "link add link nosuch name x type ipoib pkey 0x8001",
	"link add", "link add x", "link add x mtu 5", "link add v0 type ifb", "link add name v0 type ifb", "link add name a dev b type ifb",
	"link add averyveryverylongname type ifb", "link add a/b type ifb", "link add name a/b type ifb", "link add x type nosuch", "link add x type nosuch foo",
	"link add x index 1 type ifb", "link add x index 0 type ifb", "link add x mtu -5 type ifb", "link add x numtxqueues 0 type ifb",
	"link add x numtxqueues 5000 type ifb", "link add x numrxqueues x type ifb", "link add x address 02:00 type ifb", "link add x type ipoib help",
	"link del", "link del nosuch", "link del v0 v1", "link del lo", "link del group 99", "link foo", "link -foo", "link property", "link property foo",
	"link property add", "link property add altname z", "link property add v0", "link property add v0 altname", "link property add v0 altname a/b",
	"link property add v0 v1", "link property add nosuch altname z", "link property add v0 altname v1", "link property del nosuch altname z",
	"link show nosuch", "link show dev", "link show v0 v1", "link show dev nosuch", "link show group nosuch", "link show master nosuch", "link show type",
	"link show to 10.0.0.1", "link show vrf nosuch", "link show vrf v1", "-j link show nosuch", "link show averyveryverylongnamethatisnotthere",
	"foo", "-foo link", "--foo link", "-f bogus link", "-family inet link show v0", "-rcvbuf x link", "-n nosuchnamespace link",
	"-batch", "-batch /nonexistent", "-c=sometimes link", "-c=never link show v0", "--details link show v0", "-- link show v0", "-loops 3 link show v0",
	"link help ipoib", "monitor foo", "monitor dev nosuch", "monitor dev", "monitor file", "monitor file /nonexistent", "monitor link foo",
}

// runAll sets a namespace up and runs all lines with run; the state of all
// links is recorded after each line.
func runAll(t *testing.T, run func(args ...string) outcome) (out []outcome, state []string) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		enterNetNS(t)
		for _, f := range []string{"all", "default"} {
			_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+f+"/disable_ipv6", []byte("1"), 0)
		}
		setUp(t,
			"link add v0 address 02:00:00:00:00:01 index 100 type veth peer name v1 address 02:00:00:00:00:02 index 101",
			"link add br0 address 02:00:00:00:00:03 index 102 type bridge",
		)
		for _, l := range changes {
			o := run(strings.Fields(l)...)
			out = append(out, o)
			// As ip has it: TestParityShow.
			state = append(state, mask(runOurs("", "-d", "link").Stdout))
		}
	}()
	<-done
	return out, state
}

// mask hides addresses that the kernel chooses, and times.
func mask(s string) string {
	var out []string
	for line := range strings.Lines(s) {
		if i := strings.Index(line, "link/ether "); i >= 0 && !strings.Contains(line, "ether 02:00:") {
			line = line[:i+11] + "XX" + line[i+28:]
		}
		if i := strings.Index(line, "bridge_id"); i >= 0 {
			line = line[:i] + "\n"
		}
		out = append(out, line)
	}
	return strings.Join(out, "")
}

// ownText reports the lines whose text on stderr is ours: usages.
func ownText(line string) bool { return line == "-batch" || line == "link property" }

// TestParityChange compares what both programs print and do.
func TestParityChange(t *testing.T) {
	requireIP(t)
	requireRoot(t)
	want, wantState := runAll(t, func(args ...string) outcome { return runIP(t, "", args...) })
	got, gotState := runAll(t, func(args ...string) outcome { return runOurs("", args...) })
	if len(want) != len(changes) || len(got) != len(changes) {
		t.Fatalf("%d and %d of %d lines ran", len(want), len(got), len(changes))
	}
	for i, line := range changes {
		w, g := want[i], got[i]
		w.Stdout, g.Stdout = mask(w.Stdout), mask(g.Stdout)
		if ownText(line) {
			w.Stderr, g.Stderr = "", ""
		}
		if d := cmp.Diff(w, g); d != "" {
			t.Errorf("ip %s (-ip +ours):\n%s", line, d)
		}
		if d := cmp.Diff(wantState[i], gotState[i]); d != "" {
			t.Fatalf("links after ip %s (-ip +ours):\n%s", line, d)
		}
	}
}

// TestParityBatch compares batch files.
func TestParityBatch(t *testing.T) {
	requireIP(t)
	enterNetNS(t)
	setUp(t, "link add v0 type veth peer name v1")
	dir := t.TempDir()
	for i, text := range []string{
		"link show v0\nlink show v1\n",
		"# a comment\n\n  link show v0 # more\nlink show \\\n v1\n",
		"link show nosuch\nlink show v0\n",
		"link show v0\nlink set v0 mtu abc\nlink show v1\n",
		"link set nosuch up\nlink set v0 mtu 7\nlink show v0\n",
		"link set 'v0' alias \"two words\"\nlink show v0\n",
		"link show 'v0\n",
		"link show v0 \\\n",
		"foo bar\nlink show v0\n",
		"link add x type nosuch\nlink help ipoib",
		"link show type veth\n-d link show\n",
		"link show v0\n-4 link\n",
		"",
	} {
		file := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		compare(t, "", "-batch", file)
		compare(t, "", "-force", "-b", file)
		compare(t, text, "-d", "-batch", "-")
		compare(t, text, "-j", "-force", "-batch", "-")
	}
}
