//go:build integration

package tests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// redirected returns the command line that runs args under exec.
func redirected(args ...string) []string {
	return append([]string{"timeout", "120", "ipoib", "exec", "--"}, args...)
}

// x runs a command under exec in host i that must succeed.
func (l *lab) x(i int, args ...string) string {
	l.t.Helper()
	return l.on(i, redirected(args...)...)
}

// xfails runs a command under exec in host i that must fail.
func (l *lab) xfails(i int, args ...string) string {
	l.t.Helper()
	return l.fails("ipoib", in(i, redirected(args...)...)...)
}

// The real ip makes, shows, changes and removes children.
func TestExecLinks(t *testing.T) {
	l := newLab(t).up(1)
	l.x(1, "ip", "link", "add", "link", "ib0", "name", "ib0.8001", "type", "ipoib", "pkey", "0x8001")
	var links []struct {
		Ifname    string
		Link      string
		LinkType  string `json:"link_type"`
		Address   string
		Broadcast string
		Flags     []string
		MinMTU    int `json:"min_mtu"`
		MaxMTU    int `json:"max_mtu"`
		Linkinfo  struct {
			Kind string                             `json:"info_kind"`
			Data struct{ Key, Mode, Umcast string } `json:"info_data"`
		}
	}
	if err := json.Unmarshal([]byte(l.x(1, "ip", "-d", "-j", "link", "show", "ib0.8001")), &links); err != nil {
		t.Fatal(err)
	}
	c := links[0]
	if c.Link != "ib0" || c.LinkType != "infiniband" || len(c.Address) != 59 || len(c.Broadcast) != 59 ||
		c.Linkinfo.Kind != "ipoib" || c.Linkinfo.Data.Key != "0x8001" || c.MaxMTU != 65520 {
		t.Errorf("child %+v", c)
	}
	flags := strings.Join(c.Flags, ",")
	if !strings.Contains(flags, "BROADCAST,MULTICAST") || strings.Contains(flags, "POINTOPOINT") || strings.Contains(flags, "NOARP") {
		t.Errorf("flags %s", flags)
	}
	l.x(1, "ip", "link", "set", "ib0.8001", "up", "mtu", "1500", "alias", "blue")
	if out := l.on(1, "ipoib", "link", "show", "ib0.8001"); !strings.Contains(out, "mtu 1500") || !strings.Contains(out, "alias blue") {
		t.Errorf("after ip link set:\n%s", out)
	}
	l.x(1, "ip", "link", "set", "ib0.8001", "type", "ipoib", "umcast", "1")
	if out := l.on(1, "ipoib", "-d", "link", "show", "ib0.8001"); !strings.Contains(out, "umcast 0001") {
		t.Errorf("after umcast 1:\n%s", out)
	}
	l.x(1, "ip", "link", "del", "ib0.8001")
	if out := l.xfails(1, "ip", "link", "show", "ib0.8001"); !strings.Contains(out, `Device "ib0.8001" does not exist.`) {
		t.Errorf("after ip link del: %s", out)
	}
	// Other kinds are the kernel's.
	l.x(1, "ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
	l.x(1, "ip", "link", "del", "veth0")
	if out := l.xfails(1, "ip", "link", "add", "link", "ib0", "type", "vlan", "id", "5"); !strings.Contains(out, "VLANs not supported on device") {
		t.Errorf("a vlan on ib0: %s", out)
	}
}

// A child moves between namespaces by the descriptor or the process that the
// program names.
func TestExecMove(t *testing.T) {
	l := newLab(t).up(2)
	l.x(1, "ip", "link", "add", "link", "ib0", "name", "ib0.8001", "type", "ipoib", "pkey", "0x8001")
	l.x(1, "ip", "link", "set", "ib0.8001", "netns", "ibhost2")
	l.x(2, "ip", "link", "show", "ib0.8001")
	// One supervisor follows programs into other namespaces.
	if out := l.x(1, "ip", "netns", "exec", "ibhost2", "ip", "-d", "link", "show", "ib0.8001"); !strings.Contains(out, "ipoib pkey 0x8001") {
		t.Errorf("in the other namespace:\n%s", out)
	}
	l.x(1, "sh", "-c", "ip netns exec ibhost2 sleep 1000 & pid=$!; ip link add link ib0 name ib0.8002 type ipoib pkey 0x8002;"+
		"while [ $(readlink /proc/$pid/ns/net) = $(readlink /proc/$$/ns/net) ]; do sleep 0.05; done;"+
		"ip link set ib0.8002 netns $pid; kill $pid")
	l.x(2, "ip", "link", "show", "ib0.8002")
}

// ip neigh shows the service's neighbours with their 20-octet addresses.
func TestExecNeighbours(t *testing.T) {
	l := newLab(t).up(2)
	l.ping(1, "10.77.0.2")
	lladdr := regexp.MustCompile(`10\.77\.0\.2 dev ib0 lladdr ([0-9a-f]{2}:){19}[0-9a-f]{2} [A-Z]+`)
	if out := l.x(1, "ip", "neigh", "show"); !lladdr.MatchString(out) {
		t.Errorf("ip neigh show:\n%s", out)
	}
	if out := l.x(1, "ip", "neigh", "get", "10.77.0.2", "dev", "ib0"); !lladdr.MatchString(out) {
		t.Errorf("ip neigh get:\n%s", out)
	}
	if out := l.x(1, "ip", "-6", "neigh", "show"); strings.Contains(out, "10.77") {
		t.Errorf("ip -6 neigh show:\n%s", out)
	}
	addr := "80:00:00:48:fe:80:00:00:00:00:00:00:02:69:62:00:00:00:00:77"
	l.x(1, "ip", "neigh", "add", "10.77.0.99", "lladdr", addr, "dev", "ib0")
	if out := l.x(1, "ip", "neigh", "show", "dev", "ib0"); !strings.Contains(out, "10.77.0.99 lladdr "+addr+" PERMANENT") {
		t.Errorf("after add:\n%s", out)
	}
	if out := l.xfails(1, "ip", "neigh", "add", "10.77.0.99", "lladdr", addr, "dev", "ib0"); !strings.Contains(out, "File exists") {
		t.Errorf("second add: %s", out)
	}
	l.x(1, "ip", "neigh", "del", "10.77.0.99", "dev", "ib0")
	if out := l.x(1, "ip", "neigh", "show"); strings.Contains(out, "10.77.0.99") {
		t.Errorf("after del:\n%s", out)
	}
	l.x(1, "ip", "neigh", "flush", "dev", "ib0")
}

// A static Go program on vishvananda/netlink and mdlayher/ethtool.
func TestExecGoPrograms(t *testing.T) {
	l := newLab(t).up(1)
	if out := l.helper(1, "cni", "ib0"); !strings.Contains(out, "speed 100000") || !strings.Contains(out, "ib0") {
		t.Errorf("%s", out)
	}
	l.helper(1, "mixed")
}

// pyroute2 by netlink and by ioctl.
func TestExecPyroute2(t *testing.T) {
	const python = "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import pyroute2").Run(); err != nil {
		t.Fatalf("python3-pyroute2: %v", err)
	}
	l := newLab(t).up(1)
	script := filepath.Join(t.TempDir(), "p.py")
	if err := os.WriteFile(script, []byte(`
from pyroute2 import IPRoute, NDB, Ethtool
ip = IPRoute()
parent = ip.link_lookup(ifname='ib0')[0]
ip.link('add', ifname='ib0.8002', kind='ipoib', link=parent, pkey=0x8002)
child = ip.link_lookup(ifname='ib0.8002')[0]
l = ip.get_links(child)[0]
info = l.get_attr('IFLA_LINKINFO')
assert info.get_attr('IFLA_INFO_KIND') == 'ipoib', info
assert l.get_attr('IFLA_LINK') == parent
e = Ethtool()
c = e.get_coalesce('ib0')
c['rx_coalesce_usecs'] = 7
e.set_coalesce('ib0', c)
assert e.get_coalesce('ib0')['rx_coalesce_usecs'] == 7
f = e.get_features('ib0')
f.features['rx-lro'].enable = True
e.set_features('ib0', f)
assert e.get_features('ib0').features['rx-lro'].enable
assert e.get_link_mode('ib0').speed == 100000
n = NDB()
assert n.interfaces['ib0.8002']['kind'] == 'ipoib'
n.close()
ip.link('del', index=child)
print('done')
`), 0o644); err != nil {
		t.Fatal(err)
	}
	if out := l.x(1, python, script); !strings.Contains(out, "done") {
		t.Errorf("%s", out)
	}
	if out := l.x(1, "ethtool", "-c", "ib0"); !strings.Contains(out, "rx-usecs: 7\n") {
		t.Errorf("%s", out)
	}
}

// busybox and the tools of libnl show what ip shows.
func TestExecOtherTools(t *testing.T) {
	l := newLab(t).up(1)
	if out := l.x(1, "busybox", "ip", "link", "show", "ib0"); !strings.Contains(out, "BROADCAST,MULTICAST,UP,LOWER_UP") {
		t.Errorf("busybox ip link:\n%s", out)
	}
	if out := l.x(1, "busybox", "ifconfig", "ib0"); !strings.Contains(out, "BROADCAST") || strings.Contains(out, "POINTOPOINT") {
		t.Errorf("busybox ifconfig:\n%s", out)
	}
	if out := l.x(1, "nl-link-list", "--details", "--name", "ib0"); !strings.Contains(out, "infiniband") || !strings.Contains(out, "broadcast,multicast") {
		t.Errorf("nl-link-list:\n%s", out)
	}
}

// The program keeps its process number, its exit status and its children, and
// has no supervisor for a child.
func TestExecProcess(t *testing.T) {
	l := newLab(t).up(1)
	cmd := l.command("ipoib", in(1, "ipoib", "exec", "--", "sh", "-c", "echo $$; wait; (exit 3); exit 7")...)
	var out bytes.Buffer
	cmd.Stdout = &out
	err := cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != 7 {
		t.Errorf("exit code %d (%v)", code, err)
	}
	if pid := strings.TrimSpace(out.String()); pid != strconv.Itoa(cmd.Process.Pid) {
		t.Errorf("process %s, started as %d", pid, cmd.Process.Pid)
	}
	if out := l.x(1, "sh", "-c", "sleep 0.2 & wait; ps -o comm= --ppid $$"); strings.Contains(out, "ipoib") {
		t.Errorf("children:\n%s", out)
	}
	// A command substitution ends with the program, not with the supervisor.
	l.on(1, "timeout", "60", "sh", "-c", "x=$(ipoib exec -- echo a); test $x = a")
	for args, want := range map[string]int{"/nosuch": 127, "nosuch-command": 127, "/etc/passwd": 126, "": 125} {
		cmd := l.command("ipoib", append([]string{"exec", "--"}, strings.Fields(args)...)...)
		_ = cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != want {
			t.Errorf("exec %q: exit code %d, not %d", args, code, want)
		}
	}
	// With few descriptors the range is below; a program that lowers its limit
	// later gets sockets of the kernel.
	if out := l.on(1, "sh", "-c", "ulimit -n 200; ipoib exec -- ip -d link show ib0"); !strings.Contains(out, "ipoib pkey") {
		t.Errorf("with 200 descriptors:\n%s", out)
	}
	if out := l.x(1, "sh", "-c", "ulimit -n 100; ip -d link show ib0"); !strings.Contains(out, "tun") {
		t.Errorf("with a limit lowered to 100 descriptors:\n%s", out)
	}
	// Under a tracer.
	if out := l.x(1, "strace", "-f", "-o", "/dev/null", "ip", "-d", "link", "show", "ib0"); !strings.Contains(out, "ipoib pkey") {
		t.Errorf("under strace:\n%s", out)
	}
	// Nested use runs plainly.
	if out := l.x(1, "ipoib", "exec", "--", "ipoib", "exec", "--", "ip", "-d", "link", "show", "ib0"); !strings.Contains(out, "ipoib pkey") {
		t.Errorf("nested:\n%s", out)
	}
	// ip netns exec mounts a /sys without our files; exec behind it shows them,
	// nested or not.
	for _, args := range [][]string{
		{"ip", "netns", "exec", "ibhost1"},
		{"ipoib", "exec", "--", "ip", "netns", "exec", "ibhost1"},
	} {
		if out := l.run(args[0], append(args[1:], "ipoib", "exec", "--", "cat", "/sys/class/net/ib0/mode")...); out != "datagram\n" {
			t.Errorf("%v: %s", args, out)
		}
	}
}

// An interactive shell has its terminal and its job control.
func TestExecShell(t *testing.T) {
	l := newLab(t).up(1)
	script := filepath.Join(t.TempDir(), "shell.py")
	if err := os.WriteFile(script, []byte(`
import os, pty, select, sys, time
pid, fd = pty.fork()
if pid == 0:
    os.execvp('ipoib', ['ipoib', 'exec', '--', 'bash', '--norc', '-i'])
out = b''
def until(text, patience=60, again=None):
    global out
    end = time.time() + patience
    while text not in out:
        if time.time() > end:
            sys.exit('no %r in %r' % (text, out))
        if select.select([fd], [], [], 0.5)[0]:
            out += os.read(fd, 4096)
        elif again:
            say(again) # it came before there was anybody to take it
    out = out.split(text, 1)[1]
def say(text): os.write(fd, text.encode())
def job(key): # types a key as soon as a job has the terminal
    end = time.time() + 60
    while os.tcgetpgrp(fd) == pid and time.time() < end: time.sleep(0.05)
    say(key)
say("PS1=rea; PS1=${PS1}'dy:'\n"); until(b'ready:')
say('ip monitor link\n'); job('\x1a'); until(b'Stopped', again='\x1a'); until(b'ready:')
say('jobs\n'); until(b'ip monitor link'); until(b'ready:')
say('fg\n'); until(b'ip monitor link'); job('\x03'); until(b'ready:', again='\x03')
say('echo status $?\n'); until(b'status 130'); until(b'ready:')
say('ip -d link show ib0\n'); until(b'ipoib pkey'); until(b'ready:')
say('exit 5\n')
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := l.command("ipoib", in(1, "timeout", "300", "/usr/bin/python3", script)...)
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 5 {
		t.Errorf("exit code %d: %s", code, out)
	}
}

// A signal ends a program that waits for netlink, interrupts a call, and stops
// and continues the program.
func TestExecSignals(t *testing.T) {
	l := newLab(t).up(1)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		cmd := l.background(1, "ipoib", "exec", "--", "ip", "monitor", "link")
		l.receives(cmd.Process.Pid, "ip")
		_ = cmd.Process.Signal(sig)
		_ = cmd.Wait()
		if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != sig {
			t.Errorf("%v: %v", sig, cmd.ProcessState)
		}
	}
	cmd := l.background(1, "ipoib", "exec", "--", "ip", "-d", "monitor", "link")
	l.receives(cmd.Process.Pid, "ip")
	_ = cmd.Process.Signal(syscall.SIGSTOP)
	l.eventually("the program stops", func() bool { return procState(cmd.Process.Pid) == "T" })
	l.on(1, "ipoib", "link", "set", "ib0", "type", "ipoib", "umcast", "1")
	l.on(1, "ipoib", "link", "set", "ib0", "alias", "green")
	_ = cmd.Process.Signal(syscall.SIGCONT)
	cmd.prints("alias green")
	cmd.interrupt()
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != syscall.SIGINT {
		t.Errorf("after the stop: %v", cmd.ProcessState)
	}
}

// procState is the state of a process, as ps prints it.
func procState(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	return f[0]
}

// The service itself may be started under exec, and is not redirected to
// itself.
func TestExecService(t *testing.T) {
	l := newLab(t)
	l.kill()
	self, err := exec.LookPath("ipoib")
	if err != nil {
		t.Fatal(err)
	}
	args := l.args
	l.serve = exec.Command(self, append([]string{"exec", "--", self}, args...)...)
	l.serve.Env = append(os.Environ(), "IPOIB_RUN_DIR="+l.runDir)
	l.serve.Stdout, l.serve.Stderr = l.log, l.log
	if err := l.serve.Start(); err != nil {
		t.Fatal(err)
	}
	l.eventually("the service answers", func() bool { return l.try("ipoib", "fabric", "manager") == nil })
	l.up(1)
	l.x(1, "ip", "link", "add", "link", "ib0", "name", "ib0.8001", "type", "ipoib", "pkey", "0x8001")
	l.x(1, "ip", "link", "set", "ib0.8001", "up")
	l.waitCarrier(1, "ib0.8001")
}

// The service may itself run under exec: its calls are answered while its
// answers are waited for.
func TestExecServiceInside(t *testing.T) {
	l := newLab(t)
	script := `set -e
run=$(mktemp -d /run/ipoib-inside.XXXXXX); export IPOIB_RUN_DIR=$run
exec ipoib --run-dir $run exec -- sh -ec '
	ipoib serve --hca soft9,ifname=ibx >$IPOIB_RUN_DIR/log 2>&1 &
	until ipoib fabric manager >/dev/null 2>&1; do sleep 0.05; done
	ip link add link ibx name ibx.8001 type ipoib pkey 0x8001
	ip -j -d link show ibx.8001 | jq -r ".[0].linkinfo.info_data.key"
	ip link del ibx.8001
	ethtool -i ibx | head -1
	ipoib serve --teardown; wait
	rm -r $IPOIB_RUN_DIR
'`
	if out := l.run("timeout", "60", "sh", "-c", script); out != "0x8001\ndriver: ib_ipoib\n" {
		t.Errorf("%s", out)
	}
}

// Without a service everything is the kernel's; with one that starts later new
// sockets reach it, and one that ends is survived.
func TestExecWithoutService(t *testing.T) {
	l := newLab(t).up(1)
	l.kill()
	plain, under := l.on(1, "ip", "-d", "link", "show", "lo"), l.x(1, "ip", "-d", "link", "show", "lo")
	if plain != under {
		t.Errorf("without a service:\n%s\nunder exec:\n%s", plain, under)
	}
	if out := l.x(1, "ip", "-d", "link", "show", "ib0"); !strings.Contains(out, "tun") {
		t.Errorf("ib0 without a service:\n%s", out)
	}
	cmd := l.command("ipoib", in(1, redirected("sh", "-c", "read x; ip -d link show ib0; read x; ip -d link show ib0")...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out := must(os.Create(filepath.Join(t.TempDir(), "out")))
	defer out.Close()
	text := func() string { return string(must(os.ReadFile(out.Name()))) }
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l.start()
	fmt.Fprintln(in)
	l.eventually("the program sees the service", func() bool { return strings.Contains(text(), "ipoib pkey") })
	l.kill()
	l.start()
	fmt.Fprintln(in)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, text())
	}
	if n := strings.Count(text(), "ipoib pkey"); n != 2 {
		t.Errorf("%d times:\n%s", n, text())
	}
}

// Who may not change links may not do it through the supervisor either, though
// that runs as root.
func TestExecPrivilege(t *testing.T) {
	l := newLab(t).up(1)
	l.x(1, "ip", "link", "add", "link", "ib0", "name", "ib0.8001", "type", "ipoib", "pkey", "0x8001")
	before := l.on(1, "ipoib", "-d", "link", "show", "ib0.8001")
	drop := []string{"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--"}
	for _, args := range []string{
		"ip link add link ib0 name ib0.8009 type ipoib pkey 0x8009", "ip link del ib0.8001",
		"ip link set ib0.8001 up", "ip link set ib0.8001 type ipoib umcast 1", "ip link set lo down",
		"ethtool -C ib0 rx-usecs 99", "ethtool -K ib0 lro on",
		"ip neigh add 10.77.0.99 lladdr 80:00:00:48:fe:80:00:00:00:00:00:00:02:69:62:00:00:00:00:77 dev ib0",
	} {
		if out := l.xfails(1, append(slices.Clip(drop), strings.Fields(args)...)...); !strings.Contains(out, "Operation not permitted") {
			t.Errorf("%s: %s", args, out)
		}
	}
	if after := l.on(1, "ipoib", "-d", "link", "show", "ib0.8001"); after != before {
		t.Errorf("changed:\n%s", after)
	}
	// A datagram that is part for the kernel and part for the service.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join("/run", "mixed-helper")
	if out, err := exec.Command("cp", self, bin).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { _ = os.Remove(bin) })
	l.x(1, append(slices.Clip(drop), "env", helperEnv+"=mixed", bin, "unprivileged")...)
	// Reading is for all.
	if out := l.x(1, append(slices.Clip(drop), "ip", "-d", "link", "show", "ib0")...); !strings.Contains(out, "ipoib pkey") {
		t.Errorf("unprivileged show:\n%s", out)
	}
	// So it is without any privilege from the beginning.
	out := l.on(1, append(slices.Clip(drop), redirected("ip", "-d", "link", "show", "ib0")...)...)
	if !strings.Contains(out, "ipoib pkey") {
		t.Errorf("unprivileged exec:\n%s", out)
	}
	// Root of a user namespace with a network namespace of its own may not put
	// interfaces into others'.
	if out := l.xfails(1, "unshare", "-U", "-r", "-n", "ip", "link", "set", "lo", "netns", "1"); !strings.Contains(out, "not permitted") && !strings.Contains(out, "Invalid argument") {
		t.Errorf("a move by root of a user namespace: %s", out)
	}
	// Root of another user namespace is nobody here.
	if out := l.xfails(1, "unshare", "-U", "-r", "ip", "link", "del", "ib0.8001"); !strings.Contains(out, "Operation not permitted") {
		t.Errorf("root of a user namespace: %s", out)
	}
}
