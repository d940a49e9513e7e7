package sm

import (
	"testing"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
	"ipoib/rdma/soft"
)

func (n *vectorNet) path(t *testing.T, i int, mask mad.ComponentMask, q mad.PathRecord) (mad.Status, *mad.PathRecord) {
	t.Helper()
	status, out, ok := record(t, n.raw[i], mad.MethodGet, mad.AttrPathRecord, mask, &q)
	if !ok {
		t.Fatal("no answer")
	}
	return status, out
}

// TestPathRecord has the rows of "PathRecord".
func TestPathRecord(t *testing.T) {
	type rec = mad.PathRecord
	ok := func(r *rec) bool { return r.NumbPath == 0 && r.Reversible && r.DLID == 4 && r.SLID == 3 }
	for _, tt := range []struct {
		name string
		mask mad.ComponentMask
		set  func(r *rec)
		want mad.Status
		also func(r *rec) bool
	}{
		{name: "NumbPath is cleared, Reversible set", mask: mad.PRIPoIB, also: ok},
		{name: "no match", mask: mad.PRIPoIB, set: func(r *rec) { r.DGID[15] = 0x77 }, want: mad.SAStatusNoRecords},
		{name: "P_Key in limited form", mask: mad.PRIPoIB, set: func(r *rec) { r.PKey = 0x7fff },
			also: func(r *rec) bool { return ok(r) && r.PKey == 0x7fff }},
		{name: "P_Key not shared", mask: mad.PRIPoIB, set: func(r *rec) { r.PKey = 0x8002 }, want: mad.SAStatusNoRecords},
		{name: "without P_Key", mask: mad.PRDGID | mad.PRSGID, also: func(r *rec) bool { return ok(r) && r.PKey == 0xffff }},
		{name: "SL as asked", mask: mad.PRIPoIB | mad.PRSL, set: func(r *rec) { r.SL = 5 },
			also: func(r *rec) bool { return ok(r) && r.SL == 5 }},
		{name: "MTU exactly below the path's", mask: mad.PRIPoIB | mad.PRMTUSelector | mad.PRMTU,
			set: func(r *rec) { r.MTUSelector, r.MTU = 2, 3 }, also: func(r *rec) bool { return ok(r) && r.MTU == 3 }},
		{name: "MTU exactly above the path's", mask: mad.PRIPoIB | mad.PRMTUSelector | mad.PRMTU,
			set: func(r *rec) { r.MTUSelector, r.MTU = 2, 5 }, want: mad.SAStatusNoRecords},
		{name: "MTU greater than the path's own", mask: mad.PRIPoIB | mad.PRMTUSelector | mad.PRMTU,
			set: func(r *rec) { r.MTUSelector, r.MTU = 0, 4 }, want: mad.SAStatusNoRecords},
		{name: "MTU less than the path's", mask: mad.PRIPoIB | mad.PRMTUSelector | mad.PRMTU,
			set: func(r *rec) { r.MTUSelector, r.MTU = 1, 4 }, also: func(r *rec) bool { return ok(r) && r.MTU == 3 }},
		{name: "largest MTU", mask: mad.PRIPoIB | mad.PRMTUSelector | mad.PRMTU,
			set: func(r *rec) { r.MTUSelector, r.MTU = 3, 1 }, also: func(r *rec) bool { return ok(r) && r.MTU == 4 }},
		{name: "MTU selector alone is ignored", mask: mad.PRIPoIB | mad.PRMTUSelector,
			set: func(r *rec) { r.MTUSelector, r.MTU = 2, 5 }, also: func(r *rec) bool { return ok(r) && r.MTU == 4 }},
		{name: "rate exactly below the path's", mask: mad.PRIPoIB | mad.PRRateSelector | mad.PRRate,
			set: func(r *rec) { r.RateSelector, r.Rate = 2, 2 }, want: mad.SAStatusNoRecords},
		{name: "rate exactly the path's", mask: mad.PRIPoIB | mad.PRRateSelector | mad.PRRate,
			set: func(r *rec) { r.RateSelector, r.Rate = 2, 3 }, also: ok},
		{name: "rate less than the path's", mask: mad.PRIPoIB | mad.PRRateSelector | mad.PRRate,
			set: func(r *rec) { r.RateSelector, r.Rate = 1, 3 }, also: func(r *rec) bool { return ok(r) && r.Rate == rdma.Rate5 }},
		{name: "invalid rate", mask: mad.PRIPoIB | mad.PRRateSelector | mad.PRRate,
			set: func(r *rec) { r.RateSelector, r.Rate = 2, 1 }, want: mad.SAStatusReqInvalid},
		{name: "invalid MTU", mask: mad.PRIPoIB | mad.PRMTUSelector | mad.PRMTU,
			set: func(r *rec) { r.MTUSelector, r.MTU = 2, 9 }, want: mad.SAStatusReqInvalid},
		{name: "packet life exactly below", mask: mad.PRIPoIB | mad.PRPacketLifeTimeSelector | mad.PRPacketLifeTime,
			set: func(r *rec) { r.PacketLifeTimeSelector, r.PacketLifeTime = 2, 10 }, also: func(r *rec) bool { return ok(r) && r.PacketLifeTime == 10 }},
		{name: "packet life greater", mask: mad.PRIPoIB | mad.PRPacketLifeTimeSelector | mad.PRPacketLifeTime,
			set: func(r *rec) { r.PacketLifeTimeSelector, r.PacketLifeTime = 0, 18 }, want: mad.SAStatusNoRecords},
		{name: "to itself", mask: mad.PRIPoIB, set: func(r *rec) { r.DGID = r.SGID },
			also: func(r *rec) bool { return r.DLID == 3 && r.SLID == 3 && r.PacketLifeTime == 0 }},
		{name: "GID and LID differ", mask: mad.PRIPoIB | mad.PRDLID, set: func(r *rec) { r.DLID = 1 }, want: mad.SAStatusReqInvalid},
		{name: "half a service ID", mask: mad.PRIPoIB | mad.PRServiceIDMSB, want: mad.SAStatusInsufficientComponents},
		{name: "foreign prefix", mask: mad.PRIPoIB, set: func(r *rec) { r.DGID = rdma.MakeGID(0xfec0000000000000, 0x100005) }, want: mad.SAStatusNoRecords},
		{name: "to the switch", mask: mad.PRIPoIB, set: func(r *rec) { r.DGID = rdma.MakeGID(rdma.DefaultSubnetPrefix, 0x200000) },
			also: func(r *rec) bool { return r.DLID == 2 && r.Reversible }},
		{name: "from the switch", mask: mad.PRIPoIB, set: func(r *rec) { r.SGID = rdma.MakeGID(rdma.DefaultSubnetPrefix, 0x200000) },
			also: func(r *rec) bool { return r.SLID == 2 && r.DLID == 4 }},
		{name: "by source LID only", mask: mad.PRDGID | mad.PRSLID | mad.PRPKey, set: func(r *rec) { r.SLID = 3 }, also: ok},
		{name: "reversible asked for", mask: mad.PRIPoIB | mad.PRReversible, set: func(r *rec) { r.Reversible = true }, also: ok},
		{name: "multicast, source is no member", mask: mad.PRDGID | mad.PRSGID, set: func(r *rec) { r.DGID = bcastMGID }, want: mad.SAStatusNoRecords},
		{name: "multicast", mask: mad.PRDGID, set: func(r *rec) { r.DGID = bcastMGID },
			also: func(r *rec) bool {
				return r.DLID == 0xc000 && r.NumbPath == 1 && !r.Reversible && r.MTU == 4 && r.PKey == 0xffff
			}},
		{name: "multicast, other P_Key", mask: mad.PRDGID | mad.PRPKey, set: func(r *rec) { r.DGID, r.PKey = bcastMGID, 0x8002 }, want: mad.SAStatusNoRecords},
		{name: "multicast, no such group", mask: mad.PRDGID, set: func(r *rec) { r.DGID = groupMGID }, want: mad.SAStatusNoRecords},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inVectorNet(t, vectorPartitions, func(t *testing.T, n *vectorNet) {
				q := rec{DGID: n.portGID(3), SGID: n.portGID(2), PKey: 0xffff, NumbPath: 1}
				if tt.set != nil {
					tt.set(&q)
				}
				status, got := n.path(t, 2, tt.mask, q)
				if status != tt.want {
					t.Fatalf("status %v, want %v", status, tt.want)
				}
				if status == 0 && tt.also != nil && !tt.also(got) {
					t.Errorf("answer %+v", got)
				}
			})
		})
	}
}

// TestPathTables: GetTable without a match has status 0 and no record; one end
// or none may be left open.
func TestPathTables(t *testing.T) {
	inVectorNet(t, vectorPartitions, func(t *testing.T, n *vectorNet) {
		c := n.saClient2(t, 2)
		q := mad.PathRecord{DGID: n.portGID(3), SGID: n.portGID(2), PKey: 0xffff, NumbPath: 3}
		for _, tt := range []struct {
			mask mad.ComponentMask
			want int
		}{
			{mad.PRIPoIB, 1}, {mad.PRDGID | mad.PRPKey, 4}, {mad.PRSGID, 4}, {0, 16},
		} {
			if got := getTable[mad.PathRecord](t, n, c, 2, mad.AttrPathRecord, tt.mask, &q, 0); len(got) != tt.want {
				t.Errorf("mask %#x: %d records", tt.mask, len(got))
			}
		}
		q.DGID[15] = 9
		if got := getTable[mad.PathRecord](t, n, c, 2, mad.AttrPathRecord, mad.PRIPoIB, &q, 0); len(got) != 0 {
			t.Errorf("%v", got)
		}
	})
}

// TestPathLimits: MTU and rate are the least along the way.
func TestPathLimits(t *testing.T) {
	inVectorNet(t, "", func(t *testing.T, n *vectorNet) {
		// A second switch with a faster adapter behind a slow link.
		sw := n.sw(0x300000, 4, func(c *soft.SwitchConfig) { c.MTU, c.Speed, c.Width = rdma.MTU4096, rdma.SpeedSDR, rdma.Width1X })
		fast := n.hca("fast", 0x400000)
		n.link(sw.At(1), n.sw1.At(8))
		n.link(sw.At(2), fast.At(1))
		settle(2 * time.Second)
		q := mad.PathRecord{DGID: rdma.MakeGID(rdma.DefaultSubnetPrefix, 0x400001), SGID: n.portGID(2), PKey: 0xffff, NumbPath: 1}
		status, got := n.path(t, 2, mad.PRIPoIB, q)
		if status != 0 || got.MTU != rdma.MTU2048 || got.Rate != rdma.Rate2_5 {
			t.Errorf("%v %+v", status, got)
		}
	})
}

// TestMultiPath: GetMulti gives the paths between all sources and
// destinations, as PathRecord.
func TestMultiPath(t *testing.T) {
	inVectorNet(t, vectorPartitions, func(t *testing.T, n *vectorNet) {
		c := n.saClient2(t, 2)
		m := mad.New(mad.ClassSA, mad.MethodGetMulti, mad.AttrMultiPathRecord)
		m.SetComponentMask(mad.MPRSGIDCount | mad.MPRDGIDCount | mad.MPRPKey)
		q := mad.MultiPathRecord{PKey: 0xffff, SGIDs: []rdma.GID{n.portGID(2), n.portGID(1)}, DGIDs: []rdma.GID{n.portGID(3)}}
		m.SetAttr(&q)
		resp, err := n.ask(c, n.ports[2], m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := mad.DecodeRecords[mad.PathRecord](resp.Data, resp.MAD.AttrOffset())
		if err != nil || len(got) != 2 || got[0].SLID != 3 || got[1].SLID != 1 || got[1].DLID != 4 || resp.MAD.AttrID() != mad.AttrPathRecord {
			t.Errorf("%+v %v", got, err)
		}
	})
}
