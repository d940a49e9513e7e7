package encap

import (
	"encoding/json"
	"strings"
	"testing"

	"ipoib/rdma"
)

// TestHardwareAddr uses addresses as the Linux driver shows them.
func TestHardwareAddr(t *testing.T) {
	for _, tc := range []struct {
		text  string
		flags uint8
		qpn   rdma.QPN
		gid   string
		multi bool
	}{
		{"80:00:00:48:fe:80:00:00:00:00:00:00:00:02:c9:03:00:a0:b0:c1", FlagRC, 0x48, "fe80::2:c903:a0:b0c1", false},
		{"00:00:00:4a:fe:80:00:00:00:00:00:00:00:02:c9:03:00:a0:b0:c1", 0, 0x4a, "fe80::2:c903:a0:b0c1", false},
		{"00:ff:ff:ff:ff:12:40:1b:80:01:00:00:00:00:00:00:ff:ff:ff:ff", 0, 0xffffff, "ff12:401b:8001::ffff:ffff", true},
	} {
		a, err := ParseHardwareAddr(tc.text)
		if err != nil {
			t.Fatal(err)
		}
		if a.String() != tc.text || a.Flags() != tc.flags || a.QPN() != tc.qpn || a.GID().String() != tc.gid ||
			a.IsMulticast() != tc.multi || a.IsUnicast() == tc.multi || a.SupportsRC() != (tc.flags == FlagRC) {
			t.Errorf("%v: flags %#x QPN %v GID %v", a, a.Flags(), a.QPN(), a.GID())
		}
		if b := UnicastAddr(tc.flags, tc.qpn, rdma.MustParseGID(tc.gid)); b != a {
			t.Errorf("built %v, want %v", b, a)
		}
		if up, err := ParseHardwareAddr(strings.ToUpper(tc.text)); up != a || err != nil {
			t.Errorf("upper case: %v, %v", up, err)
		}
		text, err := json.Marshal(a)
		var back HardwareAddr
		if err == nil {
			err = json.Unmarshal(text, &back)
		}
		if err != nil || back != a || string(text) != `"`+tc.text+`"` {
			t.Errorf("JSON %s, %v", text, err)
		}
	}
	if got := BroadcastAddr(ScopeLinkLocal, 0x0001); got.String() != "00:ff:ff:ff:ff:12:40:1b:80:01:00:00:00:00:00:00:ff:ff:ff:ff" {
		t.Errorf("broadcast address %v", got)
	}
	var zero HardwareAddr
	if !zero.IsZero() || zero.IsUnicast() || zero.IsMulticast() {
		t.Error("the zero address is something")
	}
	for _, s := range []string{
		"", "80", strings.Repeat("00:", 19) + "0", strings.Repeat("00:", 19) + "0g", strings.Repeat("00-", 19) + "00",
		strings.Repeat("00:", 20) + "00", "00 " + strings.Repeat("00:", 18) + "00",
	} {
		if a, err := ParseHardwareAddr(s); err == nil {
			t.Errorf("%q parsed as %v", s, a)
		}
		if err := new(HardwareAddr).UnmarshalText([]byte(s)); err == nil {
			t.Errorf("%q unmarshalled", s)
		}
	}
	for q, want := range map[rdma.QPN]bool{0: false, 1: false, 2: true, 0xfffffe: true, 0xffffff: false} {
		if UnicastAddr(0, q, gidA).IsUnicast() != want {
			t.Errorf("QPN %v as unicast: %v", q, !want)
		}
	}
	for _, g := range []string{"::", "::5eef:1000:a", "fe80::", "ff12:401b:8001::1"} {
		if UnicastAddr(0, 0x48, rdma.MustParseGID(g)).IsUnicast() {
			t.Errorf("GID %s is unicast", g)
		}
	}
}

// Test4391_S9_1_1_2_FlagsMasked: reserved flags do not make another peer.
func Test4391_S9_1_1_2_FlagsMasked(t *testing.T) {
	a := UnicastAddr(0, 0x48, gidA)
	b := a
	b[0] = 0xff
	if a.Key() != b.Key() || a.Key() != a {
		t.Errorf("keys %v and %v", a.Key(), b.Key())
	}
}

func Test4755_S3_1_2_ReservedFlagsZero(t *testing.T) {
	for flags := range 256 {
		a := UnicastAddr(uint8(flags), 0x48, gidA)
		if a[0] != uint8(flags)&0xc0 || a.WithFlags(uint8(flags)) != a {
			t.Errorf("flags %#x sent as %#x", flags, a[0])
		}
	}
}

func Test4755_S3_1_3_ReservedFlagsIgnored(t *testing.T) {
	a := UnicastAddr(0, 0x48, gidA)
	a[0] = 0xbf
	if a.Flags() != FlagRC || !a.SupportsRC() {
		t.Errorf("flags %#x", a.Flags())
	}
}

func Test4755_S3_3_2_Compare(t *testing.T) {
	for _, tc := range []struct {
		a, b HardwareAddr
		want int
	}{
		{UnicastAddr(FlagRC, 0x48, gidA), UnicastAddr(0, 0x49, gidB), -1},
		{UnicastAddr(0, 0x50, gidA), UnicastAddr(FlagRC, 0x49, gidB), 1}, // the QPN decides
		{UnicastAddr(FlagRC, 0x48, gidA), UnicastAddr(0, 0x48, gidB), -1},
		{UnicastAddr(FlagRC, 0x48, gidA), UnicastAddr(0, 0x48, gidA), 0},
	} {
		if got := tc.a.Compare(tc.b); got != tc.want || tc.b.Compare(tc.a) != -tc.want {
			t.Errorf("%v to %v: %d, want %d", tc.a, tc.b, got, tc.want)
		}
	}
}

func FuzzHardwareAddr(f *testing.F) {
	f.Add("80:00:00:48:fe:80:00:00:00:00:00:00:00:02:c9:03:00:a0:b0:c1")
	f.Add("00:ff:ff:ff:ff:12:40:1b:FF:ff:00:00:00:00:00:00:ff:ff:ff:ff")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseHardwareAddr(s)
		if err != nil {
			return
		}
		if a.String() != strings.ToLower(s) {
			t.Errorf("%q prints as %q", s, a)
		}
	})
}
