package hostnet

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Abandoned implements Host. What is cheap to see comes first, as the usual
// answer is that none is.
func (host) Abandoned(ids []ID) []ID {
	left := make(map[uint64]ID, len(ids)) // by inode: all are of one nsfs
	var nsfs uint64
	for _, id := range ids {
		left[id.Ino] = id
		nsfs = id.Dev
	}
	self := strconv.Itoa(os.Getpid())
	drop := func(id ID) {
		// Files of other file systems have the same numbers, those in /proc
		// from the same range.
		if id.Dev == nsfs {
			delete(left, id.Ino)
		}
	}
	inProcesses("ns/net", self, nsfs, drop)
	if len(left) > 0 {
		inMounts(nsfs, drop)
	}
	if len(left) > 0 {
		inProcesses("task/*/ns/net", self, nsfs, drop)
	}
	if len(left) > 0 {
		inProcesses("fd/*", self, nsfs, drop)
	}
	var out []ID
	for _, id := range ids {
		if left[id.Ino] == id {
			out = append(out, id)
		}
	}
	return out
}

// inProcesses calls fn with each network namespace that files below /proc/PID
// refer to, and other files that are open by a path.
func inProcesses(pattern, except string, nsfs uint64, fn func(ID)) {
	procs, _ := os.ReadDir("/proc")
	for _, e := range procs {
		pid := e.Name()
		if pid[0] < '0' || pid[0] > '9' || pid == except {
			continue
		}
		paths := []string{filepath.Join("/proc", pid, pattern)}
		if strings.Contains(pattern, "*") {
			paths, _ = filepath.Glob(paths[0])
		}
		for _, p := range paths {
			link, err := os.Readlink(p)
			if err != nil {
				continue
			}
			if ino, ok := parseID(link); ok {
				fn(ID{Dev: nsfs, Ino: ino})
				continue
			}
			// A file that was opened through a mount has the path of that.
			if !strings.HasPrefix(link, "/") || pattern != "fd/*" {
				continue
			}
			var st syscall.Stat_t
			if syscall.Stat(p, &st) == nil {
				fn(ID{Dev: uint64(st.Dev), Ino: st.Ino})
			}
		}
	}
}

// parseID parses what readlink shows of a namespace's file, "net:[4026531840]".
func parseID(link string) (ino uint64, ok bool) {
	text, ok := strings.CutPrefix(link, "net:[")
	if !ok {
		return 0, false
	}
	ino, err := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 64)
	return ino, err == nil
}

// inMounts calls fn with each network namespace that is mounted somewhere, as
// ip netns and container runtimes do.
func inMounts(nsfs uint64, fn func(ID)) {
	f, err := os.Open("/proc/thread-self/mountinfo")
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	for s := bufio.NewScanner(f); s.Scan(); {
		// ID PARENT MAJ:MIN ROOT MOUNTPOINT ... (proc_pid_mountinfo(5))
		if w := strings.Fields(s.Text()); len(w) > 4 {
			if ino, ok := parseID(w[3]); ok {
				fn(ID{Dev: nsfs, Ino: ino})
			}
		}
	}
}
