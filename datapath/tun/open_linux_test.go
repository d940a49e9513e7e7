package tun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ipoib/datapath/internal/netns/netnstest"
	"ipoib/rdma"
)

func open1(tb testing.TB, ns *netnstest.NS, c Config) *device {
	tb.Helper()
	c.NetNS = ns.File
	if c.Pool == nil {
		c.Pool = rdma.NewBufferPool()
	}
	d, err := Open(c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { d.Close() })
	return d.(*device)
}

// linkInfo is what "ip -d -j link" prints.
type linkInfo struct {
	Ifindex  int
	Ifname   string
	LinkType string `json:"link_type"`
	MTU      int
	Txqlen   int
	Flags    []string
	Linkinfo struct {
		Kind string `json:"info_kind"`
		Data struct {
			Type       string
			PI         bool
			VnetHdr    bool `json:"vnet_hdr"`
			MultiQueue bool `json:"multi_queue"`
			Persist    bool
		} `json:"info_data"`
	}
}

func show(t *testing.T, ns *netnstest.NS, name string) linkInfo {
	t.Helper()
	var l []linkInfo
	ns.JSON(t, &l, "ip", "-d", "-j", "link", "show", "dev", name)
	return l[0]
}

// TestIntegrationOpen compares what Open made with what ip shows.
func TestIntegrationOpen(t *testing.T) {
	ns := netnstest.New(t)
	d := open1(t, ns, Config{Name: "ib0", Ifindex: 4711, TxQueueLen: 256, SndBuf: 1 << 20, Persist: true})
	got := show(t, ns, "ib0")
	if got.LinkType != "infiniband" || got.Txqlen != 256 || got.Ifindex != 4711 {
		t.Errorf("link %+v", got)
	}
	if i := got.Linkinfo; i.Kind != "tun" || i.Data.Type != "tun" || i.Data.PI || !i.Data.VnetHdr || i.Data.MultiQueue || !i.Data.Persist {
		t.Errorf("link info %+v", i)
	}
	for range 2 {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if !show(t, ns, "ib0").Linkinfo.Data.Persist {
		t.Error("persistent interface is gone")
	}

	// Take it over, then let it go.
	d = open1(t, ns, Config{Name: "ib0", Mode: Attach})
	if !show(t, ns, "ib0").Linkinfo.Data.Persist {
		t.Error("Open without Persist cleared it")
	}
	if err := d.SetPersist(false); err != nil {
		t.Error(err)
	}
	d.Close()
	if c := ns.Command(t.Context(), "ip", "link", "show", "ib0"); c.Run() == nil {
		t.Error("interface that is not persistent survived")
	}
}

func TestIntegrationOpenNames(t *testing.T) {
	ns := netnstest.New(t)
	for _, want := range []string{"ib0", "ib1"} {
		if got, err := open1(t, ns, Config{Name: "ib%d"}).Name(); got != want || err != nil {
			t.Errorf("name %q, %v; want %q", got, err, want)
		}
	}
	d := open1(t, ns, Config{Name: "ib7"})
	ns.Run(t, "ip", "link", "set", "ib7", "name", "storage")
	if got, err := d.Name(); got != "storage" || err != nil {
		t.Errorf("name after renaming %q, %v", got, err)
	}
}

func TestIntegrationOpenErrors(t *testing.T) {
	ns := netnstest.New(t)
	pool := rdma.NewBufferPool()
	open1(t, ns, Config{Name: "busy"})
	open1(t, ns, Config{Name: "there", Persist: true}).Close()
	ns.Run(t, "ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
	ns.Run(t, "ip", "tuntap", "add", "tap0", "mode", "tap", "vnet_hdr")
	ns.Run(t, "ip", "tuntap", "add", "plain", "mode", "tun", "vnet_hdr")
	closed, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()

	for name, tc := range map[string]struct {
		c    Config
		want error
	}{
		"no pool":           {Config{Name: "x"}, rdma.ErrInvalid},
		"no name":           {Config{Pool: pool}, rdma.ErrInvalid},
		"long name":         {Config{Name: "sixteen-letters-", Pool: pool}, rdma.ErrInvalid},
		"other kind":        {Config{Name: "veth0", Pool: pool}, ErrExist},
		"attach other kind": {Config{Name: "veth0", Mode: Attach, Pool: pool}, ErrExist},
		"tap":               {Config{Name: "tap0", Pool: pool}, ErrExist},
		"link type":         {Config{Name: "plain", Pool: pool}, ErrLinkType},
		"queues":            {Config{Name: "there", MultiQueue: true, Pool: pool}, ErrExist},
		"new, exists":       {Config{Name: "there", Mode: CreateNew, Pool: pool}, ErrExist},
		"attach to none":    {Config{Name: "none", Mode: Attach, Pool: pool}, ErrNotExist},
		"busy":              {Config{Name: "busy", Pool: pool}, ErrBusy},
		"bad namespace":     {Config{Name: "x", Pool: pool, NetNS: closed}, os.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.c.NetNS == nil {
				tc.c.NetNS = ns.File
			}
			d, err := Open(tc.c)
			if !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			var op *OpError
			if !errors.As(err, &op) || op.Op != "open" || op.Name != tc.c.Name {
				t.Errorf("error is %#v", err)
			}
			if d != nil {
				d.Close()
			}
		})
	}
	// Nothing was made, and nothing taken away.
	var links []struct{ Ifname string }
	ns.JSON(t, &links, "ip", "-j", "link")
	var names []string
	for _, l := range links {
		names = append(names, l.Ifname)
	}
	if got := strings.Join(names, " "); got != "lo busy there veth1 veth0 tap0 plain" {
		t.Errorf("links now: %s", got)
	}
}

// TestIntegrationOpenUnprivileged runs in a child without capabilities.
func TestIntegrationOpenUnprivileged(t *testing.T) {
	if os.Getenv("TUN_TEST_CHILD") == "1" {
		_, err := Open(Config{Name: "ib0", Pool: rdma.NewBufferPool()})
		if !errors.Is(err, ErrPermission) {
			t.Errorf("error %v, want ErrPermission", err)
		}
		return
	}
	ns := netnstest.New(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := ns.Command(t.Context(), "setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin",
		exe, "-test.run=^TestIntegrationOpenUnprivileged$", "-test.v")
	c.Env = append(os.Environ(), "TUN_TEST_CHILD=1")
	if out, err := c.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}

// features reads "ethtool -k", which shows what TUNSETOFFLOAD did.
func features(t *testing.T, ns *netnstest.NS, name string) map[string]bool {
	t.Helper()
	var out []map[string]json.RawMessage
	ns.JSON(t, &out, "ethtool", "--json", "-k", name)
	m := map[string]bool{}
	for k, v := range out[0] {
		var f struct{ Active bool }
		if json.Unmarshal(v, &f) == nil {
			m[k] = f.Active
		}
	}
	return m
}

func TestIntegrationOffload(t *testing.T) {
	ns := netnstest.New(t)
	d := open1(t, ns, Config{Name: "ib0"})
	all := FeatureCsum | FeatureTSO4 | FeatureTSO6 | FeatureTSOECN | FeatureUSO4 | FeatureUSO6
	for _, tc := range []struct{ set, want Features }{
		{0, 0},
		{all, all},
		{FeatureCsum, FeatureCsum},
		{FeatureCsum | FeatureTSO4, FeatureCsum | FeatureTSO4},
		{FeatureTSO4 | FeatureTSO6, 0},
		{FeatureCsum | FeatureTSO6 | FeatureUSO4, FeatureCsum | FeatureTSO6},
		{0, 0},
	} {
		got, err := d.SetOffload(tc.set)
		if err != nil || got != tc.want {
			t.Errorf("SetOffload(%v) = %v, %v; want %v", tc.set, got, err, tc.want)
		}
		f := features(t, ns, "ib0")
		for name, bit := range map[string]Features{
			"tx-checksum-ip-generic":  FeatureCsum,
			"tx-tcp-segmentation":     FeatureTSO4,
			"tx-tcp6-segmentation":    FeatureTSO6,
			"tx-tcp-ecn-segmentation": FeatureTSOECN,
			"tx-udp-segmentation":     FeatureUSO4,
			"tx-sctp-segmentation":    0,
			"tx-udp_tnl-segmentation": 0,
		} {
			if f[name] != (tc.want&bit != 0) {
				t.Errorf("with %v: ethtool shows %s %v", tc.want, name, f[name])
			}
		}
	}
}

func TestIntegrationCarrier(t *testing.T) {
	ns := netnstest.New(t)
	d := open1(t, ns, Config{Name: "ib0"})
	ns.Run(t, "ip", "link", "set", "ib0", "up")
	for _, on := range []bool{false, true, false} {
		if err := d.SetCarrier(on); err != nil {
			t.Fatal(err)
		}
		flags := strings.Join(show(t, ns, "ib0").Flags, ",")
		if strings.Contains(flags, "LOWER_UP") != on || strings.Contains(flags, "NO-CARRIER") == on {
			t.Errorf("carrier %v: flags %s", on, flags)
		}
	}
}

func TestIntegrationNetNS(t *testing.T) {
	a, b := netnstest.New(t), netnstest.New(t)
	d := open1(t, a, Config{Name: "ib0"})
	same := func(ns *netnstest.NS) bool {
		t.Helper()
		f, err := d.NetNS()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		x, _ := f.Stat()
		y, _ := ns.File.Stat()
		return os.SameFile(x, y)
	}
	if !same(a) {
		t.Error("not in the namespace it was opened in")
	}
	c := a.Command(t.Context(), "ip", "link", "set", "ib0", "netns", "/proc/self/fd/4")
	c.ExtraFiles = append(c.ExtraFiles, b.File)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !same(b) {
		t.Error("not in the namespace it was moved to")
	}
	if name, err := d.Name(); name != "ib0" || err != nil {
		t.Errorf("name %q, %v", name, err)
	}
}

// readers are the ways to read a device: Read, and a Poller with and without
// io_uring.
var readers = map[string]func(tb testing.TB) *Poller{
	"read":  func(testing.TB) *Poller { return nil },
	"epoll": func(tb testing.TB) *Poller { return newPoller(tb, PollerConfig{Threads: 2, NoRing: true}) },
	"ring":  func(tb testing.TB) *Poller { return ringPoller(tb, 2) },
}

// ringPoller skips a test only where the system has no io_uring of the kind, or
// does not allow it; the fallback is tested everywhere.
func ringPoller(tb testing.TB, threads int) *Poller {
	tb.Helper()
	p := newPoller(tb, PollerConfig{Threads: threads})
	switch err := p.RingError(); {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOSYS), errors.Is(err, rdma.ErrNotSupported):
		tb.Skip(err)
	case err != nil:
		tb.Fatal(err)
	}
	return p
}

func newPoller(tb testing.TB, c PollerConfig) *Poller {
	tb.Helper()
	p, err := NewPoller(c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { p.Close() })
	return p
}

func TestIntegrationCloseUnblocks(t *testing.T) {
	ns := netnstest.New(t)
	d := open1(t, ns, Config{Name: "ib0"})
	got := make(chan error)
	go func() {
		_, err := d.Read(make([]Packet, 8))
		got <- err
	}()
	time.Sleep(10 * time.Millisecond) // let it wait; it may also come late
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if err := <-got; !errors.Is(err, rdma.ErrClosed) || errors.Is(err, ErrRemoved) {
		t.Errorf("Read returned %v", err)
	}
	if _, err := d.Write(make([]Packet, 1)); !errors.Is(err, rdma.ErrClosed) {
		t.Errorf("Write returned %v", err)
	}
	if _, err := d.Name(); !errors.Is(err, rdma.ErrClosed) {
		t.Errorf("Name returned %v", err)
	}
	if err := (*Poller)(nil).Start(d, 8, nil, nil); err != nil {
		t.Errorf("Start returned %v", err)
	}
	for _, none := range []bool{true, false} {
		p := newPoller(t, PollerConfig{Threads: 2, NoRing: none})
		if err := p.Start(d, 8, nil, nil); !errors.Is(err, rdma.ErrClosed) {
			t.Errorf("Start returned %v", err)
		}
	}
}

// TestIntegrationRemoved deletes the interface under its owner.
func TestIntegrationRemoved(t *testing.T) {
	for name, reader := range readers {
		t.Run(name, func(t *testing.T) {
			ns, d := upDevice(t, Config{Persist: true}, "2044")
			got, read := make(chan error, 2), make(chan bool, 64)
			err := reader(t).Start(d, 8, func(pkts []Packet) {
				for _, p := range pkts {
					p.Buf.Free()
					read <- true
				}
			}, func(err error) { got <- err })
			if err != nil {
				t.Fatal(err)
			}
			// The ring reads a device after its first packet.
			if _, err := dialUDP(t, ns).Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			receive(t, read)
			time.Sleep(10 * time.Millisecond)
			ns.Run(t, "ip", "link", "del", "ib0")
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			select {
			case err := <-got:
				if !errors.Is(err, ErrRemoved) || !errors.Is(err, rdma.ErrClosed) {
					t.Errorf("told %v", err)
				}
			case <-ctx.Done():
				t.Error("not told")
			}
			if err := d.SetCarrier(true); !errors.Is(err, ErrRemoved) {
				t.Errorf("SetCarrier returned %v", err)
			}
			d.Close()
			if len(got) != 0 {
				t.Error("told twice")
			}
		})
	}
}

// TestIntegrationThreads: many interfaces cost no threads.
func TestIntegrationThreads(t *testing.T) {
	const devices = 60
	for name, reader := range readers {
		t.Run(name, func(t *testing.T) {
			ns := netnstest.New(t)
			threads := func() int {
				e, err := os.ReadDir("/proc/self/task")
				if err != nil {
					t.Fatal(err)
				}
				return len(e)
			}
			before := threads()
			p := reader(t)
			var heard [devices]atomic.Int64
			for i := range devices {
				d := open1(t, ns, Config{Name: fmt.Sprintf("ib%d", i)})
				err := p.Start(d, 8, func(pkts []Packet) {
					heard[i].Add(int64(len(pkts)))
					for _, p := range pkts {
						p.Buf.Free()
					}
				}, func(err error) { t.Error(err) })
				if err != nil {
					t.Fatal(err)
				}
				defer d.Close()
			}
			var batch strings.Builder
			for i := range devices {
				fmt.Fprintf(&batch, "link set ib%d up\naddr add 10.1.%d.1/24 dev ib%d\n", i, i, i)
			}
			ip := ns.Command(t.Context(), "ip", "-batch", "-")
			ip.Stdin = strings.NewReader(batch.String())
			if out, err := ip.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			for i := range devices {
				ns.Do(t, func() error {
					c, err := net.Dial("udp4", fmt.Sprintf("10.1.%d.2:9", i))
					if err != nil {
						return err
					}
					defer c.Close()
					_, err = c.Write([]byte("x"))
					return err
				})
			}
			deadline := time.Now().Add(time.Minute)
			for i := range heard {
				for heard[i].Load() == 0 && time.Now().Before(deadline) {
					time.Sleep(10 * time.Millisecond)
				}
				if heard[i].Load() == 0 {
					t.Errorf("nothing heard on ib%d", i)
				}
			}
			if after := threads(); after-before > devices/2 {
				t.Errorf("%d threads before, %d after", before, after)
			}
		})
	}
}

func TestIntegrationMultiQueue(t *testing.T) {
	ns := netnstest.New(t)
	a := open1(t, ns, Config{Name: "ib0", MultiQueue: true})
	b := open1(t, ns, Config{Name: "ib0", MultiQueue: true})
	if !show(t, ns, "ib0").Linkinfo.Data.MultiQueue {
		t.Error("not a multi-queue device")
	}
	ns.Run(t, "ip", "link", "set", "ib0", "up")
	a.Close()
	if name, err := b.Name(); name != "ib0" || err != nil {
		t.Errorf("second queue: %q, %v", name, err)
	}
	b.Close()
	if c := ns.Command(t.Context(), "ip", "link", "show", "ib0"); c.Run() == nil {
		t.Error("interface is there without a queue")
	}
}

// TestIntegrationConcurrent closes a device that is in use from all sides.
func TestIntegrationConcurrent(t *testing.T) {
	for name, reader := range readers {
		t.Run(name, func(t *testing.T) {
			ns, p := netnstest.New(t), reader(t)
			for range 10 {
				pool := rdma.NewBufferPool()
				d := open1(t, ns, Config{Name: "ib0", Pool: pool})
				var wg sync.WaitGroup
				until := func(op func() error) {
					wg.Go(func() {
						for {
							if err := op(); err != nil {
								if !errors.Is(err, rdma.ErrClosed) {
									t.Error(err)
								}
								return
							}
						}
					})
				}
				buf := pool.Get(24)
				buf.Bytes()[4] = 0x45
				ns.Run(t, "ip", "link", "set", "ib0", "up")
				err := p.Start(d, 4, func(pkts []Packet) {
					d.Write(pkts)
					for _, p := range pkts {
						p.Buf.Free()
					}
				}, func(err error) { t.Error(err) })
				if err != nil {
					t.Fatal(err)
				}
				until(func() error { _, err := d.Write([]Packet{{Buf: buf}}); return err })
				until(func() error { _, err := d.SetOffload(FeatureCsum); return err })
				until(func() error { _, err := d.Name(); return err })
				until(func() error { return d.SetCarrier(true) })
				time.Sleep(3 * time.Millisecond)
				if err := d.Close(); err != nil {
					t.Error(err)
				}
				wg.Wait()
			}
		})
	}
}
