package datapath

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"testing"

	"ipoib/datapath/encap"
	"ipoib/rdma"
	"ipoib/rdma/inet"
)

// The link-layer address begins with a zero octet where there is no connected
// mode, with the RC flag where there is.
func Test4391_S9_1_1_1_FlagsZero(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		want := byte(encap.FlagRC)
		if l.udOnly {
			want = 0
		}
		atLeast(t, "addresses", len(l.linkAddrs()), 10)
		for _, a := range l.linkAddrs() {
			if a[0] != want {
				t.Errorf("% x", a)
			}
		}
	})
}

// linkAddrs returns all link-layer addresses that the hosts sent of
// themselves.
func (l *life) linkAddrs() (out [][]byte) {
	for _, e := range l.arps() {
		out = append(out, e.body()[8:28])
	}
	opts, _ := l.linkOptions()
	for _, o := range opts {
		out = append(out, o[4:])
	}
	return out
}

// The GID of the address is the port's first: subnet prefix and port GUID.
func Test4391_S9_1_1_5_FirstGID(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		atLeast(t, "addresses", len(l.linkAddrs()), 10)
		for _, a := range l.linkAddrs() {
			g := rdma.GID(a[4:20])
			if g != l.gids[1] && g != l.gids[2] {
				t.Errorf("%v", g)
			}
		}
		for n := 1; n <= 2; n++ {
			if want := rdma.MakeGID(rdma.DefaultSubnetPrefix, rdma.GUID(0x5eef00010001+n*0x10)); l.gids[n] != want {
				t.Errorf("host %d has %v, want %v", n, l.gids[n], want)
			}
		}
	})
}

// ARP and Neighbor Discovery carry the same 20 octets.
func Test4391_S9_1_1_6_OneFormat(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		arp, nd := map[string]bool{}, map[string]bool{}
		for _, e := range l.arps() {
			arp[hex.EncodeToString(e.body()[8:28])] = true
		}
		opts, _ := l.linkOptions()
		for _, o := range opts {
			nd[hex.EncodeToString(o[4:])] = true
		}
		for _, i := range l.ifaces {
			a := hex.EncodeToString(i.Addr[:])
			if !arp[a] || !nd[a] {
				t.Errorf("%s: %s in ARP %v, in ND %v", i.Name, a, arp[a], nd[a])
			}
		}
		if len(arp) != 4 || len(nd) != 4 {
			t.Errorf("%d addresses in ARP, %d in ND", len(arp), len(nd))
		}
	})
}

// The Q_Key of the broadcast join is in every packet, unicast and multicast.
func Test4391_S9_1_2_2_OneQKey(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		for _, e := range l.messages() {
			if e.DETH.QKey() != l.qkey {
				t.Errorf("Q_Key %v", e.DETH.QKey())
			}
		}
		for g, rec := range l.groups {
			if rec.QKey != l.qkey {
				t.Errorf("%v has Q_Key %v", g, rec.QKey)
			}
		}
	})
}

// The P_Key is the one that the interface was given.
func Test4391_S9_1_2_3_ConfiguredPKey(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		seen := map[rdma.PKey]bool{}
		for _, e := range l.messages() {
			if k := l.from(e).PKey; e.BTH.PKey() != k {
				t.Errorf("P_Key %v of an interface on %v", e.BTH.PKey(), k)
			}
			seen[e.BTH.PKey()] = true
		}
		if len(seen) != 2 || !seen[0xffff] || !seen[0x8001] {
			t.Errorf("P_Keys %v", seen)
		}
	})
}

// ARP has hardware type 32 and length 20, the rest is that of RFC 826.
func Test4391_S9_2_1_ARPOnTheWire(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		ops := map[uint16]int{}
		for _, e := range l.arps() {
			if b := e.body(); len(b) != 56 || !bytes.Equal(b[:6], []byte{0, 32, 8, 0, 20, 4}) {
				t.Errorf("% x", b)
			}
			ops[binary.BigEndian.Uint16(e.body()[6:])]++
		}
		if len(ops) != 2 || ops[1] < 4 || ops[2] < 2 {
			t.Errorf("operations %v", ops)
		}
	})
}

// The options have length 3 (units of 8 octets).
func Test4391_S9_3_1_OptionOnTheWire(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		opts, types := l.linkOptions()
		for k, o := range opts {
			want := byte(1)
			if types[k] == 136 {
				want = 2
			}
			if o[0] != want || o[1] != 3 || len(o) != 24 {
				t.Errorf("ICMPv6 type %d: % x", types[k], o)
			}
		}
		for _, typ := range []byte{133, 135, 136} {
			if !slices.Contains(types, typ) {
				t.Errorf("no option in ICMPv6 type %d", typ)
			}
		}
	})
}

// Two zero octets stand before the address.
func Test4391_S9_3_2_PadOnTheWire(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		opts, _ := l.linkOptions()
		atLeast(t, "options", len(opts), 6)
		for _, o := range opts {
			if o[2] != 0 || o[3] != 0 || encap.HardwareAddr(o[4:24]).GID().GUID() == 0 {
				t.Errorf("% x", o)
			}
		}
	})
}

// Bits that no RFC has given a meaning are zero in every message.
func Test4391_S14_1_NoPrivateBits(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		for _, e := range l.messages() {
			r, at := e.raw, 8
			if e.GRH != nil {
				at += 40
			}
			if r[0]&0x0f != 0 || r[1]&0x0c != 0 || r[4]&0xf8 != 0 || // LRH: LVer, reserved
				r[at+1]&0x8f != 0 || r[at+4] != 0 || r[at+8] != 0 || // BTH: SE, TVer, Resv8a, AckReq and Resv7
				r[at+16] != 0 || // DETH: reserved
				e.Payload[2] != 0 || e.Payload[3] != 0 {
				t.Errorf("% x", r[:at+24])
			}
			if pad := len(r) - 6 - e.BTH.PadCnt(); slices.ContainsFunc(r[pad:len(r)-6], func(b byte) bool { return b != 0 }) {
				t.Errorf("pad % x", r[pad:len(r)-6])
			}
		}
		for _, a := range l.linkAddrs() {
			if a[0]&0x3f != 0 {
				t.Errorf("address % x", a)
			}
		}
	})
}

// Multicast goes to queue pair 0xFFFFFF, unicast to the one in the address.
func Test4392_S1_2_1_DestinationQP(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		for _, e := range l.multicasts() {
			if e.BTH.DestQP() != 0xffffff || !e.LRH.DLID().IsMulticast() || !e.GRH.DGID().IsMulticast() {
				t.Errorf("to queue pair %v at LID %v", e.BTH.DestQP(), e.LRH.DLID())
			}
		}
		for _, e := range l.unicasts() {
			info, ok := l.ifaces[end{3 - e.host, e.BTH.DestQP()}]
			if !ok || info.Addr.QPN() != e.BTH.DestQP() || info.Addr.GID() != l.gids[3-e.host] || e.LRH.DLID() != l.lids[3-e.host] {
				t.Errorf("host %d sends to queue pair %v at LID %v", e.host, e.BTH.DestQP(), e.LRH.DLID())
			}
		}
	})
}

// VL 15 is not used for data, nor for general services.
func Test4392_S1_2_3_NotVL15(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		n := 0
		for _, e := range l.events {
			if e.BTH.DestQP() == 0 {
				continue // subnet management
			}
			if n++; e.LRH.VL() == 15 {
				t.Errorf("queue pair %v on VL 15", e.BTH.DestQP())
			}
		}
		atLeast(t, "frames", n, 100)
	})
}

// Multicast has the Q_Key of its group, which is that of the link.
func Test4392_S1_2_6_GroupQKey(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		for _, e := range l.multicasts() {
			rec, ok := l.groups[e.GRH.DGID()]
			if !ok || e.DETH.QKey() != rec.QKey || e.LRH.DLID() != rec.MLID {
				t.Errorf("%v: Q_Key %v LID %v, record %+v", e.GRH.DGID(), e.DETH.QKey(), e.LRH.DLID(), rec)
			}
		}
	})
}

// Unicast uses P_Key and Q_Key of the broadcast group.
func Test4392_S4_2_UnicastKeys(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		atLeast(t, "unicast frames", len(l.unicasts()), 30)
		for _, e := range l.unicasts() {
			rec, ok := l.groups[encap.BroadcastMGID(encap.Scope(l.scope), l.from(e).PKey)]
			if !ok || e.BTH.PKey() != rec.PKey || e.DETH.QKey() != rec.QKey {
				t.Errorf("P_Key %v Q_Key %v, record %+v", e.BTH.PKey(), e.DETH.QKey(), rec)
			}
		}
	})
}

// Neighbor Discovery has hop limit 255 and a right checksum, solicitations go
// to the solicited-node group.
func Test4861_1_OnTheWire(t *testing.T) {
	eachLife(t, func(t *testing.T, l *life) {
		types := map[byte]int{}
		for _, e := range l.messages() {
			b := e.body()
			if e.typ() != 0x86dd || b[6] != 58 || b[40] < 133 || b[40] > 137 {
				continue
			}
			types[b[40]]++
			sum := inet.Checksum(b[40:], inet.Pseudo(b[8:24], b[24:40], 58, len(b)-40))
			if b[7] != 255 || sum != 0 {
				t.Errorf("hop limit %d, checksum %x in % x", b[7], sum, b)
			}
			if b[40] == 135 && e.LRH.DLID().IsMulticast() {
				want := append(slices.Clone(addr("ff02::1:ff00:0").AsSlice()[:13]), b[61:64]...)
				if !bytes.Equal(b[24:40], want) {
					t.Errorf("solicitation of %x to %x", b[48:64], b[24:40])
				}
			}
		}
		if types[133] == 0 || types[135] < 8 || types[136] < 2 {
			t.Errorf("types %v", types)
		}
	})
}
