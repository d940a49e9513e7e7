package sysfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"ipoib/compat/fusefs"
	"ipoib/datapath"
)

// netdev is the directory of an interface. It stays the same through renames
// and moves.
type netdev struct {
	t   *Tree
	i   *datapath.Interface
	dir *fusefs.Dir
	// gone is set when the interface was removed: open files say ENODEV.
	gone atomic.Bool

	mu    sync.Mutex
	files map[string]*fusefs.File // guarded by mu: of attrs, made on demand

	nodes cache[string] // all else, by path
}

func newNetdev(t *Tree, i *datapath.Interface) *netdev {
	n := &netdev{t: t, i: i, files: make(map[string]*fusefs.File)}
	n.dir = &fusefs.Dir{Lookup: n.lookup, List: n.list}
	return n
}

func (n *netdev) parent() bool { return n.i.Parent() == nil }

// info returns the state of the interface, ENODEV when it was removed.
func (n *netdev) info() (*datapath.Info, error) {
	if n.gone.Load() {
		return nil, syscall.ENODEV
	}
	info := n.i.Info()
	return &info, nil
}

// view returns the view that the interface is in.
func (n *netdev) view() (*view, error) {
	if n.gone.Load() {
		return nil, syscall.ENODEV
	}
	v, err := n.t.view(n.i.Info().NS, n.i)
	if err == nil && v == nil {
		err = syscall.ENODEV
	}
	return v, err
}

// admin refuses a caller who may not change the interface.
func (n *netdev) admin(c fusefs.Caller) error {
	v, err := n.view()
	if err != nil {
		return err
	}
	if !v.admin(c) {
		return syscall.EPERM
	}
	return nil
}

// hidden attributes are those of TUN devices, and what stands for them here.
var hidden = map[string]bool{"tun_flags": true, "owner": true, "group": true}

func (n *netdev) lookup(_ fusefs.Caller, name string) (fusefs.Node, error) {
	if n.gone.Load() || hidden[name] {
		return nil, nil
	}
	if a := attrs[name]; a != nil {
		if !a.has(n) {
			return nil, nil
		}
		return n.file(name, a), nil
	}
	switch name {
	case "statistics":
		return n.nodes.get(name, func() fusefs.Node { return n.statistics() }), nil
	case "device":
		if !n.parent() {
			return nil, nil
		}
		return n.nodes.get(name, func() fusefs.Node {
			return fusefs.To("../../../../class/infiniband/" + n.i.Info().Device + "/device")
		}), nil
	}
	return n.lower(name)
}

func (n *netdev) list(c fusefs.Caller) ([]fusefs.Entry, error) {
	var out []fusefs.Entry
	add := func(name string) {
		if e, err := n.lookup(c, name); err == nil && e != nil {
			out = append(out, fusefs.Entry{Name: name, Node: e})
		}
	}
	for name := range attrs {
		add(name)
	}
	add("statistics")
	add("device")
	list, err := n.lowerList("")
	for _, e := range list {
		if attrs[e.Name] == nil && e.Name != "statistics" && e.Name != "device" && !hidden[e.Name] {
			out = append(out, e)
		}
	}
	return out, err
}

// file returns the file of an attribute of ours.
func (n *netdev) file(name string, a *attr) *fusefs.File {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := n.files[name]
	if f != nil {
		return f
	}
	f = &fusefs.File{Perm: a.perm, Size: fusefs.PageSize}
	if a.text != nil {
		f.Show = func() ([]byte, error) {
			info, err := n.info()
			if err != nil {
				return nil, err
			}
			s, err := a.text(n, info)
			return []byte(s), err
		}
	}
	if a.reader != nil {
		f.Reader = func(c fusefs.Caller) { a.reader(n, c) }
	}
	if a.store != nil {
		f.Store = func(c fusefs.Caller, b []byte) error {
			if n.gone.Load() {
				return syscall.ENODEV
			}
			return a.store(n, c, b)
		}
	}
	n.files[name] = f
	return f
}

// changed tells those who poll the attributes that differ now.
func (n *netdev) changed(c datapath.Change) {
	n.mu.Lock()
	var list []*fusefs.File
	for name, f := range n.files {
		a := attrs[name]
		if a.text == nil {
			continue
		}
		if c.New == nil || c.Old == nil {
			list = append(list, f)
			continue
		}
		was, err1 := a.text(n, c.Old)
		is, err2 := a.text(n, c.New)
		if was != is || !errors.Is(err2, err1) {
			list = append(list, f)
		}
	}
	n.mu.Unlock()
	for _, f := range list {
		f.Changed()
	}
}

// lowerPath is where the kernel has an attribute of the interface.
func (n *netdev) lowerPath(rel string) string {
	p := "devices/virtual/net/" + n.i.Name()
	if rel != "" {
		p += "/" + rel
	}
	return p
}

// kernel calls fn with the kernel's sysfs of the interface's namespace.
func (n *netdev) kernel(fn func(*os.Root) error) error {
	v, err := n.view()
	if err != nil {
		return err
	}
	return v.kernel(fn)
}

// lower returns an attribute of the kernel's, or nil.
func (n *netdev) lower(rel string) (fusefs.Node, error) {
	var mode fs.FileMode
	err := n.kernel(func(r *os.Root) error {
		st, err := r.Lstat(n.lowerPath(rel))
		if err == nil {
			mode = st.Mode()
		}
		return err
	})
	if err != nil {
		return nil, nil
	}
	return n.nodes.get(rel, func() fusefs.Node {
		switch {
		case mode.IsDir():
			return &fusefs.Dir{
				Perm:   uint32(mode.Perm()),
				Lookup: func(_ fusefs.Caller, name string) (fusefs.Node, error) { return n.lower(rel + "/" + name) },
				List:   func(fusefs.Caller) ([]fusefs.Entry, error) { return n.lowerList(rel) },
			}
		case mode&fs.ModeSymlink != 0:
			return &fusefs.Link{Target: func(fusefs.Caller) (text string, err error) {
				err = n.kernel(func(r *os.Root) error { text, err = r.Readlink(n.lowerPath(rel)); return err })
				return text, err
			}}
		}
		return &fusefs.File{
			Perm: uint32(mode.Perm()), Size: fusefs.PageSize,
			Show: func() ([]byte, error) { return n.lowerRead(rel) },
			Store: func(c fusefs.Caller, b []byte) error {
				if err := n.admin(c); err != nil {
					return err
				}
				return n.lowerWrite(rel, b)
			},
		}
	}), nil
}

func (n *netdev) lowerList(rel string) ([]fusefs.Entry, error) {
	v, err := n.view()
	if err != nil {
		return nil, err
	}
	var out []fusefs.Entry
	for _, e := range v.readDir(n.lowerPath(rel)) {
		path := e.Name()
		if rel != "" {
			path = rel + "/" + path
		}
		if node, err := n.lower(path); err == nil && node != nil {
			out = append(out, fusefs.Entry{Name: e.Name(), Node: node})
		}
	}
	return out, nil
}

// errNoDev is what an attribute says whose directory went away.
func errNoDev(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return syscall.ENODEV
	}
	return err
}

func (n *netdev) lowerRead(rel string) (b []byte, err error) {
	err = n.kernel(func(r *os.Root) error {
		f, err := r.Open(n.lowerPath(rel))
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		b, err = io.ReadAll(io.LimitReader(f, fusefs.PageSize))
		return err
	})
	return b, errNoDev(err)
}

func (n *netdev) lowerWrite(rel string, b []byte) error {
	return errNoDev(n.kernel(func(r *os.Root) error {
		f, err := r.OpenFile(n.lowerPath(rel), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.Write(b)
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		return err
	}))
}
