package header

import (
	"testing"
	"time"

	"ipoib/rdma"
)

// TestViews writes every field and reads it back, with all other bits set and
// clear: a setter must not touch its neighbours.
func TestViews(t *testing.T) {
	for _, fill := range []byte{0, 0xff} {
		buf := func(n int) []byte {
			b := make([]byte, n)
			for i := range b {
				b[i] = fill
			}
			return b
		}
		l, g, b := LRH(buf(LRHLen)), GRH(buf(GRHLen)), BTH(buf(BTHLen))
		d, a, im := DETH(buf(DETHLen)), AETH(buf(AETHLen)), ImmDt(buf(ImmDtLen))
		for _, tc := range []struct {
			name string
			b    []byte
			set  func()
			bits int // that may change
			ok   func() bool
		}{
			{"VL", l, func() { l.SetVL(0x5) }, 4, func() bool { return l.VL() == 5 }},
			{"LVer", l, func() { l.SetLVer(0x5) }, 4, func() bool { return l.LVer() == 5 }},
			{"SL", l, func() { l.SetSL(0xa) }, 4, func() bool { return l.SL() == 0xa }},
			{"LNH", l, func() { l.SetLNH(LNHIBALocal) }, 2, func() bool { return l.LNH() == LNHIBALocal }},
			{"DLID", l, func() { l.SetDLID(0x1234) }, 16, func() bool { return l.DLID() == 0x1234 }},
			{"PktLen", l, func() { l.SetPktLen(0x2aa) }, 11, func() bool { return l.PktLen() == 0x2aa }},
			{"SLID", l, func() { l.SetSLID(0x4321) }, 16, func() bool { return l.SLID() == 0x4321 }},
			{"class and flow", g, func() { g.SetVersionClassFlow(6, 0x5a, 0xabcde) }, 32, func() bool { return g.IPVer() == 6 && g.TClass() == 0x5a && g.FlowLabel() == 0xabcde }},
			{"PayLen", g, func() { g.SetPayLen(0x1234) }, 16, func() bool { return g.PayLen() == 0x1234 }},
			{"NxtHdr", g, func() { g.SetNxtHdr(0x3a) }, 8, func() bool { return g.NxtHdr() == 0x3a }},
			{"HopLmt", g, func() { g.SetHopLmt(0x3a) }, 8, func() bool { return g.HopLmt() == 0x3a }},
			{"SGID", g, func() { g.SetSGID(gidA) }, 128, func() bool { return g.SGID() == gidA }},
			{"DGID", g, func() { g.SetDGID(bcast) }, 128, func() bool { return g.DGID() == bcast }},
			{"Opcode", b, func() { b.SetOpcode(UDSendOnly) }, 8, func() bool { return b.Opcode() == UDSendOnly }},
			{"SE", b, func() { b.SetSolicited(fill == 0) }, 1, func() bool { return b.Solicited() == (fill == 0) }},
			{"MigReq", b, func() { b.SetMigReq(fill == 0) }, 1, func() bool { return b.MigReq() == (fill == 0) }},
			{"PadCnt", b, func() { b.SetPadCnt(2) }, 2, func() bool { return b.PadCnt() == 2 }},
			{"TVer", b, func() { b.SetTVer(5) }, 4, func() bool { return b.TVer() == 5 }},
			{"P_Key", b, func() { b.SetPKey(0x8001) }, 16, func() bool { return b.PKey() == 0x8001 }},
			{"FECN", b, func() { b.SetFECN(fill == 0) }, 1, func() bool { return b.FECN() == (fill == 0) }},
			{"BECN", b, func() { b.SetBECN(fill == 0) }, 1, func() bool { return b.BECN() == (fill == 0) }},
			{"DestQP", b, func() { b.SetDestQP(0x123456) }, 24, func() bool { return b.DestQP() == 0x123456 }},
			{"AckReq", b, func() { b.SetAckReq(fill == 0) }, 1, func() bool { return b.AckReq() == (fill == 0) }},
			{"PSN", b, func() { b.SetPSN(0x654321) }, 24, func() bool { return b.PSN() == 0x654321 }},
			{"Q_Key", d, func() { d.SetQKey(0x80010000) }, 32, func() bool { return d.QKey() == rdma.QKeyGSI }},
			{"SrcQP", d, func() { d.SetSrcQP(0x48) }, 24, func() bool { return d.SrcQP() == 0x48 }},
			{"Syndrome", a, func() { a.SetSyndrome(NAKInvalidRequest) }, 8, func() bool { return a.Syndrome() == NAKInvalidRequest }},
			{"MSN", a, func() { a.SetMSN(0x10203) }, 24, func() bool { return a.MSN() == 0x10203 }},
			{"Imm", im, func() { im.SetData(0x01020304) }, 32, func() bool { return im.Data() == 0x01020304 }},
		} {
			for i := range tc.b {
				tc.b[i] = fill
			}
			tc.set()
			if !tc.ok() {
				t.Errorf("%s: fill %02x: wrong value in %x", tc.name, fill, tc.b)
			}
			changed := 0
			for _, v := range tc.b {
				for x := v ^ fill; x != 0; x &= x - 1 {
					changed++
				}
			}
			if changed == 0 || changed > tc.bits {
				t.Errorf("%s: fill %02x: %d bits changed of %d", tc.name, fill, changed, tc.bits)
			}
		}
	}
}

func TestIsValid(t *testing.T) {
	b := make([]byte, GRHLen)
	for _, tc := range []struct {
		name  string
		n     int
		valid func(b []byte) bool
	}{
		{"LRH", LRHLen, func(b []byte) bool { return LRH(b).IsValid() }},
		{"GRH", GRHLen, func(b []byte) bool { return GRH(b).IsValid() }},
		{"BTH", BTHLen, func(b []byte) bool { return BTH(b).IsValid() }},
		{"DETH", DETHLen, func(b []byte) bool { return DETH(b).IsValid() }},
		{"AETH", AETHLen, func(b []byte) bool { return AETH(b).IsValid() }},
		{"RETH", RETHLen, func(b []byte) bool { return RETH(b).IsValid() }},
		{"ImmDt", ImmDtLen, func(b []byte) bool { return ImmDt(b).IsValid() }},
	} {
		if !tc.valid(b[:tc.n]) || tc.valid(b[:tc.n-1]) || tc.valid(nil) {
			t.Errorf("%s: IsValid does not draw the line at %d bytes", tc.name, tc.n)
		}
	}
}

func TestRNRTimer(t *testing.T) {
	for code, want := range []float64{ // in ms
		655.36, .01, .02, .03, .04, .06, .08, .12, .16, .24, .32, .48, .64, .96, 1.28, 1.92, 2.56, 3.84, 5.12,
		7.68, 10.24, 15.36, 20.48, 30.72, 40.96, 61.44, 81.92, 122.88, 163.84, 245.76, 327.68, 491.52,
	} {
		d := time.Duration(want*1000+.5) * time.Microsecond
		if got := RNRTimer(uint8(code)); got != d {
			t.Errorf("code %d: %v, want %v", code, got, d)
		}
		if got := RNRTimerCode(d); got != uint8(code) {
			t.Errorf("%v: code %d, want %d", d, got, code)
		}
		if s := RNR(uint8(code)); s.Kind() != SyndromeRNRNAK || s.Value() != uint8(code) {
			t.Errorf("syndrome %v of code %d", s, code)
		}
	}
	if RNRTimerCode(time.Minute) != 0 || RNRTimerCode(0) != 1 || RNRTimerCode(50*time.Microsecond) != 5 {
		t.Error("RNRTimerCode does not round up")
	}
}

func TestCredits(t *testing.T) {
	table := []int{
		0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048,
		3072, 4096, 6144, 8192, 12288, 16384, 24576, 32768,
	}
	for code, want := range table {
		if n, ok := Syndrome(code).Credits(); !ok || n != want {
			t.Errorf("code %d: %d %v, want %d", code, n, ok, want)
		}
		if got := ACKCredits(want); got != Syndrome(code) {
			t.Errorf("%d credits: %v, want code %d", want, got, code)
		}
	}
	if ACKCredits(5) != 4 || ACKCredits(1<<20) != 0x1e {
		t.Error("ACKCredits does not round down")
	}
	for _, s := range []Syndrome{ACKNoCredit, RNR(3), NAKPSNSequence} {
		if n, ok := s.Credits(); ok || n != 0 {
			t.Errorf("%v has credits", s)
		}
	}
}

func TestOpcodes(t *testing.T) {
	known := 0
	for i := range 256 {
		o := Opcode(i)
		if !o.IsKnown() {
			if o.ExtLen() != 0 || o.IsSend() {
				t.Errorf("unknown %v has properties", o)
			}
			continue
		}
		known++
		n := 0
		for _, v := range []bool{o.IsFirst(), o.IsMiddle(), o.IsLast(), o.IsOnly()} {
			if v {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%v has %d places in its message", o, n)
		}
	}
	if known != 23+12+2 {
		t.Errorf("%d known opcodes", known)
	}
	for _, tc := range []struct {
		o    Opcode
		name string
		tr   Transport
		ext  int
	}{
		{0x00, "RC Send First", TransportRC, 0}, {0x03, "RC Send Last Immediate", TransportRC, 4},
		{0x11, "RC Acknowledge", TransportRC, 4}, {0x12, "RC ATOMIC Acknowledge", TransportRC, 12},
		{0x14, "RC FetchAdd", TransportRC, 28}, {0x0c, "RC RDMA Read Request", TransportRC, 16},
		{0x0e, "RC RDMA Read Response Middle", TransportRC, 0}, {0x17, "RC Send Only Invalidate", TransportRC, 4},
		{0x24, "UC Send Only", TransportUC, 0}, {0x2b, "UC RDMA Write Only Immediate", TransportUC, 20},
		{0x64, "UD Send Only", TransportUD, 8}, {0x65, "UD Send Only Immediate", TransportUD, 12},
	} {
		if tc.o.String() != tc.name || tc.o.Transport() != tc.tr || tc.o.ExtLen() != tc.ext {
			t.Errorf("0x%02x: %v %v %d", uint8(tc.o), tc.o, tc.o.Transport(), tc.o.ExtLen())
		}
	}
	for _, o := range []Opcode{UDSendOnly, RCSendFirst, UCSendLastImm} {
		if !o.IsSend() || o.IsResponse() {
			t.Errorf("%v is a send", o)
		}
	}
	if RCWriteFirst.IsSend() || !RCAck.IsResponse() || !RCAck.HasAETH() || Opcode(0x44).String() != "Opcode(0x44)" {
		t.Error("classification")
	}
}

func TestSyndromeString(t *testing.T) {
	for s, want := range map[Syndrome]string{
		ACKNoCredit: "ACK(credit 31)", RNR(14): "RNR NAK(1.28ms)", NAKPSNSequence: "NAK(PSN sequence error)",
		NAKInvalidRequest: "NAK(invalid request)", NAKRemoteAccess: "NAK(remote access error)",
		NAKRemoteOperational: "NAK(remote operational error)", NAKInvalidRDRequest: "NAK(invalid RD request)",
		0x7f: "Syndrome(0x7f)",
	} {
		if got := s.String(); got != want {
			t.Errorf("0x%02x: %q, want %q", uint8(s), got, want)
		}
	}
}
