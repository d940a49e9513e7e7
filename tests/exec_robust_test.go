//go:build integration

package tests

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

var ne = binary.NativeEndian

// Signals every millisecond lose no answer.
func TestExecSignalStorm(t *testing.T) {
	l := newLab(t).up(1)
	t.Log(l.helper(1, "storm"))
}

// A socket that is closed is closed: its port id can be bound again at once.
func TestExecRebind(t *testing.T) {
	newLab(t).up(1).helper(1, "rebind")
}

// Every link comes once, whatever the size of the buffer and however the
// program waits.
func TestExecDumpMatrix(t *testing.T) {
	l := newLab(t).up(1)
	l.children(1, 0x8100, 40)
	t.Log(strings.TrimSpace(l.helper(1, "matrix")))
}

// children makes n children of ib0 in host i.
func (l *lab) children(i, pkey, n int) {
	l.t.Helper()
	var batch strings.Builder
	for k := range n {
		fmt.Fprintf(&batch, "link add link ib0 name ib0.%x type ipoib pkey 0x%x\n", pkey+k, pkey+k)
	}
	file := filepath.Join(l.t.TempDir(), "batch")
	if err := os.WriteFile(file, []byte(batch.String()), 0o644); err != nil {
		l.t.Fatal(err)
	}
	l.x(i, "ip", "-batch", file)
}

// Four threads receive from one socket.
func TestExecReaders(t *testing.T) {
	newLab(t).up(1).helper(1, "readers")
}

// 800 links of others look as they do without exec, also beside ours.
func TestExecManyLinks(t *testing.T) {
	l := newLab(t).up(1)
	var batch strings.Builder
	for i := range 400 {
		fmt.Fprintf(&batch, "link add v%da type veth peer name v%db\n", i, i)
	}
	file := filepath.Join(t.TempDir(), "batch")
	if err := os.WriteFile(file, []byte(batch.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	l.x(1, "ip", "-batch", file)
	ours := regexp.MustCompile(`(?m)^\d+: ib0: .*\n( .*\n)*`)
	for _, args := range [][]string{{"ip", "-d", "link"}, {"ip", "-j", "-d", "-s", "link", "show", "v7a"}, {"ip", "addr"}} {
		plain, under := ours.ReplaceAllString(l.on(1, args...), ""), l.x(1, args...)
		if under = ours.ReplaceAllString(under, ""); plain != under {
			t.Errorf("%v: %d bytes, %d under exec", args, len(plain), len(under))
		}
	}
	start := time.Now()
	l.on(1, "ip", "link")
	plain := time.Since(start)
	start = time.Now()
	l.x(1, "ip", "link")
	t.Logf("ip link with 800 links: %v, under exec %v", plain, time.Since(start))
}

// A program that waits for netlink can be frozen and thawed.
func TestExecFreezer(t *testing.T) {
	root := ""
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified", filepath.Join(t.TempDir(), "cgroup2")} {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			if _, err := os.Stat(filepath.Join(dir, "cgroup.controllers")); err == nil {
				root = dir
			}
		}
	}
	if root == "" {
		root = "/sys/fs/cgroup"
		if err := syscall.Mount("cgroup2", root, "cgroup2", 0, ""); err != nil {
			t.Fatalf("no cgroup2: %v", err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(root, syscall.MNT_DETACH) })
	}
	dir := filepath.Join(root, "ipoib-freezer-"+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l := newLab(t).up(1)
	monitor := l.background(1, "ipoib", "exec", "--", "ip", "-d", "monitor", "link")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		write("cgroup.freeze", "0")
		monitor.interrupt()
		_ = os.Remove(dir)
	}()
	l.receives(monitor.Process.Pid, "ip")
	write("cgroup.procs", strconv.Itoa(monitor.Process.Pid))
	for n := range 3 {
		write("cgroup.freeze", "1")
		l.eventually("the program is frozen", func() bool {
			b, err := os.ReadFile(filepath.Join(dir, "cgroup.events"))
			return err == nil && strings.Contains(string(b), "frozen 1")
		})
		write("cgroup.freeze", "0")
		// It goes on where it was.
		alias := fmt.Sprint("after thaw ", n)
		l.on(1, "ipoib", "link", "set", "ib0", "alias", alias)
		monitor.prints(alias)
	}
}

// supervisors lists the processes that supervise others.
func supervisors() (pids []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, d := range dirs {
		b, err := os.ReadFile(d)
		if err == nil && bytes.Contains(b, []byte("\x00exec-supervisor\x00run\x00")) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(d))); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// A supervisor that is killed leaves no program waiting.
func TestExecKilledSupervisor(t *testing.T) {
	l := newLab(t).up(1)
	l.eventually("earlier supervisors end", func() bool { return len(supervisors()) == 0 })
	shell := l.background(1, "ipoib", "exec", "--", "sh", "-c", "ip monitor link; echo first $?; ip link show lo; echo then $?; cat /dev/null && echo end")
	ip := 0
	l.eventually("the shell runs ip", func() bool {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", shell.Process.Pid))
		for child := range strings.FieldsSeq(string(b)) {
			if comm, _ := os.ReadFile("/proc/" + child + "/comm"); string(comm) == "ip\n" {
				ip, _ = strconv.Atoi(child)
			}
		}
		return ip != 0
	})
	l.receives(ip, "ip")
	pids := supervisors()
	if len(pids) != 1 {
		t.Fatalf("supervisors %v", pids)
	}
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// Calls that it would have answered fail, and no other.
	shell.prints("end\n")
	_ = shell.Wait()
	out := shell.text()
	if !regexp.MustCompile(`(?s)Function not implemented.*\nfirst \d+\n.*Function not implemented.*\nthen [1-9]\d*\nend\n$`).MatchString(out) {
		t.Errorf("%s", out)
	}
}

// A supervisor ends with the last of its programs.
func TestExecSupervisorEnds(t *testing.T) {
	l := newLab(t).up(1)
	l.eventually("earlier supervisors end", func() bool { return len(supervisors()) == 0 })
	pid, err := strconv.Atoi(strings.TrimSpace(l.x(1, "sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo $!; ip link >/dev/null")))
	if err != nil {
		t.Fatal(err)
	}
	if len(supervisors()) != 1 {
		t.Errorf("supervisors %v: a program is left alone", supervisors())
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	l.eventually("the supervisor ends", func() bool { return len(supervisors()) == 0 })
}
