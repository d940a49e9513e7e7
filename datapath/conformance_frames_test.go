package datapath

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"ipoib/datapath/encap"
	"ipoib/rdma"
	"ipoib/rdma/header"
)

// All unicast and multicast goes by unreliable datagrams, and each interface
// has one queue pair for them.
func Test4391_S2_1_UnreliableDatagrams(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		atLeast(t, "interfaces", len(l.ifaces), 4)
		for _, e := range l.messages() {
			info, ok := l.ifaces[end{e.host, e.DETH.SrcQP()}]
			if e.BTH.Opcode() != header.UDSendOnly || !ok || l.gids[e.host] != info.Addr.GID() {
				t.Errorf("opcode %v of queue pair %v", e.BTH.Opcode(), e.DETH.SrcQP())
			}
		}
		seen := map[netip.Addr]bool{}
		for _, e := range l.unicasts() {
			seen[e.dst()] = true
		}
		for _, ip := range []string{"10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2", "10.0.1.1", "fd00:1::2"} {
			if !seen[addr(ip)] {
				t.Errorf("nothing went to %s", ip)
			}
		}
		for _, i := range l.ifaces {
			if i.Mode != Datagram {
				t.Errorf("mode %v", i.Mode)
			}
		}
	})
}

// mgids returns all multicast GIDs of the scenario, in frames and in joins.
func (l *life) mgids() (out []rdma.GID) {
	for _, e := range l.multicasts() {
		out = append(out, e.GRH.DGID())
	}
	for _, e := range l.events {
		if m, rec := e.membership(); m != nil {
			out = append(out, rec.MGID)
		}
	}
	return out
}

// The T flag of each MGID is 1, and the others are 0.
func Test4391_S4_1_TransientFlag(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		atLeast(t, "MGIDs", len(l.mgids()), 30)
		for _, g := range l.mgids() {
			if g[0] != 0xff || g[1]&0xf0 != 0x10 {
				t.Errorf("%v", g)
			}
		}
	})
}

// signature checks bytes 2 and 3 of the MGIDs of one IP version.
func (l *life) signature(t *testing.T, typ uint16, want ...byte) {
	t.Helper()
	n := 0
	for _, e := range l.multicasts() {
		if e.typ() != typ && (e.typ() != 0x0806 || typ != 0x0800) {
			continue
		}
		n++
		if g := e.GRH.DGID(); !bytes.Equal(g[2:4], want) {
			t.Errorf("%v carries type %04x", g, e.typ())
		}
	}
	atLeast(t, "frames", n, 10)
	joined := 0
	for g := range l.groups {
		if bytes.Equal(g[2:4], want) {
			joined++
		}
	}
	atLeast(t, "joined groups", joined, 2)
}

func Test4391_S4_2_IPv4Signature(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) { l.signature(t, 0x0800, 0x40, 0x1b) })
}

func Test4391_S4_3_IPv6Signature(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) { l.signature(t, 0x86dd, 0x60, 0x1b) })
}

// The P_Key of the link is in the MGID, with bit 15 set: links have no group
// in common.
func Test4391_S4_4_PKeyInMGID(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		keys := map[rdma.PKey]int{}
		for _, e := range l.multicasts() {
			g, info := e.GRH.DGID(), l.from(e)
			k := rdma.PKey(binary.BigEndian.Uint16(g[4:]))
			if !k.IsFull() || k != info.PKey {
				t.Errorf("%s sends to %v", info.Name, g)
			}
			keys[k]++
		}
		if len(keys) != 2 || keys[0xffff] < 5 || keys[0x8001] < 5 {
			t.Errorf("frames by P_Key: %v", keys)
		}
	})
}

// The low 80 bits of an IPv6 group are those of the MGID.
func Test4391_S4_5_Low80Bits(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		seen := map[netip.Addr]bool{}
		for _, e := range l.multicasts() {
			if e.typ() != 0x86dd {
				continue
			}
			g, ip := e.GRH.DGID(), e.dst().As16()
			if !bytes.Equal(g[6:], ip[6:]) {
				t.Errorf("%v for %v", g, e.dst())
			}
			seen[e.dst()] = true
		}
		for _, ip := range l.played {
			if ip.Is6() && !seen[ip] {
				t.Errorf("nothing to %v", ip)
			}
		}
	})
}

// The low 28 bits of an IPv4 group are those of the MGID, the rest of the
// group ID is zero.
func Test4391_S4_6_Low28Bits(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		seen := map[netip.Addr]bool{}
		for _, e := range l.multicasts() {
			if e.typ() != 0x0800 || !e.dst().IsMulticast() {
				continue
			}
			g, ip := e.GRH.DGID(), e.dst().As4()
			want := []byte{0, 0, 0, 0, 0, 0, ip[0] & 0x0f, ip[1], ip[2], ip[3]}
			if !bytes.Equal(g[6:], want) {
				t.Errorf("%v for %v", g, e.dst())
			}
			seen[e.dst()] = true
		}
		for _, ip := range l.played {
			if ip.Is4() && !seen[ip] {
				t.Errorf("nothing to %v", ip)
			}
		}
	})
}

// All groups have the scope of the broadcast-GID, whatever the scope of the IP
// group is.
func Test4391_S4_8_ScopeOfTheLink(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		for _, g := range l.mgids() {
			if g[1]&0x0f != l.scope {
				t.Errorf("%v on a link of scope %d", g, l.scope)
			}
		}
	})
}

// An ARP request, written out by hand from the RFC's figures.
func Test4391_S4_9_NetworkByteOrder(t *testing.T) {
	l := lifeOf(t, lifeConfigs[0])
	for _, e := range l.arps() {
		b := e.body()
		if e.host != 1 || e.LRH.DLID() == l.lids[2] || !bytes.Equal(b[28:32], []byte{10, 0, 0, 1}) || !bytes.Equal(b[52:], []byte{10, 0, 0, 2}) {
			continue
		}
		qpn := e.DETH.SrcQP()
		mlid := l.groups[mustGID("ff12:401b:ffff::ffff:ffff")].MLID
		own := hex.EncodeToString([]byte{encap.FlagRC, byte(qpn >> 16), byte(qpn >> 8), byte(qpn)}) + "fe80000000000000" + "00005eef00010011"
		want := strings.Join([]string{
			"0003", hex.EncodeToString([]byte{byte(mlid >> 8), byte(mlid)}), "0021", hex.EncodeToString([]byte{byte(l.lids[1] >> 8), byte(l.lids[1])}), // LRH
			"60000000", "0054", "1b", "00", own[8:], "ff12401bffff000000000000ffffffff", // GRH
			"6400", "ffff", "00ffffff", hex.EncodeToString(e.raw[56:60]), // BTH, any PSN
			"00000b1b", "00" + own[2:8], // DETH
			"08060000", "0020", "0800", "14", "04", "0001", own, "0a000001", strings.Repeat("00", 20), "0a000002",
		}, "")
		if got := hex.EncodeToString(e.raw[:len(e.raw)-6]); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		return
	}
	t.Fatal("no ARP request")
}

// TClass, FlowLabel and HopLimit of a multicast frame are those of the
// broadcast group's record.
func Test4391_S4_1_4_ClassFlowHopLimit(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		for _, e := range l.multicasts() {
			g := e.GRH.DGID()
			rec := l.groups[encap.BroadcastMGID(encap.Scope(l.scope), encap.MGIDPKey(g))]
			if rec.TClass != l.tclass || rec.FlowLabel != l.flow || rec.HopLimit == 0 && l.scope != 2 {
				t.Fatalf("record %+v", rec)
			}
			if e.GRH.TClass() != rec.TClass || e.GRH.FlowLabel() != rec.FlowLabel || e.GRH.HopLmt() != rec.HopLimit {
				t.Errorf("GRH %x, record %+v", []byte(e.GRH[:8]), rec)
			}
		}
	})
}

// All multicast has the SL of the broadcast group.
func Test4391_S4_1_5_ServiceLevel(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		for _, e := range l.multicasts() {
			if e.LRH.SL() != l.sl {
				t.Errorf("SL %d", e.LRH.SL())
			}
		}
		for g, rec := range l.groups {
			if rec.SL != l.sl {
				t.Errorf("%v has SL %d", g, rec.SL)
			}
		}
	})
}

// Without configuration the scope is link-local.
func Test4391_S4_1_6_DefaultScope(t *testing.T) {
	inWorld(t, worldConfig{}, func(w *world) {
		w.upAll()
		list := w.host(1).ib0.Groups()
		atLeast(t, "groups", len(list), 2)
		for _, g := range list {
			if encap.MGIDScope(g.MGID) != encap.ScopeLinkLocal {
				t.Errorf("%v", g.MGID)
			}
		}
	})
}

// ARP requests, announcements and IPv4 broadcasts go to the broadcast group.
func Test4391_S5_4_BroadcastGroup(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		seen := map[string]int{}
		for _, e := range l.messages() {
			b, kind := e.body(), ""
			switch {
			case e.typ() == 0x0806 && binary.BigEndian.Uint16(b[6:]) == 1 && e.LRH.DLID().IsMulticast(): // the others are probes
				kind = "ARP request"
				if bytes.Equal(b[28:32], b[52:56]) {
					kind = "announcement"
				}
			case e.typ() == 0x0800 && e.dst() == addr("255.255.255.255"):
				kind = "limited broadcast"
			case e.typ() == 0x0800 && e.dst() == addr("10.0.0.255"):
				kind = "directed broadcast"
			default:
				continue
			}
			seen[kind]++
			want := encap.BroadcastMGID(encap.Scope(l.scope), l.from(e).PKey)
			if e.GRH == nil || e.GRH.DGID() != want || e.BTH.DestQP() != 0xffffff || e.LRH.DLID() != l.groups[want].MLID {
				t.Errorf("%s to LID %v queue pair %v", kind, e.LRH.DLID(), e.BTH.DestQP())
			}
		}
		if len(seen) != 4 || seen["ARP request"] < 2 {
			t.Errorf("saw %v", seen)
		}
	})
}

// Each message begins with its type and a reserved field of zero.
func Test4391_S6_1_EveryMessage(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		seen := map[uint16]int{}
		for _, e := range l.messages() {
			if len(e.Payload) < 4 {
				t.Fatalf("% x", e.Payload)
			}
			seen[e.typ()]++
			var ok bool
			switch b := e.body(); e.typ() {
			case 0x0800:
				ok = b[0]>>4 == 4 && int(binary.BigEndian.Uint16(b[2:])) == len(b)
			case 0x86dd:
				ok = b[0]>>4 == 6 && int(binary.BigEndian.Uint16(b[4:]))+40 == len(b)
			case 0x0806:
				ok = len(b) == 56
			}
			if !ok {
				t.Errorf("type %04x: % x", e.typ(), e.body()[:8])
			}
		}
		if len(seen) != 3 {
			t.Errorf("types %v", seen)
		}
	})
}

func Test4391_S6_2_ReservedZero(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		for _, e := range l.messages() {
			if e.Payload[2] != 0 || e.Payload[3] != 0 {
				t.Errorf("% x", e.Payload[:4])
			}
		}
	})
}

// Each multicast frame has a GRH; unicast within the subnet has none.
func Test4391_S6_6_GRHOnMulticast(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		atLeast(t, "multicast frames", len(l.multicasts()), 30)
		for _, e := range l.multicasts() {
			if e.LRH.LNH() != header.LNHIBAGlobal || e.GRH == nil || e.GRH.SGID() != l.gids[e.host] {
				t.Errorf("LNH %v, GRH %x", e.LRH.LNH(), []byte(e.GRH))
			}
		}
		for _, e := range l.unicasts() {
			if e.LRH.LNH() != header.LNHIBALocal {
				t.Errorf("unicast with LNH %v", e.LRH.LNH())
			}
		}
	})
}

// Nothing after the DETH is longer than the MTU of the link, and datagrams of
// that length are sent.
func Test4391_S7_4_LinkMTU(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		longest := 0
		for _, e := range l.messages() {
			longest = max(longest, len(e.Payload))
		}
		if longest != l.mtu {
			t.Errorf("the longest message has %d bytes, the MTU is %d", longest, l.mtu)
		}
		for g, rec := range l.groups {
			if rec.MTU.Bytes() != l.mtu {
				t.Errorf("%v has MTU %v", g, rec.MTU)
			}
		}
	})
}
