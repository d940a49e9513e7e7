package sysfs

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/compat/debugfs"
	"ipoib/compat/fusefs"
	"ipoib/compat/modparam"
	"ipoib/datapath"
	"ipoib/datapath/hostnet"
	"ipoib/datapath/hostnet/hostnettest"
	"ipoib/rdma"
	"ipoib/rdma/soft"
	"ipoib/rdma/soft/sm/smtest"
)

// Threads of the tests: root of the host's namespace, one without
// CAP_NET_ADMIN, and one in the service's own namespace.
var (
	root    = fusefs.Caller{TID: 1}
	nobody  = fusefs.Caller{TID: 2, UID: 1000}
	service = fusefs.Caller{TID: 3}
)

// world is a host with an adapter of two ports on a managed fabric, and its
// tree, in memory and in virtual time.
type world struct {
	t     *testing.T
	net   *hostnettest.Host
	ns    *hostnettest.Namespace
	home  *hostnettest.Namespace
	drv   *datapath.Driver
	fab   *soft.Fabric
	hca   *soft.HCA
	ib0   *datapath.Interface
	ib1   *datapath.Interface
	tree  *Tree
	log   bytes.Buffer
	lower string // what stands for the kernel's sysfs of the host
}

// NetNS and NetAdmin make the world a Guard.
func (w *world) NetNS(c fusefs.Caller) (hostnet.ID, error) {
	switch c {
	case service:
		return w.home.ID(), nil
	case root, nobody:
		return w.ns.ID(), nil
	}
	return hostnet.ID{}, fs.ErrNotExist
}

func (w *world) NetAdmin(c fusefs.Caller, _ *os.File) bool { return c != nobody }

func (w *world) Command(fusefs.Caller) string { return "cat" }

func inWorld(t *testing.T, fn func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer func() {
			w.tree.Close()
			w.drv.Close(false)
			synctest.Wait()
		}()
		fn(w)
	})
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, net: hostnettest.New(t), lower: t.TempDir()}
	w.home = w.net.AddNamespace(t, "home")
	w.ns = w.net.AddNamespace(t, "h1")
	fabric := smtest.New(t, soft.HCAConfig{Ports: 2, Desc: "host1 soft0"})
	w.fab, w.hca = fabric.Fabric, fabric.HCA
	w.drv = datapath.New(datapath.System{
		Host: w.net, OpenTUN: w.net.OpenTUN, Seed: 3,
		RequestPKey: func(p rdma.Port, k rdma.PKey) { _ = fabric.SM.Allow(p.GUID(), k) },
		ReleasePKey: func(p rdma.Port, k rdma.PKey) { _ = fabric.SM.Disallow(p.GUID(), k) },
	}, datapath.Params{})
	for n, i := range []**datapath.Interface{&w.ib0, &w.ib1} {
		port, err := w.hca.Port(n + 1)
		w.must(err)
		ns, err := w.net.ByName("h1")
		w.must(err)
		*i, err = w.drv.AddPort(datapath.PortConfig{Port: port, NS: ns, Name: "ib" + string(rune('0'+n))})
		w.must(err)
	}
	var err error
	w.tree, err = New(Config{
		Driver: w.drv, Params: modparam.New(w.drv), Guard: w,
		Home:     func() (hostnet.Namespace, error) { return w.net.ByName("home") },
		Adapters: func() []rdma.Device { return []rdma.Device{w.hca} },
		Lower: func(ns hostnet.Namespace) (*os.Root, error) {
			if ns.ID() != w.ns.ID() {
				return nil, fs.ErrNotExist
			}
			return os.OpenRoot(w.lower)
		},
		LowerDir: "/run/ipoib/lower", LowerDebug: filepath.Join(w.lower, "debug"),
		Clock: debugfs.Clock{Boot: time.Now()}, Log: slog.New(slog.NewTextHandler(&w.log, nil)),
	})
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// up sets an interface up and waits for its carrier.
func (w *world) up(i *datapath.Interface) {
	w.t.Helper()
	w.must(i.SetUp(true))
	w.settle()
}

func (w *world) settle() {
	time.Sleep(2 * time.Second)
	synctest.Wait()
}

// kernel makes a file of the kernel's sysfs.
func (w *world) kernel(path, text string) {
	w.t.Helper()
	p := filepath.Join(w.lower, path)
	w.must(os.MkdirAll(filepath.Dir(p), 0o755))
	w.must(os.WriteFile(p, []byte(text), 0o644))
}

// find returns a node by its path in the host's view, following links.
func (w *world) find(path string) fusefs.Node {
	n, _ := w.lookup(path)
	return n
}

func (w *world) lookup(path string) (fusefs.Node, error) {
	full := ViewPath(w.ns.ID()) + "/" + path
	for range 10 {
		parts := strings.Split(full, "/")
		next := ""
		for i := range parts {
			n, err := w.tree.Root().Find(root, strings.Join(parts[:i+1], "/"))
			if err != nil {
				return nil, err
			}
			l, ok := n.(*fusefs.Link)
			if !ok {
				continue
			}
			target, err := l.Target(root)
			if err != nil {
				return nil, err
			}
			next = filepath.Join(append(append(slices.Clone(parts[:i]), target), parts[i+1:]...)...)
			break
		}
		if next == "" {
			return w.tree.Root().Find(root, full)
		}
		full = next
	}
	return nil, syscall.ELOOP
}

func (w *world) file(path string) *fusefs.File {
	w.t.Helper()
	f, ok := w.find(path).(*fusefs.File)
	if !ok {
		w.t.Fatalf("%s is no file: %v", path, w.find(path))
	}
	return f
}

func errnoOf(err error) error {
	if err == nil {
		return nil
	}
	var e interface{ Errno() syscall.Errno }
	if errors.As(err, &e) {
		return e.Errno()
	}
	return err
}

// read returns what a file shows.
func (w *world) read(path string) (string, error) {
	w.t.Helper()
	b, err := w.file(path).Read()
	return string(b), errnoOf(err)
}

// shows checks the content of a file.
func (w *world) shows(path, want string) {
	w.t.Helper()
	if got, err := w.read(path); got != want || err != nil {
		w.t.Errorf("%s: %q, %v, want %q", path, got, err, want)
	}
}

func (w *world) write(path, text string) error {
	w.t.Helper()
	_, err := w.file(path).Write(root, []byte(text))
	return errnoOf(err)
}

// takes checks the outcome of a write.
func (w *world) takes(path, text string, want error) {
	w.t.Helper()
	if err := w.write(path, text); !errors.Is(err, want) {
		w.t.Errorf("%q to %s: %v, want %v", text, path, err, want)
	}
}

func (w *world) list(path string) (out []string) {
	w.t.Helper()
	d, ok := w.find(path).(*fusefs.Dir)
	if !ok {
		w.t.Fatalf("%s is no directory", path)
	}
	list, err := d.List(root)
	w.must(err)
	for _, e := range list {
		out = append(out, e.Name)
	}
	slices.Sort(out)
	return out
}

// rtnl makes a child as netlink does.
func (w *world) rtnl(name string, pkey rdma.PKey) *datapath.Interface {
	w.t.Helper()
	i, err := w.drv.NewChild(w.ib0, datapath.ChildConfig{Name: name, PKey: &pkey})
	w.must(err)
	return i
}
