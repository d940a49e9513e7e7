package sm

import (
	"testing"
	"testing/synctest"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// inform is a subscription to a trap from all sources.
func inform(trap mad.TrapNumber) mad.InformInfo {
	return mad.InformInfo{
		LIDRangeBegin: rdma.LIDPermissive, IsGeneric: true, Subscribe: true, Type: mad.InformTypeAll, TrapNumber: trap,
		QPN: 1, RespTimeValue: 19, ProducerType: mad.ProducerAll,
	}
}

func (n *vectorNet) inform(t *testing.T, i int, info mad.InformInfo, key ...uint64) (mad.Status, *mad.InformInfo) {
	t.Helper()
	status, out, ok := record(t, n.raw[i], mad.MethodSet, mad.AttrInformInfo, 0, &info, key...)
	if !ok {
		t.Fatal("no answer")
	}
	return status, out
}

// reports collects the reports that came to an adapter.
func (n *vectorNet) reports(t *testing.T, i int) []mad.Notice {
	t.Helper()
	time.Sleep(reportTimeout / 2)
	synctest.Wait()
	var out []mad.Notice
	for len(n.raw[i].got) > 0 {
		m := <-n.raw[i].got
		notice, err := m.Notice()
		if err != nil || m.Method() != mad.MethodReport {
			t.Fatalf("%v: %v", m, err)
		}
		out = append(out, notice)
	}
	return out
}

// Test4392_S1_3_2_3_1_GroupTraps: creation and deletion are reported to the
// subscribers of the group's partition, by MGID or to all.
func Test4392_S1_3_2_3_1_GroupTraps(t *testing.T) {
	inVectorNet(t, vectorPartitions, func(t *testing.T, n *vectorNet) {
		n.raw[2].auto.Store(true)
		n.raw[3].auto.Store(true)
		other := rdma.MustParseGID("ff12:401b:ffff::99")
		one := inform(mad.TrapMCGroupDeleted)
		one.GID, one.LIDRangeBegin = groupMGID, 0
		for i, info := range map[int]mad.InformInfo{2: inform(mad.TrapAll), 3: one} {
			if status, got := n.inform(t, i, info); status != 0 || *got != info {
				t.Fatalf("subscribe: %v %+v", status, got)
			}
		}
		for _, g := range []rdma.GID{groupMGID, other} {
			n.join(t, 1, mad.MCRJoinCreate, n.createRec(1, g))
		}
		for _, g := range []rdma.GID{groupMGID, other} {
			n.leave(t, 1, g, n.portGID(1), 1)
		}
		// A group of partition 2, which adapter 3 is not in.
		blue := n.createRec(1, rdma.MustParseGID("ff12:401b:8002::5"))
		blue.PKey = 0x8002
		if status, _ := n.join(t, 1, mad.MCRJoinCreate, blue); status != 0 {
			t.Fatal(status)
		}
		want := []struct {
			trap mad.TrapNumber
			gid  rdma.GID
		}{{66, groupMGID}, {66, other}, {67, groupMGID}, {67, other}, {66, blue.MGID}}
		got := n.reports(t, 2)
		if len(got) != len(want) {
			t.Fatalf("%d reports", len(got))
		}
		for i, r := range got {
			d, err := r.ParseDetails()
			if err != nil || r.TrapNumber != want[i].trap || d.(*mad.DetailsGID).GID != want[i].gid ||
				r.IssuerLID != 1 || r.IssuerGID != n.portGID(1) || r.Type != mad.NoticeSubnMgmt {
				t.Errorf("report %d: %+v", i, r)
			}
		}
		if got := n.reports(t, 3); len(got) != 1 || got[0].TrapNumber != 67 {
			t.Errorf("by MGID: %+v", got)
		}
	})
}

// TestReportRetries: a report is repeated until it is answered; who never
// answers loses the subscription.
func TestReportRetries(t *testing.T) {
	inVectorNet(t, "", func(t *testing.T, n *vectorNet) {
		n.inform(t, 2, inform(mad.TrapMCGroupCreated))
		n.inform(t, 3, inform(mad.TrapMCGroupCreated))
		n.join(t, 1, mad.MCRJoinCreate, n.createRec(1, groupMGID))
		time.Sleep(1500 * time.Millisecond)
		n.raw[2].auto.Store(true)
		time.Sleep(10 * time.Second)
		if got := n.reports(t, 2); len(got) != 3 {
			t.Errorf("%d reports, the third was answered", len(got))
		}
		time.Sleep(time.Minute)
		if got := n.reports(t, 3); len(got) != 1+reportRetries {
			t.Errorf("%d reports in all", len(got))
		}
		st := n.sm.State()
		if len(st.Subscriptions) != 1 || st.Subscriptions[0].LID != 3 || st.Stats.SubscribersDropped != 1 {
			t.Errorf("%+v", st.Subscriptions)
		}
	})
}

func TestInformRules(t *testing.T) {
	inVectorNet(t, vectorPartitions, func(t *testing.T, n *vectorNet) {
		for _, tt := range []struct {
			name string
			set  func(i *mad.InformInfo)
			key  uint64
			want mad.Status
		}{
			{"again", func(*mad.InformInfo) {}, 0, 0},
			{"security trap", func(i *mad.InformInfo) { i.TrapNumber = mad.TrapBadPKey }, 0, mad.SAStatusReqInvalid},
			{"security trap, trusted", func(i *mad.InformInfo) { i.TrapNumber = mad.TrapBadPKey }, DefaultSMKey, 0},
			{"end of none", func(i *mad.InformInfo) { i.Subscribe, i.TrapNumber = false, 65 }, 0, mad.SAStatusReqInvalid},
			{"end", func(i *mad.InformInfo) { i.Subscribe = false }, 0, 0},
			{"unknown source", func(i *mad.InformInfo) { i.GID = rdma.MakeGID(rdma.DefaultSubnetPrefix, 0xdead) }, 0, mad.SAStatusReqInvalid},
			{"source", func(i *mad.InformInfo) { i.GID = n.portGID(3) }, 0, 0},
			{"LID out of range", func(i *mad.InformInfo) { i.LIDRangeBegin = 900 }, 0, mad.SAStatusReqInvalid},
			{"LIDs", func(i *mad.InformInfo) { i.LIDRangeBegin, i.LIDRangeEnd = 1, 0x4000 }, 0, 0},
		} {
			info := inform(mad.TrapMCGroupCreated)
			tt.set(&info)
			status, got := n.inform(t, 2, info, tt.key)
			if status != tt.want {
				t.Errorf("%s: %v", tt.name, status)
			}
			if status != 0 && got.Subscribe {
				t.Errorf("%s: refusal keeps Subscribe", tt.name)
			}
		}
		// A Subscribe field above 1 is undefined.
		m := mad.New(mad.ClassSA, mad.MethodSet, mad.AttrInformInfo)
		info := inform(66)
		m.SetAttr(&info)
		m.SAData()[23] = 2
		if got := n.raw[2].exchange(t, m); got.Status() != mad.SAStatusReqInvalid {
			t.Errorf("Subscribe 2: %v", got.Status())
		}
		recs := getTable[mad.InformInfoRecord](t, n, n.saClient2(t, 3), 3, mad.AttrInformInfoRecord, 0, nil, 0)
		if len(recs) != 3 || recs[0].InformInfo.QPN != 0 || recs[0].SubscriberGID != n.portGID(2) {
			t.Errorf("%+v", recs)
		}
		recs = getTable[mad.InformInfoRecord](t, n, n.saClient2(t, 2), 2, mad.AttrInformInfoRecord, mad.IIRTrapNumber,
			&mad.InformInfoRecord{InformInfo: mad.InformInfo{TrapNumber: mad.TrapBadPKey}}, DefaultSMKey)
		if len(recs) != 1 || recs[0].InformInfo.QPN != 1 {
			t.Errorf("%+v", recs)
		}
	})
}

// TestPortTraps: ports that come and go are reported (traps 64 and 65), and
// traps of the fabric are passed on.
func TestPortTraps(t *testing.T) {
	inVectorNet(t, "", func(t *testing.T, n *vectorNet) {
		n.raw[2].auto.Store(true)
		n.inform(t, 2, inform(mad.TrapAll))
		var traps []mad.TrapNumber
		for _, up := range []bool{false, true} {
			n.fabric.LinkAt(n.sw1.At(3)).SetUp(up)
			time.Sleep(5 * time.Second)
			for _, r := range n.reports(t, 2) {
				traps = append(traps, r.TrapNumber)
			}
		}
		count := map[mad.TrapNumber]int{}
		for _, x := range traps {
			count[x]++
		}
		if count[65] != 1 || count[64] != 1 || count[128] == 0 {
			t.Errorf("traps %v", traps)
		}
	})
}

func TestServices(t *testing.T) {
	inVectorNet(t, vectorPartitions, func(t *testing.T, n *vectorNet) {
		set := func(i int, method mad.Method, mask mad.ComponentMask, rec mad.ServiceRecord) (mad.Status, *mad.ServiceRecord) {
			t.Helper()
			status, out, ok := record(t, n.raw[i], method, mad.AttrServiceRecord, mask, &rec)
			if !ok {
				t.Fatal("no answer")
			}
			return status, out
		}
		full := mad.SRServiceID | mad.SRServiceGID | mad.SRServicePKey | mad.SRServiceLease | mad.SRServiceKey | mad.SRServiceName
		rec := mad.ServiceRecord{ServiceID: 7, ServiceGID: n.portGID(2), PKey: 0xffff, Lease: 30, Key: [16]byte{1}}
		copy(rec.Name[:], "printer")
		if status, got := set(2, mad.MethodSet, full, rec); status != 0 || got.Key != [16]byte{} || got.ServiceName() != "printer" {
			t.Errorf("%v %+v", status, got)
		}
		if status, _ := set(2, mad.MethodSet, mad.SRServiceID, rec); status != mad.SAStatusReqInvalid {
			t.Errorf("without GID: %v", status)
		}
		bad := rec
		bad.PKey = 0x8002
		if status, _ := set(3, mad.MethodSet, full, bad); status != mad.SAStatusReqInvalid {
			t.Errorf("foreign partition: %v", status)
		}
		time.Sleep(10 * time.Second)
		status, got := set(3, mad.MethodGet, mad.SRServiceName, rec)
		if status != 0 || got.ServiceID != 7 || got.Lease > 20 || got.Lease < 19 {
			t.Errorf("Get: %v %+v", status, got)
		}
		if status, _ := set(3, mad.MethodGet, mad.SRServiceID, mad.ServiceRecord{ServiceID: 8}); status != mad.SAStatusNoRecords {
			t.Errorf("Get of another: %v", status)
		}
		set(2, mad.MethodSet, full, rec) // renewal
		time.Sleep(25 * time.Second)
		if status, _ := set(3, mad.MethodGet, mad.SRServiceID, rec); status != 0 {
			t.Errorf("after renewal: %v", status)
		}
		time.Sleep(6 * time.Second)
		if status, _ := set(3, mad.MethodGet, mad.SRServiceID, rec); status != mad.SAStatusNoRecords {
			t.Errorf("after the lease: %v", status)
		}
		rec.Data16[3] = 99
		set(2, mad.MethodSet, full&^mad.SRServiceLease|mad.SRData16, rec)
		if status, got := set(3, mad.MethodGet, 1<<26, rec); status != 0 || got.Lease != mad.ServiceLeaseForever {
			t.Errorf("by data: %v %+v", status, got)
		}
		if len(n.sm.State().Services) != 1 {
			t.Errorf("%+v", n.sm.State().Services)
		}
		if status, _ := set(2, mad.MethodDelete, full, rec); status != 0 {
			t.Errorf("Delete: %v", status)
		}
		if status, _ := set(2, mad.MethodDelete, full, rec); status != mad.SAStatusNoRecords {
			t.Errorf("Delete again: %v", status)
		}
	})
}
