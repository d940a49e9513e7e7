package rtnlface

import (
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

// TestCreate makes children as the transcripts of the driver do.
func TestCreate(t *testing.T) {
	inWorld(t, func(w *world) {
		addr := w.ib0.Info().Addr
		addr[19] = 0xaa
		for _, tc := range []struct {
			what string
			name string
			data rtlink.IPoIB
			more func(*nl.Encoder)
			h    header
			want func(i *datapath.Info) bool
		}{
			{"no P_Key", "", rtlink.IPoIB{}, nil, header{}, func(i *datapath.Info) bool {
				return i.Name == "ipoib0" && i.PKey == 0xffff && i.Mode == datapath.Datagram && !i.Umcast && !i.Legacy
			}},
			{"P_Key", "i1", rtlink.IPoIB{PKey: new(uint16(0x8001))}, nil, header{}, func(i *datapath.Info) bool { return i.PKey == 0x8001 }},
			{"same P_Key", "i2", rtlink.IPoIB{PKey: new(uint16(0x8001))}, nil, header{}, func(i *datapath.Info) bool { return i.PKey == 0x8001 }},
			{"limited P_Key", "i3", rtlink.IPoIB{PKey: new(uint16(1))}, nil, header{}, func(i *datapath.Info) bool { return i.PKey == 0x8001 }},
			{"default P_Key", "i13", rtlink.IPoIB{PKey: new(uint16(0x7fff))}, nil, header{}, func(i *datapath.Info) bool { return i.PKey == 0xffff }},
			{"umcast", "i6", rtlink.IPoIB{PKey: new(uint16(0x8002)), Mode: new(uint16(0)), Umcast: new(uint16(7))}, nil, header{},
				func(i *datapath.Info) bool { return i.Umcast }},
			{"mtu", "i7", rtlink.IPoIB{}, func(e *nl.Encoder) { e.U32(rtlink.AttrMTU, 1000) }, header{},
				func(i *datapath.Info) bool { return i.MTU == 4092 }},
			{"mtu too large", "i9", rtlink.IPoIB{}, func(e *nl.Encoder) { e.U32(rtlink.AttrMTU, 70000) }, header{},
				func(i *datapath.Info) bool { return i.MTU == 4092 }},
			{"queues and up", "i10", rtlink.IPoIB{}, func(e *nl.Encoder) {
				e.U32(rtlink.AttrNumTxQueues, 1)
				e.U32(rtlink.AttrNumRxQueues, 4096)
				e.U32(rtlink.AttrTxqlen, 50)
				e.Put(rtlink.AttrIfalias, []byte("ten"))
			}, header{flags: rtlink.FlagUp, change: rtlink.FlagUp}, func(i *datapath.Info) bool { return i.Up && i.TxQueueLen == 50 && i.Alias == "ten" }},
			{"address", "i11", rtlink.IPoIB{}, func(e *nl.Encoder) { e.Put(rtlink.AttrAddress, addr[:]) }, header{},
				func(i *datapath.Info) bool {
					return i.Addr[19] == 0xaa && i.AddrSet && i.Addr.QPN() != addr.QPN() && i.PermAddr.IsZero()
				}},
			{"index", "i12", rtlink.IPoIB{}, nil, header{index: 333}, func(i *datapath.Info) bool { return i.Ifindex == 333 }},
			{"no address of its own", "i14", rtlink.IPoIB{}, func(e *nl.Encoder) { rtlink.AppendAFSpec(e, 1) }, header{},
				func(i *datapath.Info) bool { return i.AddrGenMode == 1 }},
		} {
			a := w.ask(rtlink.NewLink, create, tc.h, func(e *nl.Encoder) {
				e.U32(rtlink.AttrLink, uint32(w.ib0.Info().Ifindex))
				if tc.name != "" {
					e.String(rtlink.AttrIfname, tc.name)
				} else {
					tc.name = "ipoib0"
				}
				if tc.more != nil {
					tc.more(e)
				}
				kind(e, tc.data)
			})
			i := w.drv.ByName(w.id(), tc.name)
			if a.errno != 0 || i == nil {
				t.Errorf("%s: %v", tc.what, a)
				continue
			}
			if info := i.Info(); !tc.want(&info) || info.Parent != w.ib0.Info().Ifindex {
				t.Errorf("%s: %+v", tc.what, info)
			}
		}
	})
}

// TestCreateErrors are requests that are refused; nothing is left of them.
func TestCreateErrors(t *testing.T) {
	inWorld(t, func(w *world) {
		if a := w.add("i1", 0x8001, nil); a.errno != 0 {
			t.Fatal(a)
		}
		ib0, i1 := uint32(w.ib0.Info().Ifindex), uint32(w.drv.ByName(w.id(), "i1").Info().Ifindex)
		lo, err := w.ns.LinkByName("lo")
		w.must(err)
		type body = func(*nl.Encoder)
		link := func(index uint32) body { return func(e *nl.Encoder) { e.U32(rtlink.AttrLink, index) } }
		name := func(s string) body { return func(e *nl.Encoder) { e.String(rtlink.AttrIfname, s) } }
		ipoib := func(d rtlink.IPoIB) body { return func(e *nl.Encoder) { kind(e, d) } }
		other := func(k string) body {
			return func(e *nl.Encoder) {
				e.NestNoFlag(rtlink.AttrLinkinfo, func() { e.Put(rtlink.InfoKind, []byte(k)) })
			}
		}
		u32 := func(t uint16, v uint32) body { return func(e *nl.Encoder) { e.U32(t, v) } }
		good := ipoib(rtlink.IPoIB{PKey: new(uint16(0x8002))})
		for _, tc := range []struct {
			what string
			h    header
			body []body
			want answer
		}{
			{"name exists", header{}, []body{link(ib0), name("i1"), good}, answer{errno: syscall.EEXIST}},
			{"name exists, unknown kind", header{}, []body{name("ib0"), other("nosuch")}, answer{errno: syscall.EEXIST}},
			{"name of another link", header{}, []body{link(ib0), name("lo"), good}, answer{errno: syscall.EEXIST}},
			{"no link", header{}, []body{name("e1"), good}, answer{errno: syscall.EINVAL}},
			{"unknown link", header{}, []body{link(999), name("e1"), good}, answer{errno: syscall.ENODEV}},
			{"link of another type", header{}, []body{link(uint32(lo.Index)), name("e1"), good}, answer{errno: syscall.ENODEV}},
			{"link is a child", header{}, []body{link(i1), name("e1"), good}, answer{errno: syscall.EINVAL}},
			{"P_Key 0", header{}, []body{link(ib0), name("e1"), ipoib(rtlink.IPoIB{PKey: new(uint16(0))})}, answer{errno: syscall.EINVAL}},
			{"P_Key 0x8000", header{}, []body{link(ib0), name("e1"), ipoib(rtlink.IPoIB{PKey: new(uint16(0x8000))})}, answer{errno: syscall.EINVAL}},
			{"mode 2", header{}, []body{link(ib0), name("e1"), ipoib(rtlink.IPoIB{Mode: new(uint16(2))})}, answer{errno: syscall.EINVAL}},
			{"mode 65535", header{}, []body{link(ib0), name("e1"), ipoib(rtlink.IPoIB{Mode: new(uint16(65535))})}, answer{errno: syscall.EINVAL}},
			{"P_Key of one byte", header{}, []body{link(ib0), name("e1"), func(e *nl.Encoder) {
				e.NestNoFlag(rtlink.AttrLinkinfo, func() {
					e.Put(rtlink.InfoKind, []byte("ipoib"))
					e.NestNoFlag(rtlink.InfoData, func() { e.U8(rtlink.IPoIBPKey, 1) })
				})
			}}, answer{errno: syscall.ERANGE, text: "Attribute failed policy validation", off: 68}},
			{"kind unknown", header{}, []body{link(ib0), name("e1"), other("nosuch")}, answer{errno: syscall.EOPNOTSUPP, text: "Unknown device type"}},
			{"no kind", header{}, []body{link(ib0), name("e1")}, answer{errno: syscall.EOPNOTSUPP, text: "Unknown device type"}},
			{"vlan", header{}, []body{link(ib0), name("e1"), other("vlan")}, answer{errno: syscall.EOPNOTSUPP, text: "8021q: VLANs not supported on device"}},
			{"macvlan", header{}, []body{link(ib0), name("e1"), other("macvlan")}, answer{errno: syscall.EINVAL}},
			{"vlan on another link", header{}, []body{link(999), name("e1"), other("vlan")}, answer{errno: syscall.EOPNOTSUPP, text: "Unknown device type"}},
			{"address too short", header{}, []body{link(ib0), name("e1"), func(e *nl.Encoder) { e.Put(rtlink.AttrAddress, make([]byte, 6)) }, good}, answer{errno: syscall.EINVAL}},
			{"broadcast", header{}, []body{link(ib0), name("e1"), func(e *nl.Encoder) { e.Put(rtlink.AttrBroadcast, make([]byte, 20)) }, good},
				answer{errno: syscall.EOPNOTSUPP, text: "broadcast address cannot be set", off: 48}},
			{"no queues", header{}, []body{link(ib0), name("e1"), u32(rtlink.AttrNumTxQueues, 0), good}, answer{errno: syscall.EINVAL, text: "Invalid number of transmit queues"}},
			{"many queues", header{}, []body{link(ib0), name("e1"), u32(rtlink.AttrNumRxQueues, 4097), good}, answer{errno: syscall.EINVAL, text: "Invalid number of receive queues"}},
			{"negative mtu", header{}, []body{link(ib0), name("e1"), u32(rtlink.AttrMTU, 1<<32-1), good}, answer{errno: syscall.EINVAL, text: "mtu less than device minimum"}},
			{"negative index", header{index: -1}, []body{link(ib0), name("e1"), good}, answer{errno: syscall.EINVAL, text: "ifindex can't be negative"}},
			{"index in use", header{index: int32(ib0)}, []body{link(ib0), name("e1"), good}, answer{errno: syscall.EEXIST}},
			{"link in another namespace", header{}, []body{link(ib0), name("e1"), u32(rtlink.AttrLinkNetNSID, 3), good}, answer{errno: syscall.EINVAL, text: "Unknown network namespace id"}},
			{"two namespaces", header{}, []body{link(ib0), name("e1"), u32(rtlink.AttrNetNSPID, 3), u32(rtlink.AttrNetNSFD, 3), good},
				answer{errno: syscall.EINVAL, text: "multiple netns identifying attributes specified"}},
			{"no such process", header{}, []body{link(ib0), name("e1"), u32(rtlink.AttrNetNSPID, 1<<30), good}, answer{errno: syscall.ESRCH}},
			{"no such descriptor", header{}, []body{link(ib0), name("e1"), u32(rtlink.AttrNetNSFD, 1<<20), good}, answer{errno: syscall.EBADF}},
			{"namespace by id", header{}, []body{link(ib0), name("e1"), u32(rtlink.AttrTargetNetNSID, 1), good}, answer{errno: syscall.EINVAL}},
			{"empty name", header{}, []body{link(ib0), name(""), good}, answer{errno: syscall.EINVAL}},
			{"long name", header{}, []body{link(ib0), name(strings.Repeat("n", 16)), good},
				answer{errno: syscall.ERANGE, text: "Attribute failed policy validation", off: 40}},
			{"map", header{}, []body{link(ib0), name("e1"), func(e *nl.Encoder) { e.Put(rtlink.AttrMap, make([]byte, 32)) }, good}, answer{errno: syscall.EOPNOTSUPP}},
			{"permanent address", header{}, []body{link(ib0), func(e *nl.Encoder) { e.Put(rtlink.AttrPermAddress, make([]byte, 20)) }, good},
				answer{errno: syscall.EINVAL, text: "Attribute failed policy validation", off: 40}},
		} {
			before := len(w.drv.Interfaces(w.id()))
			got := w.ask(rtlink.NewLink, create, tc.h, func(e *nl.Encoder) {
				for _, b := range tc.body {
					b(e)
				}
			})
			if got.String() != tc.want.String() {
				t.Errorf("%s: %v, want %v", tc.what, got, tc.want)
			}
			if after := len(w.drv.Interfaces(w.id())); after != before {
				t.Errorf("%s: %d interfaces were left", tc.what, after-before)
			}
		}
		// Nothing that is there, and nothing that is asked for: the probe of ip.
		if a := w.ask(rtlink.NewLink, 0, header{}, nil); a.errno != syscall.ENODEV || a.text != "" {
			t.Errorf("empty request: %v", a)
		}
	})
}

// TestChange changes attributes of an existing link.
func TestChange(t *testing.T) {
	inWorld(t, func(w *world) {
		if a := w.add("i1", 0x8001, nil); a.errno != 0 {
			t.Fatal(a)
		}
		i1 := w.drv.ByName(w.id(), "i1")
		addr := i1.Info().Addr
		addr[19]++
		h := header{index: int32(i1.Info().Ifindex)}
		flags := func(on, mask uint32) header {
			return header{index: h.index, flags: on, change: mask}
		}
		for _, tc := range []struct {
			what string
			h    header
			fill func(*nl.Encoder)
			want func(i *datapath.Info, l *rtlink.Link) bool
		}{
			{"mtu", h, func(e *nl.Encoder) { e.U32(rtlink.AttrMTU, 1500) },
				func(i *datapath.Info, l *rtlink.Link) bool { return i.MTU == 1500 && *l.MTU == 1500 }},
			{"name", h, func(e *nl.Encoder) { e.String(rtlink.AttrIfname, "renamed") },
				func(i *datapath.Info, l *rtlink.Link) bool { return i.Name == "renamed" && l.Name == "renamed" }},
			{"name back, alias, queue", h, func(e *nl.Encoder) {
				e.String(rtlink.AttrIfname, "i1")
				e.Put(rtlink.AttrIfalias, []byte("the first"))
				e.U32(rtlink.AttrTxqlen, 77)
			}, func(i *datapath.Info, l *rtlink.Link) bool {
				return i.Name == "i1" && i.Alias == "the first" && l.Alias == "the first" && *l.TxQueueLen == 77
			}},
			{"no alias", h, func(e *nl.Encoder) { e.Put(rtlink.AttrIfalias, nil) },
				func(i *datapath.Info, l *rtlink.Link) bool { return i.Alias == "" && l.Alias == "" }},
			{"address", h, func(e *nl.Encoder) { e.Put(rtlink.AttrAddress, addr[:]) },
				func(i *datapath.Info, l *rtlink.Link) bool { return i.Addr == addr && l.Address[19] == addr[19] }},
			{"umcast", h, func(e *nl.Encoder) { kind(e, rtlink.IPoIB{Umcast: new(uint16(1))}) },
				func(i *datapath.Info, _ *rtlink.Link) bool { return i.Umcast }},
			{"connected", h, func(e *nl.Encoder) { kind(e, rtlink.IPoIB{Mode: new(uint16(1))}) },
				func(i *datapath.Info, l *rtlink.Link) bool {
					return i.Mode == datapath.Connected && i.MTU == 65520 && *l.MTU == 65520
				}},
			{"mtu in connected mode", h, func(e *nl.Encoder) { e.U32(rtlink.AttrMTU, 9000) },
				func(i *datapath.Info, l *rtlink.Link) bool { return i.MTU == 9000 && *l.MTU == 9000 }},
			{"datagram and mtu", h, func(e *nl.Encoder) {
				e.U32(rtlink.AttrMTU, 1500)
				kind(e, rtlink.IPoIB{Mode: new(uint16(0))})
			}, func(i *datapath.Info, l *rtlink.Link) bool {
				return i.Mode == datapath.Datagram && i.MTU == 1500
			}},
			{"connected and mtu", h, func(e *nl.Encoder) {
				e.U32(rtlink.AttrMTU, 30000)
				kind(e, rtlink.IPoIB{Mode: new(uint16(1))})
			}, func(i *datapath.Info, _ *rtlink.Link) bool { return i.Mode == datapath.Connected && i.MTU == 30000 }},
			{"datagram", h, func(e *nl.Encoder) { kind(e, rtlink.IPoIB{Mode: new(uint16(0))}) },
				func(i *datapath.Info, _ *rtlink.Link) bool {
					return i.Mode == datapath.Datagram && i.MTU == i.GroupMTU
				}},
			{"P_Key is ignored", h, func(e *nl.Encoder) { kind(e, rtlink.IPoIB{PKey: new(uint16(0x8002))}) },
				func(i *datapath.Info, _ *rtlink.Link) bool { return i.PKey == 0x8001 && i.Umcast }},
			{"group and mode", h, func(e *nl.Encoder) { e.U32(rtlink.AttrGroup, 7); e.U8(rtlink.AttrLinkmode, 1) },
				func(_ *datapath.Info, l *rtlink.Link) bool { return *l.Group == 7 && *l.Linkmode == 1 }},
			{"address generation", h, func(e *nl.Encoder) { rtlink.AppendAFSpec(e, 1) },
				func(i *datapath.Info, l *rtlink.Link) bool { return *l.AddrGenMode == 1 }},
			{"promiscuous", flags(rtlink.FlagPromisc, rtlink.FlagPromisc), nil,
				func(_ *datapath.Info, l *rtlink.Link) bool { return l.Flags&rtlink.FlagPromisc != 0 }},
			{"no ARP", flags(rtlink.FlagNoARP, rtlink.FlagNoARP), nil,
				func(i *datapath.Info, l *rtlink.Link) bool { return i.NoARP && l.Flags&rtlink.FlagNoARP != 0 }},
			{"up", flags(rtlink.FlagUp, rtlink.FlagUp), nil,
				func(i *datapath.Info, l *rtlink.Link) bool { return i.Up && l.Flags&rtlink.FlagUp != 0 }},
			{"down with mtu", flags(0, rtlink.FlagUp), func(e *nl.Encoder) { e.U32(rtlink.AttrMTU, 1280) },
				func(i *datapath.Info, _ *rtlink.Link) bool { return !i.Up && i.MTU == 1280 }},
			{"flags without a mask are all", flags(rtlink.FlagUp|rtlink.FlagMulticast, 0), nil,
				func(i *datapath.Info, l *rtlink.Link) bool {
					return i.Up && !i.NoARP && l.Flags&rtlink.FlagPromisc == 0
				}},
			{"nothing", h, nil, func(i *datapath.Info, _ *rtlink.Link) bool { return i.Up }},
		} {
			for _, typ := range []netlink.HeaderType{rtlink.NewLink, rtlink.SetLink} {
				if typ == rtlink.SetLink && tc.what != "mtu" && tc.what != "nothing" {
					continue
				}
				if a := w.ask(typ, 0, tc.h, tc.fill); a.errno != 0 {
					t.Errorf("%s: %v", tc.what, a)
				}
			}
			info := i1.Info()
			if l := w.get(info.Name); !tc.want(&info, l) {
				t.Errorf("%s: %+v", tc.what, info)
			}
		}
		// By name, and by alternative name.
		if a := w.ask(rtlink.NewLinkProp, netlink.Create|netlink.Excl|netlink.Append, h, func(e *nl.Encoder) { e.Raw(altNames("first-child-of-ib0")) }); a.errno != 0 {
			t.Error(a)
		}
		for _, by := range []func(*nl.Encoder){
			func(e *nl.Encoder) { e.String(rtlink.AttrIfname, "i1") },
			func(e *nl.Encoder) { e.String(rtlink.AttrAltIfname, "first-child-of-ib0") },
		} {
			if a := w.ask(rtlink.NewLink, 0, flags(0, rtlink.FlagUp), by); a.errno == 0 {
				_ = w.ask(rtlink.NewLink, 0, header{flags: rtlink.FlagUp, change: rtlink.FlagUp}, by)
			} else {
				t.Error(a)
			}
		}
		if a := w.ask(rtlink.DelLinkProp, 0, h, func(e *nl.Encoder) { e.Raw(altNames("first-child-of-ib0")) }); a.errno != 0 || w.get("i1").AltNames != nil {
			t.Error(a)
		}
	})
}

// TestChangeErrors are refused, and nothing changes, also not what would have
// been possible.
func TestChangeErrors(t *testing.T) {
	inWorld(t, func(w *world) {
		h := header{index: int32(w.ib0.Info().Ifindex)}
		w.must(w.ib0.SetUp(true))
		w.settle()
		addr := w.ib0.Info().Addr
		addr[19]++
		type body = func(*nl.Encoder)
		u32 := func(t uint16, v uint32) body { return func(e *nl.Encoder) { e.U32(t, v) } }
		u8 := func(t uint16, v uint8) body { return func(e *nl.Encoder) { e.U8(t, v) } }
		not := answer{errno: syscall.EOPNOTSUPP}
		at := func(a answer, off uint32) answer { a.off = off; return a }
		inval := answer{errno: syscall.EINVAL}
		for _, tc := range []struct {
			what  string
			flags netlink.HeaderFlags
			h     header
			fill  body
			want  answer
		}{
			{"mtu too large", 0, h, u32(rtlink.AttrMTU, 65521), answer{errno: syscall.EINVAL, text: "mtu greater than device maximum"}},
			{"negative mtu", 0, h, u32(rtlink.AttrMTU, 1<<32-1), answer{errno: syscall.EINVAL, text: "mtu less than device minimum"}},
			{"mtu of connected mode", 0, h, u32(rtlink.AttrMTU, 65520), inval},
			{"mtu too small", 0, h, u32(rtlink.AttrMTU, 71), inval},
			{"mtu short", 0, h, u8(rtlink.AttrMTU, 1), answer{errno: syscall.ERANGE, text: "Attribute failed policy validation", off: 32}},
			{"address while up", 0, h, func(e *nl.Encoder) { e.Put(rtlink.AttrAddress, addr[:]) }, answer{errno: syscall.EBUSY}},
			{"address too short", 0, h, func(e *nl.Encoder) { e.Put(rtlink.AttrAddress, addr[:6]) }, inval},
			{"address too long", 0, h, func(e *nl.Encoder) { e.Put(rtlink.AttrAddress, make([]byte, 33)) },
				answer{errno: syscall.ERANGE, text: "Attribute failed policy validation", off: 32}},
			{"name taken", 0, h, func(e *nl.Encoder) { e.String(rtlink.AttrIfname, "lo") }, answer{errno: syscall.EEXIST}},
			{"name with a slash", 0, h, func(e *nl.Encoder) { e.String(rtlink.AttrIfname, "a/b") }, inval},
			{"long alias", 0, h, func(e *nl.Encoder) { e.Put(rtlink.AttrIfalias, make([]byte, 256)) },
				answer{errno: syscall.ERANGE, text: "Attribute failed policy validation", off: 32}},
			{"exclusive", netlink.Create | netlink.Excl, h, nil, answer{errno: syscall.EEXIST}},
			{"replace", netlink.Create | netlink.Replace, h, func(e *nl.Encoder) { kind(e, rtlink.IPoIB{Umcast: new(uint16(1))}) }, not},
			{"data of another kind", 0, h, func(e *nl.Encoder) {
				e.NestNoFlag(rtlink.AttrLinkinfo, func() {
					e.Put(rtlink.InfoKind, []byte("vlan"))
					e.NestNoFlag(rtlink.InfoData, func() {})
				})
			}, not},
			{"mode 2", 0, h, func(e *nl.Encoder) { kind(e, rtlink.IPoIB{Mode: new(uint16(2)), Umcast: new(uint16(1))}) }, inval},
			{"good and bad", 0, header{index: h.index, change: rtlink.FlagUp}, func(e *nl.Encoder) {
				e.U32(rtlink.AttrMTU, 1280)
				e.Put(rtlink.AttrIfalias, []byte("x"))
				e.String(rtlink.AttrIfname, "lo")
				kind(e, rtlink.IPoIB{Umcast: new(uint16(1))})
			}, answer{errno: syscall.EEXIST}},
			{"carrier", 0, h, u8(rtlink.AttrCarrier, 1), at(not, 32)},
			{"proto down", 0, h, u8(rtlink.AttrProtoDown, 1), answer{errno: syscall.EOPNOTSUPP, text: "Protodown not supported by device", off: 32}},
			{"virtual functions", 0, h, func(e *nl.Encoder) { e.NestNoFlag(rtlink.AttrVFInfoList, func() {}) }, at(not, 32)},
			{"XDP", 0, h, func(e *nl.Encoder) { e.Nest(rtlink.AttrXDP, func() {}) }, at(not, 32)},
			{"queue length", 0, h, u32(rtlink.AttrTxqlen, 1<<31), answer{errno: syscall.ERANGE}},
			{"new index", 0, h, u32(rtlink.AttrNewIfindex, 9), at(not, 32)},
			{"new index 0", 0, h, u32(rtlink.AttrNewIfindex, 0), answer{errno: syscall.ERANGE, text: "integer out of range", off: 32}},
			{"family", 0, h, func(e *nl.Encoder) { e.NestNoFlag(rtlink.AttrAFSpec, func() { e.NestNoFlag(44, func() {}) }) }, answer{errno: syscall.EAFNOSUPPORT}},
			{"address generation 9", 0, h, func(e *nl.Encoder) { rtlink.AppendAFSpec(e, 9) }, inval},
			{"unknown", 0, header{index: 999}, nil, answer{errno: syscall.ENODEV}},
			{"namespace of nobody", 0, h, u32(rtlink.AttrNetNSPID, 1<<30), answer{errno: syscall.ESRCH}},
		} {
			before := w.ib0.Info()
			if got := w.ask(rtlink.NewLink, tc.flags, tc.h, tc.fill); got.String() != tc.want.String() {
				t.Errorf("%s: %v, want %v", tc.what, got, tc.want)
			}
			if d := cmp.Diff(before, w.ib0.Info()); d != "" {
				t.Errorf("%s changed (-before +after):\n%s", tc.what, d)
			}
		}
		for what, h := range map[string]struct {
			h    header
			want syscall.Errno
		}{"neither": {header{}, syscall.EINVAL}, "unknown": {header{index: 999}, syscall.ENODEV}} {
			if a := w.ask(rtlink.SetLink, 0, h.h, nil); a.errno != h.want {
				t.Errorf("SETLINK %s: %v", what, a)
			}
		}
	})
}

func TestDelete(t *testing.T) {
	inWorld(t, func(w *world) {
		for _, n := range []string{"i1", "i2", "i3", "i4"} {
			if a := w.add(n, 0x8001, nil); a.errno != 0 {
				t.Fatal(a)
			}
		}
		group := func(g uint32) func(*nl.Encoder) {
			return func(e *nl.Encoder) { e.U32(rtlink.AttrGroup, g) }
		}
		index := func(n string) header { return header{index: int32(w.drv.ByName(w.id(), n).Info().Ifindex)} }
		for _, n := range []string{"i3", "i4"} {
			if a := w.ask(rtlink.NewLink, 0, index(n), group(9)); a.errno != 0 {
				t.Fatal(a)
			}
		}
		// All of a group at once.
		if a := w.ask(rtlink.NewLink, 0, header{flags: 1, change: 1}, group(9)); a.errno != 0 || !w.drv.ByName(w.id(), "i4").Info().Up {
			t.Errorf("group up: %v", a)
		}
		for _, tc := range []struct {
			what string
			h    header
			fill func(*nl.Encoder)
			want syscall.Errno
			left int
		}{
			{"by index", index("i1"), nil, 0, 4},
			{"again", header{index: 999}, nil, syscall.ENODEV, 4},
			{"by name with kind", header{}, func(e *nl.Encoder) {
				e.String(rtlink.AttrIfname, "i2")
				kind(e, rtlink.IPoIB{})
			}, 0, 3},
			{"a parent", index("ib0"), nil, 0, 3},
			{"neither", header{}, nil, syscall.EINVAL, 3},
			{"unknown name", header{}, func(e *nl.Encoder) { e.String(rtlink.AttrIfname, "i2") }, syscall.ENODEV, 3},
			{"default group", header{}, group(0), syscall.EPERM, 3},
			{"empty group", header{}, group(8), syscall.ENODEV, 3},
			{"namespace", index("ib0"), func(e *nl.Encoder) { e.U32(rtlink.AttrNetNSFD, 1) }, syscall.EOPNOTSUPP, 3},
			{"group", header{}, group(9), 0, 1},
		} {
			if a := w.ask(rtlink.DelLink, 0, tc.h, tc.fill); a.errno != tc.want {
				t.Errorf("%s: %v", tc.what, a)
			}
			if n := len(w.drv.Interfaces(w.id())); n != tc.left {
				t.Errorf("%s: %d interfaces left, want %d", tc.what, n, tc.left)
			}
		}
	})
}

// TestPermission: changes need CAP_NET_ADMIN, and are refused before anything
// is looked at. Reads are for everyone.
func TestPermission(t *testing.T) {
	inWorld(t, func(w *world) {
		p := nltest.NewPeer()
		p.SetNetNS(nl.NetNS{Dev: w.id().Dev, Ino: w.id().Ino}, "")
		c := nltest.Dial(t, w.srv, p, nl.ConnConfig{ExtAck: true})
		before := w.ib0.Info()
		for _, typ := range []netlink.HeaderType{rtlink.NewLink, rtlink.SetLink, rtlink.DelLink, rtlink.NewLinkProp, rtlink.DelLinkProp} {
			for _, h := range []header{{index: int32(before.Ifindex), flags: 1, change: 1}, {index: 999}, {}} {
				if a := w.askOn(c, typ, 0, h, nil); a.errno != syscall.EPERM || a.text != "" {
					t.Errorf("request %d: %v", typ, a)
				}
			}
		}
		if w.ib0.Info() != before {
			t.Error("something changed")
		}
		if a := w.askOn(c, rtlink.GetLink, netlink.Dump, header{}, nil); len(a.links) != 1 {
			t.Errorf("dump: %v", a)
		}
		// Rights in a container do not reach into another namespace.
		p.SetCaps(nl.CapNetAdmin)
		p.SetContainer(true)
		if a := w.askOn(c, rtlink.NewLink, 0, header{index: int32(before.Ifindex)}, func(e *nl.Encoder) { e.U32(rtlink.AttrNetNSPID, 1) }); a.errno == 0 {
			t.Errorf("move from a container: %v", a)
		}
	})
}
