// Package ethtooltest has a service with IPoIB interfaces in memory, to test
// the family "ethtool" and its clients: a channel adapter of the software
// fabric, a driver on a host in memory, and netlink without a socket. It needs
// no privilege and works inside a bubble of testing/synctest.
//
//	h := ethtooltest.New(t, ethtooltest.Options{Names: []string{"ib0"}})
//	c := h.Dial(t, true, nl.ConnConfig{Protocol: nl.ProtoGeneric, ExtAck: true})
package ethtooltest

import (
	"testing"

	"ipoib/compat/ipoibface"
	"ipoib/datapath"
	"ipoib/datapath/hostnet/hostnettest"
	"ipoib/ethtoolsrv"
	"ipoib/nl"
	"ipoib/nl/genl"
	"ipoib/nl/ipoibnl"
	"ipoib/nl/nltest"
	"ipoib/rdma"
	"ipoib/rdma/mad"
	"ipoib/rdma/soft"
	"ipoib/rdma/soft/sm/smtest"
)

// Options say what a Host has.
type Options struct {
	// Names are the parent interfaces, one for each port of the adapter.
	Names []string
	// Profile is that of the adapter, full by default.
	Profile soft.Profile
	// Managed starts a subnet manager: interfaces that are up get a carrier
	// then.
	Managed bool
	// Netlink configures the netlink service.
	Netlink nl.Config
}

// Host is a service with interfaces.
type Host struct {
	Net     *hostnettest.Host
	HCA     *soft.HCA
	Driver  *datapath.Driver
	Netlink *nl.Server
	Family  *ethtoolsrv.Server
	netns   nl.NetNS
}

// Version is what the service says its version is.
const Version = "1.2.3"

// New makes a host. It ends with the test.
func New(tb testing.TB, o Options) *Host {
	tb.Helper()
	h := &Host{Net: hostnettest.New(tb)}
	fabric := soft.NewFabric(soft.Options{Seed: 1})
	sw, err := fabric.AddSwitch(soft.SwitchConfig{NodeGUID: 0x0002c90300a0b0f0, Ports: len(o.Names) + 1})
	check(tb, err)
	h.HCA, err = fabric.AddHCA(soft.HCAConfig{
		Name: "soft0", NodeGUID: 0x0002c90300a0b0c0, Desc: "ethtooltest", Ports: len(o.Names), Profile: o.Profile,
	})
	check(tb, err)
	for n := range o.Names {
		_, err := fabric.Connect(h.HCA.At(n+1), sw.At(n+1))
		check(tb, err)
	}
	sys := datapath.System{Host: h.Net, OpenTUN: h.Net.OpenTUN, Seed: 1}
	if o.Managed {
		m := smtest.Run(tb, sw)
		sys.RequestPKey = func(p rdma.Port, k rdma.PKey) { _ = m.Allow(p.GUID(), k) }
	} else {
		sys.NewSubnetAdmin = func(rdma.Port, func()) (datapath.SubnetAdmin, error) { return mute{}, nil }
	}
	h.Driver = datapath.New(sys, datapath.Params{})
	tb.Cleanup(func() { h.Driver.Close(false); _ = h.HCA.Close() })
	h.Netlink = nltest.NewServer(tb, o.Netlink)
	reg := genl.New(h.Netlink)
	h.Family, err = ethtoolsrv.Register(reg, ethtoolsrv.Config{Driver: h.Driver})
	check(tb, err)
	_, err = ipoibface.Register(reg, ipoibface.Config{Driver: h.Driver, Service: service{}})
	check(tb, err)
	id := h.Net.Open(tb, "").ID()
	h.netns = nl.NetNS{Dev: id.Dev, Ino: id.Ino}
	for n, name := range o.Names {
		port, err := h.HCA.Port(n + 1)
		check(tb, err)
		_, err = h.Driver.AddPort(datapath.PortConfig{Port: port, NS: h.Net.Open(tb, ""), Name: name})
		check(tb, err)
	}
	return h
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// Dial connects a process in the namespace of the interfaces; admin gives it
// CAP_NET_ADMIN.
func (h *Host) Dial(tb testing.TB, admin bool, cfg nl.ConnConfig) *nl.Conn {
	tb.Helper()
	c, err := h.Connect(admin, cfg)
	check(tb, err)
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// Connect is Dial for who closes the connection, and expects a refusal.
func (h *Host) Connect(admin bool, cfg nl.ConnConfig) (*nl.Conn, error) {
	p := nltest.NewPeer()
	p.SetNetNS(h.netns, "")
	if admin {
		p.SetCaps(nl.CapNetAdmin)
	}
	return nltest.Connect(h.Netlink, p, cfg)
}

// Interface returns an interface by name.
func (h *Host) Interface(tb testing.TB, name string) *datapath.Interface {
	tb.Helper()
	for _, i := range h.Driver.Interfaces(h.Net.Open(tb, "").ID()) {
		if i.Name() == name {
			return i
		}
	}
	tb.Fatalf("no interface %s", name)
	return nil
}

// Up sets an interface up and waits for its carrier, which a managed host
// gives it.
func (h *Host) Up(tb testing.TB, name string) {
	tb.Helper()
	i := h.Interface(tb, name)
	on := make(chan struct{}, 1)
	cancel := h.Driver.Subscribe(func(c datapath.Change) {
		if c.Interface == i && c.New != nil && c.New.Carrier {
			select {
			case on <- struct{}{}:
			default:
			}
		}
	})
	defer cancel()
	check(tb, i.SetUp(true))
	if !i.Info().Carrier {
		<-on
	}
}

// mute is a subnet administration that never answers.
type mute struct{ datapath.SubnetAdmin }

func (mute) SubscribeGroups(func(rdma.GID, bool)) func()         { return func() {} }
func (mute) ListGroups(func([]mad.MCMemberRecord, error)) func() { return func() {} }
func (mute) IsMember(rdma.GID) bool                              { return false }
func (mute) SendOnlyFullMember() bool                            { return true }
func (mute) NoMulticast() bool                                   { return false }
func (mute) Close() error                                        { return nil }
func (mute) Join(mad.MCMemberRecord, mad.ComponentMask, func(mad.MCMemberRecord, error)) func() {
	return func() {}
}

// service is what the family "ipoib" needs of a service.
type service struct{ ipoibface.Service }

func (service) Info() ipoibnl.Service { return ipoibnl.Service{Version: Version} }
