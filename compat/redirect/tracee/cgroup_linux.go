package tracee

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// cgroup2 is where the second version's hierarchy is: mounted alone or beside
// the first, or, in a mount namespace without it, mounted nowhere but in this
// process. It is empty when it cannot be reached.
var cgroup2 = sync.OnceValue(func() string {
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
			return dir
		}
	}
	fs, err := unix.Fsopen("cgroup2", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return ""
	}
	defer func() { _ = unix.Close(fs) }()
	if unix.FsconfigCreate(fs) != nil {
		return ""
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	// Open for as long as this process runs.
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd)
})
