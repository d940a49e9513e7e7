package datapath

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"ipoib/datapath/encap"
	"ipoib/datapath/path"
	"ipoib/rdma"
	"ipoib/rdma/header"
	"ipoib/rdma/mad"
	"ipoib/rdma/sa"
	"ipoib/rdma/soft"
)

// dataFrame returns a frame of an IPv4 packet from host 2 to host 1 as host 1
// received it.
func dataFrame(w *world) []byte {
	w.t.Helper()
	frames := w.host(1).tap()
	if !reach(w.host(2), w.host(1), w.host(2).ib0, w.host(1).ib0, ip2, ip1) {
		w.t.Fatal("not reached")
	}
	for _, f := range ipoib(frames(false)) {
		if f.Payload[0] == 0x08 && f.Payload[1] == 0 {
			return slices.Clone(f.raw)
		}
	}
	w.t.Fatal("no frame")
	return nil
}

// inject lets a frame arrive at host 1 with right CRCs, and returns how many
// packets that gave its host.
func (w *world) inject(raw []byte) int {
	w.t.Helper()
	h := w.host(1)
	h.got(h.ib0)
	header.SetICRC(raw[:len(raw)-2])
	header.SetVCRC(raw)
	if err := w.fabric.Inject(h.hca.At(1), raw); err != nil {
		w.t.Fatal(err)
	}
	w.settle()
	return len(h.got(h.ib0))
}

// Peers need the same partition and the same Q_Key: what has others is
// dropped and counted by the port.
func Test4391_S3_1_PartitionAndQKey(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		w.upAll()
		raw := dataFrame(w)
		port := w.host(1).ib0.port.rdma
		if w.inject(slices.Clone(raw)) != 1 {
			t.Fatal("the frame as it was is not delivered")
		}
		for _, c := range []struct {
			name       string
			at         int // byte in BTH or DETH, without GRH
			v          []byte
			pkey, qkey uint16
		}{{"P_Key", 10, []byte{0x80, 0x05}, 1, 0}, {"Q_Key", 20, []byte{0, 0, 0x0b, 0x1c}, 0, 1}} {
			before := port.Attr()
			f := slices.Clone(raw)
			copy(f[c.at:], c.v)
			if n := w.inject(f); n != 0 {
				t.Errorf("%s: delivered", c.name)
			}
			after := port.Attr()
			if after.PKeyViolations-before.PKeyViolations != c.pkey || after.QKeyViolations-before.QKeyViolations != c.qkey {
				t.Errorf("%s: violations %d, %d", c.name, after.PKeyViolations-before.PKeyViolations, after.QKeyViolations-before.QKeyViolations)
			}
		}
	})
}

// Both ends need compatible P_Keys: a limited member's packet is taken by a
// full member and by no other limited one.
func Test4391_S9_1_3_CompatiblePKeys(t *testing.T) {
	parts := "Default=0x7fff,ipoib : ALL=full;\n"
	inWorld(t, worldConfig{hosts: 2, partitions: parts}, func(w *world) {
		w.upAll()
		raw := dataFrame(w)
		port := w.host(1).ib0.port.rdma
		limited := slices.Clone(raw)
		limited[10] &^= 0x80
		if w.inject(slices.Clone(limited)) != 1 {
			t.Error("a full member does not hear a limited one")
		}
		w.setPartitions("Default=0x7fff,ipoib : ALL=limited, SELF=full;\n")
		w.settle()
		w.settle()
		if k, _ := port.PKey(0); k != 0x7fff || !w.host(1).ib0.Info().Carrier {
			t.Fatalf("P_Key %v, %+v", k, w.host(1).ib0.Info())
		}
		before := port.Attr().PKeyViolations
		if w.inject(limited) != 0 || port.Attr().PKeyViolations != before+1 {
			t.Errorf("a limited member hears a limited one, %d violations", port.Attr().PKeyViolations-before)
		}
		if w.inject(raw) != 1 {
			t.Error("a limited member does not hear a full one")
		}
	})
}

// A controlled Q_Key of the group is used, and so is one that is not.
func Test4391_S4_1_2_QKeyOfTheGroup(t *testing.T) {
	for _, q := range []rdma.QKey{0x0b1b, 0x80000b1b, 0xffffffff} {
		parts := "Default=0x7fff,ipoib,Q_Key=" + q.String() + " : ALL=full;\n"
		inWorld(t, worldConfig{hosts: 2, partitions: parts}, func(w *world) {
			frames := w.host(1).tap()
			w.upAll()
			if !w.ping(1, 2) || w.host(1).ib0.Info().QKey != q {
				t.Errorf("Q_Key %v: %+v", q, w.host(1).ib0.Info())
			}
			for _, f := range ipoib(frames(true)) {
				if f.DETH.QKey() != q {
					t.Errorf("Q_Key %v, want %v", f.DETH.QKey(), q)
				}
			}
		})
	}
}

// The scope of the link can be configured.
func Test4391_S4_1_7_ConfiguredScope(t *testing.T) {
	for _, s := range []encap.Scope{encap.ScopeSiteLocal, encap.ScopeOrganizationLocal, encap.ScopeGlobal} {
		parts := fmt.Sprintf("Default=0x7fff,ipoib,scope=0x%x : ALL=full;\n", byte(s))
		inWorld(t, worldConfig{hosts: 2, partitions: parts, params: Params{Scope: s}}, func(w *world) {
			w.upAll()
			if !w.ping(1, 2) || encap.MGIDScope(w.host(1).ib0.broadcastMGID()) != s {
				t.Errorf("scope %x", s)
			}
		})
	}
}

// A unicast message is taken with a GRH and without, and so is a broadcast.
func Test4391_S6_7_BothForms(t *testing.T) {
	duo(t, func(w *world, h *host, p *peer) {
		pkt := ip4(ip2, ip1, 33)
		gid, _ := h.ib0.port.rdma.GID(0)
		for _, grh := range []*rdma.GRHAttr{nil, {DGID: gid, TrafficClass: 0x20, FlowLabel: 0x12345, HopLimit: 64}} {
			ah, err := p.pd.CreateAH(rdma.AHAttr{Port: 1, DLID: h.ib0.port.rdma.Attr().LID, GRH: grh})
			if err != nil {
				t.Fatal(err)
			}
			h.got(h.ib0)
			p.raw(ah, h.ib0.qp.Num(), p.message(encap.EtherTypeIPv4, pkt))
			if got := h.got(h.ib0); len(got) != 1 || string(got[0]) != string(pkt) {
				t.Errorf("GRH %v: %d packets", grh != nil, len(got))
			}
		}
	})
}

// IPv4, IPv6 and ARP are told apart by their type; RARP is known and dropped.
func Test4391_S6_4_Demultiplex(t *testing.T) {
	duo(t, func(w *world, h *host, p *peer) {
		arp := make([]byte, encap.ARPLen)
		_, _ = encap.PutARP(arp, encap.ARPFields{Op: encap.ARPRequest, SenderHW: p.addr, SenderIP: ip2, TargetIP: ip1})
		for _, c := range []struct {
			typ          encap.EtherType
			body         []byte
			host, answer int
			drop         Drop
			drops        uint64
		}{
			{0x0800, ip4(ip2, ip1, 8), 1, 0, RXType, 0},
			{0x86dd, ip6(six2, six1, 8), 1, 0, RXType, 0},
			{0x0806, arp, 0, 1, RXType, 0},
			{0x8035, arp, 0, 0, RXType, 1},
		} {
			h.got(h.ib0)
			p.take(0)
			before := h.ib0.DropCounts()[c.drop]
			p.unicast(h.ib0, c.typ, c.body)
			w.settle()
			if n, a := len(h.got(h.ib0)), len(p.arps()); n != c.host || a != c.answer || h.ib0.DropCounts()[c.drop]-before != c.drops {
				t.Errorf("type %v: %d packets for the host, %d answers, %d drops", c.typ, n, a, h.ib0.DropCounts()[c.drop]-before)
			}
		}
	})
}

// A datagram of 2044 octets that must not be fragmented passes as one message.
func Test4391_S7_1_Datagram2044(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		w.upAll()
		a, b := w.host(1), w.host(2)
		if !w.ping(1, 2) {
			t.Fatal("not reached")
		}
		frames := a.tap()
		for _, p := range [][]byte{ip4(ip1, ip2, 2044-28), ip6(six1, six2, 2044-48)} {
			if p[0] == 0x45 {
				p[6] = 0x40 // DF
			}
			reach(a, b, a.ib0, b.ib0, six1, six2)
			b.got(b.ib0)
			a.send(a.ib0, p)
			w.settle()
			if got := b.got(b.ib0); len(got) != 1 || string(got[0]) != string(p) {
				t.Errorf("%d packets", len(got))
			}
		}
		n := 0
		for _, f := range ipoib(frames(true)) {
			if len(f.Payload) == 2048 {
				n++
			}
		}
		if n != 2 {
			t.Errorf("%d messages of 2048 octets", n)
		}
	})
}

// The default MTU is 2044, and that of the default broadcast group 2048.
func Test4391_S7_2_DefaultMTU(t *testing.T) {
	inWorld(t, worldConfig{}, func(w *world) {
		w.upAll()
		h := w.host(1)
		l, err := h.ns.LinkByName("ib0")
		if err != nil || l.MTU != 2044 || h.ib0.Info().MTU != 2044 {
			t.Errorf("MTU %d %d, %v", l.MTU, h.ib0.Info().MTU, err)
		}
		if g := h.ib0.groups.Broadcast().Record; g.MTU != rdma.MTU2048 {
			t.Errorf("group MTU %v", g.MTU)
		}
	})
}

// The interface identifier is that of the port GUID, in fe80::/64.
func Test4391_S8_1_1_LinkLocalPrefix(t *testing.T) {
	guids := map[rdma.GUID]string{
		0x0000_5eef_1000_000a: "fe80::200:5eef:1000:a/64", // u bit clear: it is set
		0x0200_5eef_1000_000b: "fe80::200:5eef:1000:b/64", // u bit set: it stays
	}
	for guid, want := range guids {
		cfg := worldConfig{hca: func(c *soft.HCAConfig) { c.PortGUIDs = []rdma.GUID{guid} }}
		inWorld(t, cfg, func(w *world) {
			w.upAll()
			list, _ := w.host(1).ns.Addrs(w.host(1).ib0.Info().Ifindex)
			found := false
			for _, a := range list {
				found = found || a.Prefix == prefix(want)
			}
			if !found {
				t.Errorf("%v has %v, want %s", guid, list, want)
			}
		})
	}
}

// IPv4 next hops are resolved by ARP, IPv6 ones by Neighbor Discovery, and
// nothing is sent before the answer.
func Test4391_S9_1_ARPAndND(t *testing.T) {
	duo(t, func(w *world, h *host, p *peer) {
		p.join(groupOf(h, "fd00::2"), mad.JoinFullMember)
		for _, c := range []struct {
			src, dst netip.Addr
			typ      encap.EtherType
			answer   func()
		}{
			{ip1, ip2, encap.EtherTypeARP, func() { p.answer(h.ib0, ip2, p.addr) }},
			{six1, six2, encap.EtherTypeIPv6, func() {
				p.na(h.ib0, encap.NAFields{Src: six2, Dst: six1, Target: six2, Solicited: true, Override: true, TLLA: p.addr})
			}},
		} {
			p.take(0)
			pkt := packet(c.src, c.dst, 77)
			h.send(h.ib0, pkt)
			w.settle()
			asked := p.take(0)
			if len(asked) == 0 {
				t.Fatalf("%v: nothing was asked", c.dst)
			}
			for _, m := range asked {
				if m.typ != c.typ || string(m.body) == string(pkt) {
					t.Errorf("%v: %v before the answer", c.dst, m.typ)
				}
			}
			c.answer()
			w.settle()
			if got := p.take(0); len(got) != 1 || string(got[0].body) != string(pkt) {
				t.Errorf("%v: %d messages after the answer", c.dst, len(got))
			}
		}
	})
}

// farAdmin is an SA whose paths cross a router.
type farAdmin struct{ SubnetAdmin }

func (f farAdmin) Path(q sa.PathQuery, done func(mad.PathRecord, error)) func() {
	return f.SubnetAdmin.Path(q, func(r mad.PathRecord, err error) {
		r.HopLimit, r.FlowLabel, r.TClass, r.SL, r.Rate = 64, 0x54321, 0x40, 2, rdma.Rate20
		done(r, err)
	})
}

// The address vector has what the path record says: DLID, SL, rate, and a GRH
// with both GIDs where the path leaves the subnet (4391-§6-6).
func Test4391_S9_1_1_AddressVector(t *testing.T) {
	admin := func(p rdma.Port, changed func()) (SubnetAdmin, error) {
		s, err := NewSubnetAdmin(p, clockwork.NewRealClock(), nil, changed)
		return farAdmin{s}, err
	}
	inWorld(t, worldConfig{hosts: 2, admin: admin}, func(w *world) {
		frames := w.host(1).tap()
		w.upAll()
		for range 2 {
			if !w.ping(1, 2) {
				t.Fatal("not reached")
			}
		}
		a, b := w.host(1), w.host(2)
		sgid, _ := a.ib0.port.rdma.GID(0)
		dgid, _ := b.ib0.port.rdma.GID(0)
		n := 0
		for _, f := range ipoib(frames(true)) {
			if f.LRH.DLID().IsMulticast() {
				continue
			}
			n++
			want := rdma.GRHInfo{SGID: sgid, DGID: dgid, FlowLabel: 0x54321, TrafficClass: 0x40, HopLimit: 64}
			if f.GRH == nil || f.GRH.Info() != want || f.LRH.SL() != 2 || f.LRH.DLID() != b.ib0.port.rdma.Attr().LID {
				t.Errorf("LRH % x, GRH %x", []byte(f.LRH), []byte(f.GRH))
			}
		}
		atLeast(t, "unicast frames", n, 2)
	})
}

// handles returns the address handle of the path to a host, and that of the
// broadcast group.
func (h *host) handles(to *host) (unicast, group rdma.AHAttr) {
	gid, _ := to.ib0.port.rdma.GID(0)
	h.ib0.loop.call(func() {
		unicast = h.ib0.paths.Lookup(gid).AH().Attr()
		group = h.ib0.groups.Broadcast().Target.Load().AH.Attr()
	})
	return unicast, group
}

// The rate of an address handle is the one that the SA answered, for paths and
// for groups.
func Test4391_S9_1_4_Rate(t *testing.T) {
	slow := func(c *soft.HCAConfig) { c.Width = rdma.Width1X }
	inWorld(t, worldConfig{hosts: 2, hca: slow, partitions: "Default=0x7fff,ipoib,rate=2 : ALL=full;\n"}, func(w *world) {
		frames := w.host(1).tap()
		w.upAll()
		if !w.ping(1, 2) {
			t.Fatal("not reached")
		}
		var unicast, group rdma.Rate
		for _, m := range saMADs(frames(false)) {
			var p mad.PathRecord
			var g mad.MCMemberRecord
			switch {
			case m.Method() != mad.MethodGetResp:
			case m.AttrID() == mad.AttrPathRecord && m.Attr(&p) == nil:
				unicast = p.Rate
			case m.AttrID() == mad.AttrMCMemberRecord && m.Attr(&g) == nil && g.MGID == w.host(1).ib0.broadcastMGID():
				group = g.Rate
			}
		}
		u, m := w.host(1).handles(w.host(2))
		if unicast == 0 || group != rdma.Rate2_5 || u.StaticRate != unicast || m.StaticRate != group {
			t.Errorf("answered %v and %v, used %v and %v", unicast, group, u.StaticRate, m.StaticRate)
		}
		if v := w.host(1).ib0.Paths(); len(v) != 1 || v[0].Rate != unicast || v[0].State != path.Valid {
			t.Errorf("paths %+v", v)
		}
	})
}

// The LID comes from one path query with DGID, SGID, TClass, number of paths
// and P_Key (kernel path_rec_start), and stays known.
func Test4391_S9_1_2_1_PathQuery(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		type query struct {
			host int
			k    rdma.PKey
		}
		asked := map[query]int{}
		for _, e := range l.events {
			m := e.mad()
			if !e.sent || m == nil || m.AttrID() != mad.AttrPathRecord || m.Method() != mad.MethodGet {
				continue
			}
			var r mad.PathRecord
			if err := m.Attr(&r); err != nil {
				t.Fatal(err)
			}
			if r.SGID != l.gids[e.host] || r.DGID != l.gids[3-e.host] || m.ComponentMask() != 0x340c {
				t.Errorf("query %+v, mask %#x", r, uint64(m.ComponentMask()))
			}
			asked[query{e.host, r.PKey}]++
		}
		if len(asked) != 4 {
			t.Errorf("queries %v", asked)
		}
		for q, n := range asked {
			if n != 1 {
				t.Errorf("host %d asked %d times on P_Key %v", q.host, n, q.k)
			}
		}
	})
}

// The SL of unicast is that of the path record, of multicast that of the
// group.
func Test4391_S9_1_2_4_ServiceLevel(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		sl := map[int]uint8{}
		for _, e := range l.events {
			var r mad.PathRecord
			if m := e.mad(); m != nil && m.AttrID() == mad.AttrPathRecord && m.Method() == mad.MethodGetResp && m.Attr(&r) == nil {
				sl[e.host] = r.SL
			}
		}
		if len(sl) != 2 {
			t.Fatalf("answers %v", sl)
		}
		for _, e := range l.messages() {
			want := l.sl
			if !e.LRH.DLID().IsMulticast() {
				want = sl[e.host]
			}
			if e.LRH.SL() != want {
				t.Errorf("SL %d, want %d", e.LRH.SL(), want)
			}
		}
	})
}

// The rate of each path is known, and is no more than the port's.
func Test4391_S9_1_2_5_RateKnown(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		w.upAll()
		if !w.ping(1, 2) {
			t.Fatal("not reached")
		}
		v := w.host(1).ib0.Paths()
		if len(v) != 1 || !v[0].Rate.IsValid() || v[0].Rate != w.host(1).ib0.port.rdma.Attr().Rate() || v[0].MTU == 0 {
			t.Errorf("paths %+v", v)
		}
	})
}

// The queue pair number stays over a restart, so that peers with static
// entries keep their way.
func Test4391_S9_4_2_QPNOverRestart(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		w.upAll()
		a, b := w.host(1), w.host(2)
		if err := b.ib0.AddNeighbour(ip1, a.ib0.Info().Addr); err != nil {
			t.Fatal(err)
		}
		states, hw := w.drv.States(), a.ib0.Info().Addr
		w.drv.RemovePort(a.ib0.Port(), true)
		w.settle()
		at := slices.IndexFunc(states, func(s State) bool { return s.Device == "soft1" })
		p, _ := a.hca.Port(1)
		var err error
		if a.ib0, err = w.drv.AddPort(PortConfig{Port: p, NS: mustNS(t, w, "h1"), Name: "ib0", Restore: &states[at]}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if now := a.ib0.Info().Addr; now != hw {
			t.Errorf("address %v, was %v", now, hw)
		}
		if !reach(b, a, b.ib0, a.ib0, ip2, ip1) {
			t.Error("a static entry leads nowhere after the restart")
		}
	})
}
