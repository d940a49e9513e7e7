package datapath

import (
	"net/netip"
	"runtime"
	"testing"

	"ipoib/datapath/encap"
	"ipoib/datapath/tun"
	"ipoib/rdma"
	"ipoib/rdma/cm"
	"ipoib/rdma/header"
	"ipoib/rdma/mad"
)

// 200 nodes connect to one host at once: all are served, by one shared receive
// queue. The memory of a connection is logged.
func TestManyPeers(t *testing.T) {
	const peers = 200
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		h, p := duoCM(w)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		gid, _ := p.h.ib0.port.rdma.GID(0)
		own, to := p.h.ib0.port.rdma.Attr().LID, h.ib0.port.rdma.Attr().LID
		var conns []*cmPeerConn
		for n := range peers {
			c := p.newConn()
			req := mad.REQ{
				ServiceID: mad.IPoIBServiceID(h.ib0.Info().QPN), LocalQPN: c.qp.Num(), StartingPSN: 0x700,
				RemoteCMResponseTimeout: 17, LocalCMResponseTimeout: 17, MaxCMRetries: 15, PKey: 0xffff, PathMTU: rdma.MTU2048,
				Primary: mad.CMPath{LocalLID: own, RemoteLID: to, LocalGID: gid, RemoteGID: h.ib0.Info().Addr.GID(), LocalAckTimeout: 12},
			}
			mad.IPoIBPrivateData{UDQPN: rdma.QPN(0x10000 + n), ReceiveMTU: 65524}.Put(req.PrivateData[:])
			var err error
			c.conn, err = p.cm.Connect(cm.ConnectConfig{
				To: rdma.MADAddr{LID: to, QPN: rdma.QPNGSI, QKey: rdma.QKeyGSI}, REQ: req, PacketLifeTime: 10,
			}, c.event)
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, c)
		}
		w.settle()
		if _, in := h.conns(); in != peers {
			t.Fatalf("%d of %d connections", in, peers)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		// Both ends are in this process.
		each := int64(after.HeapAlloc-before.HeapAlloc) / peers
		t.Logf("%d connections, %d bytes of heap each (both ends)", peers, each)
		if each > 64<<10 {
			t.Errorf("%d bytes per connection", each)
		}
		h.got(h.ib0)
		for n, c := range conns {
			c.send(encap.EtherTypeIPv4, ip4(ip2, ip1, n))
		}
		if got := len(h.got(h.ib0)); got != peers {
			t.Errorf("%d of %d packets", got, peers)
		}
		if err := h.ib0.SetUp(false); err != nil {
			t.Fatal(err)
		}
		w.settle()
		gone := 0
		for _, c := range conns {
			if ev := c.types(); ev[len(ev)-1] == cm.EventDisconnected {
				gone++
			}
		}
		if gone != peers {
			t.Errorf("%d of %d were told of the end", gone, peers)
		}
	})
}

// 50 hosts connect to one another's first at once.
func TestManyHosts(t *testing.T) {
	const hosts = 50
	inWorld(t, worldConfig{hosts: hosts, ports: hosts}, func(w *world) {
		w.upAll()
		w.connect(w.hosts...)
		one := w.host(1)
		for _, h := range w.hosts[1:] {
			_ = h.tun(h.ib0).Send(ip4(h.ip(), one.ip(), 40), rdma.Offload{})
		}
		w.settle()
		one.got(one.ib0)
		for _, h := range w.hosts[1:] {
			_ = h.tun(h.ib0).Send(ip4(h.ip(), one.ip(), 60000), rdma.Offload{})
		}
		w.settle()
		if n := len(one.got(one.ib0)); n != hosts-1 {
			t.Errorf("%d of %d large packets", n, hosts-1)
		}
		if out, in := one.conns(); out+in != hosts-1 {
			t.Errorf("%d outgoing, %d incoming", out, in)
		}
	})
}

// Data of connections leave as RC SENDs: First, Middle and Last of the path
// MTU, acknowledged.
func TestConnectedFrames(t *testing.T) {
	connectedPair(t, worldConfig{}, func(w *world, a, b *host) {
		frames := a.tap()
		carry(a, b, 10000)
		var ops []header.Opcode
		size := 0
		for _, f := range rcFrames(frames(true)) {
			ops = append(ops, f.BTH.Opcode())
			size += len(f.Payload)
		}
		if size != 10004 || len(ops) < 2 || ops[0] != header.RCSendFirst || ops[len(ops)-1] != header.RCSendLast {
			t.Errorf("%v, %d bytes", ops, size)
		}
		acks := 0
		for _, f := range frames(false) {
			if f.BTH.Opcode() == header.RCAck {
				acks++
			}
		}
		if acks == 0 {
			t.Error("no acknowledgement")
		}
	})
}

// The steady state allocates nothing, over connections too.
func TestConnectedAllocs(t *testing.T) {
	connectedPair(t, worldConfig{}, func(w *world, a, b *host) {
		i := a.ib0
		tr := &transmitter{i: i, cache: make(map[netip.Addr]dest)}
		p := ip4(a.ip(), b.ip(), 60000)
		batch := make([]tun.Packet, 8)
		run := func() {
			for k := range batch {
				buf := i.pd.Buffers().Get(encap.HeaderLen + len(p))
				copy(buf.Bytes()[encap.HeaderLen:], p)
				batch[k] = tun.Packet{Buf: buf}
			}
			tr.batch(batch)
		}
		host := &discard{Device: b.ib0.dev}
		b.ib0.writeMu.Lock()
		b.ib0.dev = host
		b.ib0.writeMu.Unlock()
		run()
		n := testing.AllocsPerRun(50, run)
		b.ib0.writeMu.Lock()
		b.ib0.dev = host.Device
		b.ib0.writeMu.Unlock()
		if n != 0 || host.packets != 8*52 {
			t.Errorf("%v allocations for %d messages, %d arrived", n, len(batch), host.packets)
		}
	})
}

// discard is a TUN that keeps nothing of what is written.
type discard struct {
	tun.Device
	packets int
}

func (d *discard) Write(p []tun.Packet) (int, error) {
	d.packets += len(p)
	return len(p), nil
}
