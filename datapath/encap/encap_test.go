package encap

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"ipoib/rdma"
)

// messages reads testdata/messages.txt.
func messages(tb testing.TB) map[string][]byte {
	tb.Helper()
	f, err := os.Open("testdata/messages.txt")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	m := map[string][]byte{}
	var name string
	for s := bufio.NewScanner(f); s.Scan(); {
		line := s.Text()
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "\t"):
			b, err := hex.DecodeString(strings.TrimSpace(line))
			if err != nil {
				tb.Fatal(err)
			}
			m[name] = append(m[name], b...)
		default:
			name = line
		}
	}
	return m
}

// message returns one of them, with room behind it.
func message(tb testing.TB, name string) []byte {
	tb.Helper()
	b := messages(tb)[name]
	if b == nil {
		tb.Fatalf("no message %q", name)
	}
	return append(make([]byte, 0, len(b)+64), b...)
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

var (
	gidA = rdma.MustParseGID("fe80::5eef:1000:a")
	gidB = rdma.MustParseGID("fe80::5eef:1000:b")
)

func Test4391_S6_1_Header(t *testing.T) {
	want := map[string]EtherType{
		"V1": EtherTypeARP, "V2": EtherTypeARP, "V3": EtherTypeIPv4, "V4": EtherTypeIPv4, "V5": EtherTypeIPv6,
		"linux-arp-request": EtherTypeARP, "linux-arp-reply": EtherTypeARP, "linux-echo4": EtherTypeIPv4,
		"linux-rs": EtherTypeIPv6, "linux-ns": EtherTypeIPv6, "linux-na": EtherTypeIPv6, "linux-echo6": EtherTypeIPv6,
	}
	all := messages(t)
	if got := slices.Sorted(maps.Keys(all)); !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
		t.Fatalf("messages %v", got)
	}
	for name, b := range all {
		typ, data, err := Decap(b)
		if err != nil || typ != want[name] || !bytes.Equal(data, b[HeaderLen:]) {
			t.Errorf("%s: type %v, %v", name, typ, err)
		}
		got := bytes.Repeat([]byte{0xff}, HeaderLen)
		PutHeader(got, typ)
		if !bytes.Equal(got, b[:HeaderLen]) {
			t.Errorf("%s: header % x, want % x", name, got, b[:HeaderLen])
		}
		if typ != EtherTypeARP && EtherTypeOf(data) != typ {
			t.Errorf("%s: type by version %v", name, EtherTypeOf(data))
		}
	}
	for n := range HeaderLen {
		if _, _, err := Decap(make([]byte, n)); !errors.Is(err, ErrShort) {
			t.Errorf("%d octets: %v", n, err)
		}
	}
}

func Test4391_S6_3_ReservedIgnored(t *testing.T) {
	b := message(t, "V3")
	b[2], b[3] = 0xff, 0xff
	if typ, data, err := Decap(b); typ != EtherTypeIPv4 || len(data) != 33 || err != nil {
		t.Errorf("%v, %d octets, %v", typ, len(data), err)
	}
}

func Test4391_S6_4_EtherTypes(t *testing.T) {
	for typ, want := range map[EtherType]string{
		0x0800: "IPv4", 0x0806: "ARP", 0x8035: "RARP", 0x86dd: "IPv6", 0x88b5: "0x88b5",
	} {
		if typ.String() != want {
			t.Errorf("%#x is %v, want %s", uint16(typ), typ, want)
		}
		// 4755-§4-1
		if typ.OnConnection() != (want == "IPv4" || want == "IPv6") {
			t.Errorf("%v on a connection: %v", typ, typ.OnConnection())
		}
	}
	for _, b := range [][]byte{nil, {0x50}, {0x00}} {
		if typ := EtherTypeOf(b); typ != 0 {
			t.Errorf("% x is %v", b, typ)
		}
	}
}

func TestARP(t *testing.T) {
	for name, want := range map[string]ARPFields{
		"V1": {
			Op: ARPRequest, SenderHW: UnicastAddr(0, 0x48, gidA), SenderIP: addr("192.0.2.1"), TargetIP: addr("192.0.2.2"),
		},
		"V2": {
			Op: ARPReply, SenderHW: UnicastAddr(FlagRC, 0x49, gidB), SenderIP: addr("192.0.2.2"),
			TargetHW: UnicastAddr(0, 0x48, gidA), TargetIP: addr("192.0.2.1"),
		},
		"linux-arp-request": {
			Op: ARPRequest, SenderHW: UnicastAddr(FlagRC, 0x49, rdma.MustParseGID("fe80::2:c903:a0:b0c2")),
			SenderIP: addr("10.0.0.2"), TargetIP: addr("10.0.0.1"),
		},
		"linux-arp-reply": {
			Op: ARPReply, SenderHW: UnicastAddr(FlagRC, 0x48, rdma.MustParseGID("fe80::2:c903:a0:b0c1")),
			SenderIP: addr("10.0.0.1"), TargetHW: UnicastAddr(FlagRC, 0x49, rdma.MustParseGID("fe80::2:c903:a0:b0c2")),
			TargetIP: addr("10.0.0.2"),
		},
	} {
		b := message(t, name)[HeaderLen:]
		p := ARP(b)
		if !p.IsValid() {
			t.Errorf("%s is not valid", name)
			continue
		}
		got := ARPFields{p.Op(), p.SenderHW(), p.TargetHW(), p.SenderIP(), p.TargetIP()}
		if got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
		if p.IsGratuitous() || p.IsProbe() {
			t.Errorf("%s is gratuitous or a probe", name)
		}
		out := bytes.Repeat([]byte{0xff}, ARPLen+8)
		n, err := PutARP(out, want)
		if n != ARPLen || err != nil || !bytes.Equal(out[:n], b) {
			t.Errorf("%s built as % x, %v", name, out[:n], err)
		}
	}
}

func Test4391_S9_2_1_Malformed(t *testing.T) {
	for name, change := range map[string]func(p []byte) []byte{
		"htype":      func(p []byte) []byte { p[1] = 1; return p },
		"htype high": func(p []byte) []byte { p[0] = 1; return p },
		"ptype":      func(p []byte) []byte { p[2] = 0x86; return p },
		"hlen":       func(p []byte) []byte { p[4] = 6; return p },
		"plen":       func(p []byte) []byte { p[5] = 16; return p },
		"short":      func(p []byte) []byte { return p[:ARPLen-1] },
		"empty":      func(p []byte) []byte { return nil },
		"fixed part": func(p []byte) []byte { return p[:8] },
	} {
		if ARP(change(message(t, "V1")[HeaderLen:])).IsValid() {
			t.Errorf("%s: valid", name)
		}
	}
}

func TestARPKinds(t *testing.T) {
	b := make([]byte, ARPLen)
	f := ARPFields{Op: ARPRequest, SenderHW: UnicastAddr(0, 0x48, gidA), SenderIP: addr("10.0.0.1"), TargetIP: addr("10.0.0.1")}
	if _, err := PutARP(b, f); err != nil || !ARP(b).IsGratuitous() || ARP(b).IsProbe() {
		t.Errorf("announcement: %v", err)
	}
	f.SenderIP = addr("0.0.0.0")
	if _, err := PutARP(b, f); err != nil || ARP(b).IsGratuitous() || !ARP(b).IsProbe() {
		t.Errorf("probe: %v", err)
	}
	f.Op = RARPReply
	if _, err := PutARP(b, f); err != nil || ARP(b).Op() != RARPReply || ARP(b).IsProbe() || !ARP(b).IsValid() {
		t.Errorf("RARP: %v", err)
	}
	if _, err := PutARP(b[:ARPLen-1], f); !errors.Is(err, ErrNoRoom) {
		t.Errorf("short buffer: %v", err)
	}
	f.SenderIP = addr("::1")
	if _, err := PutARP(b, f); !errors.Is(err, ErrFamily) {
		t.Errorf("IPv6 address: %v", err)
	}
	if _, err := PutARP(b, ARPFields{}); !errors.Is(err, ErrFamily) {
		t.Errorf("no address: %v", err)
	}
}

func FuzzARP(f *testing.F) {
	for _, name := range []string{"V1", "V2", "linux-arp-request"} {
		f.Add(message(f, name)[HeaderLen:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p := ARP(b)
		if !p.IsValid() {
			return
		}
		out := make([]byte, ARPLen)
		_, err := PutARP(out, ARPFields{p.Op(), p.SenderHW(), p.TargetHW(), p.SenderIP(), p.TargetIP()})
		if err != nil || !bytes.Equal(out, b[:ARPLen]) {
			t.Errorf("built % x from % x, %v", out, b, err)
		}
	})
}

func TestAllocs(t *testing.T) {
	arp, ns, echo := message(t, "V1"), message(t, "V5"), message(t, "linux-echo6")
	group := addr("239.1.2.3")
	out := make([]byte, 2048)
	ll := UnicastAddr(0, 0x48, gidA)
	for name, fn := range map[string]func(){
		"ARP":   func() { p := ARP(arp[4:]); sink = p.IsValid() && p.SenderHW().Key() == ll && p.TargetIP() == group },
		"MGID":  func() { g, _ := MGIDOf(bcast(2, 0x8001), group); sink = g.IsZero() },
		"ND":    func() { m, _ := ParseND(ns[4:]); a, _ := m.SLLA(); sink = a == ll && m.Target() == group },
		"parse": func() { ip, _ := ParseIP(echo[4:]); sink = ip.IsMulticast() || ip.IsND() || ip.IsMLD() },
		"NS": func() {
			n, _ := PutNS(out, NSFields{Src: addr6, Dst: addr6, Target: addr6, SLLA: ll})
			sink = n > 0
		},
		"add":   func() { p, _ := AddLinkLayerOption(ns[4:], ll); sink = len(p) > 0 },
		"error": func() { n, _ := PutHostUnreachable(out, echo[4:], addr6); sink = n > 0 },
		"drop":  func() { _, err := ParseND(echo[4:]); sink = errors.Is(err, ErrNotND) },
	} {
		if n := testing.AllocsPerRun(100, fn); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

var (
	sink  bool
	addr6 = netip.MustParseAddr("fe80::1")
)
