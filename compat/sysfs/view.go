package sysfs

import (
	"os"
	"slices"
	"strings"
	"sync"

	"ipoib/compat/debugfs"
	"ipoib/compat/fusefs"
	"ipoib/datapath"
	"ipoib/datapath/hostnet"
	"ipoib/rdma"
)

// view is what one network namespace sees.
type view struct {
	t   *Tree
	id  hostnet.ID
	dir *fusefs.Dir

	mu    sync.RWMutex
	ns    hostnet.Namespace // guarded by mu: nil once closed
	lower *os.Root          // guarded by mu: the kernel's sysfs, or nil

	links cache[string]
	hcas  cache[hcaKey]
	debug cache[debugKey]
	over  cache[string]
}

// hcaKey and debugKey tell apart the nodes of the tree itself and those of the
// overlays: a directory can be in one place only.
type hcaKey struct {
	dev     rdma.Device
	overlay bool
}

type debugKey struct {
	i    *datapath.Interface
	what string
}

func newView(t *Tree, ns hostnet.Namespace) *view {
	v := &view{t: t, id: ns.ID(), ns: ns}
	if t.Lower != nil {
		var err error
		if v.lower, err = t.Lower(ns); err != nil {
			t.Log.Warn("the kernel's own attributes are missing", "err", err)
		}
	}
	dir := func(name string, d *fusefs.Dir) fusefs.Entry { return fusefs.Entry{Name: name, Node: d} }
	v.dir = fusefs.Fixed(
		dir("class", fusefs.Fixed(dir("infiniband", v.hcaDir(false)), dir("net", v.netClass(false)))),
		dir("debug", v.debugRoot(v.debugDir())),
		dir("devices", fusefs.Fixed(dir("virtual", fusefs.Fixed(dir("net", v.netDir()))))),
		dir("module", fusefs.Fixed(dir("ib_ipoib", t.moduleDir()))),
		dir("overlay", v.overlay()),
	)
	return v
}

func (v *view) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ns == nil {
		return
	}
	if v.lower != nil {
		_ = v.lower.Close()
	}
	_ = v.ns.Close()
	v.ns, v.lower = nil, nil
}

// kernel calls fn with the kernel's sysfs of the namespace; ENOENT without.
func (v *view) kernel(fn func(*os.Root) error) error {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.lower == nil {
		return os.ErrNotExist
	}
	return fn(v.lower)
}

// admin reports whether a caller may change what is in the view.
func (v *view) admin(c fusefs.Caller) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.ns != nil && v.t.Guard.NetAdmin(c, v.ns.File())
}

func (v *view) interfaces() []*datapath.Interface { return v.t.Driver.Interfaces(v.id) }

// netDir is devices/virtual/net: directories of our interfaces; what else the
// kernel has there are links to its own.
func (v *view) netDir() *fusefs.Dir {
	const path = "devices/virtual/net"
	other := func(name string) fusefs.Node {
		return v.links.get(path+"/"+name, func() fusefs.Node { return fusefs.To(v.t.LowerDir + "/" + path + "/" + name) })
	}
	return &fusefs.Dir{
		Lookup: func(_ fusefs.Caller, name string) (fusefs.Node, error) {
			if i := v.t.Driver.ByName(v.id, name); i != nil {
				return v.t.netdev(i).dir, nil
			}
			if err := v.kernel(func(r *os.Root) error { _, err := r.Lstat(path + "/" + name); return err }); err != nil {
				return nil, nil
			}
			return other(name), nil
		},
		List: func(fusefs.Caller) ([]fusefs.Entry, error) {
			var out []fusefs.Entry
			ours := make(map[string]bool)
			for _, i := range v.interfaces() {
				name := i.Name()
				ours[name] = true
				out = append(out, fusefs.Entry{Name: name, Node: v.t.netdev(i).dir})
			}
			for _, e := range v.readDir(path) {
				if !ours[e.Name()] {
					out = append(out, fusefs.Entry{Name: e.Name(), Node: other(e.Name())})
				}
			}
			return out, nil
		},
	}
}

// readDir lists a directory of the kernel's sysfs; nothing where it is not.
func (v *view) readDir(path string) (list []os.DirEntry) {
	_ = v.kernel(func(r *os.Root) error {
		d, err := r.Open(path)
		if err != nil {
			return err
		}
		list, err = d.ReadDir(-1)
		_ = d.Close()
		return err
	})
	slices.SortFunc(list, func(a, b os.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list
}

// netClass is class/net: links as the kernel has them; with all the kernel's
// own as well.
func (v *view) netClass(all bool) *fusefs.Dir {
	ours := func(name string) fusefs.Node {
		return v.links.get("net/"+name, func() fusefs.Node { return fusefs.To("../../devices/virtual/net/" + name) })
	}
	kernel := v.classDir("net")
	return &fusefs.Dir{
		Lookup: func(c fusefs.Caller, name string) (fusefs.Node, error) {
			if v.t.Driver.ByName(v.id, name) != nil {
				return ours(name), nil
			}
			if all {
				return kernel.Lookup(c, name)
			}
			return nil, nil
		},
		List: func(c fusefs.Caller) ([]fusefs.Entry, error) {
			var out []fusefs.Entry
			for _, i := range v.interfaces() {
				out = append(out, fusefs.Entry{Name: i.Name(), Node: ours(i.Name())})
			}
			if !all {
				return out, nil
			}
			list, err := kernel.List(c)
			for _, e := range list {
				if !slices.ContainsFunc(out, func(o fusefs.Entry) bool { return o.Name == e.Name }) {
					out = append(out, e)
				}
			}
			return out, err
		},
	}
}

// debugRoot is the root of a debugfs; only root may look into it.
func (v *view) debugRoot(ipoib *fusefs.Dir) *fusefs.Dir {
	d := fusefs.Fixed(fusefs.Entry{Name: "ipoib", Node: ipoib})
	d.Perm = 0o700
	return d
}

// debugDir is the driver's directory in debugfs. Other than there, each
// namespace has its own: names are unique in one only.
func (v *view) debugDir() *fusefs.Dir {
	file := func(i *datapath.Interface, what string) fusefs.Node {
		return v.debug.get(debugKey{i, what}, func() fusefs.Node {
			show := func() []byte { return debugfs.Groups(i.Groups(), v.t.Clock) }
			if what == "_path" {
				show = func() []byte { return debugfs.Paths(i.Paths()) }
			}
			return &fusefs.File{Perm: 0o444, Debug: true, Show: func() ([]byte, error) { return show(), nil }}
		})
	}
	return &fusefs.Dir{
		Lookup: func(_ fusefs.Caller, name string) (fusefs.Node, error) {
			for _, what := range []string{"_mcg", "_path"} {
				if ifname, ok := strings.CutSuffix(name, what); ok {
					if i := v.t.Driver.ByName(v.id, ifname); i != nil {
						return file(i, what), nil
					}
				}
			}
			return nil, nil
		},
		List: func(fusefs.Caller) ([]fusefs.Entry, error) {
			list := v.interfaces()
			v.debug.keep(func(k debugKey) bool { return slices.Contains(list, k.i) })
			var out []fusefs.Entry
			for _, i := range list {
				name := i.Name()
				out = append(out, fusefs.Entry{Name: name + "_mcg", Node: file(i, "_mcg")},
					fusefs.Entry{Name: name + "_path", Node: file(i, "_path")})
			}
			return out, nil
		},
	}
}
