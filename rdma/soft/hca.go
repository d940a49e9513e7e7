package soft

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"ipoib/rdma"
)

// Limits of the software HCA.
const (
	maxCQE    = 1 << 20
	maxQPWR   = 1 << 15
	maxSGE    = 32
	firstQPN  = 0x48
	maxQPPage = 1 << 16
)

// Profile is a set of capabilities that an HCA offers.
type Profile string

// The profiles.
const (
	// ProfileFull offers everything the software HCA can do.
	ProfileFull Profile = "full"
	// ProfileGeneric offers what an HCA of the plain ib_ipoib driver does:
	// checksum and large send for IPv4 only.
	ProfileGeneric Profile = "generic"
	// ProfileDatagram is full without the RC transport: adapters on which
	// connected mode is gone.
	ProfileDatagram Profile = "datagram"
)

// Check reports whether there is such a profile.
func (p Profile) Check() error {
	if _, ok := p.caps(); !ok {
		return fmt.Errorf("profile %q is none of full, generic and datagram", string(p))
	}
	return nil
}

func (p Profile) caps() (rdma.Cap, bool) {
	const generic = rdma.CapUDIPCsum | rdma.CapUDTSO | rdma.CapBlockMulticastLoopback |
		rdma.CapModerateCQ | rdma.CapReceiveAggregate | rdma.CapSRQ | rdma.CapRC | rdma.CapRCIPCsum
	switch p {
	case ProfileFull, "":
		return generic | rdma.CapUDIP6Csum | rdma.CapUDTSO6, true
	case ProfileGeneric:
		return generic, true
	case ProfileDatagram:
		return (generic | rdma.CapUDIP6Csum | rdma.CapUDTSO6) &^ (rdma.CapSRQ | rdma.CapRC | rdma.CapRCIPCsum), true
	}
	return 0, false
}

// HCA is a channel adapter of the fabric; it implements rdma.Device.
type HCA struct {
	*node
	name string
	attr rdma.DeviceAttr

	qps   qpTable
	mcast struct {
		mu     sync.RWMutex
		groups map[rdma.GID][]*qp // guarded by mu
	}

	events eventQueue

	mu     sync.Mutex
	closed bool // guarded by mu
}

var _ rdma.Device = (*HCA)(nil)

// Name implements rdma.Device.
func (h *HCA) Name() string { return h.name }

// Attr implements rdma.Device.
func (h *HCA) Attr() rdma.DeviceAttr { return h.attr }

// Port implements rdma.Device.
func (h *HCA) Port(n int) (rdma.Port, error) {
	if n < 1 || n >= len(h.ports) {
		return nil, h.opError("query_port", n, rdma.ErrNotFound)
	}
	return (*hcaPort)(h.ports[n]), nil
}

// AllocPD implements rdma.Device.
func (h *HCA) AllocPD() (rdma.PD, error) {
	if h.isClosed() {
		return nil, h.opError("alloc_pd", 0, rdma.ErrClosed)
	}
	return &pd{dev: h}, nil
}

// CreateCQ implements rdma.Device.
func (h *HCA) CreateCQ(cfg rdma.CQConfig) (rdma.CQ, error) {
	if h.isClosed() {
		return nil, h.opError("create_cq", 0, rdma.ErrClosed)
	}
	return newCQ(h, cfg)
}

// SubscribeEvents implements rdma.Device.
func (h *HCA) SubscribeEvents(fn func(rdma.AsyncEvent)) func() { return h.events.subscribe(fn) }

func (h *HCA) raise(e rdma.AsyncEvent) { h.events.raise(e) }

// Close implements rdma.Device: it takes the adapter off the fabric.
func (h *HCA) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return rdma.ErrClosed
	}
	h.closed = true
	h.mu.Unlock()
	h.fabric.remove(h.node)
	for _, q := range h.qps.all() {
		_ = q.Close()
	}
	h.events.close()
	return nil
}

func (h *HCA) isClosed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closed
}

func (h *HCA) opError(op string, port int, err error) error {
	return &rdma.OpError{Op: op, Device: h.name, Port: port, Err: err}
}

// hcaPort is a port of a channel adapter as rdma.Port.
type hcaPort port

var _ rdma.Port = (*hcaPort)(nil)

func (p *hcaPort) Device() rdma.Device         { return p.hca }
func (p *hcaPort) Num() int                    { return p.num }
func (p *hcaPort) GUID() rdma.GUID             { return p.guid }
func (p *hcaPort) Counters() rdma.PortCounters { return (*port)(p).counters.snapshot() }
func (p *hcaPort) Attr() rdma.PortAttr         { return (*port)(p).attr() }

// Drops returns the packets dropped at the port, by reason.
func (p *hcaPort) Drops() map[string]uint64 { return (*port)(p).Drops() }

func (p *hcaPort) GID(i int) (rdma.GID, error) {
	g := *p.gids.Load()
	if i < 0 || i >= len(g) {
		return rdma.GID{}, p.hca.opError("query_gid", p.num, rdma.ErrNotFound)
	}
	return g[i], nil
}

func (p *hcaPort) FindGID(g rdma.GID) (int, error) {
	if i := slices.Index(*p.gids.Load(), g); i >= 0 && !g.IsZero() {
		return i, nil
	}
	return 0, p.hca.opError("find_gid", p.num, rdma.ErrNotFound)
}

func (p *hcaPort) PKey(i int) (rdma.PKey, error) {
	t := *p.pkeys.Load()
	if i < 0 || i >= len(t) {
		return 0, p.hca.opError("query_pkey", p.num, rdma.ErrNotFound)
	}
	return t[i], nil
}

func (p *hcaPort) FindPKey(pk rdma.PKey) (int, error) {
	limited := -1
	for i, t := range *p.pkeys.Load() {
		if t.Base() != pk.Base() || !t.IsValid() {
			continue
		}
		if t.IsFull() {
			return i, nil
		}
		if limited < 0 {
			limited = i
		}
	}
	if limited >= 0 {
		return limited, nil
	}
	return 0, p.hca.opError("find_pkey", p.num, rdma.ErrNotFound)
}

func (p *hcaPort) RegisterAgent(cfg rdma.MADAgentConfig) (rdma.MADAgent, error) {
	return (*port)(p).registerAgent(cfg)
}

func (p *hcaPort) SetIsSM(on bool) error {
	(*port)(p).setIsSM(on)
	return nil
}

func (p *hcaPort) String() string { return fmt.Sprintf("%s port %d", p.hca.name, p.num) }

// eventQueue delivers asynchronous events in order, on one goroutine that
// lives only while there are any.
type eventQueue struct {
	mu      sync.Mutex
	subs    map[int]func(rdma.AsyncEvent) // guarded by mu, as is all below
	next    int
	pending []rdma.AsyncEvent
	running bool
	closed  bool
}

func (q *eventQueue) subscribe(fn func(rdma.AsyncEvent)) func() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.subs == nil {
		q.subs = make(map[int]func(rdma.AsyncEvent))
	}
	id := q.next
	q.next++
	q.subs[id] = fn
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		delete(q.subs, id)
	}
}

func (q *eventQueue) raise(e rdma.AsyncEvent) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.subs) == 0 {
		return
	}
	q.pending = append(q.pending, e)
	if !q.running {
		q.running = true
		go q.run()
	}
}

func (q *eventQueue) run() {
	for {
		q.mu.Lock()
		if len(q.pending) == 0 || q.closed {
			q.running = false
			q.mu.Unlock()
			return
		}
		e := q.pending[0]
		q.pending = q.pending[1:]
		ids := slices.Sorted(maps.Keys(q.subs))
		q.mu.Unlock()
		for _, id := range ids {
			q.mu.Lock()
			fn := q.subs[id]
			q.mu.Unlock()
			if fn != nil {
				fn(e)
			}
		}
	}
}

func (q *eventQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.pending = nil
}
