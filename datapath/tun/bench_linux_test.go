package tun

import (
	"context"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"ipoib/datapath/internal/netns/netnstest"
)

const (
	benchA = "10.9.0.1"
	benchB = "10.9.0.2"
)

// forward moves packets from one device to the other until it is closed, and
// shows each to look, if that is not nil.
func forward(tb testing.TB, p *Poller, from, to Device, look func(Packet)) {
	tb.Helper()
	err := p.Start(from, 64, func(pkts []Packet) {
		if look != nil {
			for _, p := range pkts {
				look(p)
			}
		}
		to.Write(pkts)
		for _, p := range pkts {
			p.Buf.Free()
		}
	}, func(err error) { tb.Error(err) })
	if err != nil {
		tb.Fatal(err)
	}
}

// tunPair connects two namespaces by a plain forwarder between two TUNs.
func tunPair(tb testing.TB, p *Poller, mtu string) (a, b *netnstest.NS) {
	tb.Helper()
	a, b = netnstest.New(tb), netnstest.New(tb)
	c := Config{Name: "ib0", Offload: FeatureCsum | FeatureTSO4 | FeatureTSO6 | FeatureTSOECN, TxQueueLen: 1000}
	da, db := open1(tb, a, c), open1(tb, b, c)
	forward(tb, p, da, db, nil)
	forward(tb, p, db, da, nil)
	addresses(tb, a, b, mtu)
	return a, b
}

func vethPair(tb testing.TB, mtu string) (a, b *netnstest.NS) {
	tb.Helper()
	a, b = netnstest.New(tb), netnstest.New(tb)
	c := a.Command(tb.Context(), "ip", "link", "add", "ib0", "type", "veth", "peer", "ib0", "netns", "/proc/self/fd/4")
	c.ExtraFiles = append(c.ExtraFiles, b.File)
	if out, err := c.CombinedOutput(); err != nil {
		tb.Fatalf("%v: %s", err, out)
	}
	addresses(tb, a, b, mtu)
	return a, b
}

func addresses(tb testing.TB, a, b *netnstest.NS, mtu string) {
	tb.Helper()
	for ns, addr := range map[*netnstest.NS]string{a: benchA, b: benchB} {
		ns.Run(tb, "ip", "addr", "add", addr+"/24", "dev", "ib0")
		ns.Run(tb, "ip", "link", "set", "ib0", "mtu", mtu, "up")
	}
	a.Run(tb, "ping", "-c", "3", "-i", "0.05", "-W", "2", benchB)
}

// serve runs a server in b until the benchmark ends.
func serve(b *testing.B, ns *netnstest.NS, name string, args ...string) {
	b.Helper()
	if _, err := exec.LookPath(name); err != nil {
		b.Skip(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	c := ns.Command(ctx, name, args...)
	if err := c.Start(); err != nil {
		cancel()
		b.Fatal(err)
	}
	b.Cleanup(func() { cancel(); c.Wait() })
	time.Sleep(300 * time.Millisecond)
}

// hostPairs are what the benchmarks compare: a plain forwarder between two
// TUNs with both ways of reading, and veth.
func hostPairs(b *testing.B, mtu string, server ...string) []hostPair {
	b.Helper()
	netnstest.RequireRoot(b)
	var pairs []hostPair
	for _, p := range []struct {
		name string
		make func() (x, y *netnstest.NS)
	}{
		{"veth", func() (x, y *netnstest.NS) { return vethPair(b, mtu) }},
		{"epoll", func() (x, y *netnstest.NS) {
			return tunPair(b, newPoller(b, PollerConfig{Threads: 1, NoRing: true}), mtu)
		}},
		{"ring", func() (x, y *netnstest.NS) { return tunPair(b, newPoller(b, PollerConfig{Threads: 1}), mtu) }},
		{"read", func() (x, y *netnstest.NS) { return tunPair(b, nil, mtu) }},
	} {
		x, y := p.make()
		serve(b, y, server[0], server[1:]...)
		pairs = append(pairs, hostPair{name: p.name, client: x})
	}
	return pairs
}

type hostPair struct {
	name    string
	client  *netnstest.NS
	results []float64
}

// compare measures each pair in turn, b.N rounds, and reports the median and
// the best, which the other load of a machine spoils least.
func compare(b *testing.B, pairs []hostPair, unit string, best func([]float64) float64, measure func(*netnstest.NS) float64) {
	b.Helper()
	for range b.N {
		for i := range pairs {
			pairs[i].results = append(pairs[i].results, measure(pairs[i].client))
		}
	}
	for _, p := range pairs {
		slices.Sort(p.results)
		b.ReportMetric(p.results[len(p.results)/2], p.name+"-"+unit)
		b.ReportMetric(best(p.results), p.name+"-best-"+unit)
	}
}

// BenchmarkWake measures the median of a 14-octet TCP ping-pong with
// sockperf, in microseconds one way. Run it with -benchtime 9x.
func BenchmarkWake(b *testing.B) {
	pairs := hostPairs(b, "2044", "sockperf", "sr", "--tcp", "-i", benchB)
	median := regexp.MustCompile(`percentile 50.000 = +([0-9.]+)`)
	compare(b, pairs, "us", slices.Min[[]float64], func(ns *netnstest.NS) float64 {
		out := ns.Run(b, "sockperf", "ping-pong", "--tcp", "-i", benchB, "-m", "14", "-t", "1")
		m := median.FindStringSubmatch(out)
		if m == nil {
			b.Fatalf("no median in %s", out)
		}
		p50, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			b.Fatal(err)
		}
		return p50
	})
}

// BenchmarkTCP measures the throughput of one TCP stream with iperf3, in
// Gbit/s. Run it with -benchtime 9x.
func BenchmarkTCP(b *testing.B) {
	for _, mtu := range []string{"2044", "65520"} {
		b.Run("mtu="+mtu, func(b *testing.B) {
			pairs := hostPairs(b, mtu, "iperf3", "-s")
			compare(b, pairs, "Gbit/s", slices.Max[[]float64], func(ns *netnstest.NS) float64 {
				var r struct {
					End struct {
						Sum struct {
							Bps float64 `json:"bits_per_second"`
						} `json:"sum_received"`
					}
				}
				ns.JSON(b, &r, "iperf3", "-J", "-t", "1", "-c", benchB)
				return r.End.Sum.Bps / 1e9
			})
		})
	}
}
