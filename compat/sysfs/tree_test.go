package sysfs

import (
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"ipoib/compat/fusefs"
	"ipoib/rdma"
)

// The attributes of a channel adapter as rdma-core reads them.
func TestInfiniBand(t *testing.T) {
	inWorld(t, func(w *world) {
		w.settle()
		const dir = "class/infiniband/soft0/"
		port, err := w.hca.Port(1)
		w.must(err)
		for path, want := range map[string]string{
			"node_type": "1: CA\n", "node_guid": "0002:c903:00a0:b0c0\n", "sys_image_guid": "0002:c903:00a0:b0c0\n",
			"node_desc": "host1 soft0\n", "fw_ver": "1.0.0\n", "hca_type": "softHCA\n", "hw_rev": "0\n",
			"board_id":      "SOFT0000001\n",
			"ports/1/state": "4: ACTIVE\n", "ports/1/phys_state": "5: LinkUp\n", "ports/1/rate": "100 Gb/sec (4X EDR)\n",
			"ports/1/link_layer": "InfiniBand\n", "ports/1/lid": "0x2\n", "ports/1/sm_lid": "0x1\n",
			"ports/1/lid_mask_count": "0\n", "ports/1/sm_sl": "0\n",
			"ports/1/gids/0":                          "fe80:0000:0000:0000:0002:c903:00a0:b0c1\n",
			"ports/2/gids/0":                          "fe80:0000:0000:0000:0002:c903:00a0:b0c2\n",
			"ports/1/gid_attrs/types/0":               "IB/RoCE v1\n",
			"ports/1/pkeys/0":                         "0xffff\n",
			"ports/1/pkeys/1":                         "0x0000\n",
			"ports/1/counters/link_downed":            "0\n",
			"ports/1/hw_counters/lifespan":            "10\n",
			"device/infiniband/soft0/ports/2/pkeys/0": "0xffff\n",
			"device/net/ib0/pkey":                     "0xffff\n",
		} {
			w.shows(dir+path, want)
		}
		mask, err := w.read(dir + "ports/1/cap_mask")
		if err != nil || !strings.HasPrefix(mask, "0x") || len(mask) != 11 {
			t.Errorf("cap_mask %q, %v", mask, err)
		}
		if got := len(w.list(dir + "ports/1/pkeys")); got != port.Attr().PKeyTableLen {
			t.Errorf("%d pkeys", got)
		}
		if _, err := w.read(dir + "ports/1/gid_attrs/ndevs/0"); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("ndevs: %v", err)
		}
		w.takes(dir+"ports/1/hw_counters/lifespan", "20\n", nil)
		w.takes(dir+"ports/1/hw_counters/lifespan", "10001", syscall.EINVAL)
		w.shows(dir+"ports/1/hw_counters/lifespan", "20\n")
		// A P_Key that a child brings, and traffic, are seen.
		w.takes("class/net/ib0/create_child", "0x8001", nil)
		w.up(w.ib0)
		w.shows(dir+"ports/1/pkeys/1", "0x8001\n")
		if s, _ := w.read(dir + "ports/1/counters/port_xmit_packets"); s == "0\n" {
			t.Error("nothing was sent")
		}
		// The adapter is where its interfaces are, and nowhere else.
		home, err := w.tree.Root().Find(service, ViewPath(w.home.ID())+"/class/infiniband")
		w.must(err)
		if list, _ := home.(*fusefs.Dir).List(service); len(list) != 0 {
			t.Errorf("%v", list)
		}
	})
}

func TestRate(t *testing.T) {
	for _, tt := range []struct {
		speed rdma.LinkSpeed
		width rdma.LinkWidth
		want  string
	}{
		{rdma.SpeedSDR, rdma.Width1X, "2.5 Gb/sec (1X SDR)"}, {rdma.SpeedSDR, rdma.Width4X, "10 Gb/sec (4X SDR)"},
		{rdma.SpeedDDR, rdma.Width4X, "20 Gb/sec (4X DDR)"}, {rdma.SpeedQDR, rdma.Width4X, "40 Gb/sec (4X QDR)"},
		{rdma.SpeedFDR10, rdma.Width4X, "40 Gb/sec (4X FDR10)"}, {rdma.SpeedFDR, rdma.Width4X, "56 Gb/sec (4X FDR)"},
		{rdma.SpeedEDR, rdma.Width2X, "50 Gb/sec (2X EDR)"}, {rdma.SpeedHDR, rdma.Width4X, "200 Gb/sec (4X HDR)"},
		{rdma.SpeedNDR, rdma.Width12X, "1200 Gb/sec (12X NDR)"}, {0, rdma.Width4X, "10 Gb/sec (4X SDR)"},
	} {
		got, err := rate(rdma.PortAttr{ActiveSpeed: tt.speed, ActiveWidth: tt.width})
		if got != tt.want || err != nil {
			t.Errorf("%v %v: %q, %v", tt.speed, tt.width, got, err)
		}
	}
	if _, err := rate(rdma.PortAttr{ActiveSpeed: rdma.SpeedEDR}); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("no width: %v", err)
	}
}

// The module parameters (table 3): modes, values, the errno of writes.
func TestModule(t *testing.T) {
	inWorld(t, func(w *world) {
		const dir = "module/ib_ipoib/parameters/"
		perms := map[string]uint32{
			"send_queue_size": 0o444, "recv_queue_size": 0o444, "max_nonsrq_conn_qp": 0o444, "debug_level": 0o644,
			"mcast_debug_level": 0o644, "data_debug_level": 0o644, "cm_data_debug_level": 0o644,
		}
		if got := w.list(dir); len(got) != len(perms) {
			t.Errorf("%v", got)
		}
		for name, perm := range perms {
			if f := w.file(dir + name); f.Perm != perm {
				t.Errorf("%s has mode %o", name, f.Perm)
			}
		}
		w.shows(dir+"send_queue_size", "128\n")
		w.shows(dir+"recv_queue_size", "256\n")
		for _, tt := range []struct {
			text string
			err  error
			want string
		}{
			{"0\n", nil, "0\n"}, {"2\n", nil, "2\n"}, {"-1\n", nil, "-1\n"}, {"abc\n", syscall.EINVAL, "-1\n"},
			{"\n", syscall.EINVAL, "-1\n"}, {"0x1\n", nil, "1\n"}, {"4294967296", syscall.ERANGE, "1\n"},
		} {
			w.takes(dir+"debug_level", tt.text, tt.err)
			w.shows(dir+"debug_level", tt.want)
		}
		if w.drv.Debug.Debug.Load() != 1 {
			t.Error("the driver does not know")
		}
	})
}

// The driver's debugfs files: there for every kind of interface, gone with it.
func TestDebugFiles(t *testing.T) {
	inWorld(t, func(w *world) {
		w.shows("debug/ipoib/ib0_mcg", "")
		w.shows("debug/ipoib/ib0_path", "")
		w.up(w.ib0)
		text, err := w.read("debug/ipoib/ib0_mcg")
		if err != nil || !strings.HasPrefix(text, "GID: ff12:401b:ffff:0:0:0:") || !strings.Contains(text, "  complete:       yes\n  send_only:       no\n\n") {
			t.Errorf("%q, %v", text, err)
		}
		w.takes("class/net/ib0/create_child", "0x8001", nil)
		w.rtnl("ibn", 0x8002)
		want := []string{"ib0.8001_mcg", "ib0.8001_path", "ib0_mcg", "ib0_path", "ib1_mcg", "ib1_path", "ibn_mcg", "ibn_path"}
		if got := w.list("debug/ipoib"); !slices.Equal(got, want) {
			t.Errorf("%v", got)
		}
		w.takes("debug/ipoib/ib0_mcg", "x\n", syscall.EINVAL)
		if f := w.file("debug/ipoib/ib0_path"); f.Perm != 0o444 || f.Size != 0 {
			t.Errorf("%o %d", f.Perm, f.Size)
		}
		if d := w.find("debug").(*fusefs.Dir); d.Perm != 0o700 {
			t.Errorf("%o", d.Perm)
		}
		if _, err := w.lookup("debug/ipoib/ib9_mcg"); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("%v", err)
		}
	})
}

// The overlays have the kernel's entries and ours; the kernel's are links.
func TestOverlay(t *testing.T) {
	inWorld(t, func(w *world) {
		w.kernel("devices/virtual/net/lo/mtu", "65536\n")
		w.kernel("devices/virtual/net/ib0/mtu", "1\n")
		w.kernel("class/zram-control/hot_add", "0\n")
		w.kernel("module/zswap/parameters/enabled", "N\n")
		w.kernel("debug/bdi/x", "")
		w.must(os.MkdirAll(w.lower+"/class/net", 0o755))
		w.must(os.Symlink("../../devices/virtual/net/lo", w.lower+"/class/net/lo"))
		w.must(os.Symlink("../../devices/virtual/net/ib0", w.lower+"/class/net/ib0"))
		link := func(path string) string {
			t.Helper()
			n, err := w.tree.Root().Find(root, ViewPath(w.ns.ID())+"/"+path)
			l, ok := n.(*fusefs.Link)
			if !ok {
				t.Fatalf("%s: %v, %v", path, n, err)
			}
			s, err := l.Target(root)
			w.must(err)
			return s
		}
		for path, want := range map[string]string{
			"devices/virtual/net/lo":             "/run/ipoib/lower/devices/virtual/net/lo",
			"overlay/class/net/lo":               "../../devices/virtual/net/lo",
			"overlay/class/net/ib0":              "../../devices/virtual/net/ib0",
			"overlay/class/zram-control/hot_add": "/run/ipoib/lower/class/zram-control/hot_add",
			"overlay/module/zswap":               "/run/ipoib/lower/module/zswap",
			"overlay/debug/bdi":                  w.lower + "/debug/bdi",
		} {
			if got := link(path); got != want {
				t.Errorf("%s -> %s, want %s", path, got, want)
			}
		}
		for path, want := range map[string]string{
			"overlay/class": "infiniband net zram-control", "overlay/class/net": "ib0 ib1 lo",
			"overlay/class/infiniband": "soft0", "overlay/module": "ib_ipoib zswap", "overlay/debug": "bdi ipoib",
			"devices/virtual/net": "ib0 ib1 lo", "class/net": "ib0 ib1",
		} {
			if got := strings.Join(w.list(path), " "); got != want {
				t.Errorf("%s: %s, want %s", path, got, want)
			}
		}
		w.shows("overlay/module/ib_ipoib/parameters/debug_level", "0\n")
	})
}

// Each namespace sees its own interfaces; the top of the tree is the caller's.
func TestViews(t *testing.T) {
	inWorld(t, func(w *world) {
		link, err := w.tree.Root().Find(root, "class")
		w.must(err)
		for c, want := range map[fusefs.Caller]string{
			root: ViewPath(w.ns.ID()) + "/class", service: ViewPath(w.home.ID()) + "/class",
			{TID: 99}: ViewPath(w.home.ID()) + "/class", // one that nobody knows
		} {
			if got, err := link.(*fusefs.Link).Target(c); got != want || err != nil {
				t.Errorf("%v: %s, %v, want %s", c, got, err, want)
			}
		}
		views, err := w.tree.Root().Find(root, "netns")
		w.must(err)
		if list, _ := views.(*fusefs.Dir).List(root); len(list) != 2 {
			t.Errorf("%v", list)
		}
		// The view goes with the last interface, so that the namespace can.
		w.find("class/net/ib0")
		for n := 1; n <= 2; n++ {
			p, err := w.hca.Port(n)
			w.must(err)
			w.drv.RemovePort(p, false)
		}
		synctest.Wait()
		if list, _ := views.(*fusefs.Dir).List(root); len(list) != 1 {
			t.Errorf("%v", list)
		}
		w.tree.mu.Lock()
		defer w.tree.mu.Unlock()
		if len(w.tree.views) != 1 || len(w.tree.netdevs) != 0 {
			t.Errorf("%d views, %d directories are kept", len(w.tree.views), len(w.tree.netdevs))
		}
	})
}

// A change is told to the files that it changes, and to no other.
func TestNotifications(t *testing.T) {
	inWorld(t, func(w *world) {
		w.takes("class/net/ib0/create_child", "0x8001", nil)
		names := []string{"umcast", "mtu", "carrier", "operstate", "flags", "pkey", "address"}
		files := make(map[string]*fusefs.File)
		for _, name := range names {
			files[name] = w.file("class/net/ib0/" + name)
		}
		changed := func(fn func()) string {
			t.Helper()
			before := make(map[string]uint64)
			for _, name := range names {
				before[name] = files[name].Events()
			}
			fn()
			w.settle()
			var out []string
			for _, name := range names {
				if files[name].Events() != before[name] {
					out = append(out, name)
				}
			}
			return strings.Join(out, " ")
		}
		for _, tt := range []struct {
			fn   func()
			want string
		}{
			{func() { w.must(w.ib0.SetUmcast(true)) }, "umcast"},
			{func() { w.must(w.ib0.SetUmcast(true)) }, ""},
			{func() { w.must(w.ib0.SetMTU(1500)) }, "mtu"},
			{func() { w.must(w.ib0.SetUp(true)) }, "carrier operstate flags"},
			{func() { w.must(w.ib0.SetName("foo")) }, ""},
			{func() { w.drv.Close(false) }, strings.Join(names, " ")},
		} {
			if got := changed(tt.fn); got != tt.want {
				t.Errorf("changed %q, want %q", got, tt.want)
			}
		}
	})
}

// A parameter is told of wherever its file is.
func TestParamNotification(t *testing.T) {
	inWorld(t, func(w *world) {
		f := w.file("overlay/module/ib_ipoib/parameters/debug_level")
		before := f.Events()
		w.takes("module/ib_ipoib/parameters/debug_level", "1", nil)
		if f.Events() != before+1 {
			t.Error("not told")
		}
	})
}
