package rdma

import (
	"encoding/json"
	"errors"
	"testing"
)

func TestGUIDText(t *testing.T) {
	const g GUID = 0x0002c90300a0b0c1
	if s := g.String(); s != "0002:c903:00a0:b0c1" {
		t.Errorf("String %q", s)
	}
	for _, s := range []string{"0002:c903:00a0:b0c1", "0x0002c90300a0b0c1", "2c90300a0b0c1", "00:02:c9:03:00:a0:b0:c1"} {
		if got, err := ParseGUID(s); err != nil || got != g {
			t.Errorf("ParseGUID(%q) = %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "0x", "xyz", "0002:c903", "1:2:3:4", "11112222333344445"} {
		if got, err := ParseGUID(s); err == nil {
			t.Errorf("ParseGUID(%q) = %v", s, got)
		}
	}
}

// RFC 4391 section 8, table of both kinds of GUID.
func Test4391_S8_4_KindOfGUID(t *testing.T) {
	for guid, modified := range map[GUID]bool{
		0x00005eef1000000a: false, 0x02005eef1000000b: true, 0x0002c90300a0b0c1: false,
		0xfdffffffffffffff: false, 0xffffffffffffffff: true, 0x0200000000000000: true,
	} {
		if got := guid.InterfaceID() == uint64(guid); got != modified {
			t.Errorf("%v: taken for a modified EUI-64: %v", guid, got)
		}
	}
}

// A modified EUI-64 is kept.
func Test4391_S8_5_ModifiedKept(t *testing.T) {
	for _, guid := range []GUID{0x02005eef1000000b, 0x0202c90300a0b0c1, 0xffffffffffffffff} {
		if got := guid.InterfaceID(); got != uint64(guid) {
			t.Errorf("%v: %016x", guid, got)
		}
	}
}

// Of an unmodified EUI-64 the u bit, and nothing else, is inverted.
func Test4391_S8_6_UnmodifiedToggled(t *testing.T) {
	for guid, iid := range map[GUID]uint64{
		0x00005eef1000000a: 0x02005eef1000000a, 0x0002c90300a0b0c1: 0x0202c90300a0b0c1, 0xfdffffffffffffff: 0xffffffffffffffff,
	} {
		if got := guid.InterfaceID(); got != iid {
			t.Errorf("%v: %016x, want %016x", guid, got, iid)
		}
	}
}

func TestGIDText(t *testing.T) {
	g := MustParseGID("ff12:401b:ffff::ffff:ffff")
	for got, want := range map[string]string{
		g.String():       "ff12:401b:ffff::ffff:ffff",
		g.Full():         "ff12:401b:ffff:0000:0000:0000:ffff:ffff",
		g.Uncompressed(): "ff12:401b:ffff:0:0:0:ffff:ffff",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if !g.IsMulticast() || MakeGID(DefaultSubnetPrefix, 1).IsMulticast() {
		t.Error("IsMulticast")
	}
	u := MakeGID(DefaultSubnetPrefix, 0x2c90300a0b0c1)
	if u.Prefix() != DefaultSubnetPrefix || u.GUID() != 0x2c90300a0b0c1 || u.String() != "fe80::2:c903:a0:b0c1" {
		t.Errorf("%v", u)
	}
	for _, s := range []string{"", "10.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0", "fe80::g"} {
		if _, err := ParseGID(s); err == nil {
			t.Errorf("ParseGID(%q) succeeded", s)
		}
	}
	type both struct {
		G GID
		U GUID
	}
	b, err := json.Marshal(both{g, 5})
	if err != nil || string(b) != `{"G":"ff12:401b:ffff::ffff:ffff","U":"0000:0000:0000:0005"}` {
		t.Errorf("%s, %v", b, err)
	}
	var back both
	if err := json.Unmarshal(b, &back); err != nil || back.G != g || back.U != 5 {
		t.Errorf("%+v, %v", back, err)
	}
}

func TestPKey(t *testing.T) {
	// The table of IBA 10.9.3.
	for _, c := range []struct {
		packet, entry PKey
		match         bool
	}{
		{0x8001, 0x8001, true}, {0x8001, 0x0001, true}, {0x0001, 0x8001, true},
		{0x0001, 0x0001, false}, {0x8001, 0x8002, false}, {0x8000, 0x8000, false}, {0, 0x8000, false},
	} {
		if got := c.packet.Match(c.entry); got != c.match {
			t.Errorf("%v, %v: %v", c.packet, c.entry, got)
		}
	}
	if p := PKey(0x0001); p.Full() != 0x8001 || p.IsFull() || p.String() != "0x0001" {
		t.Errorf("%v", p)
	}
}

func TestPSN(t *testing.T) {
	if p := PSN(0xfffffe).Add(3); p != 1 {
		t.Errorf("Add: %v", p)
	}
	for _, c := range []struct {
		a, b PSN
		d    int
	}{{1, 0xffffff, 2}, {0xffffff, 1, -2}, {5, 5, 0}, {0x800000, 0, -0x800000}, {0x7fffff, 0, 0x7fffff}} {
		if d := c.a.Diff(c.b); d != c.d {
			t.Errorf("%v - %v = %d, want %d", c.a, c.b, d, c.d)
		}
	}
}

func TestRates(t *testing.T) {
	// 4391-§9.1-4 and A-18: codes are not in order of speed.
	if Rate5.Mbps() >= Rate10.Mbps() || Rate20.Mbps() >= Rate30.Mbps() {
		t.Error("order")
	}
	for r, want := range map[Rate]int{Rate2_5: 2500, Rate14: 14062, Rate56: 56250, Rate100: 103125, Rate600: 637500, 0: -1, 1: -1, 63: -1} {
		if got := r.Mbps(); got != want {
			t.Errorf("%v: %d", r, got)
		}
	}
	for _, c := range []struct {
		w LinkWidth
		s LinkSpeed
		r Rate
	}{{Width4X, SpeedSDR, Rate10}, {Width4X, SpeedEDR, Rate100}, {Width1X, SpeedFDR, Rate14}, {Width12X, SpeedHDR, Rate600}, {Width2X, SpeedHDR, Rate100}, {99, SpeedEDR, 0}, {Width12X, SpeedNDR, 0}} {
		if got := LinkRate(c.w, c.s); got != c.r {
			t.Errorf("%v %v: %v, want %v", c.w, c.s, got, c.r)
		}
	}
	if s, err := ParseLinkSpeed("edr"); err != nil || s != SpeedEDR || s.Mbps() != 25000 {
		t.Errorf("%v, %v", s, err)
	}
	if w, err := ParseLinkWidth("4"); err != nil || w != Width4X || w.Lanes() != 4 {
		t.Errorf("%v, %v", w, err)
	}
	if _, err := ParseLinkSpeed("fast"); err == nil {
		t.Error("speed fast")
	}
	if _, err := ParseLinkWidth("3X"); err == nil {
		t.Error("width 3X")
	}
}

func TestMTU(t *testing.T) {
	for m, n := range map[MTU]int{MTU256: 256, MTU2048: 2048, MTU4096: 4096, 0: 0, 6: 0} {
		if m.Bytes() != n {
			t.Errorf("%v: %d", m, m.Bytes())
		}
		if got, err := MTUFromBytes(n); n != 0 && (err != nil || got != m) {
			t.Errorf("%d: %v, %v", n, got, err)
		}
	}
	if _, err := MTUFromBytes(1500); err == nil {
		t.Error("1500 is an IB MTU")
	}
}

func TestErrors(t *testing.T) {
	err := error(&OpError{Op: "create_qp", Device: "soft0", Port: 1, Err: &NotSupportedError{What: "RC transport"}})
	if !errors.Is(err, ErrNotSupported) || errors.Is(err, ErrInUse) {
		t.Error("Is")
	}
	if s := err.Error(); s != "rdma: create_qp on soft0 port 1: RC transport: not supported by the provider" {
		t.Errorf("%q", s)
	}
}

func mustPanic(t *testing.T, what string, fn func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: no panic", what)
		}
	}()
	fn()
}

func TestBuffer(t *testing.T) {
	p := NewBufferPool()
	b := p.Get(100)
	if b.Len() != 100 || b.Pool() != p {
		t.Fatalf("%d bytes", b.Len())
	}
	copy(b.Bytes(), "payload")
	if h := b.Push(40); len(h) != 140 || string(h[40:47]) != "payload" {
		t.Errorf("Push: %d", len(h))
	}
	if r := b.Pull(47); len(r) != 93 {
		t.Errorf("Pull: %d", len(r))
	}
	c := b.Clone()
	if string(c.Bytes()) != string(b.Bytes()) || &c.Bytes()[0] == &b.Bytes()[0] {
		t.Error("Clone")
	}
	c.Free()
	b.Free()
	mustPanic(t, "second Free", b.Free)
	d := p.Get(MaxMessage)
	if d.Len() != MaxMessage || d.Cap() < MaxMessage {
		t.Errorf("large: %d", d.Len())
	}
	d.SetLen(5)
	if d.Len() != 5 {
		t.Errorf("SetLen: %d", d.Len())
	}
	mustPanic(t, "Pull past the end", func() { d.Pull(6) })
	mustPanic(t, "Push past the headroom", func() { d.Push(Headroom + 1) })
	d.Free()
	mustPanic(t, "above MaxMessage", func() { p.Get(MaxMessage + 1) })
	if n := testing.AllocsPerRun(100, func() { p.Get(2000).Free(); p.Get(60000).Free() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestOffloadSegments(t *testing.T) {
	o := Offload{Segment: SegmentTCP4, SegmentSize: 1000, HeaderLen: 44}
	for n, want := range map[int]int{44: 1, 45: 1, 1044: 1, 1045: 2, 2044: 2, 5344: 6} {
		if got := o.Segments(n); got != want {
			t.Errorf("%d bytes: %d", n, got)
		}
	}
	if (Offload{}).Segments(60000) != 1 {
		t.Error("a plain message is one packet")
	}
}

type runner func()

func (r runner) RunHandler() { r() }

// Handlers that make others ready are run in the same call, in order.
func TestEventBatch(t *testing.T) {
	var ev EventBatch
	var got []int
	ev.Add(runner(func() {
		got = append(got, 1)
		ev.Add(runner(func() { got = append(got, 3) }))
	}))
	ev.Add(runner(func() { got = append(got, 2) }))
	ev.Run()
	ev.Run()
	if len(got) != 3 || got[0] != 1 || got[1] != 2 || got[2] != 3 {
		t.Errorf("order %v", got)
	}
}
