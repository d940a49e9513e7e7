package tracee

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// NetAdmin reports whether the thread has CAP_NET_ADMIN over a network
// namespace: in the user namespace that owns it or in one around that
// (ns_capable). That the creator of a user namespace may do everything in it
// from outside is left out, towards the safe side.
func (t *Thread) NetAdmin(netns int) bool {
	st, err := ReadStatus(t.TID)
	if err != nil || st.Effective&(1<<unix.CAP_NET_ADMIN) == 0 {
		return false
	}
	var own unix.Stat_t
	if unix.Stat(proc(t.TID)+"ns/user", &own) != nil {
		return false
	}
	fd, err := unix.IoctlRetInt(netns, unix.NS_GET_USERNS)
	for err == nil {
		var ns unix.Stat_t
		err = unix.Fstat(fd, &ns)
		if err == nil && ns.Dev == own.Dev && ns.Ino == own.Ino {
			_ = unix.Close(fd)
			// All this was about the thread only if it still waits.
			return t.valid()
		}
		// The walk ends with EPERM at the supervisor's own namespace.
		parent, perr := unix.IoctlRetInt(fd, unix.NS_GET_PARENT)
		_ = unix.Close(fd)
		fd, err = parent, perr
	}
	return false
}

// Capabilities is the set of effective capabilities of the thread, as far as
// they are over what the supervisor's are: none in another user namespace.
func (t *Thread) Capabilities() uint64 {
	st, err := ReadStatus(t.TID)
	if err != nil {
		return 0
	}
	var theirs, ours unix.Stat_t
	if unix.Stat(proc(t.TID)+"ns/user", &theirs) != nil || unix.Stat("/proc/self/ns/user", &ours) != nil {
		return 0
	}
	if theirs.Dev != ours.Dev || theirs.Ino != ours.Ino || !t.valid() {
		return 0
	}
	return st.Effective
}

// SameExecutable reports whether the thread runs the same program as this
// process.
func (t *Thread) SameExecutable() bool {
	var theirs unix.Stat_t
	own := executable()
	return unix.Stat(proc(t.TID)+"exe", &theirs) == nil && own.Ino != 0 && theirs.Dev == own.Dev && theirs.Ino == own.Ino
}

// executable is the file of this process's program; its inode is 0 when it
// cannot be told.
var executable = sync.OnceValue(func() (st unix.Stat_t) {
	_ = unix.Stat("/proc/self/exe", &st)
	return st
})

// SameNetNS reports whether two nsfs files are the same namespace.
func SameNetNS(a, b *os.File) bool {
	x, errX := a.Stat()
	y, errY := b.Stat()
	return errX == nil && errY == nil && os.SameFile(x, y)
}
