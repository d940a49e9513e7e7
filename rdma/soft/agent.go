package soft

import (
	"encoding/binary"
	"slices"
	"sync"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

const defaultAgentQueue = 512

// agentTable are the management agents of a port.
type agentTable struct {
	mu     sync.RWMutex
	nextID uint32 // guarded by mu, as is all below
	byID   map[uint32]*agent
	byKey  map[agentKey]*agent
}

// agentKey selects who gets an unsolicited datagram.
type agentKey struct {
	qp     rdma.QPN
	class  mad.Class
	method mad.Method
}

// agent implements rdma.MADAgent. A goroutine of its own calls Receive, so
// that the fabric never waits for management software.
type agent struct {
	port *port
	cfg  rdma.MADAgentConfig
	id   uint32
	keys []agentKey

	mu     sync.Mutex
	queue  []received // guarded by mu, as is all below
	active bool       // a goroutine runs Receive
	closed bool
}

type received struct {
	from rdma.MADAddr
	mad  *[rdma.MADSize]byte
}

func (p *port) registerAgent(cfg rdma.MADAgentConfig) (rdma.MADAgent, error) {
	fail := func(err error) (rdma.MADAgent, error) {
		return nil, &rdma.OpError{Op: "register_agent", Device: p.label(), Port: p.num, Err: err}
	}
	smp := mad.Class(cfg.Class).IsSMP()
	if cfg.Receive == nil || cfg.QP != rdma.QPNSMI && cfg.QP != rdma.QPNGSI || smp != (cfg.QP == rdma.QPNSMI) {
		return fail(rdma.ErrInvalid)
	}
	if cfg.QueueLen == 0 {
		cfg.QueueLen = defaultAgentQueue
	}
	a := &agent{port: p, cfg: cfg}
	classes := []mad.Class{mad.Class(cfg.Class)}
	if smp {
		classes = []mad.Class{mad.ClassSM, mad.ClassSMDirected}
	}
	for _, c := range classes {
		for _, m := range cfg.Methods {
			a.keys = append(a.keys, agentKey{cfg.QP, c, mad.Method(m)})
		}
	}
	t := &p.agents
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range a.keys {
		if t.byKey[k] != nil {
			return fail(rdma.ErrInUse)
		}
	}
	if t.byID == nil {
		t.byID = make(map[uint32]*agent)
		t.byKey = make(map[agentKey]*agent)
	}
	// ID 0 is kept for senders that are no agents, such as the SMA's traps.
	for t.nextID++; t.nextID == 0 || t.byID[t.nextID] != nil; t.nextID++ {
	}
	a.id = t.nextID
	t.byID[a.id] = a
	for _, k := range a.keys {
		t.byKey[k] = a
	}
	return a, nil
}

// label names the node of a port in errors.
func (p *port) label() string {
	if p.hca != nil {
		return p.hca.name
	}
	return p.node.Description()
}

// deliver hands a datagram to its agent: an answer to who asked, anything else
// to who registered the method.
func (t *agentTable) deliver(qp rdma.QPN, pk *packet, m *mad.MAD, in *port) {
	p := in.node.managementPort(in)
	t.mu.RLock()
	var a *agent
	if m.IsResponse() {
		a = t.byID[uint32(m.TID()>>32)]
		if a != nil && (a.cfg.QP != qp || !a.serves(m.Class())) {
			a = nil
		}
	} else {
		a = t.byKey[agentKey{qp, m.Class(), m.Method()}]
	}
	t.mu.RUnlock()
	if a == nil {
		p.drop(pk, DropNoAgent)
		return
	}
	r := received{
		from: rdma.MADAddr{LID: pk.SLID, QPN: pk.SrcQP, QKey: pk.QKey, SL: pk.SL, Port: in.num},
		mad:  new([rdma.MADSize]byte),
	}
	if qp == rdma.QPNGSI {
		r.from.PKeyIndex = max(slices.IndexFunc(*p.pkeys.Load(), pk.PKey.Match), 0)
		if pk.HasGRH {
			r.from.GRH = &rdma.GRHAttr{
				DGID: pk.GRH.SGID, FlowLabel: pk.GRH.FlowLabel,
				TrafficClass: pk.GRH.TrafficClass, HopLimit: 0xff,
			}
		}
	}
	copy(r.mad[:], m[:])
	if a.enqueue(r) {
		pk.release()
		return
	}
	p.counters.vl15Dropped.Add(1)
	p.drop(pk, DropNoBuffer)
}

func (a *agent) serves(c mad.Class) bool {
	own := mad.Class(a.cfg.Class)
	return c == own || c.IsSMP() && own.IsSMP()
}

func (a *agent) enqueue(r received) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || len(a.queue) >= a.cfg.QueueLen {
		return false
	}
	a.queue = append(a.queue, r)
	if !a.active {
		a.active = true
		go a.run()
	}
	return true
}

func (a *agent) run() {
	a.mu.Lock()
	for len(a.queue) > 0 && !a.closed {
		r := a.queue[0]
		a.queue = a.queue[1:]
		a.mu.Unlock()
		a.cfg.Receive(r.from, r.mad)
		a.mu.Lock()
	}
	if len(a.queue) == 0 {
		a.queue = nil
	}
	a.active = false
	a.mu.Unlock()
}

// ID implements rdma.MADAgent.
func (a *agent) ID() uint32 { return a.id }

// Send implements rdma.MADAgent.
func (a *agent) Send(to rdma.MADAddr, m *[rdma.MADSize]byte) error {
	p := a.port
	fail := func(err error) error {
		return &rdma.OpError{Op: "send_mad", Device: p.label(), Port: p.num, Err: err}
	}
	a.mu.Lock()
	closed := a.closed
	a.mu.Unlock()
	if closed {
		return fail(rdma.ErrClosed)
	}
	if !a.serves(mad.View(m).Class()) {
		return fail(rdma.ErrInvalid)
	}
	pk := p.node.fabric.newSMP(m)
	out := mad.View((*[rdma.MADSize]byte)(pk.buf.Bytes()))
	if !out.IsResponse() && out.Class() != mad.ClassCM {
		binary.BigEndian.PutUint32(out[8:], a.id)
	}
	if a.cfg.QP == rdma.QPNSMI {
		if out.IsDirected() && out.Direction() {
			// Management software answers an SMP: the return path starts at
			// the port that it came in by.
			if in := p.node.portOf(p, to.Port); in != nil {
				p.sendSMP(&pk, to.LID)
				return nil
			}
		}
		p.sendSMP(&pk, to.LID)
		return nil
	}
	table := *p.pkeys.Load()
	if to.PKeyIndex < 0 || to.PKeyIndex >= len(table) || to.SL > 15 || to.LID == 0 || to.LID == rdma.LIDPermissive {
		pk.release()
		return fail(rdma.ErrInvalid)
	}
	pk.VL, pk.SL, pk.DLID = 0, to.SL, to.LID
	pk.PKey = table[to.PKeyIndex]
	pk.DestQP, pk.SrcQP, pk.QKey = to.QPN, rdma.QPNGSI, to.QKey
	if g := to.GRH; g != nil {
		gids := *p.gids.Load()
		if g.SGIDIndex < 0 || g.SGIDIndex >= len(gids) {
			pk.release()
			return fail(rdma.ErrInvalid)
		}
		pk.HasGRH = true
		pk.GRH = rdma.GRHInfo{
			SGID: gids[g.SGIDIndex], DGID: g.DGID, FlowLabel: g.FlowLabel,
			TrafficClass: g.TrafficClass, HopLimit: g.HopLimit,
		}
	}
	p.send(&pk)
	return nil
}

// Close implements rdma.MADAgent.
func (a *agent) Close() error {
	t := &a.port.agents
	t.mu.Lock()
	delete(t.byID, a.id)
	for _, k := range a.keys {
		if t.byKey[k] == a {
			delete(t.byKey, k)
		}
	}
	t.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return rdma.ErrClosed
	}
	a.closed = true
	a.queue = nil
	return nil
}

// deliverGMP takes a general management packet on QP1: the PMA answers its
// class, agents get the rest.
func (p *port) deliverGMP(pk *packet) {
	m := madOf(pk)
	if m == nil || pk.DestQP != rdma.QPNGSI || m.Class().IsSMP() || m.Check() != nil {
		p.drop(pk, DropMAD)
		return
	}
	if !p.pkeyAllowed(pk.PKey) {
		p.violatePKey(pk)
		return
	}
	if pk.QKey != rdma.QKeyGSI {
		p.violateQKey(pk)
		return
	}
	if m.Class() == mad.ClassPerf && !m.IsResponse() {
		p.answerPMA(pk, m)
		return
	}
	p.agents.deliver(rdma.QPNGSI, pk, m, p)
}
