package rtnlface

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openNetNS opens the network namespace of a process, or the one that its
// descriptor fd stands for, unless that is negative. What the client names is
// looked at before it is opened: it might be a pipe that blocks.
func openNetNS(pid, fd int) (*os.File, error) {
	path := fmt.Sprintf("/proc/%d/ns/net", pid)
	if fd >= 0 {
		path = fmt.Sprintf("/proc/%d/fd/%d", pid, fd)
	}
	h, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(h) }()
	var st unix.Statfs_t
	if err := unix.Fstatfs(h, &st); err != nil {
		return nil, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	if st.Type != unix.NSFS_MAGIC {
		return nil, &os.PathError{Op: "open", Path: path, Err: unix.EINVAL}
	}
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", h))
	if err != nil {
		return nil, err
	}
	typ, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE)
	if err == nil && typ != unix.CLONE_NEWNET {
		err = unix.EINVAL
	}
	if err != nil {
		_ = f.Close()
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return f, nil
}

// sameOwner reports whether one user namespace owns both network namespaces.
func sameOwner(a, b *os.File) bool {
	x, errX := owner(a)
	y, errY := owner(b)
	return errX == nil && errY == nil && x == y
}

type nsID struct{ dev, ino uint64 }

// owner identifies the user namespace that owns a network namespace.
func owner(f *os.File) (id nsID, err error) {
	fd, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		return id, os.NewSyscallError("ioctl", err)
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return id, os.NewSyscallError("fstat", err)
	}
	return nsID{uint64(st.Dev), st.Ino}, nil
}
