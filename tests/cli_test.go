//go:build integration

package tests

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// exits runs a command and checks its exit code and standard error.
func (l *lab) exits(code int, stderr string, name string, args ...string) {
	l.t.Helper()
	out, err := l.command(name, args...).Output()
	got, text := 0, ""
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got, text = exit.ExitCode(), string(exit.Stderr)
	} else if err != nil {
		l.t.Fatal(err)
	}
	if got != code || text != stderr {
		l.t.Errorf("%s %s: exit %d, %q, want %d, %q\n%s", name, strings.Join(args, " "), got, text, code, stderr, out)
	}
}

// same runs a command line with the real ip and with ours: they must agree in
// everything.
func (l *lab) same(args ...string) {
	l.t.Helper()
	run := func(name string) [3]string {
		var out, errOut strings.Builder
		cmd := l.command(name, args...)
		cmd.Stdout, cmd.Stderr = &out, &errOut
		_ = cmd.Run()
		return [3]string{out.String(), errOut.String(), cmd.ProcessState.String()}
	}
	if want, got := run("ip"), run("ipoib"); want != got {
		l.t.Errorf("%q:\nip    %q\nipoib %q", args, want, got)
	}
}

// TestNamespaces: -netns, a move, and that each namespace has its own.
func TestNamespaces(t *testing.T) {
	l := newLab(t).up(2)
	one := l.run("ipoib", "-n", "ibhost1", "link", "show", "ib0")
	if one != l.on(1, "ipoib", "link", "show", "ib0") || one == l.run("ipoib", "-netns", "ibhost2", "link", "show", "ib0") {
		t.Errorf("-n ibhost1:\n%s", one)
	}
	if out := l.run("ipoib", "link"); out != "" {
		t.Errorf("outside the hosts:\n%s", out)
	}
	l.same("-n", "nosuch", "link", "show")
	l.on(1, "ipoib", "link", "add", "ib0.8001")
	l.on(1, "ipoib", "link", "set", "ib0.8001", "netns", "ibhost2", "name", "guest")
	if out := l.on(2, "ipoib", "-d", "link", "show", "guest"); !strings.Contains(out, "ipoib pkey 0x8001 ") {
		t.Errorf("moved:\n%s", out)
	}
	if err := l.tryOn(1, "ipoib", "link", "show", "ib0.8001"); err == nil {
		t.Error("it is still in the first namespace")
	}
	l.on(2, "ip", "link", "show", "guest")
	// Made there at once, with a batch file from standard input.
	cmd := l.command("ipoib", "-n", "ibhost1", "-batch", "-")
	cmd.Stdin = strings.NewReader("link add ib0.8002 netns ibhost2 pkey 0x8002\nlink show ib0 # and so on\n")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), ": ib0: ") {
		t.Errorf("batch: %v\n%s", err, out)
	}
	l.on(2, "ipoib", "link", "del", "ib0.8002")
	l.run("ipoib", "-n", "ibhost2", "link", "del", "guest")
}

// TestGrammar: abbreviations, the forms of the output, batch files, and the
// short form of our own.
func TestGrammar(t *testing.T) {
	l := newLab(t, "--hca", "soft0")
	for _, args := range [][]string{
		{"link", "add", "ib0.8001"},
		{"link", "add", "ib0.8002", "pkey", "0x8002"},
		{"link", "add", "ib0.8003", "mode", "datagram", "umcast", "1"},
		{"link", "add", "ib0.8004", "pkey", "0x8005"},
		{"l", "a", "link", "ib0", "name", "six", "type", "ipoib", "pkey", "0x8006"},
	} {
		l.run("ipoib", args...)
	}
	pkeys := map[string]string{"ib0": "0xffff", "ib0.8001": "0x8001", "ib0.8002": "0x8002", "ib0.8003": "0x8003", "ib0.8004": "0x8005", "six": "0x8006"}
	var raw []map[string]any
	for _, args := range [][]string{{"-d", "-j", "link"}, {"-d", "-j", "-p", "link", "show"}, {"-det", "-js", "l", "l"}} {
		if err := json.Unmarshal([]byte(l.run("ipoib", args...)), &raw); err != nil || len(raw) != len(pkeys) {
			t.Errorf("%q: %d, %v", args, len(raw), err)
		}
	}
	for _, x := range raw {
		key := x["linkinfo"].(map[string]any)["info_data"].(map[string]any)["key"]
		if key != pkeys[x["ifname"].(string)] {
			t.Errorf("%s: key %v", x["ifname"], key)
		}
	}
	for _, form := range []string{"show ib0", "sh dev ib0", "list ib0", "lst ib0", "l ib0"} {
		if out := l.run("ipoib", append([]string{"li"}, strings.Fields(form)...)...); out != l.run("ipoib", "link", "show", "ib0") {
			t.Errorf("%s:\n%s", form, out)
		}
	}
	l.run("ipoib", "link", "s", "dev", "ib0.8001", "mtu", "1400", "txq", "77", "al", "an alias")
	if out := l.run("ipoib", "-o", "link", "show", "ib0.8001"); !regexp.MustCompile(` mtu 1400 .* qlen 77\\ .*\\    alias an alias\n$`).MatchString(out) {
		t.Errorf("%s", out)
	}
	if out := l.run("ipoib", "-c", "-br", "link", "show", "ib0"); !strings.Contains(out, "\x1b[36mib0 ") {
		t.Errorf("colours: %q", out)
	}
	file := filepath.Join(t.TempDir(), "batch")
	if err := os.WriteFile(file, []byte("# setup\nlink set six name seven\nlink set nosuch up\nlink set seven name eight\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.exits(1, "Cannot find device \"nosuch\"\nCommand failed "+file+":3\n", "ipoib", "-batch", file)
	l.run("ipoib", "link", "set", "seven", "name", "six")
	l.exits(1, "Cannot find device \"nosuch\"\nCommand failed "+file+":3\n", "ipoib", "-force", "-batch", file)
	l.run("ipoib", "link", "show", "eight")
	l.exits(1, "Cannot find device \"nosuch\"\n", "ipoib", "link", "set", "nosuch", "up")
	l.exits(1, "Device \"nosuch\" does not exist.\n", "ipoib", "link", "show", "nosuch")
	l.exits(2, "RTNETLINK answers: File exists\n", "ipoib", "link", "add", "ib0.8001")
	l.exits(1, "Cannot find device \"ib9\"\n", "ipoib", "link", "add", "ib9.8001")
	l.exits(255, "Command \"nosuch\" is unknown, try \"ip link help\".\n", "ipoib", "link", "nosuch")
	l.exits(1, "netlink error: no device matches name (offset 24)\nnetlink error: No such device\n", "ipoib-ethtool", "-c", "nosuch")
	// What has no interface to print is the same for both.
	for _, line := range []string{"link help ipoib", "link show type nosuch dev ib9", "link set", "link add name x", "link del", "link foo"} {
		l.same(strings.Fields(line)...)
	}
}

// follow starts a command and returns its lines as they come.
func (l *lab) follow(name string, args ...string) <-chan string {
	l.t.Helper()
	cmd := l.command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	lines := make(chan string, 1000)
	go func() {
		for sc := bufio.NewScanner(out); sc.Scan(); {
			lines <- sc.Text()
		}
		close(lines)
	}()
	l.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return lines
}

// expect waits for a line.
func expect(t *testing.T, lines <-chan string, re string) string {
	t.Helper()
	want := regexp.MustCompile(re)
	var seen []string
	for timeout := time.After(patience); ; {
		select {
		case line, ok := <-lines:
			if ok && want.MatchString(line) {
				return line
			}
			if seen = append(seen, line); ok {
				continue
			}
		case <-timeout:
		}
		t.Fatalf("no line %s in\n%s", re, strings.Join(seen, "\n"))
	}
}

// TestMonitors: both monitors tell of what the commands change, and of what the
// stock tools change.
func TestMonitors(t *testing.T) {
	l := newLab(t, "--hca", "soft0")
	links := l.follow("ipoib", "-t", "monitor", "link")
	// stdbuf as with the real tool: but for the banner its output is held back.
	settings := l.follow("ipoib-ethtool", "--monitor", "ib0")
	expect(t, settings, `^listening\.\.\.$`)
	// ipoib monitor says nothing when it begins: it has begun when it tells of
	// something.
	alias := 0
	l.eventually("ipoib monitor tells of changes", func() bool {
		alias++
		l.run("ipoib", "link", "set", "ib0", "alias", fmt.Sprint("a", alias))
		return len(links) > 0
	})
	l.run("ipoib", "link", "add", "ib0.8001")
	expect(t, links, `^Timestamp: \w{3} \w{3} [ 0-9]\d \d\d:\d\d:\d\d \d{4} \d+ usec$`)
	expect(t, links, `^\d+: ib0\.8001@ib0: <BROADCAST,MULTICAST,M-DOWN> mtu 4092 qdisc noop state DOWN group default $`)
	expect(t, links, `^    link/infiniband `)
	l.run("ip", "link", "set", "ib0", "mtu", "1300")
	expect(t, links, `^\d+: ib0: .* mtu 1300 `)
	l.run("ipoib", "link", "set", "ib0", "up")
	expect(t, links, `^\d+: ib0: <BROADCAST,MULTICAST,UP,LOWER_UP> .* state UP group default $`)
	l.run("ipoib-ethtool", "-K", "ib0", "tso", "off")
	expect(t, links, `^\d+: ib0: .* event FEATURE CHANGE $`)
	l.run("ipoib", "link", "del", "ib0.8001")
	expect(t, links, `^Deleted \d+: ib0\.8001@ib0: `)
	// The other is flushed at 4 KiB, as with the real tool.
	for n := range 20 {
		l.run("ipoib-ethtool", "-C", "ib0", "rx-usecs", string(rune('0'+n%10)))
	}
	expect(t, settings, `^Features for ib0:$`)
	expect(t, settings, `^tcp-segmentation-offload: off$`)
	expect(t, settings, `^Coalesce parameters for ib0:$`)
	expect(t, settings, `^rx-usecs: 1$`)
}
