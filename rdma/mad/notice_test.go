package mad

import (
	"reflect"
	"testing"

	"ipoib/rdma"
)

// TestNoticeDetails holds the layouts against hex that follows
// ib_mad_notice_attr_t of OpenSM.
func TestNoticeDetails(t *testing.T) {
	gid1, gid2 := "fe80000000000000 00005eef1000000a", "fe80000000000000 00005eef1000000b"
	for _, tc := range []struct {
		trap TrapNumber
		typ  NoticeType
		d    NoticeDetails
		hex  string
	}{
		{TrapGIDInService, NoticeSubnMgmt, &DetailsGID{frameGIDA}, "000000000000 " + gid1},
		{TrapGIDOutOfService, NoticeSubnMgmt, &DetailsGID{frameGIDB}, "000000000000 " + gid2},
		{TrapMCGroupDeleted, NoticeSubnMgmt, &DetailsGID{frameGIDA}, "000000000000 " + gid1},
		{TrapLinkStateChange, NoticeUrgent, &DetailsLink{LID: 0x1234}, "1234"},
		{TrapFlowControlTimeout, NoticeUrgent, &DetailsPort{LID: 0x1234, PortNum: 7}, "0000 1234 07"},
		{
			TrapCapMaskChange, NoticeInformational,
			&DetailsLocalChange{LID: 0x1234, OtherLocalChanges: true, CapMask: 0x02514868, Changes: ChangeNodeDescription | ChangeSMPriority, CapMask2: 0x30},
			"0000 1234 00 01 02514868 0009 0030",
		},
		{TrapSystemImageGUID, NoticeInformational, &DetailsSystemImageGUID{LID: 2, SystemImageGUID: 0x5eef1000000a}, "0000 0002 0000 00005eef1000000a"},
		{
			TrapBadMKey, NoticeSecurity,
			&DetailsBadMKey{
				LID: 0x1234, DrSLID: 0xffff, Method: MethodSet, AttrID: AttrPortInfo, AttrMod: 5, MKey: 0x1122334455667788,
				Directed: true, Truncated: true, HopCount: 3, ReturnPath: [30]uint8{1, 2, 3},
			},
			"0000 1234 ffff 02 00 0015 00000005 1122334455667788 00 c3 010203",
		},
		{
			TrapBadPKey, NoticeSecurity,
			&DetailsBadKey{LID1: 2, LID2: 3, Key: 0x8001, SL: 5, QP1: 0x48, QP2: 0x49, GID1: frameGIDA, GID2: frameGIDB},
			"0000 0002 0003 00008001 50000048 00000049 " + gid1 + gid2,
		},
		{
			TrapBadQKey, NoticeSecurity,
			&DetailsBadKey{LID1: 2, LID2: 3, Key: 0x80000b1b, QP1: 0xffffff, QP2: 0x49},
			"0000 0002 0003 80000b1b 00ffffff 00000049",
		},
		{
			TrapSwitchBadPKey, NoticeSecurity,
			&DetailsSwitchBadPKey{
				DataValid: 0xff, LID1: 2, LID2: 3, PKey: 0x8001, SL: 5, QP1: 0x48, QP2: 0x49, GID1: frameGIDA,
				GID2: frameGIDB, SwitchLID: 9, PortNum: 4,
			},
			"00ff 0002 0003 8001 50000048 00000049 " + gid1 + gid2 + " 0009 04",
		},
	} {
		n := NewTrap(tc.trap, ProducerCA, 2, tc.d)
		var want [NoticeDetailsLen]byte
		copy(want[:], unhex(t, tc.hex))
		if n.Details != want {
			t.Errorf("trap %d\n got %x\nwant %x", tc.trap, n.Details, want)
		}
		if n.Type != tc.typ || !n.IsGeneric || n.IssuerLID != 2 {
			t.Errorf("trap %d: %+v", tc.trap, n)
		}
		d, err := n.ParseDetails()
		if err != nil || !reflect.DeepEqual(d, tc.d) {
			t.Errorf("trap %d: %v\n got %+v\nwant %+v", tc.trap, err, d, tc.d)
		}
	}
	if _, err := (&Notice{IsGeneric: true, TrapNumber: 68}).ParseDetails(); err == nil {
		t.Error("details of an unknown trap")
	}
	if _, err := (&Notice{TrapNumber: TrapBadPKey}).ParseDetails(); err == nil {
		t.Error("details of a vendor's notice")
	}
}

// TestNoticeSMP: a trap in an SMP has no issuer GID and must not write on the
// bytes behind the data.
func TestNoticeSMP(t *testing.T) {
	n := NewTrap(TrapLinkStateChange, ProducerSwitch, 9, &DetailsLink{LID: 9})
	n.Toggle, n.Count = true, 3
	m := New(ClassSM, MethodTrap, AttrNotice)
	m[128] = 0x5a
	m.SetNotice(n)
	got, err := m.Notice()
	if err != nil || got != *n || m[128] != 0x5a || m[72] != 0x80 || m[73] != 3 {
		t.Errorf("%v %+v % x", err, got, m.SMPData())
	}
	n.IssuerGID = rdma.MakeGID(rdma.DefaultSubnetPrefix, 1)
	r := New(ClassSA, MethodReport, AttrNotice)
	r.SetNotice(n)
	if got, err = r.Notice(); err != nil || got != *n {
		t.Errorf("%v %+v", err, got)
	}
}
