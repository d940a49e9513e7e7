package sm

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// smp is a subnet management request by directed route.
type smp struct {
	// node is the one that answers; nil for the first request to it.
	node   *node
	route  []uint8
	method mad.Method
	attr   mad.AttrID
	mod    uint32
	// send is the attribute of a Set; recv gets that of the answer and may be
	// the same.
	send, recv attribute
	// optional is set when it is no failure that the node does not have the
	// attribute.
	optional bool
	// once is set for a request that is not repeated.
	once bool
	// err is the outcome.
	err error
}

// attribute is mad.Attribute; a Set without one sends what recv holds.
type attribute = mad.Attribute

// errDead is the outcome of a request that was not sent, because the node
// stopped answering.
var errDead = errors.New("node does not answer")

func get(n *node, route []uint8, attr mad.AttrID, mod uint32, recv attribute) *smp {
	return &smp{node: n, route: route, method: mad.MethodGet, attr: attr, mod: mod, recv: recv}
}

// tolerant makes a request optional.
func (q *smp) tolerant() *smp {
	q.optional = true
	return q
}

// set writes a copy of what v holds now; v gets the answer.
func set(n *node, route []uint8, attr mad.AttrID, mod uint32, send, recv attribute) *smp {
	return &smp{node: n, route: route, method: mad.MethodSet, attr: attr, mod: mod, send: send, recv: recv}
}

// run sends requests, a bounded number at a time, and waits for the outcome of
// all. It returns the number of those that failed.
func (s *SM) run(ctx context.Context, reqs []*smp) int {
	var next, failed atomic.Int64
	var wg sync.WaitGroup
	for range min(s.cfg.MaxOutstanding, len(reqs)) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(reqs) {
					return
				}
				if reqs[i].err = s.transact(ctx, reqs[i]); reqs[i].err != nil {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return int(failed.Load())
}

// transact sends one request and takes its answer.
func (s *SM) transact(ctx context.Context, q *smp) error {
	if q.node != nil && q.node.dead.Load() {
		return errDead
	}
	m := mad.New(mad.ClassSMDirected, q.method, q.attr)
	if err := m.SetRoute(q.route); err != nil {
		return err
	}
	m.SetAttrMod(q.mod)
	if q.send != nil {
		m.SetAttr(q.send)
	}
	to := rdma.MADAddr{LID: rdma.LIDPermissive, QPN: rdma.QPNSMI}
	o := mad.Options{Timeout: s.cfg.MADTimeout, Retries: s.cfg.MADRetries}
	if q.once {
		o.Retries = 0
	}
	resp, err := s.smi.Do(ctx, to, m.Bytes(), o)
	var status *mad.StatusError
	switch {
	case q.optional && errors.As(err, &status):
		return nil
	case errors.Is(err, mad.ErrTimeout) && q.node != nil:
		q.node.dead.Store(true)
		return err
	case err != nil:
		return err
	}
	if q.recv == nil {
		return nil
	}
	return resp.MAD.Attr(q.recv)
}

// extend returns a route with one more hop.
func extend(route []uint8, port uint8) []uint8 {
	return append(slices.Clip(slices.Clone(route)), port)
}
