package upstream_test

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/netlink"

	"ipoib/compat/redirect/internal/redirecttest"
	"ipoib/compat/redirect/upstream"
	"ipoib/compat/redirect/wire"
	"ipoib/datapath"
	"ipoib/nl"
	"ipoib/nl/ethnl"
	"ipoib/nl/ipoibnl"
	"ipoib/nl/rtlink"
	"ipoib/rdma"
)

func child(t *testing.T, s *redirecttest.Service, name string, pkey rdma.PKey) int32 {
	t.Helper()
	i, err := s.Driver.NewChild(s.IB0, datapath.ChildConfig{Name: name, PKey: &pkey})
	if err != nil {
		t.Fatal(err)
	}
	return int32(i.Info().Ifindex)
}

// Links by index and by name.
func TestLinks(t *testing.T) {
	s := redirecttest.Start(t)
	w := s.World()
	index := int32(s.IB0.Info().Ifindex)
	c := child(t, s, "ib0.8001", 0x8001)
	if !w.Running() {
		t.Error("the service does not run")
	}
	for _, tt := range []struct {
		index int32
		name  string
		want  int32
	}{
		{index, "", index}, {0, "ib0", index}, {c, "is not looked at", c}, {0, "ib0.8001", c},
		{0, "", 0}, {99, "", 0}, {-5, "", 0}, {-5, "ib0", 0}, {0, "ib1", 0}, {1, "", 0},
		{0, "a name that is longer than those of the kernel", 0},
	} {
		if got, err := w.Resolve(tt.index, tt.name); got != tt.want || err != nil {
			t.Errorf("%d %q: %d, %v", tt.index, tt.name, got, err)
		}
	}
	l, err := rtlink.Decode(w.Link(index))
	if err != nil || l.Name != "ib0" || l.Type != rtlink.TypeInfiniBand || l.Info == nil || l.Info.Kind != rtlink.KindIPoIB {
		t.Errorf("%+v, %v", l, err)
	}
	if w.Link(99) != nil || w.Gone(99) != nil || w.Other(99) || !w.Other(99) {
		t.Error("of a link that is not the service's")
	}
	items, err := w.Links()
	if err != nil || len(items) != 2 || items[0].Index != index || items[1].Index != c {
		t.Errorf("%+v, %v", items, err)
	}
	// What was last said of a link outlives it.
	if err := s.Driver.Delete(s.Driver.ByIndex(s.IB0.Info().NS, int(c))); err != nil {
		t.Fatal(err)
	}
	if l, err := rtlink.Decode(w.Gone(c)); w.Link(c) != nil || err != nil || l.Name != "ib0.8001" {
		t.Errorf("%+v, %v", l, err)
	}
}

// request builds a request of rtnetlink about links.
func request(typ netlink.HeaderType, flags netlink.HeaderFlags, index int32, fill func(*nl.Encoder)) *wire.Message {
	var e nl.Encoder
	_ = e.Message(netlink.Header{Type: typ, Flags: netlink.Request | flags, Sequence: 7}, func(e *nl.Encoder) error {
		rtlink.AppendHeader(e, 0, 0, index, 0, 0)
		if fill != nil {
			fill(e)
		}
		return nil
	})
	return &wire.Split(e.Bytes())[0]
}

// What the service adds to a dump: all of its links are taken from the
// kernel's answer, those that the filter lets through put in.
func TestLinkDump(t *testing.T) {
	s := redirecttest.Start(t)
	w := s.World()
	index, c := int32(s.IB0.Info().Ifindex), child(t, s, "ib0.8001", 0x8001)
	kind := func(name string) func(*nl.Encoder) {
		return func(e *nl.Encoder) {
			e.NestNoFlag(rtlink.AttrLinkinfo, func() { e.String(rtlink.InfoKind, name) })
		}
	}
	for _, tt := range []struct {
		name string
		fill func(*nl.Encoder)
		want []int32
	}{
		{"all", nil, []int32{index, c}},
		{"with virtual functions", func(e *nl.Encoder) { e.U32(rtlink.AttrExtMask, rtlink.FilterVF) }, []int32{index, c}},
		{"of the kind", kind("ipoib"), []int32{index, c}},
		{"of another kind", kind("vlan"), nil},
		{"on a master", func(e *nl.Encoder) { e.U32(rtlink.AttrMaster, 99) }, nil},
		{"with an attribute that is too short", func(e *nl.Encoder) { e.Put(rtlink.AttrMaster, []byte{1}) }, []int32{index, c}},
	} {
		d, err := w.LinkDump(upstream.Options{}, request(rtlink.GetLink, netlink.Dump, 0, tt.fill))
		if err != nil || len(d.Ours) != 2 || !d.Ours[index] || !d.Ours[c] {
			t.Fatalf("%s: %+v, %v", tt.name, d, err)
		}
		var got []int32
		for _, it := range d.Items {
			got = append(got, it.Index)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// A change needs the privilege that the options say, whoever the peer is.
func TestPrivileged(t *testing.T) {
	s := redirecttest.Start(t)
	w := s.World()
	set := func(opts upstream.Options) int {
		t.Helper()
		m := request(rtlink.SetLink, netlink.Acknowledge, int32(s.IB0.Info().Ifindex), func(e *nl.Encoder) { e.U32(rtlink.AttrMTU, 1500) })
		ds, err := w.Exchange(nl.ProtoRoute, opts, m.Raw)
		if err != nil || len(ds) != 1 {
			t.Fatalf("%x, %v", ds, err)
		}
		a := wire.Split(ds[0])[0]
		if a.Type != netlink.Error || a.Sequence != 7 {
			t.Errorf("%+v", a.Header)
		}
		return a.Errno()
	}
	if got := set(upstream.Options{}); got != int(syscall.EPERM) || s.IB0.Info().MTU == 1500 {
		t.Errorf("%d, MTU %d", got, s.IB0.Info().MTU)
	}
	if got := set(upstream.Options{Privileged: true, ExtAck: true, CapAck: true, Strict: true}); got != 0 || s.IB0.Info().MTU != 1500 {
		t.Errorf("%d, MTU %d", got, s.IB0.Info().MTU)
	}
	s.Peer.SetCaps()
	if got := set(upstream.Options{Privileged: true}); got != int(syscall.EPERM) {
		t.Errorf("of an unprivileged peer: %d", got)
	}
}

// The family ethtool has one number here and another in the kernel.
func TestEthtool(t *testing.T) {
	s := redirecttest.Start(t)
	w := s.World()
	f, err := w.Ethtool()
	if err != nil || f.ID < netlink.HeaderType(nl.MinType) || f.Monitor == 0 {
		t.Fatalf("%+v, %v", f, err)
	}
	ask := func(name string) ([][]byte, error) {
		return w.Ethnl(upstream.Options{}, 0, ethnl.CmdLinkStateGet, func(e *nl.Encoder) { ethnl.AppendRequestHeader(e, 1, name, 0) })
	}
	if bodies, err := ask("ib0"); err != nil || len(bodies) != 1 {
		t.Errorf("%x, %v", bodies, err)
	}
	if _, err := ask("ib7"); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("%v", err)
	}
	// A dump is answered with the kernel's number.
	const kernel = 4711
	var e nl.Encoder
	_ = e.Message(netlink.Header{Type: kernel, Flags: netlink.Request | netlink.Dump, Sequence: 7}, func(e *nl.Encoder) error {
		e.Raw([]byte{ethnl.CmdLinkStateGet, 1, 0, 0})
		ethnl.AppendRequestHeader(e, 1, "", 0)
		return nil
	})
	d, err := w.EthtoolDump(upstream.Options{}, &wire.Split(e.Bytes())[0], kernel)
	index := int32(s.IB0.Info().Ifindex)
	if err != nil || len(d.Items) != 1 || d.Items[0].Index != index || d.Items[0].Type != kernel || !d.Ours[index] {
		t.Errorf("%+v, %v", d, err)
	}
	r, err := w.Legacy(upstream.Options{}, "ib0", ipoibnl.EthtoolGDrvInfo)
	if err != nil || r.Driver != "ib_ipoib" {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := w.Legacy(upstream.Options{}, "ib0", ipoibnl.EthtoolReset); !errors.Is(err, syscall.EPERM) {
		t.Errorf("%v", err)
	}
	// The tables of features are read once, if the kernel has one.
	if first := w.ToKernel(); first != w.ToKernel() || (first == nil) != (w.ToService() == nil) {
		t.Error("the tables are read again")
	}
}

// Neighbours are the service's.
func TestNeighbours(t *testing.T) {
	s := redirecttest.Start(t)
	w := s.World()
	n := ipoibnl.Neigh{Ifindex: uint32(s.IB0.Info().Ifindex), IP: netip.MustParseAddr("10.0.0.9"), Addr: []byte{
		0x80, 0, 0, 0x50, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 2, 0xc9, 3, 0, 1, 2, 3,
	}}
	if err := w.SetNeighbour(upstream.Options{}, n); !errors.Is(err, syscall.EPERM) {
		t.Errorf("%v", err)
	}
	admin := upstream.Options{Privileged: true}
	if err := w.SetNeighbour(admin, n); err != nil {
		t.Fatal(err)
	}
	for _, index := range []int32{0, int32(n.Ifindex)} {
		list, err := w.Neighbours(index)
		if err != nil || len(list) != 1 || list[0].IP != n.IP || !bytes.Equal(list[0].Addr, n.Addr) {
			t.Errorf("%+v, %v", list, err)
		}
	}
	if _, err := w.Neighbours(99); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("%v", err)
	}
	if err := w.DeleteNeighbour(admin, n); err != nil {
		t.Error(err)
	}
	if err := w.DeleteNeighbour(admin, n); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("%v", err)
	}
}

// Events come until the subscription or the service ends.
func TestSubscribe(t *testing.T) {
	for _, proto := range []int{nl.ProtoRoute, nl.ProtoGeneric} {
		s := redirecttest.Start(t)
		w := s.World()
		got := make(chan []byte, 16)
		stop, ended, err := w.Subscribe(proto, func(b []byte) { got <- bytes.Clone(b) })
		if err != nil {
			t.Fatal(err)
		}
		if proto == nl.ProtoRoute {
			err = s.IB0.SetMTU(1400)
		} else {
			usecs := uint32(9)
			err = s.IB0.SetCoalesce(&usecs, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		if m := wire.Split(<-got); len(m) != 1 || m[0].Type < nl.MinType {
			t.Errorf("%+v", m)
		}
		s.Stop()
		<-ended
		stop()
		if _, _, err := w.Subscribe(proto, func([]byte) {}); !errors.Is(err, upstream.ErrNoService) {
			t.Errorf("without a service: %v", err)
		}
	}
}

// A service that ends is noticed, and one that starts again is found.
func TestRestart(t *testing.T) {
	s := redirecttest.Start(t)
	w := s.World()
	resolve := func() int32 {
		index, err := w.Resolve(0, "ib0")
		if err != nil {
			t.Error(err)
		}
		return index
	}
	if resolve() == 0 {
		t.Fatal("no ib0")
	}
	if _, err := w.Ethtool(); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	if w.Running() || resolve() != 0 {
		t.Error("still there")
	}
	if _, err := w.Links(); !errors.Is(err, upstream.ErrNoService) {
		t.Errorf("%v", err)
	}
	if _, err := w.Exchange(nl.ProtoRoute, upstream.Options{}, request(rtlink.GetLink, 0, 2, nil).Raw); !errors.Is(err, upstream.ErrNoService) {
		t.Errorf("%v", err)
	}
	next := redirecttest.Start(t)
	if err := os.Rename(next.Path, s.Path); err != nil {
		t.Fatal(err)
	}
	if !w.Running() || resolve() == 0 {
		t.Error("the next one is not found")
	}
}

// A service that is stopped is neither none nor one without links.
func TestNoAnswer(t *testing.T) {
	s := redirecttest.Start(t)
	client, err := upstream.NewClient(s.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	client.Timeout = 10 * time.Millisecond
	ns, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	w := client.World(ns, true)
	defer w.Close()
	index := int32(s.IB0.Info().Ifindex)
	// On a busy machine a service that lives may take longer.
	var link []byte
	for end := time.Now().Add(time.Minute); link == nil && time.Now().Before(end); {
		link = w.Link(index)
	}
	if link == nil {
		t.Fatal("no link")
	}
	s.Stop()
	silent, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: s.Path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	if !w.Running() {
		t.Error("it does not run")
	}
	if got := w.Link(index); !bytes.Equal(got, link) {
		t.Errorf("%x", got)
	}
	_, byIndex := w.Resolve(index, "")
	_, byName := w.Resolve(0, "ib0")
	_, links := w.Links()
	_, dump := w.LinkDump(upstream.Options{}, request(rtlink.GetLink, netlink.Dump, 0, nil))
	_, family := w.Ethtool()
	for what, err := range map[string]error{"index": byIndex, "name": byName, "links": links, "dump": dump, "family": family} {
		if !errors.Is(err, upstream.ErrNoAnswer) || !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if index, err := w.Resolve(0, ""); index != 0 || err != nil {
		t.Errorf("nothing: %d, %v", index, err)
	}
}

// Who waits for a service that is slow lets others be served: this one says
// something only when it is waited for.
func TestYield(t *testing.T) {
	dir, err := os.MkdirTemp("", "upstream")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	client, err := upstream.NewClient(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	ns, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	w := client.World(ns, true)
	defer w.Close()
	var yields atomic.Int32
	waits := make(chan struct{}, 8)
	client.Yield = func() { yields.Add(1); waits <- struct{}{} }
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		<-waits
		_ = c.Close()
	}()
	if w.Running() {
		t.Error("a service that says nothing runs")
	}
	if yields.Load() == 0 {
		t.Error("nobody else was served")
	}
}
