package datapath

import (
	"slices"
	"testing"
	"time"

	"ipoib/datapath/encap"
	"ipoib/rdma"
	"ipoib/rdma/mad"
)

func (h *host) group(i *Interface, ip string) *GroupView {
	g, _ := encap.MGIDOf(i.broadcastMGID(), addr(ip))
	for _, v := range i.Groups() {
		if v.MGID == g {
			return &v
		}
	}
	return nil
}

// 4391-§10-1, -§4-1 to -6: a group is joined before it is sent to; the frame
// names MLID, MGID and the multicast queue pair.
func Test4391_S10_1_JoinThenSend(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		w.upAll()
		a, b := w.host(1), w.host(2)
		for _, c := range []struct{ ip, mgid string }{
			{"239.1.2.3", "ff12:401b:ffff::f01:203"},
			{"239.255.255.255", "ff12:401b:ffff::fff:ffff"},
			{"ff0e::1:2", "ff12:601b:ffff::1:2"},
			{"ff3e:40:2001:db8::1", "ff12:601b:ffff:db8::1"},
		} {
			if err := b.ns.Join(b.ib0.Info().Ifindex, addr(c.ip)); err != nil {
				t.Fatal(err)
			}
			w.settle()
			frames := a.tap()
			src := ip1
			if addr(c.ip).Is6() {
				src = six1
			}
			if !reach(a, b, a.ib0, b.ib0, src, addr(c.ip)) {
				t.Errorf("%s: not received", c.ip)
			}
			g := a.group(a.ib0, c.ip)
			if g == nil || !g.SendOnly || b.group(b.ib0, c.ip).SendOnly {
				t.Fatalf("%s: %+v", c.ip, g)
			}
			joined := false
			for _, f := range frames(true) {
				if recs, _ := joins([]frame{f}, mad.MethodSet); len(recs) == 1 && recs[0].MGID == mustGID(c.mgid) {
					joined = true
				}
				if f.BTH.DestQP() == rdma.QPNMulticast && f.GRH != nil {
					if !joined || f.GRH.DGID() != mustGID(c.mgid) || f.LRH.DLID() != g.MLID {
						t.Errorf("%s: frame to %v, LID %v, joined %v", c.ip, f.GRH.DGID(), f.LRH.DLID(), joined)
					}
				}
			}
		}
	})
}

func mustGID(s string) rdma.GID { return rdma.GID(addr(s).As16()) }

// 4391-§10-9, -13, 4392-§4.2.2-1: listening and leaving follow the host.
func Test4391_S10_9_FollowsTheHost(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		w.upAll()
		a, b := w.host(1), w.host(2)
		dst := addr("239.1.2.3")
		if reach(a, b, a.ib0, b.ib0, ip1, dst) {
			t.Error("received without listening")
		}
		if err := b.ns.Join(b.ib0.Info().Ifindex, dst); err != nil {
			t.Fatal(err)
		}
		w.settle()
		if !reach(a, b, a.ib0, b.ib0, ip1, dst) {
			t.Error("not received")
		}
		if err := b.ns.Leave(b.ib0.Info().Ifindex, dst); err != nil {
			t.Fatal(err)
		}
		w.settle()
		if b.group(b.ib0, "239.1.2.3") != nil || reach(a, b, a.ib0, b.ib0, ip1, dst) {
			t.Error("received after leaving")
		}
		// The host joined is counted in multicast, not the broadcast.
		if n := b.ib0.Stats().Multicast; n == 0 {
			t.Error("no multicast counted")
		}
	})
}

// 4391-§10-2, -3, -8: with joins after the letter of the RFC, what has no
// group goes to the all-routers group, and link-local nowhere.
func Test4391_S10_3_AllRouters(t *testing.T) {
	cfg := worldConfig{hosts: 2, params: Params{RFCSendOnly: true}}
	inWorld(t, cfg, func(w *world) {
		w.upAll()
		a, b := w.host(1), w.host(2)
		all := addr("224.0.0.2")
		if err := b.ns.Join(b.ib0.Info().Ifindex, all); err != nil {
			t.Fatal(err)
		}
		w.settle()
		if !reach(a, b, a.ib0, b.ib0, ip1, addr("239.9.9.9")) {
			t.Error("a packet of wide scope did not reach the routers")
		}
		if reach(a, b, a.ib0, b.ib0, ip1, addr("224.0.0.99")) {
			t.Error("a link-local packet reached the routers")
		}
		if a.ib0.DropCounts()[TXNoGroup] == 0 {
			t.Error("not counted")
		}
		// The group is created: the next packet goes there (trap 66).
		if err := b.ns.Join(b.ib0.Info().Ifindex, addr("239.9.9.9")); err != nil {
			t.Fatal(err)
		}
		w.settle()
		if !reach(a, b, a.ib0, b.ib0, ip1, addr("239.9.9.9")) {
			t.Error("not received after the group was created")
		}
		if g := a.group(a.ib0, "239.9.9.9"); g == nil || !g.Complete {
			t.Errorf("%+v", g)
		}
	})
}

// 4392-§4.2.5-1, -2: sending ends, membership ends; the broadcast group stays.
func Test4392_S4_2_5_1_IdleSender(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		w.upAll()
		a := w.host(1)
		frames := a.tap()
		a.send(a.ib0, ip4(ip1, addr("239.1.2.3"), 8))
		w.settle()
		if g := a.group(a.ib0, "239.1.2.3"); g == nil || !g.SendOnly {
			t.Fatalf("%+v", g)
		}
		for range 10 { // in use
			time.Sleep(10 * time.Second)
			a.send(a.ib0, ip4(ip1, addr("239.1.2.3"), 8))
		}
		if a.group(a.ib0, "239.1.2.3") == nil {
			t.Error("left while in use")
		}
		time.Sleep(5 * time.Minute)
		if a.group(a.ib0, "239.1.2.3") != nil {
			t.Error("not left")
		}
		recs, _ := joins(frames(true), mad.MethodDelete)
		if len(recs) != 1 || recs[0].MGID != mustGID("ff12:401b:ffff::f01:203") || recs[0].JoinState != mad.JoinSendOnlyFullMember {
			t.Errorf("left %+v", recs)
		}
		if !a.ib0.Info().Carrier {
			t.Error("no carrier")
		}
	})
}

// 4391-§11-1 to -3, 4392-§4.2.3-1: a host in all-multicast mode is a router:
// it joins every group as NonMember, those of now and those to come.
func Test4391_S11_2_RouterReceivesAll(t *testing.T) {
	inWorld(t, worldConfig{hosts: 3}, func(w *world) {
		w.upAll()
		a, b, r := w.host(1), w.host(2), w.host(3)
		for _, ip := range []string{"239.1.1.1"} {
			if err := b.ns.Join(b.ib0.Info().Ifindex, addr(ip)); err != nil {
				t.Fatal(err)
			}
		}
		w.settle()
		frames := r.tap()
		r.setAllMulti(true)
		w.settle()
		if !reach(a, r, a.ib0, r.ib0, ip1, addr("239.1.1.1")) {
			t.Error("a group of before is not received")
		}
		if err := b.ns.Join(b.ib0.Info().Ifindex, addr("239.1.1.2")); err != nil {
			t.Fatal(err)
		}
		w.settle()
		if !reach(a, r, a.ib0, r.ib0, ip1, addr("239.1.1.2")) {
			t.Error("a new group is not received")
		}
		recs, _ := joins(frames(true), mad.MethodSet)
		n := 0
		for _, rec := range recs {
			if rec.JoinState == mad.JoinNonMember {
				n++
			}
		}
		if n < 3 { // two solicited-node groups and the two above, at least
			t.Errorf("%d NonMember joins", n)
		}
		if list := saMADs(frames(true)); !slices.ContainsFunc(list, func(m *mad.MAD) bool {
			return m.Method() == mad.MethodGetTable && m.AttrID() == mad.AttrMCMemberRecord
		}) {
			t.Error("the groups were not listed")
		}
		// 4391-§11-4: that keeps no group alive.
		for _, ip := range []string{"239.1.1.1", "239.1.1.2"} {
			if err := b.ns.Leave(b.ib0.Info().Ifindex, addr(ip)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Minute)
		for _, g := range w.sm.State().Groups {
			if ip, ok := encap.IPv4Group(g.Record.MGID); ok && ip.As4()[1] == 1 {
				t.Errorf("group %v lives", ip)
			}
		}
		r.setAllMulti(false)
		w.settle()
		for _, g := range r.ib0.Groups() {
			if g.NonMember {
				t.Errorf("still in %v", g.MGID)
			}
		}
	})
}

func (h *host) setAllMulti(on bool) {
	h.w.t.Helper()
	if err := h.ns.SetAllMulti(h.ib0.Info().Ifindex, on); err != nil {
		h.w.t.Fatal(err)
	}
}

// umcast leaves groups alone that another user of the port has joined.
func TestUmcast(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		w.upAll()
		a, b := w.host(1), w.host(2)
		p := b.peer()
		p.join(mustGID("ff12:401b:ffff::f01:203"), mad.JoinFullMember)
		if err := b.ib0.SetUmcast(true); err != nil {
			t.Fatal(err)
		}
		if len(w.logged("ignoring multicast groups joined directly by userspace")) != 1 {
			t.Error("not logged")
		}
		for _, ip := range []string{"239.1.2.3", "239.1.2.4"} {
			if err := b.ns.Join(b.ib0.Info().Ifindex, addr(ip)); err != nil {
				t.Fatal(err)
			}
		}
		w.settle()
		if reach(a, b, a.ib0, b.ib0, ip1, addr("239.1.2.3")) || b.group(b.ib0, "239.1.2.3") != nil {
			t.Error("the group of another user was taken")
		}
		if !reach(a, b, a.ib0, b.ib0, ip1, addr("239.1.2.4")) {
			t.Error("the own group is not received")
		}
		_ = p.take(0)
		if err := b.ib0.SetUmcast(false); err != nil {
			t.Fatal(err)
		}
		_ = b.ns.Leave(b.ib0.Info().Ifindex, addr("239.1.2.3"))
		_ = b.ns.Join(b.ib0.Info().Ifindex, addr("239.1.2.3"))
		w.settle()
		if !reach(a, b, a.ib0, b.ib0, ip1, addr("239.1.2.3")) {
			t.Error("not received without umcast")
		}
	})
}

// 4392-§4.2-1: an own multicast that comes back is not received, also where
// the device does not block it.
func Test4392_S4_2_1_NoEcho(t *testing.T) {
	inWorld(t, worldConfig{hosts: 1}, func(w *world) {
		w.upAll()
		h := w.host(1)
		if err := h.ns.Join(h.ib0.Info().Ifindex, addr("239.1.2.3")); err != nil {
			t.Fatal(err)
		}
		w.settle()
		h.got(h.ib0)
		for range 3 {
			h.send(h.ib0, ip4(ip1, addr("239.1.2.3"), 8))
			h.send(h.ib0, ip4(ip1, addr("10.0.0.255"), 8))
		}
		w.settle()
		if got := h.got(h.ib0); len(got) != 0 {
			t.Errorf("%d packets came back", len(got))
		}
		v := &rxView{lid: 5, qpn: 72, gid: rdma.MakeGID(0xfe80000000000000, 7)}
		for _, c := range []struct {
			lid  rdma.LID
			qpn  rdma.QPN
			guid rdma.GUID
			grh  bool
			want bool
		}{{5, 72, 7, true, true}, {5, 72, 0, false, true}, {5, 72, 8, true, false}, {6, 72, 7, true, false}, {5, 73, 7, true, false}} {
			wc := &rdma.WorkCompletion{SLID: c.lid, SrcQP: c.qpn}
			if c.grh {
				wc.Flags = rdma.WCGRH
				wc.GRH.SGID = rdma.MakeGID(0xfe80000000000000, c.guid)
			}
			if got := h.ib0.isEcho(v, wc); got != c.want {
				t.Errorf("%+v: %v", c, got)
			}
		}
	})
}

// Two interfaces of one port hear each other's multicast.
func TestSiblingMulticast(t *testing.T) {
	inWorld(t, worldConfig{hosts: 1}, func(w *world) {
		w.upAll()
		h := w.host(1)
		c, err := w.drv.NewChild(h.ib0, ChildConfig{Name: "c"})
		if err != nil {
			t.Fatal(err)
		}
		h.up(c, 0)
		w.settle()
		for _, i := range []*Interface{h.ib0, c} {
			if err := h.ns.Join(i.Info().Ifindex, addr("239.1.2.3")); err != nil {
				t.Fatal(err)
			}
		}
		w.settle()
		h.got(c)
		h.send(h.ib0, ip4(ip1, addr("239.1.2.3"), 8))
		w.settle()
		if got := h.got(c); len(got) != 1 {
			t.Errorf("%d packets", len(got))
		}
	})
}
