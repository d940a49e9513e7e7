package mad

import (
	"errors"
	"time"

	"ipoib/rdma"
)

// activate gives a transaction its ID and starts its timer. c.mu is held.
func (c *Client) activate(t *transaction) {
	for {
		c.tid++
		if _, used := c.active[c.tid]; !used && c.linger[c.tid] == nil && c.tid != 0 {
			break
		}
	}
	t.tid = c.tid
	t.req.SetTID(uint64(t.tid))
	c.active[t.tid] = t
	c.arm(t, t.timeout)
}

// arm starts the timer of a transaction anew. c.mu is held.
func (c *Client) arm(t *transaction, d time.Duration) {
	if t.timer != nil {
		t.timer.Stop()
	}
	t.gen++
	gen := t.gen
	t.timer = c.clock.AfterFunc(d, func() { c.expire(t, gen) })
}

// transmit sends the request. An error of the first try ends the transaction;
// a full queue and errors of later tries count as loss.
func (c *Client) transmit(t *transaction) {
	m := t.req
	err := c.agent.Send(t.to, m.Bytes())
	switch {
	case err == nil:
	case errors.Is(err, rdma.ErrQueueFull):
		c.log.Debug("management datagram not sent", "lid", t.to.LID, "err", err)
	default:
		// Not from within Start.
		go c.finish(t, nil, err, false)
	}
}

// expire is the timer of a transaction.
func (c *Client) expire(t *transaction, gen int) {
	c.mu.Lock()
	if t.ended || t.gen != gen {
		c.mu.Unlock()
		return
	}
	if t.rmpp != nil {
		reply, err := t.rmpp.Expire(c.clock.Now())
		if err == nil { // a segment came in the meantime
			c.arm(t, t.rmpp.Deadline().Sub(c.clock.Now()))
			c.mu.Unlock()
			return
		}
		from, out := t.from, copyMAD(reply)
		c.mu.Unlock()
		c.send(from, out)
		c.finish(t, nil, err, false)
		return
	}
	if t.retries <= 0 {
		c.mu.Unlock()
		c.finish(t, nil, ErrTimeout, false)
		return
	}
	t.retries--
	c.arm(t, t.timeout)
	c.mu.Unlock()
	m := t.req
	if err := c.agent.Send(t.to, m.Bytes()); err != nil {
		c.log.Debug("management datagram not repeated", "lid", t.to.LID, "err", err)
	}
}

// finish ends a transaction once, calls done unless quiet, and gives its place
// to the next in the queue.
func (c *Client) finish(t *transaction, r *Response, err error, quiet bool) {
	c.mu.Lock()
	if t.ended {
		c.mu.Unlock()
		return
	}
	t.ended = true
	var abort *MAD
	if t.timer == nil {
		c.queued--
	} else {
		t.timer.Stop()
		delete(c.active, t.tid)
		if t.rmpp != nil {
			abort = copyMAD(t.rmpp.Abort(RMPPUnspecified))
		}
	}
	next := c.next()
	c.mu.Unlock()
	if abort != nil {
		c.send(t.from, abort)
	}
	if next != nil {
		c.transmit(next)
	}
	if !quiet {
		t.done(r, err)
	}
}

// next activates a waiting transaction if there is room. c.mu is held.
func (c *Client) next() *transaction {
	for !c.closed && len(c.queue) > 0 && len(c.active) < c.cfg.MaxOutstanding {
		t := c.queue[0]
		c.queue[0] = nil
		c.queue = c.queue[1:]
		if t.ended {
			continue
		}
		c.queued--
		c.activate(t)
		return t
	}
	return nil
}

// send transmits a datagram that is not answered.
func (c *Client) send(to rdma.MADAddr, m *MAD) {
	if m == nil {
		return
	}
	if err := c.agent.Send(to, m.Bytes()); err != nil {
		c.log.Debug("management datagram not sent", "lid", to.LID, "err", err)
	}
}

func copyMAD(m *MAD) *MAD {
	if m == nil {
		return nil
	}
	c := *m
	return &c
}
