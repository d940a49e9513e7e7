package sysfs

import (
	"io/fs"
	"os"
	"slices"

	"ipoib/compat/fusefs"
)

// The overlays stand for directories of the kernel's to which nothing can be
// added: they have what is there and our entries. What is the kernel's stays
// so: entries are links, relative as the kernel has them where they are links,
// else to where the kernel's own file system is mounted (LowerDir).

func (v *view) overlay() *fusefs.Dir {
	return fusefs.Fixed(
		fusefs.Entry{Name: "class", Node: v.overlayClass()},
		fusefs.Entry{Name: "debug", Node: v.overlayDebug()},
		fusefs.Entry{Name: "module", Node: v.overlayModule()},
	)
}

// merged is a directory of ours with the entries of another behind.
func merged(ours *fusefs.Dir, perm uint32, lookup func(name string) fusefs.Node, names func() []string) *fusefs.Dir {
	return &fusefs.Dir{
		Perm: perm,
		Lookup: func(c fusefs.Caller, name string) (fusefs.Node, error) {
			if n, err := ours.Lookup(c, name); n != nil || err != nil {
				return n, err
			}
			return lookup(name), nil
		},
		List: func(c fusefs.Caller) ([]fusefs.Entry, error) {
			out, err := ours.List(c)
			if err != nil {
				return nil, err
			}
			out = slices.Clone(out)
			for _, name := range names() {
				if slices.ContainsFunc(out, func(e fusefs.Entry) bool { return e.Name == name }) {
					continue
				}
				if n := lookup(name); n != nil {
					out = append(out, fusefs.Entry{Name: name, Node: n})
				}
			}
			return out, nil
		},
	}
}

func (v *view) names(path string) (out []string) {
	for _, e := range v.readDir(path) {
		out = append(out, e.Name())
	}
	return out
}

// stat returns the mode of what the kernel has at path.
func (v *view) stat(path string) (mode fs.FileMode, ok bool) {
	err := v.kernel(func(r *os.Root) error {
		st, err := r.Lstat(path)
		if err == nil {
			mode = st.Mode()
		}
		return err
	})
	return mode, err == nil
}

func (v *view) overlayClass() *fusefs.Dir {
	ours := fusefs.Fixed(
		fusefs.Entry{Name: "infiniband", Node: v.hcaDir(true)},
		fusefs.Entry{Name: "net", Node: v.netClass(true)},
	)
	return merged(ours, 0, func(name string) fusefs.Node {
		if mode, ok := v.stat("class/" + name); !ok || !mode.IsDir() {
			return nil
		}
		return v.over.get("class/"+name, func() fusefs.Node { return v.classDir(name) })
	}, func() []string { return v.names("class") })
}

// classDir is a class of the kernel's.
func (v *view) classDir(class string) *fusefs.Dir {
	node := func(name string) fusefs.Node {
		path := "class/" + class + "/" + name
		mode, ok := v.stat(path)
		if !ok {
			return nil
		}
		return v.over.get(path, func() fusefs.Node {
			if mode&fs.ModeSymlink == 0 {
				return fusefs.To(v.t.LowerDir + "/" + path)
			}
			return &fusefs.Link{Target: func(fusefs.Caller) (text string, err error) {
				err = v.kernel(func(r *os.Root) error { text, err = r.Readlink(path); return err })
				return text, err
			}}
		})
	}
	return merged(fusefs.Fixed(), 0, node, func() []string { return v.names("class/" + class) })
}

func (v *view) overlayModule() *fusefs.Dir {
	ours := fusefs.Fixed(fusefs.Entry{Name: "ib_ipoib", Node: v.t.moduleDir()})
	return merged(ours, 0, func(name string) fusefs.Node {
		path := "module/" + name
		if _, ok := v.stat(path); !ok {
			return nil
		}
		return v.over.get(path, func() fusefs.Node { return fusefs.To(v.t.LowerDir + "/" + path) })
	}, func() []string { return v.names("module") })
}

func (v *view) overlayDebug() *fusefs.Dir {
	ours := fusefs.Fixed(fusefs.Entry{Name: "ipoib", Node: v.debugDir()})
	return merged(ours, 0o700, func(name string) fusefs.Node {
		if _, err := os.Lstat(v.t.LowerDebug + "/" + name); err != nil {
			return nil
		}
		return v.over.get("debug/"+name, func() fusefs.Node { return fusefs.To(v.t.LowerDebug + "/" + name) })
	}, func() (out []string) {
		list, _ := os.ReadDir(v.t.LowerDebug)
		for _, e := range list {
			out = append(out, e.Name())
		}
		return out
	})
}
