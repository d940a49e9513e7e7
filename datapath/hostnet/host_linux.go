package hostnet

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// namedDir is where ip netns keeps the namespaces that have a name.
const namedDir = "/run/netns"

// NewHost returns the Host of this machine.
func NewHost() Host { return host{} }

type host struct{}

// Current implements Host. The calling thread is in the namespace of the
// process; another one may be away in netns.Do, also the main thread, which
// /proc/self means.
func (host) Current() (Namespace, error) { return openPath("/proc/thread-self/ns/net") }

// ByName implements Host.
func (host) ByName(name string) (Namespace, error) {
	if name == "" || name == "." || name == ".." || strings.Contains(name, "/") {
		return nil, openError(name, unix.EINVAL)
	}
	return openPath(filepath.Join(namedDir, name))
}

// ByPath implements Host.
func (host) ByPath(path string) (Namespace, error) { return openPath(path) }

// ByPID implements Host.
func (host) ByPID(pid int) (Namespace, error) { return openPath(pidPath(strconv.Itoa(pid))) }

func pidPath(pid string) string { return filepath.Join("/proc", pid, "ns/net") }

// ByFile implements Host.
func (host) ByFile(f *os.File) (Namespace, error) {
	var fd int
	err := control(f, func(orig int) (err error) {
		fd, err = unix.FcntlInt(uintptr(orig), unix.F_DUPFD_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, openError(f.Name(), err)
	}
	return newNamespace(os.NewFile(uintptr(fd), f.Name()))
}

// ByID implements Host.
func (host) ByID(id ID) (Namespace, error) {
	for path := range candidates() {
		if got, err := identify(path); err != nil || got != id {
			continue
		}
		// The path may have come to name another one since.
		ns, err := openPath(path)
		if err == nil && ns.ID() == id {
			return ns, nil
		}
		if err == nil {
			ns.Close()
		}
	}
	return nil, openError(id.String(), unix.ENOENT)
}

// candidates yields the paths by which a namespace may be reachable.
func candidates() func(yield func(string) bool) {
	return func(yield func(string) bool) {
		named, _ := os.ReadDir(namedDir)
		for _, e := range named {
			if !yield(filepath.Join(namedDir, e.Name())) {
				return
			}
		}
		procs, _ := os.ReadDir("/proc")
		for _, e := range procs {
			if _, err := strconv.Atoi(e.Name()); err == nil && !yield(pidPath(e.Name())) {
				return
			}
		}
	}
}

// identify returns the ID of the nsfs file at path.
func identify(path string) (ID, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return ID{}, err
	}
	return idOf(fi), nil
}

func idOf(fi fs.FileInfo) ID {
	st := fi.Sys().(*syscall.Stat_t) // what os on Linux always has
	return ID{Dev: uint64(st.Dev), Ino: st.Ino}
}

// nameOf returns the name in /run/netns of a namespace other than that of
// this process.
func nameOf(id ID) string {
	if own, err := identify("/proc/thread-self/ns/net"); err == nil && own == id {
		return ""
	}
	named, _ := os.ReadDir(namedDir)
	for _, e := range named {
		if got, err := identify(filepath.Join(namedDir, e.Name())); err == nil && got == id {
			return e.Name()
		}
	}
	return ""
}

func openPath(path string) (Namespace, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, openError(path, errors.Unwrap(err))
	}
	return newNamespace(f)
}

func openError(what string, err error) error {
	return &OpError{Op: "open network namespace", Link: what, Err: err}
}

// control calls fn with the descriptor of f.
func control(f *os.File, fn func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := c.Control(func(fd uintptr) { inner = fn(int(fd)) }); err != nil {
		return err
	}
	return inner
}
