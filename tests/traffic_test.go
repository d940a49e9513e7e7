//go:build integration

package tests

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ping by IPv4 and IPv6, broadcast and multicast, over ib0 and over a child.
func TestPing(t *testing.T) {
	l := newLab(t).up(3)
	for i := 1; i <= 3; i++ {
		l.child(i, "0x8001", fmt.Sprintf("10.78.0.%d/24", i), fmt.Sprintf("fd78::%d/64", i))
		l.on(i, "sysctl", "-qw", "net.ipv4.icmp_echo_ignore_broadcasts=0")
	}
	for i := 1; i <= 3; i++ {
		l.waitCarrier(i, "ib0.8001")
	}
	for dev, net := range map[string]string{"ib0": "77", "ib0.8001": "78"} {
		t.Run(dev, func(t *testing.T) {
			l := l.with(t)
			l.ping(1, "10."+net+".0.2")
			l.ping(2, "10."+net+".0.1", "-s", "2016", "-M", "do") // 2044 bytes, the MTU
			l.ping(1, "10."+net+".0.3")
			l.ping(1, "10."+net+".0.3", "-s", "20000") // more fragments than wait for a path
			l.ping(1, "fd"+net+"::2")
			l.ping(3, "fd"+net+"::1", "-s", "1996", "-M", "do")
			linkLocal := map[int]string{}
			for host := 2; host <= 3; host++ {
				linkLocal[host] = strings.Fields(l.on(host, "sh", "-c", "ip -6 -br addr show dev "+dev+" | grep -o 'fe80[^/]*'"))[0]
			}
			l.ping(1, linkLocal[2]+"%"+dev)
			for what, args := range map[string][]string{
				"directed broadcast": {"-b", "10." + net + ".0.255"},
				"limited broadcast":  {"-b", "-I", dev, "255.255.255.255"},
				"IPv4 all hosts":     {"-I", dev, "224.0.0.1"},
				"IPv6 all nodes":     {"ff02::1%" + dev},
			} {
				p := l.background(1, append([]string{"ping", "-i", "0.2"}, args...)...)
				for host := 2; host <= 3; host++ {
					from := fmt.Sprintf("bytes from 10.%s.0.%d:", net, host)
					if strings.HasPrefix(what, "IPv6") {
						from = "bytes from " + linkLocal[host] + "%"
					}
					l.eventually(fmt.Sprintf("host %d answers twice: %s", host, what), func() bool { return strings.Count(p.text(), from) >= 2 })
				}
				p.interrupt()
			}
		})
	}
}

// with is the same lab in a subtest.
func (l *lab) with(t *testing.T) *lab {
	c := *l
	c.t = t
	return &c
}

func TestIperf(t *testing.T) {
	l := newLab(t).up(2)
	for i := 1; i <= 2; i++ {
		l.child(i, "0x8001", fmt.Sprintf("10.78.0.%d/24", i), fmt.Sprintf("fd78::%d/64", i))
	}
	l.waitCarrier(1, "ib0.8001")
	l.waitCarrier(2, "ib0.8001")
	for name, to := range map[string]string{
		"ib0 v4": "10.77.0.2", "ib0 v6": "fd77::2", "child v4": "10.78.0.2", "child v6": "fd78::2",
	} {
		if bps := l.iperf(1, 2, to); bps < trickle {
			t.Errorf("TCP over %s: %.0f Mb/s", name, bps/1e6)
		} else {
			t.Logf("TCP over %s: %.0f Mb/s", name, bps/1e6)
		}
	}
	if bps := l.iperf(1, 2, "10.77.0.2", "-u", "-b", "50M"); bps < trickle {
		t.Errorf("UDP: %.1f Mb/s of 50", bps/1e6)
	}
	if bps := l.iperf(2, 1, "10.78.0.1", "-R"); bps < trickle {
		t.Errorf("TCP reversed: %.0f Mb/s", bps/1e6)
	}
	for i := 1; i <= 2; i++ {
		if n := l.stat(i, "ib0", "tx_errors"); n != 0 {
			t.Errorf("%d tx_errors at host %d", n, i)
		}
	}
}

// The service reads interfaces with io_uring where it may, and without it
// otherwise.
func TestNoIOURing(t *testing.T) {
	rings := func(l *lab) (n int) {
		dir := fmt.Sprintf("/proc/%d/fd", l.serve.Process.Pid)
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if to, err := os.Readlink(dir + "/" + f.Name()); err == nil && strings.Contains(to, "[io_uring]") {
				n++
			}
		}
		return n
	}
	for _, flags := range [][]string{nil, {"--no-io-uring"}} {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			l := newLab(t, flags...).up(2)
			if n, may := rings(l), flags == nil && mayIOURing(t); n != 0 != may {
				t.Errorf("%d rings, io_uring is to be used: %v", n, may)
			}
			l.on(1, "ping", "-c", "3", "-i", "0.1", "-s", "20000", "10.77.0.2")
			if bps := l.iperf(1, 2, "10.77.0.2"); bps < trickle {
				t.Errorf("TCP: %.0f Mb/s", bps/1e6)
			}
			l.on(2, "ip", "link", "del", "ib0")
			l.eventually("the parent is made again", func() bool { return l.tryOn(2, "ip", "link", "show", "ib0") == nil })
		})
	}
}

// mayIOURing reports whether this system lets a program read with io_uring the
// way the service does.
func mayIOURing(t *testing.T) bool {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	var params [120]byte // struct io_uring_params
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0)
	if errno == 0 {
		_ = unix.Close(int(fd))
	}
	return errno == 0 && (major > 6 || major == 6 && minor >= 7)
}

// A path through a gateway: host 3 is reached over host 2, which has ib0 on
// one side and a child on the other.
func TestGateway(t *testing.T) {
	l := newLab(t).up(3)
	l.child(2, "0x8001", "10.78.0.2/24", "fd78::2/64")
	l.child(3, "0x8001", "10.78.0.3/24", "fd78::3/64")
	l.waitCarrier(2, "ib0.8001")
	l.waitCarrier(3, "ib0.8001")
	l.on(2, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
	// Host 3's own address on ib0 would be a short cut.
	l.on(3, "ip", "addr", "flush", "dev", "ib0", "scope", "global")
	for _, r := range []struct {
		host    int
		to, via string
	}{{1, "10.78.0.0/24", "10.77.0.2"}, {1, "fd78::/64", "fd77::2"}, {3, "10.77.0.0/24", "10.78.0.2"}, {3, "fd77::/64", "fd78::2"}} {
		l.on(r.host, "ip", "route", "add", r.to, "via", r.via)
	}
	l.ping(1, "10.78.0.3")
	l.ping(1, "fd78::3")
	out := l.on(1, "ping", "-c", "1", "-R", "10.78.0.3")
	if !strings.Contains(out, "10.78.0.2") && !strings.Contains(out, "10.77.0.2") {
		t.Errorf("the recorded route does not show the gateway:\n%s", out)
	}
	if n := strings.Count(l.on(1, "ipoib", "neigh"), "10.78."); n != 0 {
		t.Error("host 1 resolved an address behind the gateway")
	}
	if bps := l.iperf(1, 3, "10.78.0.3"); bps < trickle {
		t.Errorf("TCP through the gateway: %.0f Mb/s", bps/1e6)
	}
	// The route changes: the old next hop must not be used any more.
	l.on(1, "ip", "route", "replace", "10.78.0.0/24", "via", "10.77.0.9")
	l.noPing(1, "10.78.0.3")
	l.on(1, "ip", "route", "replace", "10.78.0.0/24", "via", "10.77.0.2")
	l.ping(1, "10.78.0.3")
}

// A next hop that nobody has: the host is told.
func TestHostUnreachable(t *testing.T) {
	l := newLab(t).up(2)
	out, _ := l.command("ipoib", in(1, "ping", "-c", "1", "-W", "60", "10.77.0.99")...).CombinedOutput()
	if !strings.Contains(string(out), "Destination Host Unreachable") {
		t.Errorf("%s", out)
	}
	out, _ = l.command("ipoib", in(1, "ping", "-c", "1", "-W", "60", "fd77::99")...).CombinedOutput()
	if !strings.Contains(string(out), "Address unreachable") {
		t.Errorf("%s", out)
	}
	if n := l.stat(1, "ib0", "tx_unreachable"); n < 2 {
		t.Errorf("tx_unreachable is %d", n)
	}
}

// A program that joins a group hears it, and nobody else does.
func TestMulticastMembership(t *testing.T) {
	l := newLab(t).up(3)
	for name, c := range map[string]struct{ join, send, mgid string }{
		"v4": {"UDP4-RECV:5007,ip-add-membership=239.1.2.3:ib0", "UDP4-DATAGRAM:239.1.2.3:5007,ip-multicast-if=10.77.0.1", "ff12:401b:ffff::f01:203"},
		"v6": {"UDP6-RECV:5008,ipv6-join-group=[ff05::1234]:ib0", "UDP6-DATAGRAM:[ff05::1234]:5008,so-bindtodevice=ib0", "ff12:601b:ffff::1234"},
	} {
		t.Run(name, func(t *testing.T) {
			l := l.with(t)
			recv := l.background(2, "socat", "-u", c.join, "OPEN:/run/mcast-"+name+",creat,trunc")
			l.eventually("host 2 is a member", func() bool {
				return strings.Contains(l.on(2, "ipoib", "mcg"), c.mgid+" ")
			})
			if role := l.on(2, "sh", "-c", "ipoib mcg | grep '"+c.mgid+" '"); !strings.Contains(role, "member") || strings.Contains(role, "send-only") {
				t.Errorf("role: %s", role)
			}
			before := l.stat(3, "ib0", "rx_packets")
			l.eventually("the datagram arrives", func() bool {
				l.on(1, "sh", "-c", "echo hello | socat -u - '"+c.send+"'")
				return l.tryOn(2, "grep", "-q", "hello", "/run/mcast-"+name) == nil
			})
			if s := l.on(1, "sh", "-c", "ipoib mcg | grep '"+c.mgid+" '"); !strings.Contains(s, "send-only") {
				t.Errorf("the sender's role: %s", s)
			}
			// snoop-1: a host that has not joined hears nothing. Others may
			// have sent it a few packets.
			l.on(1, "sh", "-c", "for i in $(seq 30); do echo hello | socat -u - '"+c.send+"'; done")
			l.eventually("all arrive", func() bool {
				return strings.Count(l.on(2, "cat", "/run/mcast-"+name), "hello") >= 25
			})
			if after := l.stat(3, "ib0", "rx_packets"); after > before+15 {
				t.Errorf("host 3 received %d packets", after-before)
			}
			_ = recv.Process.Kill()
			_ = recv.Wait()
			l.eventually("host 2 has left", func() bool {
				return !strings.Contains(l.on(2, "ipoib", "mcg"), c.mgid+" ")
			})
		})
	}
}
