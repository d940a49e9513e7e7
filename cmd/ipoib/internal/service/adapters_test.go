package service

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"ipoib/datapath"
	"ipoib/datapath/hostnet"
	"ipoib/datapath/hostnet/hostnettest"
	"ipoib/nl/ipoibnl"
	"ipoib/rdma/soft"
)

// newService returns a service on a host in memory, without anything that
// serves clients.
func newService(t *testing.T, host *hostnettest.Host, dir string, hcas ...HCA) *Service {
	t.Helper()
	f, err := newFabric(soft.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	s := &Service{
		cfg: Config{RunDir: dir, HCAs: hcas, NoHCA: len(hcas) == 0}, log: slog.New(slog.DiscardHandler),
		fabric: f, host: host, store: &store{path: filepath.Join(dir, "state.json")},
		driver: datapath.New(datapath.System{Host: host, OpenTUN: host.OpenTUN, Seed: 3}, datapath.Params{}),
	}
	if err := s.cfg.Normalize(); err != nil {
		t.Fatal(err)
	}
	if err := s.restore(); err != nil {
		t.Fatal(err)
	}
	return s
}

// end ends a service; its interfaces stay.
func (s *Service) end() {
	s.saveState()
	s.driver.Close(true)
	for _, h := range s.fabric.HCAs() {
		_ = h.Close()
	}
}

func errnoOf(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	return datapath.Errno(err)
}

// Adapters that are added at run time, and what is refused.
func TestAdapters(t *testing.T) {
	host := hostnettest.New(t)
	host.AddNamespace(t, "blue").Close()
	s := newService(t, host, t.TempDir(), HCA{Name: "soft0"})
	defer s.end()
	for _, tt := range []struct {
		hca  ipoibnl.HCA
		want syscall.Errno
	}{
		{ipoibnl.HCA{Name: "soft0"}, syscall.EEXIST},
		{ipoibnl.HCA{}, syscall.EINVAL},
		{ipoibnl.HCA{Name: "no/name"}, syscall.EINVAL},
		{ipoibnl.HCA{Name: "a", MTU: 1500}, syscall.EINVAL},
		{ipoibnl.HCA{Name: "a", Speed: "FAST"}, syscall.EINVAL},
		{ipoibnl.HCA{Name: "a", Profile: "best"}, syscall.EINVAL},
		{ipoibnl.HCA{Name: "a", NetNS: "red"}, syscall.ENOENT},
		{ipoibnl.HCA{Name: "blue0", NetNS: "blue", Ifname: "ib0", Ports: 2, Owner: "lab", NodeGUID: 0x0002c90300a0b0c0}, 0},
		{ipoibnl.HCA{Name: "blue0"}, syscall.EEXIST},
	} {
		if err := s.AddAdapter(tt.hca); errnoOf(err) != tt.want {
			t.Errorf("%+v: %v, want %v", tt.hca, err, tt.want)
		}
	}
	list := s.Adapters()
	if len(list) != 2 || !slices.Equal(list[0].Ifnames, []string{"ib0"}) || list[0].Owner != "" {
		t.Fatalf("%+v", list)
	}
	if b := list[1]; b.Name != "blue0" || b.Ports != 2 || b.NetNS != "blue" || b.Owner != "lab" || b.NodeGUID != 0x0002c90300a0b0c0 ||
		!slices.Equal(b.Ifnames, []string{"ib0", "ib1"}) {
		t.Errorf("%+v", b)
	}
	for name, want := range map[string]syscall.Errno{"red0": syscall.ENODEV, "soft0": syscall.EBUSY} {
		if err := s.RemoveAdapter(name); errnoOf(err) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.RemoveAdapter("blue0"); err != nil {
		t.Error(err)
	}
	if list := s.Adapters(); len(list) != 1 {
		t.Errorf("%+v", list)
	}
	// The name is free again.
	if err := s.AddAdapter(ipoibnl.HCA{Name: "blue0", NetNS: "blue"}); err != nil {
		t.Error(err)
	}
}

// Ports by name.
func TestPort(t *testing.T) {
	s := newService(t, hostnettest.New(t), t.TempDir(), HCA{Name: "soft0", Ports: 2})
	defer s.end()
	for name, want := range map[string]syscall.Errno{
		"soft0/1": 0, "soft0/2": 0, "switch0/1": 0, "switch0/64": 0,
		"soft0/3": syscall.ENODEV, "soft1/1": syscall.ENODEV, "switch1/1": syscall.ENODEV, "switch0/65": syscall.ENODEV,
		"switch-1/1": syscall.ENODEV, "switch/1": syscall.ENODEV, "switchx/1": syscall.ENODEV,
		"": syscall.EINVAL, "soft0": syscall.EINVAL, "soft0/": syscall.EINVAL, "soft0/0": syscall.EINVAL,
		"soft0/-1": syscall.EINVAL, "soft0/1/1": syscall.EINVAL, "soft0/99999999999999999999": syscall.EINVAL,
	} {
		end, err := s.Port(name)
		if errnoOf(err) != want {
			t.Errorf("%q: %v, want %v", name, err, want)
		}
		if want == 0 && s.fabric.LinkAt(end) == nil && name[:4] == "soft" {
			t.Errorf("%q has no link", name)
		}
	}
}

// The next service has what the last one had: adapters that were added,
// interfaces in their namespaces, children.
func TestRestore(t *testing.T) {
	host, dir := hostnettest.New(t), t.TempDir()
	host.AddNamespace(t, "blue").Close()
	host.AddNamespace(t, "red").Close()
	show := func(s *Service) string {
		var out string
		for _, i := range s.driver.Interfaces(s.home(t)) {
			out += fmt.Sprintf("%s %v;", i.Name(), i.Info().PKey)
		}
		for _, name := range []string{"blue", "red"} {
			ns, err := host.ByName(name)
			if err != nil {
				continue
			}
			for _, i := range s.driver.Interfaces(ns.ID()) {
				out += fmt.Sprintf(" %s: %s %v;", name, i.Name(), i.Info().PKey)
			}
			_ = ns.Close()
		}
		return out
	}
	s := newService(t, host, dir, HCA{Name: "soft0"})
	if err := s.AddAdapter(ipoibnl.HCA{Name: "blue0", NetNS: "blue", Ifname: "ibx"}); err != nil {
		t.Fatal(err)
	}
	blue, err := host.ByName("blue")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.driver.CreateChild(s.driver.ByName(blue.ID(), "ibx"), 0x8001); err != nil {
		t.Fatal(err)
	}
	if _, err := s.driver.CreateChild(s.driver.ByName(s.home(t), "ib0"), 0x8002); err != nil {
		t.Fatal(err)
	}
	_ = blue.Close()
	want := show(s)
	s.end()
	s = newService(t, host, dir, HCA{Name: "soft0"})
	if got := show(s); got != want {
		t.Errorf("%s\nwas %s", got, want)
	}
	s.end()
	// An adapter that left the configuration, and a state that makes no sense
	// of what there is, keep nobody from starting.
	text, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	s = newService(t, host, dir)
	if got := len(s.Adapters()); got != 1 {
		t.Errorf("%d adapters", got)
	}
	s.end()
	if err := os.WriteFile(filepath.Join(dir, "state.json"), slices.Concat(text[:1], []byte(`"hcas": [{"name": "x/y"}],`), text[1:]), 0o600); err != nil {
		t.Fatal(err)
	}
	s = newService(t, hostnettest.New(t), dir, HCA{Name: "soft0"})
	if got := show(s); got != "ib0 0xffff;ib0.8002 0x8002;" {
		t.Errorf("where the other namespaces are gone: %s", got)
	}
	s.end()
}

// home is the service's own namespace.
func (s *Service) home(t *testing.T) (id hostnet.ID) {
	t.Helper()
	ns, err := s.host.Current()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ns.Close() }()
	return ns.ID()
}

// The star of switches grows with the adapters.
func TestFabric(t *testing.T) {
	f, err := newFabric(soft.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 100 {
		h, err := f.AddHCA(soft.HCAConfig{Name: fmt.Sprint("soft", n), NodeGUID: defaultGUID(fmt.Sprint("soft", n)), Ports: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = h.Close() }()
		if err := f.plug(h.At(1)); err != nil {
			t.Fatalf("adapter %d: %v", n, err)
		}
		if f.LinkAt(h.At(1)) == nil {
			t.Errorf("adapter %d has no link", n)
		}
	}
	if len(f.switches) != 3 || f.root() != f.switches[0] {
		t.Errorf("%d switches", len(f.switches))
	}
	for n, sw := range f.switches[1:] {
		if f.LinkAt(sw.At(uplinkPort)) == nil {
			t.Errorf("switch %d hangs on nothing", n+1)
		}
	}
	if _, err := loadPartitions(""); err != nil {
		t.Error(err)
	}
	if _, err := loadPartitions("/no such file"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	bad := configFile(t, "what is this")
	if _, err := loadPartitions(bad); err == nil {
		t.Error("a file that makes no sense was read")
	}
}
