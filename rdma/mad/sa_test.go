package mad

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"ipoib/rdma"
)

// saVector is one datagram of testdata/sa.txt.
type saVector struct {
	name, dir string
	m         *MAD
	shown     int    // bytes that the file has
	undefined []bool // of them
	lines     []string
}

func loadSA(t testing.TB) []saVector {
	t.Helper()
	var out []saVector
	for _, p := range paragraphs(t, "sa.txt") {
		f := strings.Fields(p[0])
		v := saVector{name: f[0], dir: f[1]}
		var b []byte
		for _, l := range p[1:] {
			if text, ok := strings.CutPrefix(l, "- "); ok {
				v.lines = append(v.lines, text)
				continue
			}
			for h := range strings.FieldsSeq(l) {
				v.undefined = append(v.undefined, h == "xx")
				b = append(b, unhex(t, strings.ReplaceAll(h, "x", "0"))...)
			}
		}
		v.m, v.shown = padded(b), len(b)
		out = append(out, v)
	}
	return out
}

var mcmNames = []string{
	"MGID", "PortGID", "Q_Key", "MLID", "MTUSelector", "MTU", "TClass", "P_Key", "RateSelector", "Rate",
	"LifeSelector", "Life", "SL", "FlowLabel", "HopLimit", "Scope", "JoinState", "ProxyJoin",
}

var pathNames = []string{
	"ServiceID", "ServiceID", "DGID", "SGID", "DLID", "SLID", "RawTraffic", "", "FlowLabel", "HopLimit", "TClass",
	"Reversible", "NumbPath", "P_Key",
}

// headerLine prints the header in the words of the fixture.
func headerLine(m *MAD) string {
	status := fmt.Sprintf("0x%04x", uint16(m.Status()))
	if m.Status() != StatusOK {
		status = strings.NewReplacer("(", "", ")", "").Replace(m.Status().Name(m.Class()))
	}
	names := map[AttrID][]string{AttrMCMemberRecord: mcmNames, AttrPathRecord: pathNames}[m.AttrID()]
	mask := fmt.Sprintf("0x%x", uint64(m.ComponentMask()))
	var set []string
	for i, n := range names {
		if m.ComponentMask().Has(1 << i) {
			set = append(set, n)
		}
	}
	if set != nil {
		mask += " = " + strings.Join(set, ", ")
	}
	return fmt.Sprintf("method 0x%02x %v, attribute 0x%04x %s, status %s, TID 0x%016x, attribute offset %d (8-byte units), component mask %s",
		uint8(m.Method()), m.Method(), uint16(m.AttrID()), m.AttrID().Name(m.Class()), status, m.TID(), m.AttrOffset(), mask)
}

func selectedText(s Selector, code uint8) string {
	return fmt.Sprintf("0x%02x (%s, code %d)", uint8(s)<<6|code,
		[]string{"greater than", "less than", "exactly", "largest available"}[s], code)
}

func num(v bool) int {
	if v {
		return 1
	}
	return 0
}

// recordLine prints a record in the words of the fixture.
func recordLine(a Attribute) string {
	switch r := a.(type) {
	case *MCMemberRecord:
		return fmt.Sprintf("MGID %v; PortGID %v; Q_Key %v; MLID %v; MTU byte %s; TClass %d; P_Key %v; rate byte %s; life byte %s; SL %d, flow label %d, hop limit %d; scope %d, JoinState 0x%x; ProxyJoin %d",
			r.MGID, r.PortGID, r.QKey, r.MLID, selectedText(r.MTUSelector, uint8(r.MTU)), r.TClass, r.PKey,
			selectedText(r.RateSelector, uint8(r.Rate)), selectedText(r.PacketLifeTimeSelector, r.PacketLifeTime),
			r.SL, r.FlowLabel, r.HopLimit, r.Scope, uint8(r.JoinState), num(r.ProxyJoin))
	case *PathRecord:
		return fmt.Sprintf("DGID %v; SGID %v; DLID %v; SLID %v; flow/hop word 0x%08x; TClass %d; reversible %d, NumbPath %d; P_Key %v; QoS class/SL 0x%04x; MTU byte %s; rate byte %s; life byte %s; preference %d",
			r.DGID, r.SGID, r.DLID, r.SLID, r.FlowLabel<<8|uint32(r.HopLimit), r.TClass, num(r.Reversible), r.NumbPath, r.PKey,
			r.QoSClass<<4|uint16(r.SL), selectedText(r.MTUSelector, uint8(r.MTU)), selectedText(r.RateSelector, uint8(r.Rate)),
			selectedText(r.PacketLifeTimeSelector, r.PacketLifeTime), r.Preference)
	case *ClassPortInfo:
		return fmt.Sprintf("base version %d, class version %d, capability mask 0x%04x, capability mask 2 (27 bits) 0x%07x, response time value %d, redirect QP %d, Q_Key %v",
			r.BaseVersion, r.ClassVersion, r.CapMask, r.CapMask2, r.RespTimeValue, r.RedirectQP, r.RedirectQKey)
	case *InformInfo:
		return fmt.Sprintf("GID %v; LID range %v..%v; generic %d; subscribe %d; type 0x%04x; trap number %d; QPN %d, response time %d; producer type 0x%06x",
			r.GID, r.LIDRangeBegin, r.LIDRangeEnd, num(r.IsGeneric), num(r.Subscribe), r.Type, r.TrapNumber, r.QPN,
			r.RespTimeValue, uint32(r.ProducerType))
	case *Notice:
		d, err := r.ParseDetails()
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("generic %d, type %d, producer type %d, trap number %d, issuer LID %v; GID in the details (offset 16 of the Notice) %v; issuer GID (offset 64) %v",
			num(r.IsGeneric), r.Type, r.ProducerType, r.TrapNumber, r.IssuerLID, d.(*DetailsGID).GID, r.IssuerGID)
	}
	return ""
}

func newAttr(id AttrID) Attribute {
	switch id {
	case AttrClassPortInfo:
		return new(ClassPortInfo)
	case AttrNotice:
		return new(Notice)
	case AttrInformInfo:
		return new(InformInfo)
	case AttrPathRecord:
		return new(PathRecord)
	case AttrMCMemberRecord:
		return new(MCMemberRecord)
	}
	return nil
}

// TestSAVectors decodes every recorded datagram to the listed fields, and
// builds it again from them.
func TestSAVectors(t *testing.T) {
	vectors := loadSA(t)
	if len(vectors) != 59 {
		t.Fatalf("%d vectors", len(vectors))
	}
	for _, v := range vectors {
		t.Run(v.name+" "+v.dir, func(t *testing.T) {
			m := v.m
			if err := m.Check(); err != nil {
				t.Error(err)
			}
			if v.shown == SADataOff {
				if want := "method 0x92 GetTableResp, status 0x0000, attribute offset 0, no record"; v.lines[0] != want ||
					m.Method() != MethodGetTableResp || m.Status() != StatusOK || m.AttrOffset() != 0 {
					t.Errorf("%v, listed %q", m, v.lines[0])
				}
				recs, err := DecodeRecords[PathRecord](m[SADataOff:v.shown], m.AttrOffset())
				if err != nil || len(recs) != 0 {
					t.Errorf("records %v, %v", recs, err)
				}
				return
			}
			if got := headerLine(m); got != v.lines[0] {
				t.Errorf("header\n got %s\nwant %s", got, v.lines[0])
			}
			a := newAttr(m.AttrID())
			if err := m.Attr(a); err != nil {
				t.Fatal(err)
			}
			if len(v.lines) > 1 {
				if got := recordLine(a); got != v.lines[1] {
					t.Errorf("record\n got %s\nwant %s", got, v.lines[1])
				}
			} else if a = newAttr(m.AttrID()); v.dir != "request" || v.name != "V01" {
				t.Error("no record listed")
			}

			w := new(MAD)
			w.SetHeader(m.Header())
			w.SetRMPP(m.RMPP())
			w.SetSMKey(m.SMKey())
			w.SetAttrOffset(m.AttrOffset())
			w.SetComponentMask(m.ComponentMask())
			w.SetAttr(a)
			for i := range v.shown {
				if !v.undefined[i] && w[i] != m[i] {
					t.Fatalf("byte %d is %02x, want %02x\n got %x\nwant %x", i, w[i], m[i], w[:v.shown], m[:v.shown])
				}
			}
		})
	}
}

// TestSAResponses builds each response from its request the way an SA does.
func TestSAResponses(t *testing.T) {
	vectors := loadSA(t)
	built := 0
	for i, v := range vectors {
		if v.dir != "response" {
			continue
		}
		req := vectors[i-1]
		if req.name != v.name || req.dir != "request" {
			t.Fatalf("%s has no request", v.name)
		}
		w := *req.m
		w.Respond(v.m.Status())
		w.SetTID(v.m.TID()) // the simulator rewrote it
		if v.m.Status() == StatusOK && v.shown > SADataOff {
			a := newAttr(v.m.AttrID())
			if err := v.m.Attr(a); err != nil {
				t.Fatal(err)
			}
			w.SetRecord(a)
		}
		if v.m.Method() == MethodGetTableResp {
			w.SetRMPP(RMPPHeader{Flags: RMPPFlagActive})
		}
		if got, want := w[:v.shown], v.m[:v.shown]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s\n got %x\nwant %x", v.name, got, want)
		}
		built++
	}
	if built != 29 {
		t.Errorf("%d responses", built)
	}
}

// TestSAMasks holds the masks against those that the recorded requests have.
func TestSAMasks(t *testing.T) {
	masks := map[string]ComponentMask{}
	for _, v := range loadSA(t) {
		if v.dir == "request" {
			masks[v.name] = v.m.ComponentMask()
		}
	}
	for name, want := range map[string]ComponentMask{
		"V09": MCRJoin, "V11": MCRJoinCreate, "V08": MCRLeave, "V07": MCRCreate, "V26": PRIPoIB, "V04": PRDLID | PRSLID | PRNumbPath,
	} {
		if masks[name] != want {
			t.Errorf("%s: %#x, want %#x", name, masks[name], want)
		}
	}
	for name, tc := range map[string]struct{ got, want ComponentMask }{
		"last of PathRecord":             {PRPreference, 1 << 22},
		"last of MCMemberRecord":         {MCRProxyJoin, 1 << 17},
		"last of NodeRecord":             {NRNodeDescription, 1 << 14},
		"last of InformInfoRecord":       {IIRProducerType, 1 << 15},
		"trap number, InformInfoRecord":  {IIRTrapNumber, 1 << 10},
		"last of MultiPathRecord":        {MPRServiceIDLSB, 1 << 21},
		"DGIDCount of MultiPathRecord":   {MPRDGIDCount, 1 << 20},
		"last of SMInfoRecord":           {SMIRState, 1 << 6},
		"block of MFTRecord":             {MFTRBlock, 1 << 3},
		"data of ServiceRecord":          {SRData8 | SRData16 | SRData32 | SRData64, 1<<37 - 1<<7},
		"last of P_KeyTableRecord":       {PKTRPort, 1 << 2},
		"last of LinkRecord":             {LRToLID, 1 << 3},
		"last of VLArbitrationTable":     {VLARBlock, 1 << 2},
		"last of SLtoVLMappingTable":     {SLVLROutPort, 1 << 2},
		"last of LinearForwardingRecord": {LFTRBlock, 1 << 1},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: %#x, want %#x", name, tc.got, tc.want)
		}
	}
}

// TestAttrOffset: the units that OpenSM answers with are the sizes of its
// structs.
func TestAttrOffset(t *testing.T) {
	for _, tc := range []struct {
		a    Attribute
		want uint16
	}{
		{new(ClassPortInfo), 0}, {new(Notice), 0}, {new(InformInfo), 4}, {new(MCMemberRecord), 7},
		{new(PathRecord), 8}, {new(NodeRecord), 14}, {new(PortInfoRecord), 9}, {new(SMInfoRecord), 4},
		{new(SwitchInfoRecord), 3}, {new(LinkRecord), 1}, {new(ServiceRecord), 22}, {new(InformInfoRecord), 8},
		{new(PKeyTableRecord), 9}, {new(LFTRecord), 9}, {new(MFTRecord), 9}, {new(GUIDInfoRecord), 9},
		{new(SLtoVLMappingTableRecord), 2}, {new(VLArbitrationTableRecord), 9},
	} {
		if got := AttrOffsetOf(tc.a); got != tc.want {
			t.Errorf("%T: %d, want %d", tc.a, got, tc.want)
		}
	}
}

func TestDecodeRecords(t *testing.T) {
	var data []byte
	want := []MCMemberRecord{
		{MGID: rdma.MustParseGID("ff12:401b:ffff::1"), MLID: 0xc001, JoinState: JoinFullMember},
		{MGID: rdma.MustParseGID("ff12:401b:ffff::2"), MLID: 0xc002, JoinState: JoinSendOnlyFullMember},
		{MGID: rdma.MustParseGID("ff12:401b:ffff::3"), MLID: 0xc003, Scope: 2},
	}
	for i := range want {
		data = AppendRecord(data, &want[i])
	}
	got, err := DecodeRecords[MCMemberRecord](data, 7)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
	}
	got, err = DecodeRecords[MCMemberRecord](data[:len(data)-4], 7)
	if err != nil || len(got) != 3 {
		t.Errorf("last record without padding: %d, %v", len(got), err)
	}
	if _, err = DecodeRecords[MCMemberRecord](data[:len(data)-5], 7); err == nil {
		t.Error("a cut record was accepted")
	}
	if _, err = DecodeRecords[MCMemberRecord](data, 6); err == nil {
		t.Error("records that overlap were accepted")
	}
	if _, err = DecodeRecords[MCMemberRecord](data, 0); err == nil {
		t.Error("attribute offset 0 was accepted")
	}
	wide := append(append(data[:56:56], make([]byte, 8)...), data[56:]...)
	if got, err = DecodeRecords[MCMemberRecord](wide[:120], 8); err != nil || len(got) != 2 || got[1] != want[1] {
		t.Errorf("records further apart than they are long: %v %+v", err, got)
	}
}
