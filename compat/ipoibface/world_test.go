package ipoibface

import (
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/compat/modparam"
	"ipoib/datapath"
	"ipoib/datapath/hostnet/hostnettest"
	"ipoib/nl"
	"ipoib/nl/genl"
	"ipoib/nl/ipoibnl"
	"ipoib/nl/nltest"
	"ipoib/rdma/soft"
	"ipoib/rdma/soft/sm/smtest"
)

// world is a service in memory and in virtual time: one adapter with the
// interface ib0 in namespace h1, and the family for clients of it.
type world struct {
	t    *testing.T
	net  *hostnettest.Host
	ns   *hostnettest.Namespace
	drv  *datapath.Driver
	fab  *soft.Fabric
	hca  *soft.HCA
	ib0  *datapath.Interface
	srv  *nl.Server
	peer *nltest.Peer
	c    *ipoibnl.Client

	// What the family asked of the service.
	stops   []bool
	added   []ipoibnl.HCA
	removed []string
	reloads int
	follow  func(n int, fn func(ipoibnl.LogLine)) func()
}

func (w *world) Info() ipoibnl.Service {
	return ipoibnl.Service{Version: "1.2", PID: 7, RunDir: "/run/x", Interfaces: 1}
}
func (w *world) ReloadPartitions() error { w.reloads++; return nil }
func (w *world) Stop(teardown bool)      { w.stops = append(w.stops, teardown) }
func (w *world) Adapters() []ipoibnl.HCA {
	return []ipoibnl.HCA{{Name: "soft0", Ports: 1, Ifnames: []string{"ib0"}}}
}

func (w *world) AddAdapter(h ipoibnl.HCA) error {
	if h.Name == "taken" {
		return nl.Errorf(syscall.EEXIST, "there is one")
	}
	w.added = append(w.added, h)
	return nil
}

func (w *world) RemoveAdapter(name string) error {
	if name != "soft0" {
		return syscall.ENODEV
	}
	w.removed = append(w.removed, name)
	return nil
}

func (w *world) Port(name string) (soft.End, error) {
	if name != "soft0/1" {
		return soft.End{}, nl.Errorf(syscall.ENODEV, "no port %s in the fabric", name)
	}
	return w.hca.At(1), nil
}

func inWorld(t *testing.T, fn func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer func() {
			w.drv.Close(false)
			synctest.Wait()
		}()
		fn(w)
	})
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, net: hostnettest.New(t)}
	w.ns = w.net.AddNamespace(t, "h1")
	fabric := smtest.New(t, soft.HCAConfig{Desc: "host one"})
	w.fab, w.hca = fabric.Fabric, fabric.HCA
	w.drv = datapath.New(datapath.System{Host: w.net, OpenTUN: w.net.OpenTUN, Seed: 3}, datapath.Params{})
	port, err := w.hca.Port(1)
	w.must(err)
	ns, err := w.net.ByName("h1")
	w.must(err)
	w.ib0, err = w.drv.AddPort(datapath.PortConfig{Port: port, NS: ns, Name: "ib0"})
	w.must(err)
	w.srv = nltest.NewServer(t, nl.Config{})
	_, err = Register(genl.New(w.srv), Config{
		Driver: w.drv, Fabric: w.fab, SM: fabric.SM, Service: w, Params: modparam.New(w.drv),
		FollowLog: func(n int, fn func(ipoibnl.LogLine)) func() { return w.follow(n, fn) },
	})
	w.must(err)
	w.peer = nltest.NewPeer()
	id := w.ns.ID()
	w.peer.SetNetNS(nl.NetNS{Dev: id.Dev, Ino: id.Ino}, "")
	w.peer.SetCaps(nl.CapNetAdmin)
	w.c = w.client(w.peer)
	return w
}

func (w *world) client(p *nltest.Peer) *ipoibnl.Client {
	w.t.Helper()
	c, err := ipoibnl.New(nltest.Dial(w.t, w.srv, p, nl.ConnConfig{Protocol: nl.ProtoGeneric, ExtAck: true}))
	w.must(err)
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// up sets ib0 up and waits for what follows.
func (w *world) up() {
	w.t.Helper()
	w.must(w.ib0.SetUp(true))
	time.Sleep(2 * time.Second)
	synctest.Wait()
}

// errno is the service's answer in an error.
func errno(err error) syscall.Errno {
	if n, ok := errors.AsType[syscall.Errno](err); ok {
		return n
	}
	if err != nil {
		return ^syscall.Errno(0)
	}
	return 0
}

func dump[T any](w *world, cmd uint8, f ipoibnl.Filter) []T {
	w.t.Helper()
	list, err := ipoibnl.Dump[T](w.c, cmd, f)
	w.must(err)
	return list
}
