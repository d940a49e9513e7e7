package mad

import (
	"bytes"
	"reflect"
	"testing"

	"ipoib/rdma"
)

// checkRecords decodes the records of an answer of OpenSM, compares them with
// what its fabric is, and builds the table again.
func checkRecords[T any, P record[T]](t *testing.T, b []byte, want ...T) {
	t.Helper()
	m := padded(b)
	var zero T
	if got := AttrOffsetOf(P(&zero)); m.AttrOffset() != got || m.Status() != StatusOK {
		t.Errorf("%T: attribute offset %d, OpenSM has %d", zero, got, m.AttrOffset())
	}
	got, err := DecodeRecords[T, P](b[SADataOff:], m.AttrOffset())
	if err != nil {
		t.Fatalf("%T: %v", zero, err)
	}
	var again []byte
	for i := range got {
		again = AppendRecord(again, P(&got[i]))
	}
	if !bytes.Equal(again, b[SADataOff:]) {
		t.Errorf("%T\n got %x\nwant %x", zero, again, b[SADataOff:])
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%T\n got %+v\nwant %+v", zero, got, want)
	}
}

func TestSATables(t *testing.T) {
	answers := map[string][][]byte{}
	total := 0
	for _, p := range paragraphs(t, "sa_tables.txt") {
		answers[p[0]] = append(answers[p[0]], unhex(t, p[1]))
		total++
	}
	if total != 12 {
		t.Fatalf("%d answers", total)
	}
	hca := NodeRecord{LID: 3, NodeInfo: NodeInfo{
		BaseVersion: 1, ClassVersion: 1, NodeType: NodeTypeCA, NumPorts: 1, SystemImageGUID: 0x100002,
		NodeGUID: 0x100002, PortGUID: 0x100003, PartitionCap: 64, Revision: 0xa1, LocalPortNum: 1,
	}, NodeDescription: MakeNodeDescription("H2")}
	sw := NodeRecord{LID: 2, NodeInfo: NodeInfo{
		BaseVersion: 1, ClassVersion: 1, NodeType: NodeTypeSwitch, NumPorts: 8, SystemImageGUID: 0x200000,
		NodeGUID: 0x200000, PortGUID: 0x200000, PartitionCap: 8, Revision: 0xa1,
	}, NodeDescription: MakeNodeDescription("S1")}
	checkRecords(t, answers["NodeRecord"][0], hca)
	checkRecords(t, answers["NodeRecord"][1], sw)
	checkRecords(t, answers["PortInfoRecord"][0], PortInfoRecord{LID: 3, PortNum: 1, PortInfo: PortInfo{
		GIDPrefix: rdma.DefaultSubnetPrefix, LID: 3, MasterSMLID: 1,
		CapMask:         CapTrap | CapSLMapping | CapExtendedSpeeds | CapCapMask2 | CapVendorClass | CapCapabilityMaskNotice,
		MKeyLeasePeriod: 4089, LocalPortNum: 1, LinkWidthEnabled: rdma.Width4X, LinkWidthSupported: 31,
		LinkWidthActive: rdma.Width4X, LinkSpeedSupported: 7, LinkSpeedActive: 1, LinkSpeedEnabled: 1,
		PortState: rdma.PortActive, PortPhysicalState: rdma.PhysLinkUp, LinkDownDefaultState: rdma.PhysPolling,
		NeighborMTU: rdma.MTU2048, VLCap: 4, VLArbitrationHighCap: 8, VLArbitrationLowCap: 8, MTUCap: rdma.MTU2048,
		VLStallCount: 7, OperationalVLs: 4, GUIDCap: 32, SubnetTimeout: 31, CapMask2: Cap2LinkWidth2X | Cap2LinkSpeedHDR,
	}})
	checkRecords(t, answers["SLtoVLMappingTableRecord"][0], SLtoVLMappingTableRecord{LID: 3})
	checkRecords(t, answers["SwitchInfoRecord"][0], SwitchInfoRecord{LID: 2, SwitchInfo: SwitchInfo{
		LinearFDBCap: 30720, MulticastFDBCap: 1024, LinearFDBTop: 4, LifeTimeValue: 18, PartitionEnforcementCap: 64,
		FilterRawInboundCap: true, FilterRawOutboundCap: true,
	}})
	lft := LFTRecord{LID: 2}
	for i := range lft.Table {
		lft.Table[i] = LFTNoPort
	}
	copy(lft.Table[1:], []uint8{1, 0, 2, 3})
	checkRecords(t, answers["LFTRecord"][0], lft)
	sm := SMInfoRecord{LID: 1, SMInfo: SMInfo{GUID: 0x100001, State: SMMaster}}
	sm.SMInfo.ActCount = 0x45
	checkRecords(t, answers["SMInfoRecord"][0], sm)
	checkRecords(t, answers["LinkRecord"][0],
		LinkRecord{FromLID: 2, FromPort: 1, ToPort: 1, ToLID: 1},
		LinkRecord{FromLID: 2, FromPort: 2, ToPort: 1, ToLID: 3},
		LinkRecord{FromLID: 2, FromPort: 3, ToPort: 1, ToLID: 4})
	var guids [4]GUIDInfoRecord
	for i := range guids {
		guids[i] = GUIDInfoRecord{LID: 3, Block: uint8(i)}
	}
	guids[0].Table[0] = 0x100003
	// Only what fits in one datagram was recorded.
	checkRecords(t, answers["GUIDInfoRecord"][0][:SADataOff+2*72], guids[:2]...)
	checkRecords(t, answers["VLArbitrationTableRecord"][0][:SADataOff+2*72],
		VLArbitrationTableRecord{LID: 3, OutPort: 1, Block: 1}, VLArbitrationTableRecord{LID: 3, OutPort: 1, Block: 2})
	checkRecords(t, answers["InformInfoRecord"][0], InformInfoRecord{
		SubscriberGID: rdma.MustParseGID("fe80::10:3"), InformInfo: InformInfo{
			LIDRangeBegin: 0xffff, IsGeneric: true, Subscribe: true, Type: InformTypeAll, TrapNumber: TrapMCGroupCreated,
			QPN: 1, RespTimeValue: 19, ProducerType: ProducerAll,
		},
	})
	service := ServiceRecord{
		ServiceID: 0x1122334455667788, ServiceGID: rdma.MustParseGID("fe80::10:3"), PKey: 0xffff, Lease: 3600,
		Data8:  [16]uint8{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
		Data16: [8]uint16{0x1112, 0x1314, 0x1516, 0x1718, 0x191a, 0x1b1c, 0x1d1e, 0x1f20},
		Data32: [4]uint32{0x21222324, 0x25262728, 0x292a2b2c, 0x2d2e2f30},
		Data64: [2]uint64{0x3132333435363738, 0x3001000000000000}, // the last is not what was set
	}
	copy(service.Name[:], "IPoIB test")
	checkRecords(t, answers["ServiceRecord"][0], service)
	if service.ServiceName() != "IPoIB test" {
		t.Errorf("name %q", service.ServiceName())
	}
}

// TestLayouts holds what nobody answered against hex that follows the structs
// of OpenSM (tables) and IBA 12.6 (communication management).
func TestLayouts(t *testing.T) {
	for _, tc := range []struct {
		a   Attribute
		hex string // the rest is 0
	}{
		{&PKeyTableRecord{LID: 0x1234, Block: 0x0506, Port: 7, Table: PKeyTable{0xffff, 0x8001}}, "1234 0506 07 000000 ffff 8001"},
		{&MFTRecord{LID: 0x1234, Position: 0xa, Block: 0x123, Table: MulticastForwardingTable{1, 0x8000}}, "1234 a123 00000000 0001 8000"},
		{&GUIDInfoRecord{LID: 0x1234, Block: 5, Table: GUIDInfo{0, 9}}, "1234 05 00 00000000 0000000000000000 0000000000000009"},
		{&SLtoVLMappingTableRecord{LID: 0x1234, InPort: 5, OutPort: 6, Table: SLtoVLMappingTable{1, 2, 15}}, "1234 05 06 00000000 12 f0"},
		{&VLArbitrationTableRecord{LID: 0x1234, OutPort: 5, Block: 3, Table: VLArbitrationTable{{1, 0xff}, {14, 2}}}, "1234 05 03 00000000 01ff 0e02"},
		{&InformInfoRecord{SubscriberGID: frameGIDA, SubscriberEnum: 0x1234, InformInfo: InformInfo{GID: frameGIDB, LIDRangeBegin: 1, LIDRangeEnd: 2, QPN: 0x345678, Type: 9, TrapNumber: 7}}, "fe80000000000000 00005eef1000000a 1234 000000000000 fe80000000000000 00005eef1000000b 0001 0002 0000 00 00 0009 0007 345678 00"},
		{&MRA{LocalCommID: 0x11111111, RemoteCommID: 0x22222222, Message: CMMessageOther, ServiceTimeout: 0x15, PrivateData: [MRAPrivateLen]byte{0xaa}}, "11111111 22222222 80 a8 aa"},
		{&DREQ{LocalCommID: 0x11111111, RemoteCommID: 0x22222222, RemoteQPN: 0x345678, PrivateData: [DREQPrivateLen]byte{0xaa}}, "11111111 22222222 345678 00 aa"},
		{&DREP{LocalCommID: 0x11111111, RemoteCommID: 0x22222222, PrivateData: [DREPPrivateLen]byte{0xaa}}, "11111111 22222222 aa"},
		{&REJ{LocalCommID: 0x11111111, RemoteCommID: 0x22222222, Message: CMMessageREP, InfoLength: 0x55, Reason: RejectPortRedirect, ARI: [REJARILen]byte{0xaa}}, "11111111 22222222 40 aa 0019 aa"},
		{&REP{LocalCommID: 1, RemoteCommID: 2, LocalQKey: 3, LocalQPN: 4, LocalEECN: 5, StartingPSN: 6, ResponderResources: 7, InitiatorDepth: 8, TargetAckDelay: 0x15, FailoverAccepted: 2, EndToEndFlowControl: true, RNRRetryCount: 5, SRQ: true, LocalCAGUID: 9},
			"00000001 00000002 00000003 00000400 00000500 00000600 07 08 ad b0 0000000000000009"},
	} {
		want := make([]byte, tc.a.Len())
		copy(want, unhex(t, tc.hex))
		roundTrip(t, reflect.New(reflect.TypeOf(tc.a).Elem()).Interface().(Attribute), want)
		got := make([]byte, tc.a.Len())
		tc.a.Marshal(got)
		if !bytes.Equal(got, want) {
			t.Errorf("%T\n got %x\nwant %x", tc.a, got, want)
		}
	}
	// A REQ with every field different (dissected by TShark 4.0 alike).
	req := &REQ{
		LocalCommID: 0x11111111, ServiceID: 0x2222222222222222, LocalCAGUID: 0x3333333333333333, LocalQKey: 0x44444444,
		LocalQPN: 0x555555, ResponderResources: 0x66, LocalEECN: 0x777777, InitiatorDepth: 0x88, RemoteEECN: 0x999999,
		RemoteCMResponseTimeout: 0x15, TransportService: ServiceRD, EndToEndFlowControl: true, StartingPSN: 0xaaaaaa,
		LocalCMResponseTimeout: 0x16, RetryCount: 5, PKey: 0xbbbb, PathMTU: 4, RDCExists: true, RNRRetryCount: 6,
		MaxCMRetries: 0xc, SRQ: true, ExtendedTransport: 3,
		Primary: CMPath{
			LocalLID: 0x1212, RemoteLID: 0x3434, LocalGID: frameGIDA, RemoteGID: frameGIDB, FlowLabel: 0x12345,
			PacketRate: 7, TrafficClass: 0x56, HopLimit: 0x78, SL: 9, SubnetLocal: true, LocalAckTimeout: 0x13,
		},
		Alternate: CMPath{
			LocalLID: 0x2121, RemoteLID: 0x4343, LocalGID: frameGIDB, RemoteGID: frameGIDA, FlowLabel: 0x54321,
			PacketRate: 3, TrafficClass: 0x65, HopLimit: 0x87, SL: 6, LocalAckTimeout: 0x11,
		},
		PrivateData: [REQPrivateLen]byte{0xcc},
	}
	want := unhex(t, "11111111 00000000 2222222222222222 3333333333333333 00000000 44444444 55555566 77777788 999999ad aaaaaab5 bbbb 4e cb"+
		"1212 3434 fe8000000000000000005eef1000000a fe8000000000000000005eef1000000b 12345 007 56 78 98 98"+
		"2121 4343 fe8000000000000000005eef1000000b fe8000000000000000005eef1000000a 54321 003 65 87 60 88 cc")
	got := make([]byte, CMMessageLen)
	req.Marshal(got)
	if !bytes.Equal(got[:len(want)], want) {
		t.Errorf("REQ\n got %x\nwant %x", got[:len(want)], want)
	}
	roundTrip(t, new(REQ), got)
}
