package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"ipoib/compat/debugfs"
	"ipoib/compat/fusefs"
	"ipoib/compat/sysfs"
	"ipoib/datapath/hostnet"
	"ipoib/rdma"
)

// files is the face made of files: a tree mounted in the run directory and,
// if that is wanted, shown in /sys.
type files struct {
	tree   *sysfs.Tree
	server *fusefs.Server
	binder *sysfs.Binder
}

// TreeName is the directory in the run directory where the files are.
const TreeName = "sys"

// fileDirs are the directories in the run directory that mounts are made on.
var fileDirs = []string{TreeName, sysfs.LowerName, sysfs.LowerDebugName}

// treeSource names the mounts of a run directory's tree.
func treeSource(runDir string) string { return "ipoib:" + runDir }

// cleanMounts takes away the mounts that a service left which did not end by
// itself: what is there cannot be used, since only one has the run directory.
func cleanMounts(runDir string) ([]string, error) {
	return fusefs.Clean(treeSource(runDir), filepath.Join(runDir, sysfs.LowerName), filepath.Join(runDir, sysfs.LowerDebugName))
}

// removeFileDirs removes the directories of the mounts.
func removeFileDirs(runDir string) {
	for _, name := range fileDirs {
		_ = os.Remove(filepath.Join(runDir, name))
	}
}

// openFiles mounts the tree. Without FUSE the service does without, unless the
// files are asked for.
func (s *Service) openFiles() error {
	gone, err := cleanMounts(s.cfg.RunDir)
	if err != nil {
		return err
	}
	if len(gone) > 0 {
		s.log.Info("removed the mounts of a service that was killed", "count", len(gone))
	}
	s.leave()
	err = s.mountFiles()
	if err == nil {
		s.reenter()
		return nil
	}
	s.closeFiles()
	if s.cfg.Sysfs || s.cfg.SysfsOverlay {
		return fmt.Errorf("files: %w", err)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		s.log.Info("no files are served", "err", err)
	} else {
		s.log.Warn("no files are served", "err", err)
	}
	return nil
}

// leave takes the files away from other processes in mount namespaces of their
// own, such as those in hosts of the lab, and remembers where they were.
func (s *Service) leave() {
	places, err := fusefs.Leave(treeSource(s.cfg.RunDir))
	if err != nil {
		s.log.Warn("cannot unmount files of other processes", "err", err)
	}
	s.mu.Lock()
	s.places = append(s.places, places...)
	s.mu.Unlock()
}

// reenter gives those processes the files again that are still there.
func (s *Service) reenter() {
	s.mu.Lock()
	places := s.places
	s.places = nil
	s.mu.Unlock()
	dir, lower := filepath.Join(s.cfg.RunDir, TreeName), filepath.Join(s.cfg.RunDir, sysfs.LowerName)
	if err := sysfs.Reenter(dir, lower, places); err != nil {
		s.log.Warn("cannot mount files of other processes again", "err", err)
	}
}

func (s *Service) mountFiles() error {
	path := func(name string) string { return filepath.Join(s.cfg.RunDir, name) }
	for _, name := range fileDirs {
		if err := os.MkdirAll(path(name), 0o755); err != nil {
			return err
		}
	}
	boot, err := bootTime()
	if err != nil {
		return err
	}
	f := &s.files
	f.tree, err = sysfs.New(sysfs.Config{
		Driver: s.driver, Params: s.params, Guard: sysfs.HostGuard{}, Home: s.host.Current, Adapters: s.devices,
		Lower: sysfs.OpenLower, LowerDir: path(sysfs.LowerName), LowerDebug: path(sysfs.LowerDebugName),
		Clock: debugfs.Clock{Boot: boot}, Settle: s.settleFiles, Log: s.log,
	})
	if err != nil {
		return err
	}
	f.server, err = fusefs.Mount(path(TreeName), treeSource(s.cfg.RunDir), f.tree.Root(), s.log)
	if err != nil || !s.cfg.Sysfs && !s.cfg.SysfsOverlay {
		return err
	}
	home, err := s.homeID()
	if err != nil {
		return err
	}
	binder, err := sysfs.Bind(sysfs.BindConfig{
		Driver: s.driver, Home: home, View: filepath.Join(path(TreeName), sysfs.ViewPath(home)),
		Overlay: s.cfg.SysfsOverlay, LowerDir: path(sysfs.LowerName), LowerDebug: path(sysfs.LowerDebugName), Log: s.log,
	})
	s.mu.Lock()
	f.binder = binder
	s.mu.Unlock()
	return err
}

// settleFiles waits until /sys shows the interfaces there are.
func (s *Service) settleFiles() {
	s.mu.Lock()
	b := s.files.binder
	s.mu.Unlock()
	if b != nil {
		b.Sync()
	}
}

// closeFiles undoes openFiles.
func (s *Service) closeFiles() {
	s.mu.Lock()
	f := s.files
	s.files = files{}
	s.mu.Unlock()
	if f.binder != nil {
		f.binder.Close()
	}
	if f.server != nil {
		s.leave()
		if err := f.server.Close(); err != nil {
			s.log.Warn("cannot unmount the files", "err", err)
		}
	}
	if f.tree != nil {
		f.tree.Close()
	}
	removeFileDirs(s.cfg.RunDir)
}

// homeID is the namespace of the service itself.
func (s *Service) homeID() (hostnet.ID, error) {
	ns, err := s.host.Current()
	if err != nil {
		return hostnet.ID{}, err
	}
	defer func() { _ = ns.Close() }()
	return ns.ID(), nil
}

// devices lists the channel adapters.
func (s *Service) devices() []rdma.Device {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]rdma.Device, len(s.hcas))
	for i, a := range s.hcas {
		out[i] = a.dev
	}
	return out
}

// bootTime is when the kernel's clock started to count.
func bootTime() (time.Time, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return time.Time{}, os.NewSyscallError("clock_gettime", err)
	}
	return time.Now().Add(-time.Duration(ts.Nano())), nil
}
