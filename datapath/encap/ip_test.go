package encap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/gopacket/gopacket/layers"
)

// ipv4 makes a packet with a right header checksum.
func ipv4(src, dst string, proto Protocol, fragment uint16, payload []byte) []byte {
	b := make([]byte, IPv4MinLen, IPv4MinLen+len(payload))
	b[0], b[8], b[9] = 0x45, 64, byte(proto)
	binary.BigEndian.PutUint16(b[2:], uint16(IPv4MinLen+len(payload)))
	binary.BigEndian.PutUint16(b[6:], fragment)
	s, d := addr(src).As4(), addr(dst).As4()
	copy(b[12:], s[:])
	copy(b[16:], d[:])
	return append(b, payload...)
}

// ipv6 makes a packet.
func ipv6(src, dst string, next Protocol, payload []byte) []byte {
	p := putIPv6(append(make([]byte, IPv6Len), payload...), addr(src), addr(dst), 64)
	p[6] = byte(next)
	return p
}

func TestParseIP(t *testing.T) {
	hbh := []byte{58, 0, 5, 2, 0, 0, 1, 0} // hop-by-hop with router alert, then ICMPv6
	for name, tc := range map[string]struct {
		packet []byte
		want   IP
		igmp   bool
		mld    bool
		nd     bool
	}{
		"echo": {packet: message(t, "V3")[HeaderLen:], want: IP{EtherType: EtherTypeIPv4, Src: addr("192.0.2.1"), Dst: addr("192.0.2.2"),
			Proto: ProtoICMP, L4: 20, Len: 33, ICMPType: 8}},
		"echo6": {packet: message(t, "linux-echo6")[HeaderLen:], want: IP{EtherType: EtherTypeIPv6, Src: addr("fe80::202:c903:a0:b0c1"),
			Dst: addr("fe80::202:c903:a0:b0c2"), Proto: ProtoICMPv6, L4: 40, Len: 104, ICMPType: 128}},
		"NS": {packet: message(t, "V5")[HeaderLen:], want: IP{EtherType: EtherTypeIPv6, Src: addr("fe80::200:5eef:1000:a"),
			Dst: addr("ff02::1:ff00:b"), Proto: ProtoICMPv6, L4: 40, Len: 88, ICMPType: 135}, nd: true},
		"IGMP": {packet: ipv4("10.0.0.1", "224.0.0.22", ProtoIGMP, 0, []byte{0x22, 0, 0, 0}), want: IP{EtherType: EtherTypeIPv4,
			Src: addr("10.0.0.1"), Dst: addr("224.0.0.22"), Proto: ProtoIGMP, L4: 20, Len: 24, ICMPType: 0x22}, igmp: true},
		"MLD": {packet: ipv6("fe80::1", "ff02::16", ProtoHopByHop, append(hbh, 143, 0, 0, 0)), want: IP{EtherType: EtherTypeIPv6,
			Src: addr("fe80::1"), Dst: addr("ff02::16"), Proto: ProtoICMPv6, L4: 48, Len: 52, ICMPType: 143}, mld: true},
		"later fragment": {packet: ipv4("10.0.0.1", "10.0.0.2", ProtoICMP, 0x2001, []byte{8}), want: IP{EtherType: EtherTypeIPv4,
			Src: addr("10.0.0.1"), Dst: addr("10.0.0.2"), Proto: ProtoICMP, L4: 20, Later: true, Len: 21}},
		"first fragment": {packet: ipv4("10.0.0.1", "10.0.0.2", ProtoICMP, 0x2000, []byte{8}), want: IP{EtherType: EtherTypeIPv4,
			Src: addr("10.0.0.1"), Dst: addr("10.0.0.2"), Proto: ProtoICMP, L4: 20, Len: 21, ICMPType: 8}},
		"later fragment 6": {packet: ipv6("fe80::1", "fe80::2", ProtoFragment, []byte{58, 0, 0, 8, 0, 0, 0, 1, 135}), want: IP{
			EtherType: EtherTypeIPv6, Src: addr("fe80::1"), Dst: addr("fe80::2"), Proto: ProtoICMPv6, L4: 48, Later: true, Len: 49}},
		"TCP, trailer": {packet: append(ipv4("10.0.0.1", "10.0.0.2", ProtoTCP, 0, []byte{1, 2}), 0, 0), want: IP{EtherType: EtherTypeIPv4,
			Src: addr("10.0.0.1"), Dst: addr("10.0.0.2"), Proto: ProtoTCP, L4: 20, Len: 22}},
		"no ICMPv6 header": {packet: ipv6("fe80::1", "fe80::2", ProtoICMPv6, nil), want: IP{EtherType: EtherTypeIPv6,
			Src: addr("fe80::1"), Dst: addr("fe80::2"), Proto: ProtoICMPv6, L4: 40, Len: 40}},
		"ESP": {packet: ipv6("fe80::1", "fe80::2", ProtoDestOptions, []byte{50, 0, 0, 0, 0, 0, 0, 0, 1, 2}), want: IP{
			EtherType: EtherTypeIPv6, Src: addr("fe80::1"), Dst: addr("fe80::2"), Proto: 50, L4: 48, Len: 50}},
		"AH": {packet: ipv6("fe80::1", "fe80::2", ProtoAH, concat([]byte{17, 4}, make([]byte, 22))), want: IP{
			EtherType: EtherTypeIPv6, Src: addr("fe80::1"), Dst: addr("fe80::2"), Proto: ProtoUDP, L4: 64, Len: 64}},
	} {
		got, err := ParseIP(tc.packet)
		if got != tc.want || err != nil {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, tc.want)
		}
		if got.IsIGMP() != tc.igmp || got.IsMLD() != tc.mld || got.IsND() != tc.nd {
			t.Errorf("%s: IGMP %v MLD %v ND %v", name, got.IsIGMP(), got.IsMLD(), got.IsND())
		}
		if got.IsMulticast() != tc.want.Dst.IsMulticast() {
			t.Errorf("%s: multicast %v", name, got.IsMulticast())
		}
	}
	ip, _ := ParseIP(ipv4("10.0.0.1", "255.255.255.255", ProtoUDP, 0, nil))
	if !ip.IsLimitedBroadcast() || ip.IsMulticast() {
		t.Error("255.255.255.255 is no broadcast")
	}
	v4, v6 := message(t, "V3")[HeaderLen:], message(t, "V5")[HeaderLen:]
	v4[1], v6[0], v6[1] = 0xb9, 0x6b, 0x90
	for _, b := range [][]byte{v4, v6} {
		if ip, err := ParseIP(b); ip.TOS != 0xb9 || err != nil {
			t.Errorf("TOS %#x, %v", ip.TOS, err)
		}
	}
}

func TestParseIPMalformed(t *testing.T) {
	change := func(name string, fn func(b []byte) []byte) []byte { return fn(message(t, name)[HeaderLen:]) }
	for name, b := range map[string][]byte{
		"empty":           nil,
		"version":         change("V3", func(b []byte) []byte { b[0] = 0x55; return b }),
		"short IPv4":      change("V3", func(b []byte) []byte { return b[:19] }),
		"header length":   change("V3", func(b []byte) []byte { b[0] = 0x44; return b }),
		"long header":     change("V3", func(b []byte) []byte { b[0] = 0x4f; return b }),
		"total length":    change("V3", func(b []byte) []byte { b[3]++; return b }),
		"total < header":  change("V3", func(b []byte) []byte { b[3] = 19; return b }),
		"short IPv6":      change("V5", func(b []byte) []byte { return b[:39] }),
		"payload length":  change("V5", func(b []byte) []byte { b[5]++; return b }),
		"hop-by-hop":      ipv6("fe80::1", "fe80::2", ProtoHopByHop, []byte{58}),
		"long hop-by-hop": ipv6("fe80::1", "fe80::2", ProtoHopByHop, []byte{58, 1, 0, 0, 0, 0, 0, 0}),
		"fragment header": ipv6("fe80::1", "fe80::2", ProtoFragment, []byte{58, 0, 0, 0}),
		"AH":              ipv6("fe80::1", "fe80::2", ProtoAH, []byte{58}),
	} {
		if ip, err := ParseIP(b); !errors.Is(err, ErrMalformed) || ip != (IP{}) {
			t.Errorf("%s: %+v, %v", name, ip, err)
		}
	}
}

func FuzzIP(f *testing.F) {
	for _, name := range []string{"V3", "V5", "linux-echo4", "linux-echo6"} {
		f.Add(message(f, name)[HeaderLen:])
	}
	f.Add(ipv6("fe80::1", "ff02::16", ProtoHopByHop, []byte{58, 0, 5, 2, 0, 0, 1, 0, 143, 0, 0, 0}))
	f.Fuzz(func(t *testing.T, b []byte) {
		ip, err := ParseIP(b)
		if err != nil {
			return
		}
		if ip.L4 > ip.Len || ip.Len > len(b) || !ip.Src.IsValid() || !ip.Dst.IsValid() {
			t.Errorf("%+v of %d octets", ip, len(b))
		}
		if ip.IsND() && ip.IsMLD() || ip.IsIGMP() && ip.EtherType != EtherTypeIPv4 {
			t.Errorf("%+v is several things", ip)
		}
	})
}

func TestICMPErrors(t *testing.T) {
	v4, v6 := message(t, "linux-echo4")[HeaderLen:], message(t, "linux-echo6")[HeaderLen:]
	long4 := ipv4("10.0.0.1", "10.0.0.2", ProtoUDP, 0x4000, make([]byte, 2024))
	long6 := ipv6("fe80::1", "fe80::2", ProtoUDP, make([]byte, 2004))
	for name, tc := range map[string]struct {
		orig  []byte
		src   netip.Addr
		mtu   int // 0: host unreachable
		typ   uint8
		code  uint8
		rest  uint32
		quote int
	}{
		"host unreachable":        {v4, addr("10.0.0.1"), 0, 3, 1, 0, 84},
		"address unreachable":     {v6, addr("fe80::202:c903:a0:b0c1"), 0, 1, 3, 0, 104},
		"fragmentation needed":    {long4, addr("10.0.0.1"), 1500, 3, 4, 1500, 548},
		"packet too big":          {long6, addr("fe80::1"), 1500, 2, 0, 1500, 1232},
		"host unreachable, long":  {long4, addr("10.0.0.9"), 0, 3, 1, 0, 548},
		"addr. unreachable, long": {long6, addr("fe80::9"), 0, 1, 3, 0, 1232},
	} {
		put := func(b []byte) (int, error) {
			if tc.mtu != 0 {
				return PutPacketTooBig(b, tc.orig, tc.src, tc.mtu)
			}
			return PutHostUnreachable(b, tc.orig, tc.src)
		}
		out := bytes.Repeat([]byte{0xff}, 1500)
		n, err := put(out)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		out = out[:n]
		orig, err := ParseIP(tc.orig)
		if err != nil {
			t.Fatal(err)
		}
		ip, err := ParseIP(out)
		if err != nil || ip.Len != n || ip.Src != tc.src || ip.Dst != orig.Src {
			t.Errorf("%s: %+v, %v", name, ip, err)
		}
		m := out[ip.L4:]
		if m[0] != tc.typ || m[1] != tc.code || binary.BigEndian.Uint32(m[4:]) != tc.rest || !bytes.Equal(m[8:], tc.orig[:tc.quote]) {
			t.Errorf("%s: % x", name, m[:8])
		}
		p := decodeOther(t, out)
		if tc.src.Is4() {
			l := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
			if l.TypeCode != layers.CreateICMPv4TypeCode(tc.typ, tc.code) || uint32(l.Seq) != tc.rest {
				t.Errorf("%s: other decoder: %v %d", name, l.TypeCode, l.Seq)
			}
		} else if l := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6); l.TypeCode != layers.CreateICMPv6TypeCode(tc.typ, tc.code) {
			t.Errorf("%s: other decoder: %v", name, l.TypeCode)
		}
		if _, err := put(make([]byte, n-1)); !errors.Is(err, ErrNoRoom) {
			t.Errorf("%s in a short buffer: %v", name, err)
		}
	}
}

// TestICMPForbidden has a case for each rule of RFC 1122 section 3.2.2 and
// RFC 4443 section 2.4 e.
func TestICMPForbidden(t *testing.T) {
	src4, src6 := addr("10.0.0.1"), addr("fe80::1")
	udp := make([]byte, 8)
	fragment := func(offset byte, payload ...byte) []byte {
		return append([]byte{58, 0, 0, offset, 0, 0, 0, 1}, payload...)
	}
	for name, tc := range map[string]struct {
		orig            []byte
		unreach, tooBig error
	}{
		"UDP":                {ipv4("10.0.0.1", "10.0.0.2", ProtoUDP, 0, udp), nil, nil},
		"echo request":       {ipv4("10.0.0.1", "10.0.0.2", ProtoICMP, 0, []byte{8}), nil, nil},
		"echo reply":         {ipv4("10.0.0.1", "10.0.0.2", ProtoICMP, 0, []byte{0}), nil, nil},
		"first fragment":     {ipv4("10.0.0.1", "10.0.0.2", ProtoUDP, 0x2000, udp), nil, nil},
		"later fragment":     {ipv4("10.0.0.1", "10.0.0.2", ProtoUDP, 0x0001, udp), ErrNoICMP, ErrNoICMP},
		"ICMP error":         {ipv4("10.0.0.1", "10.0.0.2", ProtoICMP, 0, []byte{3}), ErrNoICMP, ErrNoICMP},
		"redirect":           {ipv4("10.0.0.1", "10.0.0.2", ProtoICMP, 0, []byte{5}), ErrNoICMP, ErrNoICMP},
		"time exceeded":      {ipv4("10.0.0.1", "10.0.0.2", ProtoICMP, 0, []byte{11}), ErrNoICMP, ErrNoICMP},
		"empty ICMP":         {ipv4("10.0.0.1", "10.0.0.2", ProtoICMP, 0, nil), ErrNoICMP, ErrNoICMP},
		"to a group":         {ipv4("10.0.0.1", "224.0.0.1", ProtoUDP, 0, udp), ErrNoICMP, ErrNoICMP},
		"to all":             {ipv4("10.0.0.1", "255.255.255.255", ProtoUDP, 0, udp), ErrNoICMP, ErrNoICMP},
		"from nowhere":       {ipv4("0.0.0.0", "10.0.0.2", ProtoUDP, 0, udp), ErrNoICMP, ErrNoICMP},
		"from a group":       {ipv4("224.0.0.1", "10.0.0.2", ProtoUDP, 0, udp), ErrNoICMP, ErrNoICMP},
		"from class E":       {ipv4("240.0.0.1", "10.0.0.2", ProtoUDP, 0, udp), ErrNoICMP, ErrNoICMP},
		"from loopback":      {ipv4("127.0.0.1", "10.0.0.2", ProtoUDP, 0, udp), ErrNoICMP, ErrNoICMP},
		"UDP6":               {ipv6("fe80::1", "fe80::2", ProtoUDP, udp), nil, nil},
		"echo6":              {ipv6("fe80::1", "fe80::2", ProtoICMPv6, []byte{128}), nil, nil},
		"NS":                 {ipv6("fe80::1", "fe80::2", ProtoICMPv6, []byte{135}), nil, nil},
		"later fragment 6":   {ipv6("fe80::1", "fe80::2", ProtoFragment, fragment(8)), nil, nil},
		"ICMPv6 error":       {ipv6("fe80::1", "fe80::2", ProtoICMPv6, []byte{1}), ErrNoICMP, ErrNoICMP},
		"error, first frag.": {ipv6("fe80::1", "fe80::2", ProtoFragment, fragment(0, 2)), ErrNoICMP, ErrNoICMP},
		"redirect 6":         {ipv6("fe80::1", "fe80::2", ProtoICMPv6, []byte{137}), ErrNoICMP, ErrNoICMP},
		"empty ICMPv6":       {ipv6("fe80::1", "fe80::2", ProtoICMPv6, nil), ErrNoICMP, ErrNoICMP},
		"broken headers":     {ipv6("fe80::1", "fe80::2", ProtoHopByHop, []byte{58}), ErrNoICMP, ErrNoICMP},
		"to a group 6":       {ipv6("fe80::1", "ff02::1", ProtoUDP, udp), ErrNoICMP, nil},
		"from nowhere 6":     {ipv6("::", "fe80::2", ProtoUDP, udp), ErrNoICMP, ErrNoICMP},
		"from a group 6":     {ipv6("ff02::1", "fe80::2", ProtoUDP, udp), ErrNoICMP, ErrNoICMP},
		"malformed":          {[]byte{0x45, 0, 0}, ErrMalformed, ErrMalformed},
		"malformed 6":        {[]byte{0x60, 0, 0}, ErrMalformed, ErrMalformed},
		"no IP":              {[]byte{0x00}, ErrMalformed, ErrMalformed},
	} {
		src := src4
		if Version(tc.orig) == 6 {
			src = src6
		}
		out := make([]byte, 1500)
		if _, err := PutHostUnreachable(out, tc.orig, src); !errors.Is(err, tc.unreach) {
			t.Errorf("%s: unreachable: %v, want %v", name, err, tc.unreach)
		}
		if _, err := PutPacketTooBig(out, tc.orig, src, 1280); !errors.Is(err, tc.tooBig) {
			t.Errorf("%s: too big: %v, want %v", name, err, tc.tooBig)
		}
		group := addr("224.0.0.1")
		if src == src6 {
			group = addr("ff02::1")
		}
		if _, err := PutPacketTooBig(out, tc.orig, group, 1280); tc.tooBig == nil && !errors.Is(err, ErrNoICMP) {
			t.Errorf("%s from a group: %v", name, err)
		}
		other := src6
		if src == src6 {
			other = src4
		}
		if _, err := PutHostUnreachable(out, tc.orig, other); tc.unreach == nil && !errors.Is(err, ErrFamily) {
			t.Errorf("%s from the other family: %v", name, err)
		}
	}
}

func FuzzICMPError(f *testing.F) {
	for _, name := range []string{"V3", "V5", "linux-echo4", "linux-echo6"} {
		f.Add(message(f, name)[HeaderLen:], 1500)
	}
	f.Fuzz(func(t *testing.T, b []byte, mtu int) {
		orig := slices.Clone(b)
		src := addr("10.0.0.1")
		if Version(b) == 6 {
			src = addr6
		}
		for _, put := range []func([]byte) (int, error){
			func(out []byte) (int, error) { return PutHostUnreachable(out, b, src) },
			func(out []byte) (int, error) { return PutPacketTooBig(out, b, src, mtu) },
		} {
			out := make([]byte, ICMPv6ErrorMaxLen)
			n, err := put(out)
			if err != nil {
				continue
			}
			ip, err := ParseIP(out[:n])
			if err != nil || ip.Len != n || ip.Src != src {
				t.Errorf("%+v, %v", ip, err)
			}
			// No error about an error.
			if _, err := PutHostUnreachable(make([]byte, 1500), out[:n], src); !errors.Is(err, ErrNoICMP) {
				t.Errorf("error about an error: %v", err)
			}
		}
		if !bytes.Equal(b, orig) {
			t.Error("the packet was changed")
		}
	})
}
