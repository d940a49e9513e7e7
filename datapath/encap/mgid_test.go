package encap

import (
	"encoding/hex"
	"net/netip"
	"testing"

	"ipoib/rdma"
)

func bcast(scope Scope, pkey rdma.PKey) rdma.GID { return BroadcastMGID(scope, pkey) }

// Test4391_S4_7_GoldenTable is the table of MGIDs for P_Key 0x8001, scope 2.
func Test4391_S4_7_GoldenTable(t *testing.T) {
	for ip, want := range map[string]string{
		"255.255.255.255":       "ff12401b8001000000000000ffffffff",
		"224.0.0.1":             "ff12401b800100000000000000000001",
		"224.0.0.2":             "ff12401b800100000000000000000002",
		"224.0.0.22":            "ff12401b800100000000000000000016",
		"225.0.0.1":             "ff12401b800100000000000001000001",
		"239.1.2.3":             "ff12401b80010000000000000f010203",
		"239.255.255.255":       "ff12401b80010000000000000fffffff",
		"ff02::1":               "ff12601b800100000000000000000001",
		"ff02::16":              "ff12601b800100000000000000000016",
		"ff02::1:ff00:b":        "ff12601b8001000000000001ff00000b",
		"ff0e::1234:5678":       "ff12601b800100000000000012345678",
		"ff02::2":               "ff12601b800100000000000000000002",
		"ff05::2":               "ff12601b800100000000000000000002",
		"ff3e:20:2001:db8::1:2": "ff12601b80010db80000000000010002",
	} {
		got, ok := MGIDOf(bcast(ScopeLinkLocal, 0x8001), addr(ip))
		if hex.EncodeToString(got[:]) != want || !ok {
			t.Errorf("%s maps to %x, want %s", ip, got, want)
		}
		if !IsIPoIB(got) || MGIDScope(got) != ScopeLinkLocal || MGIDPKey(got) != 0x8001 || !SameLink(got, bcast(2, 0x8001)) {
			t.Errorf("%v: not of this link", got)
		}
		if IsBroadcastMGID(got) != (ip == "255.255.255.255") {
			t.Errorf("%v as broadcast: %v", got, IsBroadcastMGID(got))
		}
		group, ok := IPv4Group(got)
		if wantOK := addr(ip).Is4() && ip != "255.255.255.255"; ok != wantOK || ok && group != addr(ip) {
			t.Errorf("%v is group %v, %v", got, group, ok)
		}
	}
}

// TestLinuxGroups compares with "ip maddr" on the Linux driver.
func TestLinuxGroups(t *testing.T) {
	for ip, want := range map[string]string{
		"224.0.0.1":         "00:ff:ff:ff:ff:12:40:1b:ff:ff:00:00:00:00:00:00:00:00:00:01",
		"224.1.2.3":         "00:ff:ff:ff:ff:12:40:1b:ff:ff:00:00:00:00:00:00:00:01:02:03",
		"239.255.1.1":       "00:ff:ff:ff:ff:12:40:1b:ff:ff:00:00:00:00:00:00:0f:ff:01:01",
		"ff02::1":           "00:ff:ff:ff:ff:12:60:1b:ff:ff:00:00:00:00:00:00:00:00:00:01",
		"ff02::1234":        "00:ff:ff:ff:ff:12:60:1b:ff:ff:00:00:00:00:00:00:00:00:12:34",
		"ff0e::4321":        "00:ff:ff:ff:ff:12:60:1b:ff:ff:00:00:00:00:00:00:00:00:43:21",
		"ff05::1:3":         "00:ff:ff:ff:ff:12:60:1b:ff:ff:00:00:00:00:00:00:00:01:00:03",
		"ff02::1:ffa0:b0c1": "00:ff:ff:ff:ff:12:60:1b:ff:ff:00:00:00:00:00:01:ff:a0:b0:c1",
	} {
		mgid, _ := MGIDOf(bcast(ScopeLinkLocal, rdma.PKeyDefault), addr(ip))
		if got := MulticastAddr(mgid).String(); got != want {
			t.Errorf("%s maps to %s, want %s", ip, got, want)
		}
	}
}

func Test4391_S4_8_ScopeOfBroadcast(t *testing.T) {
	for _, s := range []Scope{ScopeLinkLocal, ScopeSiteLocal, ScopeOrganizationLocal, ScopeGlobal} {
		for _, ip := range []string{"ff02::1", "ff0e::1", "224.0.0.1"} {
			got, _ := MGIDOf(bcast(s, 0x8001), addr(ip))
			if MGIDScope(got) != s || got[1] != 0x10|byte(s) {
				t.Errorf("%s on a link of scope %x: %v", ip, s, got)
			}
			if SameLink(got, bcast(s^1, 0x8001)) || SameLink(got, bcast(s, 0x8002)) {
				t.Errorf("%v belongs to another link", got)
			}
		}
	}
}

func Test4391_S4_1_1_FullMember(t *testing.T) {
	if got := bcast(ScopeLinkLocal, 0x0001); got.String() != "ff12:401b:8001::ffff:ffff" {
		t.Errorf("broadcast-GID of limited P_Key 0x0001: %v", got)
	}
	limited := bcast(ScopeLinkLocal, 0x8001)
	limited[4] = 0
	if IsBroadcastMGID(limited) {
		t.Errorf("%v is a broadcast-GID", limited)
	}
}

func TestMGIDOfOthers(t *testing.T) {
	for _, ip := range []string{"10.0.0.255", "223.255.255.255", "240.0.0.1", "::1", "fe80::1", "::ffff:224.0.0.1"} {
		if got, ok := MGIDOf(bcast(2, 0x8001), addr(ip)); ok {
			t.Errorf("%s maps to %v", ip, got)
		}
	}
	if _, ok := MGIDOf(bcast(2, 0x8001), netip.Addr{}); ok {
		t.Error("the zero address maps")
	}
	for _, g := range []string{"fe80::1", "ff02::1", "ff12:a01b:8001::1", "ff02:401b:8001::1"} {
		gid := rdma.MustParseGID(g)
		if IsIPoIB(gid) {
			t.Errorf("%s is of IPoIB", g)
		}
		if _, ok := AllRoutersMGID(gid); ok {
			t.Errorf("%s has all-routers", g)
		}
		if _, ok := IPv4Group(gid); ok {
			t.Errorf("%s has an IPv4 group", g)
		}
	}
}

func Test4391_S10_2_AllRouters(t *testing.T) {
	for ip, want := range map[string]string{"239.1.2.3": "ff15:401b:8001::2", "ff0e::1234": "ff15:601b:8001::2"} {
		mgid, _ := MGIDOf(bcast(ScopeSiteLocal, 0x8001), addr(ip))
		if got, ok := AllRoutersMGID(mgid); got.String() != want || !ok {
			t.Errorf("%s: all-routers %v, want %s", ip, got, want)
		}
	}
}

func FuzzMGID(f *testing.F) {
	f.Add(unhex(f, "ff12401b80010000000000000f010203"))
	f.Add(unhex(f, "ff12601b800100000000000012345678"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != 16 {
			return
		}
		g := rdma.GID(b)
		if ip, ok := IPv4Group(g); ok {
			if back, ok := MGIDOf(g, ip); !ok || back != g {
				t.Errorf("%v is group %v, which is %v", g, ip, back)
			}
		}
		if r, ok := AllRoutersMGID(g); ok && !SameLink(r, g) {
			t.Errorf("%v: all-routers %v on another link", g, r)
		}
	})
}

// Test4391_S8_4_LinkLocal uses both kinds of GUID, and what Linux made of one.
func Test4391_S8_4_LinkLocal(t *testing.T) {
	for guid, want := range map[rdma.GUID]string{
		0x00005eef1000000a: "fe80::200:5eef:1000:a",
		0x02005eef1000000b: "fe80::200:5eef:1000:b",
		0x0002c90300a0b0c1: "fe80::202:c903:a0:b0c1",
	} {
		if got := LinkLocal(guid.InterfaceID()); got.String() != want {
			t.Errorf("%v: %v, want %s", guid, got, want)
		}
	}
	if got := SolicitedNode(addr("fe80::202:c903:a0:b0c1")); got.String() != "ff02::1:ffa0:b0c1" {
		t.Errorf("solicited-node group %v", got)
	}
}
