package mad

import (
	"errors"

	"github.com/jonboulle/clockwork"

	"ipoib/rdma"
)

// errNoRMPP is the error of a table response without an RMPP header: nothing
// tells how many records it has.
var errNoRMPP = errors.New("mad: table response without RMPP header")

// lingering is a finished table transfer whose last ACK may have got lost.
type lingering struct {
	rmpp  *RMPPReceiver
	timer clockwork.Timer
}

// receive is the Receive function of the agent.
func (c *Client) receive(from rdma.MADAddr, b *[rdma.MADSize]byte) {
	m := View(b)
	if !m.IsResponse() {
		if c.others != nil {
			c.others(from, b)
		}
		return
	}
	tid := uint32(m.TID())
	c.mu.Lock()
	t := c.active[tid]
	if t == nil || !t.matches(m) {
		if l := c.linger[tid]; l != nil && m.IsRMPP() && l.rmpp.Header().AttrID() == m.AttrID() {
			reply, _ := l.rmpp.Receive(c.clock.Now(), m)
			out := copyMAD(reply)
			c.mu.Unlock()
			c.send(from, out)
			return
		}
		c.dropped++
		c.mu.Unlock()
		return
	}
	// A refusal may come without a segment.
	if m.IsRMPP() && (m.RMPP().Type != RMPPNone || m.Status() == StatusOK) {
		c.receiveSegment(t, from, m)
		return
	}
	c.mu.Unlock()
	r := &Response{From: from, MAD: *m}
	err := StatusErrorOf(m, t.req.Method())
	if err == nil && m.Method() == MethodGetTableResp && m.AttrOffset() != 0 {
		err = errNoRMPP
	}
	c.finish(t, r, err, false)
}

// matches reports whether a datagram answers the request.
func (t *transaction) matches(m *MAD) bool {
	return m.Class() == t.req.Class() && m.AttrID() == t.req.AttrID() && m.Method() == t.req.Method().Response() ||
		// A GetMulti is answered with a table of another attribute
		// (IBA 15.4.7).
		m.Class() == t.req.Class() && t.req.Method() == MethodGetMulti && m.Method() == MethodGetMultiResp
}

// receiveSegment passes a segment to the transaction's receiver. c.mu is held
// and released.
func (c *Client) receiveSegment(t *transaction, from rdma.MADAddr, m *MAD) {
	if t.rmpp == nil {
		t.rmpp = NewRMPPReceiver(c.cfg.RMPP)
	}
	t.from = from
	now := c.clock.Now()
	reply, err := t.rmpp.Receive(now, m)
	out := copyMAD(reply)
	var resp *Response
	switch r := t.rmpp; {
	case err != nil:
		t.disarm()
	case r.Done():
		t.disarm()
		resp = &Response{From: from, MAD: *r.Header(), Data: r.Data()}
		c.keep(t.tid, r)
		err = StatusErrorOf(&resp.MAD, t.req.Method())
	case r.Deadline().IsZero(): // the first segment is still to come
		t.rmpp = nil
	default:
		c.arm(t, r.Deadline().Sub(now))
	}
	c.mu.Unlock()
	c.send(from, out)
	if resp != nil || err != nil {
		c.finish(t, resp, err, false)
	}
}

// disarm stops the timer of a transaction that is about to end.
func (t *transaction) disarm() {
	t.timer.Stop()
	t.gen++
}

// keep remembers a finished transfer for rmppLinger. c.mu is held.
func (c *Client) keep(tid uint32, r *RMPPReceiver) {
	if c.closed {
		return
	}
	r.release()
	l := &lingering{rmpp: r}
	l.timer = c.clock.AfterFunc(rmppLinger, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.linger, tid)
	})
	c.linger[tid] = l
}
