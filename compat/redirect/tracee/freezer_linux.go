package tracee

import (
	"bytes"
	"path/filepath"
	"strconv"
	"strings"
)

// Freezing reports whether a cgroup of the thread is to be frozen. A thread
// whose system call waits for an answer does not freeze before it has one.
func Freezing(tid int) bool {
	b, err := readAll(proc(tid)+"cgroup", make([]byte, 4096))
	if err != nil {
		return false
	}
	for line := range bytes.Lines(b) {
		f := strings.SplitN(strings.TrimSpace(string(line)), ":", 3)
		if len(f) != 3 {
			continue
		}
		switch {
		case f[0] == "0" && f[1] == "":
			if root := cgroup2(); root != "" && frozen(root, f[2]) {
				return true
			}
		case f[1] == "freezer":
			state, err := readAll(filepath.Join("/sys/fs/cgroup/freezer", f[2], "freezer.state"), make([]byte, 64))
			if err == nil && strings.TrimSpace(string(state)) == "FREEZING" {
				return true
			}
		}
	}
	return false
}

// frozen reports whether a cgroup of the second version or one above it is to
// be frozen.
func frozen(root, path string) bool {
	for ; path != "/" && path != "." && path != ""; path = filepath.Dir(path) {
		b, err := readAll(filepath.Join(root, path, "cgroup.freeze"), make([]byte, 16))
		if err != nil {
			return false
		}
		if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && n == 1 {
			return true
		}
	}
	return false
}
