package sm

import (
	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// saRequest is a request to the subnet administration from a known port.
type saRequest struct {
	m    *mad.MAD
	from rdma.MADAddr
	mask mad.ComponentMask
	// port is the requester's, by its LID.
	port *port
	// trusted is set when the request has the SM_Key (IBA 15.2.1.1).
	trusted bool
}

// saHandler answers a request with records, or with a status other than 0. It
// is called with SM.mu held and must not keep the datagram.
type saHandler func(s *SM, r *saRequest) ([]mad.Attribute, mad.Status)

// maxRecords bounds the answer to one request.
const maxRecords = 1 << 16

// saTable has the methods of each attribute. Requests for others get no answer
// at all, as OpenSM leaves them.
var saTable = map[mad.AttrID]map[mad.Method]saHandler{
	mad.AttrClassPortInfo: {mad.MethodGet: (*SM).saClassPortInfo},
	mad.AttrInformInfo:    {mad.MethodSet: (*SM).saInformSet},
	mad.AttrMCMemberRecord: {
		mad.MethodGet: (*SM).saMCMemberGet, mad.MethodGetTable: (*SM).saMCMemberGet,
		mad.MethodSet: (*SM).saMCMemberSet, mad.MethodDelete: (*SM).saMCMemberDelete,
	},
	mad.AttrServiceRecord: {
		mad.MethodGet: (*SM).saServiceGet, mad.MethodGetTable: (*SM).saServiceGet,
		mad.MethodSet: (*SM).saServiceSet, mad.MethodDelete: (*SM).saServiceDelete,
	},
	mad.AttrPathRecord:       reads((*SM).saPathGet),
	mad.AttrMultiPathRecord:  {mad.MethodGetMulti: (*SM).saMultiPathGet},
	mad.AttrNodeRecord:       reads((*SM).saNodeGet),
	mad.AttrPortInfoRecord:   reads((*SM).saPortInfoGet),
	mad.AttrSMInfoRecord:     reads((*SM).saSMInfoGet),
	mad.AttrSwitchInfoRecord: reads((*SM).saSwitchInfoGet),
	mad.AttrLinkRecord:       reads((*SM).saLinkGet),
	mad.AttrPKeyTableRecord:  reads((*SM).saPKeyTableGet),
	mad.AttrLFTRecord:        reads((*SM).saLFTGet),
	mad.AttrMFTRecord:        reads((*SM).saMFTGet),
	mad.AttrGUIDInfoRecord:   reads((*SM).saGUIDInfoGet),
	mad.AttrInformInfoRecord: reads((*SM).saInformGet),
}

func reads(h saHandler) map[mad.Method]saHandler {
	return map[mad.Method]saHandler{mad.MethodGet: h, mad.MethodGetTable: h}
}

// saMethods are the methods that the SA registers for.
var saMethods = []uint8{
	uint8(mad.MethodGet), uint8(mad.MethodSet), uint8(mad.MethodGetTable),
	uint8(mad.MethodGetMulti), uint8(mad.MethodDelete),
}

// saAnswer is what goes back for a request: a datagram, and for GetTable and
// GetMulti the records behind its header.
type saAnswer struct {
	m     mad.MAD
	table bool
	data  []byte
}

// answer works out the answer to a request. It reports false when there is
// none: the SA is silent until the first sweep is over (C15-0.1.3), to a
// wrong SM_Key (C15-0.1.5), to a port that it does not know, and to what it
// does not support.
func (s *SM) answer(from rdma.MADAddr, m *mad.MAD) (*saAnswer, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := saTable[m.AttrID()][m.Method()]
	r := &saRequest{m: m, from: from, mask: m.ComponentMask(), trusted: m.SMKey() != 0}
	switch {
	case s.state != mad.SMMaster || !s.ready || s.paused:
		s.stats.SAIgnored++
		return nil, false
	case h == nil:
		s.stats.SAUnsupported++
		return nil, false
	case r.trusted && m.SMKey() != s.cfg.SMKey:
		s.stats.SABadKey++
		return nil, false
	}
	if r.port = s.topo.byLID[from.LID]; r.port == nil {
		s.stats.SAUnknownPort++
		return nil, false
	}
	s.stats.SARequests++
	records, status := h(s, r)
	return buildAnswer(m, records, status), true
}

// buildAnswer makes the datagram. Refusals echo the request; a Get that finds
// none or more than one record is refused (C15-0.1.30).
func buildAnswer(m *mad.MAD, records []mad.Attribute, status mad.Status) *saAnswer {
	a := &saAnswer{m: *m}
	method := m.Method()
	a.table = method == mad.MethodGetTable || method == mad.MethodGetMulti
	if status == mad.StatusOK {
		switch n := len(records); {
		case n > maxRecords:
			status = mad.SAStatusNoResources
		case a.table:
		case n == 0:
			status = mad.SAStatusNoRecords
		case n > 1:
			status = mad.SAStatusTooManyRecords
		}
	}
	a.m.Respond(status)
	if m.AttrID() == mad.AttrMultiPathRecord {
		a.m.SetAttrID(mad.AttrPathRecord) // o15-0.2.7
	}
	switch {
	case status != mad.StatusOK:
		a.table = false
	case a.table:
		for _, rec := range records {
			a.data = mad.AppendRecord(a.data, rec)
		}
		if len(records) > 0 {
			a.m.SetAttrOffset(mad.AttrOffsetOf(records[0]))
		}
	default:
		a.m.SetRecord(records[0])
	}
	return a
}

// Bits of ClassPortInfo.CapabilityMask2 of the SA beside those that package
// mad names (OpenSM osm_base.h, OSM_CAP2_IS_...).
const (
	cap2ExtendedSpeeds          uint32 = 1 << 7
	cap2MulticastServiceRecords uint32 = 1 << 8
	cap2PortInfoCapMask2Match   uint32 = 1 << 10
	cap2LinkWidth2X             uint32 = 1 << 13
	cap2LinkSpeedHDR            uint32 = 1 << 15
)

// saRespTime is the time code of the SA's response time, about 0.27 s.
const saRespTime = 16

// saClassPortInfo announces what OpenSM announces.
func (s *SM) saClassPortInfo(*saRequest) ([]mad.Attribute, mad.Status) {
	return []mad.Attribute{&mad.ClassPortInfo{
		BaseVersion: mad.BaseVersion, ClassVersion: mad.SAClassVersion,
		CapMask: mad.ClassCapGetSet | mad.SACapUDMulticast | mad.SACapMultiPath | mad.SACapPortInfoCapMaskMatch,
		CapMask2: mad.SACap2MulticastTop | mad.SACap2AliasGUIDs | mad.SACap2FullPortInfoRecord |
			cap2ExtendedSpeeds | cap2MulticastServiceRecords | cap2PortInfoCapMask2Match |
			mad.SACap2SendOnlyFullMember | cap2LinkWidth2X | cap2LinkSpeedHDR,
		RespTimeValue: saRespTime, RedirectQP: rdma.QPNGSI, RedirectQKey: rdma.QKeyGSI,
		TrapQKey: rdma.QKeyGSI,
	}}, mad.StatusOK
}

// portByAliasLocked finds an end port by any of its GUIDs.
func (s *SM) portByAliasLocked(g rdma.GUID) *port {
	if p := s.topo.byPort[g]; p != nil {
		return p
	}
	return s.topo.byAlias[g]
}
