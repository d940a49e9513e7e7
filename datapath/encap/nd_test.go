package encap

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"ipoib/rdma"
)

var (
	linuxA = UnicastAddr(FlagRC, 0x48, rdma.MustParseGID("fe80::2:c903:a0:b0c1"))
	linuxB = UnicastAddr(FlagRC, 0x49, rdma.MustParseGID("fe80::2:c903:a0:b0c2"))
)

// buildND makes an ND message out of ICMPv6 octets, with right lengths and
// checksum.
func buildND(tb testing.TB, src, dst string, icmp []byte) []byte {
	tb.Helper()
	p := putIPv6(append(make([]byte, IPv6Len, IPv6Len+len(icmp)+64), icmp...), addr(src), addr(dst), 255)
	if len(icmp) >= 4 {
		putICMPv6Checksum(p, IPv6Len)
	}
	return p
}

func concat(parts ...[]byte) []byte { return slices.Concat(parts...) }

// option makes an option of a type, with content.
func option(t OptionType, content ...byte) []byte {
	b := append([]byte{byte(t), byte((len(content) + 2 + 7) / 8)}, content...)
	return append(b, make([]byte, int(b[1])*8-len(b))...)
}

func linkOption(t OptionType, a HardwareAddr) []byte {
	b := make([]byte, LinkAddrOptionLen)
	putLinkAddrOption(b, t, a)
	return b
}

var (
	mtuOption = []byte{5, 1, 0, 0, 0, 0, 7, 0xfc}
	target    = addr("fe80::200:5eef:1000:b").AsSlice()
	dest      = addr("2001:db8::1").AsSlice()
	rsFixed   = []byte{133, 0, 0, 0, 0, 0, 0, 0}
	raFixed   = []byte{134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0}
	nsFixed   = append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, target...)
	naFixed   = append([]byte{136, 0, 0, 0, 0x60, 0, 0, 0}, target...)
	redirect  = concat([]byte{137, 0, 0, 0, 0, 0, 0, 0}, target, dest)
)

// TestND reads a vector and what the Linux driver sent.
func TestND(t *testing.T) {
	for name, want := range map[string]struct {
		typ      NDType
		src, dst string
		target   string
		ll       HardwareAddr
		flags    [3]bool // router, solicited, override
	}{
		"V5": {NeighborSolicitation, "fe80::200:5eef:1000:a", "ff02::1:ff00:b", "fe80::200:5eef:1000:b",
			UnicastAddr(0, 0x48, gidA), [3]bool{}},
		"linux-rs": {RouterSolicitation, "fe80::202:c903:a0:b0c1", "ff02::2", "", linuxA, [3]bool{}},
		"linux-ns": {NeighborSolicitation, "fe80::202:c903:a0:b0c1", "ff02::1:ffa0:b0c2", "fe80::202:c903:a0:b0c2", linuxA, [3]bool{}},
		"linux-na": {NeighborAdvertisement, "fe80::202:c903:a0:b0c2", "fe80::202:c903:a0:b0c1", "fe80::202:c903:a0:b0c2",
			linuxB, [3]bool{false, true, true}},
	} {
		b := message(t, name)[HeaderLen:]
		m, err := ParseND(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if m.Type() != want.typ || m.Src() != addr(want.src) || m.Dst() != addr(want.dst) ||
			(want.target == "") != !m.Target().IsValid() || m.Target().IsValid() && m.Target() != addr(want.target) ||
			[3]bool{m.Router(), m.Solicited(), m.Override()} != want.flags || m.IsDAD() || !bytes.Equal(m.Packet(), b) {
			t.Errorf("%s: %v %v > %v target %v", name, m.Type(), m.Src(), m.Dst(), m.Target())
		}
		read, other := m.SLLA, m.TLLA
		if want.typ == NeighborAdvertisement {
			read, other = m.TLLA, m.SLLA
		}
		if ll, err := read(); ll != want.ll || err != nil {
			t.Errorf("%s: address %v, %v", name, ll, err)
		}
		if _, err := other(); !errors.Is(err, ErrNoOption) {
			t.Errorf("%s: other option: %v", name, err)
		}
	}
}

// TestPutND builds what the vectors hold.
func TestPutND(t *testing.T) {
	out := bytes.Repeat([]byte{0xff}, 200)
	for name, build := range map[string]func([]byte) (int, error){
		"V5": func(b []byte) (int, error) {
			return PutNS(b, NSFields{Src: addr("fe80::200:5eef:1000:a"), Dst: addr("ff02::1:ff00:b"),
				Target: addr("fe80::200:5eef:1000:b"), SLLA: UnicastAddr(0, 0x48, gidA)})
		},
		"linux-ns": func(b []byte) (int, error) {
			return PutNS(b, NSFields{Src: addr("fe80::202:c903:a0:b0c1"), Dst: addr("ff02::1:ffa0:b0c2"),
				Target: addr("fe80::202:c903:a0:b0c2"), SLLA: linuxA})
		},
		"linux-na": func(b []byte) (int, error) {
			return PutNA(b, NAFields{Src: addr("fe80::202:c903:a0:b0c2"), Dst: addr("fe80::202:c903:a0:b0c1"),
				Target: addr("fe80::202:c903:a0:b0c2"), Solicited: true, Override: true, TLLA: linuxB})
		},
	} {
		n, err := build(out)
		if want := message(t, name)[HeaderLen:]; err != nil || !bytes.Equal(out[:n], want) {
			t.Errorf("%s: built\n% x, want\n% x (%v)", name, out[:n], want, err)
		}
		if _, err := build(out[:n-1]); !errors.Is(err, ErrNoRoom) {
			t.Errorf("%s in a short buffer: %v", name, err)
		}
	}
	if _, err := PutNS(out, NSFields{Src: addr("10.0.0.1"), Dst: addr6, Target: addr6}); !errors.Is(err, ErrFamily) {
		t.Errorf("IPv4 address: %v", err)
	}
	if _, err := PutNA(out, NAFields{Src: addr6, Dst: addr6}); !errors.Is(err, ErrFamily) {
		t.Errorf("no target: %v", err)
	}
}

// TestPutDAD: a probe from the unspecified address has no option.
func TestPutDAD(t *testing.T) {
	b := make([]byte, 200)
	n, err := PutNS(b, NSFields{Src: addr("::"), Dst: SolicitedNode(addr6), Target: addr6, SLLA: linuxA})
	if err != nil {
		t.Fatal(err)
	}
	m, err := ParseND(b[:n])
	if err != nil || !m.IsDAD() {
		t.Errorf("%v, probe %v", err, m.IsDAD())
	}
	if _, err := m.SLLA(); !errors.Is(err, ErrNoOption) {
		t.Errorf("option: %v", err)
	}
}

// decodeOther decodes with an independent implementation, and fails on any
// error or wrong checksum.
func decodeOther(tb testing.TB, b []byte) gopacket.Packet {
	tb.Helper()
	first := layers.LayerTypeIPv4
	if b[0]>>4 == 6 {
		first = layers.LayerTypeIPv6
	}
	p := gopacket.NewPacket(b, first, gopacket.DecodeOptions{NoCopy: true})
	if e := p.ErrorLayer(); e != nil {
		tb.Errorf("other decoder: %v\n% x", e.Error(), b)
	}
	if l, ok := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6); ok {
		if err := l.SetNetworkLayerForChecksum(p.NetworkLayer()); err != nil {
			tb.Fatal(err)
		}
	}
	if err, bad := p.VerifyChecksums(); err != nil || len(bad) != 0 {
		tb.Errorf("other decoder: checksums %v, %v\n% x", bad, err, b[:min(len(b), 64)])
	}
	return p
}

// TestPutNDOther has another implementation read what we build.
func TestPutNDOther(t *testing.T) {
	b := make([]byte, 200)
	n, err := PutNA(b, NAFields{Src: addr("fe80::1"), Dst: addr("ff02::1"), Target: addr("fe80::1"), Router: true, Override: true, TLLA: linuxA})
	if err != nil {
		t.Fatal(err)
	}
	p := decodeOther(t, b[:n])
	na, ok := p.Layer(layers.LayerTypeICMPv6NeighborAdvertisement).(*layers.ICMPv6NeighborAdvertisement)
	if !ok || !na.Router() || na.Solicited() || !na.Override() || na.TargetAddress.String() != "fe80::1" {
		t.Fatalf("NA %+v", na)
	}
	if len(na.Options) != 1 || na.Options[0].Type != layers.ICMPv6OptTargetAddress ||
		!bytes.Equal(na.Options[0].Data, append([]byte{0, 0}, linuxA[:]...)) {
		t.Errorf("options %+v", na.Options)
	}
}

// TestNDRules has a case for each rule of RFC 4861 on what is discarded.
func TestNDRules(t *testing.T) {
	const ll, group = "fe80::1", "ff02::1:ff00:b"
	slla, tlla := linkOption(OptSLLA, linuxA), linkOption(OptTLLA, linuxA)
	multicastTarget := append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, addr("ff02::1").AsSlice()...)
	for name, tc := range map[string]struct {
		packet []byte
		want   error
	}{
		"RS":                      {buildND(t, ll, "ff02::2", concat(rsFixed, slla)), nil},
		"RS, unspecified":         {buildND(t, "::", "ff02::2", rsFixed), nil},
		"RS, unspecified, SLLA":   {buildND(t, "::", "ff02::2", concat(rsFixed, slla)), ErrND},
		"RS, short":               {buildND(t, ll, "ff02::2", rsFixed[:7]), ErrND},
		"RA":                      {buildND(t, ll, "ff02::1", concat(raFixed, slla, mtuOption)), nil},
		"RA, global source":       {buildND(t, "2001:db8::1", "ff02::1", raFixed), ErrND},
		"RA, short":               {buildND(t, ll, "ff02::1", raFixed[:15]), ErrND},
		"NS":                      {buildND(t, ll, group, concat(nsFixed, slla)), nil},
		"NS, probe":               {buildND(t, "::", group, nsFixed), nil},
		"NS, probe, SLLA":         {buildND(t, "::", group, concat(nsFixed, slla)), ErrND},
		"NS, probe, destination":  {buildND(t, "::", ll, nsFixed), ErrND},
		"NS, multicast target":    {buildND(t, ll, group, multicastTarget), ErrND},
		"NS, short":               {buildND(t, ll, group, nsFixed[:23]), ErrND},
		"NA":                      {buildND(t, ll, "fe80::2", concat(naFixed, tlla)), nil},
		"NA, solicited multicast": {buildND(t, ll, "ff02::1", naFixed), ErrND},
		"NA, short":               {buildND(t, ll, "fe80::2", naFixed[:23]), ErrND},
		"Redirect":                {buildND(t, ll, "fe80::2", concat(redirect, tlla)), nil},
		"Redirect, on link":       {buildND(t, ll, "fe80::2", concat(redirect[:8], dest, dest)), nil},
		"Redirect, global target": {buildND(t, ll, "fe80::2", concat(redirect[:8], addr("2001:db8::9").AsSlice(), dest)), ErrND},
		"Redirect, global source": {buildND(t, "2001:db8::1", "fe80::2", redirect), ErrND},
		"Redirect, multicast":     {buildND(t, ll, "fe80::2", concat(redirect[:24], addr("ff02::1").AsSlice())), ErrND},
		"Redirect, short":         {buildND(t, ll, "fe80::2", redirect[:39]), ErrND},
		"option of length 0":      {buildND(t, ll, group, concat(nsFixed, []byte{14, 0, 0, 0, 0, 0, 0, 0})), ErrND},
		"option past the end":     {buildND(t, ll, group, concat(nsFixed, []byte{14, 2, 0, 0, 0, 0, 0, 0})), ErrND},
		"half an option":          {buildND(t, ll, group, concat(nsFixed, []byte{14, 1, 0})), ErrND},
		"unknown option":          {buildND(t, ll, group, concat(nsFixed, option(200, 1, 2, 3))), nil},
		"code":                    {buildND(t, ll, group, concat([]byte{135, 1}, nsFixed[2:])), ErrND},
		"echo":                    {message(t, "linux-echo6")[HeaderLen:], ErrNotND},
		"IPv4":                    {message(t, "linux-echo4")[HeaderLen:], ErrNotND},
		"empty":                   {nil, ErrNotND},
		"no ICMPv6 header":        {buildND(t, ll, group, nil), ErrNotND},
	} {
		if _, err := ParseND(tc.packet); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	for name, change := range map[string]func(p []byte){
		"hop limit": func(p []byte) { p[7] = 254 },
		"checksum":  func(p []byte) { p[IPv6Len+2] ^= 1 },
		"address":   func(p []byte) { p[15] ^= 1 },
	} {
		p := buildND(t, ll, group, concat(nsFixed, slla))
		change(p)
		if _, err := ParseND(p); !errors.Is(err, ErrND) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNDExtensionHeaders: a hop-by-hop header is no obstacle, a fragment is
// (RFC 6980).
func TestNDExtensionHeaders(t *testing.T) {
	for name, tc := range map[string]struct {
		header []byte
		want   error
	}{
		"hop-by-hop": {[]byte{58, 0, 1, 4, 0, 0, 0, 0}, nil},
		"fragment":   {[]byte{58, 0, 0, 0, 0, 0, 0, 1}, ErrND},
	} {
		plain := buildND(t, "fe80::1", "ff02::1:ff00:b", nsFixed)
		p := IPv6(concat(plain[:IPv6Len], tc.header, plain[IPv6Len:]))
		p.setPayloadLen(len(p) - IPv6Len)
		p[6] = 0
		if name == "fragment" {
			p[6] = byte(ProtoFragment)
		}
		putICMPv6Checksum(p, IPv6Len+8)
		m, err := ParseND(p)
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && m.Target() != addr("fe80::200:5eef:1000:b") {
			t.Errorf("%s: target %v", name, m.Target())
		}
	}
}

func TestRedirectAndRA(t *testing.T) {
	m, err := ParseND(buildND(t, "fe80::1", "fe80::2", concat(redirect, linkOption(OptTLLA, linuxB))))
	if err != nil {
		t.Fatal(err)
	}
	if m.Target().String() != "fe80::200:5eef:1000:b" || m.Destination().String() != "2001:db8::1" {
		t.Errorf("Redirect to %v for %v", m.Target(), m.Destination())
	}
	if ll, err := m.TLLA(); ll != linuxB || err != nil {
		t.Errorf("TLLA %v, %v", ll, err)
	}
	m, err = ParseND(buildND(t, "fe80::1", "ff02::1", concat(raFixed, mtuOption)))
	if err != nil || m.RouterLifetime() != 1800 || m.Target().IsValid() || m.Destination().IsValid() || m.Router() {
		t.Errorf("RA: %v, lifetime %d", err, m.RouterLifetime())
	}
	for typ, want := range map[NDType]string{133: "RS", 134: "RA", 135: "NS", 136: "NA", 137: "Redirect", 138: "NDType(138)"} {
		if typ.String() != want {
			t.Errorf("%d is %v", uint8(typ), typ)
		}
	}
}

// Test4391_S9_3_1_OptionLength: types 1 and 2 have length 3.
func Test4391_S9_3_1_OptionLength(t *testing.T) {
	for name, tc := range map[string]struct {
		option []byte
		want   error
	}{
		"right":       {linkOption(OptSLLA, linuxA), nil},
		"length 1":    {option(OptSLLA, 2, 0, 0, 0, 0, 1), ErrOption},
		"length 2":    {option(OptSLLA, make([]byte, 14)...), ErrOption},
		"length 4":    {option(OptSLLA, make([]byte, 30)...), ErrOption},
		"zeros":       {linkOption(OptSLLA, HardwareAddr{}), ErrOption},
		"group":       {linkOption(OptSLLA, BroadcastAddr(2, 0x8001)), ErrOption},
		"none":        {nil, ErrNoOption},
		"pad not 0":   {concat([]byte{1, 3, 0xff, 0xff}, linuxA[:]), nil},
		"first wins":  {concat(linkOption(OptSLLA, linuxA), linkOption(OptSLLA, linuxB)), nil},
		"other first": {concat(linkOption(OptTLLA, linuxB), linkOption(OptSLLA, linuxA)), nil},
	} {
		m, err := ParseND(buildND(t, "fe80::1", "ff02::1:ff00:b", concat(nsFixed, tc.option)))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if ll, err := m.SLLA(); !errors.Is(err, tc.want) || err == nil && ll != linuxA {
			t.Errorf("%s: %v, %v", name, ll, err)
		}
	}
}

// Test4391_S9_3_2_PadFirst: an address in front of the padding is not learnt.
func Test4391_S9_3_2_PadFirst(t *testing.T) {
	for _, a := range []HardwareAddr{UnicastAddr(0, 0x48, gidA), linuxA, UnicastAddr(0, 0x123456, gidB)} {
		wrong := concat([]byte{1, 3}, a[:], []byte{0, 0})
		m, err := ParseND(buildND(t, "fe80::1", "ff02::1:ff00:b", concat(nsFixed, wrong)))
		if err != nil {
			t.Fatal(err)
		}
		if ll, err := m.SLLA(); !errors.Is(err, ErrOption) {
			t.Errorf("%v learnt as %v, %v", a, ll, err)
		}
	}
}
