package umad2sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

const (
	attrNodeInfo  = mad.AttrNodeInfo
	attrPortInfo  = mad.AttrPortInfo
	attrPKeyTable = mad.AttrPKeyTable
)

// client is a program at a port.
type client struct {
	port Port
	conn *net.UnixConn
	peer *net.UnixAddr

	mu     sync.Mutex
	agents []rdma.MADAgent // guarded by mu, as is all below
	isSM   bool
	next   uint32
	asked  map[uint32]*transaction // by the lower half of the transaction ID
	own    map[uint32]chan *mad.MAD
	closed bool
}

// transaction is a request of the program that waits for its answer.
type transaction struct {
	req   packet
	tid   uint64
	timer *time.Timer
}

// answerTime is how long the program's requests may take. It does not wait by
// itself: who does not get an answer gets the request back.
const answerTime = 500 * time.Millisecond

// packet is a data packet: addresses and a management datagram.
type packet [288]byte

// Offsets in a data packet.
const (
	offDLID, offSLID       = 0, 4
	offDestQP, offSrcQP    = 8, 12
	offStatus              = 16
	offLength, offDatagram = 24, 32
)

func (p *packet) mad() *mad.MAD {
	return mad.View((*[rdma.MADSize]byte)(p[offDatagram:]))
}

var be = binary.BigEndian

func newClient(s *Server, port Port, id uint32, peer *net.UnixAddr) (*client, error) {
	c := &client{
		port: port, peer: peer, asked: make(map[uint32]*transaction), own: make(map[uint32]chan *mad.MAD),
	}
	var err error
	if c.conn, err = net.ListenUnixgram("unixgram", s.addr(fmt.Sprint("out", id))); err != nil {
		return nil, err
	}
	if err := c.register(); err != nil {
		_ = c.conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *client) close() {
	c.mu.Lock()
	c.closed = true
	agents, sm := c.agents, c.isSM
	c.agents = nil
	for _, t := range c.asked {
		t.timer.Stop()
	}
	c.mu.Unlock()
	_ = c.conn.Close()
	for _, a := range agents {
		_ = a.Close()
	}
	if sm {
		_ = c.port.SetIsSM(false)
	}
}

// register attaches agents to the port: a manager gets what managers are
// asked for, anybody the answers to what he asked.
func (c *client) register() error {
	var sm, sa []uint8
	if c.isSM {
		sm = []uint8{uint8(mad.MethodGet), uint8(mad.MethodSet), uint8(mad.MethodTrap)}
		sa = []uint8{
			uint8(mad.MethodGet), uint8(mad.MethodSet), uint8(mad.MethodGetTable), uint8(mad.MethodGetMulti),
			uint8(mad.MethodDelete), uint8(mad.MethodReport), uint8(mad.MethodTrap),
		}
	}
	for _, cfg := range []rdma.MADAgentConfig{
		{QP: rdma.QPNSMI, Class: uint8(mad.ClassSMDirected), ClassVersion: mad.SMClassVersion, Methods: sm},
		{QP: rdma.QPNGSI, Class: uint8(mad.ClassSA), ClassVersion: mad.SAClassVersion, Methods: sa},
		{QP: rdma.QPNGSI, Class: uint8(mad.ClassPerf), ClassVersion: mad.PMClassVersion},
	} {
		cfg.Receive, cfg.QueueLen = c.receive, 8192
		a, err := c.port.RegisterAgent(cfg)
		if err != nil {
			return err
		}
		c.agents = append(c.agents, a)
	}
	return nil
}

// setIsSM makes the program a manager, or ends that.
func (c *client) setIsSM(on bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isSM == on || c.closed {
		return nil
	}
	for _, a := range c.agents {
		_ = a.Close()
	}
	c.agents, c.isSM = nil, on
	if err := c.register(); err != nil {
		return err
	}
	return c.port.SetIsSM(on)
}

// read takes the program's packets until the client is closed.
func (c *client) read() {
	for {
		var p packet
		n, err := c.conn.Read(p[:])
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil && n == len(p) {
			c.take(&p)
		}
	}
}

// take sends a datagram of the program.
func (c *client) take(p *packet) {
	m := *p.mad()
	// What is behind the length is not initialized.
	length := int(min(be.Uint64(p[offLength:]), rdma.MADSize))
	clear(m[length:])
	to := rdma.MADAddr{LID: rdma.LID(be.Uint16(p[offDLID:])), QPN: rdma.QPN(be.Uint32(p[offDestQP:]))}
	if m.IsDirected() {
		to.LID = rdma.LIDPermissive
	}
	if !m.Class().IsSMP() {
		to.QKey = rdma.QKeyGSI
	}
	if m.Method() == mad.MethodGetTableResp && m.Status() == mad.StatusOK {
		mad.CompleteRMPP(&m, length)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	if !m.IsResponse() {
		c.next++
		low := c.next
		t := &transaction{req: *p, tid: m.TID()}
		t.timer = time.AfterFunc(answerTime, func() { c.expire(low) })
		c.asked[low] = t
		m.SetTID(uint64(low))
	}
	_ = c.send(to, &m) // an error is a lost packet
}

// send sends a datagram by the agent of its class. mu is held.
func (c *client) send(to rdma.MADAddr, m *mad.MAD) error {
	k := 0
	switch m.Class() {
	case mad.ClassSM, mad.ClassSMDirected:
	case mad.ClassSA:
		k = 1
	case mad.ClassPerf:
		k = 2
	default:
		return errUnknown
	}
	if k >= len(c.agents) {
		return rdma.ErrClosed
	}
	return c.agents[k].Send(to, m.Bytes())
}

// expire gives a request back that was not answered.
func (c *client) expire(low uint32) {
	c.mu.Lock()
	t := c.asked[low]
	delete(c.asked, low)
	c.mu.Unlock()
	if t == nil {
		return
	}
	be.PutUint32(t.req[offStatus:], uint32(syscall.ETIMEDOUT))
	c.write(&t.req)
}

// receive hands a datagram of the fabric to the program.
func (c *client) receive(from rdma.MADAddr, b *[rdma.MADSize]byte) {
	m := mad.View(b)
	if h := m.RMPP(); m.Class() == mad.ClassSA && h.Type != mad.RMPPNone && h.Type != mad.RMPPData {
		return // of the program's kernel, which is us: a transfer has one segment
	}
	c.mu.Lock()
	if m.Method().IsResponse() {
		low := uint32(m.TID())
		if own := c.own[low]; own != nil {
			c.mu.Unlock()
			own <- m
			return
		}
		t := c.asked[low]
		if t == nil {
			c.mu.Unlock()
			return // late
		}
		delete(c.asked, low)
		t.timer.Stop()
		m.SetTID(t.tid)
	}
	c.mu.Unlock()
	var p packet
	be.PutUint16(p[offSLID:], uint16(from.LID))
	be.PutUint32(p[offSrcQP:], uint32(from.QPN))
	be.PutUint32(p[offDestQP:], uint32(from.QPN)) // the same kind of queue pair
	be.PutUint64(p[offLength:], rdma.MADSize)
	*p.mad() = *m
	c.write(&p)
}

func (c *client) write(p *packet) { _, _ = c.conn.WriteToUnix(p[:], c.peer) }

// ask reads an attribute of the port's own node.
func (c *client) ask(out []byte, attr mad.AttrID, mod uint32) error {
	m := mad.New(mad.ClassSMDirected, mad.MethodGet, attr)
	m.SetAttrMod(mod)
	if err := m.SetRoute(nil); err != nil {
		return err
	}
	answer := make(chan *mad.MAD, 1)
	c.mu.Lock()
	c.next++
	low := c.next
	c.own[low] = answer
	m.SetTID(uint64(low))
	err := c.send(rdma.MADAddr{LID: rdma.LIDPermissive}, m)
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.own, low)
		c.mu.Unlock()
	}()
	if err != nil {
		return err
	}
	select {
	case m := <-answer:
		copy(out, m.SMPData())
		return nil
	case <-time.After(answerTime):
		return mad.ErrTimeout
	}
}
