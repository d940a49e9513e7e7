package mad

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"ipoib/rdma"
)

// allAttrs makes one of each attribute, by name.
var allAttrs = map[string]func() Attribute{
	"NodeInfo":             func() Attribute { return new(NodeInfo) },
	"NodeDescription":      func() Attribute { return new(NodeDescription) },
	"PortInfo":             func() Attribute { return new(PortInfo) },
	"MlnxExtendedPortInfo": func() Attribute { return new(MlnxExtendedPortInfo) },
	"SwitchInfo":           func() Attribute { return new(SwitchInfo) },
	"PKeyTable":            func() Attribute { return new(PKeyTable) },
	"GUIDInfo":             func() Attribute { return new(GUIDInfo) },
	"LFT":                  func() Attribute { return new(LinearForwardingTable) },
	"MFT":                  func() Attribute { return new(MulticastForwardingTable) },
	"SLtoVL":               func() Attribute { return new(SLtoVLMappingTable) },
	"VLArbitration":        func() Attribute { return new(VLArbitrationTable) },
	"SMInfo":               func() Attribute { return new(SMInfo) },
	"Notice":               func() Attribute { return new(Notice) },
	"ClassPortInfo":        func() Attribute { return new(ClassPortInfo) },
	"InformInfo":           func() Attribute { return new(InformInfo) },
	"InformInfoRecord":     func() Attribute { return new(InformInfoRecord) },
	"MCMemberRecord":       func() Attribute { return new(MCMemberRecord) },
	"PathRecord":           func() Attribute { return new(PathRecord) },
	"MultiPathRecord":      func() Attribute { return new(MultiPathRecord) },
	"NodeRecord":           func() Attribute { return new(NodeRecord) },
	"PortInfoRecord":       func() Attribute { return new(PortInfoRecord) },
	"SMInfoRecord":         func() Attribute { return new(SMInfoRecord) },
	"SwitchInfoRecord":     func() Attribute { return new(SwitchInfoRecord) },
	"LinkRecord":           func() Attribute { return new(LinkRecord) },
	"ServiceRecord":        func() Attribute { return new(ServiceRecord) },
	"PKeyTableRecord":      func() Attribute { return new(PKeyTableRecord) },
	"LFTRecord":            func() Attribute { return new(LFTRecord) },
	"MFTRecord":            func() Attribute { return new(MFTRecord) },
	"GUIDInfoRecord":       func() Attribute { return new(GUIDInfoRecord) },
	"SLtoVLRecord":         func() Attribute { return new(SLtoVLMappingTableRecord) },
	"VLArbitrationRecord":  func() Attribute { return new(VLArbitrationTableRecord) },
	"PortCounters":         func() Attribute { return new(PortCounters) },
	"PortCountersExtended": func() Attribute { return new(PortCountersExtended) },
	"REQ":                  func() Attribute { return new(REQ) },
	"REP":                  func() Attribute { return new(REP) },
	"RTU":                  func() Attribute { return new(RTU) },
	"REJ":                  func() Attribute { return new(REJ) },
	"MRA":                  func() Attribute { return new(MRA) },
	"DREQ":                 func() Attribute { return new(DREQ) },
	"DREP":                 func() Attribute { return new(DREP) },
}

// shortest is how many bytes Unmarshal takes, where it is less than Len.
var shortest = map[string]int{
	"Notice": NoticeSMPLen, "MCMemberRecord": 52, "NodeRecord": 108, "PortInfoRecord": 68,
	"SMInfoRecord": 25, "LinkRecord": 6, "PortCountersExtended": PortCountersExtendedBaseLen,
}

// stable unmarshals, marshals and unmarshals again.
func stable(t *testing.T, newAttr func() Attribute, data []byte) {
	t.Helper()
	a := newAttr()
	if a.Unmarshal(data) != nil {
		return
	}
	b := make([]byte, a.Len())
	a.Marshal(b)
	again := newAttr()
	if err := again.Unmarshal(b); err != nil {
		t.Fatalf("%T: cannot read what was written: %v", a, err)
	}
	if !reflect.DeepEqual(a, again) {
		t.Fatalf("%T: not stable:\n%+v\n%+v", a, a, again)
	}
}

func TestAttributesStable(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for name, f := range allAttrs {
		n := f().Len()
		for range 50 {
			b := make([]byte, n)
			for i := range b {
				b[i] = uint8(rnd.Uint32())
			}
			if name == "MultiPathRecord" {
				b[15], b[16] = 0, 0
			}
			stable(t, f, b)
		}
	}
}

func TestAttributesShort(t *testing.T) {
	for name, f := range allAttrs {
		least := f().Len()
		if s, ok := shortest[name]; ok {
			least = s
		}
		for n := range least {
			if err := f().Unmarshal(make([]byte, n)); !errors.Is(err, ErrShort) {
				t.Errorf("%s: %d bytes: %v", name, n, err)
			}
		}
		if err := f().Unmarshal(make([]byte, least)); err != nil {
			t.Errorf("%s: %d bytes: %v", name, least, err)
		}
	}
	if err := new(Notice).Unmarshal(make([]byte, NoticeSMPLen+1)); !errors.Is(err, ErrShort) {
		t.Errorf("Notice of 65 bytes: %v", err)
	}
}

// FuzzAttributes decodes the input as every attribute.
func FuzzAttributes(f *testing.F) {
	for _, p := range paragraphs(f, "libibmad.txt") {
		_, raw, _ := strings.Cut(p[0], " ")
		f.Add(unhex(f, raw))
	}
	for _, v := range loadSA(f) {
		f.Add(v.m.SAData())
	}
	for _, m := range loadFrameMADs(f) {
		f.Add(m.CMData())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, newAttr := range allAttrs {
			stable(t, newAttr, data)
		}
		for n := range 16 {
			_, _ = DecodeRecords[MCMemberRecord](data, uint16(n))
			_, _ = DecodeRecords[PathRecord](data, uint16(n))
		}
		_, _ = ParseIPoIBPrivateData(data)
	})
}

// FuzzMAD reads every header of the input, then writes it.
func FuzzMAD(f *testing.F) {
	for _, v := range loadSA(f) {
		f.Add(v.m[:])
	}
	for _, m := range loadFrameMADs(f) {
		f.Add(m[:])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m := padded(data)
		_ = m.String()
		_ = m.Check()
		_ = m.Route()
		n, err := m.Notice()
		if err == nil {
			if d, err := n.ParseDetails(); err == nil {
				c := n
				c.SetDetails(d)
				again, err := c.ParseDetails()
				if err != nil || !reflect.DeepEqual(again, d) {
					t.Fatalf("details not stable: %+v %+v %v", d, again, err)
				}
			}
		}
		w := new(MAD)
		w.SetHeader(m.Header())
		w.SetRMPP(m.RMPP())
		if w.Header() != m.Header() || w.RMPP() != m.RMPP() {
			t.Fatalf("header not stable: %v %v", w, m)
		}
		_ = StatusErrorOf(m, MethodGet)
		m.Respond(StatusInvalidField)
	})
}

func TestMultiPathRecord(t *testing.T) {
	r := &MultiPathRecord{
		FlowLabel: 0x12345, HopLimit: 7, TClass: 9, Reversible: true, NumbPath: 3, PKey: 0xffff, QoSClass: 0xabc,
		SL: 5, MTUSelector: SelectExactly, MTU: rdma.MTU2048, RateSelector: SelectLess, Rate: rdma.Rate20,
		PacketLifeTimeSelector: SelectBest, PacketLifeTime: 18, ServiceID: 0x1122334455667788, IndependenceSelector: 2,
		SGIDs: []rdma.GID{frameGIDA}, DGIDs: []rdma.GID{frameGIDB, frameBcast},
	}
	// ib_multipath_rec_t of OpenSM, field by field.
	want := unhex(t, "01234507 09 83 ffff abc5 84 46 d2 11 80 01 02 22334455667788"+
		"fe800000000000000000 5eef1000000a fe800000000000000000 5eef1000000b ff12401b8001000000000000ffffffff")
	roundTrip(t, new(MultiPathRecord), want)
	got := make([]byte, r.Len())
	r.Marshal(got)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %x\nwant %x", got, want)
	}
	r.SGIDs = make([]rdma.GID, 9)
	r.DGIDs = make([]rdma.GID, 9)
	m := New(ClassSA, MethodGetMulti, AttrMultiPathRecord)
	m.SetAttr(r) // more than fit: must not panic
	if err := m.Attr(r); err != nil || len(r.SGIDs) != 9 || len(r.DGIDs) != 2 {
		t.Errorf("%v: %d source and %d destination GIDs", err, len(r.SGIDs), len(r.DGIDs))
	}
	m.SAData()[16] = 200
	if err := m.Attr(r); err == nil {
		t.Error("200 GIDs in one datagram were accepted")
	}
}
