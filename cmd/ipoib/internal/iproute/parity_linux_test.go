package iproute

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// links makes links of all kinds that the kernel is likely to have; those
// marked with ? may be missing.
func links(t *testing.T) {
	t.Helper()
	// Nothing must change while two programs are compared.
	for _, f := range []string{"all", "default"} {
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+f+"/disable_ipv6", []byte("1"), 0)
	}
	setUp(t,
		"link set lo up",
		"link add v0 type veth peer name v1",
		"link add v2 type veth peer name v3",
		"link set v0 alias over-there",
		"link set v0 group 7",
		"link set v0 up", "link set v1 up", "link set v2 up",
		"link set v2 txqueuelen 77",
		"link property add dev v0 altname another altname one-that-is-longer-than-fifteen",
		"tuntap add t0 mode tun",
		"tuntap add t1 mode tap multi_queue user 12345 group 54321",
	)
	for _, l := range []string{
		"link add br0 type bridge", "link set v1 master br0",
		"link add link v0 name mv0 type macvlan mode bridge",
		"link add link v2 name mvt0 type macvtap mode vepa",
		"link add link v2 name vl0 type vlan id 5",
		"link add d0 type dummy", "link add ifb0 type ifb",
		"link set v3 promisc on", "link set v2 mode dormant",
	} {
		runIP(t, "", strings.Fields(l)...)
	}
}

// TestParityShow compares `link show` with ip in all combinations of options
// that change the output, on links of the kernel.
func TestParityShow(t *testing.T) {
	requireIP(t)
	enterNetNS(t)
	links(t)
	formats := [][]string{nil, {"-o"}, {"-br"}, {"-j"}, {"-j", "-p"}, {"-br", "-j", "-p"}, {"-o", "-j"}, {"-c=always"},
		{"-br", "-c"}, {"-N"}, {"-t"}}
	for _, stats := range [][]string{nil, {"-s"}, {"-s", "-s"}} {
		for _, details := range [][]string{nil, {"-d"}} {
			for _, format := range formats {
				opts := append(append(append([]string{}, stats...), details...), format...)
				for _, what := range []string{"link", "link show", "l sh v0", "link show dev v1", "link list type veth up"} {
					compare(t, "", append(opts, strings.Fields(what)...)...)
				}
			}
		}
	}
	for _, line := range []string{
		"-s -h link", "-s -s -iec -h link", "-s -s -h -iec -j link", "-stat -det link show",
		"link show master br0", "-d link show type bridge_slave", "link show type nosuch", "-j link show type nosuch",
		"-j link show type bridge", "link show up", "-br link show nomaster", "link show group 7", "link show group default",
		"link show v0 group 7", "-s link show dev v0 group 7", "link show v0 group 8",
		"link show another", "-j link show one-that-is-longer-than-fifteen", "link show if1", "-d link show type macvlan",
		"-oneline -details link show t1", "-6 link show v0", "-4 link", "-0 link", "-B link", "link show v0 up", "link show v3 up",
		"link show permanent", "link show -primary",
	} {
		compare(t, "", strings.Fields(line)...)
	}
	compare(t, "", "link", "show", "")
	compare(t, "", "-j", "link", "show", "dev", "", "group", "default")
}

// compare runs a command line that can be repeated with both programs, again
// when the kernel may have changed something in between, as the state of a link
// that came up.
func compare(t *testing.T, stdin string, args ...string) {
	t.Helper()
	for try := range 5 {
		time.Sleep(time.Duration(try) * 300 * time.Millisecond)
		want := runIP(t, stdin, args...)
		got := runOurs(stdin, args...)
		d := cmp.Diff(want, got)
		if d == "" {
			return
		}
		if try == 4 {
			t.Errorf("ip %s (-ip +ours):\n%s", strings.Join(args, " "), d)
		}
	}
}
