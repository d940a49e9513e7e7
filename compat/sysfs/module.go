package sysfs

import (
	"fmt"

	"ipoib/compat/fusefs"
)

// moduleDir is /sys/module/ib_ipoib.
func (t *Tree) moduleDir() *fusefs.Dir {
	var entries []fusefs.Entry
	for _, p := range t.Params.List() {
		f := &fusefs.File{
			Perm: 0o444, Size: fusefs.PageSize,
			Show: func() ([]byte, error) {
				v, _ := t.Params.Get(p.Name)
				return fmt.Appendln(nil, v.Value), nil
			},
		}
		if p.Writable {
			f.Perm = 0o644
			// As in the kernel the mode of the file is all that protects it.
			f.Store = func(_ fusefs.Caller, b []byte) error { return t.Params.Store(p.Name, b) }
		}
		t.mu.Lock()
		t.params[p.Name] = append(t.params[p.Name], f)
		t.mu.Unlock()
		entries = append(entries, fusefs.Entry{Name: p.Name, Node: f})
	}
	return fusefs.Fixed(
		text("initstate", func() string { return "live" }),
		fusefs.Entry{Name: "parameters", Node: fusefs.Fixed(entries...)},
		text("refcnt", func() string { return "0" }),
	)
}

// paramChanged tells those who poll a parameter.
func (t *Tree) paramChanged(name string) {
	t.mu.Lock()
	list := t.params[name]
	t.mu.Unlock()
	for _, f := range list {
		f.Changed()
	}
}
