package cli

import (
	"regexp"
	"strings"
	"testing"

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

// compare runs a command line with both programs against the kernel.
func compare(t *testing.T, line string) {
	t.Helper()
	args := split(line)
	want := runEthtool(t, args...)
	got := runWith(kernel{}, args...)
	got.All = ""
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("ethtool %s (-ethtool +ours):\n%s", line, d)
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
	for _, opt := range []string{
		"", "-a", "-c", "-g", "-k", "-i", "-l", "-m", "-n", "-x", "-P", "-T", "-S", "-d", "-e", "-w", "-t",
		"--show-priv-flags", "--show-eee", "--show-fec", "--show-tunnels", "--show-module", "--phy-statistics",
		"--show-pause", "--show-coalesce", "--show-ring", "--show-features", "--show-offload", "--driver",
		"--show-channels", "--show-permaddr", "--show-time-stamping", "--statistics", "-u", "--show-nfc",
		"--show-ntuple", "--show-rxfh", "--show-rxfh-indir", "--dump-module-eeprom", "--module-info",
	} {
		for _, flags := range []string{"", "--json", "-I", "--include-statistics --json"} {
			if flags != "" && len(opt) > 2 {
				continue
			}
			for _, dev := range devs {
				compare(t, strings.Join([]string{flags, opt, dev}, " "))
			}
		}
	}
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
// of its own: X, in the same state.
func compareChange(t *testing.T, theirs, ours, line string) {
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
}

// changes are command lines that change something, or fail to.
const changes = `
-K X tso off
-k X
-K X tso on
-K X tx off
-K X tx on sg on tso on
-K X tx-checksum-ip-generic off
-K X lro on
-K X gro on
-K X gro off
-K X gso off gro on
-K X rx off tx off
-K X rx on tx on
-K X rxvlan off txvlan off
-K X ntuple on
-K X rxhash on
-K X ufo on
-K X bogus on
-K X bogus on tso off
-K X tso maybe
-K X tso
-K X
-K X --
-K X tso on --
-K X tso on -- gro on
-K X on off
-K X '' on
-K X highdma off
-K X netns-local on
-K X tx-scatter-gather* off
-K
-K * tso off
-K nosuch tso off
--offload X tso on
--features X tso off
-C X rx-usecs 3
-C X rx-frames 3
-c X
-C X rx-frames 65536
-C X rx-frames -1
-C X rx-frames
-C X rx-frames abc
-C X rx-frames 0x10
-C X rx-frames 0x
-C X rx-frames 010
-C X rx-frames 1x
-C X rx-frames ''
-C X rx-frames 4294967295
-C X rx-frames 4294967296
-C X rx-frames 18446744073709551616
-C X rx-frames 3 rx-frames 3
-C X tx-usecs 3 adaptive-rx on
-C X adaptive-rx maybe
-C X adaptive-rx 1
-C X cqe-mode-rx on
-C X bogus 1
-C X bogus
-C X -c
-C X
-C
-C * rx-usecs 3
-C nosuch rx-usecs 3
--coalesce X sample-interval 3 pkt-rate-low 4 stats-block-usecs 8
-G X rx 99
-G X rx-mini 3 tx 5
-G X tx-push on
-G X rx-buf-len 8 cqe-size 9
-G X rx
-G X bogus 3
-G X
-G nosuch rx 3
-L X combined 1
-L X combined 99
-L X rx 1 tx 1
-L X rx 2
-L X rx 0
-L X
-L X other 1
-L X rx one
-L nosuch rx 1
-A X autoneg on
-A X rx on tx off
-A X rx maybe
-A X
-s X speed 1000
-s X speed 1000 duplex half autoneg off
-s X
-s X autoneg on
-s X autoneg maybe
-s X advertise 0x1
-s X advertise 1/3
-s X advertise 0x1/0x3
-s X advertise ff/0x1ff
-s X advertise 1/
-s X advertise /1
-s X advertise /
-s X advertise 0x
-s X advertise zzz on
-s X advertise 100baseT/Full on
-s X advertise 100baseT/Full on 10baseT/Half off -- speed 10
-s X advertise 100baseT/Full
-s X advertise 100baseT/Full maybe
-s X advertise 123456789abcdef0123456789
-s X advertise 1/2/3
-s X port tp
-s X port nosuch
-s X mdix auto phyad 3
-s X phyad 256
-s X phyad 0x1f
-s X xcvr internal
-s X xcvr
-s X wol g
-s X wol d
-s X wol pumbagsf
-s X wol +g-m
-s X wol -g
-s X wol gx
-s X wol +x
-s X wol 0x3
-s X wol 3/7
-s X wol g+
-s X wol +d
-s X wol d+g
-s X wol gd
-s X wol ''
-s X sopass 1:2:3:4:5:6
-s X sopass 01:02:03:04:05
-s X sopass 01:02:03:04:05:06:07
-s X sopass 001:02:03:04:05:06
-s X sopass zz
-s X sopass 01-02-03-04-05-06
-s X msglvl 3
-s X msglvl 0x7fff/0xffff
-s X msglvl drv on
-s X msglvl drv on probe off
-s X msglvl drv on probe off -- speed 10
-s X msglvl bogus on
-s X msglvl drv
-s X msglvl drv up
-s X msglvl 5 wol g speed 3 port tp
-s X master-slave forced-master
-s X master-slave nosuch
-s X lanes 4
-s X bogus 1
-s X speed
-s X speed 10 speed 10
-s X speed -10
-s * speed 10
-s * bogus
-s nosuch speed 10
--change nosuch autoneg on
--set-eee X eee on
--set-eee X eee on advertise 0x8 tx-lpi on tx-timer 5
--set-eee X advertise 100baseT/Full on
--set-eee X
--set-eee X tx-timer
--set-eee nosuch eee off
--set-fec X encoding off
--set-fec X encoding auto rs BaseR
--set-fec X encoding rs --
--set-fec X encoding
--set-fec X encoding bogus
--set-fec X
--set-fec X rs
--set-module X power-mode-policy high
--set-module X power-mode-policy low
--set-module X
--set-module nosuch power-mode-policy auto
--set-priv-flags X foo on
--set-priv-flags X foo
--set-priv-flags X 0x1/0x3
--set-priv-flags X 3
--set-priv-flags nosuch foo on
--cable-test X
--cable-test nosuch
--cable-test X more
--json --cable-test X
--cable-test-tdr X
--cable-test-tdr X first 1 last 2.5 step 0.5 pair 1
--cable-test-tdr X first 151
--cable-test-tdr X first
--cable-test-tdr X first x
--cable-test-tdr X pair 256
--cable-test-tdr X bogus
--cable-test-tdr nosuch
-r X
-r X more
-p X
-p X 1
-p X 99999999999
-p X -5
-p X x
-p X 1 2
-p nosuch
-t X online
-t X offline
-t X external_lb
-t X nosuch
-t nosuch
-E X magic 1 offset 0 value 1
-E X
-E X offset 1
-E X value 1 length 2
-E X value 256
-E X value 1 length 1
-E X length 0
-E X magic
-E X magic 4294967296
-E X bogus 1
-E nosuch
-e X raw on offset 3 length 5
-e X raw maybe
-e X offset
-e nosuch
-d X raw on
-d X hex off file nosuch
-d X file
-d nosuch
-f X
-f X nosuch.bin
-f X nosuch.bin 1
-f X nosuch.bin -1
-f X a b c
-f nosuch nosuch.bin
-w X data
-w X data x
-w X bogus
-w nosuch
-W X
-W X 1
-W X x
-W X 4294967296
-W nosuch 1
--get-tunable X
--get-tunable X rx-copybreak
--get-tunable X bogus
--get-tunable X rx-copybreak bogus
--set-tunable X
--set-tunable X rx-copybreak 5
--set-tunable X rx-copybreak
--set-tunable X tx-buf-size 5 pfc-prevention-tout 65536
--set-tunable X pfc-prevention-tout 6 rx-copybreak 5
--set-tunable X bogus 1
--set-tunable nosuch rx-copybreak 5
--get-phy-tunable X
--get-phy-tunable X downshift
--get-phy-tunable X fast-link-down
--get-phy-tunable X energy-detect-power-down
--get-phy-tunable X downshift more
--get-phy-tunable X bogus
--get-phy-tunable nosuch downshift
--set-phy-tunable X
--set-phy-tunable X downshift
--set-phy-tunable X downshift on
--set-phy-tunable X downshift off
--set-phy-tunable X downshift maybe
--set-phy-tunable X downshift on count 3
--set-phy-tunable X downshift on count 0
--set-phy-tunable X downshift off count 3
--set-phy-tunable X downshift on count 256
--set-phy-tunable X downshift on bogus 3
--set-phy-tunable X fast-link-down on
--set-phy-tunable X fast-link-down off
--set-phy-tunable X fast-link-down on msecs 3
--set-phy-tunable X fast-link-down on msecs 255
--set-phy-tunable X fast-link-down on msecs 256
--set-phy-tunable X energy-detect-power-down on
--set-phy-tunable X energy-detect-power-down off
--set-phy-tunable X energy-detect-power-down on msecs 5
--set-phy-tunable X energy-detect-power-down on msecs 0
--set-phy-tunable X energy-detect-power-down on msecs 65534
--set-phy-tunable X energy-detect-power-down on msecs 65535
--set-phy-tunable X energy-detect-power-down on msecs 65536
--set-phy-tunable X bogus on
--reset X
--reset X all
--reset X flags 3
--reset X flags
--reset X flags 0
--reset X mgmt irq-shared dedicated
--reset X ap-shared
--reset X bogus
--reset X mgmt-bogus
--reset nosuch all
-Q X
-Q X queue_mask 0x1 --show-coalesce
-Q X queue_mask 1 --coalesce rx-usecs 4
-Q X queue_mask 1
-Q X queue_mask zz -c
-Q X queue_mask 1 -k
-Q X queue_mask 1 bogus
-Q nosuch -c
-n X rule 1
-n X rule x
-n X rule 2147483648
-n X rule
-n X rx-flow-hash tcp4
-n X rx-flow-hash bogus
-n X rx-flow-hash
-n X rx-flow-hash tcp4 context 1
-n X rx-flow-hash tcp4 context x
-n X rx-flow-hash tcp4 bogus 1
-n X bogus
-n nosuch
-N X
-N X rx-flow-hash
-N X rx-flow-hash tcp4 sdfn
-N X rx-flow-hash tcp4 sdfnx
-N X rx-flow-hash tcp4 sdfn context 5
-N X rx-flow-hash tcp4 sdfn bogus 5
-N X rx-flow-hash bogus sdfn
-N X delete
-N X delete 3
-N X delete x
-N X bogus 3
-N X flow-type
-N X flow-type tcp4
-N X flow-type bogus
-N X flow-type tcp4 dst-port 80 action 1
-N X flow-type tcp4 dst-port 80 action 1 loc 5
-N X flow-type tcp4 dst-port 80 m 0xff src-port 1 src-port-mask 3
-N X flow-type tcp4 dst-port 65536
-N X flow-type tcp4 dst-port 80 m
-N X flow-type tcp4 dst-port 80 m 65536
-N X flow-type tcp4 dst-port 80 dst-port 81
-N X flow-type tcp4 dst-port
-N X flow-type tcp4 action 1 m 2
-N X flow-type tcp4 action 1 queue 2
-N X flow-type tcp4 action 1 vf 2
-N X flow-type tcp4 vf 1 queue 2
-N X flow-type tcp4 vf 256
-N X flow-type tcp4 tclass 3
-N X flow-type tcp4 bogus
-N X flow-type tcp4 bogus 3
-N X flow-type tcp4 src-ip 1.2.3.4 m 255.0.0.0 dst-ip 1.2.3.4
-N X flow-type tcp4 src-ip 1.2.3
-N X flow-type tcp4 src-ip 01.2.3.4
-N X flow-type tcp4 src-ip ::1
-N X flow-type tcp4 dst-mac 1:2:3:4:5:6
-N X flow-type tcp4 dst-mac 1:2:3:4:5
-N X flow-type tcp4 dst-mac 010203040506
-N X flow-type tcp4 dst-mac 001:2:3:4:5:6
-N X flow-type tcp4 dst-mac 1:2:3:4:5:6:7
-N X flow-type tcp4 context 3 action 1
-N X flow-type tcp4 context
-N X flow-type tcp4 context x
-N X flow-type tcp4 context 0xffffffff
-N X flow-type tcp4 vlan 0x1000 vlan-etype 0x8100 user-def 0x1
-N X flow-type tcp4 vlan -1
-N X flow-type udp6 src-ip fe80::1 m ffff:: tclass 3 dst-port 4
-N X flow-type udp6 src-ip 1.2.3.4
-N X flow-type udp6 src-ip fe80::1%lo
-N X flow-type udp6 tos 3
-N X flow-type esp4 spi 5
-N X flow-type esp4 src-port 5
-N X flow-type ah6 spi 0x100000000
-N X flow-type ip4 l4proto 6 src-port 3
-N X flow-type ip4 l4data 6 spi 3
-N X flow-type ip4 src-port 6 spi 3
-N X flow-type ip6 l4proto 256
-N X flow-type ether src 1:2:3:4:5:6 dst 1:2:3:4:5:6 m ff:ff:ff:00:00:00 proto 0x800
-N X flow-type ether dst-mac 1:2:3:4:5:6
-N X flow-type ether proto 0x10000
-N X flow-type sctp4 dst-port 80 action 18446744073709551615
-N X flow-type sctp4 dst-port 80 action 18446744073709551616
-N nosuch flow-type tcp4 dst-port 80
-U X flow-type tcp4 dst-port 80
--config-ntuple X delete 1
-x X context 1
-x X context 0
-x X context new
-x X bogus
-x nosuch
-X X
-X X equal 2
-X X equal 0
-X X equal x
-X X weight 1 2 3
-X X weight
-X X weight x
-X X default
-X X hkey 01:02
-X X hkey
-X X hfunc toeplitz
-X X hfunc
-X X context new
-X X context 1
-X X context x
-X X delete
-X X context 1 delete
-X X equal 2 weight 1
-X X equal 2 default
-X X weight 1 default
-X X start 1 default
-X X start 1
-X X start 0
-X X start 1 equal 2
-X X default context 1
-X X context 1 delete weight 1
-X X context 1 delete equal 1
-X X context 1 delete default
-X X context 1 delete hkey 1:2
-X X bogus
-X nosuch equal 2
-i X more
-S X more
--phy-statistics X more
--phy-statistics nosuch
-a X more
-c X more
-g X more
-k X more
-l X more
-T X more
-P X more
--show-eee X more
--show-fec X more
--show-priv-flags X more
--show-tunnels X more
--show-module X more
X more
-a
-i
''
-a ''
-c ''
-k ''
-P ''
-i ''
bogus
--bogus
-z X
-
-- X
--json
--json X
--json -c X
--json -i X
--json -g X
--json -h
--json -S X
--json -I -a X
--json --json -k X
--debug
--debug x
--debug x X
--debug '' X
--debug -1
--debug 0x X
--debug 0 -i X
-I
-I -I -a X
--include-statistics
--monitor --bogus
--monitor --bogus X
--monitor -i
-a aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
-a aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
-i aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
-i aaaaaaaaaaaaaaaa
-P aaaaaaaaaaaaaaaa
-P aaaaaaaaaaaaaaa
-i *
-S *
-r *
--set-module * power-mode-policy high
--cable-test *
`

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
		compareChange(t, "theirs", "oursxx", line)
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
			args := append([]string{"--debug", mask}, split(line)...)
			want, got := runEthtool(t, args...), runWith(kernel{}, args...)
			for _, o := range []*outcome{&want, &got} {
				o.Stdout, o.All = portID.ReplaceAllString(o.Stdout, "(port)"), ""
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("ethtool %s (-ethtool +ours):\n%s", strings.Join(args, " "), d)
			}
		}
	}
}
