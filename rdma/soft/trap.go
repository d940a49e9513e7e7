package soft

import (
	"sync"
	"time"

	"github.com/jonboulle/clockwork"

	"ipoib/rdma/mad"
)

// Traps are repeated until the manager represses them (IBA 13.4.9), at most
// this often, this far apart.
const (
	trapRepeats  = 10
	trapInterval = time.Second
	maxTraps     = 64 // outstanding at one node
)

// trapSender repeats the outstanding traps of a node.
type trapSender struct {
	mu      sync.Mutex
	next    uint32                // guarded by mu, as is all below
	pending map[uint64]*sentTrap  // by transaction ID
	byKey   map[trapKey]*sentTrap // one of a kind at a time
	closed  bool
}

// trapKey tells traps of a kind: of one that is outstanding no second is sent.
type trapKey struct {
	trap mad.TrapNumber
	port int
}

type sentTrap struct {
	key   trapKey
	tid   uint64
	left  int
	timer clockwork.Timer
}

// trap sends a trap from the node's management port p to the master SM.
func (n *node) trap(p *port, key trapKey, d mad.NoticeDetails) {
	n.mu.Lock()
	lid, sm := p.LID(), p.info.MasterSMLID
	n.mu.Unlock()
	if lid == 0 || !sm.IsUnicast() {
		return // no manager yet: it will see the state in its sweep
	}
	notice := mad.NewTrap(key.trap, mad.ProducerType(n.kind), lid, d)
	t := &n.traps
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.byKey[key] != nil || len(t.pending) >= maxTraps {
		return
	}
	if t.pending == nil {
		t.pending = make(map[uint64]*sentTrap)
		t.byKey = make(map[trapKey]*sentTrap)
	}
	t.next++
	s := &sentTrap{key: key, tid: uint64(t.next), left: trapRepeats}
	t.pending[s.tid] = s
	t.byKey[key] = s
	m := mad.New(mad.ClassSM, mad.MethodTrap, mad.AttrNotice)
	m.SetTID(s.tid)
	m.SetNotice(notice)
	s.timer = n.fabric.clock.AfterFunc(0, func() { n.resendTrap(p, s, m) })
}

// resendTrap sends a trap once more, or gives up.
func (n *node) resendTrap(p *port, s *sentTrap, m *mad.MAD) {
	t := &n.traps
	t.mu.Lock()
	if t.pending[s.tid] != s {
		t.mu.Unlock()
		return
	}
	if s.left == 0 {
		t.dropLocked(s)
		t.mu.Unlock()
		return
	}
	s.left--
	s.timer.Reset(trapInterval)
	t.mu.Unlock()
	n.mu.Lock()
	sm := p.info.MasterSMLID
	n.mu.Unlock()
	pk := n.fabric.newSMP(m.Bytes())
	p.sendSMP(&pk, sm)
}

func (t *trapSender) dropLocked(s *sentTrap) {
	s.timer.Stop()
	delete(t.pending, s.tid)
	delete(t.byKey, s.key)
}

// repress ends the repetition of a trap: the manager has it.
func (t *trapSender) repress(tid uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.pending[tid]; s != nil {
		t.dropLocked(s)
	}
}

func (t *trapSender) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, s := range t.pending {
		t.dropLocked(s)
	}
}

// trapLinkState is trap 128 of a switch: a port changed state.
func (n *node) trapLinkState() {
	p := n.ports[0]
	n.trap(p, trapKey{trap: mad.TrapLinkStateChange}, &mad.DetailsLink{LID: p.LID()})
}

// trapCapMask is trap 144.
func (n *node) trapCapMask(p *port) {
	n.mu.Lock()
	d := &mad.DetailsLocalChange{LID: p.LID(), CapMask: p.info.CapMask}
	n.mu.Unlock()
	n.trap(n.managementPort(p), trapKey{trap: mad.TrapCapMaskChange, port: p.num}, d)
}

// trapMKey is trap 256.
func (n *node) trapMKey(in *port, m *mad.MAD) {
	p := n.managementPort(in)
	d := &mad.DetailsBadMKey{
		LID: p.LID(), Method: m.Method(), AttrID: m.AttrID(), AttrMod: m.AttrMod(), MKey: m.MKey(),
		Directed: m.IsDirected(),
	}
	if m.IsDirected() {
		d.DrSLID = m.DrSLID()
		d.HopCount = m.HopCount()
		d.Truncated = int(m.HopCount()) > len(d.ReturnPath)
		copy(d.ReturnPath[:], m.ReturnPath()[1:])
	}
	n.trap(p, trapKey{trap: mad.TrapBadMKey, port: p.num}, d)
}

// trapBadKey is trap 257 or 258 of a channel adapter.
func (n *node) trapBadKey(p *port, pk *packet, pkey bool) {
	key := trapKey{trap: mad.TrapBadQKey, port: p.num}
	d := &mad.DetailsBadKey{
		LID1: pk.SLID, LID2: pk.DLID, Key: uint32(pk.QKey), SL: pk.SL, QP1: pk.SrcQP, QP2: pk.DestQP,
	}
	if pkey {
		key.trap = mad.TrapBadPKey
		d.Key = uint32(pk.PKey)
	}
	if pk.HasGRH {
		d.GID1, d.GID2 = pk.GRH.SGID, pk.GRH.DGID
	}
	n.trap(p, key, d)
}

// trapSwitchPKey is trap 259: partition enforcement at a switch port.
func (n *node) trapSwitchPKey(p *port, pk *packet) {
	d := &mad.DetailsSwitchBadPKey{
		LID1: pk.SLID, LID2: pk.DLID, PKey: pk.PKey, SL: pk.SL, QP1: pk.SrcQP, QP2: pk.DestQP,
		SwitchLID: n.ports[0].LID(), PortNum: uint8(p.num),
	}
	if pk.HasGRH {
		d.GID1, d.GID2 = pk.GRH.SGID, pk.GRH.DGID
	}
	n.trap(n.ports[0], trapKey{trap: mad.TrapSwitchBadPKey, port: p.num}, d)
}
