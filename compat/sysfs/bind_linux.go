package sysfs

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"ipoib/compat/fusefs"
	"ipoib/datapath"
	"ipoib/datapath/hostnet"
)

// BindConfig says what of a mounted tree is shown in /sys, and how.
type BindConfig struct {
	Driver *datapath.Driver
	// Home is the namespace that /sys belongs to.
	Home hostnet.ID
	// View is the path of its view: the tree's directory and ViewPath.
	View string
	// Overlay covers directories that nothing can be added to by ones that
	// have our entries as well (/sys/class, /sys/module, /sys/kernel/debug).
	// Without, what has no place of its own in /sys is not shown there.
	Overlay bool
	// LowerDir and LowerDebug are empty directories where the kernel's own
	// sysfs and debugfs are mounted for the overlays.
	LowerDir, LowerDebug string
	Log                  *slog.Logger
}

// Binder keeps the view of the service's own namespace mounted over the
// kernel's files in /sys, as far as the mount namespace of the service goes.
type Binder struct {
	BindConfig
	cancel func()
	wake   chan struct{}
	stop   chan struct{}
	done   chan struct{}

	mu     sync.Mutex
	bound  map[*datapath.Interface]string // guarded by mu: names
	fixed  []string                       // guarded by mu: other mounts, in order
	closed bool                           // guarded by mu
}

// Bind mounts what can be mounted and follows the interfaces. An error is
// about what is not of interfaces, and leaves nothing behind.
func Bind(cfg BindConfig) (*Binder, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	b := &Binder{
		BindConfig: cfg, wake: make(chan struct{}, 1), stop: make(chan struct{}),
		done: make(chan struct{}), bound: make(map[*datapath.Interface]string),
	}
	if err := b.bindFixed(); err != nil {
		b.unbindFixed()
		return nil, err
	}
	b.cancel = cfg.Driver.Subscribe(func(c datapath.Change) {
		if c.Old != nil && c.New != nil && c.Old.Name == c.New.Name && c.Old.NS == c.New.NS {
			return
		}
		select {
		case b.wake <- struct{}{}:
		default:
		}
	})
	go b.follow()
	b.Sync()
	return b, nil
}

func (b *Binder) follow() {
	defer close(b.done)
	for {
		select {
		case <-b.wake:
			b.Sync()
		case <-b.stop:
			return
		}
	}
}

// Close undoes all mounts.
func (b *Binder) Close() {
	b.cancel()
	b.mu.Lock()
	b.closed = true
	for _, name := range b.bound {
		b.unmount(netdevPath(name))
	}
	clear(b.bound)
	b.mu.Unlock()
	b.unbindFixed()
	close(b.stop)
	<-b.done
}

func netdevPath(name string) string { return "/sys/devices/virtual/net/" + name }

// Sync brings the mounts in line with the interfaces there are. A mount over a
// directory of sysfs does not keep the device: with the directory, the kernel
// drops it at the next look at the path, and unmounting here is such a look.
func (b *Binder) Sync() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	want := make(map[*datapath.Interface]string)
	for _, i := range b.Driver.Interfaces(b.Home) {
		want[i] = i.Name()
	}
	for i, name := range b.bound {
		if want[i] != name {
			// The mount went with the directory, or the path is another's.
			b.unmount(netdevPath(name))
			delete(b.bound, i)
		}
	}
	for i, name := range want {
		if b.bound[i] == name {
			continue
		}
		// After a rename newer kernels have the mount in its new place.
		b.unmount(netdevPath(name))
		err := fusefs.Bind(b.View+"/devices/virtual/net/"+name, netdevPath(name))
		if errors.Is(err, fs.ErrNotExist) {
			// Gone already, or /sys is another namespace's.
			b.Log.Debug("cannot show an interface in /sys", "ifname", name, "err", err)
			continue
		}
		if err != nil {
			b.Log.Warn("cannot show an interface in /sys", "ifname", name, "err", err)
			continue
		}
		b.bound[i] = name
	}
}

// unmount takes one of our mounts away, and no other.
func (b *Binder) unmount(path string) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil && !errors.Is(err, unix.ENOTCONN) || err == nil && st.Type != unix.FUSE_SUPER_MAGIC {
		return
	}
	if err := fusefs.Unmount(path); err != nil {
		b.Log.Warn("cannot unmount", "path", path, "err", err)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// isMount reports whether a file system of a type is mounted at path.
func isMount(path string, magic int64) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && int64(st.Type) == magic
}

// bindFixed shows what is not of interfaces: each over its place where the
// kernel has one, else, if that is wanted, with the directory above.
func (b *Binder) bindFixed() error {
	debugfs := isMount("/sys/kernel/debug", unix.DEBUGFS_MAGIC)
	mountLower := func(from, to string) error {
		if slices.Contains(b.fixed, to) {
			return nil
		}
		return b.bind(from, to)
	}
	for _, p := range []struct {
		own, ours     string // its place, and what we have for it
		parent, above string // the directory above, and its overlay
		lower, at     string // the kernel's, and where the overlay links to
	}{
		{"/sys/class/infiniband", "overlay/class/infiniband", "/sys/class", "overlay/class", "/sys", b.LowerDir},
		{"/sys/module/ib_ipoib", "module/ib_ipoib", "/sys/module", "overlay/module", "/sys", b.LowerDir},
		{"/sys/kernel/debug/ipoib", "debug/ipoib", "/sys/kernel/debug", "overlay/debug", "/sys/kernel/debug", b.LowerDebug},
	} {
		var err error
		switch {
		case exists(p.own):
			err = b.bind(b.View+"/"+p.ours, p.own)
		case p.own == "/sys/kernel/debug/ipoib" && !debugfs && exists(p.parent):
			// Nothing is mounted there: the directory is ours.
			err = b.bind(b.View+"/debug", p.parent)
		case b.Overlay && exists(p.parent):
			if err = mountLower(p.lower, p.at); err == nil {
				err = b.bind(b.View+"/"+p.above, p.parent)
			}
		default:
			b.Log.Info("not in /sys: the kernel has no such directory", "path", p.own)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *Binder) bind(from, to string) error {
	if err := fusefs.Bind(from, to); err != nil {
		return err
	}
	b.fixed = append(b.fixed, to)
	return nil
}

func (b *Binder) unbindFixed() {
	for _, path := range slices.Backward(b.fixed) {
		if err := fusefs.Unmount(path); err != nil {
			b.Log.Warn("cannot unmount", "path", path, "err", err)
		}
	}
	b.fixed = nil
}
