package sm

import (
	"context"
	"slices"
	"testing"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

func TestRecords(t *testing.T) {
	inVectorNet(t, vectorPartitions, func(t *testing.T, n *vectorNet) {
		c := n.saClient2(t, 2)
		nodes := getTable[mad.NodeRecord](t, n, c, 2, mad.AttrNodeRecord, 0, nil, 0)
		if len(nodes) != 4 || nodes[0].LID != 1 || nodes[0].NodeDescription.String() != "host hca1" ||
			nodes[1].NodeInfo.NodeType != mad.NodeTypeSwitch || nodes[2].NodeInfo.PortGUID != 0x100003 {
			t.Errorf("NodeRecord: %+v", nodes)
		}
		for _, tt := range []struct {
			mask mad.ComponentMask
			rec  mad.NodeRecord
			want []rdma.LID
		}{
			{mad.NRLID, mad.NodeRecord{LID: 3}, []rdma.LID{3}},
			{mad.NRLID, mad.NodeRecord{LID: 30}, nil},
			{mad.NRNodeType, mad.NodeRecord{NodeInfo: mad.NodeInfo{NodeType: 2}}, []rdma.LID{2}},
			{mad.NRPortGUID, mad.NodeRecord{NodeInfo: mad.NodeInfo{PortGUID: 0x100005}}, []rdma.LID{4}},
			{mad.NRNodeDescription, mad.NodeRecord{NodeDescription: mad.MakeNodeDescription("host hca3")}, []rdma.LID{4}},
			{mad.NRNodeType | mad.NRNumPorts, mad.NodeRecord{NodeInfo: mad.NodeInfo{NodeType: 1, NumPorts: 2}}, nil},
		} {
			var got []rdma.LID
			for _, r := range getTable[mad.NodeRecord](t, n, c, 2, mad.AttrNodeRecord, tt.mask, &tt.rec, 0) {
				got = append(got, r.LID)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("NodeRecord mask %#x: %v, want %v", tt.mask, got, tt.want)
			}
		}

		ports := getTable[mad.PortInfoRecord](t, n, c, 2, mad.AttrPortInfoRecord, 0, nil, 0)
		if len(ports) != 3+9 { // adapters, and ports 0 to 8 of the switch
			t.Errorf("%d PortInfoRecords", len(ports))
		}
		ports = getTable[mad.PortInfoRecord](t, n, c, 2, mad.AttrPortInfoRecord, mad.PIRLID|mad.PIRPortNum,
			&mad.PortInfoRecord{LID: 2, PortNum: 3}, 0)
		if len(ports) != 1 || ports[0].PortInfo.PortState != rdma.PortActive || !ports[0].PortInfo.PartitionEnforcementInbound {
			t.Errorf("PortInfoRecord: %+v", ports)
		}
		byCap := func(mod uint32, bits mad.CapMask) int {
			m := mad.New(mad.ClassSA, mad.MethodGetTable, mad.AttrPortInfoRecord)
			m.SetAttrMod(mod)
			m.SetComponentMask(mad.PIRCapMask)
			m.SetAttr(&mad.PortInfoRecord{PortInfo: mad.PortInfo{CapMask: bits}})
			resp, err := n.ask(c, n.ports[2], m)
			if err != nil {
				t.Fatal(err)
			}
			recs, err := mad.DecodeRecords[mad.PortInfoRecord](resp.Data, resp.MAD.AttrOffset())
			if err != nil {
				t.Fatal(err)
			}
			return len(recs)
		}
		if got := byCap(1<<31, mad.CapIsSM); got != 1 {
			t.Errorf("%d ports with IsSM", got)
		}
		if got := byCap(0, mad.CapIsSM); got != 0 {
			t.Errorf("%d ports with IsSM and nothing else", got)
		}

		sms := getTable[mad.SMInfoRecord](t, n, c, 2, mad.AttrSMInfoRecord, 0, nil, 0)
		if len(sms) != 1 || sms[0].LID != 1 || sms[0].SMInfo.State != mad.SMMaster || sms[0].SMInfo.GUID != 0x100001 || sms[0].SMInfo.SMKey != 0 {
			t.Errorf("SMInfoRecord: %+v", sms)
		}
		sws := getTable[mad.SwitchInfoRecord](t, n, c, 2, mad.AttrSwitchInfoRecord, 0, nil, 0)
		if len(sws) != 1 || sws[0].LID != 2 || sws[0].SwitchInfo.LinearFDBTop != 4 {
			t.Errorf("SwitchInfoRecord: %+v", sws)
		}
		links := getTable[mad.LinkRecord](t, n, c, 2, mad.AttrLinkRecord, 0, nil, 0)
		if len(links) != 6 || !slices.Contains(links, mad.LinkRecord{FromLID: 2, FromPort: 3, ToPort: 1, ToLID: 4}) ||
			!slices.Contains(links, mad.LinkRecord{FromLID: 4, FromPort: 1, ToPort: 3, ToLID: 2}) {
			t.Errorf("LinkRecord: %+v", links)
		}
		lfts := getTable[mad.LFTRecord](t, n, c, 2, mad.AttrLFTRecord, 0, nil, 0)
		if len(lfts) != 1 || lfts[0].Table[1] != 1 || lfts[0].Table[2] != 0 || lfts[0].Table[3] != 2 || lfts[0].Table[4] != 3 || lfts[0].Table[5] != 255 {
			t.Errorf("LFTRecord: %+v", lfts)
		}
		n.join(t, 2, mad.MCRJoinCreate, n.createRec(2, bcastMGID))
		n.join(t, 3, mad.MCRJoinCreate, n.createRec(3, bcastMGID))
		time.Sleep(time.Second)
		mfts := getTable[mad.MFTRecord](t, n, c, 2, mad.AttrMFTRecord, mad.MFTRPosition|mad.MFTRBlock, &mad.MFTRecord{}, 0)
		if len(mfts) != 1 || mfts[0].LID != 2 || mfts[0].Table[0] != 1<<2|1<<3 {
			t.Errorf("MFTRecord: %+v", mfts)
		}
		guids := getTable[mad.GUIDInfoRecord](t, n, c, 2, mad.AttrGUIDInfoRecord, mad.GIRLID, &mad.GUIDInfoRecord{LID: 3}, 0)
		if len(guids) != 1 || guids[0].Table[0] != 0x100003 {
			t.Errorf("GUIDInfoRecord: %+v", guids)
		}

		// P_Key tables are for who has the SM_Key.
		m := mad.New(mad.ClassSA, mad.MethodGetTable, mad.AttrPKeyTableRecord)
		if resp, err := n.ask(c, n.ports[2], m); err == nil || resp.MAD.Status() != mad.SAStatusReqInvalid {
			t.Errorf("untrusted P_KeyTableRecord: %v", err)
		}
		pkeys := getTable[mad.PKeyTableRecord](t, n, c, 2, mad.AttrPKeyTableRecord, mad.PKTRLID|mad.PKTRBlock, &mad.PKeyTableRecord{LID: 3}, DefaultSMKey)
		if len(pkeys) != 1 || pkeys[0].Table[0] != 0xffff || pkeys[0].Table[1] != 2 || pkeys[0].Port != 1 {
			t.Errorf("P_KeyTableRecord: %+v", pkeys)
		}
		pkeys = getTable[mad.PKeyTableRecord](t, n, c, 2, mad.AttrPKeyTableRecord, mad.PKTRLID|mad.PKTRBlock|mad.PKTRPort,
			&mad.PKeyTableRecord{LID: 2, Port: 2}, DefaultSMKey)
		if len(pkeys) != 1 || pkeys[0].Table[0] != 0xffff || pkeys[0].Table[1] != 2 {
			t.Errorf("facing port: %+v", pkeys)
		}
	})
}

// TestUnknownRequester: who has no LID of the subnet gets no answer.
func TestUnknownRequester(t *testing.T) {
	inVectorNet(t, "", func(t *testing.T, n *vectorNet) {
		m := mad.New(mad.ClassSA, mad.MethodGet, mad.AttrClassPortInfo)
		if _, ok := n.sm.answer(rdma.MADAddr{LID: 99}, m); ok {
			t.Error("answer")
		}
		if n.sm.State().Stats.SAUnknownPort != 1 {
			t.Error("not counted")
		}
	})
}

func TestPauseAndRestart(t *testing.T) {
	inVectorNet(t, "", func(t *testing.T, n *vectorNet) {
		n.sm.Pause(true)
		m := mad.New(mad.ClassSA, mad.MethodGet, mad.AttrClassPortInfo)
		if got := n.raw[2].exchange(t, m); got != nil {
			t.Error("answer while paused")
		}
		n.sm.Pause(false)
		if got := n.raw[2].exchange(t, m); got == nil {
			t.Error("no answer")
		}
		n.join(t, 2, mad.MCRJoinCreate, n.createRec(2, groupMGID))
		events := make(chan rdma.AsyncEvent, 16)
		defer n.ports[3].Device().SubscribeEvents(func(e rdma.AsyncEvent) { events <- e })()
		before := n.sm.LIDOf(0x100005)
		n.sm.Restart()
		n.waitReady(n.sm)
		st := n.sm.State()
		if len(st.Groups) != 1 || n.sm.LIDOf(0x100005) != before {
			t.Errorf("after restart: %d groups, LID %v", len(st.Groups), n.sm.LIDOf(0x100005))
		}
		settle(time.Second)
		var got []rdma.EventType
		for len(events) > 0 {
			got = append(got, (<-events).Type)
		}
		if !slices.Contains(got, rdma.EventClientReregister) || slices.Contains(got, rdma.EventLIDChange) {
			t.Errorf("events %v", got)
		}
	})
}

func TestComponentLayouts(t *testing.T) {
	for _, tt := range []struct {
		name   string
		layout []component
		rec    mad.Attribute
	}{
		{"NodeRecord", nodeRecordLayout, new(mad.NodeRecord)}, {"PortInfoRecord", portInfoRecordLayout, new(mad.PortInfoRecord)},
		{"SMInfoRecord", smInfoRecordLayout, new(mad.SMInfoRecord)}, {"ServiceRecord", serviceRecordLayout, new(mad.ServiceRecord)},
		{"InformInfoRecord", informInfoRecordLayout, new(mad.InformInfoRecord)}, {"GUIDInfoRecord", guidInfoRecordLayout, new(mad.GUIDInfoRecord)},
		{"MFTRecord", mftRecordLayout, new(mad.MFTRecord)},
	} {
		end := 0
		seen := map[uint8]bool{}
		for _, c := range tt.layout {
			if int(c.off) < end || seen[c.bit] || c.bit > 63 {
				t.Errorf("%s: component %+v", tt.name, c)
			}
			end, seen[c.bit] = int(c.off+c.n), true
		}
		if end > 8*tt.rec.Len() {
			t.Errorf("%s: components end at bit %d of %d", tt.name, end, 8*tt.rec.Len())
		}
		// Each component tells records that differ in it, and only in it.
		for _, c := range tt.layout {
			a, b := make([]byte, mad.SADataLen), make([]byte, mad.SADataLen)
			last := int(c.off+c.n) - 1
			b[last/8] ^= 0x80 >> (last % 8)
			if recordMatches(1<<c.bit, tt.layout, a, b) || !recordMatches(^(mad.ComponentMask(1)<<c.bit), tt.layout, a, b) {
				t.Errorf("%s: component %+v is not compared", tt.name, c)
			}
		}
	}
	// The places of some components by the encoder of the record.
	check := func(layout []component, mask mad.ComponentMask, rec, zero mad.Attribute) {
		t.Helper()
		a, b := make([]byte, mad.SADataLen), make([]byte, mad.SADataLen)
		rec.Marshal(a)
		zero.Marshal(b)
		if recordMatches(mask, layout, a, b) || !recordMatches(^mask, layout, a, b) {
			t.Errorf("%T mask %#x is in another place", rec, mask)
		}
	}
	pi := func(p mad.PortInfo) *mad.PortInfoRecord { return &mad.PortInfoRecord{PortInfo: p} }
	check(portInfoRecordLayout, mad.PIRPortState, pi(mad.PortInfo{PortState: 4}), pi(mad.PortInfo{}))
	check(portInfoRecordLayout, mad.PIRMTUCap, pi(mad.PortInfo{MTUCap: 4}), pi(mad.PortInfo{}))
	check(portInfoRecordLayout, mad.PIRLMC, pi(mad.PortInfo{LMC: 4}), pi(mad.PortInfo{}))
	check(portInfoRecordLayout, mad.PIRNeighborMTU, pi(mad.PortInfo{NeighborMTU: 4}), pi(mad.PortInfo{}))
	check(portInfoRecordLayout, mad.PIRGUIDCap, pi(mad.PortInfo{GUIDCap: 4}), pi(mad.PortInfo{}))
	check(portInfoRecordLayout, mad.PIRCapMask2, pi(mad.PortInfo{CapMask2: 4}), pi(mad.PortInfo{}))
	check(nodeRecordLayout, mad.NRVendorID, &mad.NodeRecord{NodeInfo: mad.NodeInfo{VendorID: 5}}, new(mad.NodeRecord))
	check(smInfoRecordLayout, mad.SMIRState, &mad.SMInfoRecord{SMInfo: mad.SMInfo{State: 3}}, new(mad.SMInfoRecord))
	check(informInfoRecordLayout, mad.IIRProducerType, &mad.InformInfoRecord{InformInfo: mad.InformInfo{ProducerType: 4}}, new(mad.InformInfoRecord))
	check(serviceRecordLayout, 1<<36, &mad.ServiceRecord{Data64: [2]uint64{0, 1}}, new(mad.ServiceRecord))
}

// FuzzSA feeds requests to the SA of a small subnet: nothing panics, every
// answer is well formed and answers the request, and the groups stay sane.
func FuzzSA(f *testing.F) {
	for attr, methods := range saTable {
		for method := range methods {
			m := mad.New(mad.ClassSA, method, attr)
			f.Add(m[:], uint16(2))
			m.SetComponentMask(^mad.ComponentMask(0))
			f.Add(m[:], uint16(2))
		}
	}
	m := mad.New(mad.ClassSA, mad.MethodSet, mad.AttrMCMemberRecord)
	m.SetComponentMask(mad.MCRJoinCreate)
	m.SetAttr(&mad.MCMemberRecord{MGID: groupMGID, PortGID: rdma.MakeGID(rdma.DefaultSubnetPrefix, 0x100003), QKey: 0x0b1b,
		PKey: 0xffff, MTUSelector: 2, MTU: 4, RateSelector: 2, Rate: 3, JoinState: 1})
	f.Add(m[:], uint16(3))
	s := fuzzSubnet(f)
	f.Fuzz(func(t *testing.T, b []byte, lid uint16) {
		var m mad.MAD
		copy(m[:], b)
		if m.Class() != mad.ClassSA || m.Check() != nil {
			return // does not come this far
		}
		req := m
		a, ok := s.answer(rdma.MADAddr{LID: rdma.LID(lid), QPN: 1}, &m)
		if !ok {
			return
		}
		if a.m.Method() != req.Method().Response() || a.m.TID() != req.TID() || a.m.SMKey() != 0 || !a.table && a.data != nil {
			t.Errorf("%v answers %v", &a.m, &req)
		}
		if off := int(a.m.AttrOffset()) * 8; len(a.data) > 0 && (off == 0 || len(a.data)%off != 0) {
			t.Errorf("%d bytes of records of %d", len(a.data), off)
		}
		st := s.State()
		mlids := map[rdma.LID]bool{}
		for _, g := range st.Groups {
			r := &g.Record
			if !r.MGID.IsMulticast() || !r.MLID.IsMulticast() || mlids[r.MLID] || !r.MTU.IsValid() || !r.Rate.IsValid() ||
				!g.Configured && len(g.Members) == 0 {
				t.Errorf("group %+v", g)
			}
			mlids[r.MLID] = true
			for _, m := range g.Members {
				if m.JoinState == 0 {
					t.Errorf("member without a state in %v", r.MGID)
				}
			}
		}
	})
}

// fuzzSubnet is a small subnet in real time, with LIDs 1 to 4.
func fuzzSubnet(f *testing.F) *SM {
	n := newNet(f)
	sw := n.sw(0x200000, 8)
	var first rdma.Port
	for i := range 3 {
		h := n.hca(string(rune('a'+i)), rdma.GUID(0x100000+2*i))
		n.link(h.At(1), sw.At(i+1))
		if i == 0 {
			first = port1(f, h)
		}
	}
	s, err := New(first, Config{})
	if err != nil {
		f.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	f.Cleanup(func() {
		cancel()
		<-done
	})
	<-s.Ready()
	return s
}

// FuzzReceive feeds datagrams to the manager as they come from the fabric:
// traps, control packets of other managers, RMPP; nothing panics.
func FuzzReceive(f *testing.F) {
	trap := mad.New(mad.ClassSM, mad.MethodTrap, mad.AttrNotice)
	trap.SetNotice(mad.NewTrap(mad.TrapLinkStateChange, mad.ProducerSwitch, 2, &mad.DetailsLink{LID: 2}))
	f.Add(trap[:], uint16(2))
	for mod := range uint32(6) {
		m := mad.New(mad.ClassSM, mad.MethodSet, mad.AttrSMInfo)
		m.SetAttrMod(mod)
		f.Add(m[:], uint16(3))
	}
	info := mad.New(mad.ClassSM, mad.MethodGet, mad.AttrSMInfo)
	f.Add(info[:], uint16(3))
	ack := mad.New(mad.ClassSA, mad.MethodGetTable, mad.AttrNodeRecord)
	ack.SetRMPP(mad.RMPPHeader{Version: 1, Type: mad.RMPPAck, Flags: mad.RMPPFlagActive, Segment: 1, Data2: 64})
	f.Add(ack[:], uint16(3))
	s := fuzzSubnet(f)
	f.Fuzz(func(t *testing.T, b []byte, lid uint16) {
		from := rdma.MADAddr{LID: rdma.LID(lid), QPN: 1, QKey: rdma.QKeyGSI}
		var m mad.MAD
		copy(m[:], b)
		if m.Class().IsSMP() {
			if m.IsDirected() {
				m.SetDirection(false)
				from.LID = rdma.LIDPermissive
			}
			s.receiveSMP(from, m.Bytes())
			return
		}
		m.SetClass(mad.ClassSA)
		s.receiveSA(from, m.Bytes())
	})
}
