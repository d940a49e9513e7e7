package cm

import (
	"encoding/binary"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// receive takes a datagram from the agent.
func (c *CM) receive(from rdma.MADAddr, b *[rdma.MADSize]byte) {
	m := mad.View(b)
	c.received.Add(1)
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	ok := m.Class() == mad.ClassCM && m.Method() == mad.MethodSend && c.dispatch(from, m)
	c.mu.Unlock()
	if !ok {
		c.ignored.Add(1)
	}
	c.flush()
}

// dispatch sorts a message. It reports false when the message means nothing
// here. mu is held.
func (c *CM) dispatch(from rdma.MADAddr, m *mad.MAD) bool {
	switch m.AttrID() {
	case mad.AttrREQ:
		return c.receiveREQ(from, m)
	case mad.AttrREP:
		return c.receiveREP(from, m)
	case mad.AttrRTU:
		var v mad.RTU
		if m.Attr(&v) != nil {
			return false
		}
		k := c.find(v.RemoteCommID, v.LocalCommID)
		if k == nil || k.active || k.gotRTU {
			return false
		}
		if !k.input(inRTU, nil, Event{Private: v.PrivateData[:]}) {
			return false
		}
		k.gotRTU = true
		return true
	case mad.AttrMRA:
		return c.receiveMRA(m)
	case mad.AttrREJ:
		return c.receiveREJ(m)
	case mad.AttrDREQ:
		return c.receiveDREQ(from, m)
	case mad.AttrDREP:
		var v mad.DREP
		if m.Attr(&v) != nil {
			return false
		}
		k := c.find(v.RemoteCommID, v.LocalCommID)
		return k != nil && k.input(inDREP, nil, Event{Private: v.PrivateData[:]})
	}
	return false
}

// find returns the connection of a message: local is its RemoteCommID. The
// peer's ID must be the one that is known.
func (c *CM) find(local, remote uint32) *Conn {
	k := c.conns[local]
	if k == nil || k.remote != remote {
		return nil
	}
	return k
}

func (c *CM) receiveREP(from rdma.MADAddr, m *mad.MAD) bool {
	var rep mad.REP
	if m.Attr(&rep) != nil {
		return false
	}
	k := c.conns[rep.RemoteCommID]
	if k == nil {
		// Nobody asked, or not any more: the sender need not try on.
		c.put(reply(from), message(m.TID(), mad.AttrREJ, &mad.REJ{
			LocalCommID: rep.RemoteCommID, RemoteCommID: rep.LocalCommID,
			Message: mad.CMMessageREP, Reason: mad.RejectInvalidCommID,
		}))
		return true
	}
	if !k.active || k.remote != 0 && k.remote != rep.LocalCommID {
		return false
	}
	if st := k.State(); st == ReqSent || st == MRAReqRcvd {
		if old := k.know(rep.LocalCommID, rep.LocalCAGUID, rep.LocalQPN); old != nil {
			k.remote = rep.LocalCommID
			rej, _ := k.rej(mad.CMMessageREP, mad.RejectStaleConnection, k.notice)
			c.put(k.to, rej)
			old.stale()
			var v mad.REJ
			_ = rej.Attr(&v) // just made
			return k.input(inREJ, nil, Event{REJ: &v})
		}
	}
	return k.input(inREP, nil, Event{REP: &rep, Private: rep.PrivateData[:]})
}

func (c *CM) receiveMRA(m *mad.MAD) bool {
	var v mad.MRA
	if m.Attr(&v) != nil {
		return false
	}
	k := c.conns[v.RemoteCommID]
	if k == nil || k.remote != 0 && k.remote != v.LocalCommID {
		return false
	}
	in := inMRAReq
	switch {
	case v.Message == mad.CMMessageREQ && k.active:
	case v.Message == mad.CMMessageREP && !k.active:
		in = inMRARep
	default:
		return false
	}
	k.service = v.ServiceTimeout
	return k.input(in, nil, Event{})
}

func (c *CM) receiveREJ(m *mad.MAD) bool {
	var v mad.REJ
	if m.Attr(&v) != nil {
		return false
	}
	var k *Conn
	switch {
	case v.Reason == mad.RejectTimeout && v.InfoLength >= 8:
		// The requester gave up without knowing our ID.
		guid := rdma.GUID(binary.BigEndian.Uint64(v.ARI[:]))
		if k = c.remotes[remoteID{guid, v.LocalCommID}]; k != nil && k.active {
			k = nil
		}
	case v.Message == mad.CMMessageREQ:
		k = c.conns[v.RemoteCommID]
		if k != nil && (!k.active || k.State() != ReqSent && k.State() != MRAReqRcvd) {
			k = nil
		}
	default:
		k = c.conns[v.RemoteCommID]
		if k != nil && k.remote != v.LocalCommID && v.LocalCommID != 0 {
			k = nil
		}
	}
	return k != nil && k.input(inREJ, nil, Event{REJ: &v, Private: v.PrivateData[:]})
}

func (c *CM) receiveDREQ(from rdma.MADAddr, m *mad.MAD) bool {
	var v mad.DREQ
	if m.Attr(&v) != nil {
		return false
	}
	drep := message(m.TID(), mad.AttrDREP, &mad.DREP{LocalCommID: v.RemoteCommID, RemoteCommID: v.LocalCommID})
	k := c.find(v.RemoteCommID, v.LocalCommID)
	if k == nil {
		// It is over here already; the peer need not know that it was ever
		// otherwise (kernel cm_issue_drep).
		c.put(reply(from), drep)
		return true
	}
	return k.input(inDREQ, drep, Event{Private: v.PrivateData[:]})
}
