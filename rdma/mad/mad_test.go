package mad

import (
	"errors"
	"testing"

	"ipoib/rdma"
)

func TestMethodResponse(t *testing.T) {
	for m, want := range map[Method]Method{
		MethodGet: MethodGetResp, MethodSet: MethodGetResp, MethodGetTable: MethodGetTableResp,
		MethodGetMulti: MethodGetMultiResp, MethodDelete: MethodDeleteResp, MethodReport: MethodReportResp,
		MethodTrap: MethodTrapRepress, MethodGetTraceTable: MethodGetTableResp, MethodGetResp: MethodGetResp,
	} {
		if got := m.Response(); got != want {
			t.Errorf("%v is answered by %v, want %v", m, got, want)
		}
	}
	for m, want := range map[Method]bool{
		MethodGetResp: true, MethodTrapRepress: true, MethodReportResp: true, MethodTrap: false, MethodSend: false,
	} {
		if got := New(ClassSA, m, AttrNotice).IsResponse(); got != want {
			t.Errorf("%v is a response: %v", m, got)
		}
	}
}

func TestStatusError(t *testing.T) {
	all := []error{ErrBusy, ErrUnsupported, ErrNoRecords, ErrDenied, ErrReqInvalid}
	for _, tc := range []struct {
		c    Class
		s    Status
		is   error
		text string
	}{
		{ClassSA, SAStatusNoRecords, ErrNoRecords, "mad: SubnAdm Get(PathRecord): status 0x0300 (ERR_NO_RECORDS)"},
		{ClassSA, SAStatusReqInvalid, ErrReqInvalid, "mad: SubnAdm Get(PathRecord): status 0x0200 (ERR_REQ_INVALID)"},
		{ClassSA, SAStatusReqInvalidGID, ErrReqInvalid, "mad: SubnAdm Get(PathRecord): status 0x0500 (ERR_REQ_INVALID_GID)"},
		{ClassSA, SAStatusInsufficientComponents, ErrReqInvalid, "mad: SubnAdm Get(PathRecord): status 0x0600 (ERR_REQ_INSUFFICIENT_COMPONENTS)"},
		{ClassSA, SAStatusReqDenied, ErrDenied, "mad: SubnAdm Get(PathRecord): status 0x0700 (ERR_REQ_DENIED)"},
		{ClassSA, SAStatusNoResources, ErrBusy, "mad: SubnAdm Get(PathRecord): status 0x0100 (ERR_NO_RESOURCES)"},
		{ClassSA, SAStatusTooManyRecords, nil, "mad: SubnAdm Get(PathRecord): status 0x0400 (ERR_TOO_MANY_RECORDS)"},
		{ClassSA, StatusBusy, ErrBusy, "mad: SubnAdm Get(PathRecord): status 0x0001 (busy)"},
		{ClassSA, StatusMethodAttrUnsupported, ErrUnsupported, "mad: SubnAdm Get(PathRecord): status 0x000c (method/attribute combination not supported)"},
		{ClassPerf, 0x0300, nil, "mad: PerfMgt Get(0x0035): status 0x0300"},
		{ClassSM, StatusInvalidField, ErrReqInvalid, "mad: SubnMgt Get(0x0035): status 0x001c (invalid field value)"},
	} {
		m := New(tc.c, MethodGetResp, AttrPathRecord)
		m.SetStatus(tc.s)
		err := StatusErrorOf(m, MethodGet)
		var se *StatusError
		if !errors.As(err, &se) || se.Status != tc.s || err.Error() != tc.text {
			t.Errorf("%v %#x: %v", tc.c, uint16(tc.s), err)
		}
		for _, e := range all {
			if got := errors.Is(err, e); got != (errors.Is(e, tc.is)) {
				t.Errorf("%v is %v: %v", err, e, got)
			}
		}
	}
	m := New(ClassSMDirected, MethodGetResp, AttrNodeInfo)
	m.SetDirection(true)
	if err := StatusErrorOf(m, MethodGet); err != nil {
		t.Errorf("the direction bit is not a status: %v", err)
	}
	m.SetSMPStatus(StatusMethodUnsupported)
	if err := StatusErrorOf(m, MethodGet); !errors.Is(err, ErrUnsupported) {
		t.Errorf("got %v", err)
	}
}

func TestNames(t *testing.T) {
	for _, tc := range []struct {
		a    AttrID
		c    Class
		want string
	}{
		{0x12, ClassSM, "SwitchInfo"}, {0x12, ClassSMDirected, "SwitchInfo"}, {0x12, ClassSA, "PortInfoRecord"},
		{0x12, ClassPerf, "PortCounters"}, {0x12, ClassCM, "ConnectReject"}, {0x01, ClassCM, "ClassPortInfo"},
		{0x1234, ClassSA, "0x1234"}, {0x12, ClassBM, "0x0012"},
	} {
		if got := tc.a.Name(tc.c); got != tc.want {
			t.Errorf("%v of %v: %s, want %s", tc.a, tc.c, got, tc.want)
		}
	}
	m := New(ClassSA, MethodGetTable, AttrPathRecord)
	m.SetTID(0x12)
	if got, want := m.String(), "SubnAdm GetTable(PathRecord) mod 0x0 tid 0x12 status 0x0000 (OK)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for _, tc := range []struct{ got, want string }{
		{Class(0x55).String(), "Class(0x55)"}, {Method(0x55).String(), "Method(0x55)"},
		{RejectInvalidServiceID.String(), "8 (invalid service ID)"}, {RejectReason(99).String(), "99"},
		{RMPPAbort.String(), "ABORT"}, {RMPPType(9).String(), "RMPPType(9)"},
		{RMPPTooManyRetries.String(), "126 (too many retries)"}, {RMPPStatus(99).String(), "99"},
		{NodeTypeSwitch.String(), "Switch"}, {NodeTypeCA.String(), "Ca"}, {NodeTypeRouter.String(), "Rt"}, {NodeType(0).String(), "???"},
		{SMMaster.String(), "SMINFO_MASTER"}, {SMState(9).String(), "SMState(9)"},
	} {
		if tc.got != tc.want {
			t.Errorf("%q, want %q", tc.got, tc.want)
		}
	}
}

func TestCheck(t *testing.T) {
	for c, want := range map[Class]uint8{ClassSM: 1, ClassSMDirected: 1, ClassSA: 2, ClassCM: 2, ClassPerf: 1, ClassCC: 2} {
		m := New(c, MethodGet, AttrClassPortInfo)
		if err := m.Check(); err != nil || m.ClassVersion() != want {
			t.Errorf("%v: version %d, %v", c, m.ClassVersion(), err)
		}
		m[offClassVersion]++
		if m.Check() == nil {
			t.Errorf("%v: a wrong class version was accepted", c)
		}
		m[offClassVersion]--
		m[offBaseVersion] = 2
		if m.Check() == nil {
			t.Errorf("%v: a wrong base version was accepted", c)
		}
	}
}

func TestPortCounters(t *testing.T) {
	c := rdma.PortCounters{
		SymbolErrors: 1 << 20, LinkDowned: 300, LocalLinkIntegrity: 16, ExcessiveBufferOverruns: 15, XmitData: 1 << 40,
		RcvData: 7, XmitPkts: 8, RcvPkts: 9, VL15Dropped: 5, XmitDiscards: 65535,
	}
	p := NewPortCounters(3, &c)
	want := PortCounters{
		PortSelect: 3, SymbolErrors: 0xffff, LinkDowned: 255, LocalLinkIntegrity: 15, ExcessiveBufferOverruns: 15,
		XmitData: 0xffffffff, RcvData: 7, XmitPkts: 8, RcvPkts: 9, VL15Dropped: 5, XmitDiscards: 65535,
	}
	if *p != want {
		t.Errorf("\n got %+v\nwant %+v", *p, want)
	}
	// Reset of all error counters but one, as perfquery -R does.
	set := PortCounters{CounterSelect: SelAll &^ (SelRcvPkts | SelXmitPkts | SelVL15Dropped), RcvData: 70, XmitPkts: 80}
	set.StoreSelected(&c)
	if want := (rdma.PortCounters{RcvData: 70, XmitPkts: 8, RcvPkts: 9, VL15Dropped: 5}); c != want {
		t.Errorf("\n got %+v\nwant %+v", c, want)
	}
	c = rdma.PortCounters{XmitData: 1, UnicastRcvPkts: 2, SymbolErrors: 3, XmitWait: 4, RcvErrors: 5}
	ext := PortCountersExtended{CounterSelect: ExtXmitData | ExtSymbolErrors | ExtXmitWait}
	ext.Counters.XmitData = 10
	ext.StoreSelected(&c)
	if want := (rdma.PortCounters{XmitData: 10, UnicastRcvPkts: 2, RcvErrors: 5}); c != want {
		t.Errorf("\n got %+v\nwant %+v", c, want)
	}
	// ib_port_counters_ext_t: xmit_wait is at 168, qp1_dropped at 176.
	ext = PortCountersExtended{QP1Dropped: 2}
	ext.Counters.XmitWait, ext.Counters.SymbolErrors = 1, 3
	b := make([]byte, ext.Len())
	ext.Marshal(b)
	if b[175] != 1 || b[183] != 2 || b[79] != 3 {
		t.Errorf("% x", b)
	}
	if ExtXmitWait != 1<<28 || ExtSymbolErrors != 1<<16 || SelXmitWait != 1<<16 || SelRcvPkts != 1<<15 {
		t.Error("selector bits")
	}
}

// TestData: where the attribute of each class is.
func TestData(t *testing.T) {
	for c, want := range map[Class][2]int{
		ClassSM: {64, 64}, ClassSMDirected: {64, 64}, ClassSA: {56, 200}, ClassPerf: {64, 192}, ClassCM: {24, 232}, ClassDM: {64, 192},
	} {
		m := New(c, MethodGet, AttrClassPortInfo)
		d := m.Data()
		d[0] = 0x5a
		if m[want[0]] != 0x5a || len(d) != want[1] {
			t.Errorf("%v: %d bytes", c, len(d))
		}
	}
	m := New(ClassPerf, MethodGetResp, AttrClassPortInfo)
	copy(m.PMData(), "what was there before")
	m[255] = 1
	m.SetAttr(&ClassPortInfo{BaseVersion: 1, ClassVersion: 1, CapMask: PMCapExtendedWidth})
	var cpi ClassPortInfo
	if err := m.Attr(&cpi); err != nil || cpi.CapMask != PMCapExtendedWidth || m[64] != 1 || m[255] != 0 {
		t.Errorf("%v %+v", err, cpi)
	}
	// An SMP keeps its paths.
	s := New(ClassSMDirected, MethodSet, AttrSMInfo)
	s.InitialPath()[1] = 7
	s.SetAttr(&SMInfo{Priority: 5, State: SMStandby})
	if s.InitialPath()[1] != 7 || s[84] != 0x52 {
		t.Errorf("% x", s[64:132])
	}
}

func TestCapMasks(t *testing.T) {
	if !(CapIsSM | CapTrap).Has(CapTrap) || CapTrap.Has(CapTrap|CapIsSM) || CapIsSM != 2 || CapHierarchyInfo != 1<<31 ||
		CapClientReregister != 0x02000000 || CapCapMask2 != 0x8000 {
		t.Error("CapMask")
	}
	if !Cap2LinkWidth2X.Has(0x10) || Cap2LinkWidth2X.Has(0x11) || Cap2LinkSpeedNDR != 0x400 {
		t.Error("CapMask2")
	}
}

func TestNoticeString(t *testing.T) {
	n := NewTrap(TrapLinkStateChange, ProducerSwitch, 9, nil)
	if got, want := n.String(), "trap 128 type 1 producer 2 issuer 0x0009"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	n.IsGeneric, n.ProducerType = false, 0x2c9
	if got, want := n.String(), "vendor 0x0002c9 notice from device 0x0080, issuer 0x0009"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestErrTimeout(t *testing.T) {
	var te interface{ Timeout() bool }
	if !errors.As(ErrTimeout, &te) || !te.Timeout() || ErrTimeout.Error() != "mad: no response" {
		t.Error("ErrTimeout is no timeout")
	}
	if got := (&RMPPError{Status: RMPPTooManyRetries}).Error(); got != "mad: RMPP transfer aborted: status 126 (too many retries)" {
		t.Error(got)
	}
}
