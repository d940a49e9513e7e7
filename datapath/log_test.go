package datapath

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ipoib/datapath/hostnet"
)

// Warnings of one place are limited to 100 in 10 s; other places are not
// affected (printk_ratelimit as ipoib_warn uses it).
func TestWarnLimit(t *testing.T) {
	inWorld(t, worldConfig{noSM: true}, func(w *world) {
		i := w.host(1).ib0
		for n := range 250 {
			i.warnf("one place %d", n)
		}
		i.warnf("another place")
		if got := len(w.logged("one place")); got != 100 {
			t.Errorf("%d warnings", got)
		}
		if got := len(w.logged("another place")); got != 1 {
			t.Errorf("%d warnings of another place", got)
		}
		time.Sleep(9999 * time.Millisecond)
		i.warnf("one place %d", 0)
		if got := len(w.logged("one place")); got != 100 {
			t.Errorf("%d warnings too early", got)
		}
		time.Sleep(time.Millisecond)
		i.warnf("one place %d", 0)
		if got := len(w.logged("one place")); got != 101 {
			t.Errorf("%d warnings after the interval", got)
		}
		if got := w.logged("151 callbacks suppressed"); len(got) != 1 || !strings.Contains(got[0], "ifname=ib0") {
			t.Errorf("%v", got)
		}
	})
}

// Each debug level enables its own messages, at once, and a level that is not
// above 0 none (ipoib_dbg, ipoib_dbg_mcast, ipoib_dbg_data).
func TestDebugLevels(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		a, b := w.host(1), w.host(2)
		const life, mcast, data = "downing ib_dev", "joining MGID", "sending packet, length="
		count := func() string {
			return fmt.Sprint(len(w.logged(life)) > 0, len(w.logged(mcast)) > 0, len(w.logged(data)) > 0)
		}
		w.upAll()
		try := func(debug, mc, dat int32) string {
			t.Helper()
			w.mu.Lock()
			w.log = nil
			w.mu.Unlock()
			w.drv.Debug.Debug.Store(debug)
			w.drv.Debug.Mcast.Store(mc)
			w.drv.Debug.Data.Store(dat)
			for _, up := range []bool{false, true} {
				if err := a.ns.SetUp(a.ib0.Info().Ifindex, up); err != nil {
					t.Fatal(err)
				}
				w.settle()
			}
			w.settle()
			for range 2 { // the first one waits for the neighbour
				if !reach(a, b, a.ib0, b.ib0, a.ip(), b.ip()) {
					t.Fatal("the packet does not arrive")
				}
			}
			return count()
		}
		for _, tt := range []struct {
			debug, mcast, data int32
			want               string
		}{
			{0, 0, 0, "false false false"}, {-1, -1, -1, "false false false"}, {1, 0, 0, "true false false"},
			{0, 1, 0, "false true false"}, {0, 0, 1, "false false true"}, {2, 3, 4, "true true true"},
		} {
			if got := try(tt.debug, tt.mcast, tt.data); got != tt.want {
				t.Errorf("levels %d %d %d: %s, want %s", tt.debug, tt.mcast, tt.data, got, tt.want)
			}
		}
	})
}

// BenchmarkDataLevelOff is what data_debug_level costs each packet while it is
// off: one load of an atomic.
func BenchmarkDataLevelOff(b *testing.B) {
	i := &Interface{drv: New(System{}, Params{})}
	i.info.Store(&Info{Name: "ib0", NS: hostnet.ID{}})
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if i.dataOn() {
			i.dataf("sending packet, length=%d dest_qpn=0x%06x", n, n)
		}
	}
}

// BenchmarkDataLevelOn is the same with each packet traced, to nowhere.
func BenchmarkDataLevelOn(b *testing.B) {
	i := &Interface{drv: New(System{}, Params{})}
	i.info.Store(&Info{Name: "ib0"})
	i.drv.Debug.Data.Store(1)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if i.dataOn() {
			i.dataf("sending packet, length=%d dest_qpn=0x%06x", n, n)
		}
	}
}

func TestDataLevelOffAllocatesNothing(t *testing.T) {
	i := &Interface{drv: New(System{}, Params{})}
	i.info.Store(&Info{Name: "ib0"})
	n := 0
	if got := testing.AllocsPerRun(1000, func() {
		n++
		if i.dataOn() {
			i.dataf("sending packet, length=%d dest_qpn=0x%06x", n, n)
		}
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}
