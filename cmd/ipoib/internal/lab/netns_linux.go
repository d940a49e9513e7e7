package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"ipoib/cmd/ipoib/internal/service"
	"ipoib/compat/sysfs"
	"ipoib/datapath/hostnet"
	"ipoib/datapath/osthread"
)

// nsDir is where named network namespaces are mounted (ip netns).
const nsDir = "/run/netns"

func nsPath(name string) string { return filepath.Join(nsDir, name) }

// nsExists reports whether a named namespace is there.
func nsExists(name string) bool {
	var st unix.Statfs_t
	err := unix.Statfs(nsPath(name), &st)
	return err == nil && st.Type == unix.NSFS_MAGIC
}

// createNS makes a named network namespace with its loopback up, as ip netns
// add does.
func createNS(name string) error {
	if err := prepareDir(); err != nil {
		return err
	}
	if _, err := os.Lstat(nsPath(name)); err == nil && !nsExists(name) {
		// The file of a namespace that is gone, such as after a reboot.
		if err := os.Remove(nsPath(name)); err != nil {
			return err
		}
	}
	return osthread.Run(func() (bool, error) {
		h, err := netns.NewNamed(name)
		if err != nil {
			return false, fmt.Errorf("making namespace %s: %w", name, err)
		}
		_ = h.Close()
		return false, loopbackUp()
	})
}

// prepareDir makes the directory of named namespaces a shared mount, so that
// namespaces appear in all mount namespaces (iproute2 does the same).
func prepareDir() error {
	if err := os.MkdirAll(nsDir, 0o755); err != nil {
		return err
	}
	err := unix.Mount("", nsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
	if errors.Is(err, unix.EINVAL) { // not a mount point yet
		if err := unix.Mount(nsDir, nsDir, "none", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("mounting %s: %w", nsDir, err)
		}
		err = unix.Mount("", nsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
	}
	if err != nil {
		return fmt.Errorf("sharing %s: %w", nsDir, err)
	}
	return nil
}

// loopbackUp sets lo up in the namespace of the calling thread.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, ifr); err != nil {
		return err
	}
	ifr.SetUint16(ifr.Uint16() | unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}

// deleteNS removes a named namespace.
func deleteNS(name string) error {
	err := netns.DeleteNamed(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EINVAL) && !nsExists(name) {
		_ = os.Remove(nsPath(name))
		return nil
	}
	if err != nil {
		return fmt.Errorf("removing namespace %s: %w", name, err)
	}
	return nil
}

// pidsIn lists the processes of a namespace.
func pidsIn(name string) []int {
	want, err := os.Stat(nsPath(name))
	if err != nil {
		return nil
	}
	var out []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		var pid int
		if _, err := fmt.Sscan(e.Name(), &pid); err != nil {
			continue
		}
		if st, err := os.Stat(filepath.Join("/proc", e.Name(), "ns/net")); err == nil && os.SameFile(st, want) {
			out = append(out, pid)
		}
	}
	return out
}

// Exec replaces the process by a program that runs in a host, as ip netns exec
// does: network namespace, a /sys that belongs to it, and files of
// /etc/netns/<host> over those in /etc. It returns only on an error.
// The interfaces' files of the service with that run directory are in /sys.
func Exec(runDir, host string, argv, environ []string) error {
	name := NSName(host)
	if !nsExists(name) {
		return fmt.Errorf("there is no host %s", host)
	}
	path, err := exec.LookPath(argv[0])
	if errors.Is(err, fs.ErrPermission) {
		return &ExitError{126, fmt.Errorf("%s: permission denied", argv[0])}
	}
	if err != nil {
		return &ExitError{127, fmt.Errorf("%s: command not found", argv[0])}
	}
	runtime.LockOSThread()
	f, err := os.Open(nsPath(name))
	if err != nil {
		return err
	}
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering host %s: %w", host, err)
	}
	_ = f.Close()
	if err := enterMounts(runDir, name); err != nil {
		return err
	}
	err = syscall.Exec(path, argv, environ)
	return &ExitError{126, fmt.Errorf("%s: %w", argv[0], err)}
}

// enterMounts gives the process mounts of its own, with the namespace's sysfs.
func enterMounts(runDir, name string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unsharing mounts: %w", err)
	}
	if err := unix.Mount("", "/", "none", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	_ = unix.Unmount("/sys", unix.MNT_DETACH)
	if err := unix.Mount(name, "/sys", "sysfs", 0, ""); err != nil {
		return fmt.Errorf("mounting /sys: %w", err)
	}
	if err := enterFiles(runDir); err != nil {
		return err
	}
	dir := filepath.Join("/etc/netns", name)
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		to := filepath.Join("/etc", e.Name())
		if err := unix.Mount(filepath.Join(dir, e.Name()), to, "none", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("binding %s: %w", to, err)
		}
	}
	return nil
}

// enterFiles shows the service's files of this namespace in /sys.
func enterFiles(runDir string) error {
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		return err
	}
	view := sysfs.ViewPath(hostnet.ID{Dev: uint64(st.Dev), Ino: st.Ino})
	return sysfs.Enter(filepath.Join(runDir, service.TreeName, view), filepath.Join(runDir, sysfs.LowerName))
}
