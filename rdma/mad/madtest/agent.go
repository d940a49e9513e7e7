package madtest

import (
	"bytes"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// Agent is an agent of the network.
type Agent struct {
	port    *Port
	id      uint32
	cfg     rdma.MADAgentConfig
	queue   chan received
	quit    chan struct{}
	stopped chan struct{}
	once    sync.Once
	goid    atomic.Uint64 // goroutine of run

	mu      sync.Mutex
	sendErr error
}

// run calls Receive.
func (a *Agent) run() {
	defer close(a.stopped)
	a.goid.Store(goroutineID())
	for {
		select {
		case <-a.quit:
			return
		default:
		}
		select {
		case <-a.quit:
			return
		case r := <-a.queue:
			if a.cfg.Receive != nil {
				a.cfg.Receive(r.from, r.m.Bytes())
			}
		}
	}
}

// ID returns what Send puts into bits 63-32 of the transaction IDs of
// requests.
func (a *Agent) ID() uint32 { return a.id }

// SetSendError makes Send fail; nil makes it work again.
func (a *Agent) SetSendError(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sendErr = err
}

// Send transmits a datagram.
func (a *Agent) Send(to rdma.MADAddr, b *[rdma.MADSize]byte) error {
	a.mu.Lock()
	err := a.sendErr
	a.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case <-a.quit:
		return rdma.ErrClosed
	default:
	}
	m := *mad.View(b)
	if !m.IsResponse() && m.Class() != mad.ClassCM {
		m.SetTID(uint64(a.id)<<32 | m.TID()&0xffffffff)
	}
	n := a.port.net
	n.mu.Lock()
	defer n.mu.Unlock()
	delays := Deliver
	if n.filter != nil {
		delays = n.filter(Packet{From: a.port.lid, To: to.LID, MAD: &m})
	}
	dst := n.ports[to.LID]
	if dst == nil || n.closed {
		return nil
	}
	from := rdma.MADAddr{LID: a.port.lid, QPN: a.cfg.QP, SL: to.SL, PKeyIndex: to.PKeyIndex}
	if a.cfg.QP == rdma.QPNGSI {
		from.QKey = rdma.QKeyGSI
	}
	for _, d := range delays {
		if d <= 0 {
			dst.receive(from, to.QPN, &m)
			continue
		}
		c := m
		var t *time.Timer
		t = time.AfterFunc(d, func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			delete(n.timers, t)
			if !n.closed {
				dst.receive(from, to.QPN, &c)
			}
		})
		n.timers[t] = struct{}{}
	}
	return nil
}

// Close detaches the agent.
func (a *Agent) Close() error {
	a.once.Do(func() {
		n := a.port.net
		n.mu.Lock()
		a.port.agents = slices.DeleteFunc(a.port.agents, func(x *Agent) bool { return x == a })
		n.mu.Unlock()
		close(a.quit)
	})
	if a.goid.Load() != goroutineID() { // not called from Receive
		<-a.stopped
	}
	return nil
}

// goroutineID returns the number that a stack trace starts with.
func goroutineID() uint64 {
	var b [64]byte
	f := bytes.Fields(b[:runtime.Stack(b[:], false)])
	id, err := strconv.ParseUint(string(f[1]), 10, 64)
	if err != nil {
		panic(err)
	}
	return id
}
