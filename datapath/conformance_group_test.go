package datapath

import (
	"slices"
	"sync"
	"testing"
	"time"

	"ipoib/datapath/encap"
	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// joinsOf returns the membership requests that the hosts sent with a method.
func (l *life) joinsOf(method mad.Method) (recs []mad.MCMemberRecord, mads []*mad.MAD) {
	for _, e := range l.events {
		if m, r := e.membership(); m != nil && e.sent && m.Method() == method {
			recs, mads = append(recs, r), append(mads, m)
		}
	}
	return recs, mads
}

// A group is asked for once, however many packets go there.
func Test4391_S10_6_Cache(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		asked := map[rdma.GID]int{}
		for _, e := range l.events {
			if m, r := e.membership(); m != nil && e.sent && e.host == 1 && m.Method() == mad.MethodSet {
				asked[r.MGID]++
			}
		}
		packets := map[rdma.GID]int{}
		for _, e := range l.multicasts() {
			if e.host == 1 {
				packets[e.GRH.DGID()]++
			}
		}
		often := 0
		for g, n := range packets {
			if asked[g] != 1 {
				t.Errorf("%d packets to %v, %d requests", n, g, asked[g])
			}
			if n >= 3 {
				often++
			}
		}
		atLeast(t, "groups with several packets", often, len(l.played))
	})
}

// Senders subscribe to the traps 66 and 67, and answer each report.
func Test4391_S10_7_SubscribesAndAnswers(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		subscribed := map[mad.TrapNumber]int{}
		reports, answers := 0, 0
		for _, e := range l.events {
			m := e.mad()
			if m == nil {
				continue
			}
			var i mad.InformInfo
			switch {
			case e.sent && m.Method() == mad.MethodSet && m.AttrID() == mad.AttrInformInfo && m.Attr(&i) == nil:
				if !i.IsGeneric || i.LIDRangeBegin != 0xffff || i.GID != (rdma.GID{}) {
					t.Errorf("%+v", i)
				}
				if i.Subscribe {
					subscribed[i.TrapNumber]++
				}
			case !e.sent && m.Method() == mad.MethodReport:
				reports++
			case e.sent && m.Method() == mad.MethodReportResp:
				answers++
			}
		}
		if len(subscribed) != 2 || subscribed[66] < 2 || subscribed[67] < 2 {
			t.Errorf("subscriptions %v", subscribed)
		}
		atLeast(t, "reports", reports, 4)
		if answers != reports {
			t.Errorf("%d reports, %d answers", reports, answers)
		}
	})
}

// What went to the all-routers group goes to the group itself as soon as that
// is created.
func Test4391_S10_8_MovesToTheGroup(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2, params: Params{RFCSendOnly: true}}, func(w *world) {
		w.upAll()
		a, b := w.host(1), w.host(2)
		if err := b.ns.Join(b.ib0.Info().Ifindex, addr("224.0.0.2")); err != nil {
			t.Fatal(err)
		}
		w.settle()
		dst := addr("239.9.9.9")
		to := func() rdma.GID {
			t.Helper()
			frames := a.tap()
			pkt := ip4(ip1, dst, 99)
			a.send(a.ib0, pkt)
			w.settle()
			for _, f := range ipoib(frames(true)) {
				if string(f.Payload[4:]) == string(pkt) {
					return f.GRH.DGID()
				}
			}
			t.Fatal("not sent")
			return rdma.GID{}
		}
		to() // the all-routers group is looked up meanwhile
		if g := to(); g != mustGID("ff12:401b:ffff::2") {
			t.Errorf("without the group to %v", g)
		}
		if err := b.ns.Join(b.ib0.Info().Ifindex, dst); err != nil {
			t.Fatal(err)
		}
		w.settle()
		if g := to(); g != mustGID("ff12:401b:ffff::f09:909") {
			t.Errorf("with the group to %v", g)
		}
	})
}

// Without an all-routers group packets of wide scope go by broadcast, and
// those of link-local scope nowhere.
func Test4391_S10_2_ByBroadcast(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2, params: Params{RFCSendOnly: true}}, func(w *world) {
		w.upAll()
		a := w.host(1)
		frames := a.tap()
		wide, local := ip4(ip1, addr("239.9.9.9"), 50), ip4(ip1, addr("224.0.0.99"), 51)
		for range 3 {
			a.send(a.ib0, wide)
			a.send(a.ib0, local)
			w.settle()
		}
		n := 0
		for _, f := range ipoib(frames(true)) {
			switch string(f.Payload[4:]) {
			case string(wide):
				if n++; f.GRH.DGID() != a.ib0.broadcastMGID() {
					t.Errorf("to %v", f.GRH.DGID())
				}
			case string(local):
				t.Error("a link-local packet was sent")
			}
		}
		if n != 3 || a.ib0.DropCounts()[TXNoGroup] != 3 {
			t.Errorf("%d sent, %d dropped", n, a.ib0.DropCounts()[TXNoGroup])
		}
		// 4391-§10-3: the SA is not asked again for every packet.
		recs, _ := joins(frames(true), mad.MethodSet)
		if len(recs) > 3 { // the two groups and all-routers
			t.Errorf("%d requests", len(recs))
		}
	})
}

// A group is created with exactly the MTU of the broadcast group.
func Test4391_S10_10_MTUOfTheLink(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		n := 0
		_, mads := l.joinsOf(mad.MethodSet)
		for _, m := range mads {
			if m.ComponentMask()&mad.MCRQKey == 0 {
				continue // joins of what exists
			}
			n++
			code := map[int]byte{2048: 4, 4096: 5}[l.mtu]
			if b := m.SAData()[38]; b != 0x80|code {
				t.Errorf("MTU octet %#x", b)
			}
		}
		atLeast(t, "groups", n, 8)
	})
}

// A group has P_Key, Q_Key, SL, MTU and hop limit of the broadcast group.
func Test4391_S10_11_CopiedParameters(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		recs, mads := l.joinsOf(mad.MethodSet)
		n := 0
		for k, r := range recs {
			if encap.IsBroadcastMGID(r.MGID) {
				continue
			}
			n++
			b := l.groups[encap.BroadcastMGID(encap.Scope(l.scope), encap.MGIDPKey(r.MGID))]
			if mads[k].ComponentMask() != 0x173f7 || r.PKey != b.PKey || r.QKey != b.QKey || r.SL != b.SL || r.MTU != b.MTU || r.HopLimit != b.HopLimit {
				t.Errorf("mask %#x, request %+v\nbroadcast %+v", uint64(mads[k].ComponentMask()), r, b)
			}
		}
		atLeast(t, "requests", n, 12)
	})
}

// Rate, TClass and FlowLabel follow the broadcast group too.
func Test4391_S10_12_OtherAttributes(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		recs, _ := l.joinsOf(mad.MethodSet)
		for _, r := range recs {
			if encap.IsBroadcastMGID(r.MGID) {
				continue
			}
			b := l.groups[encap.BroadcastMGID(encap.Scope(l.scope), encap.MGIDPKey(r.MGID))]
			if r.Rate != b.Rate || r.RateSelector != mad.SelectExactly || r.TClass != l.tclass || r.FlowLabel != l.flow {
				t.Errorf("request %+v\nbroadcast %+v", r, b)
			}
			if got := l.groups[r.MGID]; got.Rate != b.Rate || got.TClass != l.tclass || got.FlowLabel != l.flow {
				t.Errorf("group %+v", got)
			}
		}
	})
}

// A router joins groups of both signatures, and no others.
func Test4391_S11_2_BothSignatures(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		w.upAll()
		r, b := w.host(1), w.host(2)
		p := b.peer()
		for _, g := range []string{"ff12:401b:ffff::f01:101", "ff12:601b:ffff::1:9", "ff12:1234:ffff::77"} {
			p.join(mustGID(g), mad.JoinFullMember)
		}
		frames := r.tap()
		r.setAllMulti(true)
		w.settle()
		w.settle()
		var got []string
		recs, _ := joins(frames(true), mad.MethodSet)
		for _, rec := range recs {
			if rec.JoinState == mad.JoinNonMember {
				got = append(got, rec.MGID.String())
			}
		}
		for g, want := range map[string]bool{
			"ff12:401b:ffff::f01:101": true, "ff12:601b:ffff::1:9": true,
			"ff12:1234:ffff::77": false,
		} {
			if slices.Contains(got, g) != want {
				t.Errorf("%s: %v", g, !want)
			}
		}
	})
}

// The router's joins follow the reports of creations, which are subscribed to
// for all MGIDs.
func Test4391_S11_3_JoinsNewGroups(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		w.upAll()
		r, b := w.host(1), w.host(2)
		r.setAllMulti(true)
		w.settle()
		frames := r.tap()
		if err := b.ns.Join(b.ib0.Info().Ifindex, addr("239.1.1.7")); err != nil {
			t.Fatal(err)
		}
		w.settle()
		created := false
		for _, m := range saMADs(frames(false)) {
			if n, err := m.Notice(); err == nil && m.Method() == mad.MethodReport && n.TrapNumber == 66 {
				created = true
			}
		}
		recs, _ := joins(frames(true), mad.MethodSet)
		if !created || len(recs) != 1 || recs[0].MGID != mustGID("ff12:401b:ffff::f01:107") || recs[0].JoinState != mad.JoinNonMember {
			t.Errorf("report %v, joins %+v", created, recs)
		}
	})
}

// A report of deletion frees what the router has of a group; when the group is
// created again, with another MLID perhaps, it is joined again.
func Test4392_S4_2_3_1_GroupsComeAndGo(t *testing.T) {
	inWorld(t, worldConfig{hosts: 3}, func(w *world) {
		w.upAll()
		r, b, c := w.host(1), w.host(2), w.host(3)
		r.setAllMulti(true)
		w.settle()
		group, mgid := addr("239.1.1.7"), mustGID("ff12:401b:ffff::f01:107")
		routed := func() *GroupView {
			for _, g := range r.ib0.Groups() {
				if g.MGID == mgid {
					return &g
				}
			}
			return nil
		}
		for round := range 3 {
			if err := b.ns.Join(b.ib0.Info().Ifindex, group); err != nil {
				t.Fatal(err)
			}
			w.settle()
			if g := routed(); g == nil || !g.NonMember || !g.Complete {
				t.Fatalf("round %d: %+v", round, g)
			}
			r.got(r.ib0)
			c.send(c.ib0, ip4(c.ip(), group, 8))
			w.settle()
			if got := r.got(r.ib0); len(got) != 1 {
				t.Errorf("round %d: the router got %d packets", round, len(got))
			}
			// The sender's membership, too, would keep the group.
			c.ib0.loop.call(func() { c.ib0.groups.Deleted(mgid) })
			if err := b.ns.Leave(b.ib0.Info().Ifindex, group); err != nil {
				t.Fatal(err)
			}
			w.settle()
			if g := routed(); g != nil {
				t.Errorf("round %d: the group is gone, the router has %+v", round, g)
			}
		}
		if n := len(w.logged("multicast join failed")); n != 0 {
			t.Errorf("%v", w.logged("multicast join failed"))
		}
		// What the host listens to itself stays.
		if err := r.ns.Join(r.ib0.Info().Ifindex, group); err != nil {
			t.Fatal(err)
		}
		w.settle()
		r.ib0.port.onGroup(mgid, false)
		w.settle()
		if g := routed(); g == nil || g.NonMember || !g.Complete {
			t.Errorf("%+v", g)
		}
	})
}

// A router that sends to a group that nobody listens to keeps it, as any sender
// does, and hears what others send there.
func TestRouterSends(t *testing.T) {
	inWorld(t, worldConfig{hosts: 3}, func(w *world) {
		w.upAll()
		r, b, c := w.host(1), w.host(2), w.host(3)
		r.setAllMulti(true)
		w.settle()
		group, mgid := addr("239.1.1.7"), mustGID("ff12:401b:ffff::f01:107")
		state := func(h *host) mad.JoinState {
			st := w.sm.State()
			g, _ := st.Group(mgid)
			for _, m := range g.Members {
				if m.GID.GUID() == h.ib0.port.rdma.GUID() {
					return m.JoinState
				}
			}
			return 0
		}
		const sender = mad.JoinSendOnlyFullMember
		frames := r.tap()
		for range 5 {
			r.send(r.ib0, ip4(r.ip(), group, 8))
			w.settle()
		}
		if got := state(r); got != sender|mad.JoinNonMember {
			t.Errorf("the router's state is %d", got)
		}
		sent := 0
		for _, f := range ipoib(frames(true)) {
			if f.GRH != nil && f.GRH.DGID() == mgid {
				sent++
			}
		}
		recs, _ := joins(frames(true), mad.MethodSet)
		if n := len(w.logged("join failed")); sent != 5 || len(recs) != 2 || n != 0 {
			t.Errorf("%d of 5 packets were sent; joins %+v; %d failed", sent, recs, n)
		}
		c.send(c.ib0, ip4(c.ip(), group, 8))
		w.settle()
		if got := r.got(r.ib0); len(got) != 1 {
			t.Errorf("the router got %d packets", len(got))
		}
		// The senders end; a listener comes.
		if err := b.ns.Join(b.ib0.Info().Ifindex, group); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if rs, cs := state(r), state(c); rs != mad.JoinNonMember || cs != 0 {
			t.Errorf("router %d, sender %d", rs, cs)
		}
		r.got(r.ib0)
		c.send(c.ib0, ip4(c.ip(), group, 8))
		w.settle()
		if got := r.got(r.ib0); len(got) != 1 {
			t.Errorf("the router got %d packets", len(got))
		}
		r.setAllMulti(false)
		w.settle()
		if got := state(r); got != 0 {
			t.Errorf("no router any more: %d", got)
		}
	})
}

// Where the subnet has controlled Q_Keys, they are in all transmissions.
func Test4391_S13_2_ControlledQKeys(t *testing.T) {
	l := lifeOf(t, lifeConfigs[1])
	for _, e := range l.messages() {
		if !e.DETH.QKey().IsControlled() {
			t.Errorf("Q_Key %v", e.DETH.QKey())
		}
	}
}

// Joining is SubnAdmSet, leaving is SubnAdmDelete; nothing else changes a
// membership.
func Test4392_S1_3_2_1_SetAndDelete(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		methods := map[mad.Method]int{}
		for _, e := range l.events {
			if m, r := e.membership(); m != nil && e.sent {
				methods[m.Method()]++
				if r.PortGID != l.gids[e.host] || r.JoinState == 0 {
					t.Errorf("%v of %+v", m, r)
				}
			}
		}
		if len(methods) != 2 || methods[mad.MethodSet] < 10 || methods[mad.MethodDelete] < 6 {
			t.Errorf("methods %v", methods)
		}
	})
}

// Each MGID has the transient bit, also in requests that the SA answers with a
// record of its own.
func Test4392_S3_2_2_1_Transient(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		atLeast(t, "groups", len(l.groups), 12)
		for g := range l.groups {
			if g[1]>>4 != 1 {
				t.Errorf("%v", g)
			}
		}
	})
}

// A link comes up in order: P_Key, join, parameters, carrier.
func Test4392_S4_1_BringUp(t *testing.T) {
	inWorld(t, worldConfig{partitions: loud, params: Params{Scope: encap.ScopeSiteLocal}}, func(w *world) {
		h := w.host(1)
		var mu sync.Mutex
		var states []Info // guarded by mu
		cancel := w.drv.Subscribe(func(c Change) {
			mu.Lock()
			defer mu.Unlock()
			if c.New != nil {
				states = append(states, *c.New)
			}
		})
		defer cancel()
		w.sm.Pause(true)
		h.up(h.ib0, 0)
		w.settle()
		if i := h.ib0.Info(); !i.Up || i.Carrier {
			t.Errorf("without an answer to the join: %+v", i)
		}
		w.sm.Pause(false)
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		carrier := slices.IndexFunc(states, func(i Info) bool { return i.Carrier })
		if carrier < 1 || states[carrier].MTU != 4092 || states[carrier].QKey != 0x80001234 || states[carrier-1].Carrier {
			t.Errorf("states %+v", states)
		}
		if !states[0].Up || states[0].PKey != 0xffff {
			t.Errorf("first %+v", states[0])
		}
	})
}

// P_Key and scope are known before the join, and are in it.
func Test4392_S4_3_KnownBeforeTheJoin(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		first := map[end]mad.MCMemberRecord{}
		recs, _ := l.joinsOf(mad.MethodSet)
		for _, r := range recs {
			k := end{qpn: rdma.QPN(r.PKey)}
			if _, ok := first[k]; !ok {
				first[k] = r
			}
		}
		if len(first) != 2 {
			t.Errorf("P_Keys %v", first)
		}
		for k, r := range first {
			if r.MGID != encap.BroadcastMGID(encap.Scope(l.scope), rdma.PKey(k.qpn)) || r.JoinState != mad.JoinFullMember {
				t.Errorf("first join %+v", r)
			}
		}
	})
}

// The broadcast group and what the host listens to are never left while the
// link is up.
func Test4392_S4_2_5_2_BroadcastStays(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		w.upAll()
		frames := w.host(1).tap()
		time.Sleep(30 * time.Minute)
		if recs, _ := joins(frames(true), mad.MethodDelete); len(recs) != 0 {
			t.Errorf("left %+v", recs)
		}
		if !w.ping(1, 2) {
			t.Error("no connection")
		}
	})
}

// The SL of a path is the SA's decision.
func Test4392_S5_1_SLOfThePath(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2, partitions: loud, params: Params{Scope: encap.ScopeSiteLocal}}, func(w *world) {
		frames := w.host(1).tap()
		w.upAll()
		if !w.ping(1, 2) {
			t.Fatal("not reached")
		}
		var r mad.PathRecord
		for _, m := range saMADs(frames(false)) {
			if m.AttrID() == mad.AttrPathRecord && m.Method() == mad.MethodGetResp {
				if err := m.Attr(&r); err != nil {
					t.Fatal(err)
				}
			}
		}
		if u, _ := w.host(1).handles(w.host(2)); r.DLID == 0 || u.SL != r.SL || u.DLID != r.DLID {
			t.Errorf("path %+v, used %+v", r, u)
		}
	})
}
