package datapath

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/datapath/encap"
	"ipoib/rdma"
	"ipoib/rdma/header"
	"ipoib/rdma/mad"
	"ipoib/rdma/soft"
)

// The tests of the conformance files (docs/conformance.md) look at frames as
// they are on the wire. Most share one scenario, the life of a link, which is
// played once for each of two configurations of the subnet.

// event is a frame that a host sent or received, in the order of the capture.
type event struct {
	frame
	host int
	sent bool
}

// capture takes all frames of a host until the test ends.
func (h *host) capture(to *[]event, mu *sync.Mutex) {
	h.w.t.Helper()
	cancel, err := h.w.fabric.Tap(h.hca.At(1), func(f soft.Frame) {
		raw := append([]byte(nil), f.Data...)
		p, err := header.Parse(raw)
		if err != nil {
			h.w.t.Errorf("captured frame: %v", err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		*to = append(*to, event{frame{f.Time, p, raw}, h.n, f.Dir == soft.DirOut})
	})
	if err != nil {
		h.w.t.Fatal(err)
	}
	h.w.t.Cleanup(cancel)
}

// lifeConfig is a configuration of the subnet.
type lifeConfig struct {
	name       string
	partitions string
	scope      byte // of the multicast GIDs
	qkey       rdma.QKey
	mtu        int // of the link, with the encapsulation header
	sl, tclass uint8
	flow       uint32
	udOnly     bool // the adapters have no connections
}

var lifeConfigs = []lifeConfig{
	{name: "default", scope: 2, qkey: 0x0b1b, mtu: 2048,
		partitions: "Default=0x7fff,ipoib : ALL=full;\nBlue=0x1,ipoib : ALL=full;\n"},
	{name: "loud", udOnly: true, scope: 5, qkey: 0x80001234, mtu: 4096, sl: 3, tclass: 0x20, flow: 0x12345, partitions: "" +
		"Default=0x7fff,ipoib,mtu=5,rate=7,sl=3,scope=5,Q_Key=0x80001234,TClass=0x20,FlowLabel=0x12345 : ALL=full;\n" +
		"Blue=0x1,ipoib,mtu=5,rate=7,sl=3,scope=5,Q_Key=0x80001234,TClass=0x20,FlowLabel=0x12345 : ALL=full;\n"},
}

// end is an interface by its host and UD queue pair.
type end struct {
	host int
	qpn  rdma.QPN
}

// life is what was captured of the life of a link: two hosts with ib0 on P_Key
// 0xffff and a child on 0x8001 each.
type life struct {
	lifeConfig
	events []event
	ifaces map[end]Info
	gids   [3]rdma.GID // of the ports, by host
	lids   [3]rdma.LID
	// groups are the records that the SA answered joins with, by MGID.
	groups map[rdma.GID]mad.MCMemberRecord
	// played are the groups that were sent to.
	played []netip.Addr
}

var (
	livesMu sync.Mutex
	lives   = map[string]*life{}
)

// eachLife runs a test on the life of a link in each configuration.
func eachLife(t *testing.T, fn func(t *testing.T, l *life)) {
	t.Helper()
	for _, c := range lifeConfigs {
		t.Run(c.name, func(t *testing.T) { fn(t, lifeOf(t, c)) })
	}
}

// lifeOf plays the scenario, or returns what an earlier test captured of it.
func lifeOf(t *testing.T, c lifeConfig) *life {
	t.Helper()
	livesMu.Lock()
	defer livesMu.Unlock()
	if lives[c.name] == nil {
		l := &life{lifeConfig: c, ifaces: map[end]Info{}, groups: map[rdma.GID]mad.MCMemberRecord{}}
		cfg := worldConfig{hosts: 2, noSM: true, partitions: c.partitions, params: Params{Scope: encap.Scope(c.scope)}}
		if c.udOnly {
			cfg.port = func(_ int, p rdma.Port) rdma.Port { return udOnly{p} }
		}
		inWorld(t, cfg, l.play)
		if t.Failed() {
			t.FailNow()
		}
		l.readGroups()
		lives[c.name] = l
	}
	return lives[c.name]
}

// play is the scenario.
func (l *life) play(w *world) {
	var mu sync.Mutex
	for _, h := range w.hosts {
		h.capture(&l.events, &mu)
	}
	w.runSM() // not before, so that nothing of the beginning is missed
	w.settle()
	w.settle()
	must := func(err error) {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
	}
	a, b := w.host(1), w.host(2)
	w.upAll()
	ca, cb := a.child("c", 0x8001), b.child("c", 0x8001)
	a.up(ca, 1)
	b.up(cb, 1)
	w.settle()
	w.settle()
	for _, h := range w.hosts {
		for _, i := range []*Interface{h.ib0, map[*host]*Interface{a: ca, b: cb}[h]} {
			info := i.Info()
			l.ifaces[end{h.n, info.QPN}] = info
		}
		l.gids[h.n], _ = h.ib0.port.rdma.GID(0)
		l.lids[h.n] = h.ib0.port.rdma.Attr().LID
	}
	// Unicast, both ways and often.
	for _, c := range []struct {
		ia, ib   *Interface
		src, dst string
	}{{a.ib0, b.ib0, "10.0.0.1", "10.0.0.2"}, {a.ib0, b.ib0, "fd00::1", "fd00::2"}, {ca, cb, "10.0.1.1", "10.0.1.2"}, {ca, cb, "fd00:1::1", "fd00:1::2"}} {
		for range 3 {
			if !reach(a, b, c.ia, c.ib, addr(c.src), addr(c.dst)) || !reach(b, a, c.ib, c.ia, addr(c.dst), addr(c.src)) {
				w.t.Errorf("%s does not reach %s", c.src, c.dst)
			}
		}
	}
	// Multicast to a host that listens.
	for _, ip := range []string{"239.1.2.3", "239.255.255.255", "ff0e::1:2", "ff05::1:3", "ff3e:40:2001:db8::1"} {
		g := addr(ip)
		l.played = append(l.played, g)
		must(b.ns.Join(b.ib0.Info().Ifindex, g))
		w.settle()
		src := ip1
		if g.Is6() {
			src = six1
		}
		for range 3 {
			if !reach(a, b, a.ib0, b.ib0, src, g) {
				w.t.Errorf("%v is not received", g)
			}
		}
	}
	// Broadcast, limited and directed.
	for _, dst := range []string{"255.255.255.255", "10.0.0.255"} {
		a.send(a.ib0, ip4(ip1, addr(dst), 8))
		w.settle()
	}
	// The host's own Router Solicitation.
	a.send(a.ib0, icmp6(llA, addr("ff02::2"), 255, []byte{133, 0, 0, 0, 0, 0, 0, 0}))
	// Datagrams of the MTU, and one above it.
	for _, n := range []int{0, 1} {
		a.send(a.ib0, ip4(ip1, ip2, l.mtu-encap.HeaderLen-28+n))
		a.send(a.ib0, ip6(six1, six2, l.mtu-encap.HeaderLen-48+n))
	}
	// An address is added, a group is left, time passes, the link ends.
	a.addAddr(a.ib0, "10.0.0.55/24")
	w.settle()
	must(b.ns.Leave(b.ib0.Info().Ifindex, addr("239.1.2.3")))
	time.Sleep(3 * time.Minute)
	must(a.ib0.SetUp(false))
	w.settle()
	synctest.Wait()
}

// readGroups notes what the SA answered to joins.
func (l *life) readGroups() {
	for _, e := range l.events {
		m, rec := e.membership()
		if m != nil && m.Method() == mad.MethodGetResp && m.Status() == 0 {
			l.groups[rec.MGID] = rec
		}
	}
}

// mad returns the MAD of subnet administration that a frame carries, or nil.
func (e *event) mad() *mad.MAD {
	if m := saMADs([]frame{e.frame}); len(m) == 1 {
		return m[0]
	}
	return nil
}

// membership returns the MAD and record of a frame about a group, or nil.
func (e *event) membership() (*mad.MAD, mad.MCMemberRecord) {
	var r mad.MCMemberRecord
	m := e.mad()
	if m == nil || m.AttrID() != mad.AttrMCMemberRecord || m.Method() == mad.MethodGetTable || m.Attr(&r) != nil {
		return nil, r
	}
	return m, r
}

// messages returns the IPoIB messages that the hosts sent.
func (l *life) messages() (out []event) {
	for _, e := range l.events {
		if e.sent && e.BTH.DestQP() > rdma.QPNGSI {
			out = append(out, e)
		}
	}
	return out
}

// multicasts returns those that went to groups.
func (l *life) multicasts() (out []event) {
	for _, e := range l.messages() {
		if e.LRH.DLID().IsMulticast() || e.BTH.DestQP() == rdma.QPNMulticast {
			out = append(out, e)
		}
	}
	return out
}

// unicasts returns those that went to a queue pair.
func (l *life) unicasts() (out []event) {
	for _, e := range l.messages() {
		if !e.LRH.DLID().IsMulticast() {
			out = append(out, e)
		}
	}
	return out
}

// from returns the interface that sent a message.
func (l *life) from(e event) Info { return l.ifaces[end{e.host, e.DETH.SrcQP()}] }

// typ and body are the two parts of an IPoIB message.
func (e *event) typ() uint16  { return binary.BigEndian.Uint16(e.Payload) }
func (e *event) body() []byte { return e.Payload[4:] }

// dst returns the IP destination of a message, invalid for ARP.
func (e *event) dst() netip.Addr {
	switch e.typ() {
	case 0x0800:
		return netip.AddrFrom4([4]byte(e.body()[16:20]))
	case 0x86dd:
		return netip.AddrFrom16([16]byte(e.body()[24:40]))
	}
	return netip.Addr{}
}

// arps returns the ARP packets that the hosts sent.
func (l *life) arps() (out []event) {
	for _, e := range l.messages() {
		if e.typ() == 0x0806 {
			out = append(out, e)
		}
	}
	return out
}

// linkOptions returns the Source and Target Link-Layer Address options that
// the hosts sent, as they are on the wire, with the ICMPv6 type of each.
func (l *life) linkOptions() (opts [][]byte, types []byte) {
	for _, e := range l.messages() {
		b := e.body()
		if e.typ() != 0x86dd || b[6] != 58 {
			continue
		}
		at, ok := map[byte]int{133: 48, 134: 56, 135: 64, 136: 64, 137: 80}[b[40]]
		if !ok {
			continue
		}
		for at+8 <= len(b) && b[at+1] > 0 {
			n := int(b[at+1]) * 8
			if b[at] == 1 || b[at] == 2 {
				opts, types = append(opts, b[at:min(at+n, len(b))]), append(types, b[40])
			}
			at += n
		}
	}
	return opts, types
}

// atLeast fails a test that had too little to look at.
func atLeast(t *testing.T, what string, n, want int) {
	t.Helper()
	if n < want {
		t.Errorf("only %d %s", n, what)
	}
}
