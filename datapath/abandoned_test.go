package datapath

import "testing"

// A namespace whose last user is gone takes its children along; the interface
// of the port comes back to the service's, with another name where needed.
func TestAbandonedNamespace(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		w.upAll()
		a, b := w.host(1), w.host(2)
		a.child("c", 0x8001)
		if got := w.drv.ReleaseAbandoned(); len(got) != 0 {
			t.Errorf("%d interfaces of namespaces in use", len(got))
		}
		w.net.Abandon("h1")
		got := w.drv.ReleaseAbandoned()
		if len(got) != 1 || got[0] != a.ib0 {
			t.Fatalf("parents %v", got)
		}
		w.settle()
		if n := len(w.drv.Interfaces(a.ib0.Info().NS)); n != 1 {
			t.Errorf("%d interfaces are left in the namespace", n)
		}
		if err := a.ib0.ComeHome(); err != nil {
			t.Fatal(err)
		}
		w.net.Abandon("h2")
		for _, i := range w.drv.ReleaseAbandoned() {
			if err := i.ComeHome(); err != nil {
				t.Fatal(err)
			}
		}
		w.settle()
		home, err := w.net.Current()
		if err != nil {
			t.Fatal(err)
		}
		defer home.Close()
		for i, name := range map[*Interface]string{a.ib0: "ib0", b.ib0: "dev0"} {
			if info := i.Info(); info.NS != home.ID() || info.Name != name || info.Up {
				t.Errorf("%+v", info)
			}
		}
		if got := w.drv.ReleaseAbandoned(); len(got) != 0 {
			t.Errorf("%d interfaces are still there", len(got))
		}
	})
}
