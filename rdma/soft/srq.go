package soft

import (
	"sync"
	"sync/atomic"

	"ipoib/rdma"
)

// srq implements rdma.SRQ: a number of receive buffers that queue pairs take
// from.
type srq struct {
	dev                  *HCA
	max, recvSize, limit int

	credits atomic.Int64
	armed   atomic.Bool // the limit event is due

	mu     sync.Mutex
	users  int  // guarded by mu
	closed bool // guarded by mu
}

var _ rdma.SRQ = (*srq)(nil)

// CreateSRQ implements rdma.PD. The limit event is raised once, and again
// after the queue was filled up to the limit.
func (d *pd) CreateSRQ(cfg rdma.SRQConfig) (rdma.SRQ, error) {
	if d.dev.attr.Caps&rdma.CapSRQ == 0 {
		return nil, d.dev.opError("create_srq", 0, &rdma.NotSupportedError{What: "shared receive queue"})
	}
	if cfg.MaxRecv < 1 || cfg.MaxRecv > maxQPWR || cfg.RecvSize < 0 || cfg.RecvSize > rdma.MaxMessage ||
		cfg.Limit < 0 || cfg.Limit > cfg.MaxRecv {
		return nil, d.dev.opError("create_srq", 0, rdma.ErrInvalid)
	}
	if d.dev.isClosed() {
		return nil, d.dev.opError("create_srq", 0, rdma.ErrClosed)
	}
	return &srq{dev: d.dev, max: cfg.MaxRecv, recvSize: cfg.RecvSize, limit: cfg.Limit}, nil
}

// PostRecv implements rdma.SRQ.
func (s *srq) PostRecv(n int) error {
	fail := func(err error) error { return s.dev.opError("post_srq_recv", 0, err) }
	if n < 0 {
		return fail(rdma.ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fail(rdma.ErrClosed)
	}
	have := s.credits.Add(int64(n))
	if have > int64(s.max) {
		s.credits.Add(int64(-n))
		return fail(rdma.ErrQueueFull)
	}
	if have >= int64(s.limit) {
		s.armed.Store(s.limit > 0)
	}
	return nil
}

// take takes one receive buffer.
func (s *srq) take() bool {
	left := s.credits.Add(-1)
	if left < 0 {
		s.credits.Add(1)
		return false
	}
	if left < int64(s.limit) && s.armed.CompareAndSwap(true, false) {
		s.dev.raise(rdma.AsyncEvent{Type: rdma.EventSRQLimitReached, SRQ: s})
	}
	return true
}

// use counts a queue pair in (1) or out (-1).
func (s *srq) use(n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return rdma.ErrClosed
	}
	s.users += n
	return nil
}

// Close implements rdma.SRQ. It returns ErrInUse while queue pairs use it.
func (s *srq) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return rdma.ErrClosed
	case s.users > 0:
		return s.dev.opError("destroy_srq", 0, rdma.ErrInUse)
	}
	s.closed = true
	s.credits.Store(0)
	return nil
}
