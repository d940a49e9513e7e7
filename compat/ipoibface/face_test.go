package ipoibface

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"

	"ipoib/datapath"
	"ipoib/nl"
	"ipoib/nl/ipoibnl"
	"ipoib/nl/nltest"
)

var ip = netip.MustParseAddr("10.0.0.9")

// peerAddr is a link-layer address of a peer that the fabric does not have.
var peerAddr = []byte{0x80, 0, 0, 0x50, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 2, 0xc9, 3, 0, 1, 2, 3}

// The tables of an interface.
func TestTables(t *testing.T) {
	inWorld(t, func(w *world) {
		w.up()
		w.must(w.c.Do(ipoibnl.CmdNeighSet, ipoibnl.Neigh{Ifname: "ib0", IP: ip, Addr: peerAddr}))
		index := uint32(w.ib0.Info().Ifindex)
		for _, f := range []ipoibnl.Filter{{}, {Ifname: "ib0"}, {Ifindex: index}, {Ifindex: index, Ifname: "is not looked at"}} {
			neighs := dump[ipoibnl.Neigh](w, ipoibnl.CmdNeighGet, f)
			if len(neighs) != 1 || neighs[0].IP != ip || !bytes.Equal(neighs[0].Addr, peerAddr) || neighs[0].State != "PERMANENT" ||
				neighs[0].Ifindex != index || neighs[0].Ifname != "ib0" {
				t.Errorf("%+v: %+v", f, neighs)
			}
		}
		groups := dump[ipoibnl.Group](w, ipoibnl.CmdGroupGet, ipoibnl.Filter{})
		if !slices.ContainsFunc(groups, func(g ipoibnl.Group) bool {
			return g.Broadcast && g.Complete && g.QKey == 0xb1b && g.MTU == 2048 && g.MLID >= 0xc000 && !g.SendOnly
		}) {
			t.Errorf("groups %+v", groups)
		}
		stats := dump[ipoibnl.Stats](w, ipoibnl.CmdStatsGet, ipoibnl.Filter{})
		if len(stats) != 1 || stats[0].Ifname != "ib0" || len(stats[0].Drops) != len(datapath.Drops()) ||
			len(stats[0].Counters) != 9+len(datapath.Works()) || stats[0].Counters[1] != (ipoibnl.Counter{Name: "tx_packets", Value: w.ib0.Stats().TxPackets}) {
			t.Errorf("stats %+v", stats)
		}
		if paths := dump[ipoibnl.Path](w, ipoibnl.CmdPathGet, ipoibnl.Filter{}); len(paths) != 1 || paths[0].GID != [16]byte(peerAddr[4:]) || paths[0].Complete || paths[0].Ifname != "ib0" {
			t.Errorf("paths %+v", paths)
		}
		if conns := dump[ipoibnl.Conn](w, ipoibnl.CmdConnGet, ipoibnl.Filter{}); len(conns) != 0 {
			t.Errorf("connections %+v", conns)
		}
		w.must(w.c.Do(ipoibnl.CmdNeighDel, ipoibnl.Neigh{Ifindex: index, IP: ip}))
		if neighs := dump[ipoibnl.Neigh](w, ipoibnl.CmdNeighGet, ipoibnl.Filter{}); len(neighs) != 0 {
			t.Errorf("after removal %+v", neighs)
		}
		// In another namespace there is nothing.
		other := nltest.NewPeer()
		other.SetCaps(nl.CapNetAdmin)
		c := w.client(other)
		if list, err := ipoibnl.Dump[ipoibnl.Group](c, ipoibnl.CmdGroupGet, ipoibnl.Filter{}); err != nil || len(list) != 0 {
			t.Errorf("%+v, %v", list, err)
		}
		if _, err := ipoibnl.Dump[ipoibnl.Group](c, ipoibnl.CmdGroupGet, ipoibnl.Filter{Ifname: "ib0"}); errno(err) != syscall.ENODEV {
			t.Errorf("%v", err)
		}
	})
}

// The fabric as its subnet manager sees it.
func TestFabric(t *testing.T) {
	inWorld(t, func(w *world) {
		w.up()
		nodes := dump[ipoibnl.Node](w, ipoibnl.CmdNodeGet, ipoibnl.Filter{})
		if len(nodes) != 2 {
			t.Fatalf("%+v", nodes)
		}
		at := slices.IndexFunc(nodes, func(n ipoibnl.Node) bool { return n.Type == 1 })
		hca := nodes[at]
		p := hca.Ports[len(hca.Ports)-1]
		if hca.Desc != "host one" || hca.GUID != 0x0002c90300a0b0c0 || p.Num != 1 || p.LID == 0 || p.State != 4 ||
			p.PeerNode != "switch one" || p.PeerPort != 1 || p.RateMbps != 103125 || !bytes.Equal(p.PKeys, []byte{0xff, 0xff}) {
			t.Errorf("%+v", hca)
		}
		parts := dump[ipoibnl.Partition](w, ipoibnl.CmdPartitionGet, ipoibnl.Filter{})
		if len(parts) != 1 || parts[0].PKey != 0xffff || !parts[0].IPoIB || len(parts[0].Members) == 0 {
			t.Errorf("%+v", parts)
		}
		groups := dump[ipoibnl.FabricGroup](w, ipoibnl.CmdFabricGroupGet, ipoibnl.Filter{})
		if len(groups) == 0 || groups[0].MLID != 0xc000 || groups[0].QKey != 0xb1b || len(groups[0].Members) != 1 ||
			groups[0].Members[0].Node != "host one" || !slices.IsSortedFunc(groups, func(a, b ipoibnl.FabricGroup) int { return int(a.MLID) - int(b.MLID) }) {
			t.Errorf("%+v", groups)
		}
		var mgr ipoibnl.Manager
		w.must(w.c.Get(ipoibnl.CmdManagerGet, nil, &mgr))
		if !mgr.Ready || mgr.Paused || mgr.LID != 1 || mgr.Sweeps == 0 || mgr.Prefix != 0xfe80000000000000 {
			t.Errorf("%+v", mgr)
		}
		w.must(w.c.Do(ipoibnl.CmdFault, ipoibnl.Fault{What: "sm", Action: "pause"}))
		w.must(w.c.Get(ipoibnl.CmdManagerGet, nil, &mgr))
		if !mgr.Paused {
			t.Error("not paused")
		}
		for _, action := range []string{"resume", "sweep", "restart", "reload"} {
			w.must(w.c.Do(ipoibnl.CmdFault, ipoibnl.Fault{What: "sm", Action: action}))
		}
		if list := dump[ipoibnl.HCA](w, ipoibnl.CmdHCAGet, ipoibnl.Filter{}); len(list) != 1 || list[0].Name != "soft0" || !slices.Equal(list[0].Ifnames, []string{"ib0"}) {
			t.Errorf("%+v", list)
		}
		var info ipoibnl.Service
		w.must(w.c.Get(ipoibnl.CmdServiceGet, nil, &info))
		if info.Version != "1.2" || info.PID != 7 || info.RunDir != "/run/x" {
			t.Errorf("%+v", info)
		}
	})
}

// A link of the fabric goes down, up, and loses packets.
func TestLinkFaults(t *testing.T) {
	inWorld(t, func(w *world) {
		link := w.fab.LinkAt(w.hca.At(1))
		w.must(w.c.Do(ipoibnl.CmdFault, ipoibnl.Fault{What: "link", Ifname: "ib0", Action: "down"}))
		if link.IsUp() {
			t.Error("up")
		}
		w.must(w.c.Do(ipoibnl.CmdFault, ipoibnl.Fault{What: "link", Port: "soft0/1", Action: "up"}))
		if !link.IsUp() {
			t.Error("down")
		}
		w.up()
		lost := func(f ipoibnl.Fault) bool {
			f.What, f.Port, f.Action = "link", "soft0/1", "set"
			w.must(w.c.Do(ipoibnl.CmdFault, f))
			w.must(w.ib0.SetUp(false))
			time.Sleep(time.Minute)
			w.up()
			return !w.ib0.Info().Carrier
		}
		if lost(ipoibnl.Fault{DelayUS: 7, DuplicatePPM: 1000}) || !lost(ipoibnl.Fault{LossPPM: 1_000_000}) ||
			!lost(ipoibnl.Fault{CorruptPPM: 1_000_000}) || lost(ipoibnl.Fault{}) {
			t.Error("the link is as good as before")
		}
	})
}

// Requests that make no sense, and what they end with. Nothing changes.
func TestBadRequests(t *testing.T) {
	inWorld(t, func(w *world) {
		for _, tt := range []struct {
			cmd  uint8
			req  any
			want syscall.Errno
			text string
		}{
			{ipoibnl.CmdNeighSet, ipoibnl.Neigh{IP: ip, Addr: peerAddr}, syscall.EINVAL, "no interface named"},
			{ipoibnl.CmdNeighSet, ipoibnl.Neigh{Ifname: "ib9", IP: ip, Addr: peerAddr}, syscall.ENODEV, ""},
			{ipoibnl.CmdNeighSet, ipoibnl.Neigh{Ifindex: 99, IP: ip, Addr: peerAddr}, syscall.ENODEV, ""},
			{ipoibnl.CmdNeighSet, ipoibnl.Neigh{Ifindex: 1 << 31, IP: ip, Addr: peerAddr}, syscall.ENODEV, ""},
			{ipoibnl.CmdNeighSet, ipoibnl.Neigh{Ifname: "ib0", IP: ip}, syscall.EINVAL, "a link-layer address has 20 octets"},
			{ipoibnl.CmdNeighSet, ipoibnl.Neigh{Ifname: "ib0", IP: ip, Addr: peerAddr[:19]}, syscall.EINVAL, "a link-layer address has 20 octets"},
			{ipoibnl.CmdNeighSet, ipoibnl.Neigh{Ifname: "ib0", IP: ip, Addr: append(slices.Clip(peerAddr), 1)}, syscall.EINVAL, "a link-layer address has 20 octets"},
			{ipoibnl.CmdNeighSet, ipoibnl.Neigh{Ifname: "ib0", Addr: peerAddr}, syscall.EINVAL, ""},
			{ipoibnl.CmdNeighDel, ipoibnl.Neigh{Ifname: "ib0", IP: ip}, syscall.ENOENT, ""},
			{ipoibnl.CmdNeighDel, ipoibnl.Neigh{}, syscall.EINVAL, "no interface named"},
			{ipoibnl.CmdHCAAdd, ipoibnl.HCA{Name: "taken"}, syscall.EEXIST, "there is one"},
			{ipoibnl.CmdHCADel, ipoibnl.HCA{Name: "soft7"}, syscall.ENODEV, ""},
			{ipoibnl.CmdCapture, ipoibnl.Capture{Port: "soft7/1"}, syscall.ENODEV, "no port soft7/1 in the fabric"},
			{ipoibnl.CmdCapture, ipoibnl.Capture{Ifname: "ib9"}, syscall.ENODEV, ""},
			{ipoibnl.CmdCapture, ipoibnl.Capture{}, syscall.EINVAL, "no interface named"},
			{ipoibnl.CmdFault, ipoibnl.Fault{}, syscall.EINVAL, `"" is neither link nor sm`},
			{ipoibnl.CmdFault, ipoibnl.Fault{What: "pkey"}, syscall.EINVAL, `"pkey" is neither link nor sm`},
			{ipoibnl.CmdFault, ipoibnl.Fault{What: "sm", Action: "stop"}, syscall.EINVAL, `"stop" is not pause, resume, restart, sweep, reload or lid`},
			{ipoibnl.CmdFault, ipoibnl.Fault{What: "sm", Action: "lid", LID: 7}, syscall.EINVAL, "no interface named"},
			{ipoibnl.CmdFault, ipoibnl.Fault{What: "sm", Action: "lid", Ifname: "ib0"}, syscall.EINVAL, "0x0000 is no unicast LID"},
			{ipoibnl.CmdFault, ipoibnl.Fault{What: "sm", Action: "lid", Port: "soft0/1", LID: 0xc000}, syscall.EINVAL, "0xc000 is no unicast LID"},
			{ipoibnl.CmdFault, ipoibnl.Fault{What: "link", Port: "soft0/1", Action: "cut"}, syscall.EINVAL, `"cut" is not up, down or set`},
			{ipoibnl.CmdFault, ipoibnl.Fault{What: "link", Port: "soft0/2", Action: "up"}, syscall.ENODEV, "no port soft0/2 in the fabric"},
			{ipoibnl.CmdFault, ipoibnl.Fault{What: "link", Port: "soft0/1", Action: "set", ReorderPPM: 1_000_001}, syscall.EINVAL, "a probability above 100 %"},
			{ipoibnl.CmdParamSet, ipoibnl.Param{Name: "lro", Value: "1"}, syscall.ENOENT, `no parameter "lro"`},
			{ipoibnl.CmdParamSet, ipoibnl.Param{Name: "send_queue_size", Value: "256"}, syscall.EACCES, "send_queue_size is fixed at start (ipoib serve --param send_queue_size=N)"},
			{ipoibnl.CmdParamSet, ipoibnl.Param{Name: "debug_level", Value: "much"}, syscall.EINVAL, `"much" is not a number of 32 bits`},
			{ipoibnl.CmdParamSet, ipoibnl.Param{Name: "debug_level", Value: "4294967296"}, syscall.ERANGE, `"4294967296" is not a number of 32 bits`},
			{ipoibnl.CmdEthtool, ipoibnl.EthtoolRequest{Cmd: ipoibnl.EthtoolGDrvInfo}, syscall.ENODEV, ""},
			{ipoibnl.CmdEthtool, ipoibnl.EthtoolRequest{Ifname: "ib9", Cmd: ipoibnl.EthtoolGDrvInfo}, syscall.ENODEV, ""},
			{ipoibnl.CmdEthtool, ipoibnl.EthtoolRequest{Ifname: "ib0", Cmd: 0xffffffff}, syscall.EOPNOTSUPP, ""},
			{200, ipoibnl.Filter{}, syscall.EOPNOTSUPP, ""},
		} {
			err := w.c.Do(tt.cmd, tt.req)
			if errno(err) != tt.want {
				t.Errorf("%d %+v: %v, want %v", tt.cmd, tt.req, err, tt.want)
			}
			if op, ok := errors.AsType[*netlink.OpError](err); tt.text != "" && (!ok || op.Message != tt.text) {
				t.Errorf("%d %+v: %v, not %q", tt.cmd, tt.req, err, tt.text)
			}
		}
		if len(w.stops)+len(w.added)+len(w.removed)+w.reloads != 0 || len(w.ib0.Neighbours()) != 0 || w.drv.Debug.Debug.Load() != 0 {
			t.Errorf("changed: %v %v %v %v", w.stops, w.added, w.removed, w.ib0.Neighbours())
		}
	})
}

// Who may do what: everybody reads, CAP_NET_ADMIN in the own namespace changes
// its interfaces, and in the service's changes the service.
func TestPrivilege(t *testing.T) {
	inWorld(t, func(w *world) {
		changes := []struct {
			cmd     uint8
			req     any
			service bool
		}{
			{ipoibnl.CmdNeighSet, ipoibnl.Neigh{Ifname: "ib0", IP: ip, Addr: peerAddr}, false},
			{ipoibnl.CmdNeighDel, ipoibnl.Neigh{Ifname: "ib0", IP: ip}, false},
			{ipoibnl.CmdHCAAdd, ipoibnl.HCA{Name: "soft1"}, true},
			{ipoibnl.CmdHCADel, ipoibnl.HCA{Name: "soft0"}, true},
			{ipoibnl.CmdCapture, ipoibnl.Capture{Port: "soft0/1"}, true},
			{ipoibnl.CmdFault, ipoibnl.Fault{What: "sm", Action: "sweep"}, true},
			{ipoibnl.CmdParamSet, ipoibnl.Param{Name: "debug_level", Value: "1"}, true},
			{ipoibnl.CmdLog, ipoibnl.LogFollow{End: true}, true},
			{ipoibnl.CmdServiceStop, ipoibnl.ServiceStop{Teardown: true}, true},
		}
		w.follow = func(int, func(ipoibnl.LogLine)) func() { return func() {} }
		nobody, container := nltest.NewPeer(), nltest.NewPeer()
		for _, p := range []*nltest.Peer{nobody, container} {
			p.SetNetNS(w.peer.NetNS(), "")
		}
		container.SetCaps(nl.CapNetAdmin)
		container.SetContainer(true)
		for name, tt := range map[string]struct {
			peer           *nltest.Peer
			admin, service bool
		}{"nobody": {nobody, false, false}, "container": {container, true, false}, "root": {w.peer, true, true}} {
			for _, ch := range changes {
				c := w.client(tt.peer) // a capture does not end
				may := tt.admin
				if ch.service {
					may = tt.service
				}
				if err := c.Do(ch.cmd, ch.req); may != (err == nil) || !may && errno(err) != syscall.EPERM {
					t.Errorf("%s, command %d: %v", name, ch.cmd, err)
				}
			}
			if list, err := ipoibnl.Dump[ipoibnl.Param](w.client(tt.peer), ipoibnl.CmdParamGet, ipoibnl.Filter{}); err != nil || len(list) != 7 {
				t.Errorf("%s: %v, %v", name, list, err)
			}
		}
		if !slices.Equal(w.stops, []bool{true}) || len(w.added) != 1 || !slices.Equal(w.removed, []string{"soft0"}) {
			t.Errorf("%v %v %v", w.stops, w.added, w.removed)
		}
	})
}

// What ethtool asks by ioctl, command by command.
func TestEthtool(t *testing.T) {
	inWorld(t, func(w *world) {
		nobody := nltest.NewPeer()
		nobody.SetNetNS(w.peer.NetNS(), "")
		root, user := w.c, w.client(nobody)
		for cmd := range uint32(0x100) {
			var want syscall.Errno
			switch cmd {
			case ipoibnl.EthtoolGDrvInfo, ipoibnl.EthtoolGStats, ipoibnl.EthtoolGSsetInfo, ipoibnl.EthtoolGFlags, ipoibnl.EthtoolFlashDev:
			default:
				want = syscall.EOPNOTSUPP
			}
			var r ipoibnl.EthtoolReply
			if err := root.Get(ipoibnl.CmdEthtool, ipoibnl.EthtoolRequest{Ifname: "ib0", Cmd: cmd}, &r); errno(err) != want {
				t.Errorf("%#x: %v, want %v", cmd, err, want)
			}
			if !ipoibnl.EthtoolPublic(cmd) {
				want = syscall.EPERM
			}
			if err := user.Get(ipoibnl.CmdEthtool, ipoibnl.EthtoolRequest{Ifname: "ib0", Cmd: cmd}, &r); errno(err) != want {
				t.Errorf("%#x of a user: %v, want %v", cmd, err, want)
			}
		}
		var r ipoibnl.EthtoolReply
		w.must(root.Get(ipoibnl.CmdEthtool, ipoibnl.EthtoolRequest{Ifname: "ib0", Cmd: ipoibnl.EthtoolGDrvInfo}, &r))
		if r.Driver != "ib_ipoib" || r.Version != "1.2" || r.Firmware != "1.0.0" || r.Bus != "ipoib:soft0" || r.NumStats != 8 {
			t.Errorf("%+v", r)
		}
		r = ipoibnl.EthtoolReply{}
		w.must(root.Get(ipoibnl.CmdEthtool, ipoibnl.EthtoolRequest{Ifname: "ib0", Cmd: ipoibnl.EthtoolGStats}, &r))
		var names []string
		for _, c := range r.Stats {
			names = append(names, c.Name)
		}
		if !slices.Equal(names, datapath.StatNames()) {
			t.Errorf("%v", names)
		}
	})
}

// The log is sent line by line, and what a client does not read is counted.
func TestLog(t *testing.T) {
	inWorld(t, func(w *world) {
		var send func(ipoibnl.LogLine)
		followers := 0
		w.follow = func(n int, fn func(ipoibnl.LogLine)) func() {
			for i := range n {
				fn(ipoibnl.LogLine{Text: fmt.Sprint("old ", i)})
			}
			send = fn
			followers++
			return func() { followers-- }
		}
		var got []string
		end := fmt.Errorf("the end")
		read := func(until string) func(*ipoibnl.LogLine) error {
			return func(l *ipoibnl.LogLine) error {
				got = append(got, l.Text)
				if l.Text == until {
					return end
				}
				return nil
			}
		}
		// Only what there is.
		if err := ipoibnl.Stream(w.c, ipoibnl.CmdLog, ipoibnl.LogFollow{Lines: 2, End: true}, nil, read("")); !errors.Is(err, end) {
			t.Errorf("%v", err)
		}
		synctest.Wait()
		if !slices.Equal(got, []string{"old 0", "old 1", ""}) || followers != 0 {
			t.Errorf("%q, %d follow", got, followers)
		}
		// What comes, until the client leaves.
		got = nil
		c := w.client(w.peer)
		begun := func() error {
			synctest.Wait() // the server answers before it follows
			send(ipoibnl.LogLine{Text: "new"})
			return nil
		}
		if err := ipoibnl.Stream(c, ipoibnl.CmdLog, ipoibnl.LogFollow{Lines: 1}, begun, read("new")); !errors.Is(err, end) {
			t.Errorf("%v", err)
		}
		synctest.Wait()
		if !slices.Equal(got, []string{"old 0", "new"}) || followers != 1 {
			t.Errorf("%q, %d follow", got, followers)
		}
		for range 100_000 {
			send(ipoibnl.LogLine{Text: strings.Repeat("x", 100)})
		}
		synctest.Wait()
		_ = c.Close()
		synctest.Wait()
		if followers != 0 {
			t.Errorf("%d follow a client that is gone", followers)
		}
	})
}

// A capture shows the frames at a port until the client leaves.
func TestCapture(t *testing.T) {
	inWorld(t, func(w *world) {
		end := fmt.Errorf("the end")
		out, in := 0, 0
		begun := func() error { return w.ib0.SetUp(true) }
		err := ipoibnl.Stream(w.c, ipoibnl.CmdCapture, ipoibnl.Capture{Ifname: "ib0"}, begun, func(d *ipoibnl.CaptureData) error {
			if d.TimeNS == 0 || len(d.Frame) < 8+12+4+2 {
				t.Errorf("%+v", d)
			}
			if d.Out {
				out++
			} else {
				in++
			}
			if out > 2 && in > 2 {
				return end
			}
			return nil
		})
		if !errors.Is(err, end) {
			t.Errorf("%v", err)
		}
	})
}

// Bodies that were made up are refused, or mean what they say; nobody falls.
func FuzzRequest(f *testing.F) {
	for cmd := range uint8(ipoibnl.CmdConnGet + 1) {
		for _, req := range []any{
			ipoibnl.Neigh{Ifname: "ib0", IP: ip, Addr: peerAddr}, ipoibnl.EthtoolRequest{Ifname: "ib0", Cmd: 3},
			ipoibnl.Fault{What: "link", Port: "soft0/1", Action: "set"}, ipoibnl.HCA{Ifnames: []string{"a", "b"}},
		} {
			var e nl.Encoder
			ipoibnl.Marshal(&e, req)
			f.Add(cmd, false, e.Bytes())
		}
	}
	f.Add(uint8(ipoibnl.CmdStatsGet), true, []byte{4, 0, 2, 0})
	f.Add(uint8(ipoibnl.CmdNeighSet), false, []byte{8, 0, 3, 0, 1, 2, 3, 4, 255, 255, 4, 0})
	f.Fuzz(func(t *testing.T, cmd uint8, dump bool, body []byte) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			defer func() {
				w.drv.Close(false)
				synctest.Wait()
			}()
			w.follow = func(int, func(ipoibnl.LogLine)) func() { return func() {} }
			conn := nltest.Dial(t, w.srv, w.peer, nl.ConnConfig{Protocol: nl.ProtoGeneric, ExtAck: true})
			flags := netlink.Request | netlink.Acknowledge
			if dump {
				flags |= netlink.Dump
			}
			var e nl.Encoder
			family, err := genetlink.NewConn(conn.NetlinkConn()).GetFamily(ipoibnl.Name)
			if err != nil {
				t.Fatal(err)
			}
			_ = e.Message(netlink.Header{Type: netlink.HeaderType(family.ID), Flags: flags, Sequence: 1}, func(e *nl.Encoder) error {
				e.Raw(append([]byte{cmd, ipoibnl.Version, 0, 0}, body...))
				return nil
			})
			if err := conn.WriteDatagram(e.Bytes()); err != nil {
				t.Skip(err) // too long
			}
			if _, err := conn.ReadDatagram(); err != nil {
				t.Errorf("no answer: %v", err)
			}
			// The service answers on.
			var info ipoibnl.Service
			if err := w.c.Get(ipoibnl.CmdServiceGet, nil, &info); err != nil {
				t.Error(err)
			}
		})
	})
}
