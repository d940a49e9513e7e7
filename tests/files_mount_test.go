//go:build integration

package tests

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// ours lists the mounts of the lab's tree.
func (l *lab) ours() (out []string) {
	l.t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		l.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); strings.Contains(line, l.runDir) && len(f) > 4 {
			out = append(out, f[4])
		}
	}
	return out
}

// host runs a line outside of the lab's hosts, with a limit.
func (l *lab) host(line string) string {
	l.t.Helper()
	cmd := l.command("timeout", "60", "bash", "-c", line)
	cmd.Env = append(cmd.Env, "LC_ALL=C")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() == 124 {
			l.t.Fatalf("%s: %v\n%s", line, err, out.String())
		}
	}
	return out.String()
}

// With --sysfs the machine's own /sys has the files, for as long as the service
// runs.
func TestFilesSysfs(t *testing.T) {
	before := must(os.ReadFile("/proc/self/mountinfo"))
	l := newLab(t, "--hca", "soft0,ifname=ib0", "--sysfs")
	for _, tt := range []struct{ line, want string }{
		{"cat /sys/class/net/ib0/pkey /sys/class/net/ib0/addr_len", "0xffff\n20\n"},
		// The file of a new interface is there when the write returns.
		{"echo 0x8001 > /sys/class/net/ib0/create_child; cat /sys/class/net/ib0.8001/pkey", "0x8001\n"},
		{"echo 0x8001 > /sys/class/net/ib0/create_child", "bash: line 1: echo: write error: Name not unique on network\n"},
		{"ls /sys/kernel/debug/ipoib", "ib0.8001_mcg\nib0.8001_path\nib0_mcg\nib0_path\n"},
	} {
		if got := l.host(tt.line); got != tt.want {
			t.Errorf("$ %s\n%swant\n%s", tt.line, got, tt.want)
		}
	}
	// By other faces, and renamed.
	l.run("ipoib", "link", "add", "link", "ib0", "name", "ibn", "type", "ipoib", "pkey", "0x8002")
	l.eventually("ibn has its files", func() bool { return l.host("cat /sys/class/net/ibn/pkey") == "0x8002\n" })
	l.run("ip", "link", "set", "ibn", "name", "ibm")
	l.eventually("ibm has its files", func() bool { return l.host("cat /sys/class/net/ibm/pkey") == "0x8002\n" })
	l.run("ipoib", "link", "del", "ibm")
	l.host("echo 0x8001 > /sys/class/net/ib0/delete_child")
	l.eventually("the mounts are gone", func() bool {
		return !slices.Contains(l.ours(), "/sys/devices/virtual/net/ibm") && !slices.Contains(l.ours(), "/sys/devices/virtual/net/ib0.8001")
	})
	if out := l.host("ls /sys/class/net"); out != "ib0\nlo\n" {
		t.Errorf("%s", out)
	}
	l.run("ipoib", "serve", "--teardown")
	_ = l.serve.Wait()
	if after := must(os.ReadFile("/proc/self/mountinfo")); !bytes.Equal(before, after) {
		t.Errorf("mounts before\n%safter\n%s", before, after)
	}
}

// What the files show of an interface that was never up, all of them, is what
// the kernel's driver shows.
func TestFilesEnvironment(t *testing.T) {
	l := newLab(t, "--hca", "soft0,ifname=ib0", "--sysfs-overlay")
	l.host("echo 0x8001 > /sys/class/net/ib0/create_child")
	text := string(must(os.ReadFile("testdata/files/environment.txt")))
	// What this kernel shows of any interface and Linux 6.1 did not, and what a
	// distribution's driver is built without.
	news := map[string]bool{"data_debug_level": true, "cm_data_debug_level": true}
	for _, e := range must(os.ReadDir("/sys/class/net/lo/")) {
		if !strings.Contains(text, "\n"+e.Name()+"\n") {
			news[e.Name()] = true
		}
	}
	for _, block := range strings.Split(text, "\n$ ")[1:] {
		line, want, _ := strings.Cut(block, "\n")
		var got strings.Builder
		for out := range strings.Lines(l.host(line + " 2>&1; echo \"[exit $?]\"")) {
			words := strings.FieldsFunc(out, func(r rune) bool { return strings.ContainsRune("/ :\n", r) })
			if !slices.ContainsFunc(words, func(w string) bool { return news[w] }) {
				got.WriteString(out)
			}
		}
		lines := func(s string) []string { return strings.Split(strings.TrimSpace(s), "\n") }
		// A star at the end of a line that is wanted stands for anything.
		same := cmp.Comparer(func(a, b string) bool {
			w, anything := strings.CutSuffix(a, "*")
			g, other := strings.CutSuffix(b, "*")
			return a == b || anything && strings.HasPrefix(b, w) || other && strings.HasPrefix(a, g)
		})
		if diff := cmp.Diff(lines(want), lines(got.String()), same); diff != "" {
			t.Errorf("$ %s (-kernel +ours)\n%s", line, diff)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// With --sysfs-overlay also what the kernel has no place for is in /sys, with
// all that is the kernel's, and undone in the end.
func TestFilesSysfsOverlay(t *testing.T) {
	before := must(os.ReadFile("/proc/self/mountinfo"))
	classes, modules := must(os.ReadDir("/sys/class")), must(os.ReadDir("/sys/module"))
	l := newLab(t, "--hca", "soft0,ifname=ib0", "--sysfs-overlay", "--param", "send_queue_size=300", "--param", "debug_level=1")
	for _, tt := range []struct{ line, want string }{
		{"cat /sys/module/ib_ipoib/parameters/{send_queue_size,debug_level}", "512\n1\n"},
		{"echo 0 > /sys/module/ib_ipoib/parameters/debug_level; cat /sys/module/ib_ipoib/parameters/debug_level", "0\n"},
		{"cat /sys/class/infiniband/soft0/ports/1/link_layer", "InfiniBand\n"},
		{"ibstat -l", "soft0\n"},
		{"ls /sys/class/net; cat /sys/class/net/ib0/pkey /sys/class/net/lo/address", "ib0\nlo\n0xffff\n00:00:00:00:00:00\n"},
		{"echo 0x8001 > /sys/class/net/ib0/create_child; cat /sys/class/net/ib0.8001/parent", "ib0\n"},
		{"readlink -f /sys/class/net/ib0/device; ls /sys/class/net/ib0/device/net", "/sys/class/infiniband/soft0/device\nib0\n"},
		{"cat /sys/module/fuse/parameters/max_user_bgreq >/dev/null && echo there", "there\n"},
		{"ls /sys/kernel/debug/ipoib | head -1", "ib0.8001_mcg\n"},
	} {
		if got := l.host(tt.line); got != tt.want {
			t.Errorf("$ %s\n%swant\n%s", tt.line, got, tt.want)
		}
	}
	if now := must(os.ReadDir("/sys/class")); len(now) != len(classes)+1 {
		t.Errorf("%d classes, were %d", len(now), len(classes))
	}
	if now := must(os.ReadDir("/sys/module")); len(now) != len(modules)+1 {
		t.Errorf("%d modules, were %d", len(now), len(modules))
	}
	l.run("ipoib", "serve", "--teardown")
	_ = l.serve.Wait()
	if after := must(os.ReadFile("/proc/self/mountinfo")); !bytes.Equal(before, after) {
		t.Errorf("mounts before\n%safter\n%s", before, after)
	}
	if now := must(os.ReadDir("/sys/class")); len(now) != len(classes) {
		t.Errorf("%d classes, were %d", len(now), len(classes))
	}
}

// After a kill -9 nothing hangs: files answer with an error, and the next
// start cleans up.
func TestFilesKilled(t *testing.T) {
	before := must(os.ReadFile("/proc/self/mountinfo"))
	for _, flag := range []string{"--sysfs", "--sysfs-overlay"} {
		l := newLab(t, "--hca", "soft0,ifname=ib0", flag)
		l.host("echo 0x8001 > /sys/class/net/ib0/create_child")
		l.eventually("the child is remembered", func() bool {
			b, err := os.ReadFile(filepath.Join(l.runDir, "state.json"))
			return err == nil && bytes.Contains(b, []byte("ib0.8001"))
		})
		l.kill()
		if out := l.host("ls /sys/class/net; ls -L /sys/class/net; ls /run; true"); flag == "--sysfs" && !strings.HasPrefix(out, "ib0\nib0.8001\nlo\n") {
			t.Errorf("%s", out)
		}
		if out := l.host("cat /sys/class/net/ib0/mode"); !strings.HasSuffix(out, "Transport endpoint is not connected\n") {
			t.Errorf("%s", out)
		}
		l.start()
		if out := l.host("cat /sys/class/net/ib0/mode /sys/class/net/ib0.8001/pkey"); out != "datagram\n0x8001\n" {
			t.Errorf("%s", out)
		}
		// Killed once more, and nobody comes after it but the clean-up.
		l.kill()
		l.run("ipoib", "serve", "--teardown")
		if after := must(os.ReadFile("/proc/self/mountinfo")); !bytes.Equal(before, after) {
			t.Errorf("mounts before\n%safter\n%s", before, after)
		}
	}
}

// Programs that run in a host, or under exec, have the files again after the
// service was restarted, killed or not, and the kernel's while none runs.
func TestFilesRestart(t *testing.T) {
	l := newLab(t).up(1)
	programs := []*program{l.background(1, "sleep", "1000"), l.background(1, "ipoib", "exec", "--", "sleep", "1000")}
	look := func(p *program, line string) string {
		return l.host("nsenter -t " + strconv.Itoa(p.Process.Pid) + " -m -n bash -c '" + line + "' 2>&1")
	}
	const (
		line   = "cat /sys/class/net/ib0/mode /sys/class/net/lo/type; ls /sys/class/infiniband; ls /sys/kernel/debug/ipoib; ls /sys/devices/virtual/net/lo/mtu"
		served = "datagram\n772\nsoft1\nib0_mcg\nib0_path\n/sys/devices/virtual/net/lo/mtu\n"
	)
	all := func(when string, ok func(string) bool) {
		t.Helper()
		for _, p := range programs {
			var out string
			l.eventually(when, func() bool { out = look(p, line); return ok(out) })
		}
	}
	servedAll := func(out string) bool { return out == served }
	all("the files are there", servedAll)
	for range 2 {
		l.kill()
		all("the files are dead", func(out string) bool { return strings.Contains(out, "Transport endpoint is not connected") })
		l.start()
		all("the files are there after a kill", servedAll)
		if err := l.serve.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		_ = l.serve.Wait()
		all("the files are the kernel's", func(out string) bool {
			return strings.Contains(out, "No such file") && strings.Contains(out, "772\n") && !strings.Contains(out, "connected")
		})
		l.start()
		all("the files are there after a restart", servedAll)
	}
	// Nothing piles up, and in the end nothing is left.
	if out := look(programs[0], "grep -c fuse.ipoib /proc/self/mountinfo"); out != "5\n" {
		t.Errorf("%s mounts", out)
	}
	l.run("ipoib", "serve", "--teardown")
	_ = l.serve.Wait()
	if out := look(programs[0], "grep -c fuse.ipoib /proc/self/mountinfo; ls /sys/class/net"); out != "0\nlo\n" {
		t.Errorf("%s", out)
	}
}
