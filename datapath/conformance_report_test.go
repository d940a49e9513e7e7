package datapath

import (
	"encoding/binary"
	"slices"
	"testing"

	"ipoib/datapath/encap"
	"ipoib/rdma"
	"ipoib/rdma/inet"
	"ipoib/rdma/mad"
)

// igmp builds an IGMP message with TTL 1 and Router Alert.
func igmp(dst string, body []byte) []byte {
	p := append([]byte{0x46, 0xc0, 0, 0, 0, 0, 0x40, 0, 1, 2, 0, 0, 10, 0, 0, 1}, addr(dst).AsSlice()...)
	p = append(append(p, 0x94, 4, 0, 0), body...)
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	binary.BigEndian.PutUint16(p[10:], inet.Checksum(p[:24], 0))
	binary.BigEndian.PutUint16(p[26:], inet.Checksum(p[24:], 0))
	return p
}

// mld builds an MLD message with hop limit 1 and Router Alert.
func mld(dst string, body []byte) []byte {
	p := []byte{0x60, 0, 0, 0, 0, 0, 0, 1}
	p = append(append(p, llA.AsSlice()...), addr(dst).AsSlice()...)
	p = append(append(p, 58, 0, 5, 2, 0, 0, 1, 0), body...)
	binary.BigEndian.PutUint16(p[4:], uint16(len(p)-40))
	binary.BigEndian.PutUint16(p[50:], inet.Checksum(p[48:], inet.Pseudo(p[8:24], p[24:40], 58, len(p)-48)))
	return p
}

// reported checks that a membership report goes, unchanged, to the group that
// it is sent to where that exists, and is dropped where it does not: all these
// groups are of link-local scope or the group's own.
func reported(t *testing.T, to string, report []byte) {
	t.Helper()
	inWorld(t, worldConfig{hosts: 2, params: Params{RFCSendOnly: true}}, func(w *world) {
		w.upAll()
		a, b := w.host(1), w.host(2)
		frames := a.tap()
		a.send(a.ib0, report)
		w.settle()
		if len(ipoib(frames(true))) != 0 || a.ib0.DropCounts()[TXNoGroup] != 1 {
			t.Errorf("%s: sent to a group that does not exist, %d dropped", to, a.ib0.DropCounts()[TXNoGroup])
		}
		recs, _ := joins(frames(true), mad.MethodSet)
		want, _ := encap.MGIDOf(a.ib0.broadcastMGID(), addr(to))
		if len(recs) == 0 || recs[0].MGID != want || recs[0].JoinState != mad.JoinSendOnlyNonMember {
			t.Errorf("%s: joins %+v", to, recs)
		}
		if err := b.ns.Join(b.ib0.Info().Ifindex, addr(to)); err != nil {
			t.Fatal(err)
		}
		w.settle()
		b.got(b.ib0)
		a.send(a.ib0, report)
		w.settle()
		if got := b.got(b.ib0); len(got) != 1 || string(got[0]) != string(report) {
			t.Errorf("%s: %d packets", to, len(got))
		}
		// All hosts and all nodes need no report and are joined from the start.
		for _, all := range []string{"224.0.0.1", "ff02::1"} {
			if g := a.group(a.ib0, all); g == nil || g.SendOnly {
				t.Errorf("%s: %+v", all, g)
			}
		}
	})
}

func Test3376_1_IGMPv3Report(t *testing.T) {
	reported(t, "224.0.0.22", igmp("224.0.0.22", []byte{0x22, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 239, 1, 2, 3}))
}

func Test2236_1_IGMPv2Leave(t *testing.T) {
	reported(t, "224.0.0.2", igmp("224.0.0.2", []byte{0x17, 0, 0, 0, 239, 1, 2, 3}))
}

func Test2710_1_MLDv1Done(t *testing.T) {
	reported(t, "ff02::2", mld("ff02::2", append([]byte{132, 0, 0, 0, 0, 0, 0, 0}, addr("ff02::1:3").AsSlice()...)))
}

func Test3810_1_MLDv2Report(t *testing.T) {
	reported(t, "ff02::16", mld("ff02::16", append([]byte{143, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0}, addr("ff02::1:3").AsSlice()...)))
}

// Membership at the SA steers delivery, a report without it does nothing.
func TestSnoop_1_MembershipSteers(t *testing.T) {
	inWorld(t, worldConfig{hosts: 3}, func(w *world) {
		w.upAll()
		a, b, c := w.host(1), w.host(2), w.host(3)
		if err := b.ns.Join(b.ib0.Info().Ifindex, addr("239.1.2.3")); err != nil {
			t.Fatal(err)
		}
		w.settle()
		report := igmp("224.0.0.22", []byte{0x22, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 239, 1, 2, 3})
		c.send(c.ib0, report)
		w.settle()
		frames := c.tap()
		if !reach(a, b, a.ib0, b.ib0, ip1, addr("239.1.2.3")) {
			t.Error("the member does not receive")
		}
		for _, f := range ipoib(frames(false)) {
			if f.GRH != nil && f.GRH.DGID() == mustGID("ff12:401b:ffff::f01:203") {
				t.Error("a port that only reported receives")
			}
		}
	})
}

// The group is joined before the report of it is sent.
func TestSnoop_2_JoinBeforeReport(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2}, func(w *world) {
		w.upAll()
		a := w.host(1)
		frames := a.tap()
		if err := a.ns.Join(a.ib0.Info().Ifindex, addr("239.1.2.3")); err != nil {
			t.Fatal(err)
		}
		report := igmp("224.0.0.22", []byte{0x22, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 239, 1, 2, 3})
		a.send(a.ib0, report)
		w.settle()
		var order []string
		for _, f := range frames(true) {
			if recs, _ := joins([]frame{f}, mad.MethodSet); len(recs) == 1 && recs[0].JoinState == mad.JoinFullMember {
				order = append(order, "join "+recs[0].MGID.String())
			}
			if f.BTH.DestQP() == rdma.QPNMulticast && string(f.Payload[4:]) == string(report) {
				order = append(order, "report")
			}
		}
		if want := []string{"join ff12:401b:ffff::f01:203", "report"}; !slices.Equal(order, want) {
			t.Errorf("order %q", order)
		}
	})
}
