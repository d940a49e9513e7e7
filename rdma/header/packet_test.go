package header

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"testing"

	"ipoib/rdma"
)

var (
	gidA  = rdma.MustParseGID("fe80::5eef:1000:a")
	gidB  = rdma.MustParseGID("fe80::5eef:1000:b")
	bcast = rdma.MustParseGID("ff12:401b:8001::ffff:ffff")
	snma  = rdma.MustParseGID("ff12:601b:8001::1:ff00:b")
)

// frameTable tells what is in testdata/frames.txt.
var frameTable = []struct {
	name    string
	pkt     int // PktLen
	pad     int
	payload int
	prefix  string // of the payload
	f       Fields
}{
	{"V1", 33, 0, 60, "08060000 0020080014040001", Fields{SLID: 2, DLID: 0xc001, HasGRH: true, GRH: rdma.GRHInfo{SGID: gidA, DGID: bcast}, Opcode: UDSendOnly, PKey: 0x8001, DestQP: 0xffffff, PSN: 1, QKey: 0x80000b1b, SrcQP: 0x48}},
	{"V2", 23, 0, 60, "08060000 0020080014040002", Fields{SLID: 3, DLID: 2, Opcode: UDSendOnly, PKey: 0x8001, DestQP: 0x48, PSN: 1, QKey: 0x80000b1b, SrcQP: 0x49}},
	{"V3", 18, 3, 37, "08000000 45000021", Fields{SLID: 2, DLID: 3, Opcode: UDSendOnly, PKey: 0x8001, DestQP: 0x49, PSN: 2, QKey: 0x80000b1b, SrcQP: 0x48}},
	{"V4", 28, 3, 37, "08000000 45000021", Fields{SLID: 2, DLID: 3, HasGRH: true, GRH: rdma.GRHInfo{SGID: gidA, DGID: gidB, FlowLabel: 0x12345, TrafficClass: 0x20, HopLimit: 64}, Opcode: UDSendOnly, PKey: 0x8001, DestQP: 0x49, PSN: 2, QKey: 0x80000b1b, SrcQP: 0x48}},
	{"V5", 41, 0, 92, "86dd0000 60000000 00303aff", Fields{SLID: 2, DLID: 0xc002, HasGRH: true, GRH: rdma.GRHInfo{SGID: gidA, DGID: snma}, Opcode: UDSendOnly, PKey: 0x8001, DestQP: 0xffffff, PSN: 3, QKey: 0x80000b1b, SrcQP: 0x48}},
	{"V6", 72, 0, 256, "01030202 00000000", madFields(2, 1, 0)},
	{"V7", 72, 0, 256, "01030281 00000000", madFields(1, 2, 0)},
	{"V8", 72, 0, 256, "01030201 00000000", madFields(2, 1, 1)},
	{"V9", 72, 0, 256, "01030281 00000000", madFields(1, 2, 1)},
	{"V10", 72, 0, 256, "01030202 00000000", madFields(2, 1, 2)},
	{"V11", 72, 0, 256, "01030206 00000000", madFields(1, 2, 2)},
	{"V12", 72, 0, 256, "01070203 00000000", madFields(2, 3, 3)},
	{"V13", 72, 0, 256, "01070203 00000000", madFields(3, 2, 3)},
	{"V14", 72, 0, 256, "01070203 00000000", madFields(2, 3, 4)},
	{"V15", 72, 0, 256, "01070203 00000000", madFields(3, 2, 4)},
	{"V16", 16, 0, 40, "08000000 45000024", Fields{SLID: 2, DLID: 3, Opcode: RCSendOnly, MigReq: true, PKey: 0x8001, DestQP: 0x200, AckReq: true, PSN: 0x900}},
	{"V17", 7, 0, 0, "", Fields{SLID: 3, DLID: 2, Opcode: RCAck, MigReq: true, PKey: 0x8001, DestQP: 0x100, PSN: 0x900, Syndrome: ACKNoCredit, MSN: 1}},
	{"V18", 7, 0, 0, "", Fields{SLID: 3, DLID: 2, Opcode: RCAck, MigReq: true, PKey: 0x8001, DestQP: 0x100, PSN: 0x902, Syndrome: NAKPSNSequence, MSN: 2}},
	{"V19", 7, 0, 0, "", Fields{SLID: 3, DLID: 2, Opcode: RCAck, MigReq: true, PKey: 0x8001, DestQP: 0x100, PSN: 0x901, Syndrome: RNR(14), MSN: 1}},
	{"V20", 101, 0, 332, "08000000 45000148", Fields{SLID: 2, DLID: 0xc001, HasGRH: true, GRH: rdma.GRHInfo{SGID: gidA, DGID: bcast}, Opcode: UDSendOnly, PKey: 0x8001, DestQP: 0xffffff, PSN: 4, QKey: 0x80000b1b, SrcQP: 0x48}},
	{"V21", 70, 0, 256, "00010203 04050607", Fields{SLID: 2, DLID: 3, Opcode: RCSendFirst, MigReq: true, PKey: 0x8001, DestQP: 0x200, PSN: 0x903}},
	{"V22", 17, 0, 44, "00010203 04050607", Fields{SLID: 2, DLID: 3, Opcode: RCSendLast, MigReq: true, PKey: 0x8001, DestQP: 0x200, AckReq: true, PSN: 0x904}},
}

func madFields(slid, dlid rdma.LID, psn rdma.PSN) Fields {
	return Fields{
		SLID: slid, DLID: dlid, Opcode: UDSendOnly, PKey: 0xffff, DestQP: 1, PSN: psn,
		QKey: rdma.QKeyGSI, SrcQP: 1,
	}
}

func TestFrames(t *testing.T) {
	frames := loadFrames(t)
	if len(frames) != len(frameTable) {
		t.Fatalf("%d frames, %d in the table", len(frames), len(frameTable))
	}
	for _, tc := range frameTable {
		t.Run(tc.name, func(t *testing.T) {
			frame := frames[tc.name]
			p, err := Parse(frame)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Fields(); !reflect.DeepEqual(got, tc.f) {
				t.Errorf("fields\n got %+v\nwant %+v", got, tc.f)
			}
			if p.LRH.PktLen() != tc.pkt || p.BTH.PadCnt() != tc.pad || len(p.Payload) != tc.payload {
				t.Errorf("PktLen %d pad %d payload %d, want %d %d %d", p.LRH.PktLen(), p.BTH.PadCnt(),
					len(p.Payload), tc.pkt, tc.pad, tc.payload)
			}
			if !bytes.HasPrefix(p.Payload, unhex(t, tc.prefix)) {
				t.Errorf("payload starts %x", p.Payload[:min(12, len(p.Payload))])
			}
			if p.IsMulticast() != tc.f.DLID.IsMulticast() {
				t.Error("IsMulticast")
			}
			if tc.f.HasGRH && p.GRH.PayLen() != len(frame)-LRHLen-GRHLen-VCRCLen {
				t.Errorf("PayLen %d", p.GRH.PayLen())
			}
			f := p.Fields()
			if got := f.PacketLen(len(p.Payload)) + VCRCLen; got != len(frame) {
				t.Errorf("PacketLen %d, want %d", got, len(frame))
			}
			again, err := f.Append([]byte("xyz"), p.Payload)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again[3:], frame) || string(again[:3]) != "xyz" {
				t.Errorf("built\n%x\nwant\n%x", again[3:], frame)
			}
			link, err := f.AppendNoVCRC(nil, p.Payload)
			if err != nil || !bytes.Equal(link, frame[:len(frame)-VCRCLen]) {
				t.Errorf("without VCRC %v\n%x", err, link)
			}
			q, err := ParseNoVCRC(link)
			if err != nil || !reflect.DeepEqual(q.Fields(), tc.f) {
				t.Errorf("ParseNoVCRC: %v", err)
			}
		})
	}
}

// TestPut builds in place in front of a payload that is already there.
func TestPut(t *testing.T) {
	for _, tc := range frameTable {
		frame := loadFrames(t)[tc.name]
		p, err := Parse(frame)
		if err != nil {
			t.Fatal(err)
		}
		f := p.Fields()
		b := slices.Clone(frame)
		for i := range f.HeaderLen() { // what was there before must not shine through
			b[i] = 0xa5
		}
		if err := f.Put(b, len(p.Payload)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b, frame) {
			t.Errorf("%s: built\n%x\nwant\n%x", tc.name, b, frame)
		}
	}
}

func TestParseErrors(t *testing.T) {
	frames := loadFrames(t)
	for _, tc := range []struct {
		name, frame string
		change      func(t *testing.T, p []byte) []byte
		want        error
	}{
		{"payload bit, VCRC fixed", "V3", func(_ *testing.T, p []byte) []byte { p[40] ^= 1; SetVCRC(p); return p }, ErrICRC},
		{"VCRC bit", "V3", func(_ *testing.T, p []byte) []byte { p[len(p)-1] ^= 0x10; return p }, ErrVCRC},
		{"payload bit alone", "V3", func(_ *testing.T, p []byte) []byte { p[40] ^= 1; return p }, ErrVCRC},
		{"TVer 1", "V3", func(t *testing.T, p []byte) []byte { BTH(p[8:]).SetTVer(1); return fix(t, p) }, ErrTVer},
		{"LVer 1", "V3", func(t *testing.T, p []byte) []byte { LRH(p).SetLVer(1); return fix(t, p) }, ErrLVer},
		{"PktLen + 1", "V3", func(t *testing.T, p []byte) []byte { LRH(p).SetPktLen(LRH(p).PktLen() + 1); return fix(t, p) }, ErrLength},
		{"PktLen - 1", "V3", func(t *testing.T, p []byte) []byte { LRH(p).SetPktLen(LRH(p).PktLen() - 1); return fix(t, p) }, ErrLength},
		{"one byte more", "V3", func(t *testing.T, p []byte) []byte { return fix(t, append(p, 0)) }, ErrLength},
		{"raw", "V3", func(_ *testing.T, p []byte) []byte { LRH(p).SetLNH(LNHRaw); SetVCRC(p); return p }, ErrLNH},
		{"raw IPv6", "V3", func(_ *testing.T, p []byte) []byte { LRH(p).SetLNH(LNHIPv6); SetVCRC(p); return p }, ErrLNH},
		{"multicast without GRH", "V1", func(t *testing.T, p []byte) []byte {
			p = append(p[:8], p[48:]...)
			LRH(p).SetLNH(LNHIBALocal)
			LRH(p).SetPktLen((len(p) - VCRCLen) / 4)
			return fix(t, p)
		}, ErrMulticast},
		{"multicast LID, unicast DGID", "V1", func(t *testing.T, p []byte) []byte { GRH(p[8:]).SetDGID(gidB); return fix(t, p) }, ErrMulticast},
		{"multicast LID, unicast QP", "V1", func(t *testing.T, p []byte) []byte { BTH(p[48:]).SetDestQP(0x49); return fix(t, p) }, ErrMulticast},
		{"IPVer 4", "V4", func(t *testing.T, p []byte) []byte { p[8] = 0x42; return fix(t, p) }, ErrGRH},
		{"NxtHdr 58", "V4", func(t *testing.T, p []byte) []byte { GRH(p[8:]).SetNxtHdr(58); return fix(t, p) }, ErrGRH},
		{"PayLen + 4", "V4", func(t *testing.T, p []byte) []byte { GRH(p[8:]).SetPayLen(68); return fix(t, p) }, ErrGRH},
		{"opcode RD", "V3", func(t *testing.T, p []byte) []byte { BTH(p[8:]).SetOpcode(0x44); return fix(t, p) }, ErrOpcode},
		{"opcode 0x15", "V3", func(t *testing.T, p []byte) []byte { BTH(p[8:]).SetOpcode(0x15); return fix(t, p) }, ErrOpcode},
		{"pad longer than payload", "V17", func(t *testing.T, p []byte) []byte { BTH(p[8:]).SetPadCnt(1); return fix(t, p) }, ErrLength},
		{"no room for DETH", "V17", func(t *testing.T, p []byte) []byte { BTH(p[8:]).SetOpcode(UDSendOnly); return fix(t, p) }, ErrLength},
		{"GRH does not fit", "V17", func(t *testing.T, p []byte) []byte { LRH(p).SetLNH(LNHIBAGlobal); SetVCRC(p); return p }, ErrLength},
		{"empty", "V17", func(*testing.T, []byte) []byte { return nil }, ErrLength},
		{"25 bytes", "V17", func(t *testing.T, p []byte) []byte { return p[:25] }, ErrLength},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := tc.change(t, slices.Clone(frames[tc.frame]))
			if _, err := Parse(p); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			if errors.Is(tc.want, ErrVCRC) || len(p) < 2 {
				return
			}
			if _, err := ParseNoVCRC(p[:len(p)-2]); !errors.Is(err, tc.want) {
				t.Errorf("without VCRC: got %v, want %v", err, tc.want)
			}
		})
	}
}

// Changes that are for others to judge.
func TestParseAccepts(t *testing.T) {
	frames := loadFrames(t)
	for _, tc := range []struct {
		name, frame string
		change      func(p []byte)
	}{
		{"Q_Key", "V3", func(p []byte) { DETH(p[20:]).SetQKey(0x80000b1c) }},
		{"P_Key", "V3", func(p []byte) { BTH(p[8:]).SetPKey(0x8002) }},
		{"encapsulation reserved", "V3", func(p []byte) { p[30], p[31] = 0xff, 0xff }},
		{"encapsulation type", "V3", func(p []byte) { p[28], p[29] = 0x88, 0xb5 }},
		{"MGID scope", "V1", func(p []byte) { p[8+25] = 0x15 }},
		{"reserved bits", "V3", func(p []byte) { p[1] |= 0x0c; p[4] |= 0xf8; p[12] |= 0x3f; p[16] |= 0x7f; p[24] = 0xff }},
		{"permissive LID", "V3", func(p []byte) { LRH(p).SetDLID(rdma.LIDPermissive) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := slices.Clone(frames[tc.frame])
			tc.change(p)
			if _, err := Parse(fix(t, p)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestExtendedHeaders(t *testing.T) {
	reth := unhex(t, "1122334455667788 99aabbcc 00001000")
	base := Fields{SLID: 2, DLID: 3, PKey: 0xffff, DestQP: 0x200, PSN: 7, SL: 3, VL: 2, FECN: true, Solicited: true}
	for _, tc := range []struct {
		op    Opcode
		ext   []byte
		check func(p *Packet) bool
	}{
		{RCWriteOnly, reth, func(p *Packet) bool {
			return p.RETH.IsValid() && p.RETH.VA() == 0x1122334455667788 && p.RETH.RKey() == 0x99aabbcc && p.RETH.DMALen() == 4096
		}},
		{RCWriteOnlyImm, append(slices.Clone(reth), 1, 2, 3, 4), func(p *Packet) bool {
			return p.RETH.DMALen() == 4096 && p.ImmDt.Data() == 0x01020304
		}},
		{RCCompareSwap, make([]byte, 28), func(p *Packet) bool { return p.RETH == nil && len(p.Ext) == 28 }},
		{RCAtomicAck, append([]byte{0, 0, 0, 9}, make([]byte, 8)...), func(p *Packet) bool { return p.AETH.MSN() == 9 }},
		{RCSendLastInv, []byte{9, 9, 9, 9}, func(p *Packet) bool { return bytes.Equal(p.Ext, []byte{9, 9, 9, 9}) }},
	} {
		t.Run(tc.op.String(), func(t *testing.T) {
			f := base
			f.Opcode, f.Ext = tc.op, tc.ext
			frame, err := f.Append(nil, []byte("hello"))
			if err != nil {
				t.Fatal(err)
			}
			p, err := Parse(frame)
			if err != nil {
				t.Fatal(err)
			}
			if !tc.check(&p) || !bytes.Equal(p.Ext, tc.ext) || string(p.Payload) != "hello" {
				t.Errorf("parsed %+v", p)
			}
			g := p.Fields()
			g.Syndrome, g.MSN, g.Imm = 0, 0, 0
			if !reflect.DeepEqual(g, f) {
				t.Errorf("fields\n got %+v\nwant %+v", g, f)
			}
			f.Ext = f.Ext[1:]
			if _, err := f.Append(nil, nil); !errors.Is(err, ErrOpcode) {
				t.Errorf("short Ext: %v", err)
			}
			f.Ext = nil
			if _, err := f.Append(nil, nil); !errors.Is(err, ErrOpcode) {
				t.Errorf("no Ext: %v", err)
			}
		})
	}
	f := base
	f.Opcode, f.Imm, f.QKey, f.SrcQP = UDSendOnlyImm, 0xdeadbeef, 5, 6
	frame, err := f.Append(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Parse(frame)
	if err != nil || p.ImmDt.Data() != 0xdeadbeef || !reflect.DeepEqual(p.Fields(), f) {
		t.Errorf("UD with immediate: %v %+v", err, p)
	}
	if binary.BigEndian.Uint32(p.Ext[8:]) != 0xdeadbeef {
		t.Error("immediate data do not follow the DETH")
	}
}

func TestAppendErrors(t *testing.T) {
	f := Fields{Opcode: UDSendOnly}
	if _, err := f.Append(nil, make([]byte, MaxPktLen-f.HeaderLen()-ICRCLen)); err != nil {
		t.Errorf("largest packet: %v", err)
	}
	if _, err := f.Append(nil, make([]byte, MaxPktLen-f.HeaderLen()-ICRCLen+1)); !errors.Is(err, ErrLength) {
		t.Errorf("too long: %v", err)
	}
	f.Opcode = 0xff
	if b, err := f.Append([]byte{1}, nil); !errors.Is(err, ErrOpcode) || len(b) != 1 {
		t.Errorf("unknown opcode: %v", err)
	}
}

func TestPacketAllocs(t *testing.T) {
	for _, name := range []string{"V3", "V4", "V17"} {
		frame := loadFrames(t)[name]
		buf := make([]byte, 0, len(frame))
		n := testing.AllocsPerRun(100, func() {
			p, err := Parse(frame)
			if err != nil {
				t.Fatal(err)
			}
			f := p.Fields()
			if buf, err = f.Append(buf[:0], p.Payload); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, frame := range loadFrames(f) {
		f.Add(frame)
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, frame []byte) {
		// A fuzzer does not guess CRCs: as given, then with length and CRCs
		// made right.
		_, _ = Parse(frame)
		_, _ = ParseNoVCRC(frame)
		if len(frame) < LRHLen+BTHLen+ICRCLen+VCRCLen || len(frame) > MaxPktLen {
			return
		}
		frame = slices.Clone(frame[:(len(frame)-2)&^3+2])
		LRH(frame).SetLVer(0)
		LRH(frame).SetPktLen((len(frame) - VCRCLen) / 4)
		SetICRC(frame[:len(frame)-VCRCLen])
		SetVCRC(frame)
		p, err := Parse(frame)
		if err != nil {
			return
		}
		fields := p.Fields()
		again, err := fields.Append(nil, p.Payload)
		if err != nil {
			t.Fatalf("cannot build what was parsed: %v %+v", err, fields)
		}
		q, err := Parse(again)
		if err != nil {
			t.Fatalf("cannot parse what was built: %v\n%x", err, again)
		}
		if !reflect.DeepEqual(q.Fields(), fields) || !bytes.Equal(q.Payload, p.Payload) {
			t.Fatalf("not stable:\n%+v\n%+v", fields, q.Fields())
		}
	})
}

func Test4391_S6_6_MulticastNeedsGRH(t *testing.T) {
	p := slices.Clone(loadFrames(t)["V1"])
	p = append(p[:LRHLen], p[LRHLen+GRHLen:]...)
	LRH(p).SetLNH(LNHIBALocal)
	LRH(p).SetPktLen((len(p) - VCRCLen) / 4)
	if _, err := Parse(fix(t, p)); !errors.Is(err, ErrMulticast) {
		t.Errorf("got %v, want %v", err, ErrMulticast)
	}
}

func Test4391_S6_7_WithAndWithoutGRH(t *testing.T) {
	frames := loadFrames(t)
	local, err := Parse(frames["V3"])
	if err != nil {
		t.Fatal(err)
	}
	global, err := Parse(frames["V4"])
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(local.Payload, global.Payload) || len(local.Payload) != 37 || local.GRH != nil || global.GRH == nil {
		t.Error("V3 and V4 do not carry the same datagram")
	}
}
