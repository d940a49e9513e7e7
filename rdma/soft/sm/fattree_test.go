package sm

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
	"ipoib/rdma/soft"
)

// tables are forwarding tables as read back from the switches.
type tables struct {
	tb  testing.TB
	smi *mad.Client
	lft map[rdma.GUID][]uint8
}

// readBack reads the linear tables of all switches by LID-routed datagrams,
// which shows that they forward as well.
func readBack(tb testing.TB, c *mad.Client, st *State) *tables {
	tb.Helper()
	r := &tables{tb: tb, smi: c, lft: make(map[rdma.GUID][]uint8)}
	for _, n := range st.Nodes {
		if n.Type != mad.NodeTypeSwitch {
			continue
		}
		lid := n.Ports[0].LID
		var sw mad.SwitchInfo
		r.get(lid, mad.AttrSwitchInfo, 0, &sw)
		var lft []uint8
		for b := range uint32(sw.LinearFDBTop)/mad.LFTPerBlock + 1 {
			var t mad.LinearForwardingTable
			r.get(lid, mad.AttrLinearForwardingTable, b, &t)
			lft = append(lft, t[:]...)
		}
		r.lft[n.GUID] = lft[:sw.LinearFDBTop+1]
	}
	return r
}

func (r *tables) get(lid rdma.LID, attr mad.AttrID, mod uint32, a mad.Attribute) {
	r.tb.Helper()
	m := mad.New(mad.ClassSM, mad.MethodGet, attr)
	m.SetAttrMod(mod)
	resp, err := r.smi.Do(context.Background(), rdma.MADAddr{LID: lid}, m.Bytes(), mad.Options{})
	if err != nil {
		r.tb.Fatalf("get %v of LID %v: %v", attr, lid, err)
	}
	if err := resp.MAD.Attr(a); err != nil {
		r.tb.Fatal(err)
	}
}

// checkRoutes follows the tables from every end port to every other and
// returns the number of pairs.
func checkRoutes(tb testing.TB, st *State, r *tables) int {
	tb.Helper()
	peers := make(map[LinkEnd]LinkEnd)
	for _, l := range st.Links {
		peers[l.A], peers[l.B] = l.B, l.A
	}
	type end struct {
		at  LinkEnd // the port, or the switch itself
		lid rdma.LID
	}
	var ends []end
	for _, n := range st.Nodes {
		for _, p := range n.Ports {
			if p.LID != 0 {
				ends = append(ends, end{LinkEnd{n.GUID, p.Num}, p.LID})
			}
		}
	}
	pairs := 0
	for _, dst := range ends {
		// arrives has the switches that are known to lead to dst.
		arrives := make(map[rdma.GUID]bool)
		for _, src := range ends {
			if src.lid == dst.lid {
				continue
			}
			at := src.at
			if at.Port != 0 {
				at = peers[at]
			}
			var way []rdma.GUID
			for !arrives[at.Node] {
				way = append(way, at.Node)
				if len(way) > 8 {
					tb.Fatalf("no way from LID %v to %v: loop", src.lid, dst.lid)
				}
				lft, ok := r.lft[at.Node]
				if !ok {
					tb.Fatalf("from LID %v to %v: came to %v", src.lid, dst.lid, at)
				}
				out := lft[dst.lid]
				if out == 0 && at.Node == dst.at.Node {
					break
				}
				if at, ok = peers[LinkEnd{at.Node, out}]; !ok {
					tb.Fatalf("from LID %v to %v: no link at port %d", src.lid, dst.lid, out)
				}
				if at == dst.at {
					break
				}
			}
			for _, n := range way {
				arrives[n] = true
			}
			pairs++
		}
	}
	return pairs
}

// buildTree makes a three-level fat tree with the manager at the first adapter.
func buildTree(tb testing.TB, hcas, radix int) (*soft.FatTree, Port) {
	tb.Helper()
	f := soft.NewFabric(soft.Options{})
	tree, err := soft.BuildFatTree(f, soft.FatTreeConfig{HCAs: hcas, Radix: radix, Levels: 3, GUIDBase: 0x1000})
	if err != nil {
		tb.Fatal(err)
	}
	p, err := tree.HCAs[0].Port(1)
	if err != nil {
		tb.Fatal(err)
	}
	return tree, p
}

// madTimeout is that of the manager of a tree.
const madTimeout = 5 * time.Second

// sweepTree brings a tree up and returns how long it took.
func sweepTree(tb testing.TB, p Port) (*SM, time.Duration, func()) {
	tb.Helper()
	s, err := New(p, Config{Log: testLog(tb), MADTimeout: madTimeout})
	if err != nil {
		tb.Fatal(err)
	}
	begin := time.Now()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	select {
	case <-s.Ready():
	case <-time.After(2 * time.Minute):
		tb.Fatal("subnet is not up")
	}
	return s, time.Since(begin), func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	}
}

// TestFatTree sweeps a three-level fat tree and follows the forwarding tables,
// as read back from the switches, between all ports.
func TestFatTree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hcas, radix := 1000, 36
		if testing.Short() {
			hcas, radix = 144, 12
		}
		tree, p := buildTree(t, hcas, radix)
		s, took, stop := sweepTree(t, p)
		defer stop()
		if took >= madTimeout {
			t.Errorf("a datagram was lost: the sweep took %v", took)
		}
		st := s.State()
		for _, h := range tree.HCAs {
			hp, err := h.Port(1)
			if err != nil {
				t.Fatal(err)
			}
			if a := hp.Attr(); a.State != rdma.PortActive || a.LID == 0 || a.SMLID != 1 {
				t.Fatalf("%s: %+v", h.Name(), a)
			}
		}
		pairs := checkRoutes(t, &st, readBack(t, s.smi, &st))
		if want := (hcas + len(tree.Switches)) * (hcas + len(tree.Switches) - 1); pairs != want {
			t.Errorf("%d pairs, want %d", pairs, want)
		}
		t.Logf("%d adapters, %d switches: %d pairs", hcas, len(tree.Switches), pairs)
	})
}

// BenchmarkFatTreeSweep sweeps 1,000 adapters in a three-level fat tree.
func BenchmarkFatTreeSweep(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		_, p := buildTree(b, 1000, 36)
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		b.StartTimer()
		s, _, stop := sweepTree(b, p)
		b.StopTimer()
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MB-held")
		b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/(1<<20), "MB-allocated")
		runtime.KeepAlive(s)
		stop()
		b.StartTimer()
	}
}
