//go:build integration

package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// What the stock ip does to ib0 is followed: its name, its MTU, its namespace,
// its state and its addresses.
func TestFollowKernel(t *testing.T) {
	l := newLab(t).up(2)
	l.ping(1, "10.77.0.2")

	l.on(1, "ip", "link", "set", "ib0", "down")
	l.on(1, "ip", "link", "set", "ib0", "name", "mellow0")
	l.on(1, "ip", "link", "set", "mellow0", "up")
	l.waitCarrier(1, "mellow0")
	l.ping(1, "10.77.0.2")
	if out := l.on(1, "ipoib", "mcg"); !strings.Contains(out, "mellow0") || strings.Contains(out, "ib0") {
		t.Errorf("after the new name:\n%s", out)
	}
	l.on(1, "ip", "link", "set", "mellow0", "down")
	l.on(1, "ip", "link", "set", "mellow0", "name", "ib0")
	l.on(1, "ip", "link", "set", "ib0", "up")
	l.waitCarrier(1, "ib0")

	mtu := func() string { return strings.TrimSpace(l.on(1, "cat", "/sys/class/net/ib0/mtu")) }
	l.on(1, "ip", "link", "set", "ib0", "mtu", "1500")
	l.eventually("the service knows the MTU", func() bool {
		return strings.Contains(l.on(1, "ipoib", "link", "show", "dev", "ib0"), " mtu 1500 ")
	})
	l.ping(1, "10.77.0.2", "-s", "1472", "-M", "do")
	// The link carries 4092 bytes at most; the kernel's TUN would take it.
	l.on(1, "ip", "link", "set", "ib0", "mtu", "5000")
	l.eventually("an MTU that IPoIB cannot carry is put back", func() bool { return mtu() == "1500" })
	if text, _ := os.ReadFile(l.log.Name()); strings.Count(string(text), " putting it back mtu=5000 ") != 1 {
		t.Errorf("the log has not one line about it:\n%s", text)
	}
	l.on(1, "ip", "link", "set", "ib0", "mtu", "2044")

	// A new address is answered for at once, a deleted one no more.
	l.on(1, "ip", "addr", "add", "10.77.0.101/24", "dev", "ib0")
	l.ping(2, "10.77.0.101")
	l.on(1, "ip", "addr", "del", "10.77.0.101/24", "dev", "ib0")
	l.on(2, "ip", "link", "set", "ib0", "down")
	l.on(2, "ip", "link", "set", "ib0", "up")
	l.waitCarrier(2, "ib0")
	l.noPing(2, "10.77.0.101")

	// Into another namespace and back.
	ns := fmt.Sprintf("pod-%d", os.Getpid())
	l.run("ip", "netns", "add", ns)
	defer func() { _ = l.try("ip", "netns", "del", ns) }()
	pod := func(args ...string) string { return l.run("ip", append([]string{"netns", "exec", ns}, args...)...) }
	l.on(1, "ip", "link", "set", "ib0", "netns", ns)
	pod("ip", "addr", "add", "10.77.0.1/24", "dev", "ib0")
	pod("ip", "link", "set", "ib0", "up")
	l.eventually("ib0 works in the other namespace", func() bool {
		return l.try("ip", "netns", "exec", ns, "ping", "-c", "1", "-W", "1", "10.77.0.2") == nil
	})
	if out := pod("ipoib", "link", "show"); !strings.Contains(out, "ib0") {
		t.Errorf("in the other namespace: %q", out)
	}
	if out := l.on(1, "ipoib", "link", "show"); strings.Contains(out, "ib0") {
		t.Errorf("in the old namespace: %q", out)
	}
	pod("ip", "link", "set", "ib0", "netns", "ibhost1")
	l.on(1, "ip", "addr", "add", "10.77.0.1/24", "dev", "ib0")
	l.on(1, "ip", "link", "set", "ib0", "up")
	l.waitCarrier(1, "ib0")
	l.ping(1, "10.77.0.2")
}

// A router's advertisement gives addresses, a prefix and a default route; its
// redirect a better first hop (RFC 4861 sections 6 and 8).
func TestRouterDiscovery(t *testing.T) {
	l := newLab(t).up(3)
	l.on(1, "ip", "-6", "addr", "flush", "dev", "ib0", "scope", "global")
	l.on(1, "sysctl", "-qw", "net.ipv6.conf.ib0.accept_ra=2", "net.ipv6.conf.ib0.autoconf=1", "net.ipv6.conf.ib0.accept_redirects=1")
	l.on(2, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
	l.on(2, "ip", "addr", "add", "fd99::2/64", "dev", "ib0")
	conf := fmt.Sprintf("/run/radvd-%d.conf", os.Getpid())
	text := "interface ib0 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvSourceLLAddress off;\n" +
		" prefix fd99::/64 { AdvOnLink on; AdvAutonomous on; }; };\n"
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(conf)
	l.background(2, "radvd", "-n", "-C", conf, "-p", conf+".pid", "-m", "stderr")
	l.eventually("host 1 has an address from the prefix", func() bool {
		return strings.Contains(l.on(1, "ip", "-6", "addr", "show", "dev", "ib0"), "inet6 fd99::")
	})
	out := l.on(1, "ip", "-6", "route", "show", "default")
	if !strings.Contains(out, "via fe80::") || !strings.Contains(out, "dev ib0") {
		t.Errorf("default route: %q", out)
	}
	// The router itself, and host 3 through it: its address is not on link for
	// host 1.
	l.eventually("the address is usable", func() bool { return l.tryOn(1, "ping", "-c", "1", "-W", "1", "fd99::2") == nil })
	l.on(3, "ip", "addr", "add", "fd98::3/64", "dev", "ib0")
	l.on(3, "ip", "route", "add", "fd99::/64", "dev", "ib0")
	l.on(2, "ip", "route", "add", "fd98::/64", "dev", "ib0")
	l.ping(1, "fd98::3")
	l.eventually("host 1 was redirected", func() bool {
		_ = l.tryOn(1, "ping", "-c", "1", "-W", "1", "fd98::3")
		return strings.Contains(l.on(1, "ipoib", "neigh"), "fd98::3")
	})
	l.ping(1, "fd98::3")
}

// The lab is idempotent, and leaves nothing.
func TestLab(t *testing.T) {
	l := newLab(t).up(2)
	before := l.run("ipoib", "lab", "status", "-j")
	l.up(2)
	if after := l.run("ipoib", "lab", "status", "-j"); after != before {
		t.Errorf("lab up again changed\n%s\nto\n%s", before, after)
	}
	l.up(4)
	for _, to := range []string{"10.77.0.4", "fd77::3"} {
		l.ping(1, to)
	}
	sleeper := l.background(4, "sleep", "100")
	if out := l.run("ipoib", "lab", "status"); strings.Count(out, "\n") != 5 {
		t.Errorf("status:\n%s", out)
	}
	for range 2 {
		l.run("ipoib", "lab", "down")
		if out := l.run("ip", "netns", "list"); strings.Contains(out, "ibhost") {
			t.Errorf("namespaces are left: %s", out)
		}
		if out := l.run("ipoib", "fabric", "hcas", "-j"); strings.Contains(out, "soft") {
			t.Errorf("adapters are left: %s", out)
		}
	}
	if err := sleeper.Wait(); err == nil {
		t.Error("a program in a host outlived it")
	}
	if out := l.fails("ipoib", "lab", "exec", "1", "--", "true"); !strings.Contains(out, "no host 1") {
		t.Errorf("exec without hosts: %s", out)
	}
	l.up(1)
	if code := exitCode(l.tryOn(1, "sh", "-c", "exit 42")); code != 42 {
		t.Errorf("exit code %d", code)
	}
}

// The lab starts the service when none runs, again after it was killed, and
// leaves nothing of it. It leaves alone one that it did not start.
func TestLabService(t *testing.T) {
	l := newLab(t)
	l.run("ipoib", "serve", "--teardown")
	_ = l.serve.Wait()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.RemoveAll(l.runDir))
	kill := func() {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(l.runDir, "lab-started-service"))
		must(err)
		pid, err := strconv.Atoi(string(text))
		must(err)
		must(syscall.Kill(pid, syscall.SIGKILL))
		l.eventually("the service is dead", func() bool { return l.try("ipoib", "fabric", "manager") != nil })
	}
	gone := func() {
		t.Helper()
		if entries, err := os.ReadDir(l.runDir); err == nil || !os.IsNotExist(err) {
			t.Errorf("%v is left, %v", entries, err)
		}
		if text, err := os.ReadFile("/proc/self/mounts"); err != nil || strings.Contains(string(text), l.runDir) {
			t.Errorf("mounts are left: %s %v", text, err)
		}
	}
	if out := l.fails("ipoib", "lab", "up", "--profile", "fast"); !strings.Contains(out, `"fast" is none of full`) {
		t.Errorf("a wrong profile: %s", out)
	}
	gone()
	l.up(2)
	kill()
	l.up(2)
	l.ping(1, "10.77.0.2")
	// A namespace that is deleted is made again at once, with an adapter.
	l.run("ip", "netns", "del", "ibhost2")
	l.up(2)
	l.on(2, "ip", "-br", "addr", "show", "ib0")
	l.ping(2, "10.77.0.1")
	kill()
	l.run("ipoib", "lab", "down")
	gone()
	l.up(1)
	kill()
	l.start()
	l.run("ipoib", "lab", "down")
	l.run("ipoib", "fabric", "manager")
	if _, err := os.Stat(filepath.Join(l.runDir, "lab-started-service")); err == nil {
		t.Error("the lab still takes the service for its own")
	}
}

// When a pod's namespace is deleted its child goes, and the namespace with it.
// A host of the lab that is deleted by hand leaves no adapter behind.
func TestDeletedNamespace(t *testing.T) {
	l := newLab(t, "--hca", "soft0")
	ns := fmt.Sprintf("pod-%d", os.Getpid())
	l.run("ip", "netns", "add", ns)
	deleted := false
	defer func() {
		if !deleted {
			_ = l.try("ip", "netns", "del", ns)
		}
	}()
	l.run("ip", "link", "set", "ib0", "up")
	l.run("ipoib", "link", "add", "ib0.8001", "pkey", "0x8001")
	l.run("ip", "link", "set", "ib0.8001", "netns", ns)
	l.up(1)
	l.eventually("the child is in the pod", func() bool {
		return strings.Contains(l.run("ip", "netns", "exec", ns, "ipoib", "link", "show"), "ib0.8001")
	})
	// A process keeps the namespace alive without its name.
	keeper := l.command("ip", "netns", "exec", ns, "sleep", "100")
	if err := keeper.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = keeper.Process.Kill() }()
	pid := strconv.Itoa(keeper.Process.Pid)
	l.eventually("the keeper is in the pod", func() bool {
		return l.try("nsenter", "-t", pid, "-n", "ip", "link", "show", "dev", "ib0.8001") == nil
	})
	l.run("ip", "netns", "del", ns)
	deleted = true
	l.run("ip", "netns", "del", "ibhost1")
	// The service has looked at the namespaces since both were deleted.
	l.eventually("the adapter is gone", func() bool { return !strings.Contains(l.run("ipoib", "fabric", "hcas"), "soft1") })
	if out := l.run("nsenter", "-t", pid, "-n", "ipoib", "link", "show"); !strings.Contains(out, "ib0.8001") {
		t.Errorf("the child went although a process uses its namespace: %q", out)
	}
	_ = keeper.Process.Kill()
	_ = keeper.Wait()
	l.eventually("the child is gone", func() bool {
		b, err := os.ReadFile(filepath.Join(l.runDir, "state.json"))
		return err == nil && !strings.Contains(string(b), "ib0.8001")
	})
	if !strings.Contains(l.run("ipoib", "link", "show"), "ib0:") {
		t.Error("ib0 went along")
	}
}
