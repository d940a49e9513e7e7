package tun

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"ipoib/rdma"
)

// packet returns room for a virtio-net header, and an IP packet whose
// transport header is at l4 and ends at the payload, all zero but for what the
// decoder looks at.
func packet(version byte, l4, header, payload int) []byte {
	b := make([]byte, VnetLen+l4+header+payload)
	ip := b[VnetLen:]
	ip[0] = version << 4
	if header >= tcpMinLen {
		ip[l4+tcpDataOff] = byte(header/4) << 4
	}
	return b
}

// vnet writes the fields of a header, in the machine's byte order.
func vnet(b []byte, flags, gso byte, hdrLen, size, start, offset uint16) []byte {
	b[0], b[1] = flags, gso
	for i, v := range []uint16{hdrLen, size, start, offset} {
		binary.NativeEndian.PutUint16(b[2+2*i:], v)
	}
	return b
}

func TestVnet(t *testing.T) {
	for name, tc := range map[string]struct {
		b    []byte
		want rdma.Offload
	}{
		"plain": {vnet(packet(4, 20, 8, 10), 0, 0, 0, 0, 0, 0), rdma.Offload{}},
		"UDP":   {vnet(packet(4, 20, 8, 10), 1, 0, 0, 0, 20, 6), rdma.Offload{Checksum: true, CsumStart: 24, CsumOffset: 6}},
		"TCP over 6, options": {vnet(packet(6, 48, 32, 10), 1, 0, 0, 0, 48, 16),
			rdma.Offload{Checksum: true, CsumStart: 52, CsumOffset: 16}},
		"TSO": {vnet(packet(4, 20, 32, 9000), 1, 1, 52, 1992, 20, 16), rdma.Offload{Checksum: true, CsumStart: 24, CsumOffset: 16,
			Segment: rdma.SegmentTCP4, SegmentSize: 1992, HeaderLen: 56}},
		"TSO with ECN": {vnet(packet(4, 24, 20, 9000), 1, 0x81, 44, 2000, 24, 16), rdma.Offload{Checksum: true, CsumStart: 28, CsumOffset: 16,
			Segment: rdma.SegmentTCP4, SegmentSize: 2000, HeaderLen: 48, ECN: true}},
		"TSO over 6": {vnet(packet(6, 40, 20, 9000), 1, 4, 60, 1984, 40, 16), rdma.Offload{Checksum: true, CsumStart: 44, CsumOffset: 16,
			Segment: rdma.SegmentTCP6, SegmentSize: 1984, HeaderLen: 64}},
		"USO": {vnet(packet(4, 20, 8, 9000), 1, 5, 28, 1400, 20, 6), rdma.Offload{Checksum: true, CsumStart: 24, CsumOffset: 6,
			Segment: rdma.SegmentUDP4, SegmentSize: 1400, HeaderLen: 32}},
		"USO over 6": {vnet(packet(6, 40, 8, 9000), 1, 5, 48, 1400, 40, 6), rdma.Offload{Checksum: true, CsumStart: 44, CsumOffset: 6,
			Segment: rdma.SegmentUDP6, SegmentSize: 1400, HeaderLen: 52}},
	} {
		got, err := DecodeVnet(tc.b)
		if got != tc.want || err != nil {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, tc.want)
		}
		out := append([]byte(nil), tc.b...)
		for i := range VnetLen {
			out[i] = 0xff
		}
		if err := EncodeVnet(out, 0, tc.want); err != nil || string(out) != string(tc.b) {
			t.Errorf("%s: encoded % x, want % x (%v)", name, out[:VnetLen], tc.b[:VnetLen], err)
		}
	}
}

// TestVnetHeaderLen: the length in the header is a hint that may be wrong.
func TestVnetHeaderLen(t *testing.T) {
	for _, hint := range []uint16{0, 40, 9000} {
		o, err := DecodeVnet(vnet(packet(4, 20, 32, 9000), 1, 1, hint, 1992, 20, 16))
		if o.HeaderLen != 56 || err != nil {
			t.Errorf("hint %d: header length %d, %v", hint, o.HeaderLen, err)
		}
	}
}

func TestDecodeVnetInvalid(t *testing.T) {
	change := func(b []byte, fn func([]byte)) []byte { fn(b); return b }
	for name, b := range map[string][]byte{
		"empty":                 nil,
		"short":                 make([]byte, VnetLen-1),
		"segments, no checksum": vnet(packet(4, 20, 20, 9000), 0, 1, 40, 1992, 20, 16),
		"start past the end":    vnet(packet(4, 20, 8, 0), 1, 0, 0, 0, 28, 6),
		"offset past the end":   vnet(packet(4, 20, 8, 0), 1, 0, 0, 0, 20, 7),
		"large start":           vnet(packet(4, 20, 8, 0), 1, 0, 0, 0, 0xffff, 0xffff),
		"unknown kind":          vnet(packet(4, 20, 20, 9000), 1, 7, 40, 1992, 20, 16),
		"UFO":                   vnet(packet(4, 20, 8, 9000), 1, 3, 28, 1992, 20, 6),
		"version":               vnet(packet(6, 20, 20, 9000), 1, 1, 40, 1992, 20, 16),
		"version 4 in 6":        vnet(packet(4, 40, 20, 9000), 1, 4, 60, 1992, 40, 16),
		"checksum place":        vnet(packet(4, 20, 20, 9000), 1, 1, 40, 1992, 20, 6),
		"size 0":                vnet(packet(4, 20, 20, 9000), 1, 1, 40, 0, 20, 16),
		"TCP header cut":        vnet(packet(4, 20, 18, 0), 1, 1, 40, 1992, 20, 16),
		"TCP header short": change(vnet(packet(4, 20, 20, 9000), 1, 1, 40, 1992, 20, 16),
			func(b []byte) { b[VnetLen+20+tcpDataOff] = 0x40 }),
		"TCP header long": vnet(change(packet(4, 20, 20, 10), func(b []byte) { b[VnetLen+20+tcpDataOff] = 0xf0 }), 1, 1, 40, 1992, 20, 16),
		"start in header": vnet(packet(6, 20, 20, 9000), 1, 4, 40, 1992, 20, 16),
	} {
		if o, err := DecodeVnet(b); err == nil {
			t.Errorf("%s: %+v", name, o)
		}
	}
}

func TestEncodeVnet(t *testing.T) {
	tso := rdma.Offload{Checksum: true, CsumStart: 24, CsumOffset: 16, Segment: rdma.SegmentTCP4, SegmentSize: 1992, HeaderLen: 44}
	with := func(fn func(o *rdma.Offload)) rdma.Offload {
		o := tso
		fn(&o)
		return o
	}
	big := packet(4, 20, 20, 9000)
	for name, tc := range map[string]struct {
		b []byte
		o rdma.Offload
	}{
		"no packet":             {make([]byte, VnetLen), rdma.Offload{}},
		"segments, no checksum": {big, with(func(o *rdma.Offload) { o.Checksum = false })},
		"start in front":        {big, with(func(o *rdma.Offload) { o.CsumStart = 3 })},
		"start past the end":    {big, with(func(o *rdma.Offload) { o.CsumStart = 9100 })},
		"kind":                  {big, with(func(o *rdma.Offload) { o.Segment = rdma.SegmentTCP6 })},
		"unknown kind":          {big, with(func(o *rdma.Offload) { o.Segment = 99 })},
		"size 0":                {big, with(func(o *rdma.Offload) { o.SegmentSize = 0 })},
		"header 0":              {big, with(func(o *rdma.Offload) { o.HeaderLen = 0 })},
		"header past the end":   {big, with(func(o *rdma.Offload) { o.HeaderLen = 60000 })},
	} {
		if err := EncodeVnet(tc.b, 0, tc.o); !errors.Is(err, errVnet) {
			t.Errorf("%s: %v, header % x", name, err, tc.b[:VnetLen])
		}
	}
	// What fits one segment is a plain packet with a partial checksum.
	one := packet(4, 20, 20, 1992)
	if err := EncodeVnet(one, 0, tso); err != nil || hex.EncodeToString(one[:2]) != "0100" {
		t.Errorf("one segment: % x, %v", one[:VnetLen], err)
	}
	two := packet(4, 20, 20, 1993)
	if err := EncodeVnet(two, 0, tso); err != nil || hex.EncodeToString(two[:2]) != "0101" {
		t.Errorf("two segments: % x, %v", two[:VnetLen], err)
	}
}

func TestVnetAllocs(t *testing.T) {
	b := vnet(packet(4, 20, 32, 9000), 1, 1, 52, 1992, 20, 16)
	n := testing.AllocsPerRun(100, func() {
		o, err := DecodeVnet(b)
		if err == nil {
			err = EncodeVnet(b, 0, o)
		}
		if err != nil {
			t.Error(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func vnetSeeds(f *testing.F) {
	for _, b := range [][]byte{
		vnet(packet(4, 20, 8, 10), 0, 0, 0, 0, 0, 0),
		vnet(packet(4, 20, 8, 10), 1, 0, 0, 0, 20, 6),
		vnet(packet(4, 20, 32, 300), 1, 1, 52, 100, 20, 16),
		vnet(packet(6, 40, 20, 300), 1, 0x84, 60, 100, 40, 16),
		vnet(packet(6, 40, 8, 300), 1, 5, 48, 100, 40, 6),
	} {
		f.Add(b)
	}
}

// FuzzDecodeVnet: what was decoded is within the packet, and encodes to
// something that decodes alike.
func FuzzDecodeVnet(f *testing.F) {
	vnetSeeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := DecodeVnet(b)
		if err != nil || len(b) == VnetLen {
			return
		}
		n := len(b) - VnetLen + encapLen
		if o.Checksum && int(o.CsumStart)+int(o.CsumOffset)+2 > n || int(o.HeaderLen) > n || o.Segment != 0 && (!o.Checksum || o.SegmentSize == 0) {
			t.Errorf("%+v of a message of %d octets", o, n)
		}
		out := append([]byte(nil), b...)
		if err := EncodeVnet(out, 0, o); err != nil {
			t.Fatalf("%+v: %v", o, err)
		}
		again, err := DecodeVnet(out)
		if o.Segments(n) == 1 {
			o = rdma.Offload{Checksum: o.Checksum, CsumStart: o.CsumStart, CsumOffset: o.CsumOffset}
		}
		if again != o || err != nil {
			t.Errorf("%+v became %+v, %v", o, again, err)
		}
	})
}

// FuzzEncodeVnet takes any offload, as one from another host's segments.
func FuzzEncodeVnet(f *testing.F) {
	f.Add(packet(4, 20, 20, 300), true, uint16(24), uint16(16), uint8(1), uint16(100), uint16(44), false)
	f.Add(packet(6, 40, 8, 300), true, uint16(44), uint16(6), uint8(4), uint16(100), uint16(52), true)
	f.Fuzz(func(t *testing.T, b []byte, csum bool, start, offset uint16, kind uint8, size, header uint16, ecn bool) {
		o := rdma.Offload{Segment: rdma.SegmentKind(kind), ECN: ecn, SegmentSize: size, HeaderLen: header,
			Checksum: csum, CsumStart: start, CsumOffset: offset}
		if len(b) < VnetLen {
			return
		}
		ip := string(b[VnetLen:])
		if EncodeVnet(b, 0, o) != nil {
			return
		}
		if string(b[VnetLen:]) != ip {
			t.Error("the packet was changed")
		}
		if b[vnetFlags]&^vnetFlagNeedsCsum != 0 || (b[vnetGSOType] != 0) && b[vnetFlags] == 0 {
			t.Errorf("header % x", b[:VnetLen])
		}
		if at := binary.NativeEndian.Uint16(b[vnetCsumStart:]) + binary.NativeEndian.Uint16(b[vnetCsumOffset:]); int(at)+2 > len(ip) && csum {
			t.Errorf("checksum at %d of %d", at, len(ip))
		}
	})
}

func TestFeatures(t *testing.T) {
	for f, want := range map[Features]string{
		0: "0x0", FeatureCsum: "csum", FeatureCsum | FeatureTSO4 | FeatureTSO6 | FeatureTSOECN: "csum|tso4|tso6|tso-ecn",
		FeatureUSO4 | FeatureUSO6 | 0x100: "uso4|uso6|0x100",
	} {
		if f.String() != want {
			t.Errorf("%#x is %v, want %s", uint32(f), f, want)
		}
	}
	for in, want := range map[Features]Features{
		FeatureTSO4:                               0,
		FeatureCsum | FeatureTSOECN:               FeatureCsum,
		FeatureCsum | FeatureUSO4:                 FeatureCsum,
		FeatureCsum | FeatureUSO4 | FeatureUSO6:   FeatureCsum | FeatureUSO4 | FeatureUSO6,
		FeatureCsum | FeatureTSO6 | FeatureTSOECN: FeatureCsum | FeatureTSO6 | FeatureTSOECN,
		FeatureCsum | 0x10 | 0x8000:               FeatureCsum,
	} {
		if got := in.Normalize(); got != want {
			t.Errorf("%v becomes %v, want %v", in, got, want)
		}
	}
}

func TestErrors(t *testing.T) {
	if !errors.Is(ErrRemoved, rdma.ErrClosed) || errors.Is(ErrRemoved, ErrExist) {
		t.Error("ErrRemoved does not match as promised")
	}
	e := &OpError{Op: "open", Name: "ib0", Err: ErrBusy}
	if !errors.Is(e, ErrBusy) || !strings.Contains(e.Error(), "tun: open ib0: ") {
		t.Errorf("%v", e)
	}
	if (&OpError{Op: "open", Err: ErrBusy}).Error() != "tun: open: "+ErrBusy.Error() {
		t.Error("without a name")
	}
}
