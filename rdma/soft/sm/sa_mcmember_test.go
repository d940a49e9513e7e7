package sm

import (
	"testing"
	"testing/synctest"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

var (
	bcastMGID = rdma.MustParseGID("ff12:401b:ffff::ffff:ffff")
	groupMGID = rdma.MustParseGID("ff12:401b:ffff::1")
)

// portGID is the GID of an adapter of the vector fabric.
func (n *vectorNet) portGID(i int) rdma.GID {
	return rdma.MakeGID(rdma.DefaultSubnetPrefix, n.ports[i].GUID())
}

// join sends a join from an adapter and returns the status and the record of
// the answer.
func (n *vectorNet) join(t *testing.T, i int, mask mad.ComponentMask, rec mad.MCMemberRecord) (mad.Status, *mad.MCMemberRecord) {
	t.Helper()
	status, out, ok := record(t, n.raw[i], mad.MethodSet, mad.AttrMCMemberRecord, mask, &rec)
	if !ok {
		t.Fatal("no answer")
	}
	return status, out
}

func (n *vectorNet) leave(t *testing.T, i int, mgid, port rdma.GID, state mad.JoinState) (mad.Status, *mad.MCMemberRecord) {
	t.Helper()
	rec := mad.MCMemberRecord{MGID: mgid, PortGID: port, JoinState: state}
	status, out, ok := record(t, n.raw[i], mad.MethodDelete, mad.AttrMCMemberRecord, mad.MCRLeave, &rec)
	if !ok {
		t.Fatal("no answer")
	}
	return status, out
}

// createRec is what an IPoIB interface creates a group with.
func (n *vectorNet) createRec(i int, mgid rdma.GID) mad.MCMemberRecord {
	return mad.MCMemberRecord{
		MGID: mgid, PortGID: n.portGID(i), QKey: DefaultGroupQKey, PKey: rdma.PKeyDefault,
		MTUSelector: mad.SelectExactly, MTU: rdma.MTU2048, RateSelector: mad.SelectExactly, Rate: rdma.Rate10,
		JoinState: mad.JoinFullMember,
	}
}

// inVectorNet runs a test on the fabric of the vectors.
func inVectorNet(t *testing.T, partitions string, f func(t *testing.T, n *vectorNet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := newVectorNet(t, partitions)
		synctest.Wait() // for the second sweep
		f(t, n)
	})
}

// TestJoinGroupPresent has the rows of "Joins, group present": what OpenSM
// answers to joins of the broadcast group.
func TestJoinGroupPresent(t *testing.T) {
	type rec = mad.MCMemberRecord
	minimal := mad.MCRMGID | mad.MCRPortGID | mad.MCRJoinState
	for _, tt := range []struct {
		name string
		from int // adapter, 2 by default
		mask mad.ComponentMask
		set  func(r *rec)
		want mad.Status
		also func(r *rec) bool
	}{
		{name: "minimal mask", mask: minimal},
		{name: "with P_Key", mask: minimal | mad.MCRPKey, set: func(r *rec) { r.PKey = 0xffff }},
		{name: "P_Key in limited form", mask: minimal | mad.MCRPKey, set: func(r *rec) { r.PKey = 0x7fff },
			also: func(r *rec) bool { return r.PKey == 0xffff }},
		{name: "P_Key of another partition", mask: minimal | mad.MCRPKey, set: func(r *rec) { r.PKey = 0x8002 },
			want: mad.SAStatusReqInvalid},
		{name: "port not in the partition of the group", from: 3, mask: minimal,
			set: func(r *rec) {
				r.MGID, r.PortGID = broadcastMGID(2, 2), rdma.MakeGID(rdma.DefaultSubnetPrefix, 0x100005)
			}, want: mad.SAStatusReqInvalid},
		{name: "Q_Key differs", mask: minimal | mad.MCRQKey, set: func(r *rec) { r.QKey = 1 }, want: mad.SAStatusReqInvalid},
		{name: "SL differs", mask: minimal | mad.MCRSL, set: func(r *rec) { r.SL = 1 }, want: mad.SAStatusReqInvalid},
		{name: "TClass differs", mask: minimal | mad.MCRTClass, set: func(r *rec) { r.TClass = 1 }, want: mad.SAStatusReqInvalid},
		{name: "flow label differs", mask: minimal | mad.MCRFlowLabel, set: func(r *rec) { r.FlowLabel = 1 }, want: mad.SAStatusReqInvalid},
		{name: "hop limit differs", mask: minimal | mad.MCRHopLimit, set: func(r *rec) { r.HopLimit = 1 }, want: mad.SAStatusReqInvalid},
		{name: "MTU exactly another", mask: minimal | mad.MCRMTUSelector | mad.MCRMTU,
			set: func(r *rec) { r.MTUSelector, r.MTU = 2, 5 }, want: mad.SAStatusReqInvalid},
		{name: "rate exactly another", mask: minimal | mad.MCRRateSelector | mad.MCRRate,
			set: func(r *rec) { r.RateSelector, r.Rate = 2, 6 }, want: mad.SAStatusReqInvalid},
		{name: "MTU greater than a smaller one", mask: minimal | mad.MCRMTUSelector | mad.MCRMTU,
			set: func(r *rec) { r.MTUSelector, r.MTU = 0, 3 }},
		{name: "MTU greater than its own", mask: minimal | mad.MCRMTUSelector | mad.MCRMTU,
			set: func(r *rec) { r.MTUSelector, r.MTU = 0, 4 }, want: mad.SAStatusReqInvalid},
		{name: "rate greater than a lower one", mask: minimal | mad.MCRRateSelector | mad.MCRRate,
			set: func(r *rec) { r.RateSelector, r.Rate = 0, 2 }},
		{name: "rate greater than its own", mask: minimal | mad.MCRRateSelector | mad.MCRRate,
			set: func(r *rec) { r.RateSelector, r.Rate = 0, 3 }, want: mad.SAStatusReqInvalid},
		{name: "MTU less than a larger one", mask: minimal | mad.MCRMTUSelector | mad.MCRMTU,
			set: func(r *rec) { r.MTUSelector, r.MTU = 1, 5 }},
		{name: "MTU less than its own", mask: minimal | mad.MCRMTUSelector | mad.MCRMTU,
			set: func(r *rec) { r.MTUSelector, r.MTU = 1, 4 }, want: mad.SAStatusReqInvalid},
		{name: "rate less than a higher one", mask: minimal | mad.MCRRateSelector | mad.MCRRate,
			set: func(r *rec) { r.RateSelector, r.Rate = 1, 6 }},
		{name: "rate less than its own", mask: minimal | mad.MCRRateSelector | mad.MCRRate,
			set: func(r *rec) { r.RateSelector, r.Rate = 1, 3 }, want: mad.SAStatusReqInvalid},
		{name: "MTU selector 3, the group's value", mask: minimal | mad.MCRMTUSelector | mad.MCRMTU,
			set: func(r *rec) { r.MTUSelector, r.MTU = 3, 4 }},
		{name: "MTU selector 3, value 0", mask: minimal | mad.MCRMTUSelector | mad.MCRMTU,
			set: func(r *rec) { r.MTUSelector, r.MTU = 3, 0 }, want: mad.SAStatusReqInvalid},
		{name: "rate selector 3, value 0", mask: minimal | mad.MCRRateSelector | mad.MCRRate,
			set: func(r *rec) { r.RateSelector, r.Rate = 3, 0 }, want: mad.SAStatusReqInvalid},
		{name: "MTU without its selector is ignored", mask: minimal | mad.MCRMTU,
			set: func(r *rec) { r.MTUSelector, r.MTU = 2, 5 }},
		{name: "rate without its selector is ignored", mask: minimal | mad.MCRRate,
			set: func(r *rec) { r.RateSelector, r.Rate = 2, 6 }},
		{name: "MTU selector without MTU compares all the same", mask: minimal | mad.MCRMTUSelector,
			set: func(r *rec) { r.MTUSelector, r.MTU = 2, 5 }, want: mad.SAStatusReqInvalid},
		{name: "packet life differs", mask: minimal | mad.MCRPacketLifeTime | mad.MCRPacketLifeTimeSelector,
			set: func(r *rec) { r.PacketLifeTimeSelector, r.PacketLifeTime = 2, 5 }},
		{name: "scope differs", mask: minimal | mad.MCRScope, set: func(r *rec) { r.Scope = 5 }},
		{name: "MLID differs", mask: minimal | mad.MCRMLID, set: func(r *rec) { r.MLID = 0xc123 }},
		{name: "JoinState 0", mask: minimal, set: func(r *rec) { r.JoinState = 0 }, want: mad.SAStatusReqInvalid},
		{name: "no PortGID in the mask", mask: mad.MCRMGID | mad.MCRJoinState, want: mad.SAStatusInsufficientComponents},
		{name: "no JoinState in the mask", mask: mad.MCRMGID | mad.MCRPortGID, want: mad.SAStatusInsufficientComponents},
		{name: "PortGID of another port", from: 3, mask: minimal,
			also: func(r *rec) bool { return r.PortGID.GUID() == 0x100003 }},
		{name: "PortGID unknown", mask: minimal,
			set:  func(r *rec) { r.PortGID = rdma.MakeGID(rdma.DefaultSubnetPrefix, 0xdead) },
			want: mad.SAStatusReqInvalid},
		{name: "PortGID with another subnet prefix", mask: minimal,
			set:  func(r *rec) { r.PortGID = rdma.MakeGID(0xfec0000000000000, 0x100003) },
			want: mad.SAStatusReqInvalidGID},
		{name: "P_Key without partition", mask: minimal | mad.MCRPKey, set: func(r *rec) { r.PKey = 0x8000 },
			want: mad.SAStatusReqInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inVectorNet(t, vectorPartitions, func(t *testing.T, n *vectorNet) {
				r := rec{MGID: bcastMGID, PortGID: n.portGID(2), JoinState: mad.JoinFullMember}
				if tt.set != nil {
					tt.set(&r)
				}
				from := tt.from
				if from == 0 {
					from = 2
				}
				status, got := n.join(t, from, tt.mask, r)
				if status != tt.want {
					t.Fatalf("status %v, OpenSM's is %v", status, tt.want)
				}
				if status != mad.StatusOK {
					if *got != r {
						t.Errorf("refusal does not echo the request: %+v", got)
					}
					return
				}
				if got.MLID != 0xc000 || got.QKey != 0x0b1b || got.MTU != 4 || got.Rate != 3 || got.PacketLifeTime != 18 ||
					got.Scope != 2 || got.JoinState != 1 {
					t.Errorf("answer %+v", got)
				}
				if tt.also != nil && !tt.also(got) {
					t.Errorf("answer %+v", got)
				}
			})
		})
	}
}

// TestJoinAgain has the rows about repeated joins.
func TestJoinAgain(t *testing.T) {
	inVectorNet(t, "", func(t *testing.T, n *vectorNet) {
		r := mad.MCMemberRecord{MGID: bcastMGID, PortGID: n.portGID(2), PKey: 0xffff, JoinState: 1}
		_, first := n.join(t, 2, mad.MCRJoin, r)
		if status, again := n.join(t, 2, mad.MCRJoin, r); status != 0 || *again != *first {
			t.Errorf("repeated join: %v %+v, first %+v", status, again, first)
		}
		r.JoinState = mad.JoinSendOnlyNonMember
		if status, got := n.join(t, 2, mad.MCRJoin, r); status != 0 || got.JoinState != 5 {
			t.Errorf("1 then 4: %v, state %d", status, got.JoinState)
		}
	})
}

// TestJoinGroupAbsent has the rows of "Joins, group absent".
func TestJoinGroupAbsent(t *testing.T) {
	type rec = mad.MCMemberRecord
	all := mad.MCRJoinCreate
	for _, tt := range []struct {
		name string
		mask mad.ComponentMask
		set  func(r *rec)
		want mad.Status
		also func(r *rec) bool
	}{
		{name: "full mask", mask: all},
		{name: "MGID missing", mask: all &^ mad.MCRMGID, want: mad.SAStatusInsufficientComponents},
		{name: "PortGID missing", mask: all &^ mad.MCRPortGID, want: mad.SAStatusInsufficientComponents},
		{name: "JoinState missing", mask: all &^ mad.MCRJoinState, want: mad.SAStatusInsufficientComponents},
		{name: "Q_Key missing", mask: all &^ mad.MCRQKey, want: mad.SAStatusInsufficientComponents},
		{name: "TClass missing", mask: all &^ mad.MCRTClass, want: mad.SAStatusInsufficientComponents},
		{name: "P_Key missing", mask: all &^ mad.MCRPKey, want: mad.SAStatusInsufficientComponents},
		{name: "flow label missing", mask: all &^ mad.MCRFlowLabel, want: mad.SAStatusInsufficientComponents},
		{name: "SL missing", mask: all &^ mad.MCRSL, want: mad.SAStatusInsufficientComponents},
		{name: "no MTU and no rate", mask: mad.MCRCreate, also: func(r *rec) bool { return r.MTU == 4 && r.Rate == 3 }},
		{name: "JoinState 8", mask: all, set: func(r *rec) { r.JoinState = 8 }, also: func(r *rec) bool { return r.JoinState == 8 }},
		{name: "JoinState 2", mask: all, set: func(r *rec) { r.JoinState = 2 }, want: mad.SAStatusReqInvalid},
		{name: "JoinState 4", mask: all, set: func(r *rec) { r.JoinState = 4 }, want: mad.SAStatusReqInvalid},
		{name: "JoinState 0", mask: all, set: func(r *rec) { r.JoinState = 0 }, want: mad.SAStatusReqInvalid},
		{name: "MTU above the port's", mask: all, set: func(r *rec) { r.MTU = 5 }, want: mad.SAStatusReqInvalid},
		{name: "rate above the port's", mask: all, set: func(r *rec) { r.Rate = 6 }, want: mad.SAStatusReqInvalid},
		{name: "hop limit missing", mask: all &^ mad.MCRHopLimit},
		{name: "Q_Key not the broadcast group's", mask: all, set: func(r *rec) { r.QKey = 0x1234 }, want: mad.SAStatusReqInvalid},
		{name: "no broadcast group of the scope", mask: all,
			set: func(r *rec) { r.MGID = rdma.MustParseGID("ff15:401b:ffff::1") }, want: mad.SAStatusReqInvalid},
		{name: "MTU below the broadcast group's", mask: all, set: func(r *rec) { r.MTU = 3 },
			also: func(r *rec) bool { return r.MTU == 3 }},
		{name: "rate below the broadcast group's", mask: all, set: func(r *rec) { r.Rate = 2 },
			also: func(r *rec) bool { return r.Rate == 2 }},
		{name: "SA signature with link-local scope", mask: all,
			set: func(r *rec) { r.MGID = rdma.MustParseGID("ff12:a01b:fe80::1") }, want: mad.SAStatusReqInvalid},
		{name: "P_Key in the MGID differs", mask: all,
			set: func(r *rec) { r.MGID = rdma.MustParseGID("ff12:401b:8002::1") }, want: mad.SAStatusReqInvalid},
		{name: "MGID does not start with ff", mask: all,
			set: func(r *rec) { r.MGID = rdma.MustParseGID("fe80::1") }, want: mad.SAStatusReqInvalid},
		{name: "reserved flags in the MGID", mask: all,
			set: func(r *rec) { r.MGID = rdma.MustParseGID("ff32:401b:ffff::1") }, want: mad.SAStatusReqInvalid},
		{name: "MGID 0", mask: all, set: func(r *rec) { r.MGID = rdma.GID{} }, also: func(r *rec) bool {
			return r.MGID[0] == 0xff && r.MGID[1] == 0x12 && signatureOf(r.MGID) == signatureSA
		}},
		{name: "TClass not the broadcast group's", mask: all, set: func(r *rec) { r.TClass = 9 }, want: mad.SAStatusReqInvalid},
		{name: "MTU greater than 1024", mask: all, set: func(r *rec) { r.MTUSelector, r.MTU = 0, 3 }, also: func(r *rec) bool { return r.MTU == 4 }},
		{name: "MTU greater than the port's", mask: all, set: func(r *rec) { r.MTUSelector = 0 }, want: mad.SAStatusReqInvalid},
		{name: "MTU less than the port's", mask: all, set: func(r *rec) { r.MTUSelector = 1 }, also: func(r *rec) bool { return r.MTU == 3 }},
		{name: "MTU less than 4096", mask: all, set: func(r *rec) { r.MTUSelector, r.MTU = 1, 5 }, also: func(r *rec) bool { return r.MTU == 4 }},
		{name: "MTU less than 256", mask: all, set: func(r *rec) { r.MTUSelector, r.MTU = 1, 1 }, want: mad.SAStatusReqInvalid},
		{name: "best MTU", mask: all, set: func(r *rec) { r.MTUSelector, r.MTU = 3, 1 }, also: func(r *rec) bool { return r.MTU == 4 }},
		{name: "rate greater than 2.5 Gb/s", mask: all, set: func(r *rec) { r.RateSelector, r.Rate = 0, 2 }, also: func(r *rec) bool { return r.Rate == 3 }},
		{name: "rate greater than the port's", mask: all, set: func(r *rec) { r.RateSelector = 0 }, want: mad.SAStatusReqInvalid},
		{name: "rate less than the port's", mask: all, set: func(r *rec) { r.RateSelector = 1 }, also: func(r *rec) bool { return r.Rate == rdma.Rate5 }},
		{name: "rate less than 20 Gb/s", mask: all, set: func(r *rec) { r.RateSelector, r.Rate = 1, 6 }, also: func(r *rec) bool { return r.Rate == 3 }},
		{name: "rate less than 2.5 Gb/s", mask: all, set: func(r *rec) { r.RateSelector, r.Rate = 1, 2 }, want: mad.SAStatusReqInvalid},
		{name: "best rate", mask: all, set: func(r *rec) { r.RateSelector, r.Rate = 3, 2 }, also: func(r *rec) bool { return r.Rate == 3 }},
		{name: "foreign signature", mask: all, set: func(r *rec) { r.MGID, r.QKey = rdma.MustParseGID("ff12::7"), 5 },
			also: func(r *rec) bool { return r.QKey == 5 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inVectorNet(t, vectorPartitions, func(t *testing.T, n *vectorNet) {
				r := n.createRec(2, groupMGID)
				if tt.set != nil {
					tt.set(&r)
				}
				status, got := n.join(t, 2, tt.mask, r)
				if status != tt.want {
					t.Fatalf("status %v, OpenSM's is %v", status, tt.want)
				}
				if status != mad.StatusOK {
					if *got != r {
						t.Errorf("refusal does not echo the request: %+v", got)
					}
					if g := n.sm.State().Groups; len(g) != 2 {
						t.Errorf("%d groups after a refusal", len(g))
					}
					return
				}
				if got.MLID != 0xc002 || got.PacketLifeTime != 0 || got.Scope != 0 || got.PKey != 0xffff {
					t.Errorf("answer %+v", got)
				}
				if tt.also != nil && !tt.also(got) {
					t.Errorf("answer %+v", got)
				}
			})
		})
	}
}

// Test4392_S1_3_1_1_JoinStates: the states of a port add up, and any subset can
// be left; what is not held cannot.
func Test4392_S1_3_1_1_JoinStates(t *testing.T) {
	inVectorNet(t, "", func(t *testing.T, n *vectorNet) {
		r := n.createRec(2, groupMGID)
		n.join(t, 2, mad.MCRJoinCreate, r)
		r.JoinState = 4
		if _, got := n.join(t, 2, mad.MCRJoinCreate, r); got.JoinState != 5 {
			t.Errorf("state %d", got.JoinState)
		}
		for _, step := range []struct {
			state  mad.JoinState
			status mad.Status
			left   mad.JoinState
		}{{4, 0, 1}, {2, mad.SAStatusReqInvalid, 2}, {3, mad.SAStatusReqInvalid, 3}, {0, mad.SAStatusReqInvalid, 0}, {1, 0, 0}, {1, mad.SAStatusReqInvalid, 1}} {
			status, got := n.leave(t, 2, groupMGID, n.portGID(2), step.state)
			if status != step.status || got.JoinState != step.left {
				t.Errorf("leave %d: %v, state %d", step.state, status, got.JoinState)
			}
		}
	})
}

// Test4391_S10_5_SendOnlyKeepsNoGroup and the leave rows: a group goes with its
// last full member although send-only members are left, and its MLID is the
// next one given out; configured groups stay.
func Test4391_S10_5_SendOnlyKeepsNoGroup(t *testing.T) {
	inVectorNet(t, "", func(t *testing.T, n *vectorNet) {
		_, got := n.join(t, 2, mad.MCRJoinCreate, n.createRec(2, groupMGID))
		mlid := got.MLID
		for _, state := range []mad.JoinState{mad.JoinNonMember, mad.JoinSendOnlyNonMember} {
			r := n.createRec(3, groupMGID)
			r.JoinState = state
			if status, _ := n.join(t, 3, mad.MCRJoinCreate, r); status != 0 {
				t.Fatalf("state %d: %v", state, status)
			}
		}
		if status, left := n.leave(t, 2, groupMGID, n.portGID(2), 1); status != 0 || left.JoinState != 0 {
			t.Errorf("leave: %v %+v", status, left)
		}
		st := n.sm.State()
		if _, ok := st.Group(groupMGID); ok {
			t.Error("group is still there")
		}
		if status, _ := n.leave(t, 3, groupMGID, n.portGID(3), 2); status != mad.SAStatusReqInvalid {
			t.Errorf("leave of a group that is gone: %v", status)
		}
		if _, got := n.join(t, 3, mad.MCRJoinCreate, n.createRec(3, rdma.MustParseGID("ff12:601b:ffff::2"))); got.MLID != mlid {
			t.Errorf("next group has MLID %v, not %v", got.MLID, mlid)
		}
		n.join(t, 2, mad.MCRJoin, mad.MCMemberRecord{MGID: bcastMGID, PortGID: n.portGID(2), PKey: 0xffff, JoinState: 1})
		n.leave(t, 2, bcastMGID, n.portGID(2), 1)
		st = n.sm.State()
		if g, ok := st.Group(bcastMGID); !ok || len(g.Members) != 0 {
			t.Errorf("broadcast group: %v %+v", ok, g)
		}
	})
}

// Test4391_S13_1_DeleteByOtherPort: a membership that a port made itself is
// its own; one made for it by another port is changed by the partition's.
func Test4391_S13_1_DeleteByOtherPort(t *testing.T) {
	inVectorNet(t, "", func(t *testing.T, n *vectorNet) {
		r := mad.MCMemberRecord{MGID: bcastMGID, PortGID: n.portGID(2), PKey: 0xffff, JoinState: 1}
		n.join(t, 2, mad.MCRJoin, r)
		if status, _ := n.leave(t, 3, bcastMGID, n.portGID(2), 1); status != mad.SAStatusReqInvalid {
			t.Errorf("delete by another port: %v", status)
		}
		r.JoinState = 4
		if status, _ := n.join(t, 3, mad.MCRJoin, r); status != mad.SAStatusReqInvalid {
			t.Errorf("change by another port: %v", status)
		}
		if status, _ := n.leave(t, 2, bcastMGID, n.portGID(2), 1); status != 0 {
			t.Errorf("delete by the port: %v", status)
		}
		r.JoinState = 1
		n.join(t, 3, mad.MCRJoin, r)
		st := n.sm.State()
		if g, _ := st.Group(bcastMGID); len(g.Members) != 1 || !g.Members[0].ProxyJoin {
			t.Errorf("proxy join: %+v", g.Members)
		}
		if status, _ := n.leave(t, 3, bcastMGID, n.portGID(2), 1); status != 0 {
			t.Errorf("delete of a proxy join: %v", status)
		}
	})
}
