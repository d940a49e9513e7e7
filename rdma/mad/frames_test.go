package mad

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"ipoib/rdma"
)

const frameMADOff = 28 // LRH, BTH, DETH

func loadFrameMADs(t testing.TB) map[string]*MAD {
	t.Helper()
	out := map[string]*MAD{}
	for _, p := range paragraphs(t, "frames.txt") {
		name, _, _ := strings.Cut(p[0], " ")
		out[name] = View((*[rdma.MADSize]byte)(unhex(t, strings.Join(p[1:], ""))[frameMADOff:]))
	}
	return out
}

var (
	frameGIDA  = rdma.MustParseGID("fe80::5eef:1000:a")
	frameGIDB  = rdma.MustParseGID("fe80::5eef:1000:b")
	frameBcast = rdma.MustParseGID("ff12:401b:8001::ffff:ffff")
)

func ipoibData[T [REQPrivateLen]byte | [REPPrivateLen]byte | [RTUPrivateLen]byte | [REJPrivateLen]byte](qpn rdma.QPN, mtu uint32) T {
	var b [REPPrivateLen + RTUPrivateLen]byte
	IPoIBPrivateData{UDQPN: qpn, ReceiveMTU: mtu}.Put(b[:])
	var v T
	reflect.Copy(reflect.ValueOf(&v).Elem(), reflect.ValueOf(b[:]))
	return v
}

// TestFrameMADs decodes the datagrams of the frames to what they are said to
// hold, and builds each from scratch.
func TestFrameMADs(t *testing.T) {
	frames := loadFrameMADs(t)
	for _, tc := range []struct {
		name   string
		class  Class
		method Method
		attr   AttrID
		tid    uint64
		mask   ComponentMask
		offset uint16
		want   Attribute
	}{
		{"V6", ClassSA, MethodSet, AttrMCMemberRecord, 0x100000001, MCRJoin, 0, &MCMemberRecord{
			MGID: frameBcast, PortGID: frameGIDA, PKey: 0x8001, JoinState: JoinFullMember,
		}},
		{"V7", ClassSA, MethodGetResp, AttrMCMemberRecord, 0x100000001, MCRJoin, 7, &MCMemberRecord{
			MGID: frameBcast, PortGID: frameGIDA, QKey: 0x80000b1b, MLID: 0xc001, MTUSelector: SelectExactly,
			MTU: rdma.MTU2048, PKey: 0x8001, RateSelector: SelectExactly, Rate: rdma.Rate10,
			PacketLifeTimeSelector: SelectExactly, PacketLifeTime: 18, Scope: 2, JoinState: JoinFullMember,
		}},
		{"V8", ClassSA, MethodGet, AttrPathRecord, 0x100000002, 0x3c0c, 0, &PathRecord{
			DGID: frameGIDB, SGID: frameGIDA, Reversible: true, NumbPath: 1, PKey: 0x8001,
		}},
		{"V9", ClassSA, MethodGetResp, AttrPathRecord, 0x100000002, 0x3c0c, 8, &PathRecord{
			DGID: frameGIDB, SGID: frameGIDA, DLID: 3, SLID: 2, Reversible: true, PKey: 0x8001,
			MTUSelector: SelectExactly, MTU: rdma.MTU2048, RateSelector: SelectExactly, Rate: rdma.Rate10,
			PacketLifeTimeSelector: SelectExactly, PacketLifeTime: 18,
		}},
		{"V10", ClassSA, MethodSet, AttrInformInfo, 0x100000003, 0, 0, &InformInfo{
			LIDRangeBegin: 0xffff, IsGeneric: true, Subscribe: true, Type: InformTypeAll,
			TrapNumber: TrapMCGroupCreated, QPN: 1, RespTimeValue: 18, ProducerType: ProducerAll,
		}},
		{"V11", ClassSA, MethodReport, AttrNotice, 0x200000001, 0, 0, func() Attribute {
			n := NewTrap(TrapMCGroupCreated, ProducerClassManager, 1,
				&DetailsGID{rdma.MustParseGID("ff12:601b:8001::1:ff00:b")})
			n.Type, n.IssuerGID = NoticeInformational, rdma.MustParseGID("fe80::5eef:1000:1")
			return n
		}()},
		{"V12", ClassCM, MethodSend, AttrREQ, 0x300000001, 0, 0, &REQ{
			LocalCommID: 0x11111111, ServiceID: IPoIBServiceID(0x49), LocalCAGUID: 0x5eef1000000a, LocalQPN: 0x100,
			RemoteCMResponseTimeout: 20, StartingPSN: 0x500, LocalCMResponseTimeout: 20, RetryCount: 7, PKey: 0x8001,
			PathMTU: rdma.MTU2048, RNRRetryCount: 7, MaxCMRetries: 15,
			Primary: CMPath{
				LocalLID: 2, RemoteLID: 3, LocalGID: frameGIDA, RemoteGID: frameGIDB, PacketRate: rdma.Rate10,
				SubnetLocal: true, LocalAckTimeout: 19,
			},
			PrivateData: ipoibData[[REQPrivateLen]byte](0x48, 65524),
		}},
		{"V13", ClassCM, MethodSend, AttrREP, 0x300000001, 0, 0, &REP{
			LocalCommID: 0x22222222, RemoteCommID: 0x11111111, LocalQPN: 0x200, StartingPSN: 0x900,
			TargetAckDelay: 15, RNRRetryCount: 7, LocalCAGUID: 0x5eef1000000b,
			PrivateData: ipoibData[[REPPrivateLen]byte](0x49, 65524),
		}},
		{"V14", ClassCM, MethodSend, AttrRTU, 0x300000001, 0, 0, &RTU{
			LocalCommID: 0x11111111, RemoteCommID: 0x22222222, PrivateData: ipoibData[[RTUPrivateLen]byte](0x48, 65524),
		}},
		{"V15", ClassCM, MethodSend, AttrREJ, 0x300000009, 0, 0, &REJ{
			RemoteCommID: 0x33333333, Reason: RejectConsumer, PrivateData: ipoibData[[REJPrivateLen]byte](0x49, 65524),
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := frames[tc.name]
			got := reflect.New(reflect.TypeOf(tc.want).Elem()).Interface().(Attribute)
			if err := m.Attr(got); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("decoded\n got %+v\nwant %+v", got, tc.want)
			}
			w := New(tc.class, tc.method, tc.attr)
			w.SetTID(tc.tid)
			if tc.class == ClassSA {
				w.SetComponentMask(tc.mask)
				w.SetAttrOffset(tc.offset)
			}
			w.SetAttr(tc.want)
			if !bytes.Equal(w[:], m[:]) {
				t.Errorf("built\n%x\nwant\n%x", w[:], m[:])
			}
		})
	}
	if len(frames) != 10 {
		t.Errorf("%d frames", len(frames))
	}
}

func Test4755_S3_5_1_ServiceID(t *testing.T) {
	for _, tc := range []struct {
		id          uint64
		qpn         rdma.QPN
		legacy, ok  bool
		description string
	}{
		{0x0100000000000049, 0x49, false, true, "RFC form"},
		{0x1000000000000049, 0x49, true, true, "Linux form"},
		{0x0100000001000049, 0, false, false, "octet 4 not 0"},
		{0x0200000000000049, 0, false, false, "another block"},
		{0x0000000000000049, 0, false, false, "no block"},
	} {
		qpn, legacy, ok := ParseIPoIBServiceID(tc.id)
		if qpn != tc.qpn || legacy != tc.legacy || ok != tc.ok {
			t.Errorf("%s: %v %v %v", tc.description, qpn, legacy, ok)
		}
	}
	if IPoIBServiceID(0xffffff) != 0x0100000000ffffff || IPoIBServiceIDLegacy(0x1000049) != 0x1000000000000049 {
		t.Error("Service-ID is built wrong")
	}
}

func Test4755_S6_2_PrivateData(t *testing.T) {
	b := bytes.Repeat([]byte{0xff}, REQPrivateLen)
	IPoIBPrivateData{UDQPN: 0xff000048, ReceiveMTU: 65524}.Put(b)
	if !bytes.Equal(b[:8], []byte{0, 0, 0, 0x48, 0, 0, 0xff, 0xf4}) || !bytes.Equal(b[8:], make([]byte, REQPrivateLen-8)) {
		t.Errorf("% x", b)
	}
	b[0] = 0xff // reserved: ignored
	p, err := ParseIPoIBPrivateData(b)
	if err != nil || p != (IPoIBPrivateData{UDQPN: 0x48, ReceiveMTU: 65524}) {
		t.Errorf("%+v, %v", p, err)
	}
	for _, bad := range [][]byte{b[:7], {0, 0, 0, 1, 0, 0, 0, 4}} {
		if _, err := ParseIPoIBPrivateData(bad); err == nil {
			t.Errorf("% x was accepted", bad)
		}
	}
}
