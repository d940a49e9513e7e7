package mad

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"ipoib/rdma"
)

// TestSMPCaptures decodes what ibsim answered to the values that smpquery
// printed of the same fabric.
func TestSMPCaptures(t *testing.T) {
	data := map[string][]byte{}
	for _, p := range paragraphs(t, "smp.txt") {
		data[p[0]] = unhex(t, p[1])
	}
	get := func(name string, a Attribute) {
		t.Helper()
		if data[name] == nil {
			t.Fatalf("no capture %s", name)
		}
		roundTrip(t, a, data[name])
		delete(data, name)
	}
	var ni NodeInfo
	get("NodeInfo H1", &ni)
	get("NodeInfo H2", &ni)
	if want := (NodeInfo{
		BaseVersion: 1, ClassVersion: 1, NodeType: NodeTypeCA, NumPorts: 1, SystemImageGUID: 0x100002,
		NodeGUID: 0x100002, PortGUID: 0x100003, PartitionCap: 64, Revision: 0xa1, LocalPortNum: 1,
	}); ni != want {
		t.Errorf("NodeInfo H2 %+v", ni)
	}
	get("NodeInfo S1", &ni)
	if ni.NodeType != NodeTypeSwitch || ni.NumPorts != 8 || ni.NodeGUID != 0x200000 || ni.PartitionCap != 8 || ni.LocalPortNum != 2 {
		t.Errorf("NodeInfo S1 %+v", ni)
	}
	var nd NodeDescription
	get("NodeDescription H1", &nd)
	get("NodeDescription S1", &nd)
	if nd.String() != "S1" || nd != MakeNodeDescription("S1") {
		t.Errorf("NodeDescription %q", nd.String())
	}
	var si SwitchInfo
	get("SwitchInfo S1", &si)
	if want := (SwitchInfo{
		LinearFDBCap: 30720, MulticastFDBCap: 1024, LinearFDBTop: 4, LifeTimeValue: 18, PartitionEnforcementCap: 64,
		FilterRawInboundCap: true, FilterRawOutboundCap: true,
	}); si != want {
		t.Errorf("SwitchInfo %+v", si)
	}
	var pi PortInfo
	get("PortInfo H2/1", &pi)
	get("PortInfo H1/1", &pi)
	get("PortInfo S1/0", &pi)
	get("PortInfo S1/7", &pi)
	if pi.PortState != rdma.PortDown || pi.PortPhysicalState != rdma.PhysPolling {
		t.Errorf("port without a link: %v %v", pi.PortState, pi.PortPhysicalState)
	}
	get("PortInfo S1/2", &pi)
	if want := (PortInfo{
		LocalPortNum: 2, LinkWidthEnabled: rdma.Width4X,
		LinkWidthSupported: rdma.Width1X | rdma.Width4X | rdma.Width8X | rdma.Width12X | rdma.Width2X,
		LinkWidthActive:    rdma.Width4X, LinkSpeedSupported: 7, LinkSpeedActive: 1, LinkSpeedEnabled: 1,
		PortState: rdma.PortActive, PortPhysicalState: rdma.PhysLinkUp, LinkDownDefaultState: rdma.PhysPolling,
		NeighborMTU: rdma.MTU2048, VLCap: 4, VLArbitrationHighCap: 8, VLArbitrationLowCap: 8, MTUCap: rdma.MTU2048,
		VLStallCount: 7, HOQLife: 16, OperationalVLs: 4,
	}); pi != want {
		t.Errorf("PortInfo S1/2\n got %+v\nwant %+v", pi, want)
	}
	if s, w := pi.ActiveSpeed(nil), pi.LinkWidthActive; s != rdma.SpeedSDR || pi.Rate() != rdma.Rate10 || w.Lanes() != 4 {
		t.Errorf("link %v %v %v", w, s, pi.Rate())
	}
	var guids GUIDInfo
	get("GUIDInfo H1", &guids)
	if guids != (GUIDInfo{0x100003}) {
		t.Errorf("GUIDInfo %v", guids)
	}
	var pkeys PKeyTable
	get("PKeyTable H1", &pkeys)
	if pkeys != (PKeyTable{0xffff, 0x8002}) {
		t.Errorf("PKeyTable %v", pkeys)
	}
	var lft LinearForwardingTable
	get("LinearForwardingTable S1", &lft)
	if lft[0] != LFTNoPort || lft[1] != 1 || lft[2] != 0 || lft[3] != 2 || lft[4] != 3 || lft[5] != LFTNoPort {
		t.Errorf("LinearForwardingTable %v", lft)
	}
	get("MulticastForwardingTable S1", new(MulticastForwardingTable))
	var arb VLArbitrationTable
	get("VLArbitrationTable S1/1 low", &arb)
	if arb[0] != (VLArbElement{VL: 0, Weight: 0}) || arb[1] != (VLArbElement{VL: 1, Weight: 4}) || arb[7] != (VLArbElement{VL: 7, Weight: 4}) {
		t.Errorf("VLArbitrationTable %v", arb)
	}
	var sl SLtoVLMappingTable
	get("SLtoVLMappingTable S1", &sl)
	if sl != (SLtoVLMappingTable{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 7}) || sl.VL(15) != 7 || sl.VL(16+3) != 3 {
		t.Errorf("SLtoVLMappingTable %v", sl)
	}
	if len(data) != 0 {
		t.Errorf("captures without a test: %v", data)
	}
}

func TestRoute(t *testing.T) {
	m := New(ClassSM, MethodGet, AttrNodeInfo)
	m.SetMKey(7)
	m.SetStatus(statusDirection)
	m.ReturnPath()[5] = 9
	if err := m.SetRoute([]uint8{1, 17, 3}); err != nil {
		t.Fatal(err)
	}
	if !m.IsDirected() || m.HopCount() != 3 || m.HopPointer() != 0 || m.Direction() || m.DrSLID() != rdma.LIDPermissive ||
		m.DrDLID() != rdma.LIDPermissive || m.MKey() != 7 {
		t.Errorf("%v", m)
	}
	if got := m.InitialPath()[:5]; !slices.Equal(got, []byte{0, 1, 17, 3, 0}) || !slices.Equal(m.Route(), []uint8{1, 17, 3}) {
		t.Errorf("initial path %v, route %v", got, m.Route())
	}
	if m[129] != 1 || m.ReturnPath()[5] != 0 || len(m.ReturnPath()) != 64 {
		t.Error("paths are in the wrong place")
	}
	if err := m.SetRoute(make([]uint8, MaxHops)); err != nil || m.HopCount() != 63 {
		t.Errorf("63 hops: %v", err)
	}
	if err := m.SetRoute(make([]uint8, MaxHops+1)); !errors.Is(err, rdma.ErrInvalid) {
		t.Errorf("64 hops: %v", err)
	}
	m[offHopCount] = 255
	if n := len(m.Route()); n != MaxHops {
		t.Errorf("route of %d hops", n)
	}
	m.SetDirection(true)
	m.SetSMPStatus(StatusInvalidField | statusDirection)
	if m.Status() != 0x801c || m.SMPStatus() != StatusInvalidField {
		t.Errorf("status %#x", uint16(m.Status()))
	}
	m.SetDirection(false)
	if m.Status() != StatusInvalidField {
		t.Errorf("status %#x", uint16(m.Status()))
	}
}

func TestLinkSpeeds(t *testing.T) {
	for _, tc := range []struct {
		s                 rdma.LinkSpeed
		base, ext         uint8 // of the active fields
		cap               bool
		supBase, supExt   uint8
		cap2              CapMask2
		supported, active rdma.LinkSpeed
	}{
		{rdma.SpeedSDR, 1, 0, false, 1, 0, 0, rdma.SpeedSDR, rdma.SpeedSDR},
		{rdma.SpeedSDR | rdma.SpeedDDR, 2, 0, false, 3, 0, 0, 3, rdma.SpeedDDR},
		{rdma.SpeedFDR10, 4, 0, false, 4, 0, 0, rdma.SpeedQDR, rdma.SpeedQDR},
		{rdma.SpeedQDR | rdma.SpeedFDR, 4, 1, true, 4, 1, 0, rdma.SpeedQDR | rdma.SpeedFDR, rdma.SpeedFDR},
		{rdma.SpeedEDR, 4, 2, true, 0, 2, 0, rdma.SpeedEDR, rdma.SpeedEDR},
		{rdma.SpeedHDR, 4, 4, true, 0, 4, Cap2LinkSpeedHDR, rdma.SpeedHDR, rdma.SpeedHDR},
		{rdma.SpeedSDR | rdma.SpeedNDR, 4, 8, true, 1, 8, Cap2LinkSpeedNDR, rdma.SpeedSDR | rdma.SpeedNDR, rdma.SpeedNDR},
	} {
		var p PortInfo
		p.SetSupportedSpeeds(tc.s)
		p.SetActiveSpeed(tc.s)
		if p.LinkSpeedActive != tc.base || p.LinkSpeedExtActive != tc.ext || p.LinkSpeedSupported != tc.supBase ||
			p.LinkSpeedExtSupported != tc.supExt || p.LinkSpeedEnabled != tc.supBase || p.LinkSpeedExtEnabled != tc.supExt {
			t.Errorf("%#x: %+v", uint16(tc.s), p)
		}
		if p.CapMask.Has(CapExtendedSpeeds) != tc.cap || p.CapMask2 != tc.cap2 || p.CapMask.Has(CapCapMask2) != (tc.cap2 != 0) {
			t.Errorf("%#x: capabilities %#x %#x", uint16(tc.s), p.CapMask, p.CapMask2)
		}
		if p.SupportedSpeeds() != tc.supported || p.ActiveSpeed(nil) != tc.active {
			t.Errorf("%#x: supported %v active %v", uint16(tc.s), p.SupportedSpeeds(), p.ActiveSpeed(nil))
		}
	}
	p := PortInfo{LinkSpeedActive: 4, LinkWidthActive: rdma.Width4X}
	if got := p.ActiveSpeed(&MlnxExtendedPortInfo{LinkSpeedActive: 1}); got != rdma.SpeedFDR10 {
		t.Errorf("FDR10 link runs %v", got)
	}
	p.LinkSpeedExtActive = 1 // not announced: does not count
	if got := p.ActiveSpeed(nil); got != rdma.SpeedQDR {
		t.Errorf("extended speed without the capability: %v", got)
	}
	if (&PortInfo{}).ActiveSpeed(nil) != 0 || (&PortInfo{}).Rate() != 0 {
		t.Error("a port without a link has a speed")
	}
}

func TestModifiers(t *testing.T) {
	if PKeyTableMod(3, 7) != 0x70003 || SLtoVLMod(2, 5) != 0x205 || VLArbMod(3, 9) != 0x30009 || MFTMod(0x1ff, 15) != 0xf00001ff {
		t.Error("attribute modifier")
	}
	if b, p := SplitMFTMod(MFTMod(0x123, 4)); b != 0x123 || p != 4 {
		t.Errorf("SplitMFTMod %#x %d", b, p)
	}
}

func TestTables(t *testing.T) {
	m := New(ClassSM, MethodSet, AttrMulticastForwardingTable)
	m.SetAttr(&MulticastForwardingTable{0: 0x0006, 31: 0x8001})
	if m[64] != 0 || m[65] != 6 || m[126] != 0x80 || m[127] != 1 {
		t.Errorf("% x", m.SMPData())
	}
	rec := &MFTRecord{LID: 2, Position: 3, Block: 0x1fe, Table: MulticastForwardingTable{5: 2}}
	b := make([]byte, rec.Len())
	rec.Marshal(b)
	if want := []byte{0, 2, 0x31, 0xfe, 0, 0, 0, 0}; !slices.Equal(b[:8], want) || b[8+11] != 2 {
		t.Errorf("% x", b)
	}
	var got MFTRecord
	if err := got.Unmarshal(b); err != nil || !reflect.DeepEqual(&got, rec) {
		t.Errorf("%v %+v", err, got)
	}
}
