package sm

import (
	"testing"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// TestReadGroups has "Reading groups".
func TestReadGroups(t *testing.T) {
	inVectorNet(t, vectorPartitions, func(t *testing.T, n *vectorNet) {
		n.join(t, 2, mad.MCRJoinCreate, n.createRec(2, groupMGID))
		n.join(t, 3, mad.MCRJoinCreate, n.createRec(3, groupMGID))
		c := n.saClient2(t, 2)
		read := func(mask mad.ComponentMask, rec mad.MCMemberRecord, key uint64) []mad.MCMemberRecord {
			t.Helper()
			return getTable[mad.MCMemberRecord](t, n, c, 2, mad.AttrMCMemberRecord, mask, &rec, key)
		}
		one := mad.MCMemberRecord{MGID: groupMGID, PortGID: n.portGID(3)}
		if got := read(mad.MCRMGID|mad.MCRPortGID, one, 0); len(got) != 1 || !got[0].PortGID.IsZero() || got[0].JoinState != 0 {
			t.Errorf("untrusted by PortGID: %+v", got)
		}
		if got := read(mad.MCRMGID, one, 0); len(got) != 1 || !got[0].PortGID.IsZero() || got[0].JoinState != 0 || got[0].MLID != 0xc002 {
			t.Errorf("untrusted: %+v", got)
		}
		if got := read(mad.MCRMGID, one, DefaultSMKey); len(got) != 2 || got[0].PortGID != n.portGID(2) ||
			got[1].PortGID != n.portGID(3) || got[0].JoinState != 1 {
			t.Errorf("trusted: %+v", got)
		}
		if got := read(mad.MCRMGID, mad.MCMemberRecord{MGID: bcastMGID}, DefaultSMKey); len(got) != 0 {
			t.Errorf("trusted, no members: %+v", got)
		}
		if got := read(0, one, 0); len(got) != 3 {
			t.Errorf("all groups: %+v", got)
		}
		if got := read(mad.MCRMLID, mad.MCMemberRecord{MLID: 0xc001}, 0); len(got) != 1 || got[0].PKey != 0x8002 {
			t.Errorf("by MLID: %+v", got)
		}
		// Groups of partitions that the port is not in.
		status, _, _ := record(t, n.raw[3], mad.MethodGet, mad.AttrMCMemberRecord, mad.MCRMGID,
			&mad.MCMemberRecord{MGID: broadcastMGID(2, 2)})
		if status != mad.SAStatusNoRecords {
			t.Errorf("Get of a foreign group: %v", status)
		}
		if got := getTable[mad.MCMemberRecord](t, n, n.saClient2(t, 3), 3, mad.AttrMCMemberRecord, 0, &one, 0); len(got) != 2 {
			t.Errorf("GetTable leaves foreign groups out: %+v", got)
		}
		status, _, _ = record(t, n.raw[2], mad.MethodGet, mad.AttrMCMemberRecord, 0, &one)
		if status != mad.SAStatusTooManyRecords {
			t.Errorf("Get with several matches: %v", status)
		}
	})
}

// TestNoAnswer has "No answer at all".
func TestNoAnswer(t *testing.T) {
	inVectorNet(t, "", func(t *testing.T, n *vectorNet) {
		for _, tt := range []struct {
			name   string
			method mad.Method
			attr   mad.AttrID
			key    uint64
		}{
			{"unknown attribute", mad.MethodGet, 0x0999, 0},
			{"Set of PathRecord", mad.MethodSet, mad.AttrPathRecord, 0},
			{"wrong SM_Key", mad.MethodGet, mad.AttrClassPortInfo, 2},
		} {
			m := mad.New(mad.ClassSA, tt.method, tt.attr)
			m.SetSMKey(tt.key)
			if got := n.raw[2].exchange(t, m); got != nil {
				t.Errorf("%s: answer %v", tt.name, got)
			}
		}
		st := n.sm.State().Stats
		if st.SAUnsupported != 2 || st.SABadKey != 1 {
			t.Errorf("%+v", st)
		}
	})
}

// TestBroadcastGroup has "Broadcast group by partition file".
func TestBroadcastGroup(t *testing.T) {
	minimal := mad.MCRMGID | mad.MCRPortGID | mad.MCRJoinState
	for _, tt := range []struct {
		name, file string
		absent     bool
		want       mad.MCMemberRecord
		pkeys      [4]rdma.PKey // by adapter
	}{
		{name: "no file", pkeys: [4]rdma.PKey{1: 0xffff, 2: 0xffff, 3: 0xffff}},
		{name: "ipoib", file: "Default=0x7fff, ipoib : ALL=full;", pkeys: [4]rdma.PKey{1: 0xffff, 2: 0xffff, 3: 0xffff}},
		{name: "values", file: "Default=0x7fff, ipoib, rate=2, mtu=3, Q_Key=0x0b1c : ALL=full;",
			want:  mad.MCMemberRecord{MTU: 3, Rate: 2, QKey: 0x0b1c},
			pkeys: [4]rdma.PKey{1: 0xffff, 2: 0xffff, 3: 0xffff}},
		{name: "no ipoib flag", file: "Default=0x7fff : ALL=full;", absent: true,
			pkeys: [4]rdma.PKey{1: 0xffff, 2: 0xffff, 3: 0xffff}},
		{name: "no rule for the default partition", file: "Blue=0x8002 : ALL=full;", absent: true,
			pkeys: [4]rdma.PKey{1: 0xffff, 2: 0x7fff, 3: 0x7fff}},
		{name: "limited members", file: "Default=0x7fff, ipoib : ALL=limited, SELF=full;",
			pkeys: [4]rdma.PKey{1: 0xffff, 2: 0x7fff, 3: 0x7fff}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inVectorNet(t, tt.file, func(t *testing.T, n *vectorNet) {
				for i := 1; i <= 3; i++ {
					if k, err := n.ports[i].PKey(0); err != nil || k != tt.pkeys[i] {
						t.Errorf("adapter %d has P_Key %v (%v), want %v", i, k, err, tt.pkeys[i])
					}
				}
				status, got, _ := record(t, n.raw[2], mad.MethodGet, mad.AttrMCMemberRecord, mad.MCRMGID,
					&mad.MCMemberRecord{MGID: bcastMGID})
				r := mad.MCMemberRecord{MGID: bcastMGID, PortGID: n.portGID(2), JoinState: 1}
				if tt.absent {
					if status != mad.SAStatusNoRecords {
						t.Errorf("Get: %v %+v", status, got)
					}
					if status, _ := n.join(t, 2, minimal, r); status != mad.SAStatusInsufficientComponents {
						t.Errorf("minimal join: %v", status)
					}
					if status, _ := n.join(t, 2, mad.MCRJoinCreate, n.createRec(2, bcastMGID)); status != 0 {
						t.Errorf("join with the full mask: %v", status)
					}
					return
				}
				want := mad.MCMemberRecord{
					MGID: bcastMGID, MLID: 0xc000, QKey: 0x0b1b, MTUSelector: 2, MTU: 4, RateSelector: 2, Rate: 3,
					PKey: 0xffff, PacketLifeTimeSelector: 2, PacketLifeTime: 18, Scope: 2,
				}
				if tt.want.MTU != 0 {
					want.MTU, want.Rate, want.QKey = tt.want.MTU, tt.want.Rate, tt.want.QKey
				}
				if status != 0 || *got != want {
					t.Errorf("Get: %v %+v", status, got)
				}
				if status, _ := n.join(t, 2, minimal, r); status != 0 {
					t.Errorf("minimal join: %v", status)
				}
				if tt.pkeys[2] == 0x7fff {
					status, _, _ := record(t, n.raw[2], mad.MethodGet, mad.AttrPathRecord, mad.PRIPoIB,
						&mad.PathRecord{DGID: n.portGID(3), SGID: n.portGID(2), NumbPath: 1, PKey: 0x7fff})
					if status != mad.SAStatusNoRecords {
						t.Errorf("path between limited members: %v", status)
					}
				}
			})
		})
	}
}

// TestOneMemberHasNoTree: "with one switch, the port mask of a group stays
// empty while the group has a single member port"; send-only members get no
// entry (4391-§10-5).
func TestOneMemberHasNoTree(t *testing.T) {
	inVectorNet(t, "", func(t *testing.T, n *vectorNet) {
		mask := func() uint16 {
			time.Sleep(time.Second)
			var table mad.MulticastForwardingTable
			q := get(nil, []uint8{1}, mad.AttrMulticastForwardingTable, mad.MFTMod(0, 0), &table)
			if n.sm.run(t.Context(), []*smp{q}) != 0 {
				t.Fatal(q.err)
			}
			return table[0]
		}
		r := mad.MCMemberRecord{MGID: bcastMGID, PortGID: n.portGID(2), PKey: 0xffff, JoinState: 1}
		n.join(t, 2, mad.MCRJoin, r)
		if m := mask(); m != 0 {
			t.Errorf("one member: %#x", m)
		}
		r.PortGID, r.JoinState = n.portGID(3), mad.JoinSendOnlyNonMember
		n.join(t, 3, mad.MCRJoin, r)
		if m := mask(); m != 1<<2 {
			t.Errorf("with a send-only member: %#x", m)
		}
		r.JoinState = mad.JoinNonMember
		n.join(t, 3, mad.MCRJoin, r)
		if m := mask(); m != 1<<2|1<<3 {
			t.Errorf("with a non-member: %#x", m)
		}
		n.leave(t, 2, bcastMGID, n.portGID(2), 1)
		if m := mask(); m != 0 {
			t.Errorf("without full members: %#x", m)
		}
	})
}
