package sm

import (
	"fmt"
	"testing"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// Test4391_S4_1_3_GroupMTU: a port joins only what its MTU can carry.
func Test4391_S4_1_3_GroupMTU(t *testing.T) {
	inVectorNet(t, "Default=0x7fff,ipoib,mtu=5:ALL=full;", func(t *testing.T, n *vectorNet) {
		r := mad.MCMemberRecord{MGID: bcastMGID, PortGID: n.portGID(2), PKey: 0xffff, JoinState: 1}
		if status, _ := n.join(t, 2, mad.MCRJoin, r); status != mad.SAStatusReqInvalid {
			t.Errorf("%v", status)
		}
		if st := n.sm.State(); len(st.Groups[0].Members) != 0 {
			t.Errorf("%+v", st.Groups)
		}
	})
}

// Test4391_S5_1_BroadcastGroupExists, with 4391-§5-7: the partition
// configuration creates it, before any join, and it stays without members.
func Test4391_S5_1_BroadcastGroupExists(t *testing.T) {
	inVectorNet(t, vectorPartitions, func(t *testing.T, n *vectorNet) {
		for _, k := range []rdma.PKey{0xffff, 0x8002} {
			status, got, _ := record(t, n.raw[2], mad.MethodGet, mad.AttrMCMemberRecord, mad.MCRMGID,
				&mad.MCMemberRecord{MGID: broadcastMGID(k, 2)})
			if status != 0 || got.PKey != k || !got.PKey.IsFull() {
				t.Errorf("P_Key %v: %v %+v", k, status, got)
			}
		}
	})
}

// Test4391_S5_5_JoinNeedsAbility: MTU, rate and P_Key of the port are checked.
func Test4391_S5_5_JoinNeedsAbility(t *testing.T) {
	for name, file := range map[string]string{
		"MTU":  "Default=0x7fff,ipoib,mtu=5:ALL=full;",
		"rate": "Default=0x7fff,ipoib,rate=7:ALL=full;",
	} {
		t.Run(name, func(t *testing.T) {
			inVectorNet(t, file, func(t *testing.T, n *vectorNet) {
				r := mad.MCMemberRecord{MGID: bcastMGID, PortGID: n.portGID(3), PKey: 0xffff, JoinState: 1}
				if status, _ := n.join(t, 3, mad.MCRJoin, r); status != mad.SAStatusReqInvalid {
					t.Errorf("%v", status)
				}
			})
		})
	}
}

// Test4391_S5_7_AdministrativeControl: without a configured broadcast group the
// join of an interface does not make one, and none goes with its members.
func Test4391_S5_7_AdministrativeControl(t *testing.T) {
	inVectorNet(t, "Default=0x7fff:ALL=full;", func(t *testing.T, n *vectorNet) {
		r := mad.MCMemberRecord{MGID: bcastMGID, PortGID: n.portGID(2), PKey: 0xffff, JoinState: 1}
		if status, _ := n.join(t, 2, mad.MCRJoin, r); status != mad.SAStatusInsufficientComponents {
			t.Errorf("%v", status)
		}
		if st := n.sm.State(); len(st.Groups) != 0 {
			t.Errorf("%+v", st.Groups)
		}
	})
	inVectorNet(t, "Default=0x7fff,ipoib:ALL=full;", func(t *testing.T, n *vectorNet) {
		r := mad.MCMemberRecord{MGID: bcastMGID, PortGID: n.portGID(2), PKey: 0xffff, JoinState: 1}
		n.join(t, 2, mad.MCRJoin, r)
		n.leave(t, 2, bcastMGID, n.portGID(2), 1)
		st := n.sm.State()
		if g, ok := st.Group(bcastMGID); !ok || len(g.Members) != 0 {
			t.Errorf("%v %+v", ok, g)
		}
	})
}

// Test4391_S10_11_GroupParameters: an IP group has the broadcast group's
// P_Key, Q_Key, SL, hop limit and, with 4391-§10-12, its other attributes.
func Test4391_S10_11_GroupParameters(t *testing.T) {
	inVectorNet(t, "Default=0x7fff,ipoib,sl=3,TClass=4,FlowLabel=5:ALL=full;", func(t *testing.T, n *vectorNet) {
		good := n.createRec(2, groupMGID)
		good.SL, good.TClass, good.FlowLabel = 3, 4, 5
		for name, spoil := range map[string]func(r *mad.MCMemberRecord){
			"Q_Key": func(r *mad.MCMemberRecord) { r.QKey++ }, "SL": func(r *mad.MCMemberRecord) { r.SL++ },
			"P_Key": func(r *mad.MCMemberRecord) { r.PKey = 0x8002 }, "hop limit": func(r *mad.MCMemberRecord) { r.HopLimit++ },
			"TClass": func(r *mad.MCMemberRecord) { r.TClass++ }, "flow label": func(r *mad.MCMemberRecord) { r.FlowLabel++ },
		} {
			bad := good
			spoil(&bad)
			if status, _ := n.join(t, 2, mad.MCRJoinCreate, bad); status != mad.SAStatusReqInvalid {
				t.Errorf("%s: %v", name, status)
			}
		}
		status, got := n.join(t, 2, mad.MCRJoinCreate, good)
		if status != 0 || got.SL != 3 || got.TClass != 4 || got.FlowLabel != 5 {
			t.Errorf("%v %+v", status, got)
		}
	})
}

// Test4391_S11_1_ListGroups: all groups come in one table of several segments.
func Test4391_S11_1_ListGroups(t *testing.T) {
	inVectorNet(t, "", func(t *testing.T, n *vectorNet) {
		for i := range 100 {
			n.join(t, 2, mad.MCRJoinCreate, n.createRec(2, rdma.MustParseGID(fmt.Sprintf("ff12:601b:ffff::1:%x", i))))
		}
		got := getTable[mad.MCMemberRecord](t, n, n.saClient2(t, 3), 3, mad.AttrMCMemberRecord, mad.MCRPKey, &mad.MCMemberRecord{PKey: 0xffff}, 0)
		mlids := map[rdma.LID]bool{}
		for _, g := range got {
			mlids[g.MLID] = true
		}
		if len(got) != 101 || len(mlids) != 101 {
			t.Errorf("%d groups with %d MLIDs", len(got), len(mlids))
		}
	})
}

// Test4391_S11_4_NonMember receives and sends but keeps no group alive.
func Test4391_S11_4_NonMember(t *testing.T) {
	inVectorNet(t, "", func(t *testing.T, n *vectorNet) {
		n.raw[1].auto.Store(true)
		n.inform(t, 1, inform(mad.TrapMCGroupDeleted))
		n.join(t, 2, mad.MCRJoinCreate, n.createRec(2, groupMGID))
		r := n.createRec(3, groupMGID)
		r.JoinState = mad.JoinNonMember
		n.join(t, 3, mad.MCRJoinCreate, r)
		time.Sleep(time.Second)
		var table mad.MulticastForwardingTable
		q := get(nil, []uint8{1}, mad.AttrMulticastForwardingTable, mad.MFTMod(0, 0), &table)
		if n.sm.run(t.Context(), []*smp{q}) != 0 || table[1] != 1<<2|1<<3 {
			t.Errorf("ports %#x", table[1])
		}
		n.leave(t, 2, groupMGID, n.portGID(2), 1)
		if got := n.reports(t, 1); len(got) != 1 || got[0].TrapNumber != mad.TrapMCGroupDeleted {
			t.Errorf("%+v", got)
		}
	})
}

// Test4392_S1_2_1_2_1_ReservedFlags: MGIDs with reserved flags are refused.
func Test4392_S1_2_1_2_1_ReservedFlags(t *testing.T) {
	inVectorNet(t, "", func(t *testing.T, n *vectorNet) {
		for flags, want := range map[byte]mad.Status{
			0x12: 0, 0x32: mad.SAStatusReqInvalid, 0x52: mad.SAStatusReqInvalid, 0x92: mad.SAStatusReqInvalid,
		} {
			g := rdma.MustParseGID("ff12::99")
			g[1] = flags
			if status, _ := n.join(t, 2, mad.MCRJoinCreate, n.createRec(2, g)); status != want {
				t.Errorf("%v: %v", g, status)
			}
		}
	})
}

// Test4392_S1_3_1_MLIDs: the manager assigns them, each to one group.
func Test4392_S1_3_1_MLIDs(t *testing.T) {
	inVectorNet(t, "", func(t *testing.T, n *vectorNet) {
		for _, want := range []rdma.LID{0xc000, 0, 5, 0xffff} {
			r := n.createRec(2, groupMGID)
			r.MLID = want
			status, got := n.join(t, 2, mad.MCRJoinCreate|mad.MCRMLID, r)
			if status != 0 || got.MLID != 0xc001 {
				t.Errorf("asked for %v: %v %v", want, status, got.MLID)
			}
			n.leave(t, 2, groupMGID, n.portGID(2), 1)
		}
	})
}

// Test4392_S1_3_2_1_1_FirstFullMemberCreates and 4392-§1.3.2.2-1: the group
// goes with the last one, traps and MLID with it.
func Test4392_S1_3_2_1_1_FirstFullMemberCreates(t *testing.T) {
	inVectorNet(t, "", func(t *testing.T, n *vectorNet) {
		r := n.createRec(2, groupMGID)
		for state, want := range map[mad.JoinState]mad.Status{2: mad.SAStatusReqInvalid, 4: mad.SAStatusReqInvalid, 6: mad.SAStatusReqInvalid} {
			r.JoinState = state
			if status, _ := n.join(t, 2, mad.MCRJoinCreate, r); status != want {
				t.Errorf("state %d: %v", state, status)
			}
		}
		r.JoinState = mad.JoinFullMember
		if status, _ := n.join(t, 2, mad.MCRJoin, r); status != mad.SAStatusInsufficientComponents {
			t.Errorf("incomplete: %v", status)
		}
		n.join(t, 2, mad.MCRJoinCreate, r)
		r.PortGID = n.portGID(3)
		n.join(t, 3, mad.MCRJoinCreate, r)
		n.leave(t, 2, groupMGID, n.portGID(2), 1)
		st := n.sm.State()
		if _, ok := st.Group(groupMGID); !ok {
			t.Error("group went before its last full member")
		}
		n.leave(t, 3, groupMGID, n.portGID(3), 1)
		st = n.sm.State()
		if _, ok := st.Group(groupMGID); ok {
			t.Error("group is still there")
		}
	})
}

// Test4392_S1_3_2_2_1_LastFullMember: with it go the group and its MLID, and
// the subscribers are told.
func Test4392_S1_3_2_2_1_LastFullMember(t *testing.T) {
	inVectorNet(t, "", func(t *testing.T, n *vectorNet) {
		n.raw[1].auto.Store(true)
		n.inform(t, 1, inform(mad.TrapMCGroupDeleted))
		_, first := n.join(t, 2, mad.MCRJoinCreate, n.createRec(2, groupMGID))
		n.join(t, 3, mad.MCRJoinCreate, n.createRec(3, groupMGID))
		n.leave(t, 2, groupMGID, n.portGID(2), 1)
		if got := n.reports(t, 1); len(got) != 0 {
			t.Errorf("reported before the last one left: %+v", got)
		}
		n.leave(t, 3, groupMGID, n.portGID(3), 1)
		if got := n.reports(t, 1); len(got) != 1 || got[0].TrapNumber != mad.TrapMCGroupDeleted {
			t.Errorf("%+v", got)
		}
		_, next := n.join(t, 2, mad.MCRJoinCreate, n.createRec(2, rdma.MustParseGID("ff12:401b:ffff::2")))
		if next.MLID != first.MLID {
			t.Errorf("the MLID %v is not free, the next is %v", first.MLID, next.MLID)
		}
	})
}

// Test4392_S1_2_1_1_1_NoWayOut: the subnet has no routers; there is no path to
// another one, nor for GIDs of a link-local or site-local prefix beyond it.
func Test4392_S1_2_1_1_1_NoWayOut(t *testing.T) {
	inVectorNet(t, "", func(t *testing.T, n *vectorNet) {
		for prefix, want := range map[uint64]mad.Status{
			rdma.DefaultSubnetPrefix: 0, 0xfec0000000000000: mad.SAStatusNoRecords, 0x20010db800000000: mad.SAStatusNoRecords,
		} {
			q := mad.PathRecord{DGID: rdma.MakeGID(prefix, n.ports[3].GUID()), SGID: n.portGID(2), PKey: 0xffff, NumbPath: 1}
			if status, _ := n.path(t, 2, mad.PRIPoIB, q); status != want {
				t.Errorf("prefix %016x: %v", prefix, status)
			}
		}
	})
}

// Test4392_S1_3_2_1_2_SAChoosesMGID: an MGID of zero asks for one.
func Test4392_S1_3_2_1_2_SAChoosesMGID(t *testing.T) {
	inVectorNet(t, "", func(t *testing.T, n *vectorNet) {
		seen := map[rdma.GID]bool{}
		for range 5 {
			r := n.createRec(2, rdma.GID{})
			r.Scope = 5
			_, got := n.join(t, 2, mad.MCRJoinCreate|mad.MCRScope, r)
			if seen[got.MGID] || scopeOf(got.MGID) != 5 || signatureOf(got.MGID) != signatureSA {
				t.Errorf("%v", got.MGID)
			}
			seen[got.MGID] = true
		}
	})
}
