package datapath

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/datapath/encap"
	"ipoib/datapath/hostnet"
	"ipoib/datapath/hostnet/hostnettest"
	"ipoib/datapath/tun/tuntest"
	"ipoib/rdma"
	"ipoib/rdma/header"
	"ipoib/rdma/inet"
	"ipoib/rdma/offload"
	"ipoib/rdma/soft"
	"ipoib/rdma/soft/sm"
)

// world is a fabric with hosts, in memory and in virtual time: the software
// fabric with its subnet manager, one namespace and one adapter per host.
type world struct {
	t      *testing.T
	fabric *soft.Fabric
	sw     *soft.Switch
	sm     *sm.SM
	net    *hostnettest.Host
	drv    *Driver
	hosts  []*host
	wrap   func(int, rdma.Port) rdma.Port

	mu  sync.Mutex
	log []string // guarded by mu
}

// host is one host: its namespace, its adapter, its parent interface.
type host struct {
	w    *world
	n    int
	ns   *hostnettest.Namespace
	hca  *soft.HCA
	ib0  *Interface
	link hostnet.Link
}

// worldConfig changes how a world is made; zero values have defaults.
type worldConfig struct {
	hosts      int
	partitions string
	params     Params
	admin      func(rdma.Port, func()) (SubnetAdmin, error)
	hca        func(*soft.HCAConfig)
	port       func(n int, p rdma.Port) rdma.Port // hides abilities of a host's port
	ports      int                                // of the switch, 16 by default
	noSM       bool
	debug      bool
}

// inWorld runs a test in a bubble of virtual time, from when the subnet manager
// has set up the ports: a link that comes up meanwhile may lose what its host
// sends.
func inWorld(t *testing.T, cfg worldConfig, fn func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cfg)
		// Also after a Fatal: what still ran would hide its message.
		defer func() {
			w.drv.Close(false)
			synctest.Wait() // namespaces close behind the last interface
		}()
		w.settle()
		fn(w)
	})
}

func newWorld(t *testing.T, cfg worldConfig) *world {
	t.Helper()
	w := &world{t: t, net: hostnettest.New(t), wrap: cfg.port}
	log := slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		Level: LevelData, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	w.fabric = soft.NewFabric(soft.Options{Seed: 7})
	var err error
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w.sw, err = w.fabric.AddSwitch(soft.SwitchConfig{NodeGUID: 0x5eef00001000, Desc: "switch", Ports: max(cfg.ports, 16)})
	must(err)
	var parts *sm.Partitions
	if cfg.partitions != "" {
		parts, err = sm.ParsePartitions(strings.NewReader(cfg.partitions))
		must(err)
	}
	w.sm, err = sm.New(w.sw.ManagementPort(), sm.Config{Partitions: parts})
	must(err)
	if !cfg.noSM {
		w.runSM()
	}
	w.drv = New(System{
		Host: w.net, OpenTUN: w.net.OpenTUN, NewSubnetAdmin: cfg.admin, Seed: 3, Log: log,
		RequestPKey: func(p rdma.Port, k rdma.PKey) { _ = w.sm.Allow(p.GUID(), k) },
		ReleasePKey: func(p rdma.Port, k rdma.PKey) { _ = w.sm.Disallow(p.GUID(), k) },
	}, cfg.params)
	if cfg.debug {
		w.drv.Debug.Debug.Store(1)
		w.drv.Debug.Mcast.Store(1)
	}
	for n := 1; n <= max(cfg.hosts, 1); n++ {
		w.addHost(n, cfg.hca)
	}
	return w
}

func (w *world) runSM() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		_ = w.sm.Run(ctx)
		close(done)
	}()
	w.t.Cleanup(func() {
		cancel()
		<-done
	})
}

// Write takes the log lines.
func (w *world) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, strings.TrimSpace(string(b)))
	return len(b), nil
}

// logged returns the lines that contain text, and forgets none.
func (w *world) logged(text string) (out []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.log {
		if strings.Contains(l, text) {
			out = append(out, l)
		}
	}
	return out
}

func (w *world) addHost(n int, change func(*soft.HCAConfig)) *host {
	w.t.Helper()
	cfg := soft.HCAConfig{
		Name: fmt.Sprintf("soft%d", n), NodeGUID: rdma.GUID(0x5eef00010000 + n*0x10), Desc: fmt.Sprintf("host%d", n),
	}
	if change != nil {
		change(&cfg)
	}
	h := &host{w: w, n: n, ns: w.net.AddNamespace(w.t, fmt.Sprintf("h%d", n))}
	var err error
	if h.hca, err = w.fabric.AddHCA(cfg); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = h.hca.Close() })
	if _, err := w.fabric.Connect(h.hca.At(1), w.sw.At(n)); err != nil {
		w.t.Fatal(err)
	}
	ns, err := w.net.ByName(fmt.Sprintf("h%d", n))
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := h.hca.Port(1)
	if err != nil {
		w.t.Fatal(err)
	}
	if w.wrap != nil {
		p = w.wrap(n, p)
	}
	h.ib0, err = w.drv.AddPort(PortConfig{Port: p, NS: ns, Name: "ib0"})
	if err != nil {
		w.t.Fatal(err)
	}
	h.link, err = h.ns.LinkByName("ib0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.hosts = append(w.hosts, h)
	return h
}

// ip returns the address that up gives to ib0 in network 0.
func (h *host) ip() netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(h.n)}) }

// host returns host n, from 1.
func (w *world) host(n int) *host { return w.hosts[n-1] }

// settle lets what is under way end; a second is enough for a join.
func (w *world) settle() {
	time.Sleep(time.Second)
	synctest.Wait()
}

// up sets an interface up, with the addresses 10.0.N.H/24 and fd00:N::H/64.
func (h *host) up(i *Interface, net int) netip.Addr {
	h.w.t.Helper()
	info := i.Info()
	if err := h.ns.SetUp(info.Ifindex, true); err != nil {
		h.w.t.Fatal(err)
	}
	for _, p := range []string{fmt.Sprintf("10.0.%d.%d/24", net, h.n), fmt.Sprintf("fd00:%d::%d/64", net, h.n)} {
		a := hostnet.Addr{Index: info.Ifindex, Prefix: netip.MustParsePrefix(p)}
		if a.Prefix.Addr().Is4() {
			a.Broadcast = netip.MustParseAddr(fmt.Sprintf("10.0.%d.255", net))
		}
		if err := h.ns.AddAddr(a); err != nil {
			h.w.t.Fatal(err)
		}
	}
	return netip.AddrFrom4([4]byte{10, 0, byte(net), byte(h.n)})
}

// upAll sets ib0 of all hosts up and waits for carrier.
func (w *world) upAll() {
	w.t.Helper()
	for _, h := range w.hosts {
		h.up(h.ib0, 0)
	}
	w.settle()
	w.settle()
	for _, h := range w.hosts {
		if !h.ib0.Info().Carrier {
			w.t.Fatalf("host %d has no carrier: %v", h.n, w.logged(""))
		}
	}
}

// tun returns the host's side of an interface, by the name that is unique in
// the test.
func (h *host) tun(i *Interface) *tuntest.Host {
	return i.dev.(interface{ Host() *tuntest.Host }).Host()
}

// ip4 builds an IPv4/UDP packet with n payload bytes.
func ip4(src, dst netip.Addr, n int) []byte {
	p := make([]byte, 28+n)
	p[0], p[8], p[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	copy(p[12:], src.AsSlice())
	copy(p[16:], dst.AsSlice())
	binary.BigEndian.PutUint16(p[10:], inet.Checksum(p[:20], 0))
	binary.BigEndian.PutUint16(p[24:], uint16(8+n))
	return p
}

// ip6 builds an IPv6/UDP packet with n payload bytes.
func ip6(src, dst netip.Addr, n int) []byte {
	p := make([]byte, 48+n)
	p[0], p[6], p[7] = 0x60, 17, 64
	binary.BigEndian.PutUint16(p[4:], uint16(8+n))
	copy(p[8:], src.AsSlice())
	copy(p[24:], dst.AsSlice())
	binary.BigEndian.PutUint16(p[44:], uint16(8+n))
	return p
}

func packet(src, dst netip.Addr, n int) []byte {
	if dst.Is4() {
		return ip4(src, dst, n)
	}
	return ip6(src, dst, n)
}

// send makes the host send a packet by an interface, and waits for what that
// causes at once.
func (h *host) send(i *Interface, p []byte) {
	h.w.t.Helper()
	if err := h.tun(i).Send(p, rdma.Offload{}); err != nil {
		h.w.t.Fatal(err)
	}
	synctest.Wait()
}

// got returns the IP packets that the host received, after what is under way
// has ended. Checksums that were verified, and so left open, are complete.
func (h *host) got(i *Interface) (out [][]byte) {
	synctest.Wait()
	for _, p := range h.tun(i).Drain() {
		msg := append(make([]byte, encap.HeaderLen), p.IP...)
		if p.Offload.Segment == rdma.SegmentNone {
			offload.Finish(msg, p.Offload)
		}
		out = append(out, msg[encap.HeaderLen:])
	}
	return out
}

// reach checks that a packet from one host's interface arrives at another's.
func reach(a, b *host, ia, ib *Interface, src, dst netip.Addr) bool {
	a.w.t.Helper()
	b.got(ib)
	p := packet(src, dst, 100)
	a.send(ia, p)
	a.w.settle()
	for _, q := range b.got(ib) {
		if string(q) == string(p) {
			return true
		}
	}
	return false
}

// frame is a captured frame, parsed.
type frame struct {
	at time.Time
	header.Packet
	raw []byte
}

// tap captures at the port of a host's adapter; sent selects the frames that
// the host sends.
func (h *host) tap() (frames func(sent bool) []frame) {
	var mu sync.Mutex
	var all []struct {
		f   frame
		out bool
	}
	cancel, err := h.w.fabric.Tap(h.hca.At(1), func(f soft.Frame) {
		raw := append([]byte(nil), f.Data...)
		p, err := header.Parse(raw)
		if err != nil {
			h.w.t.Errorf("captured frame: %v", err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, struct {
			f   frame
			out bool
		}{frame{f.Time, p, raw}, f.Dir == soft.DirOut})
	})
	if err != nil {
		h.w.t.Fatal(err)
	}
	h.w.t.Cleanup(cancel)
	return func(sent bool) (out []frame) {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		for _, c := range all {
			if c.out == sent {
				out = append(out, c.f)
			}
		}
		return out
	}
}

// ipoib returns the frames that carry IPoIB messages, no MADs.
func ipoib(frames []frame) (out []frame) {
	for _, f := range frames {
		if f.BTH.DestQP() > rdma.QPNGSI {
			out = append(out, f)
		}
	}
	return out
}

// setPartitions replaces the partition configuration of the subnet.
func (w *world) setPartitions(text string) {
	w.t.Helper()
	p, err := sm.ParsePartitions(strings.NewReader(text))
	if err != nil {
		w.t.Fatal(err)
	}
	w.sm.SetPartitions(p)
}

const noEntry = syscall.ENOENT

// addAddr adds an address to an interface.
func (h *host) addAddr(i *Interface, p string) {
	h.w.t.Helper()
	if err := h.ns.AddAddr(addrOn(i.Info().Ifindex, p)); err != nil {
		h.w.t.Fatal(err)
	}
}

func addrOn(ifindex int, p string) hostnet.Addr {
	return hostnet.Addr{Index: ifindex, Prefix: netip.MustParsePrefix(p)}
}

func dummyLink(name string) hostnet.Link {
	return hostnet.Link{Name: name, Up: true, MTU: 1500}
}

// bounce takes the link of a host down and up, and waits for its manager.
func (w *world) bounce(n int) {
	w.t.Helper()
	l := w.fabric.LinkAt(w.host(n).hca.At(1))
	l.SetUp(false)
	w.settle()
	l.SetUp(true)
	w.settle()
	w.settle()
}
