package datapath

import (
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/rdma"
)

// SetMode and SetMTU with what they refuse, log and tell (kernel
// ipoib_set_mode, ipoib_change_mtu).
func TestSetModeAndMTU(t *testing.T) {
	inWorld(t, worldConfig{hosts: 1}, func(w *world) {
		h := w.host(1)
		w.upAll()
		i := h.ib0
		var told []string
		cancel := w.drv.Subscribe(func(c Change) {
			if c.Old == nil || c.New == nil {
				return
			}
			if c.Old.Features.Active != c.New.Features.Active {
				told = append(told, "features")
			}
			if c.Old.MTU != c.New.MTU {
				told = append(told, "mtu")
			}
		})
		defer cancel()
		set := func(m Mode) {
			t.Helper()
			if err := i.SetMode(m); err != nil {
				t.Fatal(err)
			}
			w.settle()
		}
		mtu := func(v int, want syscall.Errno) {
			t.Helper()
			err := i.SetMTU(v)
			if want == 0 && err != nil || want != 0 && Errno(err) != want {
				t.Errorf("mtu %d: %v", v, err)
			}
		}
		set(Connected)
		if !slices.Equal(told, []string{"features", "mtu"}) {
			t.Errorf("told %v", told)
		}
		const off = fIPCsum | fIPv6Csum | fTSO | fTSO6 | fLRO
		if f := i.Info().Features; f.Active&off != 0 || f.Wanted&(fIPCsum|fTSO) != fIPCsum|fTSO || f.HW&fLRO != 0 || f.Active&fRXCsum == 0 || f.Active&fSG == 0 {
			t.Errorf("features %+v", f)
		}
		for _, v := range []int{68, 71, 72, 2044, 2045, 9000, 65520} {
			mtu(v, 0)
			if l, _ := h.ns.LinkByName("ib0"); l.MTU != v || i.Info().MTU != v {
				t.Errorf("MTU %d, link %d", i.Info().MTU, l.MTU)
			}
		}
		mtu(0, syscall.EINVAL) // the driver takes it, a TUN does not
		mtu(65521, syscall.EINVAL)
		mtu(-1, syscall.EINVAL)
		if n := len(w.logged("mtu > 2044 will cause multicast packet drops.")); n != 4 {
			t.Errorf("%d warnings", n)
		}
		set(Connected) // nothing
		if n := len(w.logged("enabling connected mode will cause multicast packet drops")); n != 1 {
			t.Errorf("%d warnings", n)
		}
		mtu(1500, 0)
		set(Datagram)
		if i.Info().MTU != 1500 || i.Info().Features.Active&(fIPCsum|fTSO) != fIPCsum|fTSO {
			t.Errorf("%+v", i.Info())
		}
		set(Connected)
		mtu(9000, 0)
		set(Datagram)
		if i.Info().MTU != 2044 {
			t.Errorf("MTU %d", i.Info().MTU)
		}
		set(Connected)
		// The MTU survives going down and up.
		_ = i.SetUp(false)
		_ = i.SetUp(true)
		w.settle()
		w.settle()
		if l, _ := h.ns.LinkByName("ib0"); i.Info().MTU != 65520 || l.MTU != 65520 || !i.Info().Carrier {
			t.Errorf("%+v", i.Info())
		}
		// With the host's own tools.
		if err := h.ns.SetMTU(h.link.Index, 30000); err != nil {
			t.Fatal(err)
		}
		w.settle()
		if i.Info().MTU != 30000 {
			t.Errorf("MTU %d", i.Info().MTU)
		}
		if err := i.Check(Settings{Mode: new(Datagram), MTU: new(9000)}); Errno(err) != syscall.EINVAL {
			t.Errorf("datagram with 9000: %v", err)
		}
		if err := i.SetMode(2); Errno(err) != syscall.EINVAL {
			t.Errorf("mode 2: %v", err)
		}
	})
}

// Mode switches while packets flow both ways: nothing hangs, and packets flow
// again at once; those of the larger MTU in connected mode.
func TestModeFlips(t *testing.T) {
	connectedPair(t, worldConfig{}, func(w *world, a, b *host) {
		rng := rand.New(rand.NewPCG(1, 2))
		for round := range 60 {
			h := w.hosts[rng.IntN(2)]
			m := Mode(rng.IntN(2))
			for k := range 20 {
				for _, d := range []struct{ from, to *host }{{a, b}, {b, a}} {
					size := 100
					if d.from.ib0.Info().Mode == Connected {
						size = 9000
					}
					_ = d.from.tun(d.from.ib0).Send(ip4(d.from.ip(), d.to.ip(), size), rdma.Offload{})
				}
				if k == 10 {
					if err := h.ib0.SetMode(m); err != nil {
						t.Fatal(err)
					}
				}
			}
			synctest.Wait()
			time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond)
			a.got(a.ib0)
			if !carry(a, b, 2000) || !carry(b, a, 2000) {
				t.Fatalf("round %d: no connection, modes %v %v: %+v", round, a.ib0.Info().Mode, b.ib0.Info().Mode, a.neigh("10.0.0.2"))
			}
			for _, d := range []struct{ from, to *host }{{a, b}, {b, a}} {
				if d.from.ib0.Info().Mode == Connected && !carry(d.from, d.to, 65520) {
					t.Fatalf("round %d: no large packets from %d: %+v", round, d.from.n, d.from.neigh(d.to.ip().String()))
				}
			}
		}
		for _, h := range w.hosts {
			if out, in := h.conns(); out > 1 || in > 1 {
				t.Errorf("host %d has %d and %d connections", h.n, out, in)
			}
		}
	})
}
