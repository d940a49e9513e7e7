package redirecttest

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"ipoib/compat/ipoibface"
	"ipoib/compat/modparam"
	"ipoib/compat/redirect/upstream"
	"ipoib/compat/rtnlface"
	"ipoib/datapath"
	"ipoib/datapath/hostnet/hostnettest"
	"ipoib/ethtoolsrv"
	"ipoib/nl"
	"ipoib/nl/genl"
	"ipoib/nl/ipoibnl"
	"ipoib/nl/nltest"
	"ipoib/nl/rtnl"
	"ipoib/rdma/soft"
	"ipoib/rdma/soft/sm/smtest"
)

// Service is a service with one adapter and the interface IB0, whose host is in
// memory. Every client is in the namespace of IB0.
type Service struct {
	tb     testing.TB
	Driver *datapath.Driver
	IB0    *datapath.Interface
	// Path is the socket, Peer who its clients are: an administrator.
	Path string
	Peer *nltest.Peer

	ns   *hostnettest.Namespace
	stop func()
}

// Start starts a service that ends with the test.
func Start(tb testing.TB) *Service {
	tb.Helper()
	s := &Service{tb: tb, Peer: nltest.NewPeer()}
	host := hostnettest.New(tb)
	s.ns = host.AddNamespace(tb, "h1")
	fabric := smtest.New(tb, soft.HCAConfig{})
	s.Driver = datapath.New(datapath.System{Host: host, OpenTUN: host.OpenTUN, Seed: 3}, datapath.Params{})
	tb.Cleanup(func() { s.Driver.Close(false) })
	port, err := fabric.HCA.Port(1)
	s.must(err)
	ns, err := host.ByName("h1")
	s.must(err)
	s.IB0, err = s.Driver.AddPort(datapath.PortConfig{Port: port, NS: ns, Name: "ib0"})
	s.must(err)
	id := s.ns.ID()
	s.Peer.SetNetNS(nl.NetNS{Dev: id.Dev, Ino: id.Ino}, "")
	s.Peer.SetCaps(nl.CapNetAdmin)
	srv := nl.NewServer(nl.Config{})
	links, err := rtnlface.Register(rtnl.NewTable(srv), rtnlface.Config{Driver: s.Driver, Host: host})
	s.must(err)
	tb.Cleanup(links.Close)
	families := genl.New(srv)
	_, err = ethtoolsrv.Register(families, ethtoolsrv.Config{Driver: s.Driver})
	s.must(err)
	_, err = ipoibface.Register(families, ipoibface.Config{
		Driver: s.Driver, Fabric: fabric.Fabric, SM: fabric.SM, Service: about{}, Params: modparam.New(s.Driver),
	})
	s.must(err)
	// A unix socket's path is short.
	dir, err := os.MkdirTemp("", "redirect")
	s.must(err)
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	s.Path = filepath.Join(dir, "netlink.sock")
	l, err := nl.Listen(s.Path, 0o600)
	s.must(err)
	ended := make(chan struct{})
	go func() {
		_ = srv.Serve(context.Background(), listener{l, s.Peer})
		close(ended)
	}()
	s.stop = func() { _ = srv.Close(); _ = l.Close(); <-ended }
	tb.Cleanup(s.Stop)
	return s
}

// Stop ends the service for its clients.
func (s *Service) Stop() {
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
}

// World returns the service as a supervisor in the namespace of its clients
// sees it.
func (s *Service) World() *upstream.World {
	s.tb.Helper()
	client, err := upstream.NewClient(s.Path)
	s.must(err)
	ns, err := os.Open("/proc/self/ns/net")
	s.must(err)
	w := client.World(ns, true)
	s.tb.Cleanup(func() { w.Close(); _ = client.Close() })
	return w
}

func (s *Service) must(err error) {
	s.tb.Helper()
	if err != nil {
		s.tb.Fatal(err)
	}
}

// listener has all clients be one peer.
type listener struct {
	nl.Listener
	peer nl.Peer
}

func (l listener) Accept() (nl.PacketConn, nl.Peer, error) {
	c, p, err := l.Listener.Accept()
	if err == nil {
		_ = p.Close()
	}
	return c, l.peer, err
}

// about is what ipoibface tells of the service.
type about struct{ ipoibface.Service }

func (about) Info() ipoibnl.Service { return ipoibnl.Service{Version: "1.2"} }
