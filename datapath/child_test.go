package datapath

import (
	"testing"
	"time"

	"syscall"

	"ipoib/datapath/encap"
	"ipoib/datapath/hostnet"
	"ipoib/rdma"
)

// child makes a child by RTM_NEWLINK rules.
func (h *host) child(name string, k rdma.PKey) *Interface {
	h.w.t.Helper()
	c, err := h.w.drv.NewChild(h.ib0, ChildConfig{Name: name, PKey: &k})
	if err != nil {
		h.w.t.Fatal(err)
	}
	return c
}

// create_child and delete_child (kernel-ipoib.md sections 1.3 and 1.4).
func TestCreateChildRules(t *testing.T) {
	inWorld(t, worldConfig{}, func(w *world) {
		h := w.host(1)
		for _, c := range []struct {
			pkey  rdma.PKey
			name  string
			errno syscall.Errno
		}{
			{0x8001, "ib0.8001", 0},
			{0x8001, "", errNotUnique},
			{0x0001, "", errNotUnique}, // the same partition
			{0x7fff, "", errNotUnique}, // the parent's
			{0xffff, "", errNotUnique},
			{0x8000, "", syscall.EINVAL},
			{0, "", syscall.EINVAL},
			{0x0002, "ib0.0002", 0}, // the value as written
			{0x9999, "ib0.9999", 0}, // need not be in the table
		} {
			i, err := w.drv.CreateChild(h.ib0, c.pkey)
			if c.errno != 0 {
				if Errno(err) != c.errno {
					t.Errorf("%v: %v, want %v", c.pkey, err, c.errno)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%v: %v", c.pkey, err)
			}
			info := i.Info()
			if info.Name != c.name || info.PKey != c.pkey.Full() || info.Up || !info.Legacy || info.ParentName != "ib0" ||
				info.Mode != Datagram || info.Umcast || info.Addr.GID() != h.ib0.Info().Addr.GID() || info.Addr.QPN() == h.ib0.Info().QPN {
				t.Errorf("%+v", info)
			}
		}
		// A child has no children.
		c := w.drv.ByName(h.ib0.Info().NS, "ib0.8001")
		if _, err := w.drv.CreateChild(c, 0x8003); Errno(err) != syscall.EINVAL {
			t.Errorf("child of a child: %v", err)
		}
		// An rtnl child does not count, but its name does.
		h.child("ib0.8007", 0x8006)
		if _, err := w.drv.CreateChild(h.ib0, 0x8006); err != nil {
			t.Errorf("beside an rtnl child: %v", err)
		}
		if _, err := w.drv.CreateChild(h.ib0, 0x8007); Errno(err) != syscall.EEXIST {
			t.Errorf("name taken: %v", err)
		}
		if len(w.logged("failed to initialize; error -17")) != 1 {
			t.Error("not logged")
		}
		for _, c := range []struct {
			pkey  rdma.PKey
			errno syscall.Errno
		}{{0x0001, syscall.ENODEV}, {0x8001, 0}, {0x8001, syscall.ENODEV}, {0x8002, 0}, {0x8005, syscall.ENODEV}, {0x8006, 0}, {0x8006, syscall.ENODEV}} {
			if err := w.drv.DeleteChild(h.ib0, c.pkey); c.errno == 0 && err != nil || c.errno != 0 && Errno(err) != c.errno {
				t.Errorf("delete %v: %v", c.pkey, err)
			}
		}
		if l, err := h.ns.LinkByName("ib0.8001"); err == nil {
			t.Errorf("link left: %+v", l)
		}
	})
}

// RTM_NEWLINK (kernel-ipoib.md section 2).
func TestNewChildRules(t *testing.T) {
	inWorld(t, worldConfig{}, func(w *world) {
		h := w.host(1)
		mode := func(m Mode) *Mode { return &m }
		yes := true
		for _, c := range []struct {
			name  string
			cfg   ChildConfig
			errno syscall.Errno
		}{
			{"default P_Key", ChildConfig{Name: "c0"}, 0},
			{"twice", ChildConfig{Name: "c0"}, syscall.EEXIST},
			{"same P_Key", ChildConfig{Name: "c1"}, 0},
			{"limited form", ChildConfig{Name: "c2", PKey: new(rdma.PKey(0x0002))}, 0},
			{"P_Key 0", ChildConfig{Name: "c3", PKey: new(rdma.PKey(0))}, syscall.EINVAL},
			{"P_Key 0x8000", ChildConfig{Name: "c3", PKey: new(rdma.PKey(0x8000))}, syscall.EINVAL},
			{"mode 2", ChildConfig{Name: "c3", Mode: mode(2)}, syscall.EINVAL},
			{"datagram, umcast", ChildConfig{Name: "c4", Mode: mode(Datagram), Umcast: &yes, TxQueueLen: 77, Alias: "mine"}, 0},
			{"no name", ChildConfig{}, 0},
		} {
			i, err := w.drv.NewChild(h.ib0, c.cfg)
			if c.errno != 0 {
				if Errno(err) != c.errno {
					t.Errorf("%s: %v, want %v", c.name, err, c.errno)
				}
			} else if err != nil {
				t.Errorf("%s: %v", c.name, err)
			} else if info := i.Info(); info.Legacy || info.ParentName != "ib0" || info.Up {
				t.Errorf("%s: %+v", c.name, info)
			}
		}
		if i := w.drv.ByName(h.ib0.Info().NS, "c2").Info(); i.PKey != 0x8002 {
			t.Errorf("P_Key %v", i.PKey)
		}
		if i := w.drv.ByName(h.ib0.Info().NS, "c4").Info(); !i.Umcast || i.TxQueueLen != 77 || i.Alias != "mine" {
			t.Errorf("%+v", i)
		}
		if w.drv.ByName(h.ib0.Info().NS, "ipoib0") == nil {
			t.Error("no ipoib0")
		}
		if w.drv.ByName(h.ib0.Info().NS, "c3") != nil {
			t.Error("a refused child was left")
		}
		if len(w.logged("child creation disallowed")) != 0 {
			t.Error("logged")
		}
		if _, err := w.drv.NewChild(w.drv.ByName(h.ib0.Info().NS, "c0"), ChildConfig{Name: "x"}); Errno(err) != syscall.EINVAL ||
			len(w.logged("child creation disallowed for child devices")) != 1 {
			t.Errorf("child of a child: %v", err)
		}
		if err := w.drv.Delete(h.ib0); err != nil || w.drv.ByName(h.ib0.Info().NS, "ib0") == nil {
			t.Errorf("delete parent: %v", err)
		}
		if err := w.drv.Delete(w.drv.ByName(h.ib0.Info().NS, "c0")); err != nil || w.drv.ByName(h.ib0.Info().NS, "c0") != nil {
			t.Errorf("delete child: %v", err)
		}
	})
}

// A parent's down takes its children down, its up brings them up; a child may
// be up alone.
func TestChildrenFollowTheParent(t *testing.T) {
	inWorld(t, worldConfig{}, func(w *world) {
		h := w.host(1)
		c := h.child("c", 0x8001)
		if err := c.SetUp(true); err != nil {
			t.Fatal(err)
		}
		w.settle()
		if !c.Info().Carrier || h.ib0.Info().Up {
			t.Errorf("%+v", c.Info())
		}
		for _, up := range []bool{true, false, true} {
			if err := h.ib0.SetUp(up); err != nil {
				t.Fatal(err)
			}
			w.settle()
			if c.Info().Up != up || c.Info().Carrier != up {
				t.Errorf("parent %v: %+v", up, c.Info())
			}
		}
	})
}

// A child in another namespace lives there, and stays with its parent.
func TestChildInOtherNamespace(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		w.upAll()
		a, b := w.host(1), w.host(2)
		other := w.net.AddNamespace(t, "pod")
		ns, err := w.net.ByName("pod")
		if err != nil {
			t.Fatal(err)
		}
		c, err := w.drv.NewChild(a.ib0, ChildConfig{Name: "eth0", PKey: new(rdma.PKey(0x8001)), NS: ns})
		if err != nil {
			t.Fatal(err)
		}
		d := b.child("c", 0x8001)
		b.up(d, 1)
		l, err := other.LinkByName("eth0")
		if err != nil {
			t.Fatal(err)
		}
		pod := &host{w: w, n: 1, ns: other, ib0: c}
		if err := other.SetUp(l.Index, true); err != nil {
			t.Fatal(err)
		}
		pod.addAddr(c, "10.0.1.1/24")
		w.settle()
		w.settle()
		if !reach(pod, b, c, d, addr("10.0.1.1"), addr("10.0.1.2")) || !reach(b, pod, d, c, addr("10.0.1.2"), addr("10.0.1.1")) {
			t.Error("the pod is not reached")
		}
		// Which moves back, and out, by the host's own means.
		if err := other.Move(l.Index, mustNS(t, w, "h1")); err != nil {
			t.Fatal(err)
		}
		w.settle()
		if i := c.Info(); i.NS != a.ib0.Info().NS || i.Up || i.Carrier {
			t.Errorf("after the move: %+v", i)
		}
		if err := c.SetNamespace(mustNS(t, w, "pod")); err != nil {
			t.Fatal(err)
		}
		if c.Info().NS != other.ID() {
			t.Errorf("%+v", c.Info())
		}
		// A name that is taken there is refused, and nothing has moved.
		e := a.child("lo2", 0x8001)
		if _, err := other.AddLink(dummyLink("lo2")); err != nil {
			t.Fatal(err)
		}
		if err := e.SetNamespace(mustNS(t, w, "pod")); Errno(err) != syscall.EEXIST || e.Info().NS != a.ib0.Info().NS {
			t.Errorf("%v", err)
		}
	})
}

func mustNS(t *testing.T, w *world, name string) hostnet.Namespace {
	t.Helper()
	ns, err := w.net.ByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

// Children that are deleted by the host go, parents come back.
func TestDeletedByTheHost(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		w.upAll()
		a := w.host(1)
		c := a.child("c", 0x8001)
		if err := a.ns.DeleteLink(c.Info().Ifindex); err != nil {
			t.Fatal(err)
		}
		w.settle()
		if w.drv.ByName(a.ib0.Info().NS, "c") != nil {
			t.Error("the child is still there")
		}
		qpn, ns := a.ib0.Info().QPN, a.ib0.Info().NS
		if err := a.ns.DeleteLink(a.ib0.Info().Ifindex); err != nil {
			t.Fatal(err)
		}
		w.settle()
		i := w.drv.ByName(ns, "ib0")
		if i == nil || i != a.ib0 || i.Info().QPN != qpn || i.Info().Up || i.Info().Carrier {
			t.Fatalf("the parent did not come back: %+v", a.ib0.Info())
		}
		if len(w.logged("cannot be deleted, making it again")) != 1 {
			t.Error("not logged")
		}
		a.up(a.ib0, 0)
		w.settle()
		if !w.ping(1, 2) {
			t.Error("no connection")
		}
	})
}

// A port that is removed takes its interfaces along.
func TestRemovePort(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		w.upAll()
		a := w.host(1)
		c := a.child("c", 0x8001)
		_ = c.SetUp(true)
		w.settle()
		w.drv.RemovePort(a.ib0.Port(), false)
		w.settle()
		if list := w.drv.Interfaces(a.ns.ID()); len(list) != 0 {
			t.Errorf("%d interfaces", len(list))
		}
		if _, err := a.ns.LinkByName("ib0"); err == nil {
			t.Error("the link is still there")
		}
		if err := c.SetUp(false); Errno(err) != syscall.ENODEV {
			t.Errorf("setter of a removed interface: %v", err)
		}
		for _, g := range w.sm.State().Groups {
			for _, m := range g.Members {
				if m.GID.GUID() == a.ib0.Port().GUID() {
					t.Errorf("still a member of %v", g.Record.MGID)
				}
			}
		}
	})
}

// What is kept of an interface makes it again: name, queue pair, address,
// settings; what the user changed in the meantime counts.
func TestTakeover(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		w.upAll()
		a, b := w.host(1), w.host(2)
		c := a.child("c", 0x8001)
		b.up(b.child("c", 0x8001), 1)
		a.up(c, 1)
		_ = c.SetUmcast(true)
		usecs, frames := uint32(16), uint32(32)
		if err := c.SetCoalesce(&usecs, &frames); err != nil {
			t.Fatal(err)
		}
		w.settle()
		states := w.drv.States()
		qpn, child := a.ib0.Info().QPN, c.Info()
		w.drv.RemovePort(a.ib0.Port(), true)
		w.settle()
		l, err := a.ns.LinkByName("ib0")
		if err != nil || l.Carrier {
			t.Fatalf("the TUN is gone, or has carrier: %+v %v", l, err)
		}
		if err := a.ns.SetMTU(l.Index, 1500); err != nil {
			t.Fatal(err)
		}
		p, _ := a.hca.Port(1)
		for k := range states {
			s := states[k]
			if s.Device != "soft1" {
				continue
			}
			if !s.Child {
				if a.ib0, err = w.drv.AddPort(PortConfig{Port: p, NS: mustNS(t, w, "h1"), Name: s.Name, Restore: &s}); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if c, err = w.drv.RestoreChild(a.ib0, mustNS(t, w, "h1"), s); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Second)
		i := a.ib0.Info()
		if i.QPN != qpn || i.MTU != 1500 || !i.Up || !i.Carrier {
			t.Errorf("%+v", i)
		}
		if got := c.Info(); got.QPN != child.QPN || !got.Umcast || got.Coalesce != child.Coalesce || got.PKey != child.PKey || got.Legacy != child.Legacy {
			t.Errorf("%+v\nwas %+v", got, child)
		}
		if !w.ping(1, 2) {
			t.Error("no connection")
		}
	})
}

// 4391-§9.1.1-5: the address has the GID of index 0; one that the user chose
// has his GUID (kernel ipoib_set_mac).
func TestSetAddress(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		a := w.host(1)
		gid, _ := a.ib0.port.rdma.GID(0)
		own := a.ib0.Info().Addr
		if own.GID() != gid || own.Flags() != encap.FlagRC {
			t.Errorf("address %v", own)
		}
		c := a.child("c", 0x8001)
		chosen := encap.UnicastAddr(encap.FlagRC, own.QPN(), rdma.MakeGID(gid.Prefix(), 0x1122334455667788))
		for _, bad := range []encap.HardwareAddr{
			encap.UnicastAddr(encap.FlagRC, own.QPN()+1, chosen.GID()),
			chosen.WithFlags(0),
			encap.UnicastAddr(encap.FlagRC, own.QPN(), rdma.MakeGID(gid.Prefix()+1, 1)),
			encap.UnicastAddr(encap.FlagRC, own.QPN(), rdma.MakeGID(gid.Prefix(), 0)),
		} {
			if err := a.ib0.SetAddress(bad); Errno(err) != syscall.EINVAL {
				t.Errorf("%v: %v", bad, err)
			}
		}
		if err := a.ib0.SetUp(true); err != nil {
			t.Fatal(err)
		}
		if err := a.ib0.SetAddress(chosen); Errno(err) != syscall.EBUSY {
			t.Errorf("while up: %v", err)
		}
		_ = a.ib0.SetUp(false)
		w.settle()
		if err := a.ib0.SetAddress(chosen); err != nil {
			t.Fatal(err)
		}
		if got := a.ib0.Info(); got.Addr != chosen || got.PermAddr != own || !got.AddrSet {
			t.Errorf("%+v", got)
		}
		if got := c.Info().Addr; got.GID() != chosen.GID() {
			t.Errorf("the child has %v", got)
		}
		// The port does not have that GID: nothing is joined.
		_ = a.ib0.SetUp(true)
		w.settle()
		if a.ib0.Info().Carrier {
			t.Error("carrier with a GID that the port does not have")
		}
		_ = a.ib0.SetUp(false)
		if err := a.ib0.SetAddress(own); err != nil {
			t.Fatal(err)
		}
		_ = a.ib0.SetUp(true)
		w.settle()
		if i := a.ib0.Info(); !i.Carrier || i.AddrSet {
			t.Errorf("%+v", i)
		}
	})
}
