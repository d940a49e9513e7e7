package sm

import (
	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// collector gathers the records that fit a request.
type collector struct {
	r      *saRequest
	layout []component
	buf    [mad.SADataLen]byte
	out    []mad.Attribute
}

// add keeps a record when the selected components are the request's.
func (c *collector) add(rec mad.Attribute) {
	if c.fits(rec) {
		c.out = append(c.out, rec)
	}
}

func (c *collector) fits(rec mad.Attribute) bool {
	rec.Marshal(c.buf[:])
	return recordMatches(c.r.mask, c.layout, c.r.m.SAData(), c.buf[:])
}

func (c *collector) full() bool { return len(c.out) > maxRecords }

// endsForLocked returns the end ports that a requester may ask about: those
// that share a partition with it, one by LID when the request names it. The
// LID is the first component of all these records.
func (s *SM) endsForLocked(r *saRequest) []*port {
	candidates := s.topo.ends
	if r.mask&1 != 0 {
		d := r.m.SAData()
		p := s.topo.byLID[rdma.LID(d[0])<<8|rdma.LID(d[1])]
		if p == nil {
			return nil
		}
		candidates = []*port{p}
	}
	var out []*port
	for _, p := range candidates {
		if p.lid != 0 && sharePKey(r.port, p) {
			out = append(out, p)
		}
	}
	return out
}

func (s *SM) saNodeGet(r *saRequest) ([]mad.Attribute, mad.Status) {
	c := &collector{r: r, layout: nodeRecordLayout}
	for _, p := range s.endsForLocked(r) {
		rec := &mad.NodeRecord{LID: p.lid, NodeInfo: p.node.info, NodeDescription: p.node.desc}
		rec.NodeInfo.PortGUID, rec.NodeInfo.LocalPortNum = p.guid, p.num
		c.add(rec)
	}
	return c.out, mad.StatusOK
}

// saPortInfoGet gives all ports of a switch by the switch's LID.
func (s *SM) saPortInfoGet(r *saRequest) ([]mad.Attribute, mad.Status) {
	c := &collector{r: r, layout: portInfoRecordLayout}
	add := func(lid rdma.LID, p *port) {
		rec := &mad.PortInfoRecord{LID: lid, PortNum: p.num, PortInfo: p.info}
		if r.mask.Has(mad.PIROptions) {
			rec.Options = r.m.SAData()[3]
		}
		if !r.trusted {
			rec.PortInfo.MKey = 0 // IBA 15.4.1
		}
		if c.fits(rec) && capMaskMatches(r.m, r.m.SAData(), c.buf[:]) {
			c.out = append(c.out, rec)
		}
	}
	for _, p := range s.endsForLocked(r) {
		add(p.lid, p)
		if p.node.isSwitch() {
			for _, q := range p.node.ports[1:] {
				if q.info.PortPhysicalState != 0 { // was read
					add(p.lid, q)
				}
			}
		}
	}
	return c.out, mad.StatusOK
}

func (s *SM) saSMInfoGet(r *saRequest) ([]mad.Attribute, mad.Status) {
	c := &collector{r: r, layout: smInfoRecordLayout}
	for _, p := range s.endsForLocked(r) {
		info := p.sm
		if p == s.topo.self {
			own := s.smInfoLocked()
			info = &own
		}
		if info == nil {
			continue
		}
		rec := &mad.SMInfoRecord{LID: p.lid, SMInfo: *info}
		rec.SMInfo.SMKey = 0
		c.add(rec)
	}
	return c.out, mad.StatusOK
}

func (s *SM) saSwitchInfoGet(r *saRequest) ([]mad.Attribute, mad.Status) {
	c := &collector{r: r, layout: switchInfoRecordLayout}
	for _, p := range s.endsForLocked(r) {
		if p.node.isSwitch() {
			c.add(&mad.SwitchInfoRecord{LID: p.lid, SwitchInfo: p.node.sw.info})
		}
	}
	return c.out, mad.StatusOK
}

// saLinkGet gives each link twice, once from each end.
func (s *SM) saLinkGet(r *saRequest) ([]mad.Attribute, mad.Status) {
	c := &collector{r: r, layout: linkRecordLayout}
	for _, p := range s.endsForLocked(r) {
		from := []*port{p}
		if p.node.isSwitch() {
			from = p.node.ports[1:]
		}
		for _, q := range from {
			if !q.linked() {
				continue
			}
			far := q.peer
			if q.peer.node.isSwitch() {
				far = q.peer.node.ports[0]
			}
			c.add(&mad.LinkRecord{FromLID: p.lid, FromPort: q.num, ToPort: q.peer.num, ToLID: far.lid})
		}
	}
	return c.out, mad.StatusOK
}

// saPKeyTableGet answers trusted requests only (IBA 15.4.1).
func (s *SM) saPKeyTableGet(r *saRequest) ([]mad.Attribute, mad.Status) {
	if !r.trusted {
		return nil, mad.SAStatusReqInvalid
	}
	c := &collector{r: r, layout: pkeyTableRecordLayout}
	add := func(lid rdma.LID, p *port, num uint8) {
		for b := range (len(p.pkeys) + mad.PKeysPerBlock - 1) / mad.PKeysPerBlock {
			rec := &mad.PKeyTableRecord{LID: lid, Block: uint16(b), Port: num}
			copy(rec.Table[:], p.pkeys[b*mad.PKeysPerBlock:])
			c.add(rec)
		}
	}
	for _, p := range s.endsForLocked(r) {
		if !p.node.isSwitch() {
			// The port of an end node is not a question of the request.
			sub := *r
			sub.mask &^= mad.PKTRPort
			c.r = &sub
			add(p.lid, p, p.num)
			c.r = r
			continue
		}
		for _, q := range p.node.ports {
			add(p.lid, q, q.num)
		}
	}
	return c.out, mad.StatusOK
}

func (s *SM) saLFTGet(r *saRequest) ([]mad.Attribute, mad.Status) {
	c := &collector{r: r, layout: lftRecordLayout}
	for _, p := range s.endsForLocked(r) {
		if !p.node.isSwitch() || c.full() {
			continue
		}
		lft := p.node.sw.lft
		for b := range len(lft) / mad.LFTPerBlock {
			rec := &mad.LFTRecord{LID: p.lid, Block: uint16(b)}
			copy(rec.Table[:], lft[b*mad.LFTPerBlock:])
			c.add(rec)
		}
	}
	return c.out, mad.StatusOK
}

// saMFTGet gives the blocks that were written.
func (s *SM) saMFTGet(r *saRequest) ([]mad.Attribute, mad.Status) {
	c := &collector{r: r, layout: mftRecordLayout}
	for _, p := range s.endsForLocked(r) {
		if !p.node.isSwitch() || c.full() {
			continue
		}
		for _, b := range s.mft.blocksOf(p.node.info.NodeGUID) {
			c.add(&mad.MFTRecord{LID: p.lid, Position: b.position, Block: b.block, Table: b.table})
		}
	}
	return c.out, mad.StatusOK
}

func (s *SM) saGUIDInfoGet(r *saRequest) ([]mad.Attribute, mad.Status) {
	c := &collector{r: r, layout: guidInfoRecordLayout}
	for _, p := range s.endsForLocked(r) {
		for b := range (int(p.info.GUIDCap) + mad.GUIDsPerBlock - 1) / mad.GUIDsPerBlock {
			rec := &mad.GUIDInfoRecord{LID: p.lid, Block: uint8(b)}
			if b == 0 {
				rec.Table = p.guids
				rec.Table[0] = p.guid
			}
			c.add(rec)
		}
	}
	return c.out, mad.StatusOK
}
