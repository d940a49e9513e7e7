package sysfs

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"ipoib/compat/fusefs"
	"ipoib/datapath"
	"ipoib/datapath/encap"
	"ipoib/rdma"
)

// Which file exists where, and its mode (driver facts, table 1.1), with every
// interface having mode, pkey and umcast, and every child parent.
func TestWhichFiles(t *testing.T) {
	inWorld(t, func(w *world) {
		w.takes("class/net/ib0/create_child", "0x8001\n", nil)
		w.rtnl("ibn", 0x8002)
		perms := map[string]uint32{
			"create_child": 0o200, "delete_child": 0o200, "mode": 0o644, "pkey": 0o444, "umcast": 0o644,
			"parent": 0o444, "dev_id": 0o444, "mtu": 0o644, "carrier": 0o644, "address": 0o444,
		}
		for _, tt := range []struct {
			ifname string
			has    []string
			hasNot []string
		}{
			{"ib0", []string{"create_child", "delete_child", "mode", "pkey", "umcast", "dev_id", "device"}, []string{"parent"}},
			{"ib0.8001", []string{"mode", "pkey", "umcast", "parent", "dev_id"}, []string{"create_child", "delete_child", "device"}},
			{"ibn", []string{"mode", "pkey", "umcast", "parent", "dev_id"}, []string{"create_child", "delete_child", "device"}},
		} {
			names := w.list("class/net/" + tt.ifname)
			for _, name := range tt.has {
				if !slices.Contains(names, name) {
					t.Errorf("%s has no %s", tt.ifname, name)
				}
				if f, ok := w.find("class/net/" + tt.ifname + "/" + name).(*fusefs.File); ok && perms[name] != f.Perm {
					t.Errorf("%s/%s has mode %o", tt.ifname, name, f.Perm)
				}
			}
			for _, name := range tt.hasNot {
				if n, err := w.lookup("class/net/" + tt.ifname + "/" + name); slices.Contains(names, name) || !errors.Is(err, syscall.ENOENT) {
					t.Errorf("%s has %s: %v, %v", tt.ifname, name, n, err)
				}
			}
		}
	})
}

// What the files show (table 1.2).
func TestReadFormats(t *testing.T) {
	inWorld(t, func(w *world) {
		w.takes("class/net/ib0/create_child", "0x0001\n", nil)
		child := w.drv.ByName(w.ns.ID(), "ib0.0001")
		for path, want := range map[string]string{
			"ib0/pkey": "0xffff\n", "ib0.0001/pkey": "0x8001\n",
			"ib0/mode": "datagram\n", "ib0/umcast": "0\n", "ib0.0001/parent": "ib0\n",
			"ib0/dev_id": "0x0\n", "ib0/dev_port": "0\n", "ib1/dev_id": "0x1\n", "ib1/dev_port": "1\n",
			"ib0.0001/dev_id": "0x0\n", "ib0.0001/dev_port": "0\n",
			"ib0/address":        w.ib0.Info().Addr.String() + "\n",
			"ib0/broadcast":      "00:ff:ff:ff:ff:12:40:1b:ff:ff:00:00:00:00:00:00:ff:ff:ff:ff\n",
			"ib0.0001/broadcast": "00:ff:ff:ff:ff:12:40:1b:80:01:00:00:00:00:00:00:ff:ff:ff:ff\n",
			"ib0/type":           "32\n", "ib0/addr_len": "20\n", "ib0/mtu": "4092\n", "ib0/tx_queue_len": "256\n",
			"ib0/ifindex": fmt.Sprintln(w.ib0.Info().Ifindex), "ib0/iflink": fmt.Sprintln(w.ib0.Info().Ifindex),
			"ib0.0001/ifindex": fmt.Sprintln(child.Info().Ifindex), "ib0.0001/iflink": fmt.Sprintln(w.ib0.Info().Ifindex),
			"ib0/flags": "0x1002\n", "ib0/addr_assign_type": "0\n", "ib0/ifalias": "",
			"ib0/operstate": "down\n", "ib0.0001/operstate": "down\n",
			"ib0/statistics/tx_packets": "0\n", "ib0/statistics/collisions": "0\n",
		} {
			w.shows("class/net/"+path, want)
		}
		if s, _ := w.read("class/net/ib0/address"); len(s) != 60 {
			t.Errorf("address has %d bytes", len(s))
		}
		// Of an interface that is down some are EINVAL.
		for _, name := range []string{"carrier", "speed", "duplex", "name_assign_type"} {
			if s, err := w.read("class/net/ib0/" + name); !errors.Is(err, syscall.EINVAL) {
				t.Errorf("%s while down: %q, %v", name, s, err)
			}
		}
		w.up(w.ib0)
		for name, want := range map[string]string{
			"carrier": "1\n", "operstate": "up\n", "speed": "100000\n", "duplex": "full\n", "flags": "0x1003\n", "mtu": "2044\n",
		} {
			w.shows("class/net/ib0/"+name, want)
		}
		w.shows("class/net/ib0.0001/operstate", "up\n")
		rtnl := w.rtnl("ibn", 0x8002)
		w.shows("class/net/ibn/name_assign_type", "3\n")
		w.must(rtnl.SetName("ipoib7"))
		w.shows("class/net/ipoib7/name_assign_type", "1\n")
	})
}

// Who reads dev_id on the second port is told once that dev_port says it
// (table 1.2).
func TestDevPortHint(t *testing.T) {
	inWorld(t, func(w *world) {
		w.takes("class/net/ib1/create_child", "0x8001", nil)
		const hint = `"\"cat\" wants to know my dev_id. Should it look at dev_port instead? See Documentation/ABI/testing/sysfs-class-net for more info." ifname=ib1`
		for _, name := range []string{"ib0", "ib1.8001", "ib1", "ib1"} {
			w.file("class/net/" + name + "/dev_id").Reader(root)
			if got, want := strings.Count(w.log.String(), hint), bit(name == "ib1"); got != want {
				t.Errorf("%s: %d hints in\n%s", name, got, w.log.String())
			}
		}
	})
}

// What an IPoIB interface does not have is there all the same, whatever the
// kernel shows of a TUN.
func TestNotSupported(t *testing.T) {
	inWorld(t, func(w *world) {
		for _, name := range []string{"phys_port_id", "phys_port_name", "phys_switch_id"} {
			if s, err := w.read("class/net/ib0/" + name); !errors.Is(err, syscall.EOPNOTSUPP) {
				t.Errorf("%s: %q, %v", name, s, err)
			}
		}
	})
}

// Without carrier (tables 1.2 and 1.6): a parent is down, a child
// lowerlayerdown, the speed is unknown.
func TestNoCarrier(t *testing.T) {
	inWorld(t, func(w *world) {
		pkey := rdma.PKey(0x8055)
		i, err := w.drv.NewChild(w.ib1, datapath.ChildConfig{Name: "ibx", PKey: &pkey})
		w.must(err)
		w.fab.LinkAt(w.hca.At(2)).SetUp(false)
		w.settle()
		w.up(i)
		for name, want := range map[string]string{
			"carrier": "0\n", "operstate": "lowerlayerdown\n", "speed": "-1\n", "duplex": "unknown\n",
		} {
			w.shows("class/net/ibx/"+name, want)
		}
		w.up(w.ib1)
		w.shows("class/net/ib1/operstate", "down\n")
		w.shows("class/net/ib1/carrier", "0\n")
	})
}

// What create_child takes and refuses (table 1.3), in the order of the
// transcript of the kernel's driver.
func TestCreateChild(t *testing.T) {
	inWorld(t, func(w *world) {
		const einval, enotuniq = syscall.EINVAL, syscall.ENOTUNIQ
		w.rtnl("ibn", 0x8002)
		for _, tt := range []struct {
			text string
			err  error
			name string // of the new interface
			pkey string
		}{
			{"0x8001\n", nil, "ib0.8001", "0x8001\n"},
			{"0x8001\n", enotuniq, "", ""},
			{"0xffff\n", enotuniq, "", ""},
			{"0x8002\n", nil, "ib0.8002", "0x8002\n"}, // only a child made by netlink has it
			{"0x8002\n", enotuniq, "", ""},
			// The full bit counts, other than with the kernel's driver.
			{"0x7fff\n", enotuniq, "", ""},
			{"0x0001\n", enotuniq, "", ""},
			{"0\n", einval, "", ""}, {"0x0000\n", einval, "", ""}, {"0x8000\n", einval, "", ""},
			{"32768\n", einval, "", ""}, {"-1\n", einval, "", ""}, {"65536\n", einval, "", ""},
			{"0x10000\n", einval, "", ""}, {"\n", einval, "", ""}, {" \n", einval, "", ""},
			{"abc\n", einval, "", ""}, {"0xg\n", einval, "", ""}, {"0x\n", einval, "", ""},
			{"8004\n", nil, "ib0.1f44", "0x9f44\n"},
			{"0x8004x\n", nil, "ib0.8004", "0x8004\n"},
			{"0x8003 trailing\n", nil, "ib0.8003", "0x8003\n"},
			{"010\n", nil, "ib0.0008", "0x8008\n"},
			{"32771\n", enotuniq, "", ""},
			{"0x00018001\n", einval, "", ""}, {"99999999999\n", einval, "", ""},
			{"0x8009", nil, "ib0.8009", "0x8009\n"},
			{"0x800a\n\n", nil, "ib0.800a", "0x800a\n"},
			{"\n0x800b", nil, "ib0.800b", "0x800b\n"},
			{"  0x800c", nil, "ib0.800c", "0x800c\n"},
			{"+0x800d", einval, "", ""},
			{"0x800d\x00junk", nil, "ib0.800d", "0x800d\n"},
			{"0x10000800e", nil, "ib0.800e", "0x800e\n"}, // cut to 32 bits
			{"\x00", einval, "", ""}, {"\xff\xfe\x80", einval, "", ""},
			{strings.Repeat("7", 5000), einval, "", ""},
			{strings.Repeat(" ", 4096) + "0x800f", einval, "", ""}, // the page ends before
		} {
			before := len(w.list("class/net"))
			w.takes("class/net/ib0/create_child", tt.text, tt.err)
			if n := len(w.list("class/net")) - before; n != 0 != (tt.err == nil) {
				t.Errorf("%q: %d interfaces more", tt.text, n)
			}
			if tt.err == nil {
				w.shows("class/net/"+tt.name+"/pkey", tt.pkey)
				w.shows("class/net/"+tt.name+"/mode", "datagram\n")
				w.shows("class/net/"+tt.name+"/umcast", "0\n")
				w.shows("class/net/"+tt.name+"/flags", "0x1002\n") // down
			}
		}
	})
}

// A name that is taken, and one of a long parent (table 1.3).
func TestCreateChildName(t *testing.T) {
	inWorld(t, func(w *world) {
		w.rtnl("ib0.8001", 0x8005)
		w.takes("class/net/ib0/create_child", "0x8001\n", syscall.EEXIST)
		w.must(w.ib1.SetName("infiniband12345"))
		w.takes("class/net/infiniband12345/create_child", "0x8001\n", nil)
		w.shows("class/net/infiniband.8001/parent", "infiniband12345\n")
		// The parent's name is its present one, and so are the paths.
		w.must(w.ib1.SetName("ib7"))
		w.shows("class/net/infiniband.8001/parent", "ib7\n")
		if _, err := w.lookup("class/net/infiniband12345"); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("%v", err)
		}
	})
}

// delete_child (table 1.4).
func TestDeleteChild(t *testing.T) {
	inWorld(t, func(w *world) {
		const del = "class/net/ib0/delete_child"
		for _, k := range []string{"0x8001\n", "0x0003\n"} {
			w.takes("class/net/ib0/create_child", k, nil)
		}
		w.rtnl("ibz", 0x8004)
		for _, tt := range []struct {
			text string
			err  error
		}{
			{"\n", syscall.EINVAL}, {"abc\n", syscall.EINVAL}, {"-1\n", syscall.EINVAL}, {"65536\n", syscall.EINVAL},
			{"0\n", syscall.ENODEV}, {"0x8000\n", syscall.ENODEV}, {"0x7fff\n", syscall.ENODEV},
			{"0x0001\n", syscall.ENODEV}, // the full bit is part of the name
			{"0x8004\n", syscall.ENODEV}, // netlink's
			{"0x8001\n", nil}, {"0x8001\n", syscall.ENODEV},
			{"0x0003\n", syscall.ENODEV}, {"32771 and more", nil},
		} {
			w.takes(del, tt.text, tt.err)
		}
		if got := w.list("class/net"); !slices.Equal(got, []string{"ib0", "ib1", "ibz"}) {
			t.Errorf("%v", got)
		}
	})
}

// mode and umcast (table 1.5).
func TestMode(t *testing.T) {
	inWorld(t, func(w *world) {
		const mode = "class/net/ib0/mode"
		for _, text := range []string{
			"", "\n", "datagram", "connected", "Datagram\n", "DATAGRAM\n", "datagram \n", " datagram\n", "datagram\n\n",
			"connected ", "auto\n", "0\n", "1\n", "\x00datagram\n", strings.Repeat("datagram\n", 1000),
		} {
			w.takes(mode, text, syscall.EINVAL)
		}
		w.shows(mode, "datagram\n")
		w.takes(mode, "datagram\n", nil)
		w.takes(mode, "datagram\n\x00junk", nil)
		if w.ib0.Info().Addr[0]&encap.FlagRC == 0 {
			w.takes(mode, "connected\n", syscall.EINVAL)
			return
		}
		w.takes(mode, "connected\n", nil)
		w.shows(mode, "connected\n")
		w.takes(mode, "connected\n", nil)
		w.takes(mode, "datagram\n", nil)
		w.shows(mode, "datagram\n")
	})
}

func TestUmcast(t *testing.T) {
	inWorld(t, func(w *world) {
		const umcast = "class/net/ib0/umcast"
		for _, tt := range []struct{ text, want string }{
			{"1\n", "1\n"}, {"0\n", "0\n"}, {"2\n", "1\n"}, {"-1\n", "0\n"}, {"0x10\n", "1\n"}, {"abc\n", "0\n"},
			{"1", "1\n"}, {"\n", "0\n"}, {"1x\n", "1\n"}, {" 1\n", "0\n"}, {"010", "1\n"},
			{"0xffffffff\n", "0\n"}, {"0x7fffffff\n", "1\n"}, {"0x100000000\n", "0\n"},
		} {
			w.takes(umcast, tt.text, nil)
			w.shows(umcast, tt.want)
		}
	})
}

// The attributes that all interfaces have and users may write.
func TestGenericWrites(t *testing.T) {
	inWorld(t, func(w *world) {
		for _, tt := range []struct {
			name, text string
			err        error
			want       string
		}{
			{"mtu", "1500\n", nil, "1500\n"}, {"mtu", "9000\n", syscall.EINVAL, "1500\n"},
			{"mtu", "71", syscall.EINVAL, "1500\n"}, {"mtu", "0x400", nil, "1024\n"}, {"mtu", "abc", syscall.EINVAL, "1024\n"},
			{"mtu", "-1", syscall.EINVAL, "1024\n"}, {"mtu", "", syscall.EINVAL, "1024\n"},
			{"tx_queue_len", "1000\n", nil, "1000\n"}, {"tx_queue_len", "4294967296", syscall.ERANGE, "1000\n"},
			{"tx_queue_len", "99999999999999999999", syscall.ERANGE, "1000\n"},
			{"flags", "0x1003\n", nil, "0x1003\n"}, {"flags", "0x1002", nil, "0x1002\n"}, {"flags", "up", syscall.EINVAL, "0x1002\n"},
			{"ifalias", "uplink\n", nil, "uplink\n"}, {"ifalias", strings.Repeat("a", 300), syscall.EINVAL, "uplink\n"},
			{"ifalias", "\n", nil, ""},
		} {
			w.takes("class/net/ib0/"+tt.name, tt.text, tt.err)
			w.shows("class/net/ib0/"+tt.name, tt.want)
		}
		w.takes("class/net/ib0/carrier", "0\n", syscall.EOPNOTSUPP)
		w.takes("class/net/ib0/carrier", "x", syscall.EOPNOTSUPP)
	})
}

// Without CAP_NET_ADMIN nothing changes (tables 1.3 and 1.4): text and range
// are judged before the privilege.
func TestPrivilege(t *testing.T) {
	inWorld(t, func(w *world) {
		w.takes("class/net/ib0/create_child", "0x8001", nil)
		for _, tt := range []struct {
			path, text string
			err        error
		}{
			{"class/net/ib0/create_child", "0x8002", syscall.EPERM}, {"class/net/ib0/create_child", "abc", syscall.EINVAL},
			{"class/net/ib0/delete_child", "0x8001", syscall.EPERM}, {"class/net/ib0/delete_child", "-1", syscall.EINVAL},
			{"class/net/ib0/mode", "datagram\n", syscall.EPERM}, {"class/net/ib0/mode", "x", syscall.EINVAL},
			{"class/net/ib0/umcast", "1", syscall.EPERM}, {"class/net/ib0/mtu", "1500", syscall.EPERM},
			{"class/net/ib0/flags", "x", syscall.EPERM}, {"class/net/ib0/ifalias", "x", syscall.EPERM},
			{"class/net/ib0/tx_queue_len", "1", syscall.EPERM},
		} {
			if _, err := w.file(tt.path).Write(nobody, []byte(tt.text)); !errors.Is(errnoOf(err), tt.err) {
				t.Errorf("%s: %v, want %v", tt.path, err, tt.err)
			}
		}
		for path, want := range map[string]string{
			"class/net/ib0/umcast": "0\n", "class/net/ib0/mtu": "4092\n", "class/net/ib0/ifalias": "",
			"class/net/ib0.8001/pkey": "0x8001\n",
		} {
			w.shows(path, want)
		}
	})
}

// Files of an interface that went away say ENODEV, those that are opened anew
// are not there.
func TestVanished(t *testing.T) {
	inWorld(t, func(w *world) {
		w.kernel("devices/virtual/net/ib0.8001/gro_flush_timeout", "0\n")
		w.takes("class/net/ib0/create_child", "0x8001", nil)
		var files []*fusefs.File
		for _, name := range []string{"pkey", "umcast", "address", "gro_flush_timeout", "statistics/rx_bytes"} {
			files = append(files, w.file("class/net/ib0.8001/"+name))
		}
		dir := w.find("class/net/ib0.8001").(*fusefs.Dir)
		w.takes("class/net/ib0/delete_child", "0x8001", nil)
		for k, f := range files {
			if b, err := f.Read(); !errors.Is(errnoOf(err), syscall.ENODEV) {
				t.Errorf("file %d: %q, %v", k, b, err)
			}
			if f.Store == nil {
				continue
			}
			if _, err := f.Write(root, []byte("1")); !errors.Is(errnoOf(err), syscall.ENODEV) {
				t.Errorf("file %d: %v", k, err)
			}
		}
		if n, err := dir.Lookup(root, "pkey"); n != nil || err != nil {
			t.Errorf("%v, %v", n, err)
		}
		if _, err := w.lookup("class/net/ib0.8001"); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("%v", err)
		}
	})
}

// What the kernel has is passed through both ways; what it has of a TUN is not.
func TestPassThrough(t *testing.T) {
	inWorld(t, func(w *world) {
		const dir = "devices/virtual/net/ib0/"
		w.kernel(dir+"gro_flush_timeout", "0\n")
		w.kernel(dir+"queues/tx-0/xps_cpus", "3\n")
		w.kernel(dir+"address", "\n")
		w.kernel(dir+"tun_flags", "0x1001\n")
		w.kernel(dir+"owner", "-1\n")
		w.must(os.Symlink("../../../../class/net", w.lower+"/"+dir+"subsystem"))
		w.shows("class/net/ib0/gro_flush_timeout", "0\n")
		w.takes("class/net/ib0/gro_flush_timeout", "50\n", nil)
		w.shows("class/net/ib0/gro_flush_timeout", "50\n")
		w.shows("class/net/ib0/queues/tx-0/xps_cpus", "3\n")
		if s, _ := w.read("class/net/ib0/address"); len(s) != 60 {
			t.Errorf("%q", s)
		}
		names := w.list("class/net/ib0")
		if slices.Contains(names, "tun_flags") || slices.Contains(names, "owner") || !slices.Contains(names, "subsystem") {
			t.Errorf("%v", names)
		}
		if n, _ := w.find(dir).(*fusefs.Dir).Lookup(root, "tun_flags"); n != nil {
			t.Errorf("%v", n)
		}
		if n, err := w.lookup("class/net/ib0/subsystem/ib0/pkey"); n == nil {
			t.Errorf("%v", err)
		}
		if _, err := w.file("class/net/ib0/gro_flush_timeout").Write(nobody, []byte("1")); !errors.Is(err, syscall.EPERM) {
			t.Errorf("%v", err)
		}
	})
}

// The directory stays the same node through a rename, so that what is mounted
// of it stays.
func TestRename(t *testing.T) {
	inWorld(t, func(w *world) {
		before := w.find("devices/virtual/net/ib0")
		w.must(w.ib0.SetName("foo"))
		if w.find("devices/virtual/net/foo") != before {
			t.Error("another directory")
		}
		if got := w.list("debug/ipoib"); !slices.Equal(got, []string{"foo_mcg", "foo_path", "ib1_mcg", "ib1_path"}) {
			t.Errorf("%v", got)
		}
	})
}
