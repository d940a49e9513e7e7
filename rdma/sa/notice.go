package sa

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// reportMemory is how long a report is remembered: longer than any SA repeats
// one whose answer got lost.
const reportMemory = time.Minute

// maxReports bounds the reports that are remembered.
const maxReports = 1024

// reports takes the reports that the SA sends to the port, answers them and
// hands each to the handlers once.
type reports struct {
	c *Client

	mu       sync.Mutex
	next     int                       // guarded by mu, as is all below
	handlers map[int]func(*mad.Notice) // in order of their number
	seen     map[reportKey]time.Time   // when
	dropped  uint64                    // malformed, or not from the SA
}

// reportKey tells reports apart.
type reportKey struct {
	lid rdma.LID
	tid uint64
}

func (r *reports) init(c *Client) {
	r.c = c
	r.handlers = make(map[int]func(*mad.Notice))
	r.seen = make(map[reportKey]time.Time)
}

// OnNotice calls fn with every notice that the SA reports to the port, one at
// a time, until cancel is called. fn must not block.
func (c *Client) OnNotice(fn func(*mad.Notice)) (cancel func()) {
	r := &c.reports
	r.mu.Lock()
	defer r.mu.Unlock()
	id := r.next
	r.next++
	r.handlers[id] = fn
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.handlers, id)
	}
}

// receive takes a report.
func (r *reports) receive(from rdma.MADAddr, m *mad.MAD) {
	n, err := m.Notice()
	if err != nil || m.Check() != nil || m.AttrID() != mad.AttrNotice || from.LID != r.c.port.Attr().SMLID {
		r.mu.Lock()
		r.dropped++
		r.mu.Unlock()
		return
	}
	key := reportKey{from.LID, m.TID()}
	resp := *m
	resp.SetMethod(mad.MethodReportResp)
	if err := r.c.mads.Agent().Send(from, resp.Bytes()); err != nil {
		r.c.log.Debug("cannot answer a report", "lid", from.LID, "err", err)
	}
	r.mu.Lock()
	if !r.remember(key) {
		r.mu.Unlock()
		return
	}
	var fns []func(*mad.Notice)
	for _, id := range slices.Sorted(maps.Keys(r.handlers)) {
		fns = append(fns, r.handlers[id])
	}
	r.mu.Unlock()
	for _, fn := range fns {
		c := n
		fn(&c)
	}
}

// remember notes a report and reports whether it is new. r.mu is held.
func (r *reports) remember(key reportKey) bool {
	now := r.c.clock.Now()
	if at, ok := r.seen[key]; ok && now.Sub(at) < reportMemory {
		return false
	}
	if len(r.seen) >= maxReports {
		maps.DeleteFunc(r.seen, func(_ reportKey, at time.Time) bool { return now.Sub(at) >= reportMemory })
	}
	if len(r.seen) < maxReports {
		r.seen[key] = now
	}
	return true
}

// informRequest is a subscription of the port to a generic trap from all
// sources (RFC 4391 section 10).
func informRequest(trap mad.TrapNumber, subscribe bool) request {
	op := "subscription"
	if !subscribe {
		op = "end of subscription"
	}
	return request{
		op: op, method: mad.MethodSet, attr: mad.AttrInformInfo,
		record: &mad.InformInfo{
			LIDRangeBegin: rdma.LIDPermissive, IsGeneric: true, Subscribe: subscribe,
			Type: mad.InformTypeAll, TrapNumber: trap, QPN: rdma.QPNGSI, RespTimeValue: informRespTime,
			ProducerType: mad.ProducerAll,
		},
		options: queryOptions,
	}
}

// informRespTime is the time code of what a subscriber takes to answer, about
// 2 s.
const informRespTime = 19

// Subscribe asks the SA to report a trap to the port; see OnNotice.
func (c *Client) Subscribe(ctx context.Context, trap mad.TrapNumber) error {
	_, err := c.do(ctx, informRequest(trap, true))
	return err
}

// Unsubscribe ends a subscription.
func (c *Client) Unsubscribe(ctx context.Context, trap mad.TrapNumber) error {
	_, err := c.do(ctx, informRequest(trap, false))
	return err
}
