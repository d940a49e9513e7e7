package madtest

import (
	"slices"
	"sync"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// Network connects ports by LID.
type Network struct {
	mu     sync.Mutex
	ports  map[rdma.LID]*Port
	filter Filter
	nextID uint32
	timers map[*time.Timer]struct{}
	closed bool
}

// Packet is a datagram on its way.
type Packet struct {
	From, To rdma.LID
	MAD      *mad.MAD
}

// Filter decides what becomes of a datagram: each element of the result is a
// delay after which a copy of it arrives; none loses it. It may change the
// datagram. It is called from Send, one call at a time.
type Filter func(p Packet) []time.Duration

// Deliver is the result of a Filter that passes a datagram at once.
var Deliver = []time.Duration{0}

// New returns a network without ports.
func New() *Network {
	return &Network{ports: map[rdma.LID]*Port{}, timers: map[*time.Timer]struct{}{}}
}

// SetFilter replaces the filter; nil delivers everything at once.
func (n *Network) SetFilter(f Filter) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.filter = f
}

// Port returns the port with a LID, making it if necessary.
func (n *Network) Port(lid rdma.LID) *Port {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.ports[lid]
	if p == nil {
		p = &Port{net: n, lid: lid}
		n.ports[lid] = p
	}
	return p
}

// Close closes all agents and drops what is under way.
func (n *Network) Close() {
	n.mu.Lock()
	n.closed = true
	var agents []*Agent
	for _, p := range n.ports {
		agents = append(agents, p.agents...)
	}
	for t := range n.timers {
		t.Stop()
	}
	n.mu.Unlock()
	for _, a := range agents {
		_ = a.Close()
	}
}

// Port is a port of the network. It is a mad.Registrar.
type Port struct {
	net    *Network
	lid    rdma.LID
	agents []*Agent
}

// Addr returns the address of queue pair 1 of the port.
func (p *Port) Addr() rdma.MADAddr {
	return rdma.MADAddr{LID: p.lid, QPN: rdma.QPNGSI, QKey: rdma.QKeyGSI}
}

// RegisterAgent attaches an agent (rdma.Port.RegisterAgent).
func (p *Port) RegisterAgent(cfg rdma.MADAgentConfig) (rdma.MADAgent, error) {
	if cfg.QueueLen == 0 {
		cfg.QueueLen = 512
	}
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	for _, m := range cfg.Methods {
		if p.agentFor(cfg.QP, cfg.Class, m) != nil {
			return nil, rdma.ErrInUse
		}
	}
	p.net.nextID++
	a := &Agent{
		port: p, id: p.net.nextID, cfg: cfg,
		queue: make(chan received, cfg.QueueLen), quit: make(chan struct{}), stopped: make(chan struct{}),
	}
	p.agents = append(p.agents, a)
	go a.run()
	return a, nil
}

func (p *Port) agentFor(qp rdma.QPN, class, method uint8) *Agent {
	for _, a := range p.agents {
		if a.cfg.QP != qp || classOf(a.cfg.Class) != classOf(class) {
			continue
		}
		if slices.Contains(a.cfg.Methods, method) {
			return a
		}
	}
	return nil
}

// classOf makes both kinds of SMP one.
func classOf(c uint8) uint8 {
	if mad.Class(c) == mad.ClassSMDirected {
		return uint8(mad.ClassSM)
	}
	return c
}

// receive hands a datagram to its agent. net.mu is held.
func (p *Port) receive(from rdma.MADAddr, to rdma.QPN, m *mad.MAD) {
	var a *Agent
	if m.IsResponse() {
		for _, x := range p.agents {
			if x.id == uint32(m.TID()>>32) {
				a = x
			}
		}
	} else {
		a = p.agentFor(to, uint8(m.Class()), uint8(m.Method()))
	}
	if a == nil {
		return
	}
	select {
	case a.queue <- received{from, *m}:
	default:
	}
}

type received struct {
	from rdma.MADAddr
	m    mad.MAD
}
