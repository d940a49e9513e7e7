package datapath

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"ipoib/rdma"
)

// MTU rules in datagram mode (kernel-ipoib.md section 4).
func TestSetMTU(t *testing.T) {
	inWorld(t, worldConfig{}, func(w *world) {
		h := w.host(1)
		if i := h.ib0.Info(); i.MTU != 4092 || i.TxQueueLen != 256 {
			t.Errorf("before the first join: %+v", i)
		}
		w.upAll()
		for _, c := range []struct {
			mtu, eff int
			errno    syscall.Errno
			ext      string
		}{
			{1500, 1500, 0, ""}, {72, 72, 0, ""}, {71, 72, syscall.EINVAL, ""}, {68, 72, syscall.EINVAL, ""},
			{0, 72, syscall.EINVAL, ""}, {-1, 72, syscall.EINVAL, "mtu less than device minimum"},
			{2044, 2044, 0, ""}, {4092, 2044, 0, ""}, // remembered
			{4093, 2044, syscall.EINVAL, ""}, {65520, 2044, syscall.EINVAL, ""},
			{65521, 2044, syscall.EINVAL, "mtu greater than device maximum"},
		} {
			err := h.ib0.SetMTU(c.mtu)
			if c.errno == 0 && err != nil || c.errno != 0 && Errno(err) != c.errno {
				t.Errorf("%d: %v", c.mtu, err)
			}
			var e *Error
			if errors.As(err, &e) && e.ExtAck() != c.ext {
				t.Errorf("%d: ext-ack %q", c.mtu, e.ExtAck())
			}
			if got := h.ib0.Info().MTU; got != c.eff {
				t.Errorf("%d: MTU %d, want %d", c.mtu, got, c.eff)
			}
			if l, _ := h.ns.LinkByName("ib0"); l.MTU != c.eff {
				t.Errorf("%d: link MTU %d", c.mtu, l.MTU)
			}
		}
	})
}

// The MTU that was asked for comes into force when the group allows it
// (kernel ipoib_mcast_join_finish).
func TestMTUIsRemembered(t *testing.T) {
	inWorld(t, worldConfig{}, func(w *world) {
		w.upAll()
		h := w.host(1)
		if err := h.ib0.SetMTU(4092); err != nil {
			t.Fatal(err)
		}
		w.setPartitions("Default=0x7fff,ipoib,mtu=5 : ALL=full;\n")
		w.sm.Restart()
		w.settle()
		w.settle()
		w.settle()
		if got := h.ib0.Info().MTU; got != 4092 {
			t.Errorf("MTU %d", got)
		}
	})
}

// What the host's own tools do to the link is followed, or put back.
func TestFollowsTheHost(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		w.upAll()
		h := w.host(1)
		idx := h.ib0.Info().Ifindex
		for _, c := range []struct{ set, want int }{{1500, 1500}, {4000, 2044}, {9000, 2044}, {68, 2044}, {2044, 2044}} {
			if err := h.ns.SetMTU(idx, c.set); err != nil {
				t.Fatal(err)
			}
			w.settle()
			if l, _ := h.ns.LinkByName("ib0"); l.MTU != c.want || h.ib0.Info().MTU != c.want {
				t.Errorf("mtu %d: link %d, state %d", c.set, l.MTU, h.ib0.Info().MTU)
			}
		}
		if len(w.logged("mtu cannot be carried, putting it back")) == 0 {
			t.Error("not logged")
		}
		if err := h.ns.SetTxQueueLen(idx, 99); err != nil {
			t.Fatal(err)
		}
		if err := h.ns.SetAlias(idx, "mine"); err != nil {
			t.Fatal(err)
		}
		w.settle()
		if i := h.ib0.Info(); i.TxQueueLen != 99 || i.Alias != "mine" {
			t.Errorf("%+v", i)
		}
		// An empty alias shows the addresses again.
		if err := h.ns.SetAlias(idx, ""); err != nil {
			t.Fatal(err)
		}
		w.settle()
		if l, _ := h.ns.LinkByName("ib0"); !strings.HasPrefix(l.Alias, "ipoib 80:00:00:") || !strings.Contains(l.Alias, " brd 00:ff:ff:ff:ff:12:40:1b:ff:ff") {
			t.Errorf("alias %q", l.Alias)
		}
		if err := h.ns.SetUp(idx, false); err != nil {
			t.Fatal(err)
		}
		w.settle()
		if err := h.ns.SetName(idx, "mlx0"); err != nil {
			t.Fatal(err)
		}
		w.settle()
		if h.ib0.Name() != "mlx0" || w.drv.ByName(h.ib0.Info().NS, "mlx0") != h.ib0 {
			t.Errorf("name %s", h.ib0.Name())
		}
		// Children are named after the present name.
		c, err := w.drv.CreateChild(h.ib0, 0x8001)
		if err != nil || c.Name() != "mlx0.8001" {
			t.Errorf("child %v %v", c, err)
		}
		if err := h.ns.SetUp(idx, true); err != nil {
			t.Fatal(err)
		}
		w.settle()
		if !reach(h, w.host(2), h.ib0, w.host(2).ib0, ip1, ip2) {
			t.Error("no connection")
		}
	})
}

// Lost events of the host are made good for.
func TestLostHostEvents(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		w.upAll()
		h := w.host(1)
		idx := h.ib0.Info().Ifindex
		_ = h.ns.SetMTU(idx, 1400)
		h.addAddr(h.ib0, "10.0.0.200/24")
		_ = h.ns.Join(idx, addr("239.3.3.3"))
		h.ns.Lose()
		w.settle()
		if h.ib0.Info().MTU != 1400 || h.group(h.ib0, "239.3.3.3") == nil {
			t.Errorf("%+v", h.ib0.Info())
		}
		b := w.host(2)
		if !reach(b, h, b.ib0, h.ib0, ip2, addr("10.0.0.200")) {
			t.Error("the address that was added is not known")
		}
	})
}

// The other setters.
func TestSetters(t *testing.T) {
	inWorld(t, worldConfig{}, func(w *world) {
		h := w.host(1)
		for _, c := range []struct {
			name  string
			fn    func() error
			errno syscall.Errno
		}{
			{"mode datagram", func() error { return h.ib0.SetMode(Datagram) }, 0},
			{"mode 2", func() error { return h.ib0.SetMode(2) }, syscall.EINVAL},
			{"name", func() error { return h.ib0.SetName("ib7") }, 0},
			{"same name", func() error { return h.ib0.SetName("ib7") }, 0},
			{"name taken", func() error { return h.ib0.SetName("lo") }, syscall.EEXIST},
			{"name too long", func() error { return h.ib0.SetName("abcdefghijklmnop") }, syscall.EINVAL},
			{"txqueuelen", func() error { return h.ib0.SetTxQueueLen(1000) }, 0},
			{"alias", func() error { return h.ib0.SetAlias("x") }, 0},
			{"alias too long", func() error { return h.ib0.SetAlias(strings.Repeat("x", 256)) }, syscall.EINVAL},
			{"umcast", func() error { return h.ib0.SetUmcast(true) }, 0},
		} {
			before := h.ib0.Info()
			err := c.fn()
			if c.errno == 0 && err != nil || c.errno != 0 && Errno(err) != c.errno {
				t.Errorf("%s: %v", c.name, err)
			}
			if err != nil && h.ib0.Info() != before {
				t.Errorf("%s: something changed: %+v", c.name, h.ib0.Info())
			}
		}
		if i := h.ib0.Info(); i.Name != "ib7" || i.TxQueueLen != 1000 || i.Alias != "x" || !i.Umcast {
			t.Errorf("%+v", i)
		}
	})
}

// Params are rounded as the driver does (kernel-ipoib.md section 3).
func TestParams(t *testing.T) {
	for _, c := range []struct{ in, send, recv int }{
		{0, 128, 256}, {1, 128, 2}, {100, 128, 128}, {129, 256, 256}, {5000, 8192, 8192}, {100000, 8192, 8192}, {-5, 128, 2},
	} {
		p := Params{SendQueueSize: c.in, RecvQueueSize: c.in}.Normalize()
		if p.SendQueueSize != c.send || p.RecvQueueSize != c.recv {
			t.Errorf("%d: %+v", c.in, p)
		}
	}
	inWorld(t, worldConfig{params: Params{SendQueueSize: 512}}, func(w *world) {
		if n := w.host(1).ib0.Info().TxQueueLen; n != 1024 {
			t.Errorf("tx queue length %d", n)
		}
	})
}

// A failure on the way leaves nothing behind.
func TestCreateFailsCleanly(t *testing.T) {
	inWorld(t, worldConfig{}, func(w *world) {
		h := w.host(1)
		if _, err := h.ns.AddLink(dummyLink("taken")); err != nil {
			t.Fatal(err)
		}
		before := len(w.drv.Interfaces(h.ns.ID()))
		for range 3 {
			if _, err := w.drv.NewChild(h.ib0, ChildConfig{Name: "taken"}); Errno(err) != syscall.EEXIST {
				t.Errorf("%v", err)
			}
			if _, err := w.drv.NewChild(h.ib0, ChildConfig{Name: "a/b"}); err == nil {
				t.Error("a bad name was taken")
			}
		}
		if n := len(w.drv.Interfaces(h.ns.ID())); n != before {
			t.Errorf("%d interfaces, were %d", n, before)
		}
		// The queue pair numbers are free again.
		a := h.child("a", 0x8001)
		if a.Info().QPN == 0 || rdma.QPN(a.Info().QPN) == h.ib0.Info().QPN {
			t.Errorf("%+v", a.Info())
		}
	})
}

// Errors say what was tried, on what, and why.
func TestErrorText(t *testing.T) {
	e := refuse("set mtu", "ib0", syscall.EINVAL, "mtu greater than device maximum")
	if got := e.Error(); got != "set mtu ib0: mtu greater than device maximum" {
		t.Error(got)
	}
	if got := refuse("create", "", syscall.ENODEV, "").Error(); got != "create: no such device" {
		t.Error(got)
	}
	err := system("move", "ib0", syscall.EPERM)
	if !errors.Is(err, syscall.EPERM) || Errno(err) != syscall.EPERM || err.Error() != "move ib0: operation not permitted" {
		t.Error(err)
	}
	if Errno(errors.New("x")) != syscall.EIO || system("x", "y", nil) != nil {
		t.Error("other errors")
	}
}
