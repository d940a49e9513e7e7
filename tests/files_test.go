//go:build integration

package tests

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// bash runs a line in host i and returns what it prints, and its exit code as
// the transcripts have it.
func (l *lab) bash(i int, line string) string {
	l.t.Helper()
	cmd := l.command("ipoib", in(i, "bash", "-c", line)...)
	cmd.Env = append(cmd.Env, "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	code := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else if err != nil {
		l.t.Fatal(err)
	}
	return fmt.Sprintf("%s[exit %d]\n", out, code)
}

// transcript replays commands that were typed on a kernel with ib_ipoib and
// compares what they print, byte for byte, and the driver's messages.
func (l *lab) transcript(i int, name string) {
	l.t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "files", name))
	if err != nil {
		l.t.Fatal(err)
	}
	blocks := strings.Split(string(text), "\n$ ")[1:]
	if len(blocks) == 0 {
		l.t.Fatalf("%s is empty", name)
	}
	for _, b := range blocks {
		line, want, _ := strings.Cut(strings.TrimRight(b, "\n")+"\n", "\n")
		want, kmsg, _ := strings.Cut(want, "[kmsg] ")
		got := l.bash(i, line)
		if got != want {
			l.t.Errorf("$ %s\n%swant\n%s", line, got, want)
		}
		log := l.run("ipoib", "log", "-n", "20")
		for msg := range strings.SplitSeq(strings.TrimSuffix(kmsg, "\n"), "\n[kmsg] ") {
			if msg != "" && !strings.Contains(log, " "+msg+"\n") {
				l.t.Errorf("$ %s\nno message %q in\n%s", line, msg, log)
			}
		}
	}
}

func TestFilesChildren(t *testing.T)   { newLab(t).up(1).transcript(1, "children.txt") }
func TestFilesPermission(t *testing.T) { newLab(t).up(1).transcript(1, "permission.txt") }
func TestFilesDebugfs(t *testing.T)    { newLab(t).up(1).transcript(1, "debugfs.txt") }
func TestFilesDebugLevel(t *testing.T) { newLab(t).up(1).transcript(1, "debug-level.txt") }
func TestFilesMTU(t *testing.T)        { newLab(t).up(1).transcript(1, "mtu.txt") }

// The mode by its file.
func TestFilesConnected(t *testing.T) { newLab(t).up(1).transcript(1, "connected.txt") }

// The mode by its file, where the adapter has no connections.
func TestFilesNoConnections(t *testing.T) {
	l := newLab(t)
	l.run("ipoib", "lab", "up", "--hosts", "1", "--profile", "datagram")
	want := "bash: line 1: echo: write error: Invalid argument\ndatagram\n[exit 0]\n"
	if got := l.bash(1, "echo connected > /sys/class/net/ib0/mode; cat /sys/class/net/ib0/mode"); got != want {
		t.Errorf("%s", got)
	}
	if a := l.on(1, "cat", "/sys/class/net/ib0/address"); !strings.HasPrefix(a, "00:") {
		t.Errorf("address %s", a)
	}
}

// Every command of IPoIB's documentation, as typed.
func TestFilesDocumentation(t *testing.T) {
	l := newLab(t).up(2)
	if got := l.bash(1, `
		echo 0x8001 > /sys/class/net/ib0/create_child
		cat /sys/class/net/ib0.8001/parent /sys/class/net/ib0.8001/pkey /sys/class/net/ib0.8001/mode
		cat /sys/class/net/ib0/pkey
		echo 1 > /sys/module/ib_ipoib/parameters/debug_level
		echo 1 > /sys/module/ib_ipoib/parameters/mcast_debug_level
		ls /sys/kernel/debug/ipoib
		echo 0x8001 > /sys/class/net/ib0/delete_child
		ls /sys/class/net`); got != "ib0\n0x8001\ndatagram\n0xffff\n"+
		"ib0.8001_mcg\nib0.8001_path\nib0_mcg\nib0_path\nib0\nlo\n[exit 0]\n" {
		t.Errorf("%s", got)
	}
	l.ping(1, "10.77.0.2")
	path := l.on(1, "cat", "/sys/kernel/debug/ipoib/ib0_path")
	if !regexp.MustCompile(`^GID: fe80:0:0:0:[0-9a-f:]+\n  complete:    yes\n  DLID:     0x[0-9a-f]{4}\n  SL:            0\n  rate:      103\.125 Gb/sec\n\n$`).MatchString(path) {
		t.Errorf("%q", path)
	}
	mcg := l.on(1, "cat", "/sys/kernel/debug/ipoib/ib0_mcg")
	if !regexp.MustCompile(`^(GID: ff12:[0-9a-f:]+\n  created: [ 0-9]{10}\n  queuelen: +0\n  complete:       yes\n  send_only: +(yes|no)\n\n)+$`).MatchString(mcg) {
		t.Errorf("%q", mcg)
	}
	// In a namespace's /sys are its own interfaces only, and all else that
	// the kernel has.
	l.on(1, "sh", "-c", "echo 0x8003 > /sys/class/net/ib0/create_child")
	if out := l.on(2, "ls", "/sys/class/net"); out != "ib0\nlo\n" {
		t.Errorf("%s", out)
	}
	if out := l.on(2, "cat", "/sys/class/net/lo/address"); out != "00:00:00:00:00:00\n" {
		t.Errorf("%s", out)
	}
	if out := l.on(1, "cat", "/sys/module/fuse/parameters/max_user_bgreq"); out == "" {
		t.Error("the kernel's parameters are gone")
	}
	// Without our help the same is in the run directory, by whoever looks.
	for i, want := range map[string]string{"ibhost1": "ib0\nib0.8003\n", "ibhost2": "ib0\n"} {
		if out := l.run("ip", "netns", "exec", i, "ls", l.runDir+"/sys/class/net"); out != want {
			t.Errorf("%s: %s", i, out)
		}
	}
}

// Every attribute of an interface can be read, and what changed can be seen.
func TestFilesReadAll(t *testing.T) {
	l := newLab(t).up(1)
	out := l.on(1, "sh", "-c", `cd /sys/class/net/ib0 && for f in $(find -H . -type f -perm -444); do cat $f >/dev/null 2>&1 || echo $f; done`)
	for f := range strings.FieldsSeq(out) {
		// These the kernel does not show either.
		if !slices.Contains([]string{"./name_assign_type", "./phys_port_id", "./phys_port_name", "./phys_switch_id"}, f) &&
			!strings.HasPrefix(f, "./queues/") && !strings.HasPrefix(f, "./power/") {
			t.Errorf("cannot read %s", f)
		}
	}
	for f, want := range map[string]string{
		"type": "32", "addr_len": "20", "carrier": "1", "operstate": "up", "speed": "100000", "duplex": "full",
		"mtu": "2044", "dev_id": "0x0", "dev_port": "0", "flags": "0x1003", "tx_queue_len": "256",
	} {
		if got := strings.TrimSpace(l.on(1, "cat", "/sys/class/net/ib0/"+f)); got != want {
			t.Errorf("%s is %s, want %s", f, got, want)
		}
	}
	if tx := l.on(1, "cat", "/sys/class/net/ib0/statistics/tx_packets"); tx == "0\n" {
		t.Error("nothing was sent")
	}
	l.on(1, "ip", "link", "set", "ib0", "down")
	if got := l.bash(1, "cat /sys/class/net/ib0/carrier"); got != "cat: /sys/class/net/ib0/carrier: Invalid argument\n[exit 1]\n" {
		t.Errorf("%s", got)
	}
}

// Bad input changes nothing: pages and more, bytes, parts, places.
func TestFilesBadInput(t *testing.T) {
	l := newLab(t).up(1)
	const f = "/sys/class/net/ib0/"
	for line, want := range map[string]string{
		"head -c 100000 /dev/zero | tr '\\0' 7 | dd of=" + f + "create_child bs=100000 iflag=fullblock status=none": "dd: error writing '" + f + "create_child': Invalid argument\n[exit 1]\n",
		"head -c 64 /dev/urandom | tr 0-9 x | dd of=" + f + "delete_child bs=64 status=none":                        "dd: error writing '" + f + "delete_child': Invalid argument\n[exit 1]\n",
		": > " + f + "create_child":                                                 "[exit 0]\n",
		"printf data > " + f + "mode; printf 'gram\\n' > " + f + "mode":             "bash: line 1: printf: write error: Invalid argument\nbash: line 1: printf: write error: Invalid argument\n[exit 1]\n",
		"printf 0x8007 | dd of=" + f + "create_child seek=9 bs=6 status=none":       "[exit 0]\n", // the place means nothing
		"printf nothing | dd of=" + f + "create_child seek=9 bs=7 status=none":      "dd: error writing '" + f + "create_child': Invalid argument\n[exit 1]\n",
		"echo 0x8001 > " + f + "no_such_file":                                       "bash: line 1: " + f + "no_such_file: Permission denied\n[exit 1]\n",
		"rm -f " + f + "mode":                                                       "rm: cannot remove '" + f + "mode': Operation not permitted\n[exit 1]\n",
		"chmod 666 " + f + "mode":                                                   "chmod: changing permissions of '" + f + "mode': Operation not permitted\n[exit 1]\n",
		"echo 1 > /sys/module/ib_ipoib/parameters/send_queue_size":                  "bash: line 1: /sys/module/ib_ipoib/parameters/send_queue_size: Permission denied\n[exit 1]\n",
		"echo 0 > " + f + "carrier":                                                 "bash: line 1: echo: write error: Operation not supported\n[exit 1]\n",
		"setpriv --bounding-set=-net_admin bash -c 'echo 1 > " + f + "umcast'":      "bash: line 1: echo: write error: Operation not permitted\n[exit 1]\n",
		"setpriv --bounding-set=-net_admin bash -c 'echo datagram > " + f + "mode'": "bash: line 1: echo: write error: Operation not permitted\n[exit 1]\n",
		// The descriptor of an interface that goes away.
		"echo 0x8009 > " + f + "create_child; exec 3< /sys/class/net/ib0.8009/pkey 4> /sys/class/net/ib0.8009/umcast; " +
			"echo 0x8009 > " + f + "delete_child; cat <&3; echo 1 >&4": "cat: -: No such device\nbash: line 1: echo: write error: No such device\n[exit 1]\n",
	} {
		if got := l.bash(1, line); got != want {
			t.Errorf("$ %s\n%swant\n%s", line, got, want)
		}
	}
	if out := l.on(1, "ls", "/sys/class/net"); out != "ib0\nib0.8007\nlo\n" {
		t.Errorf("%s", out)
	}
	if out := l.on(1, "cat", f+"mode", f+"umcast"); out != "datagram\n0\n" {
		t.Errorf("%s", out)
	}
}

// view returns the directory of host i's files.
func (l *lab) view(i int) string {
	l.t.Helper()
	link := strings.TrimSpace(l.on(i, "readlink", l.runDir+"/sys/class"))
	return filepath.Dir(filepath.Join(l.runDir, "sys", link))
}

// A thousand readers while interfaces come and go: each reads what is true, or
// that the interface is gone, and nobody waits.
func TestFilesReaders(t *testing.T) {
	l := newLab(t).up(1)
	dir := l.view(1) + "/class/net"
	var reads, vanished atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for n := range 1000 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				list, err := os.ReadDir(dir)
				if err != nil {
					t.Error(err)
					return
				}
				name := list[n%len(list)].Name()
				b, err := os.ReadFile(filepath.Join(dir, name, "pkey"))
				switch {
				case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ENODEV):
					vanished.Add(1)
				case err != nil:
					t.Error(err)
					return
				default:
					want := "0xffff\n"
					if name != "ib0" {
						want = "0x" + strings.TrimPrefix(name, "ib0.") + "\n"
					}
					if string(b) != want {
						t.Errorf("%s: %q", name, b)
					}
					reads.Add(1)
				}
			}
		})
	}
	l.on(1, "bash", "-c", `
		for round in 1 2 3; do
			for k in 1 2 3 4 5 6 7 8; do echo 0x800$k > /sys/class/net/ib0/create_child || exit 1; done
			for k in 1 2 3 4 5 6 7 8; do echo 0x800$k > /sys/class/net/ib0/delete_child || exit 1; done
		done`)
	l.eventually("each has read", func() bool { return reads.Load() >= 2000 })
	close(stop)
	wg.Wait()
	t.Logf("%d reads, %d of interfaces that were gone", reads.Load(), vanished.Load())
}

// poll(2) sees a change (POLLPRI), by whatever face it is made.
func TestFilesPoll(t *testing.T) {
	l := newLab(t).up(1)
	fd, err := unix.Open(l.view(1)+"/class/net/ib0/mtu", unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	buf := make([]byte, 32)
	for _, mtu := range []string{"1500", "1400"} {
		if _, err := unix.Pread(fd, buf, 0); err != nil {
			t.Fatal(err)
		}
		l.on(1, "ip", "link", "set", "ib0", "mtu", mtu)
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}
		for {
			n, err := unix.Poll(fds, int(patience.Milliseconds()))
			if err == unix.EINTR {
				continue
			}
			if n != 1 || err != nil || fds[0].Revents != unix.POLLPRI|unix.POLLERR {
				t.Fatalf("%d, %v, %#x", n, err, fds[0].Revents)
			}
			break
		}
		n, err := unix.Pread(fd, buf, 0)
		if err != nil || string(buf[:n]) != mtu+"\n" {
			t.Errorf("%q, %v", buf[:n], err)
		}
	}
}

// ibstat of infiniband-diags shows the adapter.
func TestFilesIbstat(t *testing.T) {
	l := newLab(t).up(1)
	out := l.on(1, "ibstat")
	for _, want := range []string{
		"CA 'soft1'\n", "\tCA type: softHCA\n", "\tNumber of ports: 1\n", "\t\tState: Active\n", "\t\tPhysical state: LinkUp\n",
		"\t\tRate: 100\n", "\t\tBase lid: 2\n", "\t\tSM lid: 1\n", "\t\tLink layer: InfiniBand\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if out := l.on(1, "ibstat", "-l"); out != "soft1\n" {
		t.Errorf("%s", out)
	}
	if out := l.on(1, "ibstat", "-p"); !regexp.MustCompile(`^0x[0-9a-f]{16}\n$`).MatchString(out) {
		t.Errorf("%s", out)
	}
}

// The infiniband collector of node_exporter reads the tree.
func TestFilesNodeExporter(t *testing.T) {
	l := newLab(t).up(2)
	l.ping(1, "10.77.0.2")
	for _, sysfs := range []string{l.runDir + "/sys", "/sys"} {
		srv := l.background(1, "prometheus-node-exporter", "--path.sysfs="+sysfs, "--collector.disable-defaults",
			"--collector.infiniband", "--web.listen-address=127.0.0.1:9100")
		var out string
		l.eventually("node_exporter answers", func() bool {
			cmd := l.command("ipoib", in(1, "bash", "-c",
				`exec 3<>/dev/tcp/127.0.0.1/9100; printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3; cat <&3`)...)
			b, err := cmd.Output()
			out = string(b)
			return err == nil && strings.Contains(out, "node_scrape_collector_success")
		})
		for _, want := range []string{
			`node_scrape_collector_success{collector="infiniband"} 1`,
			`node_infiniband_info{board_id="SOFT0000001",device="soft1",firmware_version="1.0.0",hca_type="softHCA"} 1`,
			`node_infiniband_state_id{device="soft1",port="1"} 4`,
			`node_infiniband_physical_state_id{device="soft1",port="1"} 5`,
			`node_infiniband_rate_bytes_per_second{device="soft1",port="1"} 1.25e+10`,
			`node_infiniband_link_downed_total{device="soft1",port="1"} 0`,
		} {
			if !strings.Contains(out, want+"\n") {
				t.Errorf("%s: no %s in\n%s", sysfs, want, grep(out, "infiniband"))
			}
		}
		if strings.Contains(out, `node_infiniband_port_data_transmitted_bytes_total{device="soft1",port="1"} 0`+"\n") {
			t.Errorf("%s: nothing was sent", sysfs)
		}
		_ = srv.Process.Kill()
		_ = srv.Wait()
	}
}

func grep(text, word string) string {
	var sb strings.Builder
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) && !strings.HasPrefix(line, "#") {
			sb.WriteString(line)
		}
	}
	return sb.String()
}

// The log is followed from anywhere, and shows what the debug levels enable.
func TestFilesLog(t *testing.T) {
	l := newLab(t).up(2)
	cmd := l.command("ipoib", "log", "-f", "-n", "0")
	out := must(os.Create(filepath.Join(t.TempDir(), "log")))
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	text := func() string { return string(must(os.ReadFile(out.Name()))) }
	l.eventually("the log is followed", func() bool {
		l.on(1, "sh", "-c", "echo 1 > /sys/class/net/ib0/umcast")
		return strings.Contains(text(), " WARN  ib0: ignoring multicast groups joined directly by userspace\n")
	})
	l.run("ipoib", "param", "set", "debug_level", "1")
	l.on(1, "sh", "-c", "echo 1 > /sys/module/ib_ipoib/parameters/data_debug_level")
	l.ping(1, "10.77.0.2")
	for _, want := range []string{"ib0: Start path record lookup for fe80:0000:0000:0000:", "ib0: PathRec LID 0x000", "ib0: sending packet, length="} {
		l.eventually(want, func() bool { return strings.Contains(text(), want) })
	}
	if got := l.run("ipoib", "param", "data_debug_level"); got != "1\n" {
		t.Errorf("%s", got)
	}
	l.run("ipoib", "param", "set", "data_debug_level", "0")
	if out := l.fails("ipoib", "param", "set", "send_queue_size", "256"); !strings.Contains(out, "fixed at start") {
		t.Errorf("%s", out)
	}
}
