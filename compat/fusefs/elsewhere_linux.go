package fusefs

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"ipoib/datapath/osthread"
)

// Place is where a tree, or a part of it, is mounted in the mount namespace of
// other processes.
type Place struct {
	// NS is the inode of the mount namespace.
	NS uint64 `json:"ns"`
	// Path is the mount point there, Root what is mounted of the tree.
	Path string `json:"path"`
	Root string `json:"root"`
}

// Leave unmounts trees of a source, living or dead, in the mount namespaces of
// other processes, and returns where they were. Namespaces without a process
// that /proc shows are not seen.
func Leave(source string) ([]Place, error) {
	var out []Place
	var errs []error
	err := elsewhere(func(ns uint64, enter func(func() error) error) {
		errs = append(errs, enter(func() error {
			list, err := mounts()
			if err != nil {
				return err
			}
			list = slices.DeleteFunc(list, func(m mountPoint) bool { return !m.of(source) })
			for _, m := range list {
				out = append(out, Place{ns, m.path, m.root})
			}
			return unmountAll(list, nil)
		}))
	}, source)
	return out, errors.Join(append(errs, err)...)
}

// Return mounts the tree that is at dir in places that Leave returned, as far
// as there are still processes in these namespaces and the parts in the tree.
// Before, it calls prepare in each of the namespaces, with its places.
func Return(dir string, places []Place, prepare func([]Place) error) error {
	if len(places) == 0 {
		return nil
	}
	var errs []error
	err := elsewhere(func(ns uint64, enter func(func() error) error) {
		list := slices.DeleteFunc(slices.Clone(places), func(p Place) bool { return p.NS != ns })
		if len(list) == 0 {
			return
		}
		// The parts of the tree are taken here: they may not be reached by
		// their path there.
		parts := make([]int, len(list))
		for i, p := range list {
			fd, err := unix.OpenTree(unix.AT_FDCWD, filepath.Join(dir, p.Root), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
			if err != nil {
				fd = -1 // gone with its network namespace
			}
			parts[i] = fd
		}
		errs = append(errs, enter(func() error {
			if err := prepare(list); err != nil {
				return err
			}
			var errs []error
			for i, p := range list {
				if parts[i] >= 0 && !Serves(p.Path) {
					errs = append(errs, attach(parts[i], p.Path))
				}
			}
			return errors.Join(errs...)
		}))
		for _, fd := range parts {
			if fd >= 0 {
				_ = unix.Close(fd)
			}
		}
	}, "")
	return errors.Join(append(errs, err)...)
}

// attach mounts what OpenTree returned.
func attach(fd int, path string) error {
	err := unix.MoveMount(fd, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return &os.PathError{Op: "mount", Path: path, Err: err}
	}
	return nil
}

// elsewhere calls fn for each mount namespace of other processes, with a
// function that runs another one in there. With a source, only those with
// mounts of it count.
func elsewhere(fn func(ns uint64, enter func(func() error) error), source string) error {
	own, err := inode("/proc/self/ns/mnt")
	if err != nil {
		return err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	seen := map[uint64]bool{own: true}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		dir := filepath.Join("/proc", e.Name())
		ns, err := inode(filepath.Join(dir, "ns/mnt"))
		if err != nil || seen[ns] {
			continue // a process that ended, or none of ours to look at
		}
		seen[ns] = true
		if source != "" {
			list, err := mountsOf(filepath.Join(dir, "mountinfo"))
			if err != nil || !slices.ContainsFunc(list, func(m mountPoint) bool { return m.of(source) }) {
				continue
			}
		}
		fn(ns, func(task func() error) error { return inMounts(filepath.Join(dir, "ns/mnt"), ns, task) })
	}
	return nil
}

func inode(path string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return st.Ino, nil
}

// inMounts runs fn on a thread in a mount namespace. A namespace that is gone,
// with all that was mounted in it, is no error.
func inMounts(path string, ns uint64, fn func() error) error {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Ino != ns {
		return nil // the process ended, another has its number
	}
	return osthread.Run(func() (bool, error) {
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return false, os.NewSyscallError("unshare", err)
		}
		if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNS); err != nil {
			return false, os.NewSyscallError("setns", err)
		}
		return false, fn()
	})
}
