package encap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
)

// TestAddLinkLayerOption: without its option, a message of the Linux driver
// becomes the same again.
func TestAddLinkLayerOption(t *testing.T) {
	for name, ll := range map[string]HardwareAddr{"linux-rs": linuxA, "linux-ns": linuxA, "linux-na": linuxB, "V5": UnicastAddr(0, 0x48, gidA)} {
		want := message(t, name)[HeaderLen:]
		bare, err := StripLinkLayerOptions(message(t, name)[HeaderLen:])
		if err != nil || len(bare) != len(want)-LinkAddrOptionLen {
			t.Fatalf("%s stripped: %d octets, %v", name, len(bare), err)
		}
		decodeOther(t, bare)
		if _, err := AddLinkLayerOption(slices.Clip(slices.Clone(bare)), ll); !errors.Is(err, ErrNoRoom) {
			t.Errorf("%s without room: %v", name, err)
		}
		got, err := AddLinkLayerOption(bare, ll)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s:\n% x, want\n% x (%v)", name, got, want, err)
		}
		decodeOther(t, got)
		again, err := AddLinkLayerOption(got, ll)
		if err != nil || !bytes.Equal(again, want) {
			t.Errorf("%s, added twice: % x, %v", name, again, err)
		}
	}
}

// TestAddLinkLayerOptionReplaces has options that a TUN's host, or a tool,
// might send.
func TestAddLinkLayerOptionReplaces(t *testing.T) {
	short := option(OptSLLA, 2, 0, 0, 0, 0, 1)
	for name, tc := range map[string]struct {
		in, want []byte
	}{
		"RS": {buildND(t, "fe80::1", "ff02::2", concat(rsFixed, short)),
			buildND(t, "fe80::1", "ff02::2", concat(rsFixed, linkOption(OptSLLA, linuxA)))},
		"RS, unspecified": {buildND(t, "::", "ff02::2", rsFixed), buildND(t, "::", "ff02::2", rsFixed)},
		"RA": {buildND(t, "fe80::1", "ff02::1", concat(raFixed, short, mtuOption, linkOption(OptSLLA, linuxB))),
			buildND(t, "fe80::1", "ff02::1", concat(raFixed, mtuOption, linkOption(OptSLLA, linuxA)))},
		"NS probe": {buildND(t, "::", "ff02::1:ff00:b", nsFixed), buildND(t, "::", "ff02::1:ff00:b", nsFixed)},
		"NA": {buildND(t, "fe80::1", "fe80::2", naFixed),
			buildND(t, "fe80::1", "fe80::2", concat(naFixed, linkOption(OptTLLA, linuxA)))},
		"Redirect": {buildND(t, "fe80::1", "fe80::2", concat(redirect, option(4, 1, 2, 3))),
			buildND(t, "fe80::1", "fe80::2", concat(redirect, option(4, 1, 2, 3), linkOption(OptTLLA, linuxA)))},
	} {
		got, err := AddLinkLayerOption(tc.in, linuxA)
		if err != nil || !bytes.Equal(got, tc.want) {
			t.Errorf("%s:\n% x, want\n% x (%v)", name, got, tc.want, err)
		}
		decodeOther(t, got)
	}
	echo := message(t, "linux-echo6")[HeaderLen:]
	if got, err := AddLinkLayerOption(echo, linuxA); !errors.Is(err, ErrNotND) || !bytes.Equal(got, echo) {
		t.Errorf("echo: %v", err)
	}
}

func TestStripLinkLayerOptions(t *testing.T) {
	for name, tc := range map[string]struct {
		in, want []byte
	}{
		"RA": {buildND(t, "fe80::1", "ff02::1", concat(raFixed, linkOption(OptSLLA, linuxA), mtuOption)),
			buildND(t, "fe80::1", "ff02::1", concat(raFixed, mtuOption))},
		"wrong lengths": {buildND(t, "fe80::1", "ff02::1", concat(raFixed, option(OptSLLA, 1), mtuOption, option(OptTLLA, make([]byte, 60)...))),
			buildND(t, "fe80::1", "ff02::1", concat(raFixed, mtuOption))},
		"Redirect": {buildND(t, "fe80::1", "fe80::2", concat(redirect, linkOption(OptTLLA, linuxA), option(4, 9))),
			buildND(t, "fe80::1", "fe80::2", concat(redirect, option(4, 9)))},
		"nothing to strip": {buildND(t, "fe80::1", "ff02::1", concat(raFixed, mtuOption)),
			buildND(t, "fe80::1", "ff02::1", concat(raFixed, mtuOption))},
	} {
		got, err := StripLinkLayerOptions(tc.in)
		if err != nil || !bytes.Equal(got, tc.want) {
			t.Errorf("%s:\n% x, want\n% x (%v)", name, got, tc.want, err)
		}
		decodeOther(t, got)
	}
	bad := buildND(t, "fe80::1", "ff02::1", concat(raFixed, linkOption(OptSLLA, linuxA)))
	bad[IPv6Len+2] ^= 1
	if got, err := StripLinkLayerOptions(bad); !errors.Is(err, ErrND) || len(got) != len(bad) {
		t.Errorf("wrong checksum: %v", err)
	}
}

func ndSeeds(f *testing.F) {
	for _, name := range []string{"V5", "linux-rs", "linux-ns", "linux-na", "linux-echo6"} {
		f.Add(message(f, name)[HeaderLen:])
	}
	f.Add(buildND(f, "fe80::1", "ff02::1", concat(raFixed, option(OptSLLA, 1), mtuOption)))
	f.Add(buildND(f, "fe80::1", "fe80::2", concat(redirect, linkOption(OptTLLA, linuxA), option(4, 9))))
}

// fixND lets the fuzzer get past hop limit and checksum.
func fixND(b []byte) []byte {
	p := slices.Clone(b)
	if v := IPv6(p); v.IsValid() {
		v[7] = 255
		v = v[:IPv6Len+v.PayloadLen()]
		if u, ok := v.Upper(); ok && u.Proto == ProtoICMPv6 && len(v)-u.Offset >= 4 {
			putICMPv6Checksum(v, u.Offset)
		}
	}
	return p
}

func FuzzND(f *testing.F) {
	ndSeeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseND(fixND(b))
		if err != nil {
			return
		}
		m.SLLA()
		m.TLLA()
		if m.Target().IsValid() && m.Target().IsMulticast() {
			t.Errorf("target %v", m.Target())
		}
		n := m.Type().fixedLen()
		for o := range m.Options() {
			n += len(o)
		}
		if n != len(m.icmp()) {
			t.Errorf("fixed part and options are %d octets of %d", n, len(m.icmp()))
		}
	})
}

// FuzzRewrite: both rewriters leave a valid message, and only the link-layer
// address options differ.
func FuzzRewrite(f *testing.F) {
	ndSeeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		in := fixND(b)
		if _, err := ParseND(in); err != nil {
			return
		}
		bare, err := StripLinkLayerOptions(slices.Clone(in))
		if err != nil {
			t.Fatal(err)
		}
		checkND(t, bare)
		added, err := AddLinkLayerOption(append(make([]byte, 0, len(in)+64), in...), linuxA)
		if err != nil {
			if !errors.Is(err, ErrNoRoom) { // only for a payload of 64 KiB
				t.Fatal(err)
			}
			return
		}
		m := checkND(t, added)
		if !m.Src().IsUnspecified() {
			if ll, err := m.linkAddr(m.Type().LinkAddrOption()); ll != linuxA || err != nil {
				t.Errorf("added %v, %v", ll, err)
			}
		}
		back, err := StripLinkLayerOptions(added)
		if err != nil || !bytes.Equal(back, bare) {
			t.Errorf("strip(add(x))\n% x, strip(x)\n% x (%v)", back, bare, err)
		}
	})
}

func checkND(t *testing.T, b []byte) ND {
	t.Helper()
	m, err := ParseND(b)
	if err != nil {
		t.Fatalf("%v\n% x", err, b)
	}
	if int(binary.BigEndian.Uint16(b[4:]))+IPv6Len != len(b) {
		t.Errorf("payload length of % x", b)
	}
	return m
}
