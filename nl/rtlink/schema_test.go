package rtlink

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"testing"

	"ipoib/nl"
)

// attr is a row of testdata/schema.txt.
type attr struct{ name, typ string }

// schema reads the published specification of link messages.
func schema(t *testing.T) (link, info map[uint16]attr) {
	t.Helper()
	f, err := os.Open("testdata/schema.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	link, info = map[uint16]attr{}, map[uint16]attr{}
	for sc := bufio.NewScanner(f); sc.Scan(); {
		w, into := strings.Fields(sc.Text()), link
		if w[0] == "#" {
			continue
		}
		if w[0] == "linkinfo" {
			w, into = w[1:], info
		}
		n, err := strconv.ParseUint(w[0], 10, 16)
		if err != nil || len(w) != 3 {
			t.Fatalf("row %q", sc.Text())
		}
		into[uint16(n)] = attr{w[1], w[2]}
	}
	return link, info
}

var named = map[string]uint16{
	"address": AttrAddress, "broadcast": AttrBroadcast, "ifname": AttrIfname, "mtu": AttrMTU, "link": AttrLink,
	"qdisc": AttrQdisc, "stats": AttrStats, "master": AttrMaster, "protinfo": AttrProtinfo, "txqlen": AttrTxqlen,
	"map": AttrMap, "weight": AttrWeight, "operstate": AttrOperstate, "linkmode": AttrLinkmode,
	"linkinfo": AttrLinkinfo, "net-ns-pid": AttrNetNSPID, "ifalias": AttrIfalias, "num-vf": AttrNumVF,
	"vfinfo-list": AttrVFInfoList, "stats64": AttrStats64, "vf-ports": AttrVFPorts, "port-self": AttrPortSelf,
	"af-spec": AttrAFSpec, "group": AttrGroup, "net-ns-fd": AttrNetNSFD, "ext-mask": AttrExtMask,
	"promiscuity": AttrPromiscuity, "num-tx-queues": AttrNumTxQueues, "num-rx-queues": AttrNumRxQueues,
	"carrier": AttrCarrier, "phys-port-id": AttrPhysPortID, "carrier-changes": AttrCarrierChanges,
	"phys-switch-id": AttrPhysSwitchID, "link-netnsid": AttrLinkNetNSID, "phys-port-name": AttrPhysPortName,
	"proto-down": AttrProtoDown, "gso-max-segs": AttrGSOMaxSegs, "gso-max-size": AttrGSOMaxSize, "xdp": AttrXDP,
	"event": AttrEvent, "new-netnsid": AttrNewNetNSID, "target-netnsid": AttrTargetNetNSID,
	"carrier-up-count": AttrCarrierUpCount, "carrier-down-count": AttrCarrierDownCount,
	"new-ifindex": AttrNewIfindex, "min-mtu": AttrMinMTU, "max-mtu": AttrMaxMTU, "prop-list": AttrPropList,
	"alt-ifname": AttrAltIfname, "perm-address": AttrPermAddress, "proto-down-reason": AttrProtoDownReason,
	"parent-dev-name": AttrParentDevName, "parent-dev-bus-name": AttrParentDevBusName,
	"gro-max-size": AttrGROMaxSize, "tso-max-size": AttrTSOMaxSize, "tso-max-segs": AttrTSOMaxSegs,
	"allmulti": AttrAllmulti, "devlink-port": AttrDevlinkPort, "gso-ipv4-max-size": AttrGSOIPv4MaxSize,
	"gro-ipv4-max-size": AttrGROIPv4MaxSize, "max-pacing-offload-horizon": AttrMaxPacingOffHorizon,
	"netns-immutable": AttrNetNSImmutable, "headroom": AttrHeadroom, "tailroom": AttrTailroom,
}

// TestSchemaNumbers compares the attribute numbers with the specification.
func TestSchemaNumbers(t *testing.T) {
	link, info := schema(t)
	for n, a := range link {
		switch got, ok := named[a.name]; {
		case ok && got != n:
			t.Errorf("%s is %d, want %d", a.name, got, n)
		case !ok && a.typ != "pad" && a.name != "cost" && a.name != "priority" && a.name != "wireless" && a.name != "dpll-pin":
			t.Errorf("%s has no constant", a.name)
		}
	}
	for n, want := range map[uint16]string{
		InfoKind: "kind", InfoData: "data", InfoXStats: "xstats", InfoSlaveKind: "slave-kind", InfoSlaveData: "slave-data",
	} {
		if info[n].name != want {
			t.Errorf("linkinfo attribute %d is %s, want %s", n, info[n].name, want)
		}
	}
}

// wants says what a payload of a type of the specification may look like.
func wants(typ string, p []byte) bool {
	switch typ {
	case "u8":
		return len(p) == 1
	case "u32", "s32":
		return len(p) == 4
	case "string":
		return len(p) > 1 && p[len(p)-1] == 0
	case "binary", "nest":
		return len(p) > 0
	}
	return false
}

// TestSchemaTypes checks every attribute that we write against its type.
func TestSchemaTypes(t *testing.T) {
	link, info := schema(t)
	l := full()
	for _, p := range []**uint32{
		&l.Promiscuity, &l.Allmulti, &l.NumTxQueues, &l.NumRxQueues, &l.GSOMaxSegs, &l.GSOMaxSize, &l.GROMaxSize,
		&l.GSOIPv4MaxSize, &l.GROIPv4MaxSize, &l.TSOMaxSize, &l.TSOMaxSegs, &l.Master,
		&l.CarrierChanges, &l.CarrierUp, &l.CarrierDown,
	} {
		*p = new(uint32(1))
	}
	l.Carrier = new(uint8(1))
	var e nl.Encoder
	AppendAFSpec(&e, 0)
	for a := range Attrs(e.Bytes()) {
		l.AFSpec = a.Data
	}
	l.Other = nil
	seen := map[uint16]bool{}
	for a := range Attrs(encode(l)[HeaderLen:]) {
		seen[a.Type] = true
		if s := link[a.Type]; !wants(s.typ, a.Data) {
			t.Errorf("%s: %x is no %s", s.name, a.Data, s.typ)
		}
		if a.Type == AttrLinkinfo {
			for c := range a.Children() {
				if s := info[c.Type]; !wants(s.typ, c.Data) {
					t.Errorf("linkinfo %s: %x is no %s", s.name, c.Data, s.typ)
				}
			}
		}
	}
	for _, f := range fields {
		if !seen[f.t] {
			t.Errorf("%s was not written", link[f.t].name)
		}
	}
}

// TestPolicyTypes checks the policies against the specification.
func TestPolicyTypes(t *testing.T) {
	link, _ := schema(t)
	sizes := map[string]int{"u8": 1, "u32": 4, "s32": 4}
	for n := uint16(1); int(n) <= Policy.MaxType(); n++ {
		size, ok := sizes[link[n].typ]
		if !ok {
			continue
		}
		var e, described nl.Encoder
		e.Put(n, make([]byte, size-1))
		_, err := nl.Parse(e.Bytes(), 0, Policy, nl.Liberal)
		if Policy.Attrs[n].Describe(&described, 1, nil) && err == nil {
			t.Errorf("%s: %d bytes pass for %s", link[n].name, size-1, link[n].typ)
		}
	}
}
