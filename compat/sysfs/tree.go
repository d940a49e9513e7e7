package sysfs

import (
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"

	"ipoib/compat/debugfs"
	"ipoib/compat/fusefs"
	"ipoib/compat/modparam"
	"ipoib/datapath"
	"ipoib/datapath/hostnet"
	"ipoib/rdma"
)

// Guard tells who a caller is.
type Guard interface {
	// NetNS is the network namespace that the caller is in.
	NetNS(c fusefs.Caller) (hostnet.ID, error)
	// NetAdmin reports whether the caller has CAP_NET_ADMIN over a namespace,
	// given by its nsfs file.
	NetAdmin(c fusefs.Caller, netns *os.File) bool
	// Command is the name of the program that the caller runs.
	Command(c fusefs.Caller) string
}

// Config names what the tree shows.
type Config struct {
	Driver *datapath.Driver
	Params *modparam.Set
	Guard  Guard
	// Home opens the service's own namespace, which always has a view.
	Home func() (hostnet.Namespace, error)
	// Adapters lists the channel adapters. One is in the views of the
	// namespaces that its interfaces are in, and in that of Home if it has
	// none.
	Adapters func() []rdma.Device
	// Lower opens the kernel's sysfs of a namespace; nil where there is none.
	Lower func(hostnet.Namespace) (*os.Root, error)
	// LowerDir and LowerDebug are where the kernel's own sysfs and debugfs
	// are mounted in the mount namespaces that see the overlays.
	LowerDir, LowerDebug string
	// Settle is called after a child was made or removed by a file, and
	// returns when what follows from that is done. It may be nil.
	Settle func()
	// Clock is the kernel's.
	Clock debugfs.Clock
	Log   *slog.Logger
}

// Tree is the tree of files. Its methods may be called from any goroutine.
type Tree struct {
	Config
	root   *fusefs.Dir
	home   hostnet.ID
	cancel func()
	hinted sync.Once // about dev_id

	mu      sync.Mutex
	views   map[hostnet.ID]*view            // guarded by mu, as is all below
	netdevs map[*datapath.Interface]*netdev // those that were looked at
	params  map[string][]*fusefs.File       // files of a parameter
	changes []func()                        // to be told, in order
	telling bool                            // a goroutine does that
	closed  bool
}

// New returns the tree.
func New(cfg Config) (*Tree, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	t := &Tree{
		Config: cfg, views: make(map[hostnet.ID]*view), netdevs: make(map[*datapath.Interface]*netdev),
		params: make(map[string][]*fusefs.File),
	}
	ns, err := cfg.Home()
	if err != nil {
		return nil, fmt.Errorf("sysfs: %w", err)
	}
	t.home = ns.ID()
	t.views[t.home] = newView(t, ns)
	var entries []fusefs.Entry
	for _, name := range []string{"class", "debug", "devices", "module"} {
		entries = append(entries, fusefs.Entry{Name: name, Node: t.toView(name)})
	}
	t.root = fusefs.Fixed(append(entries, fusefs.Entry{Name: "netns", Node: &fusefs.Dir{
		Lookup: t.lookupView, List: t.listViews,
	}})...)
	t.Params.Subscribe(t.paramChanged)
	t.cancel = t.Driver.Subscribe(t.onChange)
	return t, nil
}

// Root returns the top of the tree.
func (t *Tree) Root() *fusefs.Dir { return t.root }

// Close lets go of the namespaces.
func (t *Tree) Close() {
	t.cancel()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for id, v := range t.views {
		v.close()
		delete(t.views, id)
	}
}

// ViewPath returns the path of a namespace's view in the tree.
func ViewPath(id hostnet.ID) string { return "netns/" + viewName(id) }

func viewName(id hostnet.ID) string { return strconv.FormatUint(id.Ino, 10) }

// toView is a link into the view of whoever reads it.
func (t *Tree) toView(name string) *fusefs.Link {
	return &fusefs.Link{Target: func(c fusefs.Caller) (string, error) {
		id, err := t.Guard.NetNS(c)
		if err != nil {
			id = t.home
		}
		return ViewPath(id) + "/" + name, nil
	}}
}

// spaces returns the namespaces that have a view.
func (t *Tree) spaces() map[hostnet.ID]*datapath.Interface {
	out := map[hostnet.ID]*datapath.Interface{t.home: nil}
	for _, i := range t.Driver.Interfaces(hostnet.ID{}) {
		if id := i.Info().NS; out[id] == nil {
			out[id] = i
		}
	}
	return out
}

func (t *Tree) lookupView(_ fusefs.Caller, name string) (fusefs.Node, error) {
	t.mu.Lock()
	for id, v := range t.views {
		if viewName(id) == name {
			t.mu.Unlock()
			return v.dir, nil
		}
	}
	t.mu.Unlock()
	for id, i := range t.spaces() {
		if viewName(id) != name {
			continue
		}
		v, err := t.view(id, i)
		if err != nil {
			return nil, err
		}
		return v.dir, nil
	}
	return nil, nil
}

func (t *Tree) listViews(fusefs.Caller) ([]fusefs.Entry, error) {
	var out []fusefs.Entry
	for id, i := range t.spaces() {
		if v, err := t.view(id, i); err == nil {
			out = append(out, fusefs.Entry{Name: viewName(id), Node: v.dir})
		}
	}
	return out, nil
}

// view returns the view of a namespace, by an interface in it.
func (t *Tree) view(id hostnet.ID, i *datapath.Interface) (*view, error) {
	t.mu.Lock()
	v := t.views[id]
	t.mu.Unlock()
	if v != nil || i == nil {
		return v, nil
	}
	ns, err := i.Namespace()
	if err != nil {
		return nil, err
	}
	v = newView(t, ns)
	t.mu.Lock()
	defer t.mu.Unlock()
	if have := t.views[ns.ID()]; have != nil || t.closed {
		v.close()
		return have, nil
	}
	t.views[ns.ID()] = v
	return v, nil
}

// onChange follows the interfaces. It is called on their loops, which what
// attributes show may need: the readers are told on another goroutine.
func (t *Tree) onChange(c datapath.Change) {
	t.mu.Lock()
	n := t.netdevs[c.Interface]
	if n != nil {
		if c.New == nil {
			n.gone.Store(true)
			delete(t.netdevs, c.Interface)
		}
		t.changes = append(t.changes, func() { n.changed(c) })
		if !t.telling {
			t.telling = true
			go t.tell()
		}
	}
	t.mu.Unlock()
	if c.Old != nil && (c.New == nil || c.New.NS != c.Old.NS) && c.Old.NS != t.home {
		t.dropView(c.Old.NS)
	}
}

// tell works off the changes.
func (t *Tree) tell() {
	for {
		t.mu.Lock()
		list := t.changes
		t.changes = nil
		t.telling = len(list) > 0
		t.mu.Unlock()
		if len(list) == 0 {
			return
		}
		for _, fn := range list {
			fn()
		}
	}
}

// dropView closes the view of a namespace that has no interface any more, so
// that the namespace can end.
func (t *Tree) dropView(id hostnet.ID) {
	if len(t.Driver.Interfaces(id)) > 0 {
		return
	}
	t.mu.Lock()
	v := t.views[id]
	delete(t.views, id)
	t.mu.Unlock()
	if v != nil {
		go v.close()
	}
}

// netdev returns the directory of an interface.
func (t *Tree) netdev(i *datapath.Interface) *netdev {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.netdevs[i]
	if n == nil {
		n = newNetdev(t, i)
		t.netdevs[i] = n
	}
	return n
}

// cache keeps nodes by a key, so that they stay the same nodes.
type cache[K comparable] struct {
	mu    sync.Mutex
	nodes map[K]fusefs.Node // guarded by mu
}

// get returns the node of a key, making it the first time.
func (c *cache[K]) get(k K, make_ func() fusefs.Node) fusefs.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.nodes[k]
	if n == nil {
		if n = make_(); n == nil {
			return nil
		}
		if c.nodes == nil {
			c.nodes = make(map[K]fusefs.Node)
		}
		c.nodes[k] = n
	}
	return n
}

// keep forgets all keys but those that ok.
func (c *cache[K]) keep(ok func(K) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range c.nodes {
		if !ok(k) {
			delete(c.nodes, k)
		}
	}
}
