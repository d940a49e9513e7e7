//go:build integration

package tests

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// parityCommands are run by the real tools in host 1 and by ours in host 2, in
// this order, with the same effect and the same output. Lines beginning with
// "carrier" wait until an interface has carrier in both.
var parityCommands = strings.Split(strings.TrimSpace(`
ip link show ib0
ip -d link show ib0
ip -j link show ib0
ip -j -p -d -s link show ib0
ip -s -s link show ib0
ip -br link show ib0
ip -o link show ib0
ip link add link ib0 name ib0.8001 type ipoib pkey 0x8001
ip link add link ib0 name ib0.8002 type ipoib pkey 0x8002 mode datagram umcast 1
ip link add link ib0 name ib0.8003 type ipoib pkey 0x9
ip link add link ib0 type ipoib pkey 0x8004
ip link add link ib0 name ib0.8001 type ipoib pkey 0x8005
ip link add link ib0 name dup type ipoib pkey 0x8001
ip link add link ib0 name ib0.0 type ipoib pkey 0x0
ip link add link ib0 name x type ipoib pkey 99999
ip link add link ib0 name x type ipoib mode sideways
ip link add link nosuch name x type ipoib pkey 0x8006
ip link add name ib0x link lo type ipoib pkey 0x8006
ip link add link ib0.8001 name grandchild type ipoib pkey 0x8007
ip link add link ib0 name ib0.7 type vlan id 7
ip -d link show ib0.8002
ip -d -j link show ib0.8001
ip link show type ipoib
ip -d link show type ipoib
ip -br link show type ipoib
ip link set ib0.8001 up
carrier ib0.8001
ip link show ib0.8001
ip link set ib0.8001 mtu 1500
ip link set ib0.8001 mtu 1
ip link set ib0.8001 mtu 70000
ip link show ib0.8001
ip link set ib0.8001 mtu 2044
ip link set ib0.8001 txqueuelen 100
ip link set ib0.8001 alias storage
ip link set dev ib0.8001 name blue
ip link show blue
ip link set dev blue down
ip link set dev blue name ib0.8001
ip link set ib0 type ipoib umcast 1
ip link set ib0 type ipoib mode sideways
ip link set ib0 type ipoib pkey 0x8001
ip -d link show ib0
ip link set ib0 type ipoib umcast 0
ip link set ib0 type ipoib mode connected
ip link set ib0 mtu 65520
ip -d link show ib0
ethtool -k ib0
ip link set ib0 type ipoib mode datagram
ip -d link show ib0
ip link property add dev ib0 altname storage0
ip link show storage0
ip link property del dev ib0 altname storage0
ip link set ib0 address 00:01
ip link set ib0 nosuchword
ip link set nosuch up
ip link show nosuch
ip link del nosuch
ip link del ib0
ip link del ib0.8002
ip link show ib0.8002
ip link help ipoib
ethtool ib0
ethtool ib0.8001
ethtool nosuch
ethtool -i ib0
ethtool -S ib0.8001
ethtool -c ib0
ethtool -C ib0 rx-usecs 16
ethtool -C ib0 rx-usecs 16 rx-frames 32
ethtool -C ib0 tx-usecs 5
ethtool -C ib0 rx-usecs 70000
ethtool -C ib0 nosuch 1
ethtool -c ib0
ethtool -c ib0.8001
ethtool -k ib0
ethtool -k ib0.8001
ethtool --json -k ib0
ethtool -K ib0 lro on
ethtool -K ib0 tso off
ethtool -K ib0 gro off gso off
ethtool -K ib0 rx off tx off
ethtool -k ib0
ethtool -K ib0 rxvlan on
ethtool -K ib0 nosuch on
ethtool -g ib0
ethtool -l ib0
ethtool -a ib0
ethtool -P ib0
ethtool -T ib0
ethtool -s ib0 speed 100
ethtool -s ib0
ethtool --show-priv-flags ib0
ethtool --show-fec ib0
ethtool --show-eee ib0
ethtool -m ib0
ethtool -x ib0
ethtool -n ib0
ethtool -d ib0
ethtool -e ib0
ethtool -t ib0
ethtool -r ib0
ethtool -p ib0 1
ethtool -w ib0
ethtool --phy-statistics ib0
ethtool --get-phy-tunable ib0 downshift
ethtool --get-tunable ib0 rx-copybreak
ethtool --set-tunable ib0 rx-copybreak 1
ethtool --reset ib0 all
ethtool -S ib0 --all-groups
ethtool --json -S ib0 --groups eth-mac
ethtool --show-module ib0
ethtool --show-tunnels ib0
ethtool -i nosuch
ethtool -S nosuch
ethtool -C nosuch rx-usecs 1
ethtool -K nosuch tso on
ip link del ib0.8001
`), "\n")

// otherNames are what differs between two hosts: the port's address and the
// adapter's name.
var otherNames = regexp.MustCompile(`lab\d+|soft\d+|02:69:62(:[0-9a-f]{2}){5}`)

// hostNeutral replaces what differs between two hosts.
func hostNeutral(s string) string { return otherNames.ReplaceAllString(s, "HOST") }

var counts = regexp.MustCompile(`\s+\d+\b`)

// countless replaces counters, which differ between two hosts.
func countless(s string) string { return counts.ReplaceAllString(s, " N") }

// Each command prints the same through the real tools under exec as through
// ours.
func TestExecParity(t *testing.T) {
	l := newLab(t).up(2)
	for _, line := range parityCommands {
		if dev, ok := strings.CutPrefix(line, "carrier "); ok {
			l.waitCarrier(1, dev)
			l.waitCarrier(2, dev)
			continue
		}
		args := strings.Fields(line)
		real := redirected(args...)
		ours := append([]string(nil), args...)
		ours[0] = map[string]string{"ip": "ipoib", "ethtool": "ipoib-ethtool"}[args[0]]
		var want, got string
		var both sync.WaitGroup
		both.Go(func() { want = l.outcome(2, ours) })
		both.Go(func() { got = l.outcome(1, real) })
		both.Wait()
		if strings.Contains(line, " -s ") || strings.Contains(line, " -S ") {
			want, got = countless(want), countless(got)
		}
		if diff := cmp.Diff(hostNeutral(want), hostNeutral(got)); diff != "" {
			t.Errorf("%s (-ours +real):\n%s", line, diff)
		}
	}
}

// outcome runs a command in host i and returns its exit code and its output.
func (l *lab) outcome(i int, args []string) string {
	cmd := l.command("ipoib", in(i, args...)...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	_ = cmd.Run()
	return fmt.Sprintf("exit code %d\n%s%s", cmd.ProcessState.ExitCode(), out.String(), errOut.String())
}

// script is one for the kernel's IPoIB, in which nothing is ours.
const script = `set -eu
p=ib0
ip link set $p up
for k in 8001 8002 8003; do
	ip link add link $p name $p.$k type ipoib pkey 0x$k
	ip link set $p.$k up
done
test "$(ip -j -d link show type ipoib | jq '[.[] | select(.linkinfo.info_kind == "ipoib")] | length')" = 4
test "$(ip -j -d link show $p.8002 | jq -r '.[0].linkinfo.info_data.key')" = 0x8002
test "$(ip -j -d link show $p.8002 | jq -r '.[0].link')" = $p
ip -j link show $p | jq -e '.[0].address | length == 59' >/dev/null
ip link set $p.8001 type ipoib mode datagram umcast 1
test "$(ip -j -d link show $p.8001 | jq -r '.[0].linkinfo.info_data.umcast')" = 0001
ip link set $p.8001 mtu 1800
test "$(ip -j link show $p.8001 | jq '.[0].mtu')" = 1800
test "$(cat /sys/class/net/$p.8001/mtu)" = 1800
ip addr add 192.0.2.1/24 dev $p.8001
ip -j addr show $p.8001 | jq -e '.[0].addr_info[] | select(.local == "192.0.2.1")' >/dev/null
ethtool -C $p rx-usecs 16 rx-frames 32
ethtool -c $p | grep -qx 'rx-usecs: 16'
ethtool -c $p | grep -qx 'rx-frames: 32'
ethtool -K $p lro on
test "$(ethtool --json -k $p | jq '.[0]["large-receive-offload"].active')" = true
ethtool -K $p lro off tso off
ethtool -k $p | grep -q '^tcp-segmentation-offload: off'
ethtool -S $p | grep -q ' rx_packets: '
ethtool -i $p | grep -qx 'driver: ib_ipoib'
test "$(ip -s -j link show $p | jq '.[0].stats64.rx.errors')" = 0
ip link set $p type ipoib mode connected
ip link set $p mtu 65520
test "$(ip -j -d link show $p | jq -r '.[0].linkinfo.info_data.mode, .[0].mtu' | tr '\n' ' ')" = 'connected 65520 '
test "$(cat /sys/class/net/$p/mode)" = connected
echo datagram > /sys/class/net/$p/mode
ip -d link show $p | grep -q ' mode datagram '
echo 0x8009 > /sys/class/net/$p/create_child
ip -d link show $p.8009 | grep -q 'ipoib pkey  *0x8009'
echo 0x8009 > /sys/class/net/$p/delete_child
for k in 8001 8002 8003; do ip link del $p.$k; done
test "$(ip -o link show type ipoib | grep -c infiniband)" = 1
echo all well
`

// A shell script that was written for the kernel's IPoIB runs unchanged.
func TestExecScript(t *testing.T) {
	l := newLab(t).up(1)
	file := filepath.Join(t.TempDir(), "script.sh")
	if err := os.WriteFile(file, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if out := l.x(1, "sh", file); !strings.Contains(out, "all well") {
		t.Errorf("%s", out)
	}
}

// messages splits what a monitor of links prints into messages.
func messages(text string) (out []string) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, " ") && len(out) > 0 {
			out[len(out)-1] += line
		} else {
			out = append(out, line)
		}
	}
	return out
}

var (
	ofLink  = regexp.MustCompile(`^(?:Deleted )?(\d+): `)
	marking = regexp.MustCompile(`(?m)^    alias (mark \d+)\n`)
)

// eventsByMark are the messages of a monitor, in the order in which they came,
// by the mark that ends a step. What repeats the state that the last message
// about the same link told is left out: who asks the kernel too hears of a
// change twice.
func eventsByMark(text string) map[string][]string {
	out := make(map[string][]string)
	last := make(map[string]string)
	var step []string
	mark := ""
	for _, m := range messages(text) {
		if a := marking.FindStringSubmatch(m); a != nil && a[1] != mark {
			mark = a[1]
			out[mark], step = step, nil
		}
		m = marking.ReplaceAllString(m, "")
		if i := ofLink.FindStringSubmatch(m); i != nil {
			if last[i[1]] == m {
				continue
			}
			last[i[1]] = strings.Replace(m, "event FEATURE CHANGE ", "", 1)
		}
		step = append(step, m)
	}
	return out
}

// noCarrier reports whether a message is about an interface that is up without
// carrier.
func noCarrier(message string) bool { return strings.Contains(message, "<NO-CARRIER,") }

// Events come to ip monitor and ethtool --monitor as to our own monitors.
func TestExecMonitor(t *testing.T) {
	l := newLab(t).up(1)
	real := l.background(1, "ipoib", "exec", "--", "ip", "-d", "monitor", "link")
	ours := l.background(1, "ipoib", "-d", "monitor", "link")
	eth := l.background(1, "ipoib", "exec", "--", "stdbuf", "-o0", "ethtool", "--monitor")
	l.receives(real.Process.Pid, "ip")
	l.receives(eth.Process.Pid, "ethtool")
	marks := 0
	mark := func() string {
		marks++
		text := fmt.Sprint("mark ", marks)
		l.on(1, "ipoib", "link", "set", "ib0", "alias", text)
		return text
	}
	l.eventually("ipoib monitor tells of changes", func() bool {
		mark()
		return ours.text() != ""
	})
	steps := []string{
		"ipoib link set ib0 type ipoib umcast 1",
		"ipoib-ethtool -C ib0 rx-usecs 33",
		"ipoib-ethtool -K ib0 lro on",
		"ipoib link add ib0.8001",
		"ip link set ib0.8001 mtu 1600",
		"ip link set ib0.8001 up",
		"ip link set ib0.8001 alias named",
		"ip link set ib0.8001 down",
		"ipoib link set ib0.8001 name other",
		"ipoib link set other txqueuelen 99",
		"ipoib link del other",
	}
	// Each step ends with a mark that both have shown.
	ends := make(map[string]string)
	for _, s := range append([]string{"ipoib link show ib0"}, steps...) {
		l.on(1, strings.Fields(s)...)
		if strings.HasSuffix(s, " up") {
			l.waitCarrier(1, "ib0.8001")
		}
		ends[s] = mark()
		for _, p := range []*program{real, ours} {
			p.prints("alias " + ends[s] + "\n")
		}
	}
	for _, want := range []string{"Coalesce parameters for ib0", "rx-usecs: 33\n", "Features for ib0", "large-receive-offload: on\n"} {
		eth.prints(want)
	}
	ip, ipoib, ethtool := eventsByMark(real.interrupt()), eventsByMark(ours.interrupt()), eth.interrupt()
	for _, s := range steps {
		want, got := ipoib[ends[s]], ip[ends[s]]
		if strings.HasSuffix(s, " up") {
			// That it was up without carrier for a moment may be lost on
			// either.
			want, got = slices.DeleteFunc(want, noCarrier), slices.DeleteFunc(got, noCarrier)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-ipoib monitor +ip monitor):\n%s", s, diff)
		}
	}
	for s, want := range map[string]string{
		"ipoib-ethtool -K ib0 lro on": "event FEATURE CHANGE", "ip link set ib0.8001 mtu 1600": "mtu 1600",
		"ip link set ib0.8001 up": "LOWER_UP", "ipoib link del other": "Deleted",
	} {
		if got := strings.Join(ip[ends[s]], ""); !strings.Contains(got, want) {
			t.Errorf("%s: no %q in\n%s", s, want, got)
		}
	}
	if strings.Contains(ethtool, "ib0.8001:\nrx-checksumming: off [fixed]") {
		t.Errorf("ethtool --monitor shows the TUN:\n%s", ethtool)
	}
}
