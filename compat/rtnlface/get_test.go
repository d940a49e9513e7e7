package rtnlface

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"

	"ipoib/datapath"
	"ipoib/nl"
	"ipoib/nl/nltest"
	"ipoib/nl/rtlink"
)

// TestLinkMessage compares the message about a parent and a child with what
// the kernel's driver reports.
func TestLinkMessage(t *testing.T) {
	inWorld(t, func(w *world) {
		l := w.get("ib0")
		info := w.ib0.Info()
		check := func(what string, got, want any) {
			t.Helper()
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s (-want +got):\n%s", what, d)
			}
		}
		check("type", l.Type, rtlink.TypeInfiniBand)
		check("index", l.Index, int32(info.Ifindex))
		check("flags, down", l.Flags, rtlink.FlagBroadcast|rtlink.FlagMulticast)
		check("change", l.Change, uint32(0))
		check("operstate", *l.Operstate, rtlink.OperDown)
		check("mtu", []uint32{*l.MTU, *l.MinMTU, *l.MaxMTU}, []uint32{4092, 0, 65520})
		check("qlen", *l.TxQueueLen, uint32(256))
		check("address", l.Address, info.Addr[:])
		check("permanent address", l.PermAddress, info.PermAddr[:])
		check("broadcast", l.Broadcast, []byte{
			0, 0xff, 0xff, 0xff, 0xff, 0x12, 0x40, 0x1b, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,
		})
		check("kind", l.Info.Kind, "ipoib")
		check("alias", l.Alias, "")
		check("link", l.Link, (*uint32)(nil))
		check("addrgenmode", *l.AddrGenMode, uint8(0))
		d := rtlink.DecodeIPoIB(l.Info.Data)
		check("data", []uint16{*d.PKey, *d.Mode, *d.Umcast}, []uint16{0xffff, 0, 0})

		w.must(w.ib0.SetUp(true))
		w.settle()
		l = w.get("ib0")
		check("flags, up", l.Flags, rtlink.FlagBroadcast|rtlink.FlagMulticast|rtlink.FlagUp|rtlink.FlagRunning|rtlink.FlagLowerUp)
		check("operstate, up", *l.Operstate, rtlink.OperUp)
		check("mtu, joined", *l.MTU, uint32(w.ib0.Info().MTU))
		check("carrier", *l.Carrier, uint8(1))
		if l.Stats64.TxPackets != w.ib0.Stats().TxPackets || l.Stats32.TxBytes != w.ib0.Stats().TxBytes {
			t.Errorf("counters %+v", l.Stats64)
		}

		if a := w.add("ib0.8001", 0x8001, nil); a.errno != 0 {
			t.Fatal(a)
		}
		c := w.get("ib0.8001")
		check("child's link", *c.Link, uint32(info.Ifindex))
		check("child's P_Key", *rtlink.DecodeIPoIB(c.Info.Data).PKey, uint16(0x8001))
		check("child's flags", c.Flags, rtlink.FlagBroadcast|rtlink.FlagMulticast)
		check("child's GUID", bytes.Equal(c.Address[12:], l.Address[12:]), true)
		check("child's QPN", bytes.Equal(c.Address[1:4], l.Address[1:4]), false)
	})
}

// TestOperstate walks the table of states (kernel default_operstate).
func TestOperstate(t *testing.T) {
	for _, tc := range []struct {
		host        *uint8
		up, carrier bool
		parent      int
		want        uint8
	}{
		{nil, false, false, 0, rtlink.OperDown},
		{new(rtlink.OperUp), false, true, 0, rtlink.OperDown},
		{nil, true, false, 0, rtlink.OperDown},
		{nil, true, false, 2, rtlink.OperLowerLayerDown},
		{nil, true, true, 0, rtlink.OperUp},
		{new(rtlink.OperUnknown), true, true, 2, rtlink.OperUp},
		{new(rtlink.OperDown), true, true, 0, rtlink.OperUp},
		{new(rtlink.OperDormant), true, true, 0, rtlink.OperDormant},
		{new(rtlink.OperTesting), true, true, 0, rtlink.OperTesting},
	} {
		info := &datapath.Info{Up: tc.up, Carrier: tc.carrier, Parent: tc.parent}
		if got := operstate(tc.host, info); got != tc.want {
			t.Errorf("%+v: %d", tc, got)
		}
	}
}

func TestGetLink(t *testing.T) {
	inWorld(t, func(w *world) {
		strict := w.dial(nl.ConnConfig{StrictCheck: true})
		index := int32(w.ib0.Info().Ifindex)
		w.must(w.ib0.AddAltNames(altNames("hca-port-with-a-long-name", "port1")))
		name := func(s string) func(*nl.Encoder) {
			return func(e *nl.Encoder) { e.String(rtlink.AttrIfname, s) }
		}
		alt := func(s string) func(*nl.Encoder) {
			return func(e *nl.Encoder) { e.String(rtlink.AttrAltIfname, s) }
		}
		for _, tc := range []struct {
			what  string
			flags netlink.HeaderFlags
			h     header
			fill  func(*nl.Encoder)
			n     int
			want  answer
		}{
			{"by index", 0, header{index: index}, nil, 1, answer{}},
			{"by name", 0, header{}, name("ib0"), 1, answer{}},
			{"by alternative name", 0, header{}, alt("hca-port-with-a-long-name"), 1, answer{}},
			{"by alternative name as name", 0, header{}, name("port1"), 1, answer{}},
			{"neither", 0, header{}, nil, 0, answer{errno: syscall.EINVAL}},
			{"unknown index", 0, header{index: 999}, nil, 0, answer{errno: syscall.ENODEV}},
			{"unknown name", 0, header{}, name("nosuch"), 0, answer{errno: syscall.ENODEV}},
			{"another link", 0, header{}, name("lo"), 0, answer{errno: syscall.ENODEV}},
			{"long name", 0, header{}, name(strings.Repeat("n", 16)), 0,
				answer{errno: syscall.ERANGE, text: "Attribute failed policy validation", off: 32}},
			{"namespace by pid", 0, header{index: index}, func(e *nl.Encoder) { e.U32(rtlink.AttrNetNSPID, 1) }, 0,
				answer{errno: syscall.EOPNOTSUPP, text: "specified netns attribute not supported"}},
			{"namespace by id", 0, header{index: index}, func(e *nl.Encoder) { e.U32(rtlink.AttrTargetNetNSID, 1) }, 0,
				answer{errno: syscall.EINVAL}},
			{"dump", netlink.Dump, header{}, nil, 1, answer{}},
			{"dump of an index", netlink.Dump, header{index: index}, nil, 1, answer{}},
			{"dump, unknown attribute", netlink.Dump, header{}, func(e *nl.Encoder) { e.U32(900, 1) }, 1, answer{}},
			{"dump, bad attribute", netlink.Dump, header{}, func(e *nl.Encoder) { e.U8(rtlink.AttrMaster, 1) }, 1, answer{}},

			{"strict, values", 0, header{typ: 1, index: index}, nil, 0,
				answer{errno: syscall.EINVAL, text: "Invalid values in header for get link request"}},
			{"strict, attribute", 0, header{index: index}, func(e *nl.Encoder) { e.U32(rtlink.AttrMTU, 1) }, 0,
				answer{errno: syscall.EINVAL, text: "Unsupported attribute in get link request"}},
			{"strict, unknown attribute", 0, header{index: index}, func(e *nl.Encoder) { e.U32(900, 1) }, 0,
				answer{errno: syscall.EINVAL, text: "Unknown attribute type", off: 32}},
			{"strict, mask", 0, header{index: index}, func(e *nl.Encoder) { e.U32(rtlink.AttrExtMask, 9) }, 1, answer{}},
			{"strict dump of an index", netlink.Dump, header{index: index}, nil, 0,
				answer{errno: syscall.EINVAL, text: "Filter by device index not supported for link dumps"}},
			{"strict dump, values", netlink.Dump, header{change: 1}, nil, 0,
				answer{errno: syscall.EINVAL, text: "Invalid values in header for link dump request"}},
			{"strict dump, attribute", netlink.Dump, header{}, name("ib0"), 0,
				answer{errno: syscall.EINVAL, text: "Unsupported attribute in link dump request"}},
			{"strict dump, namespace", netlink.Dump, header{}, func(e *nl.Encoder) { e.U32(rtlink.AttrTargetNetNSID, 1) }, 0,
				answer{errno: syscall.EINVAL, text: "Invalid target network namespace id"}},
			{"strict dump", netlink.Dump, header{}, func(e *nl.Encoder) { e.U32(rtlink.AttrExtMask, 1) }, 1, answer{}},
		} {
			c := w.conn
			if strings.HasPrefix(tc.what, "strict") {
				c = strict
			}
			got := w.askOn(c, rtlink.GetLink, tc.flags, tc.h, tc.fill)
			if got.String() != tc.want.String() || len(got.links) != tc.n {
				t.Errorf("%s: %v, %d links; want %v, %d", tc.what, got, len(got.links), tc.want, tc.n)
			}
		}
	})
}

// altNames encodes an IFLA_PROP_LIST.
func altNames(names ...string) []byte {
	var e nl.Encoder
	e.Nest(rtlink.AttrPropList, func() {
		for _, n := range names {
			e.String(rtlink.AttrAltIfname, n)
		}
	})
	return e.Bytes()
}

// TestDump lists thousand links, in order, with filters.
func TestDump(t *testing.T) {
	inWorld(t, func(w *world) {
		const n = 200
		for k := range n {
			if a := w.add(fmt.Sprintf("c%d", k), uint16(0x8001+k), nil); a.errno != 0 {
				t.Fatal(a)
			}
		}
		all := w.dump(nil)
		if len(all.links) != n+1 || all.errno != 0 || all.flags != netlink.Multi {
			t.Fatalf("%d links, %v, flags %v", len(all.links), all, all.flags)
		}
		if !slices.IsSortedFunc(all.links, func(a, b *rtlink.Link) int { return int(a.Index - b.Index) }) {
			t.Error("links are not sorted by index")
		}
		kindFilter := func(k string) func(*nl.Encoder) {
			return func(e *nl.Encoder) {
				e.NestNoFlag(rtlink.AttrLinkinfo, func() { e.Put(rtlink.InfoKind, []byte(k)) })
			}
		}
		master := func(m uint32) func(*nl.Encoder) {
			return func(e *nl.Encoder) { e.U32(rtlink.AttrMaster, m) }
		}
		c7 := w.drv.ByName(w.id(), "c7")
		var e nl.Encoder
		e.U32(rtlink.AttrMaster, 77)
		w.must(c7.SetHostLink(e.Bytes()))
		filtered := netlink.Multi | netlink.DumpFiltered
		for _, tc := range []struct {
			what  string
			fill  func(*nl.Encoder)
			n     int
			flags netlink.HeaderFlags
		}{
			{"kind ipoib", kindFilter("ipoib"), n + 1, filtered},
			{"kind ipoib with NUL", kindFilter("ipoib\x00"), n + 1, filtered},
			{"a kind that is not registered", kindFilter("nosuch"), n + 1, netlink.Multi},
			{"master", master(77), 1, filtered},
			{"no master", master(noMaster), n, filtered},
			{"unknown master", master(78), 0, filtered},
			{"master 0", master(0), n + 1, netlink.Multi},
		} {
			a := w.dump(tc.fill)
			if len(a.links) != tc.n || a.flags != tc.flags {
				t.Errorf("%s: %d links, flags %v; want %d, %v", tc.what, len(a.links), a.flags, tc.n, tc.flags)
			}
		}
	})
}

// TestNamespaces: a client sees the links of its own namespace.
func TestNamespaces(t *testing.T) {
	inWorld(t, func(w *world) {
		other := w.net.AddNamespace(t, "h2")
		p := nltest.NewPeer()
		p.SetNetNS(nl.NetNS{Dev: other.ID().Dev, Ino: other.ID().Ino}, "")
		p.SetCaps(nl.CapNetAdmin)
		c := nltest.Dial(t, w.srv, p, nl.ConnConfig{ExtAck: true})
		if a := w.askOn(c, rtlink.GetLink, netlink.Dump, header{}, nil); len(a.links) != 0 || a.errno != 0 {
			t.Errorf("%d links in another namespace, %v", len(a.links), a)
		}
		index := int32(w.ib0.Info().Ifindex)
		for _, typ := range []netlink.HeaderType{rtlink.GetLink, rtlink.NewLink, rtlink.SetLink, rtlink.DelLink} {
			if a := w.askOn(c, typ, 0, header{index: index}, nil); a.errno != syscall.ENODEV {
				t.Errorf("request %d in another namespace: %v", typ, a)
			}
		}
	})
}

func TestParentDevice(t *testing.T) {
	for info, want := range map[string][2]string{
		"0000:3b:00.0": {"pci", "0000:3b:00.0"}, "ipoib:soft0": {"ipoib", "soft0"}, "platform-1": {"", "platform-1"}, "": {},
	} {
		if bus, dev := parentDevice(info); [2]string{bus, dev} != want {
			t.Errorf("%q: %q %q", info, bus, dev)
		}
	}
}

// TestVirtualFunctions: a device with an adapter below it says that there are
// none, to who asks (the driver's transcripts in JSON).
func TestVirtualFunctions(t *testing.T) {
	inWorld(t, func(w *world) {
		if a := w.add("i1", 0x8001, nil); a.errno != 0 {
			t.Fatal(a)
		}
		for _, tc := range []struct {
			name string
			mask uint32
			want bool
		}{{"ib0", rtlink.FilterVF, true}, {"ib0", rtlink.FilterSkipStats, false}, {"i1", rtlink.FilterVF, false}} {
			a := w.ask(rtlink.GetLink, 0, header{}, func(e *nl.Encoder) {
				e.String(rtlink.AttrIfname, tc.name)
				e.U32(rtlink.AttrExtMask, tc.mask)
			})
			if len(a.links) != 1 {
				t.Fatal(a)
			}
			l := a.links[0]
			list := slices.ContainsFunc(l.Other, func(r rtlink.Raw) bool { return r.Type == rtlink.AttrVFInfoList })
			if got := l.NumVF != nil && *l.NumVF == 0; got != tc.want || list != tc.want {
				t.Errorf("%s, mask %d: number %v, list %v", tc.name, tc.mask, got, list)
			}
		}
	})
}
