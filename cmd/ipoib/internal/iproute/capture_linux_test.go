package iproute

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ipoib/nl"
	"ipoib/nl/rtlink"
)

var update = flag.Bool("update", false, "capture testdata/requests.txt anew, with strace and ip of iproute2 6.1")

// captured are the command lines of testdata/requests.txt.
const captured = `link
link show
link show ib0
link show dev ib0
-s link show ib0
-d link
link show type ipoib
link show type ipoib_slave
link show up
link show master ib1
link show vrf ib1
link show nomaster
link show group 5
link show ib0 group 5
link show averyveryverylongalternativename
link show nosuch
-4 link show ib0
link list
link add link ib0 name x type ipoib
link add link ib0 name x type ipoib pkey 0x8001
link add link ib0 name x type ipoib pkey 0x8001 mode connected umcast 1
link add link ib0 name x type ipoib mode datagram
link add link ib0 type ipoib
link add link ib0 type ipoib pkey 32770 umcast 7
link add link ib0 dev x mtu 2000 type ipoib pkey 0x7fff
link add link ib0 name x numtxqueues 1 numrxqueues 1 txqueuelen 50 up type ipoib pkey 0x8002
link add link ib0 name x address 80:00:00:48:fe:80:00:00:00:00:00:00:00:02:c9:03:00:a0:b0:aa type ipoib pkey 0x8002
link add name x link ib0 index 77 broadcast 00:ff alias hello group 9 type ipoib pkey 0x8002
link add link ib0 name x netns 9999999 type ipoib pkey 0x8002
link add name x type ipoib pkey 0x8001
link add link nosuch name x type ipoib
link add link if42 name x type ipoib
link add link ib0 name x parentdev dev7 type ipoib
link add x type nosuch
link replace i1 type ipoib mode connected
link set i1 type ipoib mode connected
link set i1 type ipoib mode datagram umcast 1
link set i1 type ipoib pkey 0x8002
link set i1 type ipoib
link change i1 type ipoib umcast 0
link set i1 type vlan
link set ib0 up
link set ib0 down
link set dev ib0 up mtu 1500
link set ib0 mtu 0x5dc
link set ib0 mtu -1
link set ib0 name ib9
link set ib0 name ib0
link set ib0 txqueuelen 100
link set ib0 qlen 100 alias theparent
link set ib0 alias the-parent
link set ib0 address 02:00:00:00:00:01
link set ib0 address 80:00:00:48:fe:80:00:00:00:00:00:00:00:02:c9:03:00:a0:b0:aa
link set ib0 broadcast ff:ff:ff:ff:ff:ff
link set ib0 netns 9999999
link set ib0 netns 9999999 index 99 name ib7
link set ib0 promisc on allmulticast off multicast on arp off trailers on dynamic off
link set ib0 promisc off
link set ib0 master ib1
link set ib0 vrf ib1
link set ib0 nomaster
link set ib0 group 7
link set group 7 up
link set group default down
link set ib0 mode dormant
link set ib0 state up
link set ib0 carrier on
link set ib0 protodown on
link set ib0 protodown_reason 3 on
link set ib0 addrgenmode none
link set ib0 gso_max_size 60000 gso_max_segs 100 gro_max_size 50000
link set ib0 link-netnsid 4
link set ib0 numtxqueues 4
link set nosuch up
link set if42 up
link del i1
link del i1 type ipoib
link delete dev i1
link del group 7
link del nosuch
-echo link add link ib0 name x type ipoib pkey 0x8001
-4 link set ib0 up
link property add dev ib0 altname another
link property add ib0 altname a1 altname a2
link property del dev ib0 altname another
link help ipoib
link add link ib0 name x type ipoib pkey zzz
monitor link
monitor
monitor all
monitor link dev ib0
-4 monitor address link
`

// TestCaptureRequests makes the fixture of TestRequests.
func TestCaptureRequests(t *testing.T) {
	if !*update {
		t.Skip("run with -update")
	}
	requireIP(t)
	enterNetNS(t)
	setUp(t, "link add ib0 index 2 type veth peer name ib1 index 3", "link add i1 index 5 type ifb")
	var out strings.Builder
	out.WriteString("# What ip of iproute2 6.1 sends, by command line: sockets by number, with the groups\n" +
		"# that they bind, and messages with sequence number 0. Links: ib0 2, ib1 3, i1 5.\n" +
		"# Made by: go test -run TestCaptureRequests -update\n")
	for line := range strings.Lines(captured) {
		line = strings.TrimSpace(line)
		fmt.Fprintf(&out, "\n$ %s\n", line)
		// Each line finds the same links.
		runIP(t, "", strings.Fields("link set ib9 name ib0")...)
		for _, l := range straceIP(t, line) {
			fmt.Fprintln(&out, l)
		}
		for _, undo := range []string{
			"link set ib9 name ib0", "link set ib0 group 0", "link set ib0 down", "link set ib0 nomaster",
			"link add ib0 index 2 type veth peer name ib1 index 3", "link add i1 index 5 type ifb",
		} {
			runIP(t, "", strings.Fields(undo)...)
		}
	}
	if err := os.WriteFile("testdata/requests.txt", []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

var (
	socketRE = regexp.MustCompile(`^socket\(AF_NETLINK.* = (\d+)`)
	bindRE   = regexp.MustCompile(`^bind\((\d+), \{sa_family=AF_NETLINK.*nl_groups=(\S+)\}`)
	joinRE   = regexp.MustCompile(`^setsockopt\((\d+), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, \[(\d+)\]`)
	sendRE   = regexp.MustCompile(`^send(?:to|msg)\((\d+),`)
	dumpRE   = regexp.MustCompile(`^ \| [0-9a-f]{5} ((?: {1,2}[0-9a-f]{2})+)`)
)

// straceIP runs ip and returns what it sent.
func straceIP(t *testing.T, line string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	args := append([]string{"-qq", "-e", "trace=socket,bind,setsockopt,sendto,sendmsg", "-e", "write=all", "ip"},
		strings.Fields(line)...)
	var errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, "strace", args...)
	cmd.Stderr = &errOut
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	_ = cmd.Run()
	number := map[string]int{}
	var out []string
	var fd string
	var msg []byte
	flush := func() {
		if n, ok := number[fd]; ok && msg != nil {
			l := fmt.Sprintf("%d %s", n, maskMessage(msg))
			// One question about a namespace stands for those about all that
			// the machine has; it needs one with a name at least.
			if nl.ParseHeader(msg).Type != rtlink.GetNSID || !slices.Contains(out, l) {
				out = append(out, l)
			}
		}
		msg = nil
	}
	sockets := 0
	for sc := bufio.NewScanner(&errOut); sc.Scan(); {
		text := sc.Text()
		if m := dumpRE.FindStringSubmatch(text); m != nil {
			b, err := hex.DecodeString(strings.ReplaceAll(m[1], " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			msg = append(msg, b...)
			continue
		}
		if strings.HasPrefix(text, " * ") {
			continue
		}
		flush()
		if m := socketRE.FindStringSubmatch(text); m != nil {
			number[m[1]] = sockets
			sockets++
		} else if m := bindRE.FindStringSubmatch(text); m != nil {
			var groups uint32
			_, _ = fmt.Sscanf(m[2], "%v", &groups)
			if !strings.HasPrefix(m[2], "0x") {
				groups = 0
			}
			out = append(out, fmt.Sprintf("bind %d %#x", number[m[1]], groups))
		} else if m := joinRE.FindStringSubmatch(text); m != nil {
			out = append(out, fmt.Sprintf("join %d %s", number[m[1]], m[2]))
		} else if m := sendRE.FindStringSubmatch(text); m != nil {
			fd = m[1]
		}
	}
	flush()
	return out
}
