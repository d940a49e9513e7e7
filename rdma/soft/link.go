package soft

import (
	"sync"
	"sync/atomic"

	"ipoib/rdma"
)

// End names one end of a link.
type End struct {
	node *node
	Port int
}

// At returns port n of a channel adapter as the end of a link.
func (h *HCA) At(n int) End { return End{h.node, n} }

// At returns external port n of a switch as the end of a link.
func (s *Switch) At(n int) End { return End{s.node, n} }

// GUID returns that of the port which has the LID: of a switch its management
// port.
func (e End) GUID() rdma.GUID {
	p, err := e.port()
	if err != nil {
		return 0
	}
	return p.node.managementPort(p).guid
}

func (e End) port() (*port, error) {
	if e.node == nil || e.Port < 1 || e.Port >= len(e.node.ports) {
		return nil, &rdma.OpError{Op: "connect", Port: e.Port, Err: rdma.ErrNotFound}
	}
	return e.node.ports[e.Port], nil
}

// Link joins two ports. It trains at once when it is made; both ports are in
// state Init then and a subnet manager does the rest.
type Link struct {
	fabric *Fabric
	ends   [2]*port
	dirs   [2]direction // by sending end

	mu sync.Mutex
	up bool // guarded by mu
}

// direction is the state of one way through a link.
type direction struct {
	faults atomic.Pointer[faultState]
}

// Connect makes a link between two free ports.
func (f *Fabric) Connect(a, b End) (*Link, error) {
	fail := func(err error) (*Link, error) { return nil, &rdma.OpError{Op: "connect", Err: err} }
	pa, err := a.port()
	if err != nil {
		return nil, err
	}
	pb, err := b.port()
	if err != nil {
		return nil, err
	}
	if pa == pb || pa.node.fabric != f || pb.node.fabric != f {
		return fail(rdma.ErrInvalid)
	}
	l := &Link{fabric: f, ends: [2]*port{pa, pb}}
	f.mu.Lock()
	if pa.link.Load() != nil || pb.link.Load() != nil {
		f.mu.Unlock()
		return fail(rdma.ErrInUse)
	}
	pa.link.Store(l)
	pb.link.Store(l)
	f.mu.Unlock()
	l.SetUp(true)
	return l, nil
}

// LinkAt returns the link at a port, or nil.
func (f *Fabric) LinkAt(e End) *Link {
	p, err := e.port()
	if err != nil {
		return nil
	}
	return p.link.Load()
}

// SetUp plugs or unplugs the cable. Pulled, both ports go Down; plugged in,
// they train to Init.
func (l *Link) SetUp(up bool) {
	l.mu.Lock()
	if l.up == up {
		l.mu.Unlock()
		return
	}
	l.up = up
	l.mu.Unlock()
	if !up {
		for _, p := range l.ends {
			p.linkDown()
		}
		return
	}
	a, b := l.ends[0], l.ends[1]
	speed, width := negotiate(a, b)
	for _, p := range l.ends {
		p.linkUp(speed, width)
	}
}

// IsUp reports whether the cable is plugged in.
func (l *Link) IsUp() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up
}

// Disconnect removes the link.
func (l *Link) Disconnect() {
	l.SetUp(false)
	l.fabric.mu.Lock()
	defer l.fabric.mu.Unlock()
	for _, p := range l.ends {
		p.link.CompareAndSwap(l, nil)
	}
	for i := range l.dirs {
		l.dirs[i].faults.Store(nil)
	}
}

// carry takes a packet from one end to the other.
func (l *Link) carry(pk *packet, from *port) {
	i := 0
	if l.ends[1] == from {
		i = 1
	}
	to := l.ends[1-i]
	if pk.lent && l.dirs[1-i].faults.Load() != nil {
		// What acknowledges the message has to come this way.
		pk.keep = true
	}
	if f := l.dirs[i].faults.Load(); f != nil {
		pk.keep = pk.lent
		f.carry(pk, from, to)
		return
	}
	to.receive(pk)
}
